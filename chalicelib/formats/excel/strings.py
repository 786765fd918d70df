"""The texts that cells share: a million different ones are on disk, not in memory."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from functools import lru_cache
from tempfile import TemporaryFile
from typing import IO, Final

from chalicelib.errors import Refused
from chalicelib.formats.excel.archive import corrupt
from chalicelib.formats.excel.markup import LocalNames, parse
from chalicelib.strict_json import is_text

USUAL_TEXT: Final = 1 << 15  # letters: Excel's own limit
MAX_TEXT: Final = 1 << 20
_KEPT: Final = 16_384  # texts of at most _SHORT bytes that are remembered: 5 MB
_SHORT: Final = 256
_ESCAPED: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONE: Final = re.compile("[\ud800-\udfff]")
UNCOMPUTED: Final = "="
NOT_TEXT: Final = "\udcff"  # becomes the byte FF, which is in no UTF-8 text: the row is rejected


def unescaped(text: str) -> str:
    """A text of a workbook without its escapes: _x000D_ is a carriage return, _x005F_ an underscore."""
    if "_x" not in text:
        return text
    text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    text = _PAIR.sub(lambda match: match[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _LONE.sub(NOT_TEXT, text)


def cell(text: str) -> str:
    """A text as a cell of CSV, its line ends hidden: bytes FE and FD, which are in no UTF-8 text either."""
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""').replace("\n", "\udcfe").replace("\r", "\udcfd") + '"'
    return text


def reveal(line: bytes) -> bytes:
    """CSV as everybody reads it, with line ends in cells. Every byte stays at its place."""
    return line.replace(b"\xfe", b"\n").replace(b"\xfd", b"\r")


def fault(cell: str) -> str | None:
    """What is wrong with a cell that came from a sheet and is no value; None if it is just not text."""
    if cell == NOT_TEXT + UNCOMPUTED:
        return "the cell holds a formula that was never computed"
    is_error = cell.startswith(NOT_TEXT + "#") and len(cell) < 20 and is_text(cell[1:])  # and not such bytes by chance
    return f"the cell holds the error {cell[1:]}" if is_error else None


class SharedStrings:
    """The table of shared strings, each as a cell of CSV."""

    def __init__(self, scratch_bytes: int) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115  # closed with the table
        self._ends = array("Q", [0])
        self._scratch_bytes = scratch_bytes
        self.longest = 0
        self._short = lru_cache(_KEPT)(self._at)

    def close(self) -> None:
        self._file.close()

    def __getitem__(self, place: str) -> str:
        """The cell that a `<v>` names."""
        number = int(place) if place.isdecimal() else -1
        if not 0 <= number < len(self._ends) - 1:
            raise corrupt("a cell names a text that is not there")
        start, end = self._ends[number], self._ends[number + 1]
        return self._short(start, end) if end - start <= _SHORT else self._at(start, end)

    def _at(self, start: int, end: int) -> str:
        return os.pread(self._file.fileno(), end - start, start).decode(errors="surrogateescape")

    def load(self, stream: IO[bytes]) -> Iterator[None]:
        """Read the table; gives way after every block of it."""
        reader = _Reader()
        for _ in parse(stream, reader.start, reader.end, reader.text):
            for text in reader.texts:
                self._add(text)
            reader.texts.clear()
            yield
        self._file.flush()

    def _add(self, text: str) -> None:
        written = self._file.write(cell(unescaped(text)).encode(errors="surrogateescape"))
        self._ends.append(self._ends[-1] + written)
        self.longest = max(self.longest, len(text))
        if self._ends[-1] > self._scratch_bytes:
            raise Refused("workbook_too_large", f"The workbook's texts have more than {self._scratch_bytes} bytes.")


class _Reader:
    """`texts` are the `<si>` that are complete: their `<t>` joined, but those of phonetic hints."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._names = LocalNames()
        self._parts: list[str] = []
        self._taking = self._phonetic = False
        self._length = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        match self._names[name]:
            case "t":
                self._taking = not self._phonetic
            case "si":
                self._parts, self._length = [], 0
            case "rPh":
                self._phonetic = True

    def end(self, name: str) -> None:
        match self._names[name]:
            case "t":
                self._taking = False
            case "si":
                self.texts.append("".join(self._parts))
            case "rPh":
                self._phonetic = False

    def text(self, data: str) -> None:
        if self._taking:
            self._parts.append(data)
            self._length += len(data)
            if self._length > MAX_TEXT:
                raise corrupt("a text of it is too long")
