"""The model: uploads go through the splitter's queue, their chunks through their tier's, and all share one database.

Discrete events on one heap. A database, or a machine that plays the whole cloud, is shared evenly by whatever is at
work on it; a function is its own. Queues are first come, first served, or take tenants in turn, as SQS does for
messages of groups. What fails, contested rows and the status' writes are not played.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, count
from typing import Final

from bench.simulate.limits import LIMITS

_GROWING_S: Final = 1.0  # how often a mapping may take more workers


@dataclass(frozen=True, slots=True)
class Upload:
    """What arrives: when, whose, in which tier, and its chunks."""

    at: float
    tenant: int
    tier: str
    rows: Sequence[int]
    bytes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Site:
    """A deployment. Seconds of a chunk are `…_chunk` + rows x `…_row`, in its function alone and on what all share."""

    split_workers: int
    load_workers: Mapping[str, int]
    cores: float  # of the database, or of the machine
    event: float
    plan: float
    split_bytes_per_s: float
    dispatch: float
    finish: float
    gap: float
    own_chunk: float
    own_row: float
    shared_chunk: float
    shared_row: float
    variation: float
    cold: float = 0.0
    in_turn: bool = True
    shared_plan: float = 0.0  # of `plan`'s kind, but on what all share
    shared_admit: float = 0.0  # of admitting an upload, which waits for nothing


@dataclass(slots=True)
class Played:
    """What came of it. Seconds at work are of workers."""

    ended: list[float]
    split_s: float = 0.0
    load_s: float = 0.0
    most_loading: int = 0
    used: dict[str, float] = field(default_factory=dict)  # share of the time that each resource was at its limit

    @property
    def took(self) -> float:
        """Until the last upload was over."""
        return max(self.ended)


class Clock:
    """Moments in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = count()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._tie), do))

    def run(self) -> None:
        while self._due:
            self.now, _, do = heapq.heappop(self._due)
            do()


class Cores:
    """Processors that jobs share evenly, none using more than one. Work is counted on a clock that runs slower."""

    def __init__(self, clock: Clock, cores: float) -> None:
        self._clock, self._cores = clock, cores
        self._served, self._since, self._version = 0.0, 0.0, 0
        self._jobs: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = count()
        self.worked = 0.0
        self.full = 0.0

    def work(self, seconds: float, then: Callable[[], None]) -> None:
        self._advance()
        heapq.heappush(self._jobs, (self._served + seconds, next(self._tie), then))
        self._plan()

    def _advance(self) -> None:
        passed, jobs = self._clock.now - self._since, len(self._jobs)
        self._served += passed * self._rate()
        self.worked += passed * min(jobs, self._cores)
        self.full += passed * (jobs >= self._cores)
        self._since = self._clock.now

    def _rate(self) -> float:
        return min(1.0, self._cores / len(self._jobs)) if self._jobs else 0.0

    def _plan(self) -> None:
        self._version += 1
        if self._jobs:
            left = max(0.0, self._jobs[0][0] - self._served) / self._rate()
            self._clock.after(left, partial(self._finish, self._version))

    def _finish(self, version: int) -> None:
        if version == self._version:
            self._advance()
            _, _, then = heapq.heappop(self._jobs)
            self._plan()
            then()


class Workers:
    """A queue and the functions behind it, as many as its mapping lets run by now."""

    def __init__(self, clock: Clock, most: int, *, in_turn: bool, cold: float, dispatch: float) -> None:
        self._clock, self._most, self._in_turn = clock, most, in_turn
        self._cold, self._dispatch = cold, dispatch
        self._waiting: dict[int, deque[Callable[[float], None]]] = {}
        self._busy, self._warm = 0, 0
        self._active_since = math.inf
        self._growing = False
        self._since = 0.0
        self.busy_s, self.full, self.peak = 0.0, 0.0, 0

    def offer(self, tenant: int, job: Callable[[float], None]) -> None:
        """Have a job done, as `job(seconds until it begins)`; it says `done` when its worker is free."""
        key = tenant if self._in_turn else 0
        self._waiting.setdefault(key, deque()).append(job)
        self._active_since = min(self._active_since, self._clock.now)
        self._start(self._dispatch)
        if self._waiting and not self._growing:
            self._growing = True
            self._clock.after(_GROWING_S, self._grow)

    def done(self) -> None:
        self._count()
        self._busy -= 1
        self._start(0.0)  # what passes between two messages has passed

    def _grow(self) -> None:
        self._start(self._dispatch)
        self._growing = bool(self._waiting) and self._allowed() < self._most
        if self._growing:
            self._clock.after(_GROWING_S, self._grow)

    def _allowed(self) -> int:
        active = self._clock.now - self._active_since
        first, more = LIMITS["pollers_first"].value, LIMITS["pollers_per_minute"].value / 60
        return min(self._most, int(first + more * active))

    def _start(self, lead: float) -> None:
        self._count()
        while self._waiting and self._busy < self._allowed():
            tenant = next(iter(self._waiting))
            jobs = self._waiting.pop(tenant)
            job = jobs.popleft()
            if jobs:
                self._waiting[tenant] = jobs  # behind all others
            self._busy += 1
            is_cold = self._busy > self._warm
            self._warm = max(self._warm, self._busy)
            self.peak = max(self.peak, self._busy)
            job(lead + self._cold if is_cold else lead)

    def _count(self) -> None:
        passed = self._clock.now - self._since
        self.busy_s += passed * self._busy
        self.full += passed * (self._busy >= self._most)
        self._since = self._clock.now


