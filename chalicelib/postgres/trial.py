"""The check of a chunk: what a load of its rows would meet, without a row in the dataset's table.

Rows go into a temporary twin with the table's own constraints, so Postgres refuses what it would refuse. Keys are
compared with the table's at once, and kept as fingerprints: those that rows of other chunks share are found when all
chunks are in, and fall in line order as they do when a file is settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, LiteralString

from psycopg import sql

from chalicelib.datasets import Field, Schema
from chalicelib.journey import Mode, record_of
from chalicelib.postgres import replay, staging
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.staging import Names, Outcome
from chalicelib.postgres.tables import Table

LOSERS_AT_ONCE: Final = 2000  # their records are in memory
# Postgres' own hashes take 64 bits for 32, and leave out a number's sign, what NaN and the infinities are, and where
# an array ends: 1 and 4294967296 have one, 5 and -5, [[1], 2] and [[1, 2]]. Bytes and texts are hashed in full.
_PRINTED: Final[Mapping[str, LiteralString]] = {
    "int8": "int8send({})",
    "numeric": "trim_scale({})::text",
    "timestamptz": "timestamptz_send({})",
    "time": "time_send({})",
    "interval": "interval_send(justify_interval({}))",
    "jsonb": "{0}, translate({0}::text, '.0123456789', '')",
}


@dataclass(frozen=True, slots=True)
class _Prints(Table):
    """Rows that share a key with another, by the prints of their keys: column k0 for the first key, and so on."""

    @property
    def staging(self) -> sql.Identifier:
        return sql.Identifier("pg_temp", "shared_prints")


def check(connection: Connection, table: Table, upload: int, mode: Mode, rows: staging.Rows) -> Outcome:
    """What a load of these rows would refuse; the keys of good rows are kept if a repeat of one is to be rejected."""
    make_twin(connection, table)
    return staging.place(connection, table, partial(_try, connection, table, upload, mode), rows)


def refusals(connection: Connection, table: Table, rows: staging.Rows) -> Sequence[tuple[int, str]]:
    """The rows that Postgres would refuse whatever else is in the table, and its word on each."""
    make_twin(connection, table)
    return staging.place(connection, table, partial(take, connection, table), rows).refused


def take(connection: Connection, table: Table, rows: Iterable[bytes]) -> Outcome:
    """Rows into staging, and into the twin, for Postgres to refuse what the table's keys and rules would."""
    staging.fill(connection, table, rows)
    _into_twin(connection, table)
    return Outcome()


def _twin(table: Table) -> sql.Identifier:
    """A temporary twin with the table's keys and rules."""
    return sql.Identifier("pg_temp", f"twin_{table.number}_{table.version}")


def make_twin(connection: Connection, table: Table) -> None:
    """Make the twin, as staging is made."""
    connection.execute(
        sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {} INCLUDING ALL) ON COMMIT DELETE ROWS").format(
            _twin(table), table.name
        )
    )


def _try(connection: Connection, table: Table, upload: int, mode: Mode, rows: Iterable[bytes]) -> Outcome:
    """Rows that Postgres takes, less those whose key is in the table; raises what Postgres says of the others."""
    names = Names(table, upload)
    staging.stage(connection, table, rows)
    outcome = Outcome()
    if mode == "insert":
        for label, met in staging.remove_clashing(connection, names, own=False):
            outcome.in_database[label] += met
        for place, key in enumerate(names.keys):
            _keep_prints(connection, names, place, key)
    _into_twin(connection, table)
    return outcome


def _into_twin(connection: Connection, table: Table) -> None:
    """Have the twin take what is in staging, or Postgres say of it what it would of the table."""
    connection.execute(
        sql.SQL("INSERT INTO {} SELECT * FROM {} ON CONFLICT DO NOTHING").format(_twin(table), table.staging)
    )


def _keep_prints(connection: Connection, names: Names, place: int, key: Sequence[str]) -> None:
    """The print of a key: two hashes of what is equal whenever the values are, however they are spelt."""
    kinds = {field.name: field.postgres_type for field in names.table.schema.fields}
    printed = [sql.SQL(_PRINTED.get(kinds[name], "{}")).format(sql.Identifier("s", name)) for name in key]
    connection.execute(
        names.format(
            """
            INSERT INTO rowmill.fingerprint (upload, key, first, prints, records)
            SELECT {upload}, {place}, min(record), array_agg(print), array_agg(record) FROM (
                SELECT _row - {low} AS record,
                       (lpad(to_hex(hash_record_extended(ROW({printed}), 0)), 16, '0')
                        || lpad(to_hex(hash_record_extended(ROW({printed}), 1)), 16, '0'))::uuid AS print
                FROM {staging} s WHERE {complete}
            ) printed HAVING count(*) > 0
            """,
            place=sql.Literal(place),
            printed=sql.SQL(", ").join(printed),
            complete=names.complete(key),
        )
    )


def losers(connection: Connection, schema: Schema, upload: int) -> Iterator[list[tuple[int, str]]]:
    """Rows that a load would reject for a key of a lower line of their file, (record, key), in file order.

    The fingerprints are gone then. Inside the caller's transaction, which holds the upload exclusively.
    """
    fields = tuple(Field(f"k{place}", "string") for place in range(len(schema.keys)))
    prints = _Prints(0, 0, Schema(fields, tuple((field.name,) for field in fields), False, ()))
    names = Names(prints, upload)
    _gather(connection, names)
    replay.decide(connection, names)
    labels = {field.name: ", ".join(key) for field, key in zip(fields, schema.keys, strict=True)}
    after = 0
    while page := _losers_after(connection, after):
        yield [(record_of(row), labels[key]) for row, key in page]
        after = page[-1][0]
    connection.execute("DELETE FROM rowmill.fingerprint WHERE upload = %s", (upload,))


def _gather(connection: Connection, names: Names) -> None:
    """The rows that share a print with another one."""
    columns = [sql.SQL("{} uuid").format(sql.Identifier(key)) for (key,) in names.keys]
    prints = [
        sql.SQL("(array_agg(print) FILTER (WHERE key = {}))[1]").format(sql.Literal(place))
        for place in range(len(names.keys))
    ]
    connection.execute(
        names.format(
            "CREATE TEMP TABLE {staging} ({prints}, _row bigint) ON COMMIT DROP", prints=sql.SQL(", ").join(columns)
        )
    )
    connection.execute(
        names.format(
            """
            WITH printed AS MATERIALIZED (
                SELECT key, print, record FROM rowmill.fingerprint, unnest(prints, records) AS one (print, record)
                WHERE upload = {upload}),
            shared AS (SELECT key, print FROM printed GROUP BY key, print HAVING count(*) > 1),
            sharing AS (SELECT DISTINCT record FROM printed JOIN shared USING (key, print))
            INSERT INTO {staging} ({columns})
            SELECT {prints}, {low} + record FROM printed JOIN sharing USING (record) GROUP BY record
            """,
            prints=sql.SQL(", ").join(prints),
        )
    )
    connection.execute(names.format("ANALYZE {staging}"))


def _losers_after(connection: Connection, row: int) -> list[tuple[int, str]]:
    return connection.execute(
        "SELECT _row, key FROM fate WHERE code IS NOT NULL AND _row > %s ORDER BY _row LIMIT %s", (row, LOSERS_AT_ONCE)
    ).fetchall()
