"""The command line covers the API: each command is its own example, run against a server made of the contract.

A new operation is red here until a command asks it, or `WITHOUT` says why none does; a new command until its help has an
example that the contract takes and answers, with one JSON document on stdout.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rowmill_client import Rowmill
from rowmill_client.cli import app
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner, Result

from chalicelib import seals
from chalicelib.contract import OPERATIONS, SCHEMAS, Operation, checks
from tests import held

# Operations that no command asks: why, and the method of the client that does, if one does.
WITHOUT = {
    "healthz": ("for what watches the service", ""),
    "openapi": ("for tools that read OpenAPI", ""),
    "docs": ("for browsers", ""),
    "page": ("for browsers", ""),
    "asset": ("for browsers", ""),
    "refresh": ("every command does it by itself when its token has run out", "refresh"),
    **{
        one.name: ("for clients of the book API; commands ask the general route", "")
        for one in OPERATIONS.values()
        if one.path != "/" and not one.path.startswith(("/v1/", "/healthz", "/docs", "/assets", "/.well-known"))
    },
}
# Commands that ask AWS and not the API: tests/journey/test_top.py runs their examples on an embedded cloud.
OPERATORS = ("top", "metrics")
UPLOAD = "upl_01M80FHFV747N9CXY8YY64K210"
# Members of answers that lead on, or that a client waits for; the rest may be anything that the schema has.
SAID: dict[str, Any] = {"next_cursor": None, "state": "completed", "id": UPLOAD, "status": "success", "key": "1"}
CONTACTS = b"email\nada@example.org\n"


def receipt() -> bytes:
    """A receipt of that file, sealed as the service does."""
    file = {"size": len(CONTACTS), "sha256": hashlib.sha256(CONTACTS).hexdigest(), "reason": None}
    columns = ["n", "byte_start", "byte_end", "sha256"]
    line = [1, 6, len(CONTACTS), hashlib.sha256(CONTACTS[6:]).hexdigest()]
    chunks = {"columns": columns, "items": [line]}
    undone = {"reverted_rows": 1, "restored_rows": 0, "conflicts": 0, "forced": True}
    said = {"upload_id": UPLOAD, "n": 1, "state": "reverted", "undone": undone, "file": file, "text": None}
    said |= {"chunks": chunks}
    return json.dumps({"receipt": said, "jws": seals.seal(json.dumps(said).encode())}).encode()


FILES = {
    "contacts.csv": CONTACTS,
    "receipt.json": receipt(),
    "corrected.csv": b"email\nada@example.org\n",
    "cover.png": b"\x89PNG\r\n\x1a\n",
    "schema.json": b'{"fields": [{"name": "email", "type": "string"}]}',
}


def commands(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    command = command or get_command(app)
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from commands(one, (*words, name))
    else:
        assert isinstance(command, TyperCommand)
        yield words, command


COMMANDS = {" ".join(words): command for words, command in commands()}


def examples(command: str) -> list[list[str]]:
    """What a command's help tells people to type."""
    found = re.findall(r"^ +(?:Example:)? +rowmill (.+)$", COMMANDS[command].help or "", re.MULTILINE)
    said = re.findall(r"Example: rowmill (.+)", COMMANDS[command].help or "")
    return [shlex.split(text.partition(" < ")[0]) for text in dict.fromkeys([*said, *found])]


def made(schema: Mapping[str, Any], name: str = "") -> Any:
    """Something that is as the schema has it."""
    if "$ref" in schema:
        return made(SCHEMAS[schema["$ref"].rpartition("/")[2]], name)
    if name in SAID:
        return SAID[name]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return made(schema["anyOf"][0], name)
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return {key: made(one, key) for key, one in schema.get("properties", {}).items()}
    if kind == "array":
        return [made(schema["items"])] if "items" in schema else []
    if kind == "string" and schema.get("format") == "date-time":
        return "2026-11-28T12:00:00Z"
    return {"string": "ada", "integer": max(1, schema.get("minimum", 1)), "number": 1.0, "boolean": True}.get(kind)


