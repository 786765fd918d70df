"""What has happened to an upload: every change of its state, in order, and who asked for it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from chalicelib import report, tokens
from chalicelib.errors import Refused
from chalicelib.journey import TRANSITIONS
from chalicelib.paging import Asked
from chalicelib.postgres import connection, timeline
from tests.stages.conftest import CONTACTS, Pipeline, cut_into, poison
from tests.stages.test_api import FILE, Api, asked, is_problem

SECRET_CELL = "nobody-may-see-this"


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    return Api(pipeline)


def events(pipeline: Pipeline, upload_id: str) -> list[dict[str, Any]]:
    return report.events(pipeline.tenant, upload_id, Asked({}, None, 1000)).items


def told(pipeline: Pipeline, upload_id: str) -> list[str]:
    """The states as they are, everything else in brackets."""
    return [one["state"] if one["event"] == "state" else f"({one['event']})" for one in events(pipeline, upload_id)]


def test_the_timeline_tells_a_file_from_its_announcement_to_its_end(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(FILE)
    assert told(pipeline, upload["id"]) == [
        "(created)", "(stored)", "scanning", "splitting", "(scanned)", "queued", "processing", "completed_with_errors",
    ]  # fmt: skip
    seen = events(pipeline, upload["id"])
    assert [one["id"] for one in seen] == sorted(one["id"] for one in seen)
    assert seen[0]["at"] == upload["created_at"]
    assert seen[0]["details"] == seen[1]["details"] == {"bytes": len(FILE)}
    assert seen[1]["at"] == upload["timings"]["stored_at"]
    assert seen[4]["details"] == {"pass": "load", "chunks": 1, "rows": 2}
    assert seen[-1]["details"] == {"pass": "load", "generation": 1}


def test_a_move_that_is_rolled_back_is_not_told(pipeline: Pipeline) -> None:
    upload_id, _ = pipeline.begin(FILE)
    before = told(pipeline, upload_id)
    db = connection.connection()
    with pytest.raises(psycopg.errors.DivisionByZero), db.transaction():
        db.execute("UPDATE rowmill.upload SET state = 'failed' WHERE upload_id = %s", (upload_id,))
        db.execute("SELECT 1 / 0")
    assert told(pipeline, upload_id) == before


def test_whoever_moves_an_upload_it_is_told(pipeline: Pipeline) -> None:
    upload_id, _ = pipeline.begin(FILE)
    pipeline.sql("UPDATE rowmill.upload SET state = 'processing' WHERE upload_id = %s", upload_id)
    pipeline.sql("UPDATE rowmill.upload SET state = 'processing' WHERE upload_id = %s", upload_id)  # no move
    assert told(pipeline, upload_id)[-2:] == ["queued", "processing"]


def test_the_death_of_a_chunk_and_its_redrive_are_told(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 1)
    upload_id, messages = pipeline.begin(b"email,name,age\na@x.org,Ada,36\nb@x.org,Bob,7\n")
    with pytest.MonkeyPatch.context() as patch:
        poison(patch, 2)
        for _ in range(4):
            for message in messages:
                try:
                    pipeline.load([message])
                except Exception:
                    continue
    dead = next(one for one in events(pipeline, upload_id) if one["event"] == "chunk_dead")
    assert dead["details"] == {
        "chunk": 2, "pass": "load", "attempts": 4, "fault": "MemoryError", "first_record": 2, "records": 1,
    }  # fmt: skip
    pipeline.redrive(upload_id)
    pipeline.load(pipeline.messages())
    assert told(pipeline, upload_id)[-5:] == [
        "(chunk_dead)", "completed_with_errors", "(redrive)", "processing", "completed",
    ]  # fmt: skip
    assert events(pipeline, upload_id)[-1]["details"]["generation"] == 2
    codes = [one["details"].get("code") for one in events(pipeline, upload_id)]
    assert codes.count("records_unprocessed") == 1


def test_a_wish_that_is_refused_is_not_told(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\na@x.org,Ada,36\n")
    before = told(pipeline, upload["id"])
    for ask in (pipeline.redrive, pipeline.confirm, pipeline.cancel):
        with pytest.raises(Refused):
            ask(upload["id"])
    assert told(pipeline, upload["id"]) == before


def test_an_upload_that_ends_before_any_splitter_is_told(pipeline: Pipeline) -> None:
    pipeline.dataset()
    waiting = pipeline.create(FILE)
    pipeline.cancel(waiting)
    pipeline.cancel(waiting)  # asked twice, wished once
    assert told(pipeline, waiting) == ["(created)", "(cancel)", "canceled"]


def test_a_retry_is_told_at_both_of_its_ends(api: Api) -> None:
    api.put()
    parent = api.pipeline.run(FILE)
    body = {"filename": "b.csv", "size": 10}
    child = api("POST", f"/v1/uploads/{parent['id']}/retries", body).json_body
    assert events(api.pipeline, parent["id"])[-1]["details"] == {"upload_id": child["id"]}
    assert [one["event"] for one in events(api.pipeline, child["id"])] == ["created"]


def test_the_timeline_names_who_asked(api: Api) -> None:
    api.put()
    user = api("POST", "/v1/auth/login", {"username": "ada", "password": "correct horse"}).json_body["user_id"]
    key = api("POST", "/v1/api-keys", {"name": "nightly"}).json_body
    upload = api.post(asked()).json_body["id"]
    by_key = {"Authorization": f"Bearer {key['secret']}"}
    assert api("POST", f"/v1/uploads/{upload}/cancel", **by_key).status_code == 202
    seen = api.get(f"/v1/uploads/{upload}/events").json_body["items"]
    assert [(one["event"], one["by"]) for one in seen] == [("created", user), ("cancel", key["id"]), ("state", None)]


def test_the_timeline_comes_in_pages_and_to_nobody_else(api: Api) -> None:
    api.put()
    upload = api.pipeline.run(FILE)["id"]
    whole = api.get(f"/v1/uploads/{upload}/events").json_body["items"]
    path, pages = f"/v1/uploads/{upload}/events?limit=3", []
    cursor: str | None = ""
    while cursor is not None:
        page = api.get(path + (f"&cursor={cursor}" if cursor else "")).json_body
        pages.append(page["items"])
        cursor = page["next_cursor"]
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [one for page in pages for one in page] == whole
    is_problem(api.get(path, Authorization=f"Bearer {api.stranger}"), 404, "upload_not_found")
    is_problem(api.get("/v1/uploads/upl_01M80FHFV747N9CXY8YY64K210/events"), 404, "upload_not_found")
    is_problem(api.get(f"{path}&cursor=W10"), 400, "cursor_invalid")


def test_no_event_holds_anything_of_a_row(pipeline: Pipeline) -> None:
    pipeline.dataset(CONTACTS)
    body = f"email,name,age\n{SECRET_CELL}@x.org,{SECRET_CELL},{SECRET_CELL}\n".encode()
    upload = pipeline.run(body)
    assert upload["rejected"] == 1
    assert SECRET_CELL not in str(events(pipeline, upload["id"]))


def test_every_state_that_is_told_is_one_of_the_table(pipeline: Pipeline) -> None:
    pipeline.dataset()
    pipeline.run(FILE)
    pipeline.run(FILE, validate_only=True)
    states = {row["state"] for row in pipeline.sql("SELECT DISTINCT state FROM rowmill.event")}
    assert states - {None} <= set(TRANSITIONS)
    assert timeline.NOBODY.who == ""


def test_who_sent_a_file_with_its_request_is_told_as_well(api: Api) -> None:
    sent = api("POST", "/bulk-upload", b"title,author,description\na,b,c\n", Content_Type="text/csv").json_body
    user = tokens.read(api.token).user_id
    assert [(one["event"], one["by"]) for one in events(api.pipeline, sent["batch_id"])] == [("created", user)]
