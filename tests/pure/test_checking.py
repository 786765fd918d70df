"""Each record is good or bad and never both; one grammar a type; an error names its column and its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.cells import BLANKS, PLAIN, Conventions, patterns, quoted, reading
from chalicelib.cells.fields import MAX_QUOTED
from chalicelib.checking import Checked, check
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
TIMES = ["00:00:00", "23:59:59", "10:00:00.123456"]
NO_TIMES = [
    "24:00:00",
    "10:00",
    "10:00:60",
    "1:00:00",
    "10:00:00Z",
    "10:00:00+01:00",
    "10:00:00.1234567",
    "now",
    "allballs",
]
YEARS = ["0001", "2024", "9999"]
NO_YEARS = ["0000", "24", "02024", "-2024", "+2024", "2024 BC", "2024.0", "now", "٢٠٢٤"]
DURATIONS = ["P1Y2M3W4DT5H6M7.5S", "-P1D", "PT0S", "P0Y"]
NO_DURATIONS = [
    "P",
    "PT",
    "-P",
    "P1DT",
    "1 day",
    "P-1D",
    "P1.5D",
    "PT1H1D",
    "P1H",
    "PT1.5H",
    "infinity",
    "01:00:00",
    "P1D ",
    "P٣D",
]
OBJECTS = ["{}", '{"a": {"b": [1, null]}}', ' {"a":1}\n']
NO_OBJECTS = [
    "[]",
    "null",
    '{"a":1,"a":1}',
    '{"a":NaN}',
    '{"a":1e400}',
    "{'a':1}",
    '{"a":"\\u0000"}',
    '{"a":"\\ud800"}',
    "{",
]
ARRAYS = ["[]", '[{"a":1},[2]]', "[-0.5e-10]"]
NO_ARRAYS = ["{}", "[1,]", "[Infinity]", "[" * 70 + "]" * 70, "[" + "1" * 1001 + "]", "[0x1F]", "1", "[" * 100_000]
GEOPOINTS = ["90.5,45.5", "-180, -90", "180,90", "180.000,0"]
NO_GEOPOINTS = [
    "180.1,0",
    "0,90.01",
    "1",
    "1,2,3",
    "1;2",
    "[1,2]",
    "1,  2",
    "+1,2",
    "1e1,2",
    "nan,1",
    "180." + "0" * 99 + "1,0",
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
        *(("time", cell) for cell in TIMES),
        *(("year", cell) for cell in YEARS),
        *(("duration", cell) for cell in DURATIONS),
        *(("object", cell) for cell in OBJECTS),
        *(("array", cell) for cell in ARRAYS),
        *(("geopoint", cell) for cell in GEOPOINTS),
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
        *(("time", cell) for cell in NO_TIMES),
        *(("year", cell) for cell in NO_YEARS),
        *(("duration", cell) for cell in NO_DURATIONS),
        *(("object", cell) for cell in NO_OBJECTS),
        *(("array", cell) for cell in NO_ARRAYS),
        *(("geopoint", cell) for cell in NO_GEOPOINTS),
    ],
)
def test_what_a_database_would_guess_or_a_library_forgive_is_refused(kind: str, cell: str) -> None:
    checked = one(cell, schema_of(kind))
    assert told(checked) == {0: [("cell", "type_invalid")]}
    assert quoted(cell) in checked.bad[0][0].detail


SURE = [
    ("integer", {}, PLAIN),
    ("integer", {"groupChar": "."}, PLAIN),
    ("number", {}, PLAIN),
    ("number", {"decimalChar": ",", "groupChar": "."}, PLAIN),
    ("number", {"bareNumber": False}, PLAIN),
    ("date", {}, Conventions(date_order="dmy")),
    ("datetime", {}, PLAIN),
    ("time", {}, PLAIN),
    ("year", {}, PLAIN),
    ("string", {"format": "uuid"}, PLAIN),
]
TRIMS = [
    *((kind, {}, Conventions(trim="values")) for kind in ("integer", "number", "date", "datetime", "time", "year")),
    *(("string", field, Conventions(trim="all")) for field in ({}, {"format": "email"}, {"format": "uuid"})),
    ("boolean", {}, Conventions(trim="values", true_values=("ja",), false_values=("nein",))),
    ("string", {"constraints": {"enum": ["Red", "red wine", "gelb"]}}, Conventions(trim="values", enum_case="ignore")),
]


@pytest.mark.parametrize(("kind", "field", "conventions"), SURE)
def test_what_a_cheap_look_lets_through_a_close_one_reads_as_it_stands(
    kind: str, field: dict[str, Any], conventions: Conventions
) -> None:
    known = reading(schema_of(kind, **field).fields[0], conventions)
    shape: str = known.sure.pattern

    @given(st.from_regex(shape, fullmatch=True))
    @settings(max_examples=100, deadline=None)
    def holds(cell: str) -> None:
        if known.sure is not None and known.sure.fullmatch(cell):
            assert known.read(cell) == cell

    holds()


@pytest.mark.parametrize(("kind", "field", "conventions"), SURE)
def test_a_cell_fares_alone_as_it_does_in_a_column(kind: str, field: dict[str, Any], conventions: Conventions) -> None:
    schema = schema_of(kind, **field)
    shape: str = reading(schema.fields[0], conventions).sure.pattern

    @given(
        st.lists(st.from_regex(shape, fullmatch=True) | CELLS | st.sampled_from(["1\0", "1\n", "\ud800"]), max_size=9)
    )
    @settings(max_examples=100, deadline=None)
    def holds(cells: list[str]) -> None:
        together = check([[cell] for cell in cells], schema, [0], 1, conventions)
        alone = [check([[cell]], schema, [0], 1, conventions) for cell in cells]
        assert together.bad == {place: each.bad[0] for place, each in enumerate(alone) if each.bad}
        assert list(together.columns[0]) == [each.columns[0][0] for each in alone if not each.bad]

    holds()


@pytest.mark.parametrize(("kind", "field", "conventions"), TRIMS)
def test_trimmed_a_cell_is_what_it_would_be_without_its_blanks(
    kind: str, field: dict[str, Any], conventions: Conventions
) -> None:
    schema = schema_of(kind, **field)
    plain, some = replace(conventions, trim=None), ["1", "2024-01-05", "ja", "RED", "a@b.de", "x y", "12:00:00", ""]
    padding = st.text(st.sampled_from(BLANKS), max_size=2)

    @given(st.lists(st.tuples(padding, st.sampled_from(some) | CELLS, padding), max_size=9))
    @settings(max_examples=100, deadline=None)
    def holds(cells: list[tuple[str, str, str]]) -> None:
        padded = check([["".join(cell)] for cell in cells], schema, [0], 1, conventions)
        stripped = check([["".join(cell).strip(BLANKS)] for cell in cells], schema, [0], 1, plain)
        assert (list(padded.columns[0]), padded.bad) == (list(stripped.columns[0]), stripped.bad)

    holds()


def test_blanks_of_free_text_stay_where_only_values_are_trimmed() -> None:
    schema = read_schema({"fields": [{"name": "a"}, {"name": "b", "type": "integer"}]})
    for trim, expected in (("values", " x "), ("all", "x")):
        checked = check([[" x ", " 1 "]], schema, [0, 1], 2, Conventions(trim=trim))
        assert [list(column) for column in checked.columns] == [[expected], ["1"]]


def test_a_missing_value_made_of_blanks_is_missing_before_it_is_trimmed() -> None:
    schema = read_schema({"fields": [{"name": "a"}], "missingValues": [" "]})
    assert list(check([[" "], [""], ["  "]], schema, [0], 1, Conventions(trim="all")).columns[0]) == [None, "", ""]


def test_booleans_are_spelled_as_the_file_says_unless_their_field_does() -> None:
    said = Conventions(true_values=("ja",), false_values=("nein",))
    own = [{"name": "a", "type": "boolean"}, {"name": "b", "type": "boolean", "trueValues": ["x"]}]
    checked = check([["ja", "x"], ["nein", "0"], ["true", "ja"]], read_schema({"fields": own}), [0, 1], 2, said)
    assert [list(column) for column in checked.columns] == [["t", "f"], ["t", "f"]]
    assert [error.column for error in checked.bad[2]] == ["a", "b"]


def test_an_enum_s_value_in_another_case_is_that_value_unless_two_are_meant() -> None:
    schema = schema_of("string", constraints={"enum": ["Red", "straße", "on", "ON"]})
    cells = ["red", "RED", "Red", "STRASSE", "on", "ON", "On", "pink"]
    checked = check([[cell] for cell in cells], schema, [0], 1, Conventions(enum_case="ignore"))
    assert list(checked.columns[0]) == ["Red", "Red", "Red", "straße", "on", "ON"]
    assert {cells[place]: errors[0].code for place, errors in checked.bad.items()} == dict.fromkeys(
        ("On", "pink"), "enum_invalid"
    )


def test_a_missing_value_that_looks_like_a_value_is_missing() -> None:
    for kind, cell in (("integer", "-1"), ("number", "0.0"), ("date", "1900-01-01"), ("string", "NULL")):
        assert read_as([cell], schema_of(kind, missingValues=[cell])) == [None]


EMAILS = ["a@b", "first.last+tag@mail.example.org", "x" * 64 + "@" + "y" * 63 + ".org", "o'neil@x.ie"]
NO_EMAILS = [
    "a",
    "@b",
    "a@",
    "a@b@c",
    "a b@c",
    "a@-b",
    "a@b-",
    "a@b..c",
    "a@b.",
    "é@b",
    "a@é",
    "x" * 65 + "@b",
    '"a"@b',
    "<a@b>",
]
URIS = [
    "https://example.org/a?b=c&d#e",
    "mailto:a@b",
    "urn:isbn:1",
    "http://[::1]:80/%C3%A9",
    "https://u:p@h:1/?a?b",
    "a:b",
]
NO_URIS = [
    "example.org",
    "/a",
    "//a/b",
    "http:",
    "http://a b",
    "http://é",
    "http://a/%zz",
    "1a:b",
    "http://a/|",
    "http://[x]/",
    "a:b#c#d",
]
UUIDS = [
    "123e4567-e89b-12d3-a456-426614174000",
    "00000000-0000-0000-0000-000000000000",
    "ABCDEF00-0000-0000-0000-000000000000",
]
NO_UUIDS = [
    *(
        "123e4567e89b12d3a456426614174000",
        "{123e4567-e89b-12d3-a456-426614174000}",
        "123e4567-e89b-12d3-a456-42661417400",
    ),
    *("urn:uuid:123e4567-e89b-12d3-a456-426614174000", "123g4567-e89b-12d3-a456-426614174000"),
    *("123e-4567-e89b-12d3-a456-4266-1417-4000", "123e4567e89b12d3a456-426614174000"),
]


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("email", EMAILS, NO_EMAILS), ("uri", URIS, NO_URIS), ("uuid", UUIDS, NO_UUIDS)]
)
def test_a_format_of_strings(name: str, good: list[str], bad: list[str]) -> None:
    schema = schema_of("string", format=name)
    checked = check([[cell] for cell in good + bad], schema, [0], 1)
    assert list(checked.columns[0]) == good
    assert told(checked) == {place: [("cell", "type_invalid")] for place in range(len(good), len(good + bad))}


def read_as(cells: list[str], schema: Schema, conventions: Conventions = PLAIN) -> list[str | None]:
    """What goes into the table for each cell; "?" for one that is refused."""
    checked = check([[cell] for cell in cells], schema, [0], 1, conventions)
    values = dict(zip(checked.places, checked.columns[0], strict=True))
    return [values.get(place, "?") for place in range(len(cells))]


@pytest.mark.parametrize(
    ("field", "pairs"),
    [
        (
            {"format": "%d/%m/%Y"},
            {"05/01/2024": "2024-01-05", "5/1/2024": "2024-01-05", "31/02/2024": "?", "5/1/24": "?"},
        ),
        ({"format": "%d/%m/%Y"}, {"2024-01-05": "?", "05/01/2024 ": "?", "٠٥/01/2024": "?", "005/1/2024": "?"}),
        ({"format": "%Y%m%d"}, {"20240105": "2024-01-05", "2024105": "?", "20240230": "?"}),
        ({"format": "%d-%b-%Y"}, {"05-Jan-2024": "2024-01-05", "5-JAN-2024": "2024-01-05", "05-Juni-2024": "?"}),
        ({"format": "%B %d, %Y"}, {"May 5, 2024": "2024-05-05", "june 05, 2024": "2024-06-05", "Jun 5, 2024": "?"}),
        ({"format": "%%%Y (%m) %d"}, {"%2024 (01) 5": "2024-01-05", "2024 (01) 5": "?"}),
    ],
)
def test_a_date_by_pattern(field: dict[str, str], pairs: dict[str, str]) -> None:
    assert read_as(list(pairs), schema_of("date", **field)) == list(pairs.values())


@pytest.mark.parametrize(
    ("kind", "pattern", "pairs"),
    [
        ("time", "%H:%M", {"9:05": "09:05:00", "24:00": "?", "09:60": "?", "09:05:00": "?"}),
        ("time", "%H%M%S.%f", {"090500.5": "09:05:00.5", "90500.5": "?", "090500.": "?"}),
        ("datetime", "%d.%m.%Y %H:%M", {"5.1.2024 9:05": "2024-01-05T09:05:00", "5.1.2024 9:05Z": "?"}),
        ("datetime", "%Y-%m-%dT%H:%M:%S%z", {"2024-01-05T09:05:00+0130": "2024-01-05T09:05:00+01:30"}),
        ("datetime", "%Y-%m-%d %H:%M %z", {"0001-01-01 00:00 +00:01": "?", "2024-01-05 10:00 +16:00": "?"}),
    ],
)
def test_a_moment_by_pattern(kind: str, pattern: str, pairs: dict[str, str]) -> None:
    assert read_as(list(pairs), schema_of(kind, format=pattern)) == list(pairs.values())


@pytest.mark.parametrize(
    ("field", "pairs"),
    [
        ({"decimalChar": ","}, {"1,5": "1.5", ",5": ".5", "1.5": "?", "1e3": "1e3", "-1,5e-3": "-1.5e-3"}),
        ({"groupChar": ","}, {"1,234,567.5": "1234567.5", "12,34": "?", "1,2345": "?", "1234": "1234", ",123": "?"}),
        ({"groupChar": ","}, {"0,500": "?", "-00,500": "?", "0.500": "0.500", "0500": "0500", "10,500": "10500"}),
        ({"groupChar": ","}, {"1,234e5": "?", "1,,234": "?", "1,234,": "?", "0001,234": "?", "-1,234": "-1234"}),
        ({"decimalChar": ",", "groupChar": "."}, {"1.234,5": "1234.5", "1.234": "1234", "1.5": "?", "1,234.5": "?"}),
        ({"decimalChar": ",", "groupChar": " "}, {"1 234,5": "1234.5", "1 234 ": "?", " 1": "?", "1\u00a0234": "?"}),
        ({"bareNumber": False}, {"€ 5": "5", "5 %": "5", "USD-5.50": "-5.50", "5kg": "5", "km/h 5": "5", "NaN": "NaN"}),
        (
            {"bareNumber": False},
            {"(5)": "?", "5-": "?", "-$5": "?", "<5": "?", "~5": "?", "5½": "?", "5 or 6": "?", "−5": "?"},
        ),
        (
            {"bareNumber": False},
            {"$.5": ".5", "Fr. 5": "?", "€": "?", "5.": "5.", "٣5": "?", "0x1F": "?", "2024-01-05": "?"},
        ),
        ({"bareNumber": False, "groupChar": ","}, {"$1,234.5": "1234.5", "$,500": "?", "1,23 $": "?"}),
    ],
)
def test_a_number_as_its_field_spells_it(field: dict[str, Any], pairs: dict[str, str]) -> None:
    assert read_as(list(pairs), schema_of("number", **field)) == list(pairs.values())


def test_integers_have_groups_and_units_too() -> None:
    assert read_as(["1.234", "1.23", "1,5", "12"], schema_of("integer", groupChar=".")) == ["1234", "?", "?", "12"]
    assert read_as(["5 kg", "5.5 kg"], schema_of("integer", bareNumber=False)) == ["5", "?"]


def test_a_file_s_conventions_hold_where_a_field_says_nothing() -> None:
    german = Conventions(("NA",), ",", ".", "dmy")
    assert read_as(["1.234,5", "NA", "", "1.5"], schema_of("number"), german) == ["1234.5", None, "?", "?"]
    assert read_as(["1.234", "1,5"], schema_of("integer"), german) == ["1234", "?"]
    dates = ["5.1.2024", "05/01/2024", "5-1-2024", "2024-01-05", "5.1/2024", "5.1.24", "2024/01/05", "13.13.2024"]
    iso = "2024-01-05"
    assert read_as(dates, schema_of("date"), german) == [iso, iso, iso, iso, "?", "?", "?", "?"]
    assert read_as(["1/5/2024 10:00:00", "1/5/2024"], schema_of("datetime"), german) == ["2024-05-01 10:00:00", "?"]


def test_a_field_s_own_spelling_wins_over_its_file_s() -> None:
    german = Conventions(("NA",), ",", ".", "dmy")
    assert read_as(["1,234.5", "1.5"], schema_of("number", groupChar=","), german) == ["1234.5", "1.5"]
    assert read_as(["1.5", "1,5"], schema_of("number", decimalChar="."), german) == ["1.5", "?"]
    assert read_as(["01/05/2024"], schema_of("date", format="%m/%d/%Y"), german) == ["2024-01-05"]
    assert read_as(["-", "NA"], schema_of("integer", missingValues=["-"]), german) == [None, "?"]


@pytest.mark.parametrize(
    ("kind", "constraints", "good", "bad", "code"),
    [
        ("integer", {"minimum": 5}, ["5", "+6", "007"], ["4", "-5"], "range_exceeded"),
        ("integer", {"exclusiveMinimum": 5, "exclusiveMaximum": "8"}, ["6", "7"], ["5", "8"], "range_exceeded"),
        (
            "number",
            {"maximum": 0.1},
            ["0.1", "1e-1", "-1e999", "0.10"],
            ["0.1" + "0" * 30 + "1", "INF", "NaN"],
            "range_exceeded",
        ),
        ("date", {"minimum": "2024-02-29"}, ["2024-02-29", "9999-12-31"], ["2024-02-28"], "range_exceeded"),
        ("time", {"maximum": "10:00:00"}, ["10:00:00.0"], ["10:00:00.000001"], "range_exceeded"),
        (
            "datetime",
            {"maximum": "2024-01-05T10:00:00Z"},
            ["2024-01-05T11:00:00+01:00"],
            ["2024-01-05T10:00:01"],
            "range_exceeded",
        ),
        ("year", {"minimum": 1900}, ["1900"], ["1899"], "range_exceeded"),
        ("duration", {"maximum": "P1M"}, ["P30D", "P0Y", "PT720H"], ["P31D", "PT720H0.000001S"], "range_exceeded"),
        ("string", {"minLength": 2, "maxLength": 3}, ["ab", "éé🎉"], ["a", "abcd"], "length_exceeded"),
        ("array", {"maxLength": 2}, ["[]", "[[1,2,3]]"], ["[1,2,3]"], "length_exceeded"),
        ("object", {"minLength": 1}, ['{"a":1}'], ["{}"], "length_exceeded"),
        ("string", {"enum": ["a", ""]}, ["a"], ["A", "b"], "enum_invalid"),
        ("integer", {"enum": [1, "2"]}, ["1", "+2", "01"], ["3"], "enum_invalid"),
        ("number", {"enum": [1, 2.5]}, ["1.0", "2.50", "25e-1"], ["NaN", "1.1"], "enum_invalid"),
        ("boolean", {"enum": [True]}, ["1", "true"], ["0", "false"], "enum_invalid"),
        ("date", {"enum": ["2024-01-05"]}, ["2024-01-05"], ["2024-01-06"], "enum_invalid"),
        ("string", {"pattern": "[a-z]+"}, ["abc"], ["abc1", "Abc", "ab\n"], "pattern_mismatch"),
        ("string", {"pattern": "^\\d{2}|x$"}, ["12", "x"], ["1", "٣٣", "123", "12x"], "pattern_mismatch"),
    ],
)
def test_a_constraint(kind: str, constraints: dict[str, Any], good: list[str], bad: list[str], code: str) -> None:
    checked = check([[cell] for cell in good + bad], schema_of(kind, constraints=constraints), [0], 1)
    assert list(checked.columns[0]) == (["t", "t"] if kind == "boolean" else good)
    assert told(checked) == {place: [("cell", code)] for place in range(len(good), len(good + bad))}


def test_an_error_of_a_constraint_says_what_was_expected() -> None:
    constraints = {"minimum": "5,5", "maximum": "1.000,5"}
    schema = schema_of("number", decimalChar=",", groupChar=".", constraints=constraints)
    checked = check([["5,4"], ["1.001"], ["x"]], schema, [0], 1)
    assert [error.detail for errors in checked.bad.values() for error in errors] == [
        '"5,4" is below 5,5',
        '"1.001" is above 1.000,5',
        '"x" is not a number (decimals after ",", groups of three by ".")',
    ]


def test_a_negative_duration_has_its_sign_at_each_amount() -> None:
    schema = schema_of("duration", constraints={"minimum": "-P9Y"})
    assert read_as(["-P9Y", "-P9YT0.5S", "-P8Y11MT1.5S"], schema) == ["P-9Y", "?", "P-8Y-11MT-1.5S"]


def test_a_missing_value_breaks_no_rule() -> None:
    assert read_as(["", "ab"], schema_of("string", constraints={"minLength": 2, "pattern": "a.", "enum": ["ab"]})) == [
        None,
        "ab",
    ]


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(.*a){20}b", "(?:[ab]|é)*a(?:[ab]|é){20}b"])
def test_no_pattern_takes_more_than_linear_time(pattern: str) -> None:
    """A backtracking engine would be at the first of these until the sun is out; the test has no clock but its own end."""
    assert not patterns.compiled(pattern)("a" * 5_000)


def test_a_dataset_may_spell_its_booleans() -> None:
    schema = schema_of("boolean", trueValues=["ja", "j"], falseValues=["nein"])
    checked = check([["ja"], ["j"], ["nein"], ["true"]], schema, [0], 1)
    assert (list(checked.columns[0]), told(checked)) == (["t", "t", "f"], {3: [("cell", "type_invalid")]})


@pytest.mark.parametrize("length", [MAX_QUOTED - 1, MAX_QUOTED, MAX_QUOTED + 1, 100_000])
def test_an_error_repeats_no_more_than_the_head_of_a_value(length: int) -> None:
    (error,) = one("x" * length, schema_of("integer")).bad[0]
    assert error.detail.count("x") == min(length, MAX_QUOTED)
    assert ("…" in error.detail) == (length > MAX_QUOTED)
