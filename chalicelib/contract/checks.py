"""Requests held to their contract. Every error is told at once, each at its place.

Validators are made by fastjsonschema when a route is first asked, 2 to 7 ms each; importing the library or
making all of them is nothing that a function should do at its start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from chalicelib.contract.table import SCHEMAS
from chalicelib.contract.words import Operation, Schema
from chalicelib.errors import Refused

if TYPE_CHECKING:
    from fastjsonschema import JsonSchemaValueException

MOST_TOLD: Final = 100  # errors of one request
_MOST_SEARCHED: Final = 100_000  # bytes of a body in which all errors are looked for, and not only the first
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII).fullmatch
_TYPES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_Failure = tuple[str, str]  # a place, and what it must be


def query(operation: Operation, given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The query's parameters, integers as such. Raises Refused `query_invalid` (400)."""
    if not given and not _needed(operation):
        return {}
    values = {name: _number(operation, name, found[-1]) for name, found in given.items()}
    failures = [(name, "must be there once") for name, found in given.items() if len(found) > 1]
    failures += _failures(operation, "query", values)
    if failures:
        detail = f"{_spelt(failures[0], 'query')}."
        raise Refused("query_invalid", detail, status=400, errors=list(_errors(failures, "parameter_invalid")))
    return values


def headers(operation: Operation, given: Mapping[str, str]) -> None:
    """Look at the headers that the operation declares. Raises Refused by the code declared with each."""
    for name, declared in operation.headers.items():
        value = given.get(name.lower())
        if declared.error and value is not None and _failures(operation, name, value, thoroughly=False):
            raise Refused(declared.error.code, declared.error.when, status=declared.error.status)


def body(operation: Operation, value: Mapping[str, Any], size: int) -> dict[str, Any]:
    """A body of `size` bytes, with 1 for 1.0. Raises Refused (422) `body_invalid`, or what the place is declared to."""
    failures = _failures(operation, "body", value, thoroughly=size <= _MOST_SEARCHED)
    if failures:
        assert operation.body is not None
        code = _code(operation.body.codes, failures[0][0])
        raise Refused(code, f"{_spelt(failures[0], 'body')}.", errors=list(_errors(failures, "field_invalid")))
    return {name: _whole(one) if name in _declared(operation) else one for name, one in value.items()}


def _declared(operation: Operation) -> Collection[str]:
    """The members that a body's schema names. What a dataset's own schema judges is left as it came."""
    schema = _schema(operation, "body")
    whole = SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    named: Collection[str] = whole.get("properties", ())
    return named


def _whole(value: Any) -> Any:
    """A value with whole numbers as integers: to JSON Schema 1.0 is one, and what counts bytes must not be a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {name: _whole(one) for name, one in value.items()} if isinstance(value, dict) else value


def _number(operation: Operation, name: str, text: str) -> Any:
    """A parameter as its schema takes it: JSON's integers, with no sign too many and no nought before them."""
    is_integer = name in operation.query and operation.query[name].schema.get("type") == "integer"
    return int(text) if is_integer and _INTEGER(text) else text


def _code(codes: Mapping[str, str], place: str) -> str:
    """The code of the longest declared place that this one is or lies in."""
    fitting = [one for one in codes if one in (".", place) or (one.endswith(".") and place.startswith(one))]
    return codes[max(fitting, key=len)] if fitting else "body_invalid"


def _errors(failures: Sequence[_Failure], code: str) -> Iterator[dict[str, str]]:
    for place, detail in failures[:MOST_TOLD]:
        yield {"code": code, "column": place, "detail": detail}


def _spelt(failure: _Failure, whole: str) -> str:
    place, detail = failure
    return f"{place or f'The {whole}'} {detail}"


def _failures(operation: Operation, part: str, value: Any, *, thoroughly: bool = True) -> list[_Failure]:
    """What is wrong with a part of a request: the first thing alone unless it is to be thorough."""
    from fastjsonschema import JsonSchemaValueException, JsonSchemaValuesException

    try:
        _validator(operation, part, fast=True)(value)
    except JsonSchemaValueException as first:
        if not thoroughly:
            return list(_told(first))
    else:
        return []
    try:
        _validator(operation, part, fast=False)(value)
    except JsonSchemaValuesException as all_of_them:
        return [failure for one in all_of_them.errors for failure in _told(one)]
    raise AssertionError("two validators of one schema differ")


@cache
def _validator(operation: Operation, part: str, *, fast: bool) -> Callable[[Any], Any]:
    from fastjsonschema import compile as made

    schema = _schema(operation, part)
    needed = {name: SCHEMAS[name] for name in sorted(_named(schema))}
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", **schema, "components": {"schemas": needed}}
    validator: Callable[[Any], Any] = made(whole, use_default=False, use_formats=False, fast_fail=fast)
    return validator


def _schema(operation: Operation, part: str) -> Schema:
    if part == "body":
        assert operation.body is not None
        return operation.body.schema
    if part == "query":
        properties = {name: one.schema for name, one in operation.query.items()}
        further = bool(operation.further)
        needed = _needed(operation)
        return {"type": "object", "required": needed, "properties": properties, "additionalProperties": further}
    return operation.headers[part].schema


def _needed(operation: Operation) -> list[str]:
    return [name for name, one in operation.query.items() if one.is_required]


def _named(schema: Any) -> set[str]:
    """The components that a schema needs, and those that they need."""
    if isinstance(schema, Mapping):
        if isinstance(target := schema.get("$ref"), str):
            name = target.rpartition("/")[2]
            return {name} | _named(SCHEMAS[name])
        return set().union(*map(_named, schema.values()))
    return set().union(*map(_named, schema)) if isinstance(schema, list | tuple) else set()


def _told(error: JsonSchemaValueException) -> Iterator[_Failure]:
    """Places with dots, and what each must be: by its title if the schema gives one."""
    place = re.sub(r"\[(\d+)\]", r".\1", str(error.name).removeprefix("data")).removeprefix(".")
    definition, rule = error.definition, error.rule
    if rule == "required":
        yield from (_at(place, name, "must be there") for name in definition["required"] if name not in error.value)
    elif rule == "additionalProperties":
        unknown = sorted(set(error.value) - set(definition.get("properties", ())))
        yield from (_at(place, name, "is not known here") for name in unknown)
    else:
        yield place, "must be " + (definition.get("title") or _must(definition, str(rule)))


def _at(place: str, name: str, detail: str) -> _Failure:
    shown = name if len(name) <= 200 else name[:200] + "…"
    return (f"{place}.{shown}" if place else shown), detail


def _must(definition: Schema, rule: str) -> str:
    limit = definition.get(rule)
    match rule:
        case "type":
            return " or ".join(_TYPES[one] for one in ([limit] if isinstance(limit, str) else limit or []))
        case "enum":
            return f"one of {', '.join(map(str, limit or ()))}"
        case "minimum":
            return f"{limit} or more"
        case "maximum":
            return f"{limit} or less"
        case "minLength" | "maxLength":
            return f"a string of {_range(definition, 'Length')} characters"
        case "minItems" | "maxItems":
            return f"a list of {_range(definition, 'Items')} items"
        case "pattern":
            return f"a string like {limit}"
        case _:
            return "as the schema has it"


def _range(definition: Schema, kind: str) -> str:
    least, most = definition.get(f"min{kind}", 0), definition.get(f"max{kind}")
    return f"at least {least}" if most is None else f"{least} to {most}"
