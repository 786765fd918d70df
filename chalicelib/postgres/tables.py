"""The typed tables of datasets: made, dropped, read in file order. A row's lineage is in `_row` (journey.lineage)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from chalicelib.cells import Field, Value
from chalicelib.datasets import Schema
from chalicelib.journey import lineages
from chalicelib.postgres import partitions
from chalicelib.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class Table:
    """`data.d_{number}` of one dataset version."""

    number: int
    version: int
    schema: Schema

    @property
    def name(self) -> sql.Identifier:
        """The table itself."""
        return sql.Identifier("data", f"d_{self.number}")

    @property
    def staging(self) -> sql.Identifier:
        """A temporary twin without keys, one a connection."""
        return sql.Identifier(f"staging_{self.number}_{self.version}")

    @property
    def columns(self) -> sql.Composed:
        """The columns of a line."""
        return sql.SQL(", ").join(sql.Identifier(name) for name in [*self.schema.names, "_row"])


def create(connection: Connection, tenant: str, name: str, table: Table) -> None:
    """The table, its keys, and the tenant's readable view of it. Inside the caller's transaction."""
    schema = table.schema
    columns = map(_column, schema.fields)
    keys = [
        sql.SQL("{} ({})").format(
            sql.SQL("PRIMARY KEY" if schema.has_primary_key and place == 0 else "UNIQUE"), identifiers(key)
        )
        for place, key in enumerate(schema.keys)
    ]
    parts = [*columns, sql.SQL("_row bigint NOT NULL"), *keys]
    connection.execute(
        sql.SQL("CREATE TABLE {} ({}){}").format(
            table.name, sql.SQL(", ").join(parts), partitions.clause(schema.partitions)
        )
    )
    partitions.make_missing(connection, table.number, schema.partitions)
    # The claim on the chunk is what keeps rows single; a unique B-tree here cost a third of the speed.
    connection.execute(sql.SQL("CREATE INDEX ON {} USING brin (_row) WITH (autosummarize)").format(table.name))
    match_indexes(connection, table)
    _create_view(connection, tenant, name, table)


def literal(field: Field, value: Value) -> sql.Composed:
    """A field's value as SQL. Beside parameters, a % in a column's name would be taken for a placeholder."""
    return sql.SQL("{}::{}").format(sql.Literal(value), sql.Identifier("pg_catalog", field.postgres_type))


def _column(field: Field) -> sql.Composed:
    return sql.SQL("{} {} {}").format(
        sql.Identifier(field.name),
        sql.Identifier("pg_catalog", field.postgres_type),
        sql.SQL("NOT NULL" if field.required else ""),
    )


def match_indexes(connection: Connection, table: Table) -> None:
    """Make the declared indexes that are not there, and drop those that are declared no longer.

    Each ends in `_row`: rows with equal values are in file order, and a page can begin behind any of them.
    """
    declared = {_index_name(table, columns): columns for columns in table.schema.indexes}
    found = connection.execute(
        "SELECT relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE indrelid = to_regclass(%s) AND starts_with(relname, %s)",
        (f"data.d_{table.number}", _index_name(table)),
    )
    there = {name for (name,) in found}
    for name in sorted(there - declared.keys()):
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier("data", name)))
    for name in declared.keys() - there:
        connection.execute(
            sql.SQL("CREATE INDEX {} ON {} ({})").format(
                sql.Identifier(name), table.name, identifiers([*declared[name], "_row"])
            )
        )


def _index_name(table: Table, columns: Sequence[str] | None = None) -> str:
    """The name of a declared index, which no key's is like; without columns what all of them begin with."""
    told = "" if columns is None else hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:16]
    return f"d_{table.number}_declared_{told}"


def widen(connection: Connection, tenant: str, name: str, table: Table, wider: Schema) -> None:
    """Let a table that holds rows take those of a wider schema (datasets.narrowings); no row is rewritten."""
    connection.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier(tenant, name)))
    known = {field.name: field for field in table.schema.fields}
    for field in wider.fields:
        before = known.get(field.name)
        if before is None:
            connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(table.name, _column(field)))
        elif before.required and not field.required:
            column = sql.Identifier(field.name)
            connection.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(table.name, column))
    partitions.make_missing(connection, table.number, wider.partitions)
    _create_view(connection, tenant, name, Table(table.number, table.version + 1, wider))


