"""`python -m bench.load --users 50` or `--whale`: many users at once, measured, audited, told as Markdown and JSON."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from bench.load import files, report, whale
from bench.load.run import Found, crowd
from infra.local.place import default_folder

RAMP_SECONDS: Final = 20.0  # as long as a user thinks on average, so that arrivals are even from then on
SECONDS: Final = 60.0


def main() -> int:
    """Exit code 0 if every row is there once, no upload failed and no request was answered by a 5xx."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return _whale(arguments) if arguments.whale else _many(arguments)
    except KeyboardInterrupt:
        print("interrupted: nothing was left running", file=sys.stderr)
        return 128 + signal.SIGINT


def _many(arguments: argparse.Namespace) -> int:
    """A report of the window is there as soon as it is over, or was broken off; the last one is audited."""
    users = arguments.users or 50
    pollers, polite = arguments.pollers, not arguments.impolite
    name = f"load-{users}" + (f"-{pollers}-{'polite' if polite else 'impolite'}" if pollers else "")
    with crowd(users, arguments.ramp, files.SIZES, pollers, polite=polite) as here:
        here.seen.reset()
        begin = time.time()
        try:
            time.sleep(arguments.seconds)
        finally:
            window, processor = (begin, time.time()), here.seen.processor()

            def tell(found: Found) -> dict[str, Any]:
                told = report.figures(found, window) | {"processor": processor, "users": users}
                told |= {"pollers": pollers, "polite": polite}
                return told | report.peaks(here.seen, here.bound)

            print(_write(tell(here.look()), name), "so far; everybody finishes what they are at", flush=True)
        told = tell(here.finish())
    return _tell(told, name, report.markdown(told))


def _whale(arguments: argparse.Namespace) -> int:
    users = arguments.users or 50
    with crowd(users, arguments.ramp, files.SMALL) as here:
        begin = time.time()
        time.sleep(arguments.seconds)
        sent = whale.send(here, arguments.rows)
        found = here.finish()
    told = whale.figures(found, begin, sent) | {"users": users} | report.peaks(here.seen, here.bound)
    return _tell(told, "load-whale", whale.markdown(told))


def _tell(told: dict[str, Any], name: str, page: str) -> int:
    _write(told, name)
    print(page)
    return 0 if report.is_good(told) else 1


def _write(told: dict[str, Any], name: str) -> Path:
    path = default_folder() / "reports" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2))
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--users", type=int, help="50, if it is not said")
    parser.add_argument(
        "--pollers", type=int, default=0, help="so many who only look at uploads, besides (%(default)s)"
    )
    parser.add_argument("--impolite", action="store_true", help="pollers that neither wait nor say what they have")
    parser.add_argument("--whale", action="store_true", help="one large file beside files of 100 and 1,000 rows")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the whale (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="measured, after the ramp (%(default)s)")
    parser.add_argument("--ramp", type=float, default=RAMP_SECONDS, help="until all users are there (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
