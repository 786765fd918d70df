"""Files that take long, large or packed, leave a splitter to small ones and a place to other tenants."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import boto3
import psycopg
import pytest

from chalicelib import mend, seats, split
from chalicelib.aws import s3
from chalicelib.journey import MAX_ATTEMPTS
from chalicelib.postgres import locks, repair
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, acting, onward

ROWS = 3000
HEADER = b"email,name,age\n"
LARGE = HEADER + b"".join(b"u%d@x.org,Ann,%d\n" % (n, n) for n in range(ROWS))
SMALL = HEADER + b"ada@x.org,Ada,36\n"


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWMILL_SEGMENT_BYTES", "40000")
    monkeypatch.setenv("ROWMILL_CHUNK_POLICY", "0:10000:1000")
    settings.cache_clear()


@contextmanager
def held(pipeline: Pipeline, keys: Sequence[locks.Key]) -> Iterator[None]:
    """Other splitters have these."""
    with psycopg.connect(pipeline.url, autocommit=True) as other, ExitStack() as stack:
        assert all(stack.enter_context(locks.alone(other, key)) for key in keys)
        yield


def delayed() -> int:
    queue = boto3.client("sqs").get_queue_url(QueueName="rowmill-local-intake")["QueueUrl"]
    name = "ApproximateNumberOfMessagesDelayed"
    return int(boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=[name])["Attributes"][name])


def came(pipeline: Pipeline, body: bytes) -> tuple[str, dict[str, Any]]:
    """A file whose splitter was at it once: its id, and its message."""
    pipeline.dataset()
    upload_id = pipeline.create(body)
    onward(split.file(pipeline.event(upload_id)))
    pipeline.messages("intake")  # what it has asked others for
    return upload_id, {"tenant": pipeline.tenant, "upload_id": upload_id}


@pytest.mark.parametrize("body", [LARGE, gzip.compress(LARGE)], ids=["large", "packed"])
def test_while_three_splitters_are_at_such_files_the_next_is_put_off_and_goes_on_later(
    pipeline: Pipeline, body: bytes
) -> None:
    with held(pipeline, locks.seats(seats.AT_ONCE)):
        upload_id, message = came(pipeline, body)
        onward(split.file(message))
        assert (pipeline.upload(upload_id)["state"], delayed()) == ("scanning", 2)
        assert pipeline.sql("SELECT FROM rowmill.chunk") == []
        assert pipeline.sql("SELECT scan_attempts FROM rowmill.upload") == [{"scan_attempts": 0}]
    pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    assert (pipeline.upload(upload_id)["state"], pipeline.upload(upload_id)["loaded"]) == ("completed", ROWS)


@pytest.mark.parametrize("body", [SMALL, gzip.compress(SMALL)], ids=["text", "packed"])
def test_a_small_file_needs_no_seat(pipeline: Pipeline, body: bytes) -> None:
    with held(pipeline, locks.seats(seats.AT_ONCE)):
        upload_id, _ = came(pipeline, body)
        pipeline.load(pipeline.messages())
    assert (pipeline.upload(upload_id)["state"], delayed()) == ("completed", 0)


def test_a_file_that_is_replaced_before_its_splitter_comes_back_is_refused_by_name(pipeline: Pipeline) -> None:
    """It looks at the first bytes for whether the file needs a seat."""
    pipeline.dataset()
    upload_id = pipeline.create(SMALL * 10)
    message = {"tenant": pipeline.tenant, "upload_id": upload_id}
    split._open(s3.arrivals(message)[0])  # and is killed
    key = f"uploads/{pipeline.tenant}/{upload_id}/source"
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=SMALL * 11)
    pipeline.go_on(message)
    assert pipeline.upload(upload_id)["error"]["code"] == "object_replaced"


def test_a_tenant_takes_no_more_than_two_seats_of_three(pipeline: Pipeline) -> None:
    with held(pipeline, locks.seats_of(pipeline.tenant, seats.OF_A_TENANT)):
        _, message = came(pipeline, LARGE)
        assert pipeline.sql("SELECT state FROM rowmill.upload") == [{"state": "scanning"}]
    with held(pipeline, locks.seats_of("ten_somebody_else", seats.OF_A_TENANT)):
        pipeline.go_on(message)
        assert pipeline.sql("SELECT state FROM rowmill.upload") == [{"state": "queued"}]


def test_a_seat_is_given_back(pipeline: Pipeline) -> None:
    for body in (LARGE, b"\x1f\x8b" + bytes(40000)):  # one that loads, one that is refused
        came(pipeline, body)
        with held(pipeline, [*locks.seats(seats.AT_ONCE), *locks.seats_of(pipeline.tenant, seats.OF_A_TENANT)]):
            pass


def test_the_sweep_sends_no_second_message_for_a_file_that_was_put_off(pipeline: Pipeline) -> None:
    with held(pipeline, locks.seats(seats.AT_ONCE)):
        upload_id, message = came(pipeline, LARGE)
        earlier = "UPDATE rowmill.upload SET scan_seen_at = scan_seen_at - make_interval(secs => %s)"
        split.file(message)
        pipeline.sql(earlier, seats.WAIT_SECONDS + seats.LATE_SECONDS)
        assert repair.take_stalled_scans(connection()) == []
        pipeline.sql(earlier, 3600)  # as if it had not come for an hour
        assert repair.take_stalled_scans(connection()) == [(pipeline.tenant, upload_id)]


def test_a_repeat_that_was_given_up_ends_no_file_that_waits_for_a_seat(pipeline: Pipeline) -> None:
    """Only one that no splitter comes to any more."""
    with held(pipeline, locks.seats(seats.AT_ONCE)):
        upload_id, message = came(pipeline, LARGE)
        with acting("bury"):
            for _ in range(MAX_ATTEMPTS):
                onward(mend.bury(pipeline.event(upload_id)))
        assert pipeline.upload(upload_id)["state"] == "scanning"
    pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"
    with held(pipeline, locks.seats(seats.AT_ONCE)):
        late, _ = came(pipeline, LARGE)
        pipeline.sql("UPDATE rowmill.upload SET scan_seen_at = scan_seen_at - interval '1 minute'")
        for _ in range(MAX_ATTEMPTS):
            onward(mend.bury(pipeline.event(late)))
        assert pipeline.upload(late)["error"]["code"] == "split_failed"


def test_a_repeat_that_was_given_up_ends_no_scan_that_goes_on_with_its_next_message(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(LARGE)
    with acting("split"):
        onward(split.file(pipeline.event(upload_id), 0.0))  # out of time after its first chunks
    for _ in range(MAX_ATTEMPTS):
        onward(mend.bury(pipeline.event(upload_id)))
    assert pipeline.sql("SELECT state FROM rowmill.upload") == [{"state": "splitting"}]
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"


def test_who_scans_ahead_takes_a_seat_or_leaves_it(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(LARGE * 5)
    onward(split.file(pipeline.event(upload_id), 0.0))
    asked = [one for one in pipeline.messages("intake") if "segment" in one]
    with held(pipeline, locks.seats(seats.AT_ONCE)):
        split.file(asked[0])
        assert pipeline.sql("SELECT FROM rowmill.segment") == []
    split.file(asked[0])
    assert len(pipeline.sql("SELECT FROM rowmill.segment")) == 1
