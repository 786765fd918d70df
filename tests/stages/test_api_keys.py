"""Keys for machines: told once, kept as a hash, good until deleted or expired, and no way to let others in."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from chalice.test import Client
from chalice.test import HTTPResponse as Answer

from app import app
from chalicelib import accounts
from tests import held
from tests.stages.conftest import CONTACTS, Pipeline

ADA = {"username": "ada", "password": "correct horse"}
KEYS = "/v1/api-keys"


class Asker:
    """Somebody with a token."""

    def __init__(self, token: str) -> None:
        self.http, self.token = Client(app).http, token

    def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        raw = b"" if body is None else json.dumps(body).encode()
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


def test_a_key_is_kept_as_a_hash(ada: Asker, pipeline: Pipeline) -> None:
    secret = ada.key()["secret"]
    (row,) = pipeline.sql("SELECT hash, k::text AS k FROM rowmill.api_key k")
    assert len(row["hash"]) == 32
    assert secret not in row["k"]
    assert secret.encode().hex() not in row["k"]


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


def test_an_expired_key_opens_nothing_and_is_still_listed(ada: Asker, pipeline: Pipeline) -> None:
    made = ada.key(expires_in_days=30)
    (days,) = pipeline.sql("SELECT extract(epoch FROM expires_at - now()) / 86400 AS left FROM rowmill.api_key")
    assert 29.9 < float(days["left"]) <= 30
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["expires_at"])
    pipeline.sql("UPDATE rowmill.api_key SET expires_at = now()")
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


def test_an_account_that_is_deleted_takes_its_keys_along(ada: Asker, pipeline: Pipeline) -> None:
    secret = ada.key()["secret"]
    pipeline.sql("DELETE FROM rowmill.account WHERE username = 'ada'")
    is_turned_away(secret)
