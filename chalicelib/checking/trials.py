"""Whether an option does mend rejected records: they are read anew, and compared with what they were cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from chalicelib.cells import Conventions
from chalicelib.checking import Column, column_of, judged
from chalicelib.datasets import Schema
from chalicelib.journey import CellError

Fate = Literal["mended", "wrong", "changed"]


class Trial:
    """Reads records anew by other conventions, and tells what that does to their cells.

    `loaded` is what they are to be loaded by, where that is another one: a cell that it reads otherwise is changed.
    """

    def __init__(
        self,
        schema: Schema,
        positions: Sequence[int],
        old: Conventions,
        new: Conventions,
        loaded: Conventions | None = None,
    ) -> None:
        ways = (old, new, *((loaded,) if loaded and loaded != new else ()))
        self._columns = _columns(schema, positions, *ways)

    def fates(self, rows: Sequence[Sequence[str]]) -> list[dict[str, Fate]]:
        """Of each record those fields whose cell is not as right as before: mended, still wrong, or changed."""
        found: list[dict[str, Fate]] = [{} for _ in rows]
        for position, name, columns in self._columns:
            cells = [row[position] for row in rows]
            fates = dict(_fates(set(cells), *columns))
            if fates:
                for one, cell in zip(found, cells, strict=True):
                    if cell in fates:
                        one[name] = fates[cell]
        return found


class Recut:
    """Tells what becomes of the cells of records that are cut, or decoded, otherwise; values are spelt as before."""

    def __init__(self, schema: Schema, positions: Sequence[int], conventions: Conventions) -> None:
        self._columns = _columns(schema, positions, conventions)

    def fates(self, before: Sequence[Sequence[str] | None], after: Sequence[Sequence[str]]) -> list[dict[str, Fate]]:
        """As a Trial's; `before` is None of a record whose cells could not be told: what is right is mended."""
        found: list[dict[str, Fate]] = [{} for _ in after]
        for position, name, (column,) in self._columns:
            olds = [None if row is None else row[position] for row in before]
            news = [row[position] for row in after]
            known = judged({*news, *(old for old in olds if old is not None)}, column)
            for one, old, new in zip(found, olds, news, strict=True):
                was, now = None if old is None else known.get(old, old), known.get(new, new)
                was_right = old is not None and not isinstance(was, CellError)
                if isinstance(now, CellError):
                    one[name] = "changed" if was_right else "wrong"
                elif not was_right:
                    one[name] = "mended"
                elif was != now:
                    one[name] = "changed"
        return found


def _columns(schema: Schema, positions: Sequence[int], *ways: Conventions) -> list[tuple[int, str, list[Column]]]:
    """Of each field where its cells are, its name, and its column by each of these conventions."""
    return [
        (position, spec.name, [column_of(schema, spec, way) for way in ways])
        for position, spec in zip(positions, schema.fields, strict=True)
    ]


def _fates(cells: set[str], old: Column, new: Column, loaded: Column | None = None) -> Iterator[tuple[str, Fate]]:
    before, after = judged(cells, old), judged(cells, new)
    at_last = after if loaded is None else judged(cells, loaded)
    for cell in cells:
        was, now = before.get(cell, cell), after.get(cell, cell)
        if isinstance(now, CellError):
            yield cell, "wrong" if isinstance(was, CellError) else "changed"
        elif now != at_last.get(cell, cell):
            yield cell, "changed"
        elif isinstance(was, CellError):
            yield cell, "mended"
        elif was != now:
            yield cell, "changed"


def is_mended(fates: Mapping[str, Fate], columns: Iterable[str] | None = None) -> bool:
    """Whether a record is right in these columns (None: in all), and no cell is other than it was that was right."""
    if "changed" in fates.values():
        return False
    here = fates.keys() if columns is None else columns
    return "mended" in fates.values() and all(fates.get(name) != "wrong" for name in here)
