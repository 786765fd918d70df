"""Profiles of uploads (drift.Column): kept of each chunk, added up at the end, read again for the next upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from chalicelib import drift
from chalicelib.datasets import Schema
from chalicelib.drift import Column
from chalicelib.journey import Number
from chalicelib.postgres.connection import Connection


def add(connection: Connection, number: Number, n: int, profile: Sequence[Column]) -> None:
    """Keep the profile of a chunk, in the transaction that loads or checks it."""
    connection.execute(
        "INSERT INTO rowmill.profile (upload, n, body) VALUES (%s, %s, %s)"
        " ON CONFLICT (upload, n) DO UPDATE SET body = excluded.body",
        (number, n, Jsonb(drift.as_json(profile))),
    )


def judge(connection: Connection, number: Number, dataset: int, schema: Schema) -> dict[str, Any] | None:
    """Add up what chunks have left, and keep where it is unlike the uploads before. Hold the upload exclusively.

    What was found, also by an earlier call; None of an upload without good rows.
    """
    total = drift.added(_profiles(connection, number))
    if not total:
        return None
    before = _before(connection, number, dataset)
    found = {"compared_with": len(before), "differences": drift.differences(schema.fields, total, before)}
    names = [{"name": name} | column for name, column in zip(schema.names, drift.as_json(total), strict=True)]
    connection.execute(
        "UPDATE rowmill.upload SET profile = %s, drift = %s WHERE number = %s", (Jsonb(names), Jsonb(found), number)
    )
    connection.execute("DELETE FROM rowmill.profile WHERE upload = %s", (number,))
    return found


def _profiles(connection: Connection, number: Number) -> list[Sequence[Column]]:
    """What was added up before, and what chunks have left since."""
    rows = connection.execute(
        "SELECT profile FROM rowmill.upload WHERE number = %s AND profile IS NOT NULL"
        " UNION ALL SELECT body FROM rowmill.profile WHERE upload = %s",
        (number, number),
    )
    return [drift.from_json([_without_name(column) for column in body]) for (body,) in rows]


def _before(connection: Connection, number: Number, dataset: int) -> list[dict[str, Column]]:
    """The columns by name of the latest uploads into the dataset that have loaded rows."""
    rows = connection.execute(
        """
        SELECT profile FROM rowmill.upload
        WHERE dataset = %s AND number <> %s AND profile IS NOT NULL
          AND state IN ('completed', 'completed_with_errors')
        ORDER BY number DESC LIMIT %s
        """,
        (dataset, number, drift.UPLOADS),
    )
    return [{column["name"]: Column(**_without_name(column)) for column in body} for (body,) in rows]


def _without_name(column: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in column.items() if name != "name"}
