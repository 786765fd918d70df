"""How long an upload is kept: its files and rejects, then its status; loaded rows stay, and late messages do nothing."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest

from chalicelib import admit, mend, report, retention
from chalicelib.aws import dynamodb, s3
from chalicelib.errors import Refused, Unavailable
from chalicelib.journey import ABOVE_ALL_IDS, RETENTION
from chalicelib.paging import Asked
from chalicelib.postgres import announcements, connection, removals
from chalicelib.postgres.timeline import Asker
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, consulted, poison
from tests.stages.test_api import FILE, Api, asked, is_problem

QUEUE_DAYS = 15  # what a queue and its dead-letter queue can hold a message


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    return Api(pipeline)


def age(pipeline: Pipeline, upload_id: str, days: float) -> None:
    """Let the upload have ended so many days earlier, in both records."""
    pipeline.sql(
        "UPDATE rowmill.upload SET finished_at = finished_at - make_interval(secs => %s) WHERE upload_id = %s",
        days * 86_400,
        upload_id,
    )


def versions(prefix: str = "") -> list[str]:
    """Every version of every object."""
    found = boto3.client("s3").list_object_versions(Bucket=settings().bucket, Prefix=prefix)
    return [one["Key"] for one in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]]


def kept_of_rows(pipeline: Pipeline) -> str:
    """All that is kept of single rows, as text."""
    tables = ("reject", "cause", "origin", "contested", "fingerprint", "guess", "upload", "event")
    return "".join(str(pipeline.sql(f"SELECT t::text FROM rowmill.{table} t")) for table in tables)


def test_every_class_keeps_what_a_late_message_names_for_longer_than_a_queue_can_hold_it() -> None:
    assert all(one.status_days > QUEUE_DAYS for one in RETENTION.values())
    assert all(one.files_days < one.status_days for one in RETENTION.values())
    assert "standard" in RETENTION


@pytest.mark.parametrize("name", [*RETENTION, None])
def test_the_status_tells_when_files_and_status_go(pipeline: Pipeline, name: str | None) -> None:
    pipeline.dataset()
    options = {"retention": name} if name else {}
    waiting = pipeline.upload(pipeline.create(FILE, **options))
    assert (waiting["expires_at"], waiting["forgotten_at"]) == (None, None)
    upload = pipeline.run(FILE, **options)
    ended = datetime.fromisoformat(upload["timings"]["stored_at"]) + timedelta(
        seconds=upload["timings"]["stored_to_completed_s"]
    )
    kept = RETENTION[name or "standard"]
    for field, days in (("expires_at", kept.files_days), ("forgotten_at", kept.status_days)):
        assert abs(datetime.fromisoformat(upload[field]) - ended - timedelta(days=days)) < timedelta(seconds=1)
    item = dynamodb.find(pipeline.tenant, upload["id"]) or {}
    assert item["expires_at"] == int(datetime.fromisoformat(upload["forgotten_at"]).timestamp())


@pytest.mark.parametrize("name", RETENTION)
def test_files_and_rejects_go_when_their_time_is_over_and_not_before(pipeline: Pipeline, name: str) -> None:
    pipeline.dataset()
    upload = pipeline.run(FILE.replace(b"old", b"Secret"), retention=name)
    stranger = pipeline.create(FILE)  # another one's file stays
    days = RETENTION[name].files_days
    age(pipeline, upload["id"], days - 0.1)
    assert pipeline.sweep()["files_expired"] == 0
    assert "Secret" in kept_of_rows(pipeline)
    before = pipeline.rows()
    age(pipeline, upload["id"], 0.2)
    assert pipeline.sweep()["files_expired"] == 1
    assert versions(f"uploads/{pipeline.tenant}/{upload['id']}") == []
    assert versions(f"uploads/{pipeline.tenant}/{stranger}") != []
    assert "Secret" not in kept_of_rows(pipeline)
    assert pipeline.rows() == before != []
    after = pipeline.upload(upload["id"])
    assert {name: after[name] for name in ("state", "loaded", "rejected")} == {
        name: upload[name] for name in ("state", "loaded", "rejected")
    }
    assert report.events(pipeline.tenant, upload["id"], Asked({}, None, 100)).items[-1]["event"] == "files_expired"
    assert pipeline.sweep()["files_expired"] == 0


def test_what_was_shown_of_a_file_without_a_dataset_goes_too(pipeline: Pipeline) -> None:
    upload = pipeline.run(b"name,age\nSecret,1\n", "fresh", infer=True, retention="short")
    pipeline.cancel(upload["id"])
    assert "Secret" in kept_of_rows(pipeline)
    age(pipeline, upload["id"], 2)
    assert pipeline.sweep()["files_expired"] == 1
    assert "Secret" not in kept_of_rows(pipeline)


def test_what_has_expired_answers_410_and_all_else_as_before(api: Api) -> None:
    api.put()
    upload = api.pipeline.run(FILE)["id"]
    age(api.pipeline, upload, RETENTION["standard"].files_days + 1)
    api.pipeline.sweep()
    path = f"/v1/uploads/{upload}"
    for one in ("/rejects", "/rejects?format=csv", "/rejects/summary", "/rows/1"):
        is_problem(api.get(path + one), 410, "files_expired")
    is_problem(api("POST", f"{path}/retries", {"size": 1}), 410, "files_expired")
    is_problem(api("POST", f"{path}/redrive"), 410, "files_expired")
    for one in ("", "/chunks", "/events"):
        assert api.get(path + one).status_code == 200
    is_problem(api.get(path + "/rejects", Authorization=f"Bearer {api.stranger}"), 404, "upload_not_found")


def test_the_pieces_and_the_rejects_files_of_an_upload_go_too(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(FILE)["id"]
    of_it = f"{pipeline.tenant}/{upload}/"
    for kind in ("pieces", "results", "uploads"):
        for _ in range(2):  # each of them in two versions
            boto3.client("s3").put_object(Bucket=settings().bucket, Key=f"{kind}/{of_it}x", Body=b"x")
        boto3.client("s3").delete_object(Bucket=settings().bucket, Key=f"{kind}/{of_it}x")
    age(pipeline, upload, 31)
    pipeline.sweep()
    assert not [key for key in versions() if of_it in key]


def test_the_status_is_shown_no_longer_when_its_time_is_over(api: Api) -> None:
    api.put()
    upload, other = (api.pipeline.run(FILE)["id"] for _ in range(2))
    rows = api.pipeline.rows()
    age(api.pipeline, upload, RETENTION["standard"].status_days + 1)
    assert {
        name: count for name, count in api.pipeline.sweep().items() if name in ("files_expired", "uploads_forgotten")
    } == {
        "files_expired": 1,
        "uploads_forgotten": 1,
    }
    for one in ("", "/chunks", "/events", "/rejects"):
        is_problem(api.get(f"/v1/uploads/{upload}{one}"), 404, "upload_not_found")
    assert [one["id"] for one in api.get("/v1/uploads").json_body["items"]] == [other]
    assert api.pipeline.rows() == rows
    number = api.pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload)[0]["number"]
    assert api.pipeline.sql("SELECT FROM rowmill.chunk WHERE upload = %s", number) == []
    assert api.pipeline.sweep()["uploads_forgotten"] == 0


def test_a_late_message_of_a_forgotten_upload_does_nothing(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(FILE)
    pipeline.load(messages)
    rows = pipeline.rows()
    age(pipeline, upload_id, 91)
    pipeline.sweep()
    pipeline.load(messages)
    pipeline.split(upload_id)
    mend.bury({**messages[0]})
    pipeline.sweep()
    assert pipeline.rows() == rows
    with pytest.raises(Refused):
        pipeline.upload(upload_id)
    assert pipeline.messages() == []


def test_a_status_table_that_is_rebuilt_has_nothing_that_was_forgotten(pipeline: Pipeline) -> None:
    pipeline.dataset()
    forgotten, kept = (pipeline.run(FILE)["id"] for _ in range(2))
    age(pipeline, forgotten, 91)
    pipeline.sweep()
    for item in boto3.client("dynamodb").scan(TableName=settings().uploads_table)["Items"]:
        boto3.client("dynamodb").delete_item(
            TableName=settings().uploads_table, Key={name: item[name] for name in ("tenant", "upload_id")}
        )
    pipeline.sweep()
    assert dynamodb.find(pipeline.tenant, forgotten) is None
    assert dynamodb.find(pipeline.tenant, kept) is not None
    assert consulted({"side": "ledger"})["differences"] == []


def test_an_upload_that_is_redriven_is_not_dropped(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(FILE)
    with pytest.MonkeyPatch.context() as patch:
        poison(patch, 1)
        for _ in range(4):
            for message in messages:
                try:
                    pipeline.load([message])
                except Exception:
                    continue
    age(pipeline, upload_id, 31)
    pipeline.redrive(upload_id)
    assert pipeline.sweep()["files_expired"] == 0
    assert (dynamodb.find(pipeline.tenant, upload_id) or {}).get("expires_at") is None
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed_with_errors"
    assert pipeline.sweep()["files_expired"] == 0  # its time begins anew


def test_a_crash_between_files_and_ledger_is_made_good_by_the_next_sweep(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload = pipeline.run(FILE)["id"]
    age(pipeline, upload, 31)
    real = s3.delete_all

    def dies(prefix: str) -> None:
        real(prefix)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(s3, "delete_all", dies)
        with pytest.raises(MemoryError):
            pipeline.sweep()
    assert len(pipeline.rejects(upload)) == 1
    assert pipeline.sweep()["files_expired"] == 1


def test_what_is_kept_of_very_many_rows_goes_a_part_at_a_time_and_is_not_shown_meanwhile(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once they took longer than a sweep may run: none ever went, nor came the sweep to what it does then."""
    monkeypatch.setattr(removals, "MOST_AT_ONCE", 5)
    pipeline = api.pipeline
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\n" + b"".join(b"%d@x.org,A,old\n" % n for n in range(12)))["id"]
    age(pipeline, upload, 31)
    for left in (7, 2):
        assert pipeline.sweep()["files_expired"] == 0
        assert pipeline.sql("SELECT count(*) AS n FROM rowmill.reject") == [{"n": left}]
        is_problem(api.get(f"/v1/uploads/{upload}/rejects"), 410, "files_expired")
        is_problem(api("POST", f"/v1/uploads/{upload}/revert", {}), 409, "befores_expired")
    while not pipeline.sweep()["files_expired"]:
        pass
    assert pipeline.sql("SELECT FROM rowmill.reject UNION ALL SELECT FROM rowmill.cause") == []
    (kept,) = pipeline.sql("SELECT files_gone_at < now() AS is_over FROM rowmill.upload")
    assert kept["is_over"]
    assert pipeline.sweep()["files_expired"] == 0


