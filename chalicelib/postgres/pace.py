"""The pace of a dataset: a bucket that its uploads' chunks empty together, and that fills by so many rows a second.

Rows are counted when a chunk begins, not when it is put off: what is canceled or paused while it waits takes nothing.
"""

from __future__ import annotations

from typing import Final

from chalicelib.journey import LOADING, ChunkKey
from chalicelib.postgres.connection import Connection

# A message comes up to a second late, as queues count whole ones, and its worker has to start: so much of a pause is
# made up for, and so many seconds' rows may come at once.
CATCH_UP_SECONDS: Final = 2


def wait(connection: Connection, dataset: int, key: ChunkKey, rate: float) -> float:
    """Seconds until the chunk may begin; 0.0 if it may now, and then its rows are counted.

    One that has to wait is told when its turn may come, by its place in its upload, and is not taken for lost before.
    """
    records = _queued_records(connection, key)
    if records is None:
        return 0.0
    begun = connection.execute(
        """
        INSERT INTO rowmill.pace AS p (dataset, due)
        VALUES (%(dataset)s, clock_timestamp() + make_interval(secs => %(cost)s))
        ON CONFLICT (dataset) DO UPDATE
        SET due = greatest(p.due, clock_timestamp() - make_interval(secs => %(catch_up)s))
                  + make_interval(secs => %(cost)s)
        WHERE p.due <= clock_timestamp()
        """,
        {"dataset": dataset, "cost": records / rate, "catch_up": CATCH_UP_SECONDS},
    )
    return 0.0 if begun.rowcount else _put_off(connection, dataset, key, records / rate)


def begin_anew(connection: Connection, dataset: int) -> None:
    """Let the next chunk of the dataset begin at once: its pace is another, what was counted by the old one is void."""
    connection.execute("DELETE FROM rowmill.pace WHERE dataset = %s", (dataset,))


def _queued_records(connection: Connection, key: ChunkKey) -> int | None:
    row = connection.execute(
        """
        SELECT records FROM rowmill.chunk c JOIN rowmill.upload u ON u.number = c.upload
        WHERE c.upload = %s AND c.pass = %s AND n = %s AND c.state = 'queued' AND u.state = ANY(%s)
        """,
        (*key, list(LOADING)),
    ).fetchone()
    return int(row[0]) if row else None


def _put_off(connection: Connection, dataset: int, key: ChunkKey, each: float) -> float:
    row = connection.execute(
        """
        UPDATE rowmill.chunk c SET sent_at = clock_timestamp() + make_interval(secs => told.seconds)
        FROM (SELECT greatest(0.001, date_part('epoch', due - clock_timestamp()))
                     + %(each)s * (%(n)s - (SELECT min(n) FROM rowmill.chunk
                                            WHERE upload = %(upload)s AND state = 'queued')) AS seconds
              FROM rowmill.pace WHERE dataset = %(dataset)s) told
        WHERE upload = %(upload)s AND pass = %(reading)s AND n = %(n)s AND state = 'queued' RETURNING told.seconds
        """,
        {"dataset": dataset, "each": each, **key._asdict()},
    ).fetchone()
    return float(row[0]) if row else 0.0
