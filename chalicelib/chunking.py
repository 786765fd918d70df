"""Where to cut a file: record-aligned byte ranges, found while the bytes stream past.

The cuts depend on the bytes and the two sizes alone, never on how the bytes arrive in blocks: a splitter that
starts again finds the same chunks. Memory is one block and one record, at most `max_record_bytes`.
Chunks lie end to end. Where blank lines and comments go on for long they are cut, too: such a chunk may have no record.

A large text is cut in segments, so that several can scan at once. A chunk ends in any case at the first record border
at or after a segment's end; from a chunk's start on the cuts depend on nothing before it. So whoever guesses where the
first chunk of a segment begins finds the same cuts as the scan that comes from the front, if the guess is right, and
that is all there is to prove: that scan arrives at the very byte. Only numbers are then to be added.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from chalicelib.errors import Refused
from chalicelib.formats.cells import open_quote
from chalicelib.formats.dialect import Dialect
from chalicelib.formats.grammar import PROVABLE, Region, first_line, line_count, marks_in, scan, tokens
from chalicelib.journey import Chunk

MAX_RECORD_BYTES = 16 << 20
BORDERS_BYTES = 1 << 12  # of a window where a chunk is full: few borders, and mostly room for the record that fills it
MIN_GAP_BYTES = 4 * PROVABLE  # no window but a gap's own holds as much without a record
_LINE_END = re.compile(rb"\r\n?|\n")


class Start(NamedTuple):
    """Where cutting begins: the offset, the number of the next chunk, and of its first record and line."""

    byte: int
    line: int
    n: int = 1
    record: int = 1


class Segments(NamedTuple):
    """A text from `start` to `end` in pieces of so many bytes, counted from 0."""

    start: int
    end: int
    bytes: int

    def of(self, byte: int) -> int:
        """The segment that a byte lies in."""
        return (byte - self.start) // self.bytes

    def begin(self, n: int) -> int:
        """The first byte of a segment."""
        return self.start + n * self.bytes


class Step(NamedTuple):
    """A chunk, and where the next one begins."""

    chunk: Chunk
    after: Start


class _Point(NamedTuple):
    """A place in the file between two lines: its offset, and the numbers of the next record and line."""

    byte: int
    record: int
    line: int


def cut(blocks: Iterable[bytes], rule: Rule, start: Start) -> Iterator[Chunk]:
    """The chunks of the data that blocks hold, each as soon as it is known.

    `start` says where in the file the first block begins: at a record's start. From the start of one of the
    chunks, that chunk and all after it come out as they did from the start of the file. A chunk ends
    after the first record that reaches `chunk_bytes`, or the end of its segment, or after `chunk_records` records,
    whichever is first, and in a gap between records after every line that reaches `chunk_bytes` (at least 1 MiB) from
    where it began. Blank lines at the end of the file belong to the last chunk; a short file without a record has no
    chunk. Raises Refused("record_too_large") for a record or comment, less its line end, above `max_record_bytes`.
    """
    return (step.chunk for step in steps(blocks, rule, start))


@dataclass(frozen=True, slots=True)
class Rule:
    """What the cuts of a text depend on, beside its bytes."""

    dialect: Dialect
    chunk_bytes: int
    chunk_records: int
    segments: Segments | None = None
    max_record_bytes: int = MAX_RECORD_BYTES


def steps(blocks: Iterable[bytes], rule: Rule, start: Start) -> Iterator[Step]:
    """As `cut`, with where each next chunk begins."""
    dialect, limit = rule.dialect, rule.max_record_bytes
    cutter = _Cutter(start, rule)
    feed = _Feed(blocks)
    usual = size = min(PROVABLE, limit + 1)
    while window := feed.window(size):
        region = scan(window, dialect, feed.is_last(window))
        if len(window) > limit:
            _refuse_long(window, dialect, cutter.here, limit)
        feed.skip(region.size)
        yield from cutter.take(region)
        size = min(usual, cutter.missing) if region.size else min(2 * size, limit + 2)
        del region  # of up to 16 MiB: not to be held while as much is read again
    yield from cutter.rest()


class Finding(NamedTuple):
    """The cuts of a segment, found by somebody who guessed that one begins at `start`: a list each, chunk by chunk."""

    start: int
    ends: list[int]
    records: list[int]
    lines: list[int]

    def knows(self, byte: int) -> bool:
        """Whether one of the chunks begins there."""
        return byte in [self.start, *self.ends][:-1]

    def onward(self, start: Start) -> Iterator[Step]:
        """The chunks from `start` on, where one begins, numbered."""
        known = [self.start, *self.ends].index(start.byte)
        for end, records, lines in zip(self.ends[known:], self.records[known:], self.lines[known:], strict=True):
            byte, line, n, record = start
            start = Start(end, line + lines, n + 1, record + records)
            yield Step(Chunk(n, byte, end, record, records, line), start)


def find_segment(found: Iterator[Step], rule: Rule, start: int) -> Finding:
    """What a scan that began at `start` finds up to the end of its segment, or up to what it refuses."""
    assert rule.segments is not None
    finding, line = Finding(start, [], [], []), 1
    with suppress(Refused):
        for chunk, after in found:
            finding.ends.append(after.byte)
            finding.records.append(chunk.records)
            finding.lines.append(after.line - line)
            line = after.line
            if rule.segments.of(after.byte) != rule.segments.of(start):
                break
    return finding


def stitched(
    start: Start,
    segments: Segments,
    known: Callable[[int, int], Finding | None],
    scanned: Callable[[Start], Iterator[Step]],
) -> Iterator[Chunk]:
    """The chunks of a text from `start` on: as `known(segment, byte)` has them, else as they are scanned.

    A finding counts if one of its chunks begins where the chunks before it have ended, and only then.
    """
    here = start
    while here.byte < segments.end:
        n, begun = segments.of(here.byte), here.byte
        finding = known(n, begun)
        found = finding.onward(here) if finding else scanned(here)
        for chunk, here in found:
            yield chunk
            if segments.of(here.byte) != n:
                break
        if here.byte == begun:
            return


def guesses(head: bytes, dialect: Dialect) -> list[int]:
    """Where in `head`, from the byte before a segment on, its first chunk may begin: behind the record it lies in.

    Either inside of quotes or not. If as many of the quotes that would open stand at a field's start one way as the
    other, both. A guess is not believed: a wrong one is no chunk's start, and costs the time.
    """
    delimiter = dialect.delimiter.encode()
    if dialect.quote is None or (quote := dialect.quote.encode()) not in head:
        return _behind_first(delimiter, head, dialect)
    parts, starts = head.split(quote), (delimiter, b"\n", b"\r")
    outside, inside = (sum(part.endswith(starts) for part in parts[at:-1:2]) for at in (0, 1))
    likely = [mark for mark, score in ((delimiter, outside), (quote, inside)) if score == max(outside, inside)]
    return sorted({place for mark in likely for place in _behind_first(mark, head, dialect)})


def _behind_first(mark: bytes, head: bytes, dialect: Dialect) -> list[int]:
    """Where the record ends in a head that goes on from this mark, if it does end there."""
    _, end, after = next(tokens(mark + head, dialect))
    return [after - len(mark)] if end < after < len(mark + head) else []


def _refuse_long(window: bytes, dialect: Dialect, here: _Point, limit: int) -> None:
    """Refuse the window's first record if it is too long; no later one in a window of limit + 2 bytes can be."""
    start, end = first_line(window, dialect)
    if end - start > limit:
        line, byte = here.line + line_count(window[:start]), here.byte + start
        where = f"Record {here.record}, which begins at line {line}, byte {byte},"
        why = _open_quote(window[start:], line, dialect)
        raise Refused("record_too_large", f"{where} is longer than {limit} bytes.{why}")


