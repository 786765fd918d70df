"""What the peers' benchmark makes and tells: the same files everywhere, ratios of the same round, every gap named."""

from __future__ import annotations

import csv
import hashlib
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pytest

from bench.peers import files, results, table
from bench.peers.meter import Spent
from bench.peers.results import Case, Report, Run
from bench.peers.supplies import Absent, debian
from bench.publish import publish

MACHINE = {"processor": "P", "cores": 2, "memory_gib": 24, "system": "Linux", "postgres": "18"}


def run(number: int, rows: int, seconds: float, reference: float | None) -> Run:
    return Run(number, rows, Spent(seconds, seconds, client=1, postgres=2, others=0.5 * seconds), reference)


def report() -> Report:
    psql = Case("psql", "contacts", "2026-11-22", [run(1, 1000, 4, 4e-3), run(2, 1000, 5, 5e-3), run(3, 1000, 4, 4e-3)])
    ours = Case("pipeline", "contacts", "2026-11-22", [run(1, 1000, 2, 4e-3), run(2, 1000, 10, 5e-3)])
    return Report(MACHINE, [psql, ours, Case("celery", "contacts", "2026-11-22", skipped="skipped: no Redis here")])


@pytest.mark.parametrize(("name", "digest"), [("contacts", "2f36f2866fcec80e"), ("bad", "9041bad63574b650")])
def test_a_file_is_the_same_wherever_it_is_made(tmp_path: Path, name: str, digest: str) -> None:
    made = files.contacts(tmp_path, 500, name).path.read_bytes()
    assert hashlib.sha256(made).hexdigest()[:16] == digest


def test_a_bad_file_says_how_many_rows_are_good(tmp_path: Path) -> None:
    file = files.contacts(tmp_path, 3000, "bad")
    with file.path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    good = {row["email"] for row in rows if row["email"] and _is_date(row["signup_date"]) and _is_number(row["amount"])}
    assert len(rows) == file.rows
    assert 30 < file.rows - file.good < 90
    assert len(good) == file.good


def _is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def test_a_ratio_is_to_psql_of_the_same_round() -> None:
    ours = report().find("pipeline", "contacts")
    assert ours
    assert ours.ratios() == [0.5, 2.0]


def test_the_table_tells_what_was_left_out_and_why() -> None:
    told = table.markdown(report())
    assert "no Redis here" in told
    assert "| 4.00 (4.00–5.00) | 250 | 1.00 (1.00–1.00) | 1,000.0 + 2,000.0 |" in told


def test_what_cannot_be_had_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Absent, match="skipped: pgfairy is not installed, and there is no apt-get"):
        debian("pgfairy", "pgfairy")


def test_the_noise_is_psqls_own_swing_and_what_the_neighbours_took() -> None:
    assert report().noise() == "psql's own runs: 4.00 to 5.00 s (contacts); other processes took at most 0.50 cores"


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report().write(tmp_path / "peers.json")
    assert results.read(tmp_path / "peers.json") == report()


def test_what_is_measured_anew_replaces_what_was_kept_and_nothing_else() -> None:
    again = Case("pipeline", "contacts", "2026-11-23", [run(1, 1000, 3, 4e-3)])
    merged = results.merge(report().cases, [again])
    assert [case.key for case in merged] == [("psql", "contacts"), ("celery", "contacts"), ("pipeline", "contacts")]
    assert merged[-1] is again


def test_the_readme_is_changed_between_its_marks_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n")
    publish("measured", table.page(report(), "docs/peers.png"), readme)
    told = readme.read_text()
    assert told.startswith("before\n<!-- measured: begin -->\n![")
    assert told.endswith(" |\n<!-- measured: end -->\nafter\n")
    assert "old" not in told
