"""Datasets that others read or write: what each role sees, whose uploads are whose, and what a revoked role stops."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import accounts
from chalicelib.journey import MAX_ATTEMPTS
from chalicelib.postgres import connection, ledger
from chalicelib.settings import settings
from tests.stages.conftest import CONTACTS, Pipeline, cut_into
from tests.stages.test_api import Api, is_problem, place
from tests.stages.test_api_keys import Asker

FILE = b"email,name,age\na@x.org,Ada,36\nb@x.org,Bob,37\n"
GRANTS = "/v1/datasets/contacts/grants"


class Shared:
    """A dataset of the pipeline's first account, and an account that has a role in it and sends files."""

    def __init__(self, pipeline: Pipeline, role: str = "writer", schema: Any = CONTACTS) -> None:
        self.owner = Api(pipeline)
        assert self.owner.put(body=schema).status_code == 201
        self.owner_tenant = pipeline.tenant
        session = accounts.signup({"username": "Eve/1", "password": "correct horse"})
        self.guest = Asker(session["access"])
        self.pipeline = pipeline
        self.grant(role)
        self.dataset: str = self.owner.get("/v1/datasets/contacts").json_body["id"]
        pipeline.tenant = session["tenant_id"]  # whose files the pipeline sends

    def grant(self, role: str) -> Any:
        answer = self.owner("PUT", f"{GRANTS}/eve~11", {"role": role})
        assert answer.status_code in (200, 201), answer.body
        return answer

    def revoke(self) -> None:
        assert self.owner("DELETE", f"{GRANTS}/Eve~11").status_code == 204

    def rows(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.owner.get("/v1/datasets/contacts/rows").json_body["items"]
        return items


def test_a_writer_s_file_loads_into_the_owner_s_table_and_stays_the_writer_s(pipeline: Pipeline) -> None:
    shared = Shared(pipeline)
    upload = pipeline.run(FILE + b",No key,1\n", shared.dataset)
    assert (upload["state"], upload["loaded"], upload["dataset"]) == ("completed_with_errors", 2, shared.dataset)
    assert [row["email"] for row in shared.rows()] == ["a@x.org", "b@x.org"]
    path = f"/v1/uploads/{upload['id']}"
    assert [one["id"] for one in shared.guest("GET", "/v1/uploads").json_body["items"]] == [upload["id"]]
    assert shared.owner.get("/v1/uploads").json_body["items"] == []
    is_problem(shared.owner.get(path), 404, "upload_not_found")
    is_problem(shared.owner.get(f"{path}/rejects"), 404, "upload_not_found")
    assert len(shared.guest("GET", f"{path}/rejects").json_body["items"]) == 1
    # Whose it is or not: its rows are the dataset's.
    assert len(shared.owner.get(f"/v1/datasets/contacts/rows?upload={upload['id']}").json_body["items"]) == 2
    assert len(shared.guest("GET", f"/v1/datasets/{shared.dataset}/rows?upload={upload['id']}").json_body["items"]) == 2


def test_a_reader_sees_rows_and_sends_none(pipeline: Pipeline) -> None:
    shared = Shared(pipeline, "reader")
    assert shared.owner("POST", "/v1/datasets/contacts/rows", {"email": "c@x.org"}).status_code == 201
    rows = f"/v1/datasets/{shared.dataset}/rows"
    assert [row["email"] for row in shared.guest("GET", rows).json_body["items"]] == ["c@x.org"]
    assert shared.guest("GET", f"{rows}/c@x.org").status_code == 200
    for answer in (
        shared.guest("POST", rows, {"email": "d@x.org"}),
        shared.guest("PATCH", f"{rows}/c@x.org", {"age": 1}),
        shared.guest("DELETE", f"{rows}/c@x.org"),
        shared.guest("POST", "/v1/uploads", {"dataset": shared.dataset, "size": 10}),
        shared.guest("PUT", f"/v1/datasets/{shared.dataset}", CONTACTS),
        shared.guest("DELETE", f"/v1/datasets/{shared.dataset}"),
        shared.guest("GET", f"/v1/datasets/{shared.dataset}/grants"),
    ):
        is_problem(answer, 403, "role_forbids")
    assert len(shared.rows()) == 1
    shared.grant("writer")
    assert place(rows, shared.guest("POST", rows, {"email": "d@x.org"})) == f"{rows}/d@x.org"


def test_what_is_shared_is_told_with_its_owner_and_the_role(pipeline: Pipeline) -> None:
    shared = Shared(pipeline, "reader")
    own = shared.owner.get("/v1/datasets/contacts").json_body
    assert (own["owner"], own["role"]) == ("ada", "owner")
    seen = shared.guest("GET", f"/v1/datasets/{shared.dataset}").json_body
    assert seen == own | {"role": "reader"}
    assert shared.guest("GET", "/v1/datasets?shared=true").json_body["items"] == [seen]
    assert shared.guest("GET", "/v1/datasets").json_body["items"] == []
    assert shared.owner.get("/v1/datasets?shared=true").json_body["items"] == []
    assert shared.owner.get(f"/v1/datasets/{shared.dataset}").json_body == own
    assert shared.owner("PUT", f"/v1/datasets/{shared.dataset}", CONTACTS | {"mode": "skip"}).status_code == 200


def test_grants_are_listed_by_name_changed_and_taken_back(pipeline: Pipeline) -> None:
    shared = Shared(pipeline, "reader")
    accounts.signup({"username": "bob", "password": "correct horse"})
    assert shared.owner("PUT", f"{GRANTS}/bob", {"role": "writer"}).status_code == 201
    assert shared.grant("writer").status_code == 200
    listed = shared.owner.get(GRANTS).json_body["items"]
    assert [(one["username"], one["role"]) for one in listed] == [("Eve/1", "writer"), ("bob", "writer")]
    first = shared.owner.get(f"{GRANTS}?limit=1").json_body
    rest = shared.owner.get(f"{GRANTS}?limit=1&cursor={first['next_cursor']}").json_body
    assert [*first["items"], *rest["items"]] == listed
    shared.revoke()
    is_problem(shared.owner("DELETE", f"{GRANTS}/Eve~11"), 404, "grant_not_found")
    is_problem(shared.owner("PUT", f"{GRANTS}/nobody", {"role": "reader"}), 404, "user_not_found")
    is_problem(shared.owner("PUT", f"{GRANTS}/%00", {"role": "reader"}), 404, "user_not_found")
    is_problem(shared.owner("PUT", f"{GRANTS}/ada", {"role": "reader"}), 422, "grant_invalid")
    is_problem(shared.owner("PUT", f"{GRANTS}/bob", {"role": "owner"}), 422, "grant_invalid")
    answer = shared.guest("GET", f"/v1/datasets/{shared.dataset}")
    assert (answer.status_code, answer.json_body["code"]) == (404, "dataset_not_found")


def test_a_dataset_that_is_deleted_and_made_again_is_shared_with_nobody(pipeline: Pipeline) -> None:
    shared = Shared(pipeline)
    assert shared.owner("DELETE", "/v1/datasets/contacts").status_code == 204
    assert shared.owner.put().status_code == 201
    assert shared.owner.get(GRANTS).json_body["items"] == []
    assert shared.guest("GET", f"/v1/datasets/{shared.dataset}").status_code == 404
    assert shared.guest("GET", "/v1/datasets?shared=true").json_body["items"] == []
    is_problem(shared.owner.get(f"/v1/datasets/{shared.dataset}"), 404, "dataset_not_found")


# What a role that is taken back stops


def test_a_file_that_was_announced_before_the_role_was_taken_back_loads_nothing(pipeline: Pipeline) -> None:
    shared = Shared(pipeline)
    upload_id = pipeline.create(FILE, shared.dataset)
    shared.grant("reader")
    pipeline.split(upload_id)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"]) == ("failed", "dataset_gone")
    assert shared.rows() == []


@pytest.mark.parametrize("how", ["revoked", "made a reader"])
def test_what_is_loading_when_the_role_is_taken_back_is_canceled(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    cut_into(monkeypatch, 1)
    shared = Shared(pipeline)
    upload_id = pipeline.create(FILE, shared.dataset)
    pipeline.split(upload_id)
    first, second = pipeline.messages()
    pipeline.load([first])
    if how == "revoked":
        shared.revoke()
    else:
        shared.grant("reader")
    pipeline.load([second])
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["unprocessed"]) == ("canceled", 1, 1)
    assert [row["email"] for row in shared.rows()] == ["a@x.org"]


def test_a_role_that_is_taken_back_in_the_moment_a_file_is_opened_stops_it_too(pipeline: Pipeline) -> None:
    shared = Shared(pipeline)
    upload_id = pipeline.create(FILE, shared.dataset)
    pipeline.split(upload_id)
    pipeline.sql("DELETE FROM rowmill.dataset_grant")  # as of one who did not see the upload yet
    pipeline.load(pipeline.messages())
    assert (pipeline.upload(upload_id)["state"], shared.rows()) == ("canceled", [])


def test_what_waits_to_be_settled_when_the_role_is_taken_back_is_not(pipeline: Pipeline) -> None:
    """Every chunk is in, but for rows that repeat a key: what is to settle them comes after the role has gone."""
    shared = Shared(pipeline)
    assert shared.owner("POST", "/v1/datasets/contacts/rows", {"email": "o@x.org", "age": 1}).status_code == 201
    rows = b"email,name,age\na@x.org,Ada,36\no@x.org,Eve,2\no@x.org,Eve,3\n"
    upload_id = pipeline.create(rows, shared.dataset, mode="upsert")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    before = shared.rows()
    assert len(before) == 2
    shared.revoke()
    pipeline.settle()
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], shared.rows()) == ("canceled", before)
    assert [upload[name] for name in ("rows_total", "loaded", "updated", "unprocessed")] == [3, 1, 1, 1]


