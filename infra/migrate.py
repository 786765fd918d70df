"""The SQL files of infra/migrations, applied in order, each in one transaction, at most once.

`rowmill.migration` remembers each file by name and SHA-256; a file that changed after it was applied is an
error, because some databases would then never see the change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from infra import grants
from infra.cloud import DeployError

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
_LOCK = 0x726F776D696C6C  # "rowmill" in ASCII

_APPLIED = b"SELECT name, sha256 FROM rowmill.migration"
_MEMORY = b"""
CREATE SCHEMA IF NOT EXISTS rowmill;
CREATE TABLE IF NOT EXISTS rowmill.migration (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, read once: what is hashed is what is run."""

    name: str
    sql: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql).hexdigest()


def migrate(database_url: str, directory: Path = MIGRATIONS) -> int:
    """How many files were applied; 0 when the database was up to date. Then each role may do what infra.grants lists.

    What another release has given it, it keeps: `take_back`.

    Files that the database knows and the directory lacks are left alone: that is an older release going out
    again. Raises DeployError for a changed file and for one numbered below what is already applied.
    """
    with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as connection:
        alone(connection)
        connection.execute(_MEMORY)
        applied: dict[str, str] = dict(connection.execute(_APPLIED).fetchall())
        missing = list(_waiting(applied, _read(directory)))
        for migration in missing:
            _apply(connection, migration)
        if directory == MIGRATIONS:
            grants.give(connection)
    return len(missing)


def take_back(database_url: str) -> None:
    """Leave to each role what infra.grants lists alone. For when no function of another release runs any more."""
    with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as connection:
        alone(connection)
        grants.take(connection)


def alone(connection: psycopg.Connection[Any]) -> None:
    """Wait until no other deploy changes this database; none does until the connection is closed."""
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))


def waiting(database_url: str, directory: Path = MIGRATIONS) -> list[str]:
    """The files that `migrate` would apply, by name; nothing is written. Raises DeployError as it does."""
    with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as connection:
        found = connection.execute(b"SELECT to_regclass('rowmill.migration') IS NOT NULL").fetchone()
        applied: dict[str, str] = dict(connection.execute(_APPLIED).fetchall()) if found and found[0] else {}
    return [migration.name for migration in _waiting(applied, _read(directory))]


def _read(directory: Path) -> list[Migration]:
    files = sorted(directory.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return [Migration(file.name, file.read_bytes()) for file in files]


def _waiting(applied: dict[str, str], migrations: list[Migration]) -> Iterator[Migration]:
    newest = max(applied, default="")
    for migration in migrations:
        if migration.name not in applied:
            if migration.name < newest:
                raise DeployError(f"{migration.name} comes before {newest}, which is already applied")
            yield migration
        elif applied[migration.name] != migration.sha256:
            raise DeployError(f"{migration.name} changed after it was applied; add a new file instead")


def _apply(connection: psycopg.Connection[tuple[Any, ...]], migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO rowmill.migration (name, sha256) VALUES (%s, %s)",
                (migration.name, migration.sha256),
            )
    except psycopg.Error as cause:
        raise DeployError(f"{migration.name}: {cause}") from cause
