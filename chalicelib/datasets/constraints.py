"""Constraints of a field: each fits the field's type, and its limit is a value that the field could have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from chalicelib.cells import Field, FieldType, Reading, Rule, RuleName, numbers, patterns, quoted, reading
from chalicelib.datasets.problems import Problem, problem

_ORDERED: Final[tuple[FieldType, ...]] = ("integer", "number", "date", "time", "datetime", "year", "duration")
_SIZED: Final[tuple[FieldType, ...]] = ("string", "object", "array")
_TYPES: Final[Mapping[RuleName, tuple[FieldType, ...]]] = {
    "minLength": _SIZED,
    "maxLength": _SIZED,
    "enum": ("string", "boolean", "geopoint", *_ORDERED),
    "pattern": ("string",),
    "minimum": _ORDERED,
    "exclusiveMinimum": _ORDERED,
    "maximum": _ORDERED,
    "exclusiveMaximum": _ORDERED,
}
_FLAGS: Final = ("required", "unique")
_LENGTHS: Final = ("minLength", "maxLength")
MAX_ENUM: Final = 10_000


def problems_of(field: Field, constraints: object) -> Iterator[Problem]:
    """What is wrong with a field's constraints."""
    if not isinstance(constraints, dict):
        yield problem(field.name, "constraints must be an object")
        return
    for name, value in sorted(constraints.items()):
        if name in _FLAGS:
            if not isinstance(value, bool):
                yield problem(field.name, f"constraint {name} must be true or false")
        elif (fault := _fault(field, name, value)) is not None:
            yield problem(field.name, f"constraint {name} {fault}")
    rules = {rule.name: rule for rule in read_rules(field, constraints)}
    yield from (problem(field.name, f"constraints {low} and {high} leave no value") for low, high in _empty(rules))


def read_rules(field: Field, constraints: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of the constraints that have no problem, in the order in which they are looked at."""
    return tuple(
        _rule(field, name, constraints[name])
        for name in _TYPES
        if name in constraints and _fault(field, name, constraints[name]) is None
    )


def _fault(field: Field, name: str, value: object) -> str | None:
    if name not in _TYPES:
        return "is not supported"
    if field.type not in _TYPES[cast(RuleName, name)]:
        return f"is not for a field of type {field.type}"
    try:
        _rule(field, name, value)
    except ValueError as error:
        return str(error)
    return None


def _rule(field: Field, name: Any, value: object) -> Rule:
    if name in _LENGTHS:
        return Rule(name, _length(value), str(value))
    if name == "pattern":
        return Rule(name, _pattern(value), quoted(str(value)))
    if name == "enum":
        limits = _enum(field, value)
        return Rule(name, frozenset(limits), _listed(list(limits.values())))
    limit, told = _limit(field, value)
    return Rule(name, limit, told)


def _length(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("must be a whole number from 0 up")
    return value


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a regular expression")
    try:
        patterns.compiled(value)
    except ValueError as error:
        raise ValueError(f"cannot be used: {error}") from None
    return value


def _enum(field: Field, value: object) -> dict[Any, str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ENUM:
        raise ValueError(f"must be a list of 1 to {MAX_ENUM:,} values")
    return dict(_limit(field, item) for item in value)


def _limit(field: Field, value: object) -> tuple[Any, str]:
    """A value of the field as rules compare it and as it was written: a JSON number, or text as a cell has it."""
    read, spelled = _spelled(field, value)
    text = read.read(spelled) if spelled is not None else None
    limit = None if text is None else read.measure(text)
    if limit is None:
        raise ValueError(f"has {quoted(str(value))}, which is not {read.expected}")
    return limit, spelled or ""


def _spelled(field: Field, value: object) -> tuple[Reading, str | None]:
    match value:
        case str():
            return reading(field), value
        case bool() if field.type == "boolean":
            return reading(field), (field.true_values if value else field.false_values)[0]
        case bool():
            return reading(field), None
        case int() | float() if field.type == "number":
            return numbers.number(), str(value)
        case int() if field.type in ("integer", "year"):
            return reading(Field(field.name, field.type)), str(value)
    return reading(field), None


def _listed(told: list[str]) -> str:
    listed = ", ".join(f'"{each}"' for each in told[:20])
    return listed if len(told) <= 20 and len(listed) <= 200 else f"{listed[:200]}…"


def _empty(rules: Mapping[RuleName, Rule]) -> Iterator[tuple[RuleName, RuleName]]:
    """Pairs of limits that no value lies between."""
    pairs: tuple[tuple[RuleName, RuleName], ...] = (
        ("minLength", "maxLength"),
        ("minimum", "maximum"),
        ("minimum", "exclusiveMaximum"),
        ("exclusiveMinimum", "maximum"),
        ("exclusiveMinimum", "exclusiveMaximum"),
    )
    for low, high in pairs:
        if low in rules and high in rules:
            touch = "exclusive" in low or "exclusive" in high
            if rules[low].limit > rules[high].limit or (touch and rules[low].limit == rules[high].limit):
                yield low, high
