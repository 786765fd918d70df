"""How a file spells numbers and dates is decided by evidence, and never so that a cell might mean something else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.cells import PLAIN, Conventions
from chalicelib.checking import check
from chalicelib.checking.conventions import detect, planned, read, subsets
from chalicelib.datasets import Schema, read_schema
from chalicelib.errors import Refused
from chalicelib.formats import Dialect
from chalicelib.rerun import Records


def schema_of(*fields: str | dict[str, Any]) -> Schema:
    described = [{"type": field} if isinstance(field, str) else field for field in fields]
    return read_schema({"fields": [{"name": f"f{place}", **field} for place, field in enumerate(described)]})


def told(column: list[str], kind: str, option: str, **declared: Any) -> tuple[Any, int, int, bool, list[Any]]:
    evidence = detect([column], schema_of(kind), declared).evidence[option]
    return evidence["value"], evidence["agreeing"], evidence["of"], evidence["ambiguous"], evidence["also"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["1", "2.5", "-3"], Conventions()),
        (["1,5", "2", "-3,25"], Conventions(decimal_char=",")),
        (["1.234,5", "2", "1.234.567"], Conventions(decimal_char=",", group_char=".")),
        (["1,234.5", "2"], Conventions(group_char=",")),
        (["1,234,567"], Conventions(group_char=",")),
        (["1 234,5", "0,5"], Conventions(decimal_char=",", group_char=" ")),
        (["1\u202f234,5", "0,5"], Conventions(decimal_char=",", group_char="\u202f")),
        (["1’234.5"], Conventions(group_char="’")),
        (["0,500", "1,250"], Conventions(decimal_char=",")),  # no thousands are nought
        (["", "", ""], Conventions()),
        (["x", "y"], Conventions()),
        (["1,5", "2,25", "n/a", "?"], Conventions(decimal_char=",")),
    ],
)
def test_the_spelling_of_numbers(column: list[str], expected: Conventions) -> None:
    assert detect([column], schema_of("number"), {}).conventions == expected


def test_what_reads_two_ways_is_left_as_table_schema_reads_it() -> None:
    assert told(["1,234", "5,678"], "number", "decimal_char") == (None, 0, 2, True, [","])
    assert told(["1,234", "5,678"], "number", "group_char") == (
        None,
        0,
        2,
        True,
        [",", ".", " ", "'", "’", "\u00a0", "\u202f"],
    )
    assert detect([["1,234", "5,678"]], schema_of("number"), {}).conventions == PLAIN


def test_thousands_that_might_be_decimals_keep_the_plain_reading() -> None:
    assert told(["1.234", "5.678"], "number", "decimal_char") == (None, 2, 2, True, [","])


def test_an_integer_can_only_have_groups() -> None:
    assert told(["1,234", "5,678"], "integer", "group_char") == (",", 2, 2, False, [])


def test_three_noughts_of_an_integer_may_be_its_decimals_and_decide_nothing() -> None:
    """A program that writes each number with three decimals has 12 as 12.000, or 12,000 with a decimal comma."""
    for mark in ".,":
        *found, also = told([f"1{mark}000", f"12{mark}000", "7"], "integer", "group_char")
        assert (found, mark in also) == ([None, 1, 3, True], True)
    assert detect([["1.000", "2.000"], ["1.500", "2.250"]], schema_of("integer", "number"), {}).conventions == PLAIN
    for proof in ("2.500", "1.000.000", "250.001"):
        assert told(["1.000", "7", proof], "integer", "group_char") == (".", 3, 3, False, [])
    groups = detect([["1,000"], ["1,000.5"]], schema_of("integer", "number"), {}).conventions
    assert groups == Conventions(group_char=",")


def test_a_file_that_contradicts_itself_is_not_guessed_at() -> None:
    """One cell shows a decimal comma, another a decimal point: then 1.500 may be either."""
    assert told(["1.234,5", "7,25", "8,125", "1234.5", "1.500"], "number", "decimal_char")[3] is True
    assert detect([["1.234,5", "7,25", "1234.5", "1.500"]], schema_of("number"), {}).conventions == PLAIN


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["2024-01-05", "2024-12-31"], (None, 2, 2, False, [])),
        (["2024/01/05", "2024/1/6"], ("ymd", 2, 2, False, [])),
        (["05/01/2024", "31/01/2024"], ("dmy", 2, 2, False, [])),
        (["01/05/2024", "01.31.2024", "x"], ("mdy", 2, 3, False, [])),
        (["01/05/2024", "12/12/2024"], (None, 0, 2, True, ["dmy", "mdy"])),
        (["12/12/2024", "05/05/2024"], (None, 0, 2, True, ["dmy", "mdy"])),
        (["31/01/2024", "01/31/2024"], (None, 0, 2, True, ["dmy", "mdy"])),
        (["31/01/2024", "01/31/2024", "01/02/2024"], (None, 0, 3, True, ["dmy", "mdy"])),
        (["2024-01-05", "13.01.2024"], ("dmy", 2, 2, False, [])),
        (["01/02/24"], (None, 0, 1, False, [])),
        ([], (None, 0, 0, False, [])),
    ],
)
def test_the_order_of_dates(column: list[str], expected: tuple[Any, ...]) -> None:
    assert told(column, "date", "date_order") == expected


def test_columns_are_judged_together() -> None:
    """The day of one column settles how the other is read."""
    schema = schema_of("date", "datetime")
    columns = [["01/02/2024"], ["31/01/2024 10:00:00"]]
    assert detect(columns, schema, {}).conventions.date_order == "dmy"


def test_fields_that_say_it_themselves_are_no_evidence() -> None:
    schema = schema_of({"type": "number", "decimalChar": ","}, {"type": "date", "format": "%d/%m/%Y"}, "string")
    found = detect([["1,5"], ["31/01/2024"], ["31/01/2024"]], schema, {})
    assert found.conventions == PLAIN
    assert {evidence["of"] for evidence in found.evidence.values()} == {0}


def test_what_is_declared_to_be_trimmed_is_trimmed_before_it_tells_how_it_is_spelt() -> None:
    column = [" 31/12/2024", "30/12/2024 ", " "]
    assert told(column, "date", "date_order")[:3] == (None, 0, 3)
    assert told(column, "date", "date_order", trim="values")[:3] == ("dmy", 2, 2)


def test_a_declared_unit_beside_a_number_is_no_part_of_it_and_tells_nothing_of_its_marks() -> None:
    schema, units = schema_of("number", "integer"), ("EUR", "€", "kg")
    conventions = detect([["12,50 EUR", "€3,5"], ["5 kg"]], schema, {"units": list(units)}).conventions
    assert conventions == Conventions(decimal_char=",", units=units)
    cells = ["12,50 EUR", "€-3,5", "4,5\u00a0€", "5 USD", "EUR", "12,5 EUR kg", "EUR NaN", "6"]
    found = check([[cell, "5kg"] for cell in cells], schema, [0, 1], 2, conventions)
    assert (list(found.columns[0]), set(found.columns[1]), sorted(found.bad)) == (
        ["12.50", "-3.5", "4.5", "6"],
        {"5"},
        [3, 4, 5, 6],
    )
    for odd in ("", "5", "k5", "-", "a b", 1):
        with pytest.raises(Refused):
            Dialect.from_options({"units": [odd]})


def test_what_is_declared_stands() -> None:
    assert told(["01/05/2024"], "date", "date_order", date_order="mdy") == ("mdy", 1, 1, False, [])
    assert told(["31/01/2024"], "date", "date_order", date_order="mdy") == ("mdy", 0, 1, False, [])
    assert told(["1,234"], "number", "group_char", decimal_char=",")[:4] == (None, 1, 1, False)
    assert detect([["1,234"]], schema_of("number"), {"group_char": ","}).conventions == Conventions(group_char=",")
    assert detect([["-", "1,5"]], schema_of("number"), {"null_values": ["-"]}).evidence["decimal_char"]["of"] == 1


@pytest.mark.parametrize(
    "options",
    [
        {"null_values": "NA"},
        {"null_values": [None]},
        {"decimal_char": "5"},
        {"decimal_char": ",,"},
        {"group_char": "-"},
        {"group_char": "."},
        {"decimal_char": ",", "group_char": ","},
        {"date_order": "ydm"},
        {"date_order": ["dmy"]},
        {"trim": "left"},
        {"trim": True},
        {"enum_case": "any"},
        {"true_values": "ja"},
        {"true_values": ["ja"], "false_values": ["nein", "ja"]},
        {"true_values": ["0"]},
    ],
)
def test_a_convention_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        Dialect.from_options(options)
        read(options)
    assert refused.value.code == "dialect_invalid"


NUMERALS = st.text("0123456789,. '-", min_size=1, max_size=9)
DAYS = st.builds("{}{}{}{}{}".format, st.integers(1, 32), st.just("/"), st.integers(1, 32), st.just("/"), st.just(2024))


@given(st.lists(NUMERALS, max_size=12), st.lists(DAYS, max_size=8))
@settings(max_examples=150, deadline=None)
def test_the_plain_reading_of_a_cell_is_never_changed_where_another_spelling_may_be_meant(
    numerals: list[str], days: list[str]
) -> None:
    """What is taken reads no cell of the sample otherwise than any spelling that explains the sample as well."""
    schema = schema_of("number", "date")
    found = detect([numerals, days], schema, {})
    taken = _values(numerals, "number", found.conventions)
    plain = _values(numerals, "number", PLAIN)
    if found.conventions.decimal_char or found.conventions.group_char:
        assert sum(value is not None for value in taken) > sum(value is not None for value in plain)
    order = found.conventions.date_order
    other = {"dmy": "mdy", "mdy": "dmy"}.get(order or "")
    if other:
        here, there = (_values(days, "date", Conventions(date_order=each)) for each in (order, other))  # type: ignore[arg-type]
        assert all(there[place] is None or here[place] is not None for place in range(len(days)))
        assert any(there[place] is None and here[place] is not None for place in range(len(days)))


def _values(cells: list[str], kind: str, conventions: Conventions) -> list[str | None]:
    checked = check([[cell] for cell in cells], schema_of(kind), [0], 1, conventions)
    known = dict(zip(checked.places, checked.columns[0], strict=True))
    return [known.get(place) for place in range(len(cells))]


FIXES: dict[str, Any] = {"date_order": "dmy", "decimal_char": ",", "group_char": ".", "null_values": ["", "-"]}
SOLD = read_schema(
    {"fields": [{"name": "sold", "type": "date"}, {"name": "price", "type": "number"}, {"name": "note"}]}
)
PLAN: dict[str, Any] = {"dialect": {"delimiter": ";", "quote": '"'}, "width": 3, "positions": [0, 1, 2]}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["2024-01-05", "05/01/2024", "12/31/2024", "-", ""]),
            st.sampled_from(["1", "1.5", "2.500", "1,5", "1.234,5", "-", "x"]),
            st.sampled_from(["a", "-"]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_several_fixes_mend_whatever_some_of_them_mend_and_no_cell_that_was_right_is_another(
    rows: list[tuple[str, str, str]],
) -> None:
    raws = [";".join(row).encode() for row in rows]
    parts: list[dict[str, Any]] = [
        {"date_order": "dmy"},
        {"decimal_char": ",", "group_char": "."},
        {"null_values": ["", "-"]},
    ]
    found = Records(PLAN, SOLD, FIXES).mended(raws)
    some = [
        {name: value for place in places for name, value in parts[place].items()}
        for places in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
    ]
    assert found == sorted({place for each in some for place in Records(PLAN, SOLD, each).mended(raws)})
    together = planned({"dialect": PLAN["dialect"] | FIXES, "before": [PLAN["dialect"]]})
    for place in found:
        before, after = (check([rows[place]], SOLD, [0, 1, 2], 3, one) for one in (PLAIN, together))
        assert before.bad and not after.bad
        wrong = {error.column for error in before.bad[0]}
        for name, cell, (value,) in zip(SOLD.names, rows[place], after.columns, strict=True):
            assert name in wrong or value == (cell or None)


SHIPPED = read_schema(
    {
        "fields": [
            {"name": "sold", "type": "date"},
            {"name": "paid", "type": "boolean"},
            {"name": "hue", "constraints": {"enum": ["red ", "Red", "blue"]}},
            {"name": "note"},
        ]
    }
)
MANY: dict[str, Any] = {
    "date_order": "dmy",
    "null_values": ["", "-"],
    "trim": "values",
    "true_values": ["1", "ja"],
    "false_values": ["0", "nein"],
    "enum_case": "ignore",
}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["2024-01-05", "05/01/2024", " 2024-01-05", " 05/01/2024", "-", " - ", "soon"]),
            st.sampled_from(["1", "ja", "Ja", " nein", "0 ", "-"]),
            st.sampled_from(["red ", "Red", "Red ", "BLUE", " blue", " Blue ", "-", "pink"]),
            st.sampled_from(["a", "-", " a "]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_fixes_there_are_a_record_is_loaded_as_the_trial_read_it(rows: list[tuple[str, ...]]) -> None:
    raws = [";".join(row).encode() for row in rows]
    plan = PLAN | {"width": 4, "positions": [0, 1, 2, 3]}
    found = Records(plan, SHIPPED, MANY).mended(raws)
    left = [place for place in range(len(rows)) if place not in found]
    together = planned({"dialect": plan["dialect"] | MANY, "before": [plan["dialect"]]})
    for each in subsets(MANY) if left else ():
        for place in Records(plan, SHIPPED, each).mended([raws[place] for place in left]):
            alone, loaded = (
                check([rows[left[place]]], SHIPPED, [0, 1, 2, 3], 4, one) for one in (read(each), together)
            )
            # "red " and "Red" are one enum's: what one fix takes for the former, trimmed is the latter.
            assert alone.columns[2] != loaded.columns[2]
    for place in found:
        before, after = (check([rows[place]], SHIPPED, [0, 1, 2, 3], 4, one) for one in (PLAIN, together))
        assert before.bad and not after.bad
        wrong = {error.column for error in before.bad[0]}
        for name, cell, (value,) in zip(SHIPPED.names, rows[place], after.columns, strict=True):
            right, *_ = check([[cell]], schema_of(KINDS[name]), [0], 1).columns[0] or [None]
            assert name in wrong or value == right


def test_a_record_that_would_be_loaded_otherwise_than_its_trial_read_it_is_left() -> None:
    """Where trimming changes a right cell, case alone reads the other as "red "; together they make "Red" of it."""
    hue = {"constraints": {"enum": ["red ", "Red"]}}
    schema = read_schema({"fields": [{"name": "a", **hue}, {"name": "b", **hue}]})
    plan = PLAN | {"width": 2, "positions": [0, 1]}
    fixes = {"trim": "values", "enum_case": "ignore"}
    assert Records(plan, schema, {"enum_case": "ignore"}).mended([b"RED ;red "]) == [0]
    assert Records(plan, schema, fixes).mended([b"RED ;red ", b"RED ;Red"]) == [1]


KINDS: dict[str, Any] = {"sold": "date", "paid": "boolean", "hue": "string", "note": "string"}
