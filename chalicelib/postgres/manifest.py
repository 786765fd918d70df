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
    """Record chunks before their messages go out; those still to be sent (queued, unsent) by n."""
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
            "SELECT n FROM rowmill.chunk WHERE upload = %s AND pass = 'load' AND n = ANY(%s) AND state = 'queued'",
            (number, places),
        )
        return [row[0] for row in cursor]


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


def take(connection: Connection, number: int, n: int) -> Work | None:
    """Begin an attempt at a chunk; None if it is not queued or has no attempts left.

    The attempt is counted before the work: a worker that dies cannot count it afterwards.
    """
    with connection.transaction(), connection.cursor(row_factory=class_row(Work)) as cursor:
        work = cursor.execute(
            f"""
            UPDATE rowmill.chunk SET attempts = attempts + 1, started_at = clock_timestamp()
            WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued' AND attempts < %s
            RETURNING {_WORK}
            """,
            (number, n, MAX_ATTEMPTS),
        ).fetchone()
        cursor.execute(
            "UPDATE rowmill.upload SET state = 'processing' WHERE number = %s AND state = 'queued'", (number,)
        )
    return work


def give_back(connection: Connection, number: int, n: int) -> None:
    """Undo the count of an attempt that failed through no fault of the chunk."""
    connection.execute(
        """
        UPDATE rowmill.chunk SET attempts = greatest(attempts - 1, 0), started_at = NULL
        WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
        """,
        (number, n),
    )


def note_fault(connection: Connection, number: int, n: int, fault: str) -> None:
    """Remember why an attempt failed (never row data), for whoever looks at a dead chunk."""
    connection.execute(
        "UPDATE rowmill.chunk SET error = %s WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'",
        (fault, number, n),
    )


def claim(connection: Connection, number: int, n: int) -> bool:
    """Within a transaction that holds the upload shared: whether this chunk is ours to load now.

    A second worker waits on the row here until the first commits, and then finds it loaded.
    """
    row = connection.execute(
        """
        SELECT FROM rowmill.chunk c JOIN rowmill.upload u ON u.number = c.upload
        WHERE c.upload = %s AND c.pass = 'load' AND c.n = %s AND c.state = 'queued' AND u.state = ANY(%s)
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


def is_spent(connection: Connection, number: int, n: int, load_seconds: int) -> bool | None:
    """For a chunk that could not be taken: out of attempts and nobody at it (True), somebody may still be
    at its last attempt (False), or not queued any more (None)."""
    row = connection.execute(
        """
        SELECT started_at IS NULL OR started_at < clock_timestamp() - make_interval(secs => %s)
        FROM rowmill.chunk WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
        """,
        (load_seconds, number, n),
    ).fetchone()
    return bool(row[0]) if row else None


def cancel_queued(connection: Connection, number: int) -> None:
    """No chunk that is still queued will load. Hold the upload exclusively."""
    connection.execute(
        "UPDATE rowmill.chunk SET state = 'canceled', finished_at = clock_timestamp()"
        " WHERE upload = %s AND state = 'queued'",
        (number,),
    )


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


@dataclass(frozen=True, slots=True)
class Stuck:
    """What a sweep found: chunks to send again, scans to start again."""

    chunks: list[tuple[int, int, str, str]]  # upload, n, tier, tenant
    stalled_scans: list[tuple[str, str]]  # tenant, upload id


def find_stuck(connection: Connection, load_seconds: int, stalled_seconds: int, idle_tiers: Sequence[str]) -> Stuck:
    """Whatever a crash left half-said: unsent chunks, chunks at work for too long, ends not drawn.

    A chunk that was sent, never started and is in no queue any more (`idle_tiers` are empty) was lost.
    """
    chunks = connection.execute(
        """
        SELECT c.upload, c.n, u.plan ->> 'tier', u.tenant
        FROM rowmill.upload u JOIN rowmill.chunk c ON c.upload = u.number
        WHERE u.finished_at IS NULL AND c.state = 'queued'
          AND (c.started_at < now() - make_interval(secs => 2 * %(load)s)
               OR c.sent_at IS NULL AND c.created_at < now() - make_interval(secs => %(load)s)
               OR c.started_at IS NULL AND u.plan ->> 'tier' = ANY(%(idle)s)
                  AND c.sent_at < now() - make_interval(secs => %(load)s))
        ORDER BY c.upload, c.n LIMIT 1000
        """,
        {"load": load_seconds, "idle": list(idle_tiers)},
    ).fetchall()
    stalled = connection.execute(
        """
        SELECT tenant, upload_id FROM rowmill.upload
        WHERE finished_at IS NULL AND state IN ('scanning', 'splitting')
          AND scan_seen_at < now() - make_interval(secs => %s)
        """,
        (stalled_seconds,),
    ).fetchall()
    return Stuck([(u, n, t, w) for u, n, t, w in chunks], [(t, i) for t, i in stalled])
