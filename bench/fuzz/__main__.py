"""`python -m bench.fuzz [--minutes N] [--target NAME]… [INPUT…]`: fuzz the readers, guided by coverage.

Looks for anything but Refused, for inputs that take longer or more memory than their size is worth, and for broken
promises: chunks read as the whole, no cell lost or doubled, line numbers right. What is found is kept under
`.rowmill/fuzz/TARGET/found`; with one target and files, these inputs are tried again. Inputs that led somewhere new
are kept, so a later run goes on where this one ended. Needs atheris: `pip install -r requirements-bench.txt`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.fuzz import seeds
from bench.fuzz.child import TARGETS, target
from bench.publish import keep

FOLDER: Final = Path(".rowmill/fuzz")
SECONDS_OF_ONE: Final = 600  # by the clock, should the bounds of an input not hold; a busy machine is no finding
MEGABYTES: Final = 2048
_COVERAGE: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_STATISTIC: Final = re.compile(r"^stat::(\w+): +(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a target: inputs tried, places of the code and turns seen, inputs kept, what was found."""

    target: str
    seconds: int
    tried: int
    places: int
    turns: int
    kept: int
    new: int
    peak_mb: int
    found: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=6, help="shared out over the targets")
    parser.add_argument("--target", choices=TARGETS, action="append", help="one or more; all if left out")
    parser.add_argument("inputs", type=Path, nargs="*", help="with one target: try these again, in this process")
    arguments = parser.parse_args()
    names = arguments.target or list(TARGETS)
    if arguments.inputs:
        return _again(names, arguments.inputs)
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install -r requirements-bench.txt")
    runs = [_run(name, round(60 * arguments.minutes / len(names))) for name in names]
    keep("fuzz", [asdict(run) for run in runs])
    found = sum(len(run.found) for run in runs)
    print(f"fuzz: {sum(run.tried for run in runs):,} inputs in {sum(run.seconds for run in runs)} s, {found} findings")
    return 1 if found else 0


def _again(names: Sequence[str], inputs: Sequence[Path]) -> int:
    """Uncaught, so that the trace is shown."""
    if len(names) != 1:
        sys.exit("one --target for inputs")
    for path in inputs:
        target(names[0])(path.read_bytes())
        print(f"{path}: nothing found")
    return 0


def _run(name: str, seconds: int) -> Run:
    folder = FOLDER / name
    corpus, found = folder / "corpus", folder / "found"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    for seed in seeds.of(name):
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    (folder / "words").write_text(seeds.words())
    known = {*found.iterdir()}
    with (folder / "log").open("wb") as log:
        subprocess.run(_command(name, folder, seconds), stdout=log, stderr=log, check=False)
    run = _told(name, seconds, (folder / "log").read_text(errors="replace"), sorted({*found.iterdir()} - known))
    print(
        f"{name:9} {run.tried:>9,} inputs in {seconds} s, {run.places:,} places, {run.turns:,} turns, "
        f"{run.kept:,} inputs kept ({run.new:,} new), {run.peak_mb} MB, {len(run.found)} findings",
        flush=True,
    )
    for path in run.found:
        print(f"  {path}: see {folder / 'log'}; again: python -m bench.fuzz --target {name} {path}", flush=True)
    return run


def _command(name: str, folder: Path, seconds: int) -> list[str]:
    options = {
        "max_total_time": seconds,
        "timeout": SECONDS_OF_ONE,
        "report_slow_units": SECONDS_OF_ONE,
        "rss_limit_mb": MEGABYTES,
        "max_len": 2048 if name in ("reader", "cutter", "sniff") else 8192,
        "dict": folder / "words",
        "artifact_prefix": f"{folder / 'found'}/",
        "print_final_stats": 1,
    }
    flags = [f"-{option}={value}" for option, value in options.items()]
    return [sys.executable, "-m", "bench.fuzz.child", name, *flags, str(folder / "corpus")]


def _told(name: str, seconds: int, log: str, found: Sequence[Path]) -> Run:
    """The run by what libFuzzer says at its end."""
    places, turns, kept = map(int, (_COVERAGE.findall(log) or [(0, 0, 0)])[-1])
    said = {key: int(value) for key, value in _STATISTIC.findall(log)}
    tried, new = said.get("number_of_executed_units", 0), said.get("new_units_added", 0)
    paths = tuple(map(str, found)) or (() if "Done " in log else (f"{name} ended early",))
    return Run(name, seconds, tried, places, turns, kept, new, said.get("peak_rss_mb", 0), paths)


if __name__ == "__main__":
    sys.exit(main())
