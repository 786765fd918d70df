"""Rows into a table: straight by COPY, or through staging where a key clashes or Postgres refuses a row.

Rows come as COPY's text, a line each, fields in schema order and `_row` last, sorted by the table's first key:
neighbouring index pages, and no deadlocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, LiteralString

import psycopg
from psycopg import sql

from chalicelib.journey import RECORD_BITS, Mode
from chalicelib.postgres.connection import Connection, is_row_fault
from chalicelib.postgres.tables import Table, identifiers

FEW: Final = 64  # lines that are judged one by one; of more the half is put again
_ESCAPED: Final = re.compile(r"\\([\\tnr])")
_PLAIN: Final = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
_OWN: Final = sql.SQL("t._row BETWEEN {low} AND {high}")


@dataclass(slots=True)
class Outcome:
    """What became of a chunk's rows, by `_row`; what is in none of the lists was loaded."""

    updated: list[int] = field(default_factory=list)
    in_database: list[tuple[int, str]] = field(default_factory=list)  # clashed with another upload's row, on key
    contested: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)  # Postgres' own word on the row


def copy(connection: Connection, table: Table, rows: Iterable[bytes]) -> Literal["in", "clash", "refused"]:
    """All rows into the table, inside the caller's transaction; none if a key clashes or one is refused."""
    try:
        with connection.transaction():
            _copy(connection, table.name, table, rows)
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
        return "clash" if isinstance(error, psycopg.errors.UniqueViolation) else "refused"
    return "in"


def sift(connection: Connection, table: Table, upload: int, mode: Mode, rows: Iterable[bytes]) -> Outcome:
    """Put rows into the table inside the caller's transaction through staging, each by its own fate."""
    outcome = Outcome()
    make_staging(connection, table)
    put = _stage if mode == "upsert" else _insert_most
    place(connection, table, partial(put, connection, table, upload, mode), lines_of(rows), outcome)
    return outcome


def lines_of(rows: Iterable[bytes]) -> list[bytes]:
    """A line each. No other line end is in COPY's text than the one behind each row."""
    return [line for piece in rows for line in piece.splitlines(keepends=True)]


def make_staging(connection: Connection, table: Table) -> None:
    """The staging twin, if this connection does not have it yet. It is empty at every transaction's start."""
    connection.execute(
        sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(table.staging, table.name)
    )


def place(
    connection: Connection,
    table: Table,
    put: Callable[[Sequence[bytes]], Outcome],
    lines: Sequence[bytes],
    outcome: Outcome,
) -> None:
    """Put lines; where Postgres refuses one, halve until few are left, and have it judge each of those."""
    refusal = _placed(connection, put, lines, outcome)
    if refusal is None:
        return
    if len(lines) == 1:
        outcome.refused.append((row_of(lines[0]), refusal))
        return
    if len(lines) <= FEW:
        refused = _judge(connection, table, lines)
        outcome.refused += [(row_of(lines[index]), reason) for index, reason in refused.items()]
        if refused:
            place(connection, table, put, [line for at, line in enumerate(lines) if at not in refused], outcome)
            return
    middle = len(lines) // 2
    place(connection, table, put, lines[:middle], outcome)
    place(connection, table, put, lines[middle:], outcome)


def _placed(
    connection: Connection, put: Callable[[Sequence[bytes]], Outcome], lines: Sequence[bytes], outcome: Outcome
) -> str | None:
    """Why Postgres refuses some of the lines; None if all are placed. An error would keep their text alive."""
    try:
        with connection.transaction():
            placed = put(lines)
    except psycopg.Error as error:
        return _refusal(error)
    outcome.updated += placed.updated
    outcome.in_database += placed.in_database
    outcome.contested += placed.contested
    return None


def _refusal(error: psycopg.Error) -> str:
    """Postgres' word on a row; raises what is not the row's fault."""
    if not is_row_fault(error):
        raise error
    return f"{error.diag.message_primary or 'refused'} (SQLSTATE {error.sqlstate})"


