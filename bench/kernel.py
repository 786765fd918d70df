"""What the kernel tells of processes and of the machine: proc(5). A process that has gone raises OSError."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from infra.local.processes import stat_fields

_TICK: Final = os.sysconf("SC_CLK_TCK")
_IDLE: Final = (3, 4)  # fields of /proc/stat that are not work: idle and waiting for the disk


def busy() -> float:
    """Processor seconds of the whole machine since it booted."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(int(field) for place, field in enumerate(fields) if place not in _IDLE) / _TICK


def spent(pid: int) -> float:
    """Processor seconds of a process so far."""
    return sum(map(int, stat_fields(pid)[11:13])) / _TICK


def spent_in_all(pid: int) -> float:
    """With those of its children that it has seen end; nothing of one that has gone: its parent has that now."""
    with suppress(OSError):
        return sum(map(int, stat_fields(pid)[11:15])) / _TICK
    return 0.0


def is_stopped(pid: int) -> bool:
    """By a signal, or it has ended and nobody has asked how."""
    return stat_fields(pid)[0] in "TZ"


def memory(pid: int | str) -> tuple[int, int]:
    """Resident now, and at most so far, in bytes. KeyError of a process that has ended and has none any more."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    fields = {line[0]: line[1] for line in lines if len(line) > 1}
    return int(fields["VmRSS:"]) * 1024, int(fields["VmHWM:"]) * 1024


def forget_peaks(pids: Iterable[int]) -> None:
    """Count from here on what each has at most; those that have gone are left out."""
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")
