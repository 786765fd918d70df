"""The outbox: one event an end, and its deliveries, each of which is told to one target and kept account of.

An attempt is counted before it is made, and `due_at` is then when it is given up for lost; so a worker that dies, or a
message that is lost, costs a repeat, and two workers are never at one delivery. Events that were sent stay as proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from chalicelib.journey import Number
from chalicelib.postgres.connection import Connection

Kind = Literal["webhook", "email", "topic"]
Asked = tuple[str, Any]  # a tenant, and the id of an event or the number of a delivery
EARLY_SECONDS: Final = 2  # a delayed message is on time to the second at best


@dataclass(frozen=True, slots=True)
class Event:
    """An end that is to be told. `number` is None if no splitter ever met the upload, `data` until it is kept."""

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


def latest(connection: Connection, number: Number) -> str | None:
    """The event of the upload's present generation, if that has ended."""
    row = connection.execute(
        """
        SELECT o.event_id FROM rowmill.outbox o JOIN rowmill.upload u ON u.number = o.upload
        WHERE u.number = %s AND o.generation = u.generation
        """,
        (number,),
    ).fetchone()
    return str(row[0]) if row else None


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


def ping(connection: Connection, event_id: str, webhook_id: str) -> int:
    """A delivery that tells of nothing, to see whether a webhook works; its number."""
    row = connection.execute(
        """
        WITH made AS (
            INSERT INTO rowmill.outbox (event_id, kind, sent_at, data)
            VALUES (%s, 'webhook.ping', now(), %s) RETURNING event_id
        )
        INSERT INTO rowmill.delivery (event_id, kind, webhook) SELECT event_id, 'webhook', %s FROM made RETURNING number
        """,
        (event_id, Jsonb({"webhook_id": webhook_id}), webhook_id),
    ).fetchone()
    assert row is not None
    return int(row[0])


@dataclass(frozen=True, slots=True)
class Delivery:
    """An attempt that is under way. `secrets` are the names of those that are good today, none for other targets."""

    number: int
    attempts: int
    kind: Kind
    event_id: str
    event: str
    created_at: datetime
    data: dict[str, Any]
    tenant: str
    email: str | None
    webhook: str | None
    url: str | None
    is_disabled: bool
    secrets: list[str]


def claim(connection: Connection, number: int, seconds: float) -> Delivery | None:
    """Count an attempt and begin it, if one is due; it is lost if it has not ended after so many seconds."""
    with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        return cursor.execute(
            """
            WITH begun AS (
                UPDATE rowmill.delivery
                SET attempts = attempts + 1, due_at = clock_timestamp() + make_interval(secs => %(lease)s)
                WHERE number = %(number)s AND state = 'pending'
                  AND due_at <= clock_timestamp() + make_interval(secs => %(early)s)
                RETURNING number, attempts, kind, event_id, webhook
            )
            SELECT b.number, b.attempts, b.kind, b.event_id, b.webhook, o.created_at, coalesce(o.data, '{}') AS data,
                   CASE WHEN o.kind LIKE '%%.%%' THEN o.kind ELSE 'upload.' || o.kind END AS event,
                   coalesce(u.tenant, a.tenant, w.tenant) AS tenant,
                   coalesce(u.options, (a.item ->> 'options')::jsonb) #>> '{notify,email}' AS email,
                   w.url, w.disabled_at IS NOT NULL AS is_disabled,
                   array_remove(ARRAY[w.secret, CASE WHEN w.former_until > now() THEN w.former END], NULL) AS secrets
            FROM begun b JOIN rowmill.outbox o USING (event_id)
            LEFT JOIN rowmill.webhook w ON w.webhook_id = b.webhook
            LEFT JOIN rowmill.upload u ON u.number = o.upload
            LEFT JOIN rowmill.announcement a ON a.upload_id = coalesce(u.upload_id, o.upload_id)
            """,
            {"number": number, "lease": seconds, "early": EARLY_SECONDS},
        ).fetchone()


def delivered(connection: Connection, number: int, attempt: Mapping[str, Any]) -> None:
    """It is told; its webhook is well."""
    connection.execute(
        """
        WITH told AS (
            UPDATE rowmill.delivery SET state = 'delivered', finished_at = clock_timestamp(), log = log || %s
            WHERE number = %s AND state = 'pending' RETURNING webhook
        )
        UPDATE rowmill.webhook w SET failing_since = NULL FROM told
        WHERE w.webhook_id = told.webhook AND w.failing_since IS NOT NULL
        """,
        (Jsonb([attempt]), number),
    )


def put_off(connection: Connection, number: int, attempt: Mapping[str, Any], seconds: float) -> None:
    """It failed, and is tried again in so many seconds; its webhook is failing."""
    connection.execute(
        """
        WITH failed AS (
            UPDATE rowmill.delivery SET due_at = clock_timestamp() + make_interval(secs => %s), log = log || %s
            WHERE number = %s AND state = 'pending' RETURNING webhook
        )
        UPDATE rowmill.webhook w SET failing_since = clock_timestamp() FROM failed
        WHERE w.webhook_id = failed.webhook AND w.failing_since IS NULL
        """,
        (seconds, Jsonb([attempt]), number),
    )


