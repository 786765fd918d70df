"""Tenants whose account was deleted: what is still there of them, and how it goes.

Their uploads go as others that are deleted (removals), their tables as soon as nothing is under way into them. What
says no more than that there was something goes last, when no queue can hold a message that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row

from chalicelib.journey import Number
from chalicelib.postgres import ledger, people, pictures
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.removals import BLANK, NOT_BLANK

AGAIN: Final = "interval '2 hours'"  # tokens are good for half an hour, forms for an hour
LAST: Final = "interval '16 days'"  # a queue holds a message for 15 at most
MOST_AT_ONCE: Final = 2000  # uploads, of one tenant by one sweep: a second or two
MOST_TABLES: Final = 100  # the same of tables
# What refers to an upload, then what others refer to.
_OF_UPLOAD: Final = ("staged", "revert", "takeover", "taken", "receipt", "proof", "origin", "chunk", "gate", "outbox")


@dataclass(frozen=True, slots=True)
class Standing:
    """An upload that is not deleted yet; `number`: None if no splitter has met it."""

    upload_id: str
    number: Number | None


def begin(connection: Connection, tenant: str, user_id: str) -> None:
    """Close the tenant: its account, and with it every session, is gone, its name is free. A repeat changes nothing."""
    with connection.transaction():
        connection.execute(
            "UPDATE rowmill.tenant SET erased_at = now(), erase_at = now() WHERE tenant = %s AND erased_at IS NULL",
            (tenant,),
        )
        connection.execute("DELETE FROM rowmill.account WHERE user_id = %s AND tenant = %s", (user_id, tenant))


def list_due(connection: Connection, most: int) -> list[str]:
    """Tenants of which something is to go now, those that wait longest first."""
    rows = connection.execute(
        "SELECT tenant FROM rowmill.tenant WHERE erase_at <= clock_timestamp() ORDER BY erase_at LIMIT %s", (most,)
    )
    return [tenant for (tenant,) in rows]


def put_last(connection: Connection, tenant: str) -> None:
    """Let all others that are due go first next time."""
    connection.execute("UPDATE rowmill.tenant SET erase_at = clock_timestamp() WHERE tenant = %s", (tenant,))


def list_standing(connection: Connection, tenant: str, most: int) -> list[Standing]:
    """Uploads of the tenant that are not deleted."""
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        return cursor.execute(
            "SELECT upload_id, number FROM rowmill.announcement a LEFT JOIN rowmill.upload USING (upload_id)"
            " WHERE a.tenant = %s AND deleted_at IS NULL LIMIT %s",
            (tenant, most),
        ).fetchall()


def list_intruding(connection: Connection, tenant: str) -> list[tuple[str, str]]:
    """Uploads of others (tenant, id) that are under way into the tenant's datasets."""
    return connection.execute(
        "SELECT u.tenant, u.upload_id FROM rowmill.dataset d JOIN rowmill.upload u ON u.dataset = d.number"
        " WHERE d.tenant = %s AND u.tenant <> d.tenant AND finished_at IS NULL",
        (tenant,),
    ).fetchall()


def drop(connection: Connection, tenant: str) -> bool:
    """Drop what the tenant has but its uploads, so much at once; False if something is still to go, or loads."""
    if list_standing(connection, tenant, 1) or not _drop_tables(connection, tenant):
        return False
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '2s'")
        _forget_datasets(connection, tenant)
        connection.execute("SELECT rowmill.erase_views(%s)", (tenant,))
        connection.execute("DELETE FROM rowmill.webhook WHERE tenant = %s", (tenant,))
        _forget_keys(connection, tenant)
        connection.execute("DELETE FROM rowmill.repeat WHERE tenant = %s", (tenant,))
    return _blank_uploads(connection, tenant)


def _drop_tables(connection: Connection, tenant: str) -> bool:
    """The tenant's tables, one by one: each is a dozen locks, of which a transaction can have but so many."""
    datasets = connection.execute(
        "SELECT number FROM rowmill.dataset WHERE tenant = %s AND deleted_at IS NULL LIMIT %s", (tenant, MOST_TABLES)
    ).fetchall()
    dropped = sum(_drop_table(connection, number) for (number,) in datasets)
    return dropped == len(datasets) < MOST_TABLES


def _drop_table(connection: Connection, number: int) -> bool:
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '2s'")
        people.close_dataset(connection, number)
        if ledger.has_active_uploads(connection, number):
            return False
        connection.execute("SELECT rowmill.erase_dataset(%s)", (number,))
        pictures.abandon(connection, number)
        people.delete_dataset(connection, number)
    return True


def _forget_keys(connection: Connection, tenant: str) -> None:
    """Data keys go. Of uploads of others it stays that there was one: their rejects are sealed, and open no more."""
    connection.execute(
        "UPDATE rowmill.data_key SET wrapped = '' WHERE tenant = %(tenant)s"
        " AND upload IN (SELECT number FROM rowmill.upload WHERE tenant <> %(tenant)s)",
        {"tenant": tenant},
    )
    connection.execute("DELETE FROM rowmill.data_key WHERE tenant = %s AND wrapped <> ''", (tenant,))


