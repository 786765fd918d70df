"""Profiles of uploads (drift.Column): kept of each chunk, added up at the end, read again for the next upload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from psycopg.types.json import Jsonb

from chalicelib import drift
from chalicelib.datasets import Schema
from chalicelib.drift import Column
from chalicelib.journey import Number
from chalicelib.postgres.connection import Connection

READ_AT_ONCE: Final = 4  # of a wide file each is megabytes


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
    before = _before(connection, number, dataset, schema)
    found = {"compared_with": len(before), "differences": drift.differences(schema.fields, total, before)}
    columns = [
        {"name": field.name, "type": field.type} | column
        for field, column in zip(schema.fields, drift.as_json(total), strict=True)
    ]
    connection.execute(
        "UPDATE rowmill.upload SET profile = %s, drift = %s WHERE number = %s", (Jsonb(columns), Jsonb(found), number)
    )
    connection.execute("DELETE FROM rowmill.profile WHERE upload = %s", (number,))
    return found


def _profiles(connection: Connection, number: Number) -> Iterator[Sequence[Column]]:
    """What was added up before, and what chunks have left since: a few at once, as a large file has thousands."""
    before = connection.execute(
        "SELECT profile FROM rowmill.upload WHERE number = %s AND profile IS NOT NULL", (number,)
    ).fetchall()
    yield from (drift.from_json([*map(_measured, body)]) for (body,) in before)
    after = 0
    while bodies := connection.execute(
        "SELECT n, body FROM rowmill.profile WHERE upload = %s AND n > %s ORDER BY n LIMIT %s",
        (number, after, READ_AT_ONCE),
    ).fetchall():
        yield from (drift.from_json(body) for _, body in bodies)
        after = bodies[-1][0]


def _before(connection: Connection, number: Number, dataset: int, schema: Schema) -> list[dict[str, Column]]:
    """The columns by name of the latest uploads into the dataset that have loaded rows.

    Not those that were of another type before the dataset was emptied and put again: days are no numbers, nor lengths.
    """
    rows = connection.execute(
        """
        SELECT profile FROM rowmill.upload
        WHERE dataset = %s AND number <> %s AND profile IS NOT NULL
          AND state IN ('completed', 'completed_with_errors')
        ORDER BY number DESC LIMIT %s
        """,
        (dataset, number, drift.UPLOADS),
    )
    types: dict[str, str] = {field.name: field.type for field in schema.fields}
    return [
        {
            name: Column(**_measured(column))
            for column in body
            # A profile from before types were kept in it is taken to be of the same.
            if (name := column["name"]) in types and column.get("type", types[name]) == types[name]
        }
        for (body,) in rows
    ]


def _measured(column: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in column.items() if name not in ("name", "type")}
