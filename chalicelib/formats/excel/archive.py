"""The zip around a workbook, read by ranges: every way to waste memory or disk is refused before it costs any."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from stat import S_ISLNK
from typing import IO, Final
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from chalicelib.errors import Refused
from chalicelib.formats import threats
from chalicelib.formats.limits import Limits

WINDOW_BYTES: Final = 4 << 20
BLOCK_BYTES: Final = 1 << 20
MOST_AT_ONCE: Final = 16 << 20  # zipfile reads the directory of a zip at once
MAX_ENTRIES: Final = 10_000
MAX_SMALL_BYTES: Final = 64 << 20  # of a part that is read before anything can be passed on
_ENCRYPTED: Final = 1
_DAMAGE: Final = (
    *(BadZipFile, zlib.error, struct.error, expat.ExpatError),
    *(EOFError, KeyError, ValueError, NotImplementedError, OverflowError),
)


class Ranges(io.RawIOBase):
    """A file that is read by ranges: `fetch(start, end)` gives these bytes of it. Memory is one window."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._at = self._start = 0
        self._window = b""

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise BadZipFile("a place before the file")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > MOST_AT_ONCE:
            raise Refused("workbook_corrupt", "The directory of the workbook's zip archive is too large.")
        if not self._start <= self._at <= self._at + wanted <= self._start + len(self._window):
            self._window = b""  # not two of them at once
            self._window = self._fetch(self._at, min(self._size, self._at + max(wanted, WINDOW_BYTES)))
            self._start = self._at
        begin = self._at - self._start
        self._at += wanted
        return self._window[begin : begin + wanted]


@contextmanager
def sound() -> Iterator[None]:
    """Whatever zipfile, zlib and expat raise for a damaged workbook becomes Refused workbook_corrupt."""
    try:
        yield
    except _DAMAGE:
        raise corrupt("it cannot be read") from None


def corrupt(why: str) -> Refused:
    """The refusal of a workbook that is damaged, or none."""
    return Refused("workbook_corrupt", f"The workbook is damaged: {why}.")


class Archive:
    """The parts of a workbook by name, checked before any is unpacked."""

    def __init__(self, file: IO[bytes] | Ranges, limits: Limits) -> None:
        self._limits = limits
        self._zip = ZipFile(file)
        entries = self._zip.infolist()
        _check(entries)
        limits.check(sum(entry.compress_size for entry in entries), sum(entry.file_size for entry in entries))
        self._entries = {entry.filename.lower(): entry for entry in entries}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._entries

    def open_small(self, name: str) -> IO[bytes]:
        """As `open`, for a part that says how others are to be read."""
        if name in self and self._entries[name.lower()].file_size > MAX_SMALL_BYTES:
            raise corrupt("a part of it is too large")
        return self.open(name)

    def open(self, name: str) -> IO[bytes]:
        """The part of this name, in any case, as Office has it. Its CRC is checked at its end."""
        entry = self._entries.get(name.lower())
        if entry is None:
            raise corrupt("a part of it is missing")
        self._limits.check(entry.compress_size, entry.file_size)
        return self._zip.open(entry)

    def look_at_others(self, read: Collection[str]) -> Iterator[None]:
        """Look for malware in the parts but these, which are read; a sign now and then. What is damaged is nobody's.

        How large they are all together was checked before. Raises Infected.
        """
        known = {name.lower() for name in read}
        for name, entry in self._entries.items():
            if name not in known and entry.file_size >= len(threats.EICAR):
                with suppress(*_DAMAGE), self._zip.open(entry) as stream:
                    for _ in threats.watched(iter(lambda: stream.read(BLOCK_BYTES), b"")):
                        yield


def _check(entries: list[ZipInfo]) -> None:
    names = [entry.filename.lower() for entry in entries]
    if len(names) > MAX_ENTRIES:
        raise corrupt(f"it has more than {MAX_ENTRIES} parts")
    if len(set(names)) != len(names):
        raise corrupt("two parts have one name")
    if any(_leads_out(name) for name in names):
        raise Refused("workbook_unsafe", "The workbook's zip archive names a file outside of itself.")
    if any(S_ISLNK(entry.external_attr >> 16) for entry in entries):
        raise Refused("workbook_unsafe", "The workbook's zip archive holds a link.")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise Refused("workbook_encrypted", "The workbook is protected by a password; save it without one.")
    if any(entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for entry in entries):
        raise corrupt("it is packed in an unknown way")
    if any(name.endswith("vbaproject.bin") or "/macrosheets/" in name for name in names):
        raise Refused("workbook_macros", "The workbook holds macros; save it as .xlsx.")
    if "xl/workbook.bin" in names:
        raise Refused("file_type_unsupported", "The file is a binary workbook (.xlsb); save it as .xlsx.")


def _leads_out(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts
