"""Each record is good or bad and never both; one grammar a type; an error names its column and its reason."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.checking import MAX_QUOTED, Checked, check, quoted
from chalicelib.datasets import FieldType, Schema, read_schema

SCHEMA = read_schema(
    {
        "fields": [
            {"name": "id", "type": "integer", "constraints": {"required": True}},
            {"name": "name"},
            {"name": "price", "type": "number"},
            {"name": "sold", "type": "date"},
        ]
    }
)
IN_ORDER = [0, 1, 2, 3]
CELLS = st.sampled_from(["", "1", "2", "x", "1.5", "2024-01-05", "2024-02-30", "a\0b", "\udcff", "é", "٣"])
ROWS = st.lists(st.lists(CELLS, min_size=3, max_size=5) | st.lists(CELLS, min_size=4, max_size=4), max_size=12)


def schema_of(kind: str, **more: Any) -> Schema:
    return read_schema({"fields": [{"name": "cell", "type": kind, **more}]})


def one(cell: str, schema: Schema) -> Checked:
    return check([[cell]], schema, [0], 1)


def passes(cell: str, kind: str) -> bool:
    return not one(cell, schema_of(kind)).bad


def told(checked: Checked) -> dict[int, list[tuple[str | None, str]]]:
    return {place: [(error.column, error.code) for error in errors] for place, errors in checked.bad.items()}


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_every_record_is_good_or_bad_and_never_both(rows: list[list[str]]) -> None:
    checked = check(rows, SCHEMA, IN_ORDER, 4)
    assert sorted([*checked.places, *checked.bad]) == list(range(len(rows)))
    assert list(checked.places) == sorted(checked.places)
    assert len(checked.columns) == len(SCHEMA.fields)
    assert {len(column) for column in checked.columns} == {len(checked.places)}
    assert all(checked.bad.values())


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_a_record_fares_alone_as_it_does_among_others(rows: list[list[str]]) -> None:
    together = check(rows, SCHEMA, IN_ORDER, 4)
    for place, row in enumerate(rows):
        alone = check([row], SCHEMA, IN_ORDER, 4)
        assert alone.bad.get(0) == together.bad.get(place)
        if not alone.bad:
            good = list(together.places).index(place)
            assert [column[0] for column in alone.columns] == [column[good] for column in together.columns]


@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=8), st.permutations(IN_ORDER))
@settings(max_examples=200, deadline=None)
def test_the_order_of_the_file_s_columns_does_not_matter(rows: list[list[str]], order: list[int]) -> None:
    plain = check(rows, SCHEMA, IN_ORDER, 4)
    moved = check([[row[place] for place in order] for row in rows], SCHEMA, [order.index(n) for n in IN_ORDER], 4)
    assert moved == plain


def test_a_column_of_good_values_is_handed_on_as_it_is() -> None:
    checked = check([["1", "a", "1.50", "2024-01-05"], ["2", "", "", ""]], SCHEMA, IN_ORDER, 4)
    assert [list(column) for column in checked.columns] == [
        ["1", "2"],
        ["a", None],
        ["1.50", None],
        ["2024-01-05", None],
    ]
    assert (list(checked.places), checked.bad) == ([0, 1], {})


def test_no_records_are_empty_columns() -> None:
    checked = check([], SCHEMA, IN_ORDER, 4)
    assert ([list(column) for column in checked.columns], list(checked.places), checked.bad) == ([[]] * 4, [], {})


def test_a_record_has_every_error_of_its_cells_in_column_order() -> None:
    checked = check([["", "a\0b", "x", "2024-02-30"], ["1", "ok", "1", "2024-02-29"]], SCHEMA, IN_ORDER, 4)
    assert told(checked) == {
        0: [
            ("id", "required_missing"),
            ("name", "encoding_invalid"),
            ("price", "type_invalid"),
            ("sold", "type_invalid"),
        ]
    }
    assert (checked.columns, checked.places) == ([["1"], ["ok"], ["1"], ["2024-02-29"]], [1])


def test_a_ragged_record_is_told_by_its_width_alone() -> None:
    checked = check([["x"], ["1", "a", "1", "2024-01-05"], ["x", "", "", "", ""]], SCHEMA, IN_ORDER, 4)
    assert told(checked) == {0: [(None, "width_mismatch")], 2: [(None, "width_mismatch")]}
    assert [error.detail for errors in checked.bad.values() for error in errors] == [
        "1 cells where the header has 4",
        "5 cells where the header has 4",
    ]
    assert list(checked.places) == [1]


def test_only_the_declared_spellings_are_missing() -> None:
    descriptor = {"fields": [{"name": "a", "type": "integer"}], "missingValues": ["NA", "-"]}
    checked = check([["NA"], ["-"], ["1"], [""], ["na"]], read_schema(descriptor), [0], 1)
    assert (list(checked.columns[0]), told(checked)) == (
        [None, None, "1"],
        {3: [("a", "type_invalid")], 4: [("a", "type_invalid")]},
    )


def test_without_missing_values_an_empty_text_is_a_text() -> None:
    schema = read_schema({"fields": [{"name": "a", "constraints": {"required": True}}], "missingValues": []})
    checked = check([[""]], schema, [0], 1)
    assert (list(checked.columns[0]), checked.bad) == ([""], {})


def test_a_field_of_the_primary_key_is_required() -> None:
    schema = read_schema({"fields": [{"name": "a"}], "primaryKey": "a"})
    assert told(one("", schema)) == {0: [("a", "required_missing")]}


@pytest.mark.parametrize("kind", get_args(FieldType))
@pytest.mark.parametrize("cell", ["a\0b", "\0", "caf\udce9", "\ud83d", "1\udcff"])
def test_what_is_no_text_is_told_so_whatever_the_type(kind: str, cell: str) -> None:
    assert told(one(cell, schema_of(kind))) == {0: [("cell", "encoding_invalid")]}


@pytest.mark.parametrize(
    "text", [" 7 ", "\t", "\\N", "\\.", "\\", "\ufeff", "🎉", "\r\n", "NULL", "'", '"', "\x7f", "\x1c"]
)
def test_a_string_is_kept_as_it_is(text: str) -> None:
    assert list(one(text, schema_of("string")).columns[0]) == [text]


INTEGERS = ["0", "7", "-0", "+5", "-5", "007", "9223372036854775807", "-9223372036854775808", "0" * 39 + "1"]
NO_INTEGERS = [
    *("9223372036854775808", "-9223372036854775809", "9" * 40, "9" * 5000),
    *(" 7 ", "7 ", "\n7", "7\n", "1_000", "1,000", "0x1F", "0b11", "0o7", "1e3", "1.0", "5.", "--5", "+", "-", "+-5"),
    *("٣", "１２", "²", "−5", "1\u200b", "now", "NaN", "INF", "true"),
]
NUMBERS = ["0", "-0", "+5", "007", ".5", "5.", "-.5", "1.50", "1e999", "1E-999", "1e+3", "5.e3", "NaN", "INF", "-INF"]
NO_NUMBERS = [
    *(
        " 7",
        "7 ",
        "7\n",
        "1_000",
        "1,5",
        "1.000,5",
        "0x1F",
        "1e",
        "e5",
        ".",
        "+.",
        "1e1000",
        "1e-1000",
        "1.2.3",
        "1e1.5",
    ),
    *("٣", "１２", "½", "−5", "nan", "inf", "+INF", "Infinity", "-Infinity", "infinity", "+NaN", "-NaN", "$5", "5%"),
    "1" * 1001,
]
DATES = ["2024-01-05", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"]
NO_DATES = [
    *("2024-02-30", "2023-02-29", "1900-02-29", "2024-00-01", "2024-13-01", "2024-01-00", "0000-01-01", "10000-01-01"),
    *("20240105", "2024-1-5", "2024-W01-1", "2024-005", "05/01/2024", "01.05.2024", "Jan 5 2024", "-2024-01-05"),
    *("now", "today", "epoch", "infinity", "-infinity", "2024-01-05 BC", "2024-01-05T00:00:00Z", "2024-01-05\n"),
    *(" 2024-01-05", "2024–01–05", "٢٠٢٤-٠١-٠٥", "２０２４-01-05"),
]
DATETIMES = [
    *("2024-01-05T10:00:00", "2024-01-05 10:00:00", "2024-01-05T10:00:00Z", "2024-01-05T10:00:00.1Z"),
    *("2024-01-05T10:00:00.123456+01:00", "2024-02-29T23:59:59-05:30", "2024-01-05T10:00:00-00:00"),
    *("2024-01-05T10:00:00+15:59", "2024-01-05T10:00:00-15:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    *("0001-01-01T15:59:00+15:59", "9999-12-31T08:00:00-15:59"),
]
NO_DATETIMES = [
    *(
        "2024-01-05",
        "2024-01-05T10:00",
        "2024-01-05T10",
        "2024-01-05T24:00:00",
        "2024-01-05T23:59:60",
        "2024-01-05T23:60:00",
    ),
    *("2024-01-05T10:00:00.1234567Z", "2024-01-05T10:00:00.", "2024-01-05T10:00:00,5Z", "2024-01-05T10:00:00z"),
    *("2024-01-05t10:00:00Z", "2024-01-05  10:00:00", "2024-01-05T10:00:00 Z", "20240105T100000Z"),
    *(
        "2024-01-05T10:00:00+16:00",
        "2024-01-05T10:00:00-16:00",
        "2024-01-05T10:00:00+23:59",
        "2024-01-05T10:00:00-23:59",
    ),
    *(
        "2024-01-05T10:00:00+24:00",
        "2024-01-05T10:00:00+00:60",
        "2024-01-05T10:00:00+01:99",
        "2024-01-05T10:00:00+0100",
    ),
    *(
        "2024-01-05T10:00:00+01",
        "2024-01-05T10:00:00+01:00:30",
        "2024-01-05T10:00:00 UTC",
        "2024-01-05T10:00:00 Europe/Berlin",
    ),
    *("2024-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"),
    *("now", "infinity", "2024-01-05T10:00:00Z\n", "٢٠٢٤-٠١-٠٥T10:00:00Z"),
]
BOOLEANS = ["true", "True", "TRUE", "1", "false", "False", "FALSE", "0"]
NO_BOOLEANS = ["t", "f", "yes", "no", "on", "off", "tr", " true", "true ", "tRUE", "10", "１", "null"]


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        *(("integer", cell) for cell in INTEGERS),
        *(("number", cell) for cell in NUMBERS),
        *(("date", cell) for cell in DATES),
        *(("datetime", cell) for cell in DATETIMES),
        *(("boolean", cell) for cell in BOOLEANS),
    ],
)
def test_the_grammar_of_a_type_accepts(kind: str, cell: str) -> None:
    assert passes(cell, kind)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        *(("integer", cell) for cell in NO_INTEGERS),
        *(("number", cell) for cell in NO_NUMBERS),
        *(("date", cell) for cell in NO_DATES),
        *(("datetime", cell) for cell in NO_DATETIMES),
        *(("boolean", cell) for cell in NO_BOOLEANS),
    ],
)
def test_what_a_database_would_guess_or_a_library_forgive_is_refused(kind: str, cell: str) -> None:
    checked = one(cell, schema_of(kind))
    assert told(checked) == {0: [("cell", "type_invalid")]}
    assert quoted(cell) in checked.bad[0][0].detail


def test_a_dataset_may_spell_its_booleans() -> None:
    schema = schema_of("boolean", trueValues=["ja", "j"], falseValues=["nein"])
    checked = check([["ja"], ["j"], ["nein"], ["true"]], schema, [0], 1)
    assert (list(checked.columns[0]), told(checked)) == (["t", "t", "f"], {3: [("cell", "type_invalid")]})


@pytest.mark.parametrize("length", [MAX_QUOTED - 1, MAX_QUOTED, MAX_QUOTED + 1, 100_000])
def test_an_error_repeats_no_more_than_the_head_of_a_value(length: int) -> None:
    (error,) = one("x" * length, schema_of("integer")).bad[0]
    assert error.detail.count("x") == min(length, MAX_QUOTED)
    assert ("…" in error.detail) == (length > MAX_QUOTED)
