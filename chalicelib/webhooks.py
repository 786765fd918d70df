"""Webhooks as their owners see them: made, changed, tried by a ping, followed by what was delivered, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ulid import ULID

from chalicelib import events, outgoing, paging, signatures
from chalicelib.aws import sqs
from chalicelib.errors import Refused
from chalicelib.journey import rfc3339
from chalicelib.paging import Asked, Page
from chalicelib.postgres import deliveries as kept
from chalicelib.postgres import outbox, webhooks
from chalicelib.postgres.connection import Connection, connection
from chalicelib.postgres.repeats import Repeat, once
from chalicelib.postgres.webhooks import Webhook
from chalicelib.settings import settings
from chalicelib.strict_json import is_text

MOST: Final = 20  # of a tenant
MOST_PINGS: Final = 10  # of a webhook in a minute
BOTH_HOURS: Final = 24  # for which two secrets are good after a rotation
_NEWEST: Final = 2**62


def create(tenant: str, body: Mapping[str, Any], repeat: Repeat | None) -> dict[str, Any]:
    """A new webhook with its secret, told here and when it is rotated. Raises Refused."""
    outgoing.look(body["url"])
    db = connection()
    with db.transaction():
        made = once(db, repeat, lambda: _made(db, tenant, body))
    return {**made["webhook"], "secret": signatures.secret(made["webhook"]["id"], made["secret"])}


def _made(db: Connection, tenant: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What may be kept of the answer: the webhook as it is shown, and the name of its secret."""
    new = {
        "webhook_id": f"whk_{ULID()}",
        "url": body["url"],
        "events": _events(body),
        "description": body.get("description", ""),
        "secret": signatures.new_name(),
    }
    webhook = webhooks.add(db, tenant, new, MOST)
    if webhook is None:
        raise Refused("webhooks_too_many", f"There may be {MOST} webhooks.", status=409)
    return {"webhook": _shown(webhook), "secret": webhook.secret}


def _events(body: Mapping[str, Any]) -> Sequence[str]:
    """Each once, in our order; all unless it is said."""
    return [one for one in events.ALL if one in body.get("events", events.ALL)]


def listing(tenant: str, asked: Asked) -> Page:
    """The tenant's webhooks, the oldest first."""
    after = paging.decode(asked.cursor, str, "")
    found = webhooks.page(connection(), tenant, after, asked.limit + 1)
    return paging.fill(found, asked.limit, _shown, lambda one: one.webhook_id)


def get(tenant: str, webhook_id: str) -> dict[str, Any]:
    """One webhook. Raises Refused `unknown_webhook` (404)."""
    return _shown(_found(tenant, webhook_id))


def change(tenant: str, webhook_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Change what the body names. Raises Refused `unknown_webhook` (404), and for a URL as `create`."""
    _found(tenant, webhook_id)
    if "url" in body:
        outgoing.look(body["url"])
    new = dict(body) | ({"events": _events(body)} if "events" in body else {})
    return _shown(_there(webhooks.change(connection(), tenant, webhook_id, new)))


def rotate(tenant: str, webhook_id: str) -> dict[str, Any]:
    """Another secret, told here; events are signed with the former one, too, for a day. Raises Refused."""
    _found(tenant, webhook_id)
    name = signatures.new_name()
    webhook = _there(webhooks.rotate(connection(), tenant, webhook_id, name, BOTH_HOURS))
    return _shown(webhook) | {"secret": signatures.secret(webhook.webhook_id, webhook.secret)}


def delete(tenant: str, webhook_id: str) -> None:
    """Nothing is sent there from now on. Raises Refused `unknown_webhook` (404)."""
    if not is_text(webhook_id) or not webhooks.delete(connection(), tenant, webhook_id):
        raise _unknown()


def ping(tenant: str, webhook_id: str) -> dict[str, Any]:
    """Send an event that tells of nothing; its delivery as it is now.

    Raises Refused, 409 for a disabled webhook, 429 for more than a few in a minute: we are nobody's siege engine.
    """
    if _found(tenant, webhook_id).disabled_at:
        raise Refused("webhook_disabled", "The webhook is disabled: enable it first.", status=409)
    db = connection()
    with db.transaction():
        if not webhooks.hold(db, tenant, webhook_id):
            raise _unknown()
        number = outbox.ping(db, f"evt_{ULID()}", webhook_id, MOST_PINGS)
        if number is None:
            detail = f"A webhook may be pinged {MOST_PINGS} times in a minute."
            raise Refused("too_many_pings", detail, status=429, headers={"Retry-After": "60"})
        (delivery,) = kept.log(db, webhook_id, number + 1, 1)
    sqs.send_all(settings().notify_queue, [{"delivery": number}], tenant)
    return _delivery(delivery)


def deliveries(tenant: str, webhook_id: str, asked: Asked) -> Page:
    """What was delivered and what was not, the newest first. Raises Refused `unknown_webhook` (404)."""
    _found(tenant, webhook_id)
    before = paging.decode(asked.cursor, int, _NEWEST)
    found = kept.log(connection(), webhook_id, before, asked.limit + 1)
    return paging.fill(found, asked.limit, _delivery, lambda one: one["number"])


def _found(tenant: str, webhook_id: str) -> Webhook:
    return _there(webhooks.find(connection(), tenant, webhook_id) if is_text(webhook_id) else None)


def _there(webhook: Webhook | None) -> Webhook:
    if webhook is None:
        raise _unknown()
    return webhook


def _unknown() -> Refused:
    return Refused("unknown_webhook", "There is no such webhook.", status=404)


def _shown(webhook: Webhook) -> dict[str, Any]:
    state = "disabled" if webhook.disabled_at else "failing" if webhook.failing_since else "active"
    return {
        "id": webhook.webhook_id,
        "url": webhook.url,
        "events": webhook.events,
        "description": webhook.description,
        "state": state,
        "failing_since": rfc3339(webhook.failing_since),
        "disabled_at": rfc3339(webhook.disabled_at),
        "disabled_reason": webhook.disabled_why,
        "former_secret_until": rfc3339(webhook.former_until),
        "created_at": rfc3339(webhook.created_at),
    }


def _delivery(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "event_id": one["event_id"],
        "type": one["event"],
        "upload_id": one["upload_id"],
        "state": one["state"],
        "created_at": rfc3339(one["created_at"]),
        "next_attempt_at": rfc3339(one["due_at"]),
        "attempts_begun": one["attempts"],
        "attempts": [each | {"at": rfc3339(datetime.fromtimestamp(each["at"], UTC))} for each in one["log"]],
    }
