"""How far the undoing of an upload has got, and which of its rows were left as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import dict_row

from chalicelib.journey import Number, sources
from chalicelib.postgres import ledger
from chalicelib.postgres.connection import Connection

FAILED: Final = {"code": "revert_failed", "detail": "The upload is undone in part; ask again to go on."}


def begin(connection: Connection, number: Number, *, forced: bool) -> bool:
    """Begin to undo an upload that is over, or go on where that failed; False if it is not over, or its files are gone.

    Hold the upload exclusively.
    """
    begun = connection.execute(
        """
        WITH begun AS (
            UPDATE rowmill.upload u
            SET state = 'reverting', generation = generation + 1, error = NULL, finished_at = NULL,
                projected_at = '-infinity', settle_asked_at = NULL, settle_attempts = 0
            WHERE number = %(number)s AND state = ANY(%(sources)s) AND files_gone_at IS NULL AND NOT EXISTS (
                SELECT FROM rowmill.announcement a WHERE a.upload_id = u.upload_id AND deleted_at IS NOT NULL)
            RETURNING number, upload_id
        ), canceled AS (  -- an old wish to cancel has come true
            DELETE FROM rowmill.cancel x USING begun WHERE x.upload_id = begun.upload_id
        )
        INSERT INTO rowmill.revert (upload, forced) SELECT number, %(forced)s FROM begun
        ON CONFLICT (upload) DO UPDATE SET forced = excluded.forced
        """,
        {"number": number, "forced": forced, "sources": sources("reverting")},
    )
    return begun.rowcount == 1


@dataclass(frozen=True, slots=True)
class Next:
    """What is to be undone next: the rows of a chunk's records. None of them: nothing is left."""

    forced: bool
    chunk: int | None
    first_record: int
    records: int


def take(connection: Connection, number: Number) -> Next | None:
    """What is next of an upload that is being undone; nobody else takes it until the transaction ends."""
    held = connection.execute(
        """
        SELECT r.chunk, r.forced FROM rowmill.revert r JOIN rowmill.upload u ON u.number = r.upload
        WHERE r.upload = %s AND u.state = 'reverting' FOR UPDATE OF r
        """,
        (number,),
    ).fetchone()
    if held is None:
        return None
    after, forced = held
    found = connection.execute(
        """
        SELECT n, first_record, records FROM rowmill.chunk
        WHERE upload = %s AND pass = 'load' AND state = 'loaded' AND n > %s ORDER BY n LIMIT 1
        """,
        (number, after),
    ).fetchone()
    return Next(forced, *(found or (None, 0, 0)))


def note(connection: Connection, number: Number, chunk: int, reverted: int, restored: int, conflicts: int) -> None:
    """The rows of this chunk are undone, by whatever attempt. In the transaction that has undone them."""
    connection.execute(
        """
        WITH anew AS (UPDATE rowmill.upload SET settle_attempts = 0 WHERE number = %s)
        UPDATE rowmill.revert SET chunk = %s, chunks = chunks + 1, reverted_rows = reverted_rows + %s,
            restored_rows = restored_rows + %s, conflicts = conflicts + %s
        WHERE upload = %s
        """,
        (number, chunk, reverted, restored, conflicts, number),
    )


def end(connection: Connection, number: Number) -> bool:
    """The upload is undone. One caller wins."""
    return ledger.end(connection, number, "reverted", None, None)


def give_up(connection: Connection, number: Number) -> None:
    """The upload ends as failed, undone in part: every attempt at its next chunk has failed."""
    with connection.transaction():
        if take(connection, number):
            ledger.end(connection, number, "failed", None, FAILED)


def find(connection: Connection, number: Number) -> dict[str, Any] | None:
    """What undoing an upload has come to, as receipts have it; None if it never began."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT reverted_rows, restored_rows, conflicts, forced FROM rowmill.revert WHERE upload = %s", (number,)
        ).fetchone()


def list_conflicts(connection: Connection, number: Number, after: int, limit: int) -> list[dict[str, Any]]:
    """Records whose rows were left, as the API shows them, those after a record. `by`: an upload of the same tenant."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT c.record AS row, c.why, o.upload_id AS by, c.key
            FROM rowmill.conflict c JOIN rowmill.upload u ON u.number = c.upload
            LEFT JOIN rowmill.upload o ON o.number = c.by AND o.tenant = u.tenant
            WHERE c.upload = %s AND c.record > %s ORDER BY c.record LIMIT %s
            """,
            (number, after, limit),
        ).fetchall()
