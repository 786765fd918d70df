"""What a file is taken for, its header, its cells, and where its records lie."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.errors import Refused
from chalicelib.formats import MAX_CELL, Dialect, Unreadable, bom_length, detect, fitted, header, records, sniff, spans
from tests.pure.judge import judged

BOM = b"\xef\xbb\xbf"
COMMAS = Dialect()
DIALECTS = st.sampled_from(
    [
        Dialect(),
        Dialect(delimiter=";"),
        Dialect(delimiter="\x1c", quote="'"),
        Dialect(quote=None),
        Dialect(escape="\\"),
        Dialect(escape="\\", comment="#"),
        Dialect(quote=None, escape="\\"),
        Dialect(delimiter=" ", escape="'"),
        Dialect(comment="#"),
        Dialect(quote="'", comment="a"),
        Dialect(delimiter="é"),
        Dialect(delimiter="\u2028", comment="#"),
        Dialect(delimiter=", "),
        Dialect(delimiter=",a,", quote="'", comment="#"),
    ]
)
ATOMS = [
    "a",
    " ",
    "\\",
    "#",
    "\n#",
    '",',
    '"',
    '""',
    "'",
    ",",
    ";",
    "\n",
    "\r",
    "\r\n",
    "é",
    "\0",
    "\v",
    "\x1c",
    "\x85",
    "\u2028",
    "\ufeff",
]
NASTY = st.lists(st.sampled_from([*map(str.encode, ATOMS), b"\xff", b"\xe9"]), max_size=60).map(b"".join)


def rows(chunk: bytes, dialect: Dialect = COMMAS) -> list[list[str] | None]:
    """The records, None for one whose cells are withheld."""
    return [None if isinstance(row, Unreadable) else row for row in records(chunk, dialect)]


def rows_by_csv(data: bytes, dialect: Dialect) -> list[list[str]]:
    text = io.StringIO(data.decode(errors="surrogateescape"), newline="")
    quoting = csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL
    read = csv.reader(text, delimiter=dialect.delimiter, quotechar=dialect.quote, quoting=quoting, strict=True)
    return [row for row in read if row]


@given(NASTY, DIALECTS)
@settings(max_examples=2000, deadline=None)
def test_records_are_what_the_grammar_says(data: bytes, dialect: Dialect) -> None:
    assert rows(data, dialect) == [record.cells for record in judged(data, dialect)]


@given(NASTY, DIALECTS)
@settings(max_examples=500, deadline=None)
def test_a_plain_dialect_reads_as_csv_reader_does_where_it_reads_strictly(data: bytes, dialect: Dialect) -> None:
    if dialect.escape or dialect.comment or len(dialect.delimiter) > 1:
        return
    try:
        by_csv = rows_by_csv(data, dialect)
    except csv.Error:
        by_csv = None
    mine = rows(data, dialect)
    if by_csv is not None:
        assert mine == by_csv
    else:
        assert None in mine or b'" ' in data or b"' " in data


@given(NASTY, DIALECTS)
@settings(max_examples=1000, deadline=None)
def test_each_span_holds_the_record_of_its_place_and_nothing_else(data: bytes, dialect: Dialect) -> None:
    found = list(spans(data, dialect))
    assert [rows(data[start:end], dialect) for start, end, _ in found] == [[row] for row in rows(data, dialect)]
    gaps = zip([0, *(end for _, end, _ in found)], [*(start for start, _, _ in found), len(data)], strict=True)
    assert all(not judged(data[start:end], dialect) for start, end in gaps)
    assert [(start, end) for start, end, _ in found] == [(each.start, each.end) for each in judged(data, dialect)]


@given(NASTY, DIALECTS)
@settings(max_examples=500, deadline=None)
def test_lines_before_a_span_count_lf_crlf_and_lone_cr_once_each(data: bytes, dialect: Dialect) -> None:
    for start, _, lines in spans(data, dialect):
        before = io.StringIO(data[:start].decode("latin-1"), newline="").readlines()
        assert lines == len(before)


def test_a_blank_line_is_no_record_but_a_quoted_empty_cell_is() -> None:
    assert rows(b'a\n\n""\n\r\nb') == [["a"], [""], ["b"]]


def test_only_the_cell_with_broken_bytes_is_marked() -> None:
    assert rows(b"caf\xc3\xa9,caf\xe9,x\xff\xfe\nok,ok,ok\n") == [
        ["café", "caf\udce9", "x\udcff\udcfe"],
        ["ok", "ok", "ok"],
    ]


def test_a_cell_may_be_longer_than_the_csv_module_likes() -> None:
    assert len(rows(b'"' + b"x" * 200_000 + b'"\n')[0][0]) == 200_000


def test_without_a_quote_character_quotes_are_plain() -> None:
    assert rows(b'"a,b"\n"', Dialect(quote=None)) == [['"a', 'b"'], ['"']]


# The header


def test_the_data_begin_after_the_header_the_blank_lines_and_the_byte_order_mark() -> None:
    found = header(BOM + b'\r\n\n"a\nb",c\r\n1,2\r\n', Dialect(), truncated=False)
    assert (found.names, found.end, found.lines) == (("a\nb", "c"), 15, 4)


def test_a_file_declared_without_header_begins_at_once() -> None:
    found = header(BOM + b"1,2\n", Dialect(header=False), truncated=False)
    assert (found.names, found.end, found.lines) == ((), 3, 0)


@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n", b"\r"])
def test_a_file_that_is_only_a_header_has_its_data_at_its_end(line_end: bytes) -> None:
    found = header(b"id,name" + line_end, Dialect(), truncated=False)
    assert (found.names, found.end) == (("id", "name"), 7 + len(line_end))


@pytest.mark.parametrize("sample", [b"", BOM, b"\n\r\n", BOM + b"\r"])
def test_a_file_without_a_record_has_no_header(sample: bytes) -> None:
    with pytest.raises(Refused) as refused:
        header(sample, Dialect(), truncated=False)
    assert refused.value.code == "header_missing"


@pytest.mark.parametrize("sample", [b"id,name", b'"id\n', b"\n\n", b"id\r", b'id,"name"'])
def test_a_header_must_end_within_the_sample(sample: bytes) -> None:
    with pytest.raises(Refused) as refused:
        header(sample, Dialect(), truncated=True)
    assert refused.value.code == "header_too_long"


def test_a_header_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        header(b"pr\xe9nom,nom\n", Dialect(), truncated=False)
    assert refused.value.code == "encoding_unsupported"


# What a file is taken for


@pytest.mark.parametrize(
    ("sample", "delimiter"),
    [
        (b"a,b\n1,2\n", ","),
        (b"a;b;c\n1,5;2,5;3,5\n", ";"),
        (b"a\tb\n1,x\t2\n", "\t"),
        (b"id,tags\n1,a|b\n2,c|d\n", ","),
        (b"id|text\n1|so, it goes\n2|well, yes, no\n", "|"),
        (b'a;b\n"x,y";2\n"z,w";3\n', ";"),
        (b"name\nAda\n", ","),
        (b"this|that\nAda\nBob\n", ","),
        (b"text\nwell; yes\nno; no\n", ","),
        (BOM + b"a;b\n1;2\n", ";"),
        (b"", ","),
    ],
)
def test_the_delimiter_is_the_one_that_splits_all_records_alike(sample: bytes, delimiter: str) -> None:
    assert detect(sample, {}, truncated=False).dialect == Dialect(delimiter=delimiter)


def test_a_record_that_the_sample_cuts_off_is_no_evidence() -> None:
    found = detect(b"a;b;c\n1;2;3\n4;5", {}, truncated=True)
    assert (found.records, found.agreeing, found.columns) == (2, 2, 3)


def test_what_the_client_declared_wins() -> None:
    found = detect(b"a;b\n1;2\n", {"delimiter": ",", "header": False}, truncated=False)
    assert found.dialect == Dialect(delimiter=",", header=False)


@pytest.mark.parametrize(
    "sample",
    [
        # An apostrophe that begins a cell, and one that ends another: between them rows would be lost.
        b"id,name\n1,'tis\n2,b\n3,dogs'\n4,d\n",
        b"id,name\n1,'tis\n2,b,ragged\n3,dogs'\n4,d\n",
        b"id,name\n1,'\n2,b\n3,'\n4,d\n",
        # Cells in quotes with doubled ones inside are in quotes.
        b'id,name\n1,"5"""\n2,"3"""\n3,\'x\'\n',
        b'id,name\n1,"say ""hi"""\n2,\'x\'\n3,\'y\'\n',
    ],
)
@pytest.mark.parametrize("names", [(), ("id", "name")])
def test_an_apostrophe_is_no_quote_where_it_may_be_a_letter(sample: bytes, names: tuple[str, ...]) -> None:
    assert detect(sample, {}, truncated=False, names=names).dialect == Dialect()


