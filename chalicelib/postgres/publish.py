"""From an upload's stage into its dataset, all rows in one transaction; and before that, which are not to be in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from psycopg import sql
from psycopg.rows import class_row

from chalicelib.journey import Mode
from chalicelib.postgres import references, staging
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.replay import IN_DATABASE, IN_FILE
from chalicelib.postgres.stages import Stage
from chalicelib.postgres.staging import Names
from chalicelib.postgres.tables import identifiers


@dataclass(frozen=True, slots=True)
class Lost:
    """A record whose row is not to be published. `value`: what it refers to, and is not there."""

    record: int
    code: str
    key: str
    value: str | None


def list_untold(connection: Connection, number: int, most: int) -> list[Lost]:
    """Lost records that are not yet among the rejects, in file order."""
    with connection.cursor(row_factory=class_row(Lost)) as cursor:
        return cursor.execute(
            "SELECT record, code, key, value FROM rowmill.lost WHERE upload = %s AND NOT told ORDER BY record LIMIT %s",
            (number, most),
        ).fetchall()


def mark_told(connection: Connection, number: int, lost: Sequence[Lost]) -> None:
    """These are among the rejects."""
    connection.execute(
        "UPDATE rowmill.lost SET told = true WHERE upload = %s AND record BETWEEN %s AND %s",
        (number, lost[0].record, lost[-1].record),
    )


@contextmanager
def unattended(connection: Connection) -> Iterator[None]:
    """A transaction whose statements, and its commit, are all sent before the first is done.

    So it is Postgres' to finish, whatever becomes of who asked for it: a function may run for minutes alone. Whoever
    waits for an answer within has to be there until then.
    """
    try:
        with connection.pipeline():
            # As statements: psycopg's own transactions wait for all that is within before they commit.
            connection.execute("BEGIN")
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL lock_timeout = 0")
            connection.execute("SET LOCAL client_connection_check_interval = 0")
            yield
            connection.execute("COMMIT")
    except BaseException:
        if not connection.closed:
            connection.rollback()
        raise


def find_clashes(connection: Connection, stage: Stage) -> None:
    """Name rows that have lost their key: to the table's, or to a lower line of the file. Writes no row elsewhere."""
    names = Names(stage, stage.upload)
    connection.execute(names.format("ANALYZE {staging}"))
    for key in names.keys:
        in_table = names.format("EXISTS (SELECT FROM {table} t WHERE {same})", same=names.matches(key))
        _lose(connection, names, key, IN_DATABASE, in_table)
    if names.keys:
        _find_repeats(connection, names)


def _find_repeats(connection: Connection, names: Names) -> None:
    """Name the rows that have lost their key to a lower line of the file.

    Rows that share a key are put, in line order, into a table of their keys alone, whose unique indexes decide as the
    dataset's would.
    """
    columns = identifiers([*dict.fromkeys(column for key in names.keys for column in key)])
    shared = sql.SQL(" OR ").join(
        names.format(
            """
            ({key}) IN (
                SELECT {key} FROM {staging} s WHERE {complete} AND {not_lost} GROUP BY {key} HAVING count(*) > 1)
            """,
            key=identifiers(key),
            complete=names.complete(key),
            not_lost=_not_lost(names),
        )
        for key in names.keys
    )
    connection.execute("DROP TABLE IF EXISTS pg_temp.seat")
    connection.execute(
        names.format(
            "CREATE TEMP TABLE seat ON COMMIT DROP AS SELECT {keys}, _row FROM {staging} WITH NO DATA", keys=columns
        )
    )
    for key in names.keys:
        connection.execute(names.format("CREATE UNIQUE INDEX ON seat ({key})", key=identifiers(key)))
    connection.execute(
        names.format(
            """
            INSERT INTO seat SELECT {keys}, _row FROM {staging} s WHERE {not_lost} AND ({shared}) ORDER BY _row
            ON CONFLICT DO NOTHING
            """,
            keys=columns,
            not_lost=_not_lost(names),
            shared=shared,
        )
    )
    connection.execute("ANALYZE seat")
    for key in names.keys:
        same = names.matches(key)
        taken = names.format("EXISTS (SELECT FROM seat t WHERE {same} AND t._row <> s._row)", same=same)
        _lose(connection, names, key, IN_FILE, taken)


def _not_lost(names: Names) -> sql.Composed:
    return names.format(
        "NOT EXISTS (SELECT FROM rowmill.lost l WHERE l.upload = {upload} AND l.record = s._row - {low})"
    )


def _lose(
    connection: Connection,
    names: Names,
    key: Sequence[str],
    code: str,
    why: sql.Composed,
    value: sql.Composable = sql.NULL,
) -> None:
    """Name the rows `s` of which `why` is true and whose key is complete; `value` is what is told of it."""
    connection.execute(
        names.format(
            """
            INSERT INTO rowmill.lost (upload, record, code, key, value)
            SELECT {upload}, s._row - {low}, {code}, {label}, {value} FROM {staging} s
            WHERE {complete} AND {why} AND {not_lost} ON CONFLICT DO NOTHING
            """,
            code=sql.Literal(code),
            label=sql.Literal(names.table.schema.label(key)),
            value=value,
            complete=names.complete(key),
            why=why,
            not_lost=_not_lost(names),
        )
    )


