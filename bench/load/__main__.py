"""`python -m bench.load --users 50`, `--whale` or `--scenario L3`: many users at once, measured, audited, and told."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.load import faults, files, meters, report, whale
from bench.load.run import Found, crowd
from bench.load.scenarios import SCENARIOS, Scenario
from bench.publish import keep

MILLION: Final = 1_000_000


def main() -> int:
    """Exit code 0 if every row is there once, no upload failed and no request was answered by a 5xx."""
    arguments = _parser().parse_args()
    name, asked = _asked(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return _whale(name, asked) if asked.whale else _many(name, asked, polite=not arguments.impolite)
    except KeyboardInterrupt:
        print("interrupted: nothing was left running", file=sys.stderr)
        return 128 + signal.SIGINT


def _asked(arguments: argparse.Namespace) -> tuple[str, Scenario]:
    """The scenario and its name: one of SCENARIOS, or one that is put together; what is said besides is changed."""
    pollers, name = arguments.pollers or 0, arguments.scenario
    if name:
        scenario = SCENARIOS[name]
    elif arguments.whale:
        name, scenario = "whale", Scenario("a large file beside small ones", 50, sizes=files.SMALL, whale=MILLION)
    else:
        name, scenario = str(arguments.users or 50), Scenario("users at once", 50)
        name += f"-{pollers}-{'impolite' if arguments.impolite else 'polite'}" if pollers else ""
    said = {"users": arguments.users, "pollers": arguments.pollers, "whale": arguments.rows}
    said |= {"seconds": arguments.seconds, "ramp": arguments.ramp}
    return f"load-{name}", replace(scenario, **{field: value for field, value in said.items() if value is not None})


def _many(name: str, asked: Scenario, *, polite: bool) -> int:
    """A report of the window is there as soon as it is over, or was broken off; the last one is audited."""
    with crowd(asked, polite=polite) as here:
        here.seen.reset()
        begin, first, struck = time.time() - (asked.ramp if asked.once else 0), meters.resident(here.here), None
        try:
            if asked.faults:
                struck = faults.strike(here.here, asked.seconds)
            else:
                time.sleep(asked.seconds)
        finally:
            window, processor = (begin, time.time()), here.seen.processor()
            resident = {"begin": first, "end": meters.resident(here.here)} if asked.soaks else None

            def tell(found: Found) -> dict[str, Any]:
                told = report.figures(found, window) | {"processor": processor, "users": asked.users}
                told |= {"pollers": asked.pollers, "polite": polite, "what": asked.what, "resident_mb": resident}
                told |= {"faults": struck.figures(found.ended) if struck else None}
                return told | report.peaks(here.seen, here.bound)

            print(keep(name, tell(here.look())), "so far; everybody finishes what they are at", flush=True)
        told = tell(here.finish())
    return _tell(told, name, report.markdown(told))


def _whale(name: str, asked: Scenario) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whale.csv"
        points = whale.write(path, asked.whale)
        with crowd(asked) as here:
            begin = time.time()
            time.sleep(asked.seconds)
            sent = whale.send(here, path, asked.whale, points)
            found = here.finish()
    told = whale.figures(found, begin, sent) | {"users": asked.users} | report.peaks(here.seen, here.bound)
    return _tell(told, name, whale.markdown(told))


def _tell(told: dict[str, Any], name: str, page: str) -> int:
    keep(name, told)
    print(page)
    return 0 if report.is_good(told) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), help="as bench/load/scenarios.py has it")
    parser.add_argument("--users", type=int, help="50, if nothing says otherwise")
    parser.add_argument("--pollers", type=int, help="so many who only look at uploads, besides")
    parser.add_argument("--impolite", action="store_true", help="pollers that neither wait nor say what they have")
    parser.add_argument("--whale", action="store_true", help="one large file beside files of 100 and 1,000 rows")
    parser.add_argument("--rows", type=int, help="of the whale: a million, if nothing says otherwise")
    parser.add_argument("--seconds", type=float, help="measured, after the ramp: 60, if nothing says otherwise")
    parser.add_argument("--ramp", type=float, help="until all users are there: 20, if nothing says otherwise")
    return parser


if __name__ == "__main__":
    sys.exit(main())
