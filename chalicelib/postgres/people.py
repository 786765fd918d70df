"""Tenants, accounts and the catalogue of datasets, with who may do what in which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from chalicelib import tokens
from chalicelib.datasets import Dataset, is_dataset_id, is_dataset_name, read_schema
from chalicelib.errors import Refused, Unavailable
from chalicelib.journey import Mode, rfc3339
from chalicelib.postgres import changes, repeats
from chalicelib.postgres.connection import Connection
from chalicelib.roles import Role, hold_to


@dataclass(frozen=True, slots=True)
class Account:
    """Who may act for a tenant. `password_hash` is an argon2id PHC string."""

    user_id: str
    tenant: str
    username: str
    password_hash: str
    email: str | None = None


def add_account(connection: Connection, account: Account, asked: bytes | None = None) -> None:
    """A new tenant with its first account, `asked` for under this Idempotency-Key. Raises Refused `username_taken`."""
    try:
        with connection.transaction():
            connection.execute("INSERT INTO rowmill.tenant (tenant) VALUES (%s)", (account.tenant,))
            connection.execute(
                "INSERT INTO rowmill.account (user_id, tenant, username, password_hash, email, asked)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (account.user_id, account.tenant, account.username, account.password_hash, account.email, asked),
            )
    except psycopg.errors.UniqueViolation:
        raise Refused("username_taken", "This username is taken.", status=409) from None


def provision(connection: Connection, user_id: str, tenant: str) -> None:
    """An account of an issuer's, which nobody can log in to, and its tenant, unless they are there.

    Nobody deletes it until the transaction ends.
    Raises Refused `account_erased` (403) while its last account is still being erased.
    """
    with connection.transaction():
        connection.execute("INSERT INTO rowmill.tenant (tenant) VALUES (%s) ON CONFLICT DO NOTHING", (tenant,))
        connection.execute("SELECT FROM rowmill.tenant WHERE tenant = %s FOR SHARE", (tenant,))
        refuse_gone(connection, tenant)
        connection.execute(
            "INSERT INTO rowmill.account (user_id, tenant, username, password_hash) VALUES (%s, %s, %s, '')"
            " ON CONFLICT DO NOTHING",
            (user_id, tenant, user_id),
        )


def has_tenant(connection: Connection, tenant: str) -> bool:
    """Whether there is, or was, somebody of this tenant."""
    return connection.execute("SELECT FROM rowmill.tenant WHERE tenant = %s", (tenant,)).fetchone() is not None


def refuse_gone(connection: Connection, tenant: str) -> None:
    """Raise Refused `account_erased` (403) if the tenant's last account was deleted, whose tokens live on for a while;
    `token_invalid` (401) if there is none, as after a restore of Postgres, which knows nothing of later API keys.

    Before something is made for the tenant: raises Unavailable while Postgres takes no writes, or half of it would be.
    """
    found = connection.execute(
        "SELECT erased_at, current_setting('transaction_read_only')::boolean FROM rowmill.tenant WHERE tenant = %s",
        (tenant,),
    ).fetchone()
    if found and found[1]:
        raise Unavailable("database_unavailable", "The database takes no writes for now; try again.")
    if found is None:
        raise Refused("token_invalid", "There is no such account.", status=401, headers=tokens.CHALLENGE)
    if found[0] is not None:
        raise Refused("account_erased", "The account was deleted.", status=403)


def username_of(connection: Connection, user_id: str) -> str | None:
    """The name of an account, if there is one."""
    row = connection.execute("SELECT username FROM rowmill.account WHERE user_id = %s", (user_id,)).fetchone()
    return row[0] if row else None


def hold_account(connection: Connection, user_id: str, password_hash: str | None = None) -> bool:
    """Whether there is this account, with this password if one is said; neither changes until the transaction ends."""
    row = connection.execute(
        "SELECT FROM rowmill.account"
        " WHERE user_id = %(user)s AND (%(hash)s::text IS NULL OR password_hash = %(hash)s) FOR SHARE",
        {"user": user_id, "hash": password_hash},
    ).fetchone()
    return row is not None


def change_password(connection: Connection, user_id: str, known: str, password_hash: str) -> bool:
    """Whether the account's password was the `known` one; it is the other now."""
    changed = connection.execute(
        "UPDATE rowmill.account SET password_hash = %s WHERE user_id = %s AND password_hash = %s",
        (password_hash, user_id, known),
    )
    return bool(changed.rowcount)


def find_account(connection: Connection, username: str, asked: bytes | None = None) -> Account | None:
    """The account with this name, whatever its case; with `asked` only if this Idempotency-Key made it in a day."""
    row = connection.execute(
        f"""
        SELECT user_id, tenant, username, password_hash FROM rowmill.account
        WHERE lower(username) = lower(%(username)s)
            AND (%(asked)s::bytea IS NULL OR (asked = %(asked)s AND created_at > now() - {repeats.KEPT}))
        """,
        {"username": username, "asked": asked},
    ).fetchone()
    return Account(*row) if row else None


_DATASET = (
    "SELECT d.number, d.tenant, d.name, d.version, d.mode, d.descriptor, d.created_at, d.dataset_id,"
    f" (SELECT username FROM rowmill.account a WHERE a.tenant = d.tenant ORDER BY user_id LIMIT 1), {changes.COUNT}"
)


