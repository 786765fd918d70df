"""Uploads that bring back what another rejected: whose records they were, and how many of them are in by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.postgres.connection import Connection


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

    `rank` grows with every retry and every end of one, so that a late write of the status loses.
    """

    children: list[str]
    resolved: int
    rank: int


def family(connection: Connection, tenant: str, parent_id: str) -> Family:
    """What has become of an upload's rejects, by its retries that have ended.

    A retry whose records name the rejects they were resolves those that are in (loaded, updated or skipped), each
    once, whatever number of retries names it. One that names none resolves as many as it has records that are in.
    """
    row = connection.execute(
        """
        WITH child AS (
            SELECT a.upload_id, u.number, u.plan -> 'own' -> '_row' IS NOT NULL AS names,
                   u.finished_at IS NOT NULL AS over
            FROM rowmill.announcement a LEFT JOIN rowmill.upload u USING (upload_id)
            WHERE a.item ->> 'parent_id' = %(parent)s AND a.item ? 'parent_id' AND a.tenant = %(tenant)s),
        named AS (
            SELECT o.record FROM child c JOIN rowmill.origin x ON x.upload = c.number
            CROSS JOIN LATERAL unnest(x.records) WITH ORDINALITY o(record, place)
            WHERE c.over AND c.names AND o.record > 0
              AND NOT EXISTS (SELECT FROM rowmill.reject r
                              WHERE r.upload = x.upload AND r.pass = 'load'
                                AND r.record = x.first_record + o.place - 1)
              AND NOT EXISTS (SELECT FROM rowmill.contested r
                              WHERE r.upload = x.upload AND r.record = x.first_record + o.place - 1))
        SELECT (SELECT coalesce(array_agg(upload_id ORDER BY upload_id), '{}') FROM child),
               (SELECT count(*) FROM rowmill.reject r JOIN rowmill.upload u ON u.number = r.upload
                WHERE u.upload_id = %(parent)s AND r.pass = u.pass AND r.record IN (SELECT record FROM named))
               + (SELECT coalesce(sum(loaded + updated + skipped), 0)::bigint
                  FROM rowmill.chunk k JOIN child c ON c.number = k.upload
                  WHERE c.over AND NOT c.names AND k.pass IN ('load', 'settle')),
               (SELECT epoch FROM rowmill.epoch) * 1000000000000
               + (SELECT count(*) FROM child)
               + (SELECT count(*) FROM rowmill.outbox e JOIN child c ON c.number = e.upload)
        """,
        {"parent": parent_id, "tenant": tenant},
    ).fetchone()
    assert row is not None
    return Family(*row)
