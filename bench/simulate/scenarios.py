"""Work that nobody has run on AWS: how long it would take, what it would cost, what would be short first.

A step is a deployment; each changes what the one before was short of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.simulate import limits
from bench.simulate.limits import LIMITS, Database
from bench.simulate.measure import Times
from bench.simulate.model import Played, Site, Upload, play
from chalicelib import prices

CHUNK_BYTES: Final = 4 << 20  # as the default policy has it
ADVICE: Final = {
    "split": "a file is scanned by one function, so give it memory; for many files raise its concurrency",
    "load_low": "raise MaximumConcurrency of load_low",
    "database": "a larger class of the database; more functions would only wait for it",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A deployment on AWS: concurrency of split and of the low tier, memory of both, and the database."""

    name: str
    low: int
    memory_mb: int
    database: Database
    split: int = 4


STEPS: Final = (
    Step("as deployed", 4, 512, limits.SMALL),
    Step("low tier 16", 16, 512, limits.SMALL),
    Step("low tier 16, 8 vCPUs of database", 16, 512, limits.MIDDLE),
    Step("low tier 32, a whole vCPU each", 32, 1_769, limits.MIDDLE),
    Step("low tier 64, 32 vCPUs of database", 64, 1_769, limits.LARGE, split=16),
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """So many users, each with a file of so many rows, at once."""

    name: str
    users: int
    rows: int

    def uploads(self, bytes_per_row: float) -> list[Upload]:
        """What arrives: everything in the first moment, each user a tenant."""
        rows, sizes = chunks(self.rows, bytes_per_row)
        return [Upload(0.0, user, "low", rows, sizes) for user in range(self.users)]


SCENARIOS: Final = (
    Scenario("1,000 users with 100,000 rows each", 1_000, 100_000),
    Scenario("one file of 1,000,000,000 rows", 1, 1_000_000_000),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A scenario on a deployment."""

    step: Step
    took: float
    median: float  # of the uploads
    usd: float
    rows: int
    short: str
    connections: int
    writes_per_s: float  # of a tenant's status items, in units

    @property
    def notes(self) -> Iterator[str]:
        """What to do, and limits that it comes near."""
        yield ADVICE.get(self.short, "nothing is short")
        if self.connections > 0.8 * self.step.database.connections:
            yield f"{self.connections} connections of {self.step.database.connections}"
        if self.step.low + self.step.split > 0.8 * LIMITS["concurrency"].value:
            yield "near the account's concurrency"
        if self.writes_per_s > 0.8 * LIMITS["write_units"].value:
            yield f"{self.writes_per_s:,.0f} units a second are written to one tenant's status items"


def chunks(rows: int, bytes_per_row: float) -> tuple[list[int], list[int]]:
    """Rows and bytes of the chunks of a file, of equal size and, above one, of even number."""
    count = math.ceil(rows * bytes_per_row / CHUNK_BYTES)
    count += count % 2 if count > 1 else 0
    each, more = divmod(rows, count)
    sizes = [each + (n < more) for n in range(count)]
    return sizes, [round(size * bytes_per_row) for size in sizes]


def aws(times: Times, step: Step, bytes_per_row: float) -> Site:
    """A deployment on AWS by the processor times that were measured here.

    A function of less than 1,769 MB has that share of a vCPU; a second one would not help one thread.
    """
    share = min(1.0, step.memory_mb / LIMITS["mb_per_vcpu"].value)
    return Site(
        split_workers=step.split,
        load_workers={"high": 8, "medium": 6, "low": step.low},
        cores=step.database.vcpus,
        event=limits.EVENT_S,
        plan=times.cpu_split_upload / share,
        split_bytes_per_s=1 / (times.cpu_split_row / bytes_per_row / share + 1 / limits.BYTES_PER_S),
        dispatch=limits.DISPATCH_S,
        finish=limits.DISPATCH_S,
        gap=limits.DISPATCH_S,
        own_chunk=times.cpu_load_chunk / share + limits.COMMIT_S,
        own_row=times.cpu_load_row / share + bytes_per_row / limits.BYTES_PER_S,
        shared_chunk=times.cpu_database_chunk,
        shared_row=times.cpu_database_row,
        variation=times.variation,
        cold=limits.COLD_S,
    )


def outcomes(measured: Mapping[str, Any], scenario: Scenario) -> list[Outcome]:
    """The scenario on every deployment of the ladder."""
    times, per_row = Times(**measured["times"]), bytes_per_row(measured)
    uploads = scenario.uploads(per_row)
    return [_outcome(step, uploads, play(aws(times, step, per_row), uploads)) for step in STEPS]


def bytes_per_row(measured: Mapping[str, Any]) -> float:
    """Of the files that were measured."""
    told = [one for run in measured["runs"].values() for one in run["uploads"]]
    return float(sum(sum(one["bytes"]) for one in told) / sum(sum(one["rows"]) for one in told))


def _outcome(step: Step, uploads: Sequence[Upload], played: Played) -> Outcome:
    n = sum(len(upload.rows) for upload in uploads)
    shown = min(n, 2 * played.took * len(uploads)) + len(uploads)
    ordered = sorted(played.ended)
    return Outcome(
        step=step,
        took=played.took,
        median=ordered[len(ordered) // 2],
        usd=_usd(step, uploads, played),
        rows=sum(sum(upload.rows) for upload in uploads),
        short=_short(played),
        connections=played.most_loading + step.split + 60,  # and the others' at their most: see the README
        writes_per_s=prices.STATUS_UNITS * shown / played.took / len({upload.tenant for upload in uploads}),
    )


def _short(played: Played) -> str:
    """What was at its limit for most of the time. Workers that wait for the database are at theirs, too."""
    if played.used["split"] >= 0.9:
        return "split"
    if played.used["database"] >= 0.5:
        return "database"
    return max(played.used, key=played.used.__getitem__)


def _usd(step: Step, uploads: Sequence[Upload], played: Played) -> float:
    """By the status' own formulas, for the mean upload."""
    users, of_all = len(uploads), sum(len(upload.rows) for upload in uploads)
    stored = sum(sum(upload.bytes) for upload in uploads) // users
    work = prices.Work(
        passes=1,
        chunks=of_all // users,
        attempts=of_all // users,
        split_s=played.split_s / users,
        load_s=played.load_s / users,
        settle_s=0.0,
        settlings=0,
        stored=stored,
        pieced=0,
        read=2 * stored,
        lasted_s=played.took,
    )
    return users * prices.usd(work, {"split": step.memory_mb, "load": step.memory_mb, "settle": 256})
