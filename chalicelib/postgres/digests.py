"""Digests of the rows that a table holds of an upload: a chunk at a time, and whatever order they are read in.

Of each row the SHA-256 of its record's number and of its fields as text; of a chunk the sum of these modulo 2^64, in
each of their four parts by itself. Sums of chunks add up to that of the upload. Not `hash_record`, which another
release of Postgres may compute otherwise: what is hashed is text, with every setting said that it depends on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql
from psycopg.rows import class_row

from chalicelib.journey import RECORD_BITS, Number, Pass, lineage
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.tables import Table, identifiers

MOST_ROWS: Final = 100_000  # at once: some 0.3 s, and whoever changes the table waits no longer for it
MOST_CHUNKS: Final = 500
NO_ROWS: Final = bytes(32)
_RECORD: Final = (1 << RECORD_BITS) - 1
_PLAIN: Final = """
    SELECT set_config(name, value, true) FROM (VALUES
        ('datestyle', 'ISO, YMD'), ('intervalstyle', 'iso_8601'), ('timezone', 'UTC'), ('extra_float_digits', '1'),
        ('bytea_output', 'hex'), ('enable_seqscan', 'off')) setting (name, value)
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk, and what the receipt says of it; `table_digest` is None before anybody has looked."""

    n: int
    byte_start: int
    byte_end: int
    first_record: int
    records: int
    state: str
    sha256: bytes | None
    table_rows: int | None
    table_digest: bytes | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the table holds of a chunk."""

    n: int
    rows: int
    digest: bytes


def batch(connection: Connection, number: Number, reading: Pass, after: int) -> list[Span]:
    """The next chunks behind the `after`-th, as many as are looked at at once; none behind the last."""
    with connection.cursor(row_factory=class_row(Span)) as cursor:
        found = cursor.execute(
            """
            SELECT n, byte_start, byte_end, first_record, records, state, sha256, table_rows, table_digest
            FROM rowmill.chunk WHERE upload = %s AND pass = %s AND n > %s ORDER BY n LIMIT %s
            """,
            (number, reading, after, MOST_CHUNKS),
        ).fetchall()
    rows = 0
    for place, span in enumerate(found):
        rows += span.records
        if rows > MOST_ROWS and place:
            return found[:place]
    return found