def test_what_was_given_up_is_not_tried_again_without_the_role(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    shared = Shared(pipeline)
    upload_id = pipeline.create(FILE, shared.dataset)
    pipeline.split(upload_id)
    first, _ = pipeline.messages()
    pipeline.sql("UPDATE rowmill.chunk SET state = 'dead' WHERE n = 2")
    pipeline.load([first])
    assert pipeline.upload(upload_id)["state"] == "completed_with_errors"
    shared.revoke()
    answer = shared.guest("POST", f"/v1/uploads/{upload_id}/redrive", {})
    assert (answer.status_code, answer.json_body["code"]) == (403, "role_forbids")
    shared.grant("writer")
    assert shared.guest("POST", f"/v1/uploads/{upload_id}/redrive", {}).status_code == 202
    pipeline.load(pipeline.messages())
    assert len(shared.rows()) == 2


def test_a_role_that_is_taken_back_in_the_moment_of_a_redrive_stops_it_too(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chunk is in: what could not be settled is all that is tried again."""
    shared = Shared(pipeline)
    assert shared.owner("POST", "/v1/datasets/contacts/rows", {"email": "o@x.org", "age": 1}).status_code == 201
    upload_id = pipeline.create(b"email,name,age\no@x.org,Eve,2\no@x.org,Eve,3\n", shared.dataset, mode="upsert")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.sql("UPDATE rowmill.upload SET settle_attempts = %s", MAX_ATTEMPTS)
    pipeline.settle()
    assert pipeline.upload(upload_id)["error"]["code"] == "settle_failed"
    before = shared.rows()

    def taken_back_first(*arguments: Any) -> bool:
        pipeline.sql("DELETE FROM rowmill.dataset_grant")  # of an upload that is over nothing is canceled
        return reopened(*arguments)

    reopened = ledger.reopen
    monkeypatch.setattr(ledger, "reopen", taken_back_first)
    assert shared.guest("POST", f"/v1/uploads/{upload_id}/redrive", {}).status_code == 202
    pipeline.settle()
    assert (pipeline.upload(upload_id)["state"], shared.rows()) == ("canceled", before)


@pytest.mark.parametrize("how", ["revoked", "made a reader"])
def test_rows_stay_whoever_sent_them_once_the_role_is_taken_back(pipeline: Pipeline, how: str) -> None:
    shared = Shared(pipeline)
    first = pipeline.run(FILE, shared.dataset)["id"]
    second = pipeline.run(b"email,name,age\nc@x.org,Cy,38\n", shared.dataset)["id"]
    assert shared.guest("DELETE", f"/v1/uploads/{first}").status_code == 202
    if how == "revoked":
        shared.revoke()
    else:
        shared.grant("reader")
    for upload_id in (first, second):  # deleted without its rows before, or not deleted yet
        is_problem(shared.guest("DELETE", f"/v1/uploads/{upload_id}?rows=true"), 403, "role_forbids")
    is_problem(shared.guest("POST", f"/v1/uploads/{second}/revert", {}), 403, "role_forbids")
    assert shared.guest("DELETE", f"/v1/uploads/{second}").status_code == 202  # the upload is the guest's as ever
    pipeline.sweep()
    assert [row["email"] for row in shared.rows()] == ["a@x.org", "b@x.org", "c@x.org"]
    shared.grant("writer")
    assert shared.guest("DELETE", f"/v1/uploads/{first}?rows=true").status_code == 202
    pipeline.sweep()
    assert [row["email"] for row in shared.rows()] == ["c@x.org"]


def test_who_has_no_role_any_more_learns_nothing_new_of_the_rows(pipeline: Pipeline) -> None:
    """A comparison tells how many rows of the upload are still there as they were: what a reader sees."""
    shared = Shared(pipeline)
    upload_id = pipeline.run(FILE, shared.dataset)["id"]
    verify = f"/v1/uploads/{upload_id}/verify"
    shared.grant("reader")
    assert shared.guest("POST", verify, {}).status_code == 202
    shared.revoke()
    is_problem(shared.guest("POST", verify, {}), 403, "role_forbids")
    assert shared.guest("GET", f"/v1/uploads/{upload_id}/receipt").status_code in (200, 202)  # of what was sent
    shared.grant("reader")
    assert shared.guest("POST", verify, {}).status_code == 202
    assert shared.owner("DELETE", "/v1/datasets/contacts").status_code == 204
    assert shared.guest("POST", verify, {}).status_code == 202  # that it is gone is told to everybody


# Names and references


def test_references_are_to_the_owner_s_datasets_whoever_writes(pipeline: Pipeline) -> None:
    schema = CONTACTS | {"foreignKeys": [{"fields": "name", "reference": {"resource": "names", "fields": "name"}}]}
    owner = Api(pipeline)
    names = {"fields": [{"name": "name", "constraints": {"unique": True}}]}
    assert owner.put("names", names).status_code == 201
    assert owner("POST", "/v1/datasets/names/rows", {"name": "Ada"}).status_code == 201
    assert owner.put(body=schema).status_code == 201
    session = accounts.signup({"username": "eve", "password": "correct horse"})
    guest = Asker(session["access"])
    assert owner("PUT", f"{GRANTS}/eve", {"role": "writer"}).status_code == 201
    dataset = owner.get("/v1/datasets/contacts").json_body["id"]
    pipeline.tenant = session["tenant_id"]
    pipeline.dataset(names, "names")  # the guest's own, empty
    upload = pipeline.run(FILE, dataset)
    assert (upload["loaded"], upload["rejected"]) == (1, 1)
    rows = f"/v1/datasets/{dataset}/rows"
    assert guest("POST", rows, {"email": "c@x.org", "name": "Ada"}).status_code == 201
    assert guest("POST", rows, {"email": "d@x.org", "name": "Bob"}).json_body["code"] == "row_invalid"
    assert guest("PATCH", f"{rows}/c@x.org", {"name": "Bob"}).json_body["code"] == "row_invalid"
    is_problem(owner("DELETE", "/v1/datasets/names/rows/Ada"), 409, "row_referenced")


def test_nobody_names_a_dataset_as_an_id_is_spelled(pipeline: Pipeline) -> None:
    api = Api(pipeline)
    name = "dst_" + "0" * 32
    is_problem(api.put(name), 404, "dataset_not_found")
    is_problem(api.post({"dataset": name, "size": 1}), 422, "unknown_dataset")
    is_problem(api.post({"dataset": name, "size": 1, "options": {"infer": True}}), 422, "body_invalid")
    assert api.get("/v1/datasets").json_body["items"] == []
    assert api.put("dst_1").status_code == 201


# Keys


def test_a_key_s_role_is_all_of_its_owner_s_unless_it_says_less(pipeline: Pipeline) -> None:
    ada = Asker(Api(pipeline).token)
    assert [ada.key(**asked)["role"] for asked in ({}, {"role": "reader"})] == ["owner", "reader"]
    assert [one["role"] for one in ada.listed()] == ["owner", "reader"]
    reader = Asker(ada.key(role="reader")["secret"])
    assert reader("GET", "/v1/datasets").status_code == 200
    answer = reader("PUT", "/v1/datasets/contacts", CONTACTS)
    assert (answer.status_code, answer.json_body["code"]) == (403, "role_forbids")


def test_a_writer_s_key_confirms_no_file_that_makes_a_dataset(pipeline: Pipeline) -> None:
    ada = Asker(Api(pipeline).token)
    writer = Asker(ada.key(role="writer")["secret"])
    upload_id = pipeline.create(FILE, "typed", infer=True)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "needs_review"
    answer = writer("POST", f"/v1/uploads/{upload_id}/confirm", {})
    assert (answer.status_code, answer.json_body["code"]) == (403, "role_forbids")
    assert ada("POST", f"/v1/uploads/{upload_id}/confirm", {}).status_code == 202


def test_a_writer_s_key_makes_no_dataset_of_books(pipeline: Pipeline) -> None:
    ada = Api(pipeline)
    key = Asker(ada.token).key(role="writer")["secret"]
    writer = {"Authorization": f"Bearer {key}"}
    book, file = {"title": "a", "author": "b"}, b"title,author,description\na,b,c\n"
    for path, body, media in (("/books", book, "application/json"), ("/bulk-upload", file, "text/csv")):
        answer = ada("POST", path, body, Content_Type=media, **writer)
        assert (answer.status_code, answer.json_body["code"]) == (403, "role_forbids")
    assert ada.get("/v1/datasets").json_body["items"] == []
    assert ada("POST", "/books", book).status_code == 201
    assert ada("POST", "/books", book, **writer).status_code == 201
    assert ada("POST", "/bulk-upload", file, Content_Type="text/csv", **writer).status_code == 202


# The status


def test_a_poll_of_an_upload_into_a_shared_dataset_opens_no_database(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Shared(pipeline)
    upload = pipeline.run(FILE, shared.dataset)
    connection.close()
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    settings.cache_clear()
    assert shared.guest("GET", f"/v1/uploads/{upload['id']}").json_body == upload
    assert shared.guest("GET", "/v1/uploads").json_body["items"] == [upload]
    assert shared.guest("GET", "/v1/datasets").status_code == 503
