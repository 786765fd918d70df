"""Sealed values, blind indexes, and what a schema may ask of encrypted fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import vault
from chalicelib.cells import Field
from chalicelib.datasets import Schema, narrowings, read_schema
from chalicelib.errors import Refused
from chalicelib.formats import Dialect
from chalicelib.rows import Shape, exact, vectors
from chalicelib.sealing import OVERHEAD, BlindKey, DataKey, Home, SealBroken, key_number

HOME = Home("ten_a", 7)
KEY = DataKey(3, HOME, b"k" * 32)
BLIND = BlindKey(HOME, b"b" * 32)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(TEXT, st.integers(0, 2**63 - 1))
def test_what_is_sealed_opens_where_it_was_sealed(text: str, row: int) -> None:
    sealed = KEY.sealer("name")(row, text)
    assert KEY.opener("name")(row, sealed) == text
    assert key_number(sealed) == 3
    assert KEY.sealer("name")(row, text) == sealed  # a chunk that is loaded again comes out the same


@pytest.mark.parametrize(
    ("other", "column", "row"),
    [
        (KEY, "name", 6),
        (KEY, "names", 5),
        (replace(KEY, number=4), "name", 5),
        (replace(KEY, secret=b"l" * 32), "name", 5),
        (replace(KEY, home=Home("ten_a", 8)), "name", 5),
        (replace(KEY, home=Home("ten_b", 7)), "name", 5),
        (replace(KEY, home=Home("ten_a7", 7)), "name", 5),
    ],
)
def test_it_opens_nowhere_else(other: DataKey, column: str, row: int) -> None:
    sealed = KEY.sealer("name")(5, "Ada")
    with pytest.raises(SealBroken):
        other.opener(column)(row, sealed)


def test_no_byte_of_it_can_be_changed() -> None:
    sealed = KEY.seal_record(5, b"Ada")
    assert len(sealed) == OVERHEAD + 3
    for place in range(len(sealed)):
        with pytest.raises(SealBroken):
            KEY.open_record(5, sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :])
    for cut in range(len(sealed)):
        with pytest.raises(SealBroken):
            KEY.open_record(5, sealed[:cut])


@pytest.mark.parametrize("text", ["", "A", "Ada Lovelace", "!" * 60, "Ä" * 60, "AgAAAAM" + "A" * 60])
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(SealBroken):
        key_number(text)
        KEY.opener("name")(5, text)


def test_equal_values_differ_wherever_they_stand() -> None:
    seal, other = KEY.sealer("name"), KEY.sealer("maiden_name")
    assert len({seal(1, "Ada"), seal(2, "Ada"), other(1, "Ada"), seal(1, "Ade")}) == 4


@pytest.mark.parametrize(
    ("spec", "same", "different"),
    [
        (Field("f", "string", "email"), ("A@x.org", "a@X.ORG"), "b@x.org"),
        (Field("f", "string"), ("Ada",), "ada"),
        (
            Field("f", "string", "uuid"),
            ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            "x",
        ),
        (Field("f", "integer"), ("7", "+007"), "-7"),
        (Field("f", "number"), ("1.5", "+01.50", "15e-1"), "1.51"),
        (Field("f", "number"), ("0", "-0.00", "0e5"), "0.1"),
        (Field("f", "number"), ("1" * 60 + ".0", "1" * 60), "1" * 59 + "2"),
        (Field("f", "number"), ("100", "1e2"), "10"),
        (Field("f", "number"), ("NaN",), "Infinity"),
        (Field("f", "boolean"), ("t",), "f"),
        (Field("f", "date"), ("2024-02-29",), "2024-02-28"),
    ],
)
def test_a_blind_index_knows_spellings_of_one_value(spec: Field, same: tuple[str, ...], different: str) -> None:
    index = BLIND.indexer(spec)
    assert len({index(value) for value in same}) == 1
    assert index(different) != index(same[0])
    for other in (
        replace(BLIND, home=Home("ten_b", 7)),
        replace(BLIND, home=Home("ten_a", 8)),
        replace(BLIND, secret=b"c"),
    ):
        assert other.indexer(spec)(same[0]) != index(same[0])
    assert BLIND.indexer(replace(spec, name="g"))(same[0]) != index(same[0])


def schema(**more: Any) -> Schema:
    fields = [
        {"name": "id", "type": "integer"},
        {"name": "email", "format": "email", "encrypted": True, "constraints": {"unique": True}},
        {"name": "note", "encrypted": True},
    ]
    return read_schema({"fields": fields, **more})


@pytest.mark.parametrize(
    "body", [b'1,b@x.org,x\n2,,\n3,no,x\n4,a@x.org,"a\tb\\\n"\n', b"1,,\n2,,\n3,,\n4,,\n", b"x,,\n" * 4]
)
def test_both_ways_of_reading_seal_the_same(body: bytes) -> None:
    shape = Shape(Dialect(), schema(), range(3), 3, seal=vault.sealing_by(KEY, BLIND, schema()))
    fast, slow = vectors.read(body, shape, 4, 5), exact.read(body, shape, 4, 5)
    assert fast is not None
    good = list(range(len(slow.checked.places)))
    for left_out in ([], good[:1], good):
        assert b"".join(fast.text(left_out)) == b"".join(slow.text(left_out))
    assert [list(column) for column in fast.checked.columns] == slow.checked.columns
    assert fast.checked.bad == slow.checked.bad
    assert len(slow.checked.columns) == 4


def test_keys_go_by_the_blind_index() -> None:
    stored = schema(uniqueKeys=[["id", "email"]]).stored
    *_, blind = stored.names
    assert stored.keys == ((blind,), ("id", blind))
    assert [stored.label(key) for key in stored.keys] == ["email", "id, email"]
    assert stored.stored is stored
    assert {spec.postgres_type for spec in stored.fields[1:]} == {"text"}


@pytest.mark.parametrize(
    ("descriptor", "column", "said"),
    [
        ({"fields": [{"name": "a", "encrypted": "yes"}]}, "a", "encrypted must be true or false"),
        ({"fields": [{"name": "a", "encrypted": True, "type": "datetime"}]}, "a", "encrypted is for fields of type"),
        ({"fields": [{"name": "a"}], "encrypted": ["a"]}, None, "encrypted is said of each field"),
        ({"fields": [{"name": "a", "encrypted": True}], "indexes": ["a"]}, "a", "cannot be indexed"),
        ({"fields": [{"name": "a", "encrypted": True}], "indexes": [["b", "a"]]}, "a", "cannot be indexed"),
        (
            {"fields": [{"name": "a", "encrypted": True}], "partition_by": {"field": "a", "hash": 4}},
            "a",
            "cannot be what rows are parted by",
        ),
        (
            {
                "fields": [{"name": "a", "encrypted": True}],
                "foreignKeys": [{"fields": "a", "reference": {"resource": "b", "fields": "c"}}],
            },
            "a",
            "cannot be in a foreign key",
        ),
    ],
)
def test_what_cannot_be_asked_of_an_encrypted_field_is_refused(
    descriptor: dict[str, Any], column: str | None, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        read_schema(descriptor)
    assert refused.value.code == "schema_invalid"
    assert any(one.get("column") == column and said in one["detail"] for one in refused.value.errors)


def test_rows_that_are_there_would_have_to_be_sealed() -> None:
    before, after = ({"fields": [{"name": "a", "encrypted": each}]} for each in (False, True))
    assert [column for column, _ in narrowings(read_schema(before), read_schema(after))] == ["a"]
    assert [column for column, _ in narrowings(read_schema(after), read_schema(before))] == ["a"]
