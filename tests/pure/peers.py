"""A file as three readers have it: ours, Python's csv (strict) and DuckDB (strict, told everything)."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from bench.reading import read
from chalicelib.formats import Dialect, records


class Rejected(NamedTuple):
    """A record that does not load, and the cells it has, if they can be told."""

    code: str
    cells: list[str]
    raw: bytes


Row = Sequence[str | None] | Rejected
Reading = list[Row] | str  # a file that is refused is the reason


@dataclass(frozen=True, slots=True)
class Case:
    """A file without a header, of so many columns, and the dialect that all readers are told."""

    data: bytes
    width: int = 2
    dialect: Dialect = field(default_factory=lambda: Dialect(header=False))


def by_us(case: Case) -> Reading:
    """Rows and rejects in file order, by the way that the pipeline reads."""
    told = {name: value for name, value in asdict(case.dialect).items() if name not in ("null_values",)}
    table = read(case.data, told, width=case.width)
    rejects = {
        each.record: Rejected(each.code, list(*records(each.raw, table.dialect)), each.raw) for each in table.rejects
    }
    rows = iter(table.rows)
    return [rejects.get(record) or next(rows) for record in range(1, len(table.rows) + len(rejects) + 1)]


def by_csv(case: Case) -> Reading:
    """What csv made of the file: it knows no widths, and neither encodings nor their marks."""
    dialect = case.dialect
    quoting: dict[str, Any] = {"quotechar": dialect.quote} if dialect.quote else {"quoting": csv.QUOTE_NONE}
    text = io.StringIO(case.data.decode(errors="surrogateescape"), newline="")
    try:
        return list(csv.reader(text, delimiter=dialect.delimiter, escapechar=dialect.escape, strict=True, **quoting))
    except (csv.Error, TypeError) as error:
        return str(error)


def by_duckdb(case: Case) -> Reading:
    """What DuckDB made of the file; an empty cell is None, a quoted one is not."""
    dialect = case.dialect
    options = {
        "header": False,
        "auto_detect": False,
        "strict_mode": True,
        "null_padding": False,
        "allow_quoted_nulls": False,
        "delim": dialect.delimiter,
        "quote": dialect.quote or "",
        "escape": dialect.escape or dialect.quote or "",
        "comment": dialect.comment or "",
    }
    told = ", ".join(f"{name}={_literal(value)}" for name, value in options.items())
    columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(case.width))
    with tempfile.NamedTemporaryFile(suffix=".csv") as stored:
        Path(stored.name).write_bytes(case.data)
        try:
            found = _database().execute(f"FROM read_csv('{stored.name}', {told}, columns={{{columns}}})")
            return list(map(list, found.fetchall()))
        except duckdb.Error as error:
            return str(error).split("Possible")[0]


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


READERS: dict[str, Callable[[Case], Reading]] = {"csv": by_csv, "DuckDB": by_duckdb}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A file as we read `case`, and as a reader reads `theirs_of`: the same file until a class changes one of them."""

    reader: str
    case: Case
    theirs_of: Case
    ours: Reading
    theirs: Reading

    @classmethod
    def of(cls, case: Case, reader: str) -> Comparison:
        return cls(reader, case, case, by_us(case), READERS[reader](case))

    @property
    def agree(self) -> bool:
        return self.ours == self.theirs

    def read_by_us(self, data: bytes, **marks: str | None) -> Comparison:
        case = replace(self.case, data=data, dialect=replace(self.case.dialect, **marks))
        return self if case == self.case else replace(self, case=case, ours=by_us(case))

    def read_by_them(self, data: bytes) -> Comparison:
        case = replace(self.theirs_of, data=data)
        return self if case == self.theirs_of else replace(self, theirs_of=case, theirs=READERS[self.reader](case))

    def refused(self, because: str, *, where: bool) -> Comparison:
        """Their refusal taken for agreement, where it is said to be for this."""
        is_it = isinstance(self.theirs, str) and because in self.theirs and where
        return replace(self, theirs=self.ours) if is_it else self

    def row_by_row(self, take: Callable[[Row, Row], bool]) -> Comparison:
        """Their row taken for ours where `take(ours, theirs)`."""
        if isinstance(self.theirs, str) or len(self.theirs) != len(self.ours):
            return self
        pairs = zip(self.ours, self.theirs, strict=True)
        return replace(self, ours=[theirs if take(ours, theirs) else ours for ours, theirs in pairs])

    def with_theirs(self, change: Callable[[list[Row]], list[Row]]) -> Comparison:
        return self if isinstance(self.theirs, str) else replace(self, theirs=change(self.theirs))
