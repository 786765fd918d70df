"""Step 2: an object has arrived. Pin it, plan once, cut it into chunks at record borders, fan them out.

A UTF-8 file is never copied: a chunk is a byte range. Everything here may run twice or be cut off anywhere;
the plan makes the second run cut where the first did, and chunk rows are there before their messages.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from chalicelib import (
    ahead,
    aws,
    chunking,
    formats,
    gate,
    metrics,
    normalise,
    planning,
    publishing,
    rerun,
    seats,
    services,
)
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.chunking import Start
from chalicelib.errors import Infected, Refused, Unavailable
from chalicelib.formats import Dialect, threats
from chalicelib.journey import LOADING, MAX_ATTEMPTS, Chunk, Number, object_key
from chalicelib.logs import about
from chalicelib.postgres import announcements, doubles, ledger, locks, manifest, segments, stages
from chalicelib.postgres.connection import connection, when_back
from chalicelib.settings import settings

FLUSH_SECONDS: Final = 0.1
AT_ONCE: Final = 2  # chunks; one for each loader of a small machine
EARLY: Final = 4  # chunks that loaders may read and check while the scan goes on: all of a file of 32 MB


def file(message: Mapping[str, Any], deadline: float = math.inf) -> Number | None:
    """Split the upload a message names: an S3 event, or {"tenant", "upload_id"} from the sweep and from itself.

    One that names a "segment", too, has it scanned ahead for the splitter that is at work; one that says "gate" has the
    file looked at for malware.
    A scan that is not over at `deadline` (of time.monotonic) goes on by a message to itself.
    """
    arrivals = s3.arrivals(message)
    if arrivals and arrivals[0].segment is not None:
        ahead.help_out(arrivals[0])
        return None
    if arrivals and arrivals[0].gate:
        return _examine(arrivals[0], deadline)
    for arrival in arrivals[1:]:
        sqs.send_for_split(arrival.tenant, arrival.upload_id)
    return _split(arrivals[0], deadline) if arrivals else None


def _examine(arrival: s3.Arrival, deadline: float) -> Number | None:
    """Have a file looked at for malware; if it is found clean, and its borders are known, its chunks may load."""
    number = gate.examine(arrival, deadline)
    upload = ledger.find(connection(), number) if number else None
    if upload is not None and upload.is_cleared and upload.plan and upload.state in LOADING:
        gate.send(upload, upload.plan["tier"], manifest.list_unsent(connection(), upload.number, upload.reading))
    return number


def _split(arrival: s3.Arrival, deadline: float) -> Number | None:
    upload, sample = _open(arrival)
    if upload is not None:
        about(upload.correlation_id, upload_id=upload.upload_id)
    if upload is None or upload.state not in ("scanning", "splitting"):
        return upload.number if upload else None
    db = connection()
    with locks.alone(db, locks.split(upload.number)) as ours, seats.taken(upload, sample) as may_begin:
        # Whoever holds the lock keeps its own message until it is done, so this one may go.
        if not ours:
            return None
        if not may_begin:
            seats.put_off(upload)
            return upload.number
        goes_on = _attempt(upload, sample, deadline)
    if goes_on:  # not before the lock is free: whoever finds it held lets the message go
        segments.give_sign(db, upload.number, seats.LATE_SECONDS)
        sqs.send_for_split(upload.tenant, upload.upload_id)
    return upload.number


def _attempt(upload: ledger.Upload, sample: bytes | None, deadline: float) -> bool:
    """Scan, and give the fault to whom it belongs, as a load does: the services, the file, or the splitter.

    Whether the scan is to go on. What it puts into the manifest begins its attempts anew, so one that is out of time
    has spent none.
    """
    if ledger.count_scan(connection(), upload.number, 1) > MAX_ATTEMPTS:
        _fail(upload, ledger.SPLIT_FAILED)
        metrics.count("Errors")  # once a file: each attempt was put off, or killed
        return False
    try:
        return _scan_or_end(upload, sample, deadline)
    except Exception as error:
        if not services.are_to_blame(error):
            # Counted already, so a copy in seconds is as safe as the queue's own in an hour and a half.
            raise Unavailable("scan_failed", "The scan failed; it is tried again.") from error
        when_back(lambda db: ledger.count_scan(db, upload.number, -1))
        raise


def _scan_or_end(upload: ledger.Upload, sample: bytes | None, deadline: float) -> bool:
    """Scan the file, or end the upload for what is in it: whether the scan is to go on."""
    try:
        return _scan(upload, sample, deadline)
    except Infected as found:
        gate.quarantine(upload, found)
    except Refused as refused:
        _fail(upload, refused.told)
    return False


def _fail(upload: ledger.Upload, error: Mapping[str, Any]) -> None:
    ledger.stop(connection(), upload.number, error)
    segments.forget(connection(), upload.number)


def _open(arrival: s3.Arrival) -> tuple[ledger.Upload | None, bytes | None]:
    """The upload as the ledger has it, which once it has it does not ask the status table again.

    With its first bytes, if they had to be read. Nothing of the message is believed but whose upload it speaks of,
    and that only if one of the two knows it.
    """
    number = ledger.number_of(connection(), arrival.tenant, arrival.upload_id)
    if number is None:
        return _pin(arrival)
    announcements.close(connection(), arrival.upload_id, "opened")
    return ledger.find(connection(), number), None


def _pin(arrival: s3.Arrival) -> tuple[ledger.Upload | None, bytes | None]:
    """Pin the object's first version and hand the state over to Postgres."""
    tenant, upload_id = arrival.tenant, arrival.upload_id
    arrived = s3.begin(object_key(tenant, upload_id), formats.SAMPLE_BYTES)
    item = dynamodb.pin(tenant, upload_id, arrived[0]) if arrived else dynamodb.find(tenant, upload_id)
    if item is None:
        aws.warm()  # as in load: it was sent to have a new process ready
        return None, None
    if item["state"] in ("expired", "canceled"):
        announcements.close(connection(), upload_id, item["state"])  # or the sweep would find the file again and again
        return None, None
    if arrived is None or "etag" not in item:
        return None, None
    stored, sample = arrived
    upload = ledger.open_upload(
        connection(),
        {
            "upload_id": upload_id,
            "tenant": tenant,
            "dataset": item["dataset"],
            "mode": item["mode"],
            "dialect": json.loads(item["dialect"]),
            "options": json.loads(item.get("options", "{}")),
            "correlation_id": item["correlation_id"],
            "object_key": object_key(tenant, upload_id),
            "version_id": item["version_id"],
            "etag": item["etag"],
            "bytes_total": stored.size,
            "stored_at": arrival.refine(stored.stored_at),
            **gate.asked(),
        },
    )
    if upload is None:
        return None, None
    return upload, sample if upload.etag == stored.etag else None