def find_orphans(connection: Connection, owner: str, stage: Stage) -> None:
    """Name the rows that refer to what is not there any more. What is stays so until the transaction ends."""
    names = Names(stage, stage.upload)
    for key in stage.schema.foreign_keys:
        target = references.target_of(connection, owner, key)
        same = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("t", there), sql.Identifier("s", here))
            for here, there in zip(key.fields, key.targets, strict=True)
        )
        value = sql.SQL("concat_ws(', ', {})").format(identifiers(key.fields, "s"))
        gone = sql.SQL("NOT EXISTS (SELECT FROM {} t WHERE {})").format(target.name, same)
        _lose(connection, names, key.fields, references.MISSING, gone, value)


def count(connection: Connection, stage: Stage) -> tuple[int, int, int]:
    """How many staged rows are to be published, how many have lost, and how many of these are not told."""
    names = Names(stage, stage.upload)
    row = connection.execute(
        names.format(
            """
            SELECT (SELECT count(*) FROM {staging} s WHERE {kept}), count(*), count(*) FILTER (WHERE NOT told)
            FROM rowmill.lost WHERE upload = {upload}
            """,
            kept=_not_lost(names),
        )
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def settle_taken(connection: Connection, stage: Stage, rows: int) -> None:
    """The one correction of the totals, where a stage of so many rows is to be the table (`stages.take`)."""
    counted = sql.SQL("WITH counted AS (SELECT {0} AS rows, {0} AS loaded)").format(sql.Literal(rows))
    names = Names(stage, stage.upload)
    connection.execute(counted + names.format(_SETTLED, mode=sql.Literal("insert")))


def publish(connection: Connection, stage: Stage, mode: Mode, lost: int) -> None:
    """All staged rows but the `lost` into the table, with the one correction of the totals. Inside `unattended`.

    Insert: a key that is taken raises UniqueViolation. Skip: of a key the first line is in, unless the table has it;
    upsert: the last line.
    """
    names = Names(stage, stage.upload)
    kept = _not_lost(names) if lost else sql.SQL("true")
    put = {"insert": _INSERT, "skip": _SKIP, "upsert": _UPSERT}[mode] if names.keys else _INSERT
    single = len(names.keys) < 2
    statement = put + _COUNTED + _SETTLED
    key = names.keys[0] if names.keys else ()
    connection.execute(
        names.format(
            statement,
            kept=kept,
            order=staging.order(stage) if single or mode == "insert" else sql.Identifier("_row"),
            key=identifiers(key),
            complete=names.complete(key) if key else sql.SQL("true"),
            values=identifiers([*stage.schema.names, "_row"], "excluded"),
            old=identifiers([*stage.schema.names, "_row"], "old"),
            mode=sql.Literal(mode),
        )
    )


_INSERT: Final = """
    WITH put AS (
        INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging} s WHERE {kept} ORDER BY {order}
        RETURNING true AS is_new)
"""
_SKIP: Final = """
    WITH put AS (
        INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging} s WHERE {kept} ORDER BY {order}
        ON CONFLICT DO NOTHING RETURNING true AS is_new)
"""
_UPSERT: Final = """
    WITH last AS (
        INSERT INTO {table} AS t ({columns})
        SELECT DISTINCT ON ({key}) {columns} FROM {staging} s WHERE {complete} AND {kept} ORDER BY {key}, _row DESC
        ON CONFLICT ({key}) DO UPDATE SET ({columns}) = ROW({values})
        RETURNING {old}, new._row AS _row_after),
    before AS (
        INSERT INTO {before} ({columns}, _row_by, _row_after)
        SELECT {columns}, {upload}, _row_after FROM last WHERE _row IS NOT NULL),
    keyless AS (
        INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging} s WHERE NOT {complete} AND {kept}
        RETURNING true AS is_new),
    put AS (SELECT _row IS NULL AS is_new FROM last UNION ALL SELECT is_new FROM keyless)
"""
_COUNTED: Final = """,
    counted AS (
        SELECT (SELECT count(*) FROM {staging} s WHERE {kept}) AS rows,
               (SELECT count(*) FILTER (WHERE is_new) FROM put) AS loaded)
"""
_SETTLED: Final = """
    INSERT INTO rowmill.chunk (upload, pass, n, byte_start, byte_end, first_record, first_line, records, state,
                               loaded, updated, skipped, contested, finished_at)
    SELECT {upload}, 'settle', 1 + (SELECT count(*) FROM rowmill.chunk WHERE upload = {upload} AND pass = 'settle'),
           0, 0, 0, 0, 0, 'loaded', loaded, CASE {mode} WHEN 'upsert' THEN rows - loaded ELSE 0 END,
           CASE {mode} WHEN 'skip' THEN rows - loaded ELSE 0 END, -rows, clock_timestamp()
    FROM counted
"""