def test_an_apostrophe_is_a_quote_where_nothing_else_is_and_lines_are_few() -> None:
    for sample in (b"id,name\n1,'a'\n2,'b'\n", b"id,name,more\n1,'a','b\nc'\n2,'d','e\nf'\n3,'g, h','i'\n"):
        assert detect(sample, {}, truncated=False, names=()).dialect == Dialect(quote="'")


def test_a_declared_quote_is_not_tried_as_delimiter() -> None:
    assert detect(b"a|b\n", {"quote": "|"}, truncated=False).dialect == Dialect(quote="|")


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        (b"\xff\xfe\0\0a\0\0\0", "encoding_unsupported"),
        (b"\0\0\xfe\xff\0\0\0a", "encoding_unsupported"),
        (b"\x1f\x8b\x08\0", "file_type_unsupported"),
        (b"PK\x03\x04\x14\0", "file_type_unsupported"),
        (b"%PDF-1.7\n", "file_type_unsupported"),
        (b"\x7fELF\x02\x01", "file_type_unsupported"),
        (b"\x89PNG\r\n\x1a\n\0", "file_type_unsupported"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "file_type_unsupported"),
        (b"MZ\x90\0\x03", "file_type_unsupported"),
        (b"PAR1\x15\0", "file_type_unsupported"),
        (b"SQLite format 3\0", "file_type_unsupported"),
        (b"\xef\xbb\xbf\r\n<!doctype HTML>\n<title>Log in</title>\n", "file_type_unsupported"),
        (b'<html xmlns:x="urn:schemas-microsoft-com:office:excel">\n<table>', "file_type_unsupported"),
        (b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n', "file_type_unsupported"),
    ],
)
def test_what_is_no_utf_8_text_is_refused_by_name(sample: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        detect(sample, {}, truncated=True)
    assert refused.value.code == code


@pytest.mark.parametrize("sample", [b"html,<html>\n1,2\n", b"<html_id>,n\n1,2\n", b"<b>name</b>,n\nx,1\n"])
def test_markup_in_cells_is_text(sample: bytes) -> None:
    assert detect(sample, {}, truncated=False).dialect.delimiter == ","


def test_a_text_may_begin_as_a_program_does() -> None:
    assert detect(b"MZ,PAR1\na,b\n", {}, truncated=False).dialect == Dialect()


def test_one_broken_cell_does_not_refuse_the_file() -> None:
    assert detect(b"a,b\ncaf\xe9,\0\n", {}, truncated=False).dialect == Dialect()


def test_only_the_utf_8_mark_at_the_very_start_counts() -> None:
    assert [bom_length(sample) for sample in (BOM + b"a", b"a" + BOM, b"\xef\xbb", b"")] == [3, 0, 0, 0]


# The dialect that a client declares


@pytest.mark.parametrize(
    "options",
    [
        {"separator": ","},
        {"delimiter": ""},
        {"delimiter": ",,,,,"},
        {"delimiter": "\n"},
        {"delimiter": "\0"},
        {"delimiter": "\ud800"},
        {"delimiter": "é", "escape": "|"},
        {"delimiter": None},
        {"delimiter": 44},
        {"quote": ""},
        {"quote": "\r"},
        {"quote": ","},
        {"quote": ["'"]},
        {"header": "no"},
        {"header": None},
        {"header": 1},
    ],
)
def test_a_dialect_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        Dialect.from_options(options)
    assert refused.value.code == "dialect_invalid"


def test_a_dialect_keeps_what_is_declared_and_defaults_the_rest() -> None:
    assert Dialect.from_options({}) == Dialect(",", '"', True)
    assert Dialect.from_options({"delimiter": "\t", "quote": None}) == Dialect("\t", None, True)


# What a cell, a record and a header may be


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("tail", ["", "\n3,c\n", '\n3,"c"\n'])
def test_the_largest_cell_passes_and_one_letter_more_is_withheld_alone(quote: str, tail: str) -> None:
    for letters, fits in ((MAX_CELL, True), (MAX_CELL + 1, False)):
        cell = "é" * letters
        found = list(records(f"1,a\n2,{quote}{cell}{quote}{tail}".encode(), COMMAS))
        assert [len(row) for row in found] == [2, 2 if fits else 0, *([2] if tail else [])]
        assert fits or (isinstance(found[1], Unreadable) and found[1].code == "row_too_large")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b'a,"b"c', "text follows the closing quote of cell 2"),
        (b'"a,"b"', "text follows the closing quote of cell 1"),
        (b'a,"b\nc', "the quote that opens cell 2 never closes"),
        (b'"a\n",b,"c', "the quote that opens cell 3 in line 2 of the record never closes"),
        (b'x"a,b"', "the quotes inside cells 1 and 2 may enclose what is between them"),
    ],
)
def test_a_record_whose_quotes_are_misplaced_has_no_cells_but_a_reason(record: bytes, why: str) -> None:
    (row,) = records(record, COMMAS)
    assert isinstance(row, Unreadable)
    assert (row.code, row.detail, len(row)) == ("quote_misplaced", why, 0)


