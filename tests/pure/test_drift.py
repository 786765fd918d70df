"""What columns are like: both ways to find it agree, chunks add up, and only what matters is called a difference."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import drift
from chalicelib.cells import Field
from chalicelib.drift import Column
from chalicelib.rows import exact, vectors

TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "é", "x" * 40, "\U0001f600"]), st.text(max_size=5))
CELLS: dict[Any, st.SearchStrategy[str | None]] = {
    "string": TEXTS,
    "integer": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1).map(str), st.just("+7")),
    "number": st.one_of(st.none(), st.sampled_from(["1.5", "-0", "1e300", "NaN", "INF", "-1000.25"])),
    "date": st.one_of(st.none(), st.dates().map(str)),
    "datetime": st.one_of(st.none(), st.datetimes().map(lambda moment: moment.isoformat() + "+00")),
    "boolean": st.sampled_from([None, "true", "false"]),
}


def told(column: Column) -> tuple[Any, ...]:
    """All but the hashes, which are of two kinds."""
    return (column.rows, column.nulls, column.low, column.high, column.values, len(column.hashes), column.null_rate)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(CELLS)).flatmap(lambda kind: st.tuples(st.just(kind), st.lists(CELLS[kind]))))
def test_both_ways_find_the_same(of: tuple[Any, list[str | None]]) -> None:
    kind, cells = of
    field = Field("c", kind)
    assert told(vectors.profile(cells, field)) == told(exact.profile(cells, field))


@pytest.mark.parametrize("way", [exact.profile, vectors.profile])
@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=300), st.integers(1, 5))
def test_chunks_add_up_to_the_whole(way: Any, numbers: list[int], parts: int) -> None:
    cells = [str(number) if number % 7 else None for number in numbers]
    field = Field("c", "integer")
    chunks = [[way(cells[part::parts], field)] for part in range(parts)]
    whole = way(cells, field)
    assert drift.added(chunks) == [whole]
    assert drift.from_json(drift.as_json([whole])) == [whole]


@pytest.mark.parametrize("way", [exact.profile, vectors.profile])
@pytest.mark.parametrize("many", [40, 200, 5_000, 60_000])
def test_how_many_values_are_different_is_off_by_a_fifth_at_most(way: Any, many: int) -> None:
    column = way([f"value {n % many}" for n in range(2 * many)], Field("c", "string"))
    assert 0.8 * many < column.distinct < 1.2 * many


def of(kind: Any, cells: list[str | None]) -> tuple[Field, Column]:
    field = Field("c", kind)
    return field, exact.profile(cells, field)


def unlike(kind: Any, before: list[list[str | None]], now: list[str | None]) -> list[tuple[str, Any, Any]]:
    field, column = of(kind, now)
    known = [{"c": of(kind, cells)[1]} for cells in before]
    return [(one["measure"], one["was"], one["is"]) for one in drift.differences([field], [column], known)]


def some(count: int, *values: str | None) -> list[str | None]:
    return [values[n % len(values)] for n in range(count)]


NUMBERS = [str(n) for n in range(1000)]


@pytest.mark.parametrize(
    ("kind", "before", "now", "expected"),
    [
        ("string", [some(1000, "a", "b", None)], some(900, None), [("null_rate", [0.333, 0.333], 1.0)]),
        ("string", [some(1000, "a", "b")], some(1000, "a", "b", *["a"] * 7, None), [("null_rate", [0.0, 0.0], 0.1)]),
        ("string", [some(1000, "DE", "FR")], some(500, "DE", "XX"), [("values", 2, 2)]),
        ("integer", [NUMBERS], [str(100 * n) for n in range(1000)], [("range", [0, 999], [0, 99900])]),
        (
            "date",
            [some(400, "2024-01-01", "2024-12-31")],
            some(40, "0024-05-01"),
            [("range", ["2024-01-01", "2024-12-31"], ["0024-05-01", "0024-05-01"])],
        ),
        (
            "string",
            [[f"name {n}" for n in range(500)]],
            ["x" * 90, *(f"name {n}" for n in range(99))],
            [("length", [6, 8], [6, 90])],
        ),
        ("integer", [NUMBERS], some(1000, *NUMBERS[:60]), [("distinct", "each value once", "60 in 1000 rows")]),
    ],
)
def test_what_matters_is_told(kind: Any, before: Any, now: Any, expected: list[Any]) -> None:
    assert unlike(kind, before, now) == expected


@pytest.mark.parametrize(
    ("kind", "before", "now"),
    [
        ("string", [], some(1000, None)),  # nothing is known
        ("string", [some(1000, "a", "b")], [None]),  # one row proves nothing
        ("string", [some(100, "a", None), some(100, "a")], some(100, "a", None, "a")),  # it has varied as much before
        ("integer", [NUMBERS], [str(n) for n in range(1000, 2000)]),  # numbers go on
        ("date", [some(400, "2024-01-01", "2024-01-31")], some(40, "2024-02-01", "2024-01-31")),
        ("string", [some(30, *"abcdefghij")], some(30, "k")),  # too few rows to know all values
        ("string", [[f"name {n}" for n in range(500)]], [f"other {n}" for n in range(500)]),
    ],
)
def test_what_may_be_is_not(kind: Any, before: Any, now: Any) -> None:
    assert unlike(kind, before, now) == []


def test_a_file_that_is_like_those_before_has_no_difference_but_in_few_cases() -> None:
    told = 0
    for seed in range(60):
        dice = random.Random(seed)
        files = [
            [None if dice.random() < 0.1 else f"{dice.choice('abcdefgh')}{dice.choice('xyz')}" for _ in range(2000)]
            for _ in range(4)
        ]
        told += len(unlike("string", files[1:], files[0]))
    assert told == 0
