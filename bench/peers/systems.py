"""The ways to load that are compared: what each is called, what it cannot do, and which files it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.peers import loadpath, others, ours
from bench.peers.files import File
from bench.peers.ground import Ground
from bench.peers.meter import Spent

REFERENCE: Final = "psql"
Load = Callable[[ours.Account, File], Spent]


@dataclass(frozen=True, slots=True)
class System:
    """`rows` is how many of the contacts it is given; None means all of them."""

    title: str
    lacks: str
    load: Load
    files: Sequence[str] = ("contacts",)
    rows: int | None = None


def _other(load: Callable[[Ground, File], Spent]) -> Load:
    return lambda account, file: load(account.ground, file)


SYSTEMS: Final[Mapping[str, System]] = {
    "psql": System(
        "psql `\\copy`",
        "reasons: names the first bad row and loads nothing; cut off: all again from the start",
        _other(others.psql),
        ("contacts", "flights"),
    ),
    "pipeline": System("Rowmill, stored to completed", "", ours.load, ("contacts", "bad", "flights", "small")),
    "loadpath": System("Rowmill's load step alone, two processes", "", loadpath.load),
    "pgloader": System(
        "pgloader",
        "exactly once: batches commit one by one, a second run meets the first's rows; cut off: all again",
        _other(others.pgloader),
    ),
    "dlt-arrow": System(
        "dlt, Arrow tables appended",
        "reasons: a bad value fails the load; exactly once: appends again what is run again",
        _other(others.dlt_arrow),
    ),
    "dlt": System(
        "dlt, dictionaries appended",
        "reasons: a bad value goes into a column of its own; exactly once: appends again what is run again",
        _other(others.dlt_rows),
        rows=100_000,
    ),
    "celery": System(
        "Django `bulk_create` of 1,000 rows, Celery and Redis, 2 workers",
        "reasons: one bad row fails its thousand; exactly once: only as far as a unique key reaches",
        _other(others.celery),
        rows=100_000,
    ),
    "csvsql": System(
        "csvsql `--insert`",
        "reasons: the first bad row ends it; cut off: all again from the start",
        _other(others.csvsql),
        rows=20_000,
    ),
    "django": System(
        "Django `objects.create` for each row",
        "reasons: whatever one writes; exactly once: rows before a crash stay, and are met again",
        _other(others.django_create),
        rows=20_000,
    ),
}