def _judge(connection: Connection, table: Table, lines: Sequence[bytes]) -> dict[int, str]:
    """The indexes of lines that the table refuses, and why; nothing stays in it.

    One statement, prepared once: of 1,500 columns 5 ms a line, where putting it costs 25, twice over.
    """
    columns = len(table.schema.fields) + 1
    values = sql.SQL(", ").join(sql.SQL(f"${place}") for place in range(1, columns + 1))
    insert = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(table.name, table.columns, values)
    statement, cursor = insert.as_bytes(connection), psycopg.RawCursor(connection)
    refused: dict[int, str] = {}
    for index, line in enumerate(lines):
        try:
            with connection.transaction():
                cursor.execute(statement, _cells(line), prepare=True)
                raise psycopg.Rollback
        except psycopg.Error as error:
            refused[index] = _refusal(error)
    return refused


def _cells(line: bytes) -> list[str | None]:
    """The values of a line of COPY's text format."""
    cells = line.decode().removesuffix("\n").split("\t")
    return [None if cell == "\\N" else _ESCAPED.sub(lambda found: _PLAIN[found[1]], cell) for cell in cells]


def row_of(line: bytes) -> int:
    """The `_row` of a line."""
    return int(line.rsplit(b"\t", 1)[1])


def _copy(connection: Connection, target: sql.Identifier, table: Table, rows: Iterable[bytes]) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(target, table.columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for piece in rows:
            copy.write(piece)


def _order(table: Table) -> sql.Composed:
    """The first key, by which all workers insert, and of rows with the same one the lowest line first."""
    return identifiers([*(table.schema.keys[0] if table.schema.keys else ()), "_row"])


def fill(connection: Connection, table: Table, lines: Sequence[bytes]) -> None:
    """Fill staging with these lines and no others."""
    connection.execute(sql.SQL("TRUNCATE {}").format(table.staging))
    _copy(connection, table.staging, table, [b"".join(lines)])


def stage(connection: Connection, table: Table, lines: Sequence[bytes]) -> None:
    """Fill staging, to be joined with the table."""
    fill(connection, table, lines)
    # Without statistics the planner has joined a staged chunk to the table by reading the whole table.
    connection.execute(sql.SQL("ANALYZE {}").format(table.staging))


def _insert_most(connection: Connection, table: Table, upload: int, mode: Mode, lines: Sequence[bytes]) -> Outcome:
    """Insert what clashes with nothing at once, and look at the few others one fate at a time."""
    fill(connection, table, lines)
    left_out = connection.execute(
        Names(table, upload).format(
            """
            WITH inserted AS (
                INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging} ORDER BY {order}
                ON CONFLICT DO NOTHING RETURNING _row
            )
            SELECT _row FROM {staging} s WHERE NOT EXISTS (SELECT FROM inserted i WHERE i._row = s._row)
            """,
            order=_order(table),
        )
    ).fetchall()
    if not left_out:
        return Outcome()
    rows = {row for (row,) in left_out}
    return _stage(connection, table, upload, mode, [line for line in lines if row_of(line) in rows])


def _stage(connection: Connection, table: Table, upload: int, mode: Mode, lines: Sequence[bytes]) -> Outcome:
    """Sort staged lines by fate: met another upload's row, met a row of this upload, or free to insert.

    A row that appears between the look and the insert is met on the next round.
    """
    outcome = Outcome()
    stage(connection, table, lines)
    names = Names(table, upload)
    while True:
        if mode == "upsert":
            outcome.contested += _remove_repeats(connection, names)
            outcome.updated += _update_others(connection, names)
        else:
            outcome.in_database += remove_clashing(connection, names, own=False)
            outcome.contested += _remove_repeats(connection, names)
        outcome.contested += [row for row, _ in remove_clashing(connection, names, own=True)]
        left = _insert(connection, names)
        if not left:
            return outcome


class Names:
    """The SQL names that the statements below share: table, staging, keys, this upload's range of `_row`."""

    def __init__(self, table: Table, upload: int) -> None:
        self.table = table
        self.keys = table.schema.keys
        self.low = upload << RECORD_BITS
        self.high = self.low + (1 << RECORD_BITS) - 1

    def format(self, statement: LiteralString, **more: sql.Composable) -> sql.Composed:
        """The statement with {table}, {staging}, {columns}, {own} and `more` filled in."""
        return sql.SQL(statement).format(
            table=self.table.name,
            staging=self.table.staging,
            columns=self.table.columns,
            own=_OWN.format(low=sql.Literal(self.low), high=sql.Literal(self.high)),
            **more,
        )

    def matches(self, key: Sequence[str], left: LiteralString = "t", right: LiteralString = "s") -> sql.Composed:
        """`left` and `right` have the same key. Null equals nothing, as in a unique index."""
        equal = [sql.SQL("{} = {}").format(sql.Identifier(left, c), sql.Identifier(right, c)) for c in key]
        return sql.SQL("(") + sql.SQL(" AND ").join(equal) + sql.SQL(")")

    def complete(self, key: Sequence[str], alias: LiteralString = "s") -> sql.Composed:
        """No column of the key is null."""
        filled = [sql.SQL("{} IS NOT NULL").format(sql.Identifier(alias, c)) for c in key]
        return sql.SQL("(") + sql.SQL(" AND ").join(filled) + sql.SQL(")")


def remove_clashing(connection: Connection, names: Names, *, own: bool) -> list[tuple[int, str]]:
    """Take out of staging what clashes with a loaded row of this upload (`own`) or of others: (`_row`, its key)."""
    removed: list[tuple[int, str]] = []
    for key in names.keys:
        rows = connection.execute(
            names.format(
                "DELETE FROM {staging} s USING {table} t WHERE {same} AND ({own}) = {wanted} RETURNING s._row",
                same=names.matches(key),
                wanted=sql.Literal(own),
            )
        )
        removed += [(row[0], ", ".join(key)) for row in rows]
    return removed


def _remove_repeats(connection: Connection, names: Names) -> list[int]:
    """Take all but the first row of each key out of staging."""
    removed: list[int] = []
    for key in names.keys:
        rows = connection.execute(
            names.format(
                """
                DELETE FROM {staging} WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM (
                        SELECT ctid, row_number() OVER (PARTITION BY {key} ORDER BY _row) AS place
                        FROM {staging} s WHERE {complete}
                    ) numbered WHERE place > 1
                )) RETURNING _row
                """,
                key=identifiers(key),
                complete=names.complete(key),
            )
        )
        removed += [row[0] for row in rows]
    return removed


def _update_others(connection: Connection, names: Names) -> list[int]:
    """Upsert's update: rows of other uploads take the staged values; those leave staging."""
    (key,) = names.keys
    # Locking the rows in key order first is what keeps two uploads with the same keys from a deadlock.
    connection.execute(
        names.format(
            """
            SELECT FROM {table} t WHERE NOT ({own}) AND EXISTS (SELECT FROM {staging} s WHERE {same})
            ORDER BY {key} FOR UPDATE
            """,
            same=names.matches(key),
            key=identifiers(key),
        )
    )
    rows = connection.execute(
        names.format(
            """
            WITH updated AS (
                UPDATE {table} t SET ({columns}) = ROW({values}) FROM {staging} s
                WHERE {same} AND NOT ({own}) RETURNING s._row
            )
            DELETE FROM {staging} s USING updated WHERE s._row = updated._row RETURNING s._row
            """,
            same=names.matches(key),
            values=identifiers([*names.table.schema.names, "_row"], "s"),
        )
    )
    return [row[0] for row in rows]


def _insert(connection: Connection, names: Names) -> int:
    """Insert what is staged, in key order; how many rows met a row that was not there a moment ago."""
    connection.execute(
        names.format(
            """
            WITH inserted AS (
                INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging} ORDER BY {order}
                ON CONFLICT DO NOTHING RETURNING _row
            )
            DELETE FROM {staging} s USING inserted WHERE s._row = inserted._row
            """,
            order=_order(names.table),
        )
    )
    row = connection.execute(names.format("SELECT count(*) FROM {staging}")).fetchone()
    assert row is not None
    return int(row[0])
