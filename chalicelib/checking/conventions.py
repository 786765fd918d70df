"""How a file spells its values: declared with the upload, or decided from a sample by evidence.

A convention is taken only if it reads more of the sample than Table Schema's own spelling does, and if whatever
other one could mean something else by a cell reads less of the sample and nothing besides. Else numbers and dates are
read as Table Schema has them: a cell is rejected rather than read as what it may not mean.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, compress
from typing import Any, Final

from chalicelib.cells import BLANKS, PLAIN, Conventions, DateOrder, Field, TypedFields, Value, reading
from chalicelib.datasets import Schema
from chalicelib.datasets.descriptor import is_mark
from chalicelib.errors import Refused

FIXES: Final = (  # what is declared together
    *(("date_order",), ("decimal_char", "group_char"), ("null_values",)),
    *(("trim",), ("true_values", "false_values"), ("enum_case",), ("units",)),
)
OPTIONS: Final = tuple(chain.from_iterable(FIXES))
# Table Schema's own first; on a tie the earlier one is taken.
_GROUPS: Final[Mapping[str, tuple[str | None, ...]]] = {
    ".": (None, ",", " ", "'", "’", "\u00a0", "\u202f"),
    ",": (None, ".", " ", "'", "’", "\u00a0", "\u202f"),
}
_DIGITS: Final = str.maketrans("023456789", "111111111")
_NOUGHTS: Final = re.compile(r"([^0-9]*[0-9]{1,3}[.,])000([^0-9]*)").fullmatch  # a group of them, or decimals
_SHORT: Final = 18  # characters: no integer of so many is too large
_ORDERS: Final[tuple[DateOrder | None, ...]] = (None, "ymd", "dmy", "mdy")
Evidence = dict[str, Any]  # value, agreeing, of, ambiguous, also


@dataclass(frozen=True, slots=True)
class Detected:
    """The conventions of a file, and for each that could be told why."""

    conventions: Conventions
    evidence: dict[str, Evidence]


def read(options: Mapping[str, Any]) -> Conventions:
    """The conventions among a dialect's options, each of which Dialect lets be. Raises Refused `dialect_invalid`."""
    for name in ("decimal_char", "group_char"):
        if options.get(name) is not None and not is_mark(options[name]):
            raise _invalid(f"{name} must be one character that is no digit, letter or sign.")
    decimal, group = options.get("decimal_char"), options.get("group_char")
    if group is not None and group == (decimal or "."):
        raise _invalid("decimal_char and group_char must differ.")
    found = Conventions(**{name: _frozen(options.get(name)) for name in OPTIONS})
    true, false = found.booleans(_BOOLEAN)
    if both := set(true).intersection(false):
        raise _invalid(f"true_values and false_values both have {min(both)!r}.")
    return found


_BOOLEAN: Final = Field("", "boolean")


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def planned(plan: Mapping[str, Any]) -> Conventions:
    """The conventions by which an upload with this plan is read."""
    typed = tuple(plan["typed"].items()) if "typed" in plan else None
    first = tuple(replace(read(one), typed=typed) for one in plan.get("before", ()))
    return replace(read(plan["dialect"]), before=first, typed=typed)


