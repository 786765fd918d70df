"""Files in parts, from the doors: what is signed, what is stored, how it is put together, what is given up.

moto keeps the parts; whether S3 refuses bytes that were not signed for is shown in tests/journey.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from datetime import timedelta
from typing import Any

import boto3
import pytest
from chalice.test import Client
from chalice.test import HTTPResponse as Answer
from moto.s3 import models as moto_s3

from app import app
from chalicelib import accounts, mend, split, tickets
from chalicelib.settings import settings
from tests import held
from tests.stages.conftest import Pipeline, acting, onward

PART = 20
ROWS = "".join(f"{n}@x.org,Ada {n},{n}\n" for n in range(8))
FILE = ("email,name,age\n" + ROWS).encode()
TOTAL = -(-len(FILE) // PART)


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def piece(number: int) -> bytes:
    return FILE[(number - 1) * PART : number * PART]


class Parts:
    """The doors of one tenant, for files that come in parts; `send` puts a part where its URL would."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.http = Client(app).http
        session = accounts.signup({"username": "ada", "password": "correct horse"})
        self.token = session["access"]
        pipeline.tenant = session["tenant_id"]
        pipeline.dataset()

    def post(self, path: str, body: Any, token: str = "", **headers: str) -> Answer:
        given = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json", **headers}
        with acting("api"):
            answer = self.http.request("POST", f"/v1/uploads{path}", headers=given, body=json.dumps(body).encode())
        held.answer("POST", f"/v1/uploads{path}", answer.status_code, answer.headers, answer.body)
        return answer

    def create(self, body: bytes = FILE, **headers: str) -> dict[str, Any]:
        asked = {"dataset": "contacts", "filename": "a.csv", "size": len(body), "checksum": sha256(body)}
        answer = self.post("", asked, **headers)
        assert answer.status_code == 201, answer.json_body
        return dict(answer.json_body)

    def sign(self, upload_id: str, *numbers: int) -> Answer:
        wanted = [{"number": number, "sha256": sha256(piece(number))} for number in numbers]
        return self.post(f"/{upload_id}/parts", {"parts": wanted})

    def key(self, upload_id: str) -> str:
        return f"uploads/{self.pipeline.tenant}/{upload_id}/source"

    def multiparts(self) -> dict[str, str]:
        found = boto3.client("s3").list_multipart_uploads(Bucket=settings().bucket).get("Uploads", [])
        return {one["Key"]: one["UploadId"] for one in found}

    def send(self, upload_id: str, number: int, data: bytes | None = None) -> dict[str, Any]:
        data = piece(number) if data is None else data
        key = self.key(upload_id)
        stored = boto3.client("s3").upload_part(
            Bucket=settings().bucket,
            Key=key,
            UploadId=self.multiparts()[key],
            PartNumber=number,
            Body=data,
            ChecksumSHA256=sha256(data),
        )
        return {"number": number, "etag": stored["ETag"], "sha256": sha256(data)}

    def complete(self, upload_id: str, parts: list[dict[str, Any]], token: str = "") -> Answer:
        return self.post(f"/{upload_id}/complete", {"parts": parts}, token)

    def run(self, upload_id: str) -> dict[str, Any]:
        self.pipeline.split(upload_id)
        self.pipeline.load(self.pipeline.messages())
        return self.pipeline.upload(upload_id)


