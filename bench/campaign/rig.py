"""The running cloud of a campaign: one for all seeds, its functions behind two proxies, and hands that do harm.

The functions are the deployed ones; only their environment is changed after the deploy: where Postgres and AWS
are (a proxy's port a function), how small chunks are, and a clock that can be set apart (libfaketime).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import boto3
import psycopg
from botocore.config import Config
from rowmill_client.deployment import QUEUES

from bench.campaign.aws_proxy import AwsProxy
from bench.campaign.board import Board
from bench.campaign.hands import Hands
from bench.campaign.postgres_proxy import PostgresProxy
from bench.embedded import STRIKE, configure
from infra.local import cloud, instance
from infra.local.processes import caller
from infra.local.record import Instance

CHUNKS, OTHER_CHUNKS = "0:4194304:60,8:4194304:40", "0:4194304:45"  # the second for a deploy in mid-file
VISIBILITY_SECONDS = 3
HIDDEN_SECONDS = 720  # as the deployed queues have it, nearly: nothing comes back while a seed runs
CONNECTIONS = 60  # few, so that they can run out
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
T = TypeVar("T")


def owner(function: str) -> str:
    """Whose a function's moments are: the three load functions are one, the others stand for themselves."""
    name = function.removeprefix("rowmill-local-")
    return "load" if name.startswith("load_") else name


@dataclass(slots=True)
class Rig:
    """Everything a seed is run with."""

    here: Instance
    board: Board
    loop: asyncio.AbstractEventLoop
    postgres: PostgresProxy
    aws: AwsProxy
    hands: Hands
    clocks: Path
    chunks: str = CHUNKS
    queues: dict[str, str] = field(default_factory=dict)
    _clients: dict[str, Any] = field(default_factory=dict)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str) -> Any:
        """A client that reaches AWS past the proxy."""
        if service not in self._clients:
            session = boto3.Session("test", "test", region_name=cloud.REGION)
            config = Config(s3={"addressing_style": "path"}, read_timeout=70, retries={"max_attempts": 0})
            self._clients[service] = session.client(service, endpoint_url=self.here.endpoint, config=config)
        return self._clients[service]

    def connect(self, patience: float = 20) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection past the proxy, as soon as Postgres gives one."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return psycopg.connect(self.here.database_url, autocommit=True, connect_timeout=5)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement, tried again through whatever is being done to Postgres."""
        for left in reversed(range(5)):
            try:
                with self.connect() as connection:
                    cursor = connection.execute(statement, values)
                    return cursor.fetchall() if cursor.description is not None else []
            except psycopg.OperationalError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def send(self, queue: str, *bodies: Mapping[str, Any] | str) -> None:
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self.client("sqs").send_message(QueueUrl=self.queues[queue], MessageBody=text)

    def waiting(self) -> dict[str, tuple[int, int]]:
        """Messages by queue: to be worked on now or being worked on, and put off till later."""
        found = {}
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        for queue, url in self.queues.items():
            asked = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            now, busy, later = (int(asked[name]) for name in names)
            if now or busy or later:
                found[queue] = (now + busy, later)
        return found

    def sweep(self) -> None:
        """Have the clock strike."""
        self.client("lambda").invoke(FunctionName="rowmill-local-sweep", Payload=json.dumps(STRIKE))

    def hide_messages(self, seconds: int) -> None:
        """Have the queues give a message again after so many seconds, unless its taker has acknowledged it."""
        for url in self.queues.values():
            attributes = {"VisibilityTimeout": str(seconds)}
            self.client("sqs").set_queue_attributes(QueueUrl=url, Attributes=attributes)

    def forget_hidden(self) -> int:
        """Purge what is still in somebody's hand, and hide no more; how many messages that were."""
        hidden = 0
        self.hide_messages(VISIBILITY_SECONDS)
        for url in self.queues.values():
            name = "ApproximateNumberOfMessagesNotVisible"
            asked = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
            hidden += int(asked["Attributes"][name])
            self.client("sqs").purge_queue(QueueUrl=url)
        return hidden

    def set_clocks(self, skew: Mapping[str, int]) -> None:
        """Put each function's clock so many hours off; 0 for those that are not named."""
        for file in self.clocks.iterdir():
            file.write_text(f"{skew.get(file.name, 0) * 3600:+d}\n")

    def restart(self, how: signal.Signals) -> bool:
        """End Postgres and start it again."""
        with self._one_at_a_time:
            self.here = instance.restart_database(self.here, how, {"max_connections": str(CONNECTIONS)})
        return True

    def exhaust(self, seconds: float = 1.5) -> bool:
        """Cut the functions' connections, take every one that Postgres has, and hold on for a while."""
        with self._one_at_a_time, contextlib.ExitStack() as held:
            self.run(self.postgres.cut_all())
            refused = eventually(lambda: self._take(held), 5, pause=0.0)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                self._take(held)  # those that were in use at first, as they come free
                time.sleep(0.05)
            return bool(refused)

    def _take(self, held: contextlib.ExitStack) -> bool:
        """One more connection; whether there was none left."""
        try:
            held.enter_context(psycopg.connect(self.here.database_url, connect_timeout=5))
        except psycopg.OperationalError as error:
            return "too many clients" in str(error) or "remaining connection slots" in str(error)
        return False

    def kill(self, port: int) -> bool:
        """kill -9 the function's process that calls from this port."""
        assert self.here.cloud is not None
        process = caller(port, self.here.cloud)
        if process is not None:
            process.send(signal.SIGKILL)
        return process is not None

    def terminate(self, backend: int) -> bool:
        return bool(self.sql("SELECT pg_terminate_backend(%s)", backend)[0][0])

    def redeploy(self, chunks: str = OTHER_CHUNKS) -> bool:
        """Deploy the splitter with other chunk sizes, as an operator may at any moment; what it was at ends there."""
        if self.chunks != chunks:
            self.chunks = chunks
            configure(self.client("lambda"), "split", {"ROWMILL_CHUNK_POLICY": chunks})
        return True

    def run(self, job: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the proxies' loop."""
        return asyncio.run_coroutine_threadsafe(job, self.loop).result(30)


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Rig]:
    """A rig for the length of a `with` block."""
    with _looping() as loop, instance.running(folder) as here:
        board = Board()
        hands = Hands(kill=lambda port: False, terminate=lambda backend: False)
        database, endpoint = urlsplit(here.database_url), urlsplit(here.endpoint)
        rig = Rig(
            here,
            board,
            loop,
            PostgresProxy("127.0.0.1", database.port or 0, board, hands),
            AwsProxy("127.0.0.1", endpoint.port or 0, board, hands),
            hands,
            folder / "clocks",
        )
        hands.kill, hands.terminate = rig.kill, rig.terminate
        hands.deeds = {
            "restart fast": lambda: rig.restart(signal.SIGINT),
            "restart immediate": lambda: rig.restart(signal.SIGQUIT),
            "exhaust": rig.exhaust,
            "redeploy": rig.redeploy,
        }
        try:
            _prepare(rig)
            yield rig
        finally:
            rig.run(_close([*rig.postgres.servers, *rig.aws.servers]))


