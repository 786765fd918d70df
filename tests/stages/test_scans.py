"""A file that no splitter gets through is given up after four attempts; what is no fault of its own spends none."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib import gate, mend, planning, split
from chalicelib.aws import s3
from chalicelib.errors import NotYet, Unavailable
from chalicelib.formats import threats
from chalicelib.journey import MAX_ATTEMPTS, Chunk
from chalicelib.postgres import connection, ledger, locks, repair
from tests.stages.conftest import Pipeline, acting, cut_into, onward

ROWS = 20
BODY = b"email,name,age\n" + b"".join(b"u%d@x.org,U,%d\n" % (i, i) for i in range(ROWS))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)


def arrived(pipeline: Pipeline, **options: Any) -> tuple[str, dict[str, Any]]:
    """A file whose event has not come: its upload's id, and a message of it."""
    pipeline.dataset()
    upload_id = pipeline.create(BODY, **options)
    return upload_id, {"tenant": pipeline.tenant, "upload_id": upload_id}


def opened(pipeline: Pipeline, message: dict[str, Any]) -> tuple[ledger.Upload | None, bytes | None]:
    """The upload as a splitter finds it that has just come."""
    with acting("split"):
        return split._open(s3.arrivals(message)[0])


def attempts(pipeline: Pipeline) -> int:
    (row,) = pipeline.sql("SELECT scan_attempts FROM rowmill.upload")
    return int(row["scan_attempts"])


def state(pipeline: Pipeline) -> str:
    (row,) = pipeline.sql("SELECT state FROM rowmill.upload")
    return str(row["state"])


def ends_well(pipeline: Pipeline, upload_id: str) -> None:
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", ROWS, ROWS)


def is_given_up(pipeline: Pipeline, upload_id: str) -> bool:
    upload = pipeline.upload(upload_id)
    return (upload["state"], (upload["error"] or {}).get("code")) == ("failed", "split_failed")


def raising(fault: type[BaseException] | BaseException, times: list[int]) -> Callable[..., Any]:
    """What fails, and keeps account of it."""

    def fail(*_: Any) -> Any:
        times.append(1)
        raise fault

    return fail


def test_a_file_at_which_the_planner_fails_is_given_up_after_four_attempts_and_can_be_tried_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, message = arrived(pipeline)
    planned: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(planning, "plan", raising(ZeroDivisionError, planned))
        for generation in (1, 2):
            for attempt in range(1, MAX_ATTEMPTS + 1):
                with pytest.raises(Unavailable, match="tried again"):
                    pipeline.go_on(message)
                assert (attempts(pipeline), state(pipeline)) == (attempt, "scanning")
            pipeline.go_on(message)
            assert (is_given_up(pipeline, upload_id), len(planned)) == (True, MAX_ATTEMPTS * generation)
            pipeline.go_on(message)  # a late one does nothing
            assert is_given_up(pipeline, upload_id)
            assert pipeline.redrive(upload_id)["state"] == "scanning"
    pipeline.go_on(message)
    ends_well(pipeline, upload_id)