@pytest.fixture
def parts(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setenv("ROWMILL_MULTIPART_BYTES", str(PART))
    monkeypatch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
    settings.cache_clear()
    return Parts(pipeline)


def test_a_file_in_parts_loads_like_any_other(parts: Parts) -> None:
    made = parts.create()
    ticket = made["upload"]
    assert (ticket["method"], ticket["part_size"], ticket["parts_total"]) == ("PUT", PART, TOTAL)
    assert (ticket["parts"], ticket["stored"], made["state"]) == ([], [], "awaiting_upload")
    done = parts.complete(made["id"], [parts.send(made["id"], number) for number in range(1, TOTAL + 1)])
    assert (done.status_code, done.json_body["id"]) == (202, made["id"])
    ended = parts.run(made["id"])
    assert (ended["state"], ended["loaded"]) == ("completed", 8)
    boto3.client("s3").head_object(Bucket=settings().bucket, Key=parts.key(made["id"]))


def test_urls_are_signed_for_the_bytes_and_tell_what_is_stored(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    parts.send(upload_id, 2)
    parts.send(upload_id, 5)
    ticket = parts.sign(upload_id, 1, 2, 3).json_body
    assert [part["number"] for part in ticket["parts"]] == [1, 2, 3]
    first = ticket["parts"][0]
    assert first["headers"] == {"x-amz-checksum-sha256": sha256(piece(1))}
    signed = re.search(r"SignedHeaders=([^&]+)", first["url"])
    assert signed
    assert set(signed[1].split("%3B")) == {"content-length", "host", "x-amz-checksum-sha256"}
    assert [part["number"] for part in ticket["stored"]] == [2]  # among those asked for
    assert [part["number"] for part in parts.sign(upload_id).json_body["stored"]] == [2, 5]
    assert ticket["checksum"] == sha256(FILE)


def test_the_answer_with_the_most_urls_is_small(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "PART_BYTES", 1)
    upload_id = parts.create()["id"]
    wanted = [{"number": number, "sha256": sha256(b"")} for number in range(1, 102)]
    answer = parts.post(f"/{upload_id}/parts", {"parts": wanted[:100]})
    assert len(answer.json_body["parts"]) == 100
    assert len(answer.body) < 100_000
    assert parts.post(f"/{upload_id}/parts", {"parts": wanted}).status_code == 422


def test_no_file_has_more_parts_than_the_storage_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.cache_clear()
    mib = 1 << 20
    assert tickets.part_size(100_000_001) == 16 * mib
    assert tickets.part_size(160_000 * mib) == 16 * mib
    assert tickets.part_size(160_000 * mib + 1) == 16 * mib + 1
    assert -(-5 * 10**12 // tickets.part_size(5 * 10**12)) <= 10_000


@pytest.mark.parametrize(
    ("size", "method"), [(PART, "POST"), (PART + 1, "PUT")], ids=["at the threshold", "a byte above it"]
)
def test_a_file_above_the_threshold_comes_in_parts(parts: Parts, size: int, method: str) -> None:
    assert parts.create(b"x" * size)["upload"]["method"] == method


def test_completing_again_answers_the_same_upload(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    sent = [parts.send(upload_id, number) for number in range(1, TOTAL + 1)]
    first, second = parts.complete(upload_id, sent), parts.complete(upload_id, sent)
    assert (first.status_code, first.json_body) == (second.status_code, second.json_body)
    ended = parts.run(upload_id)
    late = parts.complete(upload_id, sent)
    assert (late.status_code, late.json_body) == (202, ended)
    assert ended["loaded"] == 8


def test_a_part_that_is_not_named_or_not_stored_is_named(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    sent = [parts.send(upload_id, number) for number in range(1, TOTAL)]
    last = {"number": TOTAL, "etag": "x", "sha256": sha256(piece(TOTAL))}
    for body, status in ((sent, 422), ([*sent, last], 409)):
        refused = parts.complete(upload_id, body)
        assert (refused.status_code, refused.json_body["code"]) == (status, "parts_missing")
        assert [line["column"] for line in refused.json_body["errors"]] == [f"parts.{TOTAL}"]
    assert parts.complete(upload_id, [*sent, parts.send(upload_id, TOTAL)]).status_code == 202


def test_a_part_of_another_size_or_etag_is_named_and_nothing_is_put_together(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    sent = [parts.send(upload_id, number) for number in range(1, TOTAL + 1)]
    short = parts.send(upload_id, 2, piece(2)[:-1])
    for wrong in ({**short}, {**sent[1], "etag": sent[0]["etag"]}):
        refused = parts.complete(upload_id, [sent[0], wrong, *sent[2:]])
        assert (refused.status_code, refused.json_body["code"]) == (409, "parts_differ")
        assert [line["column"] for line in refused.json_body["errors"]] == ["parts.2"]
    assert parts.multiparts().keys() == {parts.key(upload_id)}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"parts": 1},
        {"parts": [], "more": 1},
        {"parts": [1]},
        {"parts": [{"number": 1, "sha256": sha256(b"")}]},
        {"parts": [{"number": 0, "etag": "a", "sha256": sha256(b"")}]},
        {"parts": [{"number": TOTAL + 1, "etag": "a", "sha256": sha256(b"")}]},
        {"parts": [{"number": True, "etag": "a", "sha256": sha256(b"")}]},
        {"parts": [{"number": 1, "etag": 1, "sha256": sha256(b"")}]},
        {"parts": [{"number": 1, "etag": "a", "sha256": "x"}]},
        {"parts": [{"number": 1, "etag": "a", "sha256": sha256(b"")}] * 2},
    ],
)
def test_a_body_that_names_no_parts_is_told_why(parts: Parts, body: dict[str, Any]) -> None:
    refused = parts.post(f"/{parts.create()['id']}/complete", body)
    assert (refused.status_code, refused.json_body["code"]) == (422, "body_invalid")


def test_parts_of_others_and_of_nobody_are_not_found(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    stranger = accounts.signup({"username": "eve", "password": "correct horse"})["access"]
    for path, token in ((upload_id, stranger), ("upl_none", ""), ("key%23x", "")):
        for tail in ("parts", "complete"):
            refused = parts.post(f"/{path}/{tail}", {"parts": []}, token)
            assert (refused.status_code, refused.json_body["code"]) == (404, "upload_not_found")


def test_a_form_is_signed_anew_and_never_completed(parts: Parts) -> None:
    small = parts.create(FILE[:PART])
    again = parts.post(f"/{small['id']}/parts", {})
    assert (again.status_code, again.json_body["method"]) == (200, "POST")
    assert again.json_body["fields"]["key"] == small["upload"]["fields"]["key"]
    refused = parts.complete(small["id"], [])
    assert (refused.status_code, refused.json_body["code"]) == (409, "upload_not_in_parts")


def test_what_has_arrived_takes_no_more_parts(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    assert parts.complete(upload_id, [parts.send(upload_id, n) for n in range(1, TOTAL + 1)]).status_code == 202
    assert parts.sign(upload_id, 1).json_body["code"] == "state_conflict"
    parts.run(upload_id)
    refused = parts.sign(upload_id, 1)
    assert (refused.status_code, refused.json_body["code"]) == (409, "state_conflict")
    assert "completed" in refused.json_body["detail"]


def test_a_request_sent_again_leaves_no_second_upload_behind(parts: Parts) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = parts.create(**headers), parts.create(**headers)
    assert first["id"] == second["id"]
    assert list(parts.multiparts()) == [parts.key(first["id"])]


# What nobody completes


def test_parts_may_take_days_and_expire_after_a_week(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    upload_id = parts.create()["id"]
    (kept,) = parts.pipeline.sql("SELECT closes_at - created_at AS open FROM rowmill.announcement")
    assert abs(kept["open"] - timedelta(days=7)) < timedelta(minutes=1)
    swept = parts.pipeline.sweep()
    assert (swept["files_awaited"], swept["parts_aborted"]) == (0, 0)
    assert parts.sign(upload_id, 1).status_code == 200
    parts.pipeline.sql("UPDATE rowmill.announcement SET closes_at = now() - interval '1 second'")
    swept = parts.pipeline.sweep()
    assert (swept["files_awaited"], swept["parts_aborted"]) == (1, 1)
    assert parts.multiparts() == {}
    assert parts.pipeline.upload(upload_id)["error"]["code"] == "upload_expired"
    for late in (parts.sign(upload_id, 1), parts.complete(upload_id, [])):
        assert (late.status_code, late.json_body["code"]) == (410, "upload_expired")
    again = parts.pipeline.sweep()
    assert (again["files_awaited"], again["parts_aborted"]) == (0, 0)


def test_a_file_that_came_in_time_is_not_to_be_sent_again_for_a_repeat_that_came_late(parts: Parts) -> None:
    small, large = parts.create(FILE[:PART])["id"], parts.create()["id"]
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=parts.key(small), Body=FILE[:PART])
    sent = [parts.send(large, number) for number in range(1, TOTAL + 1)]
    assert parts.complete(large, sent).status_code == 202
    table = boto3.resource("dynamodb").Table(settings().uploads_table)
    for upload_id in (small, large):  # no splitter has met them yet
        table.update_item(
            Key={"tenant": parts.pipeline.tenant, "upload_id": upload_id},
            UpdateExpression="SET closes_at = :past",
            ExpressionAttributeValues={":past": int(time.time()) - 5},
        )
        late = parts.sign(upload_id)
        assert (late.status_code, late.json_body["code"]) == (409, "state_conflict")
    assert parts.complete(large, sent).status_code == 202
    assert parts.run(large)["loaded"] == 8


def test_parts_of_a_canceled_upload_are_given_up_at_once(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    parts.send(upload_id, 1)
    assert parts.post(f"/{upload_id}/cancel", {}).status_code == 202
    assert parts.multiparts() == {}
    for late in (parts.sign(upload_id, 1), parts.complete(upload_id, [])):
        assert (late.status_code, late.json_body["code"]) == (409, "state_conflict")


def test_parts_outlive_the_loss_of_the_status_table(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    table = boto3.resource("dynamodb").Table(settings().uploads_table)
    table.delete_item(Key={"tenant": parts.pipeline.tenant, "upload_id": upload_id})
    assert parts.pipeline.sweep()["parts_aborted"] == 0
    assert parts.sign(upload_id, 1).status_code == 200


def test_parts_without_an_upload_are_given_up(parts: Parts) -> None:
    """After a day, that is; moto's are all of the year 2010."""
    wanted = parts.create()["id"]
    stray = {parts.key("upl_stray"), parts.key(wanted) + "/other", "uploads/strange"}
    for key in stray:
        boto3.client("s3").create_multipart_upload(Bucket=settings().bucket, Key=key)
    assert parts.pipeline.sweep()["parts_aborted"] == 3
    assert parts.multiparts().keys() == {parts.key(wanted)}


def test_a_completion_whose_event_was_lost_is_found_by_the_sweep(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = parts.create()["id"]
    parts.complete(upload_id, [parts.send(upload_id, number) for number in range(1, TOTAL + 1)])
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    assert parts.pipeline.sweep()["files_awaited"] == 1
    (message,) = parts.pipeline.messages("intake")
    onward(split.file(message))
    parts.pipeline.load(parts.pipeline.messages())
    assert parts.pipeline.upload(upload_id)["state"] == "completed"


def test_a_completion_in_vain_says_that_the_parts_are_gone(parts: Parts) -> None:
    upload_id = parts.create()["id"]
    sent = [parts.send(upload_id, number) for number in range(1, TOTAL + 1)]
    key = parts.key(upload_id)
    boto3.client("s3").abort_multipart_upload(Bucket=settings().bucket, Key=key, UploadId=parts.multiparts()[key])
    for late in (parts.sign(upload_id, 1), parts.complete(upload_id, sent)):
        assert (late.status_code, late.json_body["code"]) == (410, "upload_expired")
