"""A chunk's lines as Postgres can copy them, and which of them one pattern of all columns knows to be right.

A line has to be taken apart to be looked at, and put together again to be copied: both take longer than to match it
with a pattern, if its cells are what COPY would read in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import polars as pl

from chalicelib import checking
from chalicelib.cells.copied import NULL
from chalicelib.cells.texts import ANY, FILLED, TRIMMED
from chalicelib.checking import Column
from chalicelib.formats.delimited import BOM
from chalicelib.rows.shape import Shape

DELIMITERS: Final = ",;|\t"  # those of files that COPY takes, too: it takes no letter, figure, dot or backslash
BEGINNING: Final = 1 << 16  # bytes
SAMPLE: Final = 1024  # lines
FEW: Final = 4  # one line of so many may be unsure, or taking all apart is as fast
LONGEST: Final = 20_000  # letters of a pattern: one of 1,500 columns takes long to prepare


@dataclass(frozen=True, slots=True)
class Lines:
    """All lines of a chunk in which nulls are spelled `null`; the places of those that are not known to be right."""

    lines: pl.Series
    null: str
    unsure: list[int]


def matched(data: bytes, shape: Shape, records: int) -> Lines | None:
    """The lines, if most are right; of each right one no cell needs to be rewritten but a null.

    That they are such as COPY reads (are_copied), and that no line has more cells than columns, is for the caller to
    prove: a pattern may take delimiters for text.
    """
    columns = checking.columns_of(shape.schema, shape.conventions)
    if any(column.sure is None for column in columns):
        return None
    null = _null_in(data, columns, shape.dialect.delimiter)
    pattern = _pattern(data, columns, shape.dialect.delimiter, null)
    if pattern is None or len(pattern) > LONGEST:
        return None
    try:
        lines = whole(data)
        first = lines.head(SAMPLE)
        if len(lines) != records or FEW * len(_unlike(first, pattern)) > len(first):
            return None
        unsure = _unlike(lines, pattern)
    except pl.exceptions.PolarsError:  # it is not UTF-8; or the pattern is too much for polars, as that of 150 numbers
        return None
    return None if FEW * len(unsure) > records else Lines(lines, null, unsure)


def are_copied(data: bytes, shape: Shape) -> bool:
    """Whether COPY reads the cells of plain lines in schema order, but for the spelling of a null.

    Without a quote or a backslash they hold no mark of COPY's but the one between cells and the one for nulls.
    """
    quote = shape.dialect.quote
    return (
        shape.dialect.delimiter in DELIMITERS
        and [*shape.positions] == [*range(shape.width)]
        and not any(mark in data for mark in (b"\\", (quote or "\\").encode()))
        and (data.isascii() or BOM not in data)
    )


def only_null(shape: Shape, rewritten: Collection[str]) -> str | None:
    """How a null is spelled, where only these cells are not as they are written; None if COPY would read others anew.

    Postgres knows one spelling of a null and finds it in every column, so all must have it for one.
    """
    columns = checking.columns_of(shape.schema, shape.conventions)
    if len(rewritten) > 1 or not all(column.missing.issuperset(rewritten) for column in columns):
        return None
    return next(iter(rewritten), NULL)


def _unlike(lines: pl.Series, pattern: str) -> list[int]:
    return (~lines.str.contains(pattern)).arg_true().to_list()


def whole(data: bytes) -> pl.Series:
    """The lines of a chunk without quotes or NUL. Raises PolarsError if it is not UTF-8."""
    return pl.read_csv(
        data,
        has_header=False,
        schema={"line": pl.String},
        separator="\0",
        quote_char=None,
        empty_string_is_null=False,
        glob=False,
    )["line"]


def _null_in(data: bytes, columns: Sequence[Column], delimiter: str) -> str:
    """A spelling of a null that cells of the chunk have, or might have: a guess, from its beginning."""
    common = sorted(frozenset[str].intersection(*(column.missing for column in columns)))
    met = (cell for cell in common if f"{delimiter}{cell}{delimiter}".encode() in data[:BEGINNING])
    return next(chain(met, common), NULL)


def _pattern(data: bytes, columns: Sequence[Column], delimiter: str, null: str) -> str | None:
    """What a line looks like whose cells are sure or, where they may be, null; None if that cannot be said."""
    cells = []
    for column in columns:
        assert column.sure is not None
        pattern = rf"[^{re.escape(delimiter)}]*" if column.sure is ANY else column.sure.pattern
        for other in column.missing - ({null} if not column.field.required else set()):
            if not column.sure.fullmatch(other):
                continue
            if not other:  # of all that is sure only text may be empty
                pattern = FILLED.pattern if column.sure is TRIMMED else rf"[^{re.escape(delimiter)}]+"
            elif other.encode() in data:
                return None
        cells.append(pattern if column.field.required else rf"{pattern}|{re.escape(null)}")
    return rf"\A(?:{f'){re.escape(delimiter)}(?:'.join(cells)})\z"
