"""Keys for machines: told once, kept as a hash, good until deleted or expired, and no way to let others in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from typing import Any

import boto3
import pytest
from chalice.test import Client
from chalice.test import HTTPResponse as Answer

from app import app
from chalicelib import accounts, aws
from chalicelib.settings import settings
from tests import held
from tests.stages.conftest import CONTACTS, Pipeline, acting

ADA = {"username": "ada", "password": "correct horse"}
KEYS = "/v1/api-keys"


class Asker:
    """Somebody with a token."""

    def __init__(self, token: str) -> None:
        self.http, self.token = Client(app).http, token

    def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        raw = b"" if body is None else json.dumps(body).encode()
        with acting("api"):
            answer = self.http.request(method, path, headers=headers, body=raw)
        held.answer(method, path, answer.status_code, answer.headers, answer.body)
        return answer

    def key(self, **body: Any) -> dict[str, Any]:
        answer = self("POST", KEYS, {"name": "nightly"} | body)
        assert answer.status_code == 201
        assert answer.headers["Cache-Control"] == "no-store"
        made: dict[str, Any] = answer.json_body
        return made

    def listed(self) -> list[dict[str, Any]]:
        return list(self("GET", KEYS).json_body["items"])


@pytest.fixture
def ada(pipeline: Pipeline) -> Asker:
    return Asker(accounts.signup(ADA)["access"])


def is_turned_away(secret: str) -> None:
    answer = Asker(secret)("GET", "/v1/datasets")
    assert (answer.status_code, answer.json_body["code"]) == (401, "token_invalid")


def test_a_key_opens_its_owner_s_doors_and_is_told_once(ada: Asker) -> None:
    made = ada.key(name="  nightly load ")
    assert re.fullmatch(r"rmk_[\w-]{43}", made["secret"])
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert shown == {
        "id": made["id"],
        "name": "nightly load",
        "prefix": made["secret"][:12],
        "role": "owner",
        "created_at": made["created_at"],
        "expires_at": None,
    }
    assert ada.listed() == [shown]
    machine = Asker(made["secret"])
    assert machine("PUT", "/v1/datasets/contacts", CONTACTS).status_code == 201
    assert [one["name"] for one in ada("GET", "/v1/datasets").json_body["items"]] == ["contacts"]


def kept() -> list[dict[str, Any]]:
    """Both items of each key, as they are in the table."""
    return list(boto3.resource("dynamodb").Table(settings().keys_table).scan()["Items"])


def test_a_key_is_kept_as_a_hash(ada: Asker) -> None:
    secret = ada.key()["secret"]
    digest = hashlib.sha256(secret.encode()).hexdigest()
    assert sorted(item["part"][:4] for item in kept()) == sorted([digest[:4], "usr_"])
    assert secret not in str(kept())


def test_a_deleted_key_opens_nothing_from_then_on(ada: Asker) -> None:
    made, other = ada.key(), ada.key()
    assert Asker(made["secret"])("GET", "/v1/datasets").status_code == 200
    gone = ada("DELETE", f"{KEYS}/{made['id']}")
    assert (gone.status_code, gone.body) == (204, b"")
    is_turned_away(made["secret"])
    assert Asker(other["secret"])("GET", "/v1/datasets").status_code == 200
    for unknown in (made["id"], "key_1", "%00", "%ED%A0%80"):
        again = ada("DELETE", f"{KEYS}/{unknown}")
        assert (again.status_code, again.json_body["code"]) == (404, "unknown_api_key")


def test_an_expired_key_opens_nothing_and_is_still_listed(ada: Asker) -> None:
    made = ada.key(expires_in_days=30)
    for item in kept():
        assert 29.9 < (int(item["good_until"]) - time.time()) / 86400 <= 30
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["expires_at"])
    assert Asker(made["secret"])("GET", "/v1/datasets").status_code == 200
    for item in kept():
        table = boto3.resource("dynamodb").Table(settings().keys_table)
        table.put_item(Item=item | {"good_until": int(time.time())})
    is_turned_away(made["secret"])
    assert [one["id"] for one in ada.listed()] == [made["id"]]


def test_a_machine_lets_nobody_in(ada: Asker) -> None:
    made = ada.key()
    machine = Asker(made["secret"])
    for method, path in (("POST", KEYS), ("GET", KEYS), ("DELETE", f"{KEYS}/{made['id']}")):
        answer = machine(method, path, {"name": "another"} if method == "POST" else None)
        assert (answer.status_code, answer.json_body["code"]) == (403, "session_needed")
    for door in ("refresh", "logout"):
        machine("POST", f"/v1/auth/{door}", {"refresh": made["secret"]})
    assert len(ada.listed()) == 1


@pytest.mark.usefixtures("pipeline")
def test_keys_of_others_are_neither_listed_nor_deleted(ada: Asker) -> None:
    eve = Asker(accounts.signup(ADA | {"username": "eve"})["access"])
    made = ada.key()
    assert eve.listed() == []
    assert eve("DELETE", f"{KEYS}/{made['id']}").json_body["code"] == "unknown_api_key"
    assert len(ada.listed()) == 1


def test_keys_come_in_pages_the_oldest_first(ada: Asker) -> None:
    names = [f"key {n}" for n in range(5)]
    made = [ada.key(name=name)["id"] for name in names]
    first = ada("GET", f"{KEYS}?limit=3").json_body
    rest = ada("GET", f"{KEYS}?limit=3&cursor={first['next_cursor']}").json_body
    assert sorted(made) == [one["id"] for one in first["items"] + rest["items"]]
    assert (len(first["items"]), rest["next_cursor"]) == (3, None)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/datasets/contacts", CONTACTS),
        ("POST", "/v1/uploads", {"dataset": "contacts", "size": 10}),
        ("POST", "/v1/webhooks", {"url": "https://hooks.example.org/ends"}),
        ("POST", "/books", {"title": "Emma", "author": "Jane Austen", "description": "A novel"}),
    ],
)
def test_a_key_of_an_account_that_a_restored_database_knows_nothing_of_makes_nothing(
    ada: Asker, pipeline: Pipeline, method: str, path: str, body: Any
) -> None:
    machine = Asker(ada.key()["secret"])
    pipeline.sql("TRUNCATE rowmill.tenant CASCADE")
    answer = machine(method, path, body)
    assert (answer.status_code, answer.json_body["code"]) == (401, "token_invalid")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "api_key_invalid"),
        ({"name": 1}, 422, "api_key_invalid"),
        ({"name": "a", "user_id": "usr_1"}, 422, "body_invalid"),
        ({"name": " "}, 422, "api_key_invalid"),
        ({"name": "a" * 101}, 422, "api_key_invalid"),
        ({"name": "a\nb"}, 422, "api_key_invalid"),
        *(
            ({"name": "a", "expires_in_days": days}, 422, "api_key_invalid")
            for days in (0, -1, 3651, 10**30, 1.5, "30", True, [])
        ),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_name(ada: Asker, body: Any, status: int, code: str) -> None:
    answer = ada("POST", KEYS, body)
    assert (answer.status_code, answer.json_body["code"]) == (status, code)
    assert ada.listed() == []


def test_what_only_looks_like_a_key_is_turned_away(ada: Asker) -> None:
    secret = ada.key()["secret"]
    for wrong in ("rmk_", "rmk_x", secret[:-1], secret + "x", secret[:12], secret.upper(), secret.removeprefix("rmk_")):
        is_turned_away(wrong)


def test_a_key_that_was_made_or_deleted_by_half_opens_nothing_and_can_be_deleted(ada: Asker) -> None:
    """A function that dies between the two items: the one that opens the door comes last and goes first."""
    made = ada.key()
    boto3.resource("dynamodb").Table(settings().keys_table).delete_item(
        Key={"part": hashlib.sha256(made["secret"].encode()).hexdigest(), "key_id": "owner"}
    )
    is_turned_away(made["secret"])
    assert [one["id"] for one in ada.listed()] == [made["id"]]
    assert ada("DELETE", f"{KEYS}/{made['id']}").status_code == 204
    assert kept() == []


def test_the_item_that_opens_the_door_comes_last_and_goes_first(ada: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, str]] = []
    real = aws.client("dynamodb")._make_api_call

    def call(operation: str, given: Any) -> Any:
        written.append((operation, str((given.get("Item") or given.get("Key") or {}).get("part"))))
        return real(operation, given)

    monkeypatch.setattr(aws.client("dynamodb"), "_make_api_call", call)
    key = ada.key()["id"]
    ada("DELETE", f"{KEYS}/{key}")
    ours = [(operation, "usr_" in part) for operation, part in written if operation.startswith(("Put", "Delete"))]
    assert ours == [("PutItem", True), ("PutItem", False), ("DeleteItem", False), ("DeleteItem", True)]


def test_a_cursor_of_another_listing_is_refused(ada: Asker) -> None:
    cursor = base64.urlsafe_b64encode(b'"upl_01"').decode().rstrip("=")
    assert ada("GET", f"{KEYS}?cursor={cursor}").json_body["code"] == "cursor_invalid"