class Api(ThreadingHTTPServer):
    """Answers every operation as its contract has it, and fails whoever asks otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.in_parts = False
        self.asked: set[str] = set()
        self.faults: list[str] = []


class Door(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        operation = held._asked(self.command, path)
        if path.startswith("/bucket"):
            self.answer(200 if self.command != "POST" else 204, b"file", {"ETag": '"1"'})
        elif operation is None:
            self.server.faults.append(f"{self.command} {path} is no operation")
            self.answer(404, b"{}")
        else:
            self.operate(operation, query, body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def operate(self, operation: Operation, query: str, body: bytes) -> None:
        self.server.asked.add(operation.name)
        try:
            given = [pair.partition("=") for pair in query.split("&") if pair]
            checks.query(operation, {name: [value] for name, _, value in given})
            if operation.body and body:
                checks.body(operation, json.loads(body), len(body))
        except Exception as fault:
            self.server.faults.append(f"{operation.name}: {fault}")
        status = min(operation.answers)
        schema = operation.answers[status].schema
        self.answer(status, b"" if schema is None else json.dumps(self.content(operation, schema)).encode())

    def content(self, operation: Operation, schema: Mapping[str, Any]) -> Any:
        said = made(schema)
        if operation.name == "list_rows":
            said["items"] = [{"ada": "lovelace"}]
        if "upload" in said:
            said["upload"] = self.ticket() if operation.name != "create_picture" else self.form()
        if operation.name == "get_text":
            said["url"] = f"{self.server.url}/bucket"
        if operation.name == "create_picture":
            said["id"] = "pic_01M80FHFV747N9CXY8YY64K210"
        if operation.name == "sign_parts":
            said = self.ticket() | {
                "parts": [{"number": 1, "size": 23, "url": f"{self.server.url}/bucket", "headers": {}}]
            }
        return said

    def form(self) -> dict[str, Any]:
        until = {"expires_at": "2026-11-28T12:00:00Z", "url": f"{self.server.url}/bucket"}
        return {"method": "POST", "fields": {"key": "a"}, **until}

    def ticket(self) -> dict[str, Any]:
        if not self.server.in_parts:
            return self.form()
        until = {"expires_at": "2026-11-28T12:00:00Z", "url": f"{self.server.url}/bucket"}
        parts = {"part_size": 1 << 20, "parts_total": 1, "parts": [], "stored": [], "checksum": None}
        return {"method": "PUT", "closes_at": until["expires_at"], **parts, **until}

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "ETag": '"1"', **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if status != 204 else b"")


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(api: Api, folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> Result:
    """A command as somebody types it who is logged in, in a folder with the files that examples speak of."""
    monkeypatch.chdir(folder)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    config = folder / "config" / "rowmill"
    config.mkdir(parents=True, exist_ok=True)
    kept = {"api": api.url, "token": "a", "username": "ada", "refresh": "b"}
    (config / "credentials.json").write_text(json.dumps(kept))
    (config / "receipt-keys.json").write_text(json.dumps(seals.keys()))
    env = {"ROWMILL_API": api.url, "ROWMILL_TOKEN": None, "ROWMILL_RETRY_SECONDS": "0", "NO_PROXY": "127.0.0.1"}
    return CliRunner().invoke(
        app, words, input="correct horse\nstaple battery\n", env=env | {"XDG_CONFIG_HOME": str(config.parent)}
    )


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - set(OPERATORS)))
def test_an_example_is_taken_by_the_contract_and_with_json_prints_one_document(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, in_parts: bool
) -> None:
    assert examples(command), "its help has no example"
    api.in_parts = in_parts
    api.faults.clear()
    for words in examples(command):
        assert " ".join(words).startswith(command)
        plain = run(api, tmp_path, monkeypatch, words)
        assert (plain.exit_code, api.faults) == (0, []), plain.output
        ended = run(api, tmp_path, monkeypatch, [*words, "--json"])
        assert (ended.exit_code, api.faults) == (0, []), ended.output
        json.loads(ended.stdout)
        assert ended.stdout.endswith("\n")


def test_every_operation_has_a_command_or_a_reason(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands talk through the typed client alone (below), so what one of them asks has a method, too."""
    api.asked.clear()
    for api.in_parts in (False, True):
        for command in COMMANDS.keys() - set(OPERATORS):
            for words in examples(command):
                run(api, tmp_path, monkeypatch, words)
    assert {one.name for one in OPERATIONS.values()} - api.asked == WITHOUT.keys()


