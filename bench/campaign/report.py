"""Results as lines, as a table, and as files that accumulate: one JSON document a seed and protocol version.

A version is the hash of everything that could change a result: the product's code and migrations, and this
campaign's own. Results of another version are never mixed with these.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.campaign.audit import INVARIANTS
from bench.campaign.drive import Result
from bench.campaign.scene import Scene, Seen

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / ".rowmill" / "reports" / "campaign"


def version(root: Path = ROOT) -> str:
    """The protocol version of a checkout."""
    digest = hashlib.sha256()
    for pattern in ("chalicelib/**/*.py", "app.py", "infra/migrations/*.sql", "bench/campaign/*.py"):
        for path in sorted(root.glob(pattern)):
            digest.update(f"\n{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Kept:
    """The results of one version."""

    folder: Path

    @classmethod
    def of_this_version(cls) -> Kept:
        return cls(REPORTS / version())

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

    def all(self) -> list[Result]:
        return [self.read(int(file.stem)) for file in sorted(self.folder.glob("*.json"), key=lambda f: int(f.stem))]

    def _file(self, seed: int) -> Path:
        return self.folder / f"{seed}.json"


def _told(seen: Seen) -> dict[str, object]:
    kept = ("ledger", "chunks", "rejects", "events", "item")
    return {"upload": repr(seen.sent.upload)} | {name: getattr(seen, name) for name in kept}


def all_versions() -> list[tuple[str, list[Result]]]:
    """Every version with results, the newest last."""
    folders = sorted((f for f in REPORTS.glob("*") if f.is_dir()), key=lambda folder: folder.stat().st_mtime)
    return [(folder.name, Kept(folder).all()) for folder in folders]


def line(result: Result) -> str:
    """A seed in one line: what hit of what was planned, each invariant, how long it took to recover."""
    planned, hit = Counter(result.planned), Counter(result.hits)
    missed = sorted(kind for kind in planned if not hit[kind])
    verdicts = " ".join(f"{name} {'FAILED' if result.problems[name] else 'ok'}" for name in INVARIANTS)
    struck = ", ".join(kind + (f" x{count}" if count > 1 else "") for kind, count in sorted(hit.items()))
    return (
        f"seed {result.seed}: {verdicts} | {result.chunks} chunks, {result.records} records,"
        f" recovered in {result.recovery} s, {result.seconds} s in all"
        f" | hit: {struck or 'nothing'}" + (f" | missed: {', '.join(missed)}" if missed else "")
    )


def problems(result: Result) -> Iterator[str]:
    """What is wrong, a line each."""
    for name, sentences in result.problems.items():
        for sentence in sentences:
            yield f"  seed {result.seed} {name} ({INVARIANTS[name]}): {sentence}"


def summary(results: Sequence[Result]) -> str:
    """The last line."""
    bad = [result.seed for result in results if not result.ok]
    hits = sum((Counter(result.hits) for result in results), Counter[str]())
    slowest = max((result.recovery for result in results), default=0.0)
    return (
        f"campaign: {len(results)} seeds, {len(results) - len(bad)} ok, {len(bad)} FAILED{f' {bad}' if bad else ''};"
        f" {sum(hits.values())} faults of {len(hits)} kinds hit; {sum(r.chunks for r in results)} chunks,"
        f" {sum(r.records for r in results)} records; slowest recovery {slowest} s,"
        f" at most {max((r.connections for r in results), default=0)} connections"
    )


def markdown(versions: Sequence[tuple[str, Sequence[Result]]]) -> str:
    """The accumulated results as a page."""
    return "\n\n".join(_page(name, results) for name, results in versions if results)


def _page(name: str, results: Sequence[Result]) -> str:
    hits = sum((Counter(result.hits) for result in results), Counter[str]())
    planned = sum((Counter(result.planned) for result in results), Counter[str]())
    rows = [f"| {kind} | {planned[kind]} | {hits[kind]} |" for kind in sorted(planned.keys() | hits.keys())]
    verdicts = [
        f"| {key} | {text} | {sum(bool(r.problems[key]) for r in results)} |" for key, text in INVARIANTS.items()
    ]
    return "\n".join(
        [
            f"## Protocol version {name}",
            "",
            summary(results),
            "",
            "| invariant | | seeds that broke it |",
            "|---|---|---|",
            *verdicts,
            "",
            "| fault | planned | hit |",
            "|---|---|---|",
            *rows,
        ]
    )
