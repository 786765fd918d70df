"""Settling: contested rows, and the loaded rows that share a key with them, replayed in line order.

Insert and skip keep the lowest line of a key, upsert the highest, so the table and the rejects come out the
same whatever order the chunks were loaded in. Runs in one transaction that holds the upload exclusively.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from chalicelib.errors import Unavailable
from chalicelib.journey import Mode, record_of
from chalicelib.postgres import manifest, outcomes
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.staging import Names, make_staging
from chalicelib.postgres.tables import Table, identifiers

IN_FILE: Final = "duplicate_in_file"
IN_DATABASE: Final = "duplicate_in_db"
DISPLACED_AT_ONCE: Final = 20_000  # records that are told of at once; their numbers are in memory
DETAILS: Final = {
    IN_FILE: "another row of this file has the same key",
    IN_DATABASE: "a row loaded before has the same key",
}


@dataclass(frozen=True, slots=True)
class Settled:
    """The correction of the totals, and how many loaded rows lost their seat; which, `displaced` tells."""

    counts: manifest.Counts
    displaced: int


def replay(connection: Connection, table: Table, upload: int, mode: Mode) -> Settled:
    """Settle an upload's contested rows and empty them; rejects of displaced rows are left to the caller."""
    names = Names(table, upload)
    make_staging(connection, table)
    _stage_contested(connection, names)
    if mode == "upsert":
        inserted = _upsert_last(connection, names)
        contested = outcomes.clear_contested(connection, upload)
        return Settled(manifest.Counts(loaded=inserted, updated=contested - inserted, contested=-contested), 0)
    return _seat(connection, names, mode)


def _stage_contested(connection: Connection, names: Names) -> None:
    cells = sql.SQL(", ").join(
        sql.SQL("cells[{}]::{}").format(sql.Literal(place), sql.Identifier("pg_catalog", f.postgres_type))
        for place, f in enumerate(names.table.schema.fields, 1)
    )
    connection.execute(
        names.format(
            """
            INSERT INTO {staging} ({columns})
            SELECT {cells}, {low} + record FROM rowmill.contested WHERE upload = {upload}
            """,
            cells=cells,
        )
    )


def _upsert_last(connection: Connection, names: Names) -> int:
    """Of each key the highest line wins, over this upload's loaded row too; how many keys were not there before.

    What rows of others were is kept; what this upload wrote over is known by the row that is there now.
    """
    (key,) = names.keys
    fields = names.table.schema.names
    row = connection.execute(
        names.format(
            """
            WITH put AS (
                INSERT INTO {table} AS t ({columns})
                SELECT DISTINCT ON ({key}) {columns} FROM {staging} ORDER BY {key}, _row DESC
                ON CONFLICT ({key}) DO UPDATE SET ({columns}) = ROW({values})
                WHERE excluded._row > t._row OR NOT ({own})
                RETURNING {old}, new._row AS _row_after
            ), kept AS (
                INSERT INTO {before} ({columns}, _row_by, _row_after)
                SELECT {columns}, {upload}, _row_after FROM put t WHERE NOT ({own})
            ), followed AS (
                UPDATE {before} b SET _row_after = t._row_after FROM put t WHERE b._row_after = t._row AND {own}
            )
            SELECT count(*) FROM put WHERE _row IS NULL
            """,
            key=identifiers(key),
            values=identifiers([*fields, "_row"], "excluded"),
            old=identifiers([*fields, "_row"], "old"),
        )
    ).fetchone()
    assert row is not None
    return int(row[0])


def _seat(connection: Connection, names: Names, mode: Mode) -> Settled:
    """Insert and skip: in line order, a row is seated if no seated row has one of its keys."""
    _make_fate(connection)
    _look_up(connection, names)
    _decide(connection, names)
    displaced = _unseat(connection, names)
    inserted = _seat_winners(connection, names)
    if mode == "insert":
        _reject_losers(connection, names)
    return _count(outcomes.clear_contested(connection, names.upload), inserted, displaced, mode)


def decide(connection: Connection, names: Names) -> None:
    """Table `fate`: of every staged row its `code`, null if it wins, and the key it lost."""
    _make_fate(connection)
    _decide(connection, names)