def drop(connection: Connection, table: Table) -> None:
    """The table and its view."""
    connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(table.name))


def is_empty(connection: Connection, table: Table) -> bool:
    """Whether no row is in the table."""
    row = connection.execute(sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(table.name)).fetchone()
    return bool(row and row[0])


def count_rows(connection: Connection, table: Table, upload: int) -> int:
    """How many rows of an upload the table holds."""
    row = connection.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE _row BETWEEN {} AND {}").format(table.name, *lineages(upload))
    ).fetchone()
    return int(row[0]) if row else 0


def columns_of_key(connection: Connection, fault: psycopg.errors.UniqueViolation) -> list[str]:
    """The columns of the key that a row has violated, of a table or of a partition."""
    rows = connection.execute(
        "SELECT attname FROM pg_constraint c CROSS JOIN unnest(conkey) WITH ORDINALITY AS k (place, n)"
        " JOIN pg_attribute a ON (a.attrelid, a.attnum) = (c.conrelid, k.place)"
        " WHERE c.conrelid = to_regclass(%s) AND conname = %s ORDER BY n",
        (f"data.{fault.diag.table_name}", fault.diag.constraint_name),
    )
    return [name for (name,) in rows]


def holds(connection: Connection, table: Table, row: int) -> bool:
    """Whether the table has the row of this lineage."""
    found = connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE _row = {})").format(table.name, row)
    ).fetchone()
    return bool(found and found[0])


def _create_view(connection: Connection, tenant: str, name: str, table: Table) -> None:
    home = sql.Identifier(tenant)
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(home))
    connection.execute(
        sql.SQL("CREATE VIEW {} AS SELECT {} FROM {}").format(
            sql.Identifier(tenant, name), identifiers(table.schema.names), table.name
        )
    )


def read(connection: Connection, table: Table, after: int, upload: int | None, limit: int) -> Iterator[tuple[Any, ...]]:
    """Rows in file order, `_row` last, those with a greater `_row` than `after`."""
    lowest, high = (after + 1, 2**63 - 1) if upload is None else lineages(upload)
    low = max(after, lowest - 1)
    # The index on `_row` finds blocks, not an order: nearly always the next rows are all in a narrow range, and
    # sorting that is quick.
    near = min(high, low + 4 * limit)
    seen = 0
    for seen, row in enumerate(_between(connection, table, low, near, limit), 1):  # noqa: B007 - counts past the loop
        yield row
    if seen < limit and near < high:
        yield from _between(connection, table, near, high, limit - seen)


def _between(connection: Connection, table: Table, low: int, high: int, limit: int) -> Iterator[tuple[Any, ...]]:
    yield from stream(
        connection,
        # Values as literals: beside parameters, a % in a column's name would be taken for a placeholder.
        sql.SQL("SELECT {} FROM {} WHERE _row > {} AND _row <= {} ORDER BY _row LIMIT {}").format(
            shown(table.schema), table.name, low, high, limit
        ),
    )


def stream(connection: Connection, statement: sql.Composed) -> Iterator[tuple[Any, ...]]:
    """What a SELECT finds, a thousand rows in memory at a time."""
    with connection.transaction(), connection.cursor("rows", row_factory=tuple_row) as cursor:
        cursor.itersize = 1000
        connection.execute("SET LOCAL intervalstyle = 'iso_8601'")
        cursor.execute(statement)
        yield from cursor


def shown(schema: Schema) -> sql.Composed:
    """The columns as they are read. Intervals as text: Python's timedelta knows no months."""
    columns = [
        sql.SQL("{}::text" if f.type == "duration" else "{}").format(sql.Identifier(f.name)) for f in schema.fields
    ]
    return sql.SQL(", ").join([*columns, sql.Identifier("_row")])


def identifiers(names: Sequence[str], alias: str | None = None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, n) if alias else sql.Identifier(n) for n in names)
