"""Rejects that are read again: their causes, a sample of them, and which of them an upload has taken up.

A reject is taken up by one upload at a time: what this one rejects in turn is corrected from there. Who has ended
without a look at some of them (canceled, or deleted) holds no more of them than it has looked at, and settled; who was
reverted or deleted with its rows, or was to load all of them or none and has loaded none, holds none.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from psycopg.rows import dict_row

from chalicelib.formats.sheet import MAX_RAW_BYTES
from chalicelib.postgres import announcements, ledger, locks
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.manifest import NOW_IN
from chalicelib.postgres.outcomes import SAMPLES

MOST_SAMPLED_RAW: Final = 8 * 1024
SPREAD: Final = 1000  # rejects, from all over the file
BATCH: Final = 500


def list_groups(connection: Connection, number: int) -> list[dict[str, Any]]:
    """The errors of an upload by code, column, reason and tags, with their lowest rows, SAMPLES at most."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            SELECT code, field, cause, tags, sum(rejects)::bigint AS errors, min(first_line) AS first_line,
                   max(last_line) AS last_line,
                   (array_agg(samples ORDER BY first_line))[1:{SAMPLES}] AS samples
            FROM rowmill.cause WHERE upload = %(upload)s AND pass = {NOW_IN} GROUP BY code, field, cause, tags
            """,
            {"upload": number},
        ).fetchall()


def count_tags(connection: Connection, number: int) -> dict[str, tuple[int, int]]:
    """Of each tag, how many records have such an error, and how many of them have no other."""
    rows = connection.execute(
        f"""
        SELECT tag, sum(rejects)::bigint, sum(alone)::bigint FROM rowmill.remedy
        WHERE upload = %(upload)s AND pass = {NOW_IN} GROUP BY tag
        """,
        {"upload": number},
    )
    return {tag: (rejects, alone) for tag, rejects, alone in rows}


def sample(connection: Connection, number: int, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Rejects from all over the file, and those of these records: record, errors, raw. None that is very long."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            WITH here AS (SELECT {NOW_IN} AS pass),
            reach AS (SELECT min(record) AS lowest, max(record) AS highest FROM rowmill.reject r
                      WHERE upload = %(upload)s AND r.pass = (SELECT pass FROM here)),
            named AS (SELECT found.record FROM reach,
                             generate_series(lowest, highest, greatest(1, (highest - lowest) / %(spread)s)) place,
                             LATERAL (SELECT record FROM rowmill.reject r
                                      WHERE upload = %(upload)s AND r.pass = (SELECT pass FROM here)
                                        AND record >= place ORDER BY record LIMIT 1) found
                      UNION SELECT unnest(%(rows)s::bigint[]))
            SELECT record, errors, raw FROM named JOIN rowmill.reject r USING (record)
            WHERE r.upload = %(upload)s AND r.pass = (SELECT pass FROM here) AND octet_length(raw) <= %(most)s
            ORDER BY record
            """,
            {"upload": number, "rows": list(rows), "spread": SPREAD, "most": MOST_SAMPLED_RAW},
            binary=True,
        ).fetchall()


def parent_of(connection: Connection, upload_id: str) -> int | None:
    """The number of the upload whose rejects this one reads again."""
    row = connection.execute(
        """
        SELECT u.number FROM rowmill.announcement a JOIN rowmill.upload u ON u.upload_id = a.item ->> 'parent_id'
        WHERE a.upload_id = %s
        """,
        (upload_id,),
    ).fetchone()
    return int(row[0]) if row else None


