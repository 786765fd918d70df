"""A row that came as JSON against the schema: the same readings and rules as for the cells of a file.

Values may be JSON's own or text, spelled as rows are shown: with ISO dates and a decimal point, whatever a field's
format says of files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from chalicelib.cells import PLAIN, Field, Value, numbers, told
from chalicelib.checking import Column, columns_of, judged
from chalicelib.datasets import Schema
from chalicelib.formats import MAX_CELL
from chalicelib.journey import CellError
from chalicelib.strict_json import Float

_is_number: Final = numbers.number().read


def check_document(
    document: Mapping[str, Any], schema: Schema, *, whole: bool
) -> tuple[dict[str, Value], list[CellError]]:
    """The values of a document's fields as Postgres reads them, and what is wrong with it.

    In a `whole` row the fields that are not named have no value.
    """
    unknown = sorted(document.keys() - set(schema.names))
    errors = [CellError(name, "column_unknown", "the dataset has no such field") for name in unknown]
    values: dict[str, Value] = {}
    for name, found in _judged(document, schema, whole=whole):
        if isinstance(found, CellError):
            errors.append(found)
        else:
            values[name] = found
    return values, errors


def _judged(document: Mapping[str, Any], schema: Schema, *, whole: bool) -> Iterator[tuple[str, Value | CellError]]:
    as_shown = replace(schema, fields=tuple(spec.plain for spec in schema.fields))
    for column in columns_of(as_shown, PLAIN):
        name = column.field.name
        if whole or name in document:
            yield name, _judge(document.get(name), column)


def _judge(value: Any, column: Column) -> Value | CellError:
    spec = column.field
    if value is None:
        return CellError(spec.name, "required_missing", "a value is required") if spec.required else None
    cell = _spelled(value, spec)
    if cell is None:
        detail = f"{told(spec, json.dumps(value))} is not {column.reading.expected}"
        return CellError(spec.name, "type_invalid", detail)
    if len(cell) > MAX_CELL:
        return CellError(spec.name, "row_too_large", f"the value is longer than {MAX_CELL} characters")
    return judged((cell,), column).get(cell, cell)


def _spelled(value: Any, spec: Field) -> str | None:
    """The value as a cell has it, or None if it is of a kind that the field knows nothing of."""
    match value:
        case str():
            return value
        case bool():
            return json.dumps(value) if spec.type == "boolean" else None
        case int() if spec.type == "year":
            return f"{value:04d}"
        case Float() if spec.type in ("integer", "number"):
            return value.text if spec.type == "number" else _whole(value.text)
        case int() | float():
            return str(value) if spec.type in ("integer", "number") else None
        case dict():
            return json.dumps(value) if spec.type == "object" else None
        case list():
            return json.dumps(value) if spec.type == "array" else None
    return None


def _whole(text: str) -> str:
    """5.0 and 3e0 as a cell has such integers; any other number, or one too long to be looked at, as it is."""
    if _is_number(text) is None or (exact := Decimal(text)) != (whole := int(exact)):
        return text
    return str(whole)
