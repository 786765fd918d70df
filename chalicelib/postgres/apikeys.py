"""API keys, known by the hash of their secret."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is shown: all but its secret. Times are RFC 3339; one without an end has None there."""

    key_id: str
    name: str
    prefix: str
    created_at: str
    expires_at: str | None


_RFC3339 = """'YYYY-MM-DD"T"HH24:MI:SS"Z"'"""
_KEY = f"key_id, name, prefix, to_char(created_at, {_RFC3339}), to_char(expires_at, {_RFC3339})"


def add(
    connection: Connection, user_id: str, key_id: str, name: str, prefix: str, secret: bytes, days: int | None
) -> ApiKey:
    """A new key, for so many days or for good."""
    row = connection.execute(
        "INSERT INTO rowmill.api_key (key_id, user_id, name, prefix, hash, expires_at)"
        f" VALUES (%s, %s, %s, %s, %s, now() + %s::int * interval '1 day') RETURNING {_KEY}",
        (key_id, user_id, name, prefix, secret, days),
    ).fetchone()
    assert row is not None
    return ApiKey(*row)


def page(connection: Connection, user_id: str, after: str, limit: int) -> Iterator[ApiKey]:
    """The account's keys, the oldest first, those after `after`."""
    rows = connection.execute(
        f"SELECT {_KEY} FROM rowmill.api_key WHERE user_id = %s AND key_id > %s ORDER BY key_id LIMIT %s",
        (user_id, after, limit),
    )
    return (ApiKey(*row) for row in rows)


def delete(connection: Connection, user_id: str, key_id: str) -> bool:
    """Whether the account had such a key; it has not now."""
    return bool(
        connection.execute("DELETE FROM rowmill.api_key WHERE user_id = %s AND key_id = %s", (user_id, key_id)).rowcount
    )


def owner(connection: Connection, secret: bytes) -> tuple[str, str, str] | None:
    """The user and the tenant that a key speaks for, and its id, if it is one and has not expired."""
    row = connection.execute(
        "SELECT user_id, tenant, key_id FROM rowmill.api_key JOIN rowmill.account USING (user_id)"
        " WHERE hash = %s AND (expires_at IS NULL OR expires_at > now())",
        (secret,),
    ).fetchone()
    return (row[0], row[1], row[2]) if row else None
