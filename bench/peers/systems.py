"""The ways to load that are compared: what each is called, what it cannot do, and which files it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.peers import exact, loadpath, others, ours
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
        "names the first bad row and loads nothing; starts again from the beginning",
        _other(others.psql),
        ("contacts", "flights"),
    ),
    "pipeline": System("Rowmill, stored to completed", "", ours.load, ("contacts", "bad", "flights", "small")),
    "pipeline-exact": System("Rowmill without polars, stored to completed", "", exact.load),
    "loadpath": System("Rowmill's load step alone, two processes", "", loadpath.load),
    "pgloader": System(
        "pgloader",
        "starts again from the beginning, over the batches that are in: a unique key has to know them",
        _other(others.pgloader),
    ),
    "dlt-arrow": System(
        "dlt, Arrow tables appended",
        "names the first bad value and loads nothing; appends again what is run again",
        _other(others.dlt_arrow),
    ),
    "dlt": System(
        "dlt, dictionaries appended",
        "a repeated key fails the load, which may be half in by then; appends again what is run again",
        _other(others.dlt_rows),
        rows=100_000,
    ),
    "celery": System(
        "Django `bulk_create` by the thousand, Celery and Redis, 2 workers",
        "a bad row fails its thousand; a task that comes twice is stopped by a unique key, if there is one",
        _other(others.celery),
        rows=100_000,
    ),
    "csvsql": System(
        "csvsql `--insert`",
        "a bad row ends it without a line, nothing is in; CRLF inside a cell becomes LF",
        _other(others.csvsql),
        rows=20_000,
    ),
    "django": System(
        "Django `objects.create` for each row",
        "a bad row ends it, the rows before stay; run again, it meets them",
        _other(others.django_create),
        rows=20_000,
    ),
}
