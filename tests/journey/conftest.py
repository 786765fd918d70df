"""The whole chain: one deployment for all tests here, on the cloud that tests/clouds.py was told, an account for each.

Only the outside is used (HTTP, the presigned form, the command line); behind it a test may stop a worker at a
moment of its choice, kill it, repeat a message or look into Postgres. Nothing of ours is replaced.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from rowmill_client import TERMINAL, Patience, Rowmill, Upload

from bench.embedded import STRIKE
from infra.local.processes import caller
from infra.local.record import Instance
from tests import clouds, held

PEOPLE = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "name", "type": "string", "constraints": {"required": True}},
    ],
    "primaryKey": "id",
}
COUNTS = ("loaded", "updated", "skipped", "rejected", "unprocessed")
HOLD = 20_26  # the advisory lock that stops workers at a moment
Seen = TypeVar("Seen")


@pytest.fixture(autouse=True)
def contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer of the API to every client here is held to its contract.

    A test at a time: the campaign, which may run in between, kills what answers.
    """
    send = httpx.Client.send

    def sent(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        found = send(client, request, **options)
        held.response(found)
        return found

    monkeypatch.setattr(httpx.Client, "send", sent)


@pytest.fixture
def account(deployed: Cloud, tmp_path: Path) -> Iterator[Account]:
    with new_account(deployed, tmp_path) as one:
        yield one


@contextlib.contextmanager
def new_account(deployed: Cloud, folder: Path) -> Iterator[Account]:
    api = deployed.instance.api_url
    with Rowmill(api) as rowmill:
        # A 503 is an answer that clients live with: a database that crashed in an earlier test gives one.
        session = Patience().keep_trying(lambda: rowmill.signup(f"user-{uuid.uuid4()}", "correct horse"))
        headers = {"Authorization": f"Bearer {session['access']}"}
        with httpx.Client(base_url=f"{api}/v1", headers=headers, timeout=clouds.seconds(30)) as http:
            yield Account(deployed, rowmill, http, session["tenant_id"], session["access"], folder)


def eventually(look: Callable[[], Seen | None], seconds: float = 20) -> Seen:
    """The first answer that is true; fails if none comes in time, which is longer on a slow cloud."""
    deadline = time.monotonic() + clouds.seconds(seconds)
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.03)
    return seen


def people(count: int, *, padding: int = 0) -> bytes:
    """A file for PEOPLE: ids from 1, names of `padding` characters more than they need."""
    lines = (f"{number},name {number}{'.' * padding}\n" for number in range(1, count + 1))
    return ("id,name\n" + "".join(lines)).encode()


def adds_up(upload: Mapping[str, Any]) -> bool:
    """Every record of the file is in exactly one of the counts."""
    return bool(upload["rows_total"] == sum(upload[name] for name in COUNTS))


