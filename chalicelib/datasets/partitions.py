"""How a dataset's table is parted: by the hash of a field, or by months or years of a date, with a rest.

Postgres keeps a key unique within each partition alone, so every key has to hold the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from chalicelib.datasets.problems import Problem, as_list, problem

MOST: Final = 240  # partitions; each is a table, and one more index of every kind
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])").fullmatch
_MONTHS: Final[Mapping[str, int]] = {"month": 1, "year": 12}
_DATED: Final = ("date", "datetime")


@dataclass(frozen=True, slots=True)
class Partitions:
    """By hash into so many, or by steps of so many months from one to another, both counted from year 0."""

    field: str
    hash: int = 0
    months: int = 0
    first: int = 0
    end: int = 0

    @property
    def method(self) -> Literal["HASH", "RANGE"]:
        """As Postgres calls it."""
        return "HASH" if self.hash else "RANGE"

    def ranges(self) -> Iterator[tuple[str, str]]:
        """From which day, and before which, of each; rows beyond go to the rest."""
        for start in range(self.first, self.end, self.months):
            yield _day(start), _day(min(start + self.months, self.end))

    def extends(self, other: Partitions) -> bool:
        """Whether these are the other's partitions with others behind them."""
        if self.hash or (self.field, self.months, self.first) != (other.field, other.months, other.first):
            return False
        return self.end >= other.end and (other.end - other.first) % other.months == 0


def _day(month: int) -> str:
    return f"{month // 12:04}-{month % 12 + 1:02}-01"


def partition_problems(declared: object, descriptor: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with partition_by."""
    if not isinstance(declared, dict) or set(declared) not in ({"field", "hash"}, {"field", "every", "from", "to"}):
        yield problem(None, "partition_by has field and hash, or field, every, from and to")
        return
    types = {str(item.get("name")): item.get("type", "string") for item in descriptor["fields"]}
    name = declared["field"]
    if not isinstance(name, str) or name not in types:
        yield problem(None, "partition_by.field is no field")
        return
    yield from _hash_problems(declared["hash"]) if "hash" in declared else _range_problems(declared, types[name])
    for key in _keys(descriptor):
        if name not in key:
            detail = f"partition_by: a key is unique in each partition alone, so it has to hold {name}"
            yield problem(", ".join(map(str, key)), detail)


def _hash_problems(parts: object) -> Iterator[Problem]:
    if type(parts) is not int or not 2 <= parts <= MOST:
        yield problem(None, f"partition_by.hash must be a whole number from 2 to {MOST}")


def _range_problems(declared: Mapping[str, Any], kind: object) -> Iterator[Problem]:
    if kind not in _DATED:
        yield problem(declared["field"], f"partition_by.every needs a field of type {' or '.join(_DATED)}")
    if declared["every"] not in list(_MONTHS):
        yield problem(None, f"partition_by.every must be one of {', '.join(_MONTHS)}")
        return
    ends = [value for value in (declared["from"], declared["to"]) if isinstance(value, str) and _MONTH(value)]
    if len(ends) < 2 or _month(ends[0]) >= _month(ends[1]) or ends[0] < "0001":
        yield problem(None, "partition_by.from and .to are months (YYYY-MM), the first before the other")
    elif -(-(_month(ends[1]) - _month(ends[0])) // _MONTHS[declared["every"]]) > MOST:
        yield problem(None, f"partition_by has more than {MOST} partitions")


def _keys(descriptor: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Every key, as far as it is one: what is wrong with keys is told elsewhere. An identity is one, too."""
    if "identity" in descriptor:
        yield [descriptor["identity"]]
    if descriptor.get("primaryKey"):
        yield as_list(descriptor["primaryKey"])
    for item in descriptor["fields"]:
        constraints = item.get("constraints")
        if isinstance(constraints, dict) and constraints.get("unique"):
            yield [item.get("name")]
    unique = descriptor.get("uniqueKeys", [])
    yield from map(as_list, unique if isinstance(unique, list) else [])


def read_partitions(declared: Mapping[str, Any]) -> Partitions:
    """A partition_by without problems."""
    if "hash" in declared:
        return Partitions(declared["field"], declared["hash"])
    months = _MONTHS[declared["every"]]
    return Partitions(declared["field"], 0, months, _month(declared["from"]), _month(declared["to"]))


def _month(text: str) -> int:
    return int(text[:4]) * 12 + int(text[5:]) - 1
