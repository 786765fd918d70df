"""Idempotency-Keys: however often a request is sent, what it makes is there once, and is answered alike."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from chalicelib import apikeys, table_rows, tokens
from chalicelib.aws import client
from chalicelib.errors import Refused
from chalicelib.postgres import repeats
from chalicelib.postgres.repeats import Repeat
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline
from tests.stages.test_api import CREDENTIALS, Api, is_problem, place

KEYLESS = {
    "fields": [{"name": "note", "type": "string"}, {"name": "n", "type": "integer"}, {"name": "x", "type": "number"}]
}
ROWS = "/v1/datasets/notes/rows"
KEYS = "/v1/api-keys"
SIGNUP = "/v1/auth/signup"


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    api = Api(pipeline)
    api.put("notes", KEYLESS)
    return api


def count(api: Api) -> int:
    return len(api.get(ROWS).json_body["items"])


def test_a_row_that_is_sent_again_under_its_key_is_there_once_and_answered_alike(api: Api) -> None:
    first, *others = [api("POST", ROWS, {"note": "a", "n": 1}, Idempotency_Key="one") for _ in range(3)]
    assert first.status_code == 201
    assert {(one.status_code, one.body, one.headers["ETag"]) for one in others} == {
        (201, first.body, first.headers["ETag"])
    }
    assert count(api) == 1
    api("POST", ROWS, {"note": "a", "n": 1})
    assert count(api) == 2  # nothing was said of a repeat


def test_an_answer_is_repeated_whatever_became_of_the_row(api: Api) -> None:
    api.put()
    body = {"email": "a@x.org", "name": "Ada", "age": 36}
    path = "/v1/datasets/contacts/rows"
    first = api("POST", path, body, Idempotency_Key="one")
    assert api("DELETE", place(path, first)).status_code == 204
    again = api("POST", path, body, Idempotency_Key="one")
    assert (again.status_code, again.body, again.headers["Location"]) == (201, first.body, first.headers["Location"])
    assert api.get(path).json_body["items"] == []


def test_a_dataset_that_was_deleted_and_made_again_has_no_answers_of_the_former_one(api: Api) -> None:
    first = api("POST", ROWS, {"note": "a"}, Idempotency_Key="one")
    assert api("DELETE", "/v1/datasets/notes").status_code == 204
    api.put("notes", KEYLESS)
    again = api("POST", ROWS, {"note": "a"}, Idempotency_Key="one")
    assert (again.status_code, again.json_body["note"]) == (first.status_code, "a") == (201, "a")
    assert count(api) == 1


def test_another_body_under_the_same_key_is_refused(api: Api) -> None:
    api("POST", ROWS, {"note": "a"}, Idempotency_Key="one")
    is_problem(api("POST", ROWS, {"note": "b"}, Idempotency_Key="one"), 422, "idempotency_key_reused")
    exact = [b'{"x": 0.1}', b'{"x": 0.10000000000000000001}']
    api("POST", ROWS, exact[0], Idempotency_Key="two")
    is_problem(api("POST", ROWS, exact[1], Idempotency_Key="two"), 422, "idempotency_key_reused")
    assert count(api) == 2
    api("POST", KEYS, {"name": "a"}, Idempotency_Key="one")
    is_problem(api("POST", KEYS, {"name": "b"}, Idempotency_Key="one"), 422, "idempotency_key_reused")


@pytest.mark.parametrize("path", [ROWS, KEYS])
def test_a_key_that_can_be_none_is_refused(api: Api, path: str) -> None:
    body = {"note": "a"} if path == ROWS else {"name": "a"}
    is_problem(api("POST", path, body, Idempotency_Key="x" * 256), 400, "idempotency_key_invalid")
    assert api("POST", path, body, Idempotency_Key="x" * 255).status_code == 201


def test_what_was_refused_may_be_tried_again_under_its_key(api: Api) -> None:
    is_problem(api("POST", ROWS, {"n": "seven"}, Idempotency_Key="one"), 422, "row_invalid")
    assert api("POST", ROWS, {"n": 7}, Idempotency_Key="one").status_code == 201
    assert count(api) == 1


def test_a_key_is_of_one_path_and_one_tenant(api: Api) -> None:
    api.put("others", KEYLESS)
    for path in (ROWS, "/v1/datasets/others/rows"):
        assert api("POST", path, {"note": "a"}, Idempotency_Key="one").status_code == 201
    assert len(api.get("/v1/datasets/others/rows").json_body["items"]) == count(api) == 1
    asked = {"note": "a"}
    one = Repeat("ten_a", ["usr_a", "path"], "one", asked)
    assert len({one.key, Repeat("ten_b", ["usr_a", "path"], "one", asked).key}) == 2
    assert len({one.key, Repeat("ten_a", ["usr_b", "path"], "one", asked).key}) == 2


def test_while_a_request_is_under_way_its_repeat_is_told_so(api: Api) -> None:
    tenant = api.pipeline.tenant
    repeat = Repeat(tenant, ["usr", "rows"], "one", {"note": "a"})
    (dataset,) = api.pipeline.sql("SELECT number FROM rowmill.dataset")
    with psycopg.connect(settings().database_url) as other:
        repeats.once(other, repeat.within(dataset["number"]), lambda: {"made": 1})  # and not committed
        with pytest.raises(Refused, match="under way") as refused:
            table_rows.create(tenant, "notes", {"note": "a"}, repeat)
        assert (refused.value.status, refused.value.code) == (409, "idempotency_conflict")
        other.rollback()
    table_rows.create(tenant, "notes", {"note": "a"}, repeat)
    assert count(api) == 1


def test_a_crash_leaves_neither_the_row_nor_its_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    repeat = Repeat(api.pipeline.tenant, ["usr", "rows"], "one", {"note": "a"})
    with monkeypatch.context() as patch:
        patch.setattr(repeats, "json", None)  # the answer cannot be kept
        with pytest.raises(AttributeError):
            table_rows.create(api.pipeline.tenant, "notes", {"note": "a"}, repeat)
    assert count(api) == 0
    table_rows.create(api.pipeline.tenant, "notes", {"note": "a"}, repeat)
    assert count(api) == 1


def test_an_answer_is_kept_for_a_day_and_then_forgotten(api: Api) -> None:
    api("POST", ROWS, {"note": "a"}, Idempotency_Key="one")
    api("POST", ROWS, {"note": "a"}, Idempotency_Key="two")
    api.pipeline.sql("UPDATE rowmill.repeat SET created_at = created_at - interval '24 hours 1 minute'")
    assert api("POST", ROWS, {"note": "b"}, Idempotency_Key="one").status_code == 201
    assert count(api) == 3
    assert api.pipeline.sweep()["answers_forgotten"] == 1
    is_problem(api("POST", ROWS, {"note": "a"}, Idempotency_Key="one"), 422, "idempotency_key_reused")


def test_a_key_of_a_file_is_of_one_path(api: Api) -> None:
    api.put()
    parents = [api.pipeline.run(f"email,name,age\n{n}@x.org,Ada,old\n".encode())["id"] for n in range(2)]
    file = {"filename": "a.csv", "size": 9}
    asked: list[tuple[str, Any]] = [("/v1/uploads", file | {"dataset": "contacts"})]
    asked += [(f"/v1/uploads/{parent}/retries", file) for parent in parents]
    answers = [[api("POST", *one, Idempotency_Key="one") for one in asked] for _ in range(2)]
    ids = [[one.json_body["id"] for one in each] for each in answers]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(asked)
    books = {"Content_Type": "text/csv", "Idempotency_Key": "one"}
    batches = [api("POST", "/bulk-upload", b"title,author,description\na,b,c\n", **books) for _ in range(2)]
    assert [one.status_code for one in batches] == [202, 202]
    assert batches[0].body == batches[1].body


# An account, whose answer holds tokens and is not kept


def test_who_lost_the_answer_to_a_signup_may_ask_again_under_its_key(api: Api) -> None:
    cy = CREDENTIALS | {"username": "cy"}
    first, again = [api("POST", SIGNUP, cy, Authorization="", Idempotency_Key="one") for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json_body["tenant_id"] == again.json_body["tenant_id"]
    assert first.json_body["refresh"] != again.json_body["refresh"]
    for one in (first, again):
        bearer = f"Bearer {one.json_body['access']}"
        assert api.get("/v1/datasets", Authorization=bearer).status_code == 200


def test_nobody_else_is_let_in_by_a_repeated_signup(api: Api) -> None:
    cy = CREDENTIALS | {"username": "cy"}
    api("POST", SIGNUP, cy, Authorization="", Idempotency_Key="one")
    other = cy | {"password": "another horse"}
    is_problem(api("POST", SIGNUP, other, Authorization="", Idempotency_Key="one"), 422, "idempotency_key_reused")
    is_problem(api("POST", SIGNUP, cy, Authorization="", Idempotency_Key="two"), 409, "username_taken")
    is_problem(api("POST", SIGNUP, cy, Authorization=""), 409, "username_taken")
    api.pipeline.sql("UPDATE rowmill.account SET created_at = created_at - interval '24 hours 1 minute'")
    is_problem(api("POST", SIGNUP, cy, Authorization="", Idempotency_Key="one"), 409, "username_taken")


# An API key, whose secret is told and not kept


def test_a_secret_is_told_again_under_its_key_and_is_kept_nowhere(api: Api) -> None:
    first, again = [api("POST", KEYS, {"name": "nightly"}, Idempotency_Key="one") for _ in range(2)]
    assert (first.status_code, first.json_body) == (again.status_code, again.json_body)
    secret = first.json_body["secret"]
    assert api.get("/v1/datasets", Authorization=f"Bearer {secret}").status_code == 200
    assert len(api.get(KEYS).json_body["items"]) == 1
    answers = api.pipeline.sql("SELECT t::text FROM rowmill.repeat t")
    keys = client("dynamodb").scan(TableName=settings().keys_table)["Items"]
    for kept in (answers, keys):
        assert kept
        assert secret[12:] not in str(kept)


def test_secrets_differ_by_the_key_they_were_asked_with_and_by_who_asked(api: Api) -> None:
    made = [api("POST", KEYS, {"name": "nightly"}, Idempotency_Key=key).json_body for key in ("one", "two")]
    api("POST", "/v1/auth/signup", CREDENTIALS | {"username": "bob"}, Authorization="")
    bob = api("POST", "/v1/auth/login", CREDENTIALS | {"username": "bob"}, Authorization="").json_body["access"]
    made.append(api("POST", KEYS, {"name": "nightly"}, Idempotency_Key="one", Authorization=f"Bearer {bob}").json_body)
    assert len({one["secret"] for one in made}) == len({one["id"] for one in made}) == 3


def test_a_secret_outlives_one_change_of_our_own_key_and_not_two(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    user = tokens.read(api.token).user_id
    repeat = Repeat(api.pipeline.tenant, [user], "one", {"name": "nightly"})
    before = settings().jwt_secret
    first = apikeys.create(api.pipeline.tenant, user, {"name": "nightly"}, repeat)
    for held, told in ((f"newer,{before}", True), ("newest,newer", False)):
        monkeypatch.setenv("JWT_SECRET", held)
        settings.cache_clear()
        if told:
            assert apikeys.create(api.pipeline.tenant, user, {"name": "nightly"}, repeat) == first
        else:
            with pytest.raises(Refused, match=first["id"]) as refused:
                apikeys.create(api.pipeline.tenant, user, {"name": "nightly"}, repeat)
            assert (refused.value.code, refused.value.status) == ("secret_forgotten", 409)
