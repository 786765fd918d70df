"""The partitions of a table: made with it, and later ones when its dataset is put again. Inside `define` alone.

A row that has no partition of its own goes to the rest, `d_{number}_rest`: loaders make no tables.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import sql

from chalicelib.datasets.partitions import Partitions
from chalicelib.errors import Refused
from chalicelib.postgres.connection import Connection


def clause(parts: Partitions | None) -> sql.Composable:
    """What CREATE TABLE says of them."""
    if parts is None:
        return sql.SQL("")
    return sql.SQL(" PARTITION BY {} ({})").format(sql.SQL(parts.method), sql.Identifier(parts.field))


def make_missing(connection: Connection, number: int, parts: Partitions | None) -> None:
    """Make those that the table does not have. Raises Refused `dataset_incompatible` (409) if their rows are there."""
    for name, values in _wanted(number, parts) if parts else ():
        try:
            connection.execute(
                sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} {}").format(
                    sql.Identifier("data", name), sql.Identifier("data", f"d_{number}"), values
                )
            )
        except psycopg.errors.CheckViolation:
            detail = "Rows of a new partition are there already, among the rest."
            raise Refused("dataset_incompatible", detail, status=409) from None


def _wanted(number: int, parts: Partitions) -> Iterator[tuple[str, sql.Composable]]:
    if parts.hash:
        for place in range(parts.hash):
            values = sql.SQL("FOR VALUES WITH (MODULUS {}, REMAINDER {})").format(parts.hash, place)
            yield f"d_{number}_p{place}", values
        return
    for start, end in parts.ranges():
        yield f"d_{number}_p{start[:7]}", sql.SQL("FOR VALUES FROM ({}) TO ({})").format(start, end)
    yield f"d_{number}_rest", sql.SQL("DEFAULT")
