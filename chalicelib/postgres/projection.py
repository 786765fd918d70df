"""What the status table is to show of an upload, and which uploads it is still to be shown for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.rows import dict_row

from chalicelib.journey import Number, rank
from chalicelib.postgres import ledger
from chalicelib.postgres.connection import Connection

MOST_PAUSED: Final = 200  # uploads that one sweep shows, a few seconds: there may be thousands
PACED: Final = timedelta(minutes=5)  # chunks begun since then tell how fast loading is now

# Under way, or its end, or that it waits for somebody, has not been shown.
_OPEN: Final = "(finished_at IS NULL OR finished_at >= projected_at)"  # as the index has it
DUE: Final = f"{_OPEN} AND (review_at IS NULL OR review_at >= projected_at)"


# An upload's chunks in a few groups: as many as there are, each is looked at once. `age` is the time at work.
_GROUPS: Final = """
    SELECT pass, state, started_at > statement_timestamp() - %(paced)s AND state = 'loaded' AS is_recent,
           count(*) AS chunks, sum(records) AS records, sum(byte_end - byte_start) AS bytes, sum(attempts) AS attempts,
           sum(loaded) AS loaded, sum(updated) AS updated, sum(skipped) AS skipped, sum(rejected) AS rejected,
           sum(contested) AS contested, count(started_at) AS begun, min(started_at) AS started_from,
           min(created_at) AS cut_from, max(created_at) AS cut_until, max(finished_at) AS finished_until,
           min(finished_at) FILTER (WHERE loaded + updated > 0) AS visible_from,
           date_part('epoch', sum(coalesce(finished_at, statement_timestamp()) - started_at)) AS age,
           -- Only where it is asked for: of a file of a billion rows this is most of the work.
           sum(CASE WHEN state = 'loaded' AND started_at > statement_timestamp() - %(paced)s
               THEN date_part('epoch', finished_at - started_at) ^ 2 END) AS squares
    FROM rowmill.chunk WHERE upload = u.number
    GROUP BY 1, 2, 3
"""
# What the status says of the pass that the upload is in (`is_now`; `is_cut` leaves out what settling corrects) …
_SHOWN: Final = """
    coalesce(sum(chunks) FILTER (WHERE is_now AND is_cut AND state <> 'queued'), 0)::bigint AS chunks_done,
    coalesce(sum(bytes) FILTER (WHERE is_now AND state <> 'queued'), 0)::bigint AS bytes_done,
    coalesce(sum(loaded) FILTER (WHERE is_now), 0)::bigint AS loaded,
    coalesce(sum(updated) FILTER (WHERE is_now), 0)::bigint AS updated,
    coalesce(sum(skipped) FILTER (WHERE is_now), 0)::bigint AS skipped,
    coalesce(sum(rejected) FILTER (WHERE is_now), 0)::bigint AS rejected,
    coalesce(sum(contested) FILTER (WHERE is_now), 0)::bigint AS contested,
    min(started_from) FILTER (WHERE is_now) AS first_started_at,
    min(visible_from) FILTER (WHERE is_now) AS first_visible_at,
    coalesce(sum(records) FILTER (WHERE is_now AND state IN ('dead', 'canceled')), 0)::bigint AS given_up,
    coalesce(sum(records) FILTER (WHERE is_now AND state = 'loaded'), 0)::bigint AS records_done
"""
# … how fast its chunks load lately, and how far those in hand are …
_PACED: Final = """
    coalesce(sum(begun) FILTER (WHERE is_now AND state = 'queued'), 0)::bigint AS begun,
    coalesce(sum(age) FILTER (WHERE is_now AND state = 'queued'), 0) AS begun_s,
    coalesce(sum(chunks) FILTER (WHERE is_now AND is_recent), 0)::bigint AS paced,
    coalesce(sum(age) FILTER (WHERE is_now AND is_recent), 0) AS paced_s,
    coalesce(sum(squares) FILTER (WHERE is_now AND is_recent), 0) AS paced_squares,
    coalesce(sum(bytes) FILTER (WHERE is_now AND is_recent), 0)::bigint AS paced_bytes,
    coalesce(sum(records) FILTER (WHERE is_now AND is_recent), 0)::bigint AS paced_records,
    date_part('epoch', clock_timestamp()
        - min(started_from) FILTER (WHERE is_now AND (is_recent OR state = 'queued'))) AS paced_for_s
