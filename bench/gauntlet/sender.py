"""Who sends such files: several at a time, the next one when it is told that one has ended, or as soon as it has."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rowmill_client import ApiError, Rowmill

from bench import embedded
from bench.gauntlet.cases import Case
from bench.gauntlet.user import until

WAIT_SECONDS: Final = 180.0
File = tuple[Case, Path]
Watch = Callable[[str], bool]  # whether an upload is over


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a hostile file; `seconds` from stored to its end, 0 if it was not taken."""

    name: str
    megabytes: float
    state: str
    code: str | None
    loaded: int
    rejected: int
    seconds: float
    is_right: bool


def send(rowmill: Rowmill, case: Case, path: Path, watch: Watch | None = None) -> Ended:
    """Send a file to its end. Asked for as the API wants it, once a second, or seen at once by `watch`."""
    size = path.stat().st_size / 1e6
    try:
        made = rowmill.create_upload(path, "contacts", {})
        rowmill.send_file(made, path)
    except ApiError as refused:
        return _told(Ended(case.name, size, "refused", refused.code, 0, 0, 0.0, refused.code == case.code))
    if watch:
        until(lambda: watch(made["id"]), WAIT_SECONDS)
    upload = rowmill.wait(made["id"], timeout=WAIT_SECONDS)
    state, code = upload["state"], upload["error"]["code"] if upload["error"] else None
    is_right = (state, code) == (case.state, case.code) and (not upload["loaded"] or state.startswith("completed"))
    took = upload["timings"]["stored_to_completed_s"] or 0.0
    return _told(Ended(case.name, size, state, code, upload["loaded"], upload["rejected"], took, is_right))


def _told(ended: Ended) -> Ended:
    if not ended.is_right:
        print(f"{ended.name}: {ended.state} {ended.code or ''}: NOT AS IT MUST", flush=True)
    return ended


@contextmanager
def at_work(here: embedded.Embedded, files: Sequence[File], at_once: int, *, floods: bool) -> Iterator[Sender]:
    """Somebody with an account, who begins when told to; who floods asks nobody whether a file has ended."""
    over = "SELECT 1 FROM rowmill.upload WHERE upload_id = %s AND finished_at IS NOT NULL"
    with Rowmill(here.here.api_url or "") as rowmill:
        rowmill.signup(f"harm-{secrets.token_hex(4)}", secrets.token_urlsafe(12))
        rowmill.put_dataset("contacts", embedded.CONTACTS)
        yield Sender(rowmill, files, at_once, (lambda one: bool(here.ledger(over, one))) if floods else None)


class Sender:
    """So many files under way at any time, in turn."""

    def __init__(self, rowmill: Rowmill, files: Sequence[File], at_once: int, watch: Watch | None) -> None:
        self._rowmill, self._at_once, self._watch = rowmill, at_once, watch
        self._next, self._lock = itertools.cycle(files), threading.Lock()
        self.ended: list[Ended] = []

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Go on sending for the length of a block; what is under way then still ends."""
        over = threading.Event()
        with ThreadPoolExecutor(self._at_once) as pool:
            senders = [pool.submit(self._send_until, over.is_set) for _ in range(self._at_once)]
            try:
                yield
            finally:
                over.set()
        for one in senders:
            one.result()

    def _send_until(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            with self._lock:
                case, path = next(self._next)
            self.ended.append(send(self._rowmill, case, path, self._watch))


def worst(ended: Sequence[Ended], files: Sequence[File]) -> list[Ended]:
    """One of each file: a wrong end if there was one, else the slowest."""
    order = {case.name: place for place, (case, _) in enumerate(files)}
    found: dict[str, Ended] = {}
    for one in ended:
        kept = found.get(one.name)
        if kept is None or (not one.is_right, one.seconds) > (not kept.is_right, kept.seconds):
            found[one.name] = one
    return sorted(found.values(), key=lambda one: order[one.name])
