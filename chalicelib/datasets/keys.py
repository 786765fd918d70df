"""Keys and references of a descriptor. Whether a reference's target is a key over there, the database is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chalicelib.datasets.problems import Problem, are_strings, as_list, problem
from chalicelib.datasets.schema import ForeignKey

MAX_KEY_FIELDS: Final = 32
MAX_INDEXES: Final = 16  # each is written to for every row
MAX_FOREIGN_KEYS: Final = 16  # each is a look into another table for every chunk


def key_problems(descriptor: Mapping[str, Any], names: set[str]) -> Iterator[Problem]:
    """What is wrong with primaryKey and uniqueKeys."""
    unique = descriptor.get("uniqueKeys", [])
    if not isinstance(unique, list):
        yield problem(None, "uniqueKeys must be a list")
        return
    primary = [descriptor["primaryKey"]] if descriptor.get("primaryKey", []) != [] else []
    for key in primary + unique:
        yield from _key_problems(as_list(key), names, "a key")


def index_problems(declared: object, names: set[str]) -> Iterator[Problem]:
    """What is wrong with indexes: a list of fields, or of lists of them."""
    if not isinstance(declared, list):
        yield problem(None, "indexes must be a list")
        return
    if len(declared) > MAX_INDEXES:
        yield problem(None, f"{len(declared)} indexes; the limit is {MAX_INDEXES}")
    for item in declared:
        # One less than a key: an index ends in the column by which rows are told apart.
        yield from _key_problems(as_list(item), names, "an index", MAX_KEY_FIELDS - 1)


def _key_problems(columns: list[Any], names: set[str], what: str, most: int = MAX_KEY_FIELDS) -> Iterator[Problem]:
    if not columns or not are_strings(columns) or len(set(columns)) != len(columns):
        yield problem(None, f"{what} is a field name or a list of different field names")
    elif len(columns) > most:
        yield problem(None, f"{what} has {len(columns)} fields; the limit is {most}")
    else:
        yield from (problem(name, f"{what} names a field that is not there") for name in columns if name not in names)


def foreign_key_problems(declared: object, names: set[str]) -> Iterator[Problem]:
    """What is wrong with foreignKeys as such."""
    if not isinstance(declared, list) or not all(isinstance(item, dict) for item in declared):
        yield problem(None, "foreignKeys must be a list of objects")
        return
    if len(declared) > MAX_FOREIGN_KEYS:
        yield problem(None, f"{len(declared)} foreignKeys; the limit is {MAX_FOREIGN_KEYS}")
    for item in declared:
        yield from _key_problems(as_list(item.get("fields")), names, "a foreign key")
        yield from _reference_problems(item)


def _reference_problems(item: Mapping[str, Any]) -> Iterator[Problem]:
    reference = item.get("reference")
    if not isinstance(reference, dict):
        yield problem(None, "a foreign key needs a reference")
        return
    resource, targets = reference.get("resource", ""), as_list(reference.get("fields"))
    if resource == "":
        # Its rows may stand in any chunk: only when all are in could one say which are missing.
        yield problem(None, "a foreign key to the dataset itself is not supported")
    elif not isinstance(resource, str):
        yield problem(None, "reference.resource must be the name of a dataset")
    if not targets or not are_strings(targets) or len(set(targets)) != len(targets):
        yield problem(None, "reference.fields is a field name or a list of different field names")
    elif len(targets) != len(as_list(item.get("fields"))):
        yield problem(None, "a foreign key refers to as many fields as it has")


def read_foreign_key(item: Mapping[str, Any]) -> ForeignKey:
    """A foreign key without problems."""
    reference = item["reference"]
    return ForeignKey(tuple(as_list(item["fields"])), reference["resource"], tuple(as_list(reference["fields"])))
