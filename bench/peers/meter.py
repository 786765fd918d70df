"""What a run took: seconds, and whose processor time, read from /proc before and after."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.processes import PROC, Process, family

_TICK: Final = os.sysconf("SC_CLK_TCK")
_IDLE: Final = (3, 4)  # fields of /proc/stat that are not work: idle and waiting for the disk


@dataclass(slots=True)
class Spent:
    """`others` is what neither of the two nor this process used: neighbours, and so noise.

    `watched` is how long the processors were looked at; a system that tells its own time may put less into `seconds`.
    `sending` is what came before: a file on its way to where the work begins. `usd` is what a million rows would cost
    on AWS, of a system that says so.
    """

    seconds: float = 0
    watched: float = 0
    client: float = 0
    postgres: float = 0
    others: float = 0
    sending: float = 0
    usd: float = 0


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    client: float
    postgres: float
    machine: float
    own: float

    @classmethod
    def take(cls, clients: Iterable[Process], postgres: Process) -> _Reading:
        times = os.times()
        ended = times.children_user + times.children_system  # those of our children that are gone
        client = sum(_of_family(each) for each in clients) + ended
        return cls(time.monotonic(), client, _of_family(postgres), machine(), times.user + times.system)


@contextmanager
def measured(postgres: Process, clients: Sequence[Process] = ()) -> Iterator[Spent]:
    """Fill in what the block took. Clients are those that live on after it; children that end in it count too."""
    spent = Spent()
    before = _Reading.take(clients, postgres)
    yield spent
    after = _Reading.take(clients, postgres)
    spent.seconds = spent.watched = after.at - before.at
    spent.client = after.client - before.client
    spent.postgres = after.postgres - before.postgres
    own = after.own - before.own
    spent.others = max(0.0, after.machine - before.machine - spent.client - spent.postgres - own)


def machine() -> float:
    """Processor seconds of the whole machine since it booted."""
    fields = (PROC / "stat").read_text().splitlines()[0].split()[1:9]
    return sum(int(field) for place, field in enumerate(fields) if place not in _IDLE) / _TICK


def load(seconds: float) -> float:
    """How many cores are busy, over so many seconds from now."""
    before = machine()
    time.sleep(seconds)
    return (machine() - before) / seconds


def _of_family(process: Process) -> float:
    return sum(_of_one(each.pid) for each in family(process))


def _of_one(pid: int) -> float:
    """Fields 14 to 17 of proc(5) stat: its own time, and that of its children which it has seen end."""
    try:
        fields = Path(PROC, str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICK
