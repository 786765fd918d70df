"""Times for the model, from one run on an embedded cloud; and two runs more that it is to foretell.

Wall-clock times are the ledger's own. Processor times are the kernel's, of the functions, of PostgreSQL and of the
emulator: they say what a row costs however busy the machine was, and how much of that is the database's.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bench import embedded, kernel
from bench.load import meters
from infra.local.record import Instance

SINGLES: Final = (500, 3_000, 10_000, 25_000, 50_000)  # rows of files that are one chunk, one after another
PACED_ROWS: Final = 300_000
BIG_ROWS: Final = 1_000_000
SMALL: Final = (50, 2_000)  # uploads at once, of so many rows

_CHUNKS: Final = """
    SELECT u.upload_id, plan ->> 'tier', extract(epoch FROM u.stored_at)::float8,
           extract(epoch FROM u.created_at)::float8, extract(epoch FROM u.finished_at)::float8,
           c.records, c.byte_end - c.byte_start, extract(epoch FROM c.created_at)::float8,
           extract(epoch FROM c.sent_at)::float8, extract(epoch FROM c.started_at)::float8,
           extract(epoch FROM c.finished_at)::float8
    FROM rowmill.upload u JOIN rowmill.chunk c ON c.upload = u.number
    WHERE u.upload_id = ANY(%s) AND c.pass = 'load' ORDER BY u.number, c.n
"""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as the ledger tells it; moments are seconds since 1970."""

    upload: str
    tier: str
    stored: float
    opened: float
    ended: float
    rows: int
    bytes: int
    cut: float
    sent: float
    started: float
    finished: float

    @property
    def took(self) -> float:
        """Seconds from the claim to the commit."""
        return self.finished - self.started


@dataclass(frozen=True, slots=True)
class Times:
    """What the model goes by, in seconds: wall-clock as the embedded cloud had them, then processor time."""

    event: float  # from the file's being stored to the splitter's first statement
    plan: float  # from there to the first chunk
    dispatch: float  # from a chunk's message to its claim
    finish: float  # from the last commit to the upload's end
    split_bytes_per_s: float
    chunk: float  # of any chunk, besides its rows
    row: float
    variation: float  # of a chunk: standard deviation over mean
    gap: float  # between two chunks of one worker
    cpu_load_row: float
    cpu_load_chunk: float  # besides its rows
    cpu_split_row: float
    cpu_split_upload: float
    cpu_database_row: float
    cpu_database_chunk: float  # of an upload of one chunk: what its admission and split ask of the database, too
    cpu_admit: float  # of the API and the emulator for an upload of one chunk


def measure() -> dict[str, Any]:
    """Everything, as it is kept in measured.json."""
    with embedded.running() as here:
        here.wait(here.send_all([embedded.contacts(rows, 1 + n) for n, rows in enumerate((900, 4_000, 30_000) * 2)]))
        # By turns, so that a machine with other work to do is as busy for the times as for what they are to foretell.
        singles = _singles(here, 110)
        paced = [_run(here, [embedded.contacts(PACED_ROWS, 200)])[0]]
        big, big_cpu = _run(here, [embedded.contacts(BIG_ROWS, 300)])
        singles += _singles(here, 120)
        count, rows = SMALL
        small, small_cpu = _run(here, [embedded.contacts(rows, 400 + n) for n in range(count)])
        singles += _singles(here, 130)
        paced.append(_run(here, [embedded.contacts(PACED_ROWS, 201)])[0])
    cpu = _cpu(big_cpu, BIG_ROWS, small_cpu, count, rows)
    return {
        "taken": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "machine": f"{os.cpu_count()} cores, load average {os.getloadavg()[1]:.1f} while it was measured",
        "times": asdict(Times(**_walls(singles, paced), **cpu)),
        "runs": {
            f"one file of {BIG_ROWS:,} rows": _told(big),
            f"{count} files of {rows:,} rows at once": _told(small),
        },
    }


