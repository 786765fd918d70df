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
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import accumulate, repeat
from operator import itemgetter, mul

import stringzilla

from chalicelib.formats.dialect import Dialect

# Every record matches and its repetitions are possessive: time is linear and no way back is remembered.
# Before Python 3.11.5 a possessive group kept what a failed repetition had taken (python/cpython#100061), so a
# group is possessive only where a repetition that has begun cannot fail.
_LINE_END = rb"(?:\r\n?|\n|\Z)"
PROVABLE = 1 << 18  # bytes; the proof holds the window in pieces, which in a large one could be millions
_LINE_ENDS = re.compile(rb"(?:\r\n?|\n)\Z")
_BLANK = (b"\n", b"\r\n", b"\r")
_LAST = itemgetter(slice(-1, None))
_LONG = 64  # bytes from one opening quote to the next
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
def _misplaced(delimiter: bytes, quote: bytes) -> re.Pattern[bytes]:
    """A quote that is neither at a field's start nor right behind another. That it comes first makes it fast."""
    d, q = re.escape(delimiter), re.escape(quote)
    return re.compile(rb"%b(?<=[^%b%b\r\n]%b)" % (q, d, q, q))


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
        at, record, lines, done = at + region.size, record + region.records, lines + region.lines, upto
        size = window if region.size else 2 * size


def line_count(data: bytes) -> int:
    """Physical lines, inside quotes or not: LF, CRLF and lone CR end one each, and so does the end of the data."""
    if b"\r" in data:
        return len(data.splitlines())
    return data.count(b"\n") + (data[-1:] not in (b"\n", b""))