def test_a_retry_is_kept_as_its_parent_unless_it_says_otherwise(api: Api) -> None:
    api.put()
    parent = api.pipeline.run(FILE, retention="short")["id"]
    bodies: list[tuple[dict[str, Any], str]] = [({}, "short"), ({"options": {"retention": "long"}}, "long")]
    for more, kept in bodies:
        child = api("POST", f"/v1/uploads/{parent}/retries", {"size": 10, **more})
        assert child.json_body["options"]["retention"] == kept
    is_problem(api.post(asked(options={"retention": "for ever"})), 422, "body_invalid")


def test_a_retry_is_not_kept_for_less_time_than_what_it_corrects(api: Api) -> None:
    """Or what it has resolved could not be counted any more, while the parent still has rejects."""
    api.put()
    parent = api.pipeline.run(FILE)["id"]
    refused = api("POST", f"/v1/uploads/{parent}/retries", {"size": 10, "options": {"retention": "short"}})
    assert is_problem(refused, 422, "body_invalid")["errors"][0]["column"] == "options.retention"


def retried(pipeline: Pipeline, parent: str, body: bytes, **options: Any) -> str:
    """A retry of the parent with this file, loaded to its end."""
    asked_for = {"size": len(body), "options": options}
    item, form = admit.retry(pipeline.tenant, parent, asked_for, None, Asker("", "request-1"))
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=form["fields"]["key"], Body=body)
    pipeline.split(item["upload_id"])
    pipeline.load(pipeline.messages())
    pipeline.settle()
    return str(item["upload_id"])


