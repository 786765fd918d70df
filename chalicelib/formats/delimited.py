"""Bytes of a delimited file to cells: the header from a sample, and the records of a chunk."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import methodcaller

from chalicelib.errors import Refused
from chalicelib.formats.cells import MAX_CELL, Unreadable, cells, decoded, may_stray
from chalicelib.formats.dialect import Dialect
from chalicelib.formats.grammar import Marks, line_count, marks_in, tokens
from chalicelib.journey import CellError

BOM = b"\xef\xbb\xbf"
MAX_COLUMNS = 1600  # of a table in Postgres
MAX_NAME_BYTES = 63  # of a column in Postgres
# str.splitlines also breaks lines at these; csv.reader must not see them as line ends.
_OTHER_LINE_ENDS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n|\Z)")

csv.field_size_limit(MAX_CELL)


@dataclass(frozen=True, slots=True)
class Header:
    """The column names of a file and where its data begin: an offset into the file, BOM included, and a line.

    `nameless` columns at the right have a blank for a name: exports of spreadsheets end their lines so.
    """

    names: tuple[str, ...]
    end: int
    lines: int
    nameless: int = 0


def bom_length(sample: bytes) -> int:
    """How many bytes of a UTF-8 byte order mark the file begins with: 3 or 0."""
    return len(BOM) if sample.startswith(BOM) else 0


def header(sample: bytes, dialect: Dialect, truncated: bool) -> Header:
    """The first record of the file that begins with sample; `truncated` when the file goes on after it.

    Lines to skip come first. Without a header the data begin behind them and there are no names. Blank lines and
    comments before a header are passed over; `lines` counts all of these.
    Raises Refused: header_too_long, header_missing, header_invalid, encoding_unsupported, columns_too_many,
    columns_unnamed, column_name_too_long.
    """
    begin = after_lines(sample, dialect.skip_lines, truncated)
    skipped = line_count(sample[bom_length(sample) : begin])
    if not dialect.header:
        return Header((), begin, skipped)
    text = sample[begin:]
    first = next(tokens(text.removesuffix(b"\r") if truncated else text, dialect), None)
    if truncated and (first is None or first[1] == first[2]):
        raise Refused("header_too_long", f"The header does not end within the first {len(sample)} bytes.")
    if first is None:
        raise Refused("header_missing", "The file holds no record, not even a header.")
    start, end, after = first
    names = _names(text[start:end], dialect)
    named = _without_blanks(names)
    return Header(tuple(named), begin + after, skipped + line_count(text[:after]), len(names) - len(named))


def after_lines(sample: bytes, count: int, truncated: bool) -> int:
    """The offset after the byte order mark and `count` physical lines, quotes or not."""
    place = bom_length(sample)
    for _ in range(count):
        match = _LINE.match(sample, place)
        if truncated and (match is None or match.end() == len(sample)):
            raise Refused("header_too_long", f"The lines to skip do not end within the first {len(sample)} bytes.")
        if match is None or match.end() == place:
            break
        place = match.end()
    return place


def _names(record: bytes, dialect: Dialect) -> list[str]:
    try:
        record.decode()
    except UnicodeDecodeError:
        raise Refused("encoding_unsupported", "The header is not UTF-8; save the file as UTF-8.") from None
    if b"\0" in record:
        raise Refused("header_invalid", "The header holds a NUL.")
    names = cells(record, marks_in(record, dialect))
    if isinstance(names, Unreadable):
        raise Refused("header_invalid", f"The header cannot be read: {names.detail}.")
    return names


def _without_blanks(names: Sequence[str]) -> Sequence[str]:
    """The names less the blanks at the right. Raises Refused for what no table can have."""
    while names and not names[-1].strip():
        names = names[:-1]
    if len(names) > MAX_COLUMNS:
        raise Refused("columns_too_many", f"The header has {len(names)} columns; a table holds {MAX_COLUMNS}.")
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise Refused("columns_unnamed", f"Column {place} of the header has no name.")
        if len(name.encode()) > MAX_NAME_BYTES:
            detail = f"The name of column {place} is longer than {MAX_NAME_BYTES} bytes: {name[:MAX_NAME_BYTES]}…"
            raise Refused("column_name_too_long", detail)
    return names


def records(chunk: bytes, dialect: Dialect) -> list[list[str]]:
    """The cells of every record of a chunk that begins and ends at record borders, by the grammar of grammar.py.

    A record whose cells cannot be told, or with a cell too large, is an Unreadable.
    """
    marks = marks_in(chunk, dialect)
    if marks.are_plain and not may_hold_large(chunk):
        text = decoded(chunk)
        if marks.quote is None:
            return list(map(methodcaller("split", dialect.delimiter), filter(None, _bare_lines(text))))
        if len(dialect.delimiter) == 1 and (rows := _by_csv(text, dialect)) is not None:
            return _one_by_one(chunk, dialect, marks) if may_stray(chunk, marks, rows) else rows
    return _one_by_one(chunk, dialect, marks)


def records_of(raws: Sequence[bytes], dialect: Dialect) -> list[list[str]]:
    """The cells of each of these records; none of what is no record by itself, or several.

    All at once, which is five times as fast, unless a quote that is never closed swallows what follows.
    """
    found = records(b"\n".join(raws), dialect)
    if len(found) == len(raws) and all(raws):
        return found
    alone = (records(raw, dialect) for raw in raws)
    return [one[0] if len(one) == 1 else [] for one in alone]


def _by_csv(text: str, dialect: Dialect) -> list[list[str]] | None:
    """Three times as fast as one by one; None where a quote is misplaced or a cell too large for it."""
    try:
        rows = csv.reader(_lines(text), delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
        return list(filter(None, rows))  # a blank line is [], a lone quoted empty cell is ['']
    except csv.Error:
        return None


def _one_by_one(chunk: bytes, dialect: Dialect, marks: Marks) -> list[list[str]]:
    return [cells(chunk[start:end], marks) for start, end, _ in tokens(chunk, dialect)]


def may_hold_large(chunk: bytes) -> bool:
    """Whether a line of more than MAX_CELL bytes may be here: it would cover one of these stretches wholly."""
    stretch = MAX_CELL // 2
    starts = range(0, len(chunk) - stretch + 1, stretch)
    return any(not _has_line_end(chunk, start, start + stretch) for start in starts)


def _has_line_end(chunk: bytes, start: int, end: int) -> bool:
    return chunk.find(b"\n", start, end) >= 0 or chunk.find(b"\r", start, end) >= 0


def _lines(text: str) -> Iterable[str]:
    """Lines with their ends: LF, CRLF or lone CR. A StringIO keeps four bytes a letter, so it comes second."""
    if any(other in text for other in _OTHER_LINE_ENDS):
        return io.StringIO(text, newline="")
    return text.splitlines(keepends=True)


def _bare_lines(text: str) -> Iterator[str]:
    if any(other in text for other in _OTHER_LINE_ENDS):
        return (line.rstrip("\r\n") for line in io.StringIO(text, newline=""))
    return iter(text.splitlines())


def fitted(rows: list[list[str]], width: int, dialect: Dialect, nameless: int = 0) -> list[list[str]]:
    """The rows, those of another width brought to it where that loses nothing: a misfit is left as it is.

    Under `nameless` columns of the header cells must be empty, or not be there. With ragged "pad", short rows get
    empty cells and long ones lose empty cells at their end.
    """
    if dialect.ragged == "strict" and not nameless:
        return rows
    return [row if len(row) == width else _fitted(row, width, dialect.ragged == "pad", nameless) for row in rows]


def _fitted(row: list[str], width: int, pad: bool, nameless: int) -> list[str]:
    surplus = len(row) - width
    if not row:  # its cells are withheld: any other record has one
        return row
    if surplus < 0:
        return row + [""] * -surplus if pad else row
    return row if any(row[width:]) or not (pad or surplus == nameless) else row[:width]


def misfit(row: Sequence[str], width: int) -> CellError:
    """Why a record that has not `width` cells is rejected."""
    if isinstance(row, Unreadable):
        return _error(row.code, row.detail)
    return _error("width_mismatch", f"{len(row)} cells where the header has {width}")


@lru_cache(maxsize=1024)
def _error(code: str, detail: str) -> CellError:
    """One and the same for records with the same fault: there may be a hundred thousand in a chunk."""
    return CellError(None, code, detail)
