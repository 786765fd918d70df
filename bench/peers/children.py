"""Processes that are started to be measured: programs that are told when to begin, and servers that they need.

All carry the instance's mark, so that its end is theirs, even if this process is killed.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.peers.ground import LIMIT_SECONDS, Failed, Ground
from infra.local.cloud import CHECKOUT
from infra.local.place import MARK
from infra.local.processes import Process, destroy, family, marked, spawn, tail


@dataclass(frozen=True, slots=True)
class Child:
    """A program that reads lines and answers with words."""

    process: Process
    log: Path
    _popen: subprocess.Popen[str]

    def tell(self, line: str) -> None:
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):  # then the answer will be missing, and its log says why
            self._popen.stdin.write(line + "\n")
            self._popen.stdin.flush()

    def expect(self, word: str) -> None:
        """Read on to a word; whatever else a library prints is passed over."""
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            if line.strip() == word:
                return
        raise Failed(f"it ended before it was {word}: {tail(self.log, 1) or 'without a word'}")


@contextmanager
def started(place: Ground, command: Sequence[str | Path], environment: Mapping[str, str], log: str) -> Iterator[Child]:
    """A program that has said that it is ready. It is killed at the end, and if it takes too long."""
    path = place.folder / "logs" / log
    with path.open("wb") as output:
        popen = subprocess.Popen(
            command,
            env={**environment, MARK: place.here.place.mark},
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    limit = threading.Timer(LIMIT_SECONDS, popen.kill)
    limit.start()
    try:
        process = next((each for each in marked(place.here.place.mark) if each.pid == popen.pid), None)
        if process is None:
            raise Failed(f"it ended at once: {tail(path, 1)}")
        child = Child(process, path, popen)
        child.expect("ready")
        yield child
    finally:
        limit.cancel()
        popen.kill()
        with suppress(BrokenPipeError), popen:
            pass  # closes its pipes and collects it


@contextmanager
def serving(
    place: Ground, command: Sequence[str | Path], environment: Mapping[str, str], log: str
) -> Iterator[Process]:
    """A server with all that it starts, until the end of the block."""
    marked_too = {**environment, MARK: place.here.place.mark}
    process = spawn(command, environment=marked_too, log=place.folder / "logs" / log, folder=CHECKOUT)
    try:
        yield process
    finally:
        destroy(family(process))
