"""Step 4 backwards: an upload that is over is undone, a chunk a transaction, until none is left.

Wherever a worker dies, the chunks behind it are undone and noted as such; the next one goes on. The messages are those
of settling: an upload's number, on the same queue and under the same lock.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from chalicelib import services
from chalicelib.aws import sqs
from chalicelib.errors import Unavailable
from chalicelib.journey import MAX_ATTEMPTS, Number
from chalicelib.logs import about
from chalicelib.postgres import befores, ledger, locks, people, references, reverts
from chalicelib.postgres.connection import Connection, connection, past_deadlocks, when_back
from chalicelib.settings import settings

WORK_SECONDS: Final = 10  # a message; between two of them the status is shown


def rows(message: Mapping[str, Any]) -> Number | None:
    """Undo rows of the upload a message names, and send for the rest; None if it is not being undone."""
    upload = ledger.named(connection(), message.get("upload"))
    if upload is None or upload.state != "reverting":
        return None
    about(upload.correlation_id, upload_id=upload.upload_id)
    with locks.alone(connection(), locks.settle(upload.number)) as ours:
        # Whoever holds the lock keeps its own message until it is done, so this one may go.
        is_over = not ours or _attempt(upload)
    if not is_over:  # not before the lock is free: whoever finds it held lets the message go
        sqs.send(settings().settle_queue, {"upload": upload.number})
        ledger.note_settler_sent_for(connection(), upload.number)
    return upload.number


def _attempt(upload: ledger.Upload) -> bool:
    """Undo, and give a fault to whom it belongs, as settling does: the services, or the undoing; whether it is over."""
    db = connection()
    if ledger.count_settling(db, upload.number, 1) > MAX_ATTEMPTS:
        reverts.give_up(db, upload.number)
        return True
    try:
        return _work(db, upload)
    except Exception as error:
        if not services.are_to_blame(error):
            raise Unavailable("undoing_failed", "Undoing failed; it is tried again.") from error
        when_back(lambda anew: ledger.count_settling(anew, upload.number, -1))
        raise


def _work(db: Connection, upload: ledger.Upload) -> bool:
    """Undo chunks for a while, at least one; whether none is left."""
    until = time.monotonic() + WORK_SECONDS
    while past_deadlocks(partial(_undo_next, db, upload)):
        if time.monotonic() > until:
            return False
    return True


def _undo_next(db: Connection, upload: ledger.Upload) -> bool:
    """Undo the next chunk, or end the upload if there is none; whether there was one."""
    with db.transaction():
        following = reverts.take(db, upload.number)
        if following is None:
            return False
        if following.chunk is None or upload.dataset == 0:
            reverts.end(db, upload.number)
            return False
        referrers = references.find_referrers(db, upload.owner, people.numbered(db, upload.dataset))
        stretch = befores.Undo(db, upload.table, upload.number, following.first_record, following.records, referrers)
        undone = stretch.do(forced=following.forced)
        reverts.note(db, upload.number, following.chunk, undone.reverted, undone.restored, undone.conflicts)
        return True
