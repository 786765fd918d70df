"""Large files through the whole chain: sent in parts by the command line, killed, resumed, refused, given up."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import rowmill_client
from rowmill_client import ApiError, Patience, Unusable, Upload, multipart

from tests import clouds
from tests.journey.conftest import Account, Cloud, new_account, people

PART = clouds.PART
BODY = people(5000, padding=PART * 28 // 25_000 - 15)  # five parts and a short one
LARGE = people(50_000, padding=max(180, PART * 20 // 50_000))  # 250 parts, or 20 of 5 MiB: it takes a while to send


@pytest.fixture(scope="module", autouse=True)
def small_parts(deployed: Cloud) -> Iterator[None]:
    with deployed.in_parts_above(PART):
        yield


@pytest.fixture
def announced(account: Account) -> Upload:
    """An upload in parts that waits for BODY."""
    account.dataset()
    return account.rowmill.create_upload(account.file(BODY), "people")


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def piece(number: int) -> bytes:
    return BODY[(number - 1) * PART : number * PART]


def sign(account: Account, upload_id: str, *numbers: int) -> dict[str, Any]:
    wanted = [{"number": number, "sha256": sha256(piece(number))} for number in numbers]
    answer = account.http.post(f"/uploads/{upload_id}/parts", json={"parts": wanted})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def put(ticket: dict[str, Any], data: bytes) -> httpx.Response:
    return httpx.put(ticket["url"], content=data, headers=ticket["headers"])


def send(account: Account, upload_id: str, *numbers: int) -> list[dict[str, Any]]:
    """These parts; as `complete` wants to hear of them."""
    sent = []
    for number, ticket in zip(numbers, sign(account, upload_id, *numbers)["parts"], strict=True):
        answer = put(ticket, piece(number))
        assert answer.status_code == 200, answer.text
        sent.append({"number": number, "etag": answer.headers["etag"], "sha256": sha256(piece(number))})
    return sent


def stored(account: Account, upload_id: str) -> list[int]:
    return [part["number"] for part in sign(account, upload_id)["stored"]]


def command(account: Account, *arguments: str) -> subprocess.Popen[str]:
    """The real command, as a process of its own."""
    home = str(Path(rowmill_client.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": home, "ROWMILL_API": account.cloud.instance.api_url or ""}
    line = [sys.executable, "-m", "rowmill_client", "upload", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, env={**env, "ROWMILL_TOKEN": account.token}, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def parts_of(account: Account, upload_id: str, s3: Any = None) -> dict[int, Any]:
    """What the storage has of a file on its way: when each part came."""
    s3 = s3 or account.cloud.client("s3")
    key = f"uploads/{account.tenant}/{upload_id}/source"
    found = s3.list_multipart_uploads(Bucket=account.cloud.bucket, Prefix=key)["Uploads"]
    pages = s3.get_paginator("list_parts").paginate(Bucket=account.cloud.bucket, Key=key, UploadId=found[0]["UploadId"])
    return {part["PartNumber"]: part["LastModified"] for page in pages for part in page.get("Parts", [])}


def stopped_halfway(account: Account, how: signal.Signals, *arguments: str) -> tuple[str, str]:
    """An upload whose command got a signal after some more parts were stored, but not all; id and last words."""
    s3 = account.cloud.client("s3")
    before = len(parts_of(account, arguments[-1], s3)) if "--resume" in arguments else 0
    running = command(account, *arguments)
    upload_id = arguments[-1] if "--resume" in arguments else str(running.stderr.readline()).split()[1]
    # It runs for moments only and stands still while we look: on a busy machine a look takes as long as all the parts.
    running.send_signal(signal.SIGSTOP)
    while len(parts_of(account, upload_id, s3)) == before:
        assert running.poll() is None
        running.send_signal(signal.SIGCONT)
        time.sleep(0.01)
        running.send_signal(signal.SIGSTOP)
    running.send_signal(how)
    running.send_signal(signal.SIGCONT)
    _, said = running.communicate(timeout=clouds.seconds(20))
    assert running.returncode in (130, -signal.SIGKILL)
    assert before < len(parts_of(account, upload_id)) < -(-len(LARGE) // PART)
    assert account.rowmill.get_upload(upload_id)["state"] == "awaiting_upload"
    return upload_id, said


def is_whole(account: Account, upload_id: str, rows: int) -> None:
    upload = account.ended(upload_id)
    assert (upload["state"], upload["rows_total"], upload["loaded"]) == ("completed", rows, rows)
    assert account.cloud.sql(f'SELECT count(*), max(id) FROM "{account.tenant}".people') == [(rows, rows)]


def test_a_file_in_parts_is_loaded_by_the_one_command(account: Account) -> None:
    account.dataset()
    running = command(account, str(account.file(BODY)), "--dataset", "people", "--json")
    said, told = running.communicate(timeout=clouds.seconds(60))
    assert running.returncode == 0, told
    assert json.loads(said)["loaded"] == 5000
    is_whole(account, json.loads(said)["id"], 5000)
    assert f"sent {len(BODY):,} bytes" in told
    key = f"uploads/{account.tenant}/{json.loads(said)['id']}/source"
    found = account.cloud.client("s3").get_object(Bucket=account.cloud.bucket, Key=key)
    assert (found["ETag"][-3:], found["Body"].read()) == ('-6"', BODY)


def test_an_upload_killed_twice_is_resumed_and_no_stored_part_is_sent_again(account: Account) -> None:
    account.dataset()
    path = str(account.file(LARGE))
    upload_id, _ = stopped_halfway(account, signal.SIGKILL, path, "--dataset", "people")
    first = parts_of(account, upload_id)
    time.sleep(1.1)  # parts are dated to the second
    stopped_halfway(account, signal.SIGKILL, path, "--resume", upload_id)
    second = parts_of(account, upload_id)
    assert {number: second[number] for number in first} == first
    running = command(account, "--resume", upload_id, path, "--json")
    said, told = running.communicate(timeout=clouds.seconds(120))
    assert running.returncode == 0, told
    assert json.loads(said)["id"] == upload_id
    is_whole(account, upload_id, 50_000)


def test_an_interrupt_says_how_to_go_on_and_that_works(account: Account) -> None:
    account.dataset()
    path = str(account.file(LARGE))
    upload_id, said = stopped_halfway(account, signal.SIGINT, path, "--dataset", "people")
    assert said.splitlines()[-1].endswith(f"go on with: rowmill upload {path} --resume {upload_id}")
    running = command(account, path, "--resume", upload_id)
    assert running.communicate(timeout=clouds.seconds(120))[0].endswith("state=completed\n")
    is_whole(account, upload_id, 50_000)


def test_only_the_file_that_was_announced_resumes_an_upload(account: Account, announced: Upload) -> None:
    send(account, announced["id"], 1, 3)
    for changed in (BODY[:-1], BODY[:-2] + b"!\n", b"x" + BODY[1:]):
        with pytest.raises(Unusable, match=r"other\.csv is not the file that was announced"):
            account.rowmill.resume_file(announced, account.file(changed, "other.csv"))
    assert stored(account, announced["id"]) == [1, 3]
    account.rowmill.resume_file(announced, account.file(BODY))
    is_whole(account, announced["id"], 5000)


def test_a_part_stored_from_another_file_is_named(account: Account) -> None:
    """An upload announced without a checksum: the stored parts are all there is to compare."""
    account.dataset()
    asked = {"dataset": "people", "filename": "a.csv", "size": len(BODY)}
    created = account.http.post("/uploads", json=asked).json()
    send(account, created["id"], 1, 2)
    changed = account.file(BODY[: PART + 5] + b"!" + BODY[PART + 6 :], "changed.csv")
    with pytest.raises(Unusable, match=r"changed\.csv is not the file that was being sent: part 2 differs"):
        account.rowmill.resume_file(created, changed)


def test_a_resumed_upload_that_is_over_says_so_of_its_own_file(account: Account, announced: Upload) -> None:
    account.rowmill.send_file(announced, account.file(BODY))
    account.ended(announced["id"])
    running = command(account, str(account.file(BODY)), "--resume", announced["id"], "--json")
    said, told = running.communicate(timeout=clouds.seconds(60))
    assert (running.returncode, json.loads(said)["state"]) == (0, "completed")
    assert f"nothing is sent: upload {announced['id']} is completed\n" in told
    running = command(account, str(account.file(b"x" + BODY[1:], "other.csv")), "--resume", announced["id"], "--json")
    said, told = running.communicate(timeout=clouds.seconds(60))
    assert (running.returncode, said) == (2, "")
    assert "other.csv is not the file that was announced" in told


def test_a_form_that_never_arrived_is_sent_by_resume(account: Account) -> None:
    account.dataset()
    path = account.file(people(3))
    created = account.rowmill.create_upload(path, "people")
    assert created["upload"]["method"] == "POST"
    running = command(account, str(path), "--resume", created["id"], "--json")
    assert json.loads(running.communicate(timeout=clouds.seconds(60))[0])["loaded"] == 3


# What the storage refuses


def test_a_part_with_one_bit_flipped_is_refused_and_nothing_of_it_is_stored(
    account: Account, announced: Upload
) -> None:
    (ticket,) = sign(account, announced["id"], 2)["parts"]
    answer = put(ticket, bytes([piece(2)[0] ^ 1]) + piece(2)[1:])
    assert answer.status_code == 400
    assert any(code in answer.text for code in ("BadDigest", "XAmzContentChecksumMismatch"))
    assert stored(account, announced["id"]) == []


def _longer(ticket: dict[str, Any]) -> httpx.Response:
    return put(ticket, piece(2) + b"x")


def _other_checksum(ticket: dict[str, Any]) -> httpx.Response:
    return put({**ticket, "headers": {"x-amz-checksum-sha256": sha256(piece(3))}}, piece(3))


def _no_checksum(ticket: dict[str, Any]) -> httpx.Response:
    return put({**ticket, "headers": {}}, piece(2))


def _other_part(ticket: dict[str, Any]) -> httpx.Response:
    return put({**ticket, "url": ticket["url"].replace("partNumber=2", "partNumber=3")}, piece(2))


@pytest.mark.parametrize("attempt", [_longer, _other_checksum, _no_checksum, _other_part])
def test_a_url_takes_only_what_it_was_signed_for(
    account: Account, announced: Upload, attempt: Callable[[dict[str, Any]], httpx.Response]
) -> None:
    (ticket,) = sign(account, announced["id"], 2)["parts"]
    assert attempt(ticket).status_code == 403
    assert stored(account, announced["id"]) == []
    assert put(ticket, piece(2)).status_code == 200


def test_a_url_that_ran_out_is_signed_anew(account: Account, announced: Upload) -> None:
    closes = int(time.time()) + 4
    _set(account, announced["id"], closes_at=closes)
    (late,) = sign(account, announced["id"], 1)["parts"]
    time.sleep(4.1)
    assert put(late, piece(1)).status_code == 403
    _set(account, announced["id"], closes_at=closes + 3600)
    (fresh,) = sign(account, announced["id"], 1)["parts"]
    assert put(fresh, piece(1)).status_code == 200


def test_the_client_asks_for_fresh_urls_when_its_own_have_run_out(account: Account, announced: Upload) -> None:
    asked: list[list[int]] = []

    def slow(parts: Sequence[multipart.Part]) -> Any:
        asked.append([part.number for part in parts])
        if len(asked) > 1:
            return sign(account, announced["id"], *asked[-1])["parts"]
        _set(account, announced["id"], closes_at=int(time.time()) + 4)
        late = sign(account, announced["id"], *asked[-1])["parts"]
        time.sleep(4.1)
        _set(account, announced["id"], closes_at=int(time.time()) + 3600)
        return late

    ticket: Any = announced["upload"]
    sent = multipart.send(ticket, account.file(BODY), slow, None, Patience())
    assert sorted(asked[1:]) == [[number] for number in range(1, 7)]
    assert complete(account, announced["id"], [dict(part) for part in sent]).status_code == 202
    is_whole(account, announced["id"], 5000)


# Putting it together


def complete(account: Account, upload_id: str, parts: list[dict[str, Any]]) -> httpx.Response:
    return account.http.post(f"/uploads/{upload_id}/complete", json={"parts": parts})


def test_completing_twice_and_after_the_load_makes_one_file(account: Account, announced: Upload) -> None:
    parts = send(account, announced["id"], 1, 2, 3, 4, 5, 6)
    answers = [complete(account, announced["id"], parts) for _ in range(2)]
    is_whole(account, announced["id"], 5000)
    answers.append(complete(account, announced["id"], parts))
    assert [(answer.status_code, answer.json()["id"]) for answer in answers] == [(202, announced["id"])] * 3
    prefix = f"uploads/{account.tenant}/"
    versions = account.cloud.client("s3").list_object_versions(Bucket=account.cloud.bucket, Prefix=prefix)["Versions"]
    assert len(versions) == 1


def test_a_missing_part_and_a_wrong_one_are_named(account: Account, announced: Upload) -> None:
    parts = send(account, announced["id"], 1, 2, 3, 4, 6)
    fifth = {"number": 5, "etag": parts[0]["etag"], "sha256": sha256(piece(5))}
    for body, status in ((parts, 422), ([*parts, fifth], 409)):
        refused = complete(account, announced["id"], body)
        assert (refused.status_code, refused.json()["code"]) == (status, "parts_missing")
        assert "part 5" in refused.json()["detail"]
    (sent,) = send(account, announced["id"], 5)
    refused = complete(account, announced["id"], [*parts, {**sent, "sha256": sha256(b"")}])
    assert (refused.status_code, refused.json()["code"]) == (409, "parts_differ")
    assert complete(account, announced["id"], [*parts, sent]).status_code == 202
    is_whole(account, announced["id"], 5000)


def test_nobody_elses_parts_can_be_signed_seen_or_completed(
    account: Account, announced: Upload, tmp_path: Path
) -> None:
    with new_account(account.cloud, tmp_path) as stranger:
        for call in ("parts", "complete"):
            answer = stranger.http.post(f"/uploads/{announced['id']}/{call}", json={"parts": []})
            assert (answer.status_code, answer.json()["code"]) == (404, "upload_not_found")


# What nobody completes


def test_an_upload_in_parts_waits_for_a_week_and_is_then_given_up(account: Account, announced: Upload) -> None:
    send(account, announced["id"], 1, 2)
    _turn(account, announced, "created_at = now() - interval '6.9 days', closes_at = now() + interval '0.1 days'")
    account.cloud.sweep()
    assert account.rowmill.get_upload(announced["id"])["state"] == "awaiting_upload"
    assert stored(account, announced["id"]) == [1, 2]
    _turn(account, announced, "closes_at = now() - interval '1 second'")
    account.cloud.sweep()
    assert account.rowmill.get_upload(announced["id"])["state"] == "expired"
    with pytest.raises(ApiError) as late:
        account.rowmill.resume_file(announced, account.file(BODY))
    assert (late.value.status, late.value.code) == (410, "upload_expired")


def _turn(account: Account, upload: Upload, clocks: str) -> None:
    account.cloud.sql(f"UPDATE rowmill.announcement SET {clocks} WHERE upload_id = %s", upload["id"])


def test_a_multipart_of_today_is_left_alone(account: Account) -> None:
    """Whoever creates an upload is for a moment without an item."""
    key = f"uploads/{account.tenant}/upl_none/source"
    account.cloud.client("s3").create_multipart_upload(Bucket=account.cloud.bucket, Key=key)
    assert account.cloud.sweep()["parts_aborted"] == 0


def _set(account: Account, upload_id: str, **values: Any) -> None:
    """Change what the API believes of an upload."""
    packed = {f":{name}": {"N" if isinstance(value, int) else "S": str(value)} for name, value in values.items()}
    account.cloud.client("dynamodb").update_item(
        TableName=account.cloud.name("uploads"),
        Key={"tenant": {"S": account.tenant}, "upload_id": {"S": upload_id}},
        UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in values),
        ExpressionAttributeValues=packed,
    )
