"""Loads of two files in four ways, each with what it took of processors, memory and PostgreSQL."""

from __future__ import annotations

import csv
import itertools
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bench import kernel
from bench.load import meters
from bench.peers import files, ours
from bench.peers.files import File
from bench.peers.ground import TABLE, Failed, Ground, standing
from bench.peers.meter import Spent
from bench.peers.others import copied
from bench.peers.results import this_machine, today
from infra.local.database import SETTINGS
from infra.local.place import default_folder

KEYED, KEYLESS, PSQL = "Rowmill, unique e-mail", "Rowmill, no key", "psql `\\copy`, unique e-mail"
CHUNKED: Final = "Rowmill, unique e-mail, chunk by chunk"  # as into a dataset that has had rows
SYSTEMS: Final = (PSQL, KEYED, CHUNKED, KEYLESS)  # as they are told
TENTHS: Final = 10
_CHUNKS: Final = """
    SELECT extract(epoch FROM c.finished_at - u.stored_at)::float8, c.records,
           extract(epoch FROM u.created_at - u.stored_at)::float8, extract(epoch FROM u.split_at - u.stored_at)::float8
    FROM rowmill.upload u JOIN rowmill.chunk c ON c.upload = u.number
    WHERE u.upload_id = '{}' ORDER BY c.finished_at
"""
_COUNTERS: Final = """
    SELECT pg_current_wal_insert_lsn() - '0/0', (SELECT sum(blks_read) FROM pg_stat_database)::bigint,
           (SELECT num_timed + num_requested FROM pg_stat_checkpointer)
"""


@dataclass(frozen=True, slots=True)
class Server:
    """What PostgreSQL did meanwhile. `index` is the key's, in bytes, when all was in."""

    wal: int
    blocks_read: int  # from outside its own memory
    checkpoints: int
    index: int


@dataclass(frozen=True, slots=True)
class Run:
    """One load. `moments` after the file was stored: a splitter has opened it, the first rows are committed (of a first
    load: staged), all of it is cut. `tenths`: rows a second, of a tenth of the file each."""

    system: str
    rows: int
    bytes: int
    spent: Spent
    server: Server
    moments: Sequence[float] = ()
    tenths: Sequence[float] = ()
    memory: dict[str, int] | None = None  # by role: the largest process of it, in bytes
    processes: dict[str, int] | None = None


def total(file: File) -> str:
    """Of all amounts, as the file has them: read once by csv, which knows nothing of Rowmill, and kept beside it."""
    kept = file.path.with_suffix(".sum")
    if not kept.exists():
        with file.path.open(encoding="utf-8", newline="") as lines:
            cents = sum(int(row["amount"].replace(".", "")) for row in csv.DictReader(lines))
        kept.write_text(f"{cents // 100}.{cents % 100:02}")
    return kept.read_text()


def measure(short: File, long: File, sums: dict[int, str], rounds: int) -> dict[str, Any]:
    """Both files in each way, the short one first, so that a slow hour meets all of them."""
    plan = [(system, file) for file in (short, long) for system in SYSTEMS] * rounds
    runs: list[Run] = []
    with standing(default_folder().resolve() / "scale") as place, ours.account(place) as account:
        ours.warm_up(account, files.contacts(short.path.parent, ours.WARM_UP_ROWS))
        machine = this_machine(str(place.sql("SHOW server_version")[0][0]), SETTINGS)
        for system, file in plan:
            runs.append(_run(account, system, file, sums[file.rows]))
            print(_line(runs[-1]), flush=True)
    return {"machine": machine, "date": today(), "runs": runs}


def _run(account: ours.Account, system: str, file: File, amounts: str) -> Run:
    """One load, audited; its rows are gone again."""
    before = _counters(account.ground)
    return (_psql if system == PSQL else _ours)(account, system, file, amounts, before)


