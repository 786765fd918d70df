"""How the key of a row stands in an address, whatever a gateway on the way decodes, once or not at all.

Values stand between commas. What would be taken for something else is escaped as JSON Pointer (RFC 6901) does it, by
a tilde and a digit, before the address is percent-encoded as any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

_ESCAPED: Final[Mapping[str, str]] = {"~": "~0", "/": "~1", ",": "~2", "%": "~3", ".": "~4"}
MOST: Final = 8192  # of an address in characters: API Gateway takes 10,240 with all headers, whose most is the token
_EMPTY: Final = "~5"  # the whole key: a path that ends with a slash is another
_PLAIN: Final = {escaped: plain for plain, escaped in _ESCAPED.items()} | {_EMPTY: ""}


@dataclass(frozen=True, slots=True)
class Addressed:
    """A tenant's dataset and the key of one of its rows, as a request names them; `key` as it is spelled here."""

    tenant: str
    name: str
    key: str


def spell(values: Sequence[str]) -> str:
    """A segment of a path, ready to be sent."""
    return ",".join(quote(_escaped(value), safe="@") for value in values) or _EMPTY


def _escaped(value: str) -> str:
    marks = "~/,%." if value in (".", "..") else "~/,%"  # a segment of dots is no segment
    return "".join(_ESCAPED[sign] if sign in marks else sign for sign in value)


def read(segment: str, fields: int) -> list[str]:
    """The values in a segment that was decoded; in a key of one field a comma parts nothing."""
    parts = segment.split(",") if fields > 1 else [segment]
    return [re.sub("~[0-5]", lambda found: _PLAIN[found[0]], part) for part in parts]
