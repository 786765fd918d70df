"""Who may read or write whose dataset, by tenant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.journey import rfc3339
from chalicelib.postgres.connection import Connection
from chalicelib.roles import Role


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that somebody has in a dataset of another's, and since when (RFC 3339)."""

    username: str
    role: Role
    granted_at: str


def put(connection: Connection, dataset: int, tenant: str, role: Role) -> bool:
    """Let a tenant have this role and no other; whether it had none before."""
    with connection.transaction():
        row = connection.execute(
            """
            INSERT INTO rowmill.dataset_grant AS g (dataset, tenant, role) VALUES (%s, %s, %s)
            ON CONFLICT (dataset, tenant) DO UPDATE SET role = excluded.role RETURNING old.tenant IS NULL
            """,
            (dataset, tenant, role),
        ).fetchone()
        if role != "writer":
            _stop_writing(connection, dataset, tenant)
    return bool(row and row[0])


def remove(connection: Connection, dataset: int, tenant: str) -> bool:
    """Whether the tenant had a role; it has none now."""
    with connection.transaction():
        gone = connection.execute(
            "DELETE FROM rowmill.dataset_grant WHERE dataset = %s AND tenant = %s", (dataset, tenant)
        )
        _stop_writing(connection, dataset, tenant)
    return gone.rowcount == 1


def _stop_writing(connection: Connection, dataset: int, tenant: str) -> None:
    """Cancel what the tenant is loading into the dataset. What is announced and not opened yet fails when it is."""
    connection.execute(
        "INSERT INTO rowmill.cancel (upload_id) SELECT upload_id FROM rowmill.upload"
        " WHERE dataset = %s AND tenant = %s AND finished_at IS NULL AND state <> 'reverting' ON CONFLICT DO NOTHING",
        (dataset, tenant),
    )


_GRANT = (
    "SELECT a.username, g.role, g.granted_at FROM rowmill.dataset_grant g JOIN rowmill.account a USING (tenant)"
    " WHERE g.dataset = %s"
)


def find(connection: Connection, dataset: int, tenant: str) -> Grant | None:
    """A tenant's role in a dataset."""
    row = connection.execute(_GRANT + " AND g.tenant = %s", (dataset, tenant)).fetchone()
    return Grant(row[0], row[1], rfc3339(row[2])) if row else None


def page(connection: Connection, dataset: int, after: str, limit: int) -> Iterator[Grant]:
    """Who has a role in a dataset, by name, those after `after`."""
    rows = connection.execute(
        _GRANT + ' AND a.username COLLATE "C" > %s ORDER BY a.username COLLATE "C" LIMIT %s', (dataset, after, limit)
    )
    return (Grant(username, role, rfc3339(granted_at)) for username, role, granted_at in rows)
