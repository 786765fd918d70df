"""Uploads and chunks: the protocol's conditional writes. Everything here may be repeated without harm.

Locks: a loading chunk holds the upload's advisory lock shared until it commits; whoever must know that no
chunk is in flight (settling, stopping) takes it exclusively.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from chalicelib.journey import LOADING, MAX_ATTEMPTS, Chunk, Mode, Number, Rejection, State, sources
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


def add_chunks(connection: Connection, number: Number, chunks: Sequence[Chunk]) -> list[int]:
    """Record chunks before their messages go out; those still to be sent (queued, unsent) by n."""
    places = [chunk.n for chunk in chunks]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO rowmill.chunk (upload, n, byte_start, byte_end, first_record, first_line, records)
            VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [(number, c.n, c.byte_start, c.byte_end, c.first_record, c.first_line, c.records) for c in chunks],
        )
        cursor.execute("UPDATE rowmill.upload SET scan_seen_at = clock_timestamp() WHERE number = %s", (number,))
        cursor.execute(
            "SELECT n FROM rowmill.chunk WHERE upload = %s AND pass = 'load' AND n = ANY(%s) AND state = 'queued'",
            (number, places),
        )
        return [row[0] for row in cursor]


def mark_resent(connection: Connection, number: int, places: Sequence[int]) -> None:
    """These chunks were sent again: whoever worked on them before is gone."""
    connection.execute(
        "UPDATE rowmill.chunk SET sent_at = clock_timestamp(), started_at = NULL"
        " WHERE upload = %s AND pass = 'load' AND n = ANY(%s) AND state = 'queued'",
        (number, list(places)),
    )


def mark_sent(connection: Connection, number: int, places: Sequence[int]) -> None:
    """The messages of these chunks are in a queue."""
    connection.execute(
        "UPDATE rowmill.chunk SET sent_at = clock_timestamp() WHERE upload = %s AND pass = 'load' AND n = ANY(%s)",
        (number, list(places)),
    )


def end_scan(connection: Connection, number: Number, chunks_total: int, rows_total: int) -> None:
    """The scan is over: the totals, written last, let the upload finish."""
    connection.execute(
        """
        UPDATE rowmill.upload u
        SET chunks_total = %s, rows_total = %s, split_at = clock_timestamp(),
            state = CASE WHEN EXISTS (SELECT FROM rowmill.chunk c WHERE c.upload = u.number AND c.started_at IS NOT NULL)
                         THEN 'processing' ELSE 'queued' END
        WHERE number = %s AND state = 'splitting'
        """,
        (chunks_total, rows_total, number),
    )


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk to load, on its `attempts`-th attempt."""

    n: int
    byte_start: int
    byte_end: int
    first_record: int
    first_line: int
    records: int
    attempts: int


_WORK: Final = "n, byte_start, byte_end, first_record, first_line, records, attempts"


def take(connection: Connection, number: int, n: int) -> Work | None:
    """Begin an attempt at a chunk; None if it is not queued or has no attempts left.

    The attempt is counted before the work: a worker that dies cannot count it afterwards.
    """
    with connection.transaction(), connection.cursor(row_factory=class_row(Work)) as cursor:
        work = cursor.execute(
            f"""
            UPDATE rowmill.chunk SET attempts = attempts + 1, started_at = clock_timestamp()
            WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued' AND attempts < %s
            RETURNING {_WORK}
            """,
            (number, n, MAX_ATTEMPTS),
        ).fetchone()
        cursor.execute(
            "UPDATE rowmill.upload SET state = 'processing' WHERE number = %s AND state = 'queued'", (number,)
        )
    return work


def give_back(connection: Connection, number: int, n: int) -> None:
    """Undo the count of an attempt that failed through no fault of the chunk."""
    connection.execute(
        """
        UPDATE rowmill.chunk SET attempts = greatest(attempts - 1, 0), started_at = NULL
        WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
        """,
        (number, n),
    )


def note_fault(connection: Connection, number: int, n: int, fault: str) -> None:
    """Remember why an attempt failed (never row data), for whoever looks at a dead chunk."""
    connection.execute(
        "UPDATE rowmill.chunk SET error = %s WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'",
        (fault, number, n),
    )


def claim(connection: Connection, number: int, n: int) -> bool:
    """Within a transaction that holds the upload shared: whether this chunk is ours to load now.

    A second worker waits on the row here until the first commits, and then finds it loaded.
    """
    row = connection.execute(
        """
        SELECT FROM rowmill.chunk c JOIN rowmill.upload u ON u.number = c.upload
        WHERE c.upload = %s AND c.pass = 'load' AND c.n = %s AND c.state = 'queued' AND u.state = ANY(%s)
        FOR UPDATE OF c
        """,
        (number, n, list(LOADING)),
    ).fetchone()
    return row is not None


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of records. They add up to the chunk's records."""

    loaded: int = 0
    updated: int = 0
    skipped: int = 0
    rejected: int = 0
    contested: int = 0


