"""One running embedded cloud: started, found again, taken away.

The one thing to know: the record is written before anything starts and after every step, and nothing is
started that the record does not lead to. So whatever was killed, however late, the next `up` or `down` of
the same folder finds all of it and takes it away first.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.local import cloud, database
from infra.local.place import Place, default_folder
from infra.local.processes import destroy, inside, marked
from infra.local.record import Instance, note, recorded, write_env

DEMO_ACCOUNT = "demo"
WARMED = ("split", *("load_high", "load_medium", "load_low") * 2, "settle", "notify")


class AlreadyUp(RuntimeError):
    """The folder belongs to an instance that is up, and which is not ours to take away."""


def up(folder: Path | None = None, *, deployed: bool = True) -> Instance:
    """Start an instance, or return the one that is up already.

    `deployed=False` leaves out the deployment and the demo account: two bare servers. If it fails or is
    interrupted, everything it started is gone before the exception leaves.
    """
    folder = _resolved(folder)
    with _alone(folder):
        standing = find(folder)
        if standing and (standing.api_url or not deployed):
            return standing
        with _without("PG"):
            return _anew(folder, deployed)


def down(folder: Path | None = None) -> list[str]:
    """Stop and remove everything but the logs; says what was done. Nothing to do is not an error."""
    folder = _resolved(folder)
    if not folder.exists():
        return []
    with _alone(folder):
        return _take_away(folder)


def find(folder: Path | None = None) -> Instance | None:
    """The instance of this folder if it is up: both servers run, and its start came to its end."""
    known = recorded(_resolved(folder))
    return known if known and known.alive and known.place.env_file.exists() else None


def restart_database(
    standing: Instance, how: signal.Signals = signal.SIGINT, settings: Mapping[str, str] | None = None
) -> Instance:
    """End the database (SIGINT fast, SIGQUIT immediate) and start it again: same data, same address.

    The one that runs now: since `standing` was made, it may have been started again.
    """
    standing = recorded(standing.place.folder) or standing
    assert standing.database is not None
    before = database.Database(standing.database, standing.database_url)
    return note(replace(standing, database=database.restart(standing.place, before, how, settings).process))


@contextlib.contextmanager
def running(
    folder: Path | None = None, *, deployed: bool = True, settings: Mapping[str, str] | None = None
) -> Iterator[Instance]:
    """An instance for the length of a `with` block, taken away even if this process is killed inside it.

    Without a folder it lives in a temp folder, and its logs go with it. `settings` are variables of the emulator, such
    as {"AUTH": "true"} to have it enforce IAM.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rowmill-")))
        folder = _resolved(folder)
        with _alone(folder):  # of two that begin at once the second is refused: it would take the first one's away
            if find(folder):
                raise AlreadyUp(f"{folder} is in use by an instance that is up")
            stack.enter_context(tethered(folder))
            stack.enter_context(_without("PG"))
            stack.callback(down, folder)
            here = _anew(folder, deployed, settings)
        yield here


def _anew(folder: Path, deployed: bool, settings: Mapping[str, str] | None = None) -> Instance:
    """In place of what was killed here, if anything was."""
    _take_away(folder)
    try:
        return _start(folder, deployed, settings)
    except BaseException:
        _take_away(folder)
        raise


def _start(folder: Path, deployed: bool, settings: Mapping[str, str] | None) -> Instance:
    place = Place.new(folder)
    instance = note(Instance(place))
    for log in (place.cloud_log, place.postgres_log):
        log.unlink(missing_ok=True)
    emulator = cloud.start(place, settings)
    instance = note(replace(instance, cloud=emulator.process, endpoint=emulator.endpoint))
    server = database.start(place)
    instance = note(replace(instance, database=server.process, database_url=server.url))
    cloud.wait_ready(emulator, place.cloud_log)
    if deployed:
        instance = note(replace(instance, api_url=_deploy(instance)))
        _warm(instance)
        instance = note(_with_demo_account(instance))
    write_env(instance)
    return instance


def _deploy(instance: Instance) -> str:
    from infra.deploy import Asked, deploy  # noqa: PLC0415 - slow to import, and only this step needs it

    with _pointed_at(instance.endpoint):
        asked = Asked(
            database_url=instance.database_url,
            public_endpoint=instance.endpoint,
            webhook_private=os.environ.get("ROWMILL_WEBHOOK_PRIVATE") == "1",
        )
        return deploy("local", asked).api_url


