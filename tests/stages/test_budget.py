"""Uploads that may have so many bad rows and no more: all of the good ones load, or none."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import settle
from chalicelib.errors import Refused
from chalicelib.postgres import connection
from tests.stages.conftest import Pipeline, cut_into
from tests.stages.test_journey_in_process import adds_up

# Two of eight rows are bad: one by itself, one because it repeats a key.
BODY = b"email,name,age\n" + b"".join(b"u%d@x.org,U,%d\n" % (n, n) for n in range(6)) + b",Bad,7\nu0@x.org,Twice,8\n"


def through(pipeline: Pipeline, body: bytes = BODY, **options: Any) -> dict[str, Any]:
    """Both passes, as far as they go."""
    upload = pipeline.run(body, **options)
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    return pipeline.upload(upload["id"])


@pytest.mark.parametrize(
    "budget", [{"max_errors": 2}, {"max_error_percent": 25}, {"max_errors": 2, "max_error_percent": 99.5}]
)
def test_a_file_within_its_budget_loads_what_is_good(
    pipeline: Pipeline, budget: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    upload = through(pipeline, **budget)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 6, 2)
    assert adds_up(upload)
    assert {name: upload["options"][name] for name in budget} == budget
    assert [one["row"] for one in pipeline.rejects(upload["id"])] == [7, 8]


@pytest.mark.parametrize(
    "budget",
    [{"max_errors": 1}, {"max_error_percent": 24.9}, {"max_errors": 0}, {"validate_only": True, "max_errors": 0}],
)
def test_a_file_above_its_budget_loads_nothing(
    pipeline: Pipeline, budget: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    upload = through(pipeline, **budget)
    assert (upload["state"], upload["error"]["code"], upload["loaded"]) == ("failed", "too_many_errors", 0)
    assert adds_up(upload)
    assert upload["rejected"] == len(pipeline.rejects(upload["id"])) > 0
    assert pipeline.rows() == []
    with pytest.raises(Refused):
        pipeline.redrive(upload["id"])


def test_a_check_stops_as_soon_as_there_are_too_many(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset()
    upload_id = pipeline.create(b"email,name,age\n" + b",Bad,1\n" * 6, max_errors=1)
    pipeline.split(upload_id)
    first, *others = pipeline.messages()
    pipeline.load([first])
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["rejected"], upload["unprocessed"]) == ("failed", 2, 4)
    pipeline.load(others)
    assert pipeline.upload(upload_id) == upload


def test_an_end_that_is_drawn_while_settling_finds_too_many_loads_nothing(pipeline: Pipeline) -> None:
    """A worker that looked at the budget before the repeats were settled draws the end after it."""
    pipeline.dataset()
    upload_id = pipeline.create(BODY, max_errors=1)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    (message,) = pipeline.messages("settle")
    settle.contested(message)
    settle._end(connection.connection(), message["upload"])
    assert pipeline.messages("intake") == []
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"], upload["rejected"]) == ("failed", "too_many_errors", 2)


def test_a_wish_to_cancel_that_comes_at_the_end_of_the_check_is_heard(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY, max_errors=9)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    (message,) = pipeline.messages("settle")
    settle.contested(message)
    pipeline.sql("INSERT INTO rowmill.cancel (upload_id) VALUES (%s)", upload_id)
    settle._end(connection.connection(), message["upload"])
    assert pipeline.messages("intake") == []
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["rejected"], upload["unprocessed"]) == ("canceled", 2, 6)
    assert pipeline.rows() == []


@pytest.mark.parametrize(
    "option", [{"max_errors": -1}, {"max_errors": True}, {"max_errors": "3"}, {"max_error_percent": 101}]
)
def test_a_budget_that_is_none_is_refused(pipeline: Pipeline, option: dict[str, Any]) -> None:
    pipeline.dataset()
    with pytest.raises(Refused):
        pipeline.create(BODY, **option)