def test_what_no_command_asks_has_a_reason_and_most_of_it_a_method() -> None:
    assert all(why for why, _ in WITHOUT.values())
    assert all(hasattr(Rowmill, method) for _, method in WITHOUT.values() if method)


def test_commands_ask_through_the_typed_client_alone() -> None:
    room = Path(sys.modules[Rowmill.__module__].__file__ or "").parent
    for path in (*room.glob("*_commands.py"), room / "parameters.py", room / "cli.py"):
        assert not re.search(r"httpx|Transport|\.call\(", path.read_text()), path.name


# What is said


def test_who_holds_a_file_against_a_receipt_is_told_that_its_rows_were_taken_out(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run(api, tmp_path, monkeypatch, ["verify", "--offline", "receipt.json", "contacts.csv"])
    assert (found.exit_code, found.stdout[:5]) == (0, "match")
    assert "was undone: reverted_rows=1 restored_rows=0 conflicts=0 (forced)" in found.stderr


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["receipt", UPLOAD], '{"receipt": '),
        (["download", UPLOAD], "file"),
        (["export", "contacts"], "ada\nlovelace\n"),
    ],
)
def test_a_dash_is_stdout(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], start: str
) -> None:
    found = run(api, tmp_path, monkeypatch, [*words, "-o", "-"])
    assert (found.exit_code, found.stdout[: len(start)]) == (0, start)
    assert not (tmp_path / "-").exists()


def test_the_help_names_every_command_and_what_exit_codes_mean() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command}  +\w", said, re.MULTILINE), command
    said = " ".join(said.split())
    for code in ("0 done", "1 the API", "2 wrong use", "130 interrupted", "3 completed with errors", "4 any other end"):
        assert code in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_explains_each_of_its_parameters_and_takes_json(command: str) -> None:
    said = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
    said = " ".join(said.split())
    assert "--json" in said
    assert "Example: rowmill" in said
    for parameter in COMMANDS[command].params:
        told = getattr(parameter, "help", None)
        assert told, f"{parameter.name} has no help"
        assert told in said


