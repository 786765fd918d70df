"""`python -m bench.peers`: rounds in turns, a table at the end; `.rowmill/reports/peers.json` keeps every run."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from rowmill_client import RowmillError

from bench.peers import chart, files, ours, results, table
from bench.peers.files import File
from bench.peers.ground import PATIENCE, Failed, standing
from bench.peers.results import Case, Report, Run
from bench.peers.supplies import Absent
from bench.peers.systems import REFERENCE, SYSTEMS, System
from bench.publish import publish
from infra.local.cloud import CHECKOUT
from infra.local.database import SETTINGS
from infra.local.place import default_folder

FILES: Final = ("contacts", "bad", "flights", "small")
REFERENCES: Final = {"contacts": "contacts", "bad": "contacts", "flights": "flights"}
PICTURE: Final = "docs/peers.png"
FAULTS: Final = (Failed, Absent, RowmillError, psycopg.Error, BotoCoreError, ClientError, OSError)
QUICK: Final = 10  # what a quick run divides rows by


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.publish and arguments.quick:
        parser.error("a quick run is no figure to publish")
    kept_in = arguments.json or default_folder() / "reports" / f"peers{'-quick' if arguments.quick else ''}.json"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        report = _measured(arguments, kept_in) if arguments.rounds else results.read(kept_in)
    except KeyboardInterrupt:
        print("interrupted: nothing was left running", file=sys.stderr)
        return 128 + signal.SIGINT
    print(f"\n{table.markdown(report)}\n")
    _draw(report, kept_in.with_suffix(".png"))
    if arguments.publish:
        _draw(report, CHECKOUT / PICTURE)
        publish("measured", table.page(report, PICTURE), CHECKOUT / "README.md")
    print(table.summary(report))
    return 0 if all(case.is_absent or not case.skipped for case in report.cases) else 1


def _measured(arguments: argparse.Namespace, kept_in: Path) -> Report:
    """Run the rounds; the report is written after each."""
    divisor, rounds, patience = (QUICK, 1, 1.0) if arguments.quick else (1, arguments.rounds, PATIENCE)
    plan = list(_plan(arguments, divisor))
    cases = [Case(name, file.name, results.today()) for name, _, file in plan]
    kept = results.read(kept_in).cases if arguments.add and kept_in.exists() else []
    with standing(default_folder().resolve() / "peers", patience=patience) as place, ours.account(place) as account:
        machine = results.this_machine(str(place.sql("SHOW server_version")[0][0]), SETTINGS)
        if any(name != REFERENCE for name, _, _ in plan):
            ours.warm_up(account, files.contacts(_cache(), ours.WARM_UP_ROWS))
        for number in range(1, rounds + 1):
            _round(number, account, plan, cases)
            report = Report(machine, results.merge(kept, cases))
            report.write(kept_in)
    return report


def _draw(report: Report, path: Path) -> None:
    try:
        chart.draw(report, path)
    except ImportError:
        print("no picture: matplotlib is not installed (pip install -r requirements-bench.txt)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    add = parser.add_argument
    add(
        "--rounds",
        type=int,
        default=3,
        help="of 2 to 5 minutes each (%(default)s); 0 only tells again what the report holds",
    )
    add("--only", type=_names(SYSTEMS), default=list(SYSTEMS), metavar="SYSTEM,…", help=", ".join(SYSTEMS))
    add(
        "--files",
        type=_names(FILES),
        default=list(FILES),
        metavar="FILE,…",
        help=f"{', '.join(FILES)}; bad is beside contacts",
    )
    add("--rows", type=int, default=1_000_000, help="of contacts (%(default)s); samples stay what they are")
    add("--quick", action="store_true", help="one round of a tenth of the rows: a look, no figures")
    add("--add", action="store_true", help="keep what the report has of all that is not measured now")
    add("--publish", action="store_true", help=f"put the table into README.md and the picture into {PICTURE}")
    add("--json", type=Path, metavar="PATH", help="the report (.rowmill/reports/peers.json)")
    return parser


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return [name for name in known if name in names]

    return read


def _plan(arguments: argparse.Namespace, divisor: int) -> Iterator[tuple[str, System, File]]:
    """What is run in a round, in order: of each file psql first, then Rowmill, so that the two are neighbours."""
    for name in arguments.files:
        for key in arguments.only:
            system = SYSTEMS[key]
            if name in system.files:
                yield key, system, _file(name, (system.rows or arguments.rows) // divisor)


def _file(name: str, rows: int) -> File:
    if name == "flights":
        return files.flights(_cache())
    return files.contacts(_cache(), ours.SMALL_ROWS if name == "small" else rows, name)


def _cache() -> Path:
    return (default_folder() / "cache").resolve()


def _round(number: int, account: ours.Account, plan: Sequence[tuple[str, System, File]], cases: Sequence[Case]) -> None:
    """Run everything once. What fails is not tried again, and says why in the table."""
    references: dict[str, float] = {}
    for (name, system, file), case in zip(plan, cases, strict=True):
        if case.skipped:
            continue
        try:
            spent = system.load(account, file)
        except FAULTS as failure:
            case.skipped = str(failure) or type(failure).__name__
            print(f"{number}  {file.name:9} {name:14} {failure}", flush=True)
            continue
        if name == REFERENCE:
            references[file.name] = spent.seconds / file.rows
        reference = references.get(REFERENCES.get(file.name, ""))
        case.runs.append(Run(number, file.rows, spent, reference))
        print(table.line(name, case), flush=True)


if __name__ == "__main__":
    sys.exit(main())
