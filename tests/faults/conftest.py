"""What the fault tests share: the pipeline behind its doors, and figures that outlive a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import mend
from infra.local.place import default_folder
from tests.faults.deliveries import Deliveries
from tests.stages.conftest import Pipeline, pipeline

pytest.register_assert_rewrite("tests.faults.audit")
__all__ = ["pipeline"]
Figures = Callable[[str, str, Any], None]
_FIGURES: dict[str, dict[str, Any]] = {}


@pytest.fixture
def deliveries(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deliveries]:
    """The pipeline's queues. An upload whose file is there counts as lost at once, not after half a minute."""
    monkeypatch.setattr(mend, "LOST_SECONDS", -1)
    deliveries = Deliveries(pipeline)
    deliveries.sweep()  # the first one notes that the status table is whole
    yield deliveries
    deliveries.db.close()


@pytest.fixture(scope="session")
def figures() -> Figures:
    """Keep a figure: figures("crash_points", "split", 40) goes into .rowmill/reports/crash_points.json."""

    def keep(report: str, name: str, value: Any) -> None:
        _FIGURES.setdefault(report, {})[name] = value
        folder = default_folder() / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_FIGURES[report], indent=1, sort_keys=True)
        (folder / f"{report}.json").write_text(text + "\n")

    return keep


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report, found in sorted(_FIGURES.items()):
        terminalreporter.write_line(f"{report}: {json.dumps(found, sort_keys=True)}")
