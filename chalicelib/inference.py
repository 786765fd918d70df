"""What the columns of a file are, by all of their values: the narrowest type whose every value the checker takes.

Chunks are looked at apart. What each says is a handful of bits a column, all of them "nothing speaks against it", so
chunks are brought together by AND, in any order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from chalicelib.cells import BLANKS, PLAIN, Conventions, Value
from chalicelib.checking import check
from chalicelib.datasets import Field, FieldType, Schema, read_schema
from chalicelib.errors import Refused
from chalicelib.formats import misfit

CANDIDATES: Final[tuple[FieldType, ...]] = ("boolean", "integer", "number", "date", "datetime")  # narrowest first
NEVER_MISSING: Final = 1 << len(CANDIDATES)
NO_VALUE: Final = NEVER_MISSING << 1
ALL: Final = (NO_VALUE << 1) - 1  # a column of which nothing has been seen
MAX_COLUMNS: Final = 500  # the status holds what was found of each
MAX_FAULTS: Final = 20  # unreadable records that a refusal names
FIRST_VALUES: Final = 50  # most types that a column is not of fall at these

# Numbers to the checker, but to people more often a code: 007, +49 30 123, 12E5. As numbers they would not come back.
# Programs that write a number with a capital E give it a sign or a point: 1E+05, 1.0E5.
# Blanks count for nothing in a file whose cells are trimmed; in any other no number has them.
_BLANK: Final = f"[{BLANKS}]*"
_CODE: Final = re.compile(rf"{_BLANK}(?:\+|-?0[0-9]|[0-9]+E[0-9])").match
_SPEAKS_AGAINST: Final[Mapping[FieldType, Any]] = {
    "boolean": re.compile(rf"{_BLANK}[01]{_BLANK}\Z").match,  # 0 and 1 count
    "integer": _CODE,
    "number": _CODE,
}


def guess(columns: Iterable[Sequence[Value]], spelling: Conventions = PLAIN) -> list[int]:
    """What the values of a chunk leave possible, a column at a time."""
    return [_guess(set(column), spelling) for column in columns]


def _guess(values: set[Value], spelling: Conventions) -> int:
    found = [value for value in values if value is not None]
    bits = ALL & ~(NEVER_MISSING if None in values else 0) & ~(NO_VALUE if found else 0)
    for place, candidate in enumerate(CANDIDATES):
        if not (_fits(candidate, found[:FIRST_VALUES], spelling) and _fits(candidate, found, spelling)):
            bits &= ~(1 << place)
    return bits


def _fits(candidate: FieldType, values: Sequence[str], spelling: Conventions) -> bool:
    against = _SPEAKS_AGAINST.get(candidate)
    if against and any(map(against, values)):
        return False
    # Required: what is a value as a text must be one of the candidate's, too, and is none if trimming leaves nothing.
    schema = Schema((Field("column", candidate, required=True),), (), False, ())
    return not check([(value,) for value in values], schema, [0], 1, spelling).bad


def descriptor(names: Sequence[str], guesses: Sequence[int]) -> dict[str, Any]:
    """The Table Schema that takes all that was seen. No key is claimed: that all values differ may be chance."""
    return {"fields": [_field(name, bits) for name, bits in zip(names, guesses, strict=True)]}


def _field(name: str, bits: int) -> dict[str, Any]:
    if bits & NO_VALUE:
        return {"name": name, "type": "string"}
    fitting = (candidate for place, candidate in enumerate(CANDIDATES) if bits & 1 << place)
    field: dict[str, Any] = {"name": name, "type": next(fitting, "string")}
    return field | ({"constraints": {"required": True}} if bits & NEVER_MISSING else {})


def text_schema(names: Sequence[str]) -> Schema:
    """Every column text: what a file is read by before its types are known."""
    return read_schema({"fields": [{"name": name} for name in names]})


def column_names(header: Sequence[str], records: Sequence[Sequence[str]]) -> list[str]:
    """The fields that a file's columns become: the names of its header, or column_1 and so on.

    Without a header there are as many as most of the first records have. Raises Refused naming the columns that
    cannot be fields: blank, repeated, too long, reserved; or if there is nothing to tell columns by.
    """
    names = [name.strip("\ufeff \t\r\n") for name in header] or _numbered(records)
    if len(names) > MAX_COLUMNS:
        raise Refused("columns_too_many", f"The file has {len(names)} columns; types are found for 1 to {MAX_COLUMNS}.")
    if blank := [place for place, name in enumerate(names, 1) if not name]:
        errors = [
            {"column": str(place), "code": "column_unnamed", "detail": "The column has no name."} for place in blank
        ]
        raise Refused("column_unnamed", f"Column {blank[0]} has no name in the header.", errors=errors)
    try:
        text_schema(names)
    except Refused as fault:
        errors = [{**error, "code": "column_name_invalid"} for error in fault.errors]
        raise Refused("column_name_invalid", "The header has names that no field can have.", errors=errors) from None
    return names


def _numbered(records: Sequence[Sequence[str]]) -> list[str]:
    if not records:
        raise Refused("header_missing", "The file begins with no whole record that would tell its columns.")
    widths = Counter(filter(None, map(len, records)))
    if not widths:
        faults = [(place, misfit(record, 0)) for place, record in enumerate(records[:MAX_FAULTS], 1)]
        errors = [{"row": place, "code": fault.code, "detail": fault.detail} for place, fault in faults]
        raise Refused("records_unreadable", "None of the file's first records can be read.", errors=errors)
    ((width, _),) = widths.most_common(1)
    return [f"column_{place}" for place in range(1, width + 1)]
