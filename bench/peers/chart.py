"""The contacts' figures as a picture: time per row beside psql's, a point a system, on a logarithmic scale."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any, Final

from bench.peers.results import Case, Report, spread
from bench.peers.systems import SYSTEMS

OURS: Final = "#c2410c"
OTHERS: Final = "#64748b"
GRID: Final = "#e2e8f0"
INK: Final = "#1e293b"


def draw(report: Report, path: Path) -> None:
    """Write a PNG, if there is a ratio to show. Raises ImportError without matplotlib (requirements-bench.txt)."""
    cases = [case for name in SYSTEMS if (case := report.find(name, "contacts")) and case.ratios()]
    if not cases:
        return
    import_module("matplotlib").use("Agg")
    pyplot = import_module("matplotlib.pyplot")
    cases.sort(key=lambda case: case.ratio, reverse=True)
    figure, axes = pyplot.subplots(figsize=(8.6, 0.44 * len(cases) + 1.3), layout="constrained")
    for place, case in enumerate(cases):
        _point(axes, place, case)
    rows = max(case.rows for case in cases)
    axes.set_yticks(range(len(cases)), [_label(case, rows) for case in cases], fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(min(min(case.ratios()) for case in cases) / 1.5, 3 * max(case.ratio for case in cases))
    axes.set_ylim(-0.7, len(cases) - 0.3)
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    figure.supxlabel("time per row as a multiple of psql \\copy's, logarithmic; less is better", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    title = f"{rows:,} contacts into PostgreSQL, unique e-mail\n{report.described}"
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _label(case: Case, rows: int) -> str:
    """Those that were given fewer rows say so."""
    title = SYSTEMS[case.system].title.replace("`", "")
    return fill(title if case.rows == rows else f"{title} ({case.rows:,} rows)", 44)


def _point(axes: Any, place: int, case: Case) -> None:
    """The median, a line from the lowest to the highest, and both in figures."""
    color = OURS if case.system in ("pipeline", "pipeline-exact", "loadpath") else OTHERS
    axes.hlines(place, min(case.ratios()), max(case.ratios()), color=color, linewidth=5, alpha=0.4)
    axes.plot(case.ratio, place, "o", color=color, markersize=9)
    axes.annotate(
        spread(case.ratios()), (max(case.ratios()), place), (9, 0), textcoords="offset points", va="center", fontsize=8
    )
