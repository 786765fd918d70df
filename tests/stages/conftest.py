"""A pipeline in one process: the real stages and a real Postgres, with moto's S3, SQS and DynamoDB.

Nothing moves until a test moves it, so a test decides the order of deliveries, repeats and crashes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from unittest import mock

import boto3
import psycopg
import pytest
from argon2 import PasswordHasher
from moto import mock_aws
from moto.backends import get_backend
from moto.core import responses as moto_responses
from moto.core import utils as moto_utils
from moto.sqs import models as moto_sqs
from psycopg.rows import dict_row
from ulid import ULID

from chalicelib import (
    accounts,
    admit,
    attest,
    aws,
    callers,
    catalog,
    control,
    doctor,
    load,
    mend,
    notify,
    pages_kept,
    passwords,
    rejects,
    report,
    rows,
    settle,
    split,
    table_rows,
    undo,
)
from chalicelib.aws import functions, s3, sqs
from chalicelib.contract import OPERATIONS, checks
from chalicelib.errors import Unavailable
from chalicelib.paging import Asked
from chalicelib.postgres import connection
from chalicelib.postgres.timeline import NOBODY, Asker
from chalicelib.settings import settings

CONTACTS = {
    "fields": [
        {"name": "email", "type": "string", "constraints": {"required": True, "unique": True}},
        {"name": "name", "type": "string"},
        {"name": "age", "type": "integer"},
    ]
}


def cut_into(monkeypatch: pytest.MonkeyPatch, records: int) -> None:
    """Have files announced from now on cut into chunks of so many records."""
    monkeypatch.setenv("ROWMILL_CHUNK_POLICY", f"0:{4 << 20}:{records}")
    settings.cache_clear()


def poison(patch: pytest.MonkeyPatch, first_record: int) -> None:
    """Let the chunk that begins with this record use up all memory, whoever loads it."""
    real = load.prepare

    def poisoned(upload: Any, work: Any, data: bytes) -> Any:
        if work.first_record == first_record:
            raise MemoryError
        return real(upload, work, data)

    patch.setattr(load, "prepare", poisoned)


def taken(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A body that the contract of a POST lets through to its handler. Raises Refused."""
    return checks.body(OPERATIONS["POST", path], body, 0)


# What other tests left open would be swept here; and what refers to no tenant only makes later ones slow. Not by
# TRUNCATE, which makes a new file of each table and index: that takes thirty times as long where there are few rows.
_EMPTY = """
    DO $$ DECLARE filled regclass; BEGIN
        SET LOCAL session_replication_role = replica;  -- foreign keys need not be looked at: all that refer go, too
        FOR filled IN
            WITH RECURSIVE reached (id) AS (
                SELECT format('rowmill.%s', name)::regclass::oid
                FROM unnest(ARRAY['tenant', 'login_failure', 'event', 'key_hash']) AS name
                UNION SELECT conrelid FROM pg_constraint JOIN reached ON confrelid = id
                WHERE contype = 'f' AND connamespace = 'rowmill'::regnamespace
            ) SELECT id FROM reached
        LOOP EXECUTE format('DELETE FROM %s', filled); END LOOP;
    END $$
"""
# Tables and schemas of other tests' tenants: the fault tests take and put back every table there is.
_DROP_LEFT_OVER = """
    DO $$ DECLARE left_over text; BEGIN
        FOR left_over IN SELECT format('TABLE %s', oid::regclass) FROM pg_class
                WHERE relnamespace IN ('data'::regnamespace, 'stage'::regnamespace) AND relkind IN ('r', 'p') AND NOT relispartition
            UNION ALL SELECT format('SCHEMA %I', nspname) FROM pg_namespace WHERE nspname LIKE 'ten\\_%'
        LOOP EXECUTE 'DROP ' || left_over || ' CASCADE'; END LOOP;
    END $$
"""
_ACCOUNT, _REGION = "123456789012", "us-east-1"  # moto's, and tests/conftest.py's
_NOT_ASKED_FOR = ("throughput", "global_indexes", "indexes", "streams", "sse_specification", "tags", "warm_throughput")
QUEUES = ("intake", "high", "medium", "low", "settle", "dead", "notify", "receipt")


