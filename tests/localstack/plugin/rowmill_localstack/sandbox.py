"""One execution environment: AWS's Python runtime in a process, and the Runtime API it asks for work.

The one thing to know: a sandbox runs one call at a time and is used up by a timeout or a crash; whoever owns it
opens another. Nothing here knows LocalStack. https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue

LOOK_SECONDS = 0.05  # how soon the death of the process is noticed; an answer is noticed at once


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    arn: str
    trace: str
    payload: bytes
    deadline: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Answer:
    payload: bytes
    failed: bool = False


class Sandbox:
    """A runtime process with the function's code, ready for its first call once `wait_ready` returned."""

    def __init__(self, code: Path, environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it is read after `close`
        self._read = 0
        self._api = _RuntimeApi()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", environment["_HANDLER"]],
            cwd=code,
            env={**environment, "LAMBDA_TASK_ROOT": str(code), "AWS_LAMBDA_RUNTIME_API": self._api.address},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self) -> Answer:
        """The first request for work, or why there will be none. The caller limits the time by `close`."""
        return self._next_answer("initialisation", None)

    def call(self, call: Call) -> Answer:
        """Run it; a process that neither answers in time nor lives gives a failure, as on AWS."""
        self._api.calls.put(call)
        return self._next_answer(call.id, call.deadline)

    def new_logs(self) -> str:
        """What was written since this was asked last."""
        written = os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size - self._read, self._read)
        self._read += len(written)
        return written.decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._api.close()

    def _next_answer(self, what: str, deadline: float | None) -> Answer:
        started = time.time()
        while True:
            alive = self.alive
            try:
                return self._api.answers.get(timeout=LOOK_SECONDS)
            except Empty:
                if not alive:
                    return _failure("Runtime.ExitError", f"RequestId: {what} Error: Runtime exited")
                if deadline is not None and time.time() > deadline:
                    self.close()
                    text = f"RequestId: {what} Error: Task timed out after {deadline - started:.2f} seconds"
                    return _failure("Sandbox.Timedout", text)


def _failure(kind: str, message: str) -> Answer:
    return Answer(json.dumps({"errorType": kind, "errorMessage": message}).encode(), failed=True)


class _RuntimeApi(ThreadingHTTPServer):
    """The API for one process. The first request for work is answered to the owner, too: it says 'ready'."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.calls: SimpleQueue[Call | None] = SimpleQueue()
        self.answers: SimpleQueue[Answer] = SimpleQueue()
        self.greeted = False
        threading.Thread(target=self.serve_forever, name="runtime-api", daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def close(self) -> None:
        self.calls.put(None)
        self.shutdown()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _RuntimeApi

    def do_GET(self) -> None:
        """Only `invocation/next` is ever asked; it waits until there is a call."""
        if not self.server.greeted:
            self.server.greeted = True
            self.server.answers.put(Answer(b""))
        if (call := self.server.calls.get()) is None:
            self.close_connection = True
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call.id,
            "Lambda-Runtime-Deadline-Ms": str(int(call.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": call.arn,
            "Lambda-Runtime-Trace-Id": call.trace,
        }
        self._reply(HTTPStatus.OK, headers, call.payload)

    def do_POST(self) -> None:
        """`invocation/ID/response`, `invocation/ID/error` or `init/error`."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(HTTPStatus.ACCEPTED, {}, b"")
        self.server.answers.put(Answer(body, failed=self.path.endswith("/error")))

    def _reply(self, status: HTTPStatus, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        """Nothing: LocalStack tells of every invocation itself."""
