"""Step 3: one chunk. Outside the transaction read, parse, check; inside it rows, rejects, counts and the proof.

Delivered twice, at once or days later, a chunk loads once: the claim on its row decides.
"""

from __future__ import annotations

import ctypes
import math
import time
from array import array
from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import psycopg
from psycopg import sql

from chalicelib import aws, gate, metrics, publishing, rows, services
from chalicelib.aws import s3
from chalicelib.checking import remedies
from chalicelib.datasets.pace import max_rate
from chalicelib.errors import NotYet, Refused, RowmillError, Unavailable
from chalicelib.journey import MAX_ATTEMPTS, ChunkKey, Mode, Number
from chalicelib.logs import about
from chalicelib.postgres import (
    changes,
    hashes,
    ledger,
    locks,
    manifest,
    outcomes,
    pace,
    profiles,
    references,
    retries,
    stages,
    staging,
    tables,
    taken,
    trial,
)
from chalicelib.postgres.connection import Connection, connection, past_deadlocks, when_back
from chalicelib.prepared import Prepared, prepare


def chunk(message: Mapping[str, Any]) -> Number | None:
    """Load the chunk a message names; its upload, unless there is no such chunk."""
    upload = ledger.named(connection(), message.get("upload"))
    key = manifest.named(upload.number, message) if upload else None
    if upload is None or key is None:
        # What names no chunk is sent to have a new process ready before there is one.
        rows.warm()
        aws.warm()
        return None
    about(upload.correlation_id, upload_id=upload.upload_id, chunk=key.n)
    db = connection()
    if upload.dataset_is_gone:  # taken back in the moment that it was opened, by somebody who could not see it yet
        ledger.ask_to_cancel(db, upload.tenant, upload.upload_id)
    # The lock tells the sweep that somebody is at work; the claim guards the rows.
    with locks.alone(db, locks.chunk(key.upload, key.n)) as ours:
        if not ours:
            raise Unavailable("chunk_busy", "Another worker is at this chunk.")
        if upload.verdict is None:
            raise NotYet("scan_awaited", "The scanner has not answered yet.", retry_after=gate.ASK_AGAIN_SECONDS)
        _keep_pace(db, upload, key)
        work = manifest.take(db, key)
        if work is None:
            manifest.bury_spent(db, key)
        else:
            _attempt(upload, work)
    return upload.number


def _keep_pace(db: Connection, upload: ledger.Upload, key: ChunkKey) -> None:
    """Put the chunk off if its dataset has had as many rows as it may by now. No attempt is spent, no worker waits."""
    rate = max_rate(upload.descriptor)
    seconds = pace.wait(db, upload.dataset, key, rate) if rate and key.reading == "load" else 0.0
    if seconds > 0:
        detail = "The dataset takes no more rows a second."
        raise NotYet("rows_throttled", detail, retry_after=math.ceil(seconds))


def _attempt(upload: ledger.Upload, work: manifest.Work) -> None:
    """Load, and give the fault to whom it belongs: the services (try later), the file, or the chunk."""
    try:
        _load(upload, work)
    except Exception as error:
        if services.are_to_blame(error):
            # If it stays counted, then only until Postgres was started anew (see manifest.take).
            when_back(lambda db: manifest.give_back(db, work.key))
            raise
        manifest.note_fault(connection(), work.key, _fault(error))
        if work.attempts < MAX_ATTEMPTS and not isinstance(error, Refused):
            # Counted in the chunk's row already, so a copy in seconds is as safe as the queue's own in minutes.
            raise Unavailable("chunk_failed", "The chunk failed; it has attempts left.") from error
        manifest.bury(connection(), work.key)


def _fault(error: Exception) -> str:
    """The kind of a fault without its text, which may hold row data."""
    if isinstance(error, RowmillError):
        return error.code
    return type(error).__name__ + (f" {error.sqlstate}" if isinstance(error, psycopg.Error) else "")


def _load(upload: ledger.Upload, work: manifest.Work) -> None:
    _trim()
    begun = time.monotonic()
    data = s3.read(upload.text.key, upload.text.etag, work.byte_start, work.byte_end)
    prepared = prepare(upload, work, data)
    if not upload.is_cleared:
        gate.wait(upload.number)
    if "fix" in upload.options:
        prepared = prepared.placed(*taken.places(connection(), upload.number, work.first_record, work.records))
    is_whole = work.n == 1 and work.byte_end == upload.text.size
    if work.reading == "load" and work.n <= hashes.MOST_CHUNKS and not is_whole and not upload.is_staged:
        # Before the transaction, or two chunks that load at once would not see each other's.
        prepared.leave_hashes(connection())
    if counts := past_deadlocks(partial(_commit, upload, work, prepared)):
        _measure(upload, work, counts, time.monotonic() - begun)


def _measure(upload: ledger.Upload, work: manifest.Work, counts: manifest.Counts, seconds: float) -> None:
    metrics.count("ChunksLoaded")
    metrics.measure("ChunkSeconds", seconds)
    if work.reading == "load" and not upload.is_staged:  # else nothing is in the table yet
        metrics.count("RowsLoaded", counts.loaded + counts.updated)
        metrics.count("RowsRejected", counts.rejected)


