"""What the status says of the time that is left, on real chunks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib import report
from tests.stages.conftest import CONTACTS, Pipeline, cut_into

SIXTY = b"email,name,age\n" + b"".join(b"a%02d@x.org,Ada,36\n" % n for n in range(60))


def shown(pipeline: Pipeline, upload_id: str) -> dict[str, Any]:
    """The status now, however lately it was last shown."""
    rows = pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)
    report.show(rows[0]["number"])
    return pipeline.upload(upload_id)


def test_an_upload_says_when_it_may_be_over_from_its_first_chunk_until_it_is(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 10)
    upload_id, messages = pipeline.begin(SIXTY)
    waiting = shown(pipeline, upload_id)
    assert (waiting["eta"], waiting["rate"], waiting["queued_before"]) == (None, None, 0), "nothing is known yet"
    pipeline.load(messages[:2])
    asked_at = datetime.now(UTC)
    going = shown(pipeline, upload_id)
    p50, p90 = (datetime.fromisoformat(going["eta"][name]) for name in ("p50_at", "p90_at"))
    assert asked_at.replace(microsecond=0) <= p50 < p90
    assert going["rate"]["rows_per_s"] > 0
    assert going["rate"]["bytes_per_s"] > 0
    assert going["queued_before"] is None
    pipeline.load(messages[2:])
    over = pipeline.upload(upload_id)
    assert (over["state"], over["eta"], over["rate"], over["queued_before"]) == ("completed", None, None, None)


def test_an_upload_that_waits_is_told_what_waits_before_it_and_when_it_may_be_over_by_the_pace_of_its_tier(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 10)
    pipeline.dataset()
    pipeline.dataset(CONTACTS, "others")
    first = pipeline.create(SIXTY)
    pipeline.split(first)
    messages = pipeline.messages()
    pipeline.load(messages[:2])
    pipeline.sql(
        """
        UPDATE rowmill.chunk SET sent_at = now() - interval '20 s',
            started_at = now() - make_interval(secs => 10 * (3 - n)), finished_at = now() - make_interval(secs => 10 * (2 - n))
        WHERE state = 'loaded'
        """
    )
    second = pipeline.create(SIXTY, "others")
    pipeline.split(second)
    waiting = shown(pipeline, second)
    assert (waiting["queued_before"], waiting["rate"]) == (4, None)
    left = (datetime.fromisoformat(waiting["eta"]["p50_at"]) - datetime.now(UTC)).total_seconds()
    assert 80 < left < 120, "four chunks of another upload and six of its own, ten seconds each"


def test_a_small_file_that_is_next_is_shown_at_its_end_one_that_waits_before_and_the_sweep_shows_both(
    pipeline: Pipeline,
) -> None:
    pipeline.dataset()
    pipeline.dataset(CONTACTS, "others")
    first, second = pipeline.create(SIXTY), pipeline.create(SIXTY, "others")
    pipeline.split(first)
    pipeline.split(second)
    assert [pipeline.upload(each)["state"] for each in (first, second)] == ["uploaded", "queued"]
    pipeline.sweep()
    assert pipeline.upload(first)["state"] == "queued"
    pipeline.load(pipeline.messages())
    assert [pipeline.upload(each)["state"] for each in (first, second)] == ["completed", "completed"]
