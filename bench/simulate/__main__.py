"""`python -m bench.simulate`: predictions as Markdown, by the times of measured.json. `--measure` takes them anew."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.publish import table
from bench.simulate import limits
from bench.simulate.limits import LIMITS
from bench.simulate.measure import measure
from bench.simulate.scenarios import SCENARIOS, Scenario, bytes_per_row, outcomes
from bench.simulate.validate import compare
from chalicelib import prices

MEASURED = Path(__file__).with_name("measured.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="start an embedded cloud and time it, two minutes")
    parser.add_argument("--measured", type=Path, default=MEASURED, help="%(default)s")
    arguments = parser.parse_args()
    if arguments.measure:
        arguments.measured.write_text(json.dumps(measure(), indent=1) + "\n")
    print("\n".join(_report(json.loads(arguments.measured.read_text()))))
    return 0


def _report(measured: Mapping[str, Any]) -> Iterator[str]:
    yield f"Times taken {measured['taken']}: {measured['machine']}; {bytes_per_row(measured):.0f} bytes a row."
    yield from _validation(measured)
    for scenario in SCENARIOS:
        yield from _scenario(measured, scenario)
    yield from _limits()


def _validation(measured: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Measured runs, predicted\n"
    rows = [
        (each.run, f"{each.measured:.1f} s", f"{each.predicted:.1f} s", f"{each.ratio:.2f}", f"{each.of_uploads:.2f}")
        for each in compare(measured)
    ]
    yield table(("run", "measured", "predicted", "predicted / measured", "of an upload, median"), rows)


def _scenario(measured: Mapping[str, Any], scenario: Scenario) -> Iterator[str]:
    yield f"\n## {scenario.name}\n"
    rows = [
        (
            found.step.name,
            _span(found.took),
            _span(found.median),
            f"{found.rows / found.took:,.0f}",
            f"${found.usd:,.2f}",
            f"${1e6 * found.usd / found.rows:.4f}",
            found.short,
            "; ".join(found.notes),
        )
        for found in outcomes(measured, scenario)
    ]
    heads = (
        "deployment",
        "all over after",
        "median upload",
        "rows/s",
        "cost",
        "a million rows",
        "short first",
        "advice",
    )
    yield table(heads, rows)


def _limits() -> Iterator[str]:
    yield "\n## Limits\n"
    rows = [(f"{limit.value:,.0f}", limit.of, limit.source) for limit in LIMITS.values()]
    yield table(("limit", "of", "published at"), rows)
    classes = ", ".join(
        f"{one.name} {one.vcpus} vCPUs, {one.connections:,} connections"
        for one in (limits.SMALL, limits.MIDDLE, limits.LARGE)
    )
    yield f"\nDatabases: {classes}. Costs: {prices.AS_OF}, without the database."


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    raise SystemExit(main())
