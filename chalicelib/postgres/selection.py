"""A page of the rows that a query asks for, by index. Every page begins where the last one ended, however far in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from chalicelib.datasets.queries import Condition, Query
from chalicelib.journey import lineages
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.tables import Table, literal, shown, stream


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is in a query's order: its value there as text, and its `_row`, which parts equals."""

    value: str | None
    row: int


@dataclass(frozen=True, slots=True)
class Window:
    """Which of a query's rows: those of one upload or of all, behind a place, at most so many."""

    upload: int | None
    after: Place | None
    limit: int


def read(connection: Connection, table: Table, query: Query, window: Window) -> Iterator[tuple[Any, ...]]:
    """The rows as they are shown, each with its place behind it: `_row`, and the text it is ordered by.

    Rows without a value in the order's field come last, whichever way the order goes.
    """
    seen = 0
    if query.order is None or window.after is None or window.after.value is not None:
        for row in stream(connection, statement(table, query, window, empty=False)):
            seen += 1
            yield row
    if query.takes_empty and seen < window.limit:
        after = window.after if window.after and window.after.value is None else None
        rest = Window(window.upload, after, window.limit - seen)
        yield from stream(connection, statement(table, query, rest, empty=True))


def statement(table: Table, query: Query, window: Window, *, empty: bool) -> sql.Composed:
    """The rows that have a value in the order's field, or (`empty`) those that have none.

    Apart, as no index finds the place behind a value and behind nothing at once.
    """
    order, up = query.order, not query.descending
    wanted = [*map(_kept, query.conditions), *_standing(query, window, empty=empty)]
    if window.upload is not None:
        wanted.append(sql.SQL("_row BETWEEN {} AND {}").format(*lineages(window.upload)))
    columns = ["_row"] if order is None or empty else [order.name, "_row"]
    return sql.SQL(
        "SELECT {shown}, {value} AS _row_value FROM {table} t{wanted} ORDER BY {order} LIMIT {limit}"
    ).format(
        shown=shown(table.schema),
        value=sql.SQL("NULL") if order is None else sql.SQL("{}::text").format(sql.Identifier(order.name)),
        table=table.name,
        wanted=sql.SQL(" WHERE ") + sql.SQL(" AND ").join(wanted) if wanted else sql.SQL(""),
        # Of the table: a duration is shown as text, which has another order.
        order=sql.SQL(", ").join(
            sql.SQL("{}" if up else "{} DESC").format(sql.Identifier("t", column)) for column in columns
        ),
        limit=window.limit,
    )


def _kept(condition: Condition) -> sql.Composed:
    column = sql.Identifier(condition.field.name)
    if condition.value is None:
        return sql.SQL("{} IS NULL").format(column)
    value = literal(condition.field, condition.value)
    return sql.SQL("{} {} {}").format(column, sql.SQL(condition.operator), value)


def _standing(query: Query, window: Window, *, empty: bool) -> Iterator[sql.Composed]:
    """What puts a row behind the place that a page begins after."""
    order, after = query.order, window.after
    beyond = sql.SQL("<" if query.descending else ">")
    if order is not None and query.takes_empty:
        yield sql.SQL("{} IS NULL" if empty else "{} IS NOT NULL").format(sql.Identifier(order.name))
    if after is None:
        return
    if order is None or empty:
        yield sql.SQL("_row {} {}").format(beyond, after.row)
    else:
        place = literal(order, after.value or "")
        yield sql.SQL("({}, _row) {} ({}, {})").format(sql.Identifier(order.name), beyond, place, after.row)