@pytest.mark.parametrize("record", ['5" pipe', 'B"', 'say "so"', ' "a" ', 'a""b', '5",6"', '5" pipe,6"', "it's"])
def test_quotes_inside_plain_text_are_plain(record: str) -> None:
    assert rows(record.encode() + b',"x"') == [[*record.split(","), "x"]]


def test_an_escape_makes_plain_what_means_something_and_nothing_else() -> None:
    dialect = Dialect(escape="\\", comment="#")
    assert rows(b'\\#a,\\,,"\\"","C:\\new",\\\\,"a""b",\\\r\n,\\', dialect) == [
        ["#a", ",", '"', "C:\\new", "\\", 'a"b', "\r\n", "\\"]
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"a,,b\n", "columns_unnamed"),
        (b"a, ,b\n", "columns_unnamed"),
        (b"a," + b"b" * 64 + b"\n", "column_name_too_long"),
        (",".join(map(str, range(1601))).encode(), "columns_too_many"),
        (b'a,"b"c\n', "header_invalid"),
        (b'a,"b\n1,2\n', "header_invalid"),
    ],
)
def test_a_header_that_no_table_can_have_is_refused_by_name(line: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        header(line, COMMAS, truncated=False)
    assert refused.value.code == code


def test_the_widest_table_and_the_longest_name_pass() -> None:
    assert len(header(",".join(map(str, range(1600))).encode(), COMMAS, truncated=False).names) == 1600
    assert header(b"b" * 63, COMMAS, truncated=False).names == ("b" * 63,)


def test_blank_names_at_the_right_stand_over_cells_that_must_be_empty_or_not_there() -> None:
    found = header(b"a,b,, \n", COMMAS, truncated=False)
    assert (found.names, found.nameless) == (("a", "b"), 2)
    got = [["1", "2", "", ""], ["1", "2"], ["1", "2", "", "x"], ["1", "2", ""], ["1"]]
    assert fitted(got, 2, COMMAS, found.nameless) == [["1", "2"], ["1", "2"], *got[2:]]


def test_padding_adds_and_drops_empty_cells_only() -> None:
    got = [["1"], ["1", "2"], ["1", "2", ""], ["1", "2", "x"], ["1", "2", "", "x"], ["1", "2", "", ""]]
    assert fitted(got, 2, COMMAS) == got
    padded = [["1", ""], ["1", "2"], ["1", "2"], ["1", "2", "x"], ["1", "2", "", "x"], ["1", "2"]]
    assert fitted(got, 2, Dialect(ragged="pad")) == padded
    (broken,) = fitted(records(b'"a"b', COMMAS), 2, Dialect(ragged="pad"))
    assert isinstance(broken, Unreadable)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_lines_to_skip_are_physical_lines_and_counted(line_end: bytes) -> None:
    data = line_end.join([BOM + b'"title', b"", b"a,b", b"1,2"])
    found = header(data, Dialect(skip_lines=2), truncated=False)
    assert (found.names, found.lines) == (("a", "b"), 3)
    assert data[found.end :] == b"1,2"
    bare = header(data, Dialect(skip_lines=3, header=False), truncated=False)
    assert (data[bare.end :], bare.lines) == (b"1,2", 3)


def test_lines_to_skip_must_lie_in_the_sample() -> None:
    with pytest.raises(Refused, match="do not end within"):
        header(b"a\nb", Dialect(skip_lines=2), truncated=True)
    assert header(b"a\nb", Dialect(skip_lines=9, header=False), truncated=False).end == 3


# What is detected, and how surely


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (b"a,'b, c',d\n1,'2, 3',4\n", {"quote": "'"}),
        (b"id,name\n1,it's\n2,'tis\n", {"quote": '"'}),
        (b'id,name,x\n1,"say \\"so\\", she said",2\n2,"b",3\n', {"escape": "\\"}),
        (b"1,2.5,2024-01-01\n2,3.5,2024-01-02\n", {"header": False}),
        (b"id,price,day\n2,3.5,2024-01-02\n", {"header": True}),
        (b"name,city\nAda,London\nBob,Paris\n", {"header": True}),
        (b"2019,2020,2021\n17,18.5,4\n3,2,1\n", {"header": True}),
        (b"land,2010,2015,2020\nPeru,17,1999,4\n" + b"Chad,3,2,1\n" * 9, {"header": True}),  # one number is like a year
        (b"2019,2020,2021\n2019,2020,2021\n1999,2000,2001\n", {"header": False}),  # years in all rows
        (b"2000,2001,2002\n3000,3001,3002\n4000,4001,4002\n", {"header": False}),  # the other rows go on so, too
        (b"2019,2021,2020\n17,18.5,4\n3,2,1\n", {"header": False}),
        (b"2019,2020\n17,18.5\n3,2\n", {"header": False}),
        (b"2019,2020,2021\n%b,18,4\n3,2,1\n" % (b"7" * 5000), {"header": True}),
        (b"2019,2020,2021,5\n17,18.5,4,5\n3,2,1,5\n", {"header": False}),
        (b"Report of May\n\nid,name,city\n1,a,b\n2,c,d\n", {"skip_lines": 2, "header": True}),
        (b"Report,,\n,,\nid,name,city\n1,a,b\n2,c,d\n", {"skip_lines": 2}),
        (b"sep=;\r\nname;price\r\na;1,5\r\nb;2,5\r\n", {"delimiter": ";", "skip_lines": 1, "header": True}),
        (b'"sep=\t"\nname\tqty\na\t1\n', {"delimiter": "\t", "skip_lines": 1}),
        (b"sep=,\n1,2024-01-01\n2,2024-01-02\n", {"skip_lines": 1, "header": False}),
        (b"# made by x\nid,name\n1,a\n# page 2\n2,b\n", {"comment": "#"}),
        (b"# made by x\nid,name,city\n1,a,b\n2,b,c\n", {"comment": None, "skip_lines": 1}),
        (b"#id,name\n1,a\n2,b\n", {"comment": None, "skip_lines": 0, "header": True}),
        (b"a^b\n1^2\n", {"delimiter": "^"}),
        (b"a b c\n1 2 3\n4 5 6\n", {"delimiter": " "}),
        (b"full name\nAda Lovelace\nBob Ross\n", {"delimiter": ","}),
        (b"at\n10:45:00\n11:45:00\n", {"delimiter": ","}),
        (b'a, b, c\n1, "x, y", 3\n', {"delimiter": ", "}),
        (BOM + b"a;b\n1;2\n", {"encoding": "utf-8"}),
        ("a;b\n1;é\n".encode("utf-16"), {"encoding": "utf-16", "delimiter": ";"}),
        ("a;b\n1;2\n".encode("utf-16-le"), {"encoding": "utf-16-le", "delimiter": ";"}),
        ("a;b\n1;2\n".encode("utf-16-be"), {"encoding": "utf-16-be", "delimiter": ";"}),
        ("a;b\nMüller;Köln\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("a;b\nMüller;Köln\n".encode() + b"x;\xe9\n", {"encoding": "utf-8"}),
        (b"a;b\nx;caf\xe9\n", {"encoding": "utf-8"}),
        (b"a;b\nx;\xff\xfe\x81\n", {"encoding": "utf-8"}),
    ],
)
def test_what_is_not_declared_is_detected(sample: bytes, expected: dict[str, Any]) -> None:
    found = detect(sample, {}, truncated=False)
    assert {name: getattr(found.dialect, name) for name in expected} == expected
    assert all(0 <= confidence <= 1 for confidence in found.confidence.values())