def _trim() -> None:
    """Give back what the C library still holds of the chunk before: half a millisecond.

    A worker that has loaded many peaks at some 8 MB less.
    """
    with suppress(AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _commit(upload: ledger.Upload, work: manifest.Work, prepared: Prepared) -> manifest.Counts | None:
    db = connection()
    shape, schema, found = prepared.shape, prepared.shape.schema, prepared.found
    table = tables.Table(upload.dataset, upload.dataset_version, schema)
    with db.transaction():
        ledger.lock_upload(db, upload.number, shared=True)
        if not manifest.claim(db, work.key):
            return None
        orphans = references.find_orphans(db, upload.owner, schema, found.checked.columns)
        held: Sequence[int] = ()
        if upload.dataset == 0:
            outcome = staging.Outcome()
            outcomes.add_guess(db, upload.number, work.n, prepared.guesses)
        elif work.reading == "check":
            outcome = trial.check(db, table, upload.number, upload.mode, partial(found.text, orphans))
        elif upload.is_staged:
            outcome = _stage(db, publishing.stage_of(upload), prepared, orphans.keys())
        else:
            outcome, held = _place(db, table, upload, prepared, orphans.keys())
        faulty = prepared.faulty(outcome, upload.mode, orphans)
        contested = prepared.contested_places(outcome, held)
        located = prepared.located(array("q", sorted([*faulty.places, *contested])))
        if faulty.places:
            bad = prepared.rejections(faulty, located)
            outcomes.add_rejections(db, upload.number, work.reading, bad, remedies.Tagger(schema, shape.conventions))
        if contested:
            outcomes.add_contested(db, upload.number, prepared.contested(contested, located))
        if prepared.origins and work.reading == "load":
            retries.add_origins(db, upload.number, work.first_record, prepared.origins)
        # What is staged waits to be settled as what is contested does.
        waiting = work.records - len(faulty.places) if upload.is_staged else len(contested)
        counts = _count(work.records, outcome, len(faulty.places), waiting, upload.mode)
        manifest.record_loaded(db, work.key, counts, prepared.sha256)
        if upload.is_profiled:
            profiles.add(db, upload.number, work.n, prepared.profile)
        if work.reading == "load" and not upload.is_staged:
            changes.note(db, upload.dataset)
    return counts


def _place(
    db: Connection, table: tables.Table, upload: ledger.Upload, prepared: Prepared, orphans: Set[int]
) -> tuple[staging.Outcome, Sequence[int]]:
    """Good rows, less orphans, into the table by COPY; where keys clash, without those that may repeat one.

    Those, given as indexes, are contested until the upload is settled, which rejects none for itself. If a key
    clashes even so, or a row is refused, all others are sifted.
    """
    held: Sequence[int] = ()
    clashes = upload.has_clashes or prepared.repeats_itself
    fate = "clash" if clashes else _copy(db, table, prepared.found, orphans)
    if fate == "clash":
        ledger.mark_clashes(db, upload.number)
        held = [index for index in prepared.repeated(db) if index not in orphans]
        if held or clashes:
            fate = _copy(db, table, prepared.found, [*orphans, *held])
    others, outcome = partial(prepared.found.text, [*orphans, *held]), staging.Outcome()
    if fate != "in":
        outcome = staging.sift(db, table, upload.number, upload.mode, others)
    if held and (fate == "refused" or prepared.may_be_too_large):
        refused = trial.refusals(db, table, partial(prepared.found.text, prepared.all_but(held)))
        outcome.refused += refused
        held = prepared.without(held, {row for row, _ in refused})
    return outcome, held


def _stage(db: Connection, stage: stages.Stage, prepared: Prepared, orphans: Set[int]) -> staging.Outcome:
    """Good rows, less orphans, into the upload's stage, which has no index that could refuse one."""
    if (
        prepared.longest_key <= stages.SURELY_INDEXED
        and _copy(db, stage, prepared.found, orphans, stage.staging) == "in"
    ):
        return staging.Outcome()
    return stages.keep(db, stage, partial(prepared.found.text, orphans))


def _copy(
    db: Connection,
    table: tables.Table,
    found: rows.Rows,
    left_out: Collection[int],
    target: sql.Identifier | None = None,
) -> Literal["in", "clash", "refused"]:
    if written := found.written:
        return staging.copy(db, table, written.text(left_out), target, written.marks)
    return staging.copy(db, table, found.text(left_out), target)


def _count(records: int, outcome: staging.Outcome, rejected: int, contested: int, mode: Mode) -> manifest.Counts:
    updated = len(outcome.updated)
    skipped = sum(map(len, outcome.in_database.values())) if mode == "skip" else 0
    loaded = records - rejected - skipped - updated - contested
    return manifest.Counts(loaded, updated, skipped, rejected, contested)
