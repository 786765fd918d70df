"""The files, written record by record and the same on every machine, and what must come of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.embedded import CONTACTS
from chalicelib.journey import Mode

Row = Callable[[int], str | bytes]
MODES: Final[tuple[Mode, ...]] = ("insert", "skip", "upsert")
FULL: Final = 1_000_000  # records of the long files
CELL: Final = 2_000_000  # characters of a cell that is too large
NAMES: Final = [field["name"] for field in CONTACTS["fields"]]


@dataclass(frozen=True, slots=True)
class Case:
    """A file of `rows` records under a header, and how its upload must end: these counts, or this error.

    `before`: the same file has been loaded once. `backwards`: its second half is loaded before its first. Of an upsert,
    loaded and updated rows are counted together.
    """

    name: str
    rows: int
    header: list[str]
    row: Row
    counts: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    schema: Mapping[str, Any] | None = field(default_factory=lambda: CONTACTS)
    mode: Mode = "insert"
    before: bool = False
    backwards: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        with path.open("wb") as out:
            out.write((",".join(self.header) + "\n").encode())
            for n in range(1, self.rows + 1):
                line = self.row(n)
                out.write(line if isinstance(line, bytes) else line.encode())
                out.write(b"\n")


def every(rows: int) -> list[Case]:
    """All cases, the long files of so many records."""
    return [*_bad(rows), *_repeats(rows), *_narrow(rows), *_wide(rows), *_large(rows)]


def mail(n: int) -> str:
    """Scattered, so that the index is met in no order."""
    return f"u{n * 7_919 % 10_000_019:08}@example.org"


def good(n: int, *, email: str | None = None, name: str | None = None, since: str = "2024-02-28") -> str:
    """A record for CONTACTS of 71 bytes."""
    return f"{email or mail(n)},{name or f'Name {n}'},{since},{n % 1000},{n % 997}.25,seen at desk {n % 100}"


def _contacts(name: str, rows: int, row: Row, counts: Mapping[str, int], **more: Any) -> Case:
    return Case(name, rows, NAMES, row, counts, **more)


def _bad(rows: int) -> Iterator[Case]:
    """Not one good row."""
    spoilt: dict[str, Row] = {
        "a wrong type": lambda n: good(n, since="2024-02-30"),
        "a cell too few": lambda n: good(n).replace(",", " ", 1),
        "a misplaced quote": lambda n: good(n, name=f'"Na"me {n}'),
        "not UTF-8": lambda n: good(n).encode().replace(b"Name", b"Na\x81\xffme"),
    }
    for what, row in spoilt.items():
        yield _contacts(f"every row bad: {what}", rows, row, {"rejected": rows})


def _repeats(rows: int) -> Iterator[Case]:
    """One key in every row, and then a file that is in the table already."""
    lost = {"insert": "rejected", "skip": "skipped"}
    for mode in MODES:
        counts = {"updated": rows} if mode == "upsert" else {"loaded": 1, lost[mode]: rows - 1}
        yield _contacts(
            f"every row the same key, {mode}", rows, lambda n: good(n, email="one@example.org"), counts, mode=mode
        )
    yield from _late(rows)
    for mode in MODES:
        counts = {lost.get(mode, "updated"): rows}
        yield _contacts(f"every row in the table already, {mode}", rows, good, counts, mode=mode, before=True)


def _late(rows: int) -> Iterator[Case]:
    """What the settler rejects when all chunks are in: rows that were loaded, or staged."""
    one: Row = lambda n: good(n, email="one@example.org")  # noqa: E731
    yield _contacts(
        "every row repeated, the repeats loaded first",
        2 * rows,
        lambda n: good((n - 1) % rows + 1),
        {"loaded": rows, "rejected": rows},
        backwards=True,
    )
    budget, whole = {"max_error_percent": 100}, {"on_error": "abort"}
    yield _contacts("every row the same key, a budget", rows, one, {"loaded": 1, "rejected": rows - 1}, options=budget)
    bad: Row = lambda n: good(n, since="2024-02-30")  # noqa: E731
    rejected = {"rejected": rows}
    yield _contacts("every row bad, all or nothing", rows, bad, rejected, options=whole, error="rows_rejected")


def _narrow(rows: int) -> Iterator[Case]:
    """One column, one letter a record; quoted cells; every second line empty: no record."""

    def one(name: str, row: Row, loaded: int) -> Case:
        return Case(name, rows, ["c"], row, {"loaded": loaded}, schema=texts(1))

    yield one("one column, one letter a row", lambda n: "x", rows)
    yield one("one column, quoted", lambda n: f'"say ""{n}"", twice"', rows)
    yield one("one column, every second line empty", lambda n: "" if n % 2 else f"{n}", rows // 2)


def _wide(rows: int) -> Iterator[Case]:
    """1,500 columns. 1,500 numbers of eight bytes are more than a page of Postgres holds, 1,000 are not."""
    few, many = rows // 500, rows // 50

    def wide(name: str, number: int, row: Row, counts: Mapping[str, int], kind: str = "string") -> Case:
        return Case(name, number, columns(1500), row, counts, schema=texts(1500, kind))

    empty, short = "x" + "," * 1499, ",".join("x" * 1500)
    numbers, most = ",".join("1" * 1500), ",".join("1" * 900) + "," * 600
    bad = rows // 5000
    yield wide("1,500 columns, one letter a cell", many, lambda n: short, {"loaded": many})
    yield wide("1,500 columns, empty but for one", 2 * many, lambda n: empty, {"loaded": 2 * many})
    yield wide("1,500 columns, every cell a wrong type", many, lambda n: short, {"rejected": many}, "integer")
    yield wide("1,500 columns, every row too long for a page", few, lambda n: numbers, {"rejected": few}, "integer")
    yield wide(
        "1,500 columns, one row of a hundred too long",
        100 * bad,
        lambda n: most if n % 100 else numbers,
        {"loaded": 99 * bad, "rejected": bad},
        "integer",
    )
    yield Case("1,601 columns", 10, columns(1601), lambda n: "x" + "," * 1600, error="columns_too_many", schema=None)


def _large(rows: int) -> Iterator[Case]:
    """Cells of 2 MB, one in fifty rows; records of 15 and of 17 MB."""
    few = rows // 500
    counts = {"loaded": few - few // 50, "rejected": few // 50}

    def among(name: str, row: Callable[[int], str]) -> Case:
        return _contacts(name, few, lambda n: good(n) if n % 50 else row(n), counts)

    quoted = '"' + 'a line, ""and""\n' * (CELL // 14) + '"'
    yield among("a cell of 2 MB in one row of fifty", lambda n: good(n, name="x" * CELL))
    yield among("a quoted cell of 2 MB and many lines in one row of fifty", lambda n: good(n, name=quoted))
    yield among("a key of 2 MB in one row of fifty", lambda n: good(n, email=f"{n}" + "x" * CELL))
    yield _long(15, counts={"loaded": 10})
    yield _long(17, error="record_too_large")


def _long(cells: int, **ends: Any) -> Case:
    record = ",".join(["x" * 1_000_000] * cells)
    return Case(f"records of {cells} MB", 10, columns(cells), lambda n: record, schema=texts(cells), **ends)


def columns(count: int) -> list[str]:
    return [f"c{n}" for n in range(count)]


def texts(width: int, kind: str = "string") -> dict[str, Any]:
    """A schema of so many columns without a key."""
    return {"fields": [{"name": name, "type": kind} for name in (columns(width) if width > 1 else ["c"])]}