FAULTS = {
    "storage": EndpointConnectionError(endpoint_url="http://s3"),
    "database": psycopg.OperationalError("gone"),
    "not yet": NotYet("rejects_busy", "Others are at it."),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_is_no_fault_of_the_splitter_spends_no_attempt(
    pipeline: Pipeline, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, message = arrived(pipeline)
    planned: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(planning, "plan", raising(fault, planned))
        for _ in range(MAX_ATTEMPTS + 2):
            with pytest.raises(type(fault)):
                pipeline.go_on(message)
            assert attempts(pipeline) == 0
    assert len(planned) == MAX_ATTEMPTS + 2
    pipeline.go_on(message)
    ends_well(pipeline, upload_id)


def test_malware_is_quarantined_however_long_the_storage_does_not_take_its_mark(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(threats.EICAR)
    with monkeypatch.context() as patch:
        patch.setattr(s3, "mark_quarantined", raising(FAULTS["storage"], []))
        for _ in range(MAX_ATTEMPTS + 2):
            with pytest.raises(EndpointConnectionError):
                pipeline.split(upload_id)
    pipeline.split(upload_id)
    assert pipeline.upload(upload_id)["state"] == "quarantined"


def killed(pipeline: Pipeline, message: dict[str, Any]) -> None:
    """A process of its own splits the upload, and is killed as it plans."""
    connection.close()
    child = os.fork()
    if not child:
        try:
            planning.plan = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment, misc]
            split.file(message)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    until = time.monotonic() + 30
    while pipeline.sql("SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s", locks.SPLIT):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_file_that_kills_every_splitter_is_given_up_after_four_of_them(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not by setting the time back: Postgres may have been started since then.
    monkeypatch.setattr(repair, "GRACE_SECONDS", 0)
    upload_id, message = arrived(pipeline)
    opened(pipeline, message)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        killed(pipeline, message)
        assert (attempts(pipeline), state(pipeline)) == (attempt, "scanning")
        assert pipeline.sweep()["scans_restarted"] == 1
        (message,) = pipeline.messages("intake")
    pipeline.go_on(message)
    assert is_given_up(pipeline, upload_id)
    assert pipeline.redrive(upload_id)["state"] == "scanning"
    pipeline.go_on(message)
    ends_well(pipeline, upload_id)


def test_a_scan_that_gets_further_each_time_may_fail_as_often_as_it_likes(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, message = arrived(pipeline)
    real, sent = gate.send, set[int]()

    def fails_behind_a_new_chunk(upload: ledger.Upload, tier: str, places: list[int]) -> None:
        new = set(places) - sent
        sent.update(places)
        if new:
            raise ZeroDivisionError
        real(upload, tier, places)

    monkeypatch.setattr(split, "EARLY", ROWS)
    monkeypatch.setattr(gate, "send", fails_behind_a_new_chunk)
    turns = 0
    while not turns or state(pipeline) == "splitting":
        turns += 1
        with suppress(Unavailable):
            pipeline.go_on(message)
    assert turns > MAX_ATTEMPTS + 1
    ends_well(pipeline, upload_id)


def test_a_scan_that_fails_at_one_place_is_given_up_there_and_a_redrive_goes_on_from_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, message = arrived(pipeline)
    real = split._cut

    def fails_at_the_third(*arguments: Any) -> Iterator[Chunk]:
        for chunk in real(*arguments):
            if chunk.n == 3:
                raise ZeroDivisionError
            yield chunk

    with monkeypatch.context() as patch:
        patch.setattr(split, "_cut", fails_at_the_third)
        for counted in (0, *range(1, MAX_ATTEMPTS + 1)):  # the first one gets as far as that
            with pytest.raises(Unavailable):
                pipeline.go_on(message)
            assert attempts(pipeline) == counted
        pipeline.go_on(message)
    assert is_given_up(pipeline, upload_id)
    pipeline.redrive(upload_id)
    pipeline.go_on(message)
    ends_well(pipeline, upload_id)


def test_a_scan_that_is_out_of_time_again_and_again_spends_no_attempt(pipeline: Pipeline) -> None:
    upload_id, message = arrived(pipeline)
    turns = 0
    while message:
        with acting("split"):
            onward(split.file(message, deadline=0.0))
        turns += 1
        message = next(iter(pipeline.messages("intake")), {})
        assert attempts(pipeline) == 0 or not message
    assert turns > MAX_ATTEMPTS + 1
    ends_well(pipeline, upload_id)


def test_copies_of_a_message_that_come_while_a_splitter_is_at_work_spend_no_attempt(pipeline: Pipeline) -> None:
    upload_id, message = arrived(pipeline)
    upload, _ = opened(pipeline, message)
    assert upload is not None
    with (
        psycopg.connect(pipeline.url, autocommit=True) as other,
        locks.alone(other, locks.split(upload.number)) as is_held,
    ):
        assert is_held
        for _ in range(MAX_ATTEMPTS + 1):
            pipeline.go_on(message)
        assert attempts(pipeline) == 0
    pipeline.go_on(message)
    ends_well(pipeline, upload_id)


def test_a_copy_that_comes_just_as_the_scan_is_over_ends_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has seen the upload as it was, and the lock free."""
    upload_id, message = arrived(pipeline)
    before = opened(pipeline, message)
    pipeline.go_on(message)
    pipeline.sql("UPDATE rowmill.upload SET scan_attempts = %s", MAX_ATTEMPTS)  # its last attempt got through
    with monkeypatch.context() as patch:
        patch.setattr(split, "_open", lambda _: before)
        pipeline.go_on(message)
    ends_well(pipeline, upload_id)


def test_the_pass_that_loads_counts_its_own_attempts(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id, message = arrived(pipeline, validate_only=True)
    pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    pipeline.sql("UPDATE rowmill.upload SET scan_attempts = %s", MAX_ATTEMPTS)  # the last of the check's got through
    pipeline.confirm(upload_id)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "begin_splitting", raising(ZeroDivisionError, []))
        for attempt in range(1, MAX_ATTEMPTS + 1):
            with pytest.raises(Unavailable):
                pipeline.go_on(message)
            assert attempts(pipeline) == attempt
        pipeline.go_on(message)
    assert is_given_up(pipeline, upload_id)
    pipeline.redrive(upload_id)
    pipeline.go_on(message)
    ends_well(pipeline, upload_id)


SPENT_BEFORE_A_RESTART = (
    "UPDATE rowmill.upload SET scan_attempts = 4, scan_seen_at = pg_postmaster_start_time() - interval '1 second'"
)


@pytest.mark.parametrize("is_swept", [False, True], ids=["its message comes", "the sweep sends for it"])
def test_attempts_that_a_restart_of_postgres_cut_off_are_not_counted(pipeline: Pipeline, is_swept: bool) -> None:
    upload_id, message = arrived(pipeline)
    opened(pipeline, message)
    pipeline.sql(SPENT_BEFORE_A_RESTART)
    if is_swept:
        assert pipeline.sweep()["scans_restarted"] == 1
    pipeline.go_on(message)
    ends_well(pipeline, upload_id)


def test_a_message_that_was_given_up_is_worth_an_attempt_and_the_sweep_sends_another(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a queue that was throttled: its file is well."""
    upload_id, message = arrived(pipeline)
    with monkeypatch.context() as patch, pytest.raises(Unavailable):
        patch.setattr(planning, "plan", raising(ZeroDivisionError, []))
        pipeline.go_on(message)
    with acting("bury"):
        onward(mend.bury(message))
    assert (attempts(pipeline), state(pipeline)) == (2, "scanning")
    pipeline.messages("intake")
    pipeline.sql("UPDATE rowmill.upload SET scan_seen_at = scan_seen_at - interval '6 seconds'")
    assert pipeline.sweep()["scans_restarted"] == 1
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    ends_well(pipeline, upload_id)
