"""What became of a stretch of an upload's records: their chunks, rejects and rows. Nothing is kept of one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from chalicelib.journey import lineage, record_of
from chalicelib.postgres import ledger
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.manifest import NOW_IN
from chalicelib.postgres.tables import Table


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of the stretch, with what became of its records by now. Settling may have loaded, or updated, more."""

    first_record: int
    records: int
    state: str
    started_at: datetime | None
    finished_at: datetime | None
    loaded: int
    updated: int
    contested: int

    def __contains__(self, record: int) -> bool:
        return self.first_record <= record < self.first_record + self.records


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a record was rejected, and the first bytes of what stood there."""

    line: int
    errors: list[dict[str, Any]]
    raw: bytes


def pieces(connection: Connection, number: int, first: int, last: int) -> list[Piece]:
    """The chunks that hold these records, of the pass that the upload is in, in file order."""
    with connection.cursor(row_factory=class_row(Piece)) as cursor:
        return cursor.execute(
            f"""
            SELECT first_record, records, state, started_at, finished_at, loaded, updated, contested
            FROM rowmill.chunk
            WHERE upload = %(upload)s AND pass = {NOW_IN}
              AND first_record <= %(last)s AND first_record + records > %(first)s ORDER BY n
            """,
            {"upload": number, "first": first, "last": last},
        ).fetchall()


def begun(connection: Connection, number: int) -> int:
    """How many records are in chunks that somebody works on."""
    row = connection.execute(
        f"""
        SELECT coalesce(sum(records), 0)::bigint FROM rowmill.chunk
        WHERE upload = %(upload)s AND pass = {NOW_IN} AND state = 'queued' AND started_at IS NOT NULL
        """,
        {"upload": number},
    ).fetchone()
    assert row is not None
    return int(row[0])


def rejects(connection: Connection, number: int, first: int, last: int, most_raw: int = 0) -> dict[int, Reject]:
    """Those of the records that were rejected, with so many bytes of each."""
    rows = connection.execute(
        f"""
        SELECT record, line, errors, substring(raw FROM 1 FOR %(most)s) FROM rowmill.reject
        WHERE upload = %(upload)s AND pass = {NOW_IN} AND record BETWEEN %(first)s AND %(last)s
        """,
        {"upload": number, "first": first, "last": last, "most": most_raw},
        binary=True,
    )
    return {record: Reject(line, errors, bytes(raw)) for record, line, errors, raw in rows}


def contested(connection: Connection, number: int, first: int, last: int) -> set[int]:
    """Those of the records that wait to be settled: of an upload that is to be whole all that are not rejected."""
    rows = connection.execute(
        f"""
        SELECT record FROM rowmill.contested
        WHERE upload = %(upload)s AND record BETWEEN %(first)s AND %(last)s
        UNION SELECT generate_series(%(first)s::bigint, %(last)s::bigint)
        FROM rowmill.upload u WHERE number = %(upload)s AND {ledger.HIDDEN}
        """,
        {"upload": number, "first": first, "last": last},
    )
    return {row[0] for row in rows}


def loaded(
    connection: Connection, table: Table, number: int, first: int, last: int, names: Sequence[str]
) -> dict[int, tuple[str | None, ...]]:
    """What the rows of these records hold in some fields, as text; none of those that were changed by hand since."""
    columns = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)
    rows = connection.execute(
        sql.SQL("SELECT _row, {} FROM {} WHERE _row BETWEEN {} AND {}").format(
            columns, table.name, lineage(number, first), lineage(number, last)
        )
    )
    return {record_of(row[0]): tuple(row[1:]) for row in rows}
