"""Uploads that are unlike those before them: told, or held until somebody confirms."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import table_rows
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from tests.stages.conftest import Pipeline, acting, cut_into
from tests.stages.test_review import loaded

ORDERS = {
    "fields": [
        {"name": "n", "type": "integer", "constraints": {"unique": True}},
        {"name": "land", "type": "string"},
        {"name": "day", "type": "date"},
    ]
}
_from = iter(range(0, 1_000_000, 200))


def orders(lands: str = "DE FR IT", day: str = "2026-11-%02d") -> bytes:
    """200 rows with numbers that no other file has; a land may be `-` for none."""
    start, names = next(_from), [name.strip("-") for name in lands.split()]
    rows = (f"{start + n},{names[n % len(names)]},{day % (1 + n % 28)}\n" for n in range(200))
    return ("n,land,day\n" + "".join(rows)).encode()


def ended(pipeline: Pipeline, body: bytes, **options: Any) -> dict[str, Any]:
    """The upload when all has been done that follows from its file."""
    upload_id = pipeline.run(body, "orders", **options)["id"]
    while messages := pipeline.messages("intake"):
        for message in messages:
            pipeline.go_on(message)
        pipeline.load(pipeline.messages())
        pipeline.settle()
    return pipeline.upload(upload_id)


def measures(upload: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["column"], one["measure"]) for one in upload["drift"]["differences"]]


def test_an_upload_like_those_before_loads_by_itself_and_another_waits_and_is_loaded_when_confirmed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 60)
    pipeline.dataset(ORDERS, "orders")
    first, second = (ended(pipeline, orders(), on_drift="hold") for _ in range(2))
    assert [(one["state"], one["loaded"], one["drift"]["compared_with"]) for one in (first, second)] == [
        ("completed", 200, 0),
        ("completed", 200, 1),
    ]
    assert measures(second) == []
    odd = ended(pipeline, orders("DE - - XX", "1926-11-%02d"), on_drift="hold")
    assert (odd["state"], odd["valid"], odd["loaded"]) == ("needs_review", 200, 0)
    assert odd["drift"] == {
        "compared_with": 2,
        "differences": [
            {"column": "land", "measure": "null_rate", "was": [0.0, 0.0], "is": 0.5},
            {"column": "land", "measure": "values", "was": 3, "is": 2, "new": ["XX"]},
            {
                "column": "day",
                "measure": "range",
                "was": ["2026-11-01", "2026-11-28"],
                "is": ["1926-11-01", "1926-11-28"],
            },
        ],
    }
    assert len(pipeline.rows("orders")) == 400
    confirmed = loaded(pipeline, odd["id"])
    assert (confirmed["state"], confirmed["loaded"], confirmed["drift"]) == ("completed", 200, odd["drift"])
    again = ended(pipeline, orders("DE - - XX", "1926-11-%02d"), on_drift="hold")
    assert (again["state"], measures(again)) == ("completed", [])  # somebody has said that this is right


def test_a_warning_is_told_and_the_upload_loads(pipeline: Pipeline) -> None:
    pipeline.dataset(ORDERS, "orders")
    ended(pipeline, orders(), on_drift="warn")
    odd = ended(pipeline, orders("-"), on_drift="warn")
    assert (odd["state"], odd["loaded"], measures(odd)) == ("completed", 200, [("land", "null_rate")])


def test_an_upload_that_is_unlike_in_very_many_and_long_values_is_shown_at_its_end(pipeline: Pipeline) -> None:
    """The status table takes no item above 400 KB: what is told of the values has its limits."""
    pipeline.dataset(ORDERS, "orders")
    ended(pipeline, orders(), on_drift="warn")
    long = [str(place) + "y" * 60_000 for place in range(10)]
    odd = ended(pipeline, orders(" ".join(long)), on_drift="warn")
    assert (odd["state"], odd["loaded"]) == ("completed", 200)
    (values,) = [one for one in odd["drift"]["differences"] if one["measure"] == "values"]
    assert values["new"] == [f"{value[:40]}…" for value in long]


def test_no_more_differences_are_told_than_the_status_table_holds(pipeline: Pipeline) -> None:
    names = [f"c{place}" for place in range(60)]
    pipeline.dataset({"fields": [{"name": name} for name in names]}, "wide")

    def rows(value: str) -> bytes:
        return "".join(",".join(line) + "\n" for line in [names, *([value] * len(names) for _ in range(200))]).encode()

    for value in ("old", "new"):
        upload_id = pipeline.create(rows(value), "wide", on_drift="warn")
        pipeline.split(upload_id)
        pipeline.load(pipeline.messages())
    odd = pipeline.upload(upload_id)
    assert (odd["state"], odd["loaded"]) == ("completed", 200)
    assert [one["column"] for one in odd["drift"]["differences"]] == names[:50]


def test_numbers_beyond_those_that_a_float_has_exactly_are_told(pipeline: Pipeline) -> None:
    """As JSON in Postgres they come back as integers: an upload that was unlike in them never ended."""
    pipeline.dataset({"fields": [{"name": "n", "type": "integer"}]}, "numbers")
    for numbers in ((10**18, 10**18), (5 * 10**18,)):
        upload_id = pipeline.create(("n\n" + "".join(f"{n}\n" for n in numbers)).encode(), "numbers", on_drift="warn")
        pipeline.split(upload_id)
        pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["drift"]["differences"]) == (
        "completed",
        [{"column": "n", "measure": "range", "was": [10**18, 10**18], "is": [5 * 10**18, 5 * 10**18]}],
    )


def test_a_check_that_somebody_looks_at_anyway_tells_it_then(pipeline: Pipeline) -> None:
    pipeline.dataset(ORDERS, "orders")
    ended(pipeline, orders(), on_drift="warn")
    odd = ended(pipeline, orders("-"), on_drift="warn", validate_only=True)
    assert (odd["state"], measures(odd)) == ("needs_review", [("land", "null_rate")])


def test_what_nobody_let_in_is_no_example_for_others(pipeline: Pipeline) -> None:
    pipeline.dataset(ORDERS, "orders")
    ended(pipeline, orders(), on_drift="hold")
    for _ in range(2):
        odd = ended(pipeline, orders("-"), on_drift="hold")
        assert (odd["state"], odd["drift"]["compared_with"]) == ("needs_review", 1)
        assert pipeline.cancel(odd["id"])["state"] == "canceled"


def test_a_chunk_that_comes_twice_counts_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 30)  # more chunks than are read at once
    pipeline.dataset(ORDERS, "orders")
    upload_id = pipeline.create(orders(), "orders", on_drift="warn")
    pipeline.split(upload_id)
    messages = pipeline.messages()
    pipeline.load([*messages[:2], *messages])
    assert pipeline.upload(upload_id)["state"] == "completed"
    (kept,) = pipeline.sql("SELECT profile FROM rowmill.upload WHERE upload_id = %s", upload_id)
    assert {column["name"]: column["rows"] for column in kept["profile"]} == {"n": 200, "land": 200, "day": 200}
    assert pipeline.sql("SELECT 1 FROM rowmill.profile") == []


def test_nothing_is_kept_of_an_upload_that_does_not_ask(pipeline: Pipeline) -> None:
    pipeline.dataset(ORDERS, "orders")
    upload = ended(pipeline, orders())
    assert upload["drift"] is None
    assert pipeline.sql("SELECT upload_id FROM rowmill.upload WHERE profile IS NOT NULL") == []


def test_a_field_that_came_later_has_nothing_to_be_compared_with(pipeline: Pipeline) -> None:
    pipeline.dataset({"fields": ORDERS["fields"][:2]}, "orders")
    ended(pipeline, b"n,land\n" + b"".join(b"%d,DE\n" % (900_000 + n) for n in range(200)), on_drift="hold")
    pipeline.dataset(ORDERS, "orders")
    upload = ended(pipeline, orders("DE"), on_drift="hold")
    assert (upload["state"], upload["drift"]["compared_with"]) == ("completed", 1)


def test_a_field_that_was_of_another_type_has_nothing_to_be_compared_with(pipeline: Pipeline) -> None:
    """An empty dataset takes any schema: so large a number is no day, and to tell it as one let no upload end."""
    pipeline.dataset({"fields": [ORDERS["fields"][0], {"name": "day", "type": "integer"}]}, "orders")
    ended(pipeline, b"n,day\n" + b"".join(b"%d,%d\n" % (n, 10**12) for n in range(5)), on_drift="hold")
    with acting("api"):
        for n in range(5):
            table_rows.remove(Addressed(pipeline.tenant, "orders", str(n)), None)
    pipeline.dataset(ORDERS, "orders")
    upload = ended(pipeline, orders(), on_drift="warn")
    assert (upload["state"], upload["drift"]["compared_with"], measures(upload)) == ("completed", 1, [("n", "range")])


def test_a_file_that_makes_its_dataset_has_nothing_to_be_unlike(pipeline: Pipeline) -> None:
    with pytest.raises(Refused) as refused:
        pipeline.create(orders(), "new", infer=True, on_drift="hold")
    assert (refused.value.status, refused.value.code) == (422, "body_invalid")
