"""The outbox: one event an end, and one a review, written with it, and made deliveries of once. They stay as proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from chalicelib.journey import Number
from chalicelib.postgres.connection import Connection

Kind = Literal["webhook", "email", "topic"]
Asked = tuple[str, Any]  # a tenant, and the id of an event or the number of a delivery


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be told. `number` is None if no splitter ever met the upload, `data` until it is kept.

    `kind` is the state that was come to: an end, or that somebody is to look at what a check has found.
    """

    event_id: str
    kind: str
    created_at: datetime
    is_sent: bool
    data: dict[str, Any] | None
    generation: int | None
    number: Number | None
    upload_id: str
    tenant: str
    options: dict[str, Any]
    item: dict[str, Any]  # as it was admitted

    @property
    def is_end(self) -> bool:
        return self.kind != "needs_review"


def find(connection: Connection, event_id: str) -> Event | None:
    """The event of an upload by its id."""
    with connection.cursor(row_factory=class_row(Event)) as cursor:
        return cursor.execute(
            """
            SELECT o.event_id, o.kind, o.created_at, o.sent_at IS NOT NULL AS is_sent, o.data, o.generation,
                   u.number, coalesce(u.upload_id, o.upload_id) AS upload_id, coalesce(u.tenant, a.tenant) AS tenant,
                   coalesce(u.options, (a.item ->> 'options')::jsonb, '{}') AS options, coalesce(a.item, '{}') AS item
            FROM rowmill.outbox o LEFT JOIN rowmill.upload u ON u.number = o.upload
            LEFT JOIN rowmill.announcement a ON a.upload_id = coalesce(u.upload_id, o.upload_id)
            WHERE o.event_id = %s AND coalesce(u.tenant, a.tenant) IS NOT NULL
            """,
            (event_id,),
        ).fetchone()


def keep(connection: Connection, event_id: str, data: Mapping[str, Any]) -> None:
    """What the event says from now on, if nothing was kept before."""
    connection.execute(
        "UPDATE rowmill.outbox SET data = %s WHERE event_id = %s AND data IS NULL", (Jsonb(data), event_id)
    )


def list_unsaid(connection: Connection, number: Number) -> list[str]:
    """Events of the upload's present generation of which it is not kept yet what they say."""
    rows = connection.execute(
        """
        SELECT o.event_id FROM rowmill.outbox o JOIN rowmill.upload u ON u.number = o.upload
        WHERE u.number = %s AND o.generation = u.generation AND o.data IS NULL
        """,
        (number,),
    )
    return [row[0] for row in rows]


def spread(connection: Connection, event: Event, kinds: Sequence[Kind]) -> list[tuple[int, Kind]]:
    """Make deliveries of an event: to the tenant's webhooks that want it, and of these kinds; once, one caller wins.

    `options.notify.webhook` adds a webhook that would not hear of it otherwise.
    """
    named = event.options.get("notify", {}).get("webhook")
    return connection.execute(
        """
        WITH sent AS (
            UPDATE rowmill.outbox SET sent_at = clock_timestamp() WHERE event_id = %(event)s AND sent_at IS NULL
            RETURNING event_id
        )
        INSERT INTO rowmill.delivery (event_id, kind, webhook)
        SELECT event_id, 'webhook', webhook_id FROM sent CROSS JOIN rowmill.webhook
        WHERE tenant = %(tenant)s AND disabled_at IS NULL AND (%(kind)s = ANY(events) OR webhook_id = %(named)s)
        UNION ALL SELECT event_id, kind, NULL FROM sent CROSS JOIN unnest(%(kinds)s::text[]) kind
        RETURNING number, kind
        """,
        {
            "event": event.event_id,
            "tenant": event.tenant,
            "kind": f"upload.{event.kind}",
            "named": named,
            "kinds": list(kinds),
        },
    ).fetchall()


def ping(connection: Connection, event_id: str, webhook_id: str, most: int) -> int | None:
    """A delivery that tells of nothing, to see whether a webhook works: its number; None after `most` in a minute."""
    row = connection.execute(
        """
        WITH made AS (
            INSERT INTO rowmill.outbox (event_id, kind, sent_at, data)
            SELECT %(event)s, 'webhook.ping', now(), %(data)s WHERE %(most)s > (
                SELECT count(*) FROM rowmill.delivery d JOIN rowmill.outbox o USING (event_id)
                WHERE webhook = %(webhook)s AND o.kind = 'webhook.ping' AND o.created_at > now() - interval '1 minute'
                  AND d.created_at > now() - interval '1 minute')  -- else each event it ever told is looked up
            RETURNING event_id
        )
        INSERT INTO rowmill.delivery (event_id, kind, webhook)
        SELECT event_id, 'webhook', %(webhook)s FROM made RETURNING number
        """,
        {"event": event_id, "data": Jsonb({"webhook_id": webhook_id}), "webhook": webhook_id, "most": most},
    ).fetchone()
    return int(row[0]) if row else None


# Asked for again at growing distances, so that a target or a function that is away for long gathers few messages.
IS_STUCK: Final = """
    {since} < clock_timestamp() - make_interval(secs => %(lost)s)
    AND (asked_at IS NULL OR asked_at < clock_timestamp()
         - greatest(make_interval(secs => %(lost)s), (clock_timestamp() - {since}) / 4))
"""


def take_unsent(connection: Connection, lost: float, most: int) -> list[Asked]:
    """Events that nobody has made deliveries of for so many seconds."""
    return connection.execute(
        f"""
        WITH stuck AS (
            UPDATE rowmill.outbox SET asked_at = clock_timestamp() WHERE event_id IN (
                SELECT event_id FROM rowmill.outbox WHERE sent_at IS NULL AND {IS_STUCK.format(since="created_at")}
                ORDER BY created_at LIMIT %(most)s FOR UPDATE SKIP LOCKED)
            RETURNING event_id, upload, upload_id
        )
        SELECT coalesce(u.tenant, a.tenant, ''), event_id FROM stuck s LEFT JOIN rowmill.upload u ON u.number = s.upload
        LEFT JOIN rowmill.announcement a ON a.upload_id = s.upload_id
        """,
        {"lost": lost, "most": most},
    ).fetchall()
