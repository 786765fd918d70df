"""Datasets and files that a seed uploads: keys that repeat, rows that are wrong, quotes that mislead.

Written from a random generator and nothing else. What must come of a file is not decided here: the oracle reads
the bytes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

Shape = Literal["stock", "people", "log", "sales"]
_REQUIRED = {"required": True}
SCHEMAS: Mapping[Shape, Mapping[str, Any]] = {
    "stock": {
        "fields": [
            {"name": "sku", "type": "integer", "constraints": _REQUIRED},
            {"name": "label", "type": "string"},
            {"name": "note", "type": "string"},
        ],
        "primaryKey": "sku",
    },
    "people": {
        "fields": [
            {"name": "id", "type": "integer", "constraints": _REQUIRED},
            {"name": "email", "type": "string", "constraints": {"unique": True}},
            {"name": "note", "type": "string"},
        ],
        "primaryKey": "id",
    },
    # Without a key nothing but the protocol keeps the second copy of a row out.
    "log": {
        "fields": [
            {"name": "place", "type": "integer", "constraints": _REQUIRED},
            {"name": "text", "type": "string"},
            {"name": "note", "type": "string"},
        ]
    },
    # Of which some records are wrong only as they are spelt; and whose dates may be unlike those before.
    "sales": {
        "fields": [
            {"name": "place", "type": "integer", "constraints": _REQUIRED},
            {"name": "sold", "type": "date"},
            {"name": "price", "type": "integer"},
            {"name": "note", "type": "string"},
        ]
    },
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a file is made of. `spread` is how many different keys there are, `offset` the lowest of them.

    `odd`: the dates are of another century.
    """

    shape: Shape
    records: int
    spread: int
    offset: int
    salt: int
    odd: bool = False


def write(recipe: Recipe) -> bytes:
    """The file: a header, then records of which about one in twenty-five is wrong."""
    random = Random(recipe.salt)
    header = ",".join(field["name"] for field in SCHEMAS[recipe.shape]["fields"])
    lines = [header, *(_record(random, recipe, place) for place in range(1, recipe.records + 1))]
    end = random.choice(("\n", "\n", "\r\n"))
    return (end.join(lines) + random.choice(("", end))).encode()


def _record(random: Random, recipe: Recipe, place: int) -> str:
    if recipe.shape == "sales":
        return _sale(random, recipe, place)
    key = _key(random, recipe, place)
    second = f"{random.randrange(recipe.spread * 2)}@x" if recipe.shape == "people" else _text(random, place)
    if recipe.shape == "people" and random.random() < 0.2:
        second = ""  # null is equal to nothing
    cells = [str(key), second, _note(random, place)]
    if random.random() < 0.04:
        return random.choice((f"x{place},{second},bad", f",{second},bad", f"{key}", f"{key},{second},bad,bad"))
    return ",".join(cells)


def _sale(random: Random, recipe: Recipe, place: int) -> str:
    """Three in ten are wrong: by a day-first date, a word for no price, both, a unit, or a place that is no number."""
    year, day, month = 1926 if recipe.odd else 2026, random.randint(13, 28), random.randint(1, 12)
    date, price, key = f"{year}-{month:02}-{day}", str(random.randrange(90)), str(place)
    match random.randrange(20):
        case 0 | 1:
            date = f"{day}/{month:02}/{year}"
        case 2:
            price = "N/A"
        case 3:
            date, price = f"{day}/{month:02}/{year}", "N/A"
        case 4:
            key = f"x{place}"
        case 5:
            price += " kg"
    return ",".join((key, date, price, _note(random, place)))


def _key(random: Random, recipe: Recipe, place: int) -> int:
    """Mostly the place itself; one in ten repeats a key from near by or far away."""
    if random.random() < 0.1:
        place = random.choice((max(1, place - 1), random.randint(1, recipe.records)))
    return recipe.offset + place % recipe.spread


def _text(random: Random, place: int) -> str:
    return random.choice((f"text {place}", f'{place}" pipe', f'"a, {place}"', f'"say ""{place}"""', ""))


def _note(random: Random, place: int) -> str:
    """Two in five hold a quote: in its place, doubled, stray, or around lines that look like records."""
    plain = f"note {place} " + "." * random.randrange(30)
    return random.choice(
        (
            plain,
            plain,
            plain,
            f'5" by {place}',
            f'"line {place}\n{place + 1},looks like a record,\nend"',
        )
    )
