"""The runs as tables, and a line that says whether a row costs the same in a long file, and whether memory does."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bench.peers.results import spread
from bench.publish import table
from bench.scale.runs import CHUNKED, KEYED, KEYLESS, PSQL, SYSTEMS, Run

LOADER_MB, SPLITTER_MB = 200, 150  # what a process of them may take, however long the file
RATIO: Final = 1.05  # what a row of the long file may take, as a multiple of one of the short file


def markdown(told: dict[str, Any]) -> str:
    runs: list[Run] = told["runs"]
    machine = "{processor}, {cores} cores, {memory_gib} GiB, {system}, PostgreSQL {postgres}".format(**told["machine"])
    buffers = told["machine"]["settings"]["shared_buffers"]
    return "\n\n".join(
        (
            f"{machine}, {told['date']}; other processes took at most {_stolen(runs):.2f} cores.",
            table(
                (
                    "",
                    "rows",
                    "MB",
                    "sending, s",
                    "s",
                    "rows/s",
                    "opened, first rows in, all cut after, s",
                    "rows/s, first to last tenth",
                    "CPU s for 1 M rows: client + Postgres",
                    "on AWS, USD for 1 M rows",
                ),
                map(_times, _groups(runs)),
            ),
            table(("of which", "rows", "loader", "splitter", "API", "emulator"), map(_memory, _groups(ours_of(runs)))),
            table(
                ("the long file by the short one", "time", "CPU, client", "CPU, Postgres"),
                (_growth(runs, system) for system in SYSTEMS),
            ),
            table(
                (
                    f"PostgreSQL (shared_buffers {buffers})",
                    "rows",
                    "indexes, MB",
                    "WAL, MB for 1 M rows",
                    "blocks read, MB for 1 M rows",
                    "checkpoints",
                ),
                map(_database, _groups(runs)),
            ),
        )
    )


def ours_of(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.system != PSQL]


def _stolen(runs: Sequence[Run]) -> float:
    return max(run.spent.others / run.spent.watched for run in runs)


def _groups(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Runs of one system with one file."""
    for system in SYSTEMS:
        for rows in sorted({run.rows for run in runs}):
            if found := [run for run in runs if (run.system, run.rows) == (system, rows)]:
                yield found


def _times(runs: Sequence[Run]) -> Sequence[str]:
    one = runs[0]
    seconds = [run.spent.seconds for run in runs]
    client, postgres = (1e6 * cpu / one.rows for cpu in _cpu(runs))
    return (
        one.system,
        f"{one.rows:,}",
        f"{one.bytes / 1e6:,.0f}",
        f"{statistics.median(run.spent.sending for run in runs):.1f}" if one.spent.sending else "",
        spread(seconds),
        f"{one.rows / statistics.median(seconds):,.0f}",
        ", ".join(f"{statistics.median(each):.2f}" for each in zip(*(run.moments for run in runs), strict=True)),
        f"{one.tenths[0]:,.0f} to {one.tenths[-1]:,.0f}" if one.tenths else "",
        f"{client:.1f} + {postgres:.1f}",
        f"{statistics.median(run.spent.usd for run in runs):.4f}" if one.spent.usd else "",
    )


def _cpu(runs: Sequence[Run]) -> tuple[float, float]:
    client = statistics.median(run.spent.client for run in runs)
    return client, statistics.median(run.spent.postgres for run in runs)


def _memory(runs: Sequence[Run]) -> Sequence[str]:
    sizes = (f"{peak(runs, kind):.0f} MB" for kind in ("load", "split", "api", "emulator"))
    return runs[0].system, f"{runs[0].rows:,}", *sizes


def peak(runs: Sequence[Run], kind: str) -> float:
    """The largest process of a kind of function in any of these runs, in MB."""
    sizes = [size for run in runs for role, size in (run.memory or {}).items() if role.startswith(kind)]
    return max(sizes, default=0) / 1e6


def _growth(runs: Sequence[Run], system: str) -> Sequence[str]:
    (client, postgres), (longer, more) = (_cpu(group) for group in _groups([r for r in runs if r.system == system]))
    return (
        system,
        f"{growth(runs, system):.2f}",
        f"{longer / client:.2f}" if client else "",
        f"{more / postgres:.2f}" if postgres else "",
    )


def growth(runs: Sequence[Run], system: str) -> float:
    """The long file's time by the short one's: medians."""
    short, long = (
        statistics.median(run.spent.seconds for run in group)
        for group in _groups([run for run in runs if run.system == system])
    )
    return long / short


def _database(runs: Sequence[Run]) -> Sequence[str]:
    one = runs[-1]
    millions = one.rows / 1e6
    return (
        one.system,
        f"{one.rows:,}",
        f"{one.server.index / 1e6:,.0f}",
        f"{one.server.wal / 1e6 / millions:,.0f}",
        f"{one.server.blocks_read * 8192 / 1e6 / millions:,.0f}",
        f"{one.server.checkpoints}",
    )


def summary(runs: Sequence[Run]) -> str:
    """Whether a row costs the same in a long file, and whether memory does."""
    ours_ = ours_of(runs)
    times = max(run.rows for run in runs) / min(run.rows for run in runs)
    grown = {system: growth(runs, system) for system in SYSTEMS}
    at_most = times * RATIO
    kept = [
        f"scale: {times:g} times the rows in {grown[KEYED]:.2f} times the time ({_verdict(grown[KEYED], at_most)}:"
        f" at most {at_most:g}), chunk by chunk {grown[CHUNKED]:.2f},"
        f" without a key {grown[KEYLESS]:.2f}, psql {grown[PSQL]:.2f}",
        *(
            f"{kind} {peak(ours_, kind):.0f} MB ({_verdict(peak(ours_, kind), bound)}: at most {bound})"
            for kind, bound in (("load", LOADER_MB), ("split", SPLITTER_MB))
        ),
    ]
    return "; ".join(kept)


def _verdict(found: float, at_most: float) -> str:
    return "kept" if found <= at_most else "MISSED"
