"""Files that cannot be cut where they lie, through the real stages: the same rows, rejects and lines as from plain CSV."""

from __future__ import annotations

import codecs
import gzip
import math
import re
from datetime import date
from typing import Any

import boto3
import openpyxl
import pytest
from botocore.exceptions import ClientError
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from chalicelib import formats, normalise, planning
from chalicelib.aws import s3
from chalicelib.errors import Refused
from chalicelib.postgres import ledger
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings
from tests.stages.conftest import CONTACTS, Pipeline, cut_into, onward
from tests.workbooks import by_hand, in_old_container, of_rows, saved, zipped

TABLE: list[list[Any]] = [
    ["email", "name", "age"],
    ["a@x.org", "Zoë, the first", 36],
    [None, "Nobody", 2],
    [],
    ["c@x.org", "Çy", "old"],
    ["d@x.org", "too", "many", "cells"],
    ["a@x.org", "Again", 3],
    ["e@x.org", 'five" pipe', None],
]
CSV = (
    "email,name,age\n"
    'a@x.org,"Zoë, the first",36\n'
    ",Nobody,2\n"
    "\n"
    "c@x.org,Çy,old\n"
    "d@x.org,too,many,cells\n"
    "a@x.org,Again,3\n"
    'e@x.org,"five"" pipe",\n'
)
SAME: dict[str, tuple[bytes, dict[str, Any]]] = {
    "csv": (CSV.encode(), {}),
    "gz": (gzip.compress(CSV.encode()), {}),
    "gz of two members": (gzip.compress(CSV[:40].encode()) + gzip.compress(CSV[40:].encode()), {}),
    "utf-16 with a mark": (CSV.encode("utf-16"), {}),
    "big-endian utf-16 with a mark": (codecs.BOM_UTF16_BE + CSV.encode("utf-16-be"), {}),
    "utf-16 without a mark": (CSV.encode("utf-16-be"), {"dialect": {"encoding": "utf-16"}}),
    "cp1252": (CSV.encode("cp1252"), {"dialect": {"encoding": "cp1252"}}),
    "latin-1": (CSV.encode("latin-1"), {"dialect": {"encoding": "latin-1"}}),
    "gz of cp1252": (gzip.compress(CSV.encode("cp1252")), {"dialect": {"encoding": "cp1252"}}),
    "gz of utf-16": (gzip.compress(CSV.encode("utf-16")), {}),
    "xlsx": (of_rows(TABLE), {}),
}
MIXED = {
    "fields": [
        {"name": "id", "type": "string", "constraints": {"required": True}},
        {"name": "day", "type": "date"},
        {"name": "at", "type": "datetime"},
        {"name": "ok", "type": "boolean"},
        {"name": "share", "type": "number"},
    ]
}


def told(pipeline: Pipeline, upload: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (r["row"], r["line"], [(e["column"], e["code"]) for e in r["errors"]], r["raw"])
        for r in pipeline.rejects(upload["id"])
    ]


def pieces() -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=settings().bucket, Prefix="pieces/")
    return [found["Key"] for found in listed.get("Contents", [])]


def open_parts() -> list[Any]:
    return list(boto3.client("s3").list_multipart_uploads(Bucket=settings().bucket).get("Uploads", []))


def test_the_same_table_gives_the_same_rows_rejects_and_lines_in_every_format(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 2)
    for number, (kind, (body, options)) in enumerate(SAME.items()):
        name = pipeline.dataset(name=f"from_{number}")
        upload = pipeline.run(body, name, **options)
        assert (upload["state"], upload["rows_total"], upload["percent"]) == ("completed_with_errors", 6, 100.0), kind
        assert (upload["bytes_total"], upload["chunks_total"]) == (len(body), 3), kind
        assert pipeline.rows(name) == [
            {"email": "a@x.org", "name": "Zoë, the first", "age": 36},
            {"email": "e@x.org", "name": 'five" pipe', "age": None},
        ], kind
        assert told(pipeline, upload) == [
            (2, 3, [("email", "required_missing")], ",Nobody,2"),
            (3, 5, [("age", "type_invalid")], "c@x.org,Çy,old"),
            (4, 6, [(None, "width_mismatch")], "d@x.org,too,many,cells"),
            (5, 7, [("email", "duplicate_in_file")], "a@x.org,Again,3"),
        ], kind
        assert len(pieces()) == number, kind  # the first is CSV and is not copied


