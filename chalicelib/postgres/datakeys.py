"""Data keys of encrypted fields, wrapped by KMS; none of them is ever here in the open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from psycopg.rows import class_row

from chalicelib.postgres.connection import Connection

Purpose = Literal["upload", "hand", "blind"]
_COLUMNS: Final = "number, tenant, dataset, purpose, upload, kms_key, wrapped"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key: `upload` is 0 of what is the dataset's own, `kms_key` the ARN of the key that wraps it.

    `wrapped` is empty of one that went with the account of the dataset's owner.
    """

    number: int
    tenant: str
    dataset: int
    purpose: Purpose
    upload: int
    kms_key: str
    wrapped: bytes

    @property
    def context(self) -> dict[str, str]:
        """What KMS binds it to."""
        return context(self.tenant, self.dataset, self.purpose, self.upload)


def context(tenant: str, dataset: int, purpose: Purpose, upload: int) -> dict[str, str]:
    """What KMS binds a data key to."""
    return {"tenant": tenant, "dataset": str(dataset), "purpose": purpose, "upload": str(upload)}


def find(connection: Connection, dataset: int, purpose: Purpose, upload: int) -> Wrapped | None:
    """The key for this."""
    with connection.cursor(row_factory=class_row(Wrapped)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM rowmill.data_key WHERE (dataset, purpose, upload) = (%s, %s, %s)",
            (dataset, purpose, upload),
        ).fetchone()


def of_upload(connection: Connection, upload: int) -> Wrapped | None:
    """The key of an upload, if it ever had one: then its rejected records are sealed by it."""
    with connection.cursor(row_factory=class_row(Wrapped)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM rowmill.data_key WHERE purpose = 'upload' AND upload = %s", (upload,)
        ).fetchone()


def numbered(connection: Connection, number: int) -> Wrapped | None:
    """The key that sealed values call by this number."""
    with connection.cursor(row_factory=class_row(Wrapped)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} FROM rowmill.data_key WHERE number = %s", (number,)).fetchone()


def add(
    connection: Connection, tenant: str, dataset: int, purpose: Purpose, upload: int, kms: tuple[str, bytes]
) -> None:
    """Keep a new key, unless somebody else was first: then theirs is the key."""
    connection.execute(
        "INSERT INTO rowmill.data_key (tenant, dataset, purpose, upload, kms_key, wrapped)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (tenant, dataset, purpose, upload, *kms),
    )


def list_after(connection: Connection, number: int, limit: int) -> list[Wrapped]:
    """Keys by number, those after this one, but for those that are gone."""
    with connection.cursor(row_factory=class_row(Wrapped)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM rowmill.data_key WHERE number > %s AND wrapped <> '' ORDER BY number LIMIT %s",
            (number, limit),
        ).fetchall()


def rewrap(connection: Connection, key: Wrapped, kms_key: str, wrapped: bytes) -> None:
    """The same key, wrapped anew."""
    connection.execute(
        "UPDATE rowmill.data_key SET kms_key = %s, wrapped = %s, wrapped_at = now() WHERE number = %s AND wrapped = %s",
        (kms_key, wrapped, key.number, key.wrapped),
    )
