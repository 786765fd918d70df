"""The fast way to a chunk's rows against the exact one: the same result, or none."""

from __future__ import annotations

import csv
import io
import random
import re
import sys
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from chalicelib import rows
from chalicelib.cells import Conventions
from chalicelib.datasets import read_schema
from chalicelib.formats import MAX_CELL, Dialect, records
from chalicelib.formats.grammar import PROVABLE
from chalicelib.rows import Shape, exact, lines, vectors

FIRST = (7 << 32) + 1
FIELDS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "constraints": {"required": True}},
    {"type": "string", "format": "email"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "uri"},
    {"type": "string", "constraints": {"maxLength": 3}},
    {"type": "string", "constraints": {"enum": ["X", "ja", "É"]}},
    {"type": "integer"},
    {"type": "integer", "groupChar": ","},
    {"type": "integer", "constraints": {"minimum": 3}},
    {"type": "number"},
    {"type": "number", "decimalChar": ",", "groupChar": "."},
    {"type": "number", "bareNumber": False},
    {"type": "boolean"},
    {"type": "date"},
    {"type": "date", "format": "%d/%m/%Y"},
    {"type": "time"},
    {"type": "datetime"},
    {"type": "year"},
    {"type": "duration"},
    {"type": "array"},
    {"type": "geopoint"},
]
MORE = (
    Conventions(trim="all", enum_case="ignore"),
    Conventions(decimal_char=",", group_char=".", date_order="dmy", true_values=("é",), typed=()),
    Conventions(trim="values", true_values=("x", "Ja"), false_values=("é",), enum_case="ignore"),
)
VALUES = [
    *(
        " x ",
        "\u00a0NA\u3000",
        "\t12 ",
        "Ja",
        "",
        "NA",
        "x",
        "é",
        "\u2028",
        "\ufeff",
        "a\nb",
        "a\r\nb",
        "a\\b",
        "a\tb",
        'say "hi"',
        "a,b",
        "a;b",
        " ",
        "\\N",
        "\\.",
    ),
    *(
        "0",
        "-1",
        "+7",
        "007",
        "9223372036854775807",
        "9223372036854775808",
        "1,234",
        "1.234,5",
        "1e5",
        "NaN",
        "٣",
        "1_0",
    ),
    *("true", "f", "2024-02-29", "2023-02-29", "2024-1-5", "31/12/2024", "12:30:00", "24:00:00", "0000", "2024"),
    *("2024-02-29T12:30:00Z", "2024-02-30T12:30:00", "9999-12-31T23:59:59-15:00", "P1D", "[1]", "10, 20", "181, 0"),
    *(
        "a@b.example",
        "a@b" + ".c" * 130,
        "http://x.example/",
        "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
        "x" * 70,
        "5%",
        "€5",
    ),
]
CELLS = st.sampled_from(VALUES) | st.text(max_size=6)


def shape_of(
    fields: list[dict[str, Any]], key: int, dialect: Dialect, conventions: Conventions, *, in_order: bool = False
) -> Shape:
    """`key` columns, or as many as there are, are a key; cells come in the order of the fields or the other way round."""
    descriptor: dict[str, Any] = {
        "fields": [{"name": f"f{place}"} | field for place, field in enumerate(fields)],
        "missingValues": ["", "NA"],
    }
    names = [field["name"] for field in descriptor["fields"][:key]]
    schema = read_schema(descriptor | ({"uniqueKeys": [names]} if names else {}))
    positions = range(len(fields))
    return Shape(dialect, schema, positions if in_order else positions[::-1], len(fields), conventions)


def assert_same(data: bytes, shape: Shape) -> bool:
    """Whether the fast way took the chunk; then to the same end as the exact one."""
    count = len(records(data, shape.dialect))
    slow = exact.read(data, shape, count, FIRST)
    taken = set()
    for few in (lines.FEW, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lines, "FEW", few)  # nought: however many lines have to be taken apart
            fast = vectors.read(data, shape, count, FIRST)
        taken.add(fast is not None)
        if fast:
            assert_equal(fast, slow)
    assert len(taken) == 1
    return taken.pop()


