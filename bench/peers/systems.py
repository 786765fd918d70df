"""The ways to load that are compared: what each is called, what it cannot do, and one run of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.peers import ground, meter, ours
from bench.peers.files import File
from bench.peers.ground import TABLE, Failed, Ground
from bench.peers.meter import Spent

REFERENCE: Final = "psql"


@dataclass(frozen=True, slots=True)
class System:
    """`rows` is how many of the contacts it is given; None means all, and that it takes the other files as well."""

    title: str
    lacks: str
    run: Callable[[ours.Account, File], Spent]
    files: Sequence[str] = ("contacts",)
    rows: int | None = None


def _psql(account: ours.Account, file: File) -> Spent:
    place = account.ground
    names = ", ".join(f'"{field["name"]}"' for field in file.schema["fields"])
    copy = f"\\copy {TABLE} ({names}) FROM '{file.path}' WITH (FORMAT csv, HEADER true, NULL '{file.null}')"
    command = [ground.binary(place, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", copy]
    with _fresh_table(place, file), meter.measured(place.postgres) as spent:
        ground.run(place, command, place.folder / "logs" / "psql.log")
    return spent


@contextmanager
def _fresh_table(place: Ground, file: File) -> Iterator[None]:
    """A fresh table in a quiet moment, the emulator halted; afterwards every row must be there."""
    place.fresh_table(file)
    with place.halted_cloud():
        place.settle()
        yield
    if (found := place.count()) != file.rows:
        raise Failed(f"{found} rows in the table, {file.rows} in the file")
    place.drop_table()


SYSTEMS: Final[Mapping[str, System]] = {
    "psql": System(
        "psql `\\copy`",
        "the first bad row ends it, and nothing is loaded; not taken up again, but repeated",
        _psql,
        ("contacts", "flights"),
    ),
    "pipeline": System("Rowmill, stored to completed", "", ours.load, ("contacts", "bad", "flights", "small")),
}