def is_there(connection: Connection, dataset: int) -> bool:
    """Whether a dataset's table is there."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"data.d_{dataset}",)).fetchone()
    return bool(row and row[0])


def prepare(connection: Connection, dataset: int) -> bool:
    """Have the table's index know of all its rows, or each look would read the whole of it. Outside a transaction.

    Whether it does: not while somebody else, like an autovacuum, is at the table for more than a second.
    """
    row = connection.execute("SELECT rowmill.summarize_dataset(%s)", (dataset,)).fetchone()
    return bool(row and row[0])


def look(
    connection: Connection, table: Table, fields: Sequence[str], number: Number, spans: Sequence[Span]
) -> list[Seen]:
    """What the table holds of these chunks, one behind the other, in these fields. Inside a transaction."""
    connection.execute(_PLAIN)  # no statistics are there of what was just loaded: the planner would not use the index
    # OFFSET 0 keeps the hash from being computed anew for each of its parts: 2.7 s for a million rows instead of 4.5.
    rows = connection.execute(
        sql.SQL(
            """
            SELECT width_bucket(_row, {starts}::bigint[]), count(*), sum(substring(hash, 1, 8)::bigint),
                   sum(substring(hash, 9, 8)::bigint), sum(substring(hash, 17, 8)::bigint),
                   sum(substring(hash, 25, 8)::bigint)
            FROM (SELECT _row, sha256(convert_to((_row & {record})::text || ROW({fields})::text, 'UTF8')) AS hash
                  FROM {table} WHERE _row >= {low} AND _row < {high} OFFSET 0) hashed
            GROUP BY 1
            """
        ).format(
            starts=sql.Literal([lineage(number, span.first_record) for span in spans]),
            record=sql.Literal(_RECORD),
            fields=identifiers(fields),
            table=table.name,
            low=sql.Literal(lineage(number, spans[0].first_record)),
            high=sql.Literal(lineage(number, spans[-1].first_record + spans[-1].records)),
        )
    )
    found = {place: Seen(spans[place - 1].n, count, _packed(sums)) for place, count, *sums in rows}
    return [found.get(place, Seen(span.n, 0, NO_ROWS)) for place, span in enumerate(spans, 1)]


def _packed(sums: Sequence[Any]) -> bytes:
    return b"".join((int(one) % 2**64).to_bytes(8) for one in sums)


def total(digests: Sequence[bytes]) -> bytes:
    """The digest of all rows that these are of."""
    parts = [sum(int.from_bytes(one[place : place + 8]) for one in digests) for place in range(0, 32, 8)]
    return _packed(parts)


def keep(connection: Connection, number: Number, reading: Pass, seen: Sequence[Seen]) -> None:
    """What the table holds of these chunks, for a later look to be compared with."""
    connection.execute(
        """
        UPDATE rowmill.chunk c SET table_rows = s.rows, table_digest = s.digest
        FROM unnest(%s::integer[], %s::integer[], %s::bytea[]) s (n, rows, digest)
        WHERE c.upload = %s AND c.pass = %s AND c.n = s.n
        """,
        ([one.n for one in seen], [one.rows for one in seen], [one.digest for one in seen], number, reading),
    )


def forget(connection: Connection, number: Number) -> None:
    """Nobody has looked at the table, or what was seen is no longer to be relied on."""
    connection.execute(
        "UPDATE rowmill.chunk SET table_rows = NULL, table_digest = NULL"
        " WHERE upload = %s AND table_digest IS NOT NULL",
        (number,),
    )


LINE: Final = (
    *("n", "byte_start", "byte_end", "first_record", "records", "state"),
    *("loaded", "updated", "skipped", "rejected", "contested", "sha256", "table_rows", "table_digest"),
)


def lines(connection: Connection, number: Number, reading: Pass) -> Iterator[tuple[Any, ...]]:
    """Every chunk as the receipt lists it, by the names in LINE; a thousand in memory."""
    after = 0
    while page := _page(connection, number, reading, after):
        yield from page
        after = page[-1][0]


def _page(connection: Connection, number: Number, reading: Pass, after: int) -> list[tuple[Any, ...]]:
    return connection.execute(
        """
        SELECT n, byte_start, byte_end, first_record, records, state, CASE pass WHEN 'load' THEN loaded ELSE 0 END,
               updated, skipped, rejected, contested,
               encode(sha256, 'hex'), table_rows, encode(table_digest, 'hex')
        FROM rowmill.chunk WHERE upload = %s AND pass = %s AND n > %s ORDER BY n LIMIT 1000
        """,
        (number, reading, after),
    ).fetchall()


def settled(connection: Connection, number: Number, reading: Pass) -> Mapping[str, int]:
    """What settling has corrected of the chunks' counts, as differences; empty if it had nothing to do."""
    row = connection.execute(
        """
        SELECT count(*), sum(CASE pass WHEN 'settle' THEN loaded ELSE 0 END)::integer, sum(updated)::integer,
               sum(skipped)::integer, sum(rejected)::integer, sum(contested)::integer
        FROM rowmill.chunk WHERE upload = %s AND pass = %s
        """,
        (number, "settle" if reading == "load" else "settle_check"),
    ).fetchone()
    if row is None or not row[0]:
        return {}
    return dict(zip(("loaded", "updated", "skipped", "rejected", "contested"), row[1:], strict=True))


def count_edited(connection: Connection, table: Table, number: Number, span: Span) -> int:
    """How many rows of a chunk hold other values than those staged: rows that are not there count as none."""
    low = lineage(number, span.first_record)
    row = connection.execute(
        sql.SQL(
            """
            SELECT count(*) FROM {table} t JOIN {staging} s ON s._row = t._row
            WHERE t._row >= {low} AND t._row < {high} AND ROW({theirs})::text <> ROW({ours})::text
            """
        ).format(
            table=table.name,
            staging=table.staging,
            low=sql.Literal(low),
            high=sql.Literal(low + span.records),
            theirs=identifiers(table.schema.names, "t"),
            ours=identifiers(table.schema.names, "s"),
        )
    ).fetchone()
    return int(row[0]) if row else 0