def test_a_delimiter_that_the_first_line_tells_is_not_what_was_declared_as_something_else() -> None:
    for mark in ("quote", "escape", "comment"):
        assert detect(b"sep=;\na,b\n1,2\n", {mark: ";"}, truncated=False).dialect.delimiter == ","


def test_a_header_is_not_skipped_where_commas_in_texts_make_a_wider_table() -> None:
    """It would be lost unseen, and the first row with it, as that reading's header."""
    sample = b"id;address\n1;5 Main St, York, UK\n2;6 High St, Leeds, UK\n3;7 Low St, Bath, UK\n"
    found = detect(sample, {}, truncated=False)
    assert (found.dialect.delimiter, found.dialect.skip_lines, found.records) == (";", 0, 4)
    assert found.is_ambiguous
    assert detect(b"Report, of May\nid;a;b\n1;x, y;2\n2;z, w;3\n", {}, truncated=False).dialect.delimiter == ";"


def test_rows_to_pad_need_not_be_as_wide_as_a_header_below_a_title() -> None:
    """Of a sheet, which ends each row with its last value: hardly any has a note."""
    sample = b"Sales of May\n\nid,name,city,note\n1,a,b\n2,c,d,new\n3,e,f\n4,g\n"
    assert detect(sample, {"ragged": "pad"}, truncated=False).dialect.skip_lines == 2
    assert detect(sample, {}, truncated=False).dialect.skip_lines == 0
    for other in (b"Sales of May\nid,name,city\n1,a,b,x\n2,c,d,y\n", b"name\na\nb\nx,y,z\nc\nd\n"):
        assert detect(other, {"ragged": "pad"}, truncated=False).dialect.skip_lines == 0