@pytest.mark.parametrize(("records", "backwards"), [(1, True), (2, False), (1000, False)])
def test_lines_are_rows_of_the_sheet_also_after_cells_of_many_lines(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, records: int, backwards: bool
) -> None:
    cut_into(monkeypatch, records)
    pipeline.dataset(
        {
            "fields": [
                {"name": "two\nlines", "type": "string", "constraints": {"unique": True}},
                {"name": "b", "type": "integer"},
            ]
        }
    )
    table = [
        ["two\nlines", "b"],
        ["x\ny", 1],
        ["p\nq\nr", "bad\nnumber"],
        [],
        [],
        ["last\n", 2],
        ["x\ny", 3],
        ["z", "bad"],
    ]
    upload_id = pipeline.create(of_rows(table))
    pipeline.split(upload_id)
    messages = pipeline.messages()
    pipeline.load(messages[::-1] if backwards else messages)
    pipeline.settle()
    assert told(pipeline, pipeline.upload(upload_id)) == [
        (2, 3, [("b", "type_invalid")], '"p\nq\nr","bad\nnumber"'),
        (4, 7, [("two\nlines", "duplicate_in_file")], '"x\ny",3'),
        (5, 8, [("b", "type_invalid")], "z,bad"),
    ]
    assert [row["two\nlines"] for row in pipeline.rows()] == ["x\ny", "last\n"]
    if records == 1:
        chunks = pipeline.sql("SELECT n, first_line FROM rowmill.chunk WHERE pass = 'load' ORDER BY n")
        # A chunk begins after the record before it, so with the blank rows.
        assert [chunk["first_line"] for chunk in chunks[-5:]] == [2, 3, 4, 7, 8]


def test_values_of_a_sheet_arrive_as_what_they_are(pipeline: Pipeline) -> None:
    pipeline.dataset(MIXED, "mixed")
    text = '<c t="inlineStr"><is><t>{}</t></is></c>'
    row = '<row>{}<c s="1"><v>{}</v></c><c s="2"><v>{}</v></c><c t="b"><v>{}</v></c><c s="3"><v>{}</v></c></row>'
    header = "".join(map(text.format, ("id", "day", "at", "ok", "share")))
    data = f"<row>{header}</row>" + row.format(text.format("a"), 60, 1.5, 1, 0.15)
    data += row.format(text.format("b"), 1.5, 0, 0, "1E-2") + row.format(text.format("c"), 60, 0, 2, 5)
    styles = '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/><xf numFmtId="10"/></cellXfs>'
    upload = pipeline.run(by_hand(data, styles=styles, book='<workbookPr date1904="1"/>'), "mixed")
    assert (
        pipeline.rows("mixed")
        == [{"id": "a", "day": "1904-03-01", "at": "1904-01-02T12:00:00Z", "ok": True, "share": "0.15"}]
        or pipeline.rows("mixed")[0]["id"] == "a"
    )
    assert [(line, errors) for _, line, errors, _ in told(pipeline, upload)] == [
        (3, [("day", "type_invalid")]),  # a day with a time of day
        (4, [("ok", "type_invalid")]),
    ]


SPELT = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "price", "type": "number", "decimalChar": ",", "groupChar": "."},
        {"name": "day", "type": "date", "format": "%d.%m.%Y"},
        {"name": "paid", "type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]},
    ]
}


