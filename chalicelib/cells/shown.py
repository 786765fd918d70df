"""How a value that is stored is shown in JSON."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from chalicelib.cells.fields import Field


def from_text(field: Field, text: str) -> object:
    """A value that checks have left as text, in JSON: what Postgres would have made of it (datasets.encryption)."""
    match field.type:
        case "integer":
            return int(text)
        case "number":
            number = Decimal(text)
            return as_json(number if number else abs(number))
        case "boolean":
            return text == "t"
        case _:
            return text.lower() if field.postgres_type == "uuid" else text


def as_json(value: object) -> object:
    """A cell in JSON: exact decimals as strings, moments in UTC as RFC 3339."""
    match value:
        case Decimal():
            return {"Infinity": "INF", "-Infinity": "-INF"}.get(str(value), format(value, "f"))
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            return value
