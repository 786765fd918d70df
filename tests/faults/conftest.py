"""What the fault tests share: the pipeline behind its doors, and figures that outlive a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import mend
from infra.local.place import default_folder
from tests.faults.deliveries import Deliveries
from tests.stages.conftest import Pipeline, keeper, own_clients, pipeline, simulated

pytest.register_assert_rewrite("tests.faults.audit")
__all__ = ["keeper", "own_clients", "pipeline", "simulated"]
Figures = Callable[[str, str, Any], None]


@pytest.fixture
def deliveries(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deliveries]:
    """The pipeline's queues. An upload whose file is there counts as lost at once, not after half a minute."""
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    deliveries = Deliveries(pipeline)
    deliveries.sweep()  # the first one notes that the status table is whole
    yield deliveries
    deliveries.db.close()


@pytest.fixture
def figures(record_property: Callable[[str, Any], None]) -> Figures:
    """Keep a figure: figures("crash_points", "split", 40) goes into .rowmill/reports/crash_points.json."""
    return lambda report, name, value: record_property(report, {name: value})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Gather the figures of every process of the run."""
    found: dict[str, dict[str, Any]] = {}
    for test in terminalreporter.getreports("passed"):
        for report, figure in test.user_properties:
            found.setdefault(report, {}).update(figure)
    folder = default_folder() / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    for report, figures in sorted(found.items()):
        (folder / f"{report}.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
        terminalreporter.write_line(f"{report}: {json.dumps(figures, sort_keys=True)}")
