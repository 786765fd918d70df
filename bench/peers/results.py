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

ABSENT: Final = "skipped: "


@dataclass(frozen=True, slots=True)
class Run:
    """One run: `rows` of the file were offered. `reference` is psql's seconds a row in the same round, if it ran."""

    round: int
    rows: int
    seconds: float
    client_cpu: float
    postgres_cpu: float
    others_cpu: float
    reference: float | None = None

    @property
    def ratio(self) -> float | None:
        """Time per row as a multiple of psql's."""
        return self.seconds / self.rows / self.reference if self.reference else None


@dataclass(slots=True)
class Case:
    """A system on a file; no runs and a reason if it could not be had."""

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

    def median(self, of: str) -> float:
        return float(statistics.median(getattr(run, of) for run in self.runs))

    def per_million(self, of: str) -> float:
        """The median of a kind of seconds, for a million rows."""
        return float(statistics.median(getattr(run, of) / run.rows * 1e6 for run in self.runs))

    def ratios(self) -> list[float]:
        return [run.ratio for run in self.runs if run.ratio is not None]


@dataclass(slots=True)
class Report:
    machine: dict[str, Any]
    cases: list[Case]

    def find(self, system: str, file: str) -> Case | None:
        return next((case for case in self.cases if case.key == (system, file)), None)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read(path: Path) -> Report:
    found = json.loads(path.read_text())
    cases = [Case(**{**case, "runs": [Run(**run) for run in case["runs"]]}) for case in found["cases"]]
    return Report(found["machine"], cases)


def merge(kept: Iterable[Case], new: Sequence[Case]) -> list[Case]:
    """Those kept that were not measured anew, and the new ones."""
    again = {case.key for case in new}
    return [*(case for case in kept if case.key not in again), *new]


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def this_machine(settings: dict[str, str]) -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgres": settings,
    }
