"""Tenants, accounts and the catalogue of datasets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from chalicelib.datasets import Dataset, is_dataset_name, read_schema
from chalicelib.errors import Refused
from chalicelib.journey import Mode, rfc3339
from chalicelib.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class Account:
    """Who may act for a tenant. `password_hash` is an argon2id PHC string."""

    user_id: str
    tenant: str
    username: str
    password_hash: str


def add_account(connection: Connection, account: Account) -> None:
    """A new tenant with its first account. Raises Refused `username_taken`."""
    try:
        with connection.transaction():
            connection.execute("INSERT INTO rowmill.tenant (tenant) VALUES (%s)", (account.tenant,))
            connection.execute(
                "INSERT INTO rowmill.account (user_id, tenant, username, password_hash) VALUES (%s, %s, %s, %s)",
                (account.user_id, account.tenant, account.username, account.password_hash),
            )
    except psycopg.errors.UniqueViolation:
        raise Refused("username_taken", "This username is taken.", status=409) from None


def settle(connection: Connection, user_id: str, tenant: str) -> None:
    """An account of an issuer's, which nobody can log in to, and its tenant, unless they are there."""
    with connection.transaction():
        connection.execute("INSERT INTO rowmill.tenant (tenant) VALUES (%s) ON CONFLICT DO NOTHING", (tenant,))
        connection.execute(
            "INSERT INTO rowmill.account (user_id, tenant, username, password_hash) VALUES (%s, %s, %s, '')"
            " ON CONFLICT DO NOTHING",
            (user_id, tenant, user_id),
        )


def find_account(connection: Connection, username: str) -> Account | None:
    """The account with this name, whatever its case."""
    row = connection.execute(
        "SELECT user_id, tenant, username, password_hash FROM rowmill.account WHERE lower(username) = lower(%s)",
        (username,),
    ).fetchone()
    return Account(*row) if row else None


_DATASET = "number, name, version, mode, descriptor, created_at"


@dataclass(frozen=True, slots=True)
class Catalogued:
    """A dataset and when it was made (RFC 3339)."""

    dataset: Dataset
    created_at: str


def find_dataset(connection: Connection, tenant: str, name: str) -> Catalogued | None:
    """The tenant's dataset of this name."""
    row = connection.execute(
        f"SELECT {_DATASET} FROM rowmill.dataset WHERE tenant = %s AND name = %s AND deleted_at IS NULL", (tenant, name)
    ).fetchone()
    return _catalogued(row) if row else None


def get_dataset(connection: Connection, tenant: str, name: str) -> Catalogued:
    """The tenant's dataset of this name. Raises Refused `dataset_not_found` (404)."""
    found = find_dataset(connection, tenant, name) if is_dataset_name(name) else None
    if found is None:
        raise Refused("dataset_not_found", "There is no dataset of this name.", status=404)
    return found


def hold_dataset(connection: Connection, tenant: str, name: str) -> None:
    """Let nobody else change the dataset, or look whether they may, until the transaction ends."""
    connection.execute(
        "SELECT FROM rowmill.dataset WHERE tenant = %s AND name = %s AND deleted_at IS NULL FOR NO KEY UPDATE",
        (tenant, name),
    )


def close_dataset(connection: Connection, number: int) -> None:
    """Let no upload into the dataset be opened, or begin again, until the transaction ends."""
    connection.execute("SELECT FROM rowmill.dataset WHERE number = %s FOR UPDATE", (number,))


def keep_open(connection: Connection, number: int) -> int:
    """The dataset's version, which nobody changes until the transaction ends."""
    row = connection.execute(
        "SELECT version FROM rowmill.dataset WHERE number = %s FOR KEY SHARE", (number,)
    ).fetchone()
    return int(row[0]) if row else 0


def list_datasets(connection: Connection, tenant: str, after: str, limit: int | None) -> Iterator[Catalogued]:
    """The tenant's datasets by name, those after `after`; all if there is no limit."""
    rows = connection.execute(
        f"SELECT {_DATASET} FROM rowmill.dataset WHERE tenant = %s AND name > %s AND deleted_at IS NULL"
        " ORDER BY name LIMIT %s",
        (tenant, after, limit),
    )
    return map(_catalogued, rows)


def list_referring(connection: Connection, tenant: str, name: str) -> list[Dataset]:
    """The tenant's datasets with a foreign key to the one of this name."""
    wanted = Jsonb({"foreignKeys": [{"reference": {"resource": name}}]})
    rows = connection.execute(
        f"SELECT {_DATASET} FROM rowmill.dataset WHERE tenant = %s AND descriptor @> %s"
        " AND deleted_at IS NULL ORDER BY name",
        (tenant, wanted),
    )
    return [_catalogued(row).dataset for row in rows]


def add_dataset(connection: Connection, tenant: str, name: str, mode: Mode, descriptor: dict[str, Any]) -> int:
    """The number of a new dataset, or raises UniqueViolation if the name is taken."""
    row = connection.execute(
        "INSERT INTO rowmill.dataset (tenant, name, mode, descriptor) VALUES (%s, %s, %s, %s) RETURNING number",
        (tenant, name, mode, Jsonb(descriptor)),
    ).fetchone()
    assert row is not None
    return int(row[0])


def change_dataset(connection: Connection, dataset: Dataset, mode: Mode, descriptor: dict[str, Any]) -> None:
    """Another mode or descriptor; a new version of the dataset if its schema is another."""
    connection.execute(
        "UPDATE rowmill.dataset SET version = version + %s, mode = %s, descriptor = %s WHERE number = %s",
        (int(read_schema(descriptor) != dataset.schema), mode, Jsonb(descriptor), dataset.number),
    )


def delete_dataset(connection: Connection, number: int) -> None:
    """Free the name. The number stays, for the uploads that were loaded under it, at a version that none was."""
    connection.execute(
        "UPDATE rowmill.dataset SET deleted_at = now(), version = version + 1 WHERE number = %s", (number,)
    )


def _catalogued(row: tuple[Any, ...]) -> Catalogued:
    number, name, version, mode, descriptor, created_at = row
    return Catalogued(Dataset(number, name, version, mode, read_schema(descriptor), descriptor), rfc3339(created_at))
