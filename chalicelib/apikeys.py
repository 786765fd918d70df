"""API keys: how a machine, which can neither log in nor keep a session going, is let in for its owner."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from ulid import ULID

from chalicelib import paging, tokens
from chalicelib.aws import apikeys
from chalicelib.aws.apikeys import ApiKey
from chalicelib.errors import Refused
from chalicelib.paging import Asked, Page

_ID: Final = re.compile(r"key_[0-9A-Z]{26}").fullmatch
_SHOWN: Final = 12  # of the secret's characters, its kind with them: 48 of its 256 bits


def create(tenant: str, user_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A new key with its secret, which is never told again. Raises Refused `api_key_invalid` (422)."""
    name, days = body["name"].strip(), body.get("expires_in_days")
    if not name or not name.isprintable():
        raise Refused("api_key_invalid", "A key's name has printable characters, and not blanks alone.")
    secret, now = tokens.secret(tokens.API_KEY), int(time.time())
    digest, role = tokens.digest(secret).hex(), body.get("role", "owner")
    key = ApiKey(user_id, f"key_{ULID()}", name, secret[:_SHOWN], role, digest, now, apikeys.expiry(now, days))
    apikeys.add(tenant, key)
    return _shown(key) | {"secret": secret}


def listing(user_id: str, asked: Asked) -> Page:
    """The account's keys, the oldest first."""
    after = paging.decode(asked.cursor, str, "")
    if after and not _ID(after):
        raise paging.foreign_cursor()
    keys = apikeys.page(user_id, after, asked.limit + 1)
    return paging.fill(keys, asked.limit, _shown, lambda key: key.key_id)


def delete(user_id: str, key_id: str) -> None:
    """The key opens nothing from now on. Raises Refused `unknown_api_key` (404)."""
    if not _ID(key_id) or not apikeys.delete(user_id, key_id):
        raise Refused("unknown_api_key", "There is no such API key.", status=404)


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "created_at": apikeys.rfc3339(key.created),
        "expires_at": apikeys.rfc3339(key.good_until),
    }
