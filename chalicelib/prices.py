"""What an upload costs on AWS: an estimate by one table of list prices, without free tiers, taxes and the database.

Measured: the seconds of chunks at work (from a worker's claim to its commit), of the scan (from the upload's first
sign to its last chunk) and of settling (from the last chunk to the correction, its message's wait included), attempts,
bytes. By formula: the rest of an invocation (INVOCATION_S) and every count of requests, as the protocol makes them
where nothing fails. Left out: what the API is asked, polls included, idle polling of queues, logs, and keeping files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

AS_OF: Final = "us-east-1 list prices, March 2026"
GB_SECOND: Final = 0.0000166667  # Lambda on x86, the first six billion of a month
USD_PER_MILLION: Final[Mapping[str, float]] = {
    "invocations": 0.20,
    "sqs": 0.50,  # of a standard queue, with what a message group adds
    "s3_put": 5.00,
    "s3_get": 0.40,
    "dynamodb_write": 0.625,  # units of 1 KB, on demand
}
MEMORY_MB: Final[Mapping[str, int]] = {"split": 512, "load": 512, "settle": 256}  # as .chalice/config.json has it

INVOCATION_S: Final = 0.05  # of an invocation besides what is measured: to find the upload, to end and to show it
STATUS_UNITS: Final = 3  # that a write of the status takes: an item has 2 to 3 KB
STATUS_PER_SECOND: Final = 2
PARTS_ABOVE: Final = 100_000_000  # as clients send files by default, in parts of
PART_BYTES: Final = 16 << 20
SAMPLE_BYTES: Final = 256 * 1024  # as formats has it; a text of no more is not streamed besides
STREAM_BYTES: Final = 16 << 20
PIECE_PART_BYTES: Final = 8 << 20
SCAN_SECONDS: Final = 900  # of an upload that was redriven: nobody knows when the scan began anew
SETTLE_SECONDS: Final = 300  # that one settling may run: beyond it its message waited, as of an upload that was paused


@dataclass(frozen=True, slots=True)
class Work:
    """What an upload has taken so far, in all its passes. `pieced` are the bytes of a file that was unpacked."""

    passes: int
    chunks: int
    attempts: int
    split_s: float
    load_s: float
    settle_s: float
    settlings: int
    stored: int
    pieced: int
    read: int  # by the scan and by all loads
    lasted_s: float


@dataclass(frozen=True, slots=True)
class Requests:
    """By formula, as units that are priced."""

    invocations: int
    sqs: int
    s3_put: int
    s3_get: int
    dynamodb_write: int


def requests(work: Work) -> Requests:
    """What the protocol asks of AWS for this work.

    A message is sent, received and deleted, chunks' in tens but for the first ones; one that is put off is sent again.
    A chunk is one GET; the scan reads a sample and streams what is larger, 16 MiB at a time. The status is written at
    every step, at most twice a second; admission and pin are a transaction and an update.
    """
    again = max(0, work.attempts - work.chunks)
    sends = min(work.chunks, 3) - (-max(0, work.chunks - 4) // 10)  # four early, the others once the scan is over
    parts = -(-work.stored // PART_BYTES) + 2 if work.stored > PARTS_ABOVE else 1
    piece = -(-work.pieced // PIECE_PART_BYTES) + 2 if work.pieced else 0
    scanned = work.pieced or work.stored
    streams = -(-scanned // STREAM_BYTES) if scanned > SAMPLE_BYTES else 0
    shown = min(work.passes + work.chunks, int(STATUS_PER_SECOND * work.lasted_s) + 2)
    return Requests(
        invocations=work.passes + work.attempts + work.settlings,
        sqs=3 * (work.passes + work.settlings) + sends + 2 * work.chunks + 3 * again,
        s3_put=parts + piece,
        s3_get=1 + streams + (2 if work.pieced else 0) + max(work.chunks, work.attempts),
        dynamodb_write=STATUS_UNITS * shown + 6,
    )


def gb_seconds(work: Work, memory: Mapping[str, int] = MEMORY_MB) -> dict[str, float]:
    """What functions are billed for, by what they do."""
    ran = {
        "split": work.split_s + INVOCATION_S * work.passes,
        "load": work.load_s + INVOCATION_S * work.attempts,
        "settle": work.settle_s + INVOCATION_S * work.settlings,
    }
    return {name: seconds * memory[name] / 1024 for name, seconds in ran.items()}


def usd(work: Work, memory: Mapping[str, int] = MEMORY_MB) -> float:
    """The sum of it all."""
    asked: dict[str, int] = asdict(requests(work))
    functions = GB_SECOND * sum(gb_seconds(work, memory).values())
    return functions + sum(USD_PER_MILLION[name] * count for name, count in asked.items()) / 1e6


def cost(seen: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the status says of it, from a snapshot; None before anything is planned."""
    if not seen["plan"]:
        return None
    work, rows = _work(seen), seen["records_done"]
    asked, spent = requests(work), usd(work)
    return {
        "usd": round(spent, 9),
        "usd_per_million_rows": round(1e6 * spent / rows, 6) if rows else None,
        "gb_seconds": {name: round(value, 4) for name, value in gb_seconds(work).items()},
        "requests": {
            "lambda": asked.invocations,
            "sqs": asked.sqs,
            "s3": asked.s3_put + asked.s3_get,
            "dynamodb_units": asked.dynamodb_write,
        },
        "bytes": {"stored": work.stored + work.pieced, "read": work.read},
        "estimate": AS_OF,
    }


def _work(seen: Mapping[str, Any]) -> Work:
    """The snapshot's sums. The second pass of a file copies the first one's chunks and reads only them."""
    pieced = seen["bytes_total"] if seen["is_piece"] else 0
    redriven = seen["generation"] > 1
    return Work(
        passes=seen["passes"],
        chunks=seen["chunks_cut"],
        attempts=seen["attempts"],
        split_s=min(SCAN_SECONDS, seen["scan_s"]) if redriven else seen["scan_s"],
        load_s=seen["load_s"],
        settle_s=min(seen["settle_s"], SETTLE_SECONDS * max(1, seen["settle_attempts"])),
        settlings=seen["settle_attempts"],
        stored=seen["bytes_stored"],
        pieced=pieced,
        read=seen["bytes_stored"] + pieced + seen["bytes_cut"],
        lasted_s=seen["lasted_s"],
    )
