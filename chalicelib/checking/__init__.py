"""A chunk's records against the schema: typed columns for the good rows, a Rejection's errors for the bad.

Works a column at a time: one search finds the cells that a cheap pattern does not know to be right, and of those each
distinct one is looked at once. The grammars are in `cells`, how a file may spell its values in `conventions`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import compress
from typing import Final

from chalicelib import formats
from chalicelib.cells import BLANKS, PLAIN, Conventions, Field, Reading, Value, reading, told
from chalicelib.cells.texts import ANY, TRIMMED
from chalicelib.checking.rules import Breach, breaches
from chalicelib.datasets import Schema
from chalicelib.formats import excel
from chalicelib.journey import CellError
from chalicelib.strict_json import is_text

SAMPLE: Final = 256  # cells
_NOT_TEXT: Final = {True: "the cell holds a NUL byte", False: "the cell is not valid UTF-8"}


@dataclass(frozen=True, slots=True)
class Checked:
    """`columns[f][i]` is field f of the i-th good row; `places[i]` is that row's index in the chunk.

    `bad` holds the errors of every other row by its index in the chunk.
    """

    columns: list[Sequence[Value]]
    places: Sequence[int]
    bad: dict[int, Sequence[CellError]] = field(default_factory=dict)


def check(
    rows: Sequence[Sequence[str]],
    schema: Schema,
    positions: Sequence[int],
    width: int,
    conventions: Conventions = PLAIN,
    known: Mapping[int, CellError] | None = None,
) -> Checked:
    """Check records of `width` cells; field f is cell `positions[f]` of a record. `known`: rows at fault already."""
    bad: dict[int, Sequence[CellError]] = {index: [error] for index, error in (known or {}).items()}
    places: Sequence[int] = range(len(rows))
    if bad or not {width}.issuperset(map(len, rows)):
        bad |= {index: [formats.misfit(row, width)] for index, row in enumerate(rows) if len(row) != width}
        places = [index for index in places if index not in bad]
        rows = [rows[index] for index in places]
    cells = list(zip(*rows, strict=True)) or [()] * width
    columns = [
        _column(cells[position], column, places, bad)
        for position, column in zip(positions, columns_of(schema, conventions), strict=True)
    ]
    if any(index in bad for index in places):
        good = [index not in bad for index in places]
        columns = [list(compress(column, good)) for column in columns]
        places = list(compress(places, good))
    return Checked(columns, places, bad)


@dataclass(frozen=True, slots=True)
class Column:
    """What is known of a column before its cells are seen."""

    field: Field
    missing: frozenset[str]
    reading: Reading
    breaches: Breach | None
    trims: bool = False  # blanks around a cell are no part of it
    otherwise: Column | None = None  # how a cell is read that is wrong here

    @property
    def sure(self) -> re.Pattern[str] | None:
        """What cells look like that go on as they stand, if they are not among the missing values."""
        if self.breaches:
            return None
        return TRIMMED if self.trims and self.reading.sure is ANY else self.reading.sure


@lru_cache(maxsize=4)  # few: a worker meets schemas of many tenants
def columns_of(schema: Schema, conventions: Conventions) -> tuple[Column, ...]:
    """The columns of a schema's fields in a file with these conventions."""
    return tuple(column_of(schema, spec, conventions) for spec in schema.fields)


def column_of(schema: Schema, spec: Field, conventions: Conventions) -> Column:
    """The column of one field of a schema."""
    if conventions.before:
        first, *rest = (*conventions.before, replace(conventions, before=()))
        behind = replace(rest[-1], before=tuple(rest[:-1]))
        return replace(column_of(schema, spec, first), otherwise=column_of(schema, spec, behind))
    missing = schema.missing_values if conventions.null_values is None else conventions.null_values
    own, here = missing if spec.missing_values is None else spec.missing_values, reading(spec, conventions)
    found = breaches(spec.rules, here.measure) if spec.rules else None
    return Column(spec, frozenset(own), here, found, conventions.trims(spec))


