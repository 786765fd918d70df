"""A tenant's webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import class_row

from chalicelib.postgres import people
from chalicelib.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a tenant wants to hear of events; `secret` is the name of what they are signed with."""

    webhook_id: str
    url: str
    events: list[str]
    description: str
    secret: str
    former_until: datetime | None
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None
    created_at: datetime


_WEBHOOK: Final = (
    "webhook_id, url, events, description, secret,"
    " CASE WHEN former_until > now() THEN former_until END AS former_until,"
    " failing_since, disabled_at, disabled_why, created_at"
)


def add(connection: Connection, tenant: str, new: Mapping[str, Any], most: int) -> Webhook | None:
    """A new webhook; None if the tenant has so many. Raises Refused `account_erased` (403)."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Webhook)) as cursor:
        # One at a time of a tenant: a hundred requests at once are no way around the limit.
        cursor.execute("SELECT FROM rowmill.tenant WHERE tenant = %s FOR NO KEY UPDATE", (tenant,))
        people.refuse_gone(connection, tenant)
        return cursor.execute(
            f"""
            INSERT INTO rowmill.webhook (webhook_id, tenant, url, events, description, secret)
            SELECT %(webhook_id)s, %(tenant)s, %(url)s, %(events)s, %(description)s, %(secret)s
            WHERE (SELECT count(*) FROM rowmill.webhook WHERE tenant = %(tenant)s) < %(most)s
            RETURNING {_WEBHOOK}
            """,
            {**new, "tenant": tenant, "most": most},
        ).fetchone()


def find(connection: Connection, tenant: str, webhook_id: str) -> Webhook | None:
    """A tenant's webhook."""
    with connection.cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(
            f"SELECT {_WEBHOOK} FROM rowmill.webhook WHERE tenant = %s AND webhook_id = %s", (tenant, webhook_id)
        ).fetchone()


def hold(connection: Connection, tenant: str, webhook_id: str) -> bool:
    """Whether the tenant has this webhook, which nobody deletes, changes or holds until the transaction ends."""
    row = connection.execute(
        "SELECT FROM rowmill.webhook WHERE tenant = %s AND webhook_id = %s FOR NO KEY UPDATE", (tenant, webhook_id)
    ).fetchone()
    return row is not None


def page(connection: Connection, tenant: str, after: str, limit: int) -> Sequence[Webhook]:
    """The tenant's webhooks, the oldest first, those after `after`."""
    with connection.cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(
            f"SELECT {_WEBHOOK} FROM rowmill.webhook WHERE tenant = %s AND webhook_id > %s"
            " ORDER BY webhook_id LIMIT %s",
            (tenant, after, limit),
        ).fetchall()


def change(connection: Connection, tenant: str, webhook_id: str, new: Mapping[str, Any]) -> Webhook | None:
    """Change what is given of url, events, description and enabled; one that is enabled begins anew as well."""
    asked = {"url": None, "events": None, "description": None, "enabled": None} | dict(new)
    with connection.cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(
            f"""
            UPDATE rowmill.webhook SET
                url = coalesce(%(url)s::text, url),
                events = coalesce(%(events)s::text[], events),
                description = coalesce(%(description)s::text, description),
                failing_since = CASE WHEN %(enabled)s::boolean THEN NULL ELSE failing_since END,
                disabled_at = CASE WHEN %(enabled)s THEN NULL WHEN NOT %(enabled)s THEN coalesce(disabled_at, now())
                              ELSE disabled_at END,
                disabled_why = CASE WHEN %(enabled)s THEN NULL WHEN NOT %(enabled)s THEN coalesce(disabled_why, 'asked')
                               ELSE disabled_why END
            WHERE tenant = %(tenant)s AND webhook_id = %(webhook)s RETURNING {_WEBHOOK}
            """,
            {**asked, "tenant": tenant, "webhook": webhook_id},
        ).fetchone()


def rotate(connection: Connection, tenant: str, webhook_id: str, secret: str, hours: int) -> Webhook | None:
    """Sign with another secret from now on, and for so many hours with the one before, too."""
    with connection.cursor(row_factory=class_row(Webhook)) as cursor:
        return cursor.execute(
            f"""
            UPDATE rowmill.webhook SET former = secret, former_until = now() + make_interval(hours => %s), secret = %s
            WHERE tenant = %s AND webhook_id = %s RETURNING {_WEBHOOK}
            """,
            (hours, secret, tenant, webhook_id),
        ).fetchone()


def delete(connection: Connection, tenant: str, webhook_id: str) -> bool:
    """Whether the tenant had such a webhook; it has not now, and nothing is on its way to it."""
    with connection.transaction():
        connection.execute(
            "DELETE FROM rowmill.outbox o USING rowmill.delivery d, rowmill.webhook w WHERE o.kind = 'webhook.ping'"
            " AND d.event_id = o.event_id AND w.webhook_id = d.webhook AND w.tenant = %s AND w.webhook_id = %s",
            (tenant, webhook_id),
        )
        gone = connection.execute(
            "DELETE FROM rowmill.webhook WHERE tenant = %s AND webhook_id = %s", (tenant, webhook_id)
        )
    return bool(gone.rowcount)
