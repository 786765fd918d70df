"""`python -m bench.checker`: how many records a second the checker reads, by type, beside polars and duckdb.

A column of 100,000 cells, once with every cell different and once with 50 different ones; the median of three runs.
polars and duckdb cast the same column and take fewer care: which cells failed, and why, is not asked of them.
JSON in .rowmill/reports; the last line printed is the summary.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.publish import keep
from chalicelib.cells import PLAIN, Conventions
from chalicelib.checking import check
from chalicelib.datasets import Schema, read_schema

ROWS: Final = 100_000
RUNS: Final = 3
FEW: Final = 50
Make = Callable[[int], str]


def _day(n: int, between: str = "-") -> str:
    return between.join((f"{1000 + n // 336 % 9000:04}", f"{1 + n // 28 % 12:02}", f"{1 + n % 28:02}"))


def _clock(n: int) -> str:
    return f"{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}"


_SPREAD: Final = 7919  # a prime, so that neighbours differ
COLUMNS: Final[Mapping[str, tuple[dict[str, Any], Conventions, Make]]] = {
    "string": ({}, PLAIN, lambda n: f"customer number {n}"),
    "string, not ASCII": ({}, PLAIN, lambda n: f"Käufer № {n}"),
    "string, pattern": ({"constraints": {"pattern": "[A-Z]{2}-[0-9]+"}}, PLAIN, lambda n: f"DE-{n}"),
    "string, lengths": ({"constraints": {"minLength": 3, "maxLength": 40}}, PLAIN, lambda n: f"customer {n}"),
    "string, email": ({"format": "email"}, PLAIN, lambda n: f"user{n}@example.org"),
    "string, uuid": ({"format": "uuid"}, PLAIN, lambda n: f"{n:08x}-0000-4000-8000-{n:012x}"),
    "integer": ({"type": "integer"}, PLAIN, lambda n: str(n * _SPREAD)),
    "integer, minimum": ({"type": "integer", "constraints": {"minimum": 0}}, PLAIN, lambda n: str(n * _SPREAD)),
    "number": ({"type": "number"}, PLAIN, lambda n: f"{n * _SPREAD}.{n % 100:02}"),
    "number, 1.234,5": (
        {"type": "number"},
        Conventions(None, ",", "."),
        lambda n: f"{n * _SPREAD:,}".replace(",", "."),
    ),
    "boolean": ({"type": "boolean"}, PLAIN, lambda n: "true" if n % 3 else "false"),
    "date": ({"type": "date"}, PLAIN, _day),
    "date, dmy": (
        {"type": "date"},
        Conventions(date_order="dmy"),
        lambda n: "/".join(reversed(_day(n).split("-"))),
    ),
    "datetime": ({"type": "datetime"}, PLAIN, lambda n: f"{_day(n % 2800)}T{_clock(n * 37)}Z"),
    "time": ({"type": "time"}, PLAIN, lambda n: f"{_clock(n * 37)}.{n:06}"),
    "year": ({"type": "year"}, PLAIN, lambda n: f"{1000 + n % 9000}"),
    "duration": ({"type": "duration"}, PLAIN, lambda n: f"P{n}DT{n % 24}H"),
    "object": ({"type": "object"}, PLAIN, lambda n: f'{{"id": {n}, "name": "x{n}"}}'),
    "geopoint": ({"type": "geopoint"}, PLAIN, lambda n: f"{n % 180}.{n:06},{n % 90}.5"),
}


def main() -> None:
    argparse.ArgumentParser(prog="python -m bench.checker", description=__doc__).parse_args()
    peers = {name: found for name in ("polars", "duckdb") if (found := _installed(name)) is not None}
    figures = {name: _figures(name, peers) for name in COLUMNS}
    _print(figures, list(peers))
    keep("checker", figures)
    slowest = min(figures, key=lambda name: figures[name]["many"])
    print(f"slowest with every cell different: {slowest}, {figures[slowest]['many']:,.0f} records/s")


def _installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _figures(name: str, peers: Mapping[str, Any]) -> dict[str, float]:
    field, conventions, make = COLUMNS[name]
    schema = read_schema({"fields": [{"name": "cell", **field}]})
    found: dict[str, float] = {}
    for label, different in (("many", ROWS), ("few", FEW)):
        # Apart from one another in memory, as a reader makes them.
        cells = ["".join(make(n % different)) for n in range(ROWS)]
        found[label] = _rate(_checked(cells, schema, conventions))
        for peer, module in peers.items():
            cast = _CASTS[peer](module, field.get("type", "string"), cells)
            if cast is not None and conventions == PLAIN and set(field) <= {"type"}:
                found[f"{peer} {label}"] = _rate(cast)
    return found


def _rate(work: Callable[[], object]) -> float:
    """Records a second of processor time: what other processes do counts little. The collector rests, as in a load."""
    taken = []
    for _ in range(RUNS):
        gc.collect()
        gc.disable()
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
        gc.enable()
    return ROWS / statistics.median(taken)


def _checked(cells: list[str], schema: Schema, conventions: Conventions) -> Callable[[], object]:
    rows = [[cell] for cell in cells]
    assert not check(rows, schema, [0], 1, conventions).bad
    return lambda: check(rows, schema, [0], 1, conventions)


def _polars(module: Any, kind: str, cells: list[str]) -> Callable[[], object] | None:
    column = module.Series("cell", cells)
    casts: dict[str, Callable[[], object]] = {
        "string": lambda: module.Series("cell", cells),
        "integer": lambda: column.cast(module.Int64),
        "number": lambda: column.str.to_decimal(scale=2),
        "boolean": lambda: column == "true",
        "date": lambda: column.str.to_date("%Y-%m-%d"),
        "datetime": lambda: column.str.to_datetime("%Y-%m-%dT%H:%M:%SZ"),
        "time": lambda: column.str.to_time("%H:%M:%S%.f"),
        "year": lambda: column.cast(module.Int16),
        "object": lambda: column.str.json_decode(module.Struct({"id": module.Int64, "name": module.String})),
    }
    return casts.get(kind)


def _duckdb(module: Any, kind: str, cells: list[str]) -> Callable[[], object] | None:
    types = {
        **{"integer": "BIGINT", "number": "DECIMAL(18, 2)", "boolean": "BOOLEAN", "date": "DATE", "time": "TIME"},
        **{"datetime": "TIMESTAMPTZ", "year": "SMALLINT"},
    }
    if kind not in types:
        return None
    database = module.connect(config={"threads": 1})
    database.execute("CREATE TABLE raw AS SELECT unnest(?::VARCHAR[]) AS cell", [cells])
    return lambda: database.execute(f"CREATE OR REPLACE TABLE typed AS SELECT cell::{types[kind]} AS cell FROM raw")


_CASTS: Final[Mapping[str, Callable[[Any, str, list[str]], Callable[[], object] | None]]] = {
    "polars": _polars,
    "duckdb": _duckdb,
}


def _print(figures: Mapping[str, Mapping[str, float]], peers: list[str]) -> None:
    """A table of millions of records a second."""
    names = ["many", "few", *(f"{peer} {label}" for peer in peers for label in ("many", "few"))]
    print(f"million records/s, {ROWS:,} cells, median of {RUNS}; many: all different, few: {FEW} different\n")
    print(f"| {'column':<18} | " + " | ".join(f"{name:>11}" for name in names) + " |")
    print(f"|{'-' * 20}|" + "|".join("-" * 12 + ":" for _ in names) + "|")
    for name, found in figures.items():
        told = (f"{found[each] / 1e6:.1f}" if each in found else "" for each in names)
        print(f"| {name:<18} | " + " | ".join(f"{each:>11}" for each in told) + " |")
    print()


if __name__ == "__main__":
    main()
