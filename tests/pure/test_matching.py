"""Columns meet their fields by name or by declaration, never by guess; what is off is named, with what it may be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.errors import Refused
from chalicelib.formats.names import normalised
from chalicelib.matching import Mapped, by_position, match, positions, read_mapping, shown, suggest

FIELDS = ["email", "first_name", "größe"]
NAMES = st.lists(st.text("ab_- \u00e4A\u0308", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


def how(header: list[str], mapping: dict[str, str | None] | None = None) -> list[tuple[str | None, str]]:
    return [(column.field, column.how) for column in match(header, FIELDS, mapping or {})]


def refused(header: list[str], mapping: dict[str, str | None] | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        match(header, FIELDS, mapping or {})
    return caught.value


def test_a_name_as_it_is_meets_its_field_in_any_order() -> None:
    columns = match(["größe", "email", "first_name"], FIELDS, {})
    assert {column.how for column in columns} == {"exact"}
    assert positions(columns, FIELDS) == [1, 2, 0]


@pytest.mark.parametrize("spelling", ["First Name", "FIRST-NAME", " first_name ", "firstName", "\ufefffirst  name"])
def test_case_white_space_and_dashes_do_not_make_another_name(spelling: str) -> None:
    assert how(["email", spelling, "größe"])[1] == ("first_name", "normalised")


@pytest.mark.parametrize("spelling", ["grosse", "GRÖSSE", "Gro\u0308ße", "gro\u00adße"])
def test_accents_do_not_make_another_name_either(spelling: str) -> None:
    assert how(["email", "first_name", spelling])[2] == ("größe", "normalised")


def test_a_likeness_is_told_and_never_applied() -> None:
    fault = refused(["emial", "first_name", "größe"])
    assert fault.code == "columns_missing"
    missing, unknown = fault.errors
    assert (missing["column"], missing["code"]) == ("email", "columns_missing")
    assert (unknown["column"], unknown["code"]) == ("emial", "columns_unknown")
    assert unknown["suggestion"] == {"field": "email", "confidence": 0.8}


def test_a_column_that_is_like_nothing_comes_without_a_suggestion() -> None:
    (error,) = refused(["email", "first_name", "größe", "zzz"]).errors
    assert (error["code"], "suggestion" in error) == ("columns_unknown", False)


def test_an_unknown_column_is_passed_over_where_the_mapping_says_so() -> None:
    assert how(["email", "note", "first_name", "größe"], {"note": None})[1] == (None, "declared")


def test_what_is_declared_wins_over_the_name() -> None:
    found = how(["email", "first_name", "größe"], {"email": "first_name", "first_name": "email"})
    assert found == [("first_name", "declared"), ("email", "declared"), ("größe", "exact")]


def test_a_column_can_be_named_by_its_place() -> None:
    assert how(["", "", "größe"], {"1": "email", "2": "first_name"})[:2] == [
        ("email", "declared"),
        ("first_name", "declared"),
    ]


def test_a_name_that_is_a_number_is_a_name_first() -> None:
    assert how(["first_name", "größe", "1"], {"1": "email"})[2] == ("email", "declared")


@pytest.mark.parametrize(
    "header",
    [["email", "Email", "first_name", "größe"], ["E-Mail", "e mail", "first_name", "größe"], ["email", "email"]],
)
def test_two_columns_of_one_field_are_refused_by_name(header: list[str]) -> None:
    fault = refused(header)
    assert fault.code == "columns_repeated"
    assert [error["column"] for error in fault.errors if error["code"] == "columns_repeated"] == header[:2]


def test_a_column_that_could_be_two_fields_is_neither() -> None:
    with pytest.raises(Refused) as caught:
        match(["A B"], ["a_b", "a-b"], {})
    assert {error["code"] for error in caught.value.errors} == {"columns_missing", "columns_unknown"}
    assert [column.field for column in match(["a-b", "a_b"], ["a_b", "a-b"], {})] == ["a-b", "a_b"]


@pytest.mark.parametrize(
    ("header", "mapping"),
    [
        (["email", "first_name", "größe"], {"nothing": None}),
        (["email", "first_name", "größe"], {"4": None}),
        (["email", "first_name", "größe"], {"0": None}),
        (["x", "x", "first_name", "größe"], {"x": "email"}),
        (["x", "first_name", "größe"], {"x": "email", "1": None}),
    ],
)
def test_a_mapping_that_names_no_single_column_is_refused(header: list[str], mapping: dict[str, str | None]) -> None:
    assert refused(header, mapping).code == "mapping_invalid"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"a": "no_field"}, "options.mapping.a"),
        ({"a": "email", "b": "email"}, "options.mapping"),
        ({"a" * 100_000: None}, "options.mapping"),
    ],
)
def test_a_mapping_that_no_file_could_have_is_refused_at_once(value: Mapped, named: str) -> None:
    with pytest.raises(Refused) as caught:
        read_mapping(value, FIELDS)
    assert (caught.value.code, caught.value.errors[0]["column"]) == ("mapping_invalid", named)


def test_without_a_header_columns_go_by_position_and_their_number_must_match() -> None:
    assert positions(by_position(3, FIELDS, {}), FIELDS) == [0, 1, 2]
    assert positions(by_position(4, FIELDS, {"1": None, "3": "email"}), FIELDS) == [2, 1, 3]
    for width, code in ((2, "columns_missing"), (4, "columns_unknown")):
        with pytest.raises(Refused) as caught:
            by_position(width, FIELDS, {})
        assert caught.value.code == code


def test_of_a_wide_file_the_status_tells_what_is_not_plain() -> None:
    fields = [f"f{place}" for place in range(500)]
    columns = match(["F0", *fields[1:]], fields, {"f7": "f7"})
    assert [(one["name"], one["how"]) for one in shown(columns)] == [("F0", "normalised"), ("f7", "declared")]


def test_the_likest_field_is_suggested() -> None:
    assert suggest("e-mail adress", ["address", "email_address", "email"]) == ("email_address", 0.96)
    assert suggest("qqq", ["address"]) is None


@given(NAMES, st.randoms())
def test_a_header_of_the_fields_themselves_matches_however_they_are_alike(fields: list[str], rng: Any) -> None:
    header = rng.sample(fields, len(fields))
    columns = match(header, fields, {})
    assert [column.field for column in columns] == header
    assert {column.how for column in columns} == {"exact"}


@given(NAMES, NAMES, st.data())
def test_whatever_matches_gives_every_field_one_column_of_its_spelling(
    header: list[str], fields: list[str], data: st.DataObject
) -> None:
    mapping = data.draw(st.dictionaries(st.sampled_from(header), st.sampled_from([*fields, None]), max_size=3))
    assume(len(set(mapping.values()) - {None}) == sum(value is not None for value in mapping.values()))
    try:
        columns = match(header, fields, mapping)
    except Refused as fault:
        assert fault.code in ("columns_repeated", "columns_missing", "columns_unknown")
        assert {error["column"] for error in fault.errors} <= {*header, *fields}
        return
    assert [column.name for column in columns] == header
    assert sorted(column.field for column in columns if column.field is not None) == sorted(fields)
    for column in columns:
        if column.how == "declared":
            assert mapping[column.name] == column.field
        else:
            assert column.field is not None
            assert (column.field == column.name) == (column.how == "exact")
            assert normalised(column.field) == normalised(column.name)


@given(st.text())
def test_a_name_is_normalised_once_and_for_all(name: str) -> None:
    assert normalised(normalised(name)) == normalised(name)
