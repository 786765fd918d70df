"""The words for one column: its field, the rules of its values, the conventions of its file, how it is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

FieldType = Literal[
    "string",
    "integer",
    "number",
    "boolean",
    "date",
    "time",
    "datetime",
    "year",
    "duration",
    "object",
    "array",
    "geopoint",
]
RuleName = Literal[
    "minLength",
    "maxLength",
    "enum",
    "pattern",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
]
DateOrder = Literal["ymd", "dmy", "mdy"]
Trim = Literal["values", "all"]
EnumCase = Literal["ignore"]
Typed = Literal["value", "either"]
TypedFields = tuple[tuple[str, Typed], ...]  # by name
Value = str | None  # the text Postgres reads, or NULL
TRUE_VALUES: Final = ("true", "True", "TRUE", "1")
FALSE_VALUES: Final = ("false", "False", "FALSE", "0")
BLANKS: Final = (
    " \t\n\v\f\r\u0085\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
MAX_QUOTED: Final = 80  # characters of a value that an error repeats


@dataclass(frozen=True, slots=True)
class Rule:
    """A constraint on values: its name in Table Schema, its limit as a `Reading.measure` has it, and as written."""

    name: RuleName
    limit: Any
    told: str


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its name is the header in the file and the column in Postgres.

    What is None is not declared: then the schema's missing values or the file's conventions hold.
    """

    name: str
    type: FieldType
    format: str = "default"
    required: bool = False
    true_values: tuple[str, ...] = TRUE_VALUES
    false_values: tuple[str, ...] = FALSE_VALUES
    missing_values: tuple[str, ...] | None = None
    decimal_char: str | None = None
    group_char: str | None = None
    bare_number: bool = True
    rules: tuple[Rule, ...] = ()
    encrypted: bool = False
    # Of a column of the table that no file has (Schema.stored):
    is_sealed: bool = False  # it holds what an encrypted field's values were sealed to
    blind_of: str | None = None  # it holds the blind index of this field's values

    @property
    def postgres_type(self) -> str:
        """The column's type, as pg_catalog names it."""
        # As a uuid, one written in capitals is the same key as one in small letters, in half the room.
        return "uuid" if (self.type, self.format) == ("string", "uuid") else POSTGRES_TYPES[self.type]

    @property
    def is_free_text(self) -> bool:
        """Whether a blank at either end of a value may be meant: nothing says which texts there are."""
        is_bound = any(rule.name in ("enum", "pattern") for rule in self.rules)
        return (self.type, self.format) == ("string", "default") and not is_bound

    @property
    def plain(self) -> Field:
        """The field as JSON and addresses spell its values: ISO 8601, a point for decimals, true and false."""
        return replace(
            self,
            format=self.format if self.type == "string" else "default",
            true_values=TRUE_VALUES,
            false_values=FALSE_VALUES,
            decimal_char=None,
            group_char=None,
            bare_number=True,
        )


POSTGRES_TYPES: Final[dict[FieldType, str]] = {
    "string": "text",
    "integer": "int8",
    "number": "numeric",
    "boolean": "bool",
    "date": "date",
    "time": "time",
    "datetime": "timestamptz",
    "year": "int2",
    "duration": "interval",
    "object": "jsonb",
    "array": "jsonb",
    "geopoint": "text",
}


@dataclass(frozen=True, slots=True)
class Conventions:
    """How one file spells values, where its fields do not say it themselves. None: as Table Schema has it.

    A field that declares a decimalChar or a groupChar is read by its own two alone; one with a format other than
    the default, by that; a boolean with trueValues or falseValues, by those. A cell that is right by one of `before`
    means what it means there: each is asked in turn.
    """

    null_values: tuple[str, ...] | None = None
    decimal_char: str | None = None
    group_char: str | None = None
    date_order: DateOrder | None = None
    trim: Trim | None = None
    true_values: tuple[str, ...] | None = None
    false_values: tuple[str, ...] | None = None
    enum_case: EnumCase | None = None
    units: tuple[str, ...] | None = None  # of which one may stand beside a number
    # Of a sheet, whose numbers, days and truth come as Table Schema spells them, beside texts: the fields in which what
    # a group mark could make another number of is a number already, or may be either. None: of a text.
    typed: TypedFields | None = None
    before: tuple[Conventions, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether values other than texts are spelt as Table Schema has them."""
        marks = self.decimal_char, self.group_char, self.date_order, self.true_values, self.false_values
        return all(mark is None for mark in marks)

    def trims(self, field: Field) -> bool:
        """Whether blanks around a cell of this field are no part of its value."""
        return self.trim == "all" or (self.trim == "values" and not field.is_free_text)

    def booleans(self, field: Field) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The spellings of true and of false in a field's cells."""
        own = field.true_values, field.false_values
        if own != (TRUE_VALUES, FALSE_VALUES):
            return own
        return (
            own[0] if self.true_values is None else self.true_values,
            own[1] if self.false_values is None else self.false_values,
        )


PLAIN: Final = Conventions()


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column's cells are read.

    `read` gives the text for Postgres, or None; `expected` says what it takes; `measure` makes of that text the
    value that rules compare, None where there is none. Cells that match `sure` wholly are read as they stand; its
    pattern means the same to Python and to Rust's regex, so it looks at nothing ahead or behind. It captures nothing
    and takes no NUL, which stands between cells where many are matched at once.
    """

    read: Callable[[str], Value]
    expected: str
    measure: Callable[[str], Any] = str
    sure: re.Pattern[str] | None = None


def told(field: Field, cell: str) -> str:
    """A value as an error shows it; one of an encrypted field is not, as errors are kept and passed on in the open."""
    return "the value" if field.encrypted else quoted(cell)


def quoted(cell: str) -> str:
    """A value as an error shows it: quoted, cut to a length that fits a table."""
    return f'"{cell}"' if len(cell) <= MAX_QUOTED else f'"{cell[:MAX_QUOTED]}…"'


def parted(detail: str) -> tuple[str | None, str]:
    """What an error says: the value that it quotes, as `quoted` has it, if it does, and the reason behind that.

    Value and reason may hold quotes and blanks themselves; no reason holds a quote before one of these words.
    """
    found = _VALUE_AND_REASON(detail)
    return (found[1], found[2]) if found else (None, detail)


_VALUE_AND_REASON: Final = re.compile(r'(".*") ((?:is|does not match) .*)', re.DOTALL).fullmatch
