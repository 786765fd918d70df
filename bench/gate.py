"""`python -m bench.gate`: what a scanner costs, on an embedded cloud of its own with a clamd beside it.

The same files without a scanner and with clamd, in turns; seconds are from stored to completed. That clamd knows one
signature: the official ones are slower, and cannot be fetched everywhere.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

import boto3

from bench import clamav, embedded
from bench.peers import files
from bench.peers.files import File
from bench.peers.ours import SMALL_ROWS, SMALL_RUNS
from bench.peers.results import today
from bench.publish import keep, publish, table
from infra.local.cloud import CHECKOUT
from infra.local.place import default_folder

SCANNERS: Final = ("off", "clamd")
WAIT_SECONDS: Final = 120.0
PAGE: Final = CHECKOUT / "docs" / "gate.md"

Times = dict[str, dict[str, list[float]]]  # by file and scanner, seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--publish", action="store_true", help="put the table into docs/gate.md")
    asked = parser.parse_args()
    if clamav.CLAMD is None:
        parser.error(clamav.ABSENT)
    cache = (default_folder() / "cache").resolve()
    measured = [files.contacts(cache, 1_000_000), files.flights(cache), files.contacts(cache, SMALL_ROWS, "small")]
    times: Times = {file.name: {name: [] for name in SCANNERS} for file in measured}
    with tempfile.TemporaryDirectory() as folder, clamav.running(Path(folder)) as daemon, embedded.running() as here:
        for _ in range(asked.rounds):
            for name in SCANNERS:
                told = {"ROWMILL_SCANNER": name, "ROWMILL_SCANNER_ADDRESS": daemon.address}
                embedded.configure(boto3.client("lambda"), "split", told)
                _load(here, measured[0], name)  # functions start
                for file in measured:
                    times[file.name][name].append(_usual(here, file, name))
    keep("gate", {"date": today(), "seconds": times})
    shown = table(
        ("stored to completed, s", "rows", "without a scanner", "clamd"), [_cells(f, times) for f in measured]
    )
    print(shown)
    if asked.publish:
        publish("scanners", shown, PAGE)
    print("; ".join(f"{name} {statistics.median(by['clamd']):.2f} s with clamd" for name, by in times.items()))
    return 0


def _usual(here: embedded.Embedded, file: File, scanner: str) -> float:
    """Of a small file the median of several: the first ones meet functions that have just been started."""
    return statistics.median(_load(here, file, scanner) for _ in range(SMALL_RUNS if file.rows <= SMALL_ROWS else 1))


def _load(here: embedded.Embedded, file: File, scanner: str) -> float:
    dataset = f"d{secrets.token_hex(4)}"
    here.rowmill.put_dataset(dataset, file.schema)
    upload = here.rowmill.upload(file.path, dataset, timeout=WAIT_SECONDS)
    malware = upload.get("malware")
    if upload["state"] != "completed" or malware is None or malware["scanner"] != scanner:
        raise RuntimeError(f"{file.path.name} ended as {upload['state']}, {malware}, with {scanner}")
    return upload["timings"]["stored_to_completed_s"] or 0.0


def _cells(file: File, times: Times) -> list[str]:
    def shown(seconds: list[float]) -> str:
        return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"

    return [
        f"{file.name}, {file.path.stat().st_size / 1e6:,.1f} MB",
        f"{file.rows:,}",
        *map(shown, times[file.name].values()),
    ]


if __name__ == "__main__":
    sys.exit(main())
