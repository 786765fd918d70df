"""What each process grows to: its largest resident set since it was last asked to forget that."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

from bench import kernel
from bench.load import meters
from infra.local.record import Instance

BOUNDS_MB: Final = {"load": 200, "split": 150, "settle": 150}
EVERY_SECONDS: Final = 0.25

Peaks = dict[str, int]  # by function, the three that load as one: bytes


@contextlib.contextmanager
def peaks(here: Instance) -> Iterator[Peaks]:
    """Fill in what any process of each function grew to in the block; complete when it is left."""
    kernel.forget_peaks(workers(here))
    found: Peaks = {}
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(here, found, over))
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def workers(here: Instance) -> dict[int, str]:
    """The processes of functions, by pid."""
    return {pid: role.partition("_")[0] for pid, role in meters.cloud_roles(here).items() if role != "emulator"}


def _watch(here: Instance, found: Peaks, over: threading.Event) -> None:
    """Look again and again, as a process that is killed takes its peak along."""
    while True:
        last = over.wait(EVERY_SECONDS)
        for pid, role in workers(here).items():
            with contextlib.suppress(OSError, KeyError):
                found[role] = max(found.get(role, 0), kernel.memory(pid)[1])
        if last:
            return


def too_large(found: Peaks) -> list[str]:
    """The functions that took more than they may."""
    return [role for role, most in BOUNDS_MB.items() if found.get(role, 0) > most * 1_000_000]