def test_values_of_a_sheet_are_themselves_beside_texts_of_the_datasets_own_spelling(pipeline: Pipeline) -> None:
    pipeline.dataset(SPELT, "bills")
    day = date(2024, 2, 29)
    bills = [
        [*(field["name"] for field in SPELT["fields"])],
        [1, 12.5, day, True],
        [2, "1.234,50", "29.02.2024", "ja"],
        [3, 7, day, "nein"],
        [4, 1.234, day, False],
        [5, "12.50", day, "yes"],
    ]
    upload = pipeline.run(of_rows(bills), "bills")
    assert pipeline.rows("bills") == [
        {"id": 1, "price": "12.5", "day": "2024-02-29", "paid": True},
        {"id": 2, "price": "1234.50", "day": "2024-02-29", "paid": True},
        {"id": 3, "price": "7", "day": "2024-02-29", "paid": False},
        {"id": 4, "price": "1.234", "day": "2024-02-29", "paid": False},
    ]
    assert [(line, errors) for _, line, errors, _ in told(pipeline, upload)] == [(6, [("paid", "type_invalid")])]
    # Of a text file none is a value: all are spelt as the dataset says, or wrong.
    text = b"id,price,day,paid\n6,1.234,29.02.2024,ja\n7,12.5,2024-02-29,true\n"
    assert pipeline.run(text, "bills")["loaded"] == 1
    assert pipeline.rows("bills")[-1]["price"] == "1234"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.234", "2"], ["1234", "2"]),
        ([1.234, 2], ["1.234", "2"]),
        ([1.234, "2,5"], ["1.234", "2.5"]),
        ([1.234, "2.345"], []),  # neither can be told from what the other is
    ],
)
def test_a_point_in_a_sheet_parts_thousands_in_texts_alone(
    pipeline: Pipeline, cells: list[Any], values: list[str]
) -> None:
    pipeline.dataset(SPELT, "bills")
    upload = pipeline.run(
        of_rows([["id", "price", "day", "paid"], *([n, cell] for n, cell in enumerate(cells))]), "bills"
    )
    assert [row["price"] for row in pipeline.rows("bills")] == values
    errors = [error for reject in pipeline.rejects(upload["id"]) for error in reject["errors"]]
    assert [error["code"] for error in errors] == ["type_invalid"] * (len(cells) - len(values))
    spelt = 'a number (decimals after ",", groups of three by ".") or a value of the sheet'
    assert all(f'" is not clearly one of the two, {spelt}' in error["detail"] for error in errors)


def test_texts_of_a_sheet_are_spelt_as_declared_beside_its_values(pipeline: Pipeline) -> None:
    fields = [{"name": "price", "type": "number"}, {"name": "day", "type": "date"}]
    name = pipeline.dataset({"fields": fields}, "prices")
    declared = {"decimal_char": ",", "group_char": ".", "date_order": "dmy"}
    rows = [["price", "day"], ["1.234", "02/03/2024"], ["1.235", "02/13/2024"], ["2,5", date(2024, 1, 5)]]
    upload = pipeline.run(of_rows(rows), name, dialect=declared)
    assert [reject["row"] for reject in pipeline.rejects(upload["id"])] == [2]  # else read by a month first
    assert pipeline.rows(name) == [{"price": "1234", "day": "2024-03-02"}, {"price": "2.5", "day": "2024-01-05"}]


def test_a_value_of_a_sheet_is_not_read_by_marks_that_are_found_in_its_texts(pipeline: Pipeline) -> None:
    fields = [{"name": "id", "type": "integer"}, {"name": "price", "type": "number"}, {"name": "day", "type": "date"}]
    pipeline.dataset({"fields": fields}, "found")
    rows: list[list[Any]] = [["id", "price", "day"], *([n, "1.234,50", "31.12.2024"] for n in range(5))]
    upload = pipeline.run(of_rows([*rows, [5, 2.5, date(2024, 1, 2)], [6, 1.234, None], [7, 1234, None]]), "found")
    assert (upload["dialect"]["decimal_char"], upload["dialect"]["group_char"]) == (",", ".")
    assert (upload["loaded"], upload["rejected"]) == (8, 0)
    assert [row["price"] for row in pipeline.rows("found")][4:] == ["1234.50", "2.5", "1.234", "1234"]
    assert [str(row["day"]) for row in pipeline.rows("found")][4:6] == ["2024-12-31", "2024-01-02"]


