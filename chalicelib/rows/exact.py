"""A record at a time: right for every input."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from chalicelib import checking, formats
from chalicelib.cells import Field, Value
from chalicelib.datasets import Schema
from chalicelib.errors import Refused
from chalicelib.formats import correction
from chalicelib.rows.shape import Rows, Shape

SPECIAL: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}  # in COPY's text format
TEXTUAL: Final = ("string", "object", "array")  # types whose values may hold those
NULL: Final = "\\N"
_ESCAPES: Final = str.maketrans(SPECIAL)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the cyclic collector: it walks tens of thousands of new row lists again and again, 20 % of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@_without_collector()
def read(data: bytes, shape: Shape, records: int, first: int | None) -> Rows:
    """As rows.read."""
    rows = formats.fitted(formats.records(data, shape.dialect), shape.width, shape.dialect, shape.nameless)
    if len(rows) != records:
        raise Refused("records_disagree", f"{len(rows)} records where the splitter counted {records}.")
    origins, uncorrected = correction.take_back(rows, shape.own) if shape.own else ([], {})
    checked = checking.check(rows, shape.schema, shape.positions, shape.width, shape.conventions, uncorrected)
    return Rows(checked, b"" if first is None else _text(checked, shape.schema, first), origins)


def _text(checked: checking.Checked, schema: Schema, first: int) -> bytes:
    if not checked.places:
        return b""
    columns = [_escaped(spec, column) for spec, column in zip(schema.fields, checked.columns, strict=True)]
    columns.append([str(first + place) for place in checked.places])
    lines = list(map("\t".join, zip(*columns, strict=True)))
    if schema.keys:
        order = _sort_keys(checked, schema)
        lines = [lines[index] for index in sorted(range(len(lines)), key=order.__getitem__)]
    lines.append("")
    return "\n".join(lines).encode()


def _sort_keys(checked: checking.Checked, schema: Schema) -> Sequence[Any]:
    """What orders rows as the first key's index does, nearly: close pages, the same order in every worker."""
    parts: list[Sequence[Any]] = []
    for position in schema.key_positions()[0]:
        column = checked.columns[position]
        if schema.fields[position].type == "integer":
            parts.append([int(value or 0) for value in column])
        else:
            parts.append([value or "" for value in column])
    return parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))


def _escaped(spec: Field, column: Sequence[Value]) -> Sequence[str]:
    """A column as COPY's text format spells it."""
    if spec.type in TEXTUAL:
        joined = "".join(filter(None, column))
        if any(special in joined for special in SPECIAL):
            column = [value if value is None else value.translate(_ESCAPES) for value in column]
    return [NULL if value is None else value for value in column] if None in column else cast(Sequence[str], column)
