"""JSON from strangers: RFC 8259 to the letter, and only what Postgres, DynamoDB and S3 can hold as text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final, Self

MAX_DEPTH: Final = 64


class Float(float):
    """A number with a point or an exponent: a double, that knows how it was spelled."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made


def parse(text: str | bytes, number: Callable[[str], Any] | None = None) -> Any:
    """The value, its numbers made by `number` if that is given, else an int or a Float. Bytes must be UTF-8.

    Raises ValueError also for NaN, infinities, repeated names, NULs, lone surrogates and deep nesting.
    """
    try:
        value = json.loads(
            _decoded(text),
            parse_constant=_refuse,
            object_pairs_hook=_object,
            parse_float=number or Float,
            parse_int=number,
        )
        _check(value, MAX_DEPTH)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def is_text(value: str) -> bool:
    """Whether a string is one that Postgres can hold: Unicode without NUL and lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _decoded(text: str | bytes) -> str:
    try:
        return text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, str) and not is_text(value):
        raise ValueError("a string is not valid text")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    if isinstance(value, list | dict):
        for item in value:
            _check(item, depth - 1)
    if isinstance(value, dict):
        for item in value.values():
            _check(item, depth - 1)
