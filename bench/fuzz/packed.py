"""Targets that unpack: gzip, other encodings and workbooks to the UTF-8 text that is cut."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from bench.fuzz.bounds import within
from bench.fuzz.knobs import Knobs, in_blocks
from chalicelib.errors import Refused
from chalicelib.formats import Dialect, Unreadable, encodings, excel, records, workbook
from chalicelib.formats.excel import sheet as sheets
from chalicelib.formats.gzipped import BLOCK_BYTES, unpack
from chalicelib.formats.kinds import kind, refuse_old_office
from chalicelib.formats.limits import Limits
from chalicelib.formats.transcoded import ENCODINGS, transcode

BLOCKS: Final = (1 << 20, 1, 3, 64)
LIMITS: Final = Limits(unpacked=1 << 24, scratch=1 << 22)
Parts = dict[str, bytes]


def gzipped(data: bytes) -> None:
    """The same contents or the same refusal however the bytes arrive; what gzip itself unpacks, and never more."""
    knobs = Knobs(data)
    how, block, limit = knobs.pick(("raw", "members", "padded", "cut")), knobs.pick(BLOCKS), knobs.pick((1 << 24, 100))
    at, limits = knobs.pick(range(256)), Limits(limit, 0)
    packed = knobs.file if how == "raw" else _members(knobs.file, b"\0" * 9 if how == "padded" else b"")
    packed = packed[: at * len(packed) // 256] if how == "cut" else packed
    with within(len(packed)):
        once = _outcome(lambda: _bounded(unpack([packed] if packed else [], limits), limit))
    assert _outcome(lambda: _bounded(unpack(in_blocks(packed, block), limits), limit)) == once, "blocks decide"
    if how in ("members", "padded") and limit > len(knobs.file):
        assert once == knobs.file, "other contents than were packed"
    if isinstance(once, bytes):
        assert once == gzip.decompress(packed), "other contents than gzip's own"


def _members(contents: bytes, padding: bytes) -> bytes:
    parts = in_blocks(contents, max(1, len(contents) // 3)) or [b""]
    return b"".join(gzip.compress(part, 1, mtime=0) + padding for part in parts)


def _bounded(blocks: Iterable[bytes], limit: int) -> bytes:
    held = list(blocks)
    assert all(len(block) <= BLOCK_BYTES for block in held), "a block is too large"
    assert sum(map(len, held)) <= limit, "more than the limit came out"
    return b"".join(held)


def _outcome(work: Callable[[], bytes]) -> bytes | str:
    try:
        return work()
    except Refused as refused:
        return refused.code


def encoded(data: bytes) -> None:
    """Text in any encoding becomes the same UTF-8 however the bytes arrive, and no letter of it another."""
    knobs = Knobs(data)
    declared, block, truncated = knobs.pick((None, *ENCODINGS)), knobs.pick(BLOCKS[1:]), knobs.pick((False, True))
    file = knobs.file
    with within(len(file)):
        found, told = encodings.encoding(file, declared), kind(file, declared)
        encodings.as_utf_8(file, found, truncated)
        _outcome(lambda: _refused_old(file))
    assert 0 <= found.confidence <= 1, "surer than sure"
    if told not in ENCODINGS or told == "utf-8":
        return
    with within(len(file)):
        once = b"".join(transcode([file], told))
    assert b"".join(transcode(in_blocks(file, block), told)) == once, "blocks decide"
    text = (
        file.decode(told, "surrogatepass" if told.startswith("utf-16") else "surrogateescape")
        if _whole(file, told)
        else None
    )
    if text is not None:
        expected = text.removeprefix("\ufeff") if told.startswith("utf-16") else text
        assert once.decode(errors="surrogatepass" if told.startswith("utf-16") else "surrogateescape") == expected


def _whole(file: bytes, told: str) -> bool:
    return not told.startswith("utf-16") or len(file) % 2 == 0


def _refused_old(file: bytes) -> bytes:
    refuse_old_office(file[:4096], len(file), lambda start, end: file[start:end])
    return b""


MAIN: Final = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELS: Final = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"
WHERE: Final = ("zip", "cells", "shared", "styles", "book", "rels", "sheet", "ours")


def workbooks(data: bytes) -> None:
    """Any bytes as a workbook, or as a part of one, are refused by name or become CSV whose line n is row n."""
    knobs = Knobs(data)
    where, choice, width = knobs.pick(WHERE), knobs.pick((None, 1, 2, "One")), knobs.pick((None, 1, 3))
    skip, method, file = knobs.pick((0, 1)), knobs.pick((ZIP_STORED, ZIP_DEFLATED)), knobs.file
    if where == "ours":
        _comes_back(file)
        return
    packed = file if where == "zip" else zipped(_parts(where, file), method)
    with within(len(packed)):
        once = _outcome(lambda: _lines(packed, choice, width, skip, sheets.BLOCK_BYTES))
    size = 1 if len(file) < 300 else 50
    assert _outcome(lambda: _lines(packed, choice, width, skip, size)) == once, "blocks decide"
    if isinstance(once, bytes):
        _is_csv(once)


def _parts(where: str, file: bytes) -> Parts:
    """A workbook of one sheet, in which one place is `file`."""

    def here(name: str, otherwise: bytes) -> bytes:
        return file if where == name else otherwise

    cells = here("cells", b'<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" s="1"><v>45351</v></c></row>')
    shared = here("shared", b"<si><t>text</t></si>")
    styles = here("styles", b'<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>')
    book = here("book", b'<sheets><sheet name="One" sheetId="1" r:id="rId1"/></sheets>')
    rels = here("rels", _rels(b"worksheet", b"sharedStrings", b"styles"))
    return {
        "[Content_Types].xml": b"<Types/>",
        "_rels/.rels": b"<Relationships>" + _rels(b"officeDocument") + b"</Relationships>",
        "xl/workbook.xml": b'<workbook xmlns="%b" xmlns:r="%b">%b</workbook>' % (MAIN, _RELS, book),
        "xl/_rels/workbook.xml.rels": b"<Relationships>%b</Relationships>" % rels,
        "xl/sharedStrings": b'<sst xmlns="%b">%b</sst>' % (MAIN, shared),
        "xl/styles": b'<styleSheet xmlns="%b">%b</styleSheet>' % (MAIN, styles),
        "xl/worksheet": here("sheet", b'<worksheet xmlns="%b"><sheetData>%b</sheetData></worksheet>' % (MAIN, cells)),
    }


def _rels(*kinds: bytes) -> bytes:
    one = b'<Relationship Id="rId%d" Type="x/%b" Target="/xl/%b"/>'
    return b"".join(
        one % (n, name, b"workbook.xml" if name == b"officeDocument" else name) for n, name in enumerate(kinds, 1)
    )


def zipped(parts: Parts, method: int = ZIP_STORED) -> bytes:
    """An archive of these parts."""
    held = io.BytesIO()
    with ZipFile(held, "w", method) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return held.getvalue()


def _lines(packed: bytes, choice: str | int | None, width: int | None, skip: int, block: int) -> bytes:
    usual = sheets.BLOCK_BYTES
    vars(sheets)["BLOCK_BYTES"] = block
    try:
        file = excel.Ranges(lambda start, end: packed[start:end], len(packed))
        return b"".join(excel.open_sheet(file, choice, LIMITS, width=width, skip=skip).blocks)
    finally:
        vars(sheets)["BLOCK_BYTES"] = usual


def _is_csv(made: bytes) -> None:
    """Each line is a record or a blank row; its cells can be told."""
    rows = made.split(b"\n")
    assert rows.pop() == b"", "the last row has no line end"
    read = records(made, Dialect())
    assert not any(isinstance(row, Unreadable) for row in read), "a row of the sheet cannot be read back"
    assert len(read) == sum(map(bool, rows)), "a row of the sheet is not one line"
    assert not rows or rows[-1], "blank rows at the end"


def _comes_back(file: bytes) -> None:
    """What we write as a workbook we read as the same text."""
    cells = file.decode(errors="replace").split("|")
    if not all(map(workbook.can_hold, cells)):
        return
    packed = b"".join(workbook.stream([["first"], [*cells, "last"]]))
    made = _outcome(lambda: _lines(packed, None, None, 0, sheets.BLOCK_BYTES))
    assert isinstance(made, bytes), "our own workbook is refused"
    revealed = records(made.split(b"\n", 1)[1].removesuffix(b"\n"), Dialect())
    assert _unhidden(revealed) == [*cells, "last"], "our own workbook reads otherwise"


def _unhidden(rows: Sequence[Sequence[str]]) -> list[str]:
    (row,) = rows
    return [cell.replace("\udcfe", "\n").replace("\udcfd", "\r") for cell in row]
