"""Scores of the pipeline as they come, a line of JSON each, so that a long run can be done in pieces.

A folder a version: the hash of everything that could change a score. Scores of another version are never mixed in.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from bench.campaign.results import version
from bench.pollock.files import Way
from bench.pollock.scoring import Score
from infra.local.cloud import CHECKOUT

OWN = (*(f"bench/pollock/{name}.py" for name in ("files", "pipeline", "reader", "scoring")), "bench/reading.py")
REPORTS = Path(".rowmill", "reports", "pollock")


@dataclass(frozen=True, slots=True)
class Kept:
    """The scores of one version and way."""

    path: Path

    @classmethod
    def of_this_version(cls, way: Way) -> Kept:
        return cls(CHECKOUT / REPORTS / version(CHECKOUT, OWN) / f"{way}.jsonl")

    def all(self) -> dict[str, Score]:
        """By file. A line that a crash cut short is none."""
        lines = self.path.read_text().split("\n")[:-1] if self.path.exists() else []
        return {found["file"]: Score(**found) for found in map(json.loads, lines)}

    def keep(self, score: Score) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(score)) + "\n")
