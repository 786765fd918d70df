"""`python -m bench.weight`: the tables, and `.rowmill/reports/weight.json`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import weight
from bench.peers.results import this_machine, today
from bench.publish import keep, publish
from bench.weight import calls, imports, page
from infra.local.database import SETTINGS
from infra.package import package


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    built = package("prod").code
    told: dict[str, Any] = {"date": today(), "package": imports.size(built), "sizes": imports.sizes(built)}
    with tempfile.TemporaryDirectory(prefix="rowmill-weight-") as folder:
        told |= imports.measure(Path(folder), built, arguments.runs)
    told["calls"] = calls.measure(arguments.colds)
    told["machine"] = this_machine("", SETTINGS)
    keep("weight", told)
    text = page.markdown(told)
    print("\n" + text)
    if arguments.publish:
        publish("weight", text)
    print(page.summary(told))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.weight", description=weight.__doc__)
    parser.add_argument("--runs", type=int, default=7, help="new processes for each import (%(default)s)")
    parser.add_argument("--colds", type=int, default=3, help="cold starts of each function (%(default)s)")
    parser.add_argument("--publish", action="store_true", help="put the tables into docs/scale.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