def _singles(here: embedded.Embedded, seed: int) -> list[Chunk]:
    """One file after another, so that none waits for any."""
    return [chunk for n, rows in enumerate(SINGLES) for chunk in _run(here, [embedded.contacts(rows, seed + n)])[0]]


def _run(here: embedded.Embedded, files: Sequence[bytes]) -> tuple[list[Chunk], dict[str, float]]:
    before = processor_times(here.here)
    uploads = here.send_all(files)
    here.wait(uploads)
    used = {name: seconds - before.get(name, 0.0) for name, seconds in processor_times(here.here).items()}
    return [Chunk(*row) for row in here.ledger(_CHUNKS, uploads)], used


def processor_times(here: Instance) -> dict[str, float]:
    """Seconds by who spent them: the three loads are one."""
    used = dict.fromkeys(("load", "split", "api", "emulator", "postgres"), 0.0)
    for pid, role in meters.roles(here).items():
        name = role.partition("_")[0]
        used[name] = used.get(name, 0.0) + kernel.spent_in_all(pid)
    return used


def _walls(singles: Sequence[Chunk], paced: Sequence[Sequence[Chunk]]) -> dict[str, float]:
    short = [chunk for chunk in singles if chunk.rows < SINGLES[2]]
    large = [chunk for run in paced for chunk in run]
    row, fixed = _line([(chunk.rows, chunk.took) for chunk in (*singles, *large)])
    off = [chunk.took / (fixed + row * chunk.rows) for chunk in large]
    return {
        "event": _median(chunk.opened - chunk.stored for chunk in short),
        "plan": _median(chunk.cut - chunk.opened for chunk in short),
        "dispatch": _median(chunk.started - chunk.sent for chunk in short),
        "finish": _median(chunk.ended - chunk.finished for chunk in short),
        "split_bytes_per_s": statistics.fmean(
            sum(chunk.bytes for chunk in run[1:]) / (run[-1].cut - run[0].cut) for run in paced
        ),
        "chunk": fixed,
        "row": row,
        "variation": statistics.pstdev(off) / statistics.fmean(off),
        "gap": statistics.fmean(_gap(run, workers=2) for run in paced),
    }


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope and intercept of the line with the least relative errors; the intercept is not below a millisecond."""
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    mx = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    my = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    slope = sum(w * (x - mx) * (y - my) for w, (x, y) in zip(weights, points, strict=True))
    slope /= sum(w * (x - mx) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    return slope, max(0.001, my - slope * mx)


def _gap(chunks: Sequence[Chunk], workers: int) -> float:
    """What is left of the workers' time, for each chunk."""
    lasted = max(chunk.finished for chunk in chunks) - min(chunk.started for chunk in chunks)
    return max(0.0, (workers * lasted - sum(chunk.took for chunk in chunks)) / len(chunks))


def _cpu(
    big: Mapping[str, float], big_rows: int, small: Mapping[str, float], count: int, rows: int
) -> dict[str, float]:
    """Two runs, two unknowns: what a row costs and what an upload of one chunk costs besides."""
    told = {}
    for name, role, unit in (
        ("load", "load", "chunk"),
        ("split", "split", "upload"),
        ("database", "postgres", "chunk"),
    ):
        row = big[role] / big_rows
        told[f"cpu_{name}_row"] = row
        told[f"cpu_{name}_{unit}"] = max(0.0, small[role] / count - rows * row)
    return told | {"cpu_admit": (small["api"] + small["emulator"]) / count}


def _told(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """A run as the model is to play it, its moments counted from the first file's being stored."""
    first = min(chunk.stored for chunk in chunks)
    uploads: dict[str, dict[str, Any]] = {}
    for chunk in chunks:
        told = uploads.setdefault(
            chunk.upload,
            {"at": chunk.stored - first, "tier": chunk.tier, "ended": chunk.ended - first, "rows": [], "bytes": []},
        )
        told["rows"].append(chunk.rows)
        told["bytes"].append(chunk.bytes)
    return {"took": max(chunk.ended for chunk in chunks) - first, "uploads": list(uploads.values())}


def _median(values: Iterable[float]) -> float:
    return max(0.0, statistics.median(values))
