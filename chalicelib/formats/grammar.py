r"""Where a record ends: the one definition that the border finder, the header, the cells and the rejects share.

A quote opens only at the start of a cell; inside, a doubled quote is a quote. A record ends at LF, CRLF or a lone
CR outside quotes, or where the data end. A line of no bytes, or one that begins with the comment mark at a record's
start, is no record. The escape makes the quote, delimiter, comment mark, line end or escape after it a plain
character, inside quotes and outside; before anything else it is a plain character itself.

Between a closing quote and the next delimiter or line end there may be blanks, which are dropped. If anything else
stands there, if the quote never closes, or if quotes inside two unquoted cells look like a pair, nobody can tell
where the cells were meant to end: the record's end is then found as if the rest were plain text, and its cells are
withheld (Unreadable). Less that, and the blanks, this is what csv.reader reads.

Counting quotes is not enough: in `5" pipe` the quote is a plain character. So `scan` counts only what it has
proved, and leaves the rest to `tokens`, which is exact for every input and five times slower.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from chalicelib.formats.dialect import Dialect

# Every record matches and its repetitions are possessive: time is linear and no way back is remembered.
# Before Python 3.11.5 a possessive group kept what a failed repetition had taken (python/cpython#100061), so a
# group is possessive only where a repetition that has begun cannot fail.
_LINE_END = rb"(?:\r\n?|\n|\Z)"
PROVABLE = 1 << 18  # bytes; the proof holds the window in pieces, which in a large one could be millions
_LINE_ENDS = re.compile(rb"(?:\r\n?|\n)\Z")
_UNQUOTED = re.compile(rb"([^\r\n]*+)" + _LINE_END)


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a dialect that occur in some data: without the others they are read the same, and faster."""

    delimiter: bytes
    quote: bytes | None
    escape: bytes | None
    comment: bytes | None

    @property
    def are_plain(self) -> bool:
        """Whether quotes are all there is beside the delimiter."""
        return self.escape is None and self.comment is None


def marks_in(data: bytes, dialect: Dialect) -> Marks:
    """The marks of the dialect that data, which begin at a record's start, need to be read by."""
    quote, escape, comment = (
        mark.encode() if mark and mark.encode() in data else None
        for mark in (dialect.quote, dialect.escape, dialect.comment)
    )
    if comment and not escape and not _begins_a_line(comment, data):
        comment = None
    return Marks(dialect.delimiter.encode(), quote, escape, comment)


def _begins_a_line(mark: bytes, data: bytes) -> bool:
    return data.startswith(mark) or b"\n" + mark in data or b"\r" + mark in data


@dataclass(frozen=True, slots=True)
class Parts:
    """Patterns of what cells are made of: plain text, a piece of text inside quotes, what an escape makes plain."""

    bare: bytes
    inside: bytes
    special: bytes


@cache
def parts(marks: Marks) -> Parts:
    d, q, e, c = (re.escape(mark or b"") for mark in (marks.delimiter, marks.quote, marks.escape, marks.comment))
    special = rb"(?:\r\n?|[\n%b])" % (q + e + d + c)
    if e:
        escaped = rb"%b%b?+" % (e, special)
        return Parts(rb"(?:[^\r\n%b]++|%b)*+" % (d + e, escaped), rb"(?:[^%b]++|%b)*+" % (q + e, escaped), special)
    if len(marks.delimiter) == 1:
        return Parts(rb"[^\r\n%b]*+" % d, rb"[^%b]*+" % q, special)
    first = re.escape(marks.delimiter[:1])
    return Parts(rb"(?:[^\r\n%b]++|(?!%b)%b)*+" % (first, d, first), rb"[^%b]*+" % q, special)


@cache
def _record(marks: Marks) -> re.Pattern[bytes]:
    """One record (group 1) or a comment, and its line end. An open quote runs to the end of the data."""
    d, made_of = re.escape(marks.delimiter), parts(marks)
    field = made_of.bare
    if marks.quote:
        q = re.escape(marks.quote)
        field = rb"(?:%b%b%b?+)*+%b" % (q, made_of.inside, q, made_of.bare)
    record = rb"(%b(?:%b%b)*+)" % (field, d, field)
    comment = rb"%b[^\r\n]*+|" % re.escape(marks.comment) if marks.comment else b""
    return re.compile(rb"(?:%b%b)%b" % (comment, record, _LINE_END))


