"""Where rows of an upload wait that show themselves all at once: `stage.u_{number}`, a table of its own without keys.

It does not change once every chunk is in: rows that are not to be published are named in rowmill.lost (publish). Or it
gets what the dataset's table has, without these rows, to become that table, where that is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, LiteralString

from psycopg import sql

from chalicelib.datasets import Schema
from chalicelib.journey import Number
from chalicelib.postgres import staging, trial
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.staging import Outcome
from chalicelib.postgres.tables import Table

SURELY_INDEXED: Final = 2500  # bytes that an index always takes; above, Postgres is asked


@dataclass(frozen=True, slots=True)
class Stage(Table):
    """The table of a dataset, and beside it an upload's stage."""

    upload: Number

    @property
    def staging(self) -> sql.Identifier:
        """The stage itself."""
        return sql.Identifier("stage", f"u_{self.upload}")


def make(connection: Connection, stage: Stage) -> None:
    """The stage, if it is not there. Before any chunk of its upload, by the one splitter that is at it."""
    with connection.transaction():
        connection.execute("INSERT INTO rowmill.staged (upload) VALUES (%s) ON CONFLICT DO NOTHING", (stage.upload,))
        connection.execute("SELECT rowmill.make_stage(%s)", (stage.upload,))


def drop(connection: Connection, number: int) -> None:
    """The stage of an upload and all that is known of it, if it has one."""
    connection.execute("DELETE FROM rowmill.lost WHERE upload = %s", (number,))
    connection.execute("DELETE FROM rowmill.staged WHERE upload = %s", (number,))
    connection.execute("SELECT rowmill.drop_stage(%s)", (number,))


def dress(connection: Connection, number: int) -> None:
    """Give an upload's stage the keys and indexes of its table. Raises UniqueViolation where two rows share a key."""
    connection.execute("SELECT rowmill.dress_stage(%s)", (number,))


def take(connection: Connection, number: int) -> None:
    """Have the stage, dressed for it, become its dataset's empty table, at the end of a transaction.

    Raises ObjectInUse if that is not empty by now, or not as we have made it.
    """
    connection.execute("SELECT rowmill.take_stage(%s)", (number,))


def drop_idle(connection: Connection) -> int:
    """Drop the stages of uploads that will never need theirs again; how many there were."""
    idle = """
        SELECT s.upload FROM rowmill.staged s JOIN rowmill.upload u ON u.number = s.upload
        JOIN rowmill.announcement a USING (upload_id)
        WHERE u.finished_at IS NOT NULL AND (
            u.state <> 'failed' OR u.files_gone_at IS NOT NULL OR a.deleted_at IS NOT NULL
            OR u.error ->> 'code' IN ('too_many_errors', 'rows_rejected'))
    """
    found = connection.execute(idle).fetchall()
    return sum(_drop_idle(connection, idle, number) for (number,) in found)


def _drop_idle(connection: Connection, idle: LiteralString, number: int) -> bool:
    with connection.transaction():
        # It is over, so nobody writes to its stage; a redrive locks the upload's row, too.
        held = connection.execute(f"{idle} AND s.upload = %s FOR UPDATE OF u", (number,)).fetchone()
        if held:
            drop(connection, number)
    return held is not None


def keep(connection: Connection, stage: Stage, rows: staging.Rows) -> Outcome:
    """A chunk's rows into the stage, in the caller's transaction; those that Postgres refuses are in the outcome."""
    table = Table(stage.number, stage.version, stage.schema)
    trial.make_twin(connection, table)
    return staging.place(connection, table, partial(_put, connection, table, stage), rows)


def _put(connection: Connection, table: Table, stage: Stage, rows: Iterable[bytes]) -> Outcome:
    """Rows that the table's twin takes, too, as only that has the table's indexes."""
    taken = trial.take(connection, table, rows)
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
            stage.staging, table.columns, table.columns, table.staging
        )
    )
    return taken


def indexed(schema: Schema) -> list[tuple[str, ...]]:
    """The columns of each index that the table has of the file's values."""
    return [*schema.keys, *schema.indexes]
