"""Chunks in Postgres, manifest and ledger in one: recorded by the splitter before their messages go out, proved
by the load that commits their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row, dict_row

from chalicelib import metrics
from chalicelib.journey import COMMITTING, LOADING, MAX_ATTEMPTS, PASSES, Chunk, ChunkKey, Number, Pass
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.verdicts import CLEARED

_CHUNK: Final = "n, byte_start, byte_end, first_record, records, first_line"
NOW_IN: Final = "(SELECT pass FROM rowmill.upload WHERE number = %(upload)s)"  # the pass that the upload is in


def add_chunks(connection: Connection, number: Number, reading: Pass, chunks: Sequence[Chunk]) -> list[int]:
    """Record chunks before their messages go out; those never sent, by n. One that is new begins attempts anew."""
    places = [chunk.n for chunk in chunks]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO rowmill.chunk (upload, pass, n, byte_start, byte_end, first_record, first_line, records)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [(number, reading, c.n, c.byte_start, c.byte_end, c.first_record, c.first_line, c.records) for c in chunks],
        )
        cursor.execute(
            "UPDATE rowmill.upload SET scan_seen_at = clock_timestamp(),"
            " scan_attempts = CASE WHEN %s THEN 0 ELSE scan_attempts END WHERE number = %s",
            (cursor.rowcount > 0, number),
        )
        cursor.execute(
            """
            SELECT n FROM rowmill.chunk
            WHERE upload = %s AND pass = %s AND n = ANY(%s) AND state = 'queued' AND sent_at IS NULL ORDER BY n
            """,
            (number, reading, places),
        )
        return [row[0] for row in cursor]


def list_unsent(connection: Connection, number: int, reading: Pass, again: int = 0) -> list[int]:
    """The queued chunks whose messages never went out, as far as is known; and the first so many, sent or not."""
    rows = connection.execute(
        """
        SELECT n FROM rowmill.chunk
        WHERE upload = %s AND pass = %s AND state = 'queued' AND (sent_at IS NULL OR n <= %s) ORDER BY n
        """,
        (number, reading, again),
    )
    return [row[0] for row in rows]


def last_chunk(connection: Connection, number: int, reading: Pass) -> Chunk | None:
    """The last chunk that the scan has recorded: where it goes on after an interruption."""
    with connection.cursor(row_factory=class_row(Chunk)) as cursor:
        return cursor.execute(
            f"SELECT {_CHUNK} FROM rowmill.chunk WHERE upload = %s AND pass = %s ORDER BY n DESC LIMIT 1",
            (number, reading),
        ).fetchone()


def checked_chunks(connection: Connection, number: int, after: int) -> Iterator[Chunk]:
    """The chunks that the check pass has read, those after the `after`-th: the load makes the same cuts."""
    while page := _checked_page(connection, number, after):
        yield from page
        after = page[-1].n


def _checked_page(connection: Connection, number: int, after: int) -> list[Chunk]:
    with connection.cursor(row_factory=class_row(Chunk)) as cursor:
        return cursor.execute(
            f"SELECT {_CHUNK} FROM rowmill.chunk WHERE upload = %s AND pass = 'check' AND n > %s ORDER BY n LIMIT 1000",
            (number, after),
        ).fetchall()


def mark_resent(connection: Connection, number: int, reading: Pass, places: Sequence[int]) -> None:
    """These chunks were sent again: whoever worked on them before is gone."""
    connection.execute(
        "UPDATE rowmill.chunk SET sent_at = clock_timestamp(), started_at = NULL"
        " WHERE upload = %s AND pass = %s AND n = ANY(%s) AND state = 'queued'",
        (number, reading, list(places)),
    )


def mark_sent(connection: Connection, number: int, reading: Pass, places: Sequence[int]) -> None:
    """The messages of these chunks are in a queue."""
    connection.execute(
        "UPDATE rowmill.chunk SET sent_at = clock_timestamp() WHERE upload = %s AND pass = %s AND n = ANY(%s)",
        (number, reading, list(places)),
    )


def named(upload: Number, message: Mapping[str, Any]) -> ChunkKey | None:
    """The chunk of an upload that a message names, if it names one; one of no pass is of the pass that loads."""
    reading, n = message.get("pass", "load"), message.get("chunk")
    return ChunkKey(upload, reading, n) if reading in PASSES and type(n) is int else None


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk to check or load, on its `attempts`-th attempt."""

    upload: Number
    reading: Pass
    n: int
    byte_start: int
    byte_end: int
    first_record: int
    first_line: int
    records: int
    attempts: int

    @property
    def key(self) -> ChunkKey:
        """Which chunk this is."""
        return ChunkKey(self.upload, self.reading, self.n)


_WORK: Final = "upload, pass AS reading, n, byte_start, byte_end, first_record, first_line, records, attempts"

