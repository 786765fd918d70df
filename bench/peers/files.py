"""The files that are loaded: made once, the same on every machine, kept in the cache.

Contacts come with e-mails in random key order, CRLF, and a fifth of their notes quoted: commas, doubled quotes, and
newlines in one row of twenty.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra import demo

VERSION: Final = 1  # in the name of a file: another recipe makes another file
CONTACTS: Final = ("email", "name", "signup_date", "amount", "country", "note")
_FIRST: Final = (
    "ada",
    "bela",
    "chidi",
    "dolores",
    "emeka",
    "frida",
    "goran",
    "hana",
    "ines",
    "jürgen",
    "kofi",
    "lucía",
)
_LAST: Final = ("abara", "brandt", "castellanos", "dvorak", "eze", "fernandes", "garcía", "horvat", "ibsen", "kowalska")
_COUNTRIES: Final = ("AT", "BR", "CZ", "DE", "ES", "FR", "GH", "HR", "JP", "NG", "PL", "US")
_DOMAINS: Final = ("example.org", "example.com", "mail.example.net")
_PLAIN: Final = ("", "met at the fair in Leipzig in March", "prefers to be called at work", "customer since year one")
_COMMAS: Final = ("likes tea, coffee, and long walks by the sea", "invoice sent, not yet paid, second reminder")
_QUOTES: Final = ('said "call me later" twice, then moved house', 'known as "the boss" among those at work')
_LINES: Final = ("first line of an address\r\nsecond line, with comma", "call back\nafter lunch, before five o'clock")
_BROKEN: Final[Sequence[tuple[int, str]]] = ((0, ""), (2, "2023-02-29"), (2, "yesterday"), (3, "12,5O"), (3, "n/a"))


@dataclass(frozen=True, slots=True)
class File:
    """A file, the table it goes into, and how many of its rows are good."""

    name: str
    path: Path
    rows: int
    good: int
    schema: dict[str, Any]
    columns: str  # the same columns in SQL
    null: str = ""

    @property
    def names(self) -> list[str]:
        return [str(field["name"]) for field in self.schema["fields"]]


CONTACTS_SCHEMA: Final[dict[str, Any]] = {
    "fields": [
        {"name": "email", "type": "string", "constraints": {"required": True, "unique": True}},
        {"name": "name", "type": "string"},
        {"name": "signup_date", "type": "date"},
        {"name": "amount", "type": "number"},
        {"name": "country", "type": "string"},
        {"name": "note", "type": "string"},
    ]
}
CONTACTS_COLUMNS: Final = (
    "email text NOT NULL UNIQUE, name text, signup_date date, amount numeric(12,2), country text, note text"
)


def contacts(cache: Path, rows: int, name: str = "contacts") -> File:
    """A file of so many contacts; in `bad`, one row of a hundred is invalid and another repeats an e-mail."""
    bad = name == "bad"
    path = cache / f"contacts-{'bad-' if bad else ''}{rows}-v{VERSION}.csv"
    count = path.with_suffix(".json")
    if not count.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        good = _write(part, rows, bad)
        part.rename(path)
        count.write_text(json.dumps({"good": good}))
    good = json.loads(count.read_text())["good"]
    return File(name, path, rows, good, CONTACTS_SCHEMA, CONTACTS_COLUMNS)


def flights(cache: Path) -> File:
    """The real file of `make demo`."""
    path = demo.flights(cache)
    schema = demo.table_schema(path)
    types = {"integer": "bigint", "string": "text", "datetime": "timestamptz"}
    columns = ", ".join(f'"{field["name"]}" {types[field["type"]]}' for field in schema["fields"])
    return File("flights", path, demo.ROWS, demo.ROWS, schema, columns, demo.NULL)


def _write(path: Path, rows: int, bad: bool) -> int:
    """Write the file; how many of its rows are good."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(CONTACTS)
        return _spoil_and_write(writer, _contacts(rows)) if bad else _write_all(writer, _contacts(rows))


def _write_all(writer: Any, rows: Iterator[list[str]]) -> int:
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the count
        writer.writerow(row)
    return count


def _spoil_and_write(writer: Any, rows: Iterator[list[str]]) -> int:
    dice = random.Random(7)
    emails: list[str] = []
    for row in rows:
        fate = dice.random()
        if fate < 0.01:
            column, cell = dice.choice(_BROKEN)
            row[column] = cell
        elif fate < 0.02 and emails:
            row[0] = dice.choice(emails)
        else:
            emails.append(row[0])
        writer.writerow(row)
    return len(emails)


def _contacts(rows: int) -> Iterator[list[str]]:
    dice = random.Random(20261122)
    numbers = list(range(rows))
    dice.shuffle(numbers)  # unique, and met in no order that an index would like
    for number in numbers:
        first, last = dice.choice(_FIRST), dice.choice(_LAST)
        yield [
            f"{dice.getrandbits(40):010x}.{number:07}@{dice.choice(_DOMAINS)}",
            f"{first.title()} {last.title()}",
            f"{2000 + number % 25}-{1 + number // 25 % 12:02}-{1 + number // 300 % 28:02}",
            f"{dice.randrange(10_000_000) / 100:.2f}",
            dice.choice(_COUNTRIES),
            _note(dice),
        ]


def _note(dice: random.Random) -> str:
    kind = dice.random()
    for share, notes in ((0.05, _LINES), (0.10, _QUOTES), (0.20, _COMMAS)):
        if kind < share:
            return dice.choice(notes)
    return dice.choice(_PLAIN)
