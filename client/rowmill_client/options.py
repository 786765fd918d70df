"""`--option dialect.delimiter=';'`: dotted names and plain words become the nested options of an upload."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .errors import Unusable


def nest(pairs: Iterable[str]) -> dict[str, Any]:
    """Nested options of `name=value` pairs. Raises Unusable for one that is none or contradicts another."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        # A column of a mapping is foreign: it may hold dots, and its field may be called `1` or `true`.
        is_column = name.startswith("mapping.")
        parts = name.split(".", 1) if is_column else name.split(".")
        if not equals or not all(parts):
            raise Unusable(f"option {pair!r} is not of the form name=value")
        _place(options, parts, _field(value) if is_column else typed(value), name)
    return options


def _field(text: str) -> str | None:
    return None if text == "null" else text


def typed(text: str) -> Any:
    """A boolean, number or list where the text is one in JSON, else the text as it is."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)  # NaN and 1e999 cannot be sent
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float | list) else text


def _place(options: dict[str, Any], parts: list[str], value: Any, name: str) -> None:
    inner = options
    for part in parts[:-1]:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise Unusable(f"option {name} contradicts another that sets {part}")
    if parts[-1] in inner:
        raise Unusable(f"option {name} is given twice")
    inner[parts[-1]] = value
