"""API keys: how a machine, which can neither log in nor keep a session going, is let in for its owner."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ulid import ULID

from chalicelib import paging, tokens
from chalicelib.aws import apikeys
from chalicelib.aws.apikeys import ApiKey
from chalicelib.errors import Refused
from chalicelib.paging import Asked, Page
from chalicelib.postgres import people
from chalicelib.postgres.connection import connection
from chalicelib.postgres.repeats import Repeat, once

_ID: Final = re.compile(r"key_[0-9A-Z]{26}").fullmatch
_DAY: Final = 86_400
_SHOWN: Final = 12  # of the secret's characters, its kind with them: 48 of its 256 bits


def create(tenant: str, user_id: str, body: Mapping[str, Any], repeat: Repeat | None = None) -> dict[str, Any]:
    """A new key with its secret, which is told again under the same Idempotency-Key alone, and kept nowhere.

    Raises Refused `api_key_invalid` (422), `secret_forgotten` (409) for a repeat after our own keys have changed.
    """
    name, days = body["name"].strip(), body.get("expires_in_days")
    if not name or not name.isprintable():
        raise Refused("api_key_invalid", "A key's name has printable characters, and not blanks alone.")
    key_id, db = f"key_{ULID()}", connection()
    secret = tokens.secret(tokens.API_KEY) if repeat is None else next(_derived(repeat, key_id))
    digest, role, now = tokens.digest(secret).hex(), body.get("role", "owner"), int(time.time())
    key = ApiKey(user_id, key_id, name, secret[:_SHOWN], role, digest, now, None if days is None else now + days * _DAY)
    with db.transaction():
        if not people.hold_account(db, user_id):
            raise Refused("token_invalid", "The account was deleted.", status=401, headers=tokens.CHALLENGE)
        made = once(db, repeat, lambda: _added(tenant, key))
    if repeat is not None and made["id"] != key_id:
        secret = _told_again(repeat, made)
    return made | {"secret": secret}


def _added(tenant: str, key: ApiKey) -> dict[str, Any]:
    apikeys.add(tenant, key)
    return _shown(key)


def _derived(repeat: Repeat, key_id: str) -> Iterator[str]:
    """What a key's secret is made of: our own keys, and the Idempotency-Key, which only who asked for it has."""
    return tokens.derived(tokens.API_KEY, f"{key_id} {repeat.said}")


def _told_again(repeat: Repeat, made: Mapping[str, Any]) -> str:
    for secret in _derived(repeat, made["id"]):
        if secret.startswith(made["prefix"]):
            return secret
    detail = f"The key was made, but its secret cannot be told again: delete {made['id']} and make another."
    raise Refused("secret_forgotten", detail, status=409)


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
        "created_at": _moment(key.created),
        "expires_at": _moment(key.good_until),
    }


def _moment(seconds: int | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
