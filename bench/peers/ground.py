"""Where everything is measured: one embedded cloud with its PostgreSQL, and a database beside Rowmill's for the others.

While others are measured the emulator is halted, so that its clocks and pollers cost them nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench import kernel
from bench.peers import meter
from bench.peers.files import File
from infra.local import database, instance
from infra.local.place import MARK
from infra.local.processes import Process, family, tail
from infra.local.record import Instance

DATABASE: Final = "peers"
TABLE: Final = "target"
QUIET_CORES: Final = 0.25
PATIENCE: Final = 5.0
LIMIT_SECONDS: Final = 600  # what takes longer is ended, and has no figure


class Failed(Exception):
    """A system did not do the job, so that there is no figure."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A running cloud. `url` is everyone's database but Rowmill's; `patience` is how long to seek a quiet moment."""

    here: Instance
    url: str
    patience: float = PATIENCE

    @property
    def postgres(self) -> Process:
        assert self.here.database is not None
        return self.here.database

    @property
    def cloud(self) -> Process:
        assert self.here.cloud is not None
        return self.here.cloud

    @property
    def folder(self) -> Path:
        return self.here.place.folder

    def sql(self, statement: str, url: str = "") -> list[tuple[object, ...]]:
        with psycopg.connect(url or self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def fresh_table(self, file: File, table: str = TABLE) -> None:
        self.drop_table(table)
        self.sql(f"CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {file.columns})")

    def drop_table(self, table: str = TABLE) -> None:
        self.sql(f"DROP TABLE IF EXISTS {table}")

    def count(self, table: str = TABLE, url: str = "") -> int:
        return int(str(self.sql(f"SELECT count(*) FROM {table}", url)[0][0]))

    def settle(self) -> None:
        """Have Postgres write what is left of the last run, and wait a while for the neighbours to pause."""
        self.sql("CHECKPOINT")
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline and meter.load(0.3) > QUIET_CORES:
            pass

    @contextmanager
    def halted_cloud(self) -> Iterator[None]:
        doomed = family(self.cloud)
        for process in doomed:
            process.send(signal.SIGSTOP)
        while any(map(_runs, doomed)):  # the kernel stops a process when it next looks at its signals
            time.sleep(0.001)
        try:
            yield
        finally:
            for process in doomed:
                process.send(signal.SIGCONT)


def _runs(process: Process) -> bool:
    try:
        return not kernel.is_stopped(process.pid)
    except OSError:  # gone meanwhile
        return False


@contextmanager
def standing(folder: Path, *, deployed: bool = True, patience: float = PATIENCE) -> Iterator[Ground]:
    """A ground for the length of a `with` block; nothing of it is left behind, however that ends."""
    with instance.running(folder, deployed=deployed) as here:
        parts = urlsplit(here.database_url)
        ground = Ground(here, urlunsplit(parts._replace(path=f"/{DATABASE}")), patience)
        ground.sql(f"CREATE DATABASE {DATABASE}", here.database_url)
        yield ground


def environment(ground: Ground) -> dict[str, str]:
    """For programs: how libpq finds the database, and the mark by which the instance takes them away."""
    parts = conninfo_to_dict(ground.url)
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    found = {name: str(parts[part]) for name, part in names.items()}
    return {**os.environ, **found, "PGTZ": "UTC", MARK: ground.here.place.mark}


def binary(ground: Ground, name: str) -> str:
    """A client program of the server's own version."""
    return database.find_footing(ground.here.place).command(name)[-1]


def run(ground: Ground, command: Sequence[str], log: Path) -> None:
    """Run a command to its end. Raises Failed with the last line it said."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            code = subprocess.call(
                command,
                env=environment(ground),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=LIMIT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"it had not ended after {LIMIT_SECONDS} s") from None
    if code:
        raise Failed(f"it ended with {code}: {tail(log, 1) or 'without a word'}")
