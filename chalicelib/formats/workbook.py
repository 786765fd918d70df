"""A workbook of one sheet of text, as it is written: no temporary file, whatever the number of rows.

Own code because XlsxWriter (constant_memory) took nine times as long and 1 GB of disk for a million rows of ten
cells, twice what a Lambda function has. Every cell is text and formatted as text: nothing runs, 007 stays 007, and
what is typed over it is not made a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from io import RawIOBase
from typing import Any, Final
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

MAX_ROWS: Final = 1_048_576
MAX_CELL: Final = 32_767  # UTF-16 units
_BATCH: Final = 500
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_KINDS: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PLAIN: Final = 'fontId="0" fillId="0" borderId="0"'
_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

_PARTS: Final = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_KINDS}.sheet.main+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_KINDS}.styles+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_KINDS}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}">'
    '<sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId2" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>',
    # The second format is number format 49, text.
    "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border/></borders>'
    f'<cellStyleXfs count="1"><xf numFmtId="0" {_PLAIN}/></cellStyleXfs><cellXfs count="2">'
    f'<xf numFmtId="0" {_PLAIN} xfId="0"/><xf numFmtId="49" {_PLAIN} xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>',
}
_SHEET: Final = f'<worksheet xmlns="{_MAIN}"><sheetData>'
_SHEET_END: Final = "</sheetData></worksheet>"
_CELL: Final = '<c s="1" t="inlineStr"><is><t xml:space="preserve">{}</t></is></c>'
_HOLDS_NOT: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOOKS_ESCAPED: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")


def can_hold(text: str) -> bool:
    """Whether a cell of a workbook can be this text: XML has no way to say most control characters."""
    return not _HOLDS_NOT.search(text) and (2 * len(text) <= MAX_CELL or len(text.encode("utf-16-le")) // 2 <= MAX_CELL)


def stream(rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """The workbook's bytes, block by block. Every cell must be one that it can hold."""
    sink = _Sink()
    with ZipFile(sink, "w") as archive:
        for name, content in _PARTS.items():
            archive.writestr(_dated(name), _XML + content)
        with archive.open(_dated("xl/worksheets/sheet1.xml"), "w", force_zip64=True) as sheet:
            sheet.write((_XML + _SHEET).encode())
            for text in _batches(rows):
                sheet.write(text.encode())
                yield sink.take()
            sheet.write(_SHEET_END.encode())
    yield sink.take()


def _dated(name: str) -> ZipInfo:
    """An entry without a clock: the same rows give the same bytes."""
    entry = ZipInfo(name)
    entry.compress_type = ZIP_DEFLATED
    return entry


def _batches(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    batch: list[str] = []
    for row in rows:
        batch.append(f"<row>{''.join([_CELL.format(_text(cell)) for cell in row])}</row>")
        if len(batch) == _BATCH:
            yield "".join(batch)
            batch.clear()
    yield "".join(batch)


def _text(cell: str) -> str:
    """XML turns a bare CR into LF, and Excel reads _x0041_ as A."""
    if "_x" in cell:
        cell = _LOOKS_ESCAPED.sub("_x005F_", cell)
    return escape(cell, {"\r": "&#13;"})


class _Sink(RawIOBase):
    """Where the archive is written to, and taken away from as it grows."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self._blocks.append(bytes(block))
        return len(block)

    def take(self) -> bytes:
        taken = b"".join(self._blocks)
        self._blocks.clear()
        return taken
