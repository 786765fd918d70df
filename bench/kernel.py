"""What the kernel tells of processes and of the machine: proc(5). A process that has gone raises OSError."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")
_IDLE: Final = (3, 4)  # fields of /proc/stat that are not work: idle and waiting for the disk


def busy() -> float:
    """Processor seconds of the whole machine since it booted."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(int(field) for place, field in enumerate(fields) if place not in _IDLE) / _TICK


def spent(pid: int | str, *, with_ended: bool = False) -> float:
    """Processor seconds of a process so far; `with_ended` those of its children that it has seen end, too."""
    own_and_children = _stat(pid)[11:15]
    return sum(map(int, own_and_children if with_ended else own_and_children[:2])) / _TICK


def is_stopped(pid: int) -> bool:
    """By a signal, or it has ended and nobody has asked how."""
    return _stat(pid)[0] in "TZ"


def _stat(pid: int | str) -> list[str]:
    """From the third field on; the name before may itself hold blanks and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def memory(pid: int | str) -> tuple[int, int]:
    """Resident now, and at most so far, in bytes. KeyError of a process that has ended and has none any more."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    fields = {line[0]: line[1] for line in lines if len(line) > 1}
    return int(fields["VmRSS:"]) * 1024, int(fields["VmHWM:"]) * 1024


def forget_peak(pid: int) -> None:
    """Count from here on what it has at most."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
