"""What ends early, begins anew or was lost on the way: cancel, redrive, interrupted scans, emptied and stale stores."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from unittest.mock import Mock

import boto3
import psycopg
import pytest

from chalicelib import attest, gate, load, mend, report, settle, split, undo
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.errors import Refused, Unavailable
from chalicelib.journey import MAX_ATTEMPTS, ChunkKey
from chalicelib.postgres import connection, ledger, locks, manifest, projection
from chalicelib.settings import read_chunk_policy, settings
from infra import logins
from tests.stages.conftest import Pipeline, consulted, cut_into, onward, poison
from tests.stages.test_journey_in_process import adds_up

ROWS = 40
BODY = b"email,name,age\n" + b"".join(b"u%d@x.org,U,%d\n" % (i, i) for i in range(ROWS))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 10)


def events(pipeline: Pipeline, upload_id: str) -> list[str]:
    found = pipeline.sql(
        "SELECT event_id FROM rowmill.outbox WHERE event_id LIKE %s ORDER BY 1", f"evt_{upload_id[4:]}_%"
    )
    return [row["event_id"] for row in found]


# cancel


def test_a_canceled_upload_keeps_what_is_in_and_loads_nothing_more(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:1])
    upload = pipeline.cancel(upload_id)
    assert (upload["state"], upload["status"]) == ("canceled", "canceled")
    assert (upload["loaded"], upload["unprocessed"], upload["error"]["code"]) == (10, 30, "canceled")
    assert adds_up(upload)
    pipeline.load(messages)
    pipeline.sweep()
    assert pipeline.upload(upload_id) == pipeline.cancel(upload_id) == upload
    assert len(pipeline.rows()) == 10
    assert events(pipeline, upload_id) == [f"evt_{upload_id[4:]}_1"]


def test_a_cancel_waits_for_the_chunk_that_is_being_committed(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    number = messages[0]["upload"]
    with psycopg.connect(pipeline.url) as committing:
        ledger.lock_upload(committing, number, shared=True)
        assert pipeline.cancel(upload_id)["state"] == "canceling"
        pipeline.load(messages[1:])
        assert pipeline.rows() == []
    pipeline.sweep()
    assert pipeline.upload(upload_id)["state"] == "canceled"


def test_no_chunk_commits_after_canceled_is_acknowledged(pipeline: Pipeline) -> None:
    pipeline.dataset()
    for _ in range(8):
        upload_id = pipeline.create(BODY)
        pipeline.split(upload_id)
        messages = pipeline.messages()

        def work(messages: list[dict[str, Any]] = messages) -> None:
            pipeline.load(messages)
            connection.close()

        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(0.01)
        try:
            upload = pipeline.cancel(upload_id)
        except Refused as refused:
            assert refused.code == "state_conflict"
        while upload["state"] == "canceling":
            pipeline.sweep()
            upload = pipeline.upload(upload_id)
        counted = len(_rows_of(pipeline, upload_id))
        worker.join()
        upload = pipeline.upload(upload_id)
        assert counted == upload["loaded"] == len(_rows_of(pipeline, upload_id))
        assert adds_up(upload)
        pipeline.sql(f"DELETE FROM data.d_{_dataset(pipeline)}")


def _dataset(pipeline: Pipeline) -> int:
    return int(pipeline.sql("SELECT max(number) AS number FROM rowmill.dataset")[0]["number"])


def _rows_of(pipeline: Pipeline, upload_id: str) -> list[dict[str, Any]]:
    return pipeline.sql(
        f"SELECT _row FROM data.d_{_dataset(pipeline)} JOIN rowmill.upload u ON _row >> 32 = u.number"
        " WHERE u.upload_id = %s",
        upload_id,
    )


def test_a_file_that_arrives_after_its_upload_was_canceled_is_left_alone(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    assert pipeline.cancel(upload_id)["state"] == "canceled"
    pipeline.split(upload_id)
    assert pipeline.messages() == []
    assert pipeline.sweep()["files_awaited"] == 0
    assert pipeline.upload(upload_id)["state"] == "canceled"


def test_a_cancel_that_died_half_way_is_not_looked_after_for_ever(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    dynamodb.cancel(pipeline.tenant, upload_id, 10**13)  # and the API dies here
    assert pipeline.sweep()["files_awaited"] == 1
    for message in pipeline.messages("intake"):
        onward(split.file(message))
    assert pipeline.sweep()["files_awaited"] == 0
    assert pipeline.upload(upload_id)["state"] == "canceled"


def test_a_splitter_that_opens_an_upload_while_it_is_canceled_ends_it(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    ledger.ask_to_cancel(connection.connection(), pipeline.tenant, upload_id)  # and the API dies here
    pipeline.split(upload_id)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], pipeline.messages()) == ("canceled", 0, [])


def test_an_upload_that_is_canceled_while_a_splitter_is_about_to_open_it_ends_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is pinned, and no splitter has met it yet as far as Postgres knows."""
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    real = ledger.open_upload

    def canceled_first(db: Any, new: Any) -> Any:
        pipeline.cancel(upload_id)
        return real(db, new)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "open_upload", canceled_first)
        pipeline.split(upload_id)
    pipeline.split(upload_id)
    pipeline.sweep()
    found = pipeline.sql("SELECT event_id, kind FROM rowmill.outbox")
    assert [(row["event_id"], row["kind"]) for row in found] == [(f"evt_{upload_id[4:]}_0", "canceled")]
    assert pipeline.upload(upload_id)["state"] == "canceled"


