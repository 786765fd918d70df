"""What would mend rejected cells: how a value could be read after all, and which one option reads most of them.

A remedy is never a guess. A convention is offered only if no other one that could mean something else by a cell has as
good a case, and a record is only taken up if it leaves every cell that was right what it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, combinations
from typing import Any, Final, Literal

from chalicelib.cells import PLAIN, Conventions, DateOrder, Field
from chalicelib.checking import Column, column_of, judged
from chalicelib.checking.conventions import conflict, spellings
from chalicelib.datasets import Schema
from chalicelib.journey import CellError

NULL_WORDS: Final = frozenset(
    {"na", "n/a", "n.a.", "n.a", "#n/a", "#na", "null", "(null)", "<null>", "\\n", "none", "nil", "nan"}
    | {"-", "--", "---", "–", "—", "?", "??", ".", "..", "missing"}
)
MOST_CACHED: Final = 10_000
_ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy", "ymd")
_DIGITS: Final = str.maketrans("123456789", "000000000")
_SHORT: Final = 18  # characters: no integer of so many is too large
_NAMES: Final = {
    ".": "point",
    ",": "comma",
    " ": "space",
    "'": "apostrophe",
    "’": "curly_apostrophe",
    "\u00a0": "no_break_space",
    "\u202f": "narrow_space",
}
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


@lru_cache(maxsize=1024)
def _counted(tags: Tags) -> tuple[str, ...]:
    families = {tag.partition(":")[0] for tag in tags}
    return (*families, *(tag for tag in tags if not tag.startswith("null:")))


class Tagger:
    """Tells of wrong values of one file by which conventions they could be read."""

    def __init__(self, schema: Schema, conventions: Conventions) -> None:
        self._schema = schema
        self._conventions = conventions
        self._fields = {spec.name: spec for spec in schema.fields}
        self._others: dict[str, list[tuple[str, Column]]] = {}
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
        alike = field.type in ("integer", "number") and not field.rules and len(value) <= _SHORT
        return value.translate(_DIGITS) if alike else value

    def _ways(self, field: Field, value: str) -> Iterator[str]:
        if value.casefold() in NULL_WORDS:
            if not field.required and field.missing_values is None:
                yield f"null:{value}"
            return
        if field.name not in self._others:
            self._others[field.name] = list(self._readings(field))
        for tag, column in self._others[field.name]:
            if not isinstance(judged([value], column).get(value), CellError):
                yield tag

    def _readings(self, field: Field) -> Iterator[tuple[str, Column]]:
        for tag, option in _ways_of(field):
            yield tag, column_of(self._schema, field, replace(self._conventions, **option))


def _ways_of(field: Field) -> Iterator[tuple[str, dict[str, Any]]]:
    """The conventions that a field's cells may be read by, by tag."""
    if field.type in ("date", "datetime") and field.format == "default":
        for order in _ORDERS:
            yield f"date:{order}", {"date_order": order}
    if field.type in ("integer", "number") and field.decimal_char is None and field.group_char is None:
        for each in spellings({}):
            if each != PLAIN:
                mark = each.decimal_char or "."
                yield f"number:{mark}{each.group_char or ''}", {"decimal_char": mark, "group_char": each.group_char}


# Which option mends what


@dataclass(frozen=True, slots=True)
class Group:
    """Errors of one code, column and reason whose values can be read in the same ways."""

    code: str
    column: str | None
    cause: str
    tags: Tags
    errors: int
    first_line: int
    last_line: int
    samples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Cause:
    """What many rejects have in common, across columns. `option`: what would mend it, of a dialect.

    `tag` is what records are counted by.
    """

    id: str
    words: str
    tag: str
    groups: tuple[Group, ...]
    option: Mapping[str, Any] | None = None
    otherwise: str | None = None  # why nothing is offered

    def covers(self, tags: Tags) -> bool:
        """Whether a value that can be read so is one of this cause."""
        return any(one.startswith("null:") for one in tags) if self.tag == "null" else self.tag in tags


