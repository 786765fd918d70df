"""How the whole deployment is, by what Postgres knows: for the operator, and twice a minute for CloudWatch.

Counts alone: nothing here names a tenant, an upload or a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row

from chalicelib.postgres import locks
from chalicelib.postgres.connection import Connection

STUCK_SECONDS: Final = 900  # longer than a scan may be silent: a file is unpacked for as long at most
_LATEST_UPLOADS: Final = 2000  # that are looked at for chunks that are in
_RESTING: Final = ("paused", "needs_review")


@dataclass(frozen=True, slots=True)
class Pulse:
    """Uploads that are under way; those of them of which nothing has moved for `STUCK_SECONDS`; connections."""

    running: int
    stuck: int
    connections: int


def pulse(connection: Connection) -> Pulse:
    """What is told twice a minute.

    An upload moves when a chunk of it is cut, begun or done, or when its state changes. One into a dataset with a pace
    may wait for days, one that is paused or to be reviewed for ever.
    """
    with connection.cursor(row_factory=class_row(Pulse)) as cursor:
        found = cursor.execute(
            """
            WITH open AS MATERIALIZED (
                SELECT number, upload_id, created_at, dataset FROM rowmill.upload
                WHERE (finished_at IS NULL OR finished_at >= projected_at)  -- as the index has it
                  AND finished_at IS NULL AND state <> ALL(%(resting)s))
            SELECT count(*)::int AS running,
                   (count(*) FILTER (WHERE NOT coalesce(d.descriptor ? 'max_rows_per_second', false)
                       AND greatest(u.created_at, e.at, c.at)
                           < clock_timestamp() - make_interval(secs => %(stuck)s)))::int AS stuck,
                   -- What kind of process it is a role is told of its own sessions alone.
                   (SELECT count(*)::int FROM pg_stat_activity
                    WHERE usesysid IS NOT NULL AND datid IS NOT NULL) AS connections
            FROM open u LEFT JOIN rowmill.dataset d ON d.number = u.dataset
                CROSS JOIN LATERAL (SELECT max(at) AS at FROM rowmill.event WHERE upload_id = u.upload_id) e
                CROSS JOIN LATERAL (SELECT max(greatest(created_at, started_at, finished_at)) AS at
                                    FROM rowmill.chunk WHERE upload = u.number) c
            """,
            {"resting": list(_RESTING), "stuck": STUCK_SECONDS},
        ).fetchone()
    assert found is not None
    return found


def look(connection: Connection) -> dict[str, Any]:
    """What an operator watches: uploads by state, who is at work, what waits how long, rows and chunks of a minute."""
    here = pulse(connection)
    return {
        "uploads": dict(_uploads(connection)),
        "stuck": here.stuck,
        "connections": {"used": here.connections, "most": _most_connections(connection)},
        "workers": dict(_workers(connection)),
        "waiting": {tier: {"chunks": chunks, "oldest_s": age} for tier, chunks, age in _waiting(connection)},
        "untold": _untold(connection),
        "last_minute": _last_minute(connection),
    }


def _most_connections(connection: Connection) -> int:
    row = connection.execute("SHOW max_connections").fetchone()
    assert row is not None
    return int(row[0])


def _uploads(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT state, count(*) FROM rowmill.upload WHERE finished_at IS NULL GROUP BY 1"
    ).fetchall()


def _workers(connection: Connection) -> list[tuple[Any, ...]]:
    """By the locks that they hold. One that was killed has none."""
    return connection.execute(
        f"""
        SELECT CASE WHEN objsubid = 1 THEN CASE WHEN objid::bigint < 1::bigint << 31 THEN 'load' ELSE 'split' END
                    WHEN classid = {locks.SPLIT} THEN 'split' WHEN classid = {locks.SETTLE} THEN 'settle'
                    ELSE 'receipt' END, count(*)
        FROM pg_locks JOIN pg_database d ON d.oid = database AND datname = current_database()
        WHERE locktype = 'advisory' AND granted
          AND (objsubid = 1 OR classid IN ({locks.SPLIT}, {locks.SETTLE}, {locks.PROOF})) GROUP BY 1
        """
    ).fetchall()


def _waiting(connection: Connection) -> list[tuple[Any, ...]]:
    """Chunks by tier that no worker has begun, and the age of the oldest message."""
    return connection.execute(
        """
        SELECT u.plan ->> 'tier', count(*), date_part('epoch', clock_timestamp() - min(c.sent_at))
        FROM rowmill.upload u JOIN rowmill.chunk c ON c.upload = u.number AND c.pass = u.pass
        WHERE u.finished_at IS NULL AND u.plan IS NOT NULL AND u.state <> 'paused'
          AND c.state = 'queued' AND c.started_at IS NULL GROUP BY 1
        """
    ).fetchall()


def _untold(connection: Connection) -> dict[str, Any]:
    """Ends that nobody has been told of, and the age of the oldest."""
    row = connection.execute(
        "SELECT count(*), date_part('epoch', clock_timestamp() - min(created_at)) FROM rowmill.outbox"
        " WHERE sent_at IS NULL"
    ).fetchone()
    assert row is not None
    return {"events": row[0], "oldest_s": row[1]}


def _last_minute(connection: Connection) -> dict[str, Any]:
    """What is in since a minute ago, and since ten seconds, which is the rate."""
    row = connection.execute(
        f"""
        SELECT count(*), coalesce(sum(rows), 0)::bigint, coalesce(sum(rejected), 0)::bigint,
               coalesce(sum(rows) FILTER (WHERE finished_at > clock_timestamp() - interval '10 s'), 0)::float8 / 10
        FROM (SELECT c.*, c.loaded + c.updated + c.contested AS rows
              FROM (SELECT number, finished_at FROM rowmill.upload ORDER BY number DESC LIMIT {_LATEST_UPLOADS}) u
              JOIN rowmill.chunk c ON c.upload = u.number AND c.pass = 'load' AND c.state = 'loaded'
                AND c.finished_at > clock_timestamp() - interval '1 minute'
              WHERE u.finished_at IS NULL OR u.finished_at > clock_timestamp() - interval '1 minute') lately
        """
    ).fetchone()
    assert row is not None
    return {"chunks": row[0], "rows": row[1], "rejected": row[2], "rows_per_second": row[3]}
