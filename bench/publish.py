"""Figures of a run, put where a page has room for them: between two marks of the same name."""

from __future__ import annotations

from pathlib import Path

from infra.local.cloud import CHECKOUT

PAGE = CHECKOUT / "docs" / "scale.md"


def publish(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between `<!-- name: begin -->` and `<!-- name: end -->`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
