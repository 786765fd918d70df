"""What a cloud of the tests lacks stands in the manual with its reason, and is what a test needs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests import clouds

ROOT = Path(__file__).resolve().parents[2]


def test_the_manual_says_what_each_cloud_lacks() -> None:
    section = (ROOT / "docs" / "aws.md").read_text().partition("## Three clouds, one suite")[2].partition("\n## ")[0]
    head, _, *rows = ([cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|.*", section, re.M))
    assert [name.lower() for name in head[1:]] == list(clouds.SLOWNESS)
    named = {need: dict(zip(clouds.SLOWNESS, cells, strict=True)) for need, *cells in rows}
    assert named == {need: dict.fromkeys(clouds.SLOWNESS, "") | dict(why) for need, why in clouds.LACKS.items()}


def test_what_a_cloud_lacks_is_needed_by_a_test_and_nothing_is_needed_that_no_table_has() -> None:
    assert {need for file in (ROOT / "tests").rglob("test_*.py") for need in _needs(file)} == clouds.LACKS.keys()


def _needs(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "needs":
            yield from (ast.literal_eval(one) for one in node.args)