def _column(
    cells: Sequence[str], column: Column, places: Sequence[int], bad: dict[int, Sequence[CellError]]
) -> Sequence[Value]:
    """The column as Postgres reads it; errors go into `bad` and leave None in their place."""
    changed = judged(_unsure(_fewer(cells), column), column)
    if not changed:
        return cells
    errors = {cell: value for cell, value in changed.items() if isinstance(value, CellError)}
    if errors:
        blame(bad, (found for found in zip(places, cells, strict=True) if found[1] in errors), errors)
    values = {cell: None if isinstance(value, CellError) else value for cell, value in changed.items()}
    return list(map(values.get, cells, cells))


def blame(
    bad: dict[int, Sequence[CellError]], found: Iterable[tuple[int, str]], errors: Mapping[str, CellError]
) -> None:
    """Add the errors of these wrong cells, each with its row's place. They may be in all rows: in few bytes."""
    alone = {cell: (error,) for cell, error in errors.items()}  # one for all rows in which nothing else is wrong
    for place, cell in found:
        before = bad.setdefault(place, alone[cell])
        if before is alone[cell]:
            continue
        if not isinstance(before, list):
            before = bad[place] = list(before)
        before.append(errors[cell])


def judged(distinct: Iterable[str], column: Column) -> dict[str, Value | CellError]:
    """Those of the cells that do not go on as they stand: what goes in their place, or what is wrong with them."""
    read = _cell if column.otherwise is None else _cell_of_many
    values = ((cell, read(cell, column)) for cell in distinct)
    return {cell: value for cell, value in values if value is not cell}


def _fewer(cells: Sequence[str]) -> Collection[str]:
    """The distinct cells, if the first show that most repeat; else all: a set takes longer to make than it spares."""
    first = cells[:SAMPLE]
    return set(cells) if 2 * len(set(first)) <= len(first) else cells


def _unsure(cells: Collection[str], column: Column) -> set[str]:
    """The distinct cells that need a closer look."""
    sure = column.sure
    if sure is None or not is_text("".join(cells)):
        return set(cells)
    missing = set(column.missing.intersection(cells))
    if sure is ANY:
        return missing
    return missing.union(_others(sure.pattern).findall("\0".join(["", *cells])))


@lru_cache(maxsize=64)
def _others(pattern: str) -> re.Pattern[str]:
    """What finds, in cells with a NUL before each, those that the pattern does not match: in a third of the time."""
    return re.compile(rf"\0(?!(?:{pattern})(?:\0|\Z))([^\0]*)")


@lru_cache(maxsize=64)
def _not_text(column: str, has_nul: bool) -> CellError:
    """Made once: a chunk may hold a hundred thousand such cells, no two the same."""
    return CellError(column, "encoding_invalid", _NOT_TEXT[has_nul])


def _cell_of_many(cell: str, column: Column) -> Value | CellError:
    """As the first has it that finds it right; else what is wrong with it by the last."""
    value = _cell(cell, column)
    while isinstance(value, CellError) and column.otherwise is not None:
        column = column.otherwise
        value = _cell(cell, column)
    return value


def _cell(cell: str, column: Column) -> Value | CellError:
    spec = column.field
    if not cell.isascii() and (fault := excel.fault(cell)):
        if cell[1:] not in column.missing:
            return CellError(spec.name, "type_invalid", fault)
        cell = cell[1:]
    if (not cell.isascii() or "\0" in cell) and not is_text(cell):
        return _not_text(spec.name, "\0" in cell)
    if column.trims and cell not in column.missing:
        cell = cell.strip(BLANKS)
    if cell in column.missing:
        return CellError(spec.name, "required_missing", "a value is required") if spec.required else None
    value = column.reading.read(cell)
    if value is None:
        return CellError(spec.name, "type_invalid", f"{told(spec, cell)} is not {column.reading.expected}")
    if column.breaches is not None and (breach := column.breaches(value)):
        return CellError(spec.name, breach[0], f"{told(spec, cell)} {breach[1]}")
    return value