def _make_fate(connection: Connection) -> None:
    connection.execute("CREATE TEMP TABLE fate (_row bigint PRIMARY KEY, code text, key text) ON COMMIT DROP")


def _decide(connection: Connection, names: Names) -> None:
    while _undecided(connection, names):
        _win_lowest(connection, names)
        _lose_to_winners(connection, names)
        # Between these two, when there are winners alone, statistics would say that nobody ever loses.
        connection.execute("ANALYZE fate")


def _count(contested: int, inserted: int, displaced: int, mode: Mode) -> Settled:
    lost = contested - inserted + displaced
    counts = manifest.Counts(
        loaded=inserted - displaced,
        skipped=lost if mode == "skip" else 0,
        rejected=lost if mode == "insert" else 0,
        contested=-contested,
    )
    return Settled(counts, displaced)


def _look_up(connection: Connection, names: Names) -> None:
    """Who has the keys already: rows that meet another upload's lose; this upload's own take part in the replay.

    Each key is looked up once, in order. A join has read a table of a million rows for a hundredth of them; a NOT IN
    whose rows were too many to be hashed has gone through all of them for each row.
    """
    for key in names.keys:
        connection.execute(
            names.format(
                """
                WITH met AS MATERIALIZED (
                    SELECT t.* FROM (SELECT DISTINCT {key} FROM {staging} s WHERE {complete} ORDER BY {key}) s
                    CROSS JOIN LATERAL (SELECT {columns} FROM {table} t WHERE {same} LIMIT 1) t),
                lost AS (
                    INSERT INTO fate SELECT s._row, {code}, {label} FROM {staging} s JOIN met t ON {same}
                    WHERE NOT ({own}) ON CONFLICT DO NOTHING)
                INSERT INTO {staging} ({columns})
                SELECT {columns} FROM met t
                WHERE {own} AND NOT EXISTS (SELECT FROM {staging} s WHERE s._row = t._row)
                """,
                code=sql.Literal(IN_DATABASE),
                label=sql.Literal(names.table.schema.label(key)),
                key=identifiers(key),
                complete=names.complete(key),
                same=names.matches(key),
            )
        )
    columns = dict.fromkeys(column for key in names.keys for column in key)
    connection.execute(names.format("ANALYZE {staging} ({keys}, _row)", keys=identifiers([*columns])))


def _undecided(connection: Connection, names: Names) -> bool:
    row = connection.execute(
        names.format(
            "SELECT EXISTS (SELECT FROM {staging} s WHERE NOT EXISTS (SELECT FROM fate f WHERE f._row = s._row))"
        )
    ).fetchone()
    return bool(row and row[0])


def _win_lowest(connection: Connection, names: Names) -> None:
    """Rows that are the lowest undecided line of each of their keys win: nobody before them is left."""
    lowest = [
        sql.SQL("(NOT {} OR min(_row) OVER (PARTITION BY {}) = _row)").format(names.complete(key), identifiers(key))
        for key in names.keys
    ]
    connection.execute(
        names.format(
            """
            INSERT INTO fate SELECT _row, NULL, NULL FROM (
                SELECT _row, {lowest} AS wins FROM {staging} s
                WHERE NOT EXISTS (SELECT FROM fate f WHERE f._row = s._row)
            ) undecided WHERE wins
            """,
            lowest=sql.SQL(" AND ").join(lowest),
        )
    )


def _lose_to_winners(connection: Connection, names: Names) -> None:
    for key in names.keys:
        connection.execute(
            names.format(
                """
                INSERT INTO fate
                SELECT DISTINCT s._row, {code}, {label}
                FROM {staging} s JOIN {staging} t ON {same} JOIN fate w ON w._row = t._row AND w.code IS NULL
                WHERE s._row <> t._row AND NOT EXISTS (SELECT FROM fate f WHERE f._row = s._row)
                ON CONFLICT DO NOTHING
                """,
                code=sql.Literal(IN_FILE),
                label=sql.Literal(names.table.schema.label(key)),
                same=names.matches(key),
            )
        )


