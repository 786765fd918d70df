"""A chunk's records against the schema: typed columns for the good rows, a Rejection's errors for the bad.

Works a column at a time and looks at each distinct value once. One explicit grammar a type, narrower than
Postgres where Postgres guesses (`now`, `0x1F`, `1_000`, ` 7 `): what passes here, Postgres stores unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import compress
from typing import Final

from chalicelib.datasets import Field, FieldType, Schema
from chalicelib.journey import CellError

Value = str | None  # the text Postgres reads, or NULL
MAX_QUOTED: Final = 80  # characters of a bad value that an error repeats

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,40}").fullmatch
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
# Offsets below 16 hours, as Postgres has them; Python would also take +00:60.
_DATETIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-](?:0[0-9]|1[0-5]):[0-5][0-9])?"
).fullmatch
_SPECIAL_NUMBERS: Final = {"NaN": "NaN", "INF": "Infinity", "-INF": "-Infinity"}
_MAX_NUMBER_LENGTH: Final = 1000


@dataclass(frozen=True, slots=True)
class Checked:
    """`columns[f][i]` is field f of the i-th good row; `places[i]` is that row's index in the chunk.

    `bad` holds the errors of every other row by its index in the chunk.
    """

    columns: list[Sequence[Value]]
    places: Sequence[int]
    bad: dict[int, list[CellError]] = field(default_factory=dict)


def check(rows: Sequence[Sequence[str]], schema: Schema, positions: Sequence[int], width: int) -> Checked:
    """Check records of `width` cells; field f is cell `positions[f]` of a record."""
    bad: dict[int, list[CellError]] = {}
    places: Sequence[int] = range(len(rows))
    if any(len(row) != width for row in rows):
        bad = {index: [_ragged(len(row), width)] for index, row in enumerate(rows) if len(row) != width}
        places = [index for index in places if index not in bad]
        rows = [rows[index] for index in places]
    cells = list(zip(*rows, strict=True)) or [()] * width
    columns = [
        _column(cells[position], spec, schema, places, bad)
        for position, spec in zip(positions, schema.fields, strict=True)
    ]
    if any(index in bad for index in places):
        good = [index not in bad for index in places]
        columns = [list(compress(column, good)) for column in columns]
        places = list(compress(places, good))
    return Checked(columns, places, bad)


def _ragged(found: int, width: int) -> CellError:
    return CellError(None, "width_mismatch", f"{found} cells where the header has {width}")


def _column(
    cells: Sequence[str],
    spec: Field,
    schema: Schema,
    places: Sequence[int],
    bad: dict[int, list[CellError]],
) -> Sequence[Value]:
    """The column as Postgres reads it; errors go into `bad` and leave None in their place."""
    known = {cell: _cell(cell, spec, schema.missing_values) for cell in set(cells)}
    if all(cell is value for cell, value in known.items()):
        return cells
    errors = {cell: value for cell, value in known.items() if isinstance(value, CellError)}
    if errors:
        for place, cell in zip(places, cells, strict=True):
            if cell in errors:
                bad.setdefault(place, []).append(errors[cell])
    values = {cell: None if isinstance(value, CellError) else value for cell, value in known.items()}
    return [values[cell] for cell in cells]


def _cell(cell: str, spec: Field, missing_values: tuple[str, ...]) -> Value | CellError:
    if (not cell.isascii() or "\0" in cell) and (fault := _not_text(cell)):
        return CellError(spec.name, "encoding_invalid", fault)
    if cell in missing_values:
        return CellError(spec.name, "required_missing", "a value is required") if spec.required else None
    value = _READERS[spec.type](cell, spec)
    if value is None:
        return CellError(spec.name, "type_invalid", f"{quoted(cell)} is not {_ARTICLED[spec.type]}")
    return value


def _not_text(cell: str) -> str | None:
    if "\0" in cell:
        return "the cell holds a NUL byte"
    try:
        cell.encode()
    except UnicodeEncodeError:
        return "the cell is not valid UTF-8"
    return None


def quoted(cell: str) -> str:
    """A value as an error shows it: quoted, cut to a length that fits a table."""
    return f'"{cell}"' if len(cell) <= MAX_QUOTED else f'"{cell[:MAX_QUOTED]}…"'


def _string(cell: str, spec: Field) -> Value:
    return cell


def _integer(cell: str, spec: Field) -> Value:
    return cell if _INTEGER(cell) and -(2**63) <= int(cell) < 2**63 else None


def _number(cell: str, spec: Field) -> Value:
    if len(cell) <= _MAX_NUMBER_LENGTH and _NUMBER(cell):
        return cell
    return _SPECIAL_NUMBERS.get(cell)


def _boolean(cell: str, spec: Field) -> Value:
    return "t" if cell in spec.true_values else "f" if cell in spec.false_values else None


def _date(cell: str, spec: Field) -> Value:
    try:
        return cell if _DATE(cell) and date.fromisoformat(cell) else None
    except ValueError:
        return None


def _datetime(cell: str, spec: Field) -> Value:
    """An instant: without an offset it is UTC. Must stay within years 1 to 9999 in UTC."""
    if not _DATETIME(cell):
        return None
    try:
        moment = datetime.fromisoformat(cell)
        if moment.tzinfo is not None:
            moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return cell


_READERS: Final[Mapping[FieldType, Callable[[str, Field], Value]]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
}
_ARTICLED: Final[Mapping[FieldType, str]] = {
    "string": "a string",
    "integer": "an integer of 64 bits",
    "number": "a number",
    "boolean": "a boolean",
    "date": "a date (YYYY-MM-DD)",
    "datetime": "a date and time (YYYY-MM-DDThh:mm:ssZ)",
}