def record_loaded(connection: Connection, number: int, n: int, counts: Counts, sha256: bytes) -> None:
    """The proof: written in the transaction that holds the chunk's rows."""
    connection.execute(
        """
        UPDATE rowmill.chunk
        SET state = 'loaded', loaded = %s, updated = %s, skipped = %s, rejected = %s, contested = %s,
            sha256 = %s, error = NULL, finished_at = clock_timestamp()
        WHERE upload = %s AND pass = 'load' AND n = %s
        """,
        (counts.loaded, counts.updated, counts.skipped, counts.rejected, counts.contested, sha256, number, n),
    )


def record_settled(connection: Connection, number: int, counts: Counts) -> None:
    """The one correction of the totals: what settling changed, as differences."""
    connection.execute(
        """
        INSERT INTO rowmill.chunk (upload, pass, n, byte_start, byte_end, first_record, first_line, records, state,
                                   loaded, updated, skipped, rejected, contested, finished_at)
        SELECT %s, 'settle', 1 + count(*), 0, 0, 0, 0, 0, 'loaded', %s, %s, %s, %s, %s, clock_timestamp()
        FROM rowmill.chunk WHERE upload = %s AND pass = 'settle'
        """,
        (number, counts.loaded, counts.updated, counts.skipped, counts.rejected, counts.contested, number),
    )


def mark_clashes(connection: Connection, number: int) -> None:
    """Let the upload's later chunks start on the staging path."""
    connection.execute("UPDATE rowmill.upload SET has_clashes = true WHERE number = %s AND NOT has_clashes", (number,))


def add_rejections(connection: Connection, number: int, rejections: Sequence[Rejection]) -> None:
    """Keep rejected records with their reasons. A sequence: nothing may be asked of a connection that copies."""
    columns = "(upload, record, line, errors, raw)"
    with connection.cursor() as cursor, cursor.copy(f"COPY rowmill.reject {columns} FROM STDIN") as copy:
        for one in rejections:
            errors = [{"column": e.column, "code": e.code, "detail": e.detail} for e in one.errors]
            copy.write_row((number, one.record, one.line, Jsonb(errors), one.raw))


@dataclass(frozen=True, slots=True)
class Contested:
    """A good row whose key met another row of its upload."""

    record: int
    line: int
    cells: list[str | None]
    raw: bytes


def add_contested(connection: Connection, number: int, rows: Iterable[Contested]) -> None:
    """Keep contested rows for settling."""
    columns = "(upload, record, line, cells, raw)"
    with connection.cursor() as cursor, cursor.copy(f"COPY rowmill.contested {columns} FROM STDIN") as copy:
        for row in rows:
            copy.write_row((number, row.record, row.line, row.cells, row.raw))


def find_contested(connection: Connection, number: int, records: Sequence[int]) -> Iterator[tuple[int, int, bytes]]:
    """(record, line, raw) of contested rows by record."""
    yield from connection.execute(
        "SELECT record, line, raw FROM rowmill.contested WHERE upload = %s AND record = ANY(%s) ORDER BY record",
        (number, list(records)),
    )


def clear_contested(connection: Connection, number: int) -> int:
    """Empty the upload's contested rows; how many there were."""
    return connection.execute("DELETE FROM rowmill.contested WHERE upload = %s", (number,)).rowcount


def has_contested(connection: Connection, number: int) -> bool:
    """Whether rows still wait to be settled."""
    row = connection.execute("SELECT EXISTS (SELECT FROM rowmill.contested WHERE upload = %s)", (number,)).fetchone()
    return bool(row and row[0])


def chunks_of_records(connection: Connection, number: int, records: Sequence[int]) -> list[tuple[Work, list[int]]]:
    """The loaded chunks that hold these records, each with those it holds."""
    rows = connection.execute(
        f"""
        SELECT {_WORK}, array_agg(wanted ORDER BY wanted)
        FROM rowmill.chunk c JOIN unnest(%s::bigint[]) wanted
          ON wanted >= c.first_record AND wanted < c.first_record + c.records
        WHERE upload = %s AND pass = 'load' GROUP BY {_WORK} ORDER BY n
        """,
        (list(records), number),
    )
    return [(Work(*row[:-1]), row[-1]) for row in rows]


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


def bury(connection: Connection, number: int, n: int) -> None:
    """Give a chunk up. Its records stay unprocessed; a late delivery of it does nothing."""
    connection.execute(
        """
        UPDATE rowmill.chunk SET state = 'dead', finished_at = clock_timestamp()
        WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
        """,
        (number, n),
    )


def is_spent(connection: Connection, number: int, n: int, load_seconds: int) -> bool | None:
    """For a chunk that could not be taken: out of attempts and nobody at it (True), somebody may still be
    at its last attempt (False), or not queued any more (None)."""
    row = connection.execute(
        """
        SELECT started_at IS NULL OR started_at < clock_timestamp() - make_interval(secs => %s)
        FROM rowmill.chunk WHERE upload = %s AND pass = 'load' AND n = %s AND state = 'queued'
        """,
        (load_seconds, number, n),
    ).fetchone()
    return bool(row[0]) if row else None


