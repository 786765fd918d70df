"""Events on their way, each to one target, and the account of every attempt.

An attempt is counted before it is made, and `due_at` is then when it is given up for lost; so a worker that dies, or a
message that is lost, costs a repeat, and two workers are never at one delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from chalicelib.postgres.connection import Connection
from chalicelib.postgres.outbox import IS_STUCK, Asked, Kind

EARLY_SECONDS: Final = 2  # a delayed message is on time to the second at best


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


def take_due(connection: Connection, lost: float, most: int) -> list[Asked]:
    """Deliveries that have been due for so many seconds: their message was lost, or none is delayed for that long."""
    return connection.execute(
        f"""
        WITH stuck AS (
            UPDATE rowmill.delivery SET asked_at = clock_timestamp() WHERE number IN (
                SELECT number FROM rowmill.delivery WHERE state = 'pending' AND {IS_STUCK.format(since="due_at")}
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