@pytest.fixture(scope="package")
def simulated() -> Iterator[Any]:
    """Moto's AWS, put in place once: to do that is as much work as a small test."""
    with mock_aws(config={"core": {"reset_boto3_session": False}}) as here, pytest.MonkeyPatch.context() as patch:
        # It spells out the same few names at each request, a tenth of what one takes.
        for spell in (moto_utils.camelcase_to_underscores, moto_utils.method_names_from_class):
            kept = cache(spell)
            for room in (moto_utils, moto_responses, moto_sqs):
                patch.setattr(room, spell.__name__, kept, raising=False)
        aws.client.cache_clear()
        yield here
        aws.client.cache_clear()


@pytest.fixture
def own_clients() -> Iterator[None]:
    """For who listens to the clients of AWS: all other tests share theirs, which take as long to make as a small test."""
    aws.client.cache_clear()
    yield
    aws.client.cache_clear()


@pytest.fixture(scope="session")
def keeper(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Empties the database before each test: a new connection has to look up every table first, twenty times the work."""
    with psycopg.connect(database_url, autocommit=True) as db:
        yield db


@pytest.fixture
def pipeline(
    simulated: Any, keeper: psycopg.Connection[Any], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    """A fresh account on fresh AWS."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(rows, "SMALL", 0)  # the chunks of tests are, and are to be read as large ones are
    for cached in (settings, sqs._url, s3._public):
        cached.cache_clear()
    keeper.execute(_EMPTY)
    keeper.execute(_DROP_LEFT_OVER)
    simulated.reset()
    _make_aws()
    pages_kept.rows.forget()  # tests change rows behind the API
    pipeline = Pipeline()
    # The one hop that moto cannot make: API function -> define function. Same JSON, same process.
    monkeypatch.setattr(functions, "call", pipeline.call)
    yield pipeline
    connection.close()
    for cached in (settings, sqs._url, s3._public):
        cached.cache_clear()


def _make_aws() -> None:
    """Moto's own objects, without a request to make each: that takes twenty times as long."""
    here = settings()
    stored, queued, listed = (get_backend(service)[_ACCOUNT] for service in ("s3", "sqs", "dynamodb"))
    stored["aws"].create_bucket(here.bucket, _REGION)
    stored["aws"].put_bucket_versioning(here.bucket, "Enabled")
    for name in QUEUES:
        queued[_REGION].create_queue(f"rowmill-local-{name}")
    for table, keys in ((here.uploads_table, ("tenant", "upload_id")), (here.keys_table, ("part", "key_id"))):
        listed[_REGION].create_table(
            table,
            schema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)],
            attr=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            billing_mode="PAY_PER_REQUEST",
            deletion_protection_enabled=False,
            **dict.fromkeys(_NOT_ASKED_FOR),
        )


@cache
def outside(service: str) -> Any:
    """A client of whoever is not the pipeline, for good: to make one takes as long as three calls."""
    return boto3.client(service)


def signed_up(credentials: Mapping[str, Any]) -> dict[str, Any]:
    """A new account's session, with a password that is cheap to hash and to check: as no account is that signs up itself."""
    with mock.patch.object(passwords, "_hasher", return_value=PasswordHasher(1, 8, 1)):
        return accounts.signup(credentials)


