"""What would mend rejected cells: by which conventions a value could be read after all.

Which of them reads most of an upload's wrong values is for `causes`, whether it does mend their records for `trials`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from chalicelib.cells import BLANKS, PLAIN, Conventions, DateOrder, Field
from chalicelib.checking import Column, column_of, judged, units
from chalicelib.checking.conventions import is_open_date, is_open_number, shape_of, spellings
from chalicelib.datasets import Schema
from chalicelib.formats.sniff import DELIMITERS
from chalicelib.formats.transcoded import UTF_8
from chalicelib.journey import CellError

NULL_WORDS: Final = frozenset(
    {"na", "n/a", "n.a.", "n.a", "#n/a", "#na", "null", "(null)", "<null>", "\\n", "none", "nil", "nan"}
    | {"-", "--", "---", "–", "—", "?", "??", ".", "..", "missing"}
)
# Words that mean one of the two in every language that has them, but for what somebody may write by mistake (o, x).
_YES: Final = (
    "yes",
    "y",
    "on",
    "t",
    "ja",
    "j",
    "wahr",
    "oui",
    "vrai",
    "si",
    "sí",
    "sì",
    "s",
    "verdadero",
    "vero",
    "sim",
)
_NO: Final = ("no", "n", "off", "f", "nein", "falsch", "non", "faux", "falso", "não", "nao", "nee", "nej", "nei", "nie")
BOOLEAN_WORDS: Final = dict.fromkeys((*_YES, "verdadeiro", "tak"), "true") | dict.fromkeys(_NO, "false")
MOST_CACHED: Final = 10_000
QUOTES: Final = ('"', "'", None)
ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")
SPELLINGS: Final = tuple(one for one in spellings({}) if one != PLAIN)  # of numbers
_NOT_WORD: Final = re.compile(r"[^a-z0-9]+")
_ALONE: Final = frozenset(  # codes whose details say no more, or the same otherwise
    {"required_missing", "width_mismatch", "duplicate_in_file", "duplicate_in_db", "foreign_key_missing"}
    | {"encoding_invalid", "quote_misplaced", "row_too_large", "uncorrected", "db_rejected"}
)

Tags = tuple[str, ...]


@lru_cache(maxsize=1024)
def plain_tag(code: str, cause: str) -> str:
    """What an error is called that nothing is known to mend."""
    if code in _ALONE:
        return code
    return f"{code}:{_NOT_WORD.sub('_', cause.lower()).strip('_')[:60]}"


def untold(code: str, column: str | None, cause: str, value: str | None) -> tuple[Tags, tuple[str, ...]]:
    """The tags of an error that no option of a file can mend, and what it is counted under."""
    return (), (plain_tag(code, cause),)


def more_and_tag(tag: str) -> tuple[str, str]:
    """What else a value needs by this tag, `blank` or `unit:EUR` (empty: nothing else), and what is left of the tag."""
    more, _, one = tag.rpartition("+")
    return more, one


def family(tag: str) -> str:
    """`date` of `date:dmy`."""
    return more_and_tag(tag)[1].partition(":")[0]


def number_tag(spelling: Conventions) -> str:
    """`number:,.` of numbers with a decimal comma, and points between thousands."""
    return f"number:{spelling.decimal_char or '.'}{spelling.group_char or ''}"


@lru_cache(maxsize=1024)
def _counted(tags: Tags) -> tuple[str, ...]:
    families = {tag.removesuffix(more_and_tag(tag)[1]) + family(tag) for tag in tags}
    return (*families, *tags)


def recuts(tag: str, dialect: Mapping[str, Any], *, is_all_wrong: bool) -> tuple[dict[str, Any], ...]:
    """The other ways to tell cells apart, or to decode them, that might mend errors of this tag: one at a time.

    Where marks are others in a part of a file alone, a record that is broken may look as if it were written by them:
    they are tried only if no record of it is right.
    """
    if tag == "encoding_invalid" and dialect.get("encoding", UTF_8) == UTF_8:
        return ({"encoding": "cp1252"},)
    if tag not in ("width_mismatch", "quote_misplaced") or not is_all_wrong or dialect.get("escape"):
        return ()
    marks = [dialect.get("delimiter"), dialect.get("quote"), dialect.get("comment")]
    delimiters = [{"delimiter": mark} for mark in DELIMITERS if mark not in marks]
    return (*delimiters, *({"quote": mark} for mark in QUOTES if mark not in marks))


class Tagger:
    """Tells of wrong values of one file by which conventions they could be read."""

    def __init__(self, schema: Schema, conventions: Conventions) -> None:
        self._schema = schema
        self._conventions = conventions
        self._fields = {spec.name: spec for spec in schema.fields}
        self._others: dict[tuple[str, str], list[tuple[str, Column]]] = {}
        self._known: dict[tuple[str, str], Tags] = {}

    def __call__(self, code: str, column: str | None, cause: str, value: str | None) -> tuple[Tags, tuple[str, ...]]:
        """An error's tags, and what a record with it is counted under: each of them, and their family."""
        tags = self.tags(column, value)
        return (tags, _counted(tags)) if tags else untold(code, column, cause, value)

    def tags(self, name: str | None, value: str | None) -> Tags:
        """How this value of a field could be read: (`date:dmy`, `date:mdy`). None: in no way that is known."""
        field = self._fields.get(name or "")
        if field is None or value is None:
            return ()
        key = (field.name, self._shape(field, value))
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MOST_CACHED:
                self._known.clear()
            found = self._known[key] = tuple(self._ways(field, value))
        return found

    def _shape(self, field: Field, value: str) -> str:
        """Numbers of one spelling are read alike, as long as no rule looks at them."""
        return shape_of(value) if field.type in ("integer", "number") and not field.rules else value

    def _ways(self, field: Field, value: str) -> Iterator[str]:
        found = self._alone(field, value, value) or self._with_another(field, value)
        # What two kinds of options read has two meanings, and neither is known to be the right one.
        if len(found) < 2 or len(set(map(family, found))) == 1:
            yield from found

    def _with_another(self, field: Field, value: str) -> list[str]:
        """What mends the value once the blanks around it are no part of it, or the unit beside it is none."""
        bare = value.strip(BLANKS)
        if bare != value and not field.is_free_text:
            return [f"blank+{tag}" for tag in self._alone(field, bare, value, "blank", {"trim": "values"})]
        unit = units.beside(value) if _may_have_unit(field) else None
        if unit is None:
            return []
        return [f"unit:{unit}+{tag}" for tag in self._otherwise(field, value, f"unit:{unit}", self._with_unit(unit))]

    def _with_unit(self, unit: str) -> dict[str, Any]:
        return {"units": (*(self._conventions.units or ()), unit)}

    def _alone(
        self, field: Field, bare: str, value: str, more: str = "", option: Mapping[str, Any] | None = None
    ) -> list[str]:
        """The one kind of option that mends a value, beside `more`; `bare` is what is left of it by that."""
        found = [*self._words(field, bare, option or {}), *self._otherwise(field, value, more, option or {})]
        unit = units.beside(bare) if _may_have_unit(field) else None
        if unit is not None:
            column = self._column(field, {**(option or {}), **self._with_unit(unit)})
            found += [f"unit:{unit}"] if _reads(value, column) else []
        return found

    def _column(self, field: Field, option: Mapping[str, Any]) -> Column:
        return column_of(self._schema, field, replace(self._conventions, **option))

    def _words(self, field: Field, value: str, more: Mapping[str, Any]) -> Iterator[str]:
        """What the value says as a word."""
        word = value.casefold()
        if word in NULL_WORDS and not field.required and field.missing_values is None:
            yield f"null:{value}"
        if field.type == "boolean" and word in BOOLEAN_WORDS:
            meant = BOOLEAN_WORDS[word]
            option: dict[str, Any] = {"true_values": (), "false_values": (), f"{meant}_values": (value,)}
            if _reads(value, self._column(field, {**more, **option})):
                yield f"bool:{meant}:{value}"

    def _otherwise(self, field: Field, value: str, more: str, option: Mapping[str, Any]) -> Iterator[str]:
        """The conventions by which the value is right as it stands; with `more`, by that and one of them."""
        key = (field.name, more)
        if key not in self._others:
            ways = ((tag, {**option, **way}) for tag, way in _ways_of(field) if not (more and tag == "blank:"))
            self._others[key] = [(tag, self._column(field, way)) for tag, way in ways]
        is_padded = value.strip(BLANKS) != value  # few are, and each reading is a third of the time
        for tag, column in self._others[key]:
            if (is_padded or tag != "blank:") and _reads(value, column):
                yield tag


def _may_have_unit(field: Field) -> bool:
    return field.type in ("integer", "number") and field.bare_number


def _reads(value: str, column: Column) -> bool:
    return not isinstance(judged([value], column).get(value), CellError)


def _ways_of(field: Field) -> Iterator[tuple[str, dict[str, Any]]]:
    """The conventions that a field's cells may be read by, by tag."""
    if is_open_date(field):
        for order in ORDERS:
            yield f"date:{order}", {"date_order": order}
    if is_open_number(field):
        for each in SPELLINGS:
            yield number_tag(each), {"decimal_char": each.decimal_char or ".", "group_char": each.group_char}
    if not field.is_free_text:
        yield "blank:", {"trim": "values"}
    if field.type == "string" and any(rule.name == "enum" for rule in field.rules):
        yield "case:", {"enum_case": "ignore"}
