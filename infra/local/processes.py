"""Processes as the kernel knows them. Linux only: it reads /proc.

The one thing to know: pids are reused, so no bare number is ever signalled. A process is ours if the start
time noted with its pid still matches, or if it carries the instance's mark in its environment.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from infra.local.place import MARK

PROC = Path("/proc")
_children: dict[int, subprocess.Popen[bytes]] = {}
"""Those this interpreter started: only the parent can collect an ended child, else it stays as a zombie."""


@dataclass(frozen=True, slots=True)
class Stat:
    state: str
    parent: int
    started: int


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    started: int
    """Clock ticks between boot and its start."""

    @property
    def alive(self) -> bool:
        if child := _children.get(self.pid):
            child.poll()
        stat = _stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state not in "ZX"

    def send(self, number: signal.Signals) -> None:
        if self.alive:
            _signal(self.pid, number)


def spawn(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    log: Path,
    folder: Path,
    user: int | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start a process that leads its own session, so that a Ctrl-C in our terminal does not reach it."""
    with appending(log) as output:
        child = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
            user=user,
            group=user,
            extra_groups=no_groups(user),
        )
    _children[child.pid] = child
    stat = _stat(child.pid)
    assert stat is not None, "a child stays visible until its parent collects it"
    return Process(child.pid, stat.started)


def no_groups(user: int | None) -> list[int] | None:
    """For subprocess: a child that runs as another user must not keep our groups."""
    return None if user is None else []


def appending(log: Path) -> BinaryIO:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def marked(mark: str) -> Iterator[Process]:
    """Every living process that was started with this instance's mark, and what those started in turn."""
    wanted = f"{MARK}={mark}".encode()
    for pid in _pids():
        if wanted in _environment(pid).split(b"\0") and (stat := _stat(pid)):
            yield Process(pid, stat.started)


def _environment(pid: int) -> bytes:
    """What a process was started with; empty for those that are not ours to see.

    Between exec and the program's first step the kernel shows nothing, so a program that has nothing is asked
    again for a moment.
    """
    for _ in range(20):
        try:
            if found := (PROC / str(pid) / "environ").read_bytes():
                return found
            (PROC / str(pid) / "exe").readlink()
        except OSError:
            break
        time.sleep(0.001)
    return b""


def inside(folder: Path) -> Iterator[Process]:
    """PostgreSQL's processes that work below `folder`: all but the first overwrite their environment."""
    for pid in _pids():
        try:
            works_in = (PROC / str(pid) / "cwd").readlink()
            program = (PROC / str(pid) / "exe").readlink()
        except OSError:
            continue
        stat = _stat(pid)
        if stat and program.name == "postgres" and works_in.is_relative_to(folder):
            yield Process(pid, stat.started)


def family(process: Process) -> list[Process]:
    """The process and all that descend from it."""
    if not process.alive:
        return []
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid))}
    found = [process]
    for each in found:
        found += [Process(pid, stat.started) for pid, stat in stats.items() if stat.parent == each.pid]
    return found


def caller(port: int, among: Process) -> Process | None:
    """The process of this family whose connection to 127.0.0.1 comes from a port; None if it has gone."""
    sockets = {socket for socket, its in _sockets() if its == port}
    return next((each for each in family(among) if not sockets.isdisjoint(descriptors(each))), None)


def ports(processes: Iterable[Process]) -> set[int]:
    """Those that these processes' connections to 127.0.0.1 come from."""
    held = set().union(*map(descriptors, processes))
    return {port for socket, port in _sockets() if socket in held}


def _sockets() -> Iterator[tuple[str, int]]:
    """Each socket on 127.0.0.1, by its name among a process' descriptors, and its port."""
    for fields in map(str.split, (PROC / "net" / "tcp").read_text().splitlines()[1:]):
        address, _, port = fields[1].partition(":")
        if address == "0100007F":
            yield f"socket:[{fields[9]}]", int(port, 16)


def title(process: Process) -> str:
    """Its command line, or what it has written there; empty if it has gone."""
    try:
        return (PROC / str(process.pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def lower(process: Process, niceness: int) -> None:
    """Have a process give way to others: its threads, and the session it leads, as each of PostgreSQL's leads one.

    Linux shares processors among sessions first, and by niceness within one alone (sched_autogroup_enabled).
    """
    with contextlib.suppress(OSError):  # it has just gone; or sessions may be lowered ten times a second, and were
        group = PROC / str(process.pid) / "autogroup"
        leads = os.getsid(process.pid) == process.pid and group.exists()
        if leads and not group.read_text().endswith(f" {niceness}\n"):
            group.write_text(str(niceness))
        for task in (int(each.name) for each in (PROC / str(process.pid) / "task").iterdir()):
            if os.getpriority(os.PRIO_PROCESS, task) < niceness:
                os.setpriority(os.PRIO_PROCESS, task, niceness)


def descriptors(process: Process) -> set[str]:
    """What a process has open. It may close some, or end, while it is looked at: what is gone is left out."""
    found = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in (PROC / str(process.pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(str(entry.readlink()))
    return found


def destroy(processes: Iterable[Process]) -> None:
    """Kill at once and return when they are gone."""
    doomed = list(processes)
    for each in doomed:
        each.send(signal.SIGKILL)
    wait_gone(doomed, seconds=10)


def wait_gone(processes: Iterable[Process], seconds: float) -> bool:
    """True as soon as none of them lives, False if one still does after `seconds`."""
    waiting = list(processes)
    deadline = time.monotonic() + seconds
    while waiting := [each for each in waiting if each.alive]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def stat_fields(pid: int) -> list[str]:
    """Of proc(5) stat, from the third on; the name before may itself hold blanks and brackets. Raises OSError."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _stat(pid: int) -> Stat | None:
    try:
        fields = stat_fields(pid)
    except OSError:
        return None
    # The third, the fourth and the 22nd.
    return Stat(state=fields[0], parent=int(fields[1]), started=int(fields[19]))