"""
# … and what all passes have taken, for the bill.
_TAKEN: Final = """
    greatest(1, count(DISTINCT pass) FILTER (WHERE is_cut)) AS passes,
    coalesce(sum(chunks) FILTER (WHERE is_cut), 0)::bigint AS chunks_cut,
    coalesce(sum(attempts), 0)::bigint AS attempts,
    coalesce(sum(bytes) FILTER (WHERE state = 'loaded'), 0)::bigint AS bytes_cut,
    coalesce(sum(age) FILTER (WHERE state = 'loaded'), 0) AS load_s,
    max(cut_until) FILTER (WHERE pass = 'check') AS checked_until,
    min(cut_from) FILTER (WHERE pass = 'load') AS cut_from, max(cut_until) FILTER (WHERE pass = 'load') AS cut_until,
    coalesce(date_part('epoch', max(finished_until) FILTER (WHERE pass = 'settle')
        - max(finished_until) FILTER (WHERE pass = 'load')), 0)
    + coalesce(date_part('epoch', max(finished_until) FILTER (WHERE pass = 'settle_check')
        - max(finished_until) FILTER (WHERE pass = 'check')), 0) AS settle_s
"""


def snapshot(connection: Connection, number: int) -> dict[str, Any] | None:
    """What the status says of an upload: absolute values, one statement, one moment.

    What is `paced` tells how fast its chunks load lately, what is `begun` how far those in hand are.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            SELECT u.number, u.tenant, u.upload_id, u.generation, u.turns, u.pass AS reading, u.mode, u.options,
                   u.first_load, {ledger.WHOLE} AS is_whole,
                   u.review, u.drift, u.rows_total, u.scanner, u.verdict, u.threat,
                   u.chunks_total, u.error,
                   {ledger.SHOWN_STATE} AS state,
                   coalesce(r.chunks, 0) AS chunks_undone, coalesce(r.reverted_rows, 0) AS reverted_rows,
                   coalesce(r.restored_rows, 0) AS restored_rows, coalesce(r.conflicts, 0) AS conflicts,
                   (SELECT epoch FROM rowmill.epoch) AS epoch,
                   coalesce((u.piece ->> 'size')::bigint, u.bytes_total) AS bytes_total,
                   u.plan, u.stored_at, u.split_at, u.finished_at,
                   c.chunks_done, c.bytes_done, c.updated, c.skipped, c.rejected, c.first_started_at, c.contested,
                   CASE u.pass WHEN 'load' THEN c.loaded ELSE 0 END AS loaded,
                   CASE u.pass WHEN 'load' THEN greatest(0, c.loaded + c.updated
                       - coalesce(r.reverted_rows + r.restored_rows, 0)) ELSE 0 END AS rows_visible,
                   CASE u.pass WHEN 'load' THEN c.first_visible_at END AS first_visible_at,
                   CASE WHEN u.finished_at IS NOT NULL OR u.state = 'reverting' THEN 0
                        WHEN u.pass = 'check' THEN c.loaded
                        -- They load all at once, or never.
                        WHEN {ledger.WHOLE} THEN c.contested ELSE 0 END AS valid,
                   -- What was only checked when the upload ended has not been processed.
                   c.given_up + CASE WHEN u.finished_at IS NULL AND u.state <> 'reverting' THEN 0
                                WHEN u.pass = 'check' THEN c.loaded ELSE c.contested END AS unprocessed,
                   c.records_done, clock_timestamp() AS seen_at,
                   (SELECT (descriptor ->> 'max_rows_per_second')::float8 FROM rowmill.dataset d
                    WHERE d.number = u.dataset) AS max_rate,
                   c.begun, c.begun_s, c.paced, c.paced_s, c.paced_squares, c.paced_bytes, c.paced_records,
                   c.paced_for_s,
                   u.bytes_total AS bytes_stored, u.piece IS NOT NULL AS is_piece, u.settle_attempts,
                   c.passes, c.chunks_cut, c.attempts, c.bytes_cut, c.load_s, c.settle_s,
                   -- The pass that loads what was checked begins with its first chunk; who knows when it was sent for.
                   coalesce(date_part('epoch', coalesce(c.checked_until, c.cut_until) - u.created_at), 0)
                   + CASE WHEN c.passes > 1 THEN date_part('epoch', c.cut_until - c.cut_from) ELSE 0 END AS scan_s,
                   date_part('epoch', coalesce(u.finished_at, clock_timestamp()) - u.created_at) AS lasted_s
            FROM rowmill.upload u LEFT JOIN rowmill.revert r ON r.upload = u.number CROSS JOIN LATERAL (
                SELECT {_SHOWN}, {_PACED}, {_TAKEN}
                FROM (SELECT *, pass IN ('check', 'load') AS is_cut,
                             pass = ANY(CASE u.pass WHEN 'load' THEN '{{load,settle}}'::text[]
                                        ELSE '{{check,settle_check}}' END) AS is_now
                      FROM ({_GROUPS}) grouped) told
            ) c
            WHERE u.number = %(number)s
            """,
            {"number": number, "paced": PACED},
        ).fetchone()


# The upload is one chunk of less than a MiB, and a worker has it or need do nothing before; nor need a scanner.
_IS_NEXT: Final = """
    (u.chunks_total = 1 AND u.state <> 'paused' AND u.verdict IS NOT NULL AND EXISTS (
        SELECT FROM rowmill.chunk c WHERE c.upload = u.number AND c.pass = u.pass AND c.state = 'queued'
           AND c.byte_end - c.byte_start < 1 << 20 AND (c.started_at IS NOT NULL OR NOT EXISTS (
               SELECT FROM rowmill.chunk w JOIN rowmill.upload o ON o.number = w.upload
               WHERE w.state = 'queued' AND w.started_at IS NULL AND w.upload <> u.number AND o.state <> 'paused'))))
