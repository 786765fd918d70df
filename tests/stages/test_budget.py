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


@pytest.mark.parametrize(
    "budget", [{"max_errors": 2}, {"max_error_percent": 25}, {"max_errors": 2, "max_error_percent": 99.5}]
)
def test_a_file_within_its_budget_loads_what_is_good(
    pipeline: Pipeline, budget: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    upload = pipeline.run(BODY, **budget)
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
    upload = pipeline.run(BODY, **budget)
    assert (upload["state"], upload["error"]["code"], upload["loaded"]) == ("failed", "too_many_errors", 0)
    assert adds_up(upload)
    assert upload["rejected"] == len(pipeline.rejects(upload["id"])) > 0
    assert pipeline.rows() == []
    with pytest.raises(Refused):
        pipeline.redrive(upload["id"])


def test_an_upload_stops_as_soon_as_there_are_too_many(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_one_that_is_to_abort_is_read_to_its_end(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\n" + b",Bad,1\n" * 6 + b"a@x.org,Good,1\n", max_errors=1, on_error="abort")
    assert (upload["state"], upload["error"]["code"]) == ("failed", "too_many_errors")
    assert (upload["rejected"], upload["unprocessed"], len(pipeline.rejects(upload["id"]))) == (6, 1, 6)


def test_the_budget_of_a_check_ends_it_before_anybody_looks(pipeline: Pipeline) -> None:
    """A worker that looked at the budget before the repeats were settled draws the end after it."""
    pipeline.dataset()
    upload_id = pipeline.create(BODY, max_errors=1, validate_only=True)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    (message,) = pipeline.messages("settle")
    settle.contested(message)
    settle._end(connection.connection(), message["upload"])
    assert pipeline.messages("intake") == []
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"], upload["rejected"]) == ("failed", "too_many_errors", 2)


def test_a_key_that_another_upload_takes_after_the_check_counts(pipeline: Pipeline) -> None:
    """The budget holds of what loads, whenever it is found."""
    pipeline.dataset()
    upload = pipeline.run(BODY, max_errors=2, validate_only=True)
    assert (upload["state"], upload["valid"], upload["rejected"]) == ("needs_review", 6, 2)
    pipeline.run(b"email,name,age\nu3@x.org,First,1\n")
    pipeline.confirm(upload["id"])
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    upload = pipeline.upload(upload["id"])
    assert (upload["state"], upload["error"]["code"], upload["rejected"]) == ("failed", "too_many_errors", 3)
    assert [row["name"] for row in pipeline.rows()] == ["First"]


def test_a_wish_to_cancel_that_comes_before_the_publication_is_heard(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY, max_errors=9)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    (message,) = pipeline.messages("settle")
    pipeline.sql("INSERT INTO rowmill.cancel (upload_id) VALUES (%s)", upload_id)
    settle.contested(message)
    assert pipeline.messages("intake") == []
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["rejected"], upload["unprocessed"]) == ("canceled", 1, 7)
    assert pipeline.rows() == []


@pytest.mark.parametrize(
    "option", [{"max_errors": -1}, {"max_errors": True}, {"max_errors": "3"}, {"max_error_percent": 101}]
)
def test_a_budget_that_is_none_is_refused(pipeline: Pipeline, option: dict[str, Any]) -> None:
    pipeline.dataset()
    with pytest.raises(Refused):
        pipeline.create(BODY, **option)
