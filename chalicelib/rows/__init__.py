"""The bytes of a chunk to checked rows, and those to the text that Postgres copies.

Two ways lead to the same result. `exact` takes a record at a time and is right for every input. `vectors` takes a
column at a time, several times as fast, where it can prove of a chunk that the result is the same; of a small one it
takes longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

from chalicelib import drift
from chalicelib.cells import Value
from chalicelib.datasets import Schema
from chalicelib.drift import Column
from chalicelib.rows import exact
from chalicelib.rows.shape import Rows, Shape

if TYPE_CHECKING:
    from chalicelib.rows.vectors import KeyHashes as KeyHashes

__all__ = ["Rows", "Shape", "key_hashes", "profile", "read", "warm"]

SMALL: Final = 128 * 1024  # bytes; some hundred calls of polars take 10 ms however little there is to do


def read(data: bytes, shape: Shape, records: int, first: int | None) -> Rows:
    """The checked rows of a chunk in which the splitter counted so many records, and their text for Postgres.

    `first` is the `_row` of the chunk's first record; None: no text is wanted.
    Raises Refused `records_disagree` if the reader finds another number of records.
    """
    vectors = None if first is None or len(data) < SMALL else _vectors()
    found: Rows | None = vectors.read(data, shape, records, first) if vectors else None
    return exact.read(data, shape, records, first) if found is None else found


def key_hashes(columns: Sequence[Sequence[Value]], schema: Schema) -> KeyHashes | None:
    """Of the checked columns of a chunk's good rows; None if there is no key, or nothing to hash with."""
    vectors = _vectors() if schema.keys and len(columns[0]) else None
    found: KeyHashes | None = vectors.KeyHashes.of(columns, schema) if vectors else None
    return found


def profile(columns: Sequence[Sequence[Value]], schema: Schema) -> list[Column]:
    """What the checked columns of a chunk's good rows are like. All chunks of an upload must be read alike, for one
    hash is compared with another: with polars, or all without it.
    """
    of = (_vectors() or exact).profile
    return [
        drift.unseen(column) if field.is_sealed else of(column, field)
        for column, field in zip(columns, schema.fields, strict=True)
        if field.blind_of is None
    ]


def warm() -> None:
    """Import what the first chunk would otherwise wait for."""
    _vectors()


@cache
def _vectors() -> ModuleType | None:
    """Imported late, as only loaders need it, and None where polars is not installed."""
    try:
        return import_module("chalicelib.rows.vectors")
    except ModuleNotFoundError as missing:
        if missing.name != "polars":
            raise
        return None