def assert_equal(fast: rows.Rows, slow: rows.Rows) -> None:
    for left_out in ((), range(0, len(slow.checked.places), 2)):
        text = b"".join(slow.text(left_out))
        if fast.written:
            as_written = b"".join(fast.written.text(left_out))
            assert copied(as_written, *fast.written.marks) == copied(text, "\t", "\\N")
        assert b"".join(fast.text(left_out)) == text
    assert (list(fast.checked.places), fast.checked.bad) == (list(slow.checked.places), slow.checked.bad)
    assert [list(column) for column in fast.checked.columns] == [list(column) for column in slow.checked.columns]


def copied(text: bytes, delimiter: str, null: str) -> list[list[str | None]]:
    """What COPY reads in its text format."""
    lines = text.decode().removesuffix("\n").split("\n") if text else []
    return [[None if cell == null else unescaped(cell) for cell in line.split(delimiter)] for line in lines]


def unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"t": "\t", "n": "\n", "r": "\r"}.get(found[1], found[1]), cell)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(FIELDS), min_size=1, max_size=5).flatmap(
        lambda fields: st.tuples(st.just(fields), st.lists(st.tuples(*[CELLS] * len(fields)), min_size=1, max_size=12))
    ),
    st.integers(0, 2),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from([Conventions(), Conventions(null_values=("x",), date_order="dmy", decimal_char=","), *MORE]),
    st.booleans(),
)
def test_of_well_written_rows_both_ways_make_the_same(
    table: Any, key: int, delimiter: str, line_end: str, quoting: Any, conventions: Conventions, in_order: bool
) -> None:
    fields, rows = table
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(rows)
    shape = shape_of(fields, key, Dialect(delimiter), conventions, in_order=in_order)
    taken = assert_same(out.getvalue().encode(), shape)
    event(f"taken: {taken}")


@pytest.mark.parametrize(("count", "words"), [(20_000, "few words"), (4_000, "many words " * 100)])
def test_a_chunk_of_many_pieces_is_numbered_and_sorted_as_one(count: int, words: str) -> None:
    rows = [(n * 7919 % 20011, words if n % 2 else "", "" if n % 4999 else "?", n) for n in range(1, count + 1)]
    data = "".join(f"{key:05},{text},{seldom},{'x' if n % 89 == 0 else n}\n" for key, text, seldom, n in rows).encode()
    assert len(data) > PROVABLE
    fields: list[dict[str, Any]] = [{"type": "integer"}, {"type": "boolean"}, {"type": "string"}, {"type": "string"}]
    assert assert_same(data, shape_of(fields, 2, Dialect(), Conventions()))


