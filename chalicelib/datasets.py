"""A Frictionless Table Schema, read strictly: fields, keys and null spellings of a dataset.

What the loader cannot honour yet is refused by name, never ignored: a constraint that is silently dropped
would let bad rows in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from chalicelib.errors import Refused
from chalicelib.journey import MODES, Mode

FieldType = Literal["string", "integer", "number", "boolean", "date", "datetime"]
POSTGRES_TYPES: Final[Mapping[FieldType, str]] = {
    "string": "text",
    "integer": "bigint",
    "number": "numeric",
    "boolean": "boolean",
    "date": "date",
    "datetime": "timestamptz",
}
TRUE_VALUES: Final = ("true", "True", "TRUE", "1")
FALSE_VALUES: Final = ("false", "False", "FALSE", "0")
MAX_FIELDS: Final = 1500  # Postgres stops at 1,600 columns, less for wide rows
MAX_IDENTIFIER_BYTES: Final = 63
MAX_KEY_FIELDS: Final = 32

_SYSTEM_COLUMNS: Final = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
_SUPPORTED_CONSTRAINTS: Final = frozenset({"required", "unique"})
_NOT_YET: Final = ("foreignKeys", "encrypted", "indexes", "partition_by", "max_rows_per_second")
_NOT_YET_IN_FIELD: Final = ("decimalChar", "groupChar", "bareNumber")


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its name is the header in the file and the column in Postgres."""

    name: str
    type: FieldType
    required: bool = False
    true_values: tuple[str, ...] = TRUE_VALUES
    false_values: tuple[str, ...] = FALSE_VALUES


@dataclass(frozen=True, slots=True)
class Schema:
    """What a dataset's rows must be. `keys` are field names; the first is the primary key if there is one."""

    fields: tuple[Field, ...]
    keys: tuple[tuple[str, ...], ...]
    has_primary_key: bool
    missing_values: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [field.name for field in self.fields]

    def key_positions(self) -> list[tuple[int, ...]]:
        """Every key as positions in `fields`."""
        place = {name: index for index, name in enumerate(self.names)}
        return [tuple(place[name] for name in key) for key in self.keys]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named schema of one tenant, whose rows are in `data.d_{number}`."""

    number: int
    name: str
    version: int
    mode: Mode
    schema: Schema
    descriptor: Mapping[str, Any]


def read_schema(descriptor: Mapping[str, Any]) -> Schema:
    """The schema of a descriptor. Raises Refused `schema_invalid` with every problem found."""
    problems = list(_problems(descriptor))
    if problems:
        raise Refused("schema_invalid", "The Table Schema cannot be used.", errors=problems)
    primary = tuple(_as_list(descriptor.get("primaryKey", [])))
    fields = tuple(_field(item, primary) for item in descriptor["fields"])
    unique = [(item["name"],) for item in descriptor["fields"] if item.get("constraints", {}).get("unique")]
    declared = [tuple(_as_list(key)) for key in descriptor.get("uniqueKeys", [])]
    keys = dict.fromkeys(([primary] if primary else []) + unique + declared)
    return Schema(fields, tuple(keys), bool(primary), tuple(descriptor.get("missingValues", [""])))


def read_mode(value: object, schema: Schema) -> Mode:
    """The mode, if this schema can be loaded in it. Raises Refused `mode_invalid`."""
    if value not in MODES:
        raise Refused("mode_invalid", f"mode must be one of {', '.join(MODES)}.")
    mode = value
    if mode == "upsert" and len(schema.keys) != 1:
        raise Refused("mode_invalid", "mode upsert needs a dataset with exactly one key.")
    return mode


def _field(item: Mapping[str, Any], primary: tuple[str, ...]) -> Field:
    required = bool(item.get("constraints", {}).get("required")) or item["name"] in primary
    return Field(
        name=item["name"],
        type=item.get("type", "string"),
        required=required,
        true_values=tuple(item.get("trueValues", TRUE_VALUES)),
        false_values=tuple(item.get("falseValues", FALSE_VALUES)),
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _problems(descriptor: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    fields = descriptor.get("fields")
    if not isinstance(fields, list) or not fields or not all(isinstance(item, dict) for item in fields):
        yield _problem(None, "fields must be a list of at least one field object")
        return
    if len(fields) > MAX_FIELDS:
        yield _problem(None, f"{len(fields)} fields; the limit is {MAX_FIELDS}")
    for item in fields:
        yield from _field_problems(item)
    yield from _name_problems([item.get("name") for item in fields])
    yield from _key_problems(descriptor, {str(item.get("name")) for item in fields})
    yield from (_problem(None, f"{name} is not supported") for name in _NOT_YET if descriptor.get(name))
    if not _are_strings(descriptor.get("missingValues", [])):
        yield _problem(None, "missingValues must be a list of strings")


def _field_problems(item: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    name = item.get("name")
    label = name if isinstance(name, str) else None
    if item.get("type", "string") not in get_args(FieldType):
        yield _problem(label, f"type must be one of {', '.join(get_args(FieldType))}")
    if item.get("format", "default") != "default":
        yield _problem(label, "only the default format is supported")
    constraints = item.get("constraints", {})
    if not isinstance(constraints, dict):
        yield _problem(label, "constraints must be an object")
        return
    for constraint in constraints.keys() - _SUPPORTED_CONSTRAINTS:
        yield _problem(label, f"constraint {constraint} is not supported")
    for constraint in constraints.keys() & _SUPPORTED_CONSTRAINTS:
        if not isinstance(constraints[constraint], bool):
            yield _problem(label, f"constraint {constraint} must be true or false")
    yield from (_problem(label, f"{extra} is not supported") for extra in _NOT_YET_IN_FIELD if extra in item)
    for spelled in ("trueValues", "falseValues"):
        if spelled in item and not (item[spelled] and _are_strings(item[spelled])):
            yield _problem(label, f"{spelled} must be a list of strings")


def _name_problems(names: Sequence[object]) -> Iterator[dict[str, str]]:
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            yield _problem(None, "every field needs a name")
            continue
        if len(name.encode("utf-8", "replace")) > MAX_IDENTIFIER_BYTES:
            yield _problem(name, f"a name may have {MAX_IDENTIFIER_BYTES} bytes")
        if name.startswith("_row") or name in _SYSTEM_COLUMNS:
            yield _problem(name, "this name is reserved")
        if name in seen:
            yield _problem(name, "two fields have this name")
        seen.add(name)


def _key_problems(descriptor: Mapping[str, Any], names: set[str]) -> Iterator[dict[str, str]]:
    unique = descriptor.get("uniqueKeys", [])
    if not isinstance(unique, list):
        yield _problem(None, "uniqueKeys must be a list")
        return
    primary = [descriptor["primaryKey"]] if descriptor.get("primaryKey", []) != [] else []
    for key in primary + unique:
        columns = _as_list(key)
        if not columns or not _are_strings(columns) or len(set(columns)) != len(columns):
            yield _problem(None, "a key is a field name or a list of different field names")
        elif len(columns) > MAX_KEY_FIELDS:
            yield _problem(None, f"a key has {len(columns)} fields; the limit is {MAX_KEY_FIELDS}")
        else:
            yield from (
                _problem(name, "a key names a field that is not there") for name in columns if name not in names
            )


def _are_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _problem(column: str | None, detail: str) -> dict[str, str]:
    return {"code": "schema_invalid", "detail": detail} | ({"column": column} if column else {})
