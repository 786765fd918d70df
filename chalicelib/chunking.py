"""Where to cut a file: record-aligned byte ranges, found while the bytes stream past.

The cuts depend on the bytes and the two sizes alone, never on how the bytes arrive in blocks: a splitter that
starts again finds the same chunks. Memory is one block and one record, at most `max_record_bytes`.
Chunks lie end to end. Where blank lines and comments go on for long they are cut, too: such a chunk may have no record.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chalicelib.errors import Refused
from chalicelib.formats.cells import open_quote
from chalicelib.formats.dialect import Dialect
from chalicelib.formats.grammar import PROVABLE, Region, first_line, line_count, marks_in, scan
from chalicelib.journey import Chunk

MAX_RECORD_BYTES = 16 << 20
MIN_GAP_BYTES = 4 * PROVABLE  # no window but a gap's own holds as much without a record
_LINE_END = re.compile(rb"\r\n?|\n")


class Start(NamedTuple):
    """Where cutting begins: the offset, the number of the next chunk, and of its first record and line."""

    byte: int
    line: int
    n: int = 1
    record: int = 1


class _Point(NamedTuple):
    """A place in the file between two lines: its offset, and the numbers of the next record and line."""

    byte: int
    record: int
    line: int


def cut(
    blocks: Iterable[bytes],
    dialect: Dialect,
    *,
    start: Start,
    chunk_bytes: int,
    chunk_records: int,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Chunk]:
    """The chunks of the data that blocks hold, each as soon as it is known.

    `start` says where in the file the first block begins: at a record's start. From the start of one of the
    chunks, that chunk and all after it come out as they did from the start of the file. A chunk ends
    after the first record that reaches `chunk_bytes`, or after `chunk_records` records, whichever is first, and
    in a gap between records after every line that reaches `chunk_bytes` (at least 1 MiB) from where it began.
    Blank lines at the end of the file belong to the last chunk; a short file without a record has no chunk.
    Raises Refused("record_too_large") for a record or comment, less its line end, above `max_record_bytes`.
    """
    cutter = _Cutter(start, chunk_bytes, chunk_records)
    feed = _Feed(blocks)
    usual = size = min(PROVABLE, max_record_bytes + 1)
    while window := feed.window(size):
        region = scan(window, dialect, feed.is_last(window))
        if len(window) > max_record_bytes:
            _refuse_long(window, dialect, cutter.here, max_record_bytes)
        feed.skip(region.size)
        yield from cutter.take(region)
        size = usual if region.size else min(2 * size, max_record_bytes + 2)
    yield from cutter.rest()


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
    """Windows over a stream of blocks of any size; each byte is copied a bounded number of times."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._held = b""
        self._at = 0
        self._ended = False

    def window(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the file."""
        if len(self._held) - self._at < size and not self._ended:
            self._fill(size)
        return self._held[self._at : self._at + size]

    def is_last(self, window: bytes) -> bool:
        """Whether the file is known to end where the window does."""
        return self._ended and self._at + len(window) == len(self._held)

    def skip(self, count: int) -> None:
        self._at += count

    def _fill(self, size: int) -> None:
        pieces = [self._held[self._at :]]
        missing = size - len(pieces[0])
        while missing > 0:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                break
            pieces.append(block)
            missing -= len(block)
        self._held, self._at = b"".join(pieces), 0


class _Cutter:
    """The open chunk. It stays open, though full, until another record shows that it is not the last."""

    def __init__(self, start: Start, chunk_bytes: int, chunk_records: int) -> None:
        self.here = self._start = _Point(start.byte, start.record, start.line)
        self._full: _Point | None = None
        self._gap = start.byte  # where the gap behind the last record began, or was last cut
        self._n = start.n
        self._chunk_bytes = chunk_bytes
        self._chunk_records = chunk_records
        self._gap_bytes = max(chunk_bytes, MIN_GAP_BYTES)

    def take(self, region: Region) -> Iterator[Chunk]:
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

    def rest(self) -> Iterator[Chunk]:
        """The last chunk, up to the end of the file: also the end of a gap that has been cut."""
        if self.here.record > self._start.record or (self._n > 1 and self.here.byte > self._start.byte):
            yield self._close(self.here)

    def _reaches(self, end: _Point) -> bool:
        """Whether the open chunk is full at `end`, or before it."""
        if end.record >= self._start.record + self._chunk_records:
            return True
        return end.byte >= self._start.byte + self._chunk_bytes

    def _gap_cuts(self, region: Region) -> Iterator[Chunk]:
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

    def _cuts(self, region: Region) -> Iterator[Chunk]:
        data, borders = region.data, region.borders()
        done, line = 0, self.here.line
        while done < len(borders):
            if self._full:
                yield self._close(self._full)
            by_records = self._start.record + self._chunk_records - self.here.record - 1
            by_bytes = bisect_left(borders, self._start.byte + self._chunk_bytes - self.here.byte, lo=done)
            last = min(by_records, by_bytes)
            if last >= len(borders):
                return
            begun = borders[done - 1] if done else 0
            line += line_count(data[begun : borders[last]])
            done = last + 1
            self._full = _Point(self.here.byte + borders[last], self.here.record + done, line)

    def _close(self, end: _Point) -> Chunk:
        start, n = self._start, self._n
        self._start, self._full, self._n = end, None, n + 1
        return Chunk(n, start.byte, end.byte, start.record, end.record - start.record, start.line)