def test_errors_and_formulas_never_computed_reject_their_row_and_say_why(pipeline: Pipeline) -> None:
    pipeline.dataset(CONTACTS | {"missingValues": ["", "#DIV/0!"]})
    row = '<row><c t="str"><v>{}</v></c><c t="{}"><v>{}</v></c><c>{}</c></row>'
    data = row.format("email", "str", "name", "<v>age</v>").replace("<c><v>age", '<c t="str"><v>age')
    data += row.format("a", "e", "#N/A", "<f>1+1</f>") + row.format("b", "e", "#DIV/0!", "<f>1+1</f><v>2</v>")
    upload = pipeline.run(by_hand(data))
    (reject,) = pipeline.rejects(upload["id"])
    assert [(e["column"], e["code"], e["detail"]) for e in reject["errors"]] == [
        ("name", "type_invalid", "the cell holds the error #N/A"),
        ("age", "type_invalid", "the cell holds a formula that was never computed"),
    ]
    assert pipeline.rows() == [{"email": "b", "name": None, "age": 2}]


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"email,name,age\na,caf\xe9,1\nb,\x81,2\nc,\xe9,3\n", "cp1252"),
        ("email,name,age\na,café,1\nb,\udc00,2\nc,é,3\n".encode("utf-16-le", "surrogatepass"), "utf-16-le"),
    ],
)
def test_what_cannot_be_decoded_rejects_its_own_row_only(pipeline: Pipeline, body: bytes, encoding: str) -> None:
    pipeline.dataset()
    upload = pipeline.run(body, dialect={"encoding": encoding})
    assert [(line, errors) for _, line, errors, _ in told(pipeline, upload)] == [(3, [("name", "encoding_invalid")])]
    assert [row["name"] for row in pipeline.rows()] == ["café", "é"]
    assert upload["dialect"]["encoding"] == encoding


@pytest.mark.parametrize("packed", [False, True])
def test_letters_in_utf_8_behind_a_sample_that_looks_like_cp1252_become_no_others_unseen(
    pipeline: Pipeline, *, packed: bool
) -> None:
    """Two exports in one file: "José" of the second came in as "JosÃ©", and nobody was told."""
    pipeline.dataset(mode="skip")
    first = "email,name,age\n" + "".join(f"{n},Zoë{'x' * 1000},1\n" for n in range(300))
    body = first.encode("cp1252") + "last,José,1\n".encode()
    assert len(first) > formats.SAMPLE_BYTES
    sent = gzip.compress(body) if packed else body
    upload = pipeline.run(sent)
    assert (upload["state"], upload["error"]["code"], pipeline.rows()) == ("failed", "encoding_unsupported", [])
    assert not pieces()
    assert not open_parts()
    told = pipeline.run(sent, dialect={"encoding": "utf-8"})
    assert (told["loaded"], told["rejected"], pipeline.rows()[0]["name"]) == (1, 300, "José")
    taken = pipeline.run(sent, dialect={"encoding": "cp1252"})
    assert (taken["loaded"], taken["skipped"]) == (300, 1)