def test_a_header_is_doubted_only_where_the_file_is_as_wide_as_the_dataset() -> None:
    sample = b"1,2\n3,4\n"
    assert not detect(sample, {}, truncated=False, names=("a", "b")).dialect.header
    assert detect(sample, {}, truncated=False, names=("a", "b", "c")).dialect.header
    assert detect(b"A,2\n3,4\n", {}, truncated=False, names=("a", "b")).dialect.header


def test_lines_before_the_record_with_all_names_are_skipped() -> None:
    found = detect(b"x,y\nof,may\na,b\n1,2\n", {}, truncated=False, names=("b", "a"))
    assert (found.dialect.skip_lines, found.confidence["header"]) == (2, 1.0)


def test_rows_before_a_second_header_are_not_skipped_where_the_first_is_spelt_otherwise() -> None:
    """Two exports in one file, or a value that is the name of the only field: what is skipped is lost unseen."""
    for names, sample in ((("e-mail", "name"), b"E_Mail,Name\nx,y\ne-mail,name\n1,2\n"), (("a",), b"A\nx\na\n")):
        found = detect(sample, {}, truncated=False, names=names)
        assert (found.dialect.header, found.dialect.skip_lines, found.agreeing) == (True, 0, found.records)
    found = detect(b"of,may\nB,A\nx,y\nb,a\n", {}, truncated=False, names=("a", "b"))
    assert (found.dialect.header, found.dialect.skip_lines) == (True, 1)


