"""The process that serves the emulator; `infra.local.cloud` starts it with an inherited, bound socket.

It is two processes, a guard and the server, and whichever is left when the other dies kills their common
process group. So Lambda processes end at the moment the server is killed, not when their work is done.
The guard also has long work give way to short work: on AWS each function has a processor's share of its own.
"""

import ctypes
import os
import re
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from uvicorn import Config, Server

from infra.local import emulator
from infra.local.processes import family, lower, ports, title
from infra.local.record import recorded

BACKLOG = 4096
"""Of connections that wait to be taken: several hundred clients arrive together."""
SWITCH_SECONDS = 0.0005
"""The emulator has a thread for each invocation, and its event loop should not wait Python's 5 ms for each of them."""
LONG = re.compile(r"/ministack-lambda-rowmill-\S+-(load_low|receipt)-")
"""Processes of functions whose work is long: chunks of large files, and what nobody waits for."""
BACKEND = re.compile(r"^postgres: .* 127\.0\.0\.1\((\d+)\)")
NICENESS = 10
"""A tenth of the share of who is not nice, and what is left over."""
LOWER_SECONDS = 2.0
PR_SET_PDEATHSIG = 1


def main() -> None:
    descriptor = int(sys.argv[1])
    _split_off_guard(descriptor, Path(sys.argv[2]))
    _raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_SECONDS)
    Server(_config()).run([socket.socket(fileno=descriptor)])


def _config() -> Config:
    """With httptools and uvloop, which are in C, a ping takes 0.46 ms; with hypercorn, the emulator's own, 0.79."""
    return Config(
        emulator.application(),
        http="httptools",
        loop="uvloop",
        ws="none",
        backlog=BACKLOG,
        timeout_keep_alive=75,
        log_level="warning",
        server_header=False,
        date_header=False,  # the emulator gives one
    )


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
