"""The constraints of a field as one function over its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chalicelib.cells import Rule, RuleName, patterns

Breach = Callable[[str], tuple[str, str] | None]  # the text for Postgres -> code and words of the first rule broken
Test = Callable[[Any], object]


def breaches(rules: tuple[Rule, ...], measure: Callable[[str], Any]) -> Breach:
    """What is wrong with a value, or None. Rules are tried in their order, and the first that is broken is told."""
    tests = [(_KEPT[rule.name](rule.limit), _CODES[rule.name], _WORDS[rule.name].format(rule.told)) for rule in rules]

    def breach(text: str) -> tuple[str, str] | None:
        value = measure(text)
        return next(((code, words) for kept, code, words in tests if not kept(value)), None)

    return breach


# None is NaN, which is above and below nothing.
_KEPT: Final[Mapping[RuleName, Callable[[Any], Test]]] = {
    "minLength": lambda limit: lambda value: len(value) >= limit,
    "maxLength": lambda limit: lambda value: len(value) <= limit,
    "enum": lambda limit: limit.__contains__,
    "pattern": patterns.compiled,
    "minimum": lambda limit: lambda value: value is not None and value >= limit,
    "exclusiveMinimum": lambda limit: lambda value: value is not None and value > limit,
    "maximum": lambda limit: lambda value: value is not None and value <= limit,
    "exclusiveMaximum": lambda limit: lambda value: value is not None and value < limit,
}
_CODES: Final[Mapping[RuleName, str]] = {
    "minLength": "length_exceeded",
    "maxLength": "length_exceeded",
    "enum": "enum_invalid",
    "pattern": "pattern_mismatch",
    "minimum": "range_exceeded",
    "exclusiveMinimum": "range_exceeded",
    "maximum": "range_exceeded",
    "exclusiveMaximum": "range_exceeded",
}
_WORDS: Final[Mapping[RuleName, str]] = {
    "minLength": "is shorter than {}",
    "maxLength": "is longer than {}",
    "enum": "is none of {}",
    "pattern": "does not match {}",
    "minimum": "is below {}",
    "exclusiveMinimum": "is not above {}",
    "maximum": "is above {}",
    "exclusiveMaximum": "is not below {}",
}