@dataclass(frozen=True, slots=True)
class Region:
    """The complete lines at the head of a window: whole records, blank lines and comments.

    `last` is the offset after the last record's line end; `is_proved`: quotes open and close by turns.
    """

    window: bytes
    size: int
    records: int
    lines: int
    dialect: Dialect
    last: int
    is_proved: bool = False

    @property
    def data(self) -> bytes:
        """The lines themselves. Copied when asked for: most regions are only counted."""
        return self.window[: self.size]

    def borders(self) -> list[int]:
        """The offset after each record's line end."""
        if not self.is_proved:
            return [after for _, _, after in tokens(self.data, self.dialect)]
        lines = _masked(self.data, self.dialect.quote).splitlines(keepends=True)
        ends = accumulate(map(len, lines))
        if len(lines) == self.records:
            return list(ends)
        return [end for end, line in zip(ends, lines, strict=True) if line not in _BLANK]

    def locate(self, places: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """(start, end, physical lines before it) of the records at these places, in ascending order."""
        if not places:
            return
        data = self.data
        if not self.is_proved:
            found = list(spans(data, self.dialect))
            yield from (found[place] for place in places)
            return
        borders, lines, seen = self.borders(), 0, 0
        for place in places:
            record = data[borders[place - 1] if place else 0 : borders[place]].lstrip(b"\r\n")  # behind blank lines
            start = borders[place] - len(record)
            lines += line_count(data[seen:start])
            seen = start
            yield start, start + len(_LINE_ENDS.sub(b"", record)), lines

    def lead(self) -> int:
        """How many bytes stand before the first record: blank lines and comments."""
        data = self.data
        if marks_in(data, self.dialect).comment:
            return next((start for start, _, _ in tokens(data, self.dialect)), len(data))
        return len(data) - len(data.lstrip(b"\r\n"))


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
    return Region(data, complete, records, line_count(data), dialect, last)


def _is_complete(match: re.Match[bytes]) -> bool:
    """Whether a record, comment or blank line ends with a line end, not with the window."""
    if match.start(1) < 0:
        return match[0].endswith((b"\n", b"\r"))
    return match.end(1) < match.end() or match.start() == match.end()


def _proved(window: bytes, dialect: Dialect, final: bool) -> Region | None:
    """The region up to the last border before the first quote that is out of place; None if there is none.

    Split at its quotes, a window is by turns outside and inside of them, as long as each quote that opens is at a
    field's start or, half of a doubled one, right behind the one that closed. After a closing quote anything may
    follow: another quote in that field would be an opening one that is out of place.
    """
    if len(window) > PROVABLE:
        return None
    marks = marks_in(window, dialect)
    if not marks.are_plain or (marks.quote and len(marks.delimiter) > 1):
        return None
    parts = window.split(marks.quote) if marks.quote else [window]
    outside, inside, size = parts[::2], parts[1::2], len(window)
    placed = _well_placed(outside[: len(inside)], marks)
    if not final or placed < len(inside) or len(inside) == len(outside):
        last, border = _last_border(outside, placed)
        size -= sum(map(len, parts[2 * last :])) + len(parts) - 1 - 2 * last - border
        del inside[last:]
    return _counted(window, size, inside, dialect) if size else None


def _counted(window: bytes, size: int, inside: list[bytes], dialect: Dialect) -> Region:
    """The region of so many bytes, of which these parts are inside of quotes.

    Its lines are counted all at once. Those that are not blank are its records, but for those that begin inside.
    """
    data = window[:size]
    lines, blank = _tally(data)
    records = lines - blank - _begun(inside)
    return Region(window, size, records, lines, dialect, _after_text(data) if blank else size, True)


def _tally(data: bytes) -> tuple[int, int]:
    """How many lines data have, and how many of these are blank.

    Where each CR is half of a CRLF, lines end at LF and a blank one's is the next, or the next but a CR. Strings as
    short as these are counted at 10 GB/s and more by vector instructions, which bytes.count does not use.
    """
    count = stringzilla.count
    if b"\r" in data and count(data, b"\r") != count(data, b"\r\n"):
        lines = data.splitlines()
        return len(lines), lines.count(b"")
    blank = count(data, b"\n\n", allowoverlap=True) + count(data, b"\n\r\n", allowoverlap=True)
    return count(data, b"\n") + (data[-1:] not in (b"\n", b"")), blank + data.startswith((b"\n", b"\r\n"))


def _begun(inside: list[bytes]) -> int:
    """How many lines that are not blank begin in these texts, which have a quote before and behind: few."""
    text = b'"'.join([b"", *inside, b""]).replace(b"\r", b"\n")  # CRLF is then one more blank line
    lines = BytesIO(text).readlines()
    return len(lines) - lines.count(b"\n") - 1


def _well_placed(outside: list[bytes], marks: Marks) -> int:
    """How many of these parts, each with an opening quote behind it, come before the first that is out of place.

    Long parts are looked at one by one. Short ones are many: all at once, which takes longer for each byte.
    """
    if not outside or marks.quote is None:
        return 0
    if len(outside) * _LONG > PROVABLE:
        text = marks.quote.join([*outside, b""])
        stray = _misplaced(marks.delimiter, marks.quote).search(text)
        return text.count(marks.quote, 0, stray.start()) if stray else len(outside)
    starts = {b"", b"\n", b"\r", marks.delimiter}
    if starts.issuperset(map(_LAST, outside)):
        return len(outside)
    return next(at for at, part in enumerate(outside) if part[-1:] not in starts)


def _last_border(outside: list[bytes], placed: int) -> tuple[int, int]:
    """The last of the parts up to `placed` that holds a line end, and the offset after it; (0, 0) if none does."""
    for at in range(min(placed, len(outside) - 1), -1, -1):
        if border := max(outside[at].rfind(b"\n"), outside[at].rfind(b"\r")) + 1:
            return at, border
    return 0, 0


def _after_text(data: bytes) -> int:
    """After the first line end behind the last other byte: where no quote is open, a record's end."""
    text = len(data.rstrip(b"\r\n"))
    return min(len(data), text + (2 if data[text : text + 2] == b"\r\n" else 1)) if text else 0


def _masked(data: bytes, mark: str | None) -> bytes:
    """Proved data with quotes in the place of all that is inside of quotes."""
    if mark is None:
        return data
    quote = mark.encode()
    parts = data.split(quote)
    parts[1::2] = map(mul, repeat(quote), map(len, parts[1::2]))
    return quote.join(parts)
