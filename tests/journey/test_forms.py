"""The presigned form lets in exactly the file that was announced, for as long as it says."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from rowmill_client import Upload

from tests.journey.conftest import Account, new_account, people

BODY = people(3)


@pytest.fixture
def announced(account: Account) -> Upload:
    """An upload that waits for BODY."""
    account.dataset()
    return account.rowmill.create_upload(account.file(BODY), "people")


def test_the_file_as_announced_gets_in(account: Account, announced: Upload) -> None:
    assert _post(announced, BODY).status_code in (200, 201, 204)
    assert account.ended(announced["id"])["state"] == "completed"


@pytest.mark.parametrize(
    ("body", "code"), [(BODY + b"9,Eve\n", "EntityTooLarge"), (BODY[:-1], "EntityTooSmall")], ids=["longer", "shorter"]
)
def test_a_file_of_another_size_is_refused(account: Account, announced: Upload, body: bytes, code: str) -> None:
    _is_refused(account, announced, _post(announced, body), code)


@pytest.mark.needs("checked sums of forms")
def test_a_file_with_one_bit_flipped_is_refused(account: Account, announced: Upload) -> None:
    answer = _post(announced, bytes([BODY[0] ^ 1]) + BODY[1:])
    # The last is LocalStack's.
    _is_refused(account, announced, answer, "BadDigest", "XAmzContentChecksumMismatch", "InvalidRequest")


SIGNATURE = pytest.param("x-amz-signature", marks=pytest.mark.needs("checked signatures of forms"))


@pytest.mark.parametrize("field", ["key", "Content-Type", "x-amz-checksum-sha256", "policy", SIGNATURE])
def test_a_form_that_was_tampered_with_is_refused(account: Account, announced: Upload, field: str) -> None:
    fields = announced["upload"]["fields"]
    tampered = {**fields, field: fields[field].replace(fields[field][-9:], "tampered=")}
    _is_refused(account, announced, _post(announced, BODY, tampered))


def test_a_form_is_refused_after_its_time(account: Account) -> None:
    account.dataset()
    key = "an-expired-one"
    first = account.rowmill.create_upload(account.file(BODY), "people", idempotency_key=key)
    _close(account, first["id"])
    again = account.rowmill.create_upload(account.file(BODY), "people", idempotency_key=key)
    assert again["id"] == first["id"]
    time.sleep(2.1)  # a form is good for one second at least
    _is_refused(account, again, _post(again, BODY))


# Clients that dawdle


def test_clients_that_dawdle_hold_nobody_up_and_get_in_when_they_are_done(account: Account, tmp_path: Path) -> None:
    account.dataset()
    bodies = [f"id,name\n{n},slow\n".encode() for n in range(24)]
    slow = [_Slow(account.rowmill.create_upload(account.file(body), "people"), body) for body in bodies]
    try:
        for one in slow * 3:  # a hundred bytes of each in turn
            one.send(100)
        with new_account(account.cloud, tmp_path) as other:
            other.dataset()
            assert other.ended(other.start(people(500)))["loaded"] == 500
        assert {account.rowmill.get_upload(one.upload["id"])["state"] for one in slow} == {"awaiting_upload"}
        for one in slow:
            one.send()
            assert b" 204 " in one.answer()
        assert {account.ended(one.upload["id"])["state"] for one in slow} == {"completed"}
        assert account.table() == [(n, "slow") for n in range(24)]
    finally:
        for one in slow:
            one.leave()


def test_a_file_that_stops_half_way_expires_and_says_so_whether_its_client_stays_or_goes(account: Account) -> None:
    account.dataset()
    gone, stays = (_Slow(account.rowmill.create_upload(account.file(BODY), "people")) for _ in range(2))
    for one in (gone, stays):
        one.send(len(one.left) // 2)
    gone.leave()
    turned = "created_at = now() - interval '61 minutes', closes_at = now() - interval '1 minute'"
    ids = [gone.upload["id"], stays.upload["id"]]
    account.cloud.sql(f"UPDATE rowmill.announcement SET {turned} WHERE upload_id = ANY(%s)", ids)
    account.cloud.sweep()
    ended = [account.ended(upload_id) for upload_id in ids]
    assert [(one["state"], one["error"] and one["error"]["code"]) for one in ended] == [
        ("expired", "upload_expired")
    ] * 2
    stays.send()  # the storage may still take it: it only knows when the form runs out
    stays.answer()
    stays.leave()
    account.cloud.sweep()
    assert account.rowmill.get_upload(ids[1])["state"] == "expired"
    assert account.table() == []


class _Slow:
    """A client whose request is open, and who sends its body as it is told to."""

    def __init__(self, upload: Upload, body: bytes = BODY) -> None:
        ticket: Any = upload["upload"]
        request = httpx.Request("POST", ticket["url"], data=ticket["fields"], files={"file": ("a.csv", body)})
        self.upload, self.left = upload, request.read()
        self._line = socket.create_connection((request.url.host, request.url.port or 80), timeout=20)
        head = [f"POST {request.url.raw_path.decode()} HTTP/1.1", *(f"{k}: {v}" for k, v in request.headers.items())]
        self._line.sendall("\r\n".join([*head, "", ""]).encode())

    def send(self, most: int | None = None) -> None:
        """So many bytes of the body, or all that is left."""
        now, self.left = (self.left, b"") if most is None else (self.left[:most], self.left[most:])
        self._line.sendall(now)

    def answer(self) -> bytes:
        return self._line.recv(4096)

    def leave(self) -> None:
        self._line.close()


def _close(account: Account, upload_id: str) -> None:
    """Let the hour that an upload waits be over now."""
    account.cloud.client("dynamodb").update_item(
        TableName=account.cloud.name("uploads"),
        Key={"tenant": {"S": account.tenant}, "upload_id": {"S": upload_id}},
        UpdateExpression="SET closes_at = :now",
        ExpressionAttributeValues={":now": {"N": str(int(time.time()))}},
    )


def _post(upload: Upload, body: bytes, fields: dict[str, str] | None = None) -> httpx.Response:
    ticket: Any = upload["upload"]
    return httpx.post(ticket["url"], data=fields or ticket["fields"], files={"file": ("a.csv", body)})


def _is_refused(account: Account, upload: Upload, answer: httpx.Response, *codes: str) -> None:
    """By the storage, and nothing of it has arrived."""
    assert answer.status_code in (400, 403), answer.text
    if codes:
        assert any(f"<Code>{code}</Code>" in answer.text for code in codes), answer.text
    stored = account.cloud.client("s3").list_objects_v2(
        Bucket=account.cloud.bucket, Prefix=f"uploads/{account.tenant}/"
    )
    assert stored["KeyCount"] == 0
    assert account.rowmill.get_upload(upload["id"])["state"] == "awaiting_upload"
