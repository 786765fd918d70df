"""Step 5, the bad rows: as pages, as a file to correct and send back, and as a summary of what is wrong.

A file is made by a function of its own, at most once a generation, and handed out by a presigned URL. Few rejects
are made while the client waits; for many it is told to ask again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from chalicelib import formats
from chalicelib.aws import dynamodb, functions, s3
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused
from chalicelib.formats import Dialect, correction, workbook
from chalicelib.journey import TERMINAL, UPLOAD_SECONDS, Number, rejects_key, rfc3339
from chalicelib.paging import Asked, Page, decode, fill
from chalicelib.postgres import ledger, locks, outcomes, projection
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

MAX_RAW_BYTES: Final = 64 * 1024
AT_ONCE: Final = 10_000  # rejects that are made into a file while the client waits: about a second
KINDS: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_BATCH: Final = 500
_BOM: Final = "\ufeff"  # without it Excel takes the file for the local code page

Download = dict[str, Any]
Row = Mapping[str, Any]


def listing(tenant: str, upload_id: str, asked: Asked) -> Page | Download | None:
    """The rejects in the format asked for: a page, or a file's URL; None while it is being made. Raises Refused."""
    form = asked.filters.get("format", "json")
    if form == "json":
        return page(tenant, upload_id, asked)
    if form not in KINDS:
        raise Refused("query_invalid", "format must be json, csv or xlsx.", status=400)
    return file(tenant, upload_id, form)


def page(tenant: str, upload_id: str, asked: Asked) -> Page:
    """An upload's rejected rows in file order, with every reason and the record as uploaded."""
    number = _number(tenant, upload_id)
    after = decode(asked.cursor, int, 0)
    if number is None:
        return Page([], None)
    found = outcomes.list_rejects(connection(), number, after, asked.limit + 1, MAX_RAW_BYTES)
    return fill(found, asked.limit, _shown, lambda reject: reject["record"])


def _shown(row: Row) -> dict[str, Any]:
    raw = bytes(row["raw"])
    shown = {
        "row": row["record"],
        "line": row["line"],
        "errors": row["errors"],
        "raw": raw[:MAX_RAW_BYTES].decode(errors="backslashreplace"),
    }
    return shown | ({"raw_truncated": True} if len(raw) > MAX_RAW_BYTES else {})


def _number(tenant: str, upload_id: str) -> Number | None:
    dynamodb.get_upload(tenant, upload_id)
    return ledger.number_of(connection(), tenant, upload_id)


def summary(tenant: str, upload_id: str) -> dict[str, Any]:
    """Why rows were rejected: the most frequent causes with their share, first and last line, and lowest rows."""
    number = _number(tenant, upload_id)
    seen = projection.snapshot(connection(), number) if number else None
    rejected = seen["rejected"] if seen else 0
    found = outcomes.list_causes(connection(), number) if number else []
    causes = [_cause(one, rejected) for one in found]
    return {"rejected": rejected, "causes": causes, "causes_total": found[0]["of"] if found else 0}


def _cause(row: Row, rejected: int) -> dict[str, Any]:
    return {
        "code": row["code"],
        "column": row["field"],
        "cause": row["cause"],
        "rows": row["rejects"],
        "share": round(min(1.0, row["rejects"] / max(rejected, 1)), 4),
        "first_line": row["first_line"],
        "last_line": row["last_line"],
        "samples": row["samples"],
    }


# The file


def file(tenant: str, upload_id: str, form: str) -> Download | None:
    """A URL of the rejects as a file; None while it is being made. Raises Refused (409 until the upload has ended)."""
    number = _number(tenant, upload_id)
    seen = projection.snapshot(connection(), number) if number else None
    if number is None or seen is None or seen["state"] not in TERMINAL:
        raise Refused("state_conflict", "The upload's rejects become a file when it has ended.", status=409)
    if form == "xlsx" and seen["rejected"] >= workbook.MAX_ROWS:
        raise Refused("rejects_too_many", f"A sheet holds {workbook.MAX_ROWS - 1} rejects; ask for csv.")
    key = rejects_key(tenant, upload_id, seen["generation"], form)
    if not s3.has_arrived(key) and not _made(number, form, seen["rejected"]):
        return None
    expires_at = datetime.now(UTC) + timedelta(seconds=UPLOAD_SECONDS)
    url = s3.presign_download(key, f"{upload_id}-rejects.{form}", UPLOAD_SECONDS)
    return {"url": url, "expires_at": rfc3339(expires_at)}


def _made(number: Number, form: str, rejected: int) -> bool:
    """Have the file made, unless somebody is at it; whether it is there."""
    with locks.alone(connection(), locks.render(number)) as idle:
        pass
    if not idle:
        return False
    order = {"upload": number, "format": form}
    if rejected <= AT_ONCE:
        return bool(functions.call(settings().render_function, order).get("made"))
    functions.start(settings().render_function, order)
    return False


def make(order: Mapping[str, Any]) -> dict[str, Any]:
    """Make a file of an upload's rejects, if it has ended and the file is not there; whether it is."""
    db = connection()
    number, form = order.get("upload"), order.get("format")
    upload = ledger.find(db, number) if type(number) is int and form in KINDS else None
    seen = projection.snapshot(db, upload.number) if upload else None
    if upload is None or seen is None or seen["state"] not in TERMINAL:
        return {"made": False}
    with locks.alone(db, locks.render(upload.number)) as ours:
        if ours:
            key = rejects_key(upload.tenant, upload.upload_id, seen["generation"], str(form))
            s3.write(key, KINDS[str(form)], _blocks(upload, str(form)))
    return {"made": ours}


