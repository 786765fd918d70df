"""What the long file, the whole-file workers and the package are judged by: the arithmetic, and that nothing is left out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path
from zipfile import ZipFile

import pytest

from bench import wholefile
from bench.bad_input.cases import every
from bench.peers.exact import WITHOUT
from bench.peers.meter import Spent
from bench.publish import PAGE, publish
from bench.scale import page
from bench.scale.runs import KEYED, PSQL, SYSTEMS, Run, Server, keyless, tenths
from bench.weight import imports

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"processor": "P", "cores": 2, "memory_gib": 24, "system": "Linux", "postgres": "18", "python": "3"}
HERE = {"machine": MACHINE | {"settings": {"shared_buffers": "512MB"}}, "date": "2026-11-28"}


def run(system: str, rows: int, seconds: float, loader: int = 170) -> Run:
    spent = Spent(seconds, seconds, client=seconds / 2, postgres=seconds / 4, usd=0.0 if system == PSQL else 0.0003)
    memory = None if system == PSQL else {"load_low": loader * 10**6, "split": 90 * 10**6, "emulator": 10**9}
    return Run(system, rows, 97 * rows, spent, Server(1, 1, 0, 1), (0.1, 0.3, 0.9), [1.0] * 10, memory, {"load_low": 2})


def runs(long: float, loader: int = 170) -> list[Run]:
    short = [run(system, 1000, seconds) for system in SYSTEMS for seconds in (1.0, 9.0, 2.0)]
    return [*short, *(run(system, 10_000, long, loader) for system in SYSTEMS)]


def test_a_tenth_of_a_file_is_as_fast_as_the_chunks_in_it() -> None:
    assert tenths([(1.0, 500), (3.0, 500)]) == pytest.approx([500] * 5 + [250] * 5)
    assert tenths([(2.0, 10)]) == pytest.approx([5] * 10)


@pytest.mark.parametrize(
    ("long", "loader", "verdicts"),
    [
        (21.0, 200, ["kept", "kept", "kept"]),
        (21.2, 170, ["MISSED", "kept", "kept"]),
        (20.0, 201, ["kept", "MISSED", "kept"]),
    ],
)
def test_a_long_file_is_held_against_the_median_of_the_short_ones(
    long: float, loader: int, verdicts: list[str]
) -> None:
    told = page.summary(runs(long, loader))
    assert re.findall("kept|MISSED", told) == verdicts
    assert f"10 times the rows in {long / 2:.2f} times the time" in told


def test_the_page_tells_each_size_of_each_table() -> None:
    told = page.markdown({**HERE, "runs": runs(20.0)})
    for system in SYSTEMS:
        assert told.count(f"| {system} | 1,000 |") == (2 if system == PSQL else 3)
        assert told.count(f"| {system} | 10,000 |") == (2 if system == PSQL else 3)
    assert f"| {KEYED} | 10.00 | 10.00 | 10.00 |" in told


def test_a_table_without_a_key_has_the_same_columns() -> None:
    schema = {"fields": [{"name": "email", "type": "string", "constraints": {"unique": True}}], "missingValues": [""]}
    assert keyless(schema) == {
        "fields": [{"name": "email", "type": "string", "constraints": {}}],
        "missingValues": [""],
    }


def test_both_ways_are_billed_for_a_million_rows() -> None:
    whole = wholefile.Run(wholefile.WHOLE, 500_000, 4, 2 * 10**9, 8 * 10**9, 20.0, 30.0, 9.0, 80.0, 0.002)
    mine = wholefile.Run(wholefile.OURS, 500_000, 4, 200 * 10**6, 600 * 10**6, 5.0, 10.0, 4.0, 4.0, 0.0005)
    told = wholefile.markdown([whole, mine], HERE | {"prices": "of a month"})
    assert "| 4 × 500,000 | 2,000 | 8,000 | 9.0 | 10.0 + 15.0 | 40.0 | 0.001000 |" in told
    day = 8e9 / 2**30 * 86_400 * wholefile.GB_SECOND
    assert f"{day:.2f} USD a day, busy or not; for that Rowmill loads {day / 0.00025:,.0f} million rows" in told


def test_memory_is_told_of_the_largest_file_and_money_of_four_at_once() -> None:
    runs_ = [
        wholefile.Run(way, rows, count, memory * 10**6, 1, 1.0, 1.0, 1.0, 1.0, usd)
        for rows, count in ((1000, 1), (1000, 4), (9000, 1))
        for way, memory, usd in ((wholefile.WHOLE, rows, 0.002), (wholefile.OURS, 180, 0.0005))
    ]
    told = wholefile.summary(runs_)
    assert "a file of 9,000 rows: 180 MB a process beside 9000 (0.02 ×)" in told
    assert "4 of 1,000 at once: 0.125000 USD for 1 M rows beside 0.500000 (0.25 ×)" in told


def test_every_requirement_is_weighed_and_every_function_started() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = {re.split(r"[\[=]", line)[0] for line in lines if not line.startswith("#")}
    functions = json.loads((ROOT / ".chalice/config.json").read_text())["lambda_functions"]
    assert set(imports.DEPENDENCIES) == wanted
    assert {name.removesuffix("_handler") for name in functions} == set(imports.STARTS)


def test_a_distribution_weighs_what_its_record_lists(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("one/__init__.py", "x" * 100)
        archive.writestr(cache_from_source("one/__init__.py"), "c" * 30)
        archive.writestr("one.libs/lib.so", "y" * 50)
        archive.writestr("app.py", "z" * 7)
        archive.writestr("one-1.0.dist-info/RECORD", "one/__init__.py,,\none.libs/lib.so,,\nbin/gone,,\n")
    assert imports.sizes(tmp_path / "code.zip") == {"one": {"unpacked": 180, "packed": 180}}


def test_functions_told_by_the_folder_alone_find_no_polars() -> None:
    program = "from chalicelib import rows; print(rows._vectors())"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(WITHOUT)}
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert found.stdout == "None\n"


def test_figures_are_put_between_their_marks_and_nowhere_else(tmp_path: Path) -> None:
    page_ = tmp_path / "page.md"
    page_.write_text("a\n<!-- scale: begin -->\nold\n<!-- scale: end -->\nb\n<!-- weight: begin -->\nc\n")
    publish("scale", "new", page_)
    assert page_.read_text() == "a\n<!-- scale: begin -->\nnew\n<!-- scale: end -->\nb\n<!-- weight: begin -->\nc\n"


@pytest.mark.parametrize("name", ["scale", "wholefile", "weight"])
def test_the_docs_have_room_for_each_benchs_figures(name: str) -> None:
    told = PAGE.read_text()
    assert told.count(f"<!-- {name}: begin -->") == told.count(f"<!-- {name}: end -->") == 1


def test_words_that_no_case_has_are_answered_with_the_cases_that_there_are() -> None:
    command = [sys.executable, "-m", "bench.bad_input", "every", "row", "in", "a", "thousand"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert "no case has all of these words in its name: every row in a thousand" in ran.stderr
    assert {case.name for case in every(1)} <= {line.strip() for line in ran.stderr.splitlines()}