def _open_quote(data: bytes, line: int, dialect: Dialect) -> str:
    """The quote to blame for a record that does not end, with the line of the file where it stands."""
    place = open_quote(data, marks_in(data, dialect))
    if place is None:
        return ""
    return f" A quote opens at line {line + line_count(data[:place] + b'.') - 1} and does not close."


class _Feed:
    """Windows over a stream of blocks of any size. Each byte is copied once, but for those that a window left over."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._block = memoryview(b"")  # what follows the bytes held
        self._held = b""
        self._at = 0
        self._ended = False

    def window(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the file."""
        missing = self._at + size - len(self._held)
        if missing > 0 and not self._ended:
            self._held, self._at = b"".join([memoryview(self._held)[self._at :], *self._pieces(missing)]), 0
        return self._held[self._at : self._at + size]

    def is_last(self, window: bytes) -> bool:
        """Whether the file is known to end where the window does."""
        return self._ended and self._at + len(window) == len(self._held)

    def skip(self, count: int) -> None:
        self._at += count

    def _pieces(self, missing: int) -> Iterator[memoryview]:
        """So many bytes more: all that is held is then a window, which is no copy of it."""
        while missing > 0:
            if not self._block:
                block = next(self._blocks, None)
                if block is None:
                    self._ended = True
                    return
                self._block = memoryview(block)
            piece, self._block = self._block[:missing], self._block[missing:]
            missing -= len(piece)
            yield piece


