"""The protocol under repeats, losses and faults: each chunk loads once, every upload ends, sums add up."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from botocore.exceptions import EndpointConnectionError
from chalice.app import SQSEvent

from chalicelib import aws, edge, gate, load, mend, report, settle, split
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.errors import NotYet, Refused, Unavailable
from chalicelib.journey import MAX_ATTEMPTS
from chalicelib.logs import logger
from chalicelib.paging import Asked
from chalicelib.postgres import announcements, connection, ledger, locks, manifest
from tests.stages.conftest import Pipeline, acting, cut_into, onward, poison
from tests.stages.test_journey_in_process import adds_up

clock = time.time
ROWS = 40
BODY = b"email,name,age\n" + b"".join(b"u%d@x.org,U,%d\n" % (i, i) for i in range(ROWS))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 10)


def cut_off_before_the_total(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> str:
    """An upload whose splitter died when every chunk was out and the total was not written."""

    def die(*args: Any) -> None:
        raise SystemExit

    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "end_scan", die)
        with pytest.raises(SystemExit):
            pipeline.split(upload_id)
    connection.close()
    return upload_id


def handled(pipeline: Pipeline, message: dict[str, Any]) -> bool:
    """Whether the message is done with; False if it would come back as a delayed copy."""
    try:
        pipeline.load([message])
    except Unavailable:
        return False
    return True


def test_a_chunk_delivered_twice_loads_once(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages + messages)
    assert pipeline.upload(upload_id)["loaded"] == len(pipeline.rows()) == ROWS


def test_a_chunk_delivered_to_four_workers_at_once_loads_once(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    barrier = threading.Barrier(4)
    failures: list[Exception] = []

    def work() -> None:
        try:
            barrier.wait()
            for message in messages:
                while not handled(pipeline, message):
                    time.sleep(0.01)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", ROWS, ROWS)


def test_a_duplicate_event_splits_once(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.split(upload_id)
    assert pipeline.messages() == []
    pipeline.load(messages)
    done = pipeline.upload(upload_id)
    pipeline.split(upload_id)
    assert pipeline.messages() == []
    assert pipeline.upload(upload_id) == done
    assert done["state"] == "completed"


def test_a_splitter_that_died_half_way_is_restarted_with_the_same_cuts(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    real_mark_sent = manifest.mark_sent

    def die(*args: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(manifest, "mark_sent", die)
    with pytest.raises(SystemExit):
        pipeline.split(upload_id)
    monkeypatch.setattr(manifest, "mark_sent", real_mark_sent)
    cut_into(monkeypatch, 7)  # the plan, not this run's policy, decides the cuts
    connection.close()
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["chunks_total"]) == ("completed", ROWS, 4)
    assert len(pipeline.rows()) == ROWS


def test_messages_go_out_while_the_scan_runs(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 10_000)
    monkeypatch.setattr(split, "FLUSH_SECONDS", 0)
    pipeline.dataset()
    upload_id = pipeline.create(b"email,name,age\n" + b"a@x.org,somebody with a name,1\n" * 150_000)
    real, sent = s3.stream, []

    def watched(*args: Any) -> Any:
        for block in real(*args):
            sent.append(pipeline.sql("SELECT count(*) FROM rowmill.chunk WHERE sent_at IS NOT NULL")[0]["count"])
            yield block

    monkeypatch.setattr(s3, "stream", watched)
    pipeline.split(upload_id)
    assert len(sent) == 5
    assert 0 == sent[0] < sent[2] <= sent[4] == split.EARLY < 15


def test_no_row_can_be_read_before_the_scan_has_seen_the_whole_file(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 10_000)
    monkeypatch.setattr(split, "FLUSH_SECONDS", 0)
    pipeline.dataset({"fields": [{"name": name, "type": "string"} for name in ("email", "name", "age")]})
    upload_id = pipeline.create(b"email,name,age\n" + b"a@x.org,somebody with a name,1\n" * 150_000)
    real, seen = s3.stream, []

    def work() -> None:
        for message in pipeline.messages():
            with suppress(NotYet):
                pipeline.load([message])
                loaded.append(message)
        connection.close()

    monkeypatch.setattr(gate, "PATIENCE_SECONDS", 0)
    loaded: list[dict[str, Any]] = []

    def watched(*args: Any) -> Any:
        for block in real(*args):
            worker = threading.Thread(target=work)
            worker.start()
            worker.join()
            row = pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)[0]
            report.show(row["number"])
            upload = pipeline.upload(upload_id)
            assert pipeline.sql(f'SELECT count(*) FROM "{pipeline.tenant}".contacts') == [
                {"count": upload["rows_visible"]}
            ]
            assert (upload["rows_total"], upload["timings"]["split_s"]) == (None, None)
            seen.append(upload["rows_visible"])
            yield block

    with monkeypatch.context() as patch:
        patch.setattr(s3, "stream", watched)
        pipeline.split(upload_id)
    assert (seen, loaded) == ([0] * 5, [])
    tried = pipeline.sql("SELECT n, attempts FROM rowmill.chunk WHERE sent_at IS NOT NULL AND n <= %s", split.EARLY)
    assert [one["attempts"] for one in tried] == [0] * split.EARLY  # it was no fault of theirs
    pipeline.load(
        [{"upload": row["upload"], "chunk": row["n"]} for row in pipeline.sql("SELECT upload, n FROM rowmill.chunk")]
    )
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["rows_visible"]) == ("completed", 150_000)
    assert 0 < upload["timings"]["first_rows_s"] < upload["timings"]["stored_to_completed_s"]


def test_what_a_chunk_logs_carries_the_id_of_the_request(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logger.registered_formatter)
    logger.addHandler(handler)
    record = {
        "messageId": "m-1",
        "receiptHandle": "r",
        "body": json.dumps(messages[0]),
        "eventSourceARN": "arn:aws:sqs:us-east-1:0:low",
    }
    try:
        answer = edge.each(SQSEvent({"Records": [record]}, None), lambda message: onward(load.chunk(message)))
    finally:
        logger.removeHandler(handler)
    logged = json.loads(lines.getvalue().splitlines()[-1])
    assert answer == {"batchItemFailures": []}
    assert (logged["correlation_id"], logged["upload_id"], logged["chunk"]) == ("request-1", upload_id, 1)


def test_a_passing_fault_sends_a_delayed_copy_and_another_fails_alone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sqs, "send", lambda queue, body, *, delay=0: sent.append((queue, body, delay)))
    records = [
        {
            "messageId": name,
            "receiptHandle": "r",
            "body": json.dumps({"fault": name, "tries": "forged"}),
            "eventSourceARN": "arn:aws:sqs:us-east-1:0:low",
        }
        for name in ("transient", "own", "none")
    ]

    def fail(message: dict[str, Any]) -> None:
        if message["fault"] == "transient":
            raise psycopg.errors.AdminShutdown
        if message["fault"] == "own":
            raise ZeroDivisionError

    answer = edge.each(SQSEvent({"Records": records}, None), fail)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "own"}]}
    ((queue, body, delay),) = sent
    assert (queue, body) == ("low", {"fault": "transient", "tries": 1})
    assert 1 <= delay <= 2


def test_nothing_is_complete_before_the_scan_has_ended(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = cut_off_before_the_total(pipeline, monkeypatch)
    messages = pipeline.messages()
    monkeypatch.setattr(gate, "PATIENCE_SECONDS", 0)
    with pytest.raises(NotYet):
        pipeline.load(messages)
    assert pipeline.rows() == []
    pipeline.split(upload_id)
    pipeline.load(messages)
    assert pipeline.upload(upload_id)["state"] == "completed"


def test_a_lost_event_is_found_by_the_sweep(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    assert pipeline.sweep()["files_awaited"] == 1
    (message,) = pipeline.messages("intake")
    onward(split.file(message))
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"


def in_hand(queue: str, body: dict[str, Any]) -> None:
    """A message whose taker was killed: nobody else gets it before its visibility ends, minutes later."""
    sqs.send(queue, body)
    taken = aws.client("sqs").receive_message(QueueUrl=sqs._url(queue))
    assert len(taken["Messages"]) == 1


def test_a_file_whose_splitter_was_killed_before_it_said_so_is_split(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mend, "LOST_SECONDS", 0)
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.begin(BODY)  # the last to come, so that none passes the first one by
    pipeline.messages("intake")
    in_hand("rowmill-local-intake", pipeline.event(upload_id))
    assert pipeline.sweep()["files_awaited"] == 1
    (message,) = pipeline.messages("intake")
    onward(split.file(message))
    assert pipeline.upload(upload_id)["chunks_total"] == 4


def test_a_chunk_whose_worker_was_killed_before_it_said_so_is_sent_again(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    in_hand("rowmill-local-high", messages[0])
    pipeline.load(messages[1:])
    pipeline.sql("UPDATE rowmill.chunk SET sent_at = sent_at - interval '26 seconds'")
    assert pipeline.sweep()["chunks_resent"] == 1
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["loaded"] == ROWS


def test_a_file_that_never_comes_expires(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.sql("UPDATE rowmill.announcement SET closes_at = now() - interval '1 second'")
    import boto3

    boto3.client("s3").delete_object(
        Bucket="rowmill-local-uploads", Key=f"uploads/{pipeline.tenant}/{upload_id}/source"
    )
    assert pipeline.sweep()["files_awaited"] == 1
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"]) == ("expired", "upload_expired")


def test_a_file_that_comes_in_the_moment_its_time_is_over_is_loaded_and_not_told_to_be_missing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.sql("UPDATE rowmill.announcement SET closes_at = now() - interval '1 second'")
    real = s3.head

    def looked_before_it_came(key: str) -> None:
        """The splitter pins it between the sweep's look and what the sweep makes of it."""
        stored = real(key)
        assert stored is not None
        dynamodb.pin(pipeline.tenant, upload_id, stored)

    with monkeypatch.context() as patch:
        patch.setattr(s3, "head", looked_before_it_came)
        assert pipeline.sweep()["files_awaited"] == 0
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["loaded"] == ROWS
    told = pipeline.sql("SELECT kind FROM rowmill.outbox WHERE event_id LIKE %s", f"evt_{upload_id[4:]}_%")
    assert told == [{"kind": "completed"}]


