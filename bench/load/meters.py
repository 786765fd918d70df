"""What the system uses while it works: connections, memory and processor time, by who uses it."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from bench import kernel
from infra.local.emulator import API_PROCESSES
from infra.local.processes import family
from infra.local.record import Instance

ELSE: Final = 4  # define twice, sweep, doctor
EVERY_SECONDS: Final = 1.0
_FUNCTION: Final = re.compile(r"ministack-lambda-rowmill-local-([a-z_]+)-")


@dataclass(slots=True)
class Seen:
    """Peaks since the meters were started, and processor time since `reset`."""

    connections: int = 0
    memory: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By role, the largest resident set that one process of it ever had, or since `kernel.forget_peaks`, in bytes."""
    memory_together: int = 0
    processes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    since: float = 0.0
    _first: dict[tuple[str, int], float] = field(default_factory=dict)
    _last: dict[tuple[str, int], float] = field(default_factory=dict)
    _machine: float = 0.0

    def reset(self) -> None:
        """Count processor time from here on."""
        self._first = dict(self._last)
        self.since, self._machine = time.time(), kernel.busy()

    def spent(self) -> dict[str, float]:
        """Processor seconds by role."""
        used: dict[str, float] = defaultdict(float)
        for key, seconds in self._last.items():
            used[key[0]] += seconds - self._first.get(key, 0.0)
        return used

    def at_work(self, least: float = 0.01) -> dict[str, int]:
        """By role, how many processes have used the processor for so long."""
        used = (
            role for (role, pid), seconds in self._last.items() if seconds - self._first.get((role, pid), 0) >= least
        )
        return Counter(used)

    def processor(self) -> dict[str, float]:
        """Cores in use on average, by role; `others` is what was not ours."""
        passed, used = time.time() - self.since, self.spent()
        used["others"] = max(0.0, kernel.busy() - self._machine - sum(used.values()))
        return {role: seconds / passed for role, seconds in sorted(used.items())}

    def note(self, processes: Mapping[int, str]) -> None:
        """Look at each process, by pid and role."""
        together, count = 0, defaultdict[str, int](int)
        for pid, role in processes.items():
            with contextlib.suppress(OSError, KeyError):  # it has just gone
                now, peak = kernel.memory(pid)
                self._last[role, pid] = kernel.spent(pid)
                self.memory[role] = max(self.memory[role], peak)
                together += now if role != "postgres" else 0
                count[role] += 1
        self.memory_together = max(self.memory_together, together)
        for role, number in count.items():
            self.processes[role] = max(self.processes[role], number)


@contextlib.contextmanager
def watching(here: Instance, generator: int) -> Iterator[Seen]:
    """Look every second for the length of a `with` block."""
    seen, over = Seen(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(here, generator, seen, over))
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _watch(here: Instance, generator: int, seen: Seen, over: threading.Event) -> None:
    """To the end of the block and once more then: what came in the last second counts, too."""
    ended = False
    while not ended:
        with contextlib.suppress(psycopg.OperationalError), _to(here) as connection:  # which may be restarted
            while not ended:
                ended = over.wait(EVERY_SECONDS)
                row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowmill'")
                seen.connections = max(seen.connections, *(count for (count,) in row))
                seen.note(roles(here) | {generator: "generator"})
        ended = ended or over.wait(EVERY_SECONDS)


def _to(here: Instance) -> psycopg.Connection[tuple[int]]:
    return psycopg.connect(here.database_url, autocommit=True)


def resident(here: Instance) -> dict[str, int]:
    """By role, the largest resident set that one process of it has now, in megabytes."""
    found: dict[str, int] = {}
    for pid, role in roles(here).items():
        with contextlib.suppress(OSError, KeyError):
            found[role] = max(found.get(role, 0), round(kernel.memory(pid)[0] / 1e6))
    return dict(sorted(found.items()))


def bound(functions: Any) -> int:
    """The connections that may be open at once: one a process that may run."""
    mappings = functions.list_event_source_mappings()["EventSourceMappings"]
    at_once = int(os.environ.get("ROWMILL_API_PROCESSES", API_PROCESSES))
    queues = sum(int(one["ScalingConfig"]["MaximumConcurrency"]) for one in mappings)
    return queues + at_once + ELSE


def roles(here: Instance) -> dict[int, str]:
    """What each process is, by pid: postgres, the emulator, or a function's name."""
    assert here.database is not None
    return {process.pid: "postgres" for process in family(here.database)} | cloud_roles(here)


def cloud_roles(here: Instance) -> dict[int, str]:
    """The same of the cloud's alone, in half the time."""
    assert here.cloud is not None
    roles = {}
    for process in family(here.cloud):
        with contextlib.suppress(OSError):
            found = _FUNCTION.search(Path(f"/proc/{process.pid}/cmdline").read_text())
            roles[process.pid] = found[1] if found else "emulator"
    return roles
