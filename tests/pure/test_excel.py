"""Sheets as CSV: every kind of cell, rows at their numbers, and nothing that costs memory before it is refused."""

from __future__ import annotations

import csv
import io
import random
import stat
from datetime import date, datetime, time
from typing import Any
from zipfile import ZipFile, ZipInfo

import openpyxl
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from chalicelib.errors import Refused
from chalicelib.formats.excel import Ranges, fault, open_sheet, reveal
from chalicelib.formats.excel.archive import WINDOW_BYTES
from chalicelib.formats.excel.numbers import moment, number, shown_by
from chalicelib.formats.excel.sheet import BLOCK_BYTES, MAX_ROW_LENGTH
from chalicelib.formats.excel.strings import MAX_TEXT, USUAL_TEXT
from chalicelib.formats.limits import Limits
from chalicelib.formats.threats import EICAR
from tests.workbooks import by_hand, in_old_container, of_rows, saved, zipped

LIMITS = Limits(unpacked=1 << 30, scratch=1 << 24)


def ranges(data: bytes) -> Ranges:
    return Ranges(lambda start, end: data[start:end], len(data))


def lines(data: bytes, choice: str | int | None = None, limits: Limits = LIMITS, **layout: Any) -> list[bytes]:
    return b"".join(open_sheet(ranges(data), choice, limits, **layout).blocks).split(b"\n")[:-1]


