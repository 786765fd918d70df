"""A descriptor becomes a Schema, or every problem it has is told at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from chalicelib.cells import Field, FieldType, patterns, reading
from chalicelib.cells.fields import FALSE_VALUES, TRUE_VALUES
from chalicelib.datasets import constraints
from chalicelib.datasets.encryption import encryption_problems
from chalicelib.datasets.keys import foreign_key_problems, index_problems, key_problems, read_foreign_key
from chalicelib.datasets.pace import pace_problems
from chalicelib.datasets.partitions import partition_problems, read_partitions
from chalicelib.datasets.problems import Problem, are_strings, as_list, problem
from chalicelib.datasets.schema import Schema
from chalicelib.errors import Refused

MAX_FIELDS: Final = 1500  # Postgres stops at 1,600 columns, less for wide rows
MAX_IDENTIFIER_BYTES: Final = 63

_ID: Final = re.compile("dst_[0-9a-f]{32}").fullmatch
_SYSTEM_COLUMNS: Final = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
_NOT_IN_A_FIELD: Final = ("categories", "categoriesOrdered")
_NUMERIC: Final[Mapping[str, tuple[FieldType, ...]]] = {
    "decimalChar": ("number",),
    "groupChar": ("number", "integer"),
    "bareNumber": ("number", "integer"),
}


def is_dataset_name(name: str) -> bool:
    """Whether a dataset may be called so: its view is. Not `.` and `..`: no client can send an address with these."""
    is_dots = name in (".", "..")
    return name.isprintable() and 1 <= len(name.encode("utf-8", "replace")) <= MAX_IDENTIFIER_BYTES and not is_dots


def is_dataset_id(name: str) -> bool:
    """Whether this is what others than its owner call a dataset: no name of one is like it."""
    return _ID(name) is not None


def read_schema(descriptor: Mapping[str, Any]) -> Schema:
    """The schema of a descriptor. Raises Refused `schema_invalid` with every problem found."""
    problems = list(_problems(descriptor))
    if problems:
        raise Refused("schema_invalid", "The Table Schema cannot be used.", errors=problems)
    primary = tuple(as_list(descriptor.get("primaryKey", [])))
    fields = tuple(_field(item, primary) for item in descriptor["fields"])
    unique = [(item["name"],) for item in descriptor["fields"] if item.get("constraints", {}).get("unique")]
    declared = [tuple(as_list(key)) for key in descriptor.get("uniqueKeys", [])]
    keys = dict.fromkeys(([primary] if primary else []) + unique + declared)
    references = tuple(map(read_foreign_key, descriptor.get("foreignKeys", [])))
    indexes = tuple(dict.fromkeys(tuple(as_list(item)) for item in descriptor.get("indexes", [])))
    parted = descriptor.get("partition_by")
    return Schema(
        fields,
        tuple(keys),
        bool(primary),
        tuple(descriptor.get("missingValues", [""])),
        references,
        read_partitions(parted) if parted is not None else None,
        indexes,
        descriptor.get("identity"),
    )


def _field(item: Mapping[str, Any], primary: tuple[str, ...]) -> Field:
    declared = item.get("constraints", {})
    required = bool(declared.get("required")) or item["name"] in primary
    return _shape(item, required, constraints.read_rules(_shape(item), declared))


def _shape(item: Mapping[str, Any], required: bool = False, rules: tuple[Any, ...] = ()) -> Field:
    missing = item.get("missingValues")
    return Field(
        name=item["name"],
        type=item.get("type", "string"),
        format=item.get("format", "default"),
        required=required,
        true_values=tuple(item.get("trueValues", TRUE_VALUES)),
        false_values=tuple(item.get("falseValues", FALSE_VALUES)),
        missing_values=None if missing is None else tuple(missing),
        decimal_char=item.get("decimalChar"),
        group_char=item.get("groupChar"),
        bare_number=item.get("bareNumber", True),
        rules=rules,
        encrypted=item.get("encrypted", False),
    )


def _problems(descriptor: Mapping[str, Any]) -> Iterator[Problem]:
    fields = descriptor.get("fields")
    if not isinstance(fields, list) or not fields or not all(isinstance(item, dict) for item in fields):
        yield problem(None, "fields must be a list of at least one field object")
        return
    if len(fields) > MAX_FIELDS:
        yield problem(None, f"{len(fields)} fields; the limit is {MAX_FIELDS}")
    for item in fields:
        yield from _field_problems(item)
    if sum(map(_pattern_weight, fields)) > patterns.MAX_WEIGHTS:
        yield problem(None, "the patterns of all fields together are too large")
    identity = [descriptor["identity"]] if "identity" in descriptor else []
    yield from _name_problems([*identity, *(item.get("name") for item in fields)])
    if identity:
        yield from _identity_problems(descriptor)
    names = {str(item.get("name")) for item in fields}
    yield from key_problems(descriptor, names)
    yield from foreign_key_problems(descriptor.get("foreignKeys", []), names)
    yield from index_problems(descriptor.get("indexes", []), names)
    yield from pace_problems(descriptor.get("max_rows_per_second"))
    if descriptor.get("partition_by") is not None:
        yield from partition_problems(descriptor["partition_by"], descriptor)
    yield from encryption_problems(descriptor)
    if not are_strings(descriptor.get("missingValues", [])):
        yield problem(None, "missingValues must be a list of strings")


def _identity_problems(descriptor: Mapping[str, Any]) -> Iterator[Problem]:
    """A row that is told by its number has no key: two names for one row would have to be kept in step."""
    declared = [item.get("constraints") for item in descriptor["fields"]]
    if (
        descriptor.get("primaryKey")
        or descriptor.get("uniqueKeys")
        or any(isinstance(one, dict) and one.get("unique") for one in declared)
    ):
        yield problem(None, "identity is for a dataset without keys")


def _field_problems(item: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with one field; its constraints are only looked at where the rest of it holds."""
    name = item.get("name")
    label = name if isinstance(name, str) else None
    found = [problem(label, detail) for detail in _property_problems(item)]
    if not isinstance(item.get("constraints", {}), dict):
        found.append(problem(label, "constraints must be an object"))
    yield from found
    if found or label is None:
        return
    field = _shape(item)
    try:
        reading(field)
    except ValueError as error:
        yield problem(label, str(error))
        return
    yield from constraints.problems_of(field, item.get("constraints", {}))


