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
MAX_ITEM_BYTES: Final = 6_000_000  # of an item that is a page by itself; of Lambda's 6,291,556 headers have the rest
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
    """A page of at most `limit` of `rows` (fetch limit + 1) that also fits the gateway.

    Raises Refused `row_too_large` (409), naming the cursor behind it, for an item that no page could hold.
    """
    items: list[dict[str, Any]] = []
    size = 0
    last: Any = None
    for row in rows:
        if isinstance(row, Onward):
            return Page(items, encode(row.key))
        item = show(row)
        more = _size(item)
        if len(items) == limit or (items and size + more > MAX_PAGE_BYTES):
            return Page(items, encode(last), size)
        if more > MAX_ITEM_BYTES:
            raise _too_large(more, f" The page behind it has the cursor {encode(key(row))}")
        items.append(item)
        size += more
        last = key(row)
    return Page(items, None, size)


def fitting(item: dict[str, Any]) -> dict[str, Any]:
    """The item, which is an answer by itself. Raises Refused `row_too_large` (409) if the gateway stops it."""
    if (size := _size(item)) > MAX_ITEM_BYTES:
        raise _too_large(size)
    return item


def _size(item: Mapping[str, Any]) -> int:
    # The answer is a JSON string in Lambda's own JSON, where each of these takes one byte more.
    shown = json.dumps(item)
    return len(shown) + shown.count('"') + shown.count("\\")


def _too_large(size: int, further: str = "") -> Refused:
    detail = f"A row of {size:,} bytes as JSON is larger than an answer may be, {MAX_ITEM_BYTES:,}.{further}"
    return Refused("row_too_large", detail, status=409)
