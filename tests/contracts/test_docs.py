"""The documents name everything a user can type or set, and none names a command, flag or place that is not there."""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from rowmill_client.cli import app
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from bench.campaign.audit import INVARIANTS
from bench.fuzz.child import TARGETS
from chalicelib.contract import OPERATIONS
from chalicelib.datasets import read_schema
from infra.__main__ import _parser
from infra.local.place import MARK
from tests import held
from tests.pure.differences import table

ROOT = Path(__file__).resolve().parents[2]
ROWMILL = get_command(app)
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
(DEPLOYING,) = (one.choices for one in _parser()._actions if isinstance(one, argparse._SubParsersAction))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What was so on its day is not held to what is there now.
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")} - {ROOT / "DECISIONS.md", ROOT / "CHANGELOG.md"})
SCHEMAS_IN = ("encryption.md", "rows.md", "schema.md")
# By tests/journey/test_documents.py; of an event by tests/stages/test_notify.py.
COMPARED = ("receipts.md", "webhooks.md")
METHODS = {method for method, _ in OPERATIONS}
READERS = ("chalicelib/settings.py", "infra/local", "client/rowmill_client")


def _page(name: str) -> str:
    return (ROOT / name).read_text()


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


@pytest.mark.parametrize("command", sorted(_commands(ROWMILL, "rowmill")))
def test_the_page_of_the_command_line_names_every_command(command: str) -> None:
    assert re.search(rf"\b{command}\b", _page("docs/cli.md"))


@pytest.mark.parametrize("target", _targets())
def test_the_readme_names_every_make_target(target: str) -> None:
    assert re.search(rf"\bmake {target}\b", _page("README.md"))


@pytest.mark.parametrize("command", sorted(DEPLOYING))
def test_the_readme_names_every_command_of_a_deploy(command: str) -> None:
    assert re.search(rf"`python -m infra {command}\b", _page("README.md"))


@pytest.mark.parametrize("setting", _settings())
def test_the_page_of_settings_names_every_setting(setting: str) -> None:
    assert re.search(rf"\b{setting}\b", _page("docs/settings.md"))


def test_the_page_of_benches_names_every_target_of_the_fuzzer() -> None:
    assert r"\|".join(TARGETS) in _page("docs/bench.md")


def test_the_page_of_failures_names_every_invariant_of_the_campaign() -> None:
    assert re.findall(r"^\| \*\*(I\d+)\*\* \|", _page("docs/failures.md"), re.MULTILINE) == list(INVARIANTS)


@pytest.mark.parametrize("page", [page.name for page in DOCUMENTS if page.parent.name == "docs"])
def test_the_readme_leads_to_every_page(page: str) -> None:
    assert f"](docs/{page}" in _page("README.md")


@pytest.mark.parametrize("reader", ["csv", "DuckDB"])
def test_the_docs_list_every_class_of_differences_as_it_comes_out(reader: str) -> None:
    assert table(reader) in (ROOT / "docs" / "dialects.md").read_text()


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Files and anchors of its links, commands with their options, flags of benches, targets of make, routes."""
    text = page.read_text()
    prose = FENCED.sub("", text)
    links = (link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose))
    wrong = [f"{file}#{anchor}" for file, _, anchor in links if not _leads(page, file, anchor)]
    shown = [line for kind, block in FENCED.findall(text) if kind == "console" for line in block.splitlines()]
    typed = [line.removeprefix("$ ").partition(" #")[0] for line in shown if line.startswith("$ ")]
    named = [*re.findall(r"`([^`]+)`", prose), *typed]
    wrong += [route for route in named if not _is_a_route(route)]
    assert wrong + [command for command in named if not _can_be_typed(command.replace("\n", " "))] == []


@pytest.mark.parametrize(
    "page", [page for page in DOCUMENTS if "```json" in page.read_text()], ids=lambda page: page.name
)
def test_what_a_page_shows_as_json_is_as_the_service_has_it(page: Path) -> None:
    """Table Schemas are taken, what is asked beside one with them; members of a status are as the contract has them."""
    for block in (block for kind, block in FENCED.findall(page.read_text()) if kind == "json"):
        if block.startswith('"'):
            shown = json.loads(f"{{{block}}}")
            members = held._document()["components"]["schemas"]["Upload"]["properties"]
            assert [fault for name, value in shown.items() for fault in held._wrong(members[name], value)] == []
        elif page.name in SCHEMAS_IN:
            for asked in block.splitlines() if page.name == "schema.md" else [block]:
                read_schema({"fields": [{"name": "email"}, {"name": "day", "type": "date"}]} | json.loads(asked))
        else:
            assert page.name in COMPARED


def _leads(page: Path, file: str, anchor: str) -> bool:
    target = page.parent / file if file else page
    return target.exists() and (not anchor or anchor in _anchors(target))


@cache
def _anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _is_a_route(named: str) -> bool:
    """Whether the API has this method and path, which may begin with an ellipsis; whatever is none may be."""
    method, _, path = named.partition(" ")
    if method not in METHODS or not path.startswith(("/", "…")):
        return True
    asked = re.sub(r"\{\w+\}|<\w+>", "{}", path.partition("?")[0]).rstrip("/") or "/"
    routes = [re.sub(r"\{\w+\}", "{}", route) for verb, route in OPERATIONS if verb == method]
    return asked in routes or (asked[0] == "…" and any(route.endswith(asked[1:]) for route in routes))


def _can_be_typed(command: str) -> bool:
    """Whether there is this command of ours with these options; whatever is not ours may be."""
    first, *words = re.sub(r"[][|\\…]", " ", command).split() or [""]
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    if first == "make":
        return set(words[:1]) <= set(_targets())
    if first == "rowmill":
        known: object = ROWMILL
        while isinstance(known, TyperGroup) and words and words[0] in known.commands:
            known = known.commands[words.pop(0)]
        if isinstance(known, TyperGroup):
            return set(words) <= {"COMMAND", "--help"}
        assert isinstance(known, TyperCommand)
        return options <= {name for option in known.params for name in (*option.opts, *option.secondary_opts)}
    if [first, *words[:1]] == ["python", "-m"]:
        flags = _flags(*words[1:3])
        return flags is not None and options - {"-m"} <= flags
    return True


def _flags(module: str, word: str = "") -> set[str] | None:
    """What `python -m MODULE WORD` takes; None if there is no such command."""
    if module == "infra":
        return set(DEPLOYING[word]._option_string_actions) if word in DEPLOYING else None
    place = ROOT / module.replace(".", "/")
    sources = _python_files(place if place.is_dir() else place.with_suffix(".py"))
    if not sources[0].exists():
        return None
    return {flag for file in sources for flag in re.findall(r'"(--[a-z-]+)"', file.read_text())}


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
    assert len(list(_commands(ROWMILL, "rowmill"))) > 10
    assert {"demo", "test", "up", "down", "check"} <= set(_targets())
    assert {"DATABASE_URL", "JWT_SECRET", "ROWMILL_API", "ROWMILL_HOME", "ROWMILL_STAGE"} <= set(_settings())
