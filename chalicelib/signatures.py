"""Standard Webhooks: the secrets that events are signed with, and the signatures.

A secret is not kept anywhere. It is derived from its name, which is, and from a key that only the functions have: of
WEBHOOK_SECRET, one key or several between commas, the newest first. The name says which key; see `name`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from functools import cache
from typing import Final

from chalicelib.errors import Unavailable
from chalicelib.settings import settings

PREFIX: Final = "whsec_"


def new_name() -> str:
    """The name of a new secret: a digest of the key that it is derived with, and chance."""
    return f"{next(iter(_keys(settings().webhook_secret)))}.{secrets.token_hex(16)}"


def secret(webhook_id: str, name: str) -> str:
    """The secret of this name, as receivers are given it. Raises Unavailable if its key is not there any more."""
    return PREFIX + base64.b64encode(_derived(webhook_id, name)).decode()


def headers(event_id: str, timestamp: int, body: bytes, webhook_id: str, names: Iterable[str]) -> dict[str, str]:
    """The three headers of a delivery, with a signature for each of these secrets."""
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    keys = [_derived(webhook_id, name) for name in names]
    signatures = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }


def _derived(webhook_id: str, name: str) -> bytes:
    key = _keys(settings().webhook_secret).get(name.partition(".")[0])
    if key is None:
        raise Unavailable("webhook_key_missing", "The key of this webhook's secret is not there.", retry_after=60)
    return hmac.digest(key.encode(), f"{webhook_id}.{name}".encode(), "sha256")


@cache
def _keys(texts: str) -> dict[str, str]:
    """Our keys by a digest of each, the one that makes new secrets first."""
    if not texts:
        raise Unavailable("webhook_key_missing", "WEBHOOK_SECRET is not set.", retry_after=60)
    return {hashlib.sha256(text.encode()).hexdigest()[:16]: text for text in texts.split(",")}
