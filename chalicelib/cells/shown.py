"""How a value that is stored is shown in JSON."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID


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