# This chunk may be worked on: its upload is under way, in the chunk's pass, and nobody has asked to cancel it.
_OPEN: Final = """
    SELECT FROM rowmill.upload u WHERE u.number = c.upload AND u.pass = c.pass AND u.state = ANY(%s)
    AND NOT EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id)
"""


def take(connection: Connection, key: ChunkKey) -> Work | None:
    """Begin an attempt at a chunk; None if it is not queued, has no attempts left, or its upload is to load no more.

    The attempt is counted before the work: a worker that dies cannot count it afterwards. An attempt that ended
    because Postgres itself was started anew is not counted.
    """
    with connection.cursor(row_factory=class_row(Work)) as cursor:
        return cursor.execute(
            f"""
            WITH taken AS (
                UPDATE rowmill.chunk c SET started_at = clock_timestamp(),
                    attempts = attempts + CASE WHEN started_at < pg_postmaster_start_time() THEN 0 ELSE 1 END
                WHERE upload = %s AND pass = %s AND n = %s AND state = 'queued'
                  AND (attempts < %s OR started_at < pg_postmaster_start_time())
                  AND EXISTS ({_OPEN})
                RETURNING {_WORK}
            ), begun AS (
                UPDATE rowmill.upload SET state = 'processing' WHERE number = %s AND pass = %s AND state = 'queued'
            )
            SELECT * FROM taken
            """,
            (*key, MAX_ATTEMPTS, list(LOADING), key.upload, key.reading),
        ).fetchone()


def give_back(connection: Connection, key: ChunkKey) -> None:
    """Undo the count of an attempt that failed through no fault of the chunk."""
    connection.execute(
        """
        UPDATE rowmill.chunk
        SET attempts = greatest(attempts - 1, 0), started_at = NULL, sent_at = clock_timestamp()
        WHERE upload = %s AND pass = %s AND n = %s AND state = 'queued'
        """,
        key,
    )


def note_fault(connection: Connection, key: ChunkKey, fault: str) -> None:
    """An attempt has failed, and why (never row data), for whoever looks at a dead chunk."""
    connection.execute(
        """
        UPDATE rowmill.chunk SET error = %s, started_at = NULL, sent_at = clock_timestamp()
        WHERE upload = %s AND pass = %s AND n = %s AND state = 'queued'
        """,
        (fault, *key),
    )


