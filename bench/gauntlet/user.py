"""The user who goes on working: a small file every quarter of a second, whether the ones before are in or not.

Who waited for one file before sending the next would send none while things stand still, and see little of it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from rowmill_client import Rowmill

from bench import embedded
from bench.load.report import quantile

ROWS: Final = 500  # of a file
EVERY_SECONDS: Final = 0.25
AT_ONCE: Final = 4  # files that are being sent


@dataclass(frozen=True, slots=True)
class Times:
    """Of a file, seconds since it was stored: a splitter took it, its borders were known, a loader began, it was in."""

    taken: float
    split: float
    begun: float
    over: float


@dataclass(slots=True)
class User:
    """An account and a dataset; the files are told apart by a seed that nobody else uses."""

    here: embedded.Embedded
    rowmill: Rowmill
    _seed: int = field(default=1_000_000)

    def work(self, goes_on: Callable[[], bool]) -> list[Times]:
        """Send files while this says so, then wait until all are in. Raises RuntimeError if one did not load whole."""
        sent, due = [], time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while goes_on():
                self._seed += 1
                sent.append(pool.submit(self._send, self._seed))
                due += EVERY_SECONDS
                time.sleep(max(0.0, due - time.monotonic()))
        return self._times([one.result() for one in sent])

    def _send(self, seed: int) -> str:
        return replace(self.here, rowmill=self.rowmill).send(embedded.contacts(ROWS, seed))

    def _times(self, uploads: Sequence[str]) -> list[Times]:
        until(lambda: self._left(uploads) == 0)
        (wrong,) = self.here.ledger(
            "SELECT count(*) FILTER (WHERE u.state <> 'completed' OR c.loaded <> %s) FROM rowmill.upload u"
            " JOIN rowmill.chunk c ON c.upload = u.number WHERE u.upload_id = ANY(%s)",
            ROWS,
            list(uploads),
        )[0]
        if wrong:
            raise RuntimeError(f"{wrong} of the user's files did not load whole")
        found = self.here.ledger(
            "SELECT extract(epoch FROM u.created_at - u.stored_at)::float, extract(epoch FROM u.split_at - u.stored_at)"
            "::float, extract(epoch FROM c.started_at - u.stored_at)::float,"
            " extract(epoch FROM u.finished_at - u.stored_at)::float"
            " FROM rowmill.upload u JOIN rowmill.chunk c ON c.upload = u.number WHERE u.upload_id = ANY(%s)",
            list(uploads),
        )
        return [Times(*one) for one in found]

    def _left(self, uploads: Sequence[str]) -> int:
        over = self.here.ledger(
            "SELECT count(*) FROM rowmill.upload WHERE upload_id = ANY(%s) AND finished_at IS NOT NULL", list(uploads)
        )
        return len(uploads) - int(over[0][0])


@contextmanager
def at_work(here: embedded.Embedded) -> Iterator[User]:
    """Such a user, new to the place."""
    with Rowmill(here.here.api_url or "") as rowmill:
        rowmill.signup(f"user-{secrets.token_hex(4)}", secrets.token_urlsafe(12))
        rowmill.put_dataset("contacts", embedded.CONTACTS)
        yield User(here, rowmill)


def until(is_so: Callable[[], bool], seconds: float = 180) -> None:
    """Look every 50 ms. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not over after {seconds:.0f} s")
        time.sleep(0.05)


def spread(times: Sequence[Times]) -> dict[str, float]:
    """Milliseconds: p50 and p95 to the end, and p95 of each step on the way, all since stored."""
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    told = {name: 1000 * quantile([one.over for one in times], share) for name, share in shares.items()}
    for step in ("taken", "split", "begun"):
        told[step] = 1000 * quantile([getattr(one, step) for one in times], 0.95)
    return told | {"files": len(times)}