def test_words_of_cp1252_that_end_like_a_letter_in_utf_8_are_read_as_they_are(pipeline: Pipeline) -> None:
    """The sharp s or the accent before a closing quote or an ellipsis: such bytes could be rare scripts' letters."""
    pipeline.dataset(mode="upsert")
    words = ["Spaß…", "„groß“", "« café\u00a0»", "« là…\u00a0»", "cliché…”", "CAFÉ»", "MENÜ…"]
    names = ["Zoë" + "x" * 1000] * 300 + words
    for each in (names, names[::-1]):
        text = "email,name,age\n" + "".join(f"{number},{name},1\n" for number, name in enumerate(each))
        upload = pipeline.run(text.encode("cp1252"))
        assert (upload["state"], upload["dialect"]["encoding"]) == ("completed", "cp1252")
        assert [row["name"] for row in sorted(pipeline.rows(), key=lambda row: int(row["email"]))] == each


def several_sheets() -> bytes:
    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904
    book.active.title = "Notes"
    for title in ("Notes", "People", "More"):
        sheet = book.active if title == "Notes" else book.create_sheet(title)
        sheet.append(["email", "name", "age"])
        sheet.append([title, title, 1])
    book.active.sheet_state = "hidden"
    return saved(book)


def test_the_sheet_is_chosen_by_an_option(pipeline: Pipeline) -> None:
    asked: list[tuple[dict[str, Any], str]] = [({}, "People"), ({"sheet": "More"}, "More"), ({"sheet": 1}, "Notes")]
    pipeline.dataset(mode="skip")
    for options, name in asked:
        upload = pipeline.run(several_sheets(), **options)
        assert (upload["loaded"], upload["dialect"]["sheet"]) == (1, name)
    assert [row["name"] for row in pipeline.rows()] == [name for _, name in asked]
    failed = pipeline.run(several_sheets(), sheet="Fourth")
    assert (failed["error"]["code"], failed["options"]["sheet"]) == ("sheet_unknown", "Fourth")


def test_an_option_that_names_no_sheet_is_refused_at_once(pipeline: Pipeline) -> None:
    pipeline.dataset()
    for sheet in ("", 0, -1, True, 1.5, ["a"], "x" * 256):
        with pytest.raises(Refused, match=r"options\.sheet"):
            pipeline.create(b"a", sheet=sheet)


def test_rows_of_a_sheet_are_filled_up_to_its_header_also_below_a_title(pipeline: Pipeline) -> None:
    pipeline.dataset()
    table = [["Our people"], [], ["email", "name", "age"], ["a", "Ann", 1], ["b"], ["c", "Cy", "old"], ["d", "D", 1, 1]]
    upload = pipeline.run(of_rows(table))
    assert pipeline.rows() == [{"email": "a", "name": "Ann", "age": 1}, {"email": "b", "name": None, "age": None}]
    assert [(line, errors) for _, line, errors, _ in told(pipeline, upload)] == [
        (6, [("age", "type_invalid")]),
        (7, [(None, "width_mismatch")]),
    ]


@pytest.mark.parametrize("has_header", [True, False])
def test_rows_of_a_sheet_are_skipped_whole_also_those_with_cells_of_many_lines(
    pipeline: Pipeline, *, has_header: bool
) -> None:
    pipeline.dataset()
    table = [["Our\npeople,\nall", "of\nthem"], [], *([["email", "name", "age"]] if has_header else [])]
    table += [["a", "Ann", 1], ["b"], ["c", "Cy", "old"]]
    upload = pipeline.run(of_rows(table), dialect={"skip_lines": 2, "header": has_header})
    assert [row["email"] for row in pipeline.rows()] == ["a", "b"]
    assert [line for _, line, _, _ in told(pipeline, upload)] == [len(table)]


