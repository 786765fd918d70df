"""Pollock's score of one file, and the two of all.

A file scores up to ten points: one for being read, three each for header, records and cells (precision, recall, F1 of
multisets of normalised texts); the simple score is the mean, the weighted one follows how often the survey met such a
file. Cells are normalised by the checkout's own code, which wants python-dateutil and price-parser; without them texts
are compared as they are, which scores lower.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from bench.pollock.files import File, Outcome, Rows

Normalise = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Score:
    """What one file was worth: points of ten, loaded rows that the clean file has not, records rejected."""

    file: str
    points: float
    changes: int
    rejects: int
    weight: float
    refused: str = ""
    as_in_process: bool = True


def score(file: File, outcome: Outcome, normalise: Normalise, *, as_in_process: bool = True) -> Score:
    """The points of what became of a file."""
    if outcome.refused:
        # An empty file is refused with nothing to load from it, which is all there is to do with it.
        points = 10.0 if not file.clean and outcome.refused == "file_empty" else 0.0
        return Score(file.name, points, 0, 0, file.weight, outcome.refused, as_in_process)
    loaded = [*([outcome.header] if outcome.header else []), *outcome.rows]
    changes = (Counter(map(tuple, loaded[1:])) - Counter(map(tuple, file.clean))).total()
    points = _points(file.clean, loaded, normalise)
    return Score(file.name, points, changes, len(outcome.rejects), file.weight, as_in_process=as_in_process)


def simple(scores: Sequence[Score]) -> float:
    """The mean of the points."""
    return sum(score.points for score in scores) / len(scores)


def weighted(scores: Sequence[Score]) -> float:
    """The mean by how often such files are met."""
    return sum(score.points * score.weight for score in scores) / sum(score.weight for score in scores)


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


def normaliser(folder: Path) -> Normalise:
    """How Pollock compares cells."""
    sys.path.insert(0, str(folder))
    try:
        normalise: Normalise = import_module("pollock.data_types").normalize_cell
    except ImportError as error:
        print(f"texts are compared as they are, for want of {error.name}")
        return str
    return cache(normalise)