def test_an_upload_that_was_admitted_and_never_announced_is_not_awaited_for_ever(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API died between the two: nobody was told of it, and no sweep knows it."""
    pipeline.dataset()

    def die(*arguments: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(announcements, "announce", die)
        with pytest.raises(SystemExit):
            pipeline.create(BODY)
    (shown,) = report.uploads(pipeline.tenant, Asked({}, None, 10)).items
    assert shown["state"] == "awaiting_upload"
    monkeypatch.setattr(time, "time", lambda: clock() + 16 * 86_400)
    assert report.uploads(pipeline.tenant, Asked({}, None, 10)).items == []


@pytest.mark.parametrize("known", [True, False], ids=["announced", "never announced"])
def test_what_was_canceled_before_it_came_is_shown_for_as_long_as_any_other(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    pipeline.dataset()
    with monkeypatch.context() as patch:
        if not known:
            patch.setattr(announcements, "announce", lambda *arguments: None)
        upload_id = pipeline.create(BODY)
    assert pipeline.cancel(upload_id)["state"] == "canceled"
    assert pipeline.sql("SELECT closed FROM rowmill.announcement") == [{"closed": "canceled"}]
    monkeypatch.setattr(time, "time", lambda: clock() + 16 * 86_400)
    assert pipeline.upload(upload_id)["state"] == "canceled"


@pytest.mark.parametrize(
    "loss",
    [
        "sent_at = NULL, created_at = now() - interval '1 hour'",  # recorded, never sent
        "sent_at = now() - interval '1 hour'",  # sent, and dropped on the way
        "attempts = 1, started_at = now() - interval '1 hour'",  # begun by a worker that died
    ],
)
def test_a_lost_chunk_is_sent_again_by_the_sweep(pipeline: Pipeline, loss: str) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[1:])
    pipeline.sql(f"UPDATE rowmill.chunk SET {loss} WHERE state = 'queued'")
    assert pipeline.sweep()["chunks_resent"] == 1
    assert pipeline.sweep()["chunks_resent"] == 0
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["loaded"] == ROWS


def test_an_end_that_could_not_be_shown_is_shown_by_the_sweep(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:-1])

    def down(*args: Any) -> bool:
        raise EndpointConnectionError(endpoint_url="http://dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(dynamodb, "project", down)
        with pytest.raises(EndpointConnectionError):
            pipeline.load(messages[-1:])
    assert pipeline.upload(upload_id)["state"] != "completed"
    assert pipeline.sweep()["uploads_seen"] == 1
    assert pipeline.upload(upload_id)["state"] == "completed"
    assert pipeline.sweep()["uploads_seen"] == 0


def test_a_missed_finish_is_drawn_by_the_sweep(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    for message in messages:
        load.chunk(message)  # and the worker dies before it looks whether that was the last
    assert pipeline.upload(upload_id)["state"] != "completed"
    pipeline.sweep()
    assert pipeline.upload(upload_id)["state"] == "completed"
    assert (
        len(
            pipeline.sql(
                "SELECT event_id FROM rowmill.outbox o JOIN rowmill.upload u ON u.number = o.upload WHERE u.upload_id = %s",
                upload_id,
            )
        )
        == 1
    )


def test_a_chunk_that_always_fails_dies_after_four_attempts_and_the_rest_loads(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, messages = pipeline.begin(BODY)
    poison(monkeypatch, first_record=11)
    attempts = 0
    for message in messages * 5:
        try:
            pipeline.load([message])
        except Unavailable as failed:
            assert (failed.code, type(failed.__cause__)) == ("chunk_failed", MemoryError)
            attempts += 1
    assert attempts == 3  # the fourth is the last: it buries the chunk instead of raising
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["unprocessed"]) == ("completed_with_errors", ROWS - 10, 10)
    assert upload["error"]["code"] == "records_unprocessed"
    assert adds_up(upload)


def test_a_worker_killed_on_its_last_attempt_leaves_a_chunk_that_is_buried(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[1:])
    pipeline.sql("UPDATE rowmill.chunk SET attempts = 4, started_at = now() WHERE state = 'queued'")
    with at_work(pipeline, messages[0]):
        assert not handled(pipeline, messages[0])  # somebody is at its last attempt
        assert pipeline.sweep()["chunks_resent"] == 0
    assert pipeline.sweep()["chunks_resent"] == 1
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["unprocessed"], upload["error"]["errors"][0]["code"]) == (10, "chunk_dead")


@contextmanager
def at_work(pipeline: Pipeline, message: dict[str, Any]) -> Iterator[None]:
    """Another worker is at the chunk."""
    with (
        psycopg.connect(pipeline.url, autocommit=True) as other,
        locks.alone(other, locks.chunk(message["upload"], message["chunk"])) as held,
    ):
        assert held
        yield


def test_a_passing_fault_spends_no_attempt(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    _, messages = pipeline.begin(BODY)

    def down(*args: Any) -> bytes:
        raise Unavailable("object_cut", "The object's body ended early.")

    with monkeypatch.context() as patch:
        patch.setattr(s3, "read", down)
        for _ in range(6):
            with pytest.raises(Unavailable):
                load.chunk(messages[0])
    assert {row["attempts"] for row in pipeline.sql("SELECT attempts FROM rowmill.chunk WHERE state = 'queued'")} == {0}


def test_a_connection_cut_at_commit_loads_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """COMMIT was carried out, its answer lost: the repeat must find the proof."""
    upload_id, messages = pipeline.begin(BODY)
    real = load._commit

    def cut_after_commit(*args: Any) -> None:
        real(*args)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(load, "_commit", cut_after_commit)
        with pytest.raises(psycopg.OperationalError):
            load.chunk(messages[0])
    pipeline.load(messages)
    assert pipeline.upload(upload_id)["loaded"] == len(pipeline.rows()) == ROWS


def test_a_connection_that_the_server_closed_between_two_chunks_is_opened_anew(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:1])
    pipeline.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'rowmill'")
    pipeline.load(messages[1:])
    assert pipeline.upload(upload_id)["loaded"] == ROWS


def test_a_killed_transaction_leaves_no_row_behind(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id, messages = pipeline.begin(BODY)

    def killed(*args: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "record_loaded", killed)
        with pytest.raises(SystemExit):
            load.chunk(messages[0])
    connection.close()
    assert pipeline.rows() == []
    pipeline.load(messages)
    assert pipeline.upload(upload_id)["loaded"] == len(pipeline.rows()) == ROWS


def test_an_object_replaced_after_the_split_never_mixes_in(pipeline: Pipeline) -> None:
    import boto3

    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:2])
    key = f"uploads/{pipeline.tenant}/{upload_id}/source"
    boto3.client("s3").put_object(Bucket="rowmill-local-uploads", Key=key, Body=BODY.replace(b"U", b"V"))
    pipeline.split(upload_id)
    pipeline.load(messages[2:])
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["unprocessed"]) == ("completed_with_errors", 20, 20)
    assert {row["name"] for row in pipeline.rows()} == {"U"}


def test_a_split_that_ended_in_the_dead_letter_queue_fails_the_upload(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = cut_off_before_the_total(pipeline, monkeypatch)
    messages = pipeline.messages()
    for _ in range(MAX_ATTEMPTS):  # each of ten deliveries
        assert pipeline.sql("SELECT state FROM rowmill.upload") == [{"state": "splitting"}]
        with acting("bury"):
            onward(mend.bury(pipeline.event(upload_id)))
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"]) == ("failed", "split_failed")
    assert (upload["loaded"], upload["unprocessed"]) == (0, 40)
    pipeline.load(messages)  # late deliveries do nothing
    assert pipeline.rows() == []


def test_a_repeated_event_that_ended_in_the_dead_letter_queue_leaves_what_is_split_alone(pipeline: Pipeline) -> None:
    """A queue that was throttled gives up messages that had nothing to do any more."""
    upload_id, messages = pipeline.begin(BODY)
    for _ in range(MAX_ATTEMPTS):
        onward(mend.bury(pipeline.event(upload_id)))
    assert pipeline.upload(upload_id)["state"] == "queued"
    pipeline.load(messages)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"]) == ("completed", ROWS)


def test_a_repeated_event_that_ended_in_the_dead_letter_queue_leaves_a_splitter_at_its_work(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    real = ledger.end_scan

    def bury() -> None:
        for _ in range(MAX_ATTEMPTS):
            mend.bury(pipeline.event(upload_id))
        connection.close()

    def buried_first(*arguments: Any) -> bool:
        burying = threading.Thread(target=bury)
        burying.start()
        burying.join()
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "end_scan", buried_first)
        pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"


def test_a_message_to_settle_that_was_given_up_stops_only_what_cannot_be_settled(pipeline: Pipeline) -> None:
    """One that was never handled is worth an attempt, as a chunk's is; one that has nothing to do is worth none."""
    upload_id, messages = pipeline.begin(BODY + b"u0@x.org,Again,0\n")
    lost = {"upload": messages[0]["upload"]}
    onward(mend.bury(lost))
    assert pipeline.upload(upload_id)["state"] == "queued"
    pipeline.load(messages)
    assert pipeline.messages("settle") == [lost]
    for _ in range(MAX_ATTEMPTS):
        assert pipeline.sql("SELECT state FROM rowmill.upload") == [{"state": "processing"}]
        onward(mend.bury(lost))
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"]) == ("failed", "settle_failed")


def test_a_file_that_never_got_as_far_as_a_split_fails_too(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    onward(mend.bury(pipeline.event(upload_id)))
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"], upload["loaded"]) == ("failed", "split_failed", 0)


def test_a_file_that_was_given_up_before_it_was_opened_is_not_loaded_by_a_repeat_of_its_event(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "open_upload", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pipeline.split(upload_id)
    onward(mend.bury(pipeline.event(upload_id)))
    pipeline.split(upload_id)
    assert (pipeline.upload(upload_id)["state"], pipeline.messages()) == ("failed", [])


def test_messages_that_name_nothing_are_dropped(pipeline: Pipeline) -> None:
    for nonsense in (
        {},
        {"upload": "1"},
        {"upload": 2**31 - 1, "chunk": 1},
        {"upload": None, "chunk": 1},
        {"Records": []},
    ):
        assert load.chunk(nonsense) is None
        assert settle.contested(nonsense) is None
        assert split.file(nonsense) is None
    assert split.file({"Event": "s3:TestEvent"}) is None
    assert split.file(pipeline.event("upl_unknown")) is None
    with pytest.raises(Refused):
        pipeline.upload("upl_unknown")
