"""The tables, and the heaviest and the slowest in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.publish import table
from bench.weight.imports import DEPENDENCIES, STARTS

LIMIT_MB: Final = 250


def markdown(told: Mapping[str, Any]) -> str:
    shipped, bare = (told["imports"][kind] for kind in ("as shipped", "without bytecode"))
    machine = "{processor}, {cores} cores, {memory_gib} GiB, {system}, Python {python}".format(**told["machine"])
    whole = told["package"]
    return "\n\n".join(
        (
            f"{machine}, {told['date']}. The package: {whole['unpacked'] / 1e6:.0f} MB unpacked, Lambda takes"
            f" {LIMIT_MB}; {whole['packed'] / 1e6:.1f} MB packed.",
            table(
                (
                    "dependency",
                    "MB unpacked",
                    "packed",
                    "import, ms",
                    "without bytecode",
                    "adds MB",
                    "imported by",
                    "what it is for",
                ),
                (_dependency(name, told["sizes"], shipped[name], bare[name]) for name in DEPENDENCIES),
            ),
            table(
                (
                    "function",
                    "imports, s",
                    "of it processor",
                    "without bytecode",
                    "MB then",
                    "first call, s",
                    "later ones, s",
                    "MB then",
                ),
                (
                    _function(name, shipped[f"start {name}"], bare[f"start {name}"], told["calls"][name])
                    for name in STARTS
                ),
            ),
        )
    )


def _dependency(
    name: str, taken: Mapping[str, Mapping[str, int]], spent: Sequence[float], kept: Sequence[float]
) -> Any:
    one = DEPENDENCIES[name]
    unpacked, packed = (sum(taken[each][kind] for each in one.brings) / 1e6 for kind in ("unpacked", "packed"))
    told = f"{unpacked:.1f}", f"{packed:.1f}", f"{1000 * spent[0]:.0f}", f"{1000 * kept[0]:.0f}", f"{spent[2]:.0f}"
    return name, *told, one.by, one.without


def _function(name: str, spent: Sequence[float], kept: Sequence[float], calls: Mapping[str, float]) -> Sequence[str]:
    started = f"{spent[0]:.2f}", f"{spent[1]:.2f}", f"{kept[0]:.2f}", f"{spent[3]:.0f}"
    return name, *started, f"{calls['cold']:.2f}", f"{calls['warm']:.3f}", f"{calls['mb']:.0f}"


def summary(told: Mapping[str, Any]) -> str:
    """The heaviest, and the slowest to start."""
    heaviest = max(told["sizes"], key=lambda name: told["sizes"][name]["unpacked"])
    slowest = max(told["calls"], key=lambda name: told["calls"][name]["cold"])
    return (
        f"weight: {told['package']['unpacked'] / 1e6:.0f} of {LIMIT_MB} MB, {heaviest}"
        f" {told['sizes'][heaviest]['unpacked'] / 1e6:.0f}; app.py imports in"
        f" {told['imports']['as shipped']['start settle'][0]:.2f} s as shipped; the slowest first call is {slowest}'s,"
        f" {told['calls'][slowest]['cold']:.2f} s"
    )
