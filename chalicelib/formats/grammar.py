r"""Where a record ends: the one definition that the border finder, the header and the rejects share.

A quote opens only at the start of a field; inside, a doubled quote is a quote; what follows the closing quote
up to the delimiter or line end is literal, quotes included. A record ends at LF, CRLF or a lone CR outside
quotes, or where the data end. A line of no bytes is no record. This is what csv.reader reads with strict off.

Counting quotes is not enough: in `5" pipe` the quote is a plain character. So `scan` counts only what it has
proved, and leaves the rest to `tokens`, which is exact for every input and five times slower.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from chalicelib.formats.dialect import Dialect

# Every record matches and its repetitions are possessive: time is linear and no way back is remembered.
# Before Python 3.11.5 a possessive group kept what a failed repetition had taken (python/cpython#100061), so a
# group is possessive only where a repetition that has begun cannot fail.
_LINE_END = rb"(?:\r\n?|\n|\Z)"
PROVABLE = 1 << 18  # bytes; the proof holds the window in pieces, which in a large one could be millions
_UNQUOTED = re.compile(rb"([^\r\n]*+)" + _LINE_END)


@cache
def _record(delimiter: str, quote: str) -> re.Pattern[bytes]:
    """One record (group 1) and its line end. An open quote runs to the end of the data."""
    d, q = re.escape(delimiter.encode()), re.escape(quote.encode())
    field = rb"(?:%b[^%b]*+%b?+)*+[^%b\r\n]*+" % (q, q, q, d)
    return re.compile(rb"(%b(?:%b%b)*+)%b" % (field, d, field, _LINE_END))


@cache
def _well_quoted(delimiter: str, quote: str) -> re.Pattern[bytes]:
    """A run of plain text and quoted cells of one line, then perhaps one cell of many lines (group 1).

    Each opening quote is at a field's start; a doubled quote closes and opens at once. After a closing quote
    anything may follow: another quote in that field would be an opening one that is not at a field's start.
    """
    d, q = re.escape(delimiter.encode()), re.escape(quote.encode())
    opening = rb"(?<![^%b%b\r\n])%b" % (d, q, q)
    plain = rb"[^%b]*+" % q
    line = rb"%b[^%b\r\n]*+%b" % (opening, q, q)
    return re.compile(rb"%b(?:%b%b)*(%b%b%b)?" % (plain, line, plain, opening, plain, q))


def tokens(data: bytes, dialect: Dialect) -> Iterator[tuple[int, int, int]]:
    """(start, end, after its line end) of every record of data that begin at a record's start."""
    for match in _pattern(data, dialect).finditer(data):
        start, end = match.span(1)
        if end > start:
            yield start, end, match.end()


def _pattern(data: bytes, dialect: Dialect) -> re.Pattern[bytes]:
    if dialect.quote is None or dialect.quote.encode() not in data:
        return _UNQUOTED
    return _record(dialect.delimiter, dialect.quote)


def spans(chunk: bytes, dialect: Dialect) -> Iterator[tuple[int, int, int]]:
    """(start, end, physical lines before it in the chunk) of every record; end leaves out the line end."""
    lines = seen = 0
    for start, end, _ in tokens(chunk, dialect):
        lines += line_count(chunk[seen:start])
        seen = start
        yield start, end, lines


def line_count(data: bytes) -> int:
    """Physical lines, inside quotes or not: LF, CRLF and lone CR end one each, and so does the end of the data."""
    if b"\r" in data:
        return len(data.splitlines())
    return data.count(b"\n") + (data[-1:] not in (b"\n", b""))


@dataclass(frozen=True, slots=True)
class Region:
    """The complete lines at the head of a window: whole records and blank lines.

    `texts` are the (start, end) of the quoted cells of many lines, or None when lines and records differ otherwise.
    """

    data: bytes
    records: int
    lines: int
    dialect: Dialect
    texts: list[tuple[int, int]] | None = None

    def borders(self) -> list[int]:
        """The offset after each record's line end."""
        if self.texts is None:
            return [after for _, _, after in tokens(self.data, self.dialect)]
        ends = list(accumulate(map(len, self.data.splitlines(keepends=True))))
        for start, end in reversed(self.texts):
            del ends[bisect_right(ends, start) : bisect_left(ends, end)]
        return ends


def scan(window: bytes, dialect: Dialect, final: bool) -> Region:
    """The complete records of a window that begins at a record's start; `final` when the file ends with it.

    A CR as the last byte may be half of a CRLF, so its line is not complete yet.
    """
    if not final:
        window = window.removesuffix(b"\r")
    return _proved(window, dialect, final) or _tokenized(window, dialect, final)


def _tokenized(window: bytes, dialect: Dialect, final: bool) -> Region:
    records, complete = 0, len(window)
    for start, end, after in tokens(window, dialect):
        if end == after and not final:
            complete = start
            break
        records += 1
    data = window[:complete]
    return Region(data, records, line_count(data), dialect)


def _proved(window: bytes, dialect: Dialect, final: bool) -> Region | None:
    """The region up to the last border before the first quote that is out of place; None if there is none.

    Lines are counted for the whole region at once. A text of many lines then is one line too often per line end
    in it, and blank lines are left out, of the texts' own as well.
    """
    if len(window) > PROVABLE:
        return None
    reach, texts = _well_quoted_part(window, dialect)
    end = reach if final and reach == len(window) else _last_border(window, reach, dialect)
    while texts and texts[-1][0] >= end:
        texts.pop()
    lines = window[:end].splitlines()
    inner = [window[start:stop].splitlines() for start, stop in texts]
    blank = lines.count(b"") - sum(text.count(b"") for text in inner)
    records = len(lines) - blank - sum(len(text) - 1 for text in inner)
    return Region(window[:end], records, len(lines), dialect, None if blank else texts) if end else None


def _well_quoted_part(window: bytes, dialect: Dialect) -> tuple[int, list[tuple[int, int]]]:
    """How far no quote is out of place, and the cells of many lines up to there: at most 512, for speed."""
    texts: list[tuple[int, int]] = []
    if dialect.quote is None or dialect.quote.encode() not in window:
        return len(window), texts
    run, reach = _well_quoted(dialect.delimiter, dialect.quote), 0
    while len(texts) < 512 and (match := run.match(window, reach)):
        reach = match.end()
        if match[1] is None:
            break
        texts.append(match.span(1))
    return reach, texts


def _last_border(window: bytes, reach: int, dialect: Dialect) -> int:
    """After the last line end outside quotes before `reach`, itself outside; there the parity of quotes is exact.

    0 when a text of many lines stands before it: looking at each of its lines would cost more than `tokens`.
    """
    line_end = b"\n" if window.find(b"\n", 0, reach) >= 0 else b"\r"
    quotes, end = 0, reach
    for _ in range(64):
        border = window.rfind(line_end, 0, end) + 1
        quotes += window.count(dialect.quote.encode(), border, end) if dialect.quote else 0
        if border == 0 or quotes % 2 == 0:
            return border
        end = border - 1
    return 0