def _blank_uploads(connection: Connection, tenant: str) -> bool:
    """What stays for late messages to find says nothing of a file: neither its columns nor what was wrong with it.

    So many uploads at once, and as many events; whether nothing is left.
    """
    uploads = connection.execute(
        f"""
        UPDATE rowmill.upload SET {BLANK}, review = NULL, error = NULL, options = '{{}}' WHERE number IN (
            SELECT number FROM rowmill.upload
            WHERE tenant = %s AND ({NOT_BLANK} OR num_nonnulls(review, error) > 0 OR options <> '{{}}') LIMIT %s)
        """,
        (tenant, MOST_AT_ONCE),
    )
    events = connection.execute(
        """
        WITH blank AS (
            UPDATE rowmill.outbox SET data = NULL WHERE event_id IN (
                SELECT event_id FROM rowmill.outbox WHERE data IS NOT NULL AND (
                    upload_id IN (SELECT upload_id FROM rowmill.announcement WHERE tenant = %(tenant)s)
                    OR upload IN (SELECT number FROM rowmill.upload WHERE tenant = %(tenant)s)) LIMIT %(most)s)
            RETURNING event_id
        ), untold AS (  -- whoever has not heard of it by now is told nothing any more: there is nothing left to tell
            DELETE FROM rowmill.delivery d USING blank WHERE d.event_id = blank.event_id AND state = 'pending'
        )
        SELECT FROM blank
        """,
        {"tenant": tenant, "most": MOST_AT_ONCE},
    )
    return max(uploads.rowcount, events.rowcount) < MOST_AT_ONCE


def _forget_datasets(connection: Connection, tenant: str) -> None:
    """Nothing is left of them but their numbers: columns and names say something, too."""
    own = "(SELECT number FROM rowmill.dataset WHERE tenant = %(tenant)s)"
    for statement in (
        f"DELETE FROM rowmill.dataset_grant WHERE dataset IN {own} OR tenant = %(tenant)s",
        f"DELETE FROM rowmill.pace WHERE dataset IN {own}",
        f"DELETE FROM rowmill.dataset_change WHERE dataset IN {own}",
        """
        UPDATE rowmill.dataset SET deleted_at = coalesce(deleted_at, now()), version = version + 1, name = 'erased',
            descriptor = '{"fields": [{"name": "erased"}]}'
        WHERE tenant = %(tenant)s AND name <> 'erased'
        """,
    ):
        connection.execute(statement, {"tenant": tenant})


def note_dropped(connection: Connection, tenant: str) -> bool:
    """All is gone that was there; when the sweep is to look next. False if the last of it goes, and some is left."""
    row = connection.execute(
        f"""
        UPDATE rowmill.tenant SET erase_at = CASE WHEN clock_timestamp() < erased_at + {AGAIN} THEN erased_at + {AGAIN}
            WHEN clock_timestamp() < erased_at + {LAST} THEN erased_at + {LAST} ELSE erase_at END
        WHERE tenant = %s RETURNING erase_at > clock_timestamp()
        """,
        (tenant,),
    ).fetchone()
    return row is None or row[0] or _forget(connection, tenant)


def _forget(connection: Connection, tenant: str) -> bool:
    """The last of a tenant: its uploads' entries, so many at once, and then its own; whether nothing is left.

    If others sent files into its datasets, its id stays, and is open again: an issuer's subject that comes back has the
    same one.
    """
    with connection.transaction():
        some = connection.execute(
            "SELECT upload_id, number FROM rowmill.announcement a LEFT JOIN rowmill.upload USING (upload_id)"
            " WHERE a.tenant = %s LIMIT %s",
            (tenant, MOST_AT_ONCE),
        ).fetchall()
        named = {"ids": [one for one, _ in some], "numbers": [number for _, number in some if number is not None]}
        for table in _OF_UPLOAD:
            connection.execute(f"DELETE FROM rowmill.{table} WHERE upload = ANY(%(numbers)s)", named)
        for table in ("event", "outbox", "upload", "announcement"):
            connection.execute(f"DELETE FROM rowmill.{table} WHERE upload_id = ANY(%(ids)s)", named)
        if len(some) == MOST_AT_ONCE:
            return False
        connection.execute(
            "DELETE FROM rowmill.dataset d WHERE tenant = %s"
            " AND NOT EXISTS (SELECT FROM rowmill.upload u WHERE u.dataset = d.number)"
            " AND NOT EXISTS (SELECT FROM rowmill.picture p WHERE p.dataset = d.number)",
            (tenant,),
        )
        connection.execute(
            "DELETE FROM rowmill.tenant t WHERE tenant = %s"
            " AND NOT EXISTS (SELECT FROM rowmill.dataset d WHERE d.tenant = t.tenant)",
            (tenant,),
        )
        connection.execute("UPDATE rowmill.tenant SET erased_at = NULL, erase_at = NULL WHERE tenant = %s", (tenant,))
    return True
