"""API keys: how a machine, which can neither log in nor keep a session going, is let in for its owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ulid import ULID

from chalicelib import paging, tokens
from chalicelib.errors import Refused
from chalicelib.paging import Asked, Page
from chalicelib.postgres import apikeys
from chalicelib.postgres.apikeys import ApiKey
from chalicelib.postgres.connection import connection
from chalicelib.strict_json import is_text

_SHOWN: Final = 12  # of the secret's characters, its kind with them: 48 of its 256 bits


def create(user_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A new key with its secret, which is never told again. Raises Refused `api_key_invalid` (422)."""
    name, days = body["name"].strip(), body.get("expires_in_days")
    if not name or not name.isprintable():
        raise Refused("api_key_invalid", "A key's name has printable characters, and not blanks alone.")
    secret, role = tokens.secret(tokens.API_KEY), body.get("role", "owner")
    key_id, digest = f"key_{ULID()}", tokens.digest(secret)
    key = apikeys.add(connection(), user_id, key_id, name, secret[:_SHOWN], role, digest, days)
    return _shown(key) | {"secret": secret}


def listing(user_id: str, asked: Asked) -> Page:
    """The account's keys, the oldest first."""
    after = paging.decode(asked.cursor, str, "")
    keys = apikeys.page(connection(), user_id, after, asked.limit + 1)
    return paging.fill(keys, asked.limit, _shown, lambda key: key.key_id)


def delete(user_id: str, key_id: str) -> None:
    """The key opens nothing from now on. Raises Refused `unknown_api_key` (404)."""
    if not is_text(key_id) or not apikeys.delete(connection(), user_id, key_id):
        raise Refused("unknown_api_key", "There is no such API key.", status=404)


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
    }
