"""Step 6: what a crash left half-said. Bury what is out of attempts; sweep, every minute, the rest.

Nothing here decides anew: it sends again, or ends what can no longer go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.journey import LOAD_SECONDS, TIERS, UPLOAD_SECONDS, Number, object_key, rank, rfc3339
from chalicelib.logs import about
from chalicelib.postgres import ledger, manifest
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

LOST_SECONDS: Final = 30  # an upload whose file is there for this long without a split lost its event
STALLED_SECONDS: Final = 60  # a splitter notes a heartbeat several times a second
EXPIRED_KEPT: Final = timedelta(days=30)
MOST_PER_SWEEP: Final = 500

_SPLIT_FAILED: Final = {
    "code": "split_failed",
    "detail": "The file could not be split; it can be uploaded again.",
}
_SETTLE_FAILED: Final = {"code": "settle_failed", "detail": "Rows with the same key could not be settled."}


def bury(message: Mapping[str, Any]) -> Number | None:
    """Give up what a message of the dead-letter queue was to do, so that its upload can end."""
    number = message.get("upload")
    if type(number) is not int:
        return _bury_split(message)
    upload = ledger.find(connection(), number)
    if upload is None:
        return None
    about(upload.correlation_id, upload_id=upload.upload_id, chunk=message.get("chunk"))
    if type(message.get("chunk")) is int:
        manifest.bury(connection(), upload.number, message["chunk"])
    else:
        ledger.stop(connection(), upload.number, _SETTLE_FAILED)
    return upload.number


def _bury_split(message: Mapping[str, Any]) -> Number | None:
    for arrival in s3.arrivals(message):
        number = ledger.number_of(connection(), arrival.tenant, arrival.upload_id)
        if number is not None:
            ledger.stop(connection(), number, _SPLIT_FAILED)
            return number
        grown = rank("failed", 1, 0)
        dynamodb.project(arrival.tenant, arrival.upload_id, "failed", grown, {"error": _SPLIT_FAILED})
    return None


def sweep(onward: Callable[[Number], object]) -> dict[str, int]:
    """Mend everything that is stuck; how much of each kind there was."""
    awaited, expired = _look_for_files()
    stuck = manifest.find_stuck(connection(), LOAD_SECONDS, STALLED_SECONDS, _idle_tiers())
    _send_again(stuck)
    for tenant, upload_id in stuck.stalled_scans:
        sqs.send(settings().intake_queue, {"tenant": tenant, "upload_id": upload_id})
    unfinished = ledger.list_unfinished(connection())
    for number in unfinished:
        onward(number)
    return {
        "lost_events": awaited,
        "expired": expired,
        "chunks_resent": len(stuck.chunks),
        "scans_restarted": len(stuck.stalled_scans),
        "uploads_seen": len(unfinished),
    }


def _look_for_files() -> tuple[int, int]:
    """Split what has arrived without an event; expire what can no longer arrive."""
    now = datetime.now(UTC)
    closed = rfc3339(now - timedelta(seconds=UPLOAD_SECONDS + LOST_SECONDS))
    awaited = expired = 0
    for item in islice(dynamodb.waiting(rfc3339(now - timedelta(seconds=LOST_SECONDS))), MOST_PER_SWEEP):
        tenant, upload_id = item["tenant"], item["upload_id"]
        if s3.head(object_key(tenant, upload_id)) is not None:
            sqs.send(settings().intake_queue, {"tenant": tenant, "upload_id": upload_id})
            awaited += 1
        elif item["created_at"] < closed:
            forget_at = int((now + EXPIRED_KEPT).timestamp())
            expired += dynamodb.expire(tenant, upload_id, rank("expired", 1, 0), forget_at)
    return awaited, expired


def _idle_tiers() -> list[str]:
    return [tier for tier in TIERS if sqs.is_idle(settings().tier_queue(tier))]


def _send_again(stuck: manifest.Stuck) -> None:
    groups: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    for upload, n, tier, tenant in stuck.chunks:
        groups[upload, tier, tenant].append(n)
    for (upload, tier, tenant), places in groups.items():
        sqs.send_all(settings().tier_queue(tier), [{"upload": upload, "chunk": n} for n in places], tenant)
        manifest.mark_resent(connection(), upload, places)