def rows(data: bytes, choice: str | int | None = None, **layout: Any) -> list[list[str]]:
    """What a reader of the CSV gets: one list a row of the sheet, [] for a row without a value."""
    text = reveal(b"\n".join(lines(data, choice, **layout))).decode(errors="surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))


def code(data: bytes, choice: str | int | None = None, limits: Limits = LIMITS) -> str:
    with pytest.raises(Refused) as refused:
        lines(data, choice, limits)
    return refused.value.code


def test_every_kind_of_value_is_spelt_as_the_checker_reads_it() -> None:
    book = openpyxl.Workbook()
    values = ["text", 'quo"te', "a,b", 7, -3.5, 0.25, 1e300, 10**15, True, False, date(2024, 2, 29)]
    book.active.append(values)
    book.active.append([datetime.fromisoformat("2024-02-29T13:05:06"), 0.15, "007", " padded ", "é😀"])
    book.active["B2"].number_format = "0.00%"
    assert rows(saved(book), width=1) == [
        ["text", 'quo"te', "a,b", "7", "-3.5", "0.25", "1e+300", "1000000000000000", "true", "false", "2024-02-29"],
        ["2024-02-29T13:05:06", "0.15", "007", " padded ", "é😀"],
    ]


def test_a_row_is_at_the_line_of_its_number_whatever_its_cells_hold() -> None:
    book = openpyxl.Workbook()
    for place, value in {"A1": "id", "B1": "two\nlines", "A4": "a_x000D_\nb\n\nc", "B6": "x"}.items():
        book.active[place] = value
    found = lines(saved(book))
    assert [place for place, line in enumerate(found, start=1) if line] == [1, 4, 6]
    assert [row for row in rows(saved(book)) if row] == [["id", "two\nlines"], ["a\r\nb\n\nc", ""], ["", "x"]]
    assert all(len(reveal(line)) == len(line) for line in found)


def test_rows_are_as_wide_as_the_header_and_wider_only_with_values() -> None:
    data = of_rows([["title"], [], ["a", "b", "c"], [1], [1, 2, 3, None], [1, 2, 3, 4]])
    assert rows(data, skip=1) == [[], [], ["a", "b", "c"], ["1", "", ""], ["1", "2", "3"], ["1", "2", "3", "4"]]
    assert rows(of_rows([[1], [None, 2]]), width=3) == [["1", "", ""], ["", "2", ""]]


def test_rows_that_are_only_formatted_are_blank_and_none_follow_the_last_value() -> None:
    book = openpyxl.Workbook()
    book.active.append(["id"])
    for row in (2, 50):
        book.active.cell(row, 1).number_format = "0.00"
    book.active.cell(3, 1).value = 5
    assert lines(saved(book)) == [b"id", b"", b"5"]


def test_days_count_from_1904_if_the_workbook_says_so() -> None:
    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904
    book.active.append([date(2024, 2, 29), datetime.fromisoformat("1904-01-01T06:00:00")])
    assert rows(saved(book)) == [["2024-02-29", "1904-01-01T06:00:00"]]


def test_moments_that_are_spelt_out_are_shown_as_day_counts_are() -> None:
    def saved_as(*, iso_dates: bool) -> bytes:
        book = openpyxl.Workbook()
        book.iso_dates = iso_dates
        day, moment = datetime.fromisoformat("2024-02-29T00:00:00"), datetime.fromisoformat("2024-02-29T13:05:06")
        book.active.append([day, moment, day, moment, time(13, 5, 6)])
        book.active["A1"].number_format = book.active["B1"].number_format = "yyyy-mm-dd"
        return saved(book)

    spelt = [["2024-02-29", "2024-02-29T13:05:06", "2024-02-29T00:00:00", "2024-02-29T13:05:06", "13:05:06"]]
    assert rows(saved_as(iso_dates=False)) == rows(saved_as(iso_dates=True)) == spelt
    javascript = '<row><c t="d" s="0"><v>2024-02-29T00:00:00.000Z</v></c></row>'
    assert rows(by_hand(javascript, styles='<cellXfs><xf numFmtId="14"/></cellXfs>')) == [["2024-02-29"]]


def test_formulas_give_their_cached_value_and_are_named_without_one() -> None:
    data = by_hand(
        '<row r="1"><c r="A1"><f>1+1</f><v>2</v></c><c r="B1" t="str"><f>"a"</f><v>a</v></c>'
        '<c r="C1" t="str"><f>""</f><v></v></c><c r="D1"><f>1+1</f></c><c r="E1" t="e"><v>#N/A</v></c>'
        '<c r="F1" t="b"><f>TRUE()</f><v>1</v></c></row>'
    )
    ((*values, uncomputed, error, boolean),) = rows(data)
    assert [*values, boolean] == ["2", "a", "", "true"]
    assert fault(uncomputed) == "the cell holds a formula that was never computed"
    assert fault(error) == "the cell holds the error #N/A"
    assert fault("\udcffabc") is None


def test_a_formula_whose_value_is_there_but_empty_was_never_computed() -> None:
    # As openpyxl writes every formula; only a text may be one of no letters.
    ((_, uncomputed),) = rows(of_rows([["a", "=1+1"]]))
    assert fault(uncomputed) == "the cell holds a formula that was never computed"


def test_rich_text_is_joined_and_phonetic_hints_are_left_out() -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = CellRichText("plain ", TextBlock(InlineFont(b=True), "bold"), " end")
    assert rows(saved(book)) == [["plain bold end"]]
    shared = "<si><r><t>東</t></r><rPh sb='0' eb='1'><t>トウ</t></rPh><r><t>京</t></r></si><si><t> _x000D_ _x005F_x000D_</t></si>"
    inline = '<c t="inlineStr"><is><r><t>in</t></r><rPh><t>no</t></rPh><r><t>line</t></r></is></c>'
    data = by_hand(f'<row><c t="s"><v>0</v></c><c t="s"><v>1</v></c>{inline}</row>', shared)
    assert rows(data) == [["東京", " \r _x000D_", "inline"]]


def test_escapes_of_half_letters_become_letters_or_no_text() -> None:
    (line,) = lines(by_hand('<row><c t="s"><v>0</v></c></row>', "<si><t>_xD83D__xDE00_</t></si>"))
    assert line == "😀".encode()
    (line,) = lines(by_hand('<row><c t="s"><v>0</v></c></row>', "<si><t>a_xD83D_b</t></si>"))
    assert line == b"a\xffb"


def test_prefixed_elements_are_the_same_elements() -> None:
    plain = by_hand('<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row>')
    with ZipFile(io.BytesIO(plain)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    for name in ("worksheet", "sheetData", "row", "c", "is", "t"):
        sheet = sheet.replace(f"<{name}>", f"<x:{name}>").replace(f"<{name} ", f"<x:{name} ")
        sheet = sheet.replace(f"</{name}>", f"</x:{name}>")
    parts["xl/worksheets/sheet1.xml"] = sheet.replace("xmlns=", "xmlns:x=").encode()
    assert rows(zipped(parts)) == [["a"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.1000000000000001", "1.1"),
        ("5.0", "5"),
        ("1E+3", "1000"),
        ("1.5E-7", "1.5e-07"),
        ("-0", "0"),
        ("12345678901234567890", "12345678901234567890"),
        ("1.23456789012345E+18", "1234567890123450000"),  # as Excel has 19 digits, of which it keeps 15
        ("-9.2233720368547748E+18", "-9223372036854775000"),
        ("abc", "abc"),
        ("1E400", "1E400"),
        ("0.15", "0.15"),
    ],
)
def test_numbers_are_the_shortest_that_reads_back_the_same(text: str, expected: str) -> None:
    assert number(text) == expected


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("General", "number"),
        ("0.00%", "number"),
        ('0 "days"', "number"),
        ("0.00E+00", "number"),
        ("#,##0 [$USD]", "number"),
        ("[Red]0.0;[Blue]-0.0", "number"),
        ("\\d0", "number"),
        ("_-* #,##0_-", "number"),
        ("@", "number"),
        ("yyyy-mm-dd", "date"),
        ("[$-409]d\\-mmm\\-yy;@", "date"),
        ("mmm", "date"),
        ("dddd", "date"),
        ("m/d/yy h:mm", "datetime"),
        ("h:mm AM/PM", "time"),
        ("mm:ss.0", "time"),
        ("[h]:mm:ss", "elapsed"),
        ("[mm]", "elapsed"),
    ],
)
def test_a_format_shows_numbers_days_or_times(code: str, shown: str) -> None:
    assert shown_by(200, code) == shown