"""


def is_due(connection: Connection, number: int) -> bool:
    """Whether the status is to be shown now: the end always, progress if the last time is half a second ago.

    Of a paused upload each time: few chunks are in hand, and nothing would show the last of them later.

    Of callers at the same moment one is told so; the others need not wait for it. Not shown is that the only chunk of
    a small file is next, or in hand: its end is at hand, and if it does not come, the sweep shows it.
    """
    # Losing this mark in a crash costs one more DynamoDB write; waiting for the disk costs every chunk.
    row = connection.execute(
        f"""
        WITH hurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
        due AS (
            UPDATE rowmill.upload SET projected_at = clock_timestamp() FROM hurried WHERE number = (
                SELECT number FROM rowmill.upload u
                WHERE number = %(number)s AND finished_at IS NULL AND NOT {_IS_NEXT}
                  AND (state = 'paused' OR projected_at < clock_timestamp() - interval '500 milliseconds')
                FOR UPDATE SKIP LOCKED)
            RETURNING number
        )
        SELECT FROM due UNION ALL
        SELECT FROM rowmill.upload WHERE number = %(number)s AND coalesce(finished_at, review_at) >= projected_at
        """,
        {"number": number},
    ).fetchone()
    return row is not None


def ranked(seen: Mapping[str, Any]) -> int:
    """The rank of a snapshot."""
    done = seen["chunks_done"] + seen["chunks_undone"]
    return rank(seen["state"], seen["generation"], done, seen["epoch"], seen["reading"], seen["turns"])


def show_again(connection: Connection, upload_ids: Sequence[str]) -> None:
    """Have these uploads shown anew, those that are over too."""
    connection.execute(
        "UPDATE rowmill.upload SET projected_at = '-infinity' WHERE upload_id = ANY(%s)", (list(upload_ids),)
    )


def mark_end_shown(connection: Connection, number: int, finished_at: datetime | None) -> list[str]:
    """This end, or that the upload waits, is in the status table: the sweep need not look after it, unless it has
    another by now. Events still to be told.
    """
    rows = connection.execute(
        """
        WITH shown AS (
            UPDATE rowmill.upload SET projected_at = clock_timestamp()
            WHERE number = %s AND finished_at IS NOT DISTINCT FROM %s AND coalesce(finished_at, review_at) IS NOT NULL
            RETURNING number
        )
        SELECT event_id FROM rowmill.outbox JOIN shown ON upload = number WHERE sent_at IS NULL
        """,
        (number, finished_at),
    )
    return [row[0] for row in rows]


def list_due(connection: Connection) -> list[Number]:
    """Uploads that are not at rest, or whose end has not been shown; and those at rest that are to be canceled.

    Of those that are paused, which may be for ever, only so many, those that were not shown for longest first.
    """
    # Looked up for each: with EXISTS the planner would read all that ever was to be canceled.
    canceling = "(SELECT true FROM rowmill.cancel x WHERE x.upload_id = u.upload_id)"
    rows = connection.execute(
        f"""
        WITH moving AS (
            SELECT number FROM rowmill.upload u
            WHERE {_OPEN} AND (state <> 'paused' AND (review_at IS NULL OR review_at >= projected_at) OR {canceling})
            ORDER BY number
        ), paused AS (
            SELECT number FROM rowmill.upload u
            WHERE {_OPEN} AND state = 'paused' AND {canceling} IS NULL ORDER BY projected_at LIMIT %s
        )
        TABLE moving UNION ALL TABLE paused
        """,
        (MOST_PAUSED,),
    )
    return [Number(row[0]) for row in rows]


def begin_epoch(connection: Connection) -> None:
    """Let what the ledger says now outrank whatever was shown before: it was restored to an earlier time."""
    connection.execute("UPDATE rowmill.epoch SET epoch = epoch + 1")