def claim(connection: Connection, key: ChunkKey) -> bool:
    """Within a transaction that holds the upload shared: whether this chunk, which was begun, is ours to load now.

    A second worker waits on the row here until the first commits, and then finds it loaded.
    """
    row = connection.execute(
        f"""
        SELECT FROM rowmill.chunk c
        WHERE upload = %s AND pass = %s AND n = %s AND state = 'queued'
          AND EXISTS ({_OPEN} AND {CLEARED})
        FOR UPDATE OF c
        """,
        (*key, list(COMMITTING)),
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


def record_loaded(connection: Connection, key: ChunkKey, counts: Counts, sha256: bytes) -> None:
    """The proof: written in the transaction that holds the chunk's rows."""
    connection.execute(
        """
        UPDATE rowmill.chunk
        SET state = 'loaded', loaded = %s, updated = %s, skipped = %s, rejected = %s, contested = %s,
            sha256 = %s, error = NULL, finished_at = clock_timestamp()
        WHERE upload = %s AND pass = %s AND n = %s
        """,
        (counts.loaded, counts.updated, counts.skipped, counts.rejected, counts.contested, sha256, *key),
    )


def record_settled(connection: Connection, number: int, reading: Pass, counts: Counts) -> None:
    """The one correction of a pass' totals: what settling changed, as differences."""
    kind = "settle" if reading == "load" else "settle_check"
    connection.execute(
        """
        INSERT INTO rowmill.chunk (upload, pass, n, byte_start, byte_end, first_record, first_line, records, state,
                                   loaded, updated, skipped, rejected, contested, finished_at)
        SELECT %s, %s, 1 + count(*), 0, 0, 0, 0, 0, 'loaded', %s, %s, %s, %s, %s, clock_timestamp()
        FROM rowmill.chunk WHERE upload = %s AND pass = %s
        """,
        (number, kind, counts.loaded, counts.updated, counts.skipped, counts.rejected, counts.contested, number, kind),
    )


def chunks_of_records(
    connection: Connection, number: int, reading: Pass, records: Sequence[int]
) -> list[tuple[Work, list[int]]]:
    """The loaded chunks that hold these records, each with those it holds."""
    rows = connection.execute(
        f"""
        SELECT {_WORK}, array_agg(wanted ORDER BY wanted)
        FROM rowmill.chunk c JOIN unnest(%s::bigint[]) wanted
          ON wanted >= c.first_record AND wanted < c.first_record + c.records
        WHERE upload = %s AND pass = %s GROUP BY upload, pass, n ORDER BY n
        """,
        (list(records), number, reading),
    )
    return [(Work(*row[:-1]), row[-1]) for row in rows]


def bury(connection: Connection, key: ChunkKey) -> None:
    """Give a chunk up. Its records stay unprocessed; a late delivery of it does nothing."""
    given_up = connection.execute(
        """
        UPDATE rowmill.chunk SET state = 'dead', finished_at = clock_timestamp()
        WHERE upload = %s AND pass = %s AND n = %s AND state = 'queued'
        """,
        key,
    )
    metrics.count("ChunksDead", given_up.rowcount)


def spend(connection: Connection, key: ChunkKey) -> bool:
    """Count an attempt that nobody began; whether the chunk has more of them. If not, it is dead."""
    row = connection.execute(
        """
        UPDATE rowmill.chunk
        SET attempts = attempts + 1, error = coalesce(error, 'not delivered'),
            state = CASE WHEN attempts + 1 < %(most)s THEN state ELSE 'dead' END,
            finished_at = CASE WHEN attempts + 1 < %(most)s THEN NULL ELSE clock_timestamp() END
        WHERE upload = %(upload)s AND pass = %(reading)s AND n = %(n)s AND state = 'queued' RETURNING state
        """,
        {"most": MAX_ATTEMPTS, **key._asdict()},
    ).fetchone()
    metrics.count("ChunksDead", int(row is not None and row[0] == "dead"))
    return row is not None and row[0] == "queued"


def bury_spent(connection: Connection, key: ChunkKey) -> None:
    """Give a chunk up if it is out of attempts. Hold its lock: nobody is at its last attempt."""
    given_up = connection.execute(
        f"""
        UPDATE rowmill.chunk c SET state = 'dead', finished_at = clock_timestamp(), error = coalesce(error, 'no answer')
        WHERE upload = %s AND pass = %s AND n = %s AND state = 'queued' AND attempts >= %s
          AND EXISTS ({_OPEN})
        """,
        (*key, MAX_ATTEMPTS, list(LOADING)),
    )
    metrics.count("ChunksDead", given_up.rowcount)


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
        f"""
        UPDATE rowmill.chunk
        SET state = 'queued', attempts = 0, error = NULL, sent_at = NULL, started_at = NULL, finished_at = NULL
        WHERE upload = %(upload)s AND pass = {NOW_IN} AND state IN ('dead', 'canceled') RETURNING n
        """,
        {"upload": number},
    )
    return sorted(row[0] for row in rows)


def list_given_up(connection: Connection, number: int, limit: int) -> list[dict[str, Any]]:
    """Chunks that were given up: their records and lines, and why."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            SELECT first_record, records, first_line, attempts, error FROM rowmill.chunk
            WHERE upload = %(upload)s AND pass = {NOW_IN} AND state IN ('dead', 'canceled') ORDER BY n LIMIT %(limit)s
            """,
            {"upload": number, "limit": limit},
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
        f"""
        SELECT count(*), coalesce(sum(records), 0)::bigint,
               count(*) FILTER (WHERE (byte_start, first_record) <> (expected_byte, expected_record))
        FROM (SELECT records, byte_start, first_record,
                     lag(byte_end) OVER w AS expected_byte, lag(first_record + records) OVER w AS expected_record
              FROM rowmill.chunk WHERE upload = %(upload)s AND pass = {NOW_IN} WINDOW w AS (ORDER BY n)) c
        """,
        {"upload": number},
    ).fetchone()
    assert row is not None
    return Coverage(*row)


def records_seen(connection: Connection, number: int) -> int:
    """How many records the scan has put into chunks."""
    row = connection.execute(
        f"SELECT coalesce(sum(records), 0)::bigint FROM rowmill.chunk WHERE upload = %(upload)s AND pass = {NOW_IN}",
        {"upload": number},
    ).fetchone()
    assert row is not None
    return int(row[0])


def list_chunks(connection: Connection, number: int, after: int, limit: int) -> list[dict[str, Any]]:
    """Chunks as the API shows them, but for moments, those after `after`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            SELECT n, state, byte_start, byte_end, first_record, first_line, records,
                   CASE pass WHEN 'load' THEN loaded ELSE 0 END AS loaded,
                   CASE pass WHEN 'load' THEN 0 ELSE loaded END AS valid,
                   updated, skipped, rejected, contested, attempts, error, started_at, finished_at
            FROM rowmill.chunk WHERE upload = %(upload)s AND pass = {NOW_IN} AND n > %(after)s
            ORDER BY n LIMIT %(limit)s
            """,
            {"upload": number, "after": after, "limit": limit},
        ).fetchall()