@cache
def _well_quoted(delimiter: bytes, quote: bytes) -> re.Pattern[bytes]:
    """A run of plain text and quoted cells of one line, then perhaps one cell of many lines (group 1).

    Each opening quote is at a field's start; a doubled quote closes and opens at once. After a closing quote
    anything may follow: another quote in that field would be an opening one that is not at a field's start.
    """
    d, q = re.escape(delimiter), re.escape(quote)
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
    marks = marks_in(data, dialect)
    return _UNQUOTED if marks.are_plain and marks.quote is None else _record(marks)


def first_line(data: bytes, dialect: Dialect) -> tuple[int, int]:
    """(start, end) of the first record or comment of data that begin at a record's start; blank lines are neither."""
    start = len(data) - len(data.lstrip(b"\r\n"))
    match = _pattern(data[start:], dialect).match(data[start:])
    assert match is not None
    is_record = match.start(1) >= 0  # group 1 itself would be a copy, of a record that may have 16 MiB
    return start, start + (match.end(1) if is_record else len(match[0].rstrip(b"\r\n")))


def spans(chunk: bytes, dialect: Dialect) -> Iterator[tuple[int, int, int]]:
    """(start, end, physical lines before it in the chunk) of every record; end leaves out the line end."""
    lines = seen = 0
    for start, end, _ in tokens(chunk, dialect):
        lines += line_count(chunk[seen:start])
        seen = start
        yield start, end, lines


def locate(
    chunk: bytes, dialect: Dialect, places: Sequence[int], window: int = PROVABLE
) -> Iterator[tuple[int, int, int]]:
    """As spans, of the records at these places alone, in ascending order: three times as fast."""
    at = record = lines = done = 0
    size = window
    while done < len(places):
        region = scan(chunk[at : at + size], dialect, final=at + size >= len(chunk))
        upto = bisect_left(places, record + region.records, lo=done)
        for start, end, before in region.locate([place - record for place in places[done:upto]]):
            yield at + start, at + end, lines + before
        at, record, lines, done = at + len(region.data), record + region.records, lines + region.lines, upto
        size = window if region.data else 2 * size


def line_count(data: bytes) -> int:
    """Physical lines, inside quotes or not: LF, CRLF and lone CR end one each, and so does the end of the data."""
    if b"\r" in data:
        return len(data.splitlines())
    return data.count(b"\n") + (data[-1:] not in (b"\n", b""))