def test_two_readings_that_fit_alike_are_called_ambiguous_and_named() -> None:
    found = detect(b"a,b;c\n1,2;3\n4,5;6\n", {}, truncated=False)
    assert found.is_ambiguous
    assert [(each.delimiter, each.columns) for each in found.alternatives] == [(";", 2)]
    assert found.confidence["delimiter"] < 0.5
    assert not detect(b"a,b\n1,2\n", {}, truncated=False).is_ambiguous
    assert not detect(b"a,b;c\n1,2;3\n", {"delimiter": ","}, truncated=False).is_ambiguous


def test_line_ends_are_counted_by_kind() -> None:
    assert detect(b"a\nb\r\nc\r\nd\re", {}, truncated=False).line_ends == {"lf": 1, "crlf": 2, "cr": 1}


TOPS = st.lists(
    st.sampled_from([b"a,b\n", b"a;b\n", b"#a,b\n", b"'a','b'\n", b'"\n', b"1 x;2,3\n", b"a b\n"]), max_size=4
)
LINES = st.lists(st.sampled_from([b"1,2;3\n", b'"1, 2",x\n', b'"\n', b"#1,2\n", b"a,b\n", b"'x;y'; 2\r\n"]), min_size=1)


@given(TOPS, LINES, st.integers(1, 70), st.sampled_from([{}, {"header": False}, {"skip_lines": 0}]), st.booleans())
@example([b'"\n', b"'a','b'\n", *[b"z,z\n"] * 68, b'"\n', b"a,b\n"], [b"1,2\n"], 70, {}, False)
@settings(max_examples=500, deadline=None)
def test_the_reading_that_wins_is_among_those_that_the_first_lines_recommend(
    top: list[bytes], lines: list[bytes], times: int, declared: dict[str, Any], truncated: bool
) -> None:
    head, names = b"".join([*top, *lines * times]), ("a", "b")

    def best(candidates: list[Dialect]) -> sniff._Reading:
        read = [sniff._read(head, each, declared, truncated, names) for each in candidates]
        return max(read, key=lambda reading: reading.likeliness)

    every = list(sniff._candidates(head, Dialect.from_options(declared), declared))
    chosen = sniff._worth_reading(head, every, declared, truncated, names)
    assert best(chosen) == best(every)
    assert chosen == every or best(every).has_names


