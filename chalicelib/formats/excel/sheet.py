"""The rows of a sheet as lines of CSV, while its XML streams past.

What Excel shows but a row of data cannot hold is never passed over: an error (#N/A), and a formula that no program
has computed, become a cell that is not UTF-8, so the checker rejects the row and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Final

from chalicelib.errors import Refused
from chalicelib.formats.excel.archive import corrupt
from chalicelib.formats.excel.markup import MAX_DEPTH, LocalNames, parse
from chalicelib.formats.excel.numbers import Shown, moment, number, spelt_out
from chalicelib.formats.excel.strings import NOT_TEXT, UNCOMPUTED, USUAL_TEXT, SharedStrings, cell, unescaped

MAX_ROW: Final = 1_048_576
MAX_COLUMN: Final = 16_384
BLOCK_BYTES: Final = 1 << 14  # of XML, in which 500 cells may name a text of 32,767 letters each
CAREFUL_BLOCK_BYTES: Final = 1 << 9  # where they may name longer ones
MAX_ROW_LENGTH: Final = 16 << 20  # letters, as for any record
_PLACE: Final = re.compile(r"([A-Z]{1,3})[0-9]{1,7}").fullmatch
_KNOWN: Final = frozenset(("c", "v", "f", "t", "row", "rPh"))


@dataclass(frozen=True, slots=True)
class Layout:
    """How cell styles show numbers, and how many cells a row has: `width`, or what the row after `skip` rows has.

    What is met is kept in `as_values` and `as_texts`, as `Sheet` tells it.
    """

    styles: list[Shown]
    from_1904: bool
    width: int | None = None
    skip: int = 0
    as_values: set[int] = field(default_factory=set)
    as_texts: set[int] = field(default_factory=set)


def read_sheet(stream: IO[bytes], strings: SharedStrings, layout: Layout) -> Iterator[bytes]:
    """The sheet as UTF-8 CSV. A row without a value is a blank line; none follow the last row with one.

    So is a row to skip: the lines of its cells would be taken for lines to skip, too.
    """
    rows = _Rows(strings, layout)
    block_bytes = BLOCK_BYTES if strings.longest <= USUAL_TEXT else CAREFUL_BLOCK_BYTES
    for _ in parse(stream, rows.start, rows.end, rows.text, block_bytes):
        yield "".join(rows.lines).encode(errors="surrogateescape")
        rows.lines.clear()


class _Rows:
    """`lines` are the rows that are complete. Its three methods are called for every piece of the XML."""

    def __init__(self, strings: SharedStrings, layout: Layout) -> None:
        self.lines: list[str] = []
        self._strings = strings
        self._layout = layout
        self._width = layout.width
        self._names = LocalNames()
        self._columns: dict[str, int] = {}
        self._written = self._row = self._depth = 0
        self._cells: list[str] | None = None  # None: between rows
        self._length = 0
        self._type: str | None = None  # None: between cells
        self._style: str | None = None
        self._parts: list[str] = []
        self._taking = self._phonetic = self._formula = self._value = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = self._names[name]
        if local == "c":
            self._start_cell(attributes)
        elif local == "v":
            self._taking = self._value = True
        elif local == "f":
            self._formula = True
        elif local == "t":
            self._taking = self._value = not self._phonetic
        elif local == "row":
            self._start_row(attributes)
        elif local == "rPh":
            self._phonetic = True
        else:
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise corrupt("it is nested too deeply")

    def text(self, data: str) -> None:
        if self._taking:
            self._parts.append(data)
            self._grow(len(data))

    def _grow(self, letters: int) -> None:
        self._length += letters
        if self._length > MAX_ROW_LENGTH:
            detail = f"Row {self._row} of the sheet has more than {MAX_ROW_LENGTH} letters."
            raise Refused("record_too_large", detail)

    def end(self, name: str) -> None:
        local = self._names[name]
        if local == "v" or local == "t":  # noqa: PLR1714  # twice as fast as `in`, and called for every cell
            self._taking = False
        elif local == "c":
            self._end_cell()
        elif local == "row":
            self._end_row()
        elif local == "rPh":
            self._phonetic = False
        elif local not in _KNOWN:
            self._depth -= 1

    def _start_row(self, attributes: dict[str, str]) -> None:
        given = attributes.get("r")
        row = self._row + 1 if given is None else int(given) if given.isdecimal() and len(given) < 8 else 0
        if self._cells is not None or not self._row < row <= MAX_ROW:
            raise corrupt("its rows are not in order")
        self._row, self._cells, self._length = row, [], 0

    def _start_cell(self, attributes: dict[str, str]) -> None:
        cells = self._cells
        if self._type is not None or cells is None:
            raise corrupt("a cell is where none can be")
        if (place := attributes.get("r")) is not None:
            letters = place.rstrip("0123456789")
            column = self._columns.get(letters)
            if column is None:
                column = self._columns[letters] = _column(place, letters)
            if column != len(cells):
                self._skip_to(column)
        elif len(cells) >= MAX_COLUMN:
            raise corrupt("a row has too many cells")
        self._type = attributes.get("t", "n")
        self._style = attributes.get("s")
        self._parts = []
        self._formula = self._value = False

    def _skip_to(self, column: int) -> None:
        assert self._cells is not None
        if column < len(self._cells):
            raise corrupt("its cells are not in order")
        self._cells += [""] * (column - len(self._cells))

    def _end_cell(self) -> None:
        assert self._cells is not None
        text = "".join(self._parts)
        if not text:
            is_computed = self._value and self._type == "str"  # to no letters; some writers leave <v/> for no value
            self._cells.append(NOT_TEXT + UNCOMPUTED if self._formula and not is_computed else "")
        elif self._type == "n":
            self._cells.append(text if self._style is None and text.isdecimal() else self._number(text))
        elif self._type == "s":
            self._cells.append(self._text(self._strings[text]))
            self._grow(len(self._cells[-1]))
        else:
            self._cells.append(self._spelt(text))
        self._type = None

    def _number(self, text: str) -> str:
        shown = self._shown()
        if shown != "number":
            return moment(text, shown, self._layout.from_1904)
        spelt = number(text)
        if spelt[-4:-3] == ".":
            self._layout.as_values.add(len(self._cells or ()))
        return spelt

    def _text(self, spelt: str) -> str:
        if spelt[-4:-3] == "." and spelt[-3:].isdecimal():
            self._layout.as_texts.add(len(self._cells or ()))
        return spelt

    def _shown(self) -> Shown:
        style, known = self._style, self._layout.styles
        return known[int(style)] if style and style.isdecimal() and int(style) < len(known) else "number"

    def _spelt(self, text: str) -> str:
        match self._type:
            case "b":
                return {"0": "false", "1": "true"}.get(text) or cell(text)
            case "e":
                return cell(NOT_TEXT + text)
            case "d":
                return cell(spelt_out(text, self._shown()))
            case _:
                return self._text(cell(unescaped(text)))

    def _end_row(self) -> None:
        cells, self._cells = self._cells or [], None
        while cells and not cells[-1]:
            cells.pop()
        if not cells or self._row <= self._layout.skip:
            return
        if self._width is None:
            self._width = len(cells)
        cells += [""] * ((self._width or 0) - len(cells))
        self.lines.append("\n" * (self._row - self._written - 1) + ",".join(cells) + "\n")
        self._written = self._row


def _column(place: str, letters: str) -> int:
    """Where a cell is in its row; column A is 0. The row in its place is not looked at: a cell is in its row."""
    if not _PLACE(place):
        raise corrupt("a cell has no place")
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    if column > MAX_COLUMN:
        raise corrupt("a row has too many cells")
    return column - 1
