"""What becomes of an account that is deleted: the sweep takes all that is its tenant's, as often as it takes."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from chalicelib import retention
from chalicelib.aws import dynamodb
from chalicelib.journey import rank
from chalicelib.postgres import announcements, erasures, ledger, removals
from chalicelib.postgres.connection import connection
from chalicelib.postgres.timeline import NOBODY

MOST_A_SWEEP: Final = 500  # uploads, of all tenants that are due: each takes a statement or two
TENANTS_A_SWEEP: Final = 10
SECONDS: Final = 5  # of a sweep, which is done twice in less than a minute


def sweep() -> int:
    """Go on with erasing the tenants that are due; how many of them are done for now."""
    due, until = erasures.list_due(connection(), TENANTS_A_SWEEP), time.monotonic() + SECONDS
    return retention.each(due, partial(_erase, MOST_A_SWEEP // max(1, len(due)), until), until)


def _erase(most: int, until: float, tenant: str) -> bool:
    db = connection()
    erasures.put_last(db, tenant)  # if it fails whenever it is tried, it is not the first of each sweep
    for upload in erasures.list_standing(db, tenant, most):
        if time.monotonic() > until:
            return False
        _delete(tenant, upload)
    for other, upload_id in erasures.list_intruding(db, tenant):
        ledger.ask_to_cancel(db, other, upload_id)
    if not erasures.drop(db, tenant):
        return False  # what was asked to cancel ends with the sweep: the next one goes on
    return erasures.note_dropped(db, tenant)


def _delete(tenant: str, upload: erasures.Standing) -> None:
    """Delete an upload, or ask it to end first."""
    db = connection()
    ledger.ask_to_cancel(db, tenant, upload.upload_id)
    if upload.number is None:
        dynamodb.cancel(tenant, upload.upload_id, rank("canceled", 1, 0))
        announcements.close(db, upload.upload_id, "canceled")
    if removals.mark(db, tenant, upload.upload_id, upload.number, NOBODY):
        dynamodb.forget(tenant, upload.upload_id)
