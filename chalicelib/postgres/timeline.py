"""What has happened to an upload, in order: the rows that it happened to tell it themselves (migration 0013).

Every change of an upload's state and every death of a chunk is written by a trigger, in the transaction that makes it.
What only the API knows, that somebody asked and who, is a `note` in the transaction that does what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from chalicelib.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for something: the id of a user or of an API key, and of the request."""

    who: str
    request_id: str


NOBODY: Final = Asker("", "")


def note(
    connection: Connection, upload_id: str, event: str, by: Asker, details: Mapping[str, Any] | None = None
) -> None:
    """Somebody has asked for this. Within the transaction that does it; no row data, no names of people."""
    connection.execute(
        "INSERT INTO rowmill.event (upload_id, event, asked_by, request_id, details) VALUES (%s, %s, %s, %s, %s)",
        (upload_id, event, by.who or None, by.request_id or None, Jsonb(details or {})),
    )


def page(connection: Connection, upload_id: str, after: int, limit: int) -> list[dict[str, Any]]:
    """An upload's events as the API shows them, but for moments, the oldest first, those after `after`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT id, at, event, state, asked_by AS by, request_id, details
            FROM rowmill.event WHERE upload_id = %s AND id > %s ORDER BY id LIMIT %s
            """,
            (upload_id, after, limit),
        ).fetchall()
