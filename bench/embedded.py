"""An embedded cloud to measure on: files are sent as users send them, the status is read as the API reads it.

It sets this process' environment: the stages' own modules then reach the same cloud as its functions.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import psycopg
from rowmill_client import Rowmill

from chalicelib.aws import dynamodb
from chalicelib.journey import ABOVE_ALL_IDS, TERMINAL
from infra.local import cloud, instance
from infra.local.record import Instance

CONTACTS: Final[dict[str, Any]] = {
    "fields": [
        {"name": "email", "type": "string", "constraints": {"required": True, "unique": True}},
        {"name": "name", "type": "string"},
        {"name": "since", "type": "date"},
        {"name": "visits", "type": "integer"},
        {"name": "balance", "type": "number"},
        {"name": "remark", "type": "string"},
    ]
}
STRIKE: Final[dict[str, Any]] = {
    "version": "0",
    "id": "1",
    "account": "000000000000",
    "region": cloud.REGION,
    "time": "2026-01-01T00:00:00Z",
    "source": "aws.events",
    "detail-type": "Scheduled Event",
    "resources": [],
    "detail": {"once": True},
}
"""What EventBridge sends a function each minute, and that one round will do."""


def contacts(rows: int, seed: int) -> bytes:
    """A clean file of about 75 bytes a row; no two seeds share a key."""
    chance = random.Random(seed)
    lines = ["email,name,since,visits,balance,remark"]
    for n in range(rows):
        day = f"20{chance.randrange(10, 26)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        money = f"{chance.randrange(100_000)}.{chance.randrange(100):02}"
        mail = f"{chance.getrandbits(40):010x}.{n}.{seed}@example.org"
        lines.append(f"{mail},Name {n},{day},{chance.randrange(1000)},{money},seen at desk {chance.randrange(100)}")
    return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running cloud and an account on it."""

    here: Instance
    rowmill: Rowmill
    tenant: str

    def send(self, file: bytes, dataset: str = "contacts") -> str:
        """Announce and send a file; its upload's id."""
        with tempfile.NamedTemporaryFile(suffix=".csv") as kept:
            path = Path(kept.name)
            path.write_bytes(file)
            made = self.rowmill.create_upload(path, dataset, {})
            self.rowmill.send_file(made, path)
        return made["id"]

    def send_all(self, files: Sequence[bytes]) -> list[str]:
        """Send files, four at a time."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self.send, files))

    def items(self) -> list[dynamodb.Item]:
        """The status items of every upload of the account."""
        found = dynamodb.listing(self.tenant, ABOVE_ALL_IDS, {}, 1000)
        return [one for one in found if isinstance(one, dict)]  # all: nothing is filtered

    def wait(self, uploads: Sequence[str], seconds: float = 150) -> None:
        """Until these uploads are over. Raises TimeoutError."""
        deadline, wanted = time.monotonic() + seconds, set(uploads)
        while wanted - {item["upload_id"] for item in self.items() if item["state"] in TERMINAL}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"uploads are not over after {seconds:.0f} s")
            time.sleep(0.25)

    def ledger(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What Postgres says."""
        with psycopg.connect(self.here.database_url, autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    def sweep(self) -> None:
        """Have the clock strike, once."""
        boto3.client("lambda").invoke(FunctionName="rowmill-local-sweep", Payload=json.dumps(STRIKE))


@contextlib.contextmanager
def running(chunk_policy: str = "") -> Iterator[Embedded]:
    """A cloud of its own with an account and a dataset `contacts`; files are cut by `chunk_policy`."""
    with instance.running() as here:
        os.environ.update(cloud.CREDENTIALS | cloud.NOTHING_ELSE)
        os.environ.update({"AWS_ENDPOINT_URL": here.endpoint, "DATABASE_URL": here.database_url})
        deployed = variables(boto3.client("lambda"), "split")
        os.environ.update({name: value for name, value in deployed.items() if name.startswith("ROWMILL_")})
        if chunk_policy:
            configure(boto3.client("lambda"), "split", {"ROWMILL_CHUNK_POLICY": chunk_policy})
        with Rowmill(here.api_url or "") as visitor:
            session = visitor.signup(f"bench-{secrets.token_hex(4)}", secrets.token_urlsafe(12))
        with Rowmill(here.api_url or "", session["access"]) as rowmill:
            rowmill.put_dataset("contacts", CONTACTS)
            yield Embedded(here, rowmill, session["tenant_id"])


def configure(functions: Any, name: str, changed: Mapping[str, str]) -> None:
    """Have a function's processes begin anew with these variables besides its others."""
    start_anew(functions, name, {**variables(functions, name), **changed})


def variables(functions: Any, name: str) -> dict[str, str]:
    """What a function is deployed with, as a client of Lambda sees it."""
    told = functions.get_function_configuration(FunctionName=f"rowmill-local-{name}")
    return dict(told["Environment"]["Variables"])


def start_anew(functions: Any, name: str, known: Mapping[str, str]) -> None:
    """Its processes go, as on AWS when its variables are set; the next call starts one."""
    functions.update_function_configuration(
        FunctionName=f"rowmill-local-{name}", Environment={"Variables": dict(known)}
    )
