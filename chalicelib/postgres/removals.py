"""Uploads that were deleted: their entries stay, as tombstones, until nothing of them can come any more, and after.

An upload's number is in its rows' lineage, and queues may hold messages of it for 15 days. So its announcement says
that it was deleted, its ledger row and chunks keep their counts, and all that is of the file goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg import sql
from psycopg.rows import class_row

from chalicelib.journey import HANDMADE, VERBS, Number, lineages
from chalicelib.postgres import changes, ledger, pictures, proofs, retries, timeline
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.timeline import Asker

AGAIN_SECONDS: Final = 3600  # after the last moment at which a form could be used: what was under way then is in
MOST_AT_ONCE: Final = 100_000  # rows of a table, about a second
_OF_THE_FILE: Final = (
    *("reject", "cause", "remedy", "contested", "fingerprint", "guess", "segment", "key_hash", "profile"),
    *("conflict", "lost"),
)
# Of an entry in the ledger, what says something of the file: profiles hold values, plans names of columns.
BLANK: Final = "plan = NULL, piece = NULL, profile = NULL, drift = NULL, dialect = '{}'"
NOT_BLANK: Final = "(num_nonnulls(plan, piece, profile, drift) > 0 OR dialect <> '{}')"
_OPTIONS_OF_THE_FILE: Final = ("mapping", "sheet", "dataset", "fix", "notify")


@dataclass(frozen=True, slots=True)
class Removal:
    """A deleted upload of which something may be left. `number`: None if no splitter has met it."""

    tenant: str
    upload_id: str
    number: Number | None
    multipart_id: str | None
    erase_rows: bool


def mark(
    connection: Connection, tenant: str, upload_id: str, number: Number | None, by: Asker, *, rows: bool = False
) -> bool:
    """Delete an upload, its `rows` too: nobody is shown it from now on. False if it is deleted, or under way again."""
    with connection.transaction():
        if number is not None:
            ledger.lock_upload(connection, number, shared=False)  # a redrive holds it, too
        marked = connection.execute(
            """
            UPDATE rowmill.announcement a
            SET deleted_at = now(), purge_at = now(), closed = coalesce(closed, 'canceled'), erase_rows = %s
            WHERE tenant = %s AND upload_id = %s AND deleted_at IS NULL AND NOT EXISTS (
                SELECT FROM rowmill.upload u WHERE u.upload_id = a.upload_id AND u.state <> ALL(%s))
            """,
            (rows, tenant, upload_id, list(VERBS["delete"])),
        )
        if marked.rowcount:
            connection.execute(
                "UPDATE rowmill.upload SET projected_at = 'infinity', review = NULL WHERE upload_id = %s", (upload_id,)
            )
            if number is not None:
                proofs.forget(connection, number)
            timeline.note(connection, upload_id, "delete", by)
    return marked.rowcount == 1


def mark_rows(connection: Connection, tenant: str, upload_id: str) -> None:
    """Have the rows go, too, of an upload that was deleted without them."""
    connection.execute(
        "UPDATE rowmill.announcement SET erase_rows = true, purge_at = deleted_at"
        " WHERE tenant = %s AND upload_id = %s AND deleted_at IS NOT NULL AND NOT erase_rows",
        (tenant, upload_id),
    )


def is_deleted(connection: Connection, tenant: str, upload_id: str) -> bool:
    """Whether a tenant's upload was deleted."""
    row = connection.execute(
        "SELECT deleted_at IS NOT NULL FROM rowmill.announcement WHERE tenant = %s AND upload_id = %s",
        (tenant, upload_id),
    ).fetchone()
    return bool(row and row[0])


def list_due(connection: Connection, most: int) -> list[Removal]:
    """Deleted uploads whose files and rows are still to be removed, those that wait longest first."""
    with connection.cursor(row_factory=class_row(Removal)) as cursor:
        return cursor.execute(
            """
            SELECT a.tenant, a.upload_id, u.number, a.item ->> 'multipart_id' AS multipart_id, erase_rows
            FROM rowmill.announcement a LEFT JOIN rowmill.upload u USING (upload_id)
            WHERE purge_at <= clock_timestamp() ORDER BY purge_at LIMIT %s
            """,
            (most,),
        ).fetchall()


def purge(connection: Connection, number: Number) -> bool:
    """Remove what the ledger holds of an upload's file, so much at once; whether nothing is left."""
    retries.forget_failed(connection, number)
    return all(_empty(connection, table, number) for table in _OF_THE_FILE) and _empty_before(connection, number)


