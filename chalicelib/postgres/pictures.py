"""Pictures of rows, by the dataset and the row's number: awaited, shown, gone. Each inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from chalicelib.postgres.connection import Connection

_PICTURE = "picture_id, dataset, row_id, object_key, content_type, size, version_id"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's object, and the row it is of. `version_id` is that of the bytes that were looked at."""

    picture_id: str
    dataset: int
    row_id: int
    object_key: str
    content_type: str
    size: int
    version_id: str | None = None


def await_one(connection: Connection, new: Picture) -> None:
    """A form is about to be handed out for this picture."""
    connection.execute(
        f"INSERT INTO rowmill.picture ({_PICTURE}) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (new.picture_id, new.dataset, new.row_id, new.object_key, new.content_type, new.size, new.version_id),
    )


def find(connection: Connection, dataset: int, row_id: int, picture_id: str) -> Picture | None:
    """A picture of this row that is awaited or shown."""
    with connection.cursor(row_factory=class_row(Picture)) as cursor:
        return cursor.execute(
            f"SELECT {_PICTURE} FROM rowmill.picture"
            " WHERE picture_id = %s AND dataset = %s AND row_id = %s AND state <> 'gone'",
            (picture_id, dataset, row_id),
        ).fetchone()


def show(connection: Connection, picture: Picture, version_id: str | None) -> bool:
    """Show this one and no other of its row, whose lock the caller holds; False if it is gone meanwhile."""
    connection.execute(
        "UPDATE rowmill.picture SET state = 'gone', changed_at = now()"
        " WHERE dataset = %s AND row_id = %s AND state = 'shown' AND picture_id <> %s",
        (picture.dataset, picture.row_id, picture.picture_id),
    )
    done = connection.execute(
        "UPDATE rowmill.picture SET state = 'shown', changed_at = now(), version_id = coalesce(version_id, %s)"
        " WHERE picture_id = %s AND state <> 'gone'",
        (version_id, picture.picture_id),
    )
    return done.rowcount == 1


def abandon(connection: Connection, dataset: int, row_id: int | None = None) -> None:
    """The row's pictures are gone; all of the dataset's if no row is named."""
    connection.execute(
        "UPDATE rowmill.picture SET state = 'gone', changed_at = now()"
        " WHERE dataset = %(dataset)s AND (row_id = %(row)s OR %(row)s::bigint IS NULL) AND state <> 'gone'",
        {"dataset": dataset, "row": row_id},
    )


def abandon_all(connection: Connection, dataset: int, rows: Sequence[int]) -> None:
    """The pictures of these rows are gone."""
    connection.execute(
        "UPDATE rowmill.picture SET state = 'gone', changed_at = now()"
        " WHERE dataset = %s AND row_id = ANY(%s) AND state <> 'gone'",
        (dataset, list(rows)),
    )


def shown(connection: Connection, dataset: int, rows: Sequence[int]) -> dict[int, Picture]:
    """The pictures that these rows show, by row."""
    with connection.cursor(row_factory=class_row(Picture)) as cursor:
        found = cursor.execute(
            f"SELECT {_PICTURE} FROM rowmill.picture WHERE dataset = %s AND row_id = ANY(%s) AND state = 'shown'",
            (dataset, list(rows)),
        )
        return {one.row_id: one for one in found}


def list_gone(connection: Connection, awaited_for: timedelta, limit: int, dataset: int | None = None) -> list[Picture]:
    """Pictures to delete: those that are gone, and those that were awaited for longer than that."""
    with connection.cursor(row_factory=class_row(Picture)) as cursor:
        return cursor.execute(
            f"""
            SELECT {_PICTURE} FROM rowmill.picture
            WHERE ((state = 'gone' AND changed_at <= now()) OR (state = 'awaited' AND changed_at < now() - %(awaited)s))
              AND (dataset = %(dataset)s OR %(dataset)s::integer IS NULL) ORDER BY changed_at LIMIT %(limit)s
            """,
            {"awaited": awaited_for, "dataset": dataset, "limit": limit},
        ).fetchall()


def forget(connection: Connection, picture_id: str, closes_at: datetime) -> None:
    """Its object is deleted. One that has come to be shown meanwhile stays; another may be sent by its form until this
    moment, so it is deleted once more then.
    """
    named = {"picture": picture_id, "closes": closes_at}
    connection.execute(
        "DELETE FROM rowmill.picture WHERE picture_id = %(picture)s AND state <> 'shown' AND %(closes)s <= now()", named
    )
    connection.execute(
        "UPDATE rowmill.picture SET state = 'gone', changed_at = %(closes)s, version_id = NULL"
        " WHERE picture_id = %(picture)s AND state <> 'shown'",
        named,
    )