@contextlib.contextmanager
def acting(role: str) -> Iterator[None]:
    """Do in Postgres what this role may: a statement that its function has no right to is a fault here, too.

    A connection that is opened anew within goes on as whoever owns the database. Each role has its own temporary
    tables, as it has its own connections elsewhere.
    """
    try:
        db = connection.connection()
    except Unavailable:  # a test of that: there is nothing to be allowed
        yield
        return
    row = db.execute("SHOW role").fetchone()
    before = row[0] if row else "none"
    if before == f"rowmill_{role}":
        yield
        return
    db.execute(f"DISCARD TEMP; SET ROLE rowmill_{role}")
    try:
        yield
    finally:
        try:
            connection.connection().execute(f"DISCARD TEMP; SET ROLE {before}")
        except Unavailable:
            pass
        except psycopg.ProgrammingError:  # a fault amid rows that are streamed holds their transaction while it is up
            connection.close()


def consulted(event: Mapping[str, Any]) -> dict[str, Any]:
    """What the doctor says, by what its function may."""
    with acting("doctor"):
        return doctor.examine(event)


class Pipeline:
    """One tenant's view of the running system."""

    def __init__(self) -> None:
        session = signed_up({"username": f"user-{ULID()}", "password": "correct horse"})
        self.tenant = callers.authenticate(f"Bearer {session['access']}").tenant
        self.url = settings().database_url

    def call(self, function: str, event: Any) -> dict[str, Any]:
        from chalicelib import edge

        role, does = {
            settings().define_function: ("define", catalog.define),
            settings().render_function: ("render", rejects.make),
        }[function]
        with acting(role):
            answer: dict[str, Any] = json.loads(json.dumps(edge.called(json.loads(json.dumps(event)), does)))
        return answer

    def dataset(self, schema: dict[str, Any] = CONTACTS, name: str = "contacts", mode: str = "insert") -> str:
        with acting("api"):
            catalog.put(self.tenant, name, {**schema, "mode": mode}, "request-1")
            return name

    def create(self, body: bytes, dataset: str = "contacts", **options: Any) -> str:
        """Admit an upload and put its bytes where the form says; no event yet."""
        asked = {
            "dataset": dataset,
            "filename": "a.csv",
            "size": len(body),
            "checksum": base64.b64encode(hashlib.sha256(body).digest()).decode(),
            "options": options,
        }
        item, form = admit.create(self.tenant, taken("/v1/uploads", asked), None, Asker("", "request-1"))
        outside("s3").put_object(Bucket=settings().bucket, Key=form["fields"]["key"], Body=body)
        return str(item["upload_id"])

    def event(self, upload_id: str) -> dict[str, Any]:
        """What S3 says of the upload's object."""
        key = f"uploads/{self.tenant}/{upload_id}/source"
        return {"Records": [{"eventName": "ObjectCreated:Post", "s3": {"object": {"key": key}}}]}

    def split(self, upload_id: str) -> None:
        with acting("split"):
            onward(split.file(self.event(upload_id)))

    def go_on(self, message: dict[str, Any]) -> None:
        """Give the splitter a message of the intake queue."""
        with acting("split"):
            onward(split.file(message))

    def begin(self, body: bytes) -> tuple[str, list[dict[str, Any]]]:
        """A file for CONTACTS, split: its upload's id, and the messages of its chunks."""
        self.dataset()
        upload_id = self.create(body)
        self.split(upload_id)
        return upload_id, self.messages()

    def messages(self, *queues: str) -> list[dict[str, Any]]:
        """Take every message out of these queues (default: the tiers')."""
        taken: list[dict[str, Any]] = []
        client = outside("sqs")
        for queue in queues or ("high", "medium", "low"):
            box = get_backend("sqs")[_ACCOUNT][_REGION].queues[f"rowmill-local-{queue}"]
            if not box.messages:  # as most are, which takes two requests to be told
                continue
            url = client.get_queue_url(QueueName=box.name)["QueueUrl"]
            while found := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                for message in found:
                    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                    taken.append(json.loads(message["Body"]))
        return taken

    def load(self, messages: Sequence[dict[str, Any]]) -> None:
        with acting("load"):
            for message in messages:
                onward(load.chunk(message))

    def settle(self) -> None:
        with acting("settle"):
            for message in self.messages("settle"):
                onward(undo.rows(message) or settle.contested(message))

    def tell(self) -> None:
        """Tell people until nothing is due; messages that are put off are not waited for."""
        with acting("notify"):
            while messages := self.messages("notify"):
                for message in messages:
                    notify.tell(message)

    def attest(self) -> None:
        """Tell of ends, and read the uploads that messages name, until none is left."""
        self.tell()
        with acting("receipt"):
            while messages := self.messages("receipt"):
                for message in messages:
                    attest.work(message, time.monotonic() + 60)

    def sweep(self) -> dict[str, int]:
        with acting("sweep"):
            return mend.sweep(onward)

    def run(self, body: bytes, dataset: str = "contacts", **options: Any) -> dict[str, Any]:
        """The whole journey; the upload as the API shows it."""
        upload_id = self.create(body, dataset, **options)
        self.split(upload_id)
        self.load(self.messages())
        self.settle()
        return self.upload(upload_id)

    def cancel(self, upload_id: str) -> dict[str, Any]:
        with acting("api"):
            report.show(settle.finish(control.cancel(self.tenant, upload_id)))
            return self.upload(upload_id)

    def confirm(self, upload_id: str, **body: Any) -> dict[str, Any]:
        with acting("api"):
            if dataset := control.reviewed(self.tenant, upload_id, taken("/v1/uploads/{upload_id}/confirm", body)):
                catalog.put(self.tenant, *dataset, "request-1")
            report.show(settle.finish(control.confirm(self.tenant, upload_id, NOBODY, dataset and dataset[1])))
            return self.upload(upload_id)

    def pause(self, upload_id: str) -> dict[str, Any]:
        with acting("api"):
            report.show(settle.finish(control.pause(self.tenant, upload_id)))
            return self.upload(upload_id)

    def resume(self, upload_id: str) -> dict[str, Any]:
        with acting("api"):
            report.show(settle.finish(control.resume(self.tenant, upload_id)))
            return self.upload(upload_id)

    def ask_revert(self, upload_id: str, **body: Any) -> dict[str, Any]:
        with acting("api"):
            asked = taken("/v1/uploads/{upload_id}/revert", body)
            report.show(settle.finish(control.revert(self.tenant, upload_id, forced=asked.get("force", False))))
            return self.upload(upload_id)

    def revert(self, upload_id: str, **body: Any) -> dict[str, Any]:
        """The whole undoing; the upload as the API shows it."""
        self.ask_revert(upload_id, **body)
        self.settle()
        return self.upload(upload_id)

    def conflicts(self, upload_id: str) -> list[dict[str, Any]]:
        with acting("api"):
            return report.conflicts(self.tenant, upload_id, Asked({}, None, 5000)).items

    def delete(self, upload_id: str) -> None:
        with acting("api"):
            control.delete(self.tenant, upload_id)

    def redrive(self, upload_id: str) -> dict[str, Any]:
        with acting("api"):
            report.show(settle.finish(control.redrive(self.tenant, upload_id)))
            return self.upload(upload_id)

    def upload(self, upload_id: str) -> dict[str, Any]:
        with acting("api"):
            return report.upload(self.tenant, upload_id)

    def rejects(self, upload_id: str) -> list[dict[str, Any]]:
        with acting("api"):
            return rejects.page(self.tenant, upload_id, Asked({}, None, 5000)).items

    def rows(self, dataset: str = "contacts") -> list[dict[str, Any]]:
        with acting("api"):
            return table_rows.listing(self.tenant, dataset, Asked({}, None, 5000)).items

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Look, or tamper, behind the stages' back."""
        with psycopg.connect(self.url, autocommit=True, row_factory=dict_row) as other:
            cursor = other.execute(statement, values)
            return cursor.fetchall() if cursor.rownumber is not None else []


def onward(number: Any) -> None:
    """As app.py composes it."""
    report.project(settle.finish(number))