class _Play:
    def __init__(self, site: Site, uploads: Sequence[Upload], seed: int) -> None:
        self.site, self.uploads = site, uploads
        self.clock = Clock()
        self.chance = random.Random(seed)
        self.database = Cores(self.clock, site.cores)
        make = partial(Workers, self.clock, in_turn=site.in_turn, cold=site.cold)
        self.split = make(site.split_workers, dispatch=0.0)
        self.load = {tier: make(most, dispatch=site.dispatch) for tier, most in site.load_workers.items()}
        self.left = [len(upload.rows) + 1 for upload in uploads]  # its chunks, and the scan
        self.ended = [math.nan] * len(uploads)
        self.longest_scan = 0.0  # one function reads a file, however many there are

    def run(self) -> Played:
        for n, upload in enumerate(self.uploads):
            self.clock.after(upload.at + self.site.event, partial(self._arrive, n, upload))
        self.clock.run()
        took = max(*self.ended, 1e-9)
        used = {"split": max(self.split.full, self.longest_scan) / took, "database": self.database.full / took}
        used |= {f"load_{tier}": workers.full / took for tier, workers in self.load.items()}
        loading = list(self.load.values())
        return Played(
            self.ended,
            split_s=self.split.busy_s,
            load_s=sum(workers.busy_s for workers in loading),
            most_loading=sum(workers.peak for workers in loading),
            used=used,
        )

    def _arrive(self, n: int, upload: Upload) -> None:
        def begin(lead: float) -> None:
            self.clock.after(lead, lambda: self.database.work(self.site.shared_plan, partial(self._scan, n, upload)))

        self.database.work(self.site.shared_admit, lambda: None)
        self.split.offer(upload.tenant, begin)

    def _scan(self, n: int, upload: Upload) -> None:
        """Chunks go out as their last bytes are read."""
        read = [self.site.plan + size / self.site.split_bytes_per_s for size in accumulate(upload.bytes)]
        self.longest_scan = max(self.longest_scan, *read, 0.0)
        for place, moment in enumerate(read):
            self.clock.after(moment, partial(self._queue, n, upload, place))
        self.clock.after(read[-1] if read else self.site.plan, partial(self._scanned, n))

    def _scanned(self, n: int) -> None:
        self._less(n)
        self.clock.after(self.site.gap, self.split.done)

    def _queue(self, n: int, upload: Upload, place: int) -> None:
        workers = self.load[upload.tier]

        def begin(lead: float) -> None:
            site, rows, noise = self.site, upload.rows[place], self._noise()
            own = lead + (site.own_chunk + rows * site.own_row) * noise
            shared = (site.shared_chunk + rows * site.shared_row) * noise
            self.clock.after(own, lambda: self.database.work(shared, end))

        def end() -> None:
            self._less(n)
            self.clock.after(self.site.gap, workers.done)

        workers.offer(upload.tenant, begin)

    def _less(self, n: int) -> None:
        self.left[n] -= 1
        if not self.left[n]:
            self.ended[n] = self.clock.now + self.site.finish

    def _noise(self) -> float:
        """About one, log-normal."""
        spread = math.sqrt(math.log1p(self.site.variation**2))
        return self.chance.lognormvariate(-(spread**2) / 2, spread)


def play(site: Site, uploads: Sequence[Upload], seed: int = 1) -> Played:
    """Let the uploads go through the site. The same seed gives the same."""
    return _Play(site, uploads, seed).run()
