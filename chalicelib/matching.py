"""Which column of a file is which field: as declared, by the exact name, or by a name that differs in spelling only.

A likeness is never applied, only told: a column that was guessed wrong would load wrong values without a word.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from functools import partial
from typing import Any, Final, Literal

from chalicelib.errors import Refused, field_refused
from chalicelib.formats.names import normalised

How = Literal["exact", "normalised", "declared", "position"]
Mapped = Mapping[str, str | None]  # a column's name, or its place from 1 on -> a field, or None to ignore it

MAX_MAPPING: Final = 100_000  # of its JSON: the status table holds it
MAX_TOLD: Final = 100  # columns that an error, and the status, name
MAX_SUGGESTED: Final = 20  # columns that are compared with every field
MAX_SHOWN: Final = 200  # characters of a column's name that an error repeats
ALIKE: Final = 0.6  # below this difflib's ratio is chance
_POSITION: Final = re.compile(r"[1-9][0-9]{0,4}").fullmatch
_invalid: Final = partial(field_refused, "mapping_invalid")
_DETAILS: Final = {
    "columns_repeated": "The header names a field twice.",
    "columns_missing": "The header lacks columns of the dataset.",
    "columns_unknown": "The header has columns the dataset does not know.",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the file by its place from 1 on, its field (None: ignored), and how the two were brought together."""

    position: int
    name: str
    field: str | None
    how: How


def read_mapping(value: Mapped, fields: Collection[str]) -> dict[str, str | None]:
    """`options.mapping`, if every target is one of `fields` and none is meant twice. Raises Refused naming it."""
    if len(json.dumps(value)) > MAX_MAPPING:
        raise _invalid("options.mapping", f"must be an object of at most {MAX_MAPPING} characters")
    for column, target in value.items():
        if target is not None and target not in fields:
            raise _invalid(f"options.mapping.{_short(column)}", f"names {_short(target)!r}, which is not a field")
    targets = Counter(target for target in value.values() if target is not None)
    if twice := [target for target, times in targets.items() if times > 1]:
        raise _invalid("options.mapping", f"maps two columns to {_short(twice[0])!r}")
    return dict(value)


def match(header: Sequence[str], fields: Sequence[str], mapping: Mapped) -> list[Column]:
    """Every column of the header with its field. Raises Refused naming every column that is off.

    Every field needs a column, nullable or not: a misspelt name would otherwise load as nothing but nulls.
    """
    found = {column.position: column for column in _declared(header, mapping)}
    meant = _by_spelling(fields)
    for position, name in enumerate(header, 1):
        if position not in found and (meeting := _meet(name, meant)):
            found[position] = Column(position, name, *meeting)
    _refuse_what_is_off(header, fields, found)
    return [found[position] for position in range(1, len(header) + 1)]


def by_position(width: int, fields: Sequence[str], mapping: Mapped) -> list[Column]:
    """Columns of a file without a header: those that are not declared take the fields left, in order."""
    names = [f"column_{position}" for position in range(1, width + 1)]
    found = {column.position: column for column in _declared(names, mapping)}
    left = [name for name in fields if name not in {column.field for column in found.values()}]
    free = [position for position in range(1, width + 1) if position not in found]
    if len(left) != len(free):
        code = "columns_missing" if len(left) > len(free) else "columns_unknown"
        raise Refused(code, f"The file has {len(free)} columns where {len(left)} fields of the dataset need one.")
    for position, name in zip(free, left, strict=True):
        found[position] = Column(position, names[position - 1], name, "position")
    return [found[position] for position in range(1, width + 1)]


def declared(columns: Iterable[Column]) -> dict[str, str | None]:
    """What was declared of columns, by their names: all of it, however wide the file is."""
    return {column.name: column.field for column in columns if column.how == "declared"}


def declared_before(plan: Mapping[str, Any], header: Sequence[str], fields: Collection[str]) -> Mapped:
    """What was declared of the columns of a file with this plan, for those that this header names, too."""
    told = {one["name"]: one["field"] for one in plan.get("mapping", ()) if one["how"] == "declared"}
    return {
        name: field
        for name, field in plan.get("declared", told).items()
        if header.count(name) == 1 and field in {None, *fields}
    }


