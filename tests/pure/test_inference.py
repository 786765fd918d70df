"""Types are found from all values, in any order of chunks, and what is found the checker takes."""

from __future__ import annotations

import functools
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.cells import Conventions
from chalicelib.checking import check
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused
from chalicelib.inference import ALL, column_names, descriptor, guess

SPELLINGS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.booleans().map(str),
    st.sampled_from(["true", "FALSE", "0", "1", "NaN", "INF", "+1", "007", "-05", "0.5", "1e5", ".5", "5."]),
    st.dates().map(str),
    st.datetimes(timezones=st.sampled_from([None])).map(lambda moment: moment.isoformat()),
    st.text(max_size=5),
)
CELLS = st.one_of(st.just(""), SPELLINGS)
COLUMN = st.one_of(st.lists(CELLS, max_size=12), SPELLINGS.flatmap(lambda one: st.lists(st.sampled_from([one, ""]))))


def inferred(cells: list[str]) -> dict[str, Any]:
    (field,) = descriptor(["c"], found([cells]))["fields"]
    return field


def found(chunks: list[list[str]]) -> list[int]:
    guesses = [guess([[cell or None for cell in cells]])[0] for cells in chunks]
    return [functools.reduce(operator.and_, guesses, ALL)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-20", "0"], "integer"),
        (["0", "1", "1"], "integer"),
        (["true", "False"], "boolean"),
        (["true", "1"], "string"),
        (["1", "2.5", "1e3"], "number"),
        (["9223372036854775808"], "number"),
        (["2024-02-29"], "date"),
        (["2023-02-29"], "string"),
        (["2024-02-29T10:00:00Z", "2024-02-29 10:00:00"], "datetime"),
        (["2024-02-29", "2024-02-29T10:00:00Z"], "string"),
        (["1", "007"], "string"),
        (["01234"], "string"),
        (["1E5", "12E3"], "string"),
        (["1E+05", "1.5E5", "2e21"], "number"),
        (["0.5", "0"], "number"),
        (["+4930123456"], "string"),
        (["030 123456"], "string"),
        (["1", "x"], "string"),
        ([""], "string"),
        ([], "string"),
    ],
)
def test_the_narrowest_type_that_all_values_fit(cells: list[str], expected: str) -> None:
    assert inferred(cells)["type"] == expected


@pytest.mark.parametrize(("cells", "expected"), [([" 01067", "80331 "], "string"), ([" 1", "0 "], "integer")])
def test_blanks_that_are_trimmed_hide_no_code_and_no_count(cells: list[str], expected: str) -> None:
    (field,) = descriptor(["c"], guess([cells], Conventions(trim="values")))["fields"]
    assert field["type"] == expected


@pytest.mark.parametrize("gap", ["  ", " NA "])
def test_what_is_no_value_once_it_is_trimmed_is_none_of_a_column_that_needs_one(gap: str) -> None:
    """Texts are not trimmed, so while every column is read as text such a cell is a value."""
    spelling, cells = Conventions(trim="values", null_values=("", "NA")), ["1", gap, "2"]
    schema = read_schema(descriptor(["c"], guess([cells], spelling)))
    assert not check([[cell] for cell in cells], schema, [0], 1, spelling).bad


def test_a_column_without_a_gap_is_required_and_one_with_a_gap_is_not() -> None:
    assert inferred(["1", "2"]) == {"name": "c", "type": "integer", "constraints": {"required": True}}
    assert inferred(["1", ""]) == {"name": "c", "type": "integer"}
    assert inferred(["", ""]) == {"name": "c", "type": "string"}


@given(COLUMN)
def test_what_is_inferred_the_checker_takes(cells: list[str]) -> None:
    readable = [cell for cell in cells if "\0" not in cell and cell.isprintable()]
    schema = read_schema(descriptor(["c"], found([readable])))
    assert not check([[cell] for cell in readable], schema, [0], 1).bad


@given(COLUMN, st.randoms(), st.integers(1, 5))
def test_no_order_of_chunks_and_no_cuts_change_what_is_found(cells: list[str], rng: Any, size: int) -> None:
    shuffled = rng.sample(cells, len(cells))
    chunks = [shuffled[first : first + size] for first in range(0, len(cells), size)]
    assert found(chunks) == found([cells])


@given(COLUMN)
def test_one_letter_makes_it_text(cells: list[str]) -> None:
    assert inferred([*cells, "x"])["type"] == "string"


def test_columns_are_named_by_the_header_or_by_their_place() -> None:
    assert column_names(["\ufeffa ", "B"], []) == ["a", "B"]
    assert column_names([], [["1", "2", "3"]]) == ["column_1", "column_2", "column_3"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (["a", ""], "column_unnamed"),
        (["a", " "], "column_unnamed"),
        (["a", "a"], "column_name_invalid"),
        (["a", "ä" * 32], "column_name_invalid"),
        (["_row"], "column_name_invalid"),
        (["a"] * 501, "columns_too_many"),
    ],
)
def test_a_header_that_no_table_can_have_is_refused(header: list[str], code: str) -> None:
    with pytest.raises(Refused) as caught:
        column_names(header, [header])
    assert caught.value.code == code
