"""Chunks in Postgres, manifest and ledger in one: recorded by the splitter before their messages go out, proved
by the load that commits their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row, dict_row

from chalicelib.journey import LOADING, MAX_ATTEMPTS, Chunk, Number
from chalicelib.postgres.connection import Connection


def add_chunks(connection: Connection, number: Number, chunks: Sequence[Chunk]) -> list[int]:
    """Record chunks before their messages go out; those never sent, by n."""
    places = [chunk.n for chunk in chunks]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO rowmill.chunk (upload, n, byte_start, byte_end, first_record, first_line, records)
            VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [(number, c.n, c.byte_start, c.byte_end, c.first_record, c.first_line, c.records) for c in chunks],
        )
        cursor.execute("UPDATE rowmill.upload SET scan_seen_at = clock_timestamp() WHERE number = %s", (number,))
        cursor.execute(
            """
            SELECT n FROM rowmill.chunk
            WHERE upload = %s AND pass = 'load' AND n = ANY(%s) AND state = 'queued' AND sent_at IS NULL ORDER BY n
            """,
            (number, places),
        )
        return [row[0] for row in cursor]


def list_unsent(connection: Connection, number: int) -> list[int]:
    """The queued chunks whose messages never went out, as far as is known."""
    rows = connection.execute(
        """
        SELECT n FROM rowmill.chunk
        WHERE upload = %s AND pass = 'load' AND state = 'queued' AND sent_at IS NULL ORDER BY n
        """,
        (number,),
    )
    return [row[0] for row in rows]


def last_chunk(connection: Connection, number: int) -> Chunk | None:
    """The last chunk that the scan has recorded: where it goes on after an interruption."""
    with connection.cursor(row_factory=class_row(Chunk)) as cursor:
        return cursor.execute(
            """
            SELECT n, byte_start, byte_end, first_record, records, first_line
            FROM rowmill.chunk WHERE upload = %s AND pass = 'load' ORDER BY n DESC LIMIT 1
            """,
            (number,),
        ).fetchone()


def mark_resent(connection: Connection, number: int, places: Sequence[int]) -> None:
    """These chunks were sent again: whoever worked on them before is gone."""
    connection.execute(
        "UPDATE rowmill.chunk SET sent_at = clock_timestamp(), started_at = NULL"
        " WHERE upload = %s AND pass = 'load' AND n = ANY(%s) AND state = 'queued'",
        (number, list(places)),
    )


def mark_sent(connection: Connection, number: int, places: Sequence[int]) -> None:
    """The messages of these chunks are in a queue."""
    connection.execute(
        "UPDATE rowmill.chunk SET sent_at = clock_timestamp() WHERE upload = %s AND pass = 'load' AND n = ANY(%s)",
        (number, list(places)),
    )


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk to load, on its `attempts`-th attempt."""

    n: int
    byte_start: int
    byte_end: int
    first_record: int
    first_line: int
    records: int
    attempts: int


_WORK: Final = "n, byte_start, byte_end, first_record, first_line, records, attempts"

# Chunks of this upload may load: it is under way and nobody has asked to cancel it.
_OPEN: Final = """
    SELECT FROM rowmill.upload u WHERE u.number = {upload} AND u.state = ANY(%s)
    AND NOT EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id)
"""


def take(connection: Connection, number: int, n: int) -> Work | None:
    """Begin an attempt at a chunk; None if it is not queued, has no attempts left, or its upload is to load no more.

    The attempt is counted before the work: a worker that dies cannot count it afterwards. An attempt that ended
    because Postgres itself was started anew is not counted.
    """
    with connection.transaction(), connection.cursor(row_factory=class_row(Work)) as cursor:
        work = cursor.execute(
            f"""
            UPDATE rowmill.chunk c SET started_at = clock_timestamp(),
                attempts = attempts + CASE WHEN started_at < pg_postmaster_start_time() THEN 0 ELSE 1 END
            WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
              AND (attempts < %s OR started_at < pg_postmaster_start_time())
              AND EXISTS ({_OPEN.format(upload="c.upload")})
            RETURNING {_WORK}
            """,
            (number, n, MAX_ATTEMPTS, list(LOADING)),
        ).fetchone()
        cursor.execute(
            "UPDATE rowmill.upload SET state = 'processing' WHERE number = %s AND state = 'queued'", (number,)
        )
    return work


