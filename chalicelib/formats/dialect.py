"""How one delimited file is written: the few choices that the grammar of records depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from chalicelib.errors import Refused

OPTIONS = ("delimiter", "quote", "header")


@dataclass(frozen=True, slots=True)
class Dialect:
    """A delimiter, a quote (None: quotes mean nothing) and whether the first record names the columns.

    Both characters are ASCII, so that borders can be found in UTF-8 bytes without decoding them.
    """

    delimiter: str = ","
    quote: str | None = '"'
    header: bool = True

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Dialect:
        """The dialect that a client declared; what it left out keeps its default."""
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            _refuse(f"A dialect has no option {unknown[0]!r}; it has {', '.join(OPTIONS)}.")
        dialect = cls(**options)
        _check(dialect)
        return dialect


def _check(dialect: Dialect) -> None:
    if not _is_mark(dialect.delimiter):
        _refuse("dialect.delimiter must be one ASCII character, no line end and no NUL.")
    if dialect.quote is not None and not _is_mark(dialect.quote):
        _refuse("dialect.quote must be null or one ASCII character, no line end and no NUL.")
    if dialect.quote == dialect.delimiter:
        _refuse("dialect.quote and dialect.delimiter must differ.")
    if not isinstance(dialect.header, bool):
        _refuse("dialect.header must be true or false.")


def _is_mark(value: object) -> bool:
    return isinstance(value, str) and len(value) == 1 and value.isascii() and value not in "\r\n\0"


def _refuse(detail: str) -> NoReturn:
    raise Refused("dialect_invalid", detail)
