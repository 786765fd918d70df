"""Files that are only checked: everything is said and nothing is loaded, until somebody confirms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from chalicelib import load, settle, split
from chalicelib.aws import dynamodb, sqs
from chalicelib.errors import Refused
from chalicelib.postgres import connection, ledger
from tests.stages.conftest import Pipeline, acting, cut_into, onward
from tests.stages.test_journey_in_process import adds_up
from tests.stages.test_keys import FILE, TWO_KEYS

GOOD = b"email,name,age\na@x.org,A,1\nb@x.org,B,2\n"
BAD = b"email,name,age\na@x.org,A,1\n,B,2\nc@x.org,C,old\na@x.org,Again,4\nd@x.org,D,5\nold@x.org,E,6\n"
OLD = b"email,name,age\nc@x.org,Old,0\nold@x.org,Old,0\n"
COUNTS = ("rows_total", "valid", "loaded", "rejected", "unprocessed")


def counts(upload: dict[str, Any]) -> tuple[Any, ...]:
    return (upload["state"], *(upload[name] for name in COUNTS))


def checked(pipeline: Pipeline, body: bytes, **options: Any) -> dict[str, Any]:
    return pipeline.run(body, validate_only=True, **options)


def loaded(pipeline: Pipeline, upload_id: str) -> dict[str, Any]:
    """Confirmed, and all that follows from it."""
    pipeline.confirm(upload_id)
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    return pipeline.upload(upload_id)


def reasons(pipeline: Pipeline, upload_id: str) -> list[tuple[int, int, str, str]]:
    found = pipeline.rejects(upload_id)
    return [(one["row"], one["line"], one["errors"][0]["code"], one["raw"]) for one in found]


def test_a_check_tells_what_a_load_would_and_loads_nothing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset()
    pipeline.run(OLD)
    upload = checked(pipeline, BAD)
    assert counts(upload) == ("needs_review", 6, 2, 0, 4, 0)
    assert (upload["status"], upload["percent"], upload["error"]) == ("pending", 100.0, None)
    assert reasons(pipeline, upload["id"]) == [
        (2, 3, "required_missing", ",B,2"),
        (3, 4, "type_invalid", "c@x.org,C,old"),
        (4, 5, "duplicate_in_file", "a@x.org,Again,4"),
        (6, 7, "duplicate_in_db", "old@x.org,E,6"),
    ]
    assert [row["name"] for row in pipeline.rows()] == ["Old", "Old"]
    assert pipeline.sweep()["uploads_seen"] == 0


def test_what_is_confirmed_loads_as_if_it_had_never_been_checked(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset()
    pipeline.run(OLD)
    upload = checked(pipeline, BAD)
    before = reasons(pipeline, upload["id"])
    upload = loaded(pipeline, upload["id"])
    assert counts(upload) == ("completed_with_errors", 6, 0, 2, 4, 0)
    assert adds_up(upload)
    assert reasons(pipeline, upload["id"]) == before
    assert [row["name"] for row in pipeline.rows()] == ["Old", "Old", "A", "D"]


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_a_check_finds_what_a_load_finds_in_every_mode(
    pipeline: Pipeline, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    pipeline.dataset(mode=mode)
    upload = checked(pipeline, FILE)
    found = reasons(pipeline, upload["id"])
    real = loaded(pipeline, upload["id"])
    assert upload["valid"] == real["loaded"] + real["updated"] + real["skipped"]
    assert (upload["rejected"], found) == (real["rejected"], reasons(pipeline, upload["id"]))


@pytest.mark.parametrize("records", [1, 2, 100])
def test_keys_fall_in_line_order_whatever_the_chunks(
    pipeline: Pipeline, records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 2 falls to row 1 by id, so row 3, which shares its e-mail only with row 2, is good; 7 is 1 spelt otherwise."""
    cut_into(monkeypatch, records)
    pipeline.dataset(TWO_KEYS, "keyed")
    body = b"id,email,note\n1,a,first\n1,b,second\n2,b,third\n3,a,fourth\n2,c,fifth\n4,,sixth\n+01,d,seventh\n5,,last\n"
    upload_id = pipeline.create(body, "keyed", validate_only=True)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages()[::-1])
    pipeline.settle()
    found = pipeline.rejects(upload_id)
    assert [(one["row"], one["errors"][0]["column"]) for one in found] == [
        (2, "id"),
        (4, "email"),
        (5, "id"),
        (7, "id"),
    ]
    loaded(pipeline, upload_id)
    assert pipeline.rejects(upload_id) == found


