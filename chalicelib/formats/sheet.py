"""Rejects as lines of a file: our own columns, then the record's cells as they stood in its file.

Whatever the file cannot hold unchanged is shown escaped, and the record's text beside it says that it was altered.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.formats import correction, workbook
from chalicelib.formats.delimited import fitted, records_of
from chalicelib.formats.dialect import Dialect
from chalicelib.strict_json import is_text

MAX_RAW_BYTES: Final = 64 * 1024  # of a record; more is nothing to correct by hand
_BATCH: Final = 500
_BOM: Final = "\ufeff"  # without it Excel takes the file for the local code page
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in range(32) if chr(code) not in "\t\n\r"} | {
    0xFFFE: "\\ufffe",
    0xFFFF: "\\uffff",
}

Reject = Mapping[str, Any]  # record, line, errors, raw: at most a byte more than is shown of it


def stream(sheet: Sheet, rejects: Iterable[Reject]) -> Iterator[bytes]:
    """The file's bytes in the sheet's format, block by block."""
    lines = sheet.lines(rejects)
    return workbook.stream(lines) if sheet.form == "xlsx" else _csv(lines)


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
    """How an upload's records become lines of a file: `names` are the columns of its own file, `own` those of ours.

    `nameless` columns, in which no record may hold anything, are left out.
    """

    names: list[str]
    own: Mapping[str, int]
    dialect: Dialect
    form: str
    nameless: int

    @classmethod
    def of(cls, plan: Mapping[str, Any], fields: Sequence[str] | None, form: str) -> Sheet:
        """The sheet of an upload by its plan; of one that was never planned, by the fields of its dataset.

        `fields` None: there is no dataset, or it has others since. Then columns have those that the status tells.
        """
        if fields is None:
            known = {one["position"] - 1: one["field"] for one in plan.get("mapping", ()) if one["field"]}
        else:
            known = dict(zip(plan.get("positions", range(len(fields))), fields, strict=True))
        names = [known.get(place, f"column_{place + 1}") for place in range(plan.get("width", len(known)))]
        dialect = Dialect.planned(plan) if plan else Dialect()
        return cls(plan.get("header") or names, plan.get("own", {}), dialect, form, plan.get("nameless", 0))

    def lines(self, rejects: Iterable[Reject]) -> Iterator[list[str]]:
        """The header, then a line a reject."""
        yield [self._cell(name) for name in [*correction.COLUMNS, *self._foreign(self.names)]]
        for batch in _batches(rejects):
            for reject, cells in zip(batch, self._read([bytes(one["raw"]) for one in batch]), strict=True):
                yield self._line(reject, cells)

    def _line(self, reject: Reject, cells: list[str] | None) -> list[str]:
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
        """The cells of each record as it was loaded, or None where they are not as many as the file has columns.

        None also of a record that is too long to be shown whole.
        """
        found = records_of([raw if len(raw) <= MAX_RAW_BYTES else b"" for raw in raws], self.dialect)
        found = fitted(found, len(self.names), self.dialect, self.nameless)
        return (cells if len(cells) == len(self.names) else None for cells in found)

    def _cell(self, cell: str) -> str:
        """The cell as the file shows it: what it cannot hold escaped or cut, what would run neutralised."""
        return correction.neutralise(self._escaped(cell) if self._is_altered(cell) else cell)

    def _escaped(self, cell: str) -> str:
        shown = _text(cell.encode(errors="surrogateescape"))
        if self.form == "xlsx":
            shown = shown.translate(_CONTROLS)
            shown = shown if workbook.can_hold(f"'{shown}") else shown[: workbook.MAX_CELL // 2 - 2] + "…"
        return shown

    def _is_altered(self, cell: str) -> bool:
        """Whether the file cannot hold this cell as it is."""
        if cell.isascii() and cell.isprintable() and len(cell) < workbook.MAX_CELL:
            return False
        if self.form == "xlsx" and not workbook.can_hold(correction.neutralise(cell)):
            return True
        return not is_text(cell)


def _text(raw: bytes) -> str:
    """Bytes as somebody can read them, whatever they are."""
    return raw[:MAX_RAW_BYTES].decode(errors="backslashreplace").replace("\0", "\\x00")
