"""What a run took: seconds, and whose processor time, read from /proc before and after."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench import kernel
from infra.local.processes import Process, family


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
        return cls(time.monotonic(), client, _of_family(postgres), kernel.busy(), times.user + times.system)


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


def load(seconds: float) -> float:
    """How many cores are busy, over so many seconds from now."""
    before = kernel.busy()
    time.sleep(seconds)
    return (kernel.busy() - before) / seconds


def _of_family(process: Process) -> float:
    """Read once more if somebody has come or gone meanwhile: who ends is counted by its parent from then on."""
    while True:
        members = family(process)
        spent = sum(kernel.spent_in_all(each.pid) for each in members)
        if members == family(process):
            return spent