KEYS_BY_TYPE = {
    "integer": (["1", "+01"], "4294967296", "-1", "4294967295"),
    "number": (["5", "5.00", "+5e0"], ["0", "-0.0"], "-5", "NaN", "INF", "-INF"),
    "datetime": (
        ["2000-01-01T00:00:00.000001Z", "2000-01-01 02:00:00.000001+02:00"],
        "2000-01-01T01:11:34.967296Z",
    ),
    "time": (["00:00:01", "00:00:01.0"], "00:00:00.000001", "01:11:34.967296"),
    "duration": (["P1M", "P30D", "PT720H"], ["P1Y", "P12M"], "PT0.000001S", "PT1H11M34.967296S", "-P1M"),
    "object": (['{"a": 1, "b": 2.5}', '{"b":2.50,"a":1}'], '{"a": -1, "b": 2.5}', '{"a": {"b": 2.5}}'),
    "array": (["[1.0, [2]]", "[1,[2]]"], "[[1, 2]]", "[[1], 2]", "[-1, [2]]", '["1.0"]', '["1.00"]'),
}


@pytest.mark.parametrize("kind", KEYS_BY_TYPE)
def test_a_check_takes_no_value_of_a_key_for_another(pipeline: Pipeline, kind: str) -> None:
    """A print of 128 bits is worth as much as what goes into it: Postgres hashes 5 and -5 alike, and 1 and 2 ** 32."""
    groups = [group if isinstance(group, list) else [group] for group in KEYS_BY_TYPE[kind]]
    quoted = ['"{}"'.format(cell.replace('"', '""')) for group in groups for cell in group]
    body = "".join(f"{line}\n" for line in ["key,note", *(f"{cell},x" for cell in quoted)]).encode()
    pipeline.dataset({"fields": [{"name": "key", "type": kind}, {"name": "note"}], "primaryKey": "key"}, "keyed")
    upload = pipeline.run(body, "keyed", validate_only=True)
    assert counts(upload)[:3] == ("needs_review", len(quoted), len(groups))
    found = reasons(pipeline, upload["id"])
    assert {code for _, _, code, _ in found} == {"duplicate_in_file"}
    assert loaded(pipeline, upload["id"])["loaded"] == len(groups)
    assert reasons(pipeline, upload["id"]) == found


def test_a_row_that_only_postgres_refuses_is_found(pipeline: Pipeline) -> None:
    """Longer than an index takes."""
    pipeline.dataset()
    long = bytes(itertools.islice(itertools.cycle(range(97, 123)), 2)) + b"".join(b"%x" % (7**n) for n in range(130))
    body = b"email,name,age\n" + b"".join(b"%d%s,L,%d\n" % (n, long, n) for n in range(3)) + b"a@x.org,A,1\n"
    upload = checked(pipeline, body)
    found = reasons(pipeline, upload["id"])
    assert {code for _, _, code, _ in found} == {"db_rejected"}
    assert upload["valid"] == 1
    assert loaded(pipeline, upload["id"])["loaded"] == 1
    assert reasons(pipeline, upload["id"]) == found


