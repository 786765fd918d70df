"""What one input may cost, by its size: time of the processor, and memory. More is a finding, not a slow run."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

# Instrumented code takes five times as long as it does in the product, where a megabyte is read in half a second.
SECONDS: Final = 0.5
SECONDS_A_BYTE: Final = 20e-6
MEMORY_BYTES: Final = 64 << 20
MEMORY_A_BYTE: Final = 200
PROCESS_BYTES: Final = 3 << 30  # of address space: an allocation beyond it fails, which is a finding, too


class OutOfBounds(AssertionError):
    """An input took more time or memory than one of its size may."""


def limit_process() -> None:
    """Bound this process for good, so that no input can hurt the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES, PROCESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def within(size: int) -> Iterator[None]:
    """Raise OutOfBounds when what is done meanwhile costs more than `size` bytes of input are worth.

    The time is this process' on a processor, so that neighbours do not count. The alarm also goes off inside a
    pattern that never ends: matching looks for signals now and then.
    """
    held = _peak()
    signal.signal(signal.SIGVTALRM, _ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS + SECONDS_A_BYTE * size)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    if (grown := _peak() - held) > MEMORY_BYTES + MEMORY_A_BYTE * size:
        raise OutOfBounds(f"{size} bytes took {grown >> 20} MiB")


def _ring(*_: Any) -> None:
    raise OutOfBounds("the input takes longer than one of its size may")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
