"""A file read in process as the pipeline reads it: detected, cut into chunks, each chunk read and fitted by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chalicelib import formats
from chalicelib.chunking import Rule, Start, cut
from chalicelib.formats import Dialect

CHUNK_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that does not load: its number, its line, why, and its bytes."""

    record: int
    line: int
    code: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """What came of a file: names if it has a header, rows of one width, and rejects."""

    dialect: Dialect
    names: Sequence[str]
    rows: list[list[str]]
    rejects: list[Reject]


def read(
    data: bytes,
    options: Mapping[str, Any],
    *,
    names: Collection[str] = (),
    width: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Table:
    """Read a UTF-8 file. Without a width its header's counts, or else its first readable record's."""
    sample, truncated = data[: formats.SAMPLE_BYTES], len(data) > formats.SAMPLE_BYTES
    dialect = formats.detect(sample, options, truncated, names).dialect
    header = formats.header(sample, dialect, truncated)
    width = width or len(header.names) or _first_width(data[header.end :], dialect)
    table = Table(dialect, header.names, [], [])
    start = Start(header.end, 1 + header.lines)
    for chunk in cut([data[header.end :]], Rule(dialect, chunk_bytes, 1 << 40), start):
        piece = data[chunk.byte_start : chunk.byte_end]
        rows = formats.fitted(formats.records(piece, dialect), width, dialect, header.nameless)
        spans = formats.spans(piece, dialect)
        for record, (row, (begin, end, lines)) in enumerate(zip(rows, spans, strict=True), chunk.first_record):
            if len(row) == width:
                table.rows.append(row)
            else:
                why = formats.misfit(row, width).code
                table.rejects.append(Reject(record, chunk.first_line + lines, why, piece[begin:end]))
    return table


def _first_width(data: bytes, dialect: Dialect) -> int:
    widths = (len(row) for row in formats.records(data[: formats.SAMPLE_BYTES], dialect))
    return next(filter(None, widths), 1)