BAD = b"email,name,age\na@x.org,Ada,x\nb@x.org,Bob,y\nc@x.org,Cy,z\n"


def correction(*rows: bytes) -> bytes:
    return b"email,name,age,_row\n" + b"".join(rows)


def test_what_a_retry_has_resolved_stays_so_when_the_retry_s_files_go(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(BAD)["id"]
    first = retried(pipeline, parent, correction(b"a@x.org,Ada,1,1\n", b"b@x.org,Bob,bad,2\n"))
    assert pipeline.upload(parent)["resolved"] == 1
    age(pipeline, first, 31)  # as when the parent was redriven, and so began anew
    assert pipeline.sweep()["files_expired"] == 1
    retried(pipeline, parent, correction(b"c@x.org,Cy,3,3\n"))
    assert pipeline.upload(parent)["resolved"] == 2


def test_a_retry_that_ends_when_the_rejects_have_gone_says_that_nobody_can_count_them(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(BAD)["id"]
    retried(pipeline, parent, correction(b"a@x.org,Ada,1,1\n"))
    late = correction(b"b@x.org,Bob,2,2\n")
    item, form = admit.retry(pipeline.tenant, parent, {"size": len(late)}, None, Asker("", "request-1"))
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=form["fields"]["key"], Body=late)
    age(pipeline, parent, 31)
    assert pipeline.sweep()["files_expired"] == 1
    assert pipeline.upload(parent)["resolved"] == 1
    pipeline.split(item["upload_id"])
    pipeline.load(pipeline.messages())
    after = pipeline.upload(parent)
    assert (after["resolved"], after["rejected_open"], len(after["children"])) == (None, None, 2)
    assert pipeline.upload(item["upload_id"])["loaded"] == 1


def test_an_upload_whose_objects_cannot_be_deleted_keeps_no_other(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    uploads = [pipeline.run(FILE)["id"] for _ in range(3)]
    for upload in uploads:
        age(pipeline, upload, 31)
    real = s3.delete_all

    def refuses(prefix: str) -> None:
        if uploads[0] in prefix:
            raise Unavailable("objects_kept", "no")
        real(prefix)

    with monkeypatch.context() as patch:
        patch.setattr(s3, "delete_all", refuses)
        with pytest.raises(Unavailable):
            pipeline.sweep()
    assert [versions(f"uploads/{pipeline.tenant}/{one}") != [] for one in uploads] == [True, False, False]
    assert pipeline.sweep()["files_expired"] == 1


def test_a_storage_that_throttles_does_not_take_all_of_the_sweeps_time(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call takes seconds to fail, as it is tried again: with fifty uploads the sweep was ended before its other steps."""
    pipeline.dataset()
    for _ in range(4):
        age(pipeline, pipeline.run(FILE)["id"], 31)
    tried, now = [], [0.0]

    def throttled(prefix: str) -> None:
        tried.append(prefix)
        now[0] += 4
        raise Unavailable("objects_kept", "SlowDown")

    with monkeypatch.context() as patch:
        patch.setattr(s3, "delete_all", throttled)
        patch.setattr(retention.time, "monotonic", lambda: now[0])
        with pytest.raises(Unavailable):
            retention.drop_files()
    assert len(tried) == 1
    assert retention.drop_files() == 4


@pytest.mark.parametrize(("options", "files", "status"), [({}, 30, 90), ({"retention": "short"}, 1, 16)])
def test_an_upload_that_was_canceled_before_its_split_is_kept_as_long_as_others(
    pipeline: Pipeline, options: dict[str, Any], files: int, status: int
) -> None:
    pipeline.dataset()
    upload = pipeline.create(FILE, **options)  # its file has come
    pipeline.cancel(upload)
    place = f"uploads/{pipeline.tenant}/{upload}/"

    def closed(days: float) -> None:
        pipeline.sql(
            "UPDATE rowmill.announcement SET closes_at = now() - make_interval(secs => %s) WHERE upload_id = %s",
            days * 86_400,
            upload,
        )

    closed(files - 0.1)
    assert pipeline.sweep()["files_unopened_expired"] == 0
    assert versions(place) != []
    closed(files + 0.1)
    assert pipeline.sweep()["files_unopened_expired"] == 1
    assert versions(place) == []
    assert pipeline.upload(upload)["state"] == "canceled"
    kept = (dynamodb.find(pipeline.tenant, upload) or {})["expires_at"] - time.time()
    assert abs(kept - (status - files - 0.1) * 86_400) < 60
    assert pipeline.sweep()["files_unopened_expired"] == 0


@pytest.mark.parametrize("end", ["canceled", "expired"])
def test_the_timeline_of_an_upload_that_no_splitter_met_is_forgotten_with_its_status(
    pipeline: Pipeline, end: str
) -> None:
    pipeline.dataset()
    upload, other = pipeline.create(FILE), pipeline.create(FILE)
    pipeline.cancel(upload)
    pipeline.sql("UPDATE rowmill.announcement SET closed = %s WHERE upload_id = %s", end, upload)
    told = "SELECT count(*) FROM rowmill.event WHERE upload_id = %s"

    def closed(days: float) -> None:
        pipeline.sql(
            "UPDATE rowmill.announcement SET closes_at = now() - make_interval(secs => %s), files_gone_at = NULL"
            " WHERE upload_id = %s",
            days * 86_400,
            upload,
        )

    for days, forgotten in ((89.9, 0), (90.1, 1)):
        closed(days)
        assert pipeline.sql(told, upload)[0]["count"] > 1
        assert pipeline.sweep()["uploads_unopened_forgotten"] == forgotten
    assert pipeline.sql(told, upload) == [{"count": 0}]
    assert pipeline.sql(told, other)[0]["count"] > 0
    assert pipeline.sweep()["uploads_unopened_forgotten"] == 0
    announced = announcements.list_before(connection.connection(), ABOVE_ALL_IDS, 10)
    assert [one.upload_id for one in announced] == [other]


def test_an_upload_that_was_canceled_long_ago_is_shown_no_longer_nor_put_back(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload, waiting = pipeline.create(FILE), pipeline.create(FILE)
    pipeline.cancel(upload)
    pipeline.sql("UPDATE rowmill.announcement SET closes_at = now() - interval '91 days' WHERE upload_id = %s", upload)
    assert pipeline.sweep()["files_unopened_expired"] == 1
    with pytest.raises(Refused):
        pipeline.upload(upload)
    boto3.client("dynamodb").delete_item(
        TableName=settings().uploads_table, Key={"tenant": {"S": pipeline.tenant}, "upload_id": {"S": upload}}
    )
    differences = consulted({"side": "ledger", "mend": True})["differences"]
    assert upload not in {one["upload_id"] for one in differences}
    assert dynamodb.find(pipeline.tenant, upload) is None
    assert versions(f"uploads/{pipeline.tenant}/{waiting}/") != []