def _blocks(upload: ledger.Upload, form: str) -> Iterator[bytes]:
    rows = outcomes.list_rejects(connection(), upload.number, 0, None, MAX_RAW_BYTES)
    lines = Sheet.of(upload, form).lines(rows)
    return workbook.stream(lines) if form == "xlsx" else _csv(lines)


def _csv(lines: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """RFC 4180 in UTF-8."""
    text = io.StringIO(newline="")
    text.write(_BOM)
    writer = csv.writer(text)  # CRLF: with any other line end, a lone CR in a cell would not be quoted
    for batch in _batches(lines):
        writer.writerows(batch)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


@dataclass(frozen=True, slots=True)
class Sheet:
    """How an upload's records become lines of a file: `names` are the columns of its own file, `own` those of ours."""

    names: list[str]
    own: Mapping[str, int]
    dialect: Dialect
    form: str

    @classmethod
    def of(cls, upload: ledger.Upload, form: str) -> Sheet:
        """The sheet of an upload; of one that was never planned, by its dataset alone."""
        plan = upload.plan or {}
        fields = read_schema(upload.descriptor).names
        places = plan.get("positions", range(len(fields)))
        known = dict(zip(places, fields, strict=True))
        names = [known.get(place, f"column_{place + 1}") for place in range(plan.get("width", len(fields)))]
        dialect = Dialect.from_options(plan["dialect"]) if plan else Dialect()
        return cls(plan.get("header") or names, plan.get("own", {}), dialect, form)

    def lines(self, rejects: Iterable[Row]) -> Iterator[list[str]]:
        """The header, then a line a reject."""
        yield [self._cell(name) for name in [*correction.COLUMNS, *self._foreign(self.names)]]
        for batch in _batches(rejects):
            for reject, cells in zip(batch, self._read([bytes(one["raw"]) for one in batch]), strict=True):
                yield self._line(reject, cells)

    def _line(self, reject: Row, cells: list[str] | None) -> list[str]:
        """A reject with its cells, and with its record as text if any of them is not what it was."""
        raw, filled = "", [""] * (len(self.names) - len(self.own))
        if cells is None:
            raw = _text(bytes(reject["raw"]))
        else:
            if self.own:
                cells = list(map(correction.restore, cells))
                raw = cells[self.own[correction.RAW]] if correction.RAW in self.own else ""
            filled = [self._cell(cell) for cell in self._foreign(cells)]
            if any(map(self._is_altered, self._foreign(cells))):
                raw = raw or _text(bytes(reject["raw"]))
        told = [[str(error[part] or "") for error in reject["errors"]] for part in ("code", "column", "detail")]
        return [
            str(reject["record"]),
            str(reject["line"]),
            *(self._cell("; ".join(one)) for one in [*told, [raw]]),
            *filled,
        ]

    def _foreign(self, cells: Sequence[str]) -> list[str]:
        """Without our own columns, which a corrected file still has."""
        ours = set(self.own.values())
        return [cell for place, cell in enumerate(cells) if place not in ours]

    def _read(self, raws: Sequence[bytes]) -> Iterator[list[str] | None]:
        """The cells of each record, or None where they are not as many as the file has columns.

        All at once, which is five times as fast, unless a quote that is never closed swallows what follows.
        """
        found = list(formats.records(b"\n".join(raws), self.dialect))
        if len(found) != len(raws) or any(len(raw) > MAX_RAW_BYTES for raw in raws):
            found = [self._read_one(raw) for raw in raws]
        return (cells if len(cells) == len(self.names) else None for cells in found)

    def _read_one(self, raw: bytes) -> list[str]:
        cells = list(formats.records(raw, self.dialect)) if len(raw) <= MAX_RAW_BYTES else []
        return cells[0] if len(cells) == 1 else []

    def _cell(self, cell: str) -> str:
        """The cell as the file shows it: what it cannot hold escaped or cut, what would run neutralised."""
        if self._is_altered(cell):
            cell = _text(cell.encode(errors="surrogateescape"))
            if self.form == "xlsx":
                cell = cell.translate(_CONTROLS)
                cell = cell if workbook.can_hold(f"'{cell}") else cell[: workbook.MAX_CELL // 2 - 2] + "…"
        return correction.neutralise(cell)

    def _is_altered(self, cell: str) -> bool:
        if self.form == "xlsx" and not workbook.can_hold(correction.neutralise(cell)):
            return True
        return "\0" in cell or not (cell.isascii() or _is_text(cell))


_CONTROLS: Final = {code: f"\\x{code:02x}" for code in range(32) if chr(code) not in "\t\n\r"} | {
    0xFFFE: "\\ufffe",
    0xFFFF: "\\uffff",
}


def _text(raw: bytes) -> str:
    """Bytes as somebody can read them, whatever they are."""
    return raw[:MAX_RAW_BYTES].decode(errors="backslashreplace").replace("\0", "\\x00")


def _is_text(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
