"""The journey as it is watched, on stderr: two bars on a terminal, a line per event anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol, cast

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from .output import note, say
from .resources import Upload


class Display(Protocol):
    """Watches one upload."""

    def created(self, upload: Upload) -> None:
        """The upload has an id."""

    def sent(self, done: int, total: int) -> None:
        """So many bytes have left."""

    def moved(self, upload: Upload) -> None:
        """The server says something new."""


@contextmanager
def watching() -> Iterator[Display]:
    """The display that suits stderr."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[shown]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=cast(IO[str], _Screen()))) as progress:
        yield Bars(progress)


class _Screen:
    """stderr for bars, which may be closed while they are shown."""

    def write(self, text: str) -> None:
        say(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


class Bars:
    """One bar for the bytes, then one for the rows."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bytes: TaskID | None = None
        self._rows: TaskID | None = None

    def created(self, upload: Upload) -> None:
        self._progress.console.print(f"upload {upload['id']} created", markup=False, highlight=False)

    def sent(self, done: int, total: int) -> None:
        if self._bytes is None:
            self._bytes = self._progress.add_task("sending", total=total, shown="")
        shown = f"{decimal(done)} of {decimal(total)}"
        self._progress.update(self._bytes, completed=done, total=total, shown=shown)

    def moved(self, upload: Upload) -> None:
        if self._rows is None:
            self._rows = self._progress.add_task("", total=None, shown="")
        total = upload["rows_total"]
        shown = f"{settled(upload):,} rows" if total is None else f"{settled(upload):,} of {total:,} rows"
        # An empty file is done as well, which a bar shows only with something to fill.
        done, full = (1, 1) if total == 0 else (settled(upload), total)
        self._progress.update(self._rows, description=upload["state"], completed=done, total=full, shown=shown)


class Lines:
    """A line when something begins or ends, and at every further tenth of the rows: logs are read later."""

    def __init__(self) -> None:
        self._said: tuple[str, int] = ("", 0)

    def created(self, upload: Upload) -> None:
        note(f"upload {upload['id']} created")

    def sent(self, done: int, total: int) -> None:
        if done == total and self._said != ("sent", total):
            self._said = ("sent", total)
            note(f"sent {total:,} bytes")

    def moved(self, upload: Upload) -> None:
        tenth = int(upload["percent"] or 0) // 10
        if (upload["state"], tenth) != self._said:
            self._said = (upload["state"], tenth)
            note(f"{upload['state']} {tenth * 10}%")


def settled(upload: Upload) -> int:
    """Records whose fate is known."""
    written = upload["loaded"] + upload["updated"] + upload["skipped"]
    return written + upload["rejected"] + upload["unprocessed"] + upload.get("valid", 0)
