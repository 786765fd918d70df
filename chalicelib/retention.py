"""What becomes of uploads that ended long ago or were deleted: the sweep takes their files, then all that is shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from chalicelib.aws import dynamodb, s3
from chalicelib.errors import Refused
from chalicelib.journey import Number, object_key, prefixes
from chalicelib.postgres import keeping, ledger, removals
from chalicelib.postgres.connection import connection

ROWS_SECONDS: Final = 10  # of a sweep, for rows of all uploads: 100,000 take about one
MOST_A_SWEEP: Final = 50  # uploads: each takes a few requests, and the sweep has less than a minute
MOST_REMOVED: Final = 500  # the same of those that are deleted: whoever deletes an account may have had 100,000
REMOVED_SECONDS: Final = 12  # after which the next sweep goes on; rows of one upload leave others' files two of them
FAILING_SECONDS: Final = 2  # after which no other is begun, if one has failed: a storage that throttles takes four each


def drop_files() -> int:
    """Delete the files and rejects that have been kept long enough; of how many uploads."""
    due = keeping.due_files(connection(), MOST_A_SWEEP)
    return each(due, lambda one: keeping.drop_files(connection(), one, partial(_delete, one)))


def drop_unopened() -> int:
    """The same of uploads that ended before any splitter met them, and when they are to be shown no longer."""
    return each(keeping.due_unopened(connection(), MOST_A_SWEEP), _drop_unopened)


def _drop_unopened(one: keeping.Unopened) -> bool:
    _delete(one)
    dynamodb.show_until(one.tenant, one.upload_id, one.forget_at)
    keeping.note_dropped(connection(), one)
    return True


def _delete(one: keeping.Due | keeping.Unopened | removals.Removal) -> None:
    for prefix in prefixes(one.tenant, one.upload_id):
        s3.delete_all(prefix)


def forget() -> int:
    """Show nothing more of uploads that have been shown long enough; how many these are."""
    due = keeping.due_status(connection(), MOST_A_SWEEP)
    return each(due, _forget)


def _forget(one: keeping.Due) -> bool:
    dynamodb.show_until(one.tenant, one.upload_id, int(time.time()))
    keeping.forget(connection(), one)
    return True


def forget_unopened() -> int:
    """The same of uploads that ended before any splitter met them, whose status has gone by itself."""
    return keeping.forget_unopened(connection(), MOST_REMOVED)


def remove_deleted() -> int:
    """Remove files, status and rejects of uploads that were deleted; how many of them were due."""
    begun = time.monotonic()
    due = removals.list_due(connection(), MOST_REMOVED)
    return each(due, partial(_remove, begun + ROWS_SECONDS), begun + REMOVED_SECONDS)


def _remove(until: float, one: removals.Removal) -> bool:
    if one.multipart_id:
        s3.abort(object_key(one.tenant, one.upload_id), one.multipart_id)
    _delete(one)
    dynamodb.forget(one.tenant, one.upload_id)
    if one.number is None or _purge(one.number, until, rows=one.erase_rows):
        removals.note_purged(connection(), one.upload_id)
    return True


def _purge(number: Number, until: float, *, rows: bool) -> bool:
    """Whether nothing is left; rows go a part at a time, and none is begun after `until`."""
    db = connection()
    if not removals.purge(db, number):
        return False
    while rows and time.monotonic() < until:
        if removals.erase_rows(db, number):
            return True
    return not rows


def each(due: Sequence[Any], do: Callable[[Any], bool], until: float = math.inf) -> int:
    """How many it was done to; none is begun after `until`.

    One that fails leaves the others to go; the first failure is raised when all have. Unless that takes
    long: what else the sweep has to do needs no storage, and would not be done before that is well.
    """
    done, faults = 0, list[Exception]()
    failing = time.monotonic() + FAILING_SECONDS
    for one in due:
        if time.monotonic() > (min(failing, until) if faults else until):
            break
        try:
            done += do(one)
        except Exception as error:
            faults.append(error)
    if faults:
        raise faults[0]
    return done


def kept_number(tenant: str, upload_id: str) -> Number | None:
    """The number of a tenant's upload, None unless a splitter has met it, whose rejects are still kept.

    Raises Refused `upload_not_found` (404), `files_expired` (410).
    """
    dynamodb.get_upload(tenant, upload_id)
    number = ledger.number_of(connection(), tenant, upload_id)
    refuse_expired(number)
    return number


def refuse_expired(number: Number | None) -> None:
    """Raise Refused `files_expired` (410) if what is asked for is gone."""
    if number is not None and keeping.has_expired(connection(), number):
        raise Refused("files_expired", "The upload's files and rejects are kept no longer.", status=410)
