"""The figures as text: a line a run, the table, and what the README has of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from bench.peers.results import Case, Report, spread
from bench.peers.systems import SYSTEMS

HEADS: Final = (
    "",
    "rows",
    "seconds",
    "rows/s",
    "× psql's time per row",
    "CPU s per 1 M rows: client + Postgres",
    "what it cannot do",
)
TITLES: Final = {
    "contacts": "{rows:,} contacts, unique e-mail",
    "bad": "{rows:,} contacts, 1 % invalid and 1 % repeated, beside psql on the clean file",
    "flights": "flights, 19 columns, no key",
    "small": "{rows:,} contacts: the median of 20 uploads, one after another",
}


def line(name: str, case: Case) -> str:
    """The last run of a case."""
    run = case.runs[-1]
    ratio = f"{run.ratio:7.2f} × psql" if run.ratio is not None else " " * 14
    cpu = f"cpu {run.spent.client:6.2f} + {run.spent.postgres:6.2f} s, others {run.spent.others:5.2f} s"
    return f"{run.round}  {case.file:9} {name:14} {run.rows:>9,} rows {run.spent.seconds:8.3f} s {ratio}  {cpu}"


def markdown(report: Report) -> str:
    lines = [_row(HEADS), "|---|" + "--:|" * (len(HEADS) - 2) + "---|"]
    for file, title in TITLES.items():
        cases = [case for name in SYSTEMS if (case := report.find(name, file))]
        if cases:
            told = title.format(rows=max(case.rows for case in cases))
            lines += [_row([f"**{told}**", *[""] * (len(HEADS) - 1)]), *map(_case, cases)]
    return "\n".join(lines)


def _case(case: Case) -> str:
    system = SYSTEMS[case.system]
    if not case.runs:
        return _row([system.title, "", "", "", "", "", f"not measured, {case.skipped}"])
    rate = case.rows / sorted(case.seconds)[len(case.runs) // 2]
    ratio = spread(case.ratios()) if case.ratios() else ""
    client, postgres = case.cpu_per_million()
    sending = statistics.median(run.spent.sending for run in case.runs)
    usd = statistics.median(run.spent.usd for run in case.runs)
    told = f"on AWS {usd:.4f} USD for 1 M rows, the database not counted" if usd else ""
    notes = [system.lacks, f"sending the file before: {sending:.1f} s" if sending else "", told, case.skipped]
    seconds = spread(case.seconds, 2 if max(case.seconds) > 0.1 else 3)
    figures = [f"{case.rows:,}", seconds, f"{rate:,.0f}", ratio, f"{client:,.1f} + {postgres:,.1f}"]
    return _row([system.title, *figures, "; ".join(filter(None, notes))])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def summary(report: Report) -> str:
    """The figures that matter most and how noisy the machine was, in a line."""
    return "; ".join([*_told(report), report.noise()])


def _told(report: Report) -> Iterator[str]:
    for file in ("contacts", "bad", "flights"):
        ours = report.find("pipeline", file)
        if ours and ours.ratios():
            yield f"{file} {spread(ours.ratios())} × psql"
    exact = report.find("pipeline-exact", "contacts")
    if exact and exact.ratios():
        yield f"without polars {spread(exact.ratios())} × psql"
    small = report.find("pipeline", "small")
    if small and small.runs:
        yield f"1,000 rows p50 {spread(small.seconds, 3)} s"


def page(report: Report, picture: str) -> str:
    """Picture and table as the README has them."""
    image = f"![Time per row beside psql]({picture})"
    return f"{image}\n\n{report.described}. {report.noise()}.\n\n{markdown(report)}"
