"""`python -m bench.scale`: the page, and `.rowmill/reports/scale.json` with every run."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import asdict

from bench import scale
from bench.peers import files
from bench.publish import keep, publish
from bench.scale import page, runs
from infra.local.place import default_folder


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cache = (default_folder() / "cache").resolve()
    short, long = (files.contacts(cache, rows) for rows in (arguments.rows, arguments.rows * arguments.times))
    sums = {file.rows: runs.total(file) for file in (short, long)}
    if arguments.prepare:
        return 0
    try:
        told = runs.measure(short, long, sums, arguments.rounds)
    except KeyboardInterrupt:
        print("interrupted: nothing was left running", file=sys.stderr)
        return 128 + signal.SIGINT
    keep("scale", {**told, "runs": [asdict(run) for run in told["runs"]]})
    text = page.markdown(told)
    print("\n" + text)
    if arguments.publish:
        publish("scale", text)
    print(page.summary(told["runs"]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=scale.__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the short file (%(default)s)")
    parser.add_argument("--times", type=int, default=10, help="as many rows has the long one (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="in each both files go in all ways (%(default)s)")
    parser.add_argument("--prepare", action="store_true", help="make the files, and measure nothing")
    parser.add_argument("--publish", action="store_true", help="put the tables into docs/scale.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
