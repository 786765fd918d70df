"""Encrypted fields of a descriptor: what they may be, and what cannot be asked of values that nobody can see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chalicelib.datasets.problems import Problem, as_list, problem

TYPES: Final = ("string", "integer", "number", "boolean", "date")


def encryption_problems(descriptor: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with `encrypted`. The rest of the descriptor is looked at elsewhere."""
    if "encrypted" in descriptor:
        yield problem(None, "encrypted is said of each field")
    encrypted = [item for item in descriptor["fields"] if "encrypted" in item]
    for item in encrypted:
        label = item["name"] if isinstance(item.get("name"), str) else None
        if not isinstance(item["encrypted"], bool):
            yield problem(label, "encrypted must be true or false")
        elif item["encrypted"] and item.get("type", "string") not in TYPES:
            yield problem(label, f"encrypted is for fields of type {', '.join(TYPES)}")
    names = {item.get("name") for item in encrypted if item["encrypted"] is True and isinstance(item.get("name"), str)}
    for name, use in _uses(descriptor):
        if name in names:
            yield problem(name, f"an encrypted field cannot be {use}: its values are not to be told apart or ordered")


def _uses(descriptor: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    """Fields that the descriptor names, each with what it names it for; whatever is no name is passed over."""
    keys, indexes, parted = (descriptor.get(name) for name in ("foreignKeys", "indexes", "partition_by"))
    for key in keys if isinstance(keys, list) else []:
        if isinstance(key, dict):
            yield from _named(key.get("fields"), "in a foreign key")
    for index in indexes if isinstance(indexes, list) else []:
        yield from _named(index, "indexed")
    if isinstance(parted, dict):
        yield from _named(parted.get("field"), "what rows are parted by")


def _named(names: Any, use: str) -> Iterator[tuple[Any, str]]:
    yield from ((name, use) for name in as_list(names) if isinstance(name, str))
