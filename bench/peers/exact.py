"""Rowmill as it is without polars: the same cloud and server, its functions started where polars is not to be found.

They are told by PYTHONPATH, which Python reads and Rowmill does not: what runs is what a package without polars runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bench.embedded import start_anew, variables
from bench.load.meters import roles
from bench.peers import files, ours
from bench.peers.files import File
from bench.peers.ground import Failed
from bench.peers.loadpath import client
from bench.peers.meter import Spent
from infra.local.record import Instance

FUNCTIONS: Final = ("split", "load_high", "load_medium", "load_low")
WITHOUT: Final = Path(__file__).parent / "without_polars"


def load(account: ours.Account, file: File) -> Spent:
    """As ours.load. The functions are new and warm before it, and are the usual ones again, and warm, after it."""
    warming = files.contacts(file.path.parent, ours.WARM_UP_ROWS)
    with _without_polars(account.ground.here):
        ours.warm_up(account, warming)
        spent = ours.load(account, file)
        if found := _with_polars(account.ground.here):
            raise Failed(f"{', '.join(found)} had polars all the same")
    ours.warm_up(account, warming)
    return spent


@contextmanager
def _without_polars(here: Instance) -> Iterator[None]:
    functions = client(here, "lambda")
    usual = {name: variables(functions, name) for name in FUNCTIONS}
    try:
        for name, known in usual.items():
            start_anew(functions, name, {**known, "PYTHONPATH": str(WITHOUT)})
        yield
    finally:
        for name, known in usual.items():
            start_anew(functions, name, known)


def _with_polars(here: Instance) -> list[str]:
    """The functions of which a process has loaded polars' library."""
    found = set()
    for pid, role in roles(here).items():
        with suppress(OSError):
            if role in FUNCTIONS and "polars" in Path(f"/proc/{pid}/maps").read_text():
                found.add(role)
    return sorted(found)