def is_retry(connection: Connection, upload_id: str) -> bool:
    """Whether an upload was announced as one that brings back rejects, though theirs may be gone since."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM rowmill.announcement WHERE upload_id = %s AND item ? 'parent_id')", (upload_id,)
    ).fetchone()
    return bool(row and row[0])


def holder(connection: Connection, tenant: str, parent_id: str, fixes: Sequence[str]) -> str | None:
    """An upload that reads again what these fixes mend, and holds it: its id.

    Not one from before the end that the parent has: a redrive may have rejected more since.
    """
    row = connection.execute(
        """
        SELECT a.upload_id FROM rowmill.announcement a LEFT JOIN rowmill.upload u USING (upload_id)
        WHERE a.item ->> 'parent_id' = %(parent)s AND a.item ? 'parent_id' AND a.tenant = %(tenant)s
          AND a.deleted_at IS NULL AND a.closed IS DISTINCT FROM 'expired' AND a.closed IS DISTINCT FROM 'canceled'
          AND (a.item ->> 'options')::jsonb -> 'fix' = to_jsonb(%(fixes)s::text[])
          AND coalesce(u.state NOT IN ('canceled', 'failed', 'reverted', 'quarantined'), true)
          AND a.created_at > (SELECT finished_at FROM rowmill.upload WHERE upload_id = %(parent)s)
        ORDER BY a.upload_id DESC LIMIT 1
        """,
        {"parent": parent_id, "tenant": tenant, "fixes": list(fixes)},
    ).fetchone()
    return row[0] if row else None


def try_hold(connection: Connection, parent: int) -> bool:
    """Be the only one who takes up rejects of this upload until the transaction ends, unless somebody is at it."""
    return locks.try_hold(connection, (locks.TAKE, parent))


def list_held(connection: Connection, parent: int, number: int) -> array[int]:
    """The rejects of `parent` that other uploads than `number` hold, or have brought in, ascending."""
    rows = connection.execute(
        f"""
        WITH child AS (
            SELECT u.number, u.options ? 'fix' AS fixes, u.state <> 'canceled' AND a.deleted_at IS NULL AS holds,
                   u.finished_at IS NOT NULL AS over, u.finished_at IS NOT NULL AND {ledger.HIDDEN} AS in_vain
            FROM rowmill.announcement a JOIN rowmill.upload u USING (upload_id)
            WHERE a.item ? 'parent_id' AND u.number <> %(number)s AND u.state <> 'reverted'
              AND NOT {announcements.ROWS_GONE}
              AND a.item ->> 'parent_id' = (SELECT upload_id FROM rowmill.upload WHERE number = %(parent)s))
        SELECT record FROM (
            SELECT unnest(t.records) AS record FROM rowmill.taken t JOIN child c ON c.number = t.upload WHERE c.holds
            UNION
            SELECT named.record FROM rowmill.origin x JOIN child c ON c.number = x.upload,
                   unnest(x.records) WITH ORDINALITY named(record, place)
            WHERE named.record > 0 AND NOT c.in_vain AND (c.fixes OR NOT EXISTS (
                SELECT FROM rowmill.reject r WHERE r.upload = x.upload AND r.pass = 'load'
                   AND r.record = x.first_record + named.place - 1)) AND NOT (c.over AND EXISTS (
                SELECT FROM rowmill.contested o WHERE o.upload = x.upload
                   AND o.record = x.first_record + named.place - 1))) held
        ORDER BY record
        """,
        {"parent": parent, "number": number},
        binary=True,
    )
    return array("q", (row[0] for row in rows))


def list_again(connection: Connection, parent: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The rejects of an upload in file order, in batches as they are used: record, line, raw. Within a transaction.

    None that a file of rejects does not show whole.
    """
    with connection.cursor("again", row_factory=dict_row) as cursor:
        cursor.execute(
            f"""
            SELECT record, line, raw FROM rowmill.reject
            WHERE upload = %(upload)s AND pass = {NOW_IN} AND octet_length(raw) <= %(most)s ORDER BY record
            """,
            {"upload": parent, "most": MAX_RAW_BYTES},
            binary=True,
        )
        while batch := cursor.fetchmany(BATCH):
            yield batch


def is_kept(connection: Connection, number: int) -> bool:
    """Whether an upload's rejects are all there: it was not deleted, nor kept long enough."""
    row = connection.execute(
        """
        SELECT files_gone_at IS NULL AND NOT EXISTS (
            SELECT FROM rowmill.announcement a WHERE a.upload_id = u.upload_id AND deleted_at IS NOT NULL)
        FROM rowmill.upload u WHERE number = %s
        """,
        (number,),
    ).fetchone()
    return bool(row and row[0])


def take(connection: Connection, number: int, first_record: int, records: Sequence[int], lines: Sequence[int]) -> None:
    """Note which rejects an upload's records are, from `first_record` on, and their lines."""
    connection.execute(
        "INSERT INTO rowmill.taken (upload, first_record, records, lines) VALUES (%s, %s, %s::bigint[], %s::bigint[])",
        (number, first_record, list(records), list(lines)),
    )


def places(connection: Connection, number: int, first: int, count: int) -> tuple[list[int], list[int]]:
    """Which rejects these records of an upload are, and their lines in the parent's file."""
    rows = connection.execute(
        """
        SELECT o.record, o.line
        FROM rowmill.taken t, unnest(t.records, t.lines) WITH ORDINALITY o(record, line, place)
        WHERE t.upload = %(upload)s AND t.first_record < %(end)s AND t.first_record > %(first)s - %(batch)s
          AND t.first_record + o.place - 1 >= %(first)s AND t.first_record + o.place - 1 < %(end)s
        ORDER BY t.first_record, o.place
        """,
        {"upload": number, "first": first, "end": first + count, "batch": BATCH},
        binary=True,
    ).fetchall()
    return [record for record, _ in rows], [line for _, line in rows]


def of_records(connection: Connection, number: int, records: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Which reject each of these records of an upload is, and its line in the parent's file."""
    rows = connection.execute(
        """
        SELECT r.record, t.records[r.record - t.first_record + 1], t.lines[r.record - t.first_record + 1]
        FROM unnest(%(records)s::bigint[]) r(record), LATERAL (
            SELECT first_record, records, lines FROM rowmill.taken
            WHERE upload = %(upload)s AND first_record <= r.record ORDER BY first_record DESC LIMIT 1) t
        """,
        {"upload": number, "records": list(records)},
        binary=True,
    )
    return {record: (origin, line) for record, origin, line in rows}
