"""What every room of the client asks by: a call, a thing made once, the items of a listing, a pause between looks."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Mapping
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from .errors import ApiError, StillRunning, Unusable
from .transport import TIMEOUT, Keeper, Patience, Tokens, Transport, document, retry_after

PAGE: Final = 5000  # the most the API gives at once; it ends a page earlier when its items are long
POLL_SECONDS: Final = 1.0  # where the server does not say
SHORTEST_POLL_SECONDS: Final = 0.05


class Calls:
    """One API, asked in the session of one keeper."""

    def __init__(
        self,
        api: str,
        token: str = "",
        patience: Patience | None = None,
        keeper: Keeper | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        self._patience = patience or Patience()
        self._transport = Transport(api, keeper or Keeper(Tokens(token)), self._patience, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def _make(self, path: str, body: Mapping[str, Any], idempotency_key: str | None = None) -> httpx.Response:
        """Have something made, once, however often it has to be asked for."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._transport.call("POST", path, body=body, headers=headers, again=True)

    def _get(self, path: str, query: Mapping[str, str | int | None] | None = None) -> dict[str, Any]:
        return document(self._transport.call("GET", path, query=query, again=True))

    def _delete(self, path: str, query: Mapping[str, str] | None = None) -> None:
        """Have something gone, which it is too where that was done by a try whose answer was lost."""
        try:
            self._transport.call("DELETE", path, query=query, again=True)
        except ApiError as refused:
            if not (refused.asked_before and refused.status == httpx.codes.NOT_FOUND):
                raise

    def _items(self, path: str, query: Mapping[str, str | None], limit: int | None) -> Iterator[dict[str, Any]]:
        size = PAGE if limit is None else min(limit, PAGE)
        return islice(self._every_item(path, {**query, "limit": size}), limit)

    def _every_item(self, path: str, query: Mapping[str, str | int | None]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = self._get(path, {**query, "cursor": cursor})
            items = page["items"]
            if not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
                raise ApiError(200, "answer_invalid", f"{path} was not answered with a page; is it a Rowmill API?")
            yield from items
            before, cursor = cursor, page.get("next_cursor")
            if not cursor:
                return
            if cursor == before:
                raise ApiError(200, "cursor_stuck", f"the API answered the same page of {path} twice")


def deadline(timeout: float | None) -> float:
    """By the monotonic clock, so many seconds from now; never without any."""
    return math.inf if timeout is None else time.monotonic() + timeout


def linger(answer: httpx.Response, give_up: float, late: str) -> None:
    """Until it is worth asking again, or for the last time. Raises StillRunning with this once that was done."""
    asked = retry_after(answer)
    seconds = POLL_SECONDS if asked is None else max(asked, SHORTEST_POLL_SECONDS)
    left = give_up - time.monotonic()
    if left <= 0:
        raise StillRunning(late)
    time.sleep(min(seconds, left))


def path_of(*parts: str) -> str:
    """The address of a resource below /v1. Raises Unusable for a name that would lead to the listing, or the parent."""
    if not {"", ".", ".."}.isdisjoint(parts):
        raise Unusable("a dataset or upload needs a name")
    return "/".join(quote(part, safe="") for part in parts)