def cancel_queued(connection: Connection, number: int) -> None:
    """No chunk that is still queued will load. Hold the upload exclusively."""
    connection.execute(
        "UPDATE rowmill.chunk SET state = 'canceled', finished_at = clock_timestamp()"
        " WHERE upload = %s AND state = 'queued'",
        (number,),
    )


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
        cancel_queued(connection, number)
        end(connection, number, "failed", records_seen(connection, number), error)


def records_seen(connection: Connection, number: int) -> int:
    """How many records the scan has put into chunks."""
    row = connection.execute(
        "SELECT coalesce(sum(records), 0)::bigint FROM rowmill.chunk WHERE upload = %s", (number,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def is_projection_due(connection: Connection, number: int) -> bool:
    """Whether half a second has passed since the last projection; if so, this caller makes it."""
    with connection.transaction():
        # Losing this mark in a crash costs one more DynamoDB write; waiting for the disk costs every chunk.
        connection.execute("SET LOCAL synchronous_commit = off")
        due = connection.execute(
            """
            UPDATE rowmill.upload SET projected_at = clock_timestamp() WHERE number = (
                SELECT number FROM rowmill.upload
                WHERE number = %s AND (finished_at IS NOT NULL
                                       OR projected_at < clock_timestamp() - interval '500 milliseconds')
                FOR UPDATE SKIP LOCKED)
            """,
            (number,),
        )
        return due.rowcount == 1


def list_chunks(connection: Connection, number: int, after: int, limit: int) -> list[dict[str, Any]]:
    """Chunks as the API shows them, those after `after`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT n, state, byte_start, byte_end, first_record, first_line, records, loaded, updated, skipped,
                   rejected, contested, attempts, error
            FROM rowmill.chunk WHERE upload = %s AND pass = 'load' AND n > %s ORDER BY n LIMIT %s
            """,
            (number, after, limit),
        ).fetchall()


def list_rejects(connection: Connection, number: int, after: int, limit: int) -> Iterator[dict[str, Any]]:
    """Rejected records in file order, those after `after`, read as they are used."""
    with connection.transaction(), connection.cursor("rejects", row_factory=dict_row) as cursor:
        cursor.itersize = 500
        cursor.execute(
            "SELECT record, line, errors, raw FROM rowmill.reject WHERE upload = %s AND record > %s"
            " ORDER BY record LIMIT %s",
            (number, after, limit),
        )
        yield from cursor


@dataclass(frozen=True, slots=True)
class Stuck:
    """What a sweep found: chunks to send again, scans to start again."""

    chunks: list[tuple[int, int, str, str]]  # upload, n, tier, tenant
    stalled_scans: list[tuple[str, str]]  # tenant, upload id


def find_stuck(connection: Connection, load_seconds: int, stalled_seconds: int, idle_tiers: Sequence[str]) -> Stuck:
    """Whatever a crash left half-said: unsent chunks, chunks at work for too long, ends not drawn.

    A chunk that was sent, never started and is in no queue any more (`idle_tiers` are empty) was lost.
    """
    chunks = connection.execute(
        """
        SELECT c.upload, c.n, u.plan ->> 'tier', u.tenant
        FROM rowmill.upload u JOIN rowmill.chunk c ON c.upload = u.number
        WHERE u.finished_at IS NULL AND c.state = 'queued'
          AND (c.started_at < now() - make_interval(secs => 2 * %(load)s)
               OR c.sent_at IS NULL AND c.created_at < now() - make_interval(secs => %(load)s)
               OR c.started_at IS NULL AND u.plan ->> 'tier' = ANY(%(idle)s)
                  AND c.sent_at < now() - make_interval(secs => %(load)s))
        ORDER BY c.upload, c.n LIMIT 1000
        """,
        {"load": load_seconds, "idle": list(idle_tiers)},
    ).fetchall()
    stalled = connection.execute(
        """
        SELECT tenant, upload_id FROM rowmill.upload
        WHERE finished_at IS NULL AND state IN ('scanning', 'splitting')
          AND scan_seen_at < now() - make_interval(secs => %s)
        """,
        (stalled_seconds,),
    ).fetchall()
    return Stuck([(u, n, t, w) for u, n, t, w in chunks], [(t, i) for t, i in stalled])


def recently_open(connection: Connection, seconds: int) -> list[Number]:
    """Uploads not over, or over only for this long: their ends or projections may have been lost."""
    rows = connection.execute(
        """
        SELECT number FROM rowmill.upload
        WHERE finished_at IS NULL OR finished_at > now() - make_interval(secs => %s) ORDER BY number
        """,
        (seconds,),
    )
    return [Number(row[0]) for row in rows]


def has_active_uploads(connection: Connection, dataset: int) -> bool:
    """Whether an upload into this dataset is not over."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM rowmill.upload WHERE dataset = %s AND finished_at IS NULL)", (dataset,)
    ).fetchone()
    return bool(row and row[0])