def _scan(upload: ledger.Upload, sample: bytes | None, deadline: float) -> bool:
    """Scan the file, or what an earlier scan has left of it; whether `deadline` leaves some of it. Raises Refused."""
    db = connection()
    if upload.dataset_is_gone:
        raise Refused(
            "dataset_gone", "The dataset was deleted before the file came, or may not be written to any more."
        )
    if upload.verdict is None and not upload.plan:
        sqs.send_for_gate(upload.tenant, upload.upload_id)
    if upload.options.get("on_duplicate_file") == "reject" and not upload.plan:
        _refuse_double(upload)
    planned = _planned(upload, sample, deadline)
    if planned is None:
        return False
    upload, plan, begin = planned
    upload = _staged_if_sooner(upload)
    if upload.is_staged:
        stages.make(db, publishing.stage_of(upload))
    if upload.plan:  # else it has no chunks yet
        ledger.begin_splitting(db, upload.number)
        _send_early(upload, plan, manifest.list_unsent(db, upload.number, upload.reading))
    outcome = _fan_out(upload, plan, begin, deadline)
    if outcome == "over":
        _end(upload, plan)
    return outcome == "out of time"


def _staged_if_sooner(upload: ledger.Upload) -> ledger.Upload:
    """The upload, staged if it is a large file that brings a dataset with keys its first rows.

    Its indexes are then built once, over all rows, of which each would go down them by itself.
    """
    is_large = upload.reading == "load" and upload.text.size >= settings().first_load_bytes
    if not is_large or upload.is_staged or not publishing.is_sooner_staged(publishing.stage_of(upload).schema):
        return upload
    return replace(upload, first_load=ledger.begin_first_load(connection(), upload.number))


def _end(upload: ledger.Upload, plan: Mapping[str, Any]) -> None:
    """The whole text is scanned: say so, and send what waited for that."""
    db = connection()
    last = manifest.last_chunk(db, upload.number, upload.reading)
    chunks_total, rows_total = (last.n, last.first_record + last.records - 1) if last else (0, 0)
    # Of a scan that was cut off, what was sent early may be lost since; the sweep looks for none of it before.
    again = EARLY if upload.plan and not upload.is_cleared else 0
    is_cleared = ledger.end_scan(db, upload.number, upload.reading, chunks_total, rows_total)
    if is_cleared and (again or chunks_total > EARLY or upload.verdict is None):
        gate.send(upload, plan["tier"], manifest.list_unsent(db, upload.number, upload.reading, again))
    if plan.get("segment_bytes"):
        segments.forget(db, upload.number)


