"""Uploads that are deleted: what goes, what stays, and that nothing of them comes back, whatever comes late."""

from __future__ import annotations

import time
from typing import Any

import boto3
import pytest

from chalicelib import mend, settle, split
from chalicelib.aws import dynamodb, s3
from chalicelib.errors import Refused
from chalicelib.journey import object_key, prefixes
from chalicelib.postgres import connection, ledger, removals
from chalicelib.postgres.timeline import NOBODY
from chalicelib.settings import settings
from tests.faults.state import status_table
from tests.stages.conftest import Pipeline, consulted, cut_into, onward
from tests.stages.test_api import FILE, Api, asked, is_problem
from tests.stages.test_recovery import events
from tests.stages.test_retries import retry

BODY = FILE + b"a@x.org,Again,1\nragged\n"


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    api = Api(pipeline)
    assert api.put().status_code == 201
    return api


def versions(pipeline: Pipeline, upload_id: str) -> list[str]:
    """All that the bucket holds of an upload, old versions and all."""
    found = []
    for prefix in prefixes(pipeline.tenant, upload_id):
        page = boto3.client("s3").list_object_versions(Bucket=settings().bucket, Prefix=prefix)
        found += [one["Key"] for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, [])]
    return found


def left(pipeline: Pipeline) -> dict[str, int]:
    """How many rows there are of what is known of files."""
    there = (
        "WHERE upload IN (SELECT number FROM rowmill.upload)"  # hashes of other tests may be left: nothing ties them
    )
    return {table: len(pipeline.sql(f"SELECT upload FROM rowmill.{table} {there}")) for table in removals._OF_THE_FILE}


def test_a_deleted_upload_is_gone_with_its_file_and_its_rows_stay(api: Api) -> None:
    pipeline = api.pipeline
    upload = pipeline.run(BODY)
    kept = pipeline.run(BODY.replace(b"a@x.org", b"c@x.org"))
    path = f"/v1/uploads/{upload['id']}"
    before = pipeline.rows()
    api.get(f"{path}/rejects?format=csv")
    boto3.client("s3").put_object(
        Bucket=settings().bucket, Key=object_key(pipeline.tenant, upload["id"]), Body=b"newer"
    )
    boto3.client("s3").delete_object(Bucket=settings().bucket, Key=object_key(pipeline.tenant, upload["id"]))
    assert len(versions(pipeline, upload["id"])) == 4
    deleted = api("DELETE", path)
    assert (deleted.status_code, deleted.json_body) == (202, {"id": upload["id"]})
    for what in ("", "/chunks", "/rejects", "/rejects/summary", "/rows/1"):
        is_problem(api.get(path + what), 404, "upload_not_found")
    for what in ("cancel", "pause", "resume", "redrive", "confirm"):
        is_problem(api("POST", f"{path}/{what}"), 404, "upload_not_found")
    assert [one["id"] for one in api.get("/v1/uploads").json_body["items"]] == [kept["id"]]
    assert pipeline.sweep()["uploads_removed"] == 1
    assert versions(pipeline, upload["id"]) == []
    assert versions(pipeline, kept["id"]) != []
    assert pipeline.rows() == before
    assert len(pipeline.rejects(kept["id"])) == left(pipeline)["reject"] == kept["rejected"]
    assert pipeline.sweep()["uploads_removed"] == 0
    assert api("DELETE", path).status_code == 202
    assert consulted({"side": "ledger"})["differences"] == consulted({"side": "status"})["differences"] == []


def test_the_entry_that_stays_says_nothing_of_the_file(api: Api) -> None:
    upload = api.pipeline.run(BODY)
    api("DELETE", f"/v1/uploads/{upload['id']}")
    api.pipeline.sweep()
    (entry,) = api.pipeline.sql("SELECT item, idempotency, closed FROM rowmill.announcement")
    assert entry == {"item": {}, "idempotency": None, "closed": "opened"}
    (kept,) = api.pipeline.sql("SELECT state, review FROM rowmill.upload")
    assert kept == {"state": "completed_with_errors", "review": None}


