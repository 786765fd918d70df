"""A record at a time: right for every input."""

from __future__ import annotations

import gc
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from heapq import nsmallest
from typing import Any, Final, cast

from chalicelib import checking, drift, formats
from chalicelib.cells import Field, Value
from chalicelib.cells.copied import ANY_SPECIAL, NULL, SPECIAL, TAB
from chalicelib.datasets import Schema
from chalicelib.errors import Refused
from chalicelib.formats import Dialect, correction
from chalicelib.formats.grammar import PROVABLE, scan
from chalicelib.journey import CellError
from chalicelib.rows.shape import Rows, Shape

TEXTUAL: Final = ("string", "object", "array")  # types whose values may hold what is special to COPY
_ESCAPES: Final = str.maketrans(dict(SPECIAL))
_SPECIAL: Final = re.compile(ANY_SPECIAL)
PIECE_ROWS: Final = 8192
PIECE_LENGTH: Final = 2 * 1024 * 1024  # characters


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the cyclic collector: it walks tens of thousands of new row lists again and again, 20 % of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@_without_collector()
def read(data: bytes, shape: Shape, records: int, first: int | None) -> Rows:
    """As rows.read."""
    schema = shape.schema.stored if shape.seal else shape.schema
    columns: list[list[Value]] = [[] for _ in schema.fields]
    seen: list[dict[Value, Value]] = [{} for _ in schema.fields]
    places: list[int] = []
    bad: dict[int, Sequence[CellError]] = {}
    lines: list[str] = []
    origins: list[int] = []
    count = 0
    for piece in _pieces(data, shape.dialect):
        rows = formats.fitted(formats.records(piece, shape.dialect), shape.width, shape.dialect, shape.nameless)
        found, uncorrected = correction.take_back(rows, shape.own) if shape.own else ([], {})
        part = checking.check(rows, shape.schema, shape.positions, shape.width, shape.conventions, uncorrected)
        if first is not None:
            if shape.seal:
                part.columns[:] = shape.seal(part.columns, [first + count + place for place in part.places])
            lines += _lines(part, schema, first + count)
        for column, values, known in zip(columns, part.columns, seen, strict=True):
            _extend(column, values, known)
        places += [count + place for place in part.places]
        bad |= {count + place: errors for place, errors in part.bad.items()}
        origins += found
        count += len(rows)
    if count != records:
        raise Refused("records_disagree", f"{count} records where the splitter counted {records}.")
    checked = checking.Checked(list(columns), places, bad)
    return Rows(checked, partial(_text, checked, lines, schema), origins)


def _extend(column: list[Value], values: Sequence[Value], known: dict[Value, Value]) -> None:
    """Add the values; equal ones become one object, in columns in whose first piece most repeat."""
    if known or (not column and 2 * len(set(values)) <= len(values)):
        values = list(map(known.setdefault, values, values))
    column.extend(values)


def _pieces(data: bytes, dialect: Dialect) -> Iterator[bytes]:
    """The chunk in pieces of whole records, small ones: a row's cells take ten times the room that it takes."""
    at, size = 0, PROVABLE
    while at < len(data):
        piece = scan(data[at : at + size], dialect, final=at + size >= len(data)).data
        yield piece
        at += len(piece)
        size = PROVABLE if piece else 2 * size


def _lines(part: checking.Checked, schema: Schema, first: int) -> Iterator[str]:
    """The good rows as Postgres copies them, in file order. As long as their cells are fresh it takes half the time."""
    columns = [_escaped(spec, column) for spec, column in zip(schema.fields, part.columns, strict=True)]
    columns.append([str(first + place) for place in part.places])
    return map(TAB.join, zip(*columns, strict=True))


def _text(
    checked: checking.Checked, lines: Sequence[str], schema: Schema, left_out: Collection[int]
) -> Iterator[bytes]:
    """As Rows.text; in pieces, as the whole would be held twice while it is encoded."""
    taken: Sequence[int] = range(len(lines))
    if left_out:
        gone = set(left_out)
        taken = [index for index in taken if index not in gone]
    if schema.keys and lines:
        taken = sorted(taken, key=_sort_keys(checked, schema).__getitem__)
    step = rows_a_piece(len(lines), sum(map(len, lines)))
    for start in range(0, len(taken), step):
        yield from _encoded([lines[index] for index in taken[start : start + step]])


def rows_a_piece(rows: int, size: int) -> int:
    """How many of a chunk's rows to write at once, of so many bytes together: few enough not to be held twice."""
    return max(1, min(PIECE_ROWS, rows * PIECE_LENGTH // max(1, size)))


def _encoded(lines: Sequence[str]) -> Iterator[bytes]:
    """These lines: at once, unless copies of them would be large, as a record may be larger than a chunk should be."""
    if sum(map(len, lines)) <= PIECE_LENGTH:
        yield "\n".join([*lines, ""]).encode()
        return
    for line in lines:
        for at in range(0, len(line), PIECE_LENGTH):
            yield line[at : at + PIECE_LENGTH].encode()
        yield b"\n"


def profile(column: Sequence[Value], field: Field) -> drift.Column:
    """As rows.profile, of one column."""
    present = [value for value in column if value is not None]
    counts = Counter(present)
    measures = [number for value in counts if (number := _measured(value, field)) is not None]
    return drift.Column(
        len(column),
        len(column) - len(present),
        min(measures, default=None),
        max(measures, default=None),
        dict(counts) if len(counts) <= drift.MOST_VALUES else None,
        nsmallest(drift.SKETCH, (int.from_bytes(blake2b(v.encode(), digest_size=8).digest()) for v in counts)),
    )


def _measured(value: str, field: Field) -> float | None:
    """What of a value is compared with others (drift.Column)."""
    if field.type in drift.NUMBERS:
        return number if math.isfinite(number := float(value)) else None
    return drift.days(value) if field.type in drift.DAYS else float(len(value))


def _sort_keys(checked: checking.Checked, schema: Schema) -> Sequence[Any]:
    """What orders rows as the first key's index does, nearly: close pages, the same order in every worker."""
    parts: list[Sequence[Any]] = []
    for position in schema.key_positions()[0]:
        column = checked.columns[position]
        if schema.fields[position].type == "integer":
            parts.append([int(value or 0) for value in column])
        else:
            parts.append([value or "" for value in column])
    return parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))


def _escaped(spec: Field, column: Sequence[Value]) -> Sequence[str]:
    """A column as COPY's text format spells it."""
    spelled: dict[Value, Value] = {None: NULL} if None in column else {}
    if spec.type in TEXTUAL and any(map("".join(filter(None, column)).__contains__, SPECIAL)):
        is_special = _SPECIAL.search
        spelled |= {value: value.translate(_ESCAPES) for value in set(column) if value and is_special(value)}
    return cast(Sequence[str], list(map(spelled.get, column, column)) if spelled else column)
