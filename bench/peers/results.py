"""What was measured, as it is kept: runs of a system on a file, beside psql's run of the same round."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.peers.meter import Spent

ABSENT: Final = "skipped: "


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `rows` of the file were offered. `reference` is psql's seconds a row in the same round, if it ran."""

    round: int
    rows: int
    spent: Spent
    reference: float | None = None

    @property
    def ratio(self) -> float | None:
        """Time per row as a multiple of psql's."""
        return self.spent.seconds / self.rows / self.reference if self.reference else None


@dataclass(slots=True)
class Case:
    """A system on a file, and why there are no runs, or no more of them."""

    system: str
    file: str
    date: str
    runs: list[Run] = field(default_factory=list)
    skipped: str = ""

    @property
    def is_absent(self) -> bool:
        """Whether it could not be had, rather than failed."""
        return self.skipped.startswith(ABSENT)

    @property
    def key(self) -> tuple[str, str]:
        return self.system, self.file

    @property
    def rows(self) -> int:
        return self.runs[0].rows if self.runs else 0

    @property
    def seconds(self) -> list[float]:
        return [run.spent.seconds for run in self.runs]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios())

    def ratios(self) -> list[float]:
        return [run.ratio for run in self.runs if run.ratio is not None]

    def cpu_per_million(self) -> tuple[float, float]:
        """Seconds of processor time for a million rows: the client's and Postgres's medians."""
        client = statistics.median(run.spent.client / run.rows for run in self.runs)
        return client * 1e6, statistics.median(run.spent.postgres / run.rows for run in self.runs) * 1e6


@dataclass(slots=True)
class Report:
    """All of it. Cases may be of different days: each says its own."""

    machine: dict[str, Any]
    cases: list[Case]

    def find(self, system: str, file: str) -> Case | None:
        return next((case for case in self.cases if case.key == (system, file)), None)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @property
    def described(self) -> str:
        """Where and when."""
        dates = sorted({case.date for case in self.cases if case.runs})
        when = " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "never"
        return (
            "{processor}, {cores} cores, {memory_gib} GiB, {system}, PostgreSQL {postgres}, ".format(**self.machine)
            + when
        )

    def noise(self) -> str:
        """How far the reference itself swung, and how much the neighbours took at worst."""
        psql = [case for case in self.cases if case.system == "psql" and len(case.runs) > 1]
        swings = [f"{min(case.seconds):.2f} to {max(case.seconds):.2f} s ({case.file})" for case in psql]
        stolen = max((run.spent.others / run.spent.watched for case in self.cases for run in case.runs), default=0)
        return f"psql's own runs: {', '.join(swings) or 'one'}; other processes took at most {stolen:.2f} cores"


def spread(figures: Sequence[float], places: int = 2) -> str:
    """The median, and from where to where if there are several."""
    told = f"{statistics.median(figures):,.{places}f}"
    return f"{told} ({min(figures):,.{places}f}–{max(figures):,.{places}f})" if len(figures) > 1 else told


def read(path: Path) -> Report:
    found = json.loads(path.read_text())
    return Report(
        found["machine"], [Case(**{**case, "runs": list(map(_run, case["runs"]))}) for case in found["cases"]]
    )


def _run(kept: dict[str, Any]) -> Run:
    return Run(**{**kept, "spent": Spent(**kept["spent"])})


def merge(kept: Iterable[Case], new: Sequence[Case]) -> list[Case]:
    """Those kept that were not measured anew, and the new ones."""
    again = {case.key for case in new}
    return [*(case for case in kept if case.key not in again), *new]


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def this_machine(postgres: str, settings: dict[str, str]) -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "postgres": postgres,
        "settings": settings,
    }
