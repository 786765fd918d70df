"""Texts and what is kept as it is written: strings and their formats, booleans, JSON, points on the globe."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, Literal

from chalicelib import strict_json
from chalicelib.cells import numbers
from chalicelib.cells.fields import BLANKS, Reading, Value

ANY: Final = re.compile("(?s:.*)")  # also the sign of a column in which every text is right
_INK: Final = rf"[^\x00{BLANKS}]"
FILLED: Final = re.compile(rf"{_INK}(?:[^\x00]*{_INK})?")
TRIMMED: Final = re.compile(rf"(?:{FILLED.pattern})?")  # any text without blanks around it
MAX_EMAIL: Final = 254  # RFC 5321: a path of 256 with its brackets
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,40}[A-Za-z0-9])?"
_SURE_EMAIL: Final = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL}){{0,3}}")
# As HTML's input of type email, with the lengths of RFC 5321.
_EMAIL: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
).fullmatch
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_URI_LETTER: Final = r"[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}"
# RFC 3986 with a scheme; the path is not looked at segment by segment.
_URI: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?=.)"
    r"(?://(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?"
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?(?=[/?#]|\Z)|(?!//))"
    rf"(?:{_URI_LETTER})*(?:\?(?:{_URI_LETTER}|\?)*)?(?:\#(?:{_URI_LETTER}|\?)*)?"
).fullmatch
_POINT: Final = re.compile(r"-?([0-9]{1,3}(?:\.[0-9]{1,100})?), ?-?([0-9]{1,2}(?:\.[0-9]{1,100})?)").fullmatch


def string() -> Reading:
    """Any text."""
    return Reading(str, "a string", str, ANY)


def email() -> Reading:
    """An address that a browser would take, of RFC 5321's length."""
    return Reading(
        lambda cell: cell if len(cell) <= MAX_EMAIL and _EMAIL(cell) else None,
        "an e-mail address (name@host)",
        sure=_SURE_EMAIL,
    )


def uri() -> Reading:
    """An absolute URI of RFC 3986."""
    return Reading(lambda cell: cell if _URI(cell) else None, "a URI (scheme:…)")


def uuid() -> Reading:
    """32 hexadecimal digits in five groups; which letters are capital means nothing."""
    return Reading(lambda cell: cell if _UUID.fullmatch(cell) else None, "a UUID (8-4-4-4-12 digits)", str.lower, _UUID)


def boolean(true_values: tuple[str, ...], false_values: tuple[str, ...]) -> Reading:
    """One of the declared spellings."""
    spelled = dict.fromkeys(false_values, "f") | dict.fromkeys(true_values, "t")
    return Reading(spelled.get, "a boolean")


def any_case(known: Reading, values: Collection[str]) -> Reading:
    """As `known`, but what differs from one of these values by case alone, and from no other one, is that one."""
    folded = Counter(value.casefold() for value in values)
    meant = {value.casefold(): value for value in values if folded[value.casefold()] == 1}

    def read(cell: str) -> Value:
        text = known.read(cell)
        return text if text is None or text in values else meant.get(text.casefold(), text)

    return replace(known, read=read, sure=None)


def geopoint() -> Reading:
    """Longitude, latitude in degrees, kept as text."""
    return Reading(_geopoint, "a point (longitude, latitude)")


def _geopoint(cell: str) -> Value:
    found = _POINT(cell)
    return cell if found and Decimal(found[1]) <= 180 and Decimal(found[2]) <= 90 else None


def json(kind: Literal["object", "array"]) -> Reading:
    """JSON whose outermost value is of this kind."""
    parse = _parser(dict if kind == "object" else list)
    return Reading(lambda cell: None if parse(cell) is None else cell, f"a JSON {kind}", parse)


def _parser(kind: type) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = strict_json.parse(text, number=_checked_number)
        except ValueError:
            return None
        return value if isinstance(value, kind) else None

    return parse


_is_number: Final = numbers.number().read


def _checked_number(text: str) -> str:
    """A number inside JSON, if a column of numbers would take it and readers of JSON do, who make doubles of it."""
    if _is_number(text) is None or not math.isfinite(float(text)):
        raise ValueError("a number is too long or too large")
    return text
