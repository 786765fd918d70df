"""An upload as a batch and its records as tasks: `{upload}.{n}` is the n-th record. All of it is derived when asked.

A task's title and author are what its row holds, or, if it was rejected, what the file had there. They are null while
a record has not been loaded, since nobody has read it, and when its row was changed or deleted by hand since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from chalicelib import formats
from chalicelib.aws import dynamodb
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused
from chalicelib.formats import Dialect
from chalicelib.journey import TERMINAL, Number, rfc3339
from chalicelib.paging import Asked, Page, decode, fill
from chalicelib.postgres import fates, ledger, projection, tables
from chalicelib.postgres.connection import Connection, connection

SHOWN: Final = ("title", "author")
MOST_RAW: Final = 4096  # bytes of a reject in which its title and author are looked for
_MOST_RECORDS: Final = 2**32


@dataclass(frozen=True, slots=True)
class _Batch:
    """An upload as it stands now. `number` is None until the splitter has met it."""

    item: Mapping[str, Any]
    number: Number | None
    seen: Mapping[str, Any] | None

    @property
    def state(self) -> str:
        return str(self.seen["state"] if self.seen else self.item["state"])

    @property
    def total(self) -> int | None:
        """How many records it has: as they were counted when it came, until the scan says so."""
        counted = self.item.get("records")
        if self.seen is not None and self.seen["rows_total"] is not None:
            return int(self.seen["rows_total"])
        return None if counted is None else int(counted)

    @property
    def is_over(self) -> bool:
        return self.state in TERMINAL

    @property
    def fault(self) -> str | None:
        """Why nothing more of it is loaded."""
        error = self.seen["error"] if self.seen else None
        return str(error["detail"]) if error else f"The upload is {self.state}." if self.is_over else None


def ids(batch_id: str, total: int, most: int) -> list[str]:
    """The tasks of a batch, the first ones."""
    return [f"{batch_id}.{n}" for n in range(1, min(total, most) + 1)]


def task(tenant: str, task_id: str) -> dict[str, Any]:
    """One task. Raises Refused `task_not_found` (404)."""
    batch_id, _, text = task_id.rpartition(".")
    n = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and text == str(int(text)) else 0
    batch = _find(tenant, batch_id) if n else None
    found = list(_tasks(connection(), batch, n, n)) if batch else []
    if not found:
        raise Refused("task_not_found", "There is no task of this id.", status=404)
    return found[0]


def status(tenant: str, batch_id: str, asked: Asked) -> tuple[dict[str, Any], Page]:
    """How many tasks of a batch are in each state, and a page of them in file order, as of one moment.

    Raises Refused `upload_not_found` (404).
    """
    db = connection()
    with db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        batch = _found(db, tenant, batch_id)
        after = max(0, min(decode(asked.cursor, int, 0), _MOST_RECORDS))
        found = _tasks(db, batch, after + 1, after + asked.limit + 1)
        page = fill(found, asked.limit, dict, lambda one: int(one["task_id"].rpartition(".")[2]))
        return {"batch_id": batch_id, "total": batch.total} | _counts(db, batch), page


def _counts(db: Connection, batch: _Batch) -> dict[str, int]:
    seen = batch.seen
    total = batch.total or 0
    success = seen["loaded"] + seen["updated"] + seen["skipped"] if seen else 0
    failed = total - success if batch.is_over else seen["rejected"] if seen else 0
    at_work = fates.begun(db, batch.number) if batch.number and not batch.is_over else 0
    settling = seen["contested"] if seen and not batch.is_over else 0
    # Of a file whose records nobody has counted yet, more may be in than are known of.
    left = max(0, total - success - failed)
    processing = min(left, at_work + settling)
    return {"pending": left - processing, "processing": processing, "success": success, "failed": failed}


def _find(tenant: str, batch_id: str) -> _Batch | None:
    try:
        return _found(connection(), tenant, batch_id)
    except Refused as refused:
        if refused.code == "upload_not_found":
            return None
        raise


def _found(db: Connection, tenant: str, batch_id: str) -> _Batch:
    item = dynamodb.get_upload(tenant, batch_id)
    number = ledger.number_of(db, tenant, batch_id)
    return _Batch(item, number, projection.snapshot(db, number) if number else None)


def _tasks(db: Connection, batch: _Batch, first: int, last: int) -> Iterator[dict[str, Any]]:
    """The tasks from one to another, as far as there are so many."""
    pieces = fates.pieces(db, batch.number, first, last) if batch.number else []
    total = batch.total
    if total is None:
        total = max((piece.first_record + piece.records - 1 for piece in pieces), default=0)
    last = min(last, total)
    if first > last:
        return
    told = _Told.of(db, batch, first, last)
    for n in range(first, last + 1):
        piece = next((one for one in pieces if n in one), None)
        yield told.task(n, piece)


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of a stretch of a batch's records."""

    batch: _Batch
    rejected: Mapping[int, tuple[Sequence[Mapping[str, Any]], tuple[str | None, ...]]]
    contested: set[int]
    loaded: Mapping[int, tuple[str | None, ...]]

    @staticmethod
    def of(db: Connection, batch: _Batch, first: int, last: int) -> _Told:
        number = batch.number
        upload = ledger.find(db, number) if number else None
        if number is None or upload is None:
            return _Told(batch, {}, set(), {})
        stretch = (number, first, last)
        rejects = fates.rejects(db, *stretch, MOST_RAW)
        rejected = {n: (one.errors, _read(upload, one.raw)) for n, one in rejects.items()}
        return _Told(batch, rejected, fates.contested(db, *stretch), _loaded(db, upload, *stretch))

    def task(self, n: int, piece: fates.Piece | None) -> dict[str, Any]:
        if n in self.rejected:
            errors, shown = self.rejected[n]
            return self._shown(n, "failed", shown, "; ".join(map(_message, errors)), piece)
        if piece is not None and piece.state == "loaded" and self.batch.state != "needs_review":
            if n not in self.contested:
                return self._shown(n, "success", self.loaded.get(n, _UNKNOWN), None, piece)
            if not self.batch.is_over:
                return self._shown(n, "processing", _UNKNOWN, None, None)
        if self.batch.is_over:
            return self._shown(n, "failed", _UNKNOWN, self.batch.fault, piece)
        at_work = piece is not None and piece.state == "queued" and piece.started_at is not None
        return self._shown(n, "processing" if at_work else "pending", _UNKNOWN, None, None)

    def _shown(
        self, n: int, status: str, shown: Sequence[str | None], error: str | None, piece: fates.Piece | None
    ) -> dict[str, Any]:
        title, author = shown
        return {
            "task_id": f"{self.batch.item['upload_id']}.{n}",
            "status": status,
            "title": title,
            "author": author,
            "error_message": error,
            "created_at": self.batch.item["created_at"],
            "completed_at": rfc3339(piece.finished_at) if piece else None,
        }


