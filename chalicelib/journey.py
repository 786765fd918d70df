"""The words of the protocol: states, the moves between them, chunks as they travel, how rows are numbered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, NewType, overload

Number = NewType("Number", int)  # an upload's number in Postgres

State = Literal[
    "awaiting_upload",
    "uploaded",
    "scanning",
    "splitting",
    "queued",
    "processing",
    "paused",
    "needs_review",
    "canceling",
    "completed",
    "completed_with_errors",
    "failed",
    "canceled",
    "expired",
    "reverting",
    "reverted",
    "quarantined",
]
Mode = Literal["insert", "skip", "upsert"]
Tier = Literal["high", "medium", "low"]
Pass = Literal["check", "load"]  # of an upload over its file; a check writes no row
MODES: Final[tuple[Mode, ...]] = ("insert", "skip", "upsert")
TIERS: Final[tuple[Tier, ...]] = ("high", "medium", "low")
PASSES: Final[tuple[Pass, ...]] = ("check", "load")

TRANSITIONS: Final[Mapping[State, tuple[State, ...]]] = {
    "awaiting_upload": ("uploaded", "expired", "failed", "canceled"),
    "uploaded": ("scanning", "failed", "canceled"),
    "scanning": ("splitting", "failed", "quarantined", "canceling", "canceled"),
    "splitting": (
        *("queued", "processing", "needs_review", "completed", "completed_with_errors", "failed"),
        *("quarantined", "canceling", "canceled"),
    ),
    "queued": (
        *("processing", "paused", "needs_review", "splitting", "completed", "completed_with_errors", "failed"),
        *("quarantined", "canceling", "canceled"),
    ),
    "processing": (
        *("paused", "needs_review", "splitting", "completed", "completed_with_errors", "failed"),
        *("quarantined", "canceling", "canceled"),  # the scanner may answer after a redrive
    ),
    # Resume, or no end but a bad one.
    "paused": ("queued", "processing", "failed", "quarantined", "canceling", "canceled"),
    "needs_review": ("splitting", "canceling", "canceled"),  # confirm begins the pass that loads
    # Shown while a wish to cancel waits for the chunks in flight; an end that was being drawn comes first.
    "canceling": ("canceled", "completed", "completed_with_errors", "failed", "quarantined"),
    "completed": ("reverting",),  # revert
    "completed_with_errors": ("processing", "reverting"),  # redrive, revert
    "failed": ("processing", "scanning", "reverting"),  # redrive, revert
    "canceled": ("reverting",),  # revert
    "expired": (),
    "reverting": ("reverted", "failed"),
    "reverted": (),
    "quarantined": (),  # nothing of it was loaded, and nobody may try again
}
# What a client may ask of an upload, and in which states. Asked again of what is so already, it changes nothing.
Verb = Literal[
    "parts", "complete", "cancel", "pause", "resume", "confirm", "redrive", "retry", "revert", "delete", "verify"
]
VERBS: Final[Mapping[Verb, tuple[State, ...]]] = {
    "parts": ("awaiting_upload",),
    "complete": tuple(state for state in TRANSITIONS if state != "expired"),  # once the file is there it is done
    "cancel": (
        *("awaiting_upload", "uploaded", "scanning", "splitting", "queued", "processing", "paused", "needs_review"),
        *("canceling", "canceled"),
    ),
    "pause": ("queued", "processing", "paused"),
    "resume": ("paused", "queued", "processing"),
    "confirm": ("needs_review",),
    "redrive": ("completed_with_errors", "failed"),  # of which something was given up
    "retry": ("completed_with_errors", "failed", "canceled"),  # of which rows were rejected
    "revert": ("completed", "completed_with_errors", "failed", "canceled", "reverting", "reverted"),
    "delete": (
        *("awaiting_upload", "completed", "completed_with_errors", "failed", "canceled", "expired", "reverted"),
        "quarantined",
    ),
    "verify": ("completed", "completed_with_errors", "failed", "canceled", "reverted"),  # of which there was a file
}
TERMINAL: Final[frozenset[State]] = frozenset(
    ("completed", "completed_with_errors", "failed", "canceled", "expired", "reverted", "quarantined")
)
AT_REST: Final[frozenset[State]] = TERMINAL | {"needs_review"}  # nothing moves by itself
LOADING: Final[tuple[State, ...]] = ("splitting", "queued", "processing")  # chunks may begin
COMMITTING: Final[tuple[State, ...]] = (*LOADING, "paused")  # those in hand may commit

STATUS: Final[Mapping[State, str]] = {
    "awaiting_upload": "pending",
    "uploaded": "pending",
    "scanning": "processing",
    "splitting": "processing",
    "queued": "processing",
    "processing": "processing",
    "paused": "pending",
    "needs_review": "pending",
    "canceling": "processing",
    "completed": "success",
    "completed_with_errors": "partial",
    "failed": "failed",
    "canceled": "canceled",
    "expired": "failed",
    "reverting": "processing",
    "reverted": "canceled",
    "quarantined": "failed",
}

_UPLOAD_ID: Final = re.compile(r"upl_[0-9A-Z]{26}").fullmatch
ABOVE_ALL_IDS: Final = "upl_~"  # sorts after every upload id
COUNTS: Final = ("loaded", "updated", "skipped", "rejected", "unprocessed")  # what becomes of a record
UNDONE: Final = ("reverted_rows", "restored_rows", "conflicts")  # what becomes of rows when an upload is undone
RECORD_BITS: Final = 32
HANDMADE: Final = Number(2**31 - 1)  # the upload that rows made one by one are of: no file ever has this number
MAX_ATTEMPTS: Final = 4  # the first and three retries
LOAD_SECONDS: Final = 30  # the timeout of the load functions; the template test holds it to this
UPLOAD_SECONDS: Final = 3600  # how long a presigned URL is good for
REVIEW_SECONDS: Final = 7 * 24 * 3600  # how long an upload waits to be confirmed
PARTS_SECONDS: Final = 7 * 24 * 3600  # how long a file may come in parts; the bucket's own rule aborts then, too


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days after its end an upload's files and rejects are kept, and all else that is shown of it."""

    files_days: int
    status_days: int  # longer than a queue can hold a message, 15 days: a late one must find the chunk that it names


