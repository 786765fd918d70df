"""The process that serves the emulator; `infra.local.cloud` starts it with an inherited, bound socket.

It is two processes, a guard and the server, and whichever is left when the other dies kills their common
process group. So Lambda processes end at the moment the server is killed, not when their work is done.
The guard also has long work give way to short work: on AWS each function has a processor's share of its own.
"""

import asyncio
import ctypes
import importlib
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from infra.local.processes import family, lower, ports, title
from infra.local.record import recorded

BACKLOG = 4096
"""Hypercorn's 100 refuses connections when some hundred clients arrive together."""
API_PROCESSES = 4
SWITCH_SECONDS = 0.0005
"""The emulator has a thread for each invocation, and its event loop should not wait Python's 5 ms for each of them."""
LOOK_SECONDS = 0.002
"""From a look at the queues that found nothing to the next; the emulator's 50 ms pass whatever arrives meanwhile."""
LONG = re.compile(r"/ministack-lambda-rowmill-\S+-(load_low|receipt)-")
"""Processes of functions whose work is long: chunks of large files, and what nobody waits for."""
BACKEND = re.compile(r"^postgres: .* 127\.0\.0\.1\((\d+)\)")
NICENESS = 10
"""A tenth of the share of who is not nice, and what is left over."""
LOWER_SECONDS = 2.0
PR_SET_PDEATHSIG = 1
CALLS_LOG = "ROWMILL_CALLS_LOG"
"""Names the file that calls of roles are written to."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class ApiGate:
    """ASGI wrapper that lets `limit` requests to deployed APIs run at once; the others wait in order.

    The emulator starts one more Lambda process for each request that finds none idle, so a burst of a
    hundred would start a hundred interpreters. All other requests pass untouched.
    """

    def __init__(self, app: Application, limit: int) -> None:
        self._app = app
        self._slots = asyncio.Semaphore(limit)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if not _runs_api(scope):
            await self._app(scope, receive, send)
            return
        async with self._slots:
            # As API Gateway has it: functions are given the path as it was sent. The emulator would decode it: `%2541`
            # would be decoded twice, and `a%2Fb` be two segments.
            await self._app({**scope, "path": scope["raw_path"].decode("latin-1")}, receive, send)


def _runs_api(scope: Message) -> bool:
    """Calls of a deployed API, not those that manage one: a function may make them while it holds a slot."""
    if scope["type"] != "http":
        return False
    path = str(scope["path"])
    return path.startswith("/restapis/") and "/_user_request_" in path


def main() -> None:
    descriptor = int(sys.argv[1])
    _split_off_guard(descriptor, Path(sys.argv[2]))
    _raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    limit = int(os.environ.get("ROWMILL_API_PROCESSES", API_PROCESSES))
    emulator: Application = importlib.import_module("ministack.app").app
    vars(importlib.import_module("ministack.services.lambda_svc"))["_ESM_IDLE_WAKE_GAP_SECONDS"] = LOOK_SECONDS
    if log := os.environ.get(CALLS_LOG):
        _note_calls(Path(log))
    asyncio.run(serve(ApiGate(emulator, limit), _config(descriptor)))  # type: ignore[arg-type]


def _note_calls(log: Path) -> None:
    """Write down which role asked for what, each once: role, action, resource, allowed or denied. With AUTH=true."""
    evaluator: Any = importlib.import_module("ministack.core.iam_evaluator")
    evaluate, enforce, noted, here = evaluator.evaluate, evaluator.enforce, set[str](), threading.local()

    def evaluating(context: Any, *policies: Any) -> Any:
        here.asked = getattr(here, "asked", None) or context  # a resource's own policy is asked after the role's
        return evaluate(context, *policies)

    def enforcing(*arguments: Any, **options: Any) -> Any:
        here.asked = None
        refusal = enforce(*arguments, **options)
        if asked := here.asked:
            # A role's session is arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION.
            role = asked.principal_arn.partition("/")[2].partition("/")[0]
            line = f"{role} {asked.action} {asked.resource_arn} {'denied' if refusal else 'allowed'}\n"
            if line not in noted:
                noted.add(line)
                with log.open("a") as file:
                    file.write(line)
        return refusal

    evaluator.evaluate, evaluator.enforce = evaluating, enforcing


def _config(descriptor: int) -> Config:
    config = Config()
    config.bind = [f"fd://{descriptor}"]
    config.backlog = BACKLOG
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    return config


def _split_off_guard(descriptor: int, folder: Path) -> None:
    """Returns in the server alone. The guard leads the session; if one dies, the other ends all."""
    guard = os.getpid()
    server = os.fork()
    if server == 0:
        _watch(guard)
        return
    os.close(descriptor)
    threading.Thread(target=_keep_low, args=(folder,), daemon=True).start()
    signal.signal(signal.SIGTERM, _end_all)
    os.waitpid(server, 0)
    _end_all()


def _keep_low(folder: Path) -> None:
    """For good: processes come, and connections are made anew."""
    while True:
        here = recorded(folder)
        if here and here.cloud and here.database:
            long = [one for one in family(here.cloud) if LONG.search(title(one))]
            served = ports(long)
            backends = [one for one in family(here.database) if _port(title(one)) in served]
            for one in long + backends:
                lower(one, NICENESS)
        time.sleep(LOWER_SECONDS)


def _port(backend: str) -> int | None:
    """The port of whom one of PostgreSQL's processes serves, by its title."""
    found = BACKEND.match(backend)
    return int(found[1]) if found else None


def _watch(guard: int) -> None:
    signal.signal(signal.SIGHUP, _end_all)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != guard:
        _end_all()


def _end_all(*_: object) -> None:
    """Kill the whole process group, Lambda processes and this one included."""
    os.killpg(0, signal.SIGKILL)


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