_UNKNOWN: Final = (None, None)


def _message(error: Mapping[str, Any]) -> str:
    place = f"{error['column']}: " if error["column"] else ""
    return f"{place}{error['code']}: {error['detail']}"


def _loaded(
    db: Connection, upload: ledger.Upload, number: Number, first: int, last: int
) -> dict[int, tuple[str | None, ...]]:
    """Title and author of the rows that are there, of a dataset that has both and is as it was."""
    schema = read_schema(upload.descriptor) if upload.dataset and not upload.dataset_is_gone else None
    if schema is None or schema.is_encrypted or not set(SHOWN) <= set(schema.names):
        return {}
    table = tables.Table(upload.dataset, upload.dataset_version, schema)
    try:
        with db.transaction():
            return fates.loaded(db, table, number, first, last, SHOWN)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return {}  # changed at this moment


def _read(upload: ledger.Upload, raw: bytes) -> tuple[str | None, ...]:
    """Title and author as the file has them in a record, where its cells can be told: of a schema that is as it was."""
    plan = upload.plan or {}
    is_as_planned = plan.get("dataset_version") == upload.dataset_version
    schema = read_schema(upload.descriptor) if upload.dataset and is_as_planned else None
    names = schema.names if schema and not schema.is_encrypted else []
    if "positions" not in plan or not set(SHOWN) <= set(names):
        return _UNKNOWN
    records = formats.records(raw, Dialect.planned(plan))
    cells = list(records[0]) if records else []
    places = [plan["positions"][names.index(name)] for name in SHOWN]
    return tuple(_readable(cells[place]) if 0 <= place < len(cells) else None for place in places)


def _readable(cell: str) -> str | None:
    """A cell as the file has it; bytes that are no text are marks of question."""
    return cell.encode(errors="replace").decode() or None
