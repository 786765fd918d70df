"""A crowd on a cloud of its own: accounts, the generator, the meters; and, when it has gone, what is in the tables."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import psycopg

from bench.load import audit, meters, people
from bench.load.scenarios import Scenario
from infra.local import cloud, instance
from infra.local.place import default_folder
from infra.local.record import Instance

FINISH_SECONDS: Final = 100.0  # for what is under way when it is time to stop; then it counts as stuck
ANSWER_SECONDS: Final = 30.0  # for the generator to write down what it saw
Request = tuple[str, float, float, int]  # route, when it began, milliseconds, status; 0 if there was no answer


@dataclass(frozen=True, slots=True)
class Crowd:
    """Users at work. The one account more is for who is none of them."""

    here: Instance
    spare_token: str
    seen: meters.Seen
    bound: int
    _generator: subprocess.Popen[bytes]
    _out: Path

    def look(self) -> Found:
        """What has been seen so far, while everybody goes on; nothing of it is audited."""
        self._out.unlink(missing_ok=True)
        _tell(self._generator, "note")
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._out.exists():
            if time.monotonic() > deadline or self._generator.poll() is not None:
                raise RuntimeError("the generator does not answer")
            time.sleep(0.1)
        with psycopg.connect(self.here.database_url, autocommit=True) as connection:
            return self._found(audit.read(connection), is_over=False)

    def finish(self) -> Found:
        """Have everybody finish what they are at and go; then look at the tables."""
        _tell(self._generator, "stop")
        if self._generator.wait(FINISH_SECONDS + ANSWER_SECONDS):
            raise RuntimeError("the generator failed")
        with psycopg.connect(self.here.database_url, autocommit=True) as connection:
            audit.await_quiet(connection)
            return self._found(audit.read(connection), is_over=True)

    def _found(self, ended: Mapping[str, audit.Ended], *, is_over: bool) -> Found:
        noted = json.loads(self._out.read_text())
        return Found(noted["requests"], noted["uploads"], noted["faults"], ended, is_over)


@dataclass(frozen=True, slots=True)
class Found:
    """What the users saw, and what Postgres has of it."""

    requests: Sequence[Request]
    uploads: list[dict[str, Any]]
    faults: Sequence[str]
    ended: Mapping[str, audit.Ended]
    is_over: bool  # or else files are still under way

    def problems(self) -> list[str]:
        """Rows lost or doubled, uploads that did not end as they should, and errors of the generator itself."""
        return [*(audit.problems(self.uploads, self.ended) if self.is_over else ()), *self.faults]

    def failed(self) -> list[str | None]:
        """Uploads that ended badly, or not at all though it is over and their users have not left."""
        stored = [one for one in self.uploads if "stored" in one]  # others are errors of requests
        waited_for = [one for one in stored if "state" in one or (self.is_over and not one.get("left"))]
        return [one.get("id") for one in waited_for if not one.get("state", "").startswith("completed")]


@contextlib.contextmanager
def crowd(asked: Scenario, *, polite: bool = True) -> Iterator[Crowd]:
    """The users and pollers of a scenario, all there after its ramp; everything is gone after the `with` block."""
    with instance.running(default_folder() / "load") as here, tempfile.TemporaryDirectory() as folder:
        session = boto3.Session("test", "test", region_name=cloud.REGION)
        functions, secrets = (session.client(one, endpoint_url=here.endpoint) for one in ("lambda", "secretsmanager"))
        begun, out = time.monotonic(), Path(folder) / "noted.json"
        *tokens, spare = people.settle(here, secrets, asked.users + 1)
        people.warm(here, spare, asked.sizes, Path(folder))
        print(
            f"{asked.users + 1} accounts and datasets, functions warm after {time.monotonic() - begun:.1f} s",
            flush=True,
        )
        plan = {"api": here.api_url, "tokens": tokens, "finish": FINISH_SECONDS, "polite": polite, **asdict(asked)}
        with _generator(plan, out) as generator, meters.watching(here, generator.pid) as seen:
            time.sleep(asked.ramp)
            yield Crowd(here, spare, seen, meters.bound(functions), generator, out)


@contextlib.contextmanager
def _generator(plan: Mapping[str, Any], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.load.generator", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=cloud.CHECKOUT, start_new_session=True) as process:
        try:
            _tell(process, json.dumps(plan))
            yield process
        finally:
            process.kill()


def _tell(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()
