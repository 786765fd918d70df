"""Step 4: the end of an upload. Contested rows are replayed in line order, then one terminal state is drawn.

Every load, the splitter, bury and sweep call `finish`; nobody has to be the last one, and one wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from chalicelib import events, inference, metrics, publishing, services
from chalicelib.aws import sqs
from chalicelib.cells import Value
from chalicelib.datasets import Schema, read_schema
from chalicelib.errors import Refused, Unavailable
from chalicelib.formats.dialect import OPTIONS
from chalicelib.journey import LOADING, MAX_ATTEMPTS, CellError, Number
from chalicelib.logs import about
from chalicelib.postgres import (
    changes,
    ledger,
    locks,
    manifest,
    outcomes,
    passes,
    profiles,
    projection,
    references,
    stages,
    trial,
)
from chalicelib.postgres.connection import Connection, connection, when_back
from chalicelib.postgres.replay import DETAILS, IN_FILE, displaced, replay
from chalicelib.postgres.tables import Table
from chalicelib.settings import settings

ASK_AGAIN_SECONDS: Final = 25  # longer than a delayed copy is under way
ORPHANS_AT_ONCE: Final = 20_000  # contested rows that are looked at at once; what they refer to is in memory


def finish(number: Number | None) -> Number | None:
    """End the upload if every chunk is in and nothing is contested; otherwise see to it that settling runs.

    An upload that is to be canceled ends as soon as no chunk of it is being committed. One that is being undone is sent
    for, unless somebody is at it.
    """
    if number is None:
        return number
    standing = ledger.standing(connection(), number)
    if standing.is_reverting:
        _send_for_settler(number)  # who undoes uploads, too
    elif standing.is_canceling:
        _cancel(connection(), number)
    elif standing.is_over_budget:
        ledger.stop(connection(), number, publishing.TOO_MANY_ERRORS)
    elif standing.is_all_in and standing.has_contested:
        _send_for_settler(number)
    elif standing.is_all_in:
        _end(connection(), number)
    return number


def _send_for_settler(number: Number) -> None:
    if ledger.wants_settler(connection(), number, ASK_AGAIN_SECONDS):
        sqs.send(settings().settle_queue, {"upload": number})
        ledger.note_settler_sent_for(connection(), number)


def _end(db: Connection, number: Number) -> None:
    with db.transaction():
        ledger.lock_upload(db, number, shared=False)
        seen = projection.snapshot(db, number)
        # Looked at again under the lock: a worker that was slow to get here may find the upload in its other pass.
        standing = ledger.standing(db, number)
        if seen is None or not standing.is_all_in or standing.has_contested:
            return
        is_passed = seen["reading"] == "check" and not seen["unprocessed"] and not publishing.forbidden(seen)
        is_unlike = "on_drift" in seen["options"] and _is_unlike(db, number)
        loads = is_passed and _pass(db, seen, is_unlike=is_unlike)
        if not is_passed:
            state, error = publishing.verdict(db, seen)
            ledger.end(db, number, state, None, error)
    if loads:
        sqs.send_for_split(seen["tenant"], seen["upload_id"])


def _is_unlike(db: Connection, number: Number) -> bool:
    """Whether an upload that asks for it is unlike those before; what differs is kept for the status to show."""
    upload = ledger.find(db, number)
    if upload is None or not upload.is_profiled:
        return False
    found = profiles.judge(db, number, upload.dataset, read_schema(upload.descriptor))
    return bool(found and found["differences"])


def _pass(db: Connection, seen: Mapping[str, Any], *, is_unlike: bool) -> bool:
    """A check that is over and has passed waits for somebody to look at it, or loads: whether it loads."""
    is_held = is_unlike and seen["options"].get("on_drift") == "hold"
    if not is_held and not seen["options"].keys() & {"validate_only", "infer"}:
        return passes.begin_load(db, seen["number"], LOADING)
    infers = "infer" in seen["options"]
    if passes.await_review(db, seen["number"], _review(db, seen) if infers else None):
        events.keep(db, seen["number"])  # now, as whoever is told later may find it loading
        if infers:
            outcomes.forget_check(db, seen["number"])
    return False


def _review(db: Connection, seen: Mapping[str, Any]) -> dict[str, Any]:
    """What an upload without a dataset is found to be: its types by all of its values, and its first rows."""
    plan = seen["plan"]
    guesses = outcomes.merged_guesses(db, seen["number"]) or [inference.ALL] * len(plan["names"])
    return {
        "schema": inference.descriptor(plan["names"], guesses),
        # The file's, of which another text may have been made.
        "dialect": {name: plan["shown"].get(name) for name in OPTIONS},
        "rows": plan["rows"],
    }


def _cancel(db: Connection, number: Number) -> None:
    """Draw the end of a canceled upload, unless a chunk is in flight: its worker, or the sweep, comes by later."""
    with db.transaction():
        if ledger.try_lock_upload(db, number) and ledger.standing(db, number).is_canceling:
            manifest.cancel_queued(db, number)
            seen = manifest.records_seen(db, number)
            ledger.end(db, number, "canceled", seen, {"code": "canceled", "detail": "Canceled on request."})
            outcomes.forget_check(db, number)
            stages.drop(db, number)


def contested(message: Mapping[str, Any]) -> Number | None:
    """Settle the upload a message names, in one transaction; a repeat finds nothing to do."""
    upload = ledger.named(connection(), message.get("upload"))
    if upload is None:
        return None
    about(upload.correlation_id, upload_id=upload.upload_id)
    if upload.state == "paused":
        return upload.number  # settling is sent for again when it is resumed
    if upload.dataset_is_gone:  # taken back in the moment that a redrive began
        ledger.ask_to_cancel(connection(), upload.tenant, upload.upload_id)
    with locks.alone(connection(), locks.settle(upload.number)) as ours:
        # Whoever holds the lock keeps its own message until it is done, so this one may go.
        if not ours:
            return None
        _attempt(upload)
    return upload.number


def _attempt(upload: ledger.Upload) -> None:
    """Settle, and give the fault to whom it belongs, as a load does: the services, the file, or the settling."""
    attempts = ledger.count_settling(connection(), upload.number, 1)
    if attempts > MAX_ATTEMPTS:
        ledger.stop(connection(), upload.number, ledger.SETTLE_FAILED)
        return
    try:
        if upload.is_staged:
            publishing.conclude(connection(), upload, looks_first=attempts > 1)
        else:
            _settle(connection(), upload)
    except Refused as refused:
        ledger.stop(connection(), upload.number, {"code": refused.code, "detail": refused.detail})
    except Exception as error:
        if not services.are_to_blame(error):
            raise Unavailable("settling_failed", "Settling failed; it is tried again.") from error
        when_back(lambda db: ledger.count_settling(db, upload.number, -1))
        raise


def _settle(db: Connection, upload: ledger.Upload) -> None:
    settled = None
    with db.transaction():
        ledger.lock_upload(db, upload.number, shared=False)
        now = ledger.find(db, upload.number)  # its pass may be another since the lock was asked for
        standing = ledger.standing(db, upload.number)
        if now and standing.is_all_in and standing.has_contested and not standing.is_canceling:
            settled = _replay(db, now)
    if settled:
        # A row that gives way to a lower line of its file stays counted as loaded, too: what is told is told.
        metrics.count("RowsLoaded", settled.loaded + settled.updated)
        metrics.count("RowsRejected", settled.rejected)


def _replay(db: Connection, upload: ledger.Upload) -> manifest.Counts | None:
    """Settle; the correction of what was loaded, which a check has none of."""
    schema = read_schema(upload.descriptor)
    if upload.reading == "check":
        _reject_repeats(db, upload, schema)
        return None
    _reject_orphans(db, upload, schema)
    settled = replay(db, Table(upload.dataset, upload.dataset_version, schema), upload.number, upload.mode)
    if upload.mode == "insert" and settled.displaced:
        for losers in displaced(db):
            publishing.reject(db, upload, _repeats(losers))
    manifest.record_settled(db, upload.number, "load", settled.counts)
    changes.note(db, upload.dataset)
    return settled.counts


def _reject_orphans(db: Connection, upload: ledger.Upload, schema: Schema) -> None:
    """Contested rows whose target has gone since their chunk looked: nobody could see yet that they refer to it.

    Before keys are decided, as in a chunk: a row that refers to nothing takes nobody's.
    """
    places = sorted({place for key in schema.foreign_keys for place in schema.positions(key.fields)})
    after = 0
    while places and (page := outcomes.list_contested(db, upload.number, places, after, ORPHANS_AT_ONCE)):
        records, after = list(page), max(page)
        columns: list[Sequence[Value]] = [()] * len(schema.fields)
        for place, values in zip(places, zip(*page.values(), strict=True), strict=True):
            columns[place] = values
        found = references.find_orphans(db, upload.owner, schema, columns)
        if lost := {records[index]: errors[0] for index, errors in found.items()}:
            publishing.reject(db, upload, lost)
            outcomes.drop_contested(db, upload.number, list(lost))
            counts = manifest.Counts(rejected=len(lost), contested=-len(lost))
            manifest.record_settled(db, upload.number, "load", counts)


def _reject_repeats(db: Connection, upload: ledger.Upload, schema: Schema) -> None:
    """What settling is for a check: rows that were found good by themselves, and repeat the key of a lower line."""
    lost = 0
    for losers in trial.losers(db, schema, upload.number):
        publishing.reject(db, upload, _repeats(losers))
        lost += len(losers)
    manifest.record_settled(db, upload.number, "check", manifest.Counts(loaded=-lost, rejected=lost))


def _repeats(keys: Iterable[tuple[int, str]]) -> dict[int, CellError]:
    """Records that were taken before a lower line claimed their key."""
    return {record: CellError(key, IN_FILE, DETAILS[IN_FILE]) for record, key in keys}
