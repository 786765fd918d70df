"""What must be in the table, in the rejects and in the counts: from the bytes of the files, and nothing of ours.

A small state machine reads the records, plain loops decide who keeps a key. It shares no line with chalicelib,
so that a fault of thought there is not repeated here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Cells = tuple[str | None, ...]
_INTEGER = re.compile(r"[+-]?[0-9]+").fullmatch
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_DAY_FIRST = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})").fullmatch
_KILOS = re.compile(r"([0-9]+) kg").fullmatch
_RIGHT = {"integer": _INTEGER, "date": _DATE}


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stands in the file: its place from 1, the physical line it begins on, its bytes and cells."""

    place: int
    line: int
    raw: bytes
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a record is not in the table, and where it stands in the file."""

    line: int
    codes: list[str]
    raw: bytes


@dataclass(slots=True)
class Expected:
    """`rows` by (upload, place); `keys` is who holds a key, one mapping a key of the dataset."""

    rows: dict[tuple[int, int], Cells] = field(default_factory=dict)
    rejects: dict[int, dict[int, Loss]] = field(default_factory=dict)
    counts: dict[int, dict[str, int]] = field(default_factory=dict)


def read(data: bytes) -> list[Record]:
    """The records below the header."""
    return list(_records(data.decode()))


def _records(text: str) -> Iterator[Record]:
    line = start_line = 1
    start, place = 0, 0
    cells: list[str] = []
    cell, state = "", "start"  # start of a cell, plain, quoted, closing (a quote inside quotes)
    for at, mark in enumerate(text + "\n"):
        ends = mark == "\n" and state != "quoted"
        if state == "quoted" and mark == '"':
            state = "closing"
        elif state == "quoted" or (mark == "\r" and text[at + 1 : at + 2] == "\n"):
            cell += mark if state == "quoted" else ""
        elif state == "start" and mark == '"':
            state = "quoted"
        elif state == "closing" and mark == '"':
            cell, state = cell + '"', "quoted"
        elif mark == "," or ends:
            cells, cell, state = [*cells, cell], "", "start"
        else:
            cell, state = cell + mark, "plain"
        line += mark == "\n"
        if ends:
            raw = text[start:at].removesuffix("\r")
            if raw and place:
                yield Record(place, start_line, raw.encode(), tuple(cells))
            place += bool(raw)
            start, start_line, cells = at + 1, line, []


def check(record: Record, schema: Mapping[str, Any]) -> tuple[Cells, str | None]:
    """The record's values, and the code it is rejected with if it is wrong by itself."""
    wrong = faults(record, schema)
    return ((), wrong[0]) if wrong else (tuple(cell or None for cell in record.cells), None)


def faults(record: Record, schema: Mapping[str, Any]) -> list[str]:
    """What is wrong with the record by itself, a code for each cell."""
    fields = schema["fields"]
    if len(record.cells) != len(fields):
        return ["width_mismatch"]
    found = []
    for cell, spec in zip(record.cells, fields, strict=True):
        if not cell and spec.get("constraints", {}).get("required"):
            found.append("required_missing")
        if cell and spec["type"] in _RIGHT and not _RIGHT[spec["type"]](cell):
            found.append("type_invalid")
    return found


def mended(record: Record, schema: Mapping[str, Any]) -> Cells | None:
    """The values of a record wrong in its spelling alone (day-first dates, words for none, kilograms); or None."""
    if check(record, schema)[1] is None or len(record.cells) != len(schema["fields"]):
        return None
    cells = []
    for cell, spec in zip(record.cells, schema["fields"], strict=True):
        day_first = _DAY_FIRST(cell) if spec["type"] == "date" else None
        kilos = _KILOS(cell) if spec["type"] == "integer" else None
        is_none = cell == "N/A" and spec["type"] in _RIGHT
        bare = kilos[1] if kilos else "" if is_none else cell
        cells.append("-".join(reversed(day_first.groups())) if day_first else bare)
    values, code = check(Record(record.place, record.line, record.raw, tuple(cells)), schema)
    return None if code else values


def keys_of(schema: Mapping[str, Any]) -> list[int]:
    """The places of the columns that are a key each."""
    fields = schema["fields"]
    primary = [place for place, each in enumerate(fields) if each["name"] == schema.get("primaryKey")]
    return primary + [place for place, each in enumerate(fields) if each.get("constraints", {}).get("unique")]


def expect(schema: Mapping[str, Any], uploads: Sequence[tuple[int, str, bytes]]) -> Expected:
    """The outcome of uploads (number, mode, bytes) that came one after the other."""
    outcome = Expected()
    for number, mode, data in uploads:
        _add(outcome, schema, number, mode, read(data))
    return outcome


def _add(outcome: Expected, schema: Mapping[str, Any], number: int, mode: str, records: Sequence[Record]) -> None:
    keys = keys_of(schema)
    rejects = outcome.rejects.setdefault(number, {})
    counts = outcome.counts.setdefault(number, dict.fromkeys(("loaded", "updated", "skipped", "rejected"), 0))
    older = [_holders(outcome.rows, key) for key in keys]
    own: list[dict[str, tuple[int, int]]] = [{} for _ in keys]
    for record in records:
        values, code = check(record, schema)
        fate = "rejected" if code else _settle(outcome.rows, keys, (older, own), (number, record.place), values, mode)
        if fate in ("duplicate_in_db", "duplicate_in_file"):
            code, fate = fate, "rejected" if mode == "insert" else "skipped"
        counts[fate] += 1
        if fate == "rejected" and code:
            rejects[record.place] = Loss(record.line, faults(record, schema) or [code], record.raw)


def _holders(rows: Mapping[tuple[int, int], Cells], key: int) -> dict[str, tuple[int, int]]:
    return {value: row for row, cells in rows.items() if (value := cells[key]) is not None}


def _settle(
    rows: dict[tuple[int, int], Cells],
    keys: Sequence[int],
    holders: tuple[list[dict[str, tuple[int, int]]], list[dict[str, tuple[int, int]]]],
    row: tuple[int, int],
    values: Cells,
    mode: str,
) -> str:
    """Seat a good row, or say what it lost to. Insert and skip: first come; upsert: the last line wins."""
    older, own = holders
    for kind, held in (("duplicate_in_db", older), ("duplicate_in_file", own)):
        for place, key in enumerate(keys):
            value = values[key]
            if value is not None and value in held[place]:
                if mode != "upsert":
                    return kind
                rows.pop(held[place].pop(value))
                return _seat(rows, keys, own, row, values, "updated")
    return _seat(rows, keys, own, row, values, "loaded")


def _seat(
    rows: dict[tuple[int, int], Cells],
    keys: Sequence[int],
    own: list[dict[str, tuple[int, int]]],
    row: tuple[int, int],
    values: Cells,
    fate: str,
) -> str:
    rows[row] = values
    for place, key in enumerate(keys):
        value = values[key]
        if value is not None:
            own[place][value] = row
    return fate
