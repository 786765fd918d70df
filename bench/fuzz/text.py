"""Targets that read text: the cells, the cuts and the detection, against a judge that reads a byte at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from bench.fuzz.bounds import within
from bench.fuzz.knobs import Knobs, in_blocks
from bench.reading import Table, read
from chalicelib import chunking, formats
from chalicelib.chunking import Rule, Start, cut
from chalicelib.errors import Refused
from chalicelib.formats import Dialect, Unreadable, bom_length, fitted, grammar, header, misfit, records, spans
from chalicelib.formats.delimited import after_lines
from chalicelib.journey import Chunk
from tests.pure.judge import Record, judged

DIALECTS: Final = (
    Dialect(),
    Dialect(delimiter=";"),
    Dialect(delimiter="\t", quote="'"),
    Dialect(quote=None),
    Dialect(escape="\\"),
    Dialect(comment="#"),
    Dialect(escape="\\", comment="#"),
    Dialect(quote=None, escape="a"),
    Dialect(delimiter="é"),
    Dialect(delimiter=", "),
    Dialect(delimiter=",a", comment="'"),
    Dialect(delimiter=" "),
    Dialect(delimiter="||"),
    Dialect(quote=None, comment="#"),
)
HEADERS: Final = ("", "skip", "pad")
STRETCHED: Final = (*[1] * 31, 200)  # one input in 32 is read 200 times over instead, for the time it takes
UNLIMITED: Final = 1 << 40
TOP: Final = Start(0, 1)


def reader(data: bytes) -> None:
    """Cells, spans and header are the judge's; every record has cells or a reason; nothing takes long."""
    knobs = Knobs(data)
    dialect, stretch, skip = knobs.pick(DIALECTS), knobs.pick(STRETCHED), knobs.pick((0, 1, 2))
    whole = knobs.file * stretch
    with within(len(whole)):
        rows, places = records(whole, dialect), list(spans(whole, dialect))
        fitted(rows, 2, dialect, nameless=1)
    assert len(rows) == len(places), "cells of other records than those found"
    if stretch > 1:
        return
    wanted = judged(whole, dialect)
    assert [_cells(row) for row in rows] == [record.cells for record in wanted], "other cells than the judge's"
    assert places == [(record.start, record.end, record.line - 1) for record in wanted], "other places than the judge's"
    assert all(misfit(row, len(row) + 1).code for row in rows), "no reason for a misfit"
    _header(whole, dialect, skip)


def _cells(row: list[str]) -> list[str] | None:
    return None if isinstance(row, Unreadable) else row


def _header(sample: bytes, dialect: Dialect, skip: int) -> None:
    dialect = Dialect(**{**_fields(dialect), "skip_lines": skip})
    begin = after_lines(sample, skip, truncated=False)
    first = next(iter(judged(sample[begin:], dialect)), None)
    for truncated in (False, True):
        try:
            found = header(sample, dialect, truncated)
        except Refused:
            continue
        assert first is not None and first.cells is not None, "a header where there is none"
        assert [*found.names] == first.cells[: len(found.names)], "other names than the judge's"
        assert len(found.names) + found.nameless == len(first.cells), "a column lost"
        assert found.end == begin + first.after, "the data begin elsewhere"
        passed = sample[bom_length(sample) : begin], sample[begin : found.end]
        assert found.lines == sum(map(_lines, passed)), "a wrong line"


def _fields(dialect: Dialect) -> dict[str, Any]:
    return {name: getattr(dialect, name) for name in Dialect.__slots__}


def _lines(data: bytes) -> int:
    unified = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return unified.count(b"\n") + (not unified.endswith(b"\n") and bool(unified))


def cutter(data: bytes) -> None:
    """Chunks lie end to end, hold whole records, tell their numbers and lines, and depend on nothing but the bytes."""
    knobs = Knobs(data)
    dialect, block, size = knobs.pick(DIALECTS), knobs.pick((1 << 20, 1, 3, 7)), knobs.pick(range(1, 257))
    most, small, stretch = knobs.pick((UNLIMITED, 1, 2, 5)), knobs.pick((0, 1, 16, 64)), knobs.pick(STRETCHED)
    whole = knobs.file * stretch
    with _windows(small), within(4 * len(whole)):
        chunks = _cut(whole, dialect, size, most, block)
    if stretch > 1:
        return
    wanted = judged(whole, dialect)
    _lie_end_to_end(chunks, len(whole), wanted)
    for chunk in chunks:
        _is_right(chunk, whole, dialect, wanted)
    with _windows(small):
        for other in {1, 5, 1 << 20} - {block}:
            assert _cut(whole, dialect, size, most, other) == chunks, "cuts depend on how the bytes arrive"
        for chunk in chunks[:4]:
            start = Start(chunk.byte_start, chunk.first_line, chunk.n, chunk.first_record)
            rest = _cut(whole[chunk.byte_start :], dialect, size, most, block, start)
            assert rest == chunks[chunk.n - 1 :], "a scan that begins again cuts elsewhere"
    _refuses_long(whole, dialect, wanted)


@contextmanager
def _windows(size: int) -> Iterator[None]:
    """Windows of `size` bytes instead of 256 KiB, so that a short file has many, and gaps to cut; 0: as they are."""
    usual = grammar.PROVABLE, chunking.MIN_GAP_BYTES
    if size:
        _set_windows(size, 4 * size)
    try:
        yield
    finally:
        _set_windows(*usual)


