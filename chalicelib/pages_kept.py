"""Pages of rows that this process has read lately, to be given again while the rows are what they were.

That they are is known by the count of their dataset's changes, which comes with the dataset: nobody is shown what was
before his own write, or anybody's that he could know of. A minute is for what no count tells: a database that was
restored to an earlier time, or rows that somebody has changed behind the API.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from chalicelib.paging import Page

KEPT_SECONDS: Final = 60
MOST_ITEMS: Final = 20_000  # rows of all pages together, some 10 MB
MOST_OF_A_PAGE: Final = 1000
ITEM_BYTES: Final = 500  # a longer row is as many, and so is what a page was asked for by


@dataclass(slots=True)
class Kept:
    """The pages, those that were asked for longest ago first; and how often one was found, or not."""

    pages: OrderedDict[Hashable, tuple[float, Page]] = field(default_factory=OrderedDict)
    items: int = 0
    hits: int = 0
    misses: int = 0

    def page(self, key: Hashable, read: Callable[[], Page]) -> Page:
        """The page of this key, read if it is not kept. The key names all that it depends on."""
        found = self._fresh(key)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        page = read()
        self._keep(key, page)
        return page

    def forget(self) -> None:
        """Keep nothing."""
        self.pages.clear()
        self.items = 0

    def _fresh(self, key: Hashable) -> Page | None:
        read_at, page = self.pages.get(key, (0.0, None))
        if page is None or time.monotonic() - read_at > KEPT_SECONDS:
            return None
        self.pages.move_to_end(key)
        return page

    def _keep(self, key: Hashable, page: Page) -> None:
        items = _items(key, page)
        if items > MOST_OF_A_PAGE:
            return
        self._drop(key)
        self.pages[key] = (time.monotonic(), page)
        self.items += items + 1
        while self.items > MOST_ITEMS:
            self._drop(next(iter(self.pages)))

    def _drop(self, key: Hashable) -> None:
        _, page = self.pages.pop(key, (0.0, None))
        if page is not None:
            self.items -= _items(key, page) + 1


def _items(key: Hashable, page: Page) -> int:
    """How many rows a page counts for: one of a row may be megabytes."""
    return max(len(page.items), (page.size + len(repr(key))) // ITEM_BYTES)


rows: Final = Kept()