def test_the_ledger_keeps_no_value_and_no_column_of_a_deleted_file(api: Api) -> None:
    """What was kept to compare later uploads with, how the file was read, and what its end said of it."""
    pipeline = api.pipeline
    mapping = {"Secret column": "email", "name": "name", "age": "age"}
    body = b"Secret column,name,age\na@x.org,Anna,1\nb@x.org,Bert,2\n"
    upload = pipeline.run(body, on_drift="warn", mapping=mapping, max_errors=5, retention="short")
    failed = pipeline.run(b"no,such,header\n1,2,3\n")
    guessed = pipeline.run(body, "people", infer=True)
    assert (upload["state"], failed["state"], guessed["state"]) == ("completed", "failed", "needs_review")
    pipeline.cancel(guessed["id"])
    for one in (upload, failed, guessed):
        pipeline.delete(one["id"])
    pipeline.sweep()
    kept = "SELECT plan, piece, profile, drift, dialect, options, error, state FROM rowmill.upload ORDER BY number"
    nothing = {"plan": None, "piece": None, "profile": None, "drift": None, "dialect": {}, "error": None}
    assert pipeline.sql(kept) == [
        # How long its entry is kept, and whether its rows were ever to be seen.
        nothing | {"options": {"max_errors": 5, "on_drift": "warn", "retention": "short"}, "state": "completed"},
        nothing | {"options": {}, "error": {"code": failed["error"]["code"]}, "state": "failed"},
        nothing | {"options": {"infer": True}, "error": {"code": "canceled"}, "state": "canceled"},
    ]


def test_an_upload_of_others_is_not_there_to_be_deleted(api: Api) -> None:
    upload = api.pipeline.run(BODY)
    stranger = {"Authorization": f"Bearer {api.stranger}"}
    is_problem(api("DELETE", f"/v1/uploads/{upload['id']}", **stranger), 404, "upload_not_found")
    api("DELETE", f"/v1/uploads/{upload['id']}")
    is_problem(api("DELETE", f"/v1/uploads/{upload['id']}", **stranger), 404, "upload_not_found")
    for unknown in ("upl_" + "0" * 26, "nonsense", "%00"):
        is_problem(api("DELETE", f"/v1/uploads/{unknown}"), 404, "upload_not_found")


def test_whatever_comes_late_of_a_deleted_upload_does_nothing(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages)
    pipeline.settle()
    rows = pipeline.rows()
    pipeline.delete(upload_id)
    number = messages[0]["upload"]
    for _ in range(2):
        pipeline.split(upload_id)
        onward(split.file({"tenant": pipeline.tenant, "upload_id": upload_id}))
        pipeline.load(messages)
        for _ in range(6):
            onward(settle.contested({"upload": number}))
        for late in ({"upload": number}, *messages, pipeline.event(upload_id)):
            onward(mend.bury(late))
        pipeline.sweep()
    assert pipeline.messages("intake", "high", "medium", "low", "settle", "dead") == []
    assert dynamodb.find(pipeline.tenant, upload_id) is None
    assert (pipeline.rows(), events(pipeline, upload_id)) == (rows, [f"evt_{upload_id[4:]}_1"])
    assert pipeline.sweep()["uploads_seen"] == 0


