"""Rows into a table: straight by COPY, or through staging where a key clashes or Postgres refuses a row.

Rows come as COPY's text, a line each, fields in schema order and `_row` last, sorted by the table's first key:
neighbouring index pages, and no deadlocks.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, LiteralString

import psycopg
from psycopg import sql

from chalicelib.cells import copied
from chalicelib.cells.copied import MARKS, Marks
from chalicelib.journey import Mode, lineages
from chalicelib.postgres.connection import Connection, is_row_fault, refusal
from chalicelib.postgres.tables import Table, identifiers

FEW: Final = 64  # lines that are judged one by one; of more the half is put again
_OWN: Final = sql.SQL("t._row BETWEEN {low} AND {high}")


def _no_rows() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Outcome:
    """What became of a chunk's rows, by `_row`; what is in none of these was loaded. They may be all: in few bytes."""

    updated: array[int] = field(default_factory=_no_rows)
    # Whose key another upload's row has, by key.
    in_database: defaultdict[str, array[int]] = field(default_factory=lambda: defaultdict(_no_rows))
    contested: array[int] = field(default_factory=_no_rows)
    refused: list[tuple[int, str]] = field(default_factory=list)  # Postgres' own word on the row


# Rows come in pieces of whole lines, from the beginning at each call: those of a chunk are not held for a repeat.
Rows = Callable[[], Iterable[bytes]]
Put = Callable[[Iterable[bytes]], Outcome]


def copy(
    connection: Connection,
    table: Table,
    rows: Iterable[bytes],
    target: sql.Identifier | None = None,
    marks: Marks = MARKS,
) -> Literal["in", "clash", "refused"]:
    """All rows into the table, or into `target`, inside the caller's transaction; none if one clashes or is refused."""
    try:
        with connection.transaction():
            _copy(connection, target or table.name, table, rows, marks)
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
        return "clash" if isinstance(error, psycopg.errors.UniqueViolation) else "refused"
    return "in"


def sift(connection: Connection, table: Table, upload: int, mode: Mode, rows: Rows) -> Outcome:
    """Put rows into the table inside the caller's transaction through staging, each by its own fate."""
    return place(connection, table, partial(_put, connection, table, upload, mode), rows)


def make_staging(connection: Connection, table: Table) -> None:
    """The staging twin, if this connection does not have it yet. It is empty at every transaction's start."""
    connection.execute(
        sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {} INCLUDING IDENTITY) ON COMMIT DELETE ROWS").format(
            table.staging, table.name
        )
    )


def place(connection: Connection, table: Table, put: Put, rows: Rows) -> Outcome:
    """Put rows by way of staging; where Postgres refuses one, halve until few are left, and have it judge each."""
    outcome = Outcome()
    make_staging(connection, table)
    if _placed(connection, put, rows(), outcome) is None:
        return outcome
    for piece in rows():
        left = halves(piece)
        while left:
            left += _place_some(connection, table, put, left.pop(), outcome)
    return outcome


def _place_some(connection: Connection, table: Table, put: Put, lines: bytes, outcome: Outcome) -> list[bytes]:
    """Put these lines, or say what is left to put of them: both halves, or the lines that are not refused."""
    refusal = _placed(connection, put, [lines], outcome)
    if refusal is None:
        return []
    count = lines.count(b"\n")
    if count == 1:
        outcome.refused.append((row_of(lines), refusal))
        return []
    if count <= FEW:
        each = lines.splitlines(keepends=True)
        refused = _judge(connection, table, each)
        outcome.refused += [(row_of(each[index]), reason) for index, reason in refused.items()]
        if refused:
            others = b"".join(line for index, line in enumerate(each) if index not in refused)
            return [others] if others else []
    return halves(lines)


