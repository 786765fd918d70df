"""`python -m bench.wholefile`: memory and money beside workers that take a whole file each.

That way is a process a file, four of them: pandas reads all of the file, checks it and inserts a thousand rows at a
time (bench.peers.programs.whole_file). Both ways get the same files, one at a time and four at once, and are billed by
the same price of a second of a gigabyte: the worker for what memory it really took, Rowmill for what it is given.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from rowmill_client import Upload

from bench import kernel
from bench.load import meters
from bench.peers import files, meter, ours, supplies
from bench.peers.children import Child, started
from bench.peers.files import File
from bench.peers.ground import TABLE, Failed, Ground, environment, standing
from bench.peers.results import this_machine, today
from bench.publish import keep, publish, table
from chalicelib.prices import AS_OF, GB_SECOND
from infra.local.database import SETTINGS
from infra.local.place import default_folder

WHOLE, OURS = "a whole file in one worker", "Rowmill"
WORKERS: Final = 4
FUNCTIONS: Final = ("split", "load", "settle")
GB: Final = 1 << 30
DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Run:
    """So many files of so many rows at once. Memory in bytes, times in seconds, all of them sums over the files."""

    way: str
    rows: int
    files: int
    largest: int  # process
    together: int  # of all processes at their most
    worker_cpu: float
    postgres_cpu: float
    lasted: float
    gb_seconds: float
    usd: float

    def per_million(self, figure: float) -> float:
        return 1e6 * figure / (self.rows * self.files)


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cache = (default_folder() / "cache").resolve()
    supplies.venv()
    made = [files.contacts(cache, rows) for rows in (*arguments.rows, *arguments.alone)]
    if arguments.prepare:
        return 0
    with standing(default_folder().resolve() / "wholefile") as place, ours.account(place) as account:
        ours.warm_up(account, files.contacts(cache, ours.WARM_UP_ROWS))
        runs = list(_runs(account, made, arguments.alone))
        machine = this_machine(str(place.sql("SHOW server_version")[0][0]), SETTINGS)
    told = {"machine": machine, "date": today(), "prices": AS_OF, "runs": list(map(asdict, runs))}
    keep("wholefile", told)
    text = markdown(runs, told)
    print("\n" + text)
    if arguments.publish:
        publish("wholefile", text)
    print(summary(runs))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.wholefile", description=__doc__)
    parser.add_argument("--rows", type=_numbers, default=[200_000, 1_000_000], help="a file (200,000 and 1,000,000)")
    parser.add_argument("--alone", type=_numbers, default=[], help="of files that are only loaded one at a time")
    parser.add_argument("--prepare", action="store_true", help="make the files and install pandas, measure nothing")
    parser.add_argument("--publish", action="store_true", help="put the tables into docs/scale.md")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _runs(account: ours.Account, made: Sequence[File], alone: Sequence[int]) -> Iterator[Run]:
    for file in made:
        for count in (1,) if file.rows in alone else (1, WORKERS):
            for run in (_whole(account.ground, file, count), _ours(account, file, count)):
                print(f"{run.way:28} {run.files} × {run.rows:>9,} rows in {run.lasted:7.2f} s", flush=True)
                yield run


def _whole(place: Ground, file: File, count: int) -> Run:
    """Each worker is new, and has a table of its own; none waits for another's keys."""
    names = [f"{TABLE}_{n}" for n in range(count)]
    with ExitStack() as stack:
        for name in names:
            place.fresh_table(file, name)
            stack.callback(place.drop_table, name)
        workers = [stack.enter_context(_worker(place, file, name)) for name in names]
        stack.enter_context(place.halted_cloud())
        place.settle()
        processes = [worker.process for worker in workers]
        with meter.measured(place.postgres, processes) as spent, ThreadPoolExecutor(count) as pool:
            busy = list(pool.map(_work, workers))
        peaks = [kernel.memory(worker.process.pid)[1] for worker in workers]
        for name in names:
            if (found := place.count(name)) != file.rows:
                raise Failed(f"{found} rows in the table, {file.rows} in the file")
    billed = sum(peak / GB * seconds for peak, seconds in zip(peaks, busy, strict=True))
    cpu = spent.client, spent.postgres, spent.seconds
    return Run(WHOLE, file.rows, count, max(peaks), sum(peaks), *cpu, billed, billed * GB_SECOND)


def _worker(place: Ground, file: File, name: str) -> AbstractContextManager[Child]:
    command: list[str | Path] = [supplies.venv() / "python", "-m", "bench.peers.programs.whole_file", file.path, name]
    return started(place, command, environment(place), f"{name}.log")


def _work(worker: Child) -> float:
    begun = time.monotonic()
    worker.tell("")
    worker.expect("done")
    return time.monotonic() - begun


