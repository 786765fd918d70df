"""A crowd on a cloud of its own: accounts, the generator, the meters; and, when it has gone, what is in the tables."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg

from bench.load import audit, meters, people
from infra.local import cloud, instance
from infra.local.place import default_folder
from infra.local.record import Instance

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

    def finish(self) -> Found:
        """Have everybody finish what they are at and go; then look at the tables."""
        _tell(self._generator, "stop")
        if self._generator.wait():
            raise RuntimeError("the generator failed")
        noted = json.loads(self._out.read_text())
        with psycopg.connect(self.here.database_url, autocommit=True) as connection:
            audit.await_quiet(connection)
            return Found(noted["requests"], noted["uploads"], noted["faults"], audit.read(connection))


@dataclass(frozen=True, slots=True)
class Found:
    """What the users saw, and what Postgres has of it."""

    requests: Sequence[Request]
    uploads: list[dict[str, Any]]
    faults: Sequence[str]
    ended: Mapping[str, audit.Ended]

    def problems(self) -> list[str]:
        """Rows lost or doubled, uploads that did not end as they should, and errors of the generator itself."""
        return [*audit.problems(self.uploads, self.ended), *self.faults]


@contextlib.contextmanager
def crowd(users: int, ramp: float, sizes: Mapping[int, int]) -> Iterator[Crowd]:
    """So many users, all there after `ramp` seconds; everything is gone after the `with` block."""
    with instance.running(default_folder() / "load") as here, tempfile.TemporaryDirectory() as folder:
        functions = boto3.Session("test", "test", region_name=cloud.REGION).client("lambda", endpoint_url=here.endpoint)
        begun, out = time.monotonic(), Path(folder) / "noted.json"
        *tokens, spare = people.settle(here, functions, users + 1)
        people.warm(here, spare, sizes, Path(folder))
        print(f"{users + 1} accounts and datasets, functions warm after {time.monotonic() - begun:.1f} s", flush=True)
        plan = {"api": here.api_url, "tokens": tokens, "users": users, "ramp": ramp, "sizes": sizes}
        with _generator(plan, out) as generator, meters.watching(here, generator.pid) as seen:
            time.sleep(ramp)
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
