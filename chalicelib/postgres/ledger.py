"""Uploads in Postgres: their states, plan and locks, and what the status says of them.

Every write is conditional and may be repeated without harm. Locks: a loading chunk holds the upload's advisory
lock shared until it commits; whoever must know that no chunk is in flight (settling, stopping) takes it
exclusively.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from chalicelib.journey import LOADING, Mode, Number, State, sources
from chalicelib.postgres import manifest
from chalicelib.postgres.connection import Connection

_LOCK_UPLOAD: Final = 1  # the first of the two keys of an advisory lock: what the second one counts


_LOCK_SPLIT: Final = 2


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as the stages need it, with the descriptor of its dataset."""

    number: Number
    upload_id: str
    tenant: str
    state: State
    mode: Mode
    dataset: int
    dataset_name: str
    dataset_version: int
    descriptor: dict[str, Any]
    dialect: dict[str, Any]
    correlation_id: str
    object_key: str
    etag: str
    bytes_total: int
    plan: dict[str, Any] | None
    chunks_total: int | None
    has_clashes: bool


_SELECT_UPLOAD: Final = """
    SELECT u.number, u.upload_id, u.tenant, u.state, u.mode, u.dataset, d.name AS dataset_name,
           d.version AS dataset_version, d.descriptor, u.dialect, u.correlation_id, u.object_key, u.etag,
           u.bytes_total, u.plan, u.chunks_total, u.has_clashes
    FROM rowmill.upload u JOIN rowmill.dataset d ON d.number = u.dataset
"""


def open_upload(connection: Connection, new: Mapping[str, Any]) -> Upload:
    """The upload of `new["upload_id"]`, inserted in state scanning if this is the first time it is met."""
    connection.execute(
        """
        INSERT INTO rowmill.upload (upload_id, tenant, dataset, state, mode, dialect, correlation_id, object_key,
                                    version_id, etag, bytes_total, stored_at)
        SELECT %(upload_id)s, %(tenant)s, d.number, 'scanning', %(mode)s, %(dialect)s, %(correlation_id)s,
               %(object_key)s, %(version_id)s, %(etag)s, %(bytes_total)s, %(stored_at)s
        FROM rowmill.dataset d WHERE d.tenant = %(tenant)s AND d.name = %(dataset)s
        ON CONFLICT (upload_id) DO NOTHING
        """,
        {**new, "dialect": Jsonb(new["dialect"])},
    )
    with connection.cursor(row_factory=class_row(Upload)) as cursor:
        upload = cursor.execute(_SELECT_UPLOAD + "WHERE u.upload_id = %s", (new["upload_id"],)).fetchone()
    if upload is None:
        raise LookupError("the dataset of this upload is gone")
    return upload


def find(connection: Connection, number: int) -> Upload | None:
    """The upload of this number."""
    with connection.cursor(row_factory=class_row(Upload)) as cursor:
        return cursor.execute(_SELECT_UPLOAD + "WHERE u.number = %s", (number,)).fetchone()


def number_of(connection: Connection, tenant: str, upload_id: str) -> Number | None:
    """The number of a tenant's upload, once the splitter has met it."""
    row = connection.execute(
        "SELECT number FROM rowmill.upload WHERE tenant = %s AND upload_id = %s", (tenant, upload_id)
    ).fetchone()
    return Number(row[0]) if row else None


def move(connection: Connection, number: Number, state: State) -> bool:
    """Enter a state that is not terminal, if the upload is where that may follow. One caller wins."""
    moved = connection.execute(
        "UPDATE rowmill.upload SET state = %s WHERE number = %s AND state = ANY(%s)",
        (state, number, sources(state)),
    )
    return moved.rowcount == 1


def end(
    connection: Connection,
    number: Number,
    state: State,
    rows_total: int | None,
    error: Mapping[str, Any] | None,
) -> bool:
    """Enter a terminal state and leave its one completion event in the outbox. One caller wins."""
    ended = connection.execute(
        """
        WITH ended AS (
            UPDATE rowmill.upload
            SET state = %(state)s, finished_at = clock_timestamp(), error = %(error)s,
                rows_total = coalesce(%(rows)s, rows_total)
            WHERE number = %(number)s AND state = ANY(%(sources)s)
            RETURNING number, upload_id, generation
        )
        INSERT INTO rowmill.outbox (event_id, upload, kind)
        SELECT upload_id || '.' || generation, number, %(state)s FROM ended
        """,
        {
            "number": number,
            "state": state,
            "rows": rows_total,
            "error": Jsonb(error) if error else None,
            "sources": sources(state),
        },
    )
    return ended.rowcount == 1


def lock_upload(connection: Connection, number: int, *, shared: bool) -> None:
    """Hold the upload until the transaction ends: shared to load a chunk, exclusive to have it still."""
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    connection.execute(f"SELECT {function}(%s, %s)", (_LOCK_UPLOAD, number))


def try_split_lock(connection: Connection, number: int) -> bool:
    """Be this upload's only splitter until `free_split_lock` or the end of the connection."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_SPLIT, number)).fetchone()
    return bool(row and row[0])


def free_split_lock(connection: Connection, number: int) -> None:
    """Let another splitter take the upload."""
    connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCK_SPLIT, number))


def keep_plan(connection: Connection, number: Number, plan: dict[str, Any]) -> dict[str, Any]:
    """The upload's plan: this one if it is the first, else the one already kept."""
    connection.execute("UPDATE rowmill.upload SET plan = %s WHERE number = %s AND plan IS NULL", (Jsonb(plan), number))
    row = connection.execute("SELECT plan FROM rowmill.upload WHERE number = %s", (number,)).fetchone()
    assert row is not None
    kept: dict[str, Any] = row[0]
    return kept


