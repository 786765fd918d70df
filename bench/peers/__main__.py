"""`python -m bench.peers`: rounds in turns, a table at the end; `.rowmill/reports/peers.json` keeps every run."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.peers import files, ours, results, table
from bench.peers.files import File
from bench.peers.ground import Failed, standing
from bench.peers.results import Case, Report, Run
from bench.peers.supplies import Absent
from bench.peers.systems import REFERENCE, SYSTEMS, System
from infra.local.database import SETTINGS
from infra.local.place import default_folder

FILES: Final = ("contacts", "bad", "flights", "small")
REFERENCES: Final = {"contacts": "contacts", "bad": "contacts", "flights": "flights"}
SMALL: Final = 1_000
QUICK: Final = 10  # what a quick run divides rows by


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        cases = _measure(arguments)
    except KeyboardInterrupt:
        print("interrupted: nothing was left running", file=sys.stderr)
        return 128 + signal.SIGINT
    kept = results.read(arguments.json).cases if arguments.add and arguments.json.exists() else []
    report = Report(results.this_machine(SETTINGS), results.merge(kept, cases))
    report.write(arguments.json)
    print("\n" + table.markdown(report))
    print(table.summary(report))
    return 0 if all(case.runs or case.is_absent for case in cases) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", type=_names(SYSTEMS), default=list(SYSTEMS), metavar="SYSTEM,…", help=", ".join(SYSTEMS)
    )
    parser.add_argument("--files", type=_names(FILES), default=list(FILES), metavar="FILE,…", help=", ".join(FILES))
    parser.add_argument("--rows", type=int, default=1_000_000, help="of contacts (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round, a tenth of the rows: a look, no figures")
    parser.add_argument("--add", action="store_true", help="keep what the report has of what is not measured now")
    parser.add_argument("--json", type=Path, default=default_folder() / "reports" / "peers.json", metavar="PATH")
    return parser


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return [name for name in known if name in names]

    return read


def _measure(arguments: argparse.Namespace) -> list[Case]:
    divisor, rounds = (QUICK, 1) if arguments.quick else (1, arguments.rounds)
    plan = list(_plan(arguments, divisor))
    cases = [Case(name, file.name, results.today()) for name, _, file in plan]
    with standing(default_folder().resolve() / "peers") as place, ours.account(place) as account:
        if any(name != REFERENCE for name, _, _ in plan):
            ours.warm_up(account, files.contacts(_cache(), ours.WARM_UP_ROWS))
        for number in range(1, rounds + 1):
            _round(number, account, plan, cases)
    return cases


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
    return files.contacts(_cache(), SMALL if name == "small" else rows, name)


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
        except (Failed, Absent) as failure:
            case.skipped = str(failure)
            print(f"{number}  {file.name:9} {name:12} {failure}", flush=True)
            continue
        if name == REFERENCE:
            references[file.name] = spent.seconds / file.rows
        reference = references.get(REFERENCES.get(file.name, ""))
        case.runs.append(Run(number, file.rows, spent.seconds, spent.client, spent.postgres, spent.others, reference))
        print(table.line(name, case), flush=True)


if __name__ == "__main__":
    sys.exit(main())