class _Cutter:
    """The open chunk. It stays open, though full, until another record shows that it is not the last."""

    def __init__(self, start: Start, rule: Rule) -> None:
        self._rule = rule
        self.here = self._start = _Point(start.byte, start.record, start.line)
        self._due = self._full_at(start.byte)
        self._full: _Point | None = None
        self._gap = start.byte  # where the gap behind the last record began, or was last cut
        self._n = start.n
        self._gap_bytes = max(rule.chunk_bytes, MIN_GAP_BYTES)

    def take(self, region: Region) -> Iterator[Step]:
        """The chunks that are known to be complete once the region is read."""
        end = _Point(
            self.here.byte + region.size,
            self.here.record + region.records,
            self.here.line + region.lines,
        )
        if end.byte - self._gap >= self._gap_bytes:
            yield from self._gap_cuts(region)
        if region.records:
            if self._reaches(end):
                yield from self._cuts(region)
            self._gap = self.here.byte + region.last
        self.here = end

    @property
    def missing(self) -> int:
        """How many bytes the next window has at most: it ends where the chunk is full, or is short as one is cut in it.

        The borders in a window take longer than all that is counted of it.
        """
        return max(self._due - self.here.byte, BORDERS_BYTES)

    def rest(self) -> Iterator[Step]:
        """The last chunk, up to the end of the file: also the end of a gap that has been cut."""
        if self.here.record > self._start.record or (self._n > 1 and self.here.byte > self._start.byte):
            yield self._close(self.here)

    def _reaches(self, end: _Point) -> bool:
        """Whether the open chunk is full at `end`, or before it."""
        return end.record >= self._start.record + self._rule.chunk_records or end.byte >= self._due

    def _full_at(self, start: int) -> int:
        """Where a chunk that begins at `start` has bytes enough."""
        due, segments = start + self._rule.chunk_bytes, self._rule.segments
        return due if segments is None else min(due, segments.begin(segments.of(start) + 1))

    def _gap_cuts(self, region: Region) -> Iterator[Step]:
        """The chunks that end in the gap before the region's first record."""
        data, lead, cut, line = region.data, region.lead(), 0, self.here.line
        while (due := self._gap + self._gap_bytes - self.here.byte) <= lead:
            line_end = _LINE_END.search(data, max(due - 1, 0), lead)
            if line_end is None:
                return
            line += line_count(data[cut : line_end.end()])
            cut = line_end.end()
            self._gap = self.here.byte + cut
            yield self._close(_Point(self._gap, self.here.record, line))

    def _cuts(self, region: Region) -> Iterator[Step]:
        data, borders = region.data, region.borders()
        done, line = 0, self.here.line
        while done < len(borders):
            if self._full:
                yield self._close(self._full)
            by_records = self._start.record + self._rule.chunk_records - self.here.record - 1
            by_bytes = bisect_left(borders, self._due - self.here.byte, lo=done)
            last = min(by_records, by_bytes)
            if last >= len(borders):
                return
            begun = borders[done - 1] if done else 0
            line += line_count(data[begun : borders[last]])
            done = last + 1
            self._full = _Point(self.here.byte + borders[last], self.here.record + done, line)

    def _close(self, end: _Point) -> Step:
        start, n = self._start, self._n
        self._start, self._full, self._n, self._due = end, None, n + 1, self._full_at(end.byte)
        chunk = Chunk(n, start.byte, end.byte, start.record, end.record - start.record, start.line)
        return Step(chunk, Start(end.byte, end.line, n + 1, end.record))
