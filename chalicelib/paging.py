"""Pages of a listing: opaque cursors, and an early end where the answer would outgrow the gateway."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from chalicelib.errors import Refused

MAX_PAGE_BYTES: Final = 4_500_000  # API Gateway and Lambda stop at 6 MB, base64 and headers included
DEFAULT_LIMIT: Final = 100

Key = TypeVar("Key", int, str)
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asked of a listing."""

    filters: Mapping[str, str]
    cursor: str | None = None
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class Page:
    """`next_cursor` is None on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def encode(key: Any) -> str:
    """A cursor that continues after `key`."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode(cursor: str | None, kind: type[Key], start: Key) -> Key:
    """The key a cursor continues after, or `start`. Raises Refused `cursor_invalid`."""
    if cursor is None:
        return start
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        key = None
    if type(key) is not kind or (isinstance(key, int) and not -1 <= key < 2**63):
        raise Refused("cursor_invalid", "The cursor is not one this listing gave.", status=400)
    return key


def fill(rows: Iterable[Row], limit: int, show: Callable[[Row], dict[str, Any]], key: Callable[[Row], Any]) -> Page:
    """A page of at most `limit` of `rows` (fetch limit + 1) that also fits the gateway."""
    items: list[dict[str, Any]] = []
    size = 0
    last: Any = None
    for row in rows:
        item = show(row)
        size += len(json.dumps(item, default=str))
        if len(items) == limit or (items and size > MAX_PAGE_BYTES):
            return Page(items, encode(last))
        items.append(item)
        last = key(row)
    return Page(items, None)
