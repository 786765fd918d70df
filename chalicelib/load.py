"""Step 3: one chunk. Outside the transaction read, parse, check; inside it rows, rejects, counts and the proof.

Delivered twice, at once or days later, a chunk loads once: the claim on its row decides.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

import psycopg

from chalicelib import aws, formats, inference, rows
from chalicelib.aws import s3
from chalicelib.checking import conventions
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused, RowmillError, Unavailable
from chalicelib.formats import Dialect
from chalicelib.journey import MAX_ATTEMPTS, CellError, ChunkKey, Mode, Number, Rejection, lineage
from chalicelib.logs import about
from chalicelib.postgres import hashes, ledger, locks, manifest, outcomes, references, retries, staging, tables, trial
from chalicelib.postgres.connection import Connection, connection, is_transient
from chalicelib.postgres.replay import DETAILS, IN_DATABASE

DEADLOCK_TRIES: Final = 5


def chunk(message: Mapping[str, Any]) -> Number | None:
    """Load the chunk a message names; its upload, unless there is no such chunk."""
    number = message.get("upload")
    upload = ledger.find(connection(), number) if type(number) is int else None
    key = manifest.named(upload.number, message) if upload else None
    if upload is None or key is None:
        # What names no chunk is sent to have a new process ready before there is one.
        rows.warm()
        aws.warm()
        return None
    about(upload.correlation_id, upload_id=upload.upload_id, chunk=key.n)
    db = connection()
    # The lock tells the sweep that somebody is at work; the claim guards the rows.
    with locks.alone(db, locks.chunk(key.upload, key.n)) as ours:
        if not ours:
            raise Unavailable("chunk_busy", "Another worker is at this chunk.")
        work = manifest.take(db, key)
        if work is None:
            manifest.bury_spent(db, key)
        else:
            _attempt(upload, work)
    return upload.number


def _attempt(upload: ledger.Upload, work: manifest.Work) -> None:
    """Load, and give the fault to whom it belongs: the services (try later), the file, or the chunk."""
    try:
        _load(upload, work)
    except Exception as error:
        if isinstance(error, Unavailable) or is_transient(error) or aws.is_transient(error):
            _give_back(work.key)
            raise
        manifest.note_fault(connection(), work.key, _fault(error))
        if work.attempts < MAX_ATTEMPTS and not isinstance(error, Refused):
            # Counted in the chunk's row already, so a copy in seconds is as safe as the queue's own in minutes.
            raise Unavailable("chunk_failed", "The chunk failed; it has attempts left.") from error
        manifest.bury(connection(), work.key)


def _give_back(key: ChunkKey) -> None:
    """Uncount the attempt; a database that is just coming back is given a moment.

    If that is not enough the attempt stays counted, unless Postgres was started anew (see manifest.take).
    """
    for pause in (0.5, 1.0, 2.0, 0.0):
        try:
            manifest.give_back(connection(), key)
            return
        except (Unavailable, psycopg.OperationalError):
            time.sleep(pause)


def _fault(error: Exception) -> str:
    """The kind of a fault without its text, which may hold row data."""
    if isinstance(error, RowmillError):
        return error.code
    return type(error).__name__ + (f" {error.sqlstate}" if isinstance(error, psycopg.Error) else "")


def _load(upload: ledger.Upload, work: manifest.Work) -> None:
    data = s3.read(upload.text.key, upload.text.etag, work.byte_start, work.byte_end)
    prepared = prepare(upload, work, data)
    is_whole = work.n == 1 and work.byte_end == upload.text.size
    if work.reading == "load" and work.n <= hashes.MOST_CHUNKS and not is_whole:
        # Before the transaction, or two chunks that load at once would not see each other's.
        prepared.leave_hashes(connection())
    for left in reversed(range(DEADLOCK_TRIES)):
        try:
            _commit(upload, work, prepared)
            return
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            if not left:
                raise


def _commit(upload: ledger.Upload, work: manifest.Work, prepared: Prepared) -> None:
    db = connection()
    schema, found = prepared.shape.schema, prepared.found
    table = tables.Table(upload.dataset, upload.dataset_version, schema)
    with db.transaction():
        ledger.lock_upload(db, upload.number, shared=True)
        if not manifest.claim(db, work.key):
            return
        orphans = references.find_orphans(db, upload.tenant, schema, found.checked.columns)
        held: Sequence[int] = ()
        if upload.dataset == 0:
            outcome = staging.Outcome()
            outcomes.add_guess(db, upload.number, work.n, prepared.guesses)
        elif work.reading == "check":
            outcome = trial.check(db, table, upload.number, upload.mode, partial(found.text, orphans))
        else:
            outcome, held = _place(db, table, upload, prepared, orphans.keys())
        errors = prepared.errors(outcome, upload.mode, orphans)
        contested = prepared.contested_places(outcome, held)
        located = prepared.located(sorted([*errors, *contested]))
        if errors:
            outcomes.add_rejections(db, upload.number, work.reading, prepared.rejections(errors, located))
        if contested:
            outcomes.add_contested(db, upload.number, prepared.contested(contested, located))
        if found.origins and work.reading == "load":
            retries.add_origins(db, upload.number, work.first_record, found.origins)
        counts = _count(work.records, outcome, len(errors), len(contested), upload.mode)
        manifest.record_loaded(db, work.key, counts, prepared.sha256)


def _place(
    db: Connection, table: tables.Table, upload: ledger.Upload, prepared: Prepared, orphans: Set[int]
) -> tuple[staging.Outcome, Sequence[int]]:
    """Good rows, less orphans, into the table by COPY; where keys clash, without those that may repeat one.

    Those, given as indexes, are contested until the upload is settled. If a key clashes even so, or a row is refused,
    all others are sifted.
    """
    held: Sequence[int] = ()
    clashes = upload.has_clashes or prepared.repeats_itself
    fate = "clash" if clashes else staging.copy(db, table, prepared.found.text(orphans))
    if fate == "clash":
        ledger.mark_clashes(db, upload.number)
        held = [index for index in prepared.repeated(db) if index not in orphans]
        if held or clashes:
            fate = staging.copy(db, table, prepared.found.text([*orphans, *held]))
    if fate == "in":
        return staging.Outcome(), held
    others = partial(prepared.found.text, [*orphans, *held])
    return staging.sift(db, table, upload.number, upload.mode, others), held


def _count(records: int, outcome: staging.Outcome, rejected: int, contested: int, mode: Mode) -> manifest.Counts:
    updated = len(outcome.updated)
    skipped = sum(map(len, outcome.in_database.values())) if mode == "skip" else 0
    loaded = records - rejected - skipped - updated - contested
    return manifest.Counts(loaded, updated, skipped, rejected, contested)


@dataclass(frozen=True, slots=True)
class Located:
    """Where records lie in a chunk: found once for all that are asked for, and in few bytes, as they may be all."""

    places: Sequence[int]  # ascending
    starts: array[int]
    ends: array[int]
    lines: array[int]  # before each, in the chunk

    def at(self, place: int) -> tuple[int, int, int]:
        """Start, end, and the lines before it."""
        index = bisect_left(self.places, place)
        return self.starts[index], self.ends[index], self.lines[index]


@dataclass(frozen=True)
class Prepared:
    """A chunk read and checked.

    A place is a record's index in the chunk, an index that of a good row among the good rows; where records lie in the
    bytes is only found out if asked.
    """

    data: bytes
    text: ledger.Text
    work: manifest.Work
    shape: rows.Shape
    found: rows.Rows
    guesses: Sequence[int] = ()  # of a file without a dataset: what its columns may be

    @cached_property
    def sha256(self) -> bytes:
        """Of the chunk's bytes."""
        return hashlib.sha256(self.data).digest()

    @cached_property
    def _hashes(self) -> rows.KeyHashes | None:
        return rows.key_hashes(self.found.checked.columns, self.shape.schema)

    def leave_hashes(self, db: Connection) -> None:
        """Let the upload's other chunks see which keys are here."""
        if self._hashes:
            hashes.leave(db, self.work.key, self._hashes.packed())

    @property
    def repeats_itself(self) -> bool:
        """Whether good rows are known to share a key."""
        return bool(self._hashes and self._hashes.are_repeated())

    def repeated(self, db: Connection) -> Sequence[int]:
        """Good rows whose key may be that of a row before them, or of another chunk: their indexes."""
        return self._hashes.repeated(hashes.of_others(db, self.work.key)) if self._hashes else ()

    def errors(
        self, outcome: staging.Outcome, mode: Mode, orphans: Mapping[int, Sequence[CellError]]
    ) -> dict[int, Sequence[CellError]]:
        """Why rows do not load, by place; `orphans` are good rows that a foreign key keeps out, by index."""
        errors: dict[int, Sequence[CellError]] = dict(self.found.checked.bad)
        errors |= {self.found.checked.places[index]: missing for index, missing in orphans.items()}
        for row, reason in outcome.refused:
            errors[row - self._first] = [CellError(None, "db_rejected", reason)]
        if mode == "insert":
            first = self._first
            for key, found in outcome.in_database.items():
                met = [CellError(key, IN_DATABASE, DETAILS[IN_DATABASE])]  # one for all: they may be the whole chunk
                errors |= ((row - first, met) for row in found)
        return errors

    def contested_places(self, outcome: staging.Outcome, held: Sequence[int]) -> Sequence[int]:
        """The places, in file order, of rows that settling decides on: what was found so, and good rows held back."""
        places = self.found.checked.places
        return sorted([*(row - self._first for row in outcome.contested), *(places[index] for index in held)])

    def located(self, places: Sequence[int]) -> Located:
        """Where the records at these places lie, which are in file order."""
        found = Located(places, array("Q"), array("Q"), array("Q"))
        for start, end, lines in formats.locate(self.data, self.shape.dialect, places):
            found.starts.append(start)
            found.ends.append(end)
            found.lines.append(lines)
        return found

    def rejections(self, errors: Mapping[int, Sequence[CellError]], located: Located) -> Iterator[Rejection]:
        """The rows that do not load, in file order."""
        for place in sorted(errors):
            line, raw = self._record(located, place)
            yield Rejection(self.work.first_record + place, line, tuple(errors[place]), raw)

    def contested(self, places: Sequence[int], located: Located) -> Iterator[outcomes.Contested]:
        """The rows at these places, with their checked values, for settling."""
        for place in places:
            line, raw = self._record(located, place)
            good = bisect_left(self.found.checked.places, place)
            cells = [column[good] for column in self.found.checked.columns]
            yield outcomes.Contested(self.work.first_record + place, line, cells, raw)

    def _record(self, located: Located, place: int) -> tuple[int, bytes]:
        """The line of the file where a record begins, and its bytes."""
        start, end, lines = located.at(place)
        return self.work.first_line + lines, self.text.plain(self.data[start:end])

    @property
    def _first(self) -> int:
        """The `_row` of the first record."""
        return lineage(self.work.upload, self.work.first_record)


def prepare(upload: ledger.Upload, work: manifest.Work, data: bytes) -> Prepared:
    """Read and check a chunk's bytes. Pure; raises Refused if the reader and the splitter disagree."""
    shape = _shape(upload)
    first = lineage(upload.number, work.first_record) if upload.dataset else None
    found = rows.read(upload.text.plain(data), shape, work.records, first)
    guesses = [] if upload.dataset else inference.guess(found.checked.columns, shape.conventions)
    return Prepared(data, upload.text, work, shape, found, guesses)


def _shape(upload: ledger.Upload) -> rows.Shape:
    plan = upload.plan or {}
    return rows.Shape(
        dialect=Dialect.from_options(plan["dialect"]),
        schema=read_schema(upload.descriptor) if upload.dataset else inference.text_schema(plan["names"]),
        positions=plan["positions"],
        width=plan["width"],
        conventions=conventions.read(plan["dialect"]),
        nameless=plan.get("nameless", 0),
        own=plan.get("own", {}),
    )
