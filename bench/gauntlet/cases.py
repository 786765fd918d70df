"""The files, and how each must end: these states, and this code of the upload's error if it has one."""

from __future__ import annotations

import gzip
import io
import random
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from chalicelib.formats.threats import EICAR

MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006/relationships"
HEADER: Final = b"email,name,since,visits,balance,remark\n"
GOOD: Final = b"u%d@example.org,Name,2024-02-28,1,2.50,seen\n"
BLOCK: Final = 1 << 20
LINE_BYTES: Final = 10**9
BOMB_BYTES: Final = 2 << 30
SHEET_BYTES: Final = 305_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A file in blocks, under a name; `code` is of the upload's error, or of the refusal when it is announced."""

    name: str
    blocks: Callable[[], Iterable[bytes]]
    state: str
    code: str | None = None
    filename: str = "a.csv"
    is_large: bool = False

    def write(self, folder: Path) -> Path:
        path = folder / self.filename
        with path.open("wb") as out:
            for block in self.blocks():
                out.write(block)
        return path


def every(line_bytes: int = LINE_BYTES) -> list[Case]:
    """All of them; `line_bytes` is the length of the one long line."""
    return [*_packed(), *_texts(line_bytes), *_infected(), *_named()]


def _packed() -> list[Case]:
    dense = ("failed", "packed_too_densely")
    evil, macros = {"../../evil": b"x"}, {"xl/vbaProject.bin": b"x"}
    return [
        Case("gzip of 2 GiB of zeros", _gzip_bomb, *dense, "a.csv.gz", is_large=True),
        Case(
            "gzip of 100 MB under a wrong header",
            lambda: [_dense()],
            "failed",
            "columns_missing",
            "a.csv.gz",
            is_large=True,
        ),
        Case("workbook of 305 MB in 1 MB", _sheet_bomb, *dense, "a.xlsx", is_large=True),
        Case("gzip in gzip in gzip", lambda: [_nested()], "failed", "gzip_nested", "a.csv.gz"),
        Case("billion laughs in a workbook", lambda: [_laughs()], "failed", "workbook_corrupt", "a.xlsx"),
        Case("workbook with a part ../../evil", lambda: [_book(evil)], "failed", "workbook_unsafe", "a.xlsx"),
        Case("workbook with a link", lambda: [_linked()], "failed", "workbook_unsafe", "a.xlsx"),
        Case("workbook with macros", lambda: [_book(macros)], "failed", "workbook_macros", "a.xlsx"),
        Case("zip that is no workbook", lambda: [_zip({"a.csv": HEADER})], "failed", "file_type_unsupported", "a.xlsx"),
    ]


def _texts(line_bytes: int) -> list[Case]:
    open_quote = _rows(3) + (GOOD % 9).replace(b"Name", b'"Name')
    wide = b",".join(b"c%d" % n for n in range(2000)) + b"\n" + b"," * 1999 + b"\n"
    sql = b'"email"";DROP TABLE rowmill.upload;--",name\na,b\n'
    long = ("failed", "record_too_large")
    program = b"\x7fELF\x02\x01\x01" + bytes(4000)
    ends = [HEADER, rb"\.,\.,\.,\.,\.,\." + b"\n", b"\\.\n" * 1000]
    return [
        Case("a program as .csv", lambda: [program], "failed", "file_type_unsupported"),
        Case(f"one line of {line_bytes / 1e6:,.0f} MB", lambda: _line(line_bytes), *long, is_large=True),
        Case("a quote that never closes", lambda: [open_quote, *[_rows(20_000)] * 25], *long, is_large=True),
        Case("rows of `\\.`", lambda: ends, "completed_with_errors"),
        Case("NUL in each row", lambda: [_rows(1000).replace(b"Name", b"Na\0me")], "completed_with_errors"),
        Case("2,000 columns", lambda: [wide], "failed", "columns_too_many"),
        Case("a header of SQL", lambda: [sql], "failed", "columns_missing"),
    ]


def _infected() -> list[Case]:
    last = (GOOD % 999_999).replace(b"seen", EICAR)
    found = ("quarantined", "quarantined")
    return [
        Case("EICAR", lambda: [EICAR], *found),
        Case("EICAR in the last of 200,000 rows", lambda: [_rows(200_000), last], *found),
        Case("EICAR in a cell, gzip", lambda: [gzip.compress(_rows(50) + last)], *found, "a.csv.gz"),
        Case("EICAR in a workbook's cell", lambda: [_book({}, _row(EICAR.decode()))], *found, "a.xlsx"),
        Case("EICAR as a picture in a workbook", lambda: [_book({"xl/media/1.png": EICAR})], *found, "a.xlsx"),
    ]


def _named() -> list[Case]:
    names = ("a.csv.exe", "a.exe%00.csv", "a.xlsm")
    return [Case(name, lambda: [HEADER], "refused", "filename_refused", name) for name in names]


def _rows(count: int) -> bytes:
    return HEADER + b"".join(GOOD % n for n in range(count))


def _gzip_bomb() -> Iterator[bytes]:
    held = io.BytesIO()
    with gzip.GzipFile(fileobj=held, mode="wb", compresslevel=9) as packed:
        packed.write(HEADER)
        for _ in range(BOMB_BYTES // BLOCK):
            packed.write(bytes(BLOCK))
    yield held.getvalue()


def _dense() -> bytes:
    """As dense as may be, but for a factor of two: all of it is unpacked before anybody knows its columns."""
    chance = random.Random(1)
    lines = b"".join(b"%016x,%s\n" % (chance.getrandbits(64), b"y" * 982) for _ in range(100_000))
    return gzip.compress(b"who,what\n" + lines)


def _sheet_bomb() -> Iterator[bytes]:
    row = b'<row><c t="inlineStr"><is><t>' + b"A" * 900 + b"</t></is></c></row>"
    data = row * (SHEET_BYTES // len(row))
    yield _book({}, data.decode())


def _line(size: int) -> Iterator[bytes]:
    yield HEADER
    for _ in range(size // BLOCK):
        yield b"x" * BLOCK


def _nested() -> bytes:
    return gzip.compress(gzip.compress(gzip.compress(bytes(BLOCK))))


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{entities}]>'
    return _book({}, '<row><c t="inlineStr"><is><t>&l9;</t></is></c></row>', text)


def _row(remark: str) -> str:
    cells = (*HEADER.decode().strip().split(","),), ("a@example.org", "Name", "2024-02-28", "1", "2.50", remark)
    filled = (("".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in row)) for row in cells)
    return "".join(f"<row>{row}</row>" for row in filled)


def _book(more: Mapping[str, bytes], data: str = "", before: str = "") -> bytes:
    """A workbook of one sheet, and what else is put into it."""
    parts = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r1" Type="{RELS}/officeDocument"'
        ' Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{RELS}"><sheets>'
        '<sheet name="One" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r1" Type="{RELS}/worksheet"'
        ' Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'{before}<worksheet xmlns="{MAIN}"><sheetData>{data}</sheetData></worksheet>',
    }
    return _zip({name: text.encode() for name, text in parts.items()} | dict(more))


def _linked() -> bytes:
    held = io.BytesIO(_book({}))
    with ZipFile(held, "a") as archive:
        link = ZipInfo("xl/media/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return held.getvalue()


def _zip(parts: Mapping[str, bytes]) -> bytes:
    held = io.BytesIO()
    with ZipFile(held, "w", ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return held.getvalue()