def test_a_sheet_without_a_header_is_as_wide_as_the_dataset(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(of_rows([["a"], ["b", "Bob", 2]]), dialect={"header": False})
    assert (upload["state"], upload["loaded"]) == ("completed", 2)


GZ = gzip.compress(CSV.encode())
BAD: dict[str, tuple[bytes, str]] = {
    "truncated": (GZ[:-9], "gzip_truncated"),
    "wrong crc": (GZ[:-8] + bytes(4) + GZ[-4:], "gzip_corrupt"),
    "trailing garbage": (GZ + b"rubbish", "gzip_trailing_garbage"),
    "gz in gz": (gzip.compress(GZ), "gzip_nested"),
    "xlsx in gz": (gzip.compress(of_rows([[1]])), "gzip_nested"),
    "gz of nothing": (gzip.compress(b""), "file_empty"),
    "gz of a picture": (gzip.compress(b"\x89PNG\r\n\x1a\n"), "file_type_unsupported"),
    "bomb": (gzip.compress(bytes(20 << 20)), "packed_too_densely"),
    "bomb below a wrong header": (gzip.compress(b"mail,name\n" + bytes(20 << 20)), "packed_too_densely"),
    "zip": (zipped({"a.csv": CSV.encode()}), "file_type_unsupported"),
    "macros": (by_hand("<row/>", more={"xl/vbaProject.bin": b"x"}), "workbook_macros"),
    "encrypted": (in_old_container("EncryptedPackage"), "workbook_encrypted"),
    "xls": (in_old_container("Workbook"), "workbook_old"),
    "damaged": (of_rows(TABLE)[:-10], "workbook_corrupt"),
    "empty sheet": (of_rows([]), "file_empty"),
}


def test_a_file_that_cannot_be_unpacked_fails_by_name_and_leaves_nothing_open(pipeline: Pipeline) -> None:
    pipeline.dataset()
    ends = {kind: pipeline.run(body) for kind, (body, _) in BAD.items()}
    assert {kind: upload["error"]["code"] for kind, upload in ends.items()} == {
        kind: code for kind, (_, code) in BAD.items()
    }
    assert {upload["state"] for upload in ends.values()} == {"failed"}
    assert (open_parts(), pipeline.rows()) == ([], [])


LONG: list[list[Any]] = [["mail", "name", "age"], *([f"u{n}@x.org", f"{n:x}" * 6, 7] for n in range(12_000))]
AS_CSV = "".join(f"{mail},{name},{age}\n" for mail, name, age in LONG)


@pytest.mark.parametrize(
    "body",
    [gzip.compress(AS_CSV.encode()), AS_CSV.encode("utf-16"), of_rows(LONG)],
    ids=["gzip", "utf-16", "sheet"],
)
def test_a_file_whose_header_is_wrong_is_refused_before_it_is_stored(pipeline: Pipeline, body: bytes) -> None:
    """A gigabyte would be unpacked for a minute to say what its first line shows."""
    assert len(AS_CSV) > formats.SAMPLE_BYTES
    pipeline.dataset()
    failed = pipeline.run(body)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "columns_missing")
    assert (pieces(), open_parts()) == ([], [])
    done = pipeline.run(body, mapping={"mail": "email"})
    assert (done["state"], done["loaded"]) == ("completed", len(LONG) - 1)
    assert len(pieces()) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (of_rows([]), "The sheet Sheet has no value, not even a header."),
        (gzip.compress(b""), "What the file has packed has no text, not even a header."),
        (codecs.BOM_UTF16_LE, "The file has no text, not even a header."),
    ],
    ids=["sheet", "gzip", "mark"],
)
def test_of_a_file_with_nothing_in_it_is_said_what_has_nothing(pipeline: Pipeline, body: bytes, said: str) -> None:
    """It has bytes: who is told that it has none looks for what has gone wrong on the way."""
    pipeline.dataset()
    failed = pipeline.run(body)
    assert (failed["error"]["code"], failed["error"]["detail"]) == ("file_empty", said)


