"""What the columns of an upload are like, and where they are unlike those of uploads before it.

A profile is made of each chunk's good rows, and those of chunks are added up: it is as small for a billion rows. Two
things of it are estimates where a column has many values: how many are different, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final

from chalicelib.cells import Field

MOST_VALUES: Final = 50  # a column with so few is one of few values, and each of them is known
MOST_TOLD: Final = 50  # differences of an upload: the status table holds them
MOST_SHOWN: Final = 10  # values that were never there before
LONGEST_SHOWN: Final = 40  # letters of each
SKETCH: Final = 256  # smallest hashes: the estimate is off by a sixteenth
HASHES: Final = 2**64
UPLOADS: Final = 20  # the latest that an upload is compared with
SURE: Final = 3.0  # standard errors
NULLS: Final = 0.05  # of the rows: what the share of nulls may change in any case
FEW_ROWS: Final = 20  # for each value that was seen before: from then on a new one is worth a word
_EPOCH: Final = date(1970, 1, 1)
DAYS: Final = ("date", "datetime")
NUMBERS: Final = ("integer", "number", "year")


@dataclass(frozen=True, slots=True)
class Column:
    """`low` and `high` are of numbers themselves, of dates days since 1970, of texts their length; None without any.

    `values` says how often each value is there, None if there are more than MOST_VALUES. `hashes` are the smallest of
    the different values' hashes, 64 bits each, ascending.
    """

    rows: int
    nulls: int
    low: float | None
    high: float | None
    values: Mapping[str, int] | None
    hashes: Sequence[int]

    @property
    def distinct(self) -> int:
        """How many values are different, nearly."""
        if self.values is not None:
            return len(self.values)
        if len(self.hashes) < SKETCH:
            return len(self.hashes)
        return round((SKETCH - 1) / (self.hashes[-1] / HASHES))

    @property
    def null_rate(self) -> float:
        return self.nulls / self.rows if self.rows else 0.0


def unseen(column: Sequence[str | None]) -> Column:
    """The profile of a column of which nothing may be kept but how many values are missing."""
    return Column(len(column), sum(value is None for value in column), None, None, None, ())


def as_json(profile: Sequence[Column]) -> list[dict[str, Any]]:
    return [asdict(column) for column in profile]


def from_json(profile: Sequence[Mapping[str, Any]]) -> list[Column]:
    return [Column(**column) for column in profile]


def added(profiles: Iterable[Sequence[Column]]) -> list[Column]:
    """The profile of all of these rows together."""
    total: list[Column] = []
    for profile in profiles:
        total = [_both(one, other) for one, other in zip(total, profile, strict=True)] if total else list(profile)
    return total


def _both(one: Column, other: Column) -> Column:
    return Column(
        one.rows + other.rows,
        one.nulls + other.nulls,
        min(_known(one.low, other.low), default=None),
        max(_known(one.high, other.high), default=None),
        _few(one.values, other.values),
        sorted({*one.hashes, *other.hashes})[:SKETCH],
    )


def _known(*numbers: float | None) -> list[float]:
    return [number for number in numbers if number is not None]


def _few(one: Mapping[str, int] | None, other: Mapping[str, int] | None) -> dict[str, int] | None:
    if one is None or other is None:
        return None
    both = {value: one.get(value, 0) + other.get(value, 0) for value in [*one, *other]}
    return both if len(both) <= MOST_VALUES else None


def differences(
    fields: Sequence[Field], now: Sequence[Column], before: Sequence[Mapping[str, Column]]
) -> list[dict[str, Any]]:
    """Where an upload is unlike those before it, whose columns are given by name: `column`, `measure`, `was`, `is`.

    The first of them, in the order of the fields, and values cut short.
    """
    found: list[dict[str, Any]] = []
    for field, column in zip(fields, now, strict=True):
        known = [profile[field.name] for profile in before if field.name in profile]
        if known and column.rows:
            found += ({"column": field.name} | one for one in _unlike(field, column, known))
    return found[:MOST_TOLD]


def _unlike(field: Field, now: Column, before: Sequence[Column]) -> Iterator[dict[str, Any]]:
    rates = [column.null_rate for column in before]
    if _is_out(now, min(rates), max(rates)):
        yield {"measure": "null_rate", "was": _band(rates), "is": round(now.null_rate, 4)}
    yield from _other_range(field, now, before)
    yield from _other_values(field, now, before)


def _is_out(now: Column, low: float, high: float) -> bool:
    """Whether the share of nulls is beyond what it was, by more than it changed and more than chance makes it."""
    near = min(max(now.null_rate, low), high)
    error = math.sqrt(max(near * (1 - near), 1 / now.rows) / now.rows)
    return abs(now.null_rate - near) > max(NULLS, high - low, SURE * error)


def _band(numbers: Sequence[float]) -> list[float]:
    return [round(min(numbers), 4), round(max(numbers), 4)]


def _other_range(field: Field, now: Column, before: Sequence[Column]) -> Iterator[dict[str, Any]]:
    """Values twice as far beyond those of before as these are apart: where numbers go on, the next file's are not."""
    lows, highs = _known(*(column.low for column in before)), _known(*(column.high for column in before))
    if now.low is None or now.high is None or not lows:
        return
    least, most = min(lows), max(highs)
    apart = max(2 * (most - least), _least_apart(field, least, most))
    if now.low < least - apart or now.high > most + apart:
        measure = "range" if field.type in (*NUMBERS, *DAYS) else "length"
        told = [_told(field, number) for number in (least, most, now.low, now.high)]
        yield {"measure": measure, "was": told[:2], "is": told[2:]}


def _least_apart(field: Field, least: float, most: float) -> float:
    """What is no difference in any case: a year, the number itself, a few letters."""
    if field.type in DAYS:
        return 366.0
    return max(abs(least), abs(most)) if field.type in NUMBERS else 20.0


def _told(field: Field, number: float) -> float | int | str:
    if field.type in DAYS:
        return (_EPOCH + timedelta(days=number)).isoformat()
    # In Postgres' JSON a large one has no exponent: it was read as an int, which cannot be asked.
    is_whole = float(number).is_integer()
    return int(number) if is_whole and abs(number) < 2**53 else number


def _other_values(field: Field, now: Column, before: Sequence[Column]) -> Iterator[dict[str, Any]]:
    """Values that were never there in a column of few, or as many as rows; or few where none was there twice."""
    rows = sum(column.rows - column.nulls for column in before)
    known: dict[str, int] | None = {}
    for column in before:
        known = _few(known, column.values)
    filled = now.rows - now.nulls
    if field.type == "string" and known and rows >= FEW_ROWS * len(known):
        new = sorted(now.values.keys() - known.keys()) if now.values is not None else []
        if now.values is None or new:
            yield {"measure": "values", "was": len(known), "is": now.distinct, "new": [*map(_short, new[:MOST_SHOWN])]}
    elif filled > FEW_ROWS and all(_is_single(column) for column in before) and 2 * now.distinct < filled:
        yield {"measure": "distinct", "was": "each value once", "is": f"{now.distinct} in {filled} rows"}


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "…"


def _is_single(column: Column) -> bool:
    """Whether hardly a value is there twice."""
    filled = column.rows - column.nulls
    return filled > FEW_ROWS and column.distinct > 0.8 * filled


def days(text: str) -> float | None:
    """A date, or the date of a date and time, in days since 1970; None beyond the years 1 to 9999."""
    try:
        return float((date.fromisoformat(text[:10]) - _EPOCH).days)
    except ValueError:
        return None
