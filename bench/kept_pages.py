"""`python -m bench.kept_pages`: what it saves to remember pages of rows, and what indexes do, beside others' figures.

A report on a Django application had 20 % less load on its database by a cache, and 30 % faster queries by indexes. Here
requests run below the doors of the API, in one process, on a Postgres of its own; each mix twice, with pages remembered
and without. Pages of lists are asked for as people do, the first ones far more often than the last (Zipf); of every so
many requests one changes a row, after which no page that was read before is given again.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from bench import kernel
from bench.publish import keep
from chalicelib import catalog, pages_kept, table_rows
from chalicelib.datasets.addresses import Addressed
from chalicelib.paging import Asked
from chalicelib.postgres import people
from chalicelib.postgres.connection import connection
from infra.local import instance
from infra.migrate import migrate

ROWS: Final = 100_000
PAGES: Final = 300  # of lists that are asked for: by city, the first ones and further ones
WRITES: Final = (0, 1, 5, 20)  # of a hundred requests
SCHEMA: Final[Mapping[str, Any]] = {
    "fields": [{"name": "id", "type": "integer"}, {"name": "city"}, {"name": "name"}, {"name": "born", "type": "date"}],
    "primaryKey": "id",
    "indexes": ["city", "born"],
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a mix took of the database: processor seconds of its backend, buffers, rows looked at."""

    cpu_s: float
    buffers: int
    rows: int
    seconds: float
    hits: int
    misses: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.kept_pages", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="of each mix (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, instance.running(Path(folder), deployed=False) as here:
        migrate(here.database_url)
        os.environ.update(DATABASE_URL=here.database_url, AWS_DEFAULT_REGION="us-east-1")
        told = {"mixes": _mixes(arguments.requests), "index": _index(here.database_url)}
    keep("kept_pages", told)


def _mixes(requests: int) -> list[dict[str, Any]]:
    _fill()
    told = []
    print("writes   hits   processor time of Postgres  buffers  rows looked at   a request (ms): without, with")
    for writes in WRITES:
        without, kept = (_run(requests, writes, remembers=remembers) for remembers in (False, True))
        share = kept.hits / (kept.hits + kept.misses)
        saved = [1 - getattr(kept, name) / getattr(without, name) for name in ("cpu_s", "buffers", "rows")]
        each = [1000 * one.seconds / requests for one in (without, kept)]
        print(
            f"{writes:5} %  {share:5.1%}  {-saved[0]:+25.1%}  {-saved[1]:+7.1%}  {-saved[2]:+14.1%}"
            f"   {each[0]:.2f}, {each[1]:.2f}"
        )
        told.append({"writes_percent": writes, "hit_ratio": share, "without": asdict(without), "with": asdict(kept)})
    return told


def _fill() -> None:
    people.add_account(connection(), people.Account("usr_1", "ten_1", "ada", ""))
    catalog.define({"tenant": "ten_1", "name": "people", "mode": "insert", "descriptor": dict(SCHEMA)})
    connection().execute(
        "INSERT INTO data.d_1 SELECT n, 'city ' || n % 100, 'name ' || n, date '1950-01-01' + n % 20000,"
        " (2147483647::bigint << 32) + n"
        f" FROM generate_series(1, {ROWS}) n"
    )
    connection().execute("ANALYZE data.d_1")


def _run(requests: int, writes: int, *, remembers: bool) -> Seen:
    chance = random.Random(1)
    lists = _lists(chance)
    weights = [1 / place for place in range(1, PAGES + 1)]
    pages_kept.rows.forget()
    pages_kept.rows.hits = pages_kept.rows.misses = 0
    backend = connection().info.backend_pid
    before, began = _taken(backend), time.perf_counter()
    for _ in range(requests):
        if not remembers:
            pages_kept.rows.forget()
        row = Addressed("ten_1", "people", str(chance.randint(1, ROWS)))
        draw = chance.uniform(0, 100)
        if draw < writes:
            table_rows.change(row, {"name": f"name {draw}"}, None)
        elif draw < writes + 0.8 * (100 - writes):
            table_rows.listing("ten_1", "people", Asked(*chance.choices(lists, weights)[0]))
        elif draw < writes + 0.95 * (100 - writes):
            table_rows.get(row)
        else:
            catalog.get("ten_1", "people")
    seconds, after = time.perf_counter() - began, _taken(backend)
    cpu, buffers, rows = (now - then for now, then in zip(after, before, strict=True))
    return Seen(cpu, int(buffers), int(rows), seconds, pages_kept.rows.hits, pages_kept.rows.misses)


def _lists(chance: random.Random) -> list[tuple[Mapping[str, str], str | None, int]]:
    """Pages by city, by date and in file order, each with those behind it, in an order of how often they are wanted."""

    found: list[tuple[Mapping[str, str], str | None, int]] = []
    kinds = [{}, {"sort": "-born"}, *({"city": f"city {n}"} for n in range(PAGES // 3 - 2))]
    for filters in kinds:
        cursor: str | None = None
        for _ in range(3):
            found.append((filters, cursor, 50))
            cursor = table_rows.listing("ten_1", "people", Asked(filters, cursor, 50)).next_cursor
    chance.shuffle(found)
    return found[:PAGES]


def _taken(backend: int) -> tuple[float, float, float]:
    """Processor seconds, buffers and rows of this backend so far."""

    connection().execute("SELECT pg_stat_force_next_flush()")
    row = (
        connection()
        .execute(
            "SELECT blks_hit + blks_read, tup_returned + tup_fetched FROM pg_stat_database"
            " WHERE datname = current_database()"
        )
        .fetchone()
    )
    assert row is not None
    return kernel.spent(backend), float(row[0]), float(row[1])


def _index(url: str) -> dict[str, float]:
    """Milliseconds of a page by city: with the index, and as it was if nobody had declared one."""
    with psycopg.connect(url, autocommit=True) as db:
        query = "SELECT * FROM data.d_1 WHERE city = 'city 7' ORDER BY _row LIMIT 50"
        found = {"with": _median(lambda: db.execute(query).fetchall())}
        for (name,) in db.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'data.d_1'::regclass AND NOT indisunique"
        ).fetchall():
            db.execute(f"DROP INDEX {name}")
        found["without"] = _median(lambda: db.execute(query).fetchall())
    print(f"a page by city: {found['without']:.2f} ms without an index, {found['with']:.2f} with one")
    return found


def _median(ask: Callable[[], object], times: int = 51) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


if __name__ == "__main__":
    main()
