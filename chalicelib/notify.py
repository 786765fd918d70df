"""Step 7: telling people. An event of the outbox becomes deliveries, once; each is tried until it is told or given up.

Messages name an event or a delivery, and nothing of either is believed but its id. At least once: a receiver that
answers too late, or a worker that dies after the answer, has the same event sent again under the same id.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import aws, events, outgoing, signatures
from chalicelib.aws import ses, sns, sqs
from chalicelib.errors import Refused, Unavailable
from chalicelib.logs import about
from chalicelib.outgoing import Undelivered
from chalicelib.postgres import deliveries, outbox
from chalicelib.postgres.connection import connection
from chalicelib.postgres.deliveries import Delivery
from chalicelib.postgres.outbox import Kind
from chalicelib.settings import settings

# Seconds before each further attempt, near the example of Standard Webhooks: eight attempts in 23 hours and a half.
BACKOFF: Final = (5, 300, 1800, 7200, 18_000, 28_800, 28_800)
MAX_DELIVERY_ATTEMPTS: Final = len(BACKOFF) + 1
LEASE_SECONDS: Final = 40  # longer than the function may run: then an attempt is lost, and another may begin
PATIENCE_SECONDS: Final = 5 * 24 * 3600  # a webhook that has failed for so long is disabled
GONE: Final = 410


def tell(message: Mapping[str, Any]) -> str | None:
    """Do what a message asks: see to an event, or to one delivery. What was seen to, for the log."""
    match message:
        case {"event": str(event_id)}:
            return _spread(event_id)
        case {"delivery": int(number)}:
            return _deliver(number)
    return None


def _spread(event_id: str) -> str | None:
    """Make the deliveries of an event and send for each; a repeat makes none."""
    event = outbox.find(connection(), event_id)
    if event is None or event.is_sent:
        return None
    about(event_id, upload_id=event.upload_id)
    if event.number is not None and event.is_end:
        # Here and not where the end is drawn: whoever loads has nothing more to do. What is lost the sweep sends for.
        sqs.send(settings().receipt_queue, {"receipt": event.number})
    if event.data is None:
        # A redrive keeps it before it begins another generation: if that came between, this changes nothing.
        outbox.keep(connection(), event_id, events.said(connection(), event))
    made = outbox.spread(connection(), event, _kinds(event.options))
    away = [{"delivery": number} for number, kind in made if kind != "topic"]
    sqs.send_all(settings().notify_queue, away, event.tenant)
    for number, kind in made:
        if kind == "topic":  # next door: not worth a message
            _deliver(number)
    return event_id


def _kinds(options: Mapping[str, Any]) -> list[Kind]:
    """The targets besides webhooks."""
    kinds: list[Kind] = ["topic"] if settings().events_topic else []
    return [*kinds, "email"] if options.get("notify", {}).get("email") else kinds


def _deliver(number: int) -> str | None:
    """One attempt at a delivery, if it is due."""
    delivery = deliveries.claim(connection(), number, LEASE_SECONDS)
    if delivery is None:
        return None
    about(delivery.event_id, delivery=number, attempt=delivery.attempts)
    begun = time.monotonic()
    status, error = _attempt(delivery)
    now = time.time()
    attempt = {"at": int(now), "status": status, "error": error, "took_ms": round(1000 * (time.monotonic() - begun))}
    if error is None:
        deliveries.delivered(connection(), number, attempt)
    elif delivery.is_disabled or status == GONE or delivery.attempts >= MAX_DELIVERY_ATTEMPTS:
        deliveries.give_up(connection(), number, attempt, gone=status == GONE, patience=PATIENCE_SECONDS)
    else:
        _put_off(delivery, attempt)
    return f"{delivery.event_id} {error or 'delivered'}"


def _put_off(delivery: Delivery, attempt: Mapping[str, Any]) -> None:
    """Later again: by a delayed message, or where SQS delays none for that long, by the sweep."""
    pause = BACKOFF[delivery.attempts - 1] * random.uniform(1, 1.1)
    deliveries.put_off(connection(), delivery.number, attempt, pause)
    if pause <= sqs.MAX_DELAY_SECONDS:
        sqs.send(settings().notify_queue, {"delivery": delivery.number}, delay=round(pause) + 1)


def _attempt(delivery: Delivery) -> tuple[int | None, str | None]:
    """The status that was answered, and what was wrong with it; no word of the answer itself is kept."""
    ways: dict[Kind, Callable[[Delivery], int | None]] = {"webhook": _call, "email": _mail, "topic": _publish}
    try:
        status = ways[delivery.kind](delivery)
    except Undelivered as failure:
        return None, failure.reason
    except Refused as refused:
        return None, refused.code
    except Unavailable as missing:
        return None, missing.code
    except (ClientError, BotoCoreError) as error:
        return None, f"aws_{aws.code(error)}" if isinstance(error, ClientError) else "aws_unreachable"
    if status is None or 200 <= status < 300:
        return status, None
    return status, "redirected" if 300 <= status < 400 else "status_refused"


def _call(delivery: Delivery) -> int:
    if delivery.is_disabled or delivery.webhook is None or delivery.url is None:
        raise Undelivered("webhook_disabled")
    body = _payload(delivery)
    now = int(time.time())
    signed = signatures.headers(delivery.event_id, now, body, delivery.webhook, delivery.secrets)
    return outgoing.post(delivery.url, {"Content-Type": "application/json", **signed}, body)


def _mail(delivery: Delivery) -> None:
    if delivery.email is None or not ses.may_send_to(delivery.email):
        raise Undelivered("address_not_allowed")  # any more
    ses.send(delivery.email, *events.letter(delivery))


def _publish(delivery: Delivery) -> None:
    attributes = {"tenant": delivery.tenant, "type": delivery.event, "state": str(delivery.data["state"])}
    sns.publish(_payload(delivery).decode(), attributes | {"event_id": delivery.event_id})


def _payload(delivery: Delivery) -> bytes:
    return events.payload(delivery.event_id, delivery.event, delivery.created_at, delivery.data)