def give_back(connection: Connection, number: int, n: int) -> None:
    """Undo the count of an attempt that failed through no fault of the chunk."""
    connection.execute(
        """
        UPDATE rowmill.chunk
        SET attempts = greatest(attempts - 1, 0), started_at = NULL, sent_at = clock_timestamp()
        WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
        """,
        (number, n),
    )


def note_fault(connection: Connection, number: int, n: int, fault: str) -> None:
    """An attempt has failed, and why (never row data), for whoever looks at a dead chunk."""
    connection.execute(
        """
        UPDATE rowmill.chunk SET error = %s, started_at = NULL, sent_at = clock_timestamp()
        WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
        """,
        (fault, number, n),
    )


def claim(connection: Connection, number: int, n: int) -> bool:
    """Within a transaction that holds the upload shared: whether this chunk is ours to load now.

    A second worker waits on the row here until the first commits, and then finds it loaded.
    """
    row = connection.execute(
        f"""
        SELECT FROM rowmill.chunk c
        WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
          AND EXISTS ({_OPEN.format(upload="c.upload")})
        FOR UPDATE OF c
        """,
        (number, n, list(LOADING)),
    ).fetchone()
    return row is not None


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of records. They add up to the chunk's records."""

    loaded: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0
    contested: int = 0


def record_loaded(connection: Connection, number: int, n: int, counts: Counts, sha256: bytes) -> None:
    """The proof: written in the transaction that holds the chunk's rows."""
    connection.execute(
        """
        UPDATE rowmill.chunk
        SET state = 'loaded', loaded = %s, updated = %s, skipped = %s, rejected = %s, contested = %s,
            sha256 = %s, error = NULL, finished_at = clock_timestamp()
        WHERE upload = %s AND pass = 'load' AND n = %s
        """,
        (counts.loaded, counts.updated, counts.skipped, counts.rejected, counts.contested, sha256, number, n),
    )


def record_settled(connection: Connection, number: int, counts: Counts) -> None:
    """The one correction of the totals: what settling changed, as differences."""
    connection.execute(
        """
        INSERT INTO rowmill.chunk (upload, pass, n, byte_start, byte_end, first_record, first_line, records, state,
                                   loaded, updated, skipped, rejected, contested, finished_at)
        SELECT %s, 'settle', 1 + count(*), 0, 0, 0, 0, 0, 'loaded', %s, %s, %s, %s, %s, clock_timestamp()
        FROM rowmill.chunk WHERE upload = %s AND pass = 'settle'
        """,
        (number, counts.loaded, counts.updated, counts.skipped, counts.rejected, counts.contested, number),
    )


def chunks_of_records(connection: Connection, number: int, records: Sequence[int]) -> list[tuple[Work, list[int]]]:
    """The loaded chunks that hold these records, each with those it holds."""
    rows = connection.execute(
        f"""
        SELECT {_WORK}, array_agg(wanted ORDER BY wanted)
        FROM rowmill.chunk c JOIN unnest(%s::bigint[]) wanted
          ON wanted >= c.first_record AND wanted < c.first_record + c.records
        WHERE upload = %s AND pass = 'load' GROUP BY {_WORK} ORDER BY n
        """,
        (list(records), number),
    )
    return [(Work(*row[:-1]), row[-1]) for row in rows]


def bury(connection: Connection, number: int, n: int) -> None:
    """Give a chunk up. Its records stay unprocessed; a late delivery of it does nothing."""
    connection.execute(
        """
        UPDATE rowmill.chunk SET state = 'dead', finished_at = clock_timestamp()
        WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
        """,
        (number, n),
    )


