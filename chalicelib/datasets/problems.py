"""How what is wrong with a descriptor is told, and the checks that all of its parts need."""

from __future__ import annotations

from typing import Any

Problem = dict[str, str]


def problem(column: str | None, detail: str) -> Problem:
    """One thing that is wrong, with the field it is in."""
    return {"code": "schema_invalid", "detail": detail} | ({"column": column} if column else {})


def are_strings(value: object) -> bool:
    """Whether this is a list of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def as_list(value: Any) -> list[Any]:
    """Table Schema lets a list of one field's name be written as the name."""
    return value if isinstance(value, list) else [value]