def _ours(account: ours.Account, file: File, count: int) -> Run:
    """Processor time is the functions' (the emulator stands in for AWS), and of PostgreSQL from the first byte sent."""
    place = account.ground
    datasets = [account.fresh_dataset(replace(file, name=f"file{n}")) for n in range(count)]
    place.settle()
    kernel.forget_peaks(meters.roles(place.here))
    with meters.watching(place.here, os.getpid()) as seen, ThreadPoolExecutor(count) as pool:
        seen.note(meters.roles(place.here))
        seen.reset()
        with meter.measured(place.postgres) as spent:
            uploads = list(pool.map(lambda dataset: ours.sent(account, dataset, file), datasets))
    for dataset, upload in zip(datasets, uploads, strict=True):
        ours.check(account, dataset, file, upload)
        account.forget_rows(dataset)
    busy = {role: count for role, count in seen.at_work().items() if role.startswith(FUNCTIONS)}
    cpu = sum(seconds for role, seconds in seen.spent().items() if role.startswith(FUNCTIONS))
    costs = [upload["cost"] for upload in uploads]
    return Run(
        OURS,
        file.rows,
        count,
        max(seen.memory[role] for role in busy),
        sum(seen.memory[role] * processes for role, processes in busy.items()),
        cpu,
        spent.postgres,
        _lasted(place, uploads),
        sum(sum(cost["gb_seconds"].values()) for cost in costs if cost),
        sum(cost["usd"] for cost in costs if cost),
    )


def _lasted(place: Ground, uploads: Sequence[Upload]) -> float:
    """From when the first was stored until the last was completed."""
    ids = ", ".join(f"'{upload['id']}'" for upload in uploads)
    ((seconds,),) = place.sql(
        f"SELECT extract(epoch FROM max(finished_at) - min(stored_at)) FROM rowmill.upload WHERE upload_id IN ({ids})",
        place.here.database_url,
    )
    return float(str(seconds))


def markdown(runs: Sequence[Run], told: dict[str, Any]) -> str:
    machine = "{processor}, {cores} cores, {memory_gib} GiB, {system}".format(**told["machine"])
    head = (
        "",
        "files at once × rows",
        "largest process, MB",
        "all together, MB",
        "all in after, s",
        "CPU s for 1 M rows: workers + Postgres",
        "GB-s for 1 M rows",
        "USD for 1 M rows",
    )
    return "\n\n".join(
        (f"{machine}, {told['date']}; {told['prices']}.", table(head, map(_row, runs)), *map(_fleet, _pairs(runs)))
    )


def _row(run: Run) -> Sequence[str]:
    return (
        run.way,
        f"{run.files} × {run.rows:,}",
        f"{run.largest / 1e6:,.0f}",
        f"{run.together / 1e6:,.0f}",
        f"{run.lasted:.1f}",
        f"{run.per_million(run.worker_cpu):.1f} + {run.per_million(run.postgres_cpu):.1f}",
        f"{run.per_million(run.gb_seconds):.1f}",
        f"{run.per_million(run.usd):.6f}",
    )


def _pairs(runs: Sequence[Run], files_: int = WORKERS) -> Iterator[tuple[Run, Run]]:
    """Both ways with so many files at once."""
    for whole in runs:
        for mine in runs:
            if (whole.way, mine.way, whole.rows) == (WHOLE, OURS, mine.rows) and whole.files == mine.files == files_:
                yield whole, mine


def _fleet(pair: tuple[Run, Run]) -> str:
    """What such workers cost that are always on, and how much Rowmill would load for that."""
    whole, mine = pair
    day = whole.together / GB * DAY * GB_SECOND
    rows = day / mine.per_million(mine.usd)
    return (
        f"{WORKERS} workers for files of {whole.rows:,} rows that are always on, at the same price of a gigabyte's"
        f" second: {day:.2f} USD a day, busy or not; for that Rowmill loads {rows:,.0f} million rows."
    )


def summary(runs: Sequence[Run]) -> str:
    """What of the memory the largest file takes, and what of the money the largest four at once."""
    *_, (one, mine) = _pairs(runs, 1)
    *_, (four, ours_) = _pairs(runs)
    return (
        f"wholefile: a file of {one.rows:,} rows: {mine.largest / 1e6:.0f} MB a process beside"
        f" {one.largest / 1e6:.0f} ({mine.largest / one.largest:.2f} ×); {WORKERS} of {four.rows:,} at once:"
        f" {ours_.per_million(ours_.usd):.6f} USD for 1 M rows beside {four.per_million(four.usd):.6f}"
        f" ({ours_.usd / four.usd:.2f} ×)"
    )


if __name__ == "__main__":
    sys.exit(main())
