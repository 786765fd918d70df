"""The end of an upload whose rows are staged: all of them show themselves in one transaction, or none ever does.

A settler may be gone at any moment. What it has found out is in rowmill.lost, what of that is told is marked there, and
the publication itself is Postgres' to finish once it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import psycopg

from chalicelib import formats, vault
from chalicelib.aws import s3
from chalicelib.checking import remedies
from chalicelib.datasets import Schema, read_schema
from chalicelib.errors import Unavailable
from chalicelib.formats import Dialect
from chalicelib.journey import CellError, Rejection, State, lineage
from chalicelib.postgres import (
    changes,
    ledger,
    manifest,
    outcomes,
    profiles,
    projection,
    publish,
    references,
    stages,
    tables,
    taken,
)
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.publish import Lost
from chalicelib.postgres.replay import DETAILS
from chalicelib.postgres.stages import Stage

MOST_GIVEN_UP: Final = 100  # chunks that the status names, if records of theirs were not processed
LOST_AT_ONCE: Final = 20_000  # records that are told in one transaction; their numbers are in memory
TAKEN_ROWS: Final = 100_000  # of fewer the stage's keys and indexes are no sooner built than its rows are inserted
TRIES: Final = 3  # other uploads may take a key between the look and the publication
TOO_MANY_ERRORS: Final[dict[str, Any]] = {
    "code": "too_many_errors",
    "detail": "More rows are rejected than the upload allows; nothing of it is loaded.",
}
ROWS_REJECTED: Final[dict[str, Any]] = {
    "code": "rows_rejected",
    "detail": "Rows are rejected, and on_error is abort: nothing of the upload is loaded.",
}


def forbidden(seen: Mapping[str, Any]) -> dict[str, Any] | None:
    """Why an upload may load nothing, by what it has rejected and what its options allow; None if it may."""
    options, rejected = seen["options"], seen["rejected"]
    budgets = [options[name] for name in ("max_errors", "max_error_percent") if name in options]
    if not rejected:
        return None
    if not budgets:
        return ROWS_REJECTED if options.get("on_error") == "abort" else None
    most, percent = (options.get(name, math.inf) for name in ("max_errors", "max_error_percent"))
    return TOO_MANY_ERRORS if rejected > most or 100 * rejected > percent * seen["rows_total"] else None


def verdict(db: Connection, seen: Mapping[str, Any]) -> tuple[State, dict[str, Any] | None]:
    """The terminal state that an upload's counts amount to, and why it is not a clean one."""
    if error := forbidden(seen):
        return "failed", error
    given_up = seen["unprocessed"] + seen["contested"]
    if not given_up:
        return ("completed_with_errors" if seen["rejected"] else "completed"), None
    dead = manifest.list_given_up(db, seen["number"], MOST_GIVEN_UP) if seen["unprocessed"] else []
    error = {
        "code": "records_unprocessed",
        "detail": f"{given_up} records could not be processed.",
        "errors": [_explained(chunk) for chunk in dead],
    }
    shows_parts = seen["reading"] == "load" and not ledger.is_all_or_nothing(seen["options"])
    arrived = shows_parts and any(seen[name] for name in ("loaded", "updated", "skipped", "rejected"))
    return ("completed_with_errors" if arrived else "failed"), error