def _refuse_double(upload: ledger.Upload) -> None:
    """Refuse what another upload has brought, as its owner wants it. Raises Refused naming that upload."""
    earlier = doubles.find_stored(connection(), upload.number)
    if earlier is not None:
        raise doubles.refusal(earlier)


def _planned(
    upload: ledger.Upload, sample: bytes | None, deadline: float
) -> tuple[ledger.Upload, dict[str, Any], bytes] | None:
    """The upload with a text to cut, its plan, and what was read of the text for it; None if it has ended meanwhile.

    `sample`: the first bytes of the file, if they have been read.
    """
    if upload.plan:
        return upload, upload.plan, b""
    if "fix" in upload.options:
        again = rerun.ready(upload, deadline)
        return None if again is None else (again[0], ledger.keep_plan(connection(), upload.number, again[1]), b"")
    if sample is None or upload.piece:
        sample = planning.sample(upload.text)
    threats.refuse(sample)  # before the file can be refused for anything else
    ready = normalise.ready(upload, sample, deadline, planning.plan)
    if ready is None:
        return None
    if ready is not upload:
        sample = planning.sample(ready.text)
    return ready, ledger.keep_plan(connection(), upload.number, planning.plan(ready, sample)), sample


def _fan_out(
    upload: ledger.Upload, plan: Mapping[str, Any], sample: bytes, deadline: float
) -> Literal["over", "out of time", "ended"]:
    """Send chunks out while the scan runs, from where an interrupted scan left off."""
    again = 1 if upload.plan else 0  # its first batch is the last chunk on record
    for turn, batch in enumerate(_batches(_cut(upload, plan, sample))):
        places = _record(upload, batch)
        if places is None:
            return "ended"
        _send_early(upload, plan, places)
        if turn >= again and time.monotonic() >= deadline:
            return "out of time"
    return "over"


def _record(upload: ledger.Upload, batch: Sequence[Chunk]) -> list[int] | None:
    """Put chunks into the manifest, unless the upload has ended or is to: then nothing may be added to its sums."""
    db = connection()
    with db.transaction():
        ledger.lock_upload(db, upload.number, shared=True)
        if not ledger.is_splitting(db, upload.number, upload.reading):
            return None
        return manifest.add_chunks(db, upload.number, upload.reading, batch)


def _cut(upload: ledger.Upload, plan: Mapping[str, Any], sample: bytes) -> Iterator[Chunk]:
    last = manifest.last_chunk(connection(), upload.number, upload.reading) if upload.plan else None
    if upload.reading == "load" and upload.is_checked_first:
        return manifest.checked_chunks(connection(), upload.number, last.n - 1 if last else 0)
    start = _resumed(last) or Start(plan["data_start"], plan["first_line"])
    text = upload.text
    if plan.get("segment_bytes"):
        return ahead.chunks(upload, plan, start)
    rest = [sample[start.byte :]] if len(sample) == text.size else s3.stream(text.key, text.etag, start.byte, text.size)
    rule = chunking.Rule(Dialect.planned(plan), plan["chunk_bytes"], plan["chunk_records"])
    return chunking.cut(threats.watched(rest), rule, start)


def _resumed(last: Chunk | None) -> Start | None:
    """At the start of the last chunk on record, which has a line number there and none at its end."""
    return Start(last.byte_start, last.first_line, last.n, last.first_record) if last else None


def _batches(chunks: Iterator[Chunk]) -> Iterator[list[Chunk]]:
    """The first chunks at once, so that loading starts; then ten at a time or what 0.1 s brought."""
    batch: list[Chunk] = []
    due = 0.0
    for place, chunk in enumerate(chunks, 1):
        batch.append(chunk)
        if place <= AT_ONCE or len(batch) == sqs.BATCH or time.monotonic() >= due:
            yield batch
            batch, due = [], time.monotonic() + FLUSH_SECONDS
    if batch:
        yield batch


def _send_early(upload: ledger.Upload, plan: Mapping[str, Any], places: Sequence[int]) -> None:
    """Send what may be loaded by now, and of the rest as much as is worth reading before it may."""
    early = [n for n in places if upload.is_cleared or n <= EARLY] if upload.verdict else []
    gate.send(upload, plan["tier"], early)
