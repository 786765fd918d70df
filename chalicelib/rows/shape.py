"""How the records of a file are read and what comes of them: the words that both ways share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chalicelib.cells import PLAIN, Conventions
from chalicelib.cells.copied import Marks
from chalicelib.checking import Checked
from chalicelib.datasets import Schema
from chalicelib.formats import Dialect
from chalicelib.sealing import Seal


@dataclass(frozen=True, slots=True)
class Shape:
    """Records of `width` cells, field f of the schema in cell `positions[f]`, and `nameless` cells that stay empty.

    `own` says where a file of corrected rejects has columns that are nobody's field (formats.correction).
    """

    dialect: Dialect
    schema: Schema
    positions: Sequence[int]
    width: int
    conventions: Conventions = PLAIN
    nameless: int = 0
    seal: Seal | None = None  # of a schema with encrypted fields
    own: Mapping[str, int] = field(default_factory=dict)


Text = Callable[[Collection[int]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Written:
    """The text of rows whose lines Postgres can copy as the file has them: as Rows.text, with these marks."""

    text: Text
    marks: Marks


@dataclass(frozen=True, slots=True)
class Rows:
    """A chunk's rows, sealed; of a corrected file `origins`, which record of its parent each record was.

    `text` gives the good rows, less those at these indexes, in COPY's text format and in pieces: a line each, fields
    in schema order and `_row` last, sorted by the table's first key. `written` is the quicker way to them, if there is
    one.
    """

    checked: Checked
    text: Text
    origins: Sequence[int] = ()
    written: Written | None = None
