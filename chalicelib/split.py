"""Step 2: an object has arrived. Pin it, plan once, cut it into chunks at record borders, fan them out.

A UTF-8 file is never copied: a chunk is a byte range. Everything here may run twice or be cut off anywhere;
the plan makes the second run cut where the first did, and chunk rows are there before their messages.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any, Final, Literal

from chalicelib import chunking, formats, inference, matching, normalise
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.chunking import Start
from chalicelib.datasets import Schema, read_schema
from chalicelib.errors import Refused
from chalicelib.formats import Dialect, correction, excel
from chalicelib.journey import Chunk, Number, object_key, tier
from chalicelib.logs import about
from chalicelib.postgres import announcements, ledger, locks, manifest
from chalicelib.postgres.connection import connection
from chalicelib.settings import ChunkRule, settings

SPLITTER_VERSION: Final = 2
SAMPLE_BYTES: Final = 256 * 1024
REVIEWED_ROWS: Final = 20
REVIEWED_CELLS: Final = 1000  # the status table holds them
REVIEWED_LENGTH: Final = 40
FLUSH_SECONDS: Final = 0.2


def file(message: Mapping[str, Any], deadline: float = math.inf) -> Number | None:
    """Split the upload a message names: an S3 event, or {"tenant", "upload_id"} from the sweep and from itself.

    A scan that is not over at `deadline` (of time.monotonic) goes on by a message to itself.
    """
    arrivals = s3.arrivals(message)
    for arrival in arrivals[1:]:
        sqs.send_for_split(arrival.tenant, arrival.upload_id)
    return _split(arrivals[0], deadline) if arrivals else None


def _split(arrival: s3.Arrival, deadline: float) -> Number | None:
    upload = _open(arrival)
    if upload is not None:
        about(upload.correlation_id, upload_id=upload.upload_id)
    if upload is None or upload.state not in ("scanning", "splitting"):
        return upload.number if upload else None
    db = connection()
    with locks.alone(db, locks.split(upload.number)) as ours:
        # Whoever holds the lock keeps its own message until it is done, so this one may go.
        if not ours:
            return None
        try:
            _scan(upload, deadline)
        except Refused as refused:
            ledger.stop(db, upload.number, {"code": refused.code, "detail": refused.detail, "errors": refused.errors})
    return upload.number


def _open(arrival: s3.Arrival) -> ledger.Upload | None:
    """The upload as the ledger has it, which once it has it does not ask the status table again.

    Nothing of the message is believed but whose upload it speaks of, and that only if one of the two knows it.
    """
    number = ledger.number_of(connection(), arrival.tenant, arrival.upload_id)
    upload = ledger.find(connection(), number) if number else _pin(arrival)
    if upload is not None:
        announcements.close(connection(), arrival.upload_id, "opened")
    return upload


def _pin(arrival: s3.Arrival) -> ledger.Upload | None:
    """Pin the object's first version and hand the state over to Postgres."""
    tenant, upload_id = arrival.tenant, arrival.upload_id
    item = dynamodb.find(tenant, upload_id)
    stored = s3.head(object_key(tenant, upload_id)) if item else None
    if item is not None and item["state"] in ("expired", "canceled"):
        announcements.close(connection(), upload_id, item["state"])  # or the sweep would find the file again and again
        return None
    if item is None or stored is None:
        return None
    if not dynamodb.pin(tenant, upload_id, stored):
        item = dynamodb.find(tenant, upload_id) or item
        if "etag" not in item:
            return None
    return ledger.open_upload(
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
            "version_id": item.get("version_id", stored.version_id),
            "etag": item.get("etag", stored.etag),
            "bytes_total": stored.size,
            "stored_at": arrival.refine(stored.stored_at),
        },
    )


def _scan(upload: ledger.Upload, deadline: float) -> None:
    db = connection()
    ready = upload if upload.plan else normalise.ready(upload, deadline)
    if ready is None:
        return
    upload = ready
    plan = upload.plan or ledger.keep_plan(db, upload.number, _plan(upload))
    ledger.begin_splitting(db, upload.number)
    send(upload, plan["tier"], manifest.list_unsent(db, upload.number, upload.reading))
    match _fan_out(upload, plan, deadline):
        case "over":
            last = manifest.last_chunk(db, upload.number, upload.reading)
            chunks_total, rows_total = (last.n, last.first_record + last.records - 1) if last else (0, 0)
            ledger.end_scan(db, upload.number, upload.reading, chunks_total, rows_total)
        case "out of time":
            sqs.send_for_split(upload.tenant, upload.upload_id)


def _plan(upload: ledger.Upload) -> dict[str, Any]:
    """Everything the cuts and the loads depend on, decided once."""
    text = upload.text
    size = text.size
    if size == 0:
        raise Refused("file_empty", "The file has no bytes, not even a header.")
    sample = s3.read(text.key, text.etag, 0, min(size, SAMPLE_BYTES))
    first_lines = excel.reveal(sample) if text.by_rows else sample
    schema = None if upload.dataset == 0 else read_schema(upload.descriptor)
    names = schema.names if schema else ()
    detected = formats.detect(first_lines, text.dialect, truncated=size > len(sample), names=names)
    dialect = detected.dialect
    header = formats.header(first_lines, dialect, truncated=size > len(sample))
    start = header.end
    heads = correction.restored(header.names)
    names = schema.names if schema else inference.column_names(header.names, detected.columns)
    columns = _columns(heads, detected, schema, upload.options.get("mapping", {})) if schema else _named(names)
    queue = tier(_estimate_rows(sample[start:], size - start))
    rule = _chunk_rule(sqs.depth(settings().tier_queue(queue)))
    return {
        "splitter": SPLITTER_VERSION,
        "dataset_version": upload.dataset_version,
        "dialect": asdict(dialect),
        "shown": {**asdict(dialect), "detected": _evidence(detected, upload), **text.origin},
        "positions": matching.positions(columns, names),
        "width": len(columns),
        "mapping": matching.shown(columns),
        "nameless": header.nameless,
        "header": heads,
        "own": correction.marks(heads) if schema else {},
        **({} if schema else {"names": names, "rows": _first_rows(first_lines[start:], dialect, len(names))}),
        "data_start": start,
        "first_line": 1 + (sample.count(b"\n", 0, start) if text.by_rows else header.lines),
        "chunk_bytes": _equal_chunks(size - start, rule.bytes),
        "chunk_records": rule.records,
        "tier": queue,
    }


