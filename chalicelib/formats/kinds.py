"""What a file is by its first bytes: text that can be cut where it lies, or something to be made into that."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

from chalicelib.errors import Refused
from chalicelib.formats import encodings
from chalicelib.formats.transcoded import UTF_8

GZIP: Final = "gzip"
WORKBOOK: Final = "workbook"
MAGIC_BYTES: Final = 8
ARCHIVES: Final = (encodings.GZIP, encodings.ZIP)  # what they begin with
_SECTOR_BYTES: Final = 4096
_ENCRYPTED: Final = tuple(name.encode("utf-16-le") for name in ("EncryptedPackage", "DataSpaces"))
_OLD: Final = tuple(name.encode("utf-16-le") for name in ("Workbook\0", "Book\0"))


def is_packed(head: bytes) -> bool:
    """Whether a file that begins with these MAGIC_BYTES is an archive, of which no part can be read by itself."""
    return head.startswith((encodings.GZIP, b"PK", encodings.OLE))


def kind(sample: bytes, declared: str | None = None) -> str:
    """GZIP, WORKBOOK, or an encoding; UTF_8 is text that is cut where it lies, if it is text at all.

    A byte order mark is believed before what was declared.
    """
    if sample.startswith(encodings.GZIP):
        return GZIP
    if sample.startswith(encodings.ZIP):
        return WORKBOOK
    return encoding(sample, declared)


def encoding(sample: bytes, declared: str | None = None) -> str:
    """The encoding of a text: its mark's, the declared one, or the likeliest; UTF-16 by the order of its bytes."""
    if sample.startswith((codecs.BOM_UTF8, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return UTF_8  # UTF-32 is refused by name where dialects are detected
    if sample.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if sample.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    if declared == "utf-16":
        return "utf-16-be" if sample[::2].count(0) > sample[1::2].count(0) else "utf-16-le"
    return declared or encodings.encoding(sample).name


def refuse_old_office(sample: bytes, size: int, read: Callable[[int, int], bytes]) -> None:
    """Refuse by name what Office keeps in its old container: encrypted workbooks, and those of before 2007.

    `read(start, end)` gives bytes of the file: what is in the container says its directory, anywhere in it.
    """
    if not sample.startswith(encodings.OLE):
        return
    sector = 1 << min(int.from_bytes(sample[30:32], "little"), 12)
    start = sector * (1 + int.from_bytes(sample[48:52], "little"))
    names = sample + read(start, min(size, start + _SECTOR_BYTES))
    if any(name in names for name in _ENCRYPTED):
        raise Refused("workbook_encrypted", "The workbook is protected by a password; save it without one.")
    if any(name in names for name in _OLD):
        raise Refused("workbook_old", "The workbook is in the format of before 2007 (.xls); save it as .xlsx.")
