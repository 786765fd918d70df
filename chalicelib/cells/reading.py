"""Which grammar a field's cells are read by: its type, its format, and where it is silent its file's conventions."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from chalicelib.cells import moments, numbers, texts
from chalicelib.cells.fields import PLAIN, Conventions, Field, Reading, Typed, Value


@lru_cache(maxsize=4096)
def reading(field: Field, conventions: Conventions = PLAIN) -> Reading:
    """How this field's cells are read. Raises ValueError if its format is none of its type's."""
    own = _own(field, conventions)
    if conventions.typed is None or (conventions.is_plain and field.plain == field):
        return own
    meant: Typed | None = "either"
    if field.type in ("integer", "number"):
        meant = next((each for name, each in conventions.typed if name == field.name), None)
    return _or_plain(own, _own(field.plain, PLAIN), meant)


def read_shown(field: Field, text: str) -> Value:
    """A value as rows show it, which may be longer than any cell that it came from; None if it is none."""
    value = reading(field.plain).read(text.zfill(4) if field.type == "year" else text)
    longer = {"number": numbers.written_out, "duration": moments.added_up}.get(field.type)
    return longer(text) if value is None and longer else value


def _or_plain(own: Reading, plain: Reading, meant: Typed | None) -> Reading:
    """By its own spelling or the plain one; where they differ (1.234, which as a text is 1234) by what is `meant`: its
    own without that, and by neither if it may be either.
    """

    def read(cell: str) -> Value:
        as_text, as_value = own.read(cell), plain.read(cell)
        if as_text is None or as_value is None:
            return as_value if as_text is None else as_text
        if as_text == as_value or meant is None:
            return as_text
        return as_value if meant == "value" else None

    # 1.234 is both, which is why it is neither.
    clearly = "clearly one of the two, " if meant == "either" else ""
    return replace(own, read=read, expected=f"{clearly}{own.expected} or a value of the sheet", sure=None)


def _own(field: Field, conventions: Conventions) -> Reading:
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
    if values is None or conventions.enum_case is None or field.format == "uuid":
        return found
    return texts.any_case(found, values)