def test_an_empty_file_has_nothing_to_confirm_but_can_be(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = checked(pipeline, b"email,name,age\n")
    assert counts(upload) == ("needs_review", 0, 0, 0, 0, 0)
    assert counts(loaded(pipeline, upload["id"])) == ("completed", 0, 0, 0, 0, 0)


@pytest.mark.parametrize("stage", ["awaiting", "checking", "loading", "over", "canceled"])
def test_only_what_waits_for_it_can_be_confirmed(pipeline: Pipeline, stage: str) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(GOOD, validate_only=True)
    if stage != "awaiting":
        pipeline.split(upload_id)
    if stage in ("loading", "over", "canceled"):
        pipeline.load(pipeline.messages())
        pipeline.settle()
    if stage == "loading":
        pipeline.confirm(upload_id)
    if stage == "over":
        loaded(pipeline, upload_id)
    if stage == "canceled":
        pipeline.cancel(upload_id)
    with pytest.raises(Refused) as caught:
        pipeline.confirm(upload_id)
    assert (caught.value.code, caught.value.status) == ("state_conflict", 409)


def test_messages_of_either_pass_that_come_late_or_again_change_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    pipeline.dataset()
    upload_id = pipeline.create(BAD, validate_only=True)
    pipeline.split(upload_id)
    checks = pipeline.messages()
    loads = [{**message, "pass": "load"} for message in checks]
    pipeline.load([*checks, *checks, *loads])
    settles = pipeline.messages("settle")
    for message in settles * 2:
        onward(settle.contested(message))
    waiting = pipeline.upload(upload_id)
    assert waiting["state"] == "needs_review"
    pipeline.load([*checks, *loads])
    pipeline.split(upload_id)
    assert pipeline.upload(upload_id) == waiting
    assert pipeline.rows() == []
    pipeline.confirm(upload_id)
    (intake,) = pipeline.messages("intake")
    pipeline.go_on(intake)
    pipeline.load(checks)
    assert pipeline.rows() == []
    pipeline.go_on(intake)
    pipeline.load([*loads, *checks, *loads])
    pipeline.settle()
    assert counts(pipeline.upload(upload_id)) == ("completed_with_errors", 6, 0, 3, 3, 0)
    assert len(pipeline.rows()) == 3


def test_a_chunk_that_is_being_checked_when_the_load_begins_writes_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken in the check, and commits after another worker has checked it and somebody has confirmed."""
    pipeline.dataset()
    upload_id = pipeline.create(GOOD, validate_only=True)
    pipeline.split(upload_id)
    (message,) = pipeline.messages()
    real = load._commit

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(load, "_commit", real)
        real(*arguments)
        pipeline.settle()
        onward(message["upload"])
        pipeline.settle()
        pipeline.confirm(upload_id)
        for again in pipeline.messages("intake"):
            pipeline.go_on(again)
        real(*arguments)

    monkeypatch.setattr(load, "_commit", overtaken)
    pipeline.load([message])
    assert pipeline.rows() == []
    pipeline.load(pipeline.messages())
    assert counts(pipeline.upload(upload_id)) == ("completed", 2, 0, 2, 0, 0)


def test_an_end_that_came_while_it_was_being_shown_that_the_upload_waits_is_shown_by_the_sweep(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shows that it waits is slow to note that; by then it is loaded, and whoever ended it is dead."""
    pipeline.dataset()
    upload_id = pipeline.create(GOOD, validate_only=True)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    real = dynamodb.project

    def overtaken(*arguments: Any) -> Any:
        written = real(*arguments)
        if arguments[2] != "needs_review":
            return written
        monkeypatch.setattr(dynamodb, "project", real)
        pipeline.confirm(upload_id)
        for again in pipeline.messages("intake"):
            pipeline.go_on(again)
        (loads,) = pipeline.messages()
        with acting("load"):
            settle.finish(load.chunk(loads))
        return written

    monkeypatch.setattr(dynamodb, "project", overtaken)
    pipeline.settle()
    pipeline.sweep()
    assert counts(pipeline.upload(upload_id)) == ("completed", 2, 0, 2, 0, 0)


@pytest.mark.parametrize("body", [GOOD, b"email,name,age\n"])
def test_a_splitter_left_over_from_the_check_ends_no_scan_of_the_load(pipeline: Pipeline, body: bytes) -> None:
    """Its line broke, another one went on, and it wakes up when somebody has confirmed."""
    pipeline.dataset()
    upload_id = pipeline.create(body, validate_only=True)
    pipeline.split(upload_id)
    (row,) = pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)
    left_over = ledger.find(connection.connection(), row["number"])
    pipeline.load(pipeline.messages())
    pipeline.settle()
    pipeline.confirm(upload_id)
    split._scan(left_over, None, math.inf)
    (ledgered,) = pipeline.sql("SELECT state, chunks_total FROM rowmill.upload WHERE upload_id = %s", upload_id)
    assert ledgered == {"state": "splitting", "chunks_total": None}