def _chunk_rule(depth: int) -> ChunkRule:
    """The size of chunks while so many messages wait before them."""
    return next(rule for rule in settings().chunk_policy if depth >= rule.depth)


def _evidence(detected: formats.Detected, upload: ledger.Upload) -> dict[str, Any]:
    """How sure the detection is: so many of the sample's records have as many cells as the first."""
    return {
        "declared": sorted(upload.dialect),
        "records": detected.records,
        "agreeing": detected.agreeing,
        "columns": detected.columns,
        "confidence": {**detected.confidence, **upload.text.confidence},
        "line_ends": dict(detected.line_ends),
        "ambiguous": detected.is_ambiguous,
        "alternatives": [asdict(each) for each in detected.alternatives],
    }


def _columns(
    header: Sequence[str], detected: formats.Detected, schema: Schema, mapping: matching.Mapped
) -> list[matching.Column]:
    """The file's columns and their fields. Without a header, by the width that most records of the sample have."""
    if detected.dialect.header:
        own = dict.fromkeys(correction.marks(header))  # columns of a rejects file are nobody's field
        return matching.match(header, schema.names, {**own, **mapping})
    ignored = sum(field is None for field in mapping.values())
    usual = detected.columns if 2 * detected.agreeing > detected.records else len(schema.fields) + ignored
    return matching.by_position(usual, schema.names, mapping)


def _named(names: Sequence[str]) -> list[matching.Column]:
    """The columns of a file that makes its own dataset."""
    return [matching.Column(place, name, name, "exact") for place, name in enumerate(names, 1)]


def _first_rows(sample: bytes, dialect: Dialect, width: int) -> list[list[str]]:
    """The first rows for people to look at, cells cut short; fewer of a wide file."""
    most = min(REVIEWED_ROWS, max(1, REVIEWED_CELLS // width))
    return [[_printable(cell) for cell in row[:width]] for row in islice(formats.records(sample, dialect), most)]


def _printable(cell: str) -> str:
    return cell[:REVIEWED_LENGTH].encode(errors="replace").decode().replace("\0", "\ufffd")


def _estimate_rows(sample: bytes, size: int) -> int:
    """About how many rows `size` bytes hold, by the line ends of a sample."""
    lines = max(sample.count(b"\n"), sample.count(b"\r"))
    return size * lines // len(sample) if sample else 0


def _equal_chunks(size: int, most: int) -> int:
    """Chunks of equal size and, above one, even number: two workers then end together."""
    chunks = -(-size // most)
    return max(1, -(-size // (chunks + chunks % 2))) if chunks > 1 else most


def _fan_out(
    upload: ledger.Upload, plan: Mapping[str, Any], deadline: float
) -> Literal["over", "out of time", "ended"]:
    """Send chunks out while the scan runs, from where an interrupted scan left off."""
    for batch in _batches(_cut(upload, plan)):
        places = _record(upload, batch)
        if places is None:
            return "ended"
        send(upload, plan["tier"], places)
        if places and time.monotonic() >= deadline:
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


def _cut(upload: ledger.Upload, plan: Mapping[str, Any]) -> Iterator[Chunk]:
    last = manifest.last_chunk(connection(), upload.number, upload.reading)
    if upload.reading == "load" and upload.is_checked_first:
        return manifest.checked_chunks(connection(), upload.number, last.n - 1 if last else 0)
    start = _resumed(last) or Start(plan["data_start"], plan["first_line"])
    return chunking.cut(
        s3.stream(upload.text.key, upload.text.etag, start.byte, upload.text.size),
        Dialect.from_options(plan["dialect"]),
        start=start,
        chunk_bytes=plan["chunk_bytes"],
        chunk_records=plan["chunk_records"],
    )


def _resumed(last: Chunk | None) -> Start | None:
    """At the start of the last chunk on record, which has a line number there and none at its end."""
    return Start(last.byte_start, last.first_line, last.n, last.first_record) if last else None


def _batches(chunks: Iterator[Chunk]) -> Iterator[list[Chunk]]:
    """The first chunk at once, so that loading starts; then ten at a time or what 0.2 s brought."""
    batch: list[Chunk] = []
    due = 0.0
    for chunk in chunks:
        batch.append(chunk)
        if len(batch) == sqs.BATCH or time.monotonic() >= due:
            yield batch
            batch, due = [], time.monotonic() + FLUSH_SECONDS
    if batch:
        yield batch


def send(upload: ledger.Upload, tier: str, places: Sequence[int]) -> None:
    """Send chunks to their tier's queue, then note that they were sent."""
    if not places:
        return
    sqs.send_chunks(tier, upload.number, upload.reading, places, upload.tenant)
    manifest.mark_sent(connection(), upload.number, upload.reading, places)
