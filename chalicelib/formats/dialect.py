"""How one delimited file is written: where its records and cells end, and how its values are spelled."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, NoReturn, get_args

from chalicelib.cells.fields import DateOrder, EnumCase, Trim
from chalicelib.errors import NotYet, Refused
from chalicelib.formats.transcoded import ENCODINGS, UTF_8

DATE_ORDERS: Final = get_args(DateOrder)
MAX_SKIP_LINES: Final = 10_000
MAX_DELIMITER: Final = 4  # characters; a file "a, b, c" has one of two
TRIMS: Final = get_args(Trim)
ENUM_CASES: Final = get_args(EnumCase)
MAX_NULL_VALUES: Final = 100  # and spellings of true, and of false, and units
MAX_UNIT: Final = 20  # characters
NEWER_PLAN_SECONDS: Final = 20  # less than after which the sweep takes a message for lost
UNIT: Final = f"one to {MAX_UNIT} letters or currency signs, or %, ‰, °, /, ², ³"
_UNIT_LETTERS: Final = frozenset({"Lu", "Ll", "Lo", "Sc"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """The grammar of a file (see grammar.py) in its first six fields; null means that there is no such mark.

    Marks other than the delimiter are ASCII, so that records are found in UTF-8 bytes without decoding them; a
    delimiter of several bytes is found as exactly, since none of its bytes begins in the middle of a character.
    `encoding` is the uploaded file's; what is cut and read is always UTF-8. What follows it is for the checker.
    """

    delimiter: str = ","
    quote: str | None = '"'
    header: bool = True
    escape: str | None = None
    comment: str | None = None
    skip_lines: int = 0
    ragged: Literal["strict", "pad"] = "strict"
    encoding: str = UTF_8
    null_values: tuple[str, ...] | None = None
    decimal_char: str | None = None
    group_char: str | None = None
    date_order: str | None = None
    trim: str | None = None
    true_values: tuple[str, ...] | None = None
    false_values: tuple[str, ...] | None = None
    enum_case: str | None = None
    units: tuple[str, ...] | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Dialect:
        """The dialect that a client declared; what it left out keeps its default."""
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            _refuse(f"A dialect has no option {unknown[0]!r}; it has {', '.join(OPTIONS)}.")
        for name, value in options.items():
            rule, must = _RULES[name]
            if not rule(value):
                _refuse(f"dialect.{name} must be {must}.")
        told: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in options.items()}
        dialect = cls(**told)
        _check_together(dialect)
        return dialect

    @classmethod
    def planned(cls, plan: Mapping[str, Any]) -> Dialect:
        """The dialect of a plan, which was right when it was written. Raises NotYet if that was by a later release, for
        which the file waits: nothing of it is wrong.
        """
        try:
            return cls.from_options(plan["dialect"])
        except Refused as unknown:
            raise NotYet("plan_newer", "A later release has planned this.", retry_after=NEWER_PLAN_SECONDS) from unknown

    @property
    def told(self) -> dict[str, Any]:
        """The options that this is made of. What it is without anyway is not: an earlier release may not know it."""
        found = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in found.items() if value is not None or default is not None}


OPTIONS: Final = tuple(field.name for field in fields(Dialect))


def _check_together(dialect: Dialect) -> None:
    marks = [*dialect.delimiter, *filter(None, (dialect.quote, dialect.escape, dialect.comment))]
    if len(set(marks)) < len(set(dialect.delimiter)) + len(marks) - len(dialect.delimiter):
        _refuse("dialect.delimiter, quote, escape and comment must differ.")
    if dialect.escape and not _is_mark(dialect.delimiter):
        _refuse("With dialect.escape, dialect.delimiter must be one ASCII character.")
    if dialect.decimal_char is not None and dialect.decimal_char == dialect.group_char:
        _refuse("dialect.decimal_char and dialect.group_char must differ.")


def _is_mark(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1 and value.isascii() and value not in "\r\n\0"


def _is_delimiter(value: object) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_DELIMITER:
        return False
    return not any(letter in "\r\n\0" or "\ud800" <= letter <= "\udfff" for letter in value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_SKIP_LINES


def _are_values(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) > MAX_NULL_VALUES:
        return False
    return all(isinstance(each, str) and len(each) <= 100 for each in value)


def is_unit(value: object) -> bool:
    """Whether this may be the name of a unit: nothing that a number, or its sign, may be written with."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_UNIT:
        return False
    return all(unicodedata.category(letter) in _UNIT_LETTERS or letter in "%‰°/²³" for letter in value)


def _are_units(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) <= MAX_NULL_VALUES and all(map(is_unit, value))


def _or_null(rule: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or rule(value)


def _one_of(*values: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in values


def _is_character(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1 and not value.isalnum()


_MARK: Final = (_or_null(_is_mark), "null or one ASCII character, no line end and no NUL")
_CHARACTER: Final = (_or_null(_is_character), "null or one character, no letter and no digit")
_VALUES: Final = (_or_null(_are_values), f"null or up to {MAX_NULL_VALUES} strings")
_RULES: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "delimiter": (_is_delimiter, f"one to {MAX_DELIMITER} characters, no line end and no NUL"),
    "quote": _MARK,
    "escape": _MARK,
    "comment": _MARK,
    "header": (lambda value: isinstance(value, bool), "true or false"),
    "skip_lines": (_is_count, f"a number of lines from 0 to {MAX_SKIP_LINES}"),
    "ragged": (_one_of("strict", "pad"), "strict or pad"),
    "encoding": (_one_of(*ENCODINGS), f"one of {', '.join(ENCODINGS)}"),
    "null_values": _VALUES,
    "decimal_char": _CHARACTER,
    "group_char": _CHARACTER,
    "date_order": (_or_null(_one_of(*DATE_ORDERS)), f"null or one of {', '.join(DATE_ORDERS)}"),
    "trim": (_or_null(_one_of(*TRIMS)), f"null or one of {', '.join(TRIMS)}"),
    "true_values": _VALUES,
    "false_values": _VALUES,
    "enum_case": (_or_null(_one_of(*ENUM_CASES)), f"null or {', '.join(ENUM_CASES)}"),
    "units": (_or_null(_are_units), f"null or up to {MAX_NULL_VALUES} units, each {UNIT}"),
}


def _refuse(detail: str) -> NoReturn:
    raise Refused("dialect_invalid", detail)
