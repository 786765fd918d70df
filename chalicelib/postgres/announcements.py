"""Announced uploads in Postgres: what the status table held at admission, and whether the file is still awaited.

The status table answers clients; this is what it is rebuilt from, and where the sweep finds files without an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from chalicelib.journey import rank
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.projection import DUE

# Of an upload `a`: it was deleted with its rows, and those are deleted by now.
ROWS_GONE: Final = "(a.erase_rows AND a.purge_at IS DISTINCT FROM a.deleted_at)"
Closed = Literal["opened", "expired", "canceled", "failed"]


@dataclass(frozen=True, slots=True)
class Announced:
    """An upload as it was admitted. `is_late`: no file is accepted any more."""

    upload_id: str
    tenant: str
    item: dict[str, Any]
    idempotency: dict[str, Any] | None
    closed: Closed | None
    is_late: bool

    @property
    def status(self) -> dict[str, Any]:
        """The item that the status table should at least hold."""
        if self.closed is None or self.closed == "opened":
            return self.item
        return self.item | {"state": self.closed, "rank": rank(self.closed, 1, 0)}


_ANNOUNCED = "upload_id, tenant, item, idempotency, closed, closes_at < now() AS is_late"


def announce(
    connection: Connection, item: Mapping[str, Any], idempotency: Mapping[str, Any] | None, seconds: float
) -> None:
    """Remember an admitted upload, whose file may come within so many seconds; nothing for an unknown tenant."""
    connection.execute(
        """
        INSERT INTO rowmill.announcement (upload_id, tenant, item, idempotency, closes_at)
        SELECT %s, tenant, %s, %s, now() + make_interval(secs => %s) FROM rowmill.tenant
        WHERE tenant = %s AND erased_at IS NULL
        ON CONFLICT DO NOTHING
        """,
        (
            item["upload_id"],
            Jsonb({name: value for name, value in item.items() if value is not None and name != "expires_at"}),
            Jsonb(idempotency) if idempotency else None,
            seconds,
            item["tenant"],
        ),
    )


def find(connection: Connection, tenant: str, upload_id: str) -> Announced | None:
    """A tenant's announced upload."""
    with connection.cursor(row_factory=class_row(Announced)) as cursor:
        return cursor.execute(
            f"SELECT {_ANNOUNCED} FROM rowmill.announcement WHERE tenant = %s AND upload_id = %s", (tenant, upload_id)
        ).fetchone()


def close(connection: Connection, upload_id: str, how: Closed) -> bool:
    """The file is awaited no longer: an end, with its event, of an upload that no splitter met. One caller wins."""
    closed = connection.execute(
        """
        WITH closed AS (
            UPDATE rowmill.announcement SET closed = %(how)s WHERE upload_id = %(upload)s AND closed IS NULL
            RETURNING upload_id
        )
        INSERT INTO rowmill.outbox (event_id, upload_id, generation, kind)
        SELECT 'evt_' || substr(upload_id, 5) || '_0', upload_id, 0, %(how)s FROM closed
        """,
        {"how": how, "upload": upload_id},
    )
    return closed.rowcount == 1


def take_awaited(connection: Connection, older_than: float, most: int) -> list[Announced]:
    """Uploads announced that many seconds ago and still awaited, those not looked at for longest first."""
    with connection.cursor(row_factory=class_row(Announced)) as cursor:
        return cursor.execute(
            f"""
            UPDATE rowmill.announcement SET looked_at = clock_timestamp() WHERE upload_id IN (
                SELECT upload_id FROM rowmill.announcement
                WHERE closed IS NULL AND created_at < now() - make_interval(secs => %s)
                ORDER BY looked_at LIMIT %s FOR UPDATE SKIP LOCKED)
            RETURNING {_ANNOUNCED}
            """,
            (older_than, most),
        ).fetchall()


def list_due(connection: Connection) -> list[Announced]:
    """The announcements of uploads that are under way, or whose end has not been shown."""
    with connection.cursor(row_factory=class_row(Announced)) as cursor:
        return cursor.execute(
            f"""
            SELECT a.* FROM rowmill.upload u CROSS JOIN LATERAL (
                -- Looked up for each: the planner takes a third of all for due, and would read all announcements.
                SELECT {_ANNOUNCED} FROM rowmill.announcement
                WHERE upload_id = u.upload_id AND deleted_at IS NULL LIMIT 1) a
            WHERE {DUE}
            """
        ).fetchall()


def list_before(connection: Connection, upload_id: str, limit: int) -> list[Announced]:
    """Announced uploads with ids below this one, the newest first; not what is over or gone."""
    with connection.cursor(row_factory=class_row(Announced)) as cursor:
        return cursor.execute(
            f"""
            SELECT {_ANNOUNCED} FROM rowmill.announcement a
            WHERE upload_id < %s AND closed IS DISTINCT FROM 'expired' AND deleted_at IS NULL
              AND (forget_at IS NULL OR forget_at > now())
              -- Looked up for each: as an anti-join the planner would read all uploads for one page.
              AND (SELECT forgotten_at FROM rowmill.upload u WHERE u.upload_id = a.upload_id) IS NULL
            ORDER BY upload_id DESC LIMIT %s
            """,
            (upload_id, limit),
        ).fetchall()
