"""The benchmark of other people's polluted files measures what it says: rows and rejects of the running system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.pollock import pipeline, reader
from bench.pollock.files import WAYS, File, Way, polluted
from bench.pollock.scoring import score
from tests.journey.conftest import Cloud

CLEAN = 'id,name\n1,"Ada, Countess"\n2,\n3,Cy\n'
POLLUTED = {
    "clean.csv": CLEAN,
    "delimiter.csv": CLEAN.replace(",", ";").replace("Ada;", "Ada,"),
    "less_sep.csv": CLEAN.replace("2,", "2"),
    "more_sep.csv": CLEAN.replace("3,Cy", "3,,Cy"),
    "extra_quote.csv": CLEAN.replace("3,Cy", '3,"Cy"x'),
    "no_header.csv": "1,x\n2,y\n",
    "empty.csv": "",
}


@pytest.fixture
def files(tmp_path: Path) -> list[File]:
    """A checkout of the benchmark with these files."""
    for folder in ("csv", "clean", "parameters"):
        (tmp_path / "polluted_files" / folder).mkdir(parents=True)
    (tmp_path / "pollock_weights.json").write_text("{}")
    for name, text in POLLUTED.items():
        headed = name not in ("no_header.csv", "empty.csv")
        told = {
            "delimiter": ";" if name == "delimiter.csv" else ",",
            "quotechar": '"',
            "escapechar": '"',
            "preamble_lines": 0,
            "header_lines": int(headed),
            "column_names": ["id", "name"] if headed else [],
            "n_columns": 2 if text else 0,
        }
        (tmp_path / "polluted_files" / "csv" / name).write_text(text)
        (tmp_path / "polluted_files" / "clean" / name).write_text(CLEAN if headed else text)
        (tmp_path / "polluted_files" / "parameters" / f"{name}_parameters.json").write_text(json.dumps(told))
    return polluted(tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_polluted_files_come_out_of_the_running_system_as_out_of_the_reader(
    deployed: Cloud, files: list[File], way: Way
) -> None:
    found = {file.name: outcome for file, outcome in pipeline.sent(deployed.instance, files, way)}
    assert found == {file.name: reader.outcome(file, way) for file in files}
    rejected = {"extra_quote.csv", "more_sep.csv"} | ({"less_sep.csv"} if way != "padded" else set())
    assert {name for name, outcome in found.items() if outcome.rejects} == rejected
    assert {file.name for file in files if score(file, found[file.name], str).points < 10} == rejected