def _pattern_weight(item: Mapping[str, Any]) -> int:
    declared = item.get("constraints")
    pattern = declared.get("pattern") if isinstance(declared, dict) else None
    if not isinstance(pattern, str) or len(pattern) > patterns.MAX_PATTERN:
        return 0
    return min(patterns.weight(pattern), patterns.MAX_WEIGHT)


def _property_problems(item: Mapping[str, Any]) -> Iterator[str]:
    kind = item.get("type", "string")
    if kind not in get_args(FieldType):
        yield f"type must be one of {', '.join(get_args(FieldType))}"
    if not isinstance(item.get("format", "default"), str):
        yield "format must be a string"
    yield from (f"{extra} is not supported" for extra in _NOT_IN_A_FIELD if extra in item)
    for spelled in ("trueValues", "falseValues"):
        if spelled in item and not (item[spelled] and are_strings(item[spelled])):
            yield f"{spelled} must be a list of strings"
    if "missingValues" in item and not are_strings(item["missingValues"]):
        yield "missingValues must be a list of strings"
    if kind == "boolean":
        yield from _boolean_problems(item)
    for name, kinds in _NUMERIC.items():
        if name in item and kind not in kinds:
            yield f"{name} is not for a field of type {kind}"
    yield from _number_problems(item)


def _boolean_problems(item: Mapping[str, Any]) -> Iterator[str]:
    true, false = item.get("trueValues", TRUE_VALUES), item.get("falseValues", FALSE_VALUES)
    if isinstance(true, list | tuple) and isinstance(false, list | tuple):
        for both in [value for value in true if value in false]:
            yield f"trueValues and falseValues both have {both!r}"


def _number_problems(item: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(item.get("bareNumber", True), bool):
        yield "bareNumber must be true or false"
    for name in ("decimalChar", "groupChar"):
        if name in item and not is_mark(item[name]):
            yield f"{name} must be one character that is no digit, letter or sign"
    if item.get("type") == "number" and "groupChar" in item and item["groupChar"] == item.get("decimalChar", "."):
        yield "decimalChar and groupChar must differ"


def is_mark(value: object) -> bool:
    """Whether this can stand between the digits of a number: punctuation or a space."""
    return isinstance(value, str) and len(value) == 1 and (unicodedata.category(value) in ("Po", "Zs", "Pc", "Pf"))


def _name_problems(names: Sequence[object]) -> Iterator[Problem]:
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            yield problem(None, "every field needs a name")
            continue
        if len(name.encode("utf-8", "replace")) > MAX_IDENTIFIER_BYTES:
            yield problem(name, f"a name may have {MAX_IDENTIFIER_BYTES} bytes")
        if name.startswith("_row") or name in _SYSTEM_COLUMNS:
            yield problem(name, "this name is reserved")
        if name in seen:
            yield problem(name, "two fields have this name")
        seen.add(name)
