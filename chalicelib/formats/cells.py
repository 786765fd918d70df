"""One record to its cells, exactly and slowly: for what csv.reader cannot read, or reads otherwise than grammar.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from chalicelib.formats.grammar import Marks, line_count, parts

MAX_CELL = 1 << 20  # characters. Postgres would take more; an index, a cell of the page or a JSON answer would not


class Unreadable(list[str]):
    """A record whose cells are withheld, so that it has none, and why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__()
        self.code = code
        self.detail = detail


def decoded(data: bytes) -> str:
    """Bytes that are not UTF-8 become lone surrogates, so that only their own cells are at fault."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="surrogateescape")


def cells(record: bytes, marks: Marks) -> list[str]:
    """The cells of a record without its line end, or an Unreadable."""
    found: list[str] = []
    opened = 0
    for match in _matches(record, marks):
        quoted = match["open"] is not None
        if quoted and (fault := _fault(record, match, len(found) + 1)) is not None:
            return fault
        if not quoted and marks.quote and marks.quote in match["bare"]:
            stray = _strays(match["bare"], marks)
            if opened and stray == "closing":
                where = f"cells {opened} and {len(found) + 1}"
                return Unreadable("quote_misplaced", f"the quotes inside {where} may enclose what is between them")
            opened = opened or (len(found) + 1 if stray == "opening" else 0)
        cell = decoded(_inside(match["inside"], marks) if quoted else _bare(match["bare"], marks))
        if len(cell) > MAX_CELL:
            return Unreadable("row_too_large", f"cell {len(found) + 1} is longer than {MAX_CELL} characters")
        found.append(cell)
    return found


def may_stray(chunk: bytes, marks: Marks, rows: Sequence[Sequence[str]]) -> bool:
    """Whether bare cells of rows, which csv.reader read from chunk, may hold the two halves of a pair of quotes.

    Adds a tenth to csv.reader's time where quotes are few, a fifth where each cell has them: looking at each of
    those, instead of at the quotes that are left in cells, would add a third.
    """
    assert marks.quote is not None
    quote = marks.quote.decode()
    if chunk.count(marks.quote) * 16 < len(chunk):
        return _opening(marks.quote, marks.delimiter).search(chunk) is not None
    held = ([cell for cell in row if quote in cell] for row in rows if quote in "".join(row))
    return any(sum(cell.count(quote) % 2 for cell in cells) > 1 for cells in held if len(cells) > 1)


@cache
def _opening(quote: bytes, delimiter: bytes = b"") -> re.Pattern[bytes]:
    """A lone quote inside a cell with text right behind it. That the pattern begins with the quote makes it fast.

    In one cell no delimiter has to be told from text; bytes of a long one may stand there by themselves.
    """
    d, q = re.escape(delimiter), re.escape(quote)
    return re.compile(rb"%b(?<=[^%b%b\r\n].)(?=[^%b%b\r\n \t])" % (q, d, q, d, q))


def _strays(bare: bytes, marks: Marks) -> str | None:
    """Whether the quotes in a bare cell look like the half of a pair: `5" pipe` does not, `8"long, wide"` does."""
    assert marks.quote is not None
    if marks.escape:
        bare = re.sub(rb"%b%b" % (re.escape(marks.escape), parts(marks).special), b".", bare)
    if bare.count(marks.quote) % 2 == 0:
        return None
    if bare.endswith(marks.quote):
        return "closing"
    return "opening" if _opening(marks.quote).search(bare) else None


def open_quote(record: bytes, marks: Marks) -> int | None:
    """Where the quote stands that opens in the record and never closes; None if each one closes."""
    for match in _matches(record, marks):
        if match["open"] and not match["close"]:
            return match.start("open")
    return None


def _matches(record: bytes, marks: Marks) -> Iterator[re.Match[bytes]]:
    cell, start = _cell(marks), 0
    while match := cell.match(record, start):
        yield match
        if not match["end"]:
            return
        start = match.end()


@cache
def _cell(marks: Marks) -> re.Pattern[bytes]:
    """A cell and the delimiter behind it, or the end of the record."""
    d, made_of = re.escape(marks.delimiter), parts(marks)
    quoted = rb"(?P<open>(?!))(?P<inside>)(?P<close>)(?P<tail>)"
    if marks.quote:
        q, inside = re.escape(marks.quote), made_of.inside
        text = rb"%b(?:(?=%b%b)%b%b%b)*+" % (inside, q, q, q, q, inside)
        quoted = rb"(?P<open>%b)(?P<inside>%b)(?P<close>%b?+)(?P<tail>%b)" % (q, text, q, made_of.bare)
    return re.compile(rb"(?:%b|(?P<bare>%b))(?P<end>%b|\Z)" % (quoted, made_of.bare, d))


def _fault(record: bytes, match: re.Match[bytes], place: int) -> Unreadable | None:
    if not match["close"]:
        line = line_count(record[: match.start("open")] + b".")
        where = f" in line {line} of the record" if line > 1 else ""
        return Unreadable("quote_misplaced", f"the quote that opens cell {place}{where} never closes")
    if match["tail"].strip(b" \t"):
        return Unreadable("quote_misplaced", f"text follows the closing quote of cell {place}")
    return None


def _inside(text: bytes, marks: Marks) -> bytes:
    """Text between quotes, less the marks that make others plain."""
    assert marks.quote is not None
    if marks.escape is None:
        return text.replace(marks.quote * 2, marks.quote)
    return _doubled(marks).sub(lambda match: match[1] or match[2], text)


def _bare(text: bytes, marks: Marks) -> bytes:
    if marks.escape is None:
        return text
    return re.sub(rb"%b(%b)" % (re.escape(marks.escape), parts(marks).special), rb"\1", text)


@cache
def _doubled(marks: Marks) -> re.Pattern[bytes]:
    """An escape and what it makes plain (group 1), or a doubled quote (group 2)."""
    assert marks.escape is not None and marks.quote is not None
    q = re.escape(marks.quote)
    return re.compile(rb"%b(%b)|%b(%b)" % (re.escape(marks.escape), parts(marks).special, q, q))
