"""A Table Schema is read strictly: what the loader cannot honour is refused, and the refusal names the field."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.cells import patterns
from chalicelib.datasets import (
    MAX_FIELDS,
    MAX_IDENTIFIER_BYTES,
    POSTGRES_TYPES,
    FieldType,
    ForeignKey,
    read_mode,
    read_schema,
)
from chalicelib.errors import Refused
from chalicelib.journey import MODES

Json = dict[str, Any]
SYSTEM_COLUMNS = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")
INDEX_COLUMNS = 32  # of one Postgres index
NO_MARKS = (None, "", "..", "5", "e", "-", "+", "\n", "\0", "٣", "½", 0)


def problems(descriptor: Any) -> list[tuple[str | None, str]]:
    """(column, detail) of everything wrong with a descriptor."""
    with pytest.raises(Refused) as refused:
        read_schema(descriptor)
    assert (refused.value.code, refused.value.status) == ("schema_invalid", 422)
    assert {error["code"] for error in refused.value.errors} == {"schema_invalid"}
    return [(error.get("column"), error["detail"]) for error in refused.value.errors]


def with_field(**more: Any) -> Json:
    """A schema whose field "amount" is described so, beside one that is right."""
    return {"fields": [{"name": "id", "type": "integer"}, {"name": "amount"} | more]}


def with_key(**keys: Any) -> Json:
    return {"fields": [{"name": "a"}, {"name": "b"}], **keys}


def test_a_schema_says_what_rows_must_be() -> None:
    schema = read_schema(
        {
            "fields": [
                {"name": "id", "type": "integer"},
                {"name": "email", "type": "string", "constraints": {"unique": True, "required": True}},
                {"name": "active", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]},
                {"name": "note"},
            ],
            "primaryKey": "id",
            "uniqueKeys": [["email", "note"], ["id"]],
            "missingValues": ["", "NA"],
        }
    )
    assert schema.names == ["id", "email", "active", "note"]
    assert [field.type for field in schema.fields] == ["integer", "string", "boolean", "string"]
    assert [field.required for field in schema.fields] == [True, True, False, False]
    assert (schema.fields[2].true_values, schema.fields[2].false_values) == (("yes",), ("no",))
    assert schema.keys == (("id",), ("email",), ("email", "note"))
    assert schema.key_positions() == [(0,), (1,), (1, 3)]
    assert (schema.has_primary_key, schema.missing_values) == (True, ("", "NA"))


def test_the_defaults_are_those_of_table_schema() -> None:
    schema = read_schema({"fields": [{"name": "a", "type": "boolean"}]})
    (field,) = schema.fields
    assert (field.required, schema.keys, schema.has_primary_key, schema.missing_values) == (False, (), False, ("",))
    assert set(field.true_values) == {"true", "True", "TRUE", "1"}
    assert set(field.false_values) == {"false", "False", "FALSE", "0"}


def test_what_only_describes_is_let_through() -> None:
    schema = read_schema(
        {
            "$schema": "https://datapackage.org/profiles/2.0/tableschema.json",
            "title": "People",
            "fields": [
                {"name": "a", "title": "A", "description": "?", "example": 1, "rdfType": "x", "constraints": {}}
            ],
        }
    )
    assert schema.names == ["a"]


@pytest.mark.parametrize("kind", get_args(FieldType))
def test_every_type_has_its_postgres_type(kind: FieldType) -> None:
    assert read_schema(with_field(type=kind)).fields[1].type == kind
    assert kind in POSTGRES_TYPES


@pytest.mark.parametrize(
    "descriptor",
    [
        {},
        {"fields": None},
        {"fields": []},
        {"fields": {}},
        {"fields": "a"},
        {"fields": ["a"]},
        {"fields": [None]},
        {"fields": [{"name": "a"}, 1]},
    ],
)
def test_without_a_list_of_fields_there_is_no_schema(descriptor: Json) -> None:
    assert problems(descriptor) == [(None, "fields must be a list of at least one field object")]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"type": "geojson"}, "type must be one of"),
        ({"type": "any"}, "type must be one of"),
        ({"type": None}, "type must be one of"),
        ({"type": ["string"]}, "type must be one of"),
        ({"type": "date", "format": "any"}, "format any is not supported"),
        ({"type": "date", "format": "%d/%m/%y"}, "%y is not supported: a year has four digits"),
        ({"type": "date", "format": "%d/%m"}, "it lacks %Y"),
        ({"type": "date", "format": "%Y-%m-%d %H"}, "%H is not part of a date"),
        ({"type": "date", "format": "%Y-%j"}, "%j is not supported"),
        ({"type": "date", "format": "%Y-%m-%d %d"}, "a directive may stand once"),
        ({"type": "date", "format": "%Y-%m-%b-%d"}, "a directive may stand once"),
        ({"type": "date", "format": "%Y-%m-%d%"}, "% is not supported"),
        ({"type": "time", "format": "%H"}, "it lacks %M"),
        ({"type": "time", "format": "%H:%M.%f"}, "it lacks %S"),
        ({"type": "time", "format": "%I:%M %p"}, "%I is not supported"),
        ({"type": "datetime", "format": "%Y-%m-%d"}, "it lacks %H %M"),
        ({"type": "datetime", "format": ""}, "it lacks"),
        ({"type": "integer", "format": "hex"}, "format hex of integer is not supported"),
        ({"type": "geopoint", "format": "array"}, "format array of geopoint is not supported"),
        ({"type": "boolean", "format": "email"}, "format email of boolean is not supported"),
        ({"format": "binary"}, "format binary of string is not supported"),
        ({"format": None}, "format"),
        ({"constraints": None}, "constraints must be an object"),
        ({"constraints": ["required"]}, "constraints must be an object"),
        ({"constraints": {"jsonSchema": {}}}, "constraint jsonSchema is not supported"),
        ({"constraints": {"minimum": 3}}, "constraint minimum is not for a field of type string"),
        ({"type": "boolean", "constraints": {"minimum": 0}}, "constraint minimum is not for a field of type boolean"),
        ({"type": "integer", "constraints": {"pattern": "1"}}, "constraint pattern is not for a field of type integer"),
        ({"type": "integer", "constraints": {"minLength": 1}}, "constraint minLength is not for a field of type"),
        ({"type": "object", "constraints": {"enum": [{}]}}, "constraint enum is not for a field of type object"),
        ({"constraints": {"enum": []}}, "constraint enum must be a list of 1 to 10,000 values"),
        ({"constraints": {"enum": "ab"}}, "constraint enum must be a list of 1 to 10,000 values"),
        ({"constraints": {"enum": [1]}}, 'constraint enum has "1", which is not a string'),
        ({"type": "integer", "constraints": {"enum": [1, "x"]}}, 'constraint enum has "x", which is not an integer'),
        ({"type": "integer", "constraints": {"enum": [True]}}, 'constraint enum has "True", which is not an integer'),
        ({"type": "integer", "constraints": {"minimum": 1.5}}, 'constraint minimum has "1.5", which is not an integer'),
        ({"type": "integer", "constraints": {"minimum": None}}, "constraint minimum has"),
        ({"type": "integer", "constraints": {"minimum": [1]}}, "constraint minimum has"),
        ({"type": "number", "constraints": {"maximum": "NaN"}}, 'constraint maximum has "NaN", which is not a number'),
        ({"type": "date", "constraints": {"minimum": "now"}}, 'constraint minimum has "now", which is not a date'),
        ({"type": "date", "constraints": {"minimum": 2024}}, "constraint minimum has"),
        ({"type": "date", "format": "%d.%m.%Y", "constraints": {"minimum": "2024-01-05"}}, "is not a date (%d.%m.%Y)"),
        ({"type": "year", "constraints": {"maximum": 99}}, "constraint maximum has"),
        ({"type": "integer", "constraints": {"minimum": 2, "maximum": 1}}, "minimum and maximum leave no value"),
        ({"type": "integer", "constraints": {"minimum": 2, "exclusiveMaximum": 2}}, "leave no value"),
        ({"constraints": {"minLength": 3, "maxLength": 2}}, "minLength and maxLength leave no value"),
        ({"constraints": {"minLength": "3"}}, "constraint minLength must be a whole number"),
        ({"constraints": {"maxLength": -1}}, "constraint maxLength must be a whole number"),
        ({"constraints": {"maxLength": True}}, "constraint maxLength must be a whole number"),
        ({"constraints": {"pattern": 5}}, "constraint pattern must be a regular expression"),
        ({"constraints": {"pattern": "["}}, "constraint pattern cannot be used"),
        ({"constraints": {"pattern": "(a)\\1"}}, "constraint pattern cannot be used: \\1 is not supported"),
        ({"constraints": {"pattern": "(?=a)b"}}, "constraint pattern cannot be used: invalid perl operator: (?="),
        ({"constraints": {"pattern": "\\i\\c*"}}, "constraint pattern cannot be used: \\i is not supported"),
        ({"constraints": {"pattern": "[a-z-[aeiou]]"}}, "taking one class from another"),
        ({"constraints": {"pattern": "[[:alpha:]-[aeiou]]"}}, "taking one class from another"),
        ({"constraints": {"pattern": "a" * 1001}}, "the pattern has 1001 characters; the limit is 1000"),
        ({"constraints": {"pattern": "\\pL{1000}"}}, "constraint pattern cannot be used: it is too large"),
        ({"constraints": {"pattern": "[a-z]{1000}" * 30}}, "it is too large"),
        ({"constraints": {"pattern": "(?:(?:[a-z]{30}){30}){30}"}}, "it is too large"),
        ({"constraints": {"pattern": "a{,5}"}}, "{ without a number is not supported"),
        ({"constraints": {"pattern": "a\\"}}, "a single \\ at the end is not supported"),
        ({"constraints": {"required": "yes"}}, "constraint required must be true or false"),
        ({"constraints": {"unique": 1}}, "constraint unique must be true or false"),
        ({"constraints": {"unique": None}}, "constraint unique must be true or false"),
        ({"decimalChar": ","}, "decimalChar is not for a field of type string"),
        ({"type": "integer", "decimalChar": ","}, "decimalChar is not for a field of type integer"),
        ({"type": "date", "groupChar": ","}, "groupChar is not for a field of type date"),
        ({"bareNumber": True}, "bareNumber is not for a field of type string"),
        ({"type": "number", "bareNumber": 1}, "bareNumber must be true or false"),
        ({"type": "number", "groupChar": "."}, "decimalChar and groupChar must differ"),
        ({"type": "number", "decimalChar": ",", "groupChar": ","}, "decimalChar and groupChar must differ"),
        *(({"type": "number", "decimalChar": mark}, "decimalChar must be one character") for mark in NO_MARKS),
        *(({"type": "number", "groupChar": mark}, "groupChar must be one character") for mark in NO_MARKS),
        ({"categories": ["a"]}, "categories is not supported"),
        ({"missingValues": [None]}, "missingValues must be a list of strings"),
        ({"type": "boolean", "trueValues": ["x", "0"]}, "trueValues and falseValues both have '0'"),
        ({"trueValues": []}, "trueValues must be a list of strings"),
        ({"trueValues": None}, "trueValues must be a list of strings"),
        ({"trueValues": "yes"}, "trueValues must be a list of strings"),
        ({"falseValues": [0]}, "falseValues must be a list of strings"),
    ],
)
def test_a_refusal_names_the_field_that_is_at_fault(field: Json, said: str) -> None:
    found = problems(with_field(**field))
    assert [column for column, _ in found] == ["amount"]
    assert said in found[0][1]


@pytest.mark.parametrize("name", [None, "", 7, [], {}, True, "a\0b"])
def test_a_field_without_a_usable_name_is_refused(name: Any) -> None:
    assert (None, "every field needs a name") in problems({"fields": [{"name": "id"}, {"name": name}]})


@pytest.mark.parametrize("name", ["_row", "_row_number", *SYSTEM_COLUMNS])
def test_a_name_that_the_table_needs_itself_is_refused(name: str) -> None:
    """Every table of Postgres has its system columns, and ours have `_row`."""
    assert [column for column, _ in problems({"fields": [{"name": "id"}, {"name": name}]})] == [name]


@pytest.mark.parametrize("name", ["n" * (MAX_IDENTIFIER_BYTES + 1), "é" * 32])
def test_a_name_longer_than_an_identifier_is_refused(name: str) -> None:
    assert problems({"fields": [{"name": name}]}) == [(name, "a name may have 63 bytes")]


@pytest.mark.parametrize(
    "name", ["n" * MAX_IDENTIFIER_BYTES, "é" * 31, "100 %", "%s", 'say "hi"', "row", "select", " a ", "名"]
)
def test_any_other_name_is_a_name(name: str) -> None:
    assert read_schema({"fields": [{"name": name}]}).names == [name]


def test_two_fields_of_one_name_are_refused() -> None:
    assert problems({"fields": [{"name": "a"}, {"name": "A"}, {"name": "a"}]}) == [("a", "two fields have this name")]


def test_there_are_at_most_1500_fields() -> None:
    fields = [{"name": f"f{n}"} for n in range(MAX_FIELDS + 1)]
    assert problems({"fields": fields}) == [(None, "1501 fields; the limit is 1500")]
    assert len(read_schema({"fields": fields[:-1]}).fields) == MAX_FIELDS


@pytest.mark.parametrize(
    "keys", [{"primaryKey": ["a", "c"]}, {"primaryKey": "c"}, {"uniqueKeys": [["c"]]}, {"uniqueKeys": ["c"]}]
)
def test_a_key_of_a_field_that_is_not_there_names_it(keys: Json) -> None:
    assert problems(with_key(**keys)) == [("c", "a key names a field that is not there")]


@pytest.mark.parametrize(
    "keys",
    [
        {"primaryKey": None},
        {"primaryKey": ""},
        {"primaryKey": 0},
        {"primaryKey": 7},
        {"primaryKey": False},
        {"primaryKey": {}},
        {"primaryKey": {"a": 1}},
        {"primaryKey": ["a", 1]},
        {"primaryKey": ["a", "a"]},
        {"uniqueKeys": None},
        {"uniqueKeys": "a"},
        {"uniqueKeys": [[]]},
        {"uniqueKeys": [None]},
        {"uniqueKeys": [["a", "a"]]},
        {"uniqueKeys": [{"a": 1}]},
    ],
)
def test_a_key_that_is_no_list_of_names_is_refused(keys: Json) -> None:
    assert problems(with_key(**keys))


def test_a_key_has_no_more_columns_than_an_index() -> None:
    names = [f"f{n}" for n in range(INDEX_COLUMNS + 1)]
    fields = [{"name": name} for name in names]
    assert read_schema({"fields": fields, "primaryKey": names[:-1]}).keys == (tuple(names[:-1]),)
    assert problems({"fields": fields, "primaryKey": names})
    assert problems({"fields": fields, "uniqueKeys": [names]})


REFERENCE = {"resource": "other", "fields": ["x"]}


@pytest.mark.parametrize(
    ("key", "column", "said"),
    [
        ("a", None, "foreignKeys must be a list of objects"),
        ({"reference": REFERENCE}, None, "a foreign key is a field name or a list of different field names"),
        ({"fields": "c", "reference": REFERENCE}, "c", "a foreign key names a field that is not there"),
        (
            {"fields": ["a", "a"], "reference": {"resource": "other", "fields": ["x", "y"]}},
            None,
            "a foreign key is a field name or a list of different",
        ),
        ({"fields": ["a", "b"], "reference": REFERENCE}, None, "a foreign key refers to as many fields as it has"),
        ({"fields": "a"}, None, "a foreign key needs a reference"),
        ({"fields": "a", "reference": {"fields": "b"}}, None, "a foreign key to the dataset itself is not supported"),
        ({"fields": "a", "reference": REFERENCE | {"resource": ""}}, None, "a foreign key to the dataset itself"),
        ({"fields": "a", "reference": REFERENCE | {"resource": 7}}, None, "reference.resource must be the name"),
        ({"fields": "a", "reference": {"resource": "other"}}, None, "reference.fields is a field name or a list"),
    ],
)
def test_a_foreign_key_that_cannot_be_is_refused(key: Any, column: str | None, said: str) -> None:
    ((where, told),) = problems(with_key(foreignKeys=[key]))
    assert (where, said in told) == (column, True)


def test_a_foreign_key_names_fields_here_and_there() -> None:
    schema = read_schema(with_key(foreignKeys=[{"fields": "a", "reference": REFERENCE}]))
    assert schema.foreign_keys == (ForeignKey(("a",), "other", ("x",)),)


def test_patterns_have_a_limit_together() -> None:
    fields = [{"name": f"f{n}", "constraints": {"pattern": "[a-z]{1000}"}} for n in range(70)]
    assert problems({"fields": fields}) == [(None, "the patterns of all fields together are too large")]
    assert read_schema({"fields": fields[:50]})


def test_there_are_at_most_16_foreign_keys() -> None:
    keys = [{"fields": "a", "reference": REFERENCE}] * 17
    assert problems(with_key(foreignKeys=keys)) == [(None, "17 foreignKeys; the limit is 16")]


@pytest.mark.parametrize("value", [None, "NA", [None], [0], {}])
def test_missing_values_are_a_list_of_strings(value: Any) -> None:
    assert problems(with_field() | {"missingValues": value}) == [(None, "missingValues must be a list of strings")]


def test_every_problem_is_told_at_once() -> None:
    descriptor = {
        "fields": [{"name": "a", "type": "money"}, {"name": "b", "constraints": {"minimum": 1}}, {"name": "_row"}],
        "primaryKey": "c",
        "missingValues": "",
    }
    assert [column for column, _ in problems(descriptor)] == ["a", "b", "_row", "c", None]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a", "b", "string"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
LIMIT = st.integers(0, 3) | st.sampled_from(["1", "2024-01-05", "P1D", "true", "a*", "NaN"]) | JSON
RULES = ("enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern")
CONSTRAINTS = st.fixed_dictionaries(
    {}, optional={"required": JSON, "unique": JSON, **{name: LIMIT | st.lists(LIMIT, max_size=3) for name in RULES}}
)
FIELD = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c", "ctid"]) | JSON},
    optional={
        "type": st.sampled_from(get_args(FieldType)) | JSON,
        "format": st.sampled_from(["default", "uuid", "%Y-%m-%d", "%H:%M"])
        | st.text("%YmdHMSfbBz -", max_size=9)
        | JSON,
        "decimalChar": st.sampled_from(",.") | JSON,
        "groupChar": st.sampled_from(",.") | JSON,
        "bareNumber": JSON,
        "missingValues": st.just(["-"]) | JSON,
        "constraints": CONSTRAINTS | JSON,
        "trueValues": st.just(["x"]) | JSON,
        "falseValues": JSON,
    },
)
DESCRIPTOR = st.fixed_dictionaries(
    {"fields": st.lists(FIELD, max_size=4) | JSON},
    optional={
        "primaryKey": st.sampled_from(["a", "b"]) | st.lists(st.sampled_from(["a", "b"])) | JSON,
        "uniqueKeys": st.lists(st.lists(st.sampled_from(["a", "b"]), max_size=2) | JSON, max_size=2) | JSON,
        "missingValues": JSON,
        "foreignKeys": st.lists(st.fixed_dictionaries({"fields": JSON, "reference": JSON}), max_size=1) | JSON,
        "encrypted": JSON,
    },
)


@given(DESCRIPTOR)
@settings(max_examples=300, deadline=None)
def test_any_json_is_a_schema_that_holds_together_or_is_refused(descriptor: Json) -> None:
    try:
        schema = read_schema(descriptor)
    except Refused as refused:
        assert refused.code == "schema_invalid"
        assert refused.errors
        return
    assert len(set(schema.names)) == len(schema.names)
    for key in schema.keys:
        assert key
        assert set(key) <= set(schema.names)
        assert len(set(key)) == len(key)
    for field in schema.fields:
        assert isinstance(field.required, bool)
        assert all(isinstance(value, str) for value in (*field.true_values, *field.false_values))
    if schema.has_primary_key:
        assert all(field.required for field in schema.fields if field.name in schema.keys[0])


ATOMS = st.sampled_from(
    [
        *"aé.|*+?^$-[]{}()\\",
        "[a-z]",
        "[^\\d]",
        "\\pL",
        "\\p{Greek}",
        "(?:",
        "(?i)",
        "{1000}",
        "{2,500}",
        "{30}",
        "[[:alpha:]]",
    ]
)


@given(st.lists(ATOMS, max_size=40).map("".join) | st.text(max_size=12))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_pattern_that_can_be_run_or_is_refused(pattern: str) -> None:
    """RE2 aborts the whole process if it is given too much at once."""
    try:
        matches = patterns.compiled(pattern)
    except ValueError:
        return
    assert matches("a" * 1000) or not matches("a" * 1000)


@pytest.mark.parametrize("mode", MODES)
def test_a_dataset_with_one_key_takes_every_mode(mode: str) -> None:
    assert read_mode(mode, read_schema(with_key(primaryKey="a"))) == mode


@pytest.mark.parametrize("keys", [{}, {"primaryKey": "a", "uniqueKeys": [["b"]]}])
def test_upsert_needs_exactly_one_key(keys: Json) -> None:
    with pytest.raises(Refused) as refused:
        read_mode("upsert", read_schema(with_key(**keys)))
    assert refused.value.code == "mode_invalid"


@pytest.mark.parametrize("mode", [None, "", "INSERT", "replace", ["insert"], {}, 1])
def test_any_other_mode_is_refused(mode: Any) -> None:
    with pytest.raises(Refused) as refused:
        read_mode(mode, read_schema(with_key()))
    assert refused.value.code == "mode_invalid"