def test_an_end_that_was_never_shown_is_not_looked_after_when_its_upload_is_deleted(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(BODY)
    pipeline.sql("UPDATE rowmill.upload SET projected_at = '-infinity'")
    pipeline.delete(upload["id"])
    assert pipeline.sweep()["uploads_seen"] == 0


def test_a_deletion_that_died_half_way_is_finished_by_the_sweep(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload = pipeline.run(BODY)
    number = ledger.number_of(connection.connection(), pipeline.tenant, upload["id"])
    assert removals.mark(
        connection.connection(), pipeline.tenant, upload["id"], number, NOBODY
    )  # and the API dies here
    real, calls = s3.delete_all, []

    def dies(prefix: str) -> None:
        calls.append(prefix)
        if len(calls) == 2:
            raise OSError
        real(prefix)

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(s3, "delete_all", dies)
        pipeline.sweep()
    assert pipeline.sweep()["uploads_removed"] == 1
    assert dynamodb.find(pipeline.tenant, upload["id"]) is None
    assert (versions(pipeline, upload["id"]), set(left(pipeline).values())) == ([], {0})


def test_many_rejects_are_removed_a_part_at_a_time(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "MOST_AT_ONCE", 2)
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\n" + b"ragged\n" * 5)
    pipeline.delete(upload["id"])
    counts = []
    while pipeline.sweep()["uploads_removed"]:
        counts.append(left(pipeline)["reject"])
    assert counts == [3, 1, 0]


def test_an_upload_that_waits_for_its_file_is_deleted_and_a_late_file_removed(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.delete(upload_id)
    pipeline.sweep()
    # The form is still good for a while, and somebody uses it.
    key = object_key(pipeline.tenant, upload_id)
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=BODY)
    pipeline.split(upload_id)
    pipeline.sweep()
    assert (pipeline.messages(), pipeline.rows(), len(versions(pipeline, upload_id))) == ([], [], 1)
    pipeline.sql("UPDATE rowmill.announcement SET purge_at = purge_at - interval '2 hours' + interval '1 minute'")
    assert pipeline.sweep()["uploads_removed"] == 0
    pipeline.sql("UPDATE rowmill.announcement SET purge_at = purge_at - interval '1 minute'")
    assert pipeline.sweep()["uploads_removed"] == 1
    assert versions(pipeline, upload_id) == []
    assert pipeline.sql("SELECT purge_at FROM rowmill.announcement") == [{"purge_at": None}]


def test_a_file_that_arrives_in_the_moment_its_upload_is_deleted_is_not_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    real = dynamodb.expire

    def pinned_first(*arguments: Any) -> bool:
        stored = s3.head(object_key(pipeline.tenant, upload_id))
        assert stored is not None
        dynamodb.pin(pipeline.tenant, upload_id, stored)
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Refused, match="uploaded: cancel it first"):
        patch.setattr(dynamodb, "expire", pinned_first)
        pipeline.delete(upload_id)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["loaded"] == 1


def test_an_upload_whose_time_is_over_is_deleted_before_the_sweep_has_said_so(api: Api) -> None:
    created = api.post(asked()).json_body
    key = {"tenant": {"S": api.pipeline.tenant}, "upload_id": {"S": created["id"]}}
    boto3.client("dynamodb").update_item(
        TableName=settings().uploads_table,
        Key=key,
        UpdateExpression="SET closes_at = :past",
        ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 5)}},
    )
    assert api("DELETE", f"/v1/uploads/{created['id']}").status_code == 202
    assert api("DELETE", f"/v1/uploads/{created['id']}").status_code == 202
    assert api.pipeline.sweep()["uploads_removed"] == 1


