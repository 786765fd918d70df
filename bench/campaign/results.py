"""Results of seeds, as files that accumulate: one JSON document a seed and protocol version.

A version is the hash of everything that could change a result: the product's code and migrations, and this
campaign's own. Results of another version are never mixed with these.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.campaign.scene import Scene, Seen
from infra.local.cloud import CHECKOUT

REPORTS = Path(".rowmill", "reports", "campaign")


def version(root: Path, own: Sequence[str] = ("bench/campaign/*.py",)) -> str:
    """The protocol version of a checkout, `own` files of a benchmark among it."""
    digest = hashlib.sha256()
    for pattern in ("chalicelib/**/*.py", "app.py", "infra/migrations/*.sql", *own):
        for path in sorted(root.glob(pattern)):
            digest.update(f"\n{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(slots=True)
class Result:
    """What a seed came to. `problems` by invariant; `recovery` from the last hit to the last upload's end."""

    seed: int
    tenant: str
    planned: list[str]
    hits: dict[str, int] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    recovery: float = 0.0
    seconds: float = 0.0
    chunks: int = 0
    records: int = 0
    connections: int = 0
    states: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(self.problems.values())


@dataclass(frozen=True, slots=True)
class Kept:
    """The results of one version."""

    folder: Path

    @classmethod
    def of_this_version(cls) -> Kept:
        return cls.of_version_in(CHECKOUT)

    @classmethod
    def of_version_in(cls, root: Path) -> Kept:
        return cls(root / REPORTS / version(root))

    def has(self, seed: int) -> bool:
        return self._file(seed).exists()

    def read(self, seed: int) -> Result:
        return Result(**json.loads(self._file(seed).read_text()))

    def keep(self, result: Result) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "draft"
        draft.write_text(json.dumps(dataclasses.asdict(result), indent=1))
        draft.replace(self._file(result.seed))

    def keep_evidence(self, seed: int, scene: Scene, logs: Sequence[tuple[Path, int]]) -> Path:
        """What a red seed left: ledger, chunks and rows as JSON, and the logs from where the seed began."""
        folder = self.folder / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "uploads.json").write_text(json.dumps([_told(seen) for seen in scene.uploads], default=str, indent=1))
        tables = {
            shape: [[*row, *cells] for row, cells in sorted(table.items())] for shape, table in scene.tables.items()
        }
        (folder / "tables.json").write_text(json.dumps(tables, indent=0))
        for log, start in logs:
            (folder / log.name).write_bytes(log.read_bytes()[start:])
        for seen in scene.uploads:
            (folder / f"{seen.number}.csv").write_bytes(seen.sent.data)
        return folder

    def keep_mutant(self, name: str, outcome: Mapping[str, object]) -> None:
        """What a mutant came to: the seed that found it and what it broke."""
        folder = self.folder / "mutants"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(outcome, indent=1))

    def mutants(self) -> dict[str, dict[str, object]]:
        """By name."""
        return {file.stem: json.loads(file.read_text()) for file in sorted((self.folder / "mutants").glob("*.json"))}

    def all(self) -> list[Result]:
        return [self.read(int(file.stem)) for file in sorted(self.folder.glob("*.json"), key=lambda f: int(f.stem))]

    def _file(self, seed: int) -> Path:
        return self.folder / f"{seed}.json"


def _told(seen: Seen) -> dict[str, object]:
    """All that is known of an upload but its bytes, which are files of their own."""
    kept = {
        each.name: getattr(seen, each.name) for each in dataclasses.fields(seen) if each.name not in ("sent", "text")
    }
    return {"upload": repr(seen.sent.upload), "upload_id": seen.sent.upload_id, "parent": seen.sent.parent, **kept}