def subsets(option: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What several fixes may be for a record, the most of them first: one that it does not need may spoil it."""
    fixes = [part for names in FIXES if (part := {name: option[name] for name in names if name in option})]
    some = chain.from_iterable(combinations(fixes, count) for count in range(len(fixes) - 1, 0, -1))
    return [dict(option), *(dict(chain.from_iterable(one.items() for one in each)) for each in some)]


def again(plan: Mapping[str, Any], option: Mapping[str, Any]) -> dict[str, Any]:
    """How rejects of an upload with this plan are read once more, as a plan has it: by what an option says otherwise.

    Of several fixes each is for cells that were wrong: what was right in a record is read as before.
    """
    before = plan.get("before", [])
    several = before or len(subsets(option)) > 1
    return {"dialect": plan["dialect"] | option} | ({"before": [*before, plan["dialect"]]} if several else {})


def shown(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """How an upload with this plan is read, as status and receipt have it; None before that is decided.

    `before`, where there are several: the conventions by which a cell is asked first, each in turn; by the outer ones
    only what is wrong by all of these.
    """
    found: dict[str, Any] | None = plan.get("shown")
    if not found or not plan.get("before"):
        return found
    return {**found, "before": [{name: one.get(name) for name in OPTIONS} for one in plan["before"]]}


def with_option(one: Conventions, option: Mapping[str, Any]) -> Conventions:
    """These conventions, and all that are asked before them, with what an option says otherwise."""
    said = read(option)
    otherwise = {name: getattr(said, name) for name in OPTIONS if name in option}
    *first, last = [replace(each, **otherwise) for each in (*one.before, one)]
    return replace(last, before=tuple(first))


def _invalid(detail: str) -> Refused:
    return Refused("dialect_invalid", f"dialect.{detail}")


def detect(
    columns: Sequence[Sequence[str]],
    schema: Schema,
    declared: Mapping[str, Any],
    typed: TypedFields | None = None,
) -> Detected:
    """The conventions of a file whose sample has these cells in the schema's fields; what is declared stands, null too.

    `typed` is known of a sheet (Conventions).
    Raises Refused `dialect_invalid` if what is declared cannot be.
    """
    fixed = replace(read(declared), typed=typed)
    fields = list(zip(schema.fields, columns, strict=True))
    spelt = {f: _shapes(_seen(f, column, schema, fixed)) for f, column in fields if is_open_number(f)}
    dated = {f: _orderless(f, _seen(f, column, schema, fixed)) for f, column in fields if is_open_date(f)}
    numbers = _decide(spelt, [replace(each, units=fixed.units, typed=typed) for each in spellings(declared)])
    dates = _decide(dated, [replace(each, typed=typed) for each in _orders(declared)])
    decided = replace(
        fixed,
        decimal_char=numbers.taken.decimal_char,
        group_char=numbers.taken.group_char,
        date_order=dates.taken.date_order,
    )
    names = ("decimal_char", numbers), ("group_char", numbers), ("date_order", dates)
    return Detected(decided, {name: found.evidence(name) for name, found in names})


def _seen(field: Field, column: Sequence[str], schema: Schema, fixed: Conventions) -> Counter[str]:
    """How often each cell of a column stands there; what is missing says nothing."""
    if field.missing_values is not None:
        missing = field.missing_values
    else:
        missing = schema.missing_values if fixed.null_values is None else fixed.null_values
    found = (cell for cell in column if cell not in missing)
    if not fixed.trims(field):
        return Counter(found)
    return Counter(cell for each in found if (cell := each.strip(BLANKS)) not in missing)


def is_open_number(field: Field) -> bool:
    """Whether how numbers are written in this field is for the file to say."""
    return field.type in ("integer", "number") and field.decimal_char is None and field.group_char is None


def is_open_date(field: Field) -> bool:
    """Whether the order of days in this field is for the file to say."""
    return field.type in ("date", "datetime") and field.format == "default"


def _orderless(field: Field, cells: Counter[str]) -> Counter[str]:
    """All plain dates as one: any order reads them as they are, and reading each so was most of a plan's time."""
    sure = reading(field).sure
    assert sure is not None
    plain = set(filter(sure.fullmatch, cells))
    if not plain:
        return cells
    others = Counter({cell: count for cell, count in cells.items() if cell not in plain})
    others[min(plain)] = cells.total() - others.total()
    return others


def _shapes(cells: Counter[str]) -> Counter[str]:
    """The shapes of numbers: few, where reading each number took half of a plan's time."""
    shapes: Counter[str] = Counter()
    for cell, count in cells.items():
        shapes[shape_of(cell)] += count
    return shapes


def shape_of(number: str) -> str:
    """A number with a one for each digit but a nought at its head: what no rule looks at is read alike by its shape.

    And but three noughts that may be a group or decimals: an integer may have either.
    """
    if len(number) > _SHORT:
        return number
    if "000" in number and (noughts := _NOUGHTS(number)):
        return f"{shape_of(noughts[1])}000{noughts[2]}"
    shape = number.translate(_DIGITS)
    head = shape.find("1")
    return f"{shape[:head]}0{shape[head + 1 :]}" if number[head : head + 1] == "0" else shape


def spellings(declared: Mapping[str, Any]) -> Iterator[Conventions]:
    """The ways of writing numbers that what is declared leaves open."""
    for decimal in [declared["decimal_char"] or "."] if "decimal_char" in declared else list(_GROUPS):
        groups = (declared["group_char"],) if "group_char" in declared else _GROUPS.get(decimal, (None,))
        for group in groups:
            if group != decimal:
                plain = declared.get("decimal_char") is None and decimal == "."
                yield replace(PLAIN, decimal_char=None if plain else decimal, group_char=group)


def _orders(declared: Mapping[str, Any]) -> Iterator[Conventions]:
    orders = (declared["date_order"],) if "date_order" in declared else _ORDERS
    yield from (replace(PLAIN, date_order=order) for order in orders)


@dataclass(frozen=True, slots=True)
class _Decision:
    """The convention taken, and those that read as many cells and mean something else by them."""

    taken: Conventions
    agreeing: int
    of: int
    rivals: tuple[Conventions, ...]

    def evidence(self, name: str) -> Evidence:
        """What a client is shown of one of the options."""
        value = getattr(self.taken, name)
        also = dict.fromkeys(getattr(rival, name) for rival in self.rivals)
        also.pop(value, None)
        return {
            "value": value,
            "agreeing": self.agreeing,
            "of": self.of,
            "ambiguous": bool(also),
            "also": list(also),
        }


def _decide(seen: Mapping[Field, Counter[str]], candidates: Sequence[Conventions]) -> _Decision:
    """Of these, what reads the most cells, if it contradicts no other; else the first, which is the plain one."""
    often = [count for cells in seen.values() for count in cells.values()]
    read_as = [list(_read_as(seen, each)) for each in candidates]
    counts = [sum(compress(often, (value is not None for value in values))) for values in read_as]
    best = counts.index(max(counts))
    meant = [list(_meant(seen, each)) for each in candidates]
    rivals = [
        place
        for place, values in enumerate(meant)
        if conflict(candidates[best], candidates[place]) and _is_rival(meant[best], values, plain=best == 0)
    ]
    taken = 0 if rivals else best
    others = sorted({best, *rivals} - {taken}) if rivals else []
    return _Decision(candidates[taken], counts[taken], sum(often), tuple(candidates[place] for place in others))


def _read_as(seen: Mapping[Field, Counter[str]], conventions: Conventions) -> Iterator[Value]:
    for field, cells in seen.items():
        yield from map(reading(field, conventions).read, cells)


def _meant(seen: Mapping[Field, Counter[str]], conventions: Conventions) -> Iterator[Value]:
    """As `_read_as`, but what is no integer so may be one with its decimals: 12.000."""
    for field, cells in seen.items():
        own, wider = reading(field, conventions).read, reading(_wider(field), conventions).read
        for cell in cells:
            value = own(cell)
            yield wider(cell) if value is None and wider is not own and _NOUGHTS(cell) else value


def _wider(field: Field) -> Field:
    return replace(field, type="number") if field.type == "integer" else field


def conflict(one: Conventions, other: Conventions) -> bool:
    """Whether some text could be read by both and mean two things: 01/02/2024, or 1,234."""
    if {one.date_order, other.date_order} == {"dmy", "mdy"}:
        return True
    return one.group_char == (other.decimal_char or ".") or other.group_char == (one.decimal_char or ".")


def _is_rival(best: Sequence[Value], other: Sequence[Value], *, plain: bool) -> bool:
    """Whether a conflicting convention has as good a case: the best one does not read all that it does and more.

    The plain one need prove nothing: another is its rival only if it explains the sample, too, and otherwise.
    """
    reads_more = any(a is None and b is not None for a, b in zip(best, other, strict=True))
    reads_less = any(a is not None and b is None for a, b in zip(best, other, strict=True))
    if plain:
        return not reads_less and best != other
    return reads_more or not reads_less
