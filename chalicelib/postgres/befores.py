"""Undoing what an upload wrote: rows it inserted go, rows it wrote over become what they were before.

Each row of a table is a version, told by its `_row`; `d_N_before` holds the versions that an upsert or a hand wrote
over, each with the `_row` of the one that took its place: from the row that is there a chain leads down to what was
there first. To undo an upload is to take its versions out of these chains. One on top is replaced by the version below
it, or removed if there is none; one that lies under another's is unlinked, so that whoever is undone later finds what
was there before. So the order in which uploads are undone makes no difference. See DECISIONS 104.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from chalicelib.journey import HANDMADE, lineage, lineages
from chalicelib.postgres import changes, locks, pictures
from chalicelib.postgres.connection import Connection, is_row_fault
from chalicelib.postgres.references import Referrer, refers
from chalicelib.postgres.tables import Table, identifiers


@dataclass(frozen=True, slots=True)
class Undone:
    """How many rows were removed, how many are what they were before, how many were left."""

    reverted: int
    restored: int
    conflicts: int


class Undo:
    """The undoing of a stretch of an upload's records, inside the caller's transaction."""

    def __init__(
        self, connection: Connection, table: Table, upload: int, first: int, records: int, referrers: Sequence[Referrer]
    ) -> None:
        self._db = connection
        self._table = table
        self._upload = upload
        self._low, self._high = lineage(upload, first), lineage(upload, first + records - 1)
        self._referrers = referrers
        self._conflicts = 0

    def do(self, *, forced: bool) -> Undone:
        """Undo them. `forced`: whatever was written over them since, by hand or by other uploads, goes with them."""
        # One at a time in a table: what one unlinks another must not have read before.
        locks.hold_undo(self._db, self._table.number)
        # In key order, as upserts do. Whoever wrote over one of them meanwhile is seen below, whoever comes now waits.
        self._run("SELECT FROM {table} WHERE _row BETWEEN {low} AND {high} ORDER BY {order} FOR UPDATE")
        above = self._undo_covered() if forced else Undone(0, 0, 0)
        # Both sides of each join below are a stretch. Without statistics the planner takes one for a row or two, and
        # would look for each in blocks of the other, as `_row` has no B-tree.
        self._run("SET LOCAL enable_nestloop = off")
        self._leave_covered()
        self._leave_referred()
        restored = self._halving(self._restore, self._low, self._high)
        removed = self._remove()
        self._run(
            "DELETE FROM {before} b WHERE _row_after BETWEEN {low} AND {high}"
            " AND NOT EXISTS (SELECT FROM {table} t WHERE t._row = b._row_after AND t._row BETWEEN {low} AND {high})"
        )
        changes.note(self._db, self._table.number)
        return Undone(above.reverted + removed, above.restored + restored, self._conflicts)

    # ---- versions that lie under others' -------------------------------------------------------------------

    def _leave_covered(self) -> None:
        """Tell of what others wrote over, and unlink it."""
        self._leave(
            "SELECT _row, CASE _row_by WHEN {hand} THEN 'edited' ELSE 'replaced' END, nullif(_row_by, {hand}), {key}"
            " FROM {before} r WHERE _row BETWEEN {low} AND {high}"
        )
        # Of an upload that was deleted since it is not kept what it has written over; what was below is.
        self._leave(
            "SELECT _row_after, 'replaced', NULL::integer, {key} FROM {before} r"
            " WHERE _row_after BETWEEN {low} AND {high}"
            " AND NOT EXISTS (SELECT FROM {table} t WHERE t._row = r._row_after AND t._row BETWEEN {low} AND {high})"
            " AND NOT EXISTS (SELECT FROM {before} x WHERE x._row = r._row_after AND x._row BETWEEN {low} AND {high})"
        )
        self._run(
            "UPDATE {before} x SET ({columns}) = ROW({values}) FROM {before} b"
            " WHERE x._row BETWEEN {low} AND {high} AND b._row_after BETWEEN {low} AND {high}"
            " AND b._row_after = x._row",
            values=identifiers([*self._table.schema.shown_names, "_row"], "b"),
        )
        # What is left of them was inserted: nothing is below, as if whoever wrote over them had inserted it.
        self._run("DELETE FROM {before} WHERE _row BETWEEN {low} AND {high}")
        # What a hand made and a hand wrote over is nobody's to come back to, and would be kept for good.
        self._run(
            "WITH gone AS ("
            "DELETE FROM {before} WHERE _row BETWEEN {low} AND {high} AND _row_by = {hand} RETURNING _row, _row_after)"
            " UPDATE {before} b SET _row_after = gone._row_after FROM gone"
            " WHERE b._row_after BETWEEN {low} AND {high} AND b._row_after = gone._row",
            **dict(zip(("low", "high"), map(sql.Literal, lineages(HANDMADE)), strict=True)),
        )

    def _undo_covered(self) -> Undone:
        """Have what is on top of versions that others wrote over be what was below them."""
        self._run(
            """
            CREATE TEMP TABLE chain ON COMMIT DROP AS
            WITH RECURSIVE chain(_row_own, _row_above, _row_depth) AS (
                SELECT _row, _row_after, 1 FROM {before} WHERE _row BETWEEN {low} AND {high}
                UNION ALL
                SELECT _row_own, x._row_after, _row_depth + 1 FROM chain JOIN {before} x ON x._row = _row_above)
            SELECT * FROM chain
            """
        )
        if not self._run("SELECT FROM chain LIMIT 1"):
            return Undone(0, 0, 0)
        self._run(
            """
            CREATE TEMP TABLE covered ON COMMIT DROP AS
            SELECT _row_own, _row_above, t._row IS NOT NULL AS _row_there, b._row IS NOT NULL AS _row_has,
                   false AS _row_done
            FROM (SELECT DISTINCT ON (_row_own) _row_own, _row_above FROM chain ORDER BY _row_own, _row_depth DESC) top
            LEFT JOIN {table} t ON t._row = _row_above LEFT JOIN {before} b ON b._row_after = _row_own
            """
        )
        self._run("SELECT FROM {table} WHERE _row IN (SELECT _row_above FROM covered) ORDER BY {order} FOR UPDATE")
        for referrer in self._referrers:
            self._run(
                "DELETE FROM covered c USING {table} t WHERE t._row = c._row_above AND {refers} AND NOT EXISTS ("
                "SELECT FROM {before} r WHERE r._row_after = c._row_own AND {same})",
                refers=refers(referrer, "t"),
                same=self._same_targets(referrer),
            )
        restored = self._halving(self._restore_top, self._low, self._high)
        restored += self._halving(self._bring_back, self._low, self._high)
        removed = self._take_off()
        # What was in the way is gone, down to the version itself; of the others nothing has changed.
        self._run(
            "DELETE FROM {before} b USING chain h JOIN covered c USING (_row_own)"
            " WHERE c._row_done AND b._row_after IN (h._row_above, c._row_own)"
        )
        return Undone(removed, restored, 0)

    def _restore_top(self, low: int, high: int) -> int:
        return self._run(
            """
            WITH done AS (
                UPDATE {table} t SET ({row}) = ROW({values})
                FROM covered c JOIN {before} b ON b._row_after = c._row_own
                WHERE t._row = c._row_above AND c._row_own BETWEEN {from_row} AND {to_row}
                  AND c._row_there AND NOT c._row_done
                RETURNING c._row_own)
            UPDATE covered c SET _row_done = true FROM done WHERE c._row_own = done._row_own
            """,
            values=identifiers([*self._table.schema.names, "_row"], "b"),
            from_row=sql.Literal(low),
            to_row=sql.Literal(high),
        )

    def _bring_back(self, low: int, high: int) -> int:
        """Insert what was written over and then deleted by hand."""
        return self._run(
            """
            WITH gone AS (
                SELECT c._row_own, {values} FROM covered c JOIN {before} b ON b._row_after = c._row_own
                WHERE c._row_own BETWEEN {from_row} AND {to_row} AND NOT c._row_there AND NOT c._row_done
            ), back AS (INSERT INTO {table} ({columns}) SELECT {columns} FROM gone)
            UPDATE covered c SET _row_done = true FROM gone WHERE c._row_own = gone._row_own
            """,
            values=identifiers([*self._table.schema.shown_names, "_row"], "b"),
            from_row=sql.Literal(low),
            to_row=sql.Literal(high),
        )

    def _take_off(self) -> int:
        """Remove what lies on top of inserted rows; those that a hand deleted are gone already."""
        removed = self._delete("t._row IN (SELECT _row_above FROM covered WHERE _row_there AND NOT _row_has)")
        self._run("UPDATE covered SET _row_done = true WHERE NOT _row_has")
        return removed

    # ---- versions on top -------------------------------------------------------------------------------------

    def _leave_referred(self) -> None:
        """Rows of other datasets refer to them: what is to be removed stays."""
        for referrer in self._referrers:
            self._leave(
                "SELECT _row, 'referenced', NULL::integer, {key} FROM {table} r WHERE _row BETWEEN {low} AND {high}"
                " AND {refers} AND NOT EXISTS (SELECT FROM {before} b"
                " WHERE b._row_after BETWEEN {low} AND {high} AND b._row_after = r._row)",
                refers=refers(referrer, "r"),
            )

    def _restore(self, low: int, high: int) -> int:
        return self._run(
            """
            UPDATE {table} t SET ({row}) = ROW({values}) FROM {before} b
            WHERE t._row BETWEEN {from_row} AND {to_row} AND b._row_after BETWEEN {from_row} AND {to_row}
              AND b._row_after = t._row
            """,
            values=identifiers([*self._table.schema.names, "_row"], "b"),
            from_row=sql.Literal(low),
            to_row=sql.Literal(high),
        )

    def _remove(self) -> int:
        return self._delete(
            "t._row BETWEEN {low} AND {high} AND NOT EXISTS ("
            "SELECT FROM rowmill.conflict c WHERE c.upload = {upload} AND c.record = t._row - {base})"
        )

    def _delete(self, condition: LiteralString) -> int:
        identity = self._table.schema.identity
        if identity is None:
            return self._run("DELETE FROM {table} t WHERE " + condition)
        gone = self._db.execute(
            self._sql(
                "DELETE FROM {table} t WHERE " + condition + " RETURNING {identity}", identity=sql.Identifier(identity)
            )
        ).fetchall()
        pictures.abandon_all(self._db, self._table.number, [row[0] for row in gone])
        return len(gone)

    def _halving(self, restore: Callable[[int, int], int], low: int, high: int) -> int:
        """How many rows of this stretch are restored. What Postgres refuses is found by halving, and left."""
        try:
            with self._db.transaction():
                return restore(low, high)
        except psycopg.Error as error:
            if not is_row_fault(error):
                raise
            why = "taken" if isinstance(error, psycopg.errors.UniqueViolation) else "refused"
        if low == high:
            self._leave(
                "SELECT {own}::bigint, {why}, NULL::integer, {key} FROM {before} r WHERE _row_after = {own}",
                own=sql.Literal(low),
                why=sql.Literal(why),
            )
            return 0
        middle = (low + high) // 2
        return self._halving(restore, low, middle) + self._halving(restore, middle + 1, high)

    # ---- what these are made of ------------------------------------------------------------------------------

    def _leave(self, found: LiteralString, **more: sql.Composable) -> None:
        """Tell of rows that are left: each `_row`, why, by whom, its key. The first reason stands."""
        self._conflicts += self._run(
            "INSERT INTO rowmill.conflict (upload, record, why, by, key)"
            " SELECT {upload}, own - {base}, why, by, key FROM (" + found + ") found (own, why, by, key)"
            " ON CONFLICT DO NOTHING",
            **more,
        )

    def _run(self, statement: LiteralString, **more: sql.Composable) -> int:
        """How many rows a statement is about."""
        return self._db.execute(self._sql(statement, **more)).rowcount

    def _sql(self, statement: LiteralString, **more: sql.Composable) -> sql.Composed:
        schema = self._table.schema
        key = schema.keys[0] if schema.keys else [schema.identity] if schema.identity else []
        if schema.label(key) != ", ".join(key):
            key = []  # a blind index tells nobody which row it is
        told = [sql.SQL("{}, {}").format(sql.Literal(name), sql.Identifier("r", name)) for name in key]
        names: dict[str, sql.Composable] = {
            "table": self._table.name,
            "before": self._table.before,
            "row": self._table.columns,
            "columns": self._table.all_columns,
            "order": identifiers([*(schema.keys[0] if schema.keys else key), "_row"]),
            "key": sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(told))
            if key
            else sql.SQL("NULL::jsonb"),
            "low": sql.Literal(self._low),
            "high": sql.Literal(self._high),
            "upload": sql.Literal(self._upload),
            "base": sql.Literal(lineage(self._upload, 0)),
            "hand": sql.Literal(HANDMADE),
        }
        return sql.SQL(statement).format(**names | more)

    @staticmethod
    def _same_targets(referrer: Referrer) -> sql.Composed:
        same = [
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(sql.Identifier("r", name), sql.Identifier("t", name))
            for name in referrer.key.targets
        ]
        return sql.SQL("(") + sql.SQL(" AND ").join(same) + sql.SQL(")")
