"""Rows one by one: found by key, made, changed, deleted. Each inside the caller's transaction.

What is made or changed here has a lineage of its own and is no upload's row any more: none settles it, replaces it as
its own, or counts it. No statement that shows a row is prepared: a table that is made anew may have other types for the
same words, of which Postgres takes no plan that it has kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from chalicelib.cells import Value
from chalicelib.journey import HANDMADE, RECORD_BITS, lineage
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.tables import Table, literal, shown

Row = tuple[Any, ...]
_LOWEST: Final = lineage(HANDMADE, 0)
_NEW: Final = sql.SQL("{} + nextval('rowmill.handmade_row')").format(_LOWEST)


@dataclass(frozen=True, slots=True)
class Changed:
    """A row as it is shown now, and what some of its fields held before and hold now, as text."""

    row: Row
    before: tuple[Value, ...]
    after: tuple[Value, ...]


def number_of(text: str) -> int | None:
    """The number that tells a row of a dataset with an identity, as it is spelled in an address."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 and text == str(int(text)) else None


def find(connection: Connection, table: Table, key: Mapping[str, Value], *, hold: bool = False) -> Row | None:
    """The row of this key as it is shown; `hold` lets nobody else change it until the transaction ends."""
    _show_durations(connection)
    return connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE {}{}").format(
            shown(table.schema), table.name, _has(table, key), sql.SQL(" FOR UPDATE" if hold else "")
        ),
        prepare=False,
    ).fetchone()


def next_row(connection: Connection) -> int:
    """The `_row` of a row that is to be made, where its values have to know it."""
    row = connection.execute(sql.SQL("SELECT {}").format(_NEW)).fetchone()
    assert row is not None
    return int(row[0])


def row_after(connection: Connection, row: int) -> int:
    """The `_row` that a row will have once it is changed: an upload's own becomes another."""
    return next_row(connection) if row < _LOWEST else row


def insert(connection: Connection, table: Table, values: Mapping[str, Value], number: int | None) -> Row:
    """A new row, as it is shown; `number` is its `_row`, if that is known. Raises what Postgres has against it."""
    _show_durations(connection)
    given = [_literal(table, name, values[name]) for name in table.schema.names]
    row = connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
            table.by_hand, table.columns, sql.SQL(", ").join([*given, _number(number)]), shown(table.schema)
        ),
        prepare=False,
    ).fetchone()
    assert row is not None
    return row


def update(
    connection: Connection,
    table: Table,
    key: Mapping[str, Value],
    values: Mapping[str, Value],
    watched: Sequence[str],
    number: int | None,
) -> Changed:
    """Change fields of the row of this key, which is there and held; `watched` are those to tell before and after.

    `number` is what `row_after` said, if anybody has asked.
    """
    _show_durations(connection)
    sets = [
        sql.SQL("{} = {}").format(sql.Identifier(name), _literal(table, name, value)) for name, value in values.items()
    ]
    taken = _keep_before(connection, table, key, number)
    if taken is not None:
        sets.append(sql.SQL("_row = {}").format(taken))
    told = [_told(alias, watched) for alias in ("old", "new")]
    row = connection.execute(
        sql.SQL("UPDATE {} SET {} WHERE {} RETURNING {}, old._row, {}, {}").format(
            table.name, sql.SQL(", ").join(sets), _has(table, key), shown(table.schema), *told
        ),
        prepare=False,
    ).fetchone()
    assert row is not None
    *changed, lineage_before, before, after = row
    _take_over(connection, lineage_before)
    return Changed(tuple(changed), tuple(before), tuple(after))


def delete(connection: Connection, table: Table, key: Mapping[str, Value], watched: Sequence[str]) -> tuple[Value, ...]:
    """Delete the row of this key, which is there and held; what the watched fields held, as text."""
    _keep_before(connection, table, key)
    row = connection.execute(
        sql.SQL("DELETE FROM {} WHERE {} RETURNING _row, {}").format(
            table.name, _has(table, key), _told("old", watched)
        )
    ).fetchone()
    assert row is not None
    _take_over(connection, row[0])
    return tuple(row[1])


def _number(number: int | None) -> sql.Composable:
    return _NEW if number is None else sql.Literal(number)


def _keep_before(
    connection: Connection, table: Table, key: Mapping[str, Value], number: int | None = None
) -> int | None:
    """Keep an upload's row as it is for an undo, before it is changed or deleted; the lineage it has from then on."""
    row = connection.execute(
        sql.SQL(
            "INSERT INTO {before} ({columns}, _row_by, _row_after) SELECT {columns}, {by}, {new} FROM {table}"
            " WHERE {has} AND _row < {lowest} RETURNING _row_after"
        ).format(
            before=table.before_by_hand,
            columns=table.all_columns,
            by=sql.Literal(HANDMADE),
            new=_number(number),
            table=table.name,
            has=_has(table, key),
            lowest=_LOWEST,
        )
    ).fetchone()
    return int(row[0]) if row else None


def taken_over(connection: Connection, upload: int) -> int:
    """How many rows of an upload have been changed or deleted by hand."""
    row = connection.execute("SELECT rows FROM rowmill.takeover WHERE upload = %s", (upload,)).fetchone()
    return int(row[0]) if row else 0


def _take_over(connection: Connection, row: int) -> None:
    """Note that an upload has lost a row, if it was an upload's."""
    if row < _LOWEST:
        connection.execute(
            "INSERT INTO rowmill.takeover AS t (upload, rows) VALUES (%s, 1)"
            " ON CONFLICT (upload) DO UPDATE SET rows = t.rows + 1",
            (row >> RECORD_BITS,),
        )


def _show_durations(connection: Connection) -> None:
    connection.execute("SET LOCAL intervalstyle = 'iso_8601'")


def _has(table: Table, key: Mapping[str, Value]) -> sql.Composed:
    same = [sql.SQL("{} = {}").format(sql.Identifier(name), _literal(table, name, key[name])) for name in key]
    return sql.SQL(" AND ").join(same)


def _literal(table: Table, name: str, value: Value) -> sql.Composed:
    if name == table.schema.identity:
        return sql.SQL("{}::bigint").format(sql.Literal(value))
    return literal(table.schema.fields[table.schema.positions((name,))[0]], value)


def _told(alias: str, names: Sequence[str]) -> sql.Composed:
    columns = [sql.SQL("{}::text").format(sql.Identifier(alias, name)) for name in names]
    return sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(columns))