def test_a_refusal_leaves_stdout_empty(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = ["status", ""], ["export", "contacts"], ["upload", "absent.csv"], ["metrics", "--minutes", "inf"]
    for words in ([*one, "--json"] for one in wrong):
        ended = run(api, tmp_path, monkeypatch, words)
        assert (ended.exit_code, ended.stdout) == (2, ""), words


@pytest.mark.parametrize(
    ("malware", "told"),
    [
        (("off", "infected", "EICAR test file"), "malware: EICAR test file; nothing of the file is loaded"),
        (("off", "unscanned", None), "malware: unscanned, no scanner has looked at the file"),
        (("clamd", "clean", None), "malware: none found by clamd"),
        (("guardduty", "awaited", None), "malware: guardduty has not answered yet"),
        (("off", "awaited", None), ""),
    ],
)
def test_a_person_is_told_what_is_known_of_malware(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, malware: tuple[str, str, str | None], told: str
) -> None:
    monkeypatch.setitem(SAID, "malware", dict(zip(("scanner", "verdict", "threat"), malware, strict=True)))
    said = run(api, tmp_path, monkeypatch, ["status", UPLOAD]).stderr
    assert ("malware: " in said) == bool(told)
    assert told in said


# Shells

WORDS = Path(sys.executable).parent


def shell(script: str, *command: str, api: Api | None = None, env: Mapping[str, str] | None = None) -> list[str]:
    """The lines that a real shell says, with `rowmill` on its path."""
    given = {**os.environ, "PATH": f"{WORDS}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1", **(env or {})}
    if api:
        given |= {"ROWMILL_API": api.url, "ROWMILL_TOKEN": "a"}
    done = subprocess.run([*command, script], capture_output=True, text=True, env=given, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def in_bash(words: list[str], api: Api | None = None, env: Mapping[str, str] | None = None) -> list[str]:
    """What bash offers for the last of these words."""
    typed = " ".join(map(shlex.quote, words))
    script = f"""source <(rowmill completion bash)
        COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1}
        function=$(complete -p rowmill | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function rowmill
        printf '%s\\n' "${{COMPREPLY[@]}}" """
    return shell(script, "bash", "--norc", "-c", api=api, env=env)


def test_bash_completes_commands_options_and_values() -> None:
    assert in_bash(["rowmill", "rej"]) == ["rejects"]
    assert in_bash(["rowmill", "dataset", "get"]) == ["get", "get-picture", "get-row"]
    assert "--summary" in in_bash(["rowmill", "rejects", "--"])
    assert in_bash(["rowmill", "upload", "a.csv", "--mode", ""]) == ["insert", "skip", "upsert"]
    assert in_bash(["rowmill", "completion", "f"]) == ["fish"]


def test_a_shell_completes_the_names_of_what_is_there(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAID, "name", "contacts")
    assert in_bash(["rowmill", "dataset", "get", ""], api) == ["contacts"]
    assert in_bash(["rowmill", "upload", "a.csv", "--dataset", "c"], api) == ["contacts"]
    assert in_bash(["rowmill", "status", "upl_"], api) == [UPLOAD]
    assert in_bash(["rowmill", "dataset", "get", "x"], api) == [""]


@pytest.mark.parametrize("name", ["$(touch bad)", "`touch bad`", "a b", "*", "a'b", 'a"b', "a;b", "é", "a\nb", ""])
def test_a_name_that_a_shell_could_act_on_is_not_offered(api: Api, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(SAID, "name", name)
    assert in_bash(["rowmill", "dataset", "get", ""], api) == [""]


def test_no_answer_is_no_suggestion_and_no_word(tmp_path: Path) -> None:
    away = {"ROWMILL_API": "http://127.0.0.1:9", "ROWMILL_TOKEN": "a", "XDG_CONFIG_HOME": str(tmp_path)}
    assert in_bash(["rowmill", "dataset", "get", ""], env=away) == [""]
    assert in_bash(["rowmill", "dataset", "get", ""], env=away | {"ROWMILL_TOKEN": ""}) == [""]


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not here")
def test_fish_completes_commands_and_names(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAID, "name", "contacts")
    offered = shell("rowmill completion fish | source; complete -C 'rowmill rej'", "fish", "--no-config", "-c")
    assert [line.partition("\t")[0] for line in offered] == ["rejects"]
    named = shell("rowmill completion fish | source; complete -C 'rowmill rows '", "fish", "--no-config", "-c", api=api)
    assert named == ["contacts"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not here")
def test_zsh_completes_commands_and_names(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the script would have zsh's own `_arguments` offer: that needs a terminal to be seen."""
    monkeypatch.setitem(SAID, "name", "contacts")
    asked = """compdef() { :; }; _arguments() { print -r -- "$1"; }; _files() { print files; }
        eval "$(rowmill completion zsh)"; words=(rowmill %s); CURRENT=$#words; _rowmill_completion"""
    assert '"rejects":' in shell(asked % "rej", "zsh", "-f", "-c")[0]
    assert shell(asked % "rows c", "zsh", "-f", "-c", api=api) == ['*: :(("contacts"))']
    assert shell(asked % "rows x", "zsh", "-f", "-c", api=api) == ["files"]