def test_parts_of_a_deleted_upload_are_given_up(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWMILL_MULTIPART_BYTES", "10")
    settings.cache_clear()
    api = Api(pipeline)
    api.put()
    created = api.post(asked(size=100)).json_body
    open_parts = boto3.client("s3").list_multipart_uploads
    assert len(open_parts(Bucket=settings().bucket)["Uploads"]) == 1
    assert api("DELETE", f"/v1/uploads/{created['id']}").status_code == 202
    pipeline.sweep()
    assert "Uploads" not in open_parts(Bucket=settings().bucket)
    is_problem(api("POST", f"/v1/uploads/{created['id']}/complete", {"parts": []}), 404, "upload_not_found")


def test_a_redrive_does_not_bring_back_what_is_deleted_meanwhile(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, messages = pipeline.begin(BODY)
    number = messages[0]["upload"]
    ledger.stop(connection.connection(), number, {"code": "split_failed", "detail": ""})
    assert removals.mark(connection.connection(), pipeline.tenant, upload_id, number, NOBODY)
    with pytest.raises(Refused, match="no part of it"):
        pipeline.redrive(upload_id)
    assert not removals.mark(connection.connection(), pipeline.tenant, upload_id, number, NOBODY)


def test_what_is_redriven_meanwhile_is_not_deleted(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id, messages = pipeline.begin(BODY)
    number = messages[0]["upload"]
    ledger.stop(connection.connection(), number, {"code": "split_failed", "detail": ""})
    real = removals.mark

    def redriven_first(*arguments: Any, **options: Any) -> bool:
        pipeline.redrive(upload_id)
        return real(*arguments, **options)

    monkeypatch.setattr(removals, "mark", redriven_first)
    with pytest.raises(Refused, match="under way again"):
        pipeline.delete(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    assert pipeline.upload(upload_id)["loaded"] == 1


def test_an_emptied_status_table_is_rebuilt_without_what_was_deleted(pipeline: Pipeline) -> None:
    pipeline.dataset()
    gone, kept = (pipeline.run(BODY)["id"] for _ in range(2))
    pipeline.delete(gone)
    pipeline.sweep()  # its entry says nothing of it any more
    status_table().items.clear()
    pipeline.sweep()
    assert pipeline.upload(kept)["loaded"] == 0
    assert dynamodb.find(pipeline.tenant, gone) is None


def test_a_retry_that_is_deleted_has_still_brought_in_what_it_did(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    api = Api(pipeline)
    api.put()
    parent = pipeline.run(b"email,name,age\na@x.org,A,1\nb@x.org,B,x\nc@x.org,C,x\nd@x.org,D,x\n")["id"]
    for corrected in (b"_row,email,name,age\n2,b@x.org,B,2\n3,c@x.org,C,y\n", b"email,name,age\nd@x.org,D,4\n"):
        created = api("POST", f"/v1/uploads/{parent}/retries", {"size": len(corrected)}).json_body
        key = object_key(pipeline.tenant, created["id"])
        boto3.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=corrected)
        pipeline.split(created["id"])
        pipeline.load(pipeline.messages())
    before = pipeline.upload(parent)
    assert (before["rejected_open"], before["resolved"], len(before["children"])) == (1, 2, 2)
    for place, child in enumerate(before["children"], 1):
        assert api("DELETE", f"/v1/uploads/{child}").status_code == 202
        for _ in range(2):
            after = pipeline.upload(parent)
            assert (after["resolved"], after["children"]) == (2, before["children"][place:])
            pipeline.sweep()
            is_shown = api("POST", f"/v1/uploads/{parent}/retries", {"size": 1})
            api("DELETE", f"/v1/uploads/{is_shown.json_body['id']}")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_retry_that_is_deleted_with_its_rows_has_brought_in_nothing(pipeline: Pipeline, *, at_once: bool) -> None:
    """Once they are gone, and not before: whoever sent them again sooner would meet them."""
    api = Api(pipeline)
    api.put()
    parent = pipeline.run(b"email,name,age\na@x.org,A,1\nb@x.org,B,x\nc@x.org,C,x\n")["id"]
    named, nameless = b"_row,email,name,age\n2,b@x.org,B,2\n", b"email,name,age\nc@x.org,C,3\n"
    children = [retry(pipeline, parent, body)["id"] for body in (named, nameless)]
    for gone, child in enumerate(children, 1):
        if not at_once:
            assert api("DELETE", f"/v1/uploads/{child}").status_code == 202
            pipeline.sweep()
        assert api("DELETE", f"/v1/uploads/{child}?rows=true").status_code == 202
        assert pipeline.upload(parent)["resolved"] == 3 - gone
        pipeline.sweep()
        after = pipeline.upload(parent)
        assert (after["resolved"], after["rejected_open"], len(pipeline.rows())) == (2 - gone, gone, 3 - gone)
    retry(pipeline, parent, named)
    assert pipeline.upload(parent)["resolved"] == 1


def test_what_a_retry_that_is_deleted_has_brought_in_counts_once_where_another_brings_it_in_too(
    pipeline: Pipeline,
) -> None:
    """What a retry names is told by its plan, too, which goes with its file."""
    pipeline.dataset({"fields": [{"name": "name"}, {"name": "age", "type": "integer"}]}, "keyless")
    parent = pipeline.run(b"name,age\nA,x\nB,x\nC,x\n", "keyless")["id"]
    body = b"_row,name,age\n1,A,1\n2,B,2\n,D,4\n"
    first = retry(pipeline, parent, body)["id"]
    pipeline.delete(first)
    pipeline.sweep()
    retry(pipeline, parent, body)
    after = pipeline.upload(parent)
    assert (after["resolved"], after["rejected_open"]) == (2, 1)