def test_records_larger_than_a_chunk_should_be_go_on_in_pieces() -> None:
    rows = [[str(n), *["x" * (MAX_CELL - 1), "é" * (MAX_CELL // 2)] * 6] for n in (1, 2)]
    data = "".join(f"{','.join(row)}\n" for row in rows).encode()
    shape = shape_of([{"type": "string"}] * 13, 0, Dialect(), Conventions())
    pieces = [piece.decode() for piece in exact.read(data, shape, 2, FIRST).text(())]
    expected = ["\t".join([*reversed(row), str(FIRST + n)]) for n, row in enumerate(rows)]
    whole = "".join(pieces).splitlines() == expected  # named, as what differs would be megabytes long
    assert whole and max(map(len, pieces)) == exact.PIECE_LENGTH


@pytest.mark.parametrize("key", [1, 2])
def test_both_ways_order_texts_by_their_bytes(key: int) -> None:
    """Workers that insert the same keys in another order would wait for each other."""
    texts = [
        start + rest for start in ("", "a", "b", "ab", "abcdefg", "abcdefgh", "é", "\U0001f600") for rest in "zay1"
    ]
    random.Random(3).shuffle(texts)
    data = "".join(f"{text[::-1]},{text}\n" for text in texts).encode()
    assert assert_same(data, shape_of([{"type": "string"}] * 2, key, Dialect(), Conventions()))


@pytest.mark.parametrize(
    ("data", "marks"),
    [
        ("a,1\nb,2\n", (",", "")),
        ("\t|1\r\n|2\r\n", ("|", "")),
        ("é\tNA\nb\t2", ("\t", "NA")),
        ("a;1\nb;x\nc;\n", (";", "")),  # the second is rejected
    ],
)
def test_lines_that_copy_can_take_go_on_as_they_are_written(data: str, marks: tuple[str, str]) -> None:
    shape = shape_of([{"type": "string"}, {"type": "integer"}], 1, Dialect(marks[0]), Conventions(), in_order=True)
    found = vectors.read(data.encode(), shape, len(records(data.encode(), shape.dialect)), FIRST)
    assert found and found.written and found.written.marks == marks
    assert assert_same(data.encode(), shape)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ("a,\nNA,2\n", {}),  # two spellings of a null
        ("a,\nb,2\n", {"missingValues": ["-", ""]}),  # to the other column it is none
        ("a,-\nb,2\n", {"missingValues": ["-", ""]}),
        ("a,TRUE\n", {"type": "boolean"}),
        ("a,\\N\n", {}),
        ("a,\\.\n", {}),
        ('"a",1\n', {}),
        ("a,1\n\ufeffb,2\n", {}),
    ],
)
@pytest.mark.parametrize("few", [lines.FEW, 0])
def test_lines_that_copy_would_read_otherwise_are_written_anew(data: str, field: dict[str, Any], few: int) -> None:
    fields = [{"type": "string", "missingValues": ["NA"] if field else ["", "NA"]}, {"type": "string"} | field]
    shape = shape_of(fields, 0, Dialect(), Conventions(), in_order=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "FEW", few)
        found = vectors.read(data.encode(), shape, len(records(data.encode(), shape.dialect)), FIRST)
    assert found and not found.written


def test_copy_takes_no_dot_between_cells() -> None:
    shape = shape_of([{"type": "string"}] * 2, 0, Dialect("."), Conventions(), in_order=True)
    found = vectors.read(b"a.b\n", shape, 1, FIRST)
    assert found and not found.written


REQUIRED = {"constraints": {"required": True}}


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ("a,NA,x\nNA,NA,x\n", [{"type": "string"} | REQUIRED, {"type": "string"}, {"type": "string"}]),
        ("a,NA\n,x\n", [{"type": "string"} | REQUIRED, {"type": "string"}]),
        ("1,,\n,,x\n", [{"type": "integer"} | REQUIRED, {"type": "string"}, {"type": "string"}]),
        ("NAME,,x\nNA,,x\n", [{"type": "string"}] * 3),
        ("-9,,x\n9,,x\n", [{"type": "integer", "missingValues": ["", "-9"]}, {"type": "string"}, {"type": "string"}]),
    ],
)
def test_what_is_missing_is_told_from_the_text_of_a_line(data: str, fields: list[dict[str, Any]]) -> None:
    assert assert_same(data.encode(), shape_of(fields, 0, Dialect(), Conventions(), in_order=True))


def test_blanks_that_are_trimmed_are_no_text_of_a_line() -> None:
    fields = [{"type": "string"} | REQUIRED, {"type": "integer"}]
    shape = shape_of(fields, 1, Dialect(), Conventions(trim="all"), in_order=True)
    assert assert_same(b"x,1\n" * 20 + b"  ,4\n y ,5\n,6\nz ,7\n", shape)


@pytest.mark.parametrize("width", [100, 150, 400])
def test_more_numbers_than_a_pattern_can_hold_are_looked_at_one_by_one(width: int) -> None:
    shape = shape_of([{"type": "number"}] * width, 0, Dialect(), Conventions(), in_order=True)
    assert assert_same(b"1.5" + b",2" * (width - 1) + b"\n", shape)


def test_an_empty_line_is_no_record_of_one_column() -> None:
    shape = shape_of([{"type": "string", "missingValues": ["NA"]}], 0, Dialect(), Conventions(), in_order=True)
    assert assert_same(b"a\nb\n", shape)
    assert not assert_same(b"a\n\nb\n", shape)


MESSY = st.lists(
    st.sampled_from(
        [b"a", b"b", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b" ", b"\xff", b"\0", b"\xef\xbb\xbf", b"1", b"\xc3\xa9"]
    ),
    max_size=24,
).map(b"".join)