def _set_windows(provable: int, gap: int) -> None:
    vars(grammar)["PROVABLE"] = vars(chunking)["PROVABLE"] = provable
    vars(chunking)["MIN_GAP_BYTES"] = gap


def _cut(data: bytes, dialect: Dialect, size: int, most: int, block: int, start: Start = TOP) -> list[Chunk]:
    return list(cut(in_blocks(data, block), Rule(dialect, size, most), start))


def _lie_end_to_end(chunks: Sequence[Chunk], size: int, wanted: Sequence[Record]) -> None:
    edges = [0, *(chunk.byte_end for chunk in chunks)]
    assert [chunk.byte_start for chunk in chunks] == edges[:-1], "a gap or an overlap"
    assert edges[-1] == (size if chunks else 0), "the end of the file is in no chunk"
    assert bool(wanted) <= bool(chunks), "a record is in no chunk"
    assert sum(chunk.records for chunk in chunks) == len(wanted), "a record lost or doubled"
    assert [chunk.n for chunk in chunks] == [*range(1, len(chunks) + 1)], "chunks are numbered wrongly"


def _is_right(chunk: Chunk, whole: bytes, dialect: Dialect, wanted: Sequence[Record]) -> None:
    """A chunk holds the judge's records, and reads by itself as it reads in the file."""
    inside = [record for record in wanted if chunk.byte_start <= record.start < chunk.byte_end]
    piece = whole[chunk.byte_start : chunk.byte_end]
    assert all(record.after <= chunk.byte_end for record in inside), "a record is cut in two"
    assert chunk.records == len(inside), "a wrong number of records"
    assert not inside or wanted[chunk.first_record - 1] is inside[0], "a wrong record number"
    assert chunk.first_line == 1 + _lines(whole[: chunk.byte_start]), "a wrong line number"
    assert [_cells(row) for row in records(piece, dialect)] == [record.cells for record in inside], "other cells"
    lines = [chunk.first_line + before for _, _, before in spans(piece, dialect)]
    assert lines == [record.line for record in inside], "a record's line is wrong"


def _refuses_long(whole: bytes, dialect: Dialect, wanted: Sequence[Record]) -> None:
    """A record of the longest allowed length passes; one byte more does not."""
    longest = max((record.end - record.start for record in wanted), default=0)
    counts = [_count(whole, dialect, limit) for limit in (max(longest, 1), longest - 1)]
    assert counts[0] == len(wanted) or (counts[0] is None and dialect.comment), "a record of allowed length is refused"
    assert longest < 2 or counts[1] is None, "a record that is too long passed"


def _count(whole: bytes, dialect: Dialect, limit: int) -> int | None:
    """How many records there are, or None where one is refused for its length."""
    chunks = cut([whole], Rule(dialect, 50, UNLIMITED, max_record_bytes=limit), TOP)
    try:
        return sum(chunk.records for chunk in chunks)
    except Refused as refused:
        assert refused.code == "record_too_large", "refused for something else"
        return None


DECLARED: Final[Sequence[Mapping[str, Any]]] = (
    {},
    {"header": False},
    {"delimiter": ","},
    {"delimiter": ";", "quote": "'"},
    {"quote": None, "skip_lines": 1},
    {"escape": "\\", "comment": "#"},
    {"ragged": "pad", "header": True},
    {"encoding": "cp1252"},
)
NAMES: Final[Sequence[Sequence[str]]] = ((), ("a", "b"), ("id", "name", "note"), ("a",))


def sniff(data: bytes) -> None:
    """Any bytes are refused by name, or read by one dialect: as declared, sure from 0 to 1, in chunks as in one."""
    knobs = Knobs(data)
    declared, names, stretch = knobs.pick(DECLARED), knobs.pick(NAMES), knobs.pick(STRETCHED)
    size, end, file = knobs.pick((1, 7, 64)), knobs.pick(range(256)), knobs.file
    whole = file * stretch
    with within(8 * len(whole)):  # as many readings are tried, and more
        found = _detected(whole, declared, names)
    if found is None or stretch > 1:
        return
    _detected(whole[: end * len(whole) // 256], declared, names, truncated=True)
    assert all(getattr(found.dialect, name) == value for name, value in declared.items()), "what is declared must win"
    assert all(0 <= sure <= 1 for sure in found.confidence.values()), "surer than sure"
    assert 0 <= found.agreeing <= found.records, "more agree than there are"
    assert Dialect.from_options(_fields(found.dialect)) == found.dialect, "a dialect that nobody may declare"
    once, chunked = _table(whole, declared, names, UNLIMITED), _table(whole, declared, names, size)
    assert once == chunked, "chunks read otherwise than the whole"
    if isinstance(once, Table):
        _says_everything(once, whole)


def _detected(
    data: bytes, declared: Mapping[str, Any], names: Sequence[str], truncated: bool = False
) -> formats.Detected | None:
    try:
        return formats.detect(data, declared, truncated, names)
    except Refused:
        return None


def _table(data: bytes, declared: Mapping[str, Any], names: Sequence[str], size: int) -> Table | str:
    try:
        return read(data, declared, names=names, chunk_bytes=size)
    except Refused as refused:
        return refused.code


def _says_everything(table: Table, data: bytes) -> None:
    """Every record from the header on became a row or a reject, whatever was detected."""
    body = data[header(data, table.dialect, truncated=False).end :]
    assert len(table.rows) + len(table.rejects) == len(judged(body, table.dialect)), "a record is nowhere"
