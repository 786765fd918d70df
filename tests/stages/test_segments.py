"""Large texts: others scan segments ahead. They may be killed, late, doubled, wrong or not there: the chunks are the same."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from chalicelib import ahead, mend, split
from chalicelib.chunking import Rule, Segments, Start, cut
from chalicelib.formats import Dialect
from chalicelib.postgres import connection, locks
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, onward
from tests.stages.test_journey_in_process import adds_up

ROWS = 600
NAMES = ('"Ann\nO""Hara, of Cork"', "Bo", '"Cy, senior"')
BODY = b"email,name,age\n" + b"".join(b"u%d@x.org,%s,%d\n" % (i, NAMES[i % 3].encode(), i) for i in range(ROWS))
SEGMENT = 2000


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWMILL_SEGMENT_BYTES", str(SEGMENT))
    monkeypatch.setenv("ROWMILL_CHUNK_POLICY", "0:500:1000")
    settings.cache_clear()


def interrupted(pipeline: Pipeline, body: bytes = BODY) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """An upload whose scan ran out of time after its first chunk: its id, what it asked others for, its own message."""
    pipeline.dataset()
    upload_id = pipeline.create(body)
    onward(split.file(pipeline.event(upload_id), 0.0))
    messages = pipeline.messages("intake")
    return upload_id, [one for one in messages if "segment" in one], next(x for x in messages if "segment" not in x)


def from_the_front(pipeline: Pipeline, upload_id: str, body: bytes = BODY) -> list[tuple[int, ...]]:
    plan = pipeline.sql("SELECT plan FROM rowmill.upload WHERE upload_id = %s", upload_id)[0]["plan"]
    first = plan["data_start"]
    segments = Segments(first, len(body), plan["segment_bytes"])
    rule = Rule(Dialect.from_options(plan["dialect"]), plan["chunk_bytes"], plan["chunk_records"], segments)
    chunks = cut([body[first:]], rule, Start(first, plan["first_line"]))
    return [(c.n, c.byte_start, c.byte_end, c.first_record, c.records, c.first_line) for c in chunks]


def in_the_manifest(pipeline: Pipeline, upload_id: str) -> list[tuple[int, ...]]:
    rows = pipeline.sql(
        "SELECT n, byte_start, byte_end, first_record, records, first_line FROM rowmill.chunk"
        " WHERE upload = (SELECT number FROM rowmill.upload WHERE upload_id = %s) ORDER BY n",
        upload_id,
    )
    return [tuple(row.values()) for row in rows]


def findings(pipeline: Pipeline) -> list[dict[str, Any]]:
    return pipeline.sql("SELECT * FROM rowmill.segment ORDER BY n, start")


def ends_well(pipeline: Pipeline, upload_id: str) -> None:
    """The scan is over, its chunks are those of a scan from the front, nothing is left of it; and all rows load."""
    chunks = in_the_manifest(pipeline, upload_id)
    assert chunks == from_the_front(pipeline, upload_id)
    assert len({start // SEGMENT for _, start, *_ in chunks}) > 5
    assert findings(pipeline) == []
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"]) == ("completed", ROWS)
    assert adds_up(upload)


def test_a_small_text_is_scanned_as_a_whole(pipeline: Pipeline) -> None:
    upload_id, _ = pipeline.begin(BODY[:SEGMENT])
    plan = pipeline.sql("SELECT plan FROM rowmill.upload WHERE upload_id = %s", upload_id)[0]["plan"]
    assert plan["segment_bytes"] is None
    assert pipeline.messages("intake") == []


def test_nobody_need_help(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    asked = [one["segment"] for one in pipeline.messages("intake")]
    assert asked == list(range(1, len(asked) + 1))  # each segment once, but for the first
    assert asked[-1] == (len(BODY) - 16) // SEGMENT
    ends_well(pipeline, upload_id)


def test_what_was_found_ahead_is_taken(pipeline: Pipeline) -> None:
    upload_id, asked, own = interrupted(pipeline)
    for message in asked + asked:
        assert split.file(message) is None
    assert [one["n"] for one in findings(pipeline)] == [one["segment"] for one in asked] == [1, 2]
    pipeline.sql("UPDATE rowmill.segment SET lines[1] = lines[1] + 7000 WHERE n = 1")  # to know it again
    pipeline.go_on(own)
    last = in_the_manifest(pipeline, upload_id)[-1]
    expected = from_the_front(pipeline, upload_id)[-1]
    assert (*last[:5], last[5] - 7000) == expected


def test_a_segment_that_is_scanned_ahead_begins_attempts_anew_and_once(pipeline: Pipeline) -> None:
    upload_id, asked, own = interrupted(pipeline)
    for expected in (0, 3):
        pipeline.sql("UPDATE rowmill.upload SET scan_attempts = 3")
        pipeline.go_on(asked[0])
        assert pipeline.sql("SELECT scan_attempts FROM rowmill.upload") == [{"scan_attempts": expected}]
    pipeline.go_on(own)
    ends_well(pipeline, upload_id)


def test_a_finding_that_begins_elsewhere_is_not_taken(pipeline: Pipeline) -> None:
    upload_id, asked, own = interrupted(pipeline)
    for message in asked:
        split.file(message)
    pipeline.sql("UPDATE rowmill.segment SET start = start + 1, ends[1] = ends[1] + 1, lines[2] = 7000")
    pipeline.go_on(own)
    chunks = in_the_manifest(pipeline, upload_id)
    assert [chunk[:4] for chunk in chunks] == [chunk[:4] for chunk in from_the_front(pipeline, upload_id)]


def test_a_scan_goes_on_in_the_midst_of_a_finding(pipeline: Pipeline) -> None:
    upload_id, asked, own = interrupted(pipeline)
    for message in asked:
        split.file(message)
    midst = findings(pipeline)[0]["ends"][1]
    while in_the_manifest(pipeline, upload_id)[-1][1] < midst:
        split.file(own, 0.0)  # a batch of chunks
    pipeline.go_on(own)
    pipeline.messages("intake")
    ends_well(pipeline, upload_id)


def test_messages_that_are_late_foreign_or_senseless_do_nothing(pipeline: Pipeline) -> None:
    upload_id, asked, own = interrupted(pipeline)
    here = {"tenant": pipeline.tenant, "upload_id": upload_id}
    for senseless in ({**here, "segment": 0}, {**here, "segment": -1}, {**here, "segment": 10**12}):
        split.file(senseless)
    split.file({"tenant": "ten_other", "upload_id": upload_id, "segment": 1})
    split.file({"tenant": pipeline.tenant, "upload_id": "upl_unknown", "segment": 1})
    assert findings(pipeline) == []
    pipeline.go_on(own)
    for late in asked:
        split.file(late)
    ends_well(pipeline, upload_id)


def test_a_message_that_is_given_up_ends_no_upload(pipeline: Pipeline) -> None:
    upload_id, asked, own = interrupted(pipeline)
    assert mend.bury(asked[0]) is None
    pipeline.go_on(own)
    ends_well(pipeline, upload_id)


def _number(pipeline: Pipeline, upload_id: str) -> int:
    return int(pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)[0]["number"])


def test_while_somebody_is_at_a_segment_the_next_are_scanned_and_when_he_dies_it_too(pipeline: Pipeline) -> None:
    upload_id, _, own = interrupted(pipeline)
    dying = psycopg.connect(pipeline.url, autocommit=True)
    dying.execute("SELECT pg_advisory_lock(%s)", locks.segment(_number(pipeline, upload_id), 1))

    def die_once_others_are_scanned() -> None:
        with psycopg.connect(pipeline.url, autocommit=True) as watching:
            while watching.execute("SELECT count(*) FROM rowmill.segment").fetchone() != (2,):
                pass
        dying.close()

    killer = threading.Thread(target=die_once_others_are_scanned)
    killer.start()
    pipeline.go_on(own)
    killer.join()
    ends_well(pipeline, upload_id)


def test_nobody_is_waited_for_without_end(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PATIENCE_SECONDS", 0.2)
    upload_id, _, own = interrupted(pipeline)
    with psycopg.connect(pipeline.url, autocommit=True) as hanging:
        for n in (1, 2, 3):
            hanging.execute("SELECT pg_advisory_lock(%s)", locks.segment(_number(pipeline, upload_id), n))
        pipeline.go_on(own)
        ends_well(pipeline, upload_id)


def test_two_splitters_at_once(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    over = threading.Event()

    def help_out() -> None:
        while not over.is_set():
            for message in pipeline.messages("intake"):
                split.file(message)
        connection.close()

    helper = threading.Thread(target=help_out)
    helper.start()
    pipeline.split(upload_id)
    over.set()
    helper.join()
    ends_well(pipeline, upload_id)


def test_a_segment_is_not_scanned_for_an_upload_that_has_ended(pipeline: Pipeline) -> None:
    upload_id, asked, own = interrupted(pipeline)
    split.file(asked[0])
    pipeline.cancel(upload_id)
    split.file(asked[1])
    assert [one["n"] for one in findings(pipeline)] == [1]
    other, _, own = interrupted(pipeline)  # the next large text's scan takes away what is left
    pipeline.go_on(own)
    ends_well(pipeline, other)


def test_a_record_that_is_too_large_fails_the_same_and_leaves_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWMILL_SEGMENT_BYTES", str(1 << 18))
    monkeypatch.setenv("ROWMILL_CHUNK_POLICY", "0:65536:100000")
    settings.cache_clear()
    body = BODY * 100 + b'u,"' + b"x,\n" * (17 << 20 >> 1)
    upload_id, asked, own = interrupted(pipeline, body)
    for message in asked:
        split.file(message)
    assert findings(pipeline)
    pipeline.go_on(own)
    error = pipeline.upload(upload_id)["error"]
    assert error["code"] == "record_too_large"
    line = BODY.count(b"\n") * 100 + 1
    assert f"begins at line {line}, byte {len(BODY) * 100}," in error["detail"]
    assert findings(pipeline) == []
