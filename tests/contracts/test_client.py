"""The client and the `rowmill` command against a real HTTP server that speaks like the API and the storage.

The server below keeps the contract's promises (problem documents, cursors, ETag, Idempotency-Key, a form
whose file comes last) and answers 4xx when the client does not keep its own.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import pickle
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import rowmill_client
from rowmill_client import (
    ApiError,
    Keeper,
    Patience,
    Rowmill,
    RowmillError,
    StillRunning,
    StorageRefused,
    Tokens,
    Unreachable,
    Unusable,
    configuration,
    offline,
    transport,
)
from rowmill_client.cli import app
from rowmill_client.errors import AnswerIncomplete
from rowmill_client.options import nest
from rowmill_client.transport import retry_after
from typer.testing import CliRunner, Result

TOKEN = "a-token"
BOOKS = {
    "fields": [
        {"name": "isbn", "type": "string"},
        {"name": "pages", "type": "integer"},
        {"name": "price", "type": "number"},
        {"name": "lent", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]},
        {"name": "new", "type": "boolean"},
    ],
    "primaryKey": "isbn",
}
COUNTS = {"rows_total": 4, "loaded": 4, "updated": 0, "skipped": 0, "rejected": 0, "unprocessed": 0}
PARTIAL = {**COUNTS, "loaded": 3, "rejected": 1}
REJECTS = [
    {
        "row": 2,
        "line": 3,
        "raw": "x,\x1b[31m",
        "errors": [
            {"column": "pages", "code": "type_invalid", "detail": "'\x1b[31m' is no integer"},
            {"column": None, "code": "width_mismatch", "detail": "2 cells, 5 columns"},
        ],
    }
]
ANNOUNCED = {"dataset", "filename", "size", "content_type", "checksum", "options"}
SUMMARY = {
    "rejected": 3,
    "causes": [
        {
            "code": "type_invalid",
            "column": "pages",
            "cause": "is no integer",
            "rows": 3,
            "share": 1.0,
            "first_line": 3,
            "last_line": 9,
            "samples": [{"row": 2, "line": 3, "value": '"\x1b[31m"'}, {"row": 3, "line": 4, "value": None}],
        }
    ],
    "causes_total": 2,
}

CAUSES = {
    "rejected": 9,
    "causes": [
        {
            "id": "dates_day_first",
            "cause": "dates are day-first (31/12/2024)",
            "codes": ["type_invalid"],
            "columns": ["sold", "paid"],
            "columns_total": 2,
            "rejects": 8,
            "alone": 7,
            "first_line": 3,
            "last_line": 9,
            "samples": [{"column": "sold", "row": 2, "line": 3, "value": '"31/12/2023"'}],
            "fix": {"dialect.date_order": "dmy"},
            "proved": {"sample": 8, "mended": 8},
            "unfixed": None,
        }
    ],
    "causes_total": 2,
}


def xml(code: str, message: str) -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f"{head}<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def problem(status: int, code: str, detail: str, **more: Any) -> bytes:
    document = {"type": f"urn:{code}", "title": code, "status": status, "code": code, "detail": detail}
    return json.dumps({**document, **more}).encode()


def named(data: bytes) -> dict[str, str]:
    """How a stored part is told from others."""
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return {"etag": f'"{hashlib.md5(data).hexdigest()}"', "sha256": digest}


@dataclass
class Fault:
    """An answer given instead of the real one, to the next request that starts like this."""

    start: str
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    unread: bool = False
    after: bool = False  # do the work, then lose the answer


class Cloud(ThreadingHTTPServer):
    """API and storage on one port. `journey` is what successive looks at the upload find."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.storage = f"http://127.0.0.1:{self.server_port}"
        self.api = f"{self.storage}/api"
        self.requests: list[tuple[str, str]] = []
        self.faults: deque[Fault] = deque()
        self.access, self.refresh = TOKEN, "refresh-0"  # what is good now
        self.renewed: dict[str, str] = {}  # by the key that was asked with
        self.refused, self.crowd = 0, 0  # so many must have been refused before tokens are exchanged
        self.uploads: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, bytes] = {}
        self.datasets: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, dict[str, Any]] = {}
        self.changed: list[tuple[str, str]] = []
        self.rows: list[dict[str, Any]] = []
        self.multipart_bytes, self.part_size = 1 << 30, 10
        self.parts: dict[int, bytes] = {}
        self.journey: list[dict[str, Any]] = [{"state": "completed", "percent": 100.0, **COUNTS}]
        self.looks = 0
        self.not_modified = 0
        self.first_bytes = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def resource(self, upload_id: str) -> dict[str, Any]:
        return {**self.uploads[upload_id], **self.journey[min(self.looks, len(self.journey) - 1)]}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of these tests."""


class Door(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Cloud
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None:
        """Silence: pytest shows what matters."""

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if status not in (204, 304) else b"")

    def do_GET(self) -> None:
        self.route()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def route(self) -> None:
        self.server.requests.append((self.command, self.path))
        faults = self.server.faults
        fault = faults[0] if faults and f"{self.command} {self.path}".startswith(faults[0].start) else None
        if fault:
            faults.popleft()
            self.fail(fault)
            return
        if self.path == "/bucket":
            self.store()
            return
        if self.command == "GET" and self.path.startswith("/bucket/"):
            self.hand_out(self.path.split("/")[2])
            return
        if self.path.startswith("/bucket/"):
            self.store_part(*self.path.split("/")[2:])
            return
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or b"null")
        url = urlsplit(self.path)
        if not url.path.startswith("/api/v1/"):
            self.answer(404, {"message": "Missing Authentication Token"})
            return
        parts = url.path.removeprefix("/api/v1/").split("/")
        if parts[0] != "auth" and self.headers.get("Authorization") != f"Bearer {self.server.access}":
            self.server.refused += 1
            self.answer(401, problem(401, "token_invalid", "The token is not valid."))
            return
        self.called(self.command, parts, dict(parse_qsl(url.query)), body)

    def fail(self, fault: Fault) -> None:
        if fault.after:
            kept, self.wfile = self.wfile, BytesIO()
            self.route()
            self.wfile = kept
        elif not fault.unread:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not fault.status:
            self.close_connection = True
            return
        self.close_connection = fault.unread
        self.answer(fault.status, fault.body, **fault.headers)

    def called(self, method: str, parts: Sequence[str], query: dict[str, str], body: Any) -> None:  # noqa: PLR0912, PLR0915
        match method, *parts:
            case "POST", "auth", ("signup" | "login") as door:
                self.enter(door, body)
            case "POST", "auth", "refresh":
                self.renew(body["refresh"])
            case "POST", "auth", "logout":
                self.server.refresh = ""
                self.answer(204)
            case "PUT", "account", "password":
                self.server.changed.append((body["current"], body["new"]))
                self.server.access, self.server.refresh = "access-new", "refresh-new"
                self.answer(200, self.session())
            case "POST", "api-keys":
                number = len(self.server.keys) + 1
                days = body.get("expires_in_days")
                key = {
                    "id": f"key_{number}",
                    "name": body["name"],
                    "prefix": "rmk_a",
                    "role": body.get("role", "owner"),
                    "created_at": "2026-11-28T12:00:00Z",
                }
                self.server.keys[key["id"]] = key | {"expires_at": days and f"in {days} days"}
                self.answer(201, self.server.keys[key["id"]] | {"secret": f"rmk_abc{number}"})
            case "GET", "api-keys":
                self.page(list(self.server.keys.values()), query)
            case "DELETE", "api-keys", name if name in self.server.keys:
                del self.server.keys[name]
                self.answer(204)
            case "PUT", "datasets", name:
                self.put(name, body)
            case "GET", "datasets":
                self.page(list(self.server.datasets.values()), query)
            case "GET", "datasets", name if name in self.server.datasets:
                self.answer(200, self.server.datasets[name])
            case "GET", "datasets", _, "rows":
                self.page(self.server.rows, query)
            case "DELETE", "datasets", name if self.server.datasets.pop(name, None):
                self.answer(204)
            case "POST", "datasets", _, "rows":
                self.answer(201, body, ETag='"1"')
            case (("GET" | "PATCH" | "DELETE"), "datasets", "books", "rows", key):
                self.one_row(key, body)
            case "POST", "uploads":
                self.create(body)
            case "GET", "uploads":
                self.page([self.server.resource(name) for name in self.server.uploads], query)
            case "GET", "uploads", name if name in self.server.uploads:
                self.show(name)
            case "POST", "uploads", name, "parts":
                self.answer(200, self.ticket(name, body["parts"]))
            case "POST", "uploads", name, "complete":
                self.join(name, body["parts"])
            case "GET", "uploads", _, "chunks":
                self.page([{"n": n, "state": "loaded", "records": 2} for n in range(3)], query)
            case "GET", "uploads", _, "rejects" if "format" in query:
                self.answer(200, {"url": f"http://127.0.0.1:{self.server.server_port}/bucket/{query['format']}"})
            case "GET", "uploads", _, "rejects":
                self.page(REJECTS, query)
            case "GET", "uploads", _, "rejects", "summary":
                self.answer(200, SUMMARY)
            case "GET", "uploads", _, "rows", n:
                failed = {"row": int(n), "state": "failed", "outcome": None, "line": 3, "errors": REJECTS[0]["errors"]}
                self.answer(200, failed)
            case "POST", "uploads", parent, "retries":
                self.create({**body, "dataset": f"of {parent}"})
            case "POST", "uploads", parent, "retry":
                self.create({**dict.fromkeys(ANNOUNCED), "size": 1, "dataset": f"of {parent}", "options": body})
            case "GET", "uploads", _, "causes":
                self.answer(200, CAUSES)
            case _:
                self.answer(404, problem(404, "not_found", "There is no such thing."))

    def one_row(self, key: str, body: Any) -> None:
        if self.headers["If-Match"] not in (None, '"1"'):
            self.answer(412, problem(412, "precondition_failed", "It has changed since."))
        elif self.command == "DELETE":
            self.answer(204)
        else:
            self.answer(200, {"key": key, **(body or {})}, ETag='"1"')

    def enter(self, door: str, body: dict[str, str]) -> None:
        if body["password"] != "correct horse":
            self.answer(401, problem(401, "login_invalid", "Name or password is wrong."))
            return
        self.answer(201 if door == "signup" else 200, self.session())

    def session(self) -> dict[str, Any]:
        tokens = {"access": self.server.access, "refresh": self.server.refresh, "expires_in": 1800}
        return {**tokens, "user_id": "usr_1", "username": "ada", "tenant_id": "ten_1"}

    def renew(self, token: str) -> None:
        """Each refresh token once, but for the same request again; a second time the session is over."""
        while self.server.refused < self.server.crowd:
            time.sleep(0.01)
        key = self.headers["Idempotency-Key"] or str(uuid.uuid4())
        if token != self.server.refresh and self.server.renewed.get(key) != token:
            self.server.refresh = ""
            self.answer(401, problem(401, "refresh_invalid", "The session is over: log in again."))
            return
        self.server.renewed[key] = token
        self.server.access, self.server.refresh = f"access-{len(self.server.renewed)}", f"refresh-{uuid.uuid4()}"
        self.answer(200, self.session())

    def put(self, name: str, body: dict[str, Any]) -> None:
        if "fields" not in body:
            lines = [{"column": "pages", "code": "type_unknown", "detail": "'int' is no type"}]
            self.answer(422, problem(422, "schema_invalid", "The schema is wrong.", errors=lines))
            return
        mode = body.pop("mode", "insert")
        made = {
            "name": name,
            "version": 1,
            "mode": mode,
            "schema": body,
            "created_at": "2026-01-01T00:00:00Z",
        }
        self.server.datasets[name] = made
        self.answer(201, made)

    def page(self, items: list[Any], query: dict[str, str]) -> None:
        start, size = int(query.get("cursor", "c0")[1:]), min(int(query["limit"]), 2)
        more = start + size < len(items)
        self.answer(200, {"items": items[start : start + size], "next_cursor": f"c{start + size}" if more else None})

    def create(self, body: dict[str, Any]) -> None:
        while self.server.refused < self.server.crowd:
            time.sleep(0.01)
        key = self.headers["Idempotency-Key"] or str(uuid.uuid4())
        if key not in self.server.by_key:
            self.server.by_key[key] = self.made(body)
        self.answer(201, self.server.by_key[key])

    def made(self, body: dict[str, Any]) -> dict[str, Any]:
        assert set(body) == ANNOUNCED
        upload_id = f"upl_{len(self.server.uploads) + 1}"
        resource = {
            "id": upload_id,
            "state": "awaiting_upload",
            "status": "pending",
            "percent": 0.0,
            "created_at": "2026-01-01T00:00:00Z",
            "error": None,
            **dict.fromkeys(COUNTS, 0),
            "rows_total": None,
            "bytes_total": body["size"],
            **body,
        }
        self.server.uploads[upload_id] = resource
        return {**resource, "upload": self.ticket(upload_id, [])}

    def ticket(self, upload_id: str, asked: list[dict[str, Any]]) -> dict[str, Any]:
        """A form; parts, if the file is above `multipart_bytes`."""
        upload, bucket = self.server.uploads[upload_id], f"{self.server.storage}/bucket"
        if upload["size"] <= self.server.multipart_bytes:
            fields = {"key": upload_id, "Content-Type": upload["content_type"], "checksum": upload["checksum"]}
            return {"method": "POST", "url": bucket, "fields": fields, "expires_at": "2026-01-01T00:00:00Z"}
        size = self.server.part_size
        signed = [
            {
                "number": part["number"],
                "size": min(size, upload["size"] - (part["number"] - 1) * size),
                "url": f"{bucket}/{upload_id}/{part['number']}",
                "headers": {"x-amz-checksum-sha256": part["sha256"]},
            }
            for part in asked
        ]
        stored = [{"number": n, "size": len(data), **named(data)} for n, data in sorted(self.server.parts.items())]
        return {
            "method": "PUT",
            "part_size": size,
            "parts_total": -(-upload["size"] // size),
            "parts": signed,
            "stored": stored,
            "checksum": upload["checksum"],
            "expires_at": "2026-01-01T00:00:00Z",
            "closes_at": "2026-01-07T00:00:00Z",
        }

    def hand_out(self, name: str) -> None:
        """Give an object as S3 does to a presigned URL: whoever brings a token, too, is turned away."""
        if "Authorization" in self.headers:
            self.answer(400, xml("InvalidArgument", "Only one auth mechanism allowed"))
        elif name in self.server.objects:
            self.answer(200, self.server.objects[name])
        else:
            self.answer(404, xml("NoSuchKey", "The specified key does not exist."))

    def store_part(self, upload_id: str, number: str) -> None:
        """Take a part as S3 does: no token, a length and no chunks, the bytes that were signed for."""
        if "Authorization" in self.headers or "Transfer-Encoding" in self.headers:
            self.answer(501, xml("NotImplemented", "A header you provided implies functionality that is not there"))
            return
        data = self.received(int(self.headers["Content-Length"]))
        if named(data)["sha256"] != self.headers["x-amz-checksum-sha256"]:
            self.answer(400, xml("BadDigest", "The checksum did not match."))
            return
        self.server.parts[int(number)] = data
        self.answer(200, ETag=named(data)["etag"])

    def join(self, upload_id: str, asked: list[dict[str, Any]]) -> None:
        stored = [{"number": number, **named(data)} for number, data in sorted(self.server.parts.items())]
        if asked != stored:
            self.answer(409, problem(409, "parts_missing", "Not stored."))
            return
        self.server.objects[upload_id] = b"".join(data for _, data in sorted(self.server.parts.items()))
        self.answer(202, self.server.resource(upload_id))

    def show(self, upload_id: str) -> None:
        resource = self.server.resource(upload_id)
        etag = f'"{resource["state"]}"'
        self.server.looks += 1
        if self.headers.get("If-None-Match") == etag:
            self.server.not_modified += 1
            self.answer(304, ETag=etag, Retry_After="0.01")
            return
        self.answer(200, resource, ETag=etag, Retry_After="0.01")

    def store(self) -> None:
        """Take the form as S3 does: fields first, the file last, no token, a length, the right checksum."""
        if "Authorization" in self.headers or "Content-Length" not in self.headers:
            self.answer(400, xml("InvalidArgument", "Unsupported Authorization Type"))
            return
        content = self.received(int(self.headers["Content-Length"]))
        boundary = b"--" + self.headers["Content-Type"].partition("boundary=")[2].encode()
        parts = [part[2:-2].partition(b"\r\n\r\n") for part in content.split(boundary)[1:-1]]
        names = [found[1] for head, _, _ in parts for found in [re.search(rb'name="([^"]*)"', head)] if found]
        values = [value for _, _, value in parts]
        if names != [b"key", b"Content-Type", b"checksum", b"file"]:
            self.answer(400, xml("InvalidArgument", f"fields {names}"))
            return
        if base64.b64encode(hashlib.sha256(values[3]).digest()) != values[2]:
            self.answer(400, xml("BadDigest", "The checksum did not match."))
            return
        self.server.objects[values[0].decode()] = values[3]
        self.answer(204)

    def received(self, length: int) -> bytes:
        first = self.rfile.read(min(length, 65536))
        self.server.first_bytes.set()
        self.server.go_on.wait(5)
        return first + self.rfile.read(length - len(first))


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def books(tmp_path: Path) -> Path:
    path = tmp_path / "books.csv"
    path.write_bytes(b"isbn,pages\r\n1,10\r\n2,x\r\n3,30\r\n4,40\r\n")
    return path


@pytest.fixture
def environment(cloud: Cloud, tmp_path: Path) -> dict[str, str]:
    return {
        "ROWMILL_API": cloud.api,
        "ROWMILL_TOKEN": TOKEN,
        "ROWMILL_RETRY_SECONDS": "5",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "NO_PROXY": "127.0.0.1",
    }


class Shell:
    """Runs `rowmill` in this process, as a shell without a terminal would."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Result:
        env = {**self.environment, **environment}
        return CliRunner().invoke(app, list(arguments), input=stdin, env=env)

    def started(self, *arguments: str, columns: int = 120, **streams: Any) -> subprocess.Popen[bytes]:
        home = str(Path(rowmill_client.__file__).parents[1])
        env = {**os.environ, **self.environment, "PYTHONPATH": home, "COLUMNS": str(columns), "TERM": "xterm"}
        command = [sys.executable, "-m", "rowmill_client", *arguments]
        return subprocess.Popen(command, env=env, **streams)


