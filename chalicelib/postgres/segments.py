"""What was found ahead in the segments of large texts: hints, of which whoever reads them proves that they fit."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.postgres.connection import Connection

Found = tuple[int, list[int], list[int], list[int]]  # where it begins; of each chunk the end, records and lines


def keep(connection: Connection, number: int, n: int, found: Sequence[Found]) -> None:
    """Keep what was found of an upload's segment, while its scan is not over; with that it has got further."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO rowmill.segment (upload, n, start, ends, records, lines)
            SELECT number, %s, %s, %s, %s, %s FROM (
                SELECT number FROM rowmill.upload WHERE number = %s AND state = 'splitting' FOR NO KEY UPDATE) open
            ON CONFLICT DO NOTHING
            """,
            [(n, *one, number) for one in found],
        )
        if cursor.rowcount > 0:
            cursor.execute("UPDATE rowmill.upload SET scan_attempts = 0 WHERE number = %s", (number,))


def find(connection: Connection, number: int, n: int) -> list[Found]:
    """What was found of an upload's segment."""
    return connection.execute(
        "SELECT start, ends, records, lines FROM rowmill.segment WHERE upload = %s AND n = %s", (number, n)
    ).fetchall()


def forget(connection: Connection, number: int) -> None:
    """The scan is over: forget what was found for it, and what uploads left that ended in another way."""
    connection.execute(
        """
        DELETE FROM rowmill.segment s USING rowmill.upload u
        WHERE u.number = s.upload AND (u.number = %s OR u.state NOT IN ('scanning', 'splitting'))
        """,
        (number,),
    )


def give_sign(connection: Connection, number: int, ahead: float = 0) -> None:
    """The upload's splitter is alive, though it has found no chunk of its own; or will be, in `ahead` seconds."""
    connection.execute(
        "UPDATE rowmill.upload SET scan_seen_at = clock_timestamp() + make_interval(secs => %s) WHERE number = %s",
        (ahead, number),
    )


def is_expected(connection: Connection, number: int) -> bool:
    """Whether the upload's splitter has said that it will be there later, and is not late yet."""
    row = connection.execute(
        "SELECT scan_seen_at > clock_timestamp() FROM rowmill.upload WHERE number = %s", (number,)
    ).fetchone()
    return bool(row and row[0])