def displaced(connection: Connection) -> Iterator[list[tuple[int, str]]]:
    """Loaded rows that lost their seat in the settling of this transaction, (record, key), in file order."""
    last = 0
    while page := connection.execute(
        "SELECT _row, key FROM displaced WHERE _row > %s ORDER BY _row LIMIT %s", (last, DISPLACED_AT_ONCE)
    ).fetchall():
        yield [(record_of(row), key) for row, key in page]
        last = page[-1][0]


def _unseat(connection: Connection, names: Names) -> int:
    """Delete loaded rows that lost: staged ones that nobody contested. Looked up by key, as `_row` has no B-tree."""
    connection.execute("CREATE TEMP TABLE displaced (_row bigint PRIMARY KEY, key text) ON COMMIT DROP")
    count = 0
    for key in names.keys:
        unseated = connection.execute(
            names.format(
                """
                WITH unseated AS (
                    DELETE FROM {table} t WHERE t.ctid = ANY (ARRAY(
                        SELECT (SELECT t.ctid FROM {table} t WHERE {same} AND t._row = s._row)
                        FROM {staging} s JOIN fate f ON f._row = s._row
                        WHERE f.code = {code} AND NOT EXISTS (
                            SELECT FROM rowmill.contested c WHERE c.upload = {upload} AND c.record = s._row - {low})
                    )) AND t._row IN (SELECT _row FROM fate WHERE code = {code})  -- a ctid is a place in each partition
                    RETURNING t._row)
                INSERT INTO displaced SELECT f._row, f.key FROM unseated JOIN fate f USING (_row)
                """,
                same=names.matches(key),
                code=sql.Literal(IN_FILE),
            )
        )
        count += unseated.rowcount
    return count


def _seat_winners(connection: Connection, names: Names) -> int:
    """Insert the contested rows that won. Raises Unavailable if another upload just took a key."""
    winners = """
        FROM {staging} s JOIN fate f ON f._row = s._row
        JOIN rowmill.contested c ON c.upload = {upload} AND c.record = s._row - {low}
        WHERE f.code IS NULL
    """
    expected = connection.execute(names.format("SELECT count(*)" + winners)).fetchone()
    inserted = connection.execute(
        names.format(
            "INSERT INTO {table} ({columns}) SELECT {values}" + winners + "ORDER BY {order} ON CONFLICT DO NOTHING",
            values=identifiers([*names.table.schema.names, "_row"], "s"),
            order=identifiers(names.keys[0], "s"),
        )
    ).rowcount
    if expected is None or inserted != expected[0]:
        raise Unavailable("settle_again", "Another upload took a key while this one was being settled.")
    return inserted


def _reject_losers(connection: Connection, names: Names) -> None:
    connection.execute(
        names.format(
            """
            WITH lost AS (
                SELECT c.upload, c.record, c.line, c.raw, f.key, f.code,
                       CASE f.code WHEN {code} THEN {file} ELSE {db} END AS detail,
                       row_number() OVER (PARTITION BY f.key, f.code ORDER BY c.record) AS place
                FROM rowmill.contested c JOIN fate f ON f._row = {low} + c.record
                WHERE c.upload = {upload} AND f.code IS NOT NULL),
            accounted AS (
                INSERT INTO rowmill.cause (upload, pass, code, field, cause, rejects, first_line, last_line, samples)
                SELECT upload, 'load', code, key, detail, count(*), min(line), max(line),
                       jsonb_agg(jsonb_build_object('row', record, 'line', line, 'value', NULL) ORDER BY record)
                           FILTER (WHERE place <= {samples})
                FROM lost GROUP BY upload, code, key, detail)
            INSERT INTO rowmill.reject (upload, record, line, errors, raw)
            SELECT upload, record, line,
                   jsonb_build_array(jsonb_build_object('column', key, 'code', code, 'detail', detail)), raw
            FROM lost
            """,
            samples=sql.Literal(outcomes.SAMPLES),
            code=sql.Literal(IN_FILE),
            file=sql.Literal(DETAILS[IN_FILE]),
            db=sql.Literal(DETAILS[IN_DATABASE]),
        )
    )