def test_formats_without_a_code_are_those_every_reader_knows() -> None:
    assert [shown_by(each, None) for each in (0, 9, 14, 20, 22, 31, 32, 33, 46, 49)] == [
        *("number", "number", "date", "time", "datetime", "date", "time", "time", "elapsed", "number")
    ]


@pytest.mark.parametrize(
    ("serial", "shown", "from_1904", "expected"),
    [
        ("1", "date", False, "1900-01-01"),
        ("59", "date", False, "1900-02-28"),
        ("60", "date", False, "1900-02-29"),
        ("61", "date", False, "1900-03-01"),
        ("0", "date", False, "1900-01-00"),
        ("0", "date", True, "1904-01-01"),
        ("60", "date", True, "1904-03-01"),
        ("45351", "date", False, "2024-02-29"),
        ("45351.5", "date", False, "2024-02-29T12:00:00"),
        ("45351", "datetime", False, "2024-02-29T00:00:00"),
        ("45351.524259259259", "datetime", False, "2024-02-29T12:34:56"),
        ("45351.999999999", "datetime", False, "2024-03-01T00:00:00"),
        ("0.1", "time", False, "02:24:00"),
        ("0.00000001", "time", False, "00:00:00.001"),
        ("1.25", "time", False, "1900-01-01T06:00:00"),
        ("1.25", "elapsed", False, "30:00:00"),
        ("2958465", "date", False, "9999-12-31"),
        ("2958466", "date", False, "2958466"),
        ("2957003", "date", True, "9999-12-31"),
        ("-1.5", "date", False, "-1.5"),
        ("nan", "date", False, "nan"),
    ],
)
def test_day_counts_become_the_days_that_excel_shows(serial: str, shown: Any, from_1904: bool, expected: str) -> None:
    assert moment(serial, shown, from_1904) == expected


def several_sheets() -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active.sheet_state = "hidden"
    for title in ("Données", "Third"):
        book.create_sheet(title).append([title])
    book.active.append(["hidden"])
    book.create_chartsheet("Chart", 0)
    return saved(book)


@pytest.mark.parametrize(
    ("choice", "name"), [(None, "Données"), ("Third", "Third"), ("Notes", "Notes"), (1, "Notes"), (3, "Third")]
)
def test_a_sheet_is_chosen_by_name_or_number_else_the_first_one_shown(choice: str | int | None, name: str) -> None:
    assert open_sheet(ranges(several_sheets()), choice, LIMITS).name == name


@pytest.mark.parametrize("choice", ["Chart", "third", "", 0, 4, -1])
def test_a_sheet_that_is_not_there_is_refused(choice: str | int) -> None:
    assert code(several_sheets(), choice) == "sheet_unknown"


def with_link(name: str) -> bytes:
    held = io.BytesIO(by_hand("<row/>"))
    with ZipFile(held, "a") as archive:
        link = ZipInfo(name)
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return held.getvalue()


