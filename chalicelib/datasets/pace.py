"""How many rows a second a dataset takes, of all uploads together: a word beside its schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chalicelib.datasets.problems import Problem, problem

SLOWEST: Final = 0.001
FASTEST: Final = 1_000_000_000


def pace_problems(rate: object) -> Iterator[Problem]:
    """What is wrong with max_rows_per_second."""
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if rate is not None and not (is_number and SLOWEST <= rate <= FASTEST):  # type: ignore[operator]
        yield problem(None, f"max_rows_per_second must be a number from {SLOWEST} to {FASTEST:,}")


def max_rate(descriptor: Mapping[str, Any]) -> float | None:
    """The rows a second of a descriptor without problems; None if nobody is to wait."""
    rate = descriptor.get("max_rows_per_second")
    return None if rate is None else float(rate)
