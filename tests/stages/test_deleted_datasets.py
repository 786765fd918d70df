"""Datasets that are deleted: what keeps one, what goes with it, and what of its uploads stays."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import psycopg
import pytest

from tests.stages.conftest import CONTACTS, Pipeline, consulted
from tests.stages.test_api import FILE, Answer, Api, asked, given_up, is_problem, place
from tests.stages.test_table_rows import COUNTRIES, ORDERS

PATH = "/v1/datasets/contacts"


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    api = Api(pipeline)
    assert api.put().status_code == 201
    return api


def tables(api: Api) -> list[str]:
    return [row["tablename"] for row in api.pipeline.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'data'")]


def views(api: Api) -> list[dict[str, Any]]:
    return api.pipeline.sql("SELECT viewname FROM pg_views WHERE schemaname = %s", api.pipeline.tenant)


def test_a_deleted_dataset_is_gone_with_its_table_and_its_name_is_free(api: Api) -> None:
    upload = api.pipeline.run(FILE)
    assert (tables(api) != [], len(views(api))) == (True, 1)
    deleted = api("DELETE", PATH)
    assert (deleted.status_code, deleted.body) == (204, b"")
    assert (tables(api), views(api)) == ([], [])
    for method, path in (("GET", PATH), ("DELETE", PATH), ("GET", f"{PATH}/rows"), ("GET", f"{PATH}/rows/a@x.org")):
        is_problem(api(method, path), 404, "dataset_not_found")
    is_problem(api("POST", f"{PATH}/rows", {}), 404, "dataset_not_found")
    is_problem(api.post(asked()), 422, "unknown_dataset")
    assert api.get("/v1/datasets").json_body["items"] == []
    again = api.put(body={"fields": [{"name": "other"}]})
    assert (again.status_code, again.json_body["version"]) == (201, 1)
    assert api.get(f"{PATH}/rows").json_body["items"] == []
    assert api.get(f"/v1/uploads/{upload['id']}").json_body["state"] == "completed_with_errors"


def test_who_deletes_a_row_whose_key_is_two_dots_loses_no_dataset(api: Api) -> None:
    """Whoever writes into it chooses the key, and most clients tidy `…/rows/..` before they send it."""
    api.put("dots", {"fields": [{"name": "key"}], "primaryKey": "key"})
    assert place("/v1/datasets/dots/rows", api("POST", "/v1/datasets/dots/rows", {"key": ".."})).endswith("/rows/~4~4")
    is_problem(api("DELETE", urljoin("/v1/datasets/dots/rows/", "..")), 400, "path_invalid")
    assert [row["key"] for row in api.get("/v1/datasets/dots/rows").json_body["items"]] == [".."]
    assert api("DELETE", "/v1/datasets/dots/rows/~4~4").status_code == 204


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_uploads_of_a_deleted_dataset_keep_their_history(api: Api, mode: str) -> None:
    upload = api.pipeline.run(FILE, mode=mode)
    api("DELETE", PATH)
    seen = api.get(f"/v1/uploads/{upload['id']}")
    assert seen.json_body["loaded"] == 1
    assert len(api.get(f"/v1/uploads/{upload['id']}/rejects").json_body["items"]) == 1
    fates = [api.get(f"/v1/uploads/{upload['id']}/rows/{n}").json_body["state"] for n in (1, 2)]
    assert fates == ["success", "failed"]
    assert consulted({"side": "ledger"})["differences"] == []


def test_a_dataset_with_uploads_under_way_stays(api: Api) -> None:
    upload_id = api.pipeline.create(FILE)
    api.pipeline.split(upload_id)
    is_problem(api("DELETE", PATH), 409, "dataset_busy")
    api.pipeline.load(api.pipeline.messages())
    checked = api.pipeline.run(FILE, validate_only=True)
    assert checked["state"] == "needs_review"
    is_problem(api("DELETE", PATH), 409, "dataset_busy")
    api.pipeline.cancel(checked["id"])
    assert api("DELETE", PATH).status_code == 204


def test_a_dataset_whose_table_is_held_stays(api: Api) -> None:
    (number,) = [
        row["number"] for row in api.pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'contacts'")
    ]
    with psycopg.connect(api.pipeline.url) as reader:
        reader.execute(f"SELECT FROM data.d_{number}")
        is_problem(api("DELETE", PATH), 409, "dataset_busy")
    assert api.get(PATH).status_code == 200
    assert api("DELETE", PATH).status_code == 204


def test_a_dataset_that_another_refers_to_stays(api: Api) -> None:
    api.put("countries", COUNTRIES)
    api.put("orders", ORDERS)
    problem = is_problem(api("DELETE", "/v1/datasets/countries"), 409, "dataset_referenced")
    assert '"orders"' in problem["detail"]
    assert api("DELETE", "/v1/datasets/orders").status_code == 204
    assert api("DELETE", "/v1/datasets/countries").status_code == 204


def test_somebody_else_s_dataset_is_not_deleted(api: Api) -> None:
    is_problem(api("DELETE", PATH, Authorization=f"Bearer {api.stranger}"), 404, "dataset_not_found")
    assert api.get(PATH).status_code == 200


def test_a_file_that_comes_after_its_dataset_was_deleted_fails_by_name(api: Api) -> None:
    upload_id = api.pipeline.create(FILE)
    api("DELETE", PATH)
    api.pipeline.split(upload_id)
    upload = api.pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"]) == ("failed", "dataset_gone")


def test_a_file_that_comes_after_its_dataset_was_made_anew_goes_into_the_new_one(api: Api) -> None:
    upload_id = api.pipeline.create(FILE)
    api("DELETE", PATH)
    api.put(body=CONTACTS)
    api.pipeline.split(upload_id)
    api.pipeline.load(api.pipeline.messages())
    assert [row["email"] for row in api.pipeline.rows()] == ["a@x.org"]


def test_what_was_given_up_is_not_redriven_into_a_deleted_dataset(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = given_up(api, monkeypatch)
    assert api("DELETE", PATH).status_code == 204
    is_problem(api("POST", f"/v1/uploads/{upload_id}/redrive"), 409, "dataset_changed")
    answer: Answer = api("POST", f"/v1/uploads/{upload_id}/retries", {"filename": "a.csv", "size": 1})
    assert answer.status_code < 500