def _empty(connection: Connection, table: str, number: Number) -> bool:
    gone = connection.execute(
        f"DELETE FROM rowmill.{table} WHERE ctid = ANY(ARRAY("
        f"SELECT ctid FROM rowmill.{table} WHERE upload = %s LIMIT {MOST_AT_ONCE}))",
        (number,),
    )
    return gone.rowcount < MOST_AT_ONCE


def _empty_before(connection: Connection, number: Number) -> bool:
    """What rows were before this upload, or before a hand changed its own: it cannot be undone any more."""
    row = connection.execute(
        "SELECT to_regclass(format('data.d_%%s_before', dataset))::text FROM rowmill.upload WHERE number = %s",
        (number,),
    ).fetchone()
    if row is None or row[0] is None:
        return True
    low, high = lineages(number)
    gone = connection.execute(
        f"DELETE FROM {row[0]} WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM {0} WHERE _row_after BETWEEN %(low)s AND %(high)s"
        " UNION ALL SELECT ctid FROM {0} WHERE _row BETWEEN %(low)s AND %(high)s AND _row_by = %(hand)s"
        " LIMIT %(most)s))".format(row[0]),
        {"low": low, "high": high, "hand": HANDMADE, "most": MOST_AT_ONCE},
    )
    return gone.rowcount < MOST_AT_ONCE


def erase_rows(connection: Connection, number: Number) -> bool:
    """Delete the rows that the dataset's table has of an upload, so many at once, and what is kept of those that
    somebody wrote over; whether none is left. Rows that refer to them stay.
    """
    row = connection.execute(
        "SELECT dataset, descriptor ->> 'identity' FROM rowmill.upload u JOIN rowmill.dataset d ON d.number = dataset"
        " WHERE u.number = %s AND to_regclass(format('data.d_%%s', dataset)) IS NOT NULL",
        (number,),
    ).fetchone()
    if row is None:
        return True
    dataset, identity = row
    table, before = sql.Identifier("data", f"d_{dataset}"), sql.Identifier("data", f"d_{dataset}_before")
    with connection.transaction():
        gone = _delete_some(connection, table, number, sql.Identifier(identity or "_row"))
        if identity is not None:
            pictures.abandon_all(connection, dataset, gone)
        images = _delete_some(connection, before, number, sql.Identifier("_row"))
        changes.note(connection, dataset)
    return not gone and not images


def _delete_some(connection: Connection, table: sql.Identifier, number: Number, told: sql.Identifier) -> list[int]:
    """The first rows of an upload that there are, by ranges of `_row`: its index finds blocks, and nothing by one."""
    low, high = lineages(number)
    lowest = connection.execute(
        sql.SQL("SELECT min(_row) FROM {} WHERE _row BETWEEN {} AND {}").format(table, low, high)
    ).fetchone()
    if lowest is None or lowest[0] is None:
        return []
    rows = connection.execute(
        sql.SQL("DELETE FROM {} WHERE _row BETWEEN {} AND {} RETURNING {}").format(
            table, lowest[0], min(high, lowest[0] + MOST_AT_ONCE - 1), told
        )
    )
    return [one for (one,) in rows]


def note_purged(connection: Connection, upload_id: str) -> None:
    """All of an upload is removed that was there; once more when nothing of it can have been under way any more.

    Its entry in the ledger says how it ended, and nothing of the file. Whose rejects it had brought in, if its rows are
    removed, is to be shown anew.
    """
    connection.execute(
        f"UPDATE rowmill.upload SET {BLANK}, options = options - %s::text[], error = error - %s::text[]"
        " WHERE upload_id = %s",
        (list(_OPTIONS_OF_THE_FILE), ["detail", "errors"], upload_id),
    )
    connection.execute(
        """
        WITH purged AS (
            UPDATE rowmill.announcement
            SET idempotency = NULL, item = CASE WHEN item ? 'parent_id'
                                                THEN jsonb_build_object('parent_id', item -> 'parent_id') ELSE '{}' END,
                purge_at = CASE WHEN purge_at = deleted_at
                                THEN greatest(closes_at, clock_timestamp()) + make_interval(secs => %s) END
            WHERE upload_id = %s RETURNING item ->> 'parent_id' AS parent_id, erase_rows)
        UPDATE rowmill.upload u SET projected_at = '-infinity' FROM purged
        WHERE u.upload_id = purged.parent_id AND erase_rows AND projected_at <> 'infinity'
        """,
        (AGAIN_SECONDS, upload_id),
    )