@given(st.one_of(st.binary(max_size=300), NASTY), st.booleans())
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_detected_and_read_or_refused(data: bytes, truncated: bool) -> None:
    try:
        dialect = detect(data, {}, truncated, names=("a", "b")).dialect
        header(data, dialect, truncated)
    except Refused:
        return
    assert Dialect.from_options(json.loads(json.dumps(asdict(dialect)))) == dialect
    assert len(records(data, dialect)) == len(list(spans(data, dialect)))


@pytest.mark.parametrize(
    "options",
    [
        {"escape": "\\", "comment": "#", "skip_lines": 3, "ragged": "pad", "encoding": "cp1252"},
        {"null_values": ["", "NA"], "decimal_char": ",", "group_char": ".", "date_order": "dmy"},
        {"delimiter": "é"},
        {"delimiter": "||", "quote": None},
    ],
)
def test_a_dialect_survives_the_plan(options: dict[str, Any]) -> None:
    dialect = Dialect.from_options(options)
    assert Dialect.from_options(json.loads(json.dumps(asdict(dialect)))) == dialect


@pytest.mark.parametrize(
    "options",
    [
        {"escape": '"'},
        {"comment": ","},
        {"escape": "é"},
        {"skip_lines": -1},
        {"skip_lines": True},
        {"skip_lines": 10_001},
        {"ragged": "drop"},
        {"encoding": "ebcdic"},
        {"null_values": "NA"},
        {"null_values": [1]},
        {"decimal_char": "1"},
        {"decimal_char": ",", "group_char": ","},
        {"date_order": "ydm"},
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=f"dialect.*{next(iter(options))}"):
        Dialect.from_options(options)
