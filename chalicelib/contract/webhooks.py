"""The contract of webhooks: where a tenant wants to be told of events."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import PAGED
from chalicelib.contract.words import (
    COUNT,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    MOMENT,
    REPEATED,
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Schema,
    closed,
    listed,
    nullable,
    page_of,
    paged,
    ref,
    shown,
    unchanged,
)
from chalicelib.events import ALL, PING
from chalicelib.outgoing import MOST_URL

_TAG: Final = "Webhooks"
_WEBHOOKS: Final = "/v1/webhooks"
_ONE: Final = "/v1/webhooks/{webhook_id}"

_ASKED: Final[dict[str, Schema]] = {
    "url": {
        "type": "string",
        "pattern": "^https?://",
        "maxLength": MOST_URL,
        "title": f"a URL of at most {MOST_URL} characters",
        "description": "https, port 443 or above 1023, no user; every address of its host is a public one.",
    },
    "events": {
        **listed({"type": "string", "enum": list(ALL)}, maxItems=len(ALL)),
        "description": "All unless it is said; none hears only of uploads that name it in `options.notify.webhook`.",
    },
    "description": {"type": "string", "maxLength": 200, "title": "at most 200 characters"},
}
_SHOWN: Final[dict[str, Schema]] = {
    "id": {"type": "string", "pattern": "^whk_[0-9A-Z]{26}$"},
    "url": TEXT,
    "events": listed(TEXT),
    "description": TEXT,
    "state": {
        "type": "string",
        "enum": ["active", "failing", "disabled"],
        "description": "Failing: no attempt has succeeded since `failing_since`.",
    },
    "failing_since": nullable(MOMENT),
    "disabled_at": nullable(MOMENT),
    "disabled_reason": {
        "type": ["string", "null"],
        "enum": ["gone", "failing", "asked", None],
        "description": "It answered 410; it failed for five days; or it was asked for.",
    },
    "former_secret_until": {**nullable(MOMENT), "description": "Until then events are signed with two secrets."},
    "created_at": MOMENT,
}
_ATTEMPT: Final = shown(
    {
        "at": MOMENT,
        "status": {**nullable(COUNT), "description": "Null if there was no answer."},
        "error": {"type": ["string", "null"], "description": "Null if it was told."},
        "took_ms": COUNT,
    }
)

SCHEMAS: Final[dict[str, Schema]] = {
    "NewWebhook": closed(_ASKED, "url"),
    "WebhookChange": closed(
        _ASKED
        | {"enabled": {"type": "boolean", "description": "True forgets its failures; false keeps it from hearing."}}
    ),
    "Webhook": shown(_SHOWN),
    "WebhookWithSecret": shown(
        _SHOWN | {"secret": {"type": "string", "description": "`whsec_…`, told here and at a rotation alone."}}
    ),
    "Webhooks": page_of("Webhook"),
    "Delivery": shown(
        {
            "event_id": {"type": "string", "description": "The `webhook-id` of every attempt."},
            "type": {"type": "string", "enum": [*ALL, PING]},
            "upload_id": {"type": ["string", "null"], "description": "Null for a ping."},
            "state": {"type": "string", "enum": ["pending", "delivered", "failed"]},
            "created_at": MOMENT,
            "next_attempt_at": {**nullable(MOMENT), "description": "Null once it is over."},
            "attempts_begun": COUNT,
            "attempts": listed(_ATTEMPT, description="Those that ended; a worker that died leaves none."),
        },
        description="An event on its way to a webhook; kept for 30 days after it is over.",
    ),
    "Deliveries": page_of("Delivery"),
}

_UNKNOWN: Final = Error(404, "unknown_webhook", "The tenant has no such webhook.")
_URL_ERRORS: Final = (
    Error(422, "webhook_url_invalid", "The URL cannot be called: scheme, host, port or characters."),
    Error(422, "webhook_url_forbidden", "The URL leads to an address that is not public."),
)
_KEY_MISSING: Final = Error(
    503, "webhook_key_missing", "This deployment lacks the key of the secret.", ("Retry-After",)
)
_TOLD_ONCE: Final = Answer("The webhook, with its secret.", ref("WebhookWithSecret"), ("Cache-Control",))

OPERATIONS: Final = (
    Operation(
        "POST",
        _WEBHOOKS,
        "create_webhook",
        _TAG,
        "Be told of uploads that end, or wait to be confirmed",
        {201: _TOLD_ONCE},
        "Events are signed as Standard Webhooks has it: docs/webhooks.md.",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(
            ref("NewWebhook"),
            {"url": "https://example.org/rowmill", "events": ["upload.completed", "upload.failed"]},
            codes={"url": "webhook_url_invalid"},
        ),
        errors=(
            *_URL_ERRORS,
            Error(409, "webhooks_too_many", "The tenant has 20 webhooks."),
            *REPEATED,
            _KEY_MISSING,
        ),
        lasts=True,
    ),
    Operation(
        "GET",
        _WEBHOOKS,
        "list_webhooks",
        _TAG,
        "All webhooks, the oldest first",
        paged("Webhooks"),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
    ),
    Operation(
        "GET",
        _ONE,
        "get_webhook",
        _TAG,
        "A webhook, and whether it is well",
        {200: Answer("The webhook.", ref("Webhook"), ("ETag",)), 304: unchanged()},
        headers={"If-None-Match": IF_NONE_MATCH},
        errors=(_UNKNOWN,),
    ),
    Operation(
        "PATCH",
        _ONE,
        "change_webhook",
        _TAG,
        "Change a webhook, disable it or enable it again",
        {200: Answer("The webhook as it is now.", ref("Webhook"))},
        body=Body(ref("WebhookChange"), {"enabled": True}, codes={"url": "webhook_url_invalid"}),
        errors=(_UNKNOWN, *_URL_ERRORS),
        lasts=True,
    ),
    Operation(
        "DELETE",
        _ONE,
        "delete_webhook",
        _TAG,
        "Tell it nothing more",
        {204: Answer("It is gone, and what was on its way to it.")},
        errors=(_UNKNOWN,),
    ),
    Operation(
        "POST",
        _ONE + "/rotate",
        "rotate_webhook",
        _TAG,
        "Sign with another secret",
        {201: _TOLD_ONCE},
        "For 24 hours events carry a signature of the former secret, too.",
        errors=(_UNKNOWN, _KEY_MISSING),
        lasts=True,
    ),
    Operation(
        "POST",
        _ONE + "/ping",
        "ping_webhook",
        _TAG,
        "Send an event that tells of nothing",
        {202: Answer("Its delivery; the listing of deliveries shows how it went.", ref("Delivery"))},
        errors=(
            _UNKNOWN,
            Error(409, "webhook_disabled", "The webhook is disabled: enable it first."),
            Error(429, "too_many_pings", "It was pinged ten times within a minute.", ("Retry-After",)),
        ),
    ),
    Operation(
        "GET",
        _ONE + "/deliveries",
        "list_deliveries",
        _TAG,
        "What it was told, the newest first",
        paged("Deliveries"),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(_UNKNOWN,),
    ),
)
