"""Numbered failpoints: every effect that a stage has on Postgres or AWS, counted as it happens.

No hook in production code: all that psycopg says to the server passes through `Connection.wait` (statements,
BEGIN and COMMIT, savepoints, each piece of a COPY), and every AWS call through botocore's events. Between two
effects a process leaves no trace, so dying after effect k and before effect k + 1 are one point, and a stage of N
effects has N + 1 points: before each, and after the last, when its message is not yet acknowledged.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest import mock

import psycopg
from botocore.exceptions import ConnectionClosedError

from chalicelib import aws
from chalicelib.postgres import connection

Fault = Literal["killed", "unsent", "unanswered"]
_STEPS = {"_enter_gen": "BEGIN", "_exit_gen": "COMMIT"}  # or SAVEPOINT and RELEASE, inside another
SERVICES = ("s3", "sqs", "dynamodb")


class Killed(BaseException):
    """This process is gone. Nothing catches it, and nothing that runs on the way out has an effect."""


@dataclass
class Run:
    """One delivery under watch. `at` is the number of the effect that meets the fault, or its label; 0 is never.

    killed: the process dies before effect `at`. unsent and unanswered: it lives on, but its line breaks before the
    effect, or after it and before the answer.
    """

    at: int | str = 0
    fault: Fault = "killed"
    for_good: bool = False  # kill the real process
    effects: list[str] = field(default_factory=list)
    hit: str | None = None
    cut: list[int] = field(default_factory=list)  # the server's processes whose line was cut
    _lines: dict[int, psycopg.Connection[Any]] = field(default_factory=dict)

    def statement(self, line: psycopg.Connection[Any], label: str, run: Callable[[], Any]) -> Any:
        self._lines[line.info.backend_pid] = line
        if not self._meets(label):
            return run()
        if self.fault == "unsent":
            self._cut(line)
            return run()  # libpq finds the line cut, and says so in its own words
        answer = run()
        self._cut(line)
        with suppress(psycopg.OperationalError):
            line.pgconn.consume_input()
        raise psycopg.OperationalError(f"the answer to {label!r} was lost, not {answer!r}")

    def before_call(self, model: Any, **_: Any) -> None:
        if self._meets(f"{model.service_model.service_name}.{model.name}") and self.fault == "unsent":
            raise ConnectionClosedError(endpoint_url="http://aws")

    def after_call(self, model: Any, **_: Any) -> None:
        if self.fault == "unanswered" and self.hit and self.at in (len(self.effects), self.effects[-1]):
            raise ConnectionClosedError(endpoint_url="http://aws")

    def close(self) -> None:
        """The handler has returned, the message is not yet acknowledged."""
        if self.fault == "killed" and self.at == len(self.effects) + 1:
            self._die("acknowledge")

    def _meets(self, label: str) -> bool:
        if self.hit and self.fault == "killed":
            raise Killed
        self.effects.append(label)
        if self.at not in (len(self.effects), label):
            return False
        if self.fault == "killed":
            self._die(label)
        self.hit = label
        return True

    def _die(self, label: str) -> None:
        if self.for_good:
            os.kill(os.getpid(), signal.SIGKILL)
        self.hit = label
        for line in self._lines.values():
            self._cut(line)
        raise Killed

    def _cut(self, line: psycopg.Connection[Any]) -> None:
        """End a connection as a dying process does: no rollback, no goodbye."""
        if not line.closed:
            self.cut.append(line.info.backend_pid)
            with socket.socket(fileno=os.dup(line.fileno())) as plug, suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)

    @property
    def is_killed(self) -> bool:
        return self.hit is not None and self.fault == "killed"


@contextmanager
def watched(run: Run) -> Iterator[Run]:
    """Count the effects of what runs inside, and let the fault happen at one of them. A kill ends here."""
    real = psycopg.Connection.wait

    def wait(self: psycopg.Connection[Any], gen: Any, *args: Any, **options: Any) -> Any:
        closing = gen.gi_frame.f_locals["self"] if gen.gi_code.co_name == "_close_gen" else None
        if closing is not None and run.is_killed:
            return None  # a cursor that is closed on the way out
        try:
            return run.statement(self, _label(gen), lambda: real(self, gen, *args, **options))
        except BaseException:
            if closing is not None:  # it is gone with its line, and psycopg warns of cursors that stay open
                closing._close()
            raise

    with mock.patch.object(psycopg.Connection, "wait", wait), _calls_to(run), suppress(Killed):
        yield run
        run.close()
    if run.is_killed:
        connection.close()


@contextmanager
def _calls_to(run: Run) -> Iterator[None]:
    handlers = {"before-call": run.before_call, "after-call": run.after_call}
    clients = [aws.client(service).meta.events for service in SERVICES]
    for events in clients:
        for event, handler in handlers.items():
            events.register(event, handler)
    try:
        yield
    finally:
        for events in clients:
            for event, handler in handlers.items():
                events.unregister(event, handler)


def _label(gen: Any) -> str:
    """What a wait is for: the first words of its statement, or the name of psycopg's step."""
    query = gen.gi_frame.f_locals.get("query") or gen.gi_frame.f_locals.get("statement")
    text = query.as_string(None) if isinstance(query, psycopg.sql.Composable) else query
    step = gen.gi_code.co_name
    return " ".join(str(text).split()[:4]) if text else _STEPS.get(step, step)