@dataclass(frozen=True, slots=True)
class Region:
    """The complete lines at the head of a window: whole records, blank lines and comments.

    `texts` are the (start, end) of the quoted cells of many lines, or None when lines and records differ otherwise.
    `last` is the offset after the last record's line end.
    """

    data: bytes
    records: int
    lines: int
    dialect: Dialect
    last: int
    texts: list[tuple[int, int]] | None = None

    def borders(self) -> list[int]:
        """The offset after each record's line end."""
        if self.texts is None:
            return [after for _, _, after in tokens(self.data, self.dialect)]
        ends = list(accumulate(map(len, self.data.splitlines(keepends=True))))
        for start, end in reversed(self.texts):
            del ends[bisect_right(ends, start) : bisect_left(ends, end)]
        return ends

    def locate(self, places: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """(start, end, physical lines before it) of the records at these places, in ascending order."""
        if not places:
            return
        if self.texts is None:
            found = list(spans(self.data, self.dialect))
            yield from (found[place] for place in places)
            return
        borders, lines, seen = self.borders(), 0, 0
        for place in places:
            start, end = borders[place - 1] if place else 0, borders[place]
            lines += line_count(self.data[seen:start])
            seen = start
            yield start, start + len(_LINE_ENDS.sub(b"", self.data[start:end])), lines

    def lead(self) -> int:
        """How many bytes stand before the first record: blank lines and comments."""
        if marks_in(self.data, self.dialect).comment:
            return next((start for start, _, _ in tokens(self.data, self.dialect)), len(self.data))
        return len(self.data) - len(self.data.lstrip(b"\r\n"))


def scan(window: bytes, dialect: Dialect, final: bool) -> Region:
    """The complete records of a window that begins at a record's start; `final` when the file ends with it.

    A CR as the last byte may be half of a CRLF, so its line is not complete yet.
    """
    if not final:
        window = window.removesuffix(b"\r")
    return _proved(window, dialect, final) or _tokenized(window, dialect, final)


def _tokenized(window: bytes, dialect: Dialect, final: bool) -> Region:
    """Of a large window the first record alone: what comes after it is provable again."""
    records = last = 0
    complete = len(window)
    for match in _pattern(window, dialect).finditer(window):
        if not (final or _is_complete(match)):
            complete = match.start()
            break
        if match.end(1) > match.start(1):
            records, last = records + 1, match.end()
            if len(window) > PROVABLE:
                complete = last
                break
    data = window[:complete]
    return Region(data, records, line_count(data), dialect, last)


def _is_complete(match: re.Match[bytes]) -> bool:
    """Whether a record, comment or blank line ends with a line end, not with the window."""
    if match.start(1) < 0:
        return match[0].endswith((b"\n", b"\r"))
    return match.end(1) < match.end() or match.start() == match.end()


def _proved(window: bytes, dialect: Dialect, final: bool) -> Region | None:
    """The region up to the last border before the first quote that is out of place; None if there is none.

    Lines are counted for the whole region at once. A text of many lines then is one line too often per line end
    in it, and blank lines are left out, of the texts' own as well.
    """
    marks = marks_in(window, dialect)
    if len(window) > PROVABLE or not marks.are_plain or (marks.quote and len(marks.delimiter) > 1):
        return None
    reach, texts = _well_quoted_part(window, marks)
    end = reach if final and reach == len(window) else _last_border(window, reach, marks.quote)
    while texts and texts[-1][0] >= end:
        texts.pop()
    lines = window[:end].splitlines()
    inner = [window[start:stop].splitlines() for start, stop in texts]
    blank = lines.count(b"") - sum(text.count(b"") for text in inner)
    records = len(lines) - blank - sum(len(text) - 1 for text in inner)
    if not end:
        return None
    last = _after_text(window, end) if blank else end
    return Region(window[:end], records, len(lines), dialect, last, None if blank else texts)


def _after_text(window: bytes, end: int) -> int:
    """After the first line end behind the last other byte before `end`: where no quote is open, a record's end."""
    text = len(window[:end].rstrip(b"\r\n"))
    return min(end, text + (2 if window[text : text + 2] == b"\r\n" else 1)) if text else 0


def _well_quoted_part(window: bytes, marks: Marks) -> tuple[int, list[tuple[int, int]]]:
    """How far no quote is out of place, and the cells of many lines up to there: at most 512, for speed."""
    texts: list[tuple[int, int]] = []
    if marks.quote is None:
        return len(window), texts
    run, reach = _well_quoted(marks.delimiter, marks.quote), 0
    while len(texts) < 512 and (match := run.match(window, reach)):
        reach = match.end()
        if match[1] is None:
            break
        texts.append(match.span(1))
    return reach, texts


def _last_border(window: bytes, reach: int, quote: bytes | None) -> int:
    """After the last line end outside quotes before `reach`, itself outside; there the parity of quotes is exact.

    0 when a text of many lines stands before it: looking at each of its lines would cost more than `tokens`.
    """
    line_end = b"\n" if window.find(b"\n", 0, reach) >= 0 else b"\r"
    quotes, end = 0, reach
    for _ in range(64):
        border = window.rfind(line_end, 0, end) + 1
        quotes += window.count(quote, border, end) if quote else 0
        if border == 0 or quotes % 2 == 0:
            return border
        end = border - 1
    return 0
