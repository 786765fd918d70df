"""Idempotency-Keys of what is made in Postgres: the answer is kept in the transaction that makes it.

So a crash leaves both or neither, and there is no time in which a repeat could make it twice. What was refused is not
kept: the same key may be tried again. Uploads begin in the status table, and keep theirs there (admit).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from chalicelib.errors import Refused
from chalicelib.postgres import locks
from chalicelib.postgres.connection import Connection

KEPT: Final = "interval '24 hours'"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A request that may be one that was made before: who asks whom for what (`scope`), under which key."""

    tenant: str
    scope: Sequence[str]
    said: str  # the Idempotency-Key, which is kept as a hash alone
    body: Mapping[str, Any]

    @property
    def key(self) -> bytes:
        """As what the key is kept."""
        return _hashed([self.tenant, *self.scope, self.said])

    def within(self, dataset: int) -> Repeat:
        """The same in one dataset alone: another may have its name and its path one day."""
        return replace(self, scope=[*self.scope, str(dataset)])

    @property
    def asked(self) -> bytes:
        """As what the body is kept."""
        return _hashed(self.body)


def once(connection: Connection, repeat: Repeat | None, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` answers; where it was answered under this key before, that. Within the transaction that makes it.

    Raises Refused `idempotency_conflict` (409) while another request makes it, `idempotency_key_reused` (422).
    """
    if repeat is None:
        return make()
    if not locks.try_repeat(connection, repeat.key):
        raise Refused("idempotency_conflict", "A request with this Idempotency-Key is under way.", status=409)
    row = connection.execute(
        f"SELECT body, answer FROM rowmill.repeat WHERE tenant = %s AND key = %s AND created_at > now() - {KEPT}",
        (repeat.tenant, repeat.key),
    ).fetchone()
    if row is None:
        return _kept(connection, repeat, make())
    if row[0] != repeat.asked:
        raise Refused("idempotency_key_reused", "This Idempotency-Key came with another body before.")
    answered: dict[str, Any] = json.loads(row[1])
    return answered


def _kept(connection: Connection, repeat: Repeat, answer: dict[str, Any]) -> dict[str, Any]:
    connection.execute(
        """
        INSERT INTO rowmill.repeat (tenant, key, body, answer) VALUES (%s, %s, %s, %s)
        ON CONFLICT (tenant, key)
        DO UPDATE SET body = excluded.body, answer = excluded.answer, created_at = excluded.created_at
        """,
        (repeat.tenant, repeat.key, repeat.asked, json.dumps(answer)),
    )
    return answer


def forget_old(connection: Connection) -> int:
    """Delete the answers that are no longer kept; how many there were."""
    return connection.execute(f"DELETE FROM rowmill.repeat WHERE created_at < now() - {KEPT}").rowcount


def _hashed(value: Any) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