def causes(groups: Iterable[Group], current: Conventions, nulls: Sequence[str]) -> list[Cause]:
    """The few causes of many errors, in no order. `current` and `nulls` are what the file was read by."""
    left = list(groups)
    found: list[Cause] = []
    for family in ("date", "number"):
        theirs = [one for one in left if any(tag.startswith(f"{family}:") for tag in one.tags)]
        left = [one for one in left if one not in theirs]
        found += _conventional(family, theirs, current)
    words = [one for one in left if one.tags and one.tags[0].startswith("null:")]
    if words:
        found.append(_null_words(words, nulls))
    found += _plain([one for one in left if one not in words])
    return found


def _conventional(family: str, groups: list[Group], current: Conventions) -> Iterator[Cause]:
    """Each convention that reads what is left, the one that reads the most first."""
    while groups:
        reads = {tag: [one for one in groups if tag in one.tags] for tag in _tags_in_order(family)}
        best = max(reads, key=lambda tag: sum(one.errors for one in reads[tag]))
        rivals = [tag for tag in reads if _is_rival(tag, best, reads)]
        if rivals or _contradicts(family, best, current):
            theirs = [one for one in groups if any(one in reads[tag] for tag in (best, *rivals))]
            yield _undecided(family, best, rivals or [_tag(family, current)], theirs, reads)
        else:
            theirs = reads[best]
            yield _decided(family, best, theirs)
        groups = [one for one in groups if one not in theirs]


def _tags_in_order(family: str) -> list[str]:
    if family == "date":
        return [f"date:{order}" for order in _ORDERS]
    return [f"number:{one.decimal_char or '.'}{one.group_char or ''}" for one in spellings({}) if one != PLAIN]


def _convention(tag: str) -> Conventions:
    family, _, mark = tag.partition(":")
    if family == "date":
        return replace(PLAIN, date_order=next((one for one in _ORDERS if one == mark), None))
    return replace(PLAIN, decimal_char=mark[0], group_char=mark[1:] or None)


def _is_rival(tag: str, best: str, reads: Mapping[str, Sequence[Group]]) -> bool:
    """Whether another convention would mean something else by these cells, and has as good a case as the best one."""
    if tag == best or not reads[tag] or not conflict(_convention(best), _convention(tag)):
        return False
    reads_more = any(one not in reads[best] for one in reads[tag])
    reads_less = any(one not in reads[tag] for one in reads[best])
    return reads_more or not reads_less


def _contradicts(family: str, best: str, current: Conventions) -> bool:
    """Whether the rest of the file was read by a convention that would mean something else by such cells."""
    is_plain = current.date_order is None if family == "date" else not (current.decimal_char or current.group_char)
    return not is_plain and conflict(_convention(_tag(family, current)), _convention(best))


def _tag(family: str, current: Conventions) -> str:
    if family == "date":
        return f"date:{current.date_order}"
    return f"number:{current.decimal_char or '.'}{current.group_char or ''}"


def _undecided(
    family: str, best: str, rivals: Sequence[str], groups: Sequence[Group], reads: Mapping[str, Sequence[Group]]
) -> Cause:
    are_mixed = any(one not in reads[best] for tag in rivals for one in reads.get(tag, ())) or not any(
        reads.get(tag) for tag in rivals
    )
    noun = f"{family}s"
    both = " and ".join(map(_told, (best, *rivals[:1])))
    if are_mixed:
        return Cause(f"{noun}_mixed", f"{noun} are {both}", family, tuple(groups), None, "mixed")
    return Cause(f"{noun}_ambiguous", f"{noun} may be {both}", family, tuple(groups), None, "ambiguous")


def _decided(family: str, tag: str, groups: Sequence[Group]) -> Cause:
    convention = _convention(tag)
    if family == "date":
        name = {"dmy": "day_first", "mdy": "month_first", "ymd": "year_first"}[str(convention.date_order)]
        option: dict[str, Any] = {"date_order": convention.date_order}
        return Cause(f"dates_{name}", f"dates are {_told(tag)}", tag, tuple(groups), option)
    decimal, group = convention.decimal_char or ".", convention.group_char
    name = "_".join(
        ([f"decimal_{_NAMES[decimal]}"] if decimal != "." else []) + ([f"groups_{_NAMES[group]}"] if group else [])
    )
    option = {"decimal_char": decimal, "group_char": group}
    return Cause(f"numbers_{name}", f"numbers have {_told(tag)}", tag, tuple(groups), option)


