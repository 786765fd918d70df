"""Figures of a run: kept as JSON, told as a table, and put where a page has room for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from infra.local.cloud import CHECKOUT
from infra.local.place import default_folder

PAGE = CHECKOUT / "docs" / "scale.md"


def keep(name: str, told: object) -> Path:
    """Write what a run has found into `.rowmill/reports/{name}.json`; where that is."""
    path = default_folder() / "reports" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n")
    return path


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; all but the first column are set to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def publish(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between `<!-- name: begin -->` and `<!-- name: end -->`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
