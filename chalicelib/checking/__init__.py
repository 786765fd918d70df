"""A chunk's records against the schema: typed columns for the good rows, a Rejection's errors for the bad.

Works a column at a time and looks at each distinct value once; cells that a cheap pattern knows to be right are
not looked at any further. The grammars are in `cells`, how a file may spell its values in `conventions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress
from typing import Final

from chalicelib import formats
from chalicelib.cells import PLAIN, Conventions, Field, Reading, Value, quoted, reading
from chalicelib.cells.fields import MAX_QUOTED
from chalicelib.cells.texts import ANY
from chalicelib.checking.rules import Breach, breaches
from chalicelib.datasets import Schema
from chalicelib.formats import excel
from chalicelib.journey import CellError
from chalicelib.strict_json import is_text

__all__ = ["MAX_QUOTED", "PLAIN", "Checked", "Conventions", "Value", "check", "quoted"]

_NOT_TEXT: Final = {True: "the cell holds a NUL byte", False: "the cell is not valid UTF-8"}


@dataclass(frozen=True, slots=True)
class Checked:
    """`columns[f][i]` is field f of the i-th good row; `places[i]` is that row's index in the chunk.

    `bad` holds the errors of every other row by its index in the chunk.
    """

    columns: list[Sequence[Value]]
    places: Sequence[int]
    bad: dict[int, list[CellError]] = field(default_factory=dict)


def check(
    rows: Sequence[Sequence[str]],
    schema: Schema,
    positions: Sequence[int],
    width: int,
    conventions: Conventions = PLAIN,
    known: Mapping[int, CellError] | None = None,
) -> Checked:
    """Check records of `width` cells; field f is cell `positions[f]` of a record. `known`: rows at fault already."""
    bad: dict[int, list[CellError]] = {index: [error] for index, error in (known or {}).items()}
    places: Sequence[int] = range(len(rows))
    if bad or any(len(row) != width for row in rows):
        bad |= {index: [formats.misfit(row, width)] for index, row in enumerate(rows) if len(row) != width}
        places = [index for index in places if index not in bad]
        rows = [rows[index] for index in places]
    cells = list(zip(*rows, strict=True)) or [()] * width
    columns = [
        _column(cells[position], known, places, bad)
        for position, known in zip(positions, _known(schema, conventions), strict=True)
    ]
    if any(index in bad for index in places):
        good = [index not in bad for index in places]
        columns = [list(compress(column, good)) for column in columns]
        places = list(compress(places, good))
    return Checked(columns, places, bad)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a column before its cells are seen."""

    field: Field
    missing: frozenset[str]
    reading: Reading
    breaches: Breach | None


@lru_cache(maxsize=4)  # few: a worker meets schemas of many tenants
def _known(schema: Schema, conventions: Conventions) -> tuple[_Known, ...]:
    missing = schema.missing_values if conventions.null_values is None else conventions.null_values
    return tuple(_known_of(spec, missing, reading(spec, conventions)) for spec in schema.fields)


def _known_of(spec: Field, missing: tuple[str, ...], here: Reading) -> _Known:
    own = missing if spec.missing_values is None else spec.missing_values
    return _Known(spec, frozenset(own), here, breaches(spec.rules, here.measure) if spec.rules else None)


def _column(
    cells: Sequence[str], known: _Known, places: Sequence[int], bad: dict[int, list[CellError]]
) -> Sequence[Value]:
    """The column as Postgres reads it; errors go into `bad` and leave None in their place."""
    changed = _changed(set(cells), known)
    if not changed:
        return cells
    errors = {cell: value for cell, value in changed.items() if isinstance(value, CellError)}
    if errors:
        for place, cell in zip(places, cells, strict=True):
            if cell in errors:
                bad.setdefault(place, []).append(errors[cell])
    values = {cell: None if isinstance(value, CellError) else value for cell, value in changed.items()}
    return [values.get(cell, cell) for cell in cells]


def _changed(distinct: set[str], known: _Known) -> dict[str, Value | CellError]:
    """The cells that do not go on as they stand: what goes in their place, or what is wrong with them."""
    judged = ((cell, _cell(cell, known)) for cell in _unsure(distinct, known))
    return {cell: value for cell, value in judged if value is not cell}


def _unsure(distinct: set[str], known: _Known) -> set[str]:
    """The cells that need a closer look."""
    sure = known.reading.sure
    if sure is None or known.breaches is not None or not is_text("".join(distinct)):
        return distinct
    if sure is ANY:
        return distinct & known.missing
    return {cell for cell in distinct if not sure(cell)} | distinct & known.missing


def _cell(cell: str, known: _Known) -> Value | CellError:
    spec = known.field
    if not cell.isascii() and (fault := excel.fault(cell)):
        if cell[1:] not in known.missing:
            return CellError(spec.name, "type_invalid", fault)
        cell = cell[1:]
    if (not cell.isascii() or "\0" in cell) and not is_text(cell):
        return CellError(spec.name, "encoding_invalid", _NOT_TEXT["\0" in cell])
    if cell in known.missing:
        return CellError(spec.name, "required_missing", "a value is required") if spec.required else None
    value = known.reading.read(cell)
    if value is None:
        return CellError(spec.name, "type_invalid", f"{quoted(cell)} is not {known.reading.expected}")
    if known.breaches is not None and (breach := known.breaches(value)):
        return CellError(spec.name, breach[0], f"{quoted(cell)} {breach[1]}")
    return value