def with_part(name: str) -> bytes:
    return by_hand("<row/>", more={name: b"x"})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (with_part("xl/vbaProject.bin"), "workbook_macros"),
        (with_part("xl/macrosheets/sheet1.xml"), "workbook_macros"),
        (with_part("../evil"), "workbook_unsafe"),
        (with_part("/etc/evil"), "workbook_unsafe"),
        (with_part("xl\\..\\evil"), "workbook_unsafe"),
        (by_hand("<row/>", more={"xl/media/image1.png": bytes(70) + EICAR}), "quarantined"),
        # Parts that are read, too, of which this is in no cell that is loaded.
        (by_hand("<row/>", f"<si><t>{EICAR.decode()}</t></si>"), "quarantined"),
        (by_hand(f'<row><c t="str"><f>"{EICAR.decode()}"</f><v>1</v></c></row>'), "quarantined"),
        (with_link("xl/media/link"), "workbook_unsafe"),
        (with_part("xl/workbook.bin"), "file_type_unsupported"),
        (with_part("XL/workbook.xml"), "workbook_corrupt"),
        (zipped({"a.csv": b"a,b\n"}), "file_type_unsupported"),
        (by_hand("<row/>")[:-30], "workbook_corrupt"),
        (by_hand("<row/>").replace(b"PK\x01\x02", b"PK\x01\x03"), "workbook_corrupt"),
        (by_hand('<row r="2"/><row r="2"/>'), "workbook_corrupt"),
        (by_hand('<row r="1048577"/>'), "workbook_corrupt"),
        (by_hand('<row><c r="B1"><v>1</v></c><c r="A1"><v>1</v></c></row>'), "workbook_corrupt"),
        (by_hand('<row><c r="XFE1"><v>1</v></c></row>'), "workbook_corrupt"),
        (by_hand('<row><c r="1"><v>1</v></c></row>'), "workbook_corrupt"),
        (by_hand('<row><c t="s"><v>0</v></c></row>'), "workbook_corrupt"),
        (by_hand("<row><c><v>1</v></row>"), "workbook_corrupt"),
        (by_hand("<row><row/></row>"), "workbook_corrupt"),
        (by_hand("<c><v>1</v></c>"), "workbook_corrupt"),
        (by_hand("<row>" + "<q>" * 300 + "</q>" * 300 + "</row>"), "workbook_corrupt"),
        (by_hand("".join(f"<n{n}/>" for n in range(20_000))), "workbook_corrupt"),
        (by_hand(f'<row spans="{random.Random(1).randbytes(1 << 20).hex()}"/>'), "workbook_corrupt"),
    ],
)
def test_a_workbook_that_is_damaged_or_dangerous_is_refused_by_name(data: bytes, expected: str) -> None:
    assert code(data) == expected