@settings(max_examples=3000, deadline=None)
@given(MESSY, st.integers(1, 3))
def test_of_any_bytes_the_fast_way_makes_the_same_or_nothing(data: bytes, width: int) -> None:
    shape = shape_of([{"type": "string"}] * width, 2, Dialect(), Conventions(), in_order=True)
    taken = assert_same(data, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "WINDOW", 1)
        assert assert_same(data, shape) == taken
    event(f"taken: {taken}")


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\nc,d\n",
        b'a,b\r\n"c ""d"", e",f',
        b'"a\nb",c\n,\n',
        b'"",""\n',
        "é,ü\n".encode(),
        b"a,5\nb,\n",
    ],
)
def test_the_fast_way_takes_what_is_well_written(data: bytes) -> None:
    assert assert_same(data, shape_of([{"type": "string"}] * 2, 0, Dialect(), Conventions()))


@pytest.mark.parametrize("window", [1, vectors.WINDOW])
@pytest.mark.parametrize(
    "data",
    [
        b"a,b\nc\n",
        b"a,b\n\nc,d\n",
        b'a,5" pipe\nc,6" pipe\n',
        b'a,"b" \n',
        b'a, "b"\n',
        b"\xef\xbb\xbfa,b\n",
        b"a,b\rc,d\r",
        b"a,b\0\n",
        b"a,\xff\n",
        b'a,"b\n',
        b',""a""\n',
        b'""a,""\n',
        b'"",a""\n',
        b"a,b,c\nd\n",
        b"a," + b"b" * (1 << 20) + b"\n",
    ],
)
def test_the_fast_way_leaves_alone_what_it_might_read_otherwise(
    monkeypatch: pytest.MonkeyPatch, data: bytes, window: int
) -> None:
    monkeypatch.setattr(vectors, "WINDOW", window)
    assert not assert_same(data, shape_of([{"type": "string"}] * 2, 0, Dialect(), Conventions()))


def test_a_delimiter_that_a_column_could_hold_is_one_all_the_same() -> None:
    shape = shape_of(
        [{"type": "string"}, {"type": "string", "format": "email"}], 0, Dialect("|"), Conventions(), in_order=True
    )
    assert assert_same(b"a|b@c.d\nx|z|b@c.d\n"[:8], shape)
    assert not assert_same(b"x|z|b@c.d\nx\n", shape)


def test_a_cell_too_large_is_rejected_however_many_lines_it_has() -> None:
    data = b'"' + b'a ""line"",\n' * (MAX_CELL // 9) + b'",1\nb,2\n'
    schema = read_schema({"fields": [{"name": name, "type": "string"} for name in "ab"]})
    found = rows.read(data, Shape(Dialect(), schema, [0, 1], 2), 2, FIRST)
    assert [error.code for error in found.checked.bad[0]] == ["row_too_large"]
    assert list(found.checked.places) == [1]


def test_a_small_chunk_is_read_a_record_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is faster, and all that a few rows need: polars is not asked. Between the two there is no other difference."""
    shape = shape_of([{"type": "string"}] * 2, 2, Dialect(), Conventions())
    data = b"b,1\na,2\n" * 4
    monkeypatch.setattr(rows, "SMALL", len(data))
    large = rows.read(data, shape, 8, FIRST)
    monkeypatch.setattr(rows, "SMALL", len(data) + 1)
    small = rows.read(data, shape, 8, FIRST)
    assert (type(small.checked.columns[0]), type(large.checked.columns[0]).__name__) == (list, "Series")
    assert b"".join(small.text(())) == b"".join(large.text(()))


def test_where_polars_is_not_installed_every_chunk_is_read_the_exact_way(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = shape_of([{"type": "string"}] * 2, 2, Dialect(), Conventions())
    monkeypatch.setattr(rows, "SMALL", 0)
    fast = rows.read(b"b,1\na,2\n", shape, 2, FIRST)
    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.delitem(sys.modules, "chalicelib.rows.vectors")
    rows._vectors.cache_clear()
    try:
        found = rows.read(b"b,1\na,2\n", shape, 2, FIRST)
    finally:
        rows._vectors.cache_clear()
    assert (type(found.checked.columns[0]), type(fast.checked.columns[0]).__name__) == (list, "Series")
    assert b"".join(found.text(())) == b"".join(fast.text(())) == b"1\tb\t%d\n2\ta\t%d\n" % (FIRST, FIRST + 1)