def _prepare(rig: Rig) -> None:
    rig.clocks.mkdir(exist_ok=True)
    rig.restart(signal.SIGINT)
    for queue in QUEUES:
        url = rig.client("sqs").get_queue_url(QueueName=f"rowmill-local-{queue}")["QueueUrl"]
        rig.queues[queue] = url
    rig.hide_messages(VISIBILITY_SECONDS)  # of everything that is sent: the first seed may meet what was sent before it
    for function in rig.client("lambda").list_functions()["Functions"]:
        _point_at_proxies(rig, function)
    rig.set_clocks({})


def _point_at_proxies(rig: Rig, function: Mapping[str, Any]) -> None:
    name = owner(function["FunctionName"])
    known = function["Environment"]["Variables"]
    secret = json.loads(rig.client("secretsmanager").get_secret_value(SecretId=known["ROWMILL_SECRET"])["SecretString"])
    variables = {
        **known,
        "DATABASE_URL": _elsewhere(secret["DATABASE_URL"], rig.run(rig.postgres.listen(name))),
        "AWS_ENDPOINT_URL": _elsewhere(rig.here.endpoint, rig.run(rig.aws.listen(name))),
        "ROWMILL_CHUNK_POLICY": CHUNKS,
        **_clock(rig.clocks / name),
    }
    rig.client("lambda").update_function_configuration(
        FunctionName=function["FunctionName"], Environment={"Variables": variables}
    )


def _clock(file: Path) -> dict[str, str]:
    """A clock read from a file.

    The monotonic clock goes with it: libfaketime 0.9.10 that leaves it alone makes every sleep of Python's fail.
    """
    if not FAKETIME.exists():
        return {}
    file.write_text("+0\n")
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
    }


def _elsewhere(url: str, port: int) -> str:
    """The same address at another port."""
    parts = urlsplit(url)
    who = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{port}" if who else f"127.0.0.1:{port}"))


@contextlib.contextmanager
def _looping() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="proxies")
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def _close(servers: Sequence[asyncio.Server]) -> None:
    for server in servers:
        server.close()


async def _end_all() -> None:
    """Cancel what still runs, and let the transports it leaves close themselves."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.1)


def eventually(look: Callable[[], T | None], seconds: float, pause: float = 0.1) -> T | None:
    """The first answer that is true, or the last one that was not when time is up."""
    deadline = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(pause)
    return seen
