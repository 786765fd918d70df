"""Accounts and datasets, there before the first user comes.

The accounts are put into Postgres and their tokens signed here: a password's hash costs 31 ms on purpose, a thousand
of them would be half a minute of both cores before the test begins. The datasets are put over HTTP. What signing up
costs is measured all the same: some visits begin with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import jwt
import psycopg
from rowmill_client import Rowmill
from ulid import ULID

from bench.load import files
from infra.local.record import Instance

AT_ONCE: Final = 2  # the function that makes tables runs twice at most
WARMING: Final = 4  # files of a size


def settle(here: Instance, functions: Any, count: int) -> list[str]:
    """So many accounts, each with a dataset of its own; their tokens."""
    deployed = functions.get_function_configuration(FunctionName="rowmill-local-api")["Environment"]["Variables"]
    users = [(f"usr_{ULID()}", f"ten_{ULID()}") for _ in range(count)]
    _add(here.database_url, users)
    tokens = [_token(user, tenant, deployed["JWT_SECRET"]) for user, tenant in users]
    with httpx.Client(timeout=60) as http, ThreadPoolExecutor(AT_ONCE) as pool:
        for answer in pool.map(lambda token: _put_dataset(http, here.api_url, token), tokens):
            answer.raise_for_status()
    return tokens


def warm(here: Instance, token: str, sizes: Iterable[int], folder: Path) -> None:
    """Send files of every size, so many that each function has started: how long that takes is not asked here."""
    paths = [folder / f"{number:08}.csv" for number, _ in enumerate([*sizes] * WARMING)]
    for path, rows in zip(paths, [*sizes] * WARMING, strict=True):
        path.write_bytes(files.content(files.Kind(rows, False), f"w{path.stem[1:]}"))
    with Rowmill(here.api_url, token) as rowmill, ThreadPoolExecutor(WARMING) as pool:
        list(pool.map(lambda path: rowmill.upload(path, files.DATASET, timeout=60), paths))


def _add(database_url: str, users: Sequence[tuple[str, str]]) -> None:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO rowmill.tenant (tenant) VALUES (%s)", [(tenant,) for _, tenant in users])
        cursor.executemany(
            "INSERT INTO rowmill.account (user_id, tenant, username, password_hash) VALUES (%s, %s, %s, 'none')",
            [(user, tenant, user) for user, tenant in users],
        )


def _token(user: str, tenant: str, secret: str) -> str:
    now = datetime.now(UTC)
    claims = {"iss": "rowmill", "aud": "rowmill-local", "sub": user, "tenant": tenant, "iat": now}
    return jwt.encode(claims | {"exp": now + timedelta(hours=2)}, secret, algorithm="HS256")


def _put_dataset(http: httpx.Client, api: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return http.put(f"{api}/v1/datasets/{files.DATASET}", json=files.SCHEMA, headers=headers)