def give_up(connection: Connection, number: int, attempt: Mapping[str, Any], *, gone: bool, patience: float) -> None:
    """It is not tried again. Its webhook is disabled if it is gone, or has failed for so many seconds."""
    connection.execute(
        """
        WITH failed AS (
            UPDATE rowmill.delivery SET state = 'failed', finished_at = clock_timestamp(), log = log || %(attempt)s
            WHERE number = %(number)s AND state = 'pending' RETURNING webhook
        ), judged AS (
            SELECT webhook_id, %(gone)s
                   OR failing_since < clock_timestamp() - make_interval(secs => %(patience)s) AS is_over
            FROM rowmill.webhook JOIN failed ON webhook_id = webhook WHERE disabled_at IS NULL
        )
        UPDATE rowmill.webhook w SET failing_since = coalesce(failing_since, clock_timestamp()),
            disabled_at = CASE WHEN is_over THEN clock_timestamp() END,
            disabled_why = CASE WHEN is_over THEN CASE WHEN %(gone)s THEN 'gone' ELSE 'failing' END END
        FROM judged WHERE w.webhook_id = judged.webhook_id
        """,
        {"number": number, "attempt": Jsonb([attempt]), "gone": gone, "patience": patience},
    )


def log(connection: Connection, webhook_id: str, before: int, limit: int) -> list[dict[str, Any]]:
    """A webhook's deliveries, the newest first, those with numbers below `before`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT d.number, d.event_id, d.state, d.attempts, d.log, d.created_at,
                   CASE WHEN o.kind LIKE '%%.%%' THEN o.kind ELSE 'upload.' || o.kind END AS event,
                   CASE d.state WHEN 'pending' THEN d.due_at END AS due_at,
                   coalesce(u.upload_id, o.upload_id) AS upload_id
            FROM rowmill.delivery d JOIN rowmill.outbox o USING (event_id)
            LEFT JOIN rowmill.upload u ON u.number = o.upload
            WHERE d.webhook = %s AND d.number < %s ORDER BY d.number DESC LIMIT %s
            """,
            (webhook_id, before, limit),
        ).fetchall()


# Asked for again at growing distances, so that a target or a function that is away for long gathers few messages.
_IS_STUCK: Final = """
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
                SELECT event_id FROM rowmill.outbox WHERE sent_at IS NULL AND {_IS_STUCK.format(since="created_at")}
                ORDER BY created_at LIMIT %(most)s FOR UPDATE SKIP LOCKED)
            RETURNING event_id, upload, upload_id
        )
        SELECT coalesce(u.tenant, a.tenant, ''), event_id FROM stuck s LEFT JOIN rowmill.upload u ON u.number = s.upload
        LEFT JOIN rowmill.announcement a ON a.upload_id = s.upload_id
        """,
        {"lost": lost, "most": most},
    ).fetchall()


def take_due(connection: Connection, lost: float, most: int) -> list[Asked]:
    """Deliveries that have been due for so many seconds: their message was lost, or none is delayed for that long."""
    return connection.execute(
        f"""
        WITH stuck AS (
            UPDATE rowmill.delivery SET asked_at = clock_timestamp() WHERE number IN (
                SELECT number FROM rowmill.delivery WHERE state = 'pending' AND {_IS_STUCK.format(since="due_at")}
                ORDER BY due_at LIMIT %(most)s FOR UPDATE SKIP LOCKED)
            RETURNING number, event_id, webhook
        )
        SELECT coalesce(w.tenant, u.tenant, a.tenant, ''), s.number FROM stuck s JOIN rowmill.outbox o USING (event_id)
        LEFT JOIN rowmill.webhook w ON w.webhook_id = s.webhook
        LEFT JOIN rowmill.upload u ON u.number = o.upload LEFT JOIN rowmill.announcement a ON a.upload_id = o.upload_id
        """,
        {"lost": lost, "most": most},
    ).fetchall()


def forget(connection: Connection, days: int, most: int) -> int:
    """Forget deliveries that ended so many days ago, and pings with them; how many there were."""
    return connection.execute(
        """
        WITH old AS (
            DELETE FROM rowmill.delivery WHERE number IN (
                SELECT number FROM rowmill.delivery WHERE finished_at < now() - make_interval(days => %s)
                ORDER BY finished_at LIMIT %s)
            RETURNING event_id
        ), pings AS (
            DELETE FROM rowmill.outbox o USING old WHERE o.event_id = old.event_id AND o.kind = 'webhook.ping'
        )
        SELECT FROM old
        """,
        (days, most),
    ).rowcount
