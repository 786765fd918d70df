"""The contacts' figures as a picture: time per row beside psql's, a bar a system, on a logarithmic scale."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from bench.peers.results import Case, Report, spread
from bench.peers.systems import SYSTEMS

OURS: Final = "#c2410c"
OTHERS: Final = "#94a3b8"
INK: Final = "#1e293b"


def draw(report: Report, path: Path) -> None:
    """Write a PNG, if there is a ratio to show. Raises ImportError without matplotlib (requirements-bench.txt)."""
    cases = [case for name in SYSTEMS if (case := report.find(name, "contacts")) and case.ratios()]
    if not cases:
        return
    import_module("matplotlib").use("Agg")
    pyplot = import_module("matplotlib.pyplot")
    cases.sort(key=lambda case: case.ratio, reverse=True)
    figure, axes = pyplot.subplots(figsize=(8.6, 0.42 * len(cases) + 1.5), layout="constrained")
    for place, case in enumerate(cases):
        _bar(axes, place, case)
    axes.set_yticks(range(len(cases)), [SYSTEMS[case.system].title.replace("`", "") for case in cases])
    axes.set_xscale("log")
    axes.set_xlim(right=2.2 * max(case.ratio for case in cases))
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_xlabel("time per row as a multiple of psql \\copy's, logarithmic; less is better")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    rows = max(case.rows for case in cases)
    axes.set_title(f"{rows:,} contacts into PostgreSQL, unique e-mail\n{report.described}", fontsize=9, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _bar(axes: Any, place: int, case: Case) -> None:
    color = OURS if case.system in ("pipeline", "loadpath") else OTHERS
    axes.barh(place, case.ratio, color=color, height=0.62)
    axes.text(case.ratio * 1.06, place, spread(case.ratios()), va="center", fontsize=8, color=INK)
