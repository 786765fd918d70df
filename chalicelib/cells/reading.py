"""Which grammar a field's cells are read by: its type, its format, and where it is silent its file's conventions."""

from __future__ import annotations

from functools import lru_cache

from chalicelib.cells import moments, numbers, texts
from chalicelib.cells.fields import PLAIN, Conventions, Field, Reading


@lru_cache(maxsize=4096)
def reading(field: Field, conventions: Conventions = PLAIN) -> Reading:
    """How this field's cells are read. Raises ValueError if its format is none of its type's."""
    if field.type in ("date", "time", "datetime"):
        return _moment(field, conventions)
    if field.type == "string":
        return _string(field, conventions)
    if field.format != "default":
        raise ValueError(f"format {field.format} of {field.type} is not supported; there is default")
    match field.type:
        case "integer" | "number":
            return _number(field, conventions)
        case "boolean":
            return texts.boolean(*conventions.booleans(field))
        case "object" | "array":
            return texts.json(field.type)
        case _:
            return {"year": moments.year, "duration": moments.duration, "geopoint": texts.geopoint}[field.type]()


def _number(field: Field, conventions: Conventions) -> Reading:
    own = field.decimal_char is not None or field.group_char is not None
    spelled = field if own else conventions
    if field.type == "integer":
        found = numbers.integer(spelled.group_char, field.bare_number)
    else:
        found = numbers.number(spelled.decimal_char or ".", spelled.group_char, field.bare_number)
    return numbers.beside(found, conventions.units) if conventions.units else found


def _moment(field: Field, conventions: Conventions) -> Reading:
    if field.format == "any":
        raise ValueError("format any is not supported: it leaves a guess; say a pattern")
    if field.format != "default":
        return moments.by_pattern(field.type, field.format)
    if field.type == "time":
        return moments.plain_time()
    return (moments.plain_date if field.type == "date" else moments.plain_datetime)(conventions.date_order)


def _string(field: Field, conventions: Conventions) -> Reading:
    kinds = {"default": texts.string, "email": texts.email, "uri": texts.uri, "uuid": texts.uuid}
    if field.format not in kinds:
        raise ValueError(f"format {field.format} of string is not supported; there are default, email, uri, uuid")
    found = kinds[field.format]()
    values = next((rule.limit for rule in field.rules if rule.name == "enum"), None)
    # A UUID means the same in capitals as it is.
    return (
        found
        if values is None or conventions.enum_case is None or field.format == "uuid"
        else texts.any_case(found, values)
    )