def end_scan(connection: Connection, number: Number, chunks_total: int, rows_total: int) -> None:
    """The scan is over: the totals, written last, let the upload finish."""
    connection.execute(
        """
        UPDATE rowmill.upload u
        SET chunks_total = %s, rows_total = %s, split_at = clock_timestamp(),
            state = CASE WHEN EXISTS (SELECT FROM rowmill.chunk WHERE upload = u.number AND started_at IS NOT NULL)
                         THEN 'processing' ELSE 'queued' END
        WHERE number = %s AND state = 'splitting'
        """,
        (chunks_total, rows_total, number),
    )


def mark_clashes(connection: Connection, number: int) -> None:
    """Let the upload's later chunks start on the staging path."""
    connection.execute("UPDATE rowmill.upload SET has_clashes = true WHERE number = %s AND NOT has_clashes", (number,))


def is_all_in(connection: Connection, number: int) -> bool:
    """Whether the scan has ended and no chunk is queued, while the upload is not over."""
    row = connection.execute(
        """
        SELECT state = ANY(%s) AND chunks_total IS NOT NULL
           AND NOT EXISTS (SELECT FROM rowmill.chunk c WHERE c.upload = u.number AND c.state = 'queued')
        FROM rowmill.upload u WHERE number = %s
        """,
        (list(LOADING), number),
    ).fetchone()
    return bool(row and row[0])


def snapshot(connection: Connection, number: int) -> dict[str, Any] | None:
    """What the status says of an upload: absolute values, one statement, one moment."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT u.number, u.tenant, u.upload_id, u.state, u.generation, u.rows_total, u.chunks_total, u.error,
                   u.plan, u.bytes_total, u.stored_at, u.split_at, u.finished_at,
                   c.chunks_done, c.bytes_done, c.loaded, c.updated, c.skipped, c.rejected, c.first_started_at,
                   c.contested, c.given_up + CASE WHEN u.finished_at IS NULL THEN 0 ELSE c.contested END AS unprocessed
            FROM rowmill.upload u CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE state <> 'queued' AND pass = 'load') AS chunks_done,
                       coalesce(sum(byte_end - byte_start) FILTER (WHERE state <> 'queued'), 0)::bigint AS bytes_done,
                       coalesce(sum(loaded), 0)::bigint AS loaded, coalesce(sum(updated), 0)::bigint AS updated,
                       coalesce(sum(skipped), 0)::bigint AS skipped, coalesce(sum(rejected), 0)::bigint AS rejected,
                       coalesce(sum(contested), 0)::bigint AS contested, min(started_at) AS first_started_at,
                       coalesce(sum(records) FILTER (WHERE state IN ('dead', 'canceled')), 0)::bigint AS given_up,
                       coalesce(sum(records), 0)::bigint AS records_seen
                FROM rowmill.chunk WHERE upload = u.number
            ) c
            WHERE u.number = %s
            """,
            (number,),
        ).fetchone()


def stop(connection: Connection, number: Number, error: Mapping[str, Any]) -> None:
    """End an upload that cannot go on as failed: no chunk loads after this, what is queued is unprocessed."""
    with connection.transaction():
        lock_upload(connection, number, shared=False)
        manifest.cancel_queued(connection, number)
        end(connection, number, "failed", manifest.records_seen(connection, number), error)


def is_projection_due(connection: Connection, number: int) -> bool:
    """Whether the status is to be shown now: the end always, progress if the last time is half a second ago.

    Of callers at the same moment one is told so; the others need not wait for it.
    """
    with connection.transaction():
        # Losing this mark in a crash costs one more DynamoDB write; waiting for the disk costs every chunk.
        connection.execute("SET LOCAL synchronous_commit = off")
        due = connection.execute(
            """
            UPDATE rowmill.upload SET projected_at = clock_timestamp() WHERE number = (
                SELECT number FROM rowmill.upload
                WHERE number = %s AND finished_at IS NULL
                  AND projected_at < clock_timestamp() - interval '500 milliseconds'
                FOR UPDATE SKIP LOCKED)
            """,
            (number,),
        )
        ended = connection.execute(
            "SELECT FROM rowmill.upload WHERE number = %s AND finished_at >= projected_at", (number,)
        )
        return due.rowcount + ended.rowcount > 0


def mark_end_shown(connection: Connection, number: int) -> None:
    """The end is in the status table: the sweep need not look after it."""
    connection.execute(
        "UPDATE rowmill.upload SET projected_at = clock_timestamp() WHERE number = %s AND finished_at IS NOT NULL",
        (number,),
    )


def list_unfinished(connection: Connection) -> list[Number]:
    """Uploads that are not over, or whose end has not been shown."""
    rows = connection.execute(
        "SELECT number FROM rowmill.upload WHERE finished_at IS NULL OR finished_at >= projected_at ORDER BY number"
    )
    return [Number(row[0]) for row in rows]


def has_active_uploads(connection: Connection, dataset: int) -> bool:
    """Whether an upload into this dataset is not over."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM rowmill.upload WHERE dataset = %s AND finished_at IS NULL)", (dataset,)
    ).fetchone()
    return bool(row and row[0])
