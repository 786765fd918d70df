"""Rows back into CSV: header and columns in schema order, values spelled as the schema spells them.

RFC 4180 quoting with a bare newline as line end, UTF-8; one page of rows in memory at a time.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from .errors import Unusable
from .resources import Descriptor, Row, Value

Spelling = Callable[[Value], str]
Text = Callable[[str], str]

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SHOWN = re.compile(
    r"(?:(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2}))?T?"
    r"(?:(?P<H>[0-9]{2}):(?P<M>[0-9]{2}):(?P<S>[0-9]{2})(?:\.(?P<f>[0-9]{1,6}))?)?Z?"
).fullmatch


class Sink(Protocol):
    """Where text goes."""

    def write(self, text: str, /) -> object: ...


def write_csv(rows: Iterable[Row], schema: Descriptor, sink: Sink) -> int:
    """The header and every row. How many rows that were."""
    fields = schema["fields"]
    columns = [(field["name"], _spelling(field, schema)) for field in fields]
    # The writer quotes a lone carriage return only if it occurs in its own line end: so CRLF, cut below.
    writer = csv.writer(_NewlineEnds(sink), lineterminator="\r\n")
    writer.writerow([name for name, _ in columns])
    written = 0
    for row in rows:
        writer.writerow([spell(row[name]) for name, spell in columns])
        written += 1
    return written


@contextmanager
def destination(path: Path | None) -> Iterator[Sink]:
    """Standard output, or a file that appears under its name only when it is complete."""
    with binary(path) as raw:
        sink = TextIOWrapper(raw, encoding="utf-8", newline="")
        try:
            yield sink
            sink.flush()
        finally:
            sink.detach()  # or the wrapper would close what it wraps when it goes


@contextmanager
def binary(path: Path | None) -> Iterator[BinaryIO]:
    """The same for bytes."""
    if path is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("wb") as device:
            yield device
    else:
        with _whole_file(path.resolve()) as file:
            yield file


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    handle, draft = _draft(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        draft.chmod(_mode(path))
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise


def _draft(path: Path) -> tuple[int, Path]:
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".rowmill-")  # the name may be as long as names may be
    except OSError as fault:
        raise Unusable(f"{path} cannot be written: {fault.strerror or fault}") from fault
    return handle, Path(draft)


def _mode(path: Path) -> int:
    """The mode of the file to be replaced, or of any new file: drafts are private, exports are not."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


class _NewlineEnds:
    """Takes the lines of a csv writer, one a call, and ends them as Unix does."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, line: str) -> object:
        return self._sink.write(line.removesuffix("\r\n") + "\n")


def _spelling(field: Mapping[str, Any], schema: Descriptor) -> Spelling:
    null = _first(field.get("missingValues", schema.get("missingValues")), "")
    true, false = _first(field.get("trueValues"), "true"), _first(field.get("falseValues"), "false")
    text = _text(field)

    def spell(value: Value) -> str:
        if value is None:
            return null
        if isinstance(value, bool):
            return true if value else false
        # Everything else arrives as exact text or as an integer; a nested value can only be JSON.
        return text(value if isinstance(value, str) else json.dumps(value))

    return spell


def _text(field: Mapping[str, Any]) -> Text:
    """From the text that rows show to that which files have: 1234.5 is something else to who groups by points."""
    match field.get("type"), field.get("decimalChar"), field.get("format"):
        case "number", str(mark), _:
            return lambda text: text.replace(".", mark)
        case "year", _, _:
            return lambda text: text.zfill(4)
        case "date" | "time" | "datetime", _, str(pattern) if "%" in pattern:
            return _by_pattern(pattern)
        case _:
            return str


def _by_pattern(pattern: str) -> Text:
    """As a strptime pattern reads it, not as this machine's language has it.

    What the pattern has no place for is no file's: a row's by hand. It stays as it is shown, so that no reader takes it
    for another moment.
    """

    def spell(text: str) -> str:
        found = _SHOWN(text)
        if not found or any(found[each].strip("0") for each in "Sf" if found[each] and f"%{each}" not in pattern):
            return text
        month = _MONTHS[int(found["m"] or 1) - 1]
        told = {**found.groupdict("0"), "b": month[:3], "B": month, "z": "+0000", "%": "%"}
        return re.sub("%(.)", lambda directive: told[directive[1]], pattern)

    return spell


def _first(spellings: list[Any] | None, default: str) -> str:
    if not spellings:
        return default
    first = spellings[0]
    return str(first["value"]) if isinstance(first, dict) else str(first)
