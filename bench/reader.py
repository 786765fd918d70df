"""`python -m bench.reader`: records a second of our reader and border finder beside csv, DuckDB and polars.

One generated file a kind, in memory (DuckDB: on disk), every cell as text, one thread; medians of `--rounds`. Other
readers are measured if installed. None of them says which records it could not tell the cells of, so this compares
speed on files that all read alike.
"""

from __future__ import annotations

import argparse
import csv
import gc
import importlib.util
import io
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from bench.publish import keep
from chalicelib import formats
from chalicelib.chunking import Rule, Start, cut
from chalicelib.formats import Dialect

CHUNK_BYTES: Final = 8 << 20
KINDS: Final = {"bare": csv.QUOTE_NONE, "some quotes": csv.QUOTE_MINIMAL, "all quoted": csv.QUOTE_ALL}


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    chunks: list[bytes]
    path: Path


Read = Callable[[_File], int]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.reader", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    print(f"{'':12} " + " ".join(f"{name:>14}" for name in _readers()))
    for kind, quoting in KINDS.items():
        data = _generated(arguments.megabytes << 20, quoting)
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            Path(file.name).write_bytes(data)
            figures[kind] = _medians(_File(data, list(_chunks(data)), Path(file.name)), arguments.rounds)
        base = figures[kind]["csv"]
        print(f"{kind:12} " + " ".join(f"{each:>8,.0f} {each / base:>4.1f}x" for each in figures[kind].values()))
    keep("reader", figures)
    told = ", ".join(f"{kind} {found['our reader'] / found['csv']:.2f}" for kind, found in figures.items())
    print(f"reader: records/s as a multiple of csv's: {told}")
    return 0


def _medians(file: _File, rounds: int) -> dict[str, float]:
    """Records a second, by reader."""
    speeds: dict[str, list[float]] = {name: [] for name in _readers()}
    for _ in range(rounds):
        for name, read in _readers().items():  # in turns, so that a busy moment meets all of them
            gc.collect()
            begun = time.perf_counter()
            count = read(file)
            speeds[name].append(count / (time.perf_counter() - begun))
    return {name: statistics.median(each) for name, each in speeds.items()}


def _generated(size: int, quoting: int) -> bytes:
    dice = random.Random(20240229)
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=quoting, lineterminator="\n")  # type: ignore[arg-type]
    notes = ["plain", "nothing to say", ""] if quoting == csv.QUOTE_NONE else ["a, b", 'said "so"', "two\nlines", ""]
    while file.tell() < size:
        number = dice.randrange(10**6)
        writer.writerow([number, "Ada Lovelace", f"{number / 7:.4f}", "2024-02-29", dice.choice(notes), "x", "London"])
    return file.getvalue().encode()


def _readers() -> dict[str, Read]:
    readers: dict[str, Read] = {"csv": _csv, "our reader": _ours, "border finder": _borders}
    optional: dict[str, Read] = {"duckdb": _duckdb, "polars": _polars}
    return readers | {name: read for name, read in optional.items() if importlib.util.find_spec(name)}


def _chunks(data: bytes) -> Iterator[bytes]:
    start = Start(0, 1)
    for chunk in cut([data], Rule(Dialect(), CHUNK_BYTES, 1 << 40), start):
        yield data[chunk.byte_start : chunk.byte_end]


def _csv(file: _File) -> int:
    """Whole chunks as well, so that all pay the same for their lists."""
    count = 0
    gc.disable()
    for chunk in file.chunks:
        count += len(list(csv.reader(chunk.decode().splitlines(keepends=True))))
    gc.enable()
    return count


def _ours(file: _File) -> int:
    count = 0
    gc.disable()  # as the loader does
    for chunk in file.chunks:
        count += len(list(formats.records(chunk, Dialect())))
    gc.enable()
    return count


def _borders(file: _File) -> int:
    blocks = (file.data[at : at + (1 << 20)] for at in range(0, len(file.data), 1 << 20))
    chunks = cut(blocks, Rule(Dialect(), CHUNK_BYTES, 1 << 40), Start(0, 1))
    return sum(chunk.records for chunk in chunks)


def _duckdb(file: _File) -> int:
    connection = import_module("duckdb").connect(config={"threads": 1})
    options = "header=false, all_varchar=true, delim=',', quote='\"', escape='\"', auto_detect=false, new_line='\\n'"
    columns = "{" + ", ".join(f"'c{n}': 'VARCHAR'" for n in range(7)) + "}"
    query = f"CREATE TABLE t AS SELECT * FROM read_csv('{file.path}', {options}, columns={columns})"
    connection.execute(query)
    return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def _polars(file: _File) -> int:
    return int(import_module("polars").read_csv(file.data, has_header=False, infer_schema=False).height)


if __name__ == "__main__":
    sys.exit(main())
