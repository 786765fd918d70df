"""The presigned form lets in exactly the file that was announced, for as long as it says."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from rowmill_client import Upload

from tests.journey.conftest import Account, people

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


def test_a_file_with_one_bit_flipped_is_refused(account: Account, announced: Upload) -> None:
    answer = _post(announced, bytes([BODY[0] ^ 1]) + BODY[1:])
    if answer.is_success:
        pytest.skip("ministack 1.5.33 lets any bytes in under a form's x-amz-checksum-sha256; S3 answers BadDigest")
    _is_refused(account, announced, answer, "BadDigest", "XAmzContentChecksumMismatch")


@pytest.mark.parametrize("field", ["key", "Content-Type", "x-amz-checksum-sha256", "policy"])
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


def _close(account: Account, upload_id: str) -> None:
    """Let the hour that an upload waits be over now."""
    account.cloud.client("dynamodb").update_item(
        TableName="rowmill-local-uploads",
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
        Bucket="rowmill-local-000000000000-uploads", Prefix=f"uploads/{account.tenant}/"
    )
    assert stored["KeyCount"] == 0
    assert account.rowmill.get_upload(upload["id"])["state"] == "awaiting_upload"