@dataclass(frozen=True, slots=True)
class Cloud:
    """The deployment, seen from behind."""

    instance: Instance
    stage: str = "local"
    account: str = clouds.ACCOUNT

    @property
    def bucket(self) -> str:
        return f"rowmill-{self.stage}-{self.account}-uploads"

    @property
    def environment(self) -> dict[str, str]:
        """What a shell of its operator has."""
        found = {**self.instance.environment, **clouds.OPERATOR, "ROWMILL_STAGE": self.stage}
        return {name: value for name, value in found.items() if value}

    def name(self, part: str) -> str:
        """Of one of its functions, queues or tables."""
        return f"rowmill-{self.stage}-{part}"

    def client(self, service: str) -> Any:
        return clouds.session().client(service, endpoint_url=self.instance.endpoint or None)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.instance.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.rownumber is not None else []

    def send(self, queue: str, *bodies: Mapping[str, Any]) -> None:
        queues = self.client("sqs")
        url = queues.get_queue_url(QueueName=self.name(queue))["QueueUrl"]
        for body in bodies:
            queues.send_message(QueueUrl=url, MessageBody=json.dumps(body))

    def messages(self, queue: str, kinds: tuple[str, ...] = ("", "NotVisible", "Delayed")) -> int:
        """How many messages wait, are being worked on or are put off."""
        queues = self.client("sqs")
        url = queues.get_queue_url(QueueName=self.name(queue))["QueueUrl"]
        names = [f"ApproximateNumberOfMessages{kind}" for kind in kinds]
        found = queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def sweep(self) -> dict[str, int]:
        """Have the clock strike now."""
        answer = self.client("lambda").invoke(FunctionName=self.name("sweep"), Payload=json.dumps(STRIKE))
        swept: dict[str, int] = json.load(answer["Payload"])
        assert "FunctionError" not in answer, swept
        return swept

    @contextlib.contextmanager
    def in_parts_above(self, size: int) -> Iterator[None]:
        """The same deployment with a threshold for multipart uploads far below 100 MB."""
        with self.configured("api", ROWMILL_MULTIPART_BYTES=str(size)):
            yield

    @contextlib.contextmanager
    def configured(self, function: str, **settings: str) -> Iterator[None]:
        """The same deployment with other settings for one of its functions."""
        functions, name = self.client("lambda"), self.name(function)
        found = functions.get_function_configuration(FunctionName=name)
        before = dict(found["Environment"]["Variables"])

        def put(variables: Mapping[str, str]) -> None:
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
            # The embedded cloud takes half a second, and is asked when that is over; AWS has its five minutes all the same.
            often = {"Delay": 0.1, "MaxAttempts": 3000}
            functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=often)

        put({**before, **settings})
        try:
            yield
        finally:
            put(before)

    @contextlib.contextmanager
    def held(self, event: str, moment: str, table: str = "chunk") -> Iterator[None]:
        """Stop every worker inside its transaction where `event` on this table meets the condition `moment`."""
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.instance.database_url) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", (HOLD,))
            holder.execute(
                "CREATE OR REPLACE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS"
                f" 'BEGIN PERFORM pg_advisory_xact_lock_shared({HOLD}); RETURN NEW; END'"
            )
            holder.execute(
                f"CREATE OR REPLACE TRIGGER hold BEFORE {event} ON rowmill.{table}"
                f" FOR EACH ROW WHEN ({moment}) EXECUTE FUNCTION public.hold()"
            )
            holder.commit()
            yield
        eventually(lambda: self._let_go(table))

    def _let_go(self, table: str) -> bool:
        """Needs a connection of its own: a crash of the server takes the holder's."""
        try:
            self.sql(f"DROP TRIGGER IF EXISTS hold ON rowmill.{table}")
        except psycopg.OperationalError:
            return False
        return True

    def blocked(self) -> list[int]:
        """The backends of workers that stand where `held` stops them: not of those that wait for one of these."""
        found = self.sql(
            "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE application_name = 'rowmill'"
            " AND locktype = 'advisory' AND NOT granted AND (classid, objid, objsubid) = (0, %s, 1)",
            HOLD,
        )
        return [row[0] for row in found]

    def kill_worker(self, backend: int) -> bool:
        """kill -9 the Lambda process at the other end of a database connection; whether it was still there."""
        assert self.instance.cloud
        found = self.sql("SELECT client_port FROM pg_stat_activity WHERE pid = %s AND client_port > 0", backend)
        worker = caller(found[0][0], self.instance.cloud) if found else None
        if worker:
            worker.send(signal.SIGKILL)
        return worker is not None

    def is_gone(self, backend: int) -> bool:
        return not self.sql("SELECT pid FROM pg_stat_activity WHERE pid = %s", backend)


@dataclass(frozen=True, slots=True)
class Account:
    """One tenant, through its client, and through plain HTTP where the client would be too kind."""

    cloud: Cloud
    rowmill: Rowmill
    http: httpx.Client
    tenant: str
    token: str
    folder: Path

    def dataset(self, schema: Mapping[str, Any] = PEOPLE, name: str = "people") -> str:
        self.rowmill.put_dataset(name, dict(schema))
        return name

    def file(self, body: bytes, name: str = "a.csv") -> Path:
        path = self.folder / name
        path.write_bytes(body)
        return path

    def start(self, body: bytes, dataset: str = "people", **options: Any) -> str:
        """Announce the file and send it; the upload's id."""
        path = self.file(body, f"{uuid.uuid4()}.csv")
        created = self.rowmill.create_upload(path, dataset, options)
        self.rowmill.send_file(created, path)
        return created["id"]

    def ended(self, upload_id: str, seconds: float = 30) -> Upload:
        """The upload at its end, which must come."""
        upload = self.rowmill.wait(upload_id, timeout=clouds.seconds(seconds))
        assert upload["state"] in TERMINAL
        return upload

    def number(self, upload_id: str) -> int:
        """The upload's number in Postgres, once it has one."""

        def look() -> list[tuple[int]]:
            return self.cloud.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)

        return eventually(look)[0][0]

    def table(self, name: str = "people") -> list[tuple[Any, ...]]:
        """What the tenant's view shows, by the first column."""
        return self.cloud.sql(f'SELECT * FROM "{self.tenant}"."{name}" ORDER BY 1')

    def notification(self, upload_id: str) -> dict[str, Any]:
        """What S3 says when the upload's file has arrived."""
        key = f"uploads/{self.tenant}/{upload_id}/source"
        return {"Records": [{"eventName": "ObjectCreated:Post", "s3": {"object": {"key": key}}}]}
