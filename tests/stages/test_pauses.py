"""Uploads that a client pauses and resumes: what is held, what may finish, and what a crash in between leaves."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import control, load, mend, settle
from chalicelib.aws import sqs
from chalicelib.errors import Refused
from chalicelib.postgres import connection, ledger, manifest, passes, pauses, projection
from tests.stages.conftest import CONTACTS, Pipeline, cut_into, onward
from tests.stages.test_journey_in_process import adds_up
from tests.stages.test_recovery import events

ROWS = 40
BODY = b"email,name,age\n" + b"".join(b"u%d@x.org,U,%d\n" % (i, i) for i in range(ROWS))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 10)


def attempts(pipeline: Pipeline) -> list[int]:
    return [row["attempts"] for row in pipeline.sql("SELECT attempts FROM rowmill.chunk ORDER BY n")]


def test_a_paused_upload_begins_no_chunk_and_goes_on_where_it_was(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:1])
    paused = pipeline.pause(upload_id)
    assert (paused["state"], paused["status"], paused["loaded"]) == ("paused", "pending", 10)
    assert (paused["eta"], paused["rate"], paused["percent"] < 100) == (None, None, True)
    pipeline.load(messages)
    assert len(pipeline.rows()) == 10
    assert attempts(pipeline) == [1, 0, 0, 0]
    assert pipeline.upload(upload_id) == paused
    resumed = pipeline.resume(upload_id)
    assert (resumed["state"], resumed["loaded"]) == ("processing", 10)
    sent = pipeline.messages()
    assert [message["chunk"] for message in sent] == [2, 3, 4]
    pipeline.load(sent)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", ROWS, ROWS)
    assert adds_up(upload)
    assert events(pipeline, upload_id) == [f"evt_{upload_id[4:]}_1"]


def test_to_pause_or_resume_again_changes_nothing(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    assert pipeline.resume(upload_id)["state"] == "queued"
    assert pipeline.messages() == []
    assert pipeline.pause(upload_id) == pipeline.pause(upload_id)
    assert pipeline.resume(upload_id)["state"] == "queued"
    assert len(pipeline.messages()) == len(messages) == 4
    assert pipeline.resume(upload_id)["state"] == "queued"
    assert pipeline.messages() == []
    turns = pipeline.sql("SELECT turns FROM rowmill.upload")[0]["turns"]
    assert turns == 2


def test_what_is_shown_follows_every_turn(pipeline: Pipeline) -> None:
    upload_id, _ = pipeline.begin(BODY)
    for _ in range(5):
        assert pipeline.pause(upload_id)["state"] == "paused"
        assert pipeline.resume(upload_id)["state"] == "queued"


def test_a_chunk_in_hand_finishes_while_the_upload_is_paused(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, messages = pipeline.begin(BODY)
    real = load.prepare

    def prepared(*arguments: Any) -> Any:
        assert pauses.pause(connection.connection(), messages[0]["upload"])
        return real(*arguments)

    monkeypatch.setattr(load, "prepare", prepared)
    pipeline.load(messages)
    assert pipeline.pause(upload_id)["loaded"] == len(pipeline.rows()) == 10
    assert attempts(pipeline) == [1, 0, 0, 0]


def test_an_upload_whose_last_chunk_came_in_while_it_was_paused_ends_when_it_is_resumed(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:3])
    key = manifest.named(messages[3]["upload"], messages[3])
    taken = manifest.take(connection.connection(), key) if key else None
    assert taken is not None
    pipeline.pause(upload_id)
    upload = ledger.find(connection.connection(), messages[3]["upload"])
    assert upload is not None
    load._load(upload, taken)
    onward(upload.number)
    pipeline.sweep()
    shown = pipeline.pause(upload_id)
    assert (shown["state"], shown["chunks_done"], events(pipeline, upload_id)) == ("paused", 4, [])
    assert pipeline.resume(upload_id)["state"] == "completed"
    assert events(pipeline, upload_id) == [f"evt_{upload_id[4:]}_1"]


def test_the_sweep_leaves_a_paused_upload_alone(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:1])
    # A worker was killed at the second chunk, the messages of all others are lost.
    pipeline.sql("UPDATE rowmill.chunk SET started_at = now() WHERE n = 2")
    pipeline.pause(upload_id)
    for _ in range(2):
        assert pipeline.sweep()["chunks_resent"] == 0
    assert pipeline.messages() == []
    pipeline.resume(upload_id)
    assert pipeline.sweep()["chunks_resent"] > 0
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"
    assert len(pipeline.rows()) == ROWS


def test_a_resume_that_died_before_it_sent_is_brought_to_its_end_by_the_sweep(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.pause(upload_id)
    pipeline.load(messages)

    def died(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sqs, "send_chunks", died)
        control.resume(pipeline.tenant, upload_id)
    pipeline.sql("UPDATE rowmill.chunk SET created_at = created_at - interval '1 minute'")
    assert pipeline.sweep()["chunks_resent"] == 4
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"


def test_a_pause_that_died_before_it_was_shown_is_shown_by_the_sweep(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY[:60])  # one small chunk, which is not shown before its end
    pipeline.split(upload_id)
    control.pause(pipeline.tenant, upload_id)
    pipeline.sweep()
    assert pipeline.upload(upload_id)["state"] == "paused"


def test_what_is_paused_for_long_keeps_the_sweep_from_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "MOST_PAUSED", 1)
    paused = []
    for n in range(3):
        upload_id, messages = pipeline.begin(BODY + b"v%d@x.org,V,1\n" % n)
        paused.append(messages[0]["upload"])
        pipeline.pause(upload_id)
    _, messages = pipeline.begin(BODY)
    due = []
    for _ in range(3):
        due.append(projection.list_due(connection.connection()))
        pipeline.sweep()
    # Who loads comes first, however new it is; of the others each has its turn.
    assert due == [[messages[0]["upload"], one] for one in paused]
    ledger.ask_to_cancel(connection.connection(), pipeline.tenant, upload_id)
    assert pipeline.sweep()["uploads_seen"] == 3
    assert pipeline.upload(upload_id)["state"] == "canceled"


def test_a_paused_upload_is_canceled_and_then_not_resumed(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:1])
    pipeline.pause(upload_id)
    upload = pipeline.cancel(upload_id)
    assert (upload["state"], upload["loaded"], upload["unprocessed"]) == ("canceled", 10, 30)
    for ask in (pipeline.pause, pipeline.resume):
        with pytest.raises(Refused, match="canceled") as refused:
            ask(upload_id)
        assert refused.value.status == 409
    pipeline.load(messages)
    assert len(pipeline.rows()) == 10


def test_a_wish_to_cancel_is_neither_paused_nor_resumed(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    number = messages[0]["upload"]
    ledger.ask_to_cancel(connection.connection(), pipeline.tenant, upload_id)
    assert not pauses.pause(connection.connection(), number)
    pipeline.sql("UPDATE rowmill.upload SET state = 'paused'")
    assert not pauses.resume(connection.connection(), number)
    for ask in (pipeline.pause, pipeline.resume):
        with pytest.raises(Refused, match="canceling"):
            ask(upload_id)


def test_a_file_is_not_paused_before_it_is_split(pipeline: Pipeline) -> None:
    upload_id, _ = pipeline.begin(BODY)
    for state in ("scanning", "splitting"):
        pipeline.sql("UPDATE rowmill.upload SET state = %s", state)
        with pytest.raises(Refused, match=f"{state}: only what is queued or processing"):
            pipeline.pause(upload_id)


def test_rows_with_one_key_are_settled_when_the_upload_is_resumed(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY + b"u1@x.org,Again,1\nu2@x.org,Again,2\n")
    pipeline.load(messages)
    pipeline.pause(upload_id)
    for _ in range(6):
        (message,) = pipeline.messages("settle") or [{"upload": messages[0]["upload"]}]
        onward(settle.contested(message))
    assert pipeline.upload(upload_id)["state"] == "paused"
    pipeline.resume(upload_id)
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", ROWS, 2)


def test_what_the_queues_gave_up_of_a_paused_upload_spends_no_attempt(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.pause(upload_id)
    for message in (*messages, {"upload": messages[0]["upload"]}):
        onward(mend.bury(message))
    assert (attempts(pipeline), pipeline.messages()) == ([0, 0, 0, 0], [])
    assert pipeline.upload(upload_id)["state"] == "paused"


def test_a_check_is_paused_as_a_load_is(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY, validate_only=True)
    pipeline.split(upload_id)
    checks = pipeline.messages()
    pipeline.load(checks[:2])
    pipeline.pause(upload_id)
    pipeline.load(checks)
    pipeline.resume(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    pipeline.confirm(upload_id)
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", ROWS)


def test_a_pause_in_the_moment_a_check_ends_keeps_what_it_found(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = pipeline.create(BODY, "made", infer=True)
    pipeline.split(upload_id)
    messages = pipeline.messages()
    pipeline.load(messages[:3])
    real = passes.await_review

    def paused_first(db: Any, number: Any, review: Any) -> bool:
        pipeline.sql("UPDATE rowmill.upload SET state = 'paused', turns = turns + 1")
        return real(db, number, review)

    with monkeypatch.context() as patch:
        patch.setattr(passes, "await_review", paused_first)
        pipeline.load(messages[3:])
    assert pipeline.pause(upload_id)["state"] == "paused"
    resumed = pipeline.resume(upload_id)
    assert resumed["state"] == "needs_review"
    assert [field["type"] for field in resumed["review"]["schema"]["fields"]] == ["string", "string", "integer"]


def test_others_are_not_told_that_paused_chunks_wait_before_theirs(pipeline: Pipeline) -> None:
    held, _ = pipeline.begin(BODY)
    pipeline.pause(held)
    pipeline.dataset(CONTACTS, "others")
    upload_id = pipeline.create(BODY, "others")
    pipeline.split(upload_id)
    assert pipeline.upload(upload_id)["queued_before"] == 0


def test_of_a_paused_upload_each_chunk_that_comes_in_is_shown(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    number = messages[0]["upload"]
    assert [projection.is_due(connection.connection(), number) for _ in range(2)][1] is False
    pipeline.pause(upload_id)
    assert [projection.is_due(connection.connection(), number) for _ in range(2)] == [True, True]
