"""Uploads that bring back what another rejected: whose records they were, and how many of them are in by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

from chalicelib.postgres import announcements, ledger
from chalicelib.postgres.connection import Connection

MOST_SECONDS: Final = 10  # three million records of retries; whoever shows an end has other ends to show


def add_origins(connection: Connection, number: int, first_record: int, origins: Sequence[int]) -> None:
    """Keep, with a chunk of a corrected file, which record of the parent each of its records was (0: none)."""
    connection.execute(
        "INSERT INTO rowmill.origin (upload, first_record, records) VALUES (%s, %s, %s::bigint[])",
        (number, first_record, list(origins)),
    )


def concerned(connection: Connection, upload_id: str) -> list[str]:
    """The uploads whose family changes when this one ends: its parent, and itself if it has children."""
    rows = connection.execute(
        """
        SELECT item ->> 'parent_id' FROM rowmill.announcement WHERE upload_id = %(id)s AND item ? 'parent_id'
        UNION ALL
        SELECT %(id)s WHERE EXISTS (SELECT FROM rowmill.announcement WHERE item ->> 'parent_id' = %(id)s
                                    AND item ? 'parent_id')
        """,
        {"id": upload_id},
    )
    return [row[0] for row in rows]


@dataclass(frozen=True, slots=True)
class Family:
    """An upload's retries, the oldest first, and how many of its rejected records they have brought in.

    `rank` grows with every retry, and every end and deletion of one or of its rows: a late write of the status loses.
    """

    children: list[str]
    resolved: int | None  # None: too many to be counted on the way, or its rejects are kept no longer
    rank: int


def family(connection: Connection, tenant: str, parent_id: str) -> Family:
    """What has become of an upload's rejects, by its retries that have ended.

    A retry whose records name the rejects they were resolves those that are in (loaded, updated or skipped), each
    once, whatever number of retries names it. One that names none resolves as many as it has records that are in. What
    a retry that was deleted has brought in is counted as before, until its rows are deleted, too.
    """
    row = connection.execute(
        f"""
        WITH child AS (
            SELECT a.upload_id, u.number,
                   -- The plan of one that was deleted is not kept.
                   EXISTS (SELECT FROM rowmill.origin x WHERE x.upload = u.number) AS names,
                   u.finished_at IS NOT NULL AND NOT {ledger.HIDDEN} AND u.state <> 'reverted'
                   AND NOT {announcements.ROWS_GONE} AS over,
                   a.deleted_at IS NOT NULL AS gone, {announcements.ROWS_GONE} AS rows_gone
            FROM rowmill.announcement a LEFT JOIN rowmill.upload u USING (upload_id)
            WHERE a.item ->> 'parent_id' = %(parent)s AND a.item ? 'parent_id' AND a.tenant = %(tenant)s)
        SELECT array(SELECT upload_id FROM child WHERE NOT gone ORDER BY upload_id),
               array(SELECT number FROM child WHERE over AND names),
               (SELECT coalesce(sum(loaded + updated + skipped), 0)::bigint
                FROM rowmill.chunk k JOIN child c ON c.number = k.upload
                WHERE c.over AND NOT c.names AND k.pass IN ('load', 'settle')),
               (SELECT epoch FROM rowmill.epoch) * 1000000000000
               + (SELECT count(*) + count(*) FILTER (WHERE gone) + count(*) FILTER (WHERE rows_gone) FROM child)
               + (SELECT count(*) FROM rowmill.outbox e JOIN child c ON c.number = e.upload
                  WHERE e.kind <> 'needs_review')
        """,
        {"parent": parent_id, "tenant": tenant},
    ).fetchone()
    assert row is not None
    children, naming, resolved, rank = row
    if naming and _is_gone(connection, parent_id):
        return Family(children, None, rank)
    try:
        return Family(children, resolved + (_count_named(connection, parent_id, naming) if naming else 0), rank)
    except psycopg.errors.QueryCanceled:
        return Family(children, None, rank)


def _is_gone(connection: Connection, parent_id: str) -> bool:
    row = connection.execute(
        "SELECT files_gone_at IS NOT NULL FROM rowmill.upload WHERE upload_id = %s", (parent_id,)
    ).fetchone()
    return bool(row and row[0])


def forget_failed(connection: Connection, number: int) -> None:
    """Let those records of a retry that did not get in name no reject: what says so is about to go."""
    connection.execute(
        """
        UPDATE rowmill.origin x SET records = array(
            SELECT CASE WHEN lost.record IS NULL THEN o.parent_record ELSE 0 END
            FROM unnest(x.records) WITH ORDINALITY o(parent_record, place)
            -- Of these records alone: else each chunk would read what is lost of all.
            LEFT JOIN (SELECT record FROM rowmill.reject WHERE upload = x.upload AND pass = 'load'
                          AND record BETWEEN x.first_record AND x.first_record + cardinality(x.records) - 1
                       UNION SELECT record FROM rowmill.contested WHERE upload = x.upload
                          AND record BETWEEN x.first_record AND x.first_record + cardinality(x.records) - 1) lost
                   ON lost.record = x.first_record + o.place - 1
            ORDER BY o.place)
        WHERE upload = %s
        """,
        (number,),
    )


def _count_named(connection: Connection, parent_id: str, retries: Sequence[int]) -> int:
    """How many of the parent's rejects are records of these retries that are in."""
    with connection.transaction():
        # The planner takes an array of 42,000 for ten rows, and would look each of them up by itself.
        connection.execute("SET LOCAL enable_nestloop = off")
        connection.execute(f"SET LOCAL statement_timeout = '{MOST_SECONDS}s'")
        row = connection.execute(
            """
            WITH named AS MATERIALIZED (
                SELECT x.upload, x.first_record + o.place - 1 AS record, o.parent_record
                FROM rowmill.origin x, unnest(x.records) WITH ORDINALITY o(parent_record, place)
                WHERE x.upload = ANY(%(retries)s) AND o.parent_record > 0),
            out AS MATERIALIZED (
                SELECT upload, record FROM rowmill.reject WHERE upload = ANY(%(retries)s) AND pass = 'load'
                UNION ALL SELECT upload, record FROM rowmill.contested WHERE upload = ANY(%(retries)s))
            SELECT count(*) FROM (
                SELECT DISTINCT parent_record FROM named n
                WHERE NOT EXISTS (SELECT FROM out o WHERE o.upload = n.upload AND o.record = n.record)) resolved
            JOIN rowmill.reject r ON r.record = parent_record
                 AND (r.upload, r.pass) = (SELECT number, pass FROM rowmill.upload WHERE upload_id = %(parent)s)
            """,
            {"parent": parent_id, "retries": list(retries)},
        ).fetchone()
    return int(row[0]) if row else 0