def test_a_scan_stops_where_it_is_canceled_and_its_sums_stay(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    real = gate.send
    monkeypatch.setattr(split, "FLUSH_SECONDS", 0)

    def sent(*arguments: Any) -> None:
        real(*arguments)
        if arguments[-1]:
            ledger.ask_to_cancel(connection.connection(), pipeline.tenant, upload_id)

    monkeypatch.setattr(gate, "send", sent)
    pipeline.split(upload_id)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["chunks_total"]) == ("canceled", None)
    assert 0 < upload["rows_total"] == upload["unprocessed"] < ROWS


def test_only_what_is_under_way_can_be_canceled(pipeline: Pipeline) -> None:
    pipeline.dataset()
    done = pipeline.run(BODY)
    for wrong in (done["id"], "upl_unknown", "upl_" + "0" * 26):
        with pytest.raises(Refused) as refused:
            pipeline.cancel(wrong)
        assert refused.value.status == (409 if wrong == done["id"] else 404)
    assert pipeline.upload(done["id"]) == done


# redrive


def poisoned(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> str:
    """An upload whose second chunk is dead."""
    upload_id, messages = pipeline.begin(BODY)
    with monkeypatch.context() as patch:
        poison(patch, first_record=11)
        for message in messages + messages[1:2] * 3:
            try:
                pipeline.load([message])
            except Unavailable:
                continue
    return upload_id


def test_a_redrive_loads_what_was_given_up_as_a_new_generation(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = poisoned(pipeline, monkeypatch)
    before = pipeline.upload(upload_id)
    assert (before["state"], before["unprocessed"]) == ("completed_with_errors", 10)
    (explained,) = before["error"]["errors"]
    assert (explained["row"], explained["rows"], explained["code"]) == (11, 10, "chunk_dead")
    assert "Records 11 to 20, from line 12 on: MemoryError, 4 attempts" in explained["detail"]
    again = pipeline.redrive(upload_id)
    assert (again["state"], again["unprocessed"], again["error"]) == ("processing", 0, None)
    pipeline.load(pipeline.messages())
    after = pipeline.upload(upload_id)
    assert (after["state"], after["loaded"], len(pipeline.rows())) == ("completed", ROWS, ROWS)
    assert events(pipeline, upload_id) == [f"evt_{upload_id[4:]}_1", f"evt_{upload_id[4:]}_2"]


def test_a_wish_to_cancel_that_came_too_late_does_not_cancel_the_redrive(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = settle._end

    def asked_first(db: Any, number: Any) -> None:
        ledger.ask_to_cancel(db, pipeline.tenant, upload_id)  # in the moment that the end is drawn
        real(db, number)

    upload_id, messages = pipeline.begin(BODY)
    with monkeypatch.context() as patch:
        poison(patch, first_record=11)
        patch.setattr(settle, "_end", asked_first)
        for message in messages + messages[1:2] * 3:
            with suppress(Unavailable):
                pipeline.load([message])
    assert pipeline.upload(upload_id)["state"] == "completed_with_errors"
    assert pipeline.redrive(upload_id)["state"] == "processing"
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", ROWS, ROWS)


def test_a_redrive_whose_messages_are_lost_is_sent_again_by_the_sweep(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = poisoned(pipeline, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(sqs, "send_chunks", lambda *arguments: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            pipeline.redrive(upload_id)
    pipeline.sql("UPDATE rowmill.chunk SET created_at = created_at - interval '1 minute'")
    assert pipeline.sweep()["chunks_resent"] == 1
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["loaded"] == ROWS


def test_the_end_of_a_generation_is_not_taken_for_shown_because_an_earlier_one_was(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = poisoned(pipeline, monkeypatch)
    (first,) = pipeline.sql("SELECT number, finished_at FROM rowmill.upload WHERE upload_id = %s", upload_id)
    pipeline.redrive(upload_id)
    with monkeypatch.context() as patch:
        patch.setattr(report, "show", lambda number: None)  # the worker dies before it shows the end
        pipeline.load(pipeline.messages())
    projection.mark_end_shown(connection.connection(), **first)  # one of the first generation comes late
    assert pipeline.sweep()["uploads_seen"] == 1
    assert pipeline.upload(upload_id)["state"] == "completed"


def test_a_failed_split_is_redriven_from_where_it_was(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "end_scan", lambda *arguments: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            pipeline.split(upload_id)
    connection.close()
    for _ in range(MAX_ATTEMPTS):
        onward(mend.bury(pipeline.event(upload_id)))
    assert pipeline.upload(upload_id)["state"] == "failed"
    again = pipeline.redrive(upload_id)
    assert (again["state"], again["rows_total"]) == ("scanning", None)
    for message in pipeline.messages("intake"):
        onward(split.file(message))
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"]) == ("completed", ROWS)


def test_there_is_nothing_to_redrive_in_an_upload_that_gave_nothing_up(pipeline: Pipeline) -> None:
    pipeline.dataset()
    done = pipeline.run(BODY)
    refused_file = pipeline.run(b"no,such,columns\n1,2,3\n")
    waiting = pipeline.create(BODY)
    for upload_id in (done["id"], refused_file["id"], waiting):
        with pytest.raises(Refused) as refused:
            pipeline.redrive(upload_id)
        assert (refused.value.code, refused.value.status) == ("state_conflict", 409)


# scans


def test_a_scan_out_of_time_goes_on_by_a_message_to_itself(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    message: dict[str, Any] = pipeline.event(upload_id)
    turns = 0
    while message:
        onward(split.file(message, deadline=0.0))
        turns += 1
        message = next(iter(pipeline.messages("intake")), {})
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["chunks_total"]) == ("completed", ROWS, 4)
    assert turns >= 2
    assert consulted({})["differences"] == []


def rest_of_a_scan(pipeline: Pipeline) -> tuple[str, Any]:
    upload_id = pipeline.create(BODY)
    return "intake", partial(split.file, pipeline.event(upload_id), deadline=0.0)


def rest_of_a_reading(pipeline: Pipeline) -> tuple[str, Any]:
    pipeline.run(BODY)
    pipeline.tell()
    return "receipt", partial(attest.work, *pipeline.messages("receipt"), deadline=0.0)


def rest_of_an_undo(pipeline: Pipeline) -> tuple[str, Any]:
    pipeline.ask_revert(pipeline.run(BODY)["id"])
    return "settle", partial(undo.rows, *pipeline.messages("settle"))


@pytest.mark.parametrize(
    ("begun", "lock"),
    [(rest_of_a_scan, locks.split), (rest_of_a_reading, locks.proof), (rest_of_an_undo, locks.settle)],
)
def test_whoever_sends_for_the_rest_of_its_work_has_let_go_of_its_lock(
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    begun: Callable[[Pipeline], tuple[str, Any]],
    lock: Callable[[int], locks.Key],
) -> None:
    """Whoever found it held would let the message go, and the rest would wait for the sweep."""
    monkeypatch.setattr(undo, "WORK_SECONDS", 0)
    pipeline.dataset()
    queue, work = begun(pipeline)
    real, was_free = sqs.send, list[bool]()

    def sent(to: str, body: dict[str, Any], *, delay: int = 0) -> None:
        number = pipeline.sql("SELECT number FROM rowmill.upload")[0]["number"]
        with psycopg.connect(pipeline.url) as other, locks.alone(other, lock(number)) as ours:
            was_free.append(ours)
        real(to, body, delay=delay)

    monkeypatch.setattr(sqs, "send", sent)
    work()
    assert was_free == [True]
    assert len(pipeline.messages(queue)) == 1


@pytest.mark.parametrize(("depth", "records"), [(0, 20), (49, 20), (50, 10), (100, 5), (500, 5)])
def test_chunks_are_sized_by_how_many_wait_in_the_tiers_queue(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, depth: int, records: int
) -> None:
    monkeypatch.setenv("ROWMILL_CHUNK_POLICY", "100:4194304:5,50:4194304:10,0:4194304:20")
    settings.cache_clear()
    monkeypatch.setattr(sqs, "depth", lambda queue: depth if queue == settings().high_queue else 0)
    pipeline.begin(BODY)
    assert {row["records"] for row in pipeline.sql("SELECT records FROM rowmill.chunk")} == {records}


@pytest.mark.parametrize("text", ["", "1:2", "5:1:1", "0:0:1", "0:1:x"])
def test_a_chunk_policy_that_leaves_a_depth_open_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"policy|invalid|argument|unpack"):
        read_chunk_policy(text)
    assert [rule.depth for rule in read_chunk_policy("0:1:1,7:1:1")] == [7, 0]


# attempts


def test_an_attempt_that_a_restart_of_postgres_cut_off_is_not_counted(pipeline: Pipeline) -> None:
    _, messages = pipeline.begin(BODY)
    pipeline.sql(
        "UPDATE rowmill.chunk SET attempts = 4, started_at = pg_postmaster_start_time() - interval '1 second'"
        " WHERE n = 1"
    )
    pipeline.load(messages[:1])
    ((state, attempts),) = [
        (row["state"], row["attempts"]) for row in pipeline.sql("SELECT state, attempts FROM rowmill.chunk WHERE n = 1")
    ]
    assert (state, attempts) == ("loaded", 4)


def test_a_message_that_was_never_handled_spends_an_attempt_and_is_sent_again(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[1:])
    for spent in range(1, 5):
        onward(mend.bury(messages[0]))
        assert len(pipeline.messages()) == (spent < 4)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["unprocessed"]) == ("completed_with_errors", 10)
    assert "not delivered" in upload["error"]["errors"][0]["detail"]


def test_a_message_that_was_given_up_does_not_bury_a_chunk_that_is_in_hand(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a repeat: whoever is at the chunk, on its last attempt, has another."""
    upload_id, messages = pipeline.begin(BODY)
    pipeline.sql("UPDATE rowmill.chunk SET attempts = 3 WHERE n = 1")
    real = load.prepare

    def buried_first(*arguments: Any) -> Any:
        bury = threading.Thread(target=lambda: (mend.bury(messages[0]), connection.close()))
        bury.start()
        bury.join()
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(load, "prepare", buried_first)
        pipeline.load(messages[:1])
    pipeline.load(messages[1:])
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"]) == ("completed", ROWS)


def test_a_session_left_over_from_a_vanished_worker_is_closed(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    logins.make(pipeline.url, "recovery", "a secret of this test")  # as its owner's it could not be closed by the sweep
    with (
        psycopg.connect(
            logins.urls(pipeline.url, "recovery", "a secret of this test")["load"], autocommit=True
        ) as vanished,
        locks.alone(vanished, locks.chunk(messages[0]["upload"], 1)) as held,
    ):
        assert held
        assert manifest.take(vanished, ChunkKey(messages[0]["upload"], "load", 1))
        assert pipeline.sweep()["hung_sessions"] == 0
        pipeline.sql("UPDATE rowmill.chunk SET started_at = started_at - interval '61 seconds' WHERE n = 1")
        assert pipeline.sweep()["hung_sessions"] == 1
        with pytest.raises(psycopg.OperationalError):
            vanished.execute("SELECT 1")
    pipeline.sweep()
    pipeline.load(messages + pipeline.messages())
    assert pipeline.upload(upload_id)["loaded"] == ROWS


# stores that lost or forgot


def emptied() -> None:
    table = boto3.client("dynamodb")
    for item in table.scan(TableName=settings().uploads_table)["Items"]:
        key = {name: item[name] for name in ("tenant", "upload_id")}
        table.delete_item(TableName=settings().uploads_table, Key=key)


def test_an_emptied_status_table_is_rebuilt_by_the_sweep(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    pipeline.dataset()
    done = pipeline.run(BODY)
    under_way, messages = begun_again(pipeline)
    waiting = pipeline.create(BODY)
    shown = pipeline.upload(waiting)
    pipeline.sweep()
    pipeline.messages("intake")
    emptied()
    with pytest.raises(Refused):
        pipeline.upload(done["id"])
    pipeline.sweep()
    assert pipeline.upload(done["id"]) == done
    assert pipeline.upload(under_way)["state"] in ("queued", "processing")
    assert pipeline.upload(waiting) == shown
    for message in pipeline.messages("intake"):
        onward(split.file(message))
    pipeline.load(messages + pipeline.messages())
    assert pipeline.upload(under_way)["state"] == "completed_with_errors"  # all are duplicates
    assert pipeline.upload(waiting)["rejected"] == ROWS


def test_a_scan_goes_on_whose_status_was_put_back_and_shown_before_the_splitter_came(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(split, "_fan_out", Mock(side_effect=SystemExit))  # the splitter dies
        pipeline.split(upload_id)
    emptied()
    pipeline.sql("UPDATE rowmill.upload SET scan_seen_at = scan_seen_at - interval '6 seconds'")
    assert pipeline.sweep()["scans_restarted"] == 1
    assert pipeline.upload(upload_id)["state"] == "splitting"
    for message in pipeline.messages("intake"):
        onward(split.file(message))
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"


def begun_again(pipeline: Pipeline) -> tuple[str, list[dict[str, Any]]]:
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    return upload_id, pipeline.messages()


def examine(**event: Any) -> dict[str, set[str]]:
    """What the doctor finds on both sides, by upload."""
    found: dict[str, set[str]] = {}
    for side in ("ledger", "status"):
        for one in consulted({"side": side, **event})["differences"]:
            found.setdefault(one["upload_id"], set()).add(one["code"])
    return found


def test_the_doctor_finds_nothing_where_all_is_well(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.dataset()
    pipeline.run(BODY + b"bad,row,x\n")
    poisoned(pipeline, monkeypatch)
    pipeline.create(BODY)
    _, _ = begun_again(pipeline)
    assert list(examine().values()) == [{"not_split"}]  # the one that waits for its event


@pytest.mark.parametrize(
    ("harm", "code", "mended"),
    [
        ("UPDATE rowmill.upload SET generation = 0", "status_ahead", True),
        ("DELETE FROM data.d_{0} WHERE _row & 1 = 0", "rows_missing", False),
        ("DELETE FROM rowmill.chunk WHERE n = 2", "manifest_gap", False),
        ("INSERT INTO data.d_{0} (email, _row) SELECT 'x', max(_row) + 1 FROM data.d_{0}", "rows_too_many", False),
    ],
)
def test_the_doctor_names_what_differs_and_mends_what_can_be(
    pipeline: Pipeline, harm: str, code: str, mended: bool
) -> None:
    pipeline.dataset()
    done = pipeline.run(BODY)
    pipeline.sql(harm.format(_dataset(pipeline)))
    assert code in examine()[done["id"]]
    examine(mend=True)
    pipeline.sweep()
    assert (done["id"] not in examine()) == mended


def test_the_doctor_corrects_a_status_that_tells_something_else(pipeline: Pipeline) -> None:
    pipeline.dataset()
    done = pipeline.run(BODY)
    boto3.client("dynamodb").update_item(
        TableName=settings().uploads_table,
        Key={"tenant": {"S": pipeline.tenant}, "upload_id": {"S": done["id"]}},
        UpdateExpression="SET progress = :lie",
        ExpressionAttributeValues={":lie": {"S": json.dumps({"loaded": 1})}},
    )
    assert examine() == {done["id"]: {"status_differs"}}
    examine(mend=True)
    pipeline.sweep()
    assert (pipeline.upload(done["id"]), examine()) == (done, {})


def forgotten(pipeline: Pipeline) -> None:
    """The database is one from before any upload."""
    for table in ("outbox", "conflict", "revert", "takeover", "chunk", "upload", "cancel", "announcement"):
        pipeline.sql(f"DELETE FROM rowmill.{table}")
    pipeline.sql(f"DELETE FROM data.d_{_dataset(pipeline)}")


def test_a_database_restored_to_an_earlier_time_loads_the_file_again(pipeline: Pipeline) -> None:
    pipeline.dataset()
    done = pipeline.run(BODY)
    forgotten(pipeline)
    assert examine() == {done["id"]: {"ledger_lost"}}
    examine(mend=True)
    for message in pipeline.messages("intake"):
        onward(split.file(message))
    assert pipeline.upload(done["id"])["state"] == "queued"  # the new epoch outranks the old end
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(done["id"])
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", ROWS, ROWS)
    assert examine() == {}


def test_a_file_that_is_awaited_still_is_when_the_database_has_lost_its_upload(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    key = f"uploads/{pipeline.tenant}/{upload_id}/source"
    s3.delete(key, None)  # not there yet: a form is good for an hour, and parts may come for a week
    forgotten(pipeline)
    examine(mend=True)
    pipeline.sql("UPDATE rowmill.announcement SET created_at = created_at - interval '1 minute'")
    pipeline.sweep()
    assert (pipeline.upload(upload_id)["state"], examine()) == ("awaiting_upload", {})
    s3.write(key, "text/csv", [BODY])
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"


def test_what_was_undone_is_not_loaded_again_when_the_database_has_lost_it(pipeline: Pipeline) -> None:
    pipeline.dataset()
    done = pipeline.run(BODY)
    assert pipeline.revert(done["id"])["state"] == "reverted"
    forgotten(pipeline)
    examine(mend=True)
    for message in pipeline.messages("intake"):
        onward(split.file(message))
    pipeline.load(pipeline.messages())
    assert (pipeline.upload(done["id"])["state"], pipeline.rows()) == ("reverted", [])
    assert examine() == {done["id"]: {"ledger_lost"}}


def test_the_doctor_goes_on_telling_of_what_it_cannot_mend(pipeline: Pipeline) -> None:
    """A status that says completed, of rows that are gone with their file."""
    pipeline.dataset()
    done = pipeline.run(BODY)
    s3.delete(f"uploads/{pipeline.tenant}/{done['id']}/source", None)
    forgotten(pipeline)
    for _ in range(2):
        assert examine(mend=True) == {done["id"]: {"ledger_lost"}}
        pipeline.sweep()


def test_a_status_item_is_only_put_back_where_there_is_none(pipeline: Pipeline) -> None:
    pipeline.dataset()
    done = pipeline.run(BODY)
    item = dynamodb.find(pipeline.tenant, done["id"])
    assert item is not None
    assert not dynamodb.restore(item | {"state": "awaiting_upload"})
    assert pipeline.upload(done["id"]) == done