def _psql(account: ours.Account, system: str, file: File, amounts: str, before: Sequence[int]) -> Run:
    place = account.ground
    place.fresh_table(file)
    spent = copied(place, file)
    after = _counters(place)
    server = _server(before, after, _audit(place, TABLE, place.url, file, amounts))
    place.drop_table()
    return Run(system, file.rows, file.path.stat().st_size, spent, server)


def _ours(account: ours.Account, system: str, file: File, amounts: str, before: Sequence[int]) -> Run:
    place = account.ground
    url = place.here.database_url
    offered = replace(file, name="keyless", schema=keyless(file.schema)) if system == KEYLESS else file
    kernel.forget_peaks(meters.roles(place.here))
    with meters.watching(place.here, os.getpid()) as seen:
        loaded = ours.loaded(account, offered, is_first=system != CHUNKED)
    after = _counters(place)
    server = _server(before, after, _audit(place, account.table(loaded.dataset), url, file, amounts))
    chunks = [tuple(map(float, map(str, row))) for row in place.sql(_CHUNKS.format(loaded.upload["id"]), url)]
    first, _, opened, cut = chunks[0]
    account.forget_rows(loaded.dataset)
    mine = {role: size for role, size in sorted(seen.memory.items()) if role not in ("postgres", "generator")}
    rates = tenths([(at, int(rows)) for at, rows, *_ in chunks])
    size = file.path.stat().st_size
    return Run(system, file.rows, size, loaded.spent, server, (opened, first, cut), rates, mine, dict(seen.processes))


def keyless(schema: dict[str, Any]) -> dict[str, Any]:
    """The same columns, none of them unique."""
    fields = [{**field, "constraints": {}} for field in schema["fields"]]
    return {**schema, "fields": fields}


def _audit(place: Ground, name: str, url: str, file: File, amounts: str) -> int:
    """Every row is there, once, with its amount. The bytes of the table's indexes. Raises Failed."""
    wanted = (str(file.rows), str(file.rows), amounts)
    ((*found, index),) = place.sql(
        f"SELECT count(*), count(DISTINCT email), sum(amount)::numeric(20, 2), pg_indexes_size('{name}') FROM {name}",
        url,
    )
    if tuple(map(str, found)) != wanted:
        raise Failed(f"{name}: rows, keys and sum {found}, in the file {wanted}")
    return int(str(index))


def _counters(place: Ground) -> list[int]:
    return [int(str(value)) for value in place.sql(_COUNTERS)[0]]


def _server(before: Sequence[int], after: Sequence[int], index: int) -> Server:
    wal, blocks, checkpoints = (later - first for later, first in zip(after, before, strict=True))
    return Server(wal, blocks, checkpoints - 1, index)  # one is the benchmark's own, before it begins


def tenths(chunks: Sequence[tuple[float, int]]) -> list[float]:
    """Rows a second in each tenth of a file: of chunks by when they were in, with their rows; even in between."""
    moments, counts = [0.0], [0]
    for at, rows in chunks:
        moments.append(at)
        counts.append(counts[-1] + rows)
    borders = [_moment(moments, counts, counts[-1] * n / TENTHS) for n in range(TENTHS + 1)]
    each = counts[-1] / TENTHS
    return [each / max(end - begin, 1e-6) for begin, end in itertools.pairwise(borders)]


def _moment(moments: Sequence[float], counts: Sequence[int], rows: float) -> float:
    """When so many rows were in."""
    place = max(1, bisect_left(counts, rows))
    share = (rows - counts[place - 1]) / (counts[place] - counts[place - 1])
    return moments[place - 1] + share * (moments[place] - moments[place - 1])


def _line(run: Run) -> str:
    """A run as it ends."""
    spent = run.spent
    rate = run.rows / spent.seconds
    cpu = f"cpu {spent.client:6.2f} + {spent.postgres:6.2f} s, others {spent.others:5.2f} s"
    moments = f"; opened, first, cut {', '.join(f'{at:.2f}' for at in run.moments)} s" if run.moments else ""
    return f"{run.system:28} {run.rows:>11,} rows {spent.seconds:8.3f} s {rate:>9,.0f} rows/s  {cpu}{moments}"
