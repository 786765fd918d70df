"""A file from the world: the IEEE's list of hardware vendors as Debian ships it.

Addresses hold line ends inside quotes, and three assignments are given out twice. Workers take its chunks in any
order, and the same three rows come back, with the lines they begin on.
"""

from __future__ import annotations

import csv
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.place import default_folder
from tests.faults.audit import audited
from tests.faults.deliveries import Deliveries
from tests.faults.test_any_order import announced, at_once
from tests.stages.conftest import cut_into

PACKAGE = "ieee-data=20220827.1"
RECORDS, TWICE = 32_530, 3
VENDORS = {
    "fields": [
        {"name": "Registry", "type": "string", "constraints": {"required": True}},
        {"name": "Assignment", "type": "string"},
        {"name": "Organization Name", "type": "string", "constraints": {"required": True}},
        {"name": "Organization Address", "type": "string"},
    ],
    "primaryKey": "Assignment",
}


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, fetched once as any user of Debian may: no installation, no root."""
    kept = default_folder() / "cache" / "oui.csv"
    if not kept.exists():
        folder = tmp_path_factory.mktemp("debian")
        if not any(_fetched(folder, update) for update in (False, True)):
            pytest.skip(f"apt-get download {PACKAGE} does not work here")
        kept.parent.mkdir(parents=True, exist_ok=True)
        (folder / "usr/share/ieee-data/oui.csv").rename(kept)
    return kept


def _fetched(folder: Path, update: bool) -> bool:
    commands = [["apt-get", "update"]] * update + [["apt-get", "download", PACKAGE]]
    try:
        for command in commands:
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (package,) = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def repeated(file: Path) -> Iterator[tuple[int, int]]:
    """(record, line) of each assignment that a line before it has, by Python's own reader."""
    with file.open(newline="", encoding="utf-8") as text:
        reader = csv.reader(text, strict=True)
        next(reader)
        seen, line = set[str](), reader.line_num + 1
        for record, cells in enumerate(reader, 1):
            if cells[1] in seen:
                yield record, line
            seen.add(cells[1])
            line = reader.line_num + 1


@pytest.mark.parametrize("workers", [1, 3])
def test_three_vendors_registered_twice_come_back_with_their_lines(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch, vendors: Path, workers: int
) -> None:
    cut_into(monkeypatch, 2000)
    expected = list(repeated(vendors))
    assert len(expected) == TWICE
    deliveries.pipeline.dataset(VENDORS, "vendors")
    upload_id, messages = announced(deliveries, vendors.read_bytes(), "vendors")
    random.Random(workers).shuffle(messages)
    at_once(messages, workers)
    deliveries.drain()
    found = audited(deliveries, upload_id)
    assert (found.counts["loaded"], found.counts["rejected"]) == (RECORDS - TWICE, TWICE)
    rejects = deliveries.pipeline.rejects(upload_id)
    assert [(one["row"], one["line"]) for one in rejects] == expected
    assert {one["errors"][0]["code"] for one in rejects} == {"duplicate_in_file"}