def halves(lines: bytes) -> list[bytes]:
    """The lower half last; one line is no less. COPY's text has no other line end than the one behind each row."""
    middle = lines.rfind(b"\n", 0, len(lines) // 2) + 1 or lines.find(b"\n") + 1
    return [half for half in (lines[middle:], lines[:middle]) if half]


def _placed(connection: Connection, put: Put, rows: Iterable[bytes], outcome: Outcome) -> str | None:
    """Why Postgres refuses some of the rows; None if all are placed. An error would keep their text alive."""
    try:
        with connection.transaction():
            placed = put(rows)
    except psycopg.Error as error:
        return refusal(error)
    outcome.updated += placed.updated
    for key, found in placed.in_database.items():
        outcome.in_database[key] += found
    outcome.contested += placed.contested
    return None


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
                cursor.execute(statement, copied.values(line), prepare=True)
                raise psycopg.Rollback
        except psycopg.Error as error:
            refused[index] = refusal(error)
    return refused


def row_of(line: bytes) -> int:
    """The `_row` of a line."""
    return int(line.rsplit(b"\t", 1)[1])


def _copy(
    connection: Connection, target: sql.Identifier, table: Table, rows: Iterable[bytes], marks: Marks = MARKS
) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (DELIMITER {}, NULL {})").format(target, table.columns, *marks)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for piece in rows:
            copy.write(piece)


def order(table: Table) -> sql.Composed:
    """The first key, by which all workers insert, and of rows with the same one the lowest line first."""
    return identifiers([*(table.schema.keys[0] if table.schema.keys else ()), "_row"])


def stage(connection: Connection, table: Table, rows: Iterable[bytes]) -> None:
    """Fill staging with these rows and no others, to be joined with the table."""
    fill(connection, table, rows)
    _analyze(connection, table)


def fill(connection: Connection, table: Table, rows: Iterable[bytes]) -> None:
    """Fill staging with these rows and no others."""
    connection.execute(sql.SQL("TRUNCATE {}").format(table.staging))
    _copy(connection, table.staging, table, rows)


def _analyze(connection: Connection, table: Table) -> None:
    # Without statistics the planner has joined a staged chunk to the table by reading the whole table.
    connection.execute(sql.SQL("ANALYZE {}").format(table.staging))


def _put(connection: Connection, table: Table, upload: int, mode: Mode, rows: Iterable[bytes]) -> Outcome:
    """Sort rows by fate: met another upload's row, met a row of this upload, or free to insert.

    Unless they are to update, most are inserted at once. A row that appears between the look and the insert is met on
    the next round.
    """
    outcome = Outcome()
    names = Names(table, upload)
    fill(connection, table, rows)
    if mode != "upsert" and not _insert(connection, names):
        return outcome
    _analyze(connection, table)
    while True:
        if mode == "upsert":
            outcome.contested += _remove_repeats(connection, names)
            outcome.updated += _update_others(connection, names)
        else:
            for key, met in remove_clashing(connection, names, own=False):
                outcome.in_database[key] += met
            outcome.contested += _remove_repeats(connection, names)
        for _, met in remove_clashing(connection, names, own=True):
            outcome.contested += met
        if not _insert(connection, names):
            return outcome


class Names:
    """The SQL names that statements share: table, staging, keys, this upload's range of `_row`."""

    def __init__(self, table: Table, upload: int) -> None:
        self.table = table
        self.keys = table.schema.keys
        self.upload = upload
        self.low, self.high = lineages(upload)

    def format(self, statement: LiteralString, **more: sql.Composable) -> sql.Composed:
        """The statement with {table}, {staging}, {before}, {columns}, {upload}, {low}, {own} and `more` filled in."""
        low, high = sql.Literal(self.low), sql.Literal(self.high)
        return sql.SQL(statement).format(
            table=self.table.name,
            staging=self.table.staging,
            before=self.table.before,
            columns=self.table.columns,
            upload=sql.Literal(self.upload),
            low=low,
            own=_OWN.format(low=low, high=high),
            **more,
        )

    def matches(self, key: Sequence[str]) -> sql.Composed:
        """The rows `t` and `s` have the same key. Null equals nothing, as in a unique index."""
        equal = [sql.SQL("{} = {}").format(sql.Identifier("t", c), sql.Identifier("s", c)) for c in key]
        return sql.SQL("(") + sql.SQL(" AND ").join(equal) + sql.SQL(")")

    def complete(self, key: Sequence[str]) -> sql.Composed:
        """No column of the key is null in the row `s`."""
        filled = [sql.SQL("{} IS NOT NULL").format(sql.Identifier("s", c)) for c in key]
        return sql.SQL("(") + sql.SQL(" AND ").join(filled) + sql.SQL(")")


def remove_clashing(connection: Connection, names: Names, *, own: bool) -> Iterator[tuple[str, array[int]]]:
    """Take out of staging what clashes with a loaded row of this upload (`own`) or of others: each key, and the rows.

    Each row is looked up by its key. A join is planned by statistics in which the rows of an upload under way are
    missing: it has read all of staging for each of them, six seconds a chunk.
    """
    for key in names.keys:
        rows = connection.execute(
            names.format(
                """
                DELETE FROM {staging} s WHERE (SELECT ({own}) = {wanted} FROM {table} t WHERE {same})
                RETURNING s._row
                """,
                same=names.matches(key),
                wanted=sql.Literal(own),
            )
        )
        yield names.table.schema.label(key), _numbers(rows)


def _numbers(rows: Iterable[tuple[int]]) -> array[int]:
    return array("q", (row for (row,) in rows))


def _remove_repeats(connection: Connection, names: Names) -> array[int]:
    """Take all but the first row of each key out of staging."""
    removed = _no_rows()
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
        removed += _numbers(rows)
    return removed


def _update_others(connection: Connection, names: Names) -> array[int]:
    """Upsert's update: rows of others take the staged values, which leave staging; they are kept."""
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
                WHERE {same} AND NOT ({own}) RETURNING {old}, new._row AS _row_after
            ), kept AS (
                INSERT INTO {before} ({columns}, _row_by, _row_after)
                SELECT {columns}, {upload}, _row_after FROM updated
            )
            DELETE FROM {staging} s USING updated WHERE s._row = updated._row_after RETURNING s._row
            """,
            same=names.matches(key),
            old=identifiers([*names.table.schema.names, "_row"], "old"),
            values=identifiers([*names.table.schema.names, "_row"], "s"),
        )
    )
    return _numbers(rows)


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
            order=order(names.table),
        )
    )
    row = connection.execute(names.format("SELECT count(*) FROM {staging}")).fetchone()
    assert row is not None
    return int(row[0])