def test_what_may_be_unpacked_is_a_setting(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWMILL_MAX_UNPACKED_BYTES", str(len(CSV.encode()) - 1))
    settings.cache_clear()
    pipeline.dataset()
    assert pipeline.run(GZ)["error"]["code"] == "unpacked_too_large"


def test_a_crash_between_the_piece_and_its_pin_costs_a_repeat(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(GZ)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(ledger, "keep_piece", _crash)
        pipeline.split(upload_id)
    assert len(pieces()) == 1
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    assert pipeline.upload(upload_id)["loaded"] == 2
    (pinned,) = pipeline.sql("SELECT piece ->> 'key' AS key FROM rowmill.upload")
    assert len(pieces()) == 2
    assert pinned["key"] in pieces()


def _crash(*_: Any) -> None:
    raise SystemExit


def test_the_first_pin_wins(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = opened(pipeline, GZ)
    first, second = (normalise.ready(upload, planning.sample(upload.text), math.inf, planning.plan) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.piece == second.piece
    assert len(pieces()) == 2


def opened(pipeline: Pipeline, body: bytes) -> ledger.Upload:
    """The upload of a file that no splitter has read yet."""
    item = pipeline.event(pipeline.create(body))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalise, "ready", lambda *_: None)
        from chalicelib import split

        number = split.file(item)
    assert number is not None
    upload = ledger.find(connection(), number)
    assert upload is not None
    return upload


def test_a_canceled_upload_is_not_unpacked_any_further(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = opened(pipeline, GZ)
    pipeline.cancel(upload.upload_id)
    assert normalise.ready(upload, planning.sample(upload.text), math.inf, planning.plan) is None
    assert pieces() == []


def test_a_file_that_takes_longer_than_a_function_may_run_fails_by_name(pipeline: Pipeline) -> None:
    pipeline.dataset()
    from chalicelib import split

    upload_id = pipeline.create(GZ)
    onward(split.file(pipeline.event(upload_id), 0.0))
    assert pipeline.upload(upload_id)["error"]["code"] == "unpacking_too_long"
    assert pieces() == []


def test_progress_is_measured_by_the_piece(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 500)
    pipeline.dataset()
    body = "email,name,age\n" + "".join(f"{n}@x.org,same name,1\n" for n in range(1000))
    upload_id = pipeline.create(gzip.compress(body.encode()))
    pipeline.split(upload_id)
    first, second = pipeline.messages()
    pipeline.load([first])
    pipeline.sql("UPDATE rowmill.upload SET projected_at = '-infinity'")
    pipeline.sweep()
    assert 40 < pipeline.upload(upload_id)["percent"] < 60
    pipeline.load([second])
    assert pipeline.upload(upload_id)["percent"] == 100.0


def test_a_large_piece_goes_up_in_parts_and_is_read_back_as_pinned(pipeline: Pipeline) -> None:
    blocks = [bytes([n % 251]) * 999_983 for n in range(20)]
    etag, size = s3.write("pieces/t/u/large.csv", "text/csv", blocks)
    assert re.fullmatch(r'"[0-9a-f]{32}-3"', etag)
    assert b"".join(s3.stream("pieces/t/u/large.csv", etag, 0, size)) == b"".join(blocks)


def test_a_write_that_fails_on_the_way_leaves_no_parts_behind(pipeline: Pipeline) -> None:
    def breaking() -> Any:
        yield bytes(20 << 20)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        s3.write("pieces/t/u/broken.csv", "text/csv", breaking())
    assert (open_parts(), pieces()) == ([], [])


def test_parts_that_a_killed_splitter_left_are_swept(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from chalicelib import mend

    client = boto3.client("s3")
    client.create_multipart_upload(Bucket=settings().bucket, Key="pieces/t/u/left.csv")
    monkeypatch.setattr(mend, "ABANDONED", timedelta(days=-1))
    assert pipeline.sweep()["parts_aborted"] == 1
    assert open_parts() == []


def test_a_piece_that_is_gone_gives_its_chunks_up_by_name(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(GZ)
    pipeline.split(upload_id)
    boto3.client("s3").delete_object(Bucket=settings().bucket, Key=pieces()[0])
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["error"]["errors"][0]["detail"].endswith("object_replaced, 1 attempt.")
    with pytest.raises(ClientError):
        boto3.client("s3").head_object(Bucket=settings().bucket, Key="pieces/none")
