"""Which one option mends most of many wrong values: the few causes behind them, across columns.

A remedy is never a guess. A convention is offered only if no other one that could mean something else by a cell has as
good a case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from chalicelib.cells import PLAIN, Conventions
from chalicelib.cells.fields import FALSE_VALUES, TRUE_VALUES
from chalicelib.checking import units
from chalicelib.checking.conventions import conflict
from chalicelib.checking.remedies import ORDERS, SPELLINGS, Tags, more_and_tag, number_tag, plain_tag
from chalicelib.formats.dialect import MAX_NULL_VALUES

_NAMES: Final = {
    ".": "point",
    ",": "comma",
    " ": "space",
    "'": "apostrophe",
    "’": "curly_apostrophe",
    "\u00a0": "no_break_space",
    "\u202f": "narrow_space",
}


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
    more: str = ""  # what its values need besides, as a tag has it


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
    candidates: tuple[Mapping[str, Any], ...] = ()  # of which one may be proved to mend it, where none is known

    def covers(self, tags: Tags) -> bool:
        """Whether a value that can be read so is one of this cause."""
        return self.tag in tags or any(one.startswith(f"{self.tag}:") for one in tags)


def causes(groups: Iterable[Group], current: Conventions, nulls: Sequence[str]) -> list[Cause]:
    """The few causes of many errors, in no order. `current` and `nulls` are what the file was read by."""
    left = list(map(_parted, groups))
    mixed = _mixed_units(left)
    found: list[Cause] = []
    for family in ("date", "number"):
        theirs, left = _of_family(family, left)
        found += _conventional(family, theirs, current)
    theirs, left = _of_family("unit", left)
    found += _beside_units(theirs, found, current.units or ())
    for family, cause in _FAMILIES.items():
        theirs, left = _of_family(family, left)
        if theirs:
            found.append(cause(theirs, current, nulls))
    found = [each for one in found for each in _by_what_else(one, current)]
    found = [_contradicted(one) if mixed.intersection((one.option or {}).get("units", ())) else one for one in found]
    return [*found, *_plain(left)]


def _of_family(family: str, groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """The groups with a tag of this family, and the others."""
    theirs = [one for one in groups if any(tag.startswith(f"{family}:") for tag in one.tags)]
    return theirs, [one for one in groups if one not in theirs]


def _parted(one: Group) -> Group:
    """With tags as of a value that needs nothing else; what else it needs is the group's."""
    more = more_and_tag(one.tags[0])[0] if one.tags else ""
    return replace(one, tags=tuple(more_and_tag(tag)[1] for tag in one.tags), more=more)


def _by_what_else(cause: Cause, current: Conventions) -> Iterator[Cause]:
    """The cause parted by what its values need besides, which is one option more. It was decided by all of them."""
    for more in sorted({one.more for one in cause.groups}):
        theirs = replace(cause, groups=tuple(one for one in cause.groups if one.more == more))
        yield _with_more(theirs, more, current) if more else theirs


def _with_more(cause: Cause, more: str, current: Conventions) -> Cause:
    option: dict[str, Any]
    if more == "blank":
        name, words, option = "blanks_around", "with blanks around", {"trim": "values"}
    else:
        unit = more.removeprefix("unit:")
        name, words, option = units.slug(unit), f"with {unit} beside", {"units": [*(current.units or ()), unit]}
    both = None if cause.option is None else {**cause.option, **option}
    told = f"{cause.words}, {words}"
    return replace(cause, id=f"{cause.id}_{name}", words=told, tag=f"{more}+{cause.tag}", option=both)


def _contradicted(cause: Cause) -> Cause:
    return replace(cause, option=None, otherwise="mixed")


def _beside_units(groups: Sequence[Group], found: Sequence[Cause], known: Sequence[str]) -> Iterator[Cause]:
    """Numbers that are right without the unit beside them: a cause a unit."""
    for tag in dict.fromkeys(one.tags[0] for one in groups):
        unit, theirs = tag.removeprefix("unit:"), tuple(one for one in groups if one.tags[0] == tag)
        option = {"units": [*known, unit]}
        cause = Cause(f"numbers_{units.slug(unit)}", f"numbers have {unit} beside them", tag, theirs, option)
        # 1.234 EUR is no decimal where another cell says 1.234,50 EUR.
        others = (_convention(each.tags[0]) for one in found for each in one.groups if each.more == tag)
        yield _contradicted(cause) if any(conflict(PLAIN, other) for other in others) else cause


def _mixed_units(groups: Iterable[Group]) -> set[str]:
    """Units of which two stand in one column: without them its numbers would be taken for one kind."""
    by_column: dict[str | None, set[str]] = {}
    for one in groups:
        for tag in (*one.tags, one.more):
            if tag.startswith("unit:"):
                by_column.setdefault(one.column, set()).add(tag.removeprefix("unit:"))
    return set().union(*(some for some in by_column.values() if len(some) > 1))


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
        return [f"date:{order}" for order in ORDERS]
    return list(map(number_tag, SPELLINGS))


def _convention(tag: str) -> Conventions:
    family, _, mark = tag.partition(":")
    if family == "date":
        return replace(PLAIN, date_order=next((one for one in ORDERS if one == mark), None))
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
    return f"date:{current.date_order}" if family == "date" else number_tag(current)


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


def _null_words(groups: Sequence[Group], _: Conventions, nulls: Sequence[str]) -> Cause:
    words = _words(groups, "null:")
    option = {"null_values": _with(nulls, words)}
    return Cause("null_words", f"{_quoted(words)} may mean no value", "null", tuple(groups), option)


def _boolean_words(groups: Sequence[Group], current: Conventions, _: Sequence[str]) -> Cause:
    true, false = _words(groups, "bool:true:"), _words(groups, "bool:false:")
    known = current.true_values, current.false_values
    option = {
        "true_values": _with(TRUE_VALUES if known[0] is None else known[0], true),
        "false_values": _with(FALSE_VALUES if known[1] is None else known[1], false),
    }
    told = " and ".join(f"{_quoted(words)} for {what}" for words, what in ((true, "true"), (false, "false")) if words)
    return Cause("boolean_words", f"booleans are in other words: {told}", "bool", tuple(groups), option)


def _blanks(groups: Sequence[Group], _: Conventions, __: Sequence[str]) -> Cause:
    return Cause("blanks_around", "there are blanks around the values", "blank", tuple(groups), {"trim": "values"})


def _enum_case(groups: Sequence[Group], _: Conventions, __: Sequence[str]) -> Cause:
    words = "values differ from those of the enum by case"
    return Cause("enum_case", words, "case", tuple(groups), {"enum_case": "ignore"})


_FAMILIES: Final = {"null": _null_words, "bool": _boolean_words, "blank": _blanks, "case": _enum_case}


def _words(groups: Sequence[Group], tag: str) -> list[str]:
    """The values of such a tag, the most frequent first."""
    often = sorted(groups, key=lambda one: -one.errors)
    return list(dict.fromkeys(one.tags[0].removeprefix(tag) for one in often if one.tags[0].startswith(tag)))


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in words[:5])


def _with(known: Sequence[str], words: Sequence[str]) -> list[str]:
    """As many values as a dialect may have."""
    return [*known, *(word for word in words if word not in known)][:MAX_NULL_VALUES]


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