@dataclass(frozen=True, slots=True)
class Catalogued:
    """A dataset, when it was made (RFC 3339), what others call it, its owner's name, what the asker may do."""

    dataset: Dataset
    created_at: str
    dataset_id: str
    owner: str
    changes: int  # of its rows so far
    role: Role


def find_dataset(connection: Connection, tenant: str, name: str) -> Catalogued | None:
    """The tenant's own dataset of this name."""
    row = connection.execute(
        f"{_DATASET}, 'owner' FROM rowmill.dataset d WHERE tenant = %s AND name = %s AND deleted_at IS NULL",
        (tenant, name),
    ).fetchone()
    return _catalogued(row) if row else None


def resolve(connection: Connection, tenant: str, name: str) -> Catalogued | None:
    """The dataset that a request of this tenant's means: its own by name, or by id any that it has a role in."""
    if not is_dataset_id(name):
        return find_dataset(connection, tenant, name) if is_dataset_name(name) else None
    row = connection.execute(
        f"{_DATASET}, CASE d.tenant WHEN %(tenant)s THEN 'owner' ELSE g.role END"
        " FROM rowmill.dataset d LEFT JOIN rowmill.dataset_grant g ON g.dataset = d.number AND g.tenant = %(tenant)s"
        " WHERE dataset_id = %(id)s AND deleted_at IS NULL AND (d.tenant = %(tenant)s OR g.role IS NOT NULL)",
        {"tenant": tenant, "id": name},
    ).fetchone()
    return _catalogued(row) if row else None


def get_dataset(connection: Connection, tenant: str, name: str, needs: Role = "reader") -> Catalogued:
    """The same. Raises Refused `dataset_not_found` (404), and `role_forbids` (403) if the role is below `needs`."""
    found = resolve(connection, tenant, name)
    if found is None:
        raise Refused("dataset_not_found", "There is no dataset of this name.", status=404)
    hold_to(found.role, needs)
    return found


def numbered(connection: Connection, number: int) -> Dataset:
    """The dataset of this number, which there is."""
    row = connection.execute(f"{_DATASET}, 'owner' FROM rowmill.dataset d WHERE number = %s", (number,)).fetchone()
    assert row is not None
    return _catalogued(row).dataset


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


def hold_for_writing(connection: Connection, tenant: str, name: str) -> Dataset:
    """The dataset, for who may write to it, as it stays until the transaction ends. Raises Refused (401, 403, 404)."""
    refuse_gone(connection, tenant)
    keep_open(connection, get_dataset(connection, tenant, name, "writer").dataset.number)
    return get_dataset(connection, tenant, name, "writer").dataset


def list_datasets(connection: Connection, tenant: str, after: str, limit: int | None) -> Iterator[Catalogued]:
    """The tenant's datasets by name, those after `after`; all if there is no limit."""
    rows = connection.execute(
        f"{_DATASET}, 'owner' FROM rowmill.dataset d WHERE tenant = %s AND name > %s AND deleted_at IS NULL"
        " ORDER BY name LIMIT %s",
        (tenant, after, limit),
    )
    return map(_catalogued, rows)


def list_shared(connection: Connection, tenant: str, after: str, limit: int) -> Iterator[Catalogued]:
    """Others' datasets that the tenant has a role in, by id, those after `after`."""
    rows = connection.execute(
        f"{_DATASET}, g.role FROM rowmill.dataset_grant g JOIN rowmill.dataset d ON d.number = g.dataset"
        " WHERE g.tenant = %s AND d.dataset_id > %s AND deleted_at IS NULL ORDER BY d.dataset_id LIMIT %s",
        (tenant, after, limit),
    )
    return map(_catalogued, rows)


def list_referring(connection: Connection, tenant: str, name: str) -> list[Dataset]:
    """The tenant's datasets with a foreign key to the one of this name."""
    wanted = Jsonb({"foreignKeys": [{"reference": {"resource": name}}]})
    rows = connection.execute(
        f"{_DATASET}, 'owner' FROM rowmill.dataset d WHERE tenant = %s AND descriptor @> %s"
        " AND deleted_at IS NULL ORDER BY name",
        (tenant, wanted),
    )
    return [_catalogued(row).dataset for row in rows]


def add_dataset(connection: Connection, tenant: str, name: str, mode: Mode, descriptor: dict[str, Any]) -> int:
    """The number of a new dataset. Raises UniqueViolation if the name is taken, Refused `account_erased` (403)."""
    refuse_gone(connection, tenant)
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
    connection.execute("DELETE FROM rowmill.dataset_grant WHERE dataset = %s", (number,))
    connection.execute("DELETE FROM rowmill.pace WHERE dataset = %s", (number,))
    connection.execute("DELETE FROM rowmill.dataset_change WHERE dataset = %s", (number,))
    connection.execute(
        "UPDATE rowmill.dataset SET deleted_at = now(), version = version + 1 WHERE number = %s", (number,)
    )


def _catalogued(row: tuple[Any, ...]) -> Catalogued:
    number, tenant, name, version, mode, descriptor, created_at, *shown = row
    dataset = Dataset(number, tenant, name, version, mode, read_schema(descriptor), descriptor)
    return Catalogued(dataset, rfc3339(created_at), *shown)
