"""`python -m bench.pollock FOLDER [--pipeline]`: Pollock's two scores; FOLDER is a checkout of its repository.

Ways: told (the dialect declared, ragged rows rejected), padded (told, ragged rows fitted), detected (nothing told).
Without --pipeline our reader is run in process. With it every file is uploaded into an embedded cloud by one of eight
accounts and its rows are read back from Postgres; scores accumulate under .rowmill/reports, so that
`--minutes 2`, said again and again, goes on where the last run ended.
A change is a row that was loaded and is not among the rows of the clean file.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.pollock import pipeline, reader
from bench.pollock.files import WAYS, File, Way, polluted
from bench.pollock.kept import Kept
from bench.pollock.scoring import Normalise, Score, normaliser, score, simple, weighted


def main() -> int:
    arguments = _parser().parse_args()
    normalise = normaliser(arguments.folder)
    files = polluted(arguments.folder)[: arguments.files]
    for way in arguments.way or WAYS:
        if arguments.pipeline:
            scores = _through_the_pipeline(files, way, normalise, 60 * arguments.minutes)
        else:
            scores = [score(file, reader.outcome(file, way), normalise) for file in files]
        _report(way, scores, arguments.worst)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.pollock", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--way", choices=WAYS, action="append", help="one or more; all if left out")
    parser.add_argument("--pipeline", action="store_true", help="upload the files into an embedded cloud")
    parser.add_argument("--files", type=int, help="only the first so many")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of the pipeline: begin no file afterwards")
    parser.add_argument("--worst", type=int, default=12, help="how many of the files that cost most to list")
    return parser


def _through_the_pipeline(files: Sequence[File], way: Way, normalise: Normalise, seconds: float) -> list[Score]:
    """All scores there are, those of the files that there was time for among them."""
    kept = Kept.of_this_version(way)
    done = kept.all()
    todo = [file for file in files if file.name not in done]
    random.Random(way).shuffle(todo)  # so that a part of them holds every kind
    for file, outcome in pipeline.outcomes(todo, way, seconds) if todo else ():
        done[file.name] = score(file, outcome, normalise, as_in_process=outcome == reader.outcome(file, way))
        kept.keep(done[file.name])
    return [done[file.name] for file in files if file.name in done]


def _report(way: Way, scores: Sequence[Score], worst: int) -> None:
    changed = [each for each in scores if each.changes]
    print(
        f"{way:9} simple {simple(scores):.4f}  weighted {weighted(scores):.4f}"
        f"  files with changed rows {len(changed)} of {len(scores)}"
    )
    for each in sorted(scores, key=lambda each: (10 - each.points) * each.weight, reverse=True)[:worst]:
        if each.points < 10:
            print(f"  {each.points:7.4f}  weight {each.weight:8.2f}  rejects {each.rejects:3}  {each.file}")
    by_kind = Counter(_kind(each.file) for each in changed)
    print("  changed rows:", ", ".join(f"{kind} {count}" for kind, count in by_kind.most_common()) or "none")
    otherwise = [each.file for each in scores if not each.as_in_process]
    print("  otherwise than in process:", ", ".join(otherwise) or "none")


def _kind(file: str) -> str:
    """A file's name without its place, for files that are one pollution at 84 rows and 9 columns."""
    return "_".join(file.split("_")[:3]).rstrip("0123456789") if file.startswith("row_") else file


if __name__ == "__main__":
    sys.exit(main())