def positions(columns: Iterable[Column], fields: Sequence[str]) -> list[int]:
    """Where each field stands in a record, from 0 on."""
    place = {column.field: column.position - 1 for column in columns}
    return [place[name] for name in fields]


def shown(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The columns as the status tells them; of a wide file only those that need a word."""
    told = columns if len(columns) <= MAX_TOLD else [one for one in columns if one.how != "exact"]
    return [asdict(one) | {"name": _short(one.name)} for one in told[:MAX_TOLD]]


def suggest(name: str, fields: Iterable[str]) -> tuple[str, float] | None:
    """The field that a name is most like, and how much from 0 to 1; None if it is like none."""
    matcher = SequenceMatcher(b=normalised(name)[:MAX_SHOWN], autojunk=False)
    best: tuple[str, float] | None = None
    for field in fields:
        matcher.set_seq1(normalised(field))
        enough = best[1] if best else ALIKE
        if matcher.quick_ratio() > enough and (ratio := matcher.ratio()) > enough:
            best = field, ratio
    return (best[0], round(best[1], 2)) if best else None


def _declared(header: Sequence[str], mapping: Mapped) -> Iterator[Column]:
    """The columns that the mapping names. A key is a name if a column has it, else a place."""
    seen: set[int] = set()
    for key, field in mapping.items():
        position = _place(key, header)
        if position in seen:
            raise Refused("mapping_invalid", f"The mapping names column {position}, {_listed([key])}, twice.")
        seen.add(position)
        yield Column(position, header[position - 1], field, "declared")


def _place(key: str, header: Sequence[str]) -> int:
    if header.count(key) > 1:
        raise Refused("mapping_invalid", f"The header has {_listed([key])} twice; map it by its position.")
    if key in header:
        return header.index(key) + 1
    if _POSITION(key) and int(key) <= len(header):
        return int(key)
    raise Refused("mapping_invalid", f"The file has no column {_listed([key])} that the mapping names.")


def _by_spelling(fields: Sequence[str]) -> dict[str, list[str]]:
    """The fields of each spelling, as they are and normalised."""
    found: dict[str, list[str]] = {}
    for name in fields:
        for spelling in {name, normalised(name)} - {""}:
            found.setdefault(spelling, []).append(name)
    return found


def _meet(name: str, meant: Mapping[str, Sequence[str]]) -> tuple[str, How] | None:
    """The one field that a column's name means."""
    if name in meant.get(name, ()):
        return name, "exact"
    candidates = meant.get(normalised(name), ())
    return (candidates[0], "normalised") if len(candidates) == 1 else None


def _refuse_what_is_off(header: Sequence[str], fields: Sequence[str], found: Mapping[int, Column]) -> None:
    taken = Counter(column.field for column in found.values())
    off = {
        "columns_repeated": [column.name for column in found.values() if column.field and taken[column.field] > 1],
        "columns_missing": [name for name in fields if name not in taken],
        "columns_unknown": [name for position, name in enumerate(header, 1) if position not in found],
    }
    code = next((code for code, names in off.items() if names), None)
    if code is not None:
        errors = [
            _error(each, name, off["columns_missing"] if place < MAX_SUGGESTED else ())
            for each, names in off.items()
            for place, name in enumerate(names[:MAX_TOLD])
        ]
        raise Refused(code, f"{_DETAILS[code][:-1]}: {_listed(off[code][:20])}.", errors=errors)


def _error(code: str, name: str, free: Sequence[str]) -> dict[str, Any]:
    error = {"column": _short(name), "code": code, "detail": _DETAILS[code]}
    likely = suggest(name, free) if code == "columns_unknown" else None
    if likely is None:
        return error
    field, confidence = likely
    detail = f"{_DETAILS[code]} Is this one {_listed([field])}?"
    return error | {"detail": detail, "suggestion": {"field": field, "confidence": confidence}}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_short, names))


def _short(name: str) -> str:
    return name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "…"
