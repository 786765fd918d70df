"""What a sweep looks for: work that nobody does any more. Judged by Postgres' clock and locks alone.

A worker holds its chunk's advisory lock while it works, a splitter its upload's, and a session's locks go with the
session. So a killed worker is known at once, a slow one is left alone, and no other machine's clock matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chalicelib.journey import Number, Pass
from chalicelib.postgres import locks
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.verdicts import CLEARED

GRACE_SECONDS: Final = 5  # between two statements of a worker that is well
PASSED_SECONDS: Final = 10

# Locks with one key of 64 bits (objsubid 1) are chunks', those with two keys of 32 bits (objsubid 2) uploads'.
_LOCKS: Final = f"""
    here AS (SELECT oid FROM pg_database WHERE datname = current_database()),
    at_work AS MATERIALIZED (
        SELECT classid::bigint AS upload, objid::bigint AS n, pid FROM pg_locks, here
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND database = here.oid),
    splitting AS MATERIALIZED (
        SELECT objid::bigint AS upload, pid FROM pg_locks, here
        WHERE locktype = 'advisory' AND objsubid = 2 AND classid = {locks.SPLIT} AND granted AND database = here.oid)
"""


@dataclass(frozen=True, slots=True)
class StuckChunk:
    """A chunk to send again, and to which queue."""

    upload: Number
    reading: Pass
    n: int
    tier: str
    tenant: str


def find_stuck_chunks(
    connection: Connection, lost_seconds: float, idle_tiers: Sequence[str], most: int
) -> list[StuckChunk]:
    """Chunks whose worker is gone, whose splitter never sent them, or whose message is gone.

    A message is gone if its tier's queue is idle, or if the queue has given out later ones of the same tenant.
    """
    rows = connection.execute(
        f"""
        WITH {_LOCKS},
        queued AS (
            SELECT c.*, u.tenant, u.plan ->> 'tier' AS tier, {CLEARED} AS may_load
            FROM rowmill.upload u JOIN rowmill.chunk c ON c.upload = u.number AND c.state = 'queued'
            WHERE u.finished_at IS NULL AND u.plan IS NOT NULL AND u.state <> 'paused'),
        passed AS (
            SELECT u.tenant, u.plan ->> 'tier' AS tier,
                   max(c.sent_at) - make_interval(secs => {PASSED_SECONDS}) AS before
            FROM rowmill.upload u JOIN rowmill.chunk c ON c.upload = u.number
            WHERE u.finished_at IS NULL AND c.attempts > 0 GROUP BY 1, 2)
        SELECT upload, pass, n, tier, tenant FROM queued c
        WHERE NOT EXISTS (SELECT FROM at_work w WHERE w.upload = c.upload AND w.n = c.n) AND CASE
            WHEN NOT may_load THEN false
            WHEN started_at IS NOT NULL THEN true
            WHEN sent_at IS NULL THEN created_at < clock_timestamp() - make_interval(secs => {GRACE_SECONDS})
                AND NOT EXISTS (SELECT FROM splitting s WHERE s.upload = c.upload)
            ELSE sent_at < clock_timestamp() - make_interval(secs => %(lost)s) AND (
                tier = ANY(%(idle)s)
                OR sent_at < (SELECT before FROM passed p WHERE p.tenant = c.tenant AND p.tier = c.tier)
                OR sent_at < clock_timestamp() - make_interval(secs => 10 * %(lost)s))
            END
        ORDER BY upload, n LIMIT %(most)s
        """,
        {"lost": lost_seconds, "idle": list(idle_tiers), "most": most},
    )
    return [StuckChunk(*row) for row in rows]


def take_stalled_scans(connection: Connection) -> list[tuple[str, str]]:
    """Uploads (tenant, id) that should be split and that no splitter holds; each is named once in a while.

    As that hides whether Postgres was started anew since, attempts before that are forgotten here (ledger.count_scan).
    """
    return connection.execute(
        f"""
        WITH {_LOCKS}
        UPDATE rowmill.upload u SET scan_seen_at = clock_timestamp(),
            scan_attempts = CASE WHEN scan_seen_at < pg_postmaster_start_time() THEN 0 ELSE scan_attempts END
        WHERE finished_at IS NULL AND state IN ('scanning', 'splitting')
          AND scan_seen_at < clock_timestamp() - make_interval(secs => {GRACE_SECONDS})
          AND NOT EXISTS (SELECT FROM splitting s WHERE s.upload = u.number)
        RETURNING tenant, upload_id
        """
    ).fetchall()


def end_hung_sessions(connection: Connection, load_seconds: float, scan_seconds: float) -> int:
    """Close sessions that hold a chunk or a scan for longer than their function may run; how many there were.

    What is left of a worker whose machine vanished without closing its connection. Not a splitter that reads rejects
    again: it can give no sign, and Postgres itself ends a transaction in which nothing is asked for a minute.
    """
    rows = connection.execute(
        f"""
        WITH {_LOCKS}
        SELECT pg_terminate_backend(pid) FROM (
            SELECT w.pid FROM at_work w JOIN rowmill.chunk c ON c.upload = w.upload AND c.n = w.n
            WHERE c.state = 'queued' AND c.started_at < clock_timestamp() - make_interval(secs => %s)
            UNION
            SELECT s.pid FROM splitting s JOIN rowmill.upload u ON u.number = s.upload
            WHERE u.finished_at IS NULL AND u.scan_seen_at < clock_timestamp() - make_interval(secs => %s)
              AND NOT EXISTS (SELECT FROM pg_locks t WHERE t.locktype = 'advisory' AND t.objsubid = 2
                              AND t.classid = {locks.TAKE} AND t.granted AND t.pid = s.pid)
        ) hung
        """,
        (load_seconds, scan_seconds),
    ).fetchall()
    return len(rows)
