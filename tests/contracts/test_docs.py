"""The README names everything a user can type or set. What is not in it does not exist for them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from rowmill_client.cli import app
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from bench.fuzz.child import TARGETS
from infra.local.place import MARK
from tests.pure.differences import table

ROOT = Path(__file__).resolve().parents[2]
PROMISED_TARGETS = {
    "demo",
    "test",
    "test-localstack",
    "up",
    "down",
    "check",
    "bench",
    "bench-peers",
    "load",
    "campaign",
    "fuzz-api",
    "web",
    "audit",
}
SETTING = re.compile(r"ROWMILL_[A-Z]+(_[A-Z]+)*|OIDC_[A-Z]+|DATABASE_URL|(JWT|WEBHOOK|RECEIPT)_SECRET|RECEIPT_KEYS")
READERS = ("chalicelib/settings.py", "infra/local", "client/rowmill_client")


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text()


def _commands(command: object, words: str) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            yield from _commands(child, f"{words} {name}")
    else:
        assert isinstance(command, TyperCommand)
        yield words


def _targets() -> list[str]:
    makefile = (ROOT / "Makefile").read_text()
    return sorted(PROMISED_TARGETS & set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)))


def _settings() -> list[str]:
    """Environment variables by their names in the code; the mark of an instance is nobody's to set."""
    files = (file for reader in READERS for file in _python_files(ROOT / reader))
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return sorted({text for text in texts if SETTING.fullmatch(text)} - {MARK})


def _python_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("command", sorted(_commands(get_command(app), "rowmill")))
def test_the_readme_names_every_command(readme: str, command: str) -> None:
    assert re.search(rf"\b{command}\b", readme)


@pytest.mark.parametrize("target", _targets())
def test_the_readme_names_every_make_target(readme: str, target: str) -> None:
    assert re.search(rf"\bmake {target}\b", readme)


@pytest.mark.parametrize("setting", _settings())
def test_the_readme_names_every_setting(readme: str, setting: str) -> None:
    assert re.search(rf"\b{setting}\b", readme)


def test_the_readme_names_every_target_of_the_fuzzer(readme: str) -> None:
    assert r"\|".join(TARGETS) in readme


@pytest.mark.parametrize("reader", ["csv", "DuckDB"])
def test_the_docs_list_every_class_of_differences_as_it_comes_out(reader: str) -> None:
    assert table(reader) in (ROOT / "docs" / "dialects.md").read_text()


def test_security_names_tests_that_there_are_and_leaves_no_item_without_one() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    gone = [f"{path}::{name}" for path, name in named if name not in _tests(ROOT / path)]
    assert gone == []
    items = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| \d+ \| ", line)]
    assert [int(number) for number, *_ in items] == list(range(1, 45))
    assert [number for number, _, _, tests, *_ in items if "::" not in tests and "docs/" not in tests] == []


@cache
def _tests(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_there_is_something_to_name() -> None:
    assert len(list(_commands(get_command(app), "rowmill"))) > 10
    assert {"demo", "test", "up", "down", "check"} <= set(_targets())
    assert {"DATABASE_URL", "JWT_SECRET", "ROWMILL_API", "ROWMILL_HOME", "ROWMILL_STAGE"} <= set(_settings())
