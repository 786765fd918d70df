"""`python -m bench.sealed`: what encrypted fields cost a loader, on a Postgres of its own; medians of three.

A chunk of 84,000 contacts (8 MB), from its bytes to the committed COPY, with a unique e-mail: nothing encrypted, the
name, and name and e-mail, whose key is then a blind index. Both ways of reading. JSON in .rowmill/reports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.publish import keep
from chalicelib import vault
from chalicelib.datasets import Schema, read_schema
from chalicelib.formats import Dialect
from chalicelib.journey import lineage
from chalicelib.postgres import staging, tables
from chalicelib.postgres.connection import connection
from chalicelib.rows import Shape, exact, vectors
from chalicelib.sealing import BlindKey, DataKey, Home
from infra.local import instance
from infra.migrate import migrate

ROWS: Final = 84_000
RUNS: Final = 3
CASES: Final[Mapping[str, tuple[str, ...]]] = {"none": (), "name": ("name",), "name, e-mail": ("name", "email")}
FIELDS: Final[Sequence[Mapping[str, Any]]] = (
    {"name": "email", "format": "email", "constraints": {"required": True, "unique": True}},
    {"name": "name"},
    {"name": "city"},
    {"name": "since", "type": "date"},
    {"name": "note"},
)


def main() -> None:
    argparse.ArgumentParser(prog="python -m bench.sealed", description=__doc__).parse_args()
    data = _contacts()
    schemas = {case: _schema(encrypted) for case, encrypted in CASES.items()}
    took: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, instance.running(Path(folder), deployed=False) as here:
        migrate(here.database_url)
        os.environ["DATABASE_URL"] = here.database_url
        for run in range(RUNS + 1):  # the first one warms up
            for way in ("vectors", "exact"):
                for number, (case, schema) in enumerate(schemas.items(), 1):
                    once = _load(data, schema, way, 10 * run + number)
                    if run:
                        took.setdefault((way, case), []).append(once)
    found = [_row(way, case, times, took[way, "none"]) for (way, case), times in took.items()]
    keep("sealed", found)
    whole = next(row for row in found if (row["way"], row["encrypted"]) == ("vectors", "name, e-mail"))
    print(f"two encrypted fields, one of them a key: {whole['rows_per_s']:,} rows/s, {whole['times']} times the time")


def _row(
    way: str, case: str, times: Sequence[tuple[float, float]], plain: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    wall, cpu = (statistics.median(each) for each in zip(*times, strict=True))
    row = {
        "way": way,
        "encrypted": case,
        "rows_per_s": round(ROWS / wall),
        "wall_s": round(wall, 3),
        "worker_cpu_s": round(cpu, 3),
        "times": round(wall / statistics.median(each for each, _ in plain), 2),
    }
    print(json.dumps(row), flush=True)
    return row


def _load(data: bytes, schema: Schema, way: str, number: int) -> tuple[float, float]:
    """Seconds by the clock, and of them the worker's own processor time, until a chunk's rows are committed."""
    db, table = connection(), tables.Table(number, 1, schema)
    tables.create(db, "ten_bench", f"d{number}", table)
    db.execute("CHECKPOINT")
    shape = Shape(Dialect(), schema, range(len(FIELDS)), len(FIELDS))
    if schema.is_encrypted:
        home = Home("ten_bench", number)
        keys = DataKey(1, home, os.urandom(32)), BlindKey(home, os.urandom(32))
        shape = replace(shape, seal=vault.sealing_by(*keys, schema))
    read = partial(vectors.read if way == "vectors" else exact.read, data, shape, ROWS, lineage(number, 1))
    began, used = time.monotonic(), time.process_time()
    found = read()
    assert found is not None and len(found.checked.places) == ROWS
    assert staging.copy(db, table, found.text(())) == "in"
    took = time.monotonic() - began, time.process_time() - used
    tables.drop(db, table)
    return took


def _schema(encrypted: Sequence[str]) -> Schema:
    return read_schema({"fields": [{**each, "encrypted": each["name"] in encrypted} for each in FIELDS]})


def _contacts() -> bytes:
    numbers = list(range(ROWS))
    random.Random(1).shuffle(numbers)
    lines = (
        f'person.{n:08}@example.org,"Lovelace, Ada {n}",London,2024-02-{n % 28 + 1:02},a customer since long ago {n}\n'
        for n in numbers
    )
    return "".join(lines).encode()


if __name__ == "__main__":
    main()