def spend(connection: Connection, number: int, n: int) -> bool:
    """Count an attempt that nobody began; whether the chunk has more of them. If not, it is dead."""
    row = connection.execute(
        """
        UPDATE rowmill.chunk
        SET attempts = attempts + 1, error = coalesce(error, 'not delivered'),
            state = CASE WHEN attempts + 1 < %(most)s THEN state ELSE 'dead' END,
            finished_at = CASE WHEN attempts + 1 < %(most)s THEN NULL ELSE clock_timestamp() END
        WHERE upload = %(upload)s AND pass = 'load' AND n = %(n)s AND state = 'queued' RETURNING state
        """,
        {"most": MAX_ATTEMPTS, "upload": number, "n": n},
    ).fetchone()
    return row is not None and row[0] == "queued"


def bury_spent(connection: Connection, number: int, n: int) -> None:
    """Give a chunk up if it is out of attempts. Hold its lock: nobody is at its last attempt."""
    connection.execute(
        f"""
        UPDATE rowmill.chunk c SET state = 'dead', finished_at = clock_timestamp(), error = coalesce(error, 'no answer')
        WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued' AND attempts >= %s
          AND EXISTS ({_OPEN.format(upload="c.upload")})
        """,
        (number, n, MAX_ATTEMPTS, list(LOADING)),
    )


def cancel_queued(connection: Connection, number: int) -> None:
    """No chunk that is still queued will load. Hold the upload exclusively."""
    connection.execute(
        "UPDATE rowmill.chunk SET state = 'canceled', finished_at = clock_timestamp()"
        " WHERE upload = %s AND state = 'queued'",
        (number,),
    )


def requeue(connection: Connection, number: int) -> list[int]:
    """Give what was given up its attempts anew; the chunks to send, by n. Hold the upload exclusively."""
    rows = connection.execute(
        """
        UPDATE rowmill.chunk
        SET state = 'queued', attempts = 0, error = NULL, sent_at = NULL, started_at = NULL, finished_at = NULL
        WHERE upload = %s AND state IN ('dead', 'canceled') RETURNING n
        """,
        (number,),
    )
    return sorted(row[0] for row in rows)


def list_given_up(connection: Connection, number: int, limit: int) -> list[dict[str, Any]]:
    """Chunks that were given up: their records and lines, and why."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT n, state, first_record, records, first_line, attempts, error
            FROM rowmill.chunk WHERE upload = %s AND state IN ('dead', 'canceled') ORDER BY n LIMIT %s
            """,
            (number, limit),
        ).fetchall()


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the manifest holds of a file. A gap is a chunk that does not begin where the one before it ends."""

    chunks: int
    records: int
    gaps: int


def coverage(connection: Connection, number: int) -> Coverage:
    """How an upload's chunks cover its file."""
    row = connection.execute(
        """
        SELECT count(*), coalesce(sum(records), 0)::bigint,
               count(*) FILTER (WHERE (byte_start, first_record) <> (expected_byte, expected_record))
        FROM (SELECT records, byte_start, first_record,
                     lag(byte_end) OVER w AS expected_byte, lag(first_record + records) OVER w AS expected_record
              FROM rowmill.chunk WHERE upload = %s AND pass = 'load' WINDOW w AS (ORDER BY n)) c
        """,
        (number,),
    ).fetchone()
    assert row is not None
    return Coverage(*row)


def records_seen(connection: Connection, number: int) -> int:
    """How many records the scan has put into chunks."""
    row = connection.execute(
        "SELECT coalesce(sum(records), 0)::bigint FROM rowmill.chunk WHERE upload = %s", (number,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def list_chunks(connection: Connection, number: int, after: int, limit: int) -> list[dict[str, Any]]:
    """Chunks as the API shows them, those after `after`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT n, state, byte_start, byte_end, first_record, first_line, records, loaded, updated, skipped,
                   rejected, contested, attempts, error
            FROM rowmill.chunk WHERE upload = %s AND pass = 'load' AND n > %s ORDER BY n LIMIT %s
            """,
            (number, after, limit),
        ).fetchall()
