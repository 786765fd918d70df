"""One run of each of the others: a command from start to end, or a program that has started and is told to begin."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from bench.peers import meter, supplies
from bench.peers.children import serving, started
from bench.peers.files import File
from bench.peers.ground import TABLE, Failed, Ground, binary, environment, run
from bench.peers.meter import Spent
from infra.local.processes import Process

CELERY_WORKERS: Final = 2
_PGLOADER: Final = """
LOAD CSV FROM '{path}' HAVING FIELDS ({fields})
    INTO postgresql://{user}@{host}:{port}/{database}?{table} TARGET COLUMNS ({fields})
    WITH skip header = 1, fields terminated by ',', fields optionally enclosed by '"',
         fields escaped by double-quote;
"""


@dataclass(frozen=True, slots=True)
class Program:
    """A loader of bench.peers.programs; `helpers` are processes whose time counts as the client's."""

    module: str
    arguments: Sequence[str] = ()
    helpers: Sequence[Process] = ()
    environment: dict[str, str] = field(default_factory=dict)


def psql(place: Ground, file: File) -> Spent:
    with _fresh_table(place, file):
        return copied(place, file)


def copied(place: Ground, file: File) -> Spent:
    """psql into the table as it stands, where the rows stay."""
    names = ", ".join(f'"{name}"' for name in file.names)
    copy = f"\\copy {TABLE} ({names}) FROM '{file.path}' WITH (FORMAT csv, HEADER true, NULL '{file.null}')"
    return _run(place, [binary(place, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", copy])


def csvsql(place: Ground, file: File) -> Spent:
    """libpq's environment completes the address."""
    program = str(supplies.venv() / "csvsql")
    options = ["--db", "postgresql:///", "--insert", "--no-create", "--tables", TABLE]
    return _command(place, file, [program, *options, str(file.path)])


def pgloader(place: Ground, file: File) -> Spent:
    program = supplies.debian("pgloader", "pgloader")
    known = environment(place)
    with tempfile.TemporaryDirectory(prefix="rowmill-pgloader-") as folder:
        job = Path(folder, "contacts.load")
        job.write_text(
            _PGLOADER.format(
                path=file.path,
                fields=", ".join(file.names),
                user=known["PGUSER"],
                host=known["PGHOST"],
                port=known["PGPORT"],
                database=known["PGDATABASE"],
                table=TABLE,
            )
        )
        return _command(place, file, [program, "--root-dir", folder, str(job)])


def django_create(place: Ground, file: File) -> Spent:
    with _fresh_table(place, file):
        return _told(place, file, Program("django_create"))


def celery(place: Ground, file: File) -> Spent:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rowmill-celery-")))
        broker = stack.enter_context(_redis(place, folder))
        stack.enter_context(_fresh_table(place, file))
        known = {"PEERS_REDIS": f"redis+socket://{folder}/redis.sock"}
        workers = stack.enter_context(_celery_workers(place, known))
        return _told(place, file, Program("celery_send", helpers=[broker, workers], environment=known))


def dlt(way: str, place: Ground, file: File) -> Spent:
    """It makes its own table; ours to count and to drop."""
    with tempfile.TemporaryDirectory(prefix="rowmill-dlt-") as folder:
        known = {"DLT_DATA_DIR": folder, "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
        try:
            spent = _told(place, file, Program("dlt_load", [way, folder], environment=known))
            _count(place, "dlt_peers.contacts", file)
        finally:
            place.sql("DROP SCHEMA IF EXISTS dlt_peers CASCADE")
    return spent


dlt_rows = partial(dlt, "rows")
dlt_arrow = partial(dlt, "arrow")


def _command(place: Ground, file: File, command: Sequence[str]) -> Spent:
    with _fresh_table(place, file):
        return _run(place, command)


def _run(place: Ground, command: Sequence[str]) -> Spent:
    with place.halted_cloud():
        place.settle()
        with meter.measured(place.postgres) as spent:
            run(place, command, place.folder / "logs" / f"{Path(command[0]).name}.log")
    return spent


@contextmanager
def _fresh_table(place: Ground, file: File) -> Iterator[None]:
    """The table made anew; afterwards every row must be there."""
    place.fresh_table(file)
    yield
    _count(place, TABLE, file)
    place.drop_table()


def _count(place: Ground, table: str, file: File) -> None:
    if (found := place.count(table)) != file.rows:
        raise Failed(f"{found} rows in the table, {file.rows} in the file")


def _told(place: Ground, file: File, program: Program) -> Spent:
    """Have a program get ready, and measure from the word to its answer."""
    python = supplies.venv() / "python"
    command: list[str | Path] = [python, "-m", f"bench.peers.programs.{program.module}", file.path, *program.arguments]
    known = environment(place) | program.environment
    with started(place, command, known, f"{program.module}.log") as child, place.halted_cloud():
        place.settle()
        with meter.measured(place.postgres, [child.process, *program.helpers]) as spent:
            child.tell("")
            child.expect("done")
    return spent


def _redis(place: Ground, folder: Path) -> AbstractContextManager[Process]:
    """A Redis that keeps nothing, behind a socket in `folder`. It goes by its name whether it is a server."""
    server = folder / "redis-server"
    server.symlink_to(supplies.redis_server())
    options: list[str | Path] = ["--port", "0", "--unixsocket", folder / "redis.sock", "--save", "", "--dir", folder]
    return serving(place, [server, *options], environment(place), "redis.log")


def _celery_workers(place: Ground, known: dict[str, str]) -> AbstractContextManager[Process]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    command: list[str | Path] = [supplies.venv() / "celery", "-A", "bench.peers.programs.celery_app", "worker"]
    concurrency = ["--concurrency", str(CELERY_WORKERS)]
    return serving(place, [*command, *concurrency, *quiet], environment(place) | known, "celery.log")
