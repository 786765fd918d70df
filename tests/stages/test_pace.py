"""max_rows_per_second: chunks take turns, put off without an attempt, and what never loads takes none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chalice.app import SQSEvent

from chalicelib import edge, load, planning, report
from chalicelib.datasets import read_schema
from chalicelib.errors import NotYet, Refused
from tests.faults.deliveries import box
from tests.stages.conftest import CONTACTS, Pipeline, onward

SLOW = CONTACTS | {"max_rows_per_second": 0.01}
SIXTY = b"email,name,age\n" + b"".join(b"a%02d@x.org,Ada,36\n" % n for n in range(60))
SIX = b"email,name,age\n" + b"".join(b"a%02d@x.org,Ada,36\n" % n for n in range(6))
TURN = 100  # seconds that a row takes: so long that no machine is too slow for what is said here


def begun(pipeline: Pipeline, body: bytes = SIX, **options: Any) -> tuple[str, list[dict[str, Any]]]:
    upload_id = pipeline.create(body, **options)
    pipeline.split(upload_id)
    return upload_id, pipeline.messages()


def turns_off(message: dict[str, Any]) -> int:
    """For how many turns this chunk is put off, the one that has begun among them."""
    with pytest.raises(NotYet) as told:
        load.chunk(message)
    return -(-told.value.retry_after // TURN)


def pass_by(pipeline: Pipeline, seconds: float = TURN) -> None:
    """Let time pass, as far as the pace knows."""
    pipeline.sql("UPDATE rowmill.pace SET due = due - make_interval(secs => %s)", seconds)


def test_chunks_take_their_turns(pipeline: Pipeline) -> None:
    pipeline.dataset(SLOW)
    upload_id, messages = begun(pipeline)
    assert len(messages) == 6
    pipeline.load(messages[:1])
    assert [turns_off(message) for message in messages[1:]] == [1, 2, 3, 4, 5]
    assert len(pipeline.rows()) == 1
    for n, message in enumerate(messages[1:], 2):
        pass_by(pipeline)
        onward(load.chunk(message))
        assert len(pipeline.rows()) == n
    assert pipeline.upload(upload_id)["state"] == "completed"
    attempts = pipeline.sql("SELECT sum(attempts) AS n FROM rowmill.chunk")[0]["n"]
    assert attempts == 6, "waiting spends none"


@pytest.mark.parametrize(("rate", "records"), [(0.01, 1), (4, 4), (10.9, 10)])
def test_a_chunk_is_a_second_s_rows(pipeline: Pipeline, rate: float, records: int) -> None:
    pipeline.dataset(CONTACTS | {"max_rows_per_second": rate})
    begun(pipeline, SIXTY)
    assert pipeline.sql("SELECT records FROM rowmill.chunk WHERE n = 1") == [{"records": records}]


def test_a_pause_is_made_up_for_by_no_more_than_two_seconds(pipeline: Pipeline) -> None:
    pipeline.dataset(SLOW)
    _, messages = begun(pipeline)
    pipeline.load(messages[:1])
    pass_by(pipeline, 3600)
    pipeline.load(messages[1:2])
    (left,) = pipeline.sql("SELECT date_part('epoch', due - clock_timestamp()) AS seconds FROM rowmill.pace")
    assert 0 < left["seconds"] <= TURN - 2


def test_all_uploads_into_a_dataset_share_its_pace_and_no_other_s(pipeline: Pipeline) -> None:
    pipeline.dataset(SLOW)
    pipeline.dataset(SLOW, "others")
    pipeline.dataset(CONTACTS, "free")
    _, first = begun(pipeline)
    pipeline.load(first[:1])
    _, second = begun(pipeline, SIX.replace(b"@x", b"@y"))
    assert turns_off(second[0]) == 1
    _, elsewhere = begun(pipeline, dataset="others")
    pipeline.load(elsewhere[:1])
    assert pipeline.run(SIX, "free")["state"] == "completed"


def test_what_is_canceled_while_it_waits_holds_nobody_up(pipeline: Pipeline) -> None:
    pipeline.dataset(SLOW)
    upload_id, messages = begun(pipeline)
    pipeline.load(messages[:1])
    assert [turns_off(message) for message in messages[1:]] == [1, 2, 3, 4, 5]
    assert pipeline.cancel(upload_id)["state"] == "canceled"
    pass_by(pipeline)
    pipeline.load(messages[1:])
    _, later = begun(pipeline, SIX.replace(b"@x", b"@y"))
    pipeline.load(later[:1])
    assert len(pipeline.rows()) == 2


def test_what_is_paused_while_it_waits_holds_nobody_up(pipeline: Pipeline) -> None:
    """Its messages come all the same, one turn after another."""
    pipeline.dataset(SLOW)
    paused, waiting = begun(pipeline)
    pipeline.pause(paused)
    pipeline.load(waiting)
    _, messages = begun(pipeline, b"email,name,age\nb@x.org,Bob,1\n")
    pipeline.load(messages)
    assert [row["name"] for row in pipeline.rows()] == ["Bob"]


def test_a_chunk_that_is_put_off_is_not_taken_for_lost(pipeline: Pipeline) -> None:
    pipeline.dataset(SLOW)
    _, messages = begun(pipeline)
    pipeline.load(messages[:1])
    assert turns_off(messages[5]) == 5
    for passed, resent in ((3 * TURN, 0), (3 * TURN, 1)):
        pipeline.sql("UPDATE rowmill.chunk SET sent_at = sent_at - make_interval(secs => %s) WHERE n = 6", passed)
        assert pipeline.sweep()["chunks_resent"] == resent


def test_a_pace_that_is_changed_holds_for_what_waits(pipeline: Pipeline) -> None:
    pipeline.dataset(SLOW)
    _, messages = begun(pipeline)
    pipeline.load(messages[:1])
    pipeline.dataset(CONTACTS | {"max_rows_per_second": 0.002})
    pass_by(pipeline)
    pipeline.load(messages[1:2])
    assert turns_off(messages[2]) == 5
    pipeline.dataset(CONTACTS)
    pipeline.load(messages[2:])
    assert len(pipeline.rows()) == 6


@pytest.mark.parametrize("between", [(), (None,)], ids=["at once", "after none"])
def test_a_pace_that_is_quickened_does_not_wait_for_the_end_of_a_slow_chunk(
    pipeline: Pipeline, between: tuple[None, ...]
) -> None:
    """A chunk that was cut before there was a pace may count for days by one that was set too low."""
    pipeline.dataset(SLOW)
    _, messages = begun(pipeline)
    pipeline.load(messages[:1])
    assert turns_off(messages[1]) == 1
    for rate in (*between, 1000):
        pipeline.dataset(CONTACTS | {"max_rows_per_second": rate})
    pipeline.load(messages[1:2])
    assert len(pipeline.rows()) == 2
    pipeline.dataset(CONTACTS | {"max_rows_per_second": 1000, "indexes": ["name"]})
    (kept,) = pipeline.sql("SELECT count(*) AS n FROM rowmill.pace")
    assert kept["n"] == 1, "what changes beside the pace lets nobody begin sooner"


def test_a_check_keeps_no_pace(pipeline: Pipeline) -> None:
    pipeline.dataset(SLOW)
    upload_id, messages = begun(pipeline, validate_only=True)
    pipeline.load(messages[:1])
    report.show(pipeline.sql("SELECT number FROM rowmill.upload")[0]["number"])
    left = datetime.fromisoformat(pipeline.upload(upload_id)["eta"]["p50_at"]) - datetime.now(UTC)
    assert left < timedelta(seconds=TURN), "nor does its status tell one"
    pipeline.load(messages[1:])


def test_a_long_slow_file_is_cut_into_so_many_chunks_at_most(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PACED_CHUNKS", 10)
    pipeline.dataset(CONTACTS | {"max_rows_per_second": 0.5})
    _, messages = begun(pipeline, SIXTY)
    assert len(messages) == 10


def test_the_status_knows_the_pace(pipeline: Pipeline) -> None:
    pipeline.dataset(CONTACTS | {"max_rows_per_second": 0.1})
    upload_id, messages = begun(pipeline, SIXTY)
    for done in (0, 1):
        pipeline.load(messages[:done])
        report.show(pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)[0]["number"])
        eta = pipeline.upload(upload_id)["eta"]
        left = datetime.fromisoformat(eta["p50_at"]) - datetime.now(UTC)
        assert timedelta(seconds=560 - 10 * done) < left <= timedelta(seconds=601)


@pytest.mark.parametrize("rate", [0, -1, "10", True, 1e10, 0.0001, [1]])
def test_a_pace_that_cannot_be_is_refused(rate: Any) -> None:
    with pytest.raises(Refused) as refused:
        read_schema(CONTACTS | {"max_rows_per_second": rate})
    assert refused.value.code == "schema_invalid"
    assert "max_rows_per_second" in str(refused.value.errors)


def test_a_message_that_is_put_off_comes_again_when_it_said_and_counts_no_try(pipeline: Pipeline) -> None:
    pipeline.dataset(SLOW)
    _, messages = begun(pipeline)
    pipeline.load(messages[:1])
    record = {
        "messageId": "1",
        "receiptHandle": "1",
        "body": json.dumps(messages[1] | {"tries": 3}),
        "eventSourceARN": "arn:aws:sqs:x:1:rowmill-local-high",
    }
    assert edge.each(SQSEvent({"Records": [record]}, None), load.chunk) == {"batchItemFailures": []}
    (copy,) = box("high")._messages
    assert json.loads(copy.body) == messages[1] | {"tries": 3}
    assert pipeline.messages() == [], "it is not to come before its turn"
