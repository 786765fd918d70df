"""`python -m bench.pollock FOLDER`: our reader over Pollock's files (Vitagliano et al., VLDB 2023), by its two scores.

FOLDER is a checkout of HPI-Information-Systems/Pollock. A file scores up to ten points: one for being read, three each
for header, records and cells (precision, recall, F1 of multisets of normalised texts); the simple score is the mean,
the weighted one follows how often the survey met such a file. Cells are normalised by the checkout's own code, so
python-dateutil and price-parser must be installed; without them texts are compared as they are, which scores lower.

Ways: told (the dialect declared, ragged rows rejected), padded (told, ragged rows fitted), detected (nothing told).
A change is a row that was loaded and is not among the rows of the clean file.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from bench.reading import read
from chalicelib.errors import Refused

WAYS: Final = ("told", "padded", "detected")
Rows = Sequence[Sequence[str]]
Normalise = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Score:
    """What one file was worth: points of ten, loaded rows that the clean file has not, records rejected."""

    file: str
    points: float
    changes: int
    rejects: int
    weight: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pollock", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--way", choices=WAYS, action="append", help="one or more; all if left out")
    parser.add_argument("--worst", type=int, default=12, help="how many of the files that cost most to list")
    arguments = parser.parse_args()
    normalise = _normalise(arguments.folder)
    for way in arguments.way or WAYS:
        _report(way, _scores(arguments.folder, way, normalise), arguments.worst)
    return 0


def _report(way: str, scores: Sequence[Score], worst: int) -> None:
    simple = sum(score.points for score in scores) / len(scores)
    weights = sum(score.weight for score in scores)
    weighted = sum(score.points * score.weight for score in scores) / weights
    changed = [score for score in scores if score.changes]
    print(
        f"{way:9} simple {simple:.4f}  weighted {weighted:.4f}  files with changed rows {len(changed)} of {len(scores)}"
    )
    for score in sorted(scores, key=lambda score: (10 - score.points) * score.weight, reverse=True)[:worst]:
        if score.points < 10:
            print(f"  {score.points:7.4f}  weight {score.weight:8.2f}  rejects {score.rejects:3}  {score.file}")
    by_kind = Counter(_kind(score.file) for score in changed)
    print("  changed rows:", ", ".join(f"{kind} {count}" for kind, count in by_kind.most_common()) or "none")


def _kind(file: str) -> str:
    """A file's name without its place, for files that are one pollution at 84 rows and 9 columns."""
    return "_".join(file.split("_")[:3]).rstrip("0123456789") if file.startswith("row_") else file


def _scores(folder: Path, way: str, normalise: Normalise) -> list[Score]:
    files = sorted((folder / "polluted_files" / "csv").glob("*.csv"))
    weights = json.loads((folder / "pollock_weights.json").read_text())
    return [_score(file, way, normalise, weights.get(file.name, 0)) for file in files]


def _score(file: Path, way: str, normalise: Normalise, weight: float) -> Score:
    parameters = json.loads((file.parents[1] / "parameters" / f"{file.name}_parameters.json").read_text())
    clean = _by_csv((file.parents[1] / "clean" / file.name).read_bytes())
    try:
        loaded, rejects = _load(file.read_bytes(), parameters, way)
    except Refused as refused:
        # An empty file is refused with nothing to load from it, which is all there is to do with it.
        return Score(file.name, 10.0 if not clean and refused.code == "file_empty" else 0.0, 0, 0, weight)
    points = _points(clean, loaded, normalise)
    changes = (Counter(map(tuple, loaded[1:])) - Counter(map(tuple, clean))).total()
    return Score(file.name, points, changes, rejects, weight)


def _load(data: bytes, parameters: Mapping[str, Any], way: str) -> tuple[Rows, int]:
    if not data:
        raise Refused("file_empty", "The file has no bytes, not even a header.")  # as the splitter has it
    if way == "detected":
        table = read(data, {})
        return [*([table.names] if table.dialect.header else []), *table.rows], len(table.rejects)
    names = [name.strip() for name in parameters["column_names"]]
    table = read(data, _declared(parameters, way), width=parameters["n_columns"])
    return [*([names] if names else []), *table.rows], len(table.rejects)


def _declared(parameters: Mapping[str, Any], way: str) -> dict[str, Any]:
    """The dialect as Pollock tells it to each system: header lines are skipped, names come from elsewhere."""
    quote, escape = parameters["quotechar"] or '"', parameters["escapechar"]
    return {
        "delimiter": parameters["delimiter"] or ",",
        "quote": quote,
        "escape": escape if escape and escape != quote else None,
        "comment": None,
        "header": False,
        "skip_lines": int(parameters["preamble_lines"]) + int(parameters["header_lines"]),
        "ragged": "pad" if way == "padded" else "strict",
        "encoding": "utf-8",
    }


def _by_csv(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))


def _points(clean: Rows, loaded: Rows, normalise: Normalise) -> float:
    if not clean:
        return 10.0
    header = _overlap(map(normalise, clean[0]), map(normalise, loaded[0] if loaded else []))
    records = _overlap(_joined(clean[1:], normalise), _joined(loaded[1:], normalise))
    cells = _overlap((cell for row in clean for cell in row), (cell for row in loaded for cell in row))
    return 1 + header + records + cells


def _joined(rows: Rows, normalise: Normalise) -> list[str]:
    return ["".join(map(normalise, row)) for row in rows]


def _overlap(wanted: Iterable[str], got: Iterable[str]) -> float:
    """Precision, recall and F1 of two multisets, added up."""
    left, right = Counter(wanted), Counter(got)
    common = (left & right).total()
    if not left:
        return 3.0
    if not common:
        return 0.0
    one, other = common / left.total(), common / right.total()
    return one + other + 2 * one * other / (one + other)


def _normalise(folder: Path) -> Normalise:
    sys.path.insert(0, str(folder))
    try:
        normalise: Normalise = import_module("pollock.data_types").normalize_cell
    except ImportError as error:
        print(f"texts are compared as they are, for want of {error.name}")
        return str
    return cache(normalise)


if __name__ == "__main__":
    sys.exit(main())
