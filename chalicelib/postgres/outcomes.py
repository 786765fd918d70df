"""Rows that did not simply load: rejected for good, or contested until settling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from chalicelib.journey import Pass, Rejection
from chalicelib.postgres.connection import Connection


def add_rejections(connection: Connection, number: int, reading: Pass, rejections: Iterable[Rejection]) -> None:
    """Keep rejected records with their reasons, as they come; nothing may be asked of the connection meanwhile."""
    columns = "(upload, pass, record, line, errors, raw)"
    with connection.cursor() as cursor, cursor.copy(f"COPY rowmill.reject {columns} FROM STDIN") as copy:
        for one in rejections:
            errors = [{"column": e.column, "code": e.code, "detail": e.detail} for e in one.errors]
            copy.write_row((number, reading, one.record, one.line, Jsonb(errors), one.raw))


@dataclass(frozen=True, slots=True)
class Contested:
    """A good row whose key met another row of its upload."""

    record: int
    line: int
    cells: list[str | None]
    raw: bytes


def add_contested(connection: Connection, number: int, rows: Iterable[Contested]) -> None:
    """Keep contested rows for settling."""
    columns = "(upload, record, line, cells, raw)"
    with connection.cursor() as cursor, cursor.copy(f"COPY rowmill.contested {columns} FROM STDIN") as copy:
        for row in rows:
            copy.write_row((number, row.record, row.line, row.cells, row.raw))


def clear_contested(connection: Connection, number: int) -> int:
    """Empty the upload's contested rows; how many there were."""
    return connection.execute("DELETE FROM rowmill.contested WHERE upload = %s", (number,)).rowcount


def forget_prints(connection: Connection, number: int) -> None:
    """Empty the upload's fingerprints: it ends without having been settled."""
    connection.execute("DELETE FROM rowmill.fingerprint WHERE upload = %s", (number,))


def has_contested(connection: Connection, number: int) -> bool:
    """Whether rows still wait to be settled, in either pass."""
    row = connection.execute(
        """
        SELECT EXISTS (SELECT FROM rowmill.contested WHERE upload = %s)
            OR EXISTS (SELECT FROM rowmill.fingerprint WHERE upload = %s)
        """,
        (number, number),
    ).fetchone()
    return bool(row and row[0])


def list_rejects(connection: Connection, number: int, after: int, limit: int) -> Iterator[dict[str, Any]]:
    """Rejected records in file order, those after `after`, read as they are used."""
    with connection.transaction(), connection.cursor("rejects", row_factory=dict_row) as cursor:
        cursor.itersize = 500
        cursor.execute(
            """
            SELECT record, line, errors, raw FROM rowmill.reject
            WHERE upload = %s AND pass = (SELECT pass FROM rowmill.upload WHERE number = %s) AND record > %s
            ORDER BY record LIMIT %s
            """,
            (number, number, after, limit),
        )
        yield from cursor
