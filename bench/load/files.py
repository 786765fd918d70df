"""The files that users send, and what must come of each.

A file is made once for each size and told apart by its tag, which stands in every e-mail: so millions of different
rows cost the generator a replacement of eight bytes, and every count and sum is known beforehand.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

DATASET: Final = "contacts"
FORM: Final = "S3 form"  # the request that is none of the API
POLL: Final = "GET /v1/uploads/{id}, by pollers"
SCHEMA: Final[dict[str, Any]] = {
    "fields": [
        {"name": "email", "type": "string", "format": "email", "constraints": {"required": True, "unique": True}},
        {"name": "name", "type": "string", "constraints": {"maxLength": 80}},
        {"name": "city", "type": "string"},
        {"name": "since", "type": "date"},
        {"name": "points", "type": "integer", "constraints": {"minimum": 0}},
    ]
}
SIZES: Final = {100: 60, 1_000: 25, 5_000: 10, 20_000: 5}  # rows, and of a hundred files how many have as many
SMALL: Final = {100: 70, 1_000: 30}  # what users send beside the whale
_BAD_EVERY: Final = 100  # of the files that have bad rows at all: every second one
_TAG: Final = b"XXXXXXXX"
_CITIES: Final = ("Aarhus", "Bergen", "Cork", "Dresden", "Évora", "Ghent", "Łódź", "Nantes")
_SPOILT: Final = (  # what is wrong with a bad row
    lambda n: f",Nobody {n},Cork,2024-02-28,{n}",
    lambda n: f"bad{n}@{_TAG.decode()}.example,Late {n},Ghent,2024-02-30,{n}",
    lambda n: f"worse{n}@{_TAG.decode()}.example,Some {n},Bergen,2024-02-28,many",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is like: its rows, and whether a hundredth of them is bad."""

    rows: int
    spoilt: bool

    @property
    def bad(self) -> int:
        return self.rows // _BAD_EVERY if self.spoilt else 0

    @property
    def points(self) -> int:
        """The sum of its good rows' points."""
        return sum(n for n in range(1, self.rows + 1) if not self._is_bad(n))

    def _is_bad(self, n: int) -> bool:
        return self.spoilt and n % _BAD_EVERY == 0

    def lines(self) -> Iterator[str]:
        """Its records, without line ends; the tag still to be set."""
        for n in range(1, self.rows + 1):
            if self._is_bad(n):
                yield _SPOILT[n // _BAD_EVERY % len(_SPOILT)](n)
            else:
                # Scattered, so that the unique index is met in no order.
                key = n * 7_919 % 1_000_003
                city = _CITIES[n % len(_CITIES)]
                yield f"u{key:07}@{_TAG.decode()}.example,Customer {n},{city},{1990 + n % 35}-{n % 12 + 1:02}-17,{n}"


def draw(chance: random.Random, sizes: dict[int, int]) -> Kind:
    """A file as users send them."""
    (rows,) = chance.choices(list(sizes), list(sizes.values()))
    return Kind(rows, chance.random() < 0.5)


def content(kind: Kind, tag: str) -> bytes:
    """The file's bytes. `tag` has eight letters or digits, other ones for each file of a dataset."""
    return _template(kind).replace(_TAG, tag.encode())


@cache
def _template(kind: Kind) -> bytes:
    return ("email,name,city,since,points\n" + "".join(f"{line}\n" for line in kind.lines())).encode()


def checksum(data: bytes) -> str:
    """SHA-256 in base64, as S3 takes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
