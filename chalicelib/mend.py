"""Step 6: what a crash left half-said. Bury what is out of attempts; sweep, twice a minute, the rest.

Nothing here decides anew: it sends again, or ends what can no longer go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from chalicelib import erasure, gate, metrics, pictures, retention
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.journey import (
    ABOVE_ALL_IDS,
    LOAD_SECONDS,
    MAX_ATTEMPTS,
    REVIEW_SECONDS,
    TIERS,
    ChunkKey,
    Number,
    Pass,
    from_key,
    object_key,
    rank,
)
from chalicelib.logs import about
from chalicelib.postgres import (
    announcements,
    deliveries,
    hashes,
    ledger,
    locks,
    manifest,
    outbox,
    passes,
    projection,
    proofs,
    repair,
    repeats,
    segments,
    sessions,
    stages,
    throttle,
    verdicts,
    vitals,
)
from chalicelib.postgres.announcements import Announced
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

LOST_SECONDS: Final = 25  # longer than a delayed copy is under way; with the sweep's 30 s, mended within a minute
STALLED_SECONDS: Final = 60  # a splitter that is alive gives a sign several times a second
DELIVERIES_KEPT_DAYS: Final = 30
EXPIRED_KEPT: Final = timedelta(days=30)
ABANDONED: Final = timedelta(days=1)  # the age of parts that are looked after; no request takes as long
MOST_PER_SWEEP: Final = 2000
_LOOKS_AT_ONCE: Final = 16


def bury(message: Mapping[str, Any]) -> Number | None:
    """Give up what a message of the dead-letter queue was to do, so that its upload can end."""
    number = message.get("upload")
    if type(number) is not int:
        return _bury_split(message)
    upload = ledger.find(connection(), number)
    if upload is None:
        return None
    about(upload.correlation_id, upload_id=upload.upload_id, chunk=message.get("chunk"))
    if upload.state in ("paused", "reverting"):
        return upload.number  # it is sent again when the upload is resumed, and an undo is sent for again
    key = manifest.named(upload.number, message)
    if key is not None:
        _bury_chunk(upload, key)
    else:
        _bury_settling(upload)
    return upload.number


def _bury_chunk(upload: ledger.Upload, key: ChunkKey) -> None:
    """Ten deliveries are worth one attempt: a queue that was throttled gives up messages whose chunks are well.

    Not of a chunk that somebody is at: this was a repeat.
    """
    db = connection()
    with locks.alone(db, locks.chunk(key.upload, key.n)) as is_free:
        has_more = is_free and manifest.spend(db, key)
    if upload.plan and has_more:
        sqs.send_chunks(upload.plan["tier"], upload.number, key.reading, [key.n], upload.tenant)


def _bury_settling(upload: ledger.Upload) -> None:
    """The same, if there is something to settle: a message may be of an earlier pass, or a repeat."""
    db, standing = connection(), ledger.standing(connection(), upload.number)
    is_due = standing.is_all_in and standing.has_contested
    if is_due and ledger.count_settling(db, upload.number, 1) >= MAX_ATTEMPTS:
        ledger.stop(db, upload.number, ledger.SETTLE_FAILED)


def _bury_split(message: Mapping[str, Any]) -> Number | None:
    for arrival in s3.arrivals(message):
        if arrival.segment is not None:
            continue  # nobody waits for it
        number = ledger.number_of(connection(), arrival.tenant, arrival.upload_id)
        if arrival.gate:
            if number is not None and not ledger.is_judged(connection(), number):
                ledger.stop(connection(), number, gate.UNAVAILABLE)
            return number
        if number is not None:
            _bury_scan(number)
            return number
        if announcements.find(connection(), arrival.tenant, arrival.upload_id) is None:
            continue  # whatever named it so
        announcements.close(connection(), arrival.upload_id, "failed")
        grown = rank("failed", 1, 0)
        dynamodb.project(arrival.tenant, arrival.upload_id, "failed", grown, {"error": ledger.SPLIT_FAILED})
    return None


def _bury_scan(number: Number) -> None:
    """Ten deliveries are worth one attempt of a splitter, too; the sweep sends for the next.

    Not of an upload that is split, or that a splitter is at, or is to come back to: this was a repeat.
    """
    db = connection()
    with locks.alone(db, locks.split(number)) as is_free:
        is_due = is_free and not segments.is_expected(db, number)
        if is_due and ledger.count_scan(db, number, 1) >= MAX_ATTEMPTS:
            ledger.stop(db, number, ledger.SPLIT_FAILED)


def sweep(onward: Callable[[Number], object]) -> dict[str, int]:
    """Mend everything that is stuck; how much of each kind there was.

    A step that fails leaves the others to run; the first failure is raised when all have.
    """
    steps: dict[str, Callable[[], int]] = {
        "hung_sessions": lambda: repair.end_hung_sessions(connection(), 2 * LOAD_SECONDS, STALLED_SECONDS),
        "files_awaited": _look_for_files,
        "parts_aborted": _abort_abandoned,
        "scans_restarted": _restart_scans,
        "scanners_asked": _ask_scanners,
        "chunks_resent": _resend_chunks,
        "events_resent": _resend_events,
        "receipts_resent": _resend_receipts,
        "reviews_expired": lambda: len(passes.expire_reviews(connection(), REVIEW_SECONDS)),
        "status_restored": _restore_status,
        "accounts_erased": erasure.sweep,
        "uploads_removed": retention.remove_deleted,  # after what may put an item back
        "stages_dropped": lambda: stages.drop_idle(connection()),
        "hashes_forgotten": lambda: hashes.forget_ended(connection()),
        "sessions_forgotten": lambda: sessions.forget_expired(connection()),
        "deliveries_forgotten": lambda: deliveries.forget(connection(), DELIVERIES_KEPT_DAYS, MOST_PER_SWEEP),
        "files_expired": retention.drop_files,
        "files_unopened_expired": retention.drop_unopened,
        "uploads_forgotten": retention.forget,
        "uploads_unopened_forgotten": retention.forget_unopened,
        "answers_forgotten": lambda: repeats.forget_old(connection()),
        "failed_logins_forgotten": lambda: throttle.forget_old(connection()),
        "pictures_deleted": pictures.sweep,
        "uploads_stuck": _take_the_pulse,
    }
    faults: list[Exception] = []
    done = {name: _tried(step, faults) for name, step in steps.items()}
    due = projection.list_due(connection())
    for number in due:
        _tried(partial(onward, number), faults)
    if faults:
        raise faults[0]
    return done | {"uploads_seen": len(due)}


def _tried(step: Callable[[], Any], faults: list[Exception]) -> Any:
    try:
        return step()
    except Exception as error:
        faults.append(error)


def _take_the_pulse() -> int:
    """Tell how much is under way, and how many uploads nothing has moved of for too long."""
    found = vitals.pulse(connection())
    metrics.measure("UploadsRunning", found.running)
    metrics.measure("UploadsStuck", found.stuck)
    metrics.measure("PostgresConnections", found.connections)
    return found.stuck


def _restart_scans() -> int:
    stalled = repair.take_stalled_scans(connection())
    for tenant, upload_id in stalled:
        sqs.send_for_split(tenant, upload_id)
    return len(stalled)


def _ask_scanners() -> int:
    late = verdicts.take_unasked(connection(), LOST_SECONDS, MOST_PER_SWEEP)
    for tenant, upload_id in late:
        sqs.send_for_gate(tenant, upload_id)
    return len(late)


def _look_for_files() -> int:
    """Split what has arrived without an event, expire what can no longer arrive; how many of both."""
    awaited = announcements.take_awaited(connection(), LOST_SECONDS, MOST_PER_SWEEP)
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        stored = list(pool.map(_look, awaited))
    passed_by = _passed_by()
    ended = 0
    for announced, found in zip(awaited, stored, strict=True):
        if found is not None and found.stored_at < passed_by:
            sqs.send_for_split(announced.tenant, announced.upload_id)
            ended += 1
        elif found is None and announced.is_late:
            ended += _expire(announced)
    return ended


def _look(announced: Announced) -> s3.Stored | None:
    """The file, if it has come. What clients are told of its upload is put back if it was lost."""
    _restore_item(announced.status)
    return s3.head(object_key(announced.tenant, announced.upload_id))


def _passed_by() -> datetime:
    """Files stored before this must have been split by now: the queue is empty, or has got to later ones."""
    if sqs.is_idle(settings().intake_queue):
        return datetime.max.replace(tzinfo=UTC)
    newest = ledger.newest_opened(connection())
    return newest - timedelta(seconds=LOST_SECONDS) if newest else datetime.min.replace(tzinfo=UTC)


def _expire(announced: Announced) -> bool:
    """End an upload whose file never came, or that was ended by halves; not one whose file has come in this moment."""
    forget_at = int((datetime.now(UTC) + EXPIRED_KEPT).timestamp())
    dynamodb.expire(announced.tenant, announced.upload_id, rank("expired", 1, 0), forget_at)
    shown = dynamodb.find(announced.tenant, announced.upload_id) or {"state": "expired"}
    is_over = shown["state"] in ("expired", "canceled", "failed")
    return is_over and announcements.close(connection(), announced.upload_id, shown["state"])


def _abort_abandoned() -> int:
    """Give up parts that nobody will put together: their upload has ended, or was never written."""
    aborted = 0
    for key, multipart_id in s3.open_multiparts(datetime.now(UTC) - ABANDONED):
        named = from_key(key)
        if named is None or not _waits_for(multipart_id, *named):
            s3.abort(key, multipart_id)
            aborted += 1
    return aborted


def _waits_for(multipart_id: str, tenant: str, upload_id: str) -> bool:
    """Whether these parts may still become a file. Either record will do: one may be lost for a while."""
    item = dynamodb.find(tenant, upload_id) or {}
    announced = announcements.find(connection(), tenant, upload_id)
    waiting = [item] if item.get("state") == "awaiting_upload" else []
    waiting += [announced.item] if announced and announced.closed is None else []
    return any(one.get("multipart_id") == multipart_id for one in waiting)


def _restore_status() -> int:
    """Rebuild a status table that was emptied: a page of uploads a sweep, the newest first, those at work at once."""
    restored = _restore(announcements.list_due(connection()))
    cursor = dynamodb.rebuilt_down_to()
    if cursor == dynamodb.ALL_REBUILT:
        return restored
    page = announcements.list_before(connection(), cursor or ABOVE_ALL_IDS, MOST_PER_SWEEP)
    restored += _restore(page)
    dynamodb.note_rebuilt(page[-1].upload_id if len(page) == MOST_PER_SWEEP else dynamodb.ALL_REBUILT)
    return restored


def _restore(page: list[Announced]) -> int:
    """Put back what the status table lacks of these uploads, and have them shown again; how many there were."""
    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        back = list(pool.map(_restore_item, [one.status for one in page]))
        list(pool.map(_restore_item, [one.idempotency for one in page if one.idempotency]))
    restored = [one.upload_id for one, was_lost in zip(page, back, strict=True) if was_lost]
    projection.show_again(connection(), restored)
    return len(restored)


def _restore_item(item: Mapping[str, Any]) -> bool:
    return dynamodb.find(item["tenant"], item["upload_id"]) is None and dynamodb.restore(item)


def _resend_events() -> int:
    """Have told what nobody has told yet, and tried again what is due and too far off for a delayed message."""
    events = outbox.take_unsent(connection(), LOST_SECONDS, MOST_PER_SWEEP)
    due = deliveries.take_due(connection(), LOST_SECONDS, MOST_PER_SWEEP)
    told = [(tenant, {"event": event_id}) for tenant, event_id in events]
    told += [(tenant, {"delivery": number}) for tenant, number in due]
    _send_by_tenant(settings().notify_queue, told)
    return len(events) + len(due)


def _resend_receipts() -> int:
    """Have those uploads read that are still without the receipt of their end, or without an answer to `verify`."""
    due = proofs.take_due(connection(), LOST_SECONDS, MOST_PER_SWEEP)
    _send_by_tenant(settings().receipt_queue, ((tenant, {"receipt": number}) for tenant, number in due))
    return len(due)


def _send_by_tenant(queue: str, messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for tenant, body in messages:
        groups[tenant].append(body)
    for tenant, bodies in groups.items():
        sqs.send_all(queue, bodies, tenant or "nobody")


def _resend_chunks() -> int:
    idle = [tier for tier in TIERS if sqs.is_idle(settings().tier_queue(tier))]
    stuck = repair.find_stuck_chunks(connection(), LOST_SECONDS, idle, MOST_PER_SWEEP)
    groups: dict[tuple[Number, Pass, str, str], list[int]] = defaultdict(list)
    for chunk in stuck:
        groups[chunk.upload, chunk.reading, chunk.tier, chunk.tenant].append(chunk.n)
    for (upload, reading, tier, tenant), places in groups.items():
        sqs.send_chunks(tier, upload, reading, places, tenant)
        manifest.mark_resent(connection(), upload, reading, places)
    return len(stuck)