@pytest.fixture
def rowmill(environment: dict[str, str]) -> Shell:
    return Shell(environment)


@pytest.fixture
def client(cloud: Cloud) -> Iterator[Rowmill]:
    with Rowmill(cloud.api, TOKEN, Patience(seconds=5, first_pause=0.01)) as client:
        yield client


# The end of an upload


def test_a_file_arrives_whole_and_a_complete_load_exits_0(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    cloud.journey = [
        {"state": "queued", "percent": 0.0, "rows_total": None},
        {"state": "queued", "percent": 0.0, "rows_total": None},
        {"state": "processing", "percent": 50.0, **COUNTS, "loaded": 2},
        {"state": "completed", "percent": 100.0, **COUNTS},
    ]
    ended = rowmill("upload", str(books), "--dataset", "books", "--mode", "upsert")
    assert ended.exit_code == 0, ended.output
    assert cloud.objects == {"upl_1": books.read_bytes()}
    assert cloud.uploads["upl_1"]["options"] == {"mode": "upsert"}
    assert cloud.uploads["upl_1"]["content_type"] == "text/csv"
    assert ended.stdout == ("rows_total=4 loaded=4 updated=0 skipped=0 rejected=0 unprocessed=0 state=completed\n")
    assert ended.stderr.splitlines() == [
        "upload upl_1 created",
        "sent 35 bytes",
        "queued 0%",
        "processing 50%",
        "completed 100%",
    ]
    assert cloud.not_modified == 1


def test_rejected_rows_exit_3_and_name_the_command_that_shows_them(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    cloud.journey = [{"state": "completed_with_errors", "percent": 100.0, **PARTIAL}]
    ended = rowmill("upload", str(books), "--dataset", "books")
    assert ended.exit_code == 3
    assert ended.stdout.endswith("loaded=3 updated=0 skipped=0 rejected=1 unprocessed=0 state=completed_with_errors\n")
    assert "rowmill rejects upl_1" in ended.stderr


@pytest.mark.parametrize("state", ["failed", "quarantined", "expired", "canceled", "reverted"])
def test_any_other_end_exits_4_and_says_why(cloud: Cloud, rowmill: Shell, books: Path, state: str) -> None:
    error = {"code": "header_missing", "detail": "No column is called isbn."}
    cloud.journey = [{"state": state, "percent": 0.0, "error": error}]
    ended = rowmill("upload", str(books), "--dataset", "books")
    assert ended.exit_code == 4
    assert "header_missing: No column is called isbn." in ended.stderr
    assert ended.stdout.startswith("rows_total=unknown loaded=0 ")


def test_what_is_wrong_with_a_file_is_told_by_column_and_row(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    errors = [
        {"code": "column_name_invalid", "column": "isbn", "detail": "two fields have this name"},
        {"code": "quote_misplaced", "row": 3, "detail": "text follows a quote"},
    ]
    error = {"code": "column_name_invalid", "detail": "The header has names that no field can have.", "errors": errors}
    cloud.journey = [{"state": "failed", "percent": 0.0, "error": error}]
    ended = rowmill("upload", str(books), "--dataset", "books")
    assert ended.stderr.partition("no field can have.\n")[2].splitlines() == [
        "  column isbn: column_name_invalid: two fields have this name",
        "  row 3: quote_misplaced: text follows a quote",
    ]


@pytest.mark.parametrize(
    ("state", "error", "told"),
    [
        ("completed_with_errors", None, "rowmill retry upl_1"),
        ("failed", "records_unprocessed", "rowmill retry upl_1"),
        ("failed", "rows_rejected", "upload it anew"),
        ("failed", "too_many_errors", "upload it anew"),
        ("needs_review", None, ""),
        ("reverted", None, ""),
    ],
)
def test_what_may_be_done_with_rejects_is_told_where_it_is_taken(
    cloud: Cloud, rowmill: Shell, books: Path, state: str, error: str | None, told: str
) -> None:
    """What is only checked, or undone, takes no corrected rows; of what loads whole or not, they would load alone."""
    failure = {"error": {"code": error, "detail": "x"}} if error else {}
    cloud.journey = [{"state": state, "percent": 100.0, **PARTIAL, **failure}]
    notes = rowmill("upload", str(books), "--dataset", "books").stderr
    assert "rowmill rejects upl_1" in notes
    assert [each for each in ("rowmill retry upl_1", "upload it anew") if each in notes] == ([told] if told else [])


@pytest.mark.parametrize(("rejected", "code"), [(0, 0), (1, 3)])
def test_a_check_ends_as_its_load_would(cloud: Cloud, rowmill: Shell, books: Path, rejected: int, code: int) -> None:
    checked = {**COUNTS, "loaded": 0, "valid": 4 - rejected, "rejected": rejected}
    cloud.journey = [{"state": "needs_review", "percent": 100.0, **checked}]
    ended = rowmill("upload", str(books), "--dataset", "books", "--validate-only")
    assert ended.exit_code == code
    assert ended.stdout.endswith(f"unprocessed=0 valid={4 - rejected} state=needs_review\n")
    assert "rowmill confirm upl_1" in ended.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--create", "--create-text"),
        ("--create", "--validate-only"),
        ("--create-text", "--mode", "skip"),
        ("--create", "--on-error", "abort"),
        ("--create", "--no-wait"),
    ],
)
def test_flags_that_contradict_each_other_are_usage(rowmill: Shell, books: Path, flags: tuple[str, ...]) -> None:
    assert rowmill("upload", str(books), "--dataset", "books", *flags).exit_code == 2


def test_json_is_one_document_and_nothing_else(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    cloud.journey = [{"state": "completed_with_errors", "percent": 100.0, **PARTIAL}]
    ended = rowmill("upload", str(books), "--dataset", "books", "--json")
    assert ended.exit_code == 3
    assert json.loads(ended.stdout) == cloud.resource("upl_1")
    assert ended.stdout.count("\n") == 1


def test_no_wait_prints_the_id_and_status_waits_later(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    cloud.journey = [
        {"state": "queued", "percent": 0.0},
        {"state": "processing", "percent": 5.0},
        {"state": "completed_with_errors", "percent": 100.0, **PARTIAL},
    ]
    sent = rowmill("upload", str(books), "--dataset", "books", "--no-wait")
    assert (sent.exit_code, sent.stdout) == (0, "upl_1\n")
    assert rowmill("status", "upl_1").exit_code == 0
    waited = rowmill("status", "upl_1", "--wait", "--json")
    assert waited.exit_code == 3
    assert json.loads(waited.stdout)["state"] == "completed_with_errors"


def test_status_says_what_waits_before_an_upload_when_it_may_be_over_and_what_it_costs(
    cloud: Cloud, rowmill: Shell, books: Path
) -> None:
    eta = {"p50_at": "2026-11-22T12:00:01.000Z", "p90_at": "2026-11-22T12:00:09.000Z"}
    cost = {"usd": 0.0000123, "usd_per_million_rows": 0.000271, "estimate": "prices of a month"}
    cloud.journey = [{"state": "queued", "percent": 0.0, "queued_before": 3, "eta": eta, "cost": cost}]
    rowmill("upload", str(books), "--dataset", "books", "--no-wait")
    told = rowmill("status", "upl_1").stderr
    assert "3 chunks of other uploads" in told
    assert eta["p50_at"] in told
    assert eta["p90_at"] in told
    assert "about 0.000012 USD, 0.000271 for a million rows (prices of a month)" in told


def test_a_terminal_gets_bars_and_stdout_still_only_json(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    cloud.journey = [
        {"state": "processing", "percent": 50.0, **COUNTS, "loaded": 2},
        {"state": "completed", "percent": 100.0, **COUNTS},
    ]
    keyboard, screen = pty.openpty()
    arguments = ("upload", str(books), "--dataset", "books", "--json")
    running = rowmill.started(*arguments, stdout=subprocess.PIPE, stderr=screen)
    os.close(screen)
    stdout, _ = running.communicate(timeout=20)
    shown = os.read(keyboard, 65536).decode()
    os.close(keyboard)
    assert running.returncode == 0
    assert json.loads(stdout)["state"] == "completed"
    assert "\x1b[" in shown
    assert "sending" in shown
    assert "35 bytes of 35 bytes" in shown
    assert "4 of 4 rows" in shown


def test_a_terminal_gets_a_table_that_holds_no_foreign_escapes(rowmill: Shell) -> None:
    keyboard, screen = pty.openpty()
    running = rowmill.started("rejects", "upl_1", stdout=screen)
    os.close(screen)
    assert running.wait(20) == 0
    shown = os.read(keyboard, 65536).decode()
    os.close(keyboard)
    assert [line.split()[:3] for line in shown.splitlines()[1:]] == [
        ["2", "3", "pages"],
        ["2", "3", "width_mismatch"],
    ]
    assert "\x1b[31m" not in shown


def test_a_terminal_of_80_columns_shows_ids_whole_and_all_of_the_rest(cloud: Cloud, rowmill: Shell) -> None:
    found = {"id": "upl_01M80FHFV747N9CXY8YY64K210", "dataset": "contacts", "filename": "contacts-of-november.csv"}
    counts = {"rows_total": 1_000_000, "loaded": 999_999, "rejected": 1, "created_at": "2026-11-28T12:00:00.000Z"}
    cloud.uploads["upl_1"] = found | counts
    cloud.journey = [{"state": "completed_with_errors"}]
    keyboard, screen = pty.openpty()
    running = rowmill.started("uploads", stdout=screen, columns=80)
    os.close(screen)
    assert running.wait(20) == 0
    shown = os.read(keyboard, 65536).decode()
    os.close(keyboard)
    assert "upl_01M80FHFV747N9CXY8YY64K210" in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_an_interrupt_exits_130_and_names_what_goes_on(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    cloud.journey = [{"state": "processing", "percent": 5.0}]
    running = rowmill.started("upload", str(books), "--dataset", "books", stderr=subprocess.PIPE)
    assert running.stderr
    for line in running.stderr:
        if b"processing" in line:
            break
    running.send_signal(signal.SIGINT)
    rest = running.stderr.read().decode()
    running.stderr.close()
    assert running.wait(20) == 130
    assert rest.splitlines() == [
        "interrupted",
        "upload upl_1 goes on; follow it with: rowmill status upl_1 --wait",
    ]


@pytest.mark.parametrize("when", ["sending", "processing"])
def test_a_terminal_that_is_closed_stops_no_upload(cloud: Cloud, rowmill: Shell, books: Path, when: str) -> None:
    cloud.journey = [{"state": "processing", "percent": 5.0}]
    cloud.go_on.clear()  # the storage waits
    terminal, screen = pty.openpty()
    arguments = ("upload", str(books), "--dataset", "books", "--json")
    running = rowmill.started(*arguments, stdout=subprocess.PIPE, stderr=screen)  # as after a `disown`: no SIGHUP
    os.close(screen)
    shown = ""
    while when not in shown:
        shown += os.read(terminal, 9999).decode()
        if "sending" in shown and when == "processing":
            cloud.go_on.set()
    os.close(terminal)
    cloud.go_on.set()
    time.sleep(0.3)  # in which bars are drawn
    cloud.journey = [{"state": "completed", "percent": 100.0, **COUNTS}]
    said, _ = running.communicate(timeout=20)
    assert (running.returncode, json.loads(said)["state"]) == (0, "completed")
    assert cloud.objects["upl_1"] == books.read_bytes()


@pytest.mark.parametrize("command", [("login",), ("login", "ada"), ("dataset", "delete", "books")])
def test_an_interrupt_of_a_question_exits_130_too(cloud: Cloud, rowmill: Shell, command: tuple[str, ...]) -> None:
    keyboard, terminal = pty.openpty()
    running = rowmill.started(
        *command, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    shown = os.read(keyboard, 9999).decode()
    time.sleep(0.2)  # it asks before it listens
    running.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):
        while rest := os.read(keyboard, 9999).decode():
            shown += rest
    os.close(keyboard)
    assert running.wait(20) == 130
    assert shown.endswith("Aborted!\r\n")
    assert cloud.requests == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_end_leaves_no_hidden_cursor_and_names_what_goes_on(
    cloud: Cloud, rowmill: Shell, books: Path, how: signal.Signals
) -> None:
    cloud.journey = [{"state": "processing", "percent": 5.0}]
    terminal, screen = pty.openpty()
    # Where tests are run by `nohup` a command would be deaf to SIGHUP, and rightly so.
    running = rowmill.started(
        *("upload", str(books), "--dataset", "books"),
        stderr=screen,
        preexec_fn=lambda: signal.signal(how, signal.SIG_DFL),
    )
    os.close(screen)
    shown = ""
    while "processing" not in shown:
        shown += os.read(terminal, 9999).decode()
    running.send_signal(how)
    with contextlib.suppress(OSError):  # that nobody has the terminal any more
        while rest := os.read(terminal, 9999).decode():
            shown += rest
    os.close(terminal)
    assert running.wait(20) == -how  # by the signal itself, as whoever sent it expects
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "upload upl_1 goes on; follow it with: rowmill status upl_1 --wait" in shown


# The way to the storage


def test_a_large_file_is_streamed_while_it_is_read(cloud: Cloud, client: Rowmill, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    size = 48 << 20
    with path.open("wb") as file:
        file.truncate(size)
    seen: list[int] = []
    cloud.go_on.clear()
    created = client.create_upload(path, "books")
    sending = threading.Thread(target=client.send_file, args=(created, path, lambda done, _: seen.append(done)))
    sending.start()
    assert cloud.first_bytes.wait(5)
    time.sleep(0.1)
    # The server has stopped reading: a client that streams is stuck behind it, one that buffers is not.
    assert 0 < seen[-1] < size
    cloud.go_on.set()
    sending.join()
    assert seen[-1] == size
    assert seen == sorted(seen)
    assert len(cloud.objects["upl_1"]) == size


def test_a_refused_file_shows_the_code_of_the_storage(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    cloud.faults.append(Fault("POST /bucket", 403, xml("AccessDenied", "Invalid according to Policy: Policy expired.")))
    ended = rowmill("upload", str(books), "--dataset", "books", "--json")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "(AccessDenied, HTTP 403)" in ended.stderr
    assert "the time to send it has passed" in ended.stderr
    assert "upload upl_1 was created" in ended.stderr


def test_a_storage_that_answers_before_it_has_read_is_still_heard(
    cloud: Cloud, client: Rowmill, tmp_path: Path
) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(16 << 20)
    answer = xml("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    cloud.faults.append(Fault("POST /bucket", 400, answer, unread=True))
    created = client.create_upload(path, "books")
    with pytest.raises(StorageRefused) as refused:
        client.send_file(created, path)
    assert (refused.value.code, refused.value.status) == ("EntityTooLarge", 400)
    assert "larger than this upload allows" in str(refused.value)


def test_a_storage_that_is_busy_or_drops_the_line_gets_the_whole_file_again(
    cloud: Cloud, client: Rowmill, books: Path
) -> None:
    cloud.faults += [
        Fault("POST /bucket", 503, xml("SlowDown", "Reduce your rate")),
        Fault("POST /bucket", 0),
    ]
    created = client.create_upload(books, "books")
    client.send_file(created, books)
    assert cloud.objects == {"upl_1": books.read_bytes()}


def test_a_file_that_changed_after_it_was_announced_is_refused(cloud: Cloud, client: Rowmill, books: Path) -> None:
    created = client.create_upload(books, "books")
    books.write_bytes(b"other")
    with pytest.raises(StorageRefused, match="changed while it was being sent"):
        client.send_file(created, books)


# The way in parts


@pytest.fixture
def in_parts(cloud: Cloud, books: Path) -> Path:
    """A file of four parts."""
    cloud.multipart_bytes = 30
    return books


def put_requests(cloud: Cloud) -> list[str]:
    return sorted(path for method, path in cloud.requests if method == "PUT")


def test_a_file_in_parts_arrives_whole(cloud: Cloud, rowmill: Shell, in_parts: Path) -> None:
    ended = rowmill("upload", str(in_parts), "--dataset", "books")
    assert ended.exit_code == 0, ended.output
    assert cloud.objects == {"upl_1": in_parts.read_bytes()}
    assert put_requests(cloud) == [f"/bucket/upl_1/{number}" for number in range(1, 5)]
    assert ended.stderr.splitlines()[:2] == ["upload upl_1 created", "sent 35 bytes"]


def test_a_hundred_parts_are_signed_in_groups_and_put_together_in_order(
    cloud: Cloud, client: Rowmill, tmp_path: Path
) -> None:
    path = tmp_path / "large.csv"
    path.write_bytes(os.urandom(995))
    cloud.multipart_bytes = 30
    client.send_file(client.create_upload(path, "books"), path)
    assert cloud.objects == {"upl_1": path.read_bytes()}
    assert len([path for _, path in cloud.requests if path.endswith("/parts")]) == 7


def test_no_part_is_held_in_memory(cloud: Cloud, client: Rowmill, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    cloud.multipart_bytes, cloud.part_size = 1, 64 << 20
    seen: list[int] = []
    cloud.go_on.clear()
    created = client.create_upload(path, "books")
    sending = threading.Thread(target=client.send_file, args=(created, path, lambda done, _: seen.append(done)))
    sending.start()
    assert cloud.first_bytes.wait(5)
    time.sleep(0.1)
    assert 0 < seen[-1] < 64 << 20
    cloud.go_on.set()
    sending.join()
    assert seen == sorted(seen)
    assert len(cloud.objects["upl_1"]) == seen[-1] == 64 << 20


def test_a_part_that_fails_is_sent_again_alone(cloud: Cloud, client: Rowmill, in_parts: Path) -> None:
    cloud.faults += [
        Fault("PUT /bucket", 403, xml("AccessDenied", "Request has expired")),
        Fault("PUT /bucket", 503, xml("SlowDown", "Reduce your rate")),
        Fault("PUT /bucket", 400, xml("BadDigest", "The checksum did not match.")),
        Fault("PUT /bucket", 0),
    ]
    seen: list[int] = []
    client.send_file(client.create_upload(in_parts, "books"), in_parts, lambda done, _: seen.append(done))
    assert cloud.objects == {"upl_1": in_parts.read_bytes()}
    assert len(put_requests(cloud)) == 8
    assert seen[-1] == max(seen) == 35


def test_a_url_that_is_never_accepted_ends_the_upload_with_the_storages_own_words(
    cloud: Cloud, rowmill: Shell, in_parts: Path
) -> None:
    cloud.faults += [Fault("PUT /bucket", 403, xml("AccessDenied", "Access Denied"))] * 12
    ended = rowmill("upload", str(in_parts), "--dataset", "books", "--json")
    assert (ended.exit_code, ended.stdout) == (1, "")
    lines = ended.stderr.splitlines()
    assert lines[-2] == "rowmill: the storage refused the file: Access Denied (AccessDenied, HTTP 403)"
    assert lines[-1].endswith(f"go on with: rowmill upload {in_parts} --resume upl_1")


def test_an_interrupt_ends_the_tries_of_all_parts(cloud: Cloud, rowmill: Shell, in_parts: Path) -> None:
    cloud.storage = "http://127.0.0.1:1"  # where nobody listens
    rowmill.environment["ROWMILL_RETRY_SECONDS"] = "60"
    running = rowmill.started("upload", str(in_parts), "--dataset", "books", stderr=subprocess.PIPE)
    while ("POST", "/api/v1/uploads/upl_1/parts") not in cloud.requests and running.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=20)  # the longest pause between two tries is five
    assert running.returncode == 130
    assert b"--resume upl_1" in told


@pytest.mark.parametrize("multipart_bytes", [1, 1 << 30])
def test_an_interrupt_waits_for_no_storage_that_never_answers(
    cloud: Cloud, rowmill: Shell, books: Path, multipart_bytes: int
) -> None:
    """It has 120 s to answer: a thread that waits for it must not keep whoever has had enough."""
    cloud.multipart_bytes = multipart_bytes
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        cloud.storage = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = rowmill.started("upload", str(books), "--dataset", "books", stderr=subprocess.PIPE)
        with silent.accept()[0]:
            time.sleep(0.5)
            running.send_signal(signal.SIGINT)
            try:
                _, told = running.communicate(timeout=10)
            finally:
                running.kill()
    assert running.returncode == 130
    assert b"\ninterrupted\n" in told
    assert b"--resume upl_1" in told


def test_resuming_sends_only_what_the_storage_lacks(cloud: Cloud, rowmill: Shell, in_parts: Path) -> None:
    cloud.faults.append(Fault("POST /api/v1/uploads/upl_1/complete", 400, problem(400, "no", "No.")))
    assert rowmill("upload", str(in_parts), "--dataset", "books").exit_code == 1
    del cloud.parts[2]
    cloud.requests.clear()
    cloud.looks, cloud.journey = 0, [{"state": "awaiting_upload"}, *cloud.journey]
    ended = rowmill("upload", str(in_parts), "--resume", "upl_1", "--json")
    assert ended.exit_code == 0, ended.output
    assert put_requests(cloud) == ["/bucket/upl_1/2"]
    assert cloud.objects == {"upl_1": in_parts.read_bytes()}
    assert json.loads(ended.stdout)["state"] == "completed"


def test_another_file_does_not_resume_an_upload(cloud: Cloud, rowmill: Shell, in_parts: Path, tmp_path: Path) -> None:
    cloud.journey = [{"state": "awaiting_upload"}]
    cloud.faults.append(Fault("POST /api/v1/uploads/upl_1/complete", 400, problem(400, "no", "No.")))
    assert rowmill("upload", str(in_parts), "--dataset", "books").exit_code == 1
    other = tmp_path / "other.csv"
    other.write_bytes(in_parts.read_bytes()[::-1])
    ended = rowmill("upload", str(other), "--resume", "upl_1")
    assert ended.exit_code == 2
    assert f"{other} is not the file that was announced" in ended.stderr
    cloud.uploads["upl_1"]["checksum"] = None  # announced by a client that did not say
    ended = rowmill("upload", str(other), "--resume", "upl_1")
    assert ended.exit_code == 2
    assert f"{other} is not the file that was being sent: part 1 differs" in ended.stderr


@pytest.mark.parametrize(
    ("state", "code"), [("completed", 0), ("completed_with_errors", 3), ("failed", 4), ("expired", 4)]
)
def test_resuming_what_is_over_says_how_it_ended_of_the_announced_file_alone(
    cloud: Cloud, rowmill: Shell, books: Path, tmp_path: Path, state: str, code: int
) -> None:
    assert rowmill("upload", str(books), "--dataset", "books").exit_code == 0
    cloud.journey = [{"state": state}]
    ended = rowmill("upload", str(books), "--resume", "upl_1", "--no-wait")
    assert ended.exit_code == code
    assert f"nothing is sent: upload upl_1 is {state}\n" in ended.stderr
    assert ended.stdout.endswith(f"state={state}\n")
    other = tmp_path / "other.csv"
    for changed in (books.read_bytes()[::-1], books.read_bytes() + b"\n"):
        other.write_bytes(changed)
        refused = rowmill("upload", str(other), "--resume", "upl_1")
        assert (refused.exit_code, refused.stdout) == (2, "")
        announced = f"{other} is not the file that was announced ({books.name}, {books.stat().st_size:,} bytes)"
        assert announced in refused.stderr


@pytest.mark.parametrize("multipart_bytes", [1, 1 << 30], ids=["in parts", "as a form"])
def test_a_file_that_shrinks_while_it_is_sent_is_named(
    cloud: Cloud, client: Rowmill, tmp_path: Path, multipart_bytes: int
) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(16 << 20)
    cloud.multipart_bytes, cloud.part_size = multipart_bytes, 16 << 20
    created = client.create_upload(path, "books")
    with pytest.raises(Unusable, match="changed its size while it was being sent"):
        client.send_file(created, path, lambda done, total: os.truncate(path, 4 << 20))
    assert cloud.objects == {}


def test_a_file_that_grows_while_it_is_sent_is_named(cloud: Cloud, client: Rowmill, tmp_path: Path) -> None:
    """A log, say: what stands behind the length that was announced for the form is no error of the network."""
    path = tmp_path / "large.csv"
    path.write_bytes(bytes(1 << 20))
    created = client.create_upload(path, "books")

    def write(done: int, total: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(Unusable, match="changed its size while it was being sent"):
        client.send_file(created, path, write)
    assert cloud.objects == {}


@pytest.mark.parametrize("change", [b"A" * 35, b"1" * 10], ids=["as a whole", "in a part"])
def test_a_file_in_parts_that_changed_after_it_was_announced_is_not_put_together(
    cloud: Cloud, client: Rowmill, in_parts: Path, change: bytes
) -> None:
    """Each part is signed for as it is found then, so the storage would take a file that there never was."""
    created = client.create_upload(in_parts, "books")
    with in_parts.open("r+b") as file:
        file.write(change)
    with pytest.raises(Unusable, match="changed since it was announced"):
        client.send_file(created, in_parts)
    assert cloud.objects == {}


# The line to the API


def test_a_busy_api_is_asked_again_when_it_said(cloud: Cloud, client: Rowmill) -> None:
    busy = problem(503, "unavailable", "Later.")
    cloud.faults += [
        Fault("GET /api/v1/datasets", 503, busy, {"Retry-After": "0.3"}),
        Fault("GET /api/v1/datasets", 429, busy, {"Retry-After": "0"}),
        Fault("GET /api/v1/datasets", 0),
    ]
    began = time.monotonic()
    assert list(client.iterate_datasets()) == []
    assert time.monotonic() - began >= 0.3
    assert len(cloud.requests) == 4


@pytest.mark.parametrize("when", ["0", "Thu, 01 Jan 2026 00:00:00 GMT"])
def test_an_api_that_says_no_moment_to_come_is_given_time(cloud: Cloud, when: str) -> None:
    """A date is past for whoever has another clock; without a pause there were a thousand tries a second."""
    cloud.faults += [Fault("GET", 429, problem(429, "requests_exceeded", "Later."), {"Retry-After": when})] * 1000
    with Rowmill(cloud.api, TOKEN, Patience(seconds=0.5)) as client, pytest.raises(ApiError, match="requests_exceeded"):
        client.quota()
    assert len(cloud.requests) < 5


def test_patience_ends_at_once_when_the_api_asks_for_more_than_there_is(cloud: Cloud, rowmill: Shell) -> None:
    cloud.faults.append(Fault("GET", 503, problem(503, "unavailable", "Back in an hour."), {"Retry-After": "3600"}))
    ended = rowmill("dataset", "list")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == "rowmill: Back in an hour. (unavailable, HTTP 503)\n"


def test_an_upload_whose_answer_was_lost_is_created_once(cloud: Cloud, client: Rowmill, books: Path) -> None:
    cloud.faults.append(Fault("POST /api/v1/uploads", 0, after=True))
    assert client.create_upload(books, "books")["id"] == "upl_1"
    assert list(cloud.uploads) == ["upl_1"]
    assert client.create_upload(books, "books")["id"] == "upl_2"


def test_a_deletion_whose_answer_was_lost_is_one(cloud: Cloud, client: Rowmill) -> None:
    key = client.create_api_key("night job")["id"]
    cloud.faults.append(Fault("DELETE /api/v1/api-keys", 0, after=True))
    client.delete_api_key(key)
    assert cloud.keys == {}
    with pytest.raises(ApiError, match="not_found"):
        client.delete_api_key(key)


@pytest.mark.parametrize("verb", ["confirm", "redrive", "resume"])
def test_an_upload_that_goes_on_though_the_answer_was_lost_is_no_refusal(
    cloud: Cloud, client: Rowmill, books: Path, verb: str
) -> None:
    """Whoever is told that it was refused sends the file again, and its rows are in twice."""
    upload = client.create_upload(books, "books")["id"]
    door, no = f"POST /api/v1/uploads/{upload}/{verb}", problem(409, "state_conflict", "It is processing.")
    cloud.journey = [{"state": "processing", "percent": 5.0}]
    cloud.faults += [Fault(door, 0), Fault(door, 409, no)]
    assert getattr(client, verb)(upload)["state"] == "processing"
    cloud.faults += [Fault(door, 429, no, {"Retry-After": "0.01"}), Fault(door, 409, no)]
    with pytest.raises(ApiError, match="state_conflict"):
        getattr(client, verb)(upload)


def test_a_deletion_whose_answer_was_lost_is_one_though_the_token_runs_out_meanwhile(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.keys["key_1"] = {"id": "key_1"}
    really = Door.called

    def called(door: Door, *request: Any) -> None:
        really(door, *request)
        if request[0] == "DELETE":
            monkeypatch.undo()
            cloud.access = "another"

    monkeypatch.setattr(Door, "called", called)
    cloud.faults.append(Fault("DELETE", 0, after=True))
    keeper = Keeper(Tokens(TOKEN, cloud.refresh))
    with Rowmill(cloud.api, patience=Patience(seconds=5, first_pause=0.01), keeper=keeper) as client:
        client.delete_api_key("key_1")
        with pytest.raises(ApiError, match="not_found"):
            client.delete_api_key("key_1")


def test_a_login_is_never_sent_twice(cloud: Cloud, client: Rowmill) -> None:
    cloud.faults.append(Fault("POST /api/v1/auth", 503, problem(503, "unavailable", "Later.")))
    with pytest.raises(ApiError):
        client.login("ada", "correct horse")
    assert len(cloud.requests) == 1


def test_an_api_that_is_not_there_is_one_line_and_exit_1(rowmill: Shell) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        ended = rowmill("uploads", ROWMILL_API=nobody, ROWMILL_RETRY_SECONDS="0")
    assert ended.exit_code == 1
    assert ended.stderr.startswith(f"rowmill: {nobody} cannot be reached: ")
    assert ended.stderr.count("\n") == 1


def test_something_else_than_the_api_is_named_as_that(cloud: Cloud, rowmill: Shell) -> None:
    cloud.faults.append(Fault("GET", 200, b"<html>Welcome</html>"))
    assert "is it a Rowmill API?" in rowmill("uploads").stderr
    missing = rowmill("uploads", ROWMILL_API=cloud.api.removesuffix("/api"))
    assert missing.stderr == "rowmill: Missing Authentication Token (unknown, HTTP 404)\n"


@pytest.mark.parametrize(
    "command",
    [
        ("delete", "upl_1"),
        ("key", "delete", "key_1"),
        ("dataset", "delete", "books", "--yes"),
        ("dataset", "delete-row", "books", "1"),
        ("dataset", "unshare", "books", "ada"),
        ("delete-account", "ada", "--yes"),
    ],
)
def test_a_page_for_people_is_no_deletion(cloud: Cloud, rowmill: Shell, command: tuple[str, ...]) -> None:
    """As a network that wants a login gives, or a site that shows its page at every address."""
    page = {"Content-Type": "text/html; charset=utf-8"}
    cloud.faults.append(Fault("DELETE", 200, b"<!doctype html><title>Welcome</title>", page))
    found = rowmill(*command)
    assert (found.exit_code, found.stdout) == (1, "")
    assert "is it a Rowmill API?" in found.stderr
    assert "deleted" not in found.stderr


@pytest.mark.parametrize("answer", [b"{}", b'{"items": null}', b'{"items": [1]}', b'{"id": "upl_1", "upload": {}}'])
@pytest.mark.parametrize(
    "command",
    [
        ("uploads",),
        ("rejects", "upl_1"),
        ("status", "upl_1", "--wait"),
        ("export", "books"),
        ("quota",),
        ("causes", "upl_1"),
        ("receipt", "upl_1"),
        ("key", "create", "nightly"),
        ("upload", "FILE", "--dataset", "books"),
        ("login", "ada", "--password-stdin"),
    ],
)
def test_an_answer_without_its_fields_is_named_as_somebody_elses(
    cloud: Cloud, rowmill: Shell, books: Path, command: tuple[str, ...], answer: bytes
) -> None:
    cloud.faults.extend([Fault("", 200, answer)] * 2)  # of the receipt and of its keys
    found = rowmill(*(str(books) if word == "FILE" else word for word in command), stdin="correct horse\n")
    assert found.exit_code == 1
    assert "is it a Rowmill API? (answer_invalid, HTTP 200)" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_field_that_is_not_there_is_a_key_error_for_programs_too(client: Rowmill, cloud: Cloud) -> None:
    cloud.rows = [{"isbn": "1"}]
    (row,) = client.iterate_rows("books")
    assert (row.get("pages"), pickle.loads(pickle.dumps(row))) == (None, {"isbn": "1"})
    with pytest.raises(KeyError, match="an answer has no 'pages'"):
        row["pages"]


def test_waiting_ends_after_the_time_given(cloud: Cloud, client: Rowmill, books: Path) -> None:
    cloud.journey = [{"state": "processing", "percent": 5.0}]
    created = client.create_upload(books, "books")
    with pytest.raises(StillRunning, match="upl_1"):
        client.wait(created["id"], timeout=0.1)


def test_a_token_with_the_end_of_its_line_is_refused_at_once_and_told_nobody(cloud: Cloud) -> None:
    """As it is read from a file: the network's own error quotes it, and was taken for one that passes."""
    with Rowmill(cloud.api, f"{TOKEN}\n", Patience(seconds=1)) as client, pytest.raises(Unusable) as refused:
        client.quota()
    assert TOKEN not in "".join(traceback.format_exception(refused.value))
    assert cloud.requests == []


FORKS = """
import multiprocessing, rowmill_client, sys

client = rowmill_client.Rowmill(*sys.argv[1:])

def asked(name):
    return client.get_dataset(name)["name"]

asked("a")
names = ["a", "b"] * 100
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(asked, names, 1).get(20) == names
"""


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.create_row("books", {"isbn": "1"}, idempotency_key="\xf6"),
        lambda client: client.create_row("books", {"isbn": "\udcf6"}),
        lambda client: client.change_row("books", "1", values={"pages": "2"}, if_match="\xf6"),
    ],
)
def test_what_no_request_takes_is_wrong_use(cloud: Cloud, client: Rowmill, ask: Callable[[Rowmill], object]) -> None:
    with pytest.raises(Unusable, match="is not valid text"):
        ask(client)
    assert cloud.requests == []


def test_a_client_that_is_closed_says_so(cloud: Cloud, client: Rowmill) -> None:
    client.close()
    with pytest.raises(Unusable, match="the client is closed"):
        client.quota()
    assert cloud.requests == []


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_wrong_use(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    named = tmp_path / "bundle.pem"
    if text:
        named.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(named))
    transport._certificates.cache_clear()
    with pytest.raises(Unusable, match="the certificates that the environment names cannot be read"):
        Rowmill(cloud.api, TOKEN)


def test_an_answer_nested_deeper_than_can_be_read_is_named_as_that(cloud: Cloud, client: Rowmill) -> None:
    cloud.faults.append(Fault("GET", 200, b"[" * 100_000))
    with pytest.raises(ApiError, match="answer_invalid"):
        client.quota()


@pytest.mark.parametrize("when", ["1e300", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_that_no_clock_takes_is_cut_to_a_day(when: str) -> None:
    assert retry_after(httpx.Response(200, headers={"Retry-After": when})) == 24 * 3600


def test_a_storage_that_names_no_part_is_refused(cloud: Cloud, client: Rowmill, in_parts: Path) -> None:
    cloud.faults.append(Fault("PUT /bucket", 200))
    created = client.create_upload(in_parts, "books")
    with pytest.raises(StorageRefused, match="did not name it"):
        client.send_file(created, in_parts)


def test_a_process_that_was_forked_takes_no_answer_of_another(cloud: Cloud, client: Rowmill) -> None:
    """On a connection that two have, whoever reads first is told what the other has asked for."""
    for name in ("a", "b"):
        client.put_dataset(name, BOOKS)
    env = {**os.environ, "PYTHONPATH": str(Path(rowmill_client.__file__).parents[1]), "NO_PROXY": "127.0.0.1"}
    subprocess.run([sys.executable, "-c", FORKS, cloud.api, TOKEN], env=env, check=True, timeout=60)


@pytest.mark.parametrize(
    "fault",
    [
        ApiError(422, "schema_invalid", "Wrong.", (rowmill_client.Fault("type_unknown", "no type", 2, "pages"),), 1.5),
        StorageRefused(503, "SlowDown", "reduce your rate"),
        Unreachable("nobody listens"),
        AnswerIncomplete(200, "answer_invalid", "an answer has no 'id'"),
        offline.NotGenuine("made up"),
    ],
)
def test_an_error_comes_out_of_a_process_pool_as_it_went_in(fault: RowmillError) -> None:
    """What cannot be unpickled breaks a whole ProcessPoolExecutor, and has a multiprocessing.Pool wait for ever."""
    fault.add_note("upload upl_1 was created")
    found = pickle.loads(pickle.dumps(fault))
    assert (type(found), str(found), vars(found)) == (type(fault), str(fault), vars(fault))


def test_waiting_uses_the_time_given_when_the_server_asks_for_more(cloud: Cloud, client: Rowmill, books: Path) -> None:
    """It was said to be over at the first look, where what is waited for comes in time."""
    created = client.create_upload(books, "books")
    running = json.dumps({**created, "state": "processing"}).encode()
    cloud.faults.append(Fault("GET /api/v1/uploads/upl_1", 200, running, {"Retry-After": "60"}))
    assert client.wait(created["id"], timeout=0.2)["state"] == "completed"


# Accounts and configuration


def test_signup_stores_the_token_for_this_user_alone(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    anonymous = {"ROWMILL_API": "", "ROWMILL_TOKEN": ""}
    arguments = ("signup", "ada", "--api", cloud.api + "/", "--password-stdin")
    assert rowmill(*arguments, stdin="correct horse\n", **anonymous).exit_code == 0
    path = tmp_path / "config" / "rowmill" / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {
        "api": cloud.api,
        "token": TOKEN,
        "username": "ada",
        "refresh": "refresh-0",
    }
    assert rowmill("dataset", "list", "--json", **anonymous).stdout == "[]\n"
    # A token goes only to the API that gave it.
    elsewhere = rowmill("dataset", "list", ROWMILL_API="http://127.0.0.1:1", ROWMILL_TOKEN="")
    assert elsewhere.exit_code == 2
    assert "not logged in to http://127.0.0.1:1" in elsewhere.stderr
    # The environment wins.
    assert rowmill("dataset", "list", ROWMILL_TOKEN="other").exit_code == 1


def test_login_asks_for_what_it_was_not_told(rowmill: Shell, tmp_path: Path) -> None:
    ended = rowmill("login", stdin="ada\ncorrect horse\n")
    assert ended.exit_code == 0
    assert "correct horse" not in ended.output
    assert (tmp_path / "config" / "rowmill" / "credentials.json").exists()


ANONYMOUS = {"ROWMILL_API": "", "ROWMILL_TOKEN": ""}


def log_in(cloud: Cloud, rowmill: Shell) -> None:
    arguments = ("login", "ada", "--api", cloud.api, "--password-stdin")
    assert rowmill(*arguments, stdin="correct horse\n", **ANONYMOUS).exit_code == 0


def test_a_session_goes_on_by_itself_when_its_token_has_run_out(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    log_in(cloud, rowmill)
    for expired in range(2):
        cloud.access = "run out"
        cloud.requests.clear()
        assert rowmill("dataset", "list", "--json", **ANONYMOUS).stdout == "[]\n"
        assert [path for _, path in cloud.requests if "auth" in path] == ["/api/v1/auth/refresh"]
        kept = json.loads((tmp_path / "config" / "rowmill" / "credentials.json").read_text())
        assert (kept["token"], kept["refresh"]) == (f"access-{expired + 1}", cloud.refresh)
        assert (kept["api"], kept["username"]) == (cloud.api, "ada")


def test_a_client_in_memory_goes_on_too_and_even_when_the_answer_is_lost(cloud: Cloud) -> None:
    with Rowmill(cloud.api, patience=Patience(seconds=5, first_pause=0.01)) as client:
        client.login("ada", "correct horse")
        cloud.access = "run out"
        cloud.faults.append(Fault("GET", 401, problem(401, "token_invalid", "Run out.")))
        cloud.faults.append(Fault("POST /api/v1/auth/refresh", 0, after=True))
        assert list(client.iterate_datasets()) == []
        assert client.refresh()["refresh"] == cloud.refresh


def test_commands_that_run_at_once_refresh_once(cloud: Cloud, rowmill: Shell) -> None:
    """A refresh token that two of them sent would log all of them out."""
    log_in(cloud, rowmill)
    cloud.access, cloud.crowd = "run out", 4
    rowmill.environment.update(ANONYMOUS)
    commands = [rowmill.started("dataset", "list", "--json", stdout=subprocess.PIPE) for _ in range(4)]
    assert [command.communicate(timeout=60)[0] for command in commands] == [b"[]\n"] * 4
    assert len(cloud.renewed) == 1


def test_a_session_that_is_over_is_one_line_and_what_to_do(cloud: Cloud, rowmill: Shell) -> None:
    log_in(cloud, rowmill)
    cloud.access, cloud.refresh = "run out", "used by somebody else"
    ended = rowmill("dataset", "list", **ANONYMOUS)
    assert ended.exit_code == 1
    assert ended.stderr == "rowmill: The session is over: log in again. (refresh_invalid, HTTP 401)\n"


def test_a_session_is_not_spent_where_its_next_tokens_cannot_be_kept(
    cloud: Cloud, rowmill: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command on a full disk would log out for good: the token that it spends is shown again by the next one."""
    log_in(cloud, rowmill)
    cloud.access = "run out"
    with monkeypatch.context() as full:
        full.setattr("rowmill_client.configuration.json.dump", Mock(side_effect=OSError(28, "No space left on device")))
        ended = rowmill("dataset", "list", **ANONYMOUS)
    assert (ended.exit_code, cloud.renewed) == (2, {})
    assert ended.stderr.endswith("cannot be written: No space left on device\n")
    assert [path.name for path in (tmp_path / "config" / "rowmill").iterdir()] == ["credentials.json"]
    assert rowmill("dataset", "list", "--json", **ANONYMOUS).stdout == "[]\n"


def test_who_logs_in_while_a_command_runs_stays_logged_in(
    cloud: Cloud, rowmill: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload may run for hours, and exchanges its tokens meanwhile: they are not those of who came after."""
    log_in(cloud, rowmill)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "rowmill" / "credentials.json"
    ada = configuration.stored()
    assert ada is not None
    bob = {"api": cloud.api, "token": "of bob", "username": "bob", "refresh": "bob's"}
    with Rowmill(cloud.api, ada.token, keeper=configuration.OnDisk(ada)) as client:
        path.write_text(json.dumps(bob))
        for _ in range(2):  # the second exchange is of what the first one brought, which is nowhere but in memory
            cloud.access = "run out"
            assert list(client.iterate_datasets()) == []
        assert json.loads(path.read_text()) == bob
        client.logout()
    assert json.loads(path.read_text()) == bob


def test_deleting_another_account_by_its_token_logs_nobody_out(rowmill: Shell, cloud: Cloud, tmp_path: Path) -> None:
    log_in(cloud, rowmill)
    path = tmp_path / "config" / "rowmill" / "credentials.json"
    for name, is_kept in (("bob", True), ("ada", False)):
        cloud.faults.append(Fault("DELETE /api/v1/account", 204))
        assert rowmill("delete-account", name, "--yes").exit_code == 0
        assert path.exists() == is_kept


def test_a_token_of_the_environment_is_never_exchanged(cloud: Cloud, rowmill: Shell) -> None:
    log_in(cloud, rowmill)
    assert rowmill("dataset", "list", ROWMILL_TOKEN="run out").exit_code == 1
    assert cloud.renewed == {}


def test_receipts_that_are_fetched_at_once_keep_the_keys_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: configuration.keep_keys({"keys": [{"kid": str(n)}]}), range(40)))
    assert {key["kid"] for key in configuration.kept_keys()["keys"]} == {str(n) for n in range(40)}
    assert [path.name for path in (tmp_path / "rowmill").iterdir()] == ["receipt-keys.json"]


def test_who_has_no_home_is_told_what_to_set(rowmill: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user of a container that it knows nothing of; with ROWMILL_API and ROWMILL_TOKEN, none is needed."""
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    nowhere = {"XDG_CONFIG_HOME": ""}
    assert rowmill("dataset", "list", **nowhere).exit_code == 0
    ended = rowmill("login", "ada", "--password-stdin", stdin="correct horse", **nowhere)
    assert ended.exit_code == 2
    assert ended.stderr.endswith("set HOME or XDG_CONFIG_HOME\n")


def test_logout_ends_the_session_and_forgets_it(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    log_in(cloud, rowmill)
    ended = rowmill("logout", **ANONYMOUS)
    assert (ended.exit_code, ended.stderr) == (0, f"logged out of {cloud.api}\n")
    assert cloud.refresh == ""
    assert not (tmp_path / "config" / "rowmill" / "credentials.json").exists()
    again = rowmill("logout", **ANONYMOUS)
    assert (again.exit_code, again.stderr) == (2, "rowmill: not logged in\n")


def test_another_password_is_told_once_more_if_the_answer_is_lost_and_its_session_is_kept(
    cloud: Cloud, rowmill: Shell, tmp_path: Path
) -> None:
    log_in(cloud, rowmill)
    cloud.faults.append(Fault("PUT /api/v1/account/password", 503, problem(503, "unavailable", "Later.")))
    changed = rowmill("change-password", "--password-stdin", stdin="correct horse\nstaple battery\n", **ANONYMOUS)
    assert (changed.exit_code, changed.stderr) == (0, "ada has another password\n")
    assert cloud.changed == [("correct horse", "staple battery")]
    kept = json.loads((tmp_path / "config" / "rowmill" / "credentials.json").read_text())
    assert (kept["token"], kept["refresh"]) == ("access-new", "refresh-new")


def test_a_wrong_password_is_one_line_and_stores_nothing(rowmill: Shell, tmp_path: Path) -> None:
    ended = rowmill("login", "ada", "--password-stdin", stdin="wrong")
    assert ended.exit_code == 1
    assert ended.stderr == "rowmill: Name or password is wrong. (login_invalid, HTTP 401)\n"
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["upload", "absent.csv", "--dataset", "b"], {}, "absent.csv: No such file or directory"),
        (["upload", "", "--dataset", "b"], {}, "the path of the file is empty"),
        (["upload", "/", "--dataset", "b"], {}, "/ is not a regular file"),
        (["upload", "/dev/null", "--dataset", "b"], {}, "/dev/null is not a regular file"),
        (["upload", "f", "--dataset", "b", "--option", "x"], {}, "option 'x' is not of the form name=value"),
        (
            ["upload", "f", "--dataset", "b", "--mode", "skip", "--option", "mode=skip"],
            {},
            "mode is given twice",
        ),
        (["upload", "f"], {}, "give either --dataset, for a new upload, or --resume"),
        (["upload", "f", "--dataset", "b", "--resume", "u"], {}, "give either --dataset"),
        (["upload", "f", "--resume", "u", "--mode", "skip"], {}, "one that is resumed keeps its own"),
        (["status", ""], {}, "a dataset or upload needs a name"),
        (["dataset", "get", "a" * 70_000], {}, "does not fit into an address: URL too long"),
        (["uploads", "--dataset", "a" * 70_000], {}, "does not fit into an address: URL component 'query' too long"),
        (["uploads"], {"ROWMILL_API": ""}, "no API configured"),
        (["uploads"], {"ROWMILL_API": "localhost:8000"}, "must start with http:// or https://"),
        (["uploads"], {"ROWMILL_TOKEN": ""}, "not logged in to"),
        (["uploads"], {"ROWMILL_TOKEN": "to\nken"}, "the token holds characters"),
        (["login", "--password-stdin"], {}, "needs the user name"),
        (["login", "ada", "--password-stdin"], {}, "there is no password on stdin"),
        (["uploads"], {"ROWMILL_API": "http://a..b"}, "the API URL 'http://a..b' is not valid"),
        (["uploads"], {"ALL_PROXY": "socks5://127.0.0.1:1"}, "the proxy that the environment names cannot be used"),
        (["uploads"], {"ALL_PROXY": "ftp://127.0.0.1:1"}, "the proxy that the environment names cannot be used"),
        (["uploads"], {"ALL_PROXY": "http://a:b"}, "the proxy that the environment names cannot be used"),
    ],
)
def test_a_wrong_use_is_one_line_and_exit_2(
    rowmill: Shell, arguments: list[str], variables: dict[str, str], said: str
) -> None:
    ended = rowmill(*arguments, **variables)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("rowmill: ")
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["rows", "\udcff"],
        ["rows", "books", "--where", "title=\udcff"],
        ["dataset", "put", "\udcff", "books.json"],
        ["dataset", "add-row", "books", "title=\udcff"],
        ["dataset", "set-row", "books", "\udcff", "title=a"],
        ["upload", "books.json", "--dataset", "\udcff"],
        ["login", "\udcff", "--password-stdin"],
    ],
)
def test_an_argument_that_is_no_text_is_one_line_and_exit_2(
    rowmill: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("books.json").write_text(json.dumps(BOOKS))
    ended = rowmill(*arguments, stdin="secret")
    assert (ended.exit_code, ended.stderr) == (2, "rowmill: '\\udcff' is not valid text\n"), ended.output


@pytest.mark.parametrize(("errors", "sign"), [("surrogateescape", "'\\udcff'"), ("strict", "b'\\xff'")])
def test_of_a_password_that_is_no_text_one_sign_is_told(rowmill: Shell, errors: str, sign: str) -> None:
    rowmill.environment["PYTHONIOENCODING"] = f"utf-8:{errors}"
    running = rowmill.started("login", "ada", "--password-stdin", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    _, said = running.communicate(b"secret\xff\n", 20)
    assert (running.returncode, said.decode()) == (2, f"rowmill: {sign} is not valid text\n")


def test_dotted_options_nest_and_only_json_words_are_typed() -> None:
    pairs = [
        "dialect.delimiter=;",
        "dialect.header=false",
        "max_errors=10",
        "dialect.quote=",
        "sheet=nan",
        "a=1e999",
        "b=[NaN]",
    ]
    assert nest([*pairs, 'dialect.null_values=["NA", ""]', "notify.email=a=b@c.de", "x=null"]) == {
        "dialect": {"delimiter": ";", "header": False, "quote": "", "null_values": ["NA", ""]},
        "max_errors": 10,
        "sheet": "nan",
        "a": "1e999",
        "b": "[NaN]",
        "notify": {"email": "a=b@c.de"},
        "x": "null",
    }
    columns = ["mapping.Sum.Total=1", "mapping.Note=null"]
    assert nest(columns) == {"mapping": {"Sum.Total": "1", "Note": None}}
    assert nest([f"deep={'[' * 100_000}"]) == {"deep": "[" * 100_000}
    with pytest.raises(Unusable, match="contradicts"):
        nest(["dialect=excel", "dialect.header=true"])


def test_a_key_for_a_machine_is_made_listed_and_deleted(cloud: Cloud, rowmill: Shell) -> None:
    made = rowmill("key", "create", "nightly", "--days", "30")
    assert (made.exit_code, made.stdout) == (0, "rmk_abc1\n")
    assert made.stderr == "key_1 is good until in 30 days\n"
    other = rowmill("key", "create", "hourly", "--json")
    assert json.loads(other.stdout)["secret"] == "rmk_abc2"
    assert rowmill("key", "delete", "key_2").exit_code == 0
    listed = rowmill("key", "list")
    assert listed.stdout.splitlines() == [
        "id\tname\tprefix\trole\tcreated_at\texpires_at",
        "key_1\tnightly\trmk_a\towner\t2026-11-28T12:00:00Z\tin 30 days",
    ]
    assert [key["id"] for key in json.loads(rowmill("key", "list", "--json").stdout)] == ["key_1"]
    again = rowmill("key", "delete", "key_2")
    assert (again.exit_code, cloud.keys.keys()) == (1, {"key_1"})


# Datasets, listings, rows


def test_a_dataset_is_put_listed_and_read_back(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    schema = tmp_path / "books.json"
    schema.write_text(json.dumps(BOOKS))
    put = rowmill("dataset", "put", "books", str(schema), "--mode", "upsert")
    assert put.exit_code == 0, put.output
    assert json.loads(rowmill("dataset", "get", "books").stdout) == cloud.datasets["books"]
    listed = rowmill("dataset", "list")
    assert listed.stdout == put.stdout
    assert listed.stdout.splitlines()[1] == "books\t1\tupsert\t2026-01-01T00:00:00Z"


@pytest.mark.parametrize("schema", ["", "{", '{"fields": NaN}', '{"fields": 1e999}', "[" * 100_000, "[]"])
def test_a_schema_that_cannot_be_sent_is_one_line_and_exit_2(rowmill: Shell, tmp_path: Path, schema: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(schema)
    ended = rowmill("dataset", "put", "books", str(file))
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1), ended.output
    assert ended.stderr.startswith(f"rowmill: {file} is not ")


def test_a_dataset_is_deleted_by_whoever_means_it(cloud: Cloud, rowmill: Shell) -> None:
    cloud.datasets = {name: {"name": name} for name in ("books", "films")}
    refused = rowmill("dataset", "delete", "books")
    assert (refused.exit_code, list(cloud.datasets)) == (1, ["books", "films"])
    assert rowmill("dataset", "delete", "books", "--yes").exit_code == 0
    assert list(cloud.datasets) == ["films"]


def test_every_line_of_a_problem_is_printed(rowmill: Shell, tmp_path: Path) -> None:
    schema = tmp_path / "books.json"
    schema.write_text("{}")
    ended = rowmill("dataset", "put", "books", str(schema))
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        "rowmill: The schema is wrong. (schema_invalid, HTTP 422)",
        "  column pages: type_unknown: 'int' is no type",
    ]


def test_listings_follow_the_cursor_to_the_end(cloud: Cloud, rowmill: Shell) -> None:
    assert [chunk["n"] for chunk in json.loads(rowmill("chunks", "upl_1", "--json").stdout)] == [0, 1, 2]
    assert len(cloud.requests) == 2
    cloud.rows = [{"a": n} for n in range(7)]
    assert rowmill("rows", "books", "--limit", "3", "--upload", "upl_1").stdout == "a\n0\n1\n2\n"
    assert all("upload=upl_1" in path for _, path in cloud.requests[2:])
    asked = ("--where", "a.gte=1=1", "--where", "b=", "--sort", "-a", "--limit", "1")
    assert rowmill("rows", "books", *asked).stdout == "a\n0\n"
    assert cloud.requests[-1][1].endswith("rows?a.gte=1%3D1&b=&sort=-a&limit=1")
    for wrong in (("--where", "a"), ("--where", "a=1", "--where", "a=2")):
        assert rowmill("rows", "books", *wrong).exit_code == 2


def test_a_listing_that_breaks_off_is_no_json(cloud: Cloud, rowmill: Shell) -> None:
    """Nor nothing, as `--help` had it: who takes what came for all there is must not be able to."""
    cloud.rows = [{"isbn": str(n)} for n in range(4)]
    cloud.faults.append(Fault("GET /api/v1/datasets/books/rows?limit=5000&cursor=", 500, problem(500, "no", "No.")))
    ended = rowmill("rows", "books", "--json")
    assert (ended.exit_code, ended.stdout) == (1, '[{"isbn": "0"},\n{"isbn": "1"}')
    assert "an array that is not closed" in " ".join(rowmill("--help").stdout.split())


def test_a_row_is_read_added_changed_and_deleted_by_its_key(cloud: Cloud, rowmill: Shell) -> None:
    shown = rowmill("dataset", "get-row", "books", "a/b, %,2")
    assert (json.loads(shown.stdout), shown.stderr) == ({"key": "a~1b,%20~3,2"}, 'ETag: "1"\n')
    added = rowmill("dataset", "add-row", "books", "isbn=1=2", "pages=")
    assert json.loads(added.stdout) == {"isbn": "1=2", "pages": ""}
    changed = rowmill("dataset", "set-row", "books", "7", "pages=5", "--if-match", '"1"')
    assert json.loads(changed.stdout) == {"key": "7", "pages": "5"}
    assert (rowmill("dataset", "delete-row", "books", "7").exit_code, cloud.requests[-1][0]) == (0, "DELETE")
    for stale in (("set-row", "books", "7", "a=1"), ("delete-row", "books", "7")):
        ended = rowmill("dataset", *stale, "--if-match", '"0"')
        assert (ended.exit_code, "precondition_failed" in ended.stderr) == (1, True)
    for wrong in (("add-row", "books", "isbn"), ("set-row", "books", "7", "a=1", "a=2"), ("get-row", "books", "")):
        assert rowmill("dataset", *wrong).exit_code == 2


def test_a_rejected_row_is_a_line_per_cause_and_cannot_command_the_terminal(rowmill: Shell) -> None:
    assert rowmill("rejects", "upl_1").stdout == (
        "row\tline\tcolumn\tcode\tdetail\n"
        "2\t3\tpages\ttype_invalid\t'\\x1b[31m' is no integer\n"
        "2\t3\t\twidth_mismatch\t2 cells, 5 columns\n"
    )
    assert json.loads(rowmill("rejects", "upl_1", "--json").stdout) == REJECTS


def test_a_sign_that_the_terminal_does_not_have_breaks_no_listing(cloud: Cloud, rowmill: Shell) -> None:
    cloud.rows = [{"name": name} for name in ("Jos\xe9", "\u0141uk\xe1sz", "Ada")]
    rowmill.environment["PYTHONIOENCODING"] = "latin-1"  # as in a locale without UTF-8, or of a pipe on Windows
    running = rowmill.started("rows", "books", stdout=subprocess.PIPE)
    shown, _ = running.communicate(timeout=20)
    assert (running.returncode, shown) == (0, b"name\nJos\xe9\n\\u0141uk\xe1sz\nAda\n")


def test_a_summary_tells_causes_with_their_lowest_lines(rowmill: Shell) -> None:
    shown = rowmill("rejects", "upl_1", "--summary")
    assert shown.stdout == (
        "rows\tshare\tcolumn\tcode\tcause\tfirst_line\tlast_line\tsamples\n"
        '3\t1.0\tpages\ttype_invalid\tis no integer\t3\t9\tline 3 "\\x1b[31m"; line 4\n'
    )
    assert shown.stderr == "and 1 causes of fewer rows\n"
    assert json.loads(rowmill("rejects", "upl_1", "--summary", "--json").stdout) == SUMMARY


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_rejects_are_waited_for_then_fetched_without_the_token(
    cloud: Cloud, rowmill: Shell, tmp_path: Path, form: str
) -> None:
    cloud.objects[form] = bytes(range(256)) * 9
    made = json.dumps({"status": "processing"}).encode()
    cloud.faults.append(Fault(f"GET /api/v1/uploads/upl_1/rejects?format={form}", 202, made, {"Retry-After": "0.05"}))
    assert rowmill("rejects", "upl_1", "--format", form, "-o", str(tmp_path / "bad")).exit_code == 0
    assert (tmp_path / "bad").read_bytes() == cloud.objects[form]
    assert [path.partition("?")[0] for _, path in cloud.requests] == [
        "/api/v1/uploads/upl_1/rejects",
        "/api/v1/uploads/upl_1/rejects",
        f"/bucket/{form}",
    ]


def test_no_log_is_told_what_a_presigned_url_is_signed_by(
    cloud: Cloud, client: Rowmill, caplog: pytest.LogCaptureFixture
) -> None:
    """httpx logs each request with its address, at the level that most programs keep: it opens the file for an hour."""
    caplog.set_level("DEBUG")
    signed = f"{cloud.storage}/bucket/csv?X-Amz-Expires=3600&X-Amz-Signature=5ec2e7"
    cloud.faults += [
        Fault("GET /api", 200, json.dumps({"url": signed}).encode()),
        Fault("GET /bucket/csv?X-Amz-Expires=3600&X-Amz-Signature=5ec2e7", 200, b"_row,isbn\n"),
    ]
    client.download_rejects("upl_1", "csv", bytearray().extend)
    assert f"GET {cloud.storage}/bucket/csv " in caplog.text
    assert "5ec2e7" not in caplog.text


def test_a_rejects_file_that_the_storage_refuses_leaves_nothing_behind(rowmill: Shell, tmp_path: Path) -> None:
    refused = rowmill("rejects", "upl_1", "--format", "csv", "-o", str(tmp_path / "bad"))
    assert (refused.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "NoSuchKey" in refused.stderr


def test_a_download_is_tried_again_though_nobody_can_read_what_the_storage_says(cloud: Cloud, rowmill: Shell) -> None:
    cloud.objects["csv"] = b"_row,isbn\n2,x\n"
    cloud.faults.append(Fault("GET /bucket", 503, b"no gzip", {"Content-Encoding": "gzip"}))
    fetched = rowmill("rejects", "upl_1", "--format", "csv")
    assert (fetched.exit_code, fetched.stdout_bytes) == (0, cloud.objects["csv"])


@pytest.mark.parametrize("more", [["--summary"], ["--json"], ["--limit", "1"]])
def test_a_rejects_file_is_whole(rowmill: Shell, more: list[str]) -> None:
    assert rowmill("rejects", "upl_1", "--format", "csv", *more).exit_code == 2


def test_corrected_rows_are_sent_to_the_upload_that_rejected_them(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"_row,isbn\n2,x\n")
    done = rowmill("retry", "upl_7", str(tmp_path / "bad.csv"), "--option", "mode=skip", "--json")
    assert (done.exit_code, json.loads(done.stdout)["dataset"]) == (0, "of upl_7")
    assert json.loads(done.stdout)["options"] == {"mode": "skip"}
    assert cloud.objects["upl_1"] == b"_row,isbn\n2,x\n"
    assert ("POST", "/api/v1/uploads/upl_7/retries") in cloud.requests


def test_causes_are_told_with_what_mends_them(rowmill: Shell) -> None:
    shown = rowmill("causes", "upl_1")
    assert shown.stdout == (
        "rejects\talone\tid\tcause\tcolumns\tfix\tmended\tsamples\n"
        "8\t7\tdates_day_first\tdates are day-first (31/12/2024)\tsold, paid\t"
        'dialect.date_order="dmy"\t8 of 8\tline 3 "31/12/2023"\n'
    )
    assert "and 1 causes of fewer rows" in shown.stderr
    assert json.loads(rowmill("causes", "upl_1", "--json").stdout) == CAUSES


def test_a_fix_needs_no_file_and_takes_no_option(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    done = rowmill("retry", "upl_7", "--fix", "dates_day_first", "--fix", "null_words", "--no-wait", "--json")
    assert (done.exit_code, json.loads(done.stdout)["options"]) == (0, {"fix": ["dates_day_first", "null_words"]})
    assert ("POST", "/api/v1/uploads/upl_7/retry") in cloud.requests
    (tmp_path / "bad.csv").write_bytes(b"_row,isbn\n2,x\n")
    for words in ([str(tmp_path / "bad.csv"), "--fix", "x"], [], ["--fix", "x", "--mode", "skip"]):
        assert rowmill("retry", "upl_7", *words).exit_code == 2
    assert rowmill("retry", "upl_7", "", "--fix", "x", "--no-wait").exit_code == 0  # as without the empty word


def test_one_record_is_told_with_its_causes(rowmill: Shell) -> None:
    assert rowmill("row", "upl_1", "2").stdout == (
        "row\tstate\toutcome\tline\tcolumn\tcode\tdetail\n"
        "2\tfailed\t\t3\tpages\ttype_invalid\t'\\x1b[31m' is no integer\n"
        "2\tfailed\t\t3\t\twidth_mismatch\t2 cells, 5 columns\n"
    )
    assert json.loads(rowmill("row", "upl_1", "2", "--json").stdout)["state"] == "failed"


EXPORTED = (
    "isbn,pages,price,lent,new\n"
    '"a,""b""",1,0.10,yes,true\n'
    '"two\nlines",9007199254740993,-1e400,no,false\n'
    '"lone\rreturn",,,,\n'
    "käse ☃ ,0,1,yes,\n"
    "'=1+1,-7,2,no,true\n"
)


def loaded(cloud: Cloud, **schema: Any) -> None:
    names = ["new", "isbn", "pages", "price", "lent"]  # not the schema's order
    values: list[list[Any]] = [
        [True, 'a,"b"', 1, "0.10", True],
        [False, "two\nlines", 9007199254740993, "-1e400", False],
        [None, "lone\rreturn", None, None, None],
        [None, "käse ☃ ", 0, "1", True],
        [True, "'=1+1", -7, "2", False],
    ]
    cloud.datasets["books"] = {"name": "books", "schema": {**BOOKS, **schema}}
    cloud.rows = [dict(zip(names, row, strict=True)) for row in values]


def test_an_export_is_exact_to_the_byte(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    loaded(cloud)
    assert rowmill("export", "books").stdout_bytes == EXPORTED.encode()
    target = tmp_path / "out.csv"
    target.write_text("old")
    target.chmod(0o640)
    assert rowmill("export", "books", "-o", str(target), "--upload", "upl_1").exit_code == 0
    assert target.read_bytes() == EXPORTED.encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert cloud.requests[-1][1].endswith("rows?upload=upl_1&limit=5000&cursor=c4")


def test_nulls_are_spelled_as_the_schema_spells_them_first(cloud: Cloud, rowmill: Shell) -> None:
    loaded(cloud, missingValues=["N/A", ""])
    assert b'"lone\rreturn",N/A,N/A,N/A,N/A\n' in rowmill("export", "books").stdout_bytes


def test_an_export_spells_numbers_and_days_as_its_dataset_reads_them(cloud: Cloud, rowmill: Shell) -> None:
    """Where points group, 1.234 is a thousand: a file that says so for one and a quarter is lost without a word."""
    fields = [
        {"name": "price", "type": "number", "decimalChar": ",", "groupChar": "."},
        {"name": "day", "type": "date", "format": "%d. %B %Y"},
        {"name": "at", "type": "datetime", "format": "%d/%b/%Y:%H:%M:%S.%f %z 100%%"},
        {"name": "opens", "type": "time", "format": "%H.%M"},
        {"name": "since", "type": "year"},
    ]
    rows = [
        ["1.234", "2024-05-01", "0044-12-31T23:59:59.250000Z", "07:30:00", 476],
        ["-1234.5", "0001-01-31", "2024-02-29T00:00:00Z", "07:30:20", 2024],
        ["INF", None, None, "00:00:00.500000", None],
    ]
    cloud.datasets["spelt"] = {"name": "spelt", "schema": {"fields": fields}}
    cloud.rows = [{field["name"]: value for field, value in zip(fields, row, strict=True)} for row in rows]
    header, *lines = rowmill("export", "spelt").stdout.splitlines()
    assert header == "price,day,at,opens,since"
    assert lines == [
        '"1,234",01. May 2024,31/Dec/0044:23:59:59.250000 +0000 100%,07.30,0476',
        '"-1234,5",31. January 0001,29/Feb/2024:00:00:00.0 +0000 100%,07:30:20,2024',
        "INF,,,00:00:00.500000,",
    ]


def test_a_null_alone_in_its_row_is_not_an_empty_line(cloud: Cloud, rowmill: Shell) -> None:
    cloud.datasets["one"] = {"schema": {"fields": [{"name": "a"}]}}
    cloud.rows = [{"a": None}, {"a": "b"}]
    assert rowmill("export", "one").stdout_bytes == b'a\n""\nb\n'


def test_an_export_that_breaks_off_leaves_the_old_file(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    loaded(cloud)
    target = tmp_path / "out.csv"
    target.write_text("old")
    cloud.faults.append(Fault("GET /api/v1/datasets/books/rows?limit=5000&cursor=c2", 500))
    ended = rowmill("export", "books", "-o", str(target))
    assert (ended.exit_code, target.read_text()) == (1, "old")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.csv"]


def test_an_export_that_is_told_to_end_leaves_no_draft(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    loaded(cloud)
    cloud.rows = cloud.rows * 20_000  # two a page
    running = rowmill.started("export", "books", "-o", str(tmp_path / "books.csv"), stderr=subprocess.DEVNULL)
    while not any(draft.stat().st_size for draft in tmp_path.glob(".rowmill-*")):
        time.sleep(0.01)
    running.terminate()
    assert running.wait(20) == -signal.SIGTERM
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_an_export_may_have_as_long_a_name_as_any_file(cloud: Cloud, rowmill: Shell, tmp_path: Path) -> None:
    loaded(cloud)
    target = tmp_path / ("o" * 251 + ".csv")
    assert rowmill("export", "books", "-o", str(target)).exit_code == 0
    assert target.exists()


def test_a_reader_that_has_seen_enough_causes_no_traceback(cloud: Cloud, rowmill: Shell) -> None:
    loaded(cloud)
    cloud.rows = [{**cloud.rows[0], "isbn": "x" * 100_000}] * 6
    running = rowmill.started("export", "books", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout
    assert running.stderr
    running.stdout.read(10)
    running.stdout.close()
    assert running.stderr.read() == b""
    running.stderr.close()
    running.wait(20)


@pytest.mark.parametrize("command", [("rows", "books"), ("export", "books"), ("key", "create", "nightly")])
def test_a_closed_stdout_is_one_line_before_anything_is_asked(
    cloud: Cloud, rowmill: Shell, command: tuple[str, ...]
) -> None:
    loaded(cloud)
    running = rowmill.started(*command, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    _, said = running.communicate(timeout=20)
    assert (running.returncode, said) == (1, b"rowmill: stdout is closed\n")
    assert cloud.requests == []


def test_a_closed_stderr_hides_what_is_said_there_and_fails_nothing(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    running = rowmill.started(
        "upload", str(books), "--dataset", "books", "--json", stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2)
    )
    said, _ = running.communicate(timeout=20)
    assert (running.returncode, json.loads(said)["state"]) == (0, "completed")
    refused = rowmill.started("rows", "absent", preexec_fn=lambda: os.closerange(1, 3))
    assert refused.wait(20) == 1


@pytest.mark.parametrize("command", [("rows", "books"), ("rows", "books", "--json")])
def test_a_result_that_finds_no_room_is_one_line_and_exit_1(
    cloud: Cloud, rowmill: Shell, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # or each line is written as it comes
    loaded(cloud)
    with Path("/dev/full").open("wb") as full:
        running = rowmill.started(*command, stdout=full, stderr=subprocess.PIPE)
        _, said = running.communicate(timeout=20)
    assert (running.returncode, said) == (1, b"rowmill: [Errno 28] No space left on device\n")


def test_a_short_result_that_nobody_reads_causes_no_word(
    cloud: Cloud, rowmill: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    loaded(cloud)
    unread, stdout = os.pipe()
    os.close(unread)
    running = rowmill.started("rows", "books", stdout=stdout, stderr=subprocess.PIPE)
    os.close(stdout)
    _, said = running.communicate(timeout=20)
    assert (running.returncode, said) == (1, b"")


def test_whoever_stops_listening_to_what_is_said_stops_no_upload(cloud: Cloud, rowmill: Shell, books: Path) -> None:
    unread, stderr = os.pipe()
    os.close(unread)  # as a `2>&1 >result | head -1` does, or a terminal that is closed
    running = rowmill.started(
        "upload", str(books), "--dataset", "books", "--json", stdout=subprocess.PIPE, stderr=stderr
    )
    os.close(stderr)
    said, _ = running.communicate(timeout=20)
    assert (running.returncode, json.loads(said)["state"]) == (0, "completed")
    assert cloud.objects["upl_1"] == books.read_bytes()


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("login", "ada", "--password-stdin"), 2, b"rowmill: there is no password on stdin\n"),
        (("login",), 1, b"User name:Aborted!\n"),
        (("delete-account", "ada"), 1, b"Delete ada and all that is its own? [y/N]:Aborted!\n"),
    ],
)
def test_a_closed_stdin_is_one_that_is_empty(
    cloud: Cloud, rowmill: Shell, command: tuple[str, ...], code: int, said: bytes
) -> None:
    for stdin in ({"stdin": subprocess.DEVNULL}, {"preexec_fn": lambda: os.close(0)}):
        running = rowmill.started(*command, stderr=subprocess.PIPE, **stdin)
        _, told = running.communicate(timeout=20)
        assert (running.returncode, told) == (code, said)
    assert cloud.requests == []
