"""The same file twice: refused where its owner wants it so, by what the storage knows, before anything of it is loaded."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import boto3
import psycopg
import pytest

from chalicelib import gate
from chalicelib.postgres import connection, ledger, locks
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline
from tests.stages.test_api import FILE, Answer, Api, asked, is_problem
from tests.stages.test_multipart import FILE as PARTED
from tests.stages.test_multipart import Parts, parts, piece, sha256

KEYLESS = {"fields": [{"name": "email", "type": "string"}, {"name": "name"}, {"name": "age"}]}
REJECT = {"on_duplicate_file": "reject"}
assert parts  # a fixture


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    api = Api(pipeline)
    assert api.put(body=KEYLESS).status_code == 201
    return api


def again(
    api: Api, body: bytes = FILE, checksum: str | None = "its own", dataset: str = "contacts", **options: Any
) -> Answer:
    declared = sha256(body) if checksum == "its own" else checksum
    request = asked(size=len(body), checksum=declared, dataset=dataset, options=REJECT | options)
    return api.post(request)


def stored(api: Api, answer: Answer, body: bytes = FILE) -> dict[str, Any]:
    """The upload, its file stored and split."""
    upload_id = answer.json_body["id"]
    key = f"uploads/{api.pipeline.tenant}/{upload_id}/source"
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=body)
    api.pipeline.split(upload_id)
    api.pipeline.load(api.pipeline.messages())
    return api.pipeline.upload(upload_id)


def test_a_file_that_was_loaded_is_refused_when_it_is_announced_again(api: Api) -> None:
    first = api.pipeline.run(FILE)
    problem = is_problem(again(api), 409, "duplicate_file")
    assert first["id"] in problem["detail"]
    assert problem["errors"] == [{"code": "duplicate_file", "column": "checksum", "detail": first["id"]}]
    assert [one["id"] for one in api.get("/v1/uploads").json_body["items"]] == [first["id"]]


def test_a_file_that_does_not_say_its_checksum_is_refused_when_it_has_come(api: Api) -> None:
    first = api.pipeline.run(FILE)
    upload = stored(api, again(api, checksum=None))
    assert (upload["state"], upload["error"]["code"]) == ("failed", "duplicate_file")
    assert upload["error"]["errors"][0]["detail"] == first["id"]
    assert (upload["loaded"], len(api.pipeline.rows())) == (0, 2)
    is_problem(api("POST", f"/v1/uploads/{upload['id']}/redrive"), 409, "state_conflict")


def test_unless_somebody_wants_it_otherwise_a_file_may_come_as_often_as_it_likes(api: Api) -> None:
    for options in ({}, {"on_duplicate_file": "allow"}):
        api.pipeline.run(FILE, **options)
        assert api.pipeline.upload(api.pipeline.run(FILE, **options)["id"])["state"] == "completed"
    assert len(api.pipeline.rows()) == 8


def test_a_file_that_is_under_way_is_the_same_file(api: Api) -> None:
    upload_id = api.pipeline.create(FILE)
    assert again(api).status_code == 201
    api.pipeline.split(upload_id)
    is_problem(again(api), 409, "duplicate_file")
    api.pipeline.pause(upload_id)
    is_problem(again(api), 409, "duplicate_file")


@pytest.mark.parametrize("checksum", ["its own", None])
def test_what_came_to_no_good_end_is_not_in_the_way(api: Api, checksum: str | None) -> None:
    canceled = api.pipeline.create(FILE)
    api.pipeline.split(canceled)
    api.pipeline.cancel(canceled)
    deleted = api.pipeline.run(FILE)["id"]
    api("DELETE", f"/v1/uploads/{deleted}")
    failed = api.pipeline.create(FILE)
    api.pipeline.split(failed)
    api.pipeline.sql("UPDATE rowmill.upload SET state = 'failed', finished_at = now() WHERE upload_id = %s", failed)
    checked = api.pipeline.run(FILE, validate_only=True)
    assert checked["state"] == "needs_review"
    upload = stored(api, again(api, checksum=checksum))
    assert upload["state"] == "completed"


@pytest.mark.parametrize("checksum", ["its own", None])
def test_a_file_that_is_read_in_another_way_or_goes_elsewhere_is_another(api: Api, checksum: str | None) -> None:
    api.pipeline.run(FILE)
    api.put("others", KEYLESS)
    assert stored(api, again(api, FILE + b"x,y,1\n", checksum), FILE + b"x,y,1\n")["state"] == "completed"
    assert stored(api, again(api, checksum=checksum, dataset="others"))["state"] == "completed"
    assert stored(api, again(api, checksum=checksum, dialect={"delimiter": ","}))["state"] == "completed"
    mapping = {"email": "email", "name": "age", "age": "name"}
    assert stored(api, again(api, checksum=checksum, mapping=mapping))["state"] == "completed"


def test_a_request_that_is_repeated_under_its_key_is_not_the_file_again(api: Api) -> None:
    request = asked(checksum=sha256(FILE), options=REJECT)
    first = api.post(request, Idempotency_Key="k")
    stored(api, first)
    repeated = api.post(request, Idempotency_Key="k")
    assert (repeated.status_code, repeated.json_body["id"]) == (201, first.json_body["id"])
    is_problem(api.post(request, Idempotency_Key="other"), 409, "duplicate_file")


def test_of_two_that_come_at_once_the_second_waits_and_finds_the_first(api: Api) -> None:
    first, second = (again(api).json_body["id"] for _ in range(2))
    stored_as: dict[str, Any] = {}
    for upload_id in (first, second):
        key = f"uploads/{api.pipeline.tenant}/{upload_id}/source"
        stored_as = boto3.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=FILE)
    new = {"upload_id": first, "tenant": api.pipeline.tenant, "dataset": "contacts", "mode": "insert", "dialect": {}}
    new |= {"options": REJECT, "correlation_id": "", "object_key": "", "version_id": "", "etag": stored_as["ETag"]}
    new |= {"bytes_total": len(FILE), "stored_at": datetime.now(UTC), **gate.asked()}

    def work() -> None:
        api.pipeline.split(second)
        connection.close()

    at_once = threading.Thread(target=work)
    with psycopg.connect(api.pipeline.url) as opening:
        ledger.open_upload(opening, new)  # and it is not yet to be seen
        at_once.start()
        waits = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND NOT granted"
        while not api.pipeline.sql(waits, locks.SAME_FILE):
            assert at_once.is_alive(), "it did not wait"
            time.sleep(0.01)
    at_once.join()
    assert api.pipeline.upload(second)["error"]["errors"][0]["detail"] == first


def test_corrected_rejects_are_never_the_same_file(api: Api) -> None:
    api.put("strict", {"fields": [{"name": "email"}, {"name": "name"}, {"name": "age", "type": "integer"}]})
    parent = api.pipeline.run(FILE, "strict")["id"]
    for _ in range(2):
        request = {"size": len(FILE), "checksum": sha256(FILE), "options": REJECT}
        child = api("POST", f"/v1/uploads/{parent}/retries", request)
        assert child.status_code == 201
        assert stored(api, child)["state"] == "completed_with_errors"
    other = b"email,name,age\nx@x.org,X,1\n"
    child = api("POST", f"/v1/uploads/{parent}/retries", {"size": len(other), "checksum": sha256(other)})
    inherited = stored(api, child, other)["options"]["dialect"]
    assert stored(api, again(api, other, dataset="strict", dialect=inherited), other)["state"] == "completed"
    is_problem(again(api, other, dataset="strict", dialect=inherited), 409, "duplicate_file")


def test_a_file_in_parts_is_known_by_its_parts(parts: Parts) -> None:
    for wanted in ("completed", "failed"):
        request = {"dataset": "contacts", "size": len(PARTED), "checksum": sha256(PARTED), "options": REJECT}
        made = parts.post("", request).json_body
        sent = [parts.send(made["id"], number) for number in range(1, 2 + len(PARTED) // len(piece(1)))]
        assert parts.complete(made["id"], sent).status_code == 202
        upload = parts.run(made["id"])
        assert upload["state"] == wanted
    assert upload["error"]["code"] == "duplicate_file"