def test_entities_are_refused_before_they_grow() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><worksheet><sheetData/></worksheet>'
    with ZipFile(io.BytesIO(by_hand(""))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert code(zipped(parts | {"xl/worksheets/sheet1.xml": bomb})) == "workbook_corrupt"


def test_a_bomb_is_refused_unread() -> None:
    bomb = by_hand("<row/>", more={"xl/media/image.png": bytes(30 << 20)})
    assert len(bomb) < 100_000
    assert code(bomb) == "packed_too_densely"
    assert code(bomb, limits=Limits(unpacked=1 << 20, scratch=1)) == "unpacked_too_large"


def test_a_part_that_holds_more_than_the_directory_says_is_refused() -> None:
    data = bytearray(by_hand("<row><c><v>1</v></c></row>" * 1000))
    with ZipFile(io.BytesIO(data)) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size.to_bytes(4, "little")
    place = data.rfind(size)
    data[place : place + 4] = (200).to_bytes(4, "little")
    assert code(bytes(data)) == "workbook_corrupt"


def test_a_directory_too_large_to_hold_is_refused_unread() -> None:
    class Endless(Ranges):
        def __init__(self) -> None:
            super().__init__(lambda start, end: pytest.fail("read"), 1 << 40)

    with pytest.raises(Refused):
        Endless().read(1 << 30)


def test_texts_that_would_fill_the_disk_are_refused() -> None:
    shared = "".join(f"<si><t>text {n}</t></si>" for n in range(1000))
    assert code(by_hand("<row/>", shared), limits=Limits(1 << 30, scratch=5000)) == "workbook_too_large"


def test_an_old_or_encrypted_workbook_is_no_zip() -> None:
    assert code(in_old_container("Workbook")) == "workbook_corrupt"


def test_a_large_sheet_is_read_in_small_windows_and_comes_out_in_small_blocks() -> None:
    noise = random.Random(7)
    cells = "".join(f'<row><c t="s"><v>{n}</v></c><c><v>{noise.random()}</v></c></row>' for n in range(30_000))
    shared = "".join(f"<si><t>text {n}, {noise.randbytes(60).hex()}</t></si>" for n in range(30_000))
    data = by_hand(cells, shared)
    fetched: list[int] = []

    def fetch(start: int, end: int) -> bytes:
        fetched.append(end - start)
        return data[start:end]

    sheet = open_sheet(Ranges(fetch, len(data)), None, LIMITS)
    blocks = [len(block) for block in sheet.blocks]
    assert sum(blocks) > 3 << 20
    assert max(blocks) <= 8 * BLOCK_BYTES  # a cell of 30 letters of XML names 130
    assert max(fetched) <= WINDOW_BYTES
    assert sum(fetched) <= 3 * len(data) + 4 * WINDOW_BYTES
    assert rows(data)[-1][0].startswith("text 29999, ")


def test_random_sheets_come_out_as_openpyxl_put_them_in() -> None:
    noise = random.Random(20)
    letters = ["a", "é", "😀", ",", '"', "\n", " ", ";", "\t", "0", "_x0041_", "<", "&", "]]>"]
    for _ in range(15):
        table: list[list[Any]] = [["h1", "h2", "h3"]]
        for _ in range(noise.randrange(1, 30)):
            text = "".join(noise.choices(letters, k=noise.randrange(1, 8)))
            table.append(
                [text, noise.choice([None, noise.randrange(-9, 10**6), round(noise.random(), 9)]), noise.choice("xy")]
            )
        expected = [["" if cell is None else str(cell).replace("_x0041_", "A") for cell in row] for row in table]
        assert rows(of_rows(table)) == expected


@pytest.mark.parametrize("length", [USUAL_TEXT, MAX_TEXT])
def test_cells_that_share_one_long_text_do_not_pile_up(length: int) -> None:
    data = by_hand('<row><c t="s"><v>0</v></c></row>' * 300, f"<si><t>{'x' * length}</t></si>")
    sizes = [len(block) for block in open_sheet(ranges(data), None, Limits(1 << 40, 1 << 30, ratio=1 << 30)).blocks]
    assert sum(sizes) == 300 * (length + 1)
    assert max(sizes) < 24 << 20


def test_a_row_too_long_to_hold_is_refused() -> None:
    limits = Limits(1 << 40, 1 << 30, ratio=1 << 30)
    shared = f"<si><t>{'x' * USUAL_TEXT}</t></si>"
    row = '<c t="s"><v>0</v></c>' * (MAX_ROW_LENGTH // USUAL_TEXT + 1)
    assert code(by_hand(f"<row>{row}</row>", shared), limits=limits) == "record_too_large"
    inline = f'<c t="inlineStr"><is><t>{"x" * MAX_ROW_LENGTH}x</t></is></c>'
    assert code(by_hand(f"<row>{inline}</row>"), limits=limits) == "record_too_large"
    assert code(by_hand("<row/>", f"<si><t>{'x' * MAX_TEXT}x</t></si>"), limits=limits) == "workbook_corrupt"


def test_a_workbook_with_any_bytes_changed_is_read_or_refused_by_name() -> None:
    noise = random.Random(5)
    whole = of_rows([["id", "name"], [1, "a"], [2.5, "b"], [date(2024, 2, 29), True]])
    with ZipFile(io.BytesIO(whole)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(150):
        name = noise.choice(sorted(parts))
        for data in (_spoilt(whole, noise), zipped(parts | {name: _spoilt(parts[name], noise)})):
            try:
                lines(data)
            except Refused as refused:
                assert refused.code.startswith(("workbook_", "file_type_", "sheet_", "unpacked_", "packed_"))


def _spoilt(data: bytes, noise: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(noise.choice([1, 1, 5])):
        spoilt[noise.randrange(len(spoilt))] = noise.choice([0, 48, 57, 60, 62, 34, 255])
    return bytes(spoilt)
