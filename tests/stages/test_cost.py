"""The cost line of the status, beside what is really asked of AWS."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from chalicelib.aws import client
from tests.stages.conftest import Pipeline, cut_into

SIXTY = b"email,name,age\n" + b"".join(b"a%02d@x.org,Ada,36\n" % n for n in range(60))


def counting(*services: str) -> Counter[str]:
    """What the stages ask of these services from now on, by operation."""
    asked: Counter[str] = Counter()

    def note(model: Any, **_: Any) -> None:
        asked[model.name] += 1

    for service in services:
        client(service).meta.events.register(f"before-call.{service}", note)
    return asked


@pytest.mark.usefixtures("own_clients")
def test_requests_by_formula_are_those_that_were_made(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 5)
    pipeline.dataset()
    upload_id = pipeline.create(SIXTY)
    asked = counting("s3", "sqs", "dynamodb")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    told = pipeline.upload(upload_id)["cost"]["requests"]
    assert told["lambda"] == 1 + 12
    # The client's own PUT; S3's message and ours, each received and deleted by the clock of AWS, not by a stage.
    assert told["s3"] == 1 + asked["GetObject"]
    assert told["sqs"] == 3 + (asked["SendMessageBatch"] - 1) + 2 * 12  # the one is to tell people, and not in it
    assert told["dynamodb_units"] >= asked["UpdateItem"]


def test_an_upload_that_is_paused_before_it_is_settled_costs_nothing_meanwhile(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(SIXTY + b"a00@x.org,Eve,36\n")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.pause(upload_id)["state"] == "paused"
    week = "interval '7 days'"
    pipeline.sql(f"UPDATE rowmill.chunk SET started_at = started_at - {week}, finished_at = finished_at - {week}")
    pipeline.resume(upload_id)
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["rejected"]) == ("completed_with_errors", 1)
    assert upload["cost"]["usd"] < 0.01  # 2.52 for a week of a function that nobody ran


def test_the_cost_is_told_per_function_and_per_million_rows_and_adds_both_passes_up(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 30)
    pipeline.dataset()
    checked = pipeline.run(SIXTY, validate_only=True)
    before = checked["cost"]
    assert before["gb_seconds"]["load"] > 0
    assert before["usd_per_million_rows"] == pytest.approx(before["usd"] * 1e6 / 60, rel=0.01)
    pipeline.confirm(checked["id"])
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    after = pipeline.upload(checked["id"])
    assert after["state"] == "completed"
    assert after["cost"]["requests"]["lambda"] == 2 + 4
    assert after["cost"]["usd"] > before["usd"]
    assert after["cost"]["gb_seconds"]["load"] > before["gb_seconds"]["load"]
    assert after["cost"]["bytes"] == {"stored": len(SIXTY), "read": len(SIXTY) + 2 * (len(SIXTY) - 15)}
