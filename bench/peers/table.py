"""The figures as text: a line a run, and the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.peers.results import Case, Report
from bench.peers.systems import REFERENCE, SYSTEMS

HEADS = (
    "",
    "rows",
    "seconds",
    "rows/s",
    "× psql's time per row",
    "CPU s per 1 M rows: client + Postgres",
    "what it cannot do",
)
TITLES = {
    "contacts": "1,000,000 contacts, unique e-mail",
    "bad": "the same with 1 % invalid and 1 % repeated rows, beside psql on the clean file",
    "flights": "flights, 19 columns, no key",
    "small": "a file of 1,000 rows",
}


def line(name: str, case: Case) -> str:
    """The last run of a case."""
    run = case.runs[-1]
    ratio = f"{run.ratio:7.2f} × psql" if run.ratio is not None else " " * 14
    cpu = f"cpu {run.client_cpu:6.2f} + {run.postgres_cpu:6.2f} s, others {run.others_cpu:5.2f} s"
    return f"{run.round}  {case.file:9} {name:12} {run.rows:>9,} rows {run.seconds:8.3f} s {ratio}  {cpu}"


def markdown(report: Report) -> str:
    lines = [_row(HEADS), "|" + "---|" * len(HEADS)]
    for file, title in TITLES.items():
        cases = [case for name in SYSTEMS if (case := report.find(name, file))]
        if cases:
            lines += [_row([f"**{title}**", *[""] * (len(HEADS) - 1)]), *map(_case, cases)]
    return "\n".join(lines) + "\n"


def _case(case: Case) -> str:
    system = SYSTEMS[case.system]
    if not case.runs:
        return _row([system.title, "", "not measured", "", "", "", case.skipped])
    rows = case.runs[0].rows
    rate = rows / case.median("seconds")
    cpu = f"{case.per_million('client_cpu'):.1f} + {case.per_million('postgres_cpu'):.1f}"
    seconds = _spread([run.seconds for run in case.runs], case.median("seconds"))
    return _row([system.title, f"{rows:,}", seconds, f"{rate:,.0f}", _ratio(case), cpu, system.lacks])


def _ratio(case: Case) -> str:
    ratios = case.ratios()
    return _spread(ratios, sorted(ratios)[len(ratios) // 2]) if ratios else ""


def _spread(figures: Sequence[float], middle: float) -> str:
    """The median, and from where to where if there are several."""
    told = f"{middle:.2f}"
    return f"{told} ({min(figures):.2f}–{max(figures):.2f})" if len(figures) > 1 else told


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def summary(report: Report) -> str:
    """How noisy the machine was, and the figures that matter most, in a line."""
    return "; ".join(_told(report)) or "nothing was measured"


def _told(report: Report) -> Iterator[str]:
    for file in ("contacts", "bad", "flights"):
        ours = report.find("pipeline", file)
        if ours and ours.ratios():
            yield f"{file}: {_ratio(ours)} × psql"
    psql = report.find(REFERENCE, "contacts")
    if psql and len(psql.runs) > 1:
        seconds = [run.seconds for run in psql.runs]
        yield f"noise: psql itself took {min(seconds):.2f} to {max(seconds):.2f} s"
