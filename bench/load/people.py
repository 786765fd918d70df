"""Accounts and datasets, there before the first user comes.

They are put into Postgres, and their tokens signed here: a password's hash costs 31 ms on purpose, a thousand of them
and of their tables over HTTP would be a minute and a half of both cores before the test begins. What signing up and
declaring a dataset cost is measured all the same: some visits begin with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from rowmill_client import Rowmill
from ulid import ULID

from bench.load import files
from chalicelib import tokens
from chalicelib.datasets import read_schema
from chalicelib.postgres import people, tables
from chalicelib.settings import settings
from infra.local.record import Instance

WARMING: Final = 4  # files of a size


def settle(here: Instance, secrets: Any, count: int) -> list[str]:
    """So many accounts, each with a dataset of its own; their tokens."""
    kept = json.loads(secrets.get_secret_value(SecretId="rowmill/local/api")["SecretString"])
    users = [f"usr_{ULID()}" for _ in range(count)]
    with psycopg.connect(here.database_url, autocommit=True) as connection:
        for user in users:
            _add(connection, user)
    os.environ.update({"JWT_SECRET": kept["JWT_SECRET"], "ROWMILL_STAGE": "local"})
    settings.cache_clear()
    return [tokens.sign(tokens.Bearer(user, _tenant(user), "ses_bench"), timedelta(hours=2)) for user in users]


def warm(here: Instance, token: str, sizes: Iterable[int], folder: Path) -> None:
    """Send files of every size, so many that each function has started: how long that takes is not asked here."""
    paths = [folder / f"{number:08}.csv" for number, _ in enumerate([*sizes] * WARMING)]
    for path, rows in zip(paths, [*sizes] * WARMING, strict=True):
        path.write_bytes(files.content(files.Kind(rows, False), f"w{path.stem[1:]}"))
    with Rowmill(here.api_url, token) as rowmill, ThreadPoolExecutor(WARMING) as pool:
        list(pool.map(lambda path: rowmill.upload(path, files.DATASET, timeout=60), paths))


def _tenant(user: str) -> str:
    return user.replace("usr_", "ten_")


def _add(connection: psycopg.Connection[tuple[Any, ...]], user: str) -> None:
    """An account as signup makes it, but that nobody can log in with, and its dataset."""
    tenant = _tenant(user)
    people.add_account(connection, people.Account(user, tenant, user, "no hash of anything"))
    with connection.transaction():
        number = people.add_dataset(connection, tenant, files.DATASET, "insert", files.SCHEMA)
        tables.create(connection, tenant, files.DATASET, tables.Table(number, 1, read_schema(files.SCHEMA)))