def _told(tag: str) -> str:
    convention = _convention(tag)
    if convention.date_order:
        return {"dmy": "day-first (31/12/2024)", "mdy": "month-first (12/31/2024)", "ymd": "year-first (2024/12/31)"}[
            convention.date_order
        ]
    decimal, group = convention.decimal_char or ".", convention.group_char
    told = [f"a decimal {_NAMES[decimal]}"] if decimal != "." else []
    told += [f"thousands by {_NAMES[group].replace('_', ' ')}"] if group else []
    return " and ".join(told) + f" (1{group or ''}234{decimal}5)"


def _null_words(groups: Sequence[Group], nulls: Sequence[str]) -> Cause:
    words = dict.fromkeys(one.tags[0].removeprefix("null:") for one in sorted(groups, key=lambda one: -one.errors))
    told = ", ".join(f'"{word}"' for word in list(words)[:5])
    option = {"null_values": [*nulls, *(word for word in words if word not in nulls)]}
    return Cause("null_words", f"{told} may mean no value", "null", tuple(groups), option)


def _plain(groups: Sequence[Group]) -> Iterator[Cause]:
    """What no option mends: by reason, whatever the column."""
    by_tag: dict[str, list[Group]] = {}
    for one in groups:
        by_tag.setdefault(plain_tag(one.code, one.cause), []).append(one)
    for tag, theirs in by_tag.items():
        words = theirs[0].cause if len({one.cause for one in theirs}) == 1 else _GENERAL.get(tag, theirs[0].cause)
        yield Cause(tag, words, tag, tuple(theirs))


_GENERAL: Final = {
    "width_mismatch": "more or fewer cells than the header has",
    "encoding_invalid": "bytes that are no text",
    "quote_misplaced": "quotes that may enclose more than one cell",
    "row_too_large": "cells that are too long",
    "duplicate_in_file": "another row of the file has the same key",
    "duplicate_in_db": "a row with the same key is there",
    "foreign_key_missing": "no row is there to refer to",
    "db_rejected": "the database refuses them",
}

# Whether it does mend them

Fate = Literal["mended", "wrong", "changed"]


class Trial:
    """Reads records anew by other conventions, and tells what that does to their cells."""

    def __init__(self, schema: Schema, positions: Sequence[int], old: Conventions, new: Conventions) -> None:
        self._columns = [
            (position, spec.name, column_of(schema, spec, old), column_of(schema, spec, new))
            for position, spec in zip(positions, schema.fields, strict=True)
        ]

    def fates(self, rows: Sequence[Sequence[str]]) -> list[dict[str, Fate]]:
        """Of each record those fields whose cell is not as right as before: mended, still wrong, or changed."""
        found: list[dict[str, Fate]] = [{} for _ in rows]
        for position, name, old, new in self._columns:
            cells = [row[position] for row in rows]
            fates = dict(_fates(set(cells), old, new))
            if fates:
                for one, cell in zip(found, cells, strict=True):
                    if cell in fates:
                        one[name] = fates[cell]
        return found


def _fates(cells: set[str], old: Column, new: Column) -> Iterator[tuple[str, Fate]]:
    before, after = judged(cells, old), judged(cells, new)
    for cell in cells:
        was, now = before.get(cell, cell), after.get(cell, cell)
        if isinstance(now, CellError):
            yield cell, "wrong" if isinstance(was, CellError) else "changed"
        elif isinstance(was, CellError):
            yield cell, "mended"
        elif was != now:
            yield cell, "changed"


_FAMILIES: Final = (("date_order",), ("decimal_char", "group_char"), ("null_values",))


def subsets(option: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What several fixes may be for a record, the most of them first: one that it does not need may spoil it."""
    fixes = [part for names in _FAMILIES if (part := {name: option[name] for name in names if name in option})]
    some = chain.from_iterable(combinations(fixes, count) for count in range(len(fixes) - 1, 0, -1))
    return [dict(option), *(dict(chain.from_iterable(one.items() for one in each)) for each in some)]


def is_mended(fates: Mapping[str, Fate], columns: Iterable[str] | None = None) -> bool:
    """Whether a record is right in these columns (None: in all), and no cell is other than it was that was right."""
    if "changed" in fates.values():
        return False
    here = fates.keys() if columns is None else columns
    return "mended" in fates.values() and all(fates.get(name) != "wrong" for name in here)