def test_a_worker_that_draws_the_end_of_the_check_in_the_load_leaves_what_is_contested(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = checked(pipeline, FILE)
    pipeline.confirm(upload["id"])
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    for message in pipeline.messages():
        load.chunk(message)
        settle._end(connection.connection(), message["upload"])
    pipeline.sweep()
    pipeline.settle()
    assert counts(pipeline.upload(upload["id"])) == ("completed_with_errors", 6, 0, 3, 3, 0)


def test_a_confirmation_whose_message_is_lost_is_taken_up_by_the_sweep(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload = checked(pipeline, GOOD)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(sqs, "send_for_split", lambda *arguments: (_ for _ in ()).throw(SystemExit))
        pipeline.confirm(upload["id"])
    pipeline.sql("UPDATE rowmill.upload SET scan_seen_at = now() - interval '1 minute'")
    assert pipeline.sweep()["scans_restarted"] == 1
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    assert counts(pipeline.upload(upload["id"])) == ("completed", 2, 0, 2, 0, 0)


def test_what_waits_can_be_canceled_also_when_only_the_wish_is_left(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload = checked(pipeline, BAD)
    assert counts(pipeline.cancel(upload["id"])) == ("canceled", 6, 0, 0, 3, 3)
    assert adds_up(pipeline.upload(upload["id"]))
    other = checked(pipeline, BAD)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(settle, "finish", lambda number: (_ for _ in ()).throw(SystemExit))
        pipeline.cancel(other["id"])
    with pytest.raises(Refused):
        pipeline.confirm(other["id"])
    pipeline.sweep()
    assert counts(pipeline.upload(other["id"])) == ("canceled", 6, 0, 0, 3, 3)
    assert pipeline.rows() == []


def test_a_load_that_is_canceled_half_way_keeps_what_is_in_and_adds_up(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset()
    upload = checked(pipeline, BAD)
    pipeline.confirm(upload["id"])
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages()[:1])
    upload = pipeline.cancel(upload["id"])
    assert counts(upload) == ("canceled", 6, 0, 1, 1, 4)
    assert [row for row, *_ in reasons(pipeline, upload["id"])] == [2]


def test_what_nobody_confirms_for_a_week_is_canceled(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = checked(pipeline, GOOD)
    pipeline.sql("UPDATE rowmill.upload SET review_at = now() - interval '7 days' + interval '1 minute'")
    assert pipeline.sweep()["reviews_expired"] == 0
    pipeline.sql("UPDATE rowmill.upload SET review_at = now() - interval '7 days'")
    assert pipeline.sweep()["reviews_expired"] == 1
    upload = pipeline.upload(upload["id"])
    assert (upload["error"]["code"], *counts(upload)) == ("review_expired", "canceled", 2, 0, 0, 0, 2)


def test_a_check_that_gave_records_up_fails_and_can_be_tried_again(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(GOOD, validate_only=True)
    pipeline.split(upload_id)
    pipeline.messages()
    pipeline.sql("UPDATE rowmill.chunk SET attempts = 4, sent_at = now() - interval '1 hour'")
    (number,) = pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)
    pipeline.load([{"upload": number["number"], "pass": "check", "chunk": 1}])
    assert counts(pipeline.upload(upload_id)) == ("failed", 2, 0, 0, 0, 2)
    pipeline.redrive(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    assert counts(pipeline.upload(upload_id)) == ("needs_review", 2, 2, 0, 0, 0)
    assert counts(loaded(pipeline, upload_id)) == ("completed", 2, 0, 2, 0, 0)


def test_validate_only_is_true_or_false(pipeline: Pipeline) -> None:
    pipeline.dataset()
    with pytest.raises(Refused):
        pipeline.create(GOOD, validate_only="yes")
    assert pipeline.run(GOOD, validate_only=False)["state"] == "completed"
