"""Pages of a listing: opaque cursors, and an early end where the answer would outgrow the gateway."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from chalicelib.errors import Refused
from chalicelib.strict_json import is_text

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
    """`next_cursor` is None on the last page. `size`: about how many bytes it is as an answer."""

    items: list[dict[str, Any]]
    next_cursor: str | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Onward:
    """In place of a row: no more was looked at, and the next page goes on after `key`."""

    key: Any


def encode(key: Any) -> str:
    """A cursor that continues after `key`.

    A long one is packed: whatever fits an index, compressed as it is there, then fits a query.
    """
    text = json.dumps(key, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(min(text, zlib.compress(text), key=len)).decode().rstrip("=")


def decode(cursor: str | None, kind: type[Key], start: Key) -> Key:
    """The key a cursor continues after, or `start`. Raises Refused `cursor_invalid`."""
    if cursor is None:
        return start
    key = opened(cursor)
    usable = is_text(key) if isinstance(key, str) else isinstance(key, int) and -1 <= key < 2**63
    if type(key) is not kind or not usable:
        raise foreign_cursor()
    return key


def opened(cursor: str) -> Any:
    """What is in a cursor, believed by nobody yet; None if it is none of ours."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        if text.startswith(b"x"):  # as zlib begins, and no JSON does
            text = zlib.decompressobj().decompress(text, MAX_PAGE_BYTES)
        return json.loads(text)
    except (ValueError, binascii.Error, zlib.error, RecursionError):
        return None


def foreign_cursor() -> Refused:
    """For a cursor that another listing gave, or nobody."""
    return Refused("cursor_invalid", "The cursor is not one this listing gave.", status=400)


def fill(
    rows: Iterable[Row | Onward], limit: int, show: Callable[[Row], dict[str, Any]], key: Callable[[Row], Any]
) -> Page:
    """A page of at most `limit` of `rows` (fetch limit + 1) that also fits the gateway."""
    items: list[dict[str, Any]] = []
    size = 0
    last: Any = None
    for row in rows:
        if isinstance(row, Onward):
            return Page(items, encode(row.key))
        item = show(row)
        # The answer is a JSON string in Lambda's own JSON, where each of these takes one byte more.
        shown = json.dumps(item)
        more = len(shown) + shown.count('"') + shown.count("\\")
        if len(items) == limit or (items and size + more > MAX_PAGE_BYTES):
            return Page(items, encode(last), size)
        items.append(item)
        size += more
        last = key(row)
    return Page(items, None, size)
