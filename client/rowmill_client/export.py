"""Rows back into CSV: header and columns in schema order, values spelled as the schema spells them.

RFC 4180 quoting with a bare newline as line end, UTF-8; one page of rows in memory at a time.
"""

from __future__ import annotations

import csv
import json
import os
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

    def spell(value: Value) -> str:
        if value is None:
            return null
        if isinstance(value, bool):
            return true if value else false
        # Everything else arrives as exact text or as an integer; a nested value can only be JSON.
        return value if isinstance(value, str) else json.dumps(value)

    return spell


def _first(spellings: list[Any] | None, default: str) -> str:
    if not spellings:
        return default
    first = spellings[0]
    return str(first["value"]) if isinstance(first, dict) else str(first)