def _warm(instance: Instance) -> None:
    """Start the Lambda processes that a file goes through: one takes a second, most files a tenth of one.

    The messages name no file: they change nothing.
    """
    import boto3  # noqa: PLC0415 - slow to import, and only this step needs it

    with _pointed_at(instance.endpoint), ThreadPoolExecutor(len(WARMED)) as pool:
        functions = boto3.client("lambda", region_name=cloud.REGION)

        def start(name: str) -> None:
            event = json.dumps({"Records": [nothing(name)]})
            answer = functions.invoke(FunctionName=f"rowmill-local-{name}", Payload=event)
            if "FunctionError" in answer:
                raise cloud.CloudFailed(f"{name} does not start: {answer['Payload'].read().decode()}")

        list(pool.map(start, WARMED))


def nothing(function: str) -> dict[str, Any]:
    """A record of a queue that names no upload."""
    body = {"tenant": "nobody", "upload_id": "none", "upload": 0, "chunk": 0}
    source = f"arn:aws:sqs:{cloud.REGION}:000000000000:{function}"
    named = {"messageId": "warm", "receiptHandle": "warm", "eventSource": "aws:sqs", "eventSourceARN": source}
    return {**named, "body": json.dumps(body)}


def _with_demo_account(instance: Instance) -> Instance:
    """An account, and an API key of it: whoever sources `env` comes back to the same shell tomorrow."""
    password = secrets.token_urlsafe(12)
    session = _post(instance, "auth/signup", "", {"username": DEMO_ACCOUNT, "password": password})
    key = _post(instance, "api-keys", session["access"], {"name": "make up"})
    return replace(instance, username=DEMO_ACCOUNT, password=password, token=str(key["secret"]))


def _post(instance: Instance, path: str, token: str, body: Mapping[str, str]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(  # noqa: S310 - our own endpoint
        f"{instance.api_url}/v1/{path}", json.dumps(body).encode(), headers, method="POST"
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _take_away(folder: Path) -> list[str]:
    """Undo a start, complete or not. The record goes last, so that an interrupted undo can be repeated."""
    known = recorded(folder)
    if known is None:
        return []
    with _uninterrupted():
        return [*_stop(known), *_remove(known)]


def _stop(known: Instance) -> list[str]:
    stopped = [
        f"stopped {name} (pid {process.pid})"
        for name, process in (("the emulator", known.cloud), ("PostgreSQL", known.database))
        if process and process.alive
    ]
    # The emulator first: its functions hold connections to the database.
    if known.cloud:
        cloud.stop(known.cloud, known.place.mark)
    if known.database:
        database.stop(known.database)
    destroy(marked(known.place.mark))
    for home in (known.place.database, known.place.refuge):
        destroy(inside(home))
    return stopped


def _remove(known: Instance) -> list[str]:
    place = known.place
    made = (place.database, place.temp, place.refuge, place.env_file, place.draft, place.record)
    removed = [path for path in made if path.exists()]
    for path in removed:
        _remove_one(path)
    return [f"removed {path}" for path in removed]


def _remove_one(path: Path, attempts: int = 5) -> None:
    """A process that was killed a moment ago may still add a file to a folder being emptied."""
    for left in reversed(range(attempts)):
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            break
        except OSError:
            if not left:
                raise
            time.sleep(0.1)


def _resolved(folder: Path | None) -> Path:
    return (folder or default_folder()).resolve()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One start or stop of a folder at a time. The folder itself is the lock: no file is left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def tethered(folder: Path) -> Iterator[None]:
    """A process that takes the instance away when ours dies without doing so: its stdin ends then."""
    command = [sys.executable, "-m", "infra.local.tether", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=cloud.CHECKOUT, start_new_session=True) as watcher:
        try:
            yield
        finally:
            watcher.kill()


@contextlib.contextmanager
def _pointed_at(endpoint: str) -> Iterator[None]:
    """The environment that boto3 reads, without whatever the user has set up there for a real account."""
    with _without("AWS_", cloud.CREDENTIALS | cloud.NOTHING_ELSE | {"AWS_ENDPOINT_URL": endpoint}):
        yield


@contextlib.contextmanager
def _without(start: str, instead: Mapping[str, str] | None = None) -> Iterator[None]:
    """The environment without variables that begin so: a PGSSLMODE for a real database would keep us from ours."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(start)]:
        del os.environ[name]
    os.environ.update(instead or {})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the clean-up is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