def _explained(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """Which records of the file were given up, and why."""
    first, last = chunk["first_record"], chunk["first_record"] + chunk["records"] - 1
    where = f"Records {first} to {last}, from line {chunk['first_line']} on"
    attempts = f"{chunk['attempts']} attempt{'' if chunk['attempts'] == 1 else 's'}"
    detail = f"{where}: {chunk['error']}, {attempts}."
    return {"row": first, "rows": chunk["records"], "code": "chunk_dead", "detail": detail}


def stage_of(upload: ledger.Upload) -> Stage:
    """Where its rows are until then."""
    return Stage(upload.dataset, upload.dataset_version, read_schema(upload.descriptor), upload.number)


def is_sooner_staged(schema: Schema) -> bool:
    """Whether a large file's rows are in an empty dataset sooner if they are staged, as its keys are built once.

    Not if they refer to others, which would be looked for again when all are staged.
    """
    return bool(schema.keys) and not schema.foreign_keys and _may_be_taken(schema)


def _may_be_taken(schema: Schema) -> bool:
    return not (schema.identity or schema.partitions)


def conclude(db: Connection, upload: ledger.Upload, *, looks_first: bool) -> None:
    """Publish the upload's rows, or end it without one if too many are rejected. Hold its settling lock.

    `looks_first`: search for clashes before trying. A file without any, most often, is published for the cost of that.
    """
    stage = stage_of(upload)
    for _ in range(TRIES):
        _tell_lost(db, upload)
        seen = projection.snapshot(db, upload.number)
        # It is to end without a row; all that a load would reject is to be listed even so.
        is_doomed = seen is not None and forbidden(seen) is not None
        if looks_first or is_doomed:
            _look(db, upload, stage)
            seen = projection.snapshot(db, upload.number)
        if _publish(db, upload, stage, seen):
            return
        _tell_lost(db, upload)
        looks_first = True
    raise Unavailable("settle_again", "Other uploads took keys while this one was being published.")


def _look(db: Connection, upload: ledger.Upload, stage: Stage) -> None:
    """Reject what a load of these rows would reject for its key. What is known already is not found again."""
    if upload.mode == "insert":
        with publish.unattended(db):
            ledger.lock_upload(db, upload.number, shared=True)  # or who cancels it would wait for its stage
            if _is_due(db, upload):
                publish.find_clashes(db, stage)
        _tell_lost(db, upload)


def _is_due(db: Connection, upload: ledger.Upload) -> bool:
    standing = ledger.standing(db, upload.number)
    return standing.is_all_in and standing.has_contested and not standing.is_canceling


def _publish(db: Connection, upload: ledger.Upload, stage: Stage, seen: Mapping[str, Any] | None) -> bool:
    """End the upload, one way or the other; False if rows turn out to be lost, which are to be told first.

    `seen` is how it stands, as far as that is known before it is locked.
    """
    try:
        if seen is not None and _is_to_be_taken(db, upload, stage, seen):
            with suppress(psycopg.errors.ObjectInUse):
                return _end(db, upload, stage, takes=True)
        return _end(db, upload, stage, takes=False)
    except psycopg.errors.UniqueViolation:
        return False


def _is_to_be_taken(db: Connection, upload: ledger.Upload, stage: Stage, seen: Mapping[str, Any]) -> bool:
    """Whether the stage, of a large file, can be the table of its dataset, which is empty: it is ready to be that then.

    Raises UniqueViolation if rows share a key of which none wins.
    """
    if seen["contested"] < TAKEN_ROWS or not _may_be_taken(stage.schema) or forbidden(seen):
        return False
    try:
        with publish.unattended(db):
            ledger.lock_upload(db, upload.number, shared=True)  # as in `_look`
            if not (_is_due(db, upload) and tables.is_empty(db, stage)):
                return False
            stages.dress(db, upload.number)
    except psycopg.errors.UniqueViolation:
        if upload.mode == "insert":
            raise
        return False  # one line of a key wins, which the insert finds
    except psycopg.errors.DuplicateTable:
        return False  # another stage has the names of the table's indexes already, to become that
    return True


def _end(db: Connection, upload: ledger.Upload, stage: Stage, *, takes: bool) -> bool:
    """`takes`: the stage becomes the table."""
    with publish.unattended(db):
        ledger.lock_upload(db, upload.number, shared=False)
        seen = projection.snapshot(db, upload.number)
        if seen is None or not _is_due(db, upload):
            return True
        if upload.is_profiled:
            profiles.judge(db, upload.number, upload.dataset, read_schema(upload.descriptor))
        if error := forbidden(seen):
            ledger.end(db, upload.number, "failed", None, error)
            stages.drop(db, upload.number)
            return True
        publish.find_orphans(db, upload.owner, stage)
        kept, lost, untold = publish.count(db, stage)
        if untold:
            return False
        if kept != seen["contested"]:
            raise RuntimeError(f"{kept} rows are staged that have not lost, where {seen['contested']} wait")
        if takes:
            publish.settle_taken(db, stage, kept)
        else:
            publish.publish(db, stage, upload.mode, lost)
        state, error = verdict(db, {**seen, "loaded": kept, "contested": 0})
        ledger.end(db, upload.number, state, None, error)
        if takes:
            stages.take(db, upload.number)
        changes.note(db, upload.dataset)  # who counts in the same slot holds the table, which the stage waits for
        stages.drop(db, upload.number)
    return True


def _tell_lost(db: Connection, upload: ledger.Upload) -> None:
    """Put rows that are lost among the rejects, so many at once: a settler after this one goes on from there."""
    while lost := publish.list_untold(db, upload.number, LOST_AT_ONCE):
        with db.transaction():
            ledger.lock_upload(db, upload.number, shared=False)
            if not _is_due(db, upload):
                return
            reject(db, upload, {one.record: _error(upload, one) for one in lost})
            publish.mark_told(db, upload.number, lost)
            counts = manifest.Counts(rejected=len(lost), contested=-len(lost))
            manifest.record_settled(db, upload.number, "load", counts)


def _error(upload: ledger.Upload, lost: Lost) -> CellError:
    if lost.code != references.MISSING:
        return CellError(lost.key, lost.code, DETAILS[lost.code])
    keys = read_schema(upload.descriptor).foreign_keys
    return next(
        references.refers_to_nothing(key, lost.value or "") for key in keys if ", ".join(key.fields) == lost.key
    )


def reject(db: Connection, upload: ledger.Upload, errors: Mapping[int, CellError]) -> None:
    """Reject records that chunks took for good, by number; what they were is read from the file again."""
    works = manifest.chunks_of_records(db, upload.number, upload.reading, sorted(errors))
    here = taken.of_records(db, upload.number, sorted(errors)) if "fix" in upload.options else {}
    lines = {record: line for record, (_, line) in here.items()}
    found = _rejections(upload, works, errors, lines)
    if read_schema(upload.descriptor).is_encrypted:
        key = vault.of_upload(db, upload)
        found = (
            replace(one, raw=vault.sealed_record(key, lineage(upload.number, one.record), one.raw)) for one in found
        )
    outcomes.add_rejections(db, upload.number, upload.reading, found, remedies.untold)


def _rejections(
    upload: ledger.Upload,
    works: Sequence[tuple[manifest.Work, list[int]]],
    errors: Mapping[int, CellError],
    known: Mapping[int, int],
) -> Iterator[Rejection]:
    """`known` are lines that are those of another file."""
    dialect = Dialect.planned(upload.plan or {})
    for work, records in works:
        data = s3.read(upload.text.key, upload.text.etag, work.byte_start, work.byte_end)
        spans = formats.locate(data, dialect, [record - work.first_record for record in records])
        for record, (start, end, lines) in zip(records, spans, strict=True):
            raw = upload.text.plain(data[start:end])
            line = known.get(record, work.first_line + lines)
            yield Rejection(record, line, (errors[record],), raw)
