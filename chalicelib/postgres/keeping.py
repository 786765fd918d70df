"""How long what is known of an upload is kept: first files and rejects go, then chunks, timeline and status.

Loaded rows stay, and so does the upload's entry, by which a message that comes late is known to have nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row

from chalicelib.journey import RETENTION, Number
from chalicelib.postgres import ledger, proofs, removals, timeline
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.timeline import NOBODY

_CLASS: Final = "coalesce(u.options ->> 'retention', 'standard')"  # as the indexes have it
_DUE_FILES: Final = "u.finished_at IS NOT NULL AND u.files_gone_at IS NULL"
_GOING: Final = "u.files_gone_at = 'infinity' AND u.forgotten_at IS NULL"
_DUE_STATUS: Final = "u.files_gone_at < 'infinity' AND u.forgotten_at IS NULL"


@dataclass(frozen=True, slots=True)
class Due:
    """An upload of which something is to go."""

    number: Number
    tenant: str
    upload_id: str


def due_files(connection: Connection, most: int) -> list[Due]:
    """Uploads whose files have been kept for as long as their class says, first those of which a part is gone."""
    with connection.cursor(row_factory=class_row(Due)) as cursor:
        going = cursor.execute(
            f"SELECT u.number, u.tenant, u.upload_id FROM rowmill.upload u WHERE {_GOING} LIMIT %s", (most,)
        ).fetchall()
    return going + _due(
        connection, _DUE_FILES, {name: one.files_days for name, one in RETENTION.items()}, most - len(going)
    )


def due_status(connection: Connection, most: int) -> list[Due]:
    """Uploads that have been shown for as long as their class says."""
    return _due(connection, _DUE_STATUS, {name: one.status_days for name, one in RETENTION.items()}, most)


def _due(connection: Connection, condition: str, days: dict[str, int], most: int) -> list[Due]:
    one = f"""
        SELECT u.number, u.tenant, u.upload_id FROM rowmill.upload u
        WHERE {condition} AND {_CLASS} = %s AND u.finished_at < now() - make_interval(days => %s)
    """
    with connection.cursor(row_factory=class_row(Due)) as cursor:
        return cursor.execute(
            " UNION ALL ".join([one] * len(days)) + "LIMIT %s",
            [*(value for pair in days.items() for value in pair), most],
        ).fetchall()


@dataclass(frozen=True, slots=True)
class Unopened:
    """An upload that ended before any splitter met it: its file may have come all the same."""

    tenant: str
    upload_id: str
    forget_at: int  # when it is shown no longer, in seconds of Unix


def due_unopened(connection: Connection, most: int) -> list[Unopened]:
    """Uploads without an entry whose files have been kept for as long as their class says."""
    with connection.cursor(row_factory=class_row(Unopened)) as cursor:
        return cursor.execute(
            """
            SELECT a.tenant, a.upload_id,
                   extract(epoch FROM a.closes_at + make_interval(days => k.status_days))::bigint AS forget_at
            FROM rowmill.announcement a
            JOIN unnest(%s::text[], %s::int[], %s::int[]) k (name, files_days, status_days)
                 ON k.name = coalesce((a.item ->> 'options')::jsonb ->> 'retention', 'standard')
            WHERE closed IN ('expired', 'canceled', 'failed') AND files_gone_at IS NULL
              AND a.closes_at < now() - make_interval(days => k.files_days)
              AND NOT EXISTS (SELECT FROM rowmill.upload u WHERE u.upload_id = a.upload_id)
            LIMIT %s
            """,
            (
                list(RETENTION),
                [one.files_days for one in RETENTION.values()],
                [one.status_days for one in RETENTION.values()],
                most,
            ),
        ).fetchall()


def note_dropped(connection: Connection, due: Unopened) -> None:
    """Its files are gone."""
    connection.execute(
        "UPDATE rowmill.announcement SET files_gone_at = clock_timestamp(), forget_at = to_timestamp(%s)"
        " WHERE upload_id = %s",
        (due.forget_at, due.upload_id),
    )


def forget_unopened(connection: Connection, most: int) -> int:
    """Forget the timelines of uploads without an entry that are shown no longer; of how many."""
    return connection.execute(
        """
        WITH due AS (
            SELECT upload_id FROM rowmill.announcement a
            WHERE forget_at > '-infinity' AND forget_at <= now()
              AND NOT EXISTS (SELECT FROM rowmill.upload u WHERE u.upload_id = a.upload_id)
            LIMIT %s),
        gone AS (DELETE FROM rowmill.event WHERE upload_id IN (SELECT upload_id FROM due))
        UPDATE rowmill.announcement SET forget_at = '-infinity' WHERE upload_id IN (SELECT upload_id FROM due)
        """,
        (most,),
    ).rowcount


def drop_files(connection: Connection, due: Due, delete: Callable[[], object]) -> bool:
    """Have the files of an upload deleted, and with them all that is kept of single rows, unless it was redriven;
    whether nothing is left.

    Of rows a part goes at once, as a sweep has less than a minute. From the first on nobody is shown the others, and
    nobody redrives or undoes the upload. A crash leaves what is still there to be found again: deleting twice is no
    fault.
    """
    with connection.transaction():
        ledger.lock_upload(connection, due.number, shared=False)
        kept = connection.execute(
            f"SELECT FROM rowmill.upload u WHERE number = %s AND ({_DUE_FILES} OR {_GOING})", (due.number,)
        ).fetchone()
        if kept is None:
            return False
        delete()
        connection.execute(
            "UPDATE rowmill.upload SET files_gone_at = 'infinity', review = NULL, plan = plan - 'rows'"
            " WHERE number = %s",
            (due.number,),
        )
    if not removals.purge(connection, due.number):
        return False
    with connection.transaction():
        connection.execute(
            "UPDATE rowmill.upload SET files_gone_at = clock_timestamp() WHERE number = %s", (due.number,)
        )
        timeline.note(connection, due.upload_id, "files_expired", NOBODY)
    return True


def forget(connection: Connection, due: Due) -> None:
    """Nothing is left to show of an upload, and nothing can begin it again."""
    with connection.transaction():
        connection.execute("DELETE FROM rowmill.chunk WHERE upload = %s", (due.number,))
        connection.execute("DELETE FROM rowmill.origin WHERE upload = %s", (due.number,))
        connection.execute("DELETE FROM rowmill.gate WHERE upload = %s", (due.number,))
        proofs.forget(connection, due.number)
        connection.execute("DELETE FROM rowmill.taken WHERE upload = %s", (due.number,))
        connection.execute("DELETE FROM rowmill.event WHERE upload_id = %s", (due.upload_id,))
        connection.execute(
            "UPDATE rowmill.upload SET forgotten_at = clock_timestamp() WHERE number = %s", (due.number,)
        )


def has_expired(connection: Connection, number: int) -> bool:
    """Whether the upload's files, and what was kept of its rows, are gone."""
    row = connection.execute(
        "SELECT files_gone_at IS NOT NULL FROM rowmill.upload WHERE number = %s", (number,)
    ).fetchone()
    return bool(row and row[0])
