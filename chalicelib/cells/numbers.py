"""Numbers: integers of 64 bits and exact decimals, with the decimal and group characters of their file.

Groups are strict: where "," groups, 1,234,567 is a number, and 12,34, 1,2345 and 0,500 are not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import replace
from decimal import Decimal
from typing import Final

from chalicelib.cells.fields import Reading, Value

MAX_LENGTH: Final = 1000  # of a number in characters; Postgres' numeric ends at 16,383 decimals
_MAX_SHOWN: Final = 2 * MAX_LENGTH  # written out: its digits, and the noughts of an exponent of three digits
_WRITTEN_OUT: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?").fullmatch
_SPECIALS: Final = {"NaN": "NaN", "INF": "Infinity", "-INF": "-Infinity"}
_PER: Final = frozenset("%‰°/")
_BETWEEN: Final = " \u00a0\u202f"
_SIMPLE_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_SIMPLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?")


def integer(group: str | None = None, bare: bool = True) -> Reading:
    """Integers that a bigint holds."""
    whole = _matcher("[0-9]{1,40}", "", group)
    spelled = _reader(whole, None, group, bare)

    def read(cell: str) -> Value:
        text = spelled(cell)
        return text if text is not None and -(2**63) <= int(text) < 2**63 else None

    return Reading(read, f"an integer of 64 bits{_spelling(None, group)}", int, _SIMPLE_INTEGER)


def number(decimal: str = ".", group: str | None = None, bare: bool = True) -> Reading:
    """Decimals of up to 1,000 characters; NaN, INF and -INF as Table Schema spells them."""
    point = re.escape(decimal)
    whole = _matcher(
        rf"(?:[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]{{1,3}})?", rf"(?:{point}[0-9]*)?", group
    )
    spelled = _reader(whole, decimal, group, bare)

    def read(cell: str) -> Value:
        text = spelled(cell)
        return text if text is not None else _SPECIALS.get(cell)

    sure = _SIMPLE_NUMBER if decimal == "." else _SIMPLE_INTEGER
    return Reading(read, f"a number{_spelling(decimal, group)}", _measure, sure)


def written_out(text: str) -> Value:
    """A number as rows show it, where an exponent has made that longer than any cell."""
    return text if len(text) <= _MAX_SHOWN and _WRITTEN_OUT(text) else None


def beside(bare: Reading, units: Collection[str]) -> Reading:
    """As `bare` reads it, also with one of these units before or behind the number, a blank between them or none."""
    inner = _inner(tuple(units))

    def read(cell: str) -> Value:
        value = bare.read(cell)
        if value is None and (found := inner(cell)):
            value = bare.read(found)
        return value

    return replace(bare, read=read)


def _inner(units: tuple[str, ...]) -> Callable[[str], str | None]:
    """A function from a cell to what one of these units stands beside; None if none does, or that is no number."""
    one = "|".join(re.escape(unit) for unit in sorted(units, key=len, reverse=True))
    find = re.compile(rf"(?:{one})[{_BETWEEN}]?([^{_BETWEEN}].*)|(.*[^{_BETWEEN}])[{_BETWEEN}]?(?:{one})").fullmatch

    def inner(cell: str) -> str | None:
        found = find(cell) if len(cell) <= MAX_LENGTH else None
        rest = (found[1] or found[2]) if found else None
        return rest if rest and any("0" <= letter <= "9" for letter in rest) else None

    return inner


def _measure(text: str) -> Decimal | None:
    """The number; None for NaN, which nothing can be compared with."""
    return None if text == "NaN" else Decimal(text)


def _matcher(plain: str, fraction: str, group: str | None) -> str:
    """The pattern of a number: plain digits, or groups of three that are all there, the first of which is no nought."""
    groups = rf"|[1-9][0-9]{{0,2}}(?:{re.escape(group)}[0-9]{{3}})+{fraction}" if group else ""
    return rf"[+-]?(?:{plain}{groups})"


def _reader(whole: str, decimal: str | None, group: str | None, bare: bool) -> Callable[[str], Value]:
    """A function from a cell to the number in it as Postgres spells it."""
    signs = {ord(group): ""} if group else {}
    if decimal not in (None, "."):
        signs[ord(decimal)] = "."
    find = re.compile(whole).fullmatch if bare else re.compile(rf"([^0-9+-]*?)({whole})([^0-9]*)").fullmatch

    def read(cell: str) -> Value:
        found = find(cell) if len(cell) <= MAX_LENGTH else None
        if found is None or not (bare or _is_dress(found[1] + found[3])):
            return None
        text = cell if bare else found[2]
        return text.translate(signs) if signs else text

    return read


def _is_dress(around: str) -> bool:
    """Whether this may stand around a number: a unit or a currency.

    Not what would change its meaning: a sign or a bracket (5-, (5)), a comparison (<5), digits of other scripts (5½).
    """
    return all(letter in _PER or unicodedata.category(letter)[:2] in _UNITS for letter in around)


_UNITS: Final = frozenset({"Lu", "Ll", "Lo", "Sc", "Zs"})


def _spelling(decimal: str | None, group: str | None) -> str:
    told = [f"decimals after {_named(decimal)}"] if decimal not in (None, ".") else []
    told += [f"groups of three by {_named(group)}"] if group else []
    return f" ({', '.join(told)})" if told else ""


def _named(mark: str | None) -> str:
    """The mark in quotes, but for one that nobody would see there."""
    return "a space" if mark is None or mark.isspace() else f'"{mark}"'
