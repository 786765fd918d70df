"""Bytes of a delimited file to cells: the header from a sample, and the records of a chunk."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from operator import methodcaller

from chalicelib.errors import Refused
from chalicelib.formats.dialect import Dialect
from chalicelib.formats.grammar import line_count, tokens

BOM = b"\xef\xbb\xbf"
# str.splitlines also breaks lines at these; csv.reader must not see them as line ends.
_OTHER_LINE_ENDS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"

csv.field_size_limit(1 << 30)  # the splitter bounds a record; the 128 KiB of the csv module is not our rule


@dataclass(frozen=True, slots=True)
class Header:
    """The column names of a file and where its data begin: an offset into the file, BOM included, and a line."""

    names: tuple[str, ...]
    end: int
    lines: int


def bom_length(sample: bytes) -> int:
    """How many bytes of a UTF-8 byte order mark the file begins with: 3 or 0."""
    return len(BOM) if sample.startswith(BOM) else 0


def header(sample: bytes, dialect: Dialect, truncated: bool) -> Header:
    """The first record of the file that begins with sample; `truncated` when the file goes on after it.

    Without a header the data begin at once and there are no names. Blank lines before it are passed over and
    counted in `lines`.
    """
    bom = bom_length(sample)
    if not dialect.header:
        return Header((), bom, 0)
    text = sample[bom:]
    first = next(tokens(text.removesuffix(b"\r") if truncated else text, dialect), None)
    if truncated and (first is None or first[1] == first[2]):
        raise Refused("header_too_long", f"The header does not end within the first {len(sample)} bytes.")
    if first is None:
        raise Refused("header_missing", "The file holds no record, not even a header.")
    start, end, after = first
    return Header(_names(text[start:end], dialect), bom + after, line_count(text[:after]))


def _names(record: bytes, dialect: Dialect) -> tuple[str, ...]:
    try:
        record.decode()
    except UnicodeDecodeError:
        raise Refused("encoding_unsupported", "The header is not UTF-8; save the file as UTF-8.") from None
    return tuple(next(records(record, dialect)))


def records(chunk: bytes, dialect: Dialect) -> Iterator[list[str]]:
    """The cells of every record of a chunk that begins and ends at record borders; blank lines are passed over.

    Bytes that are not UTF-8 become lone surrogates, so that only their own cells are at fault.
    An iterator, because a list of every cell of a chunk makes the garbage collector half of the cost.
    """
    text = _decoded(chunk)
    if dialect.quote is None or dialect.quote not in text:
        return map(methodcaller("split", dialect.delimiter), filter(None, _bare_lines(text)))
    rows = csv.reader(_lines(text), delimiter=dialect.delimiter, quotechar=dialect.quote)
    return filter(None, rows)  # a blank line is [], a lone quoted empty cell is ['']


def _decoded(chunk: bytes) -> str:
    try:
        return chunk.decode()
    except UnicodeDecodeError:
        return chunk.decode(errors="surrogateescape")


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends: LF, CRLF or lone CR. A StringIO keeps four bytes a letter, so it comes second."""
    if any(other in text for other in _OTHER_LINE_ENDS):
        return io.StringIO(text, newline="")
    return iter(text.splitlines(keepends=True))


def _bare_lines(text: str) -> Iterator[str]:
    if any(other in text for other in _OTHER_LINE_ENDS):
        return (line.rstrip("\r\n") for line in io.StringIO(text, newline=""))
    return iter(text.splitlines())
