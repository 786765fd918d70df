"""What a file is, from its first bytes: refused if it is no UTF-8 text, else the dialect it is written in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.errors import Refused
from chalicelib.formats.delimited import bom_length, records
from chalicelib.formats.dialect import Dialect

DELIMITERS = (",", ";", "\t", "|")  # on a tie the earlier one wins
_NOT_TEXT = {
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"PK\x05\x06": "an empty zip archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old or encrypted Office file",
    b"%PDF-": "a PDF",
    b"\x7fELF": "a program",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
}
_OTHER_BOMS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@dataclass(frozen=True, slots=True)
class Detected:
    """The dialect, and why: `agreeing` of the sample's whole `records` have as many columns as the first."""

    dialect: Dialect
    declared: tuple[str, ...]
    records: int
    agreeing: int
    columns: int


def detect(sample: bytes, declared: Mapping[str, Any], truncated: bool, names: Collection[str] = ()) -> Detected:
    """The dialect of the file that begins with sample: what the client declared, the rest by consistency.

    A delimiter under which the header holds all of `names` beats any other: ragged rows say nothing against it.
    Raises Refused: dialect_invalid, file_type_unsupported, encoding_unsupported.
    """
    dialect = Dialect.from_options(declared)
    refuse_binary(sample)
    text = sample[bom_length(sample) :]
    candidates = [_tried(text, each, truncated) for each in _candidates(dialect, declared)]

    def likeliness(tried: Detected) -> tuple[bool, bool, float, int]:
        header = next(records(text, tried.dialect), [])
        return bool(names) and set(names) <= set(header), *_plausibility(tried)

    return replace(max(candidates, key=likeliness), declared=tuple(sorted(declared)))


def _candidates(dialect: Dialect, declared: Mapping[str, Any]) -> list[Dialect]:
    if "delimiter" in declared:
        return [dialect]
    return [replace(dialect, delimiter=each) for each in DELIMITERS if each != dialect.quote]


def refuse_binary(sample: bytes) -> None:
    """Raise Refused for what cannot be UTF-8 text, named so that its owner knows what to save instead."""
    for magic, kind in _NOT_TEXT.items():
        if sample.startswith(magic):
            raise Refused("file_type_unsupported", f"The file is {kind}, not delimited text.")
    for mark, encoding in _OTHER_BOMS.items():
        if sample.startswith(mark):
            raise Refused("encoding_unsupported", f"The file is {encoding}; save it as UTF-8.")
    if sample.count(0) > len(sample) // 3:  # ASCII letters in UTF-16 are every second byte NUL
        raise Refused("encoding_unsupported", "The file looks like UTF-16 without a mark; save it as UTF-8.")


def _tried(text: bytes, dialect: Dialect, truncated: bool) -> Detected:
    widths = [len(cells) for cells in records(text, dialect)]
    if truncated and len(widths) > 1:
        widths.pop()  # the sample may end inside it
    columns = widths[0] if widths else 0
    return Detected(dialect, (), len(widths), widths.count(columns), columns)


def _plausibility(tried: Detected) -> tuple[bool, float, int]:
    """Any wrong delimiter yields one column in every record, so one column proves nothing."""
    agreement = tried.agreeing / max(tried.records, 1)
    return tried.columns > 1 and agreement > 0.5, agreement, tried.columns