RETENTION: Final[Mapping[str, Retention]] = {
    "short": Retention(1, 16),
    "standard": Retention(30, 90),
    "long": Retention(365, 400),
}


def sources(state: State) -> list[State]:
    """The states from which `state` may be entered."""
    return [source for source, onward in TRANSITIONS.items() if state in onward]


def rank(
    state: State, generation: int, chunks_done: int, epoch: int = 0, reading: Pass = "load", turns: int = 0
) -> int:
    """A number that only grows along the journey, so that a late write of the projection loses.

    `turns` counts pauses and resumes, which lead back and forth; it is never set back.
    """
    order = 99 if state in TERMINAL else list(TRANSITIONS).index(state) + 20 * PASSES.index(reading)
    return epoch * 10**24 + generation * 10**18 + turns * 10**12 + order * 10**10 + chunks_done


def lineage(number: int, record: int) -> int:
    """`_row` of a loaded row: the upload's number, then the record's place in the file (1-based)."""
    return number << RECORD_BITS | record


def lineages(number: int) -> tuple[int, int]:
    """The lowest and the highest `_row` that rows of an upload can have."""
    return lineage(number, 0), lineage(number + 1, 0) - 1


def record_of(row: int) -> int:
    """The record's place in its file, of a `_row`."""
    return row & (1 << RECORD_BITS) - 1


@overload
def rfc3339(moment: datetime) -> str: ...
@overload
def rfc3339(moment: datetime | None) -> str | None: ...
def rfc3339(moment: datetime | None) -> str | None:
    """A moment in UTC as the API and the status table spell it, to the millisecond: it sorts as text. None stays so."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def picture_key(tenant: str, picture_id: str) -> str:
    """Where a picture lies."""
    return f"pictures/{tenant}/{picture_id}"


def object_key(tenant: str, upload_id: str) -> str:
    """Where the client's file goes. Made by the server; the client never chooses a key."""
    return f"uploads/{tenant}/{upload_id}/source"


def rejects_key(tenant: str, upload_id: str, generation: int, form: str) -> str:
    """Where an upload's rejects are as a file. They are final once it has ended, until the next generation."""
    return f"results/{tenant}/{upload_id}/rejects-{generation}.{form}"


def piece_key(tenant: str, upload_id: str, attempt: str) -> str:
    """Where a file goes that was made into UTF-8 CSV. A key for every attempt: only one of them is ever pinned."""
    return f"pieces/{tenant}/{upload_id}/{attempt}.csv"


def prefixes(tenant: str, upload_id: str) -> tuple[str, str, str]:
    """What every object's key begins with that is of an upload: its file, pieces of it, files for download."""
    return f"uploads/{tenant}/{upload_id}/", f"pieces/{tenant}/{upload_id}/", f"results/{tenant}/{upload_id}/"


def from_key(key: str) -> tuple[str, str] | None:
    """The upload an object belongs to, or None for an object that is not an upload's source."""
    match key.split("/"):
        case ["uploads", tenant, upload_id, "source"]:
            return tenant, upload_id
        case _:
            return None


def is_upload_id(text: str) -> bool:
    """Whether this can be an upload's id; nothing else may reach a key of the status table."""
    return _UPLOAD_ID(text) is not None


def tier(rows: int) -> Tier:
    """The queue for a file of about this many rows: <1,000 high, up to 5,000 medium, above low."""
    return "high" if rows < 1000 else "medium" if rows <= 5000 else "low"


class ChunkKey(NamedTuple):
    """Which chunk of all: an upload's n-th in one of its passes. Messages carry this and no more."""

    upload: Number
    reading: Pass
    n: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The bytes [byte_start, byte_end) of a file: whole records, and the blank lines before each.

    n, first_record and first_line count from 1; a record's number does not depend on where the cuts are.
    """

    n: int
    byte_start: int
    byte_end: int
    first_record: int
    records: int
    first_line: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that does not load: 1-based record, physical line, every error, the bytes as uploaded."""

    record: int
    line: int
    errors: tuple[CellError, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class CellError:
    """Why a cell (or, with column None, a whole row) does not load. Codes are stable and documented."""

    column: str | None
    code: str
    detail: str
