"""Uploads in Postgres: their states, plan and locks, and what the status says of them.

Every write is conditional and may be repeated without harm. Locks: a loading chunk holds the upload's advisory
lock shared until it commits; whoever must know that no chunk is in flight (settling, stopping) takes it
exclusively.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from chalicelib.datasets import read_schema
from chalicelib.formats import excel
from chalicelib.journey import LOADING, Mode, Number, Pass, State, sources
from chalicelib.postgres import locks, manifest, verdicts
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.tables import Table
from chalicelib.postgres.verdicts import CLEARED, PASSED, Verdict
from chalicelib.settings import ScannerName

_LATEST_UPLOADS: Final = 2000  # among which the newest file is looked for
SPLIT_FAILED: Final = {"code": "split_failed", "detail": "The file could not be split; it can be tried again."}
SETTLE_FAILED: Final = {"code": "settle_failed", "detail": "Rows with the same key could not be settled."}


@dataclass(frozen=True, slots=True)
class Text:
    """What is cut and loaded: the file itself, or the piece that was made of it.

    `dialect` is what was declared, as far as it is true of this text; `by_rows`: each line is a row of a sheet, and
    line ends within its cells are hidden (formats.excel.reveal), and in the columns `as_values` and `as_texts` (from 0)
    stand numbers and texts that look like 1.234; `origin` is what the status shows of the file, and `confidence` how
    sure that is.
    """

    key: str
    etag: str
    size: int
    dialect: Mapping[str, Any]
    by_rows: bool = False
    as_values: Sequence[int] = ()
    as_texts: Sequence[int] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)

    def plain(self, data: bytes) -> bytes:
        """Bytes of this text as everybody reads them, each at its place."""
        return excel.reveal(data) if self.by_rows else data


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as the stages need it, with the descriptor of its dataset."""

    number: Number
    upload_id: str
    tenant: str
    state: State
    reading: Pass
    mode: Mode
    dataset: int  # 0 while it has none: its types are still being found
    dataset_version: int
    descriptor: dict[str, Any]
    review: dict[str, Any] | None
    dialect: dict[str, Any]
    options: dict[str, Any]
    correlation_id: str
    object_key: str
    version_id: str | None
    etag: str
    bytes_total: int
    plan: dict[str, Any] | None
    chunks_total: int | None
    has_clashes: bool
    piece: dict[str, Any] | None
    dataset_is_gone: bool  # or this tenant may write to it no more
    scanner: ScannerName  # who was to say whether its file is clean
    verdict: Verdict | None  # None while a scanner is to say
    is_cleared: bool  # all bytes were looked at and nothing was found: chunks may commit
    owner: str  # whose dataset it is: other datasets that it refers to are theirs
    first_load: bool  # its rows are staged, as that is sooner (see split)

    @property
    def text(self) -> Text:
        """Where the bytes of chunks are."""
        if self.piece is not None:
            return Text(**self.piece)
        return Text(self.object_key, self.etag, self.bytes_total, self.dialect)

    @property
    def table(self) -> Table:
        """Where its rows go, if it has a dataset."""
        return Table(self.dataset, self.dataset_version, read_schema(self.descriptor))

    @property
    def is_checked_first(self) -> bool:
        """Whether a check pass comes before the pass that loads."""
        return is_checked_first(self.options)

    @property
    def is_profiled(self) -> bool:
        """Whether the pass that it is in tells what its columns are like."""
        return "on_drift" in self.options and (self.reading == "check") == self.is_checked_first

    @property
    def is_staged(self) -> bool:
        """Whether rows that this pass has loaded are in nobody's sight until its end publishes them, all at once."""
        return self.reading == "load" and (self.first_load or is_all_or_nothing(self.options))


def is_checked_first(options: Mapping[str, Any]) -> bool:
    """Whether uploads with these options are read twice, so that somebody looks at what was found."""
    return options.get("on_drift") == "hold" or bool(options.keys() & {"validate_only", "infer"})


def is_all_or_nothing(options: Mapping[str, Any]) -> bool:
    """Whether no row of uploads with these options is to be seen before all are, as some rejects forbid each."""
    return options.get("on_error") == "abort" or bool(options.keys() & {"max_errors", "max_error_percent"})


# Of a row `u`: whether its rows show themselves all at once. `HIDDEN`: of the pass that loads, nothing is in the table,
# and perhaps never will be: rows wait to be published, or waited when the upload ended. To be undone, or not to get
# through that, changes nothing of it.
WHOLE: Final = """(
    u.first_load OR u.options @> '{"on_error": "abort"}' OR u.options ?| array['max_errors', 'max_error_percent'])"""
HIDDEN: Final = f"""({WHOLE} AND u.pass = 'load' AND 0 < (
    SELECT coalesce(sum(contested), 0) FROM rowmill.chunk w
    WHERE w.upload = u.number AND w.pass IN ('load', 'settle')))"""
# Of a row `u`: its state as it is shown, from the wish to cancel on.
SHOWN_STATE: Final = """
    CASE WHEN u.finished_at IS NULL AND EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id)
         THEN 'canceling' ELSE u.state END"""

_SELECT_UPLOAD: Final = f"""
    SELECT u.number, u.upload_id, u.tenant, u.state, u.pass AS reading, u.mode, coalesce(u.dataset, 0) AS dataset,
           coalesce(d.version, 0) AS dataset_version, coalesce(d.descriptor, '{{}}') AS descriptor, u.review,
           u.dialect, u.options, u.correlation_id, u.object_key, u.version_id,
           u.etag, u.scanner, u.verdict, {CLEARED} AS is_cleared,
           u.bytes_total, u.plan, u.chunks_total, u.has_clashes, u.piece,
           coalesce(d.deleted_at IS NOT NULL OR d.tenant <> u.tenant AND NOT EXISTS (
               SELECT FROM rowmill.dataset_grant g
               WHERE g.dataset = d.number AND g.tenant = u.tenant AND g.role = 'writer'), false) AS dataset_is_gone,
           coalesce(d.tenant, u.tenant) AS owner, u.first_load
    FROM rowmill.upload u LEFT JOIN rowmill.dataset d ON d.number = u.dataset
"""


def open_upload(connection: Connection, new: Mapping[str, Any]) -> Upload | None:
    """The upload of `new["upload_id"]`, inserted in state scanning if this is the first time it is met.

    Its file is awaited no longer. None if that was over before: it was canceled or given up, and its end is told.
    """
    connection.execute(
        """
        WITH announced AS (  -- as it is once nobody else is ending it
            SELECT closed, deleted_at FROM rowmill.announcement WHERE upload_id = %(upload_id)s FOR NO KEY UPDATE
        ), opened AS (
            INSERT INTO rowmill.upload (upload_id, tenant, dataset, state, pass, mode, dialect, options, correlation_id,
                                        object_key, version_id, etag, bytes_total, stored_at, scanner, verdict)
            SELECT %(upload_id)s, %(tenant)s, d.number, 'scanning', %(pass)s, %(mode)s, %(dialect)s, %(options)s,
                   %(correlation_id)s, %(object_key)s, %(version_id)s, %(etag)s, %(bytes_total)s, %(stored_at)s,
                   %(scanner)s, %(verdict)s
            FROM (SELECT %(options)s::jsonb ? 'infer' AS is_inferring,
                         -- Of two uploads of one file the one with the higher number finds the other.
                         pg_advisory_xact_lock(%(same_file)s, hashtext(
                             concat_ws('/', %(tenant)s::text, %(dataset)s::text, %(etag)s::text)))) o
            LEFT JOIN LATERAL (
                SELECT number FROM rowmill.dataset
                WHERE (tenant = %(tenant)s AND name = %(dataset)s OR dataset_id = %(dataset)s) AND NOT is_inferring
                ORDER BY deleted_at DESC NULLS FIRST LIMIT 1  -- one that was deleted since: the upload says so
            ) d ON true
            WHERE (is_inferring OR d.number IS NOT NULL) AND NOT EXISTS (
                SELECT FROM announced WHERE deleted_at IS NOT NULL OR closed IN ('expired', 'canceled', 'failed'))
            ON CONFLICT (upload_id) DO NOTHING RETURNING upload_id
        )
        UPDATE rowmill.announcement a SET closed = 'opened'
        FROM opened o WHERE a.upload_id = o.upload_id AND a.closed IS NULL
        """,
        {
            **new,
            "same_file": locks.SAME_FILE,
            "pass": "check" if is_checked_first(new["options"]) else "load",
            "dialect": Jsonb(new["dialect"]),
            "options": Jsonb(new["options"]),
        },
    )
    with connection.cursor(row_factory=class_row(Upload)) as cursor:
        upload = cursor.execute(_SELECT_UPLOAD + "WHERE u.upload_id = %s", (new["upload_id"],)).fetchone()
    if upload is None and not _is_closed(connection, new["upload_id"]):
        raise LookupError("the dataset of this upload is gone")
    return upload


def _is_closed(connection: Connection, upload_id: str) -> bool:
    row = connection.execute(
        "SELECT closed IS NOT NULL FROM rowmill.announcement WHERE upload_id = %s", (upload_id,)
    ).fetchone()
    return bool(row and row[0])


def find(connection: Connection, number: int) -> Upload | None:
    """The upload of this number."""
    with connection.cursor(row_factory=class_row(Upload)) as cursor:
        return cursor.execute(_SELECT_UPLOAD + "WHERE u.number = %s", (number,)).fetchone()


def named(connection: Connection, said: object) -> Upload | None:
    """The upload whose number a message says, if it says one."""
    return find(connection, said) if type(said) is int else None


def number_of(connection: Connection, tenant: str, upload_id: str) -> Number | None:
    """The number of a tenant's upload, once the splitter has met it."""
    row = connection.execute(
        "SELECT number FROM rowmill.upload WHERE tenant = %s AND upload_id = %s", (tenant, upload_id)
    ).fetchone()
    return Number(row[0]) if row else None


def state_of(connection: Connection, tenant: str, upload_id: str) -> tuple[Number, State] | None:
    """The number and state of a tenant's upload, as they are shown, once the splitter has met it."""
    row = connection.execute(
        f"SELECT number, {SHOWN_STATE} FROM rowmill.upload u WHERE tenant = %s AND upload_id = %s", (tenant, upload_id)
    ).fetchone()
    return (Number(row[0]), row[1]) if row else None


def number_within(connection: Connection, tenant: str, dataset: int, upload_id: str) -> Number | None:
    """The number of an upload that is this tenant's, or anybody's into this dataset."""
    row = connection.execute(
        "SELECT number FROM rowmill.upload WHERE upload_id = %s AND (tenant = %s OR dataset = %s)",
        (upload_id, tenant, dataset),
    ).fetchone()
    return Number(row[0]) if row else None


def begin_splitting(connection: Connection, number: Number) -> None:
    """The plan was made before: chunks may go out. One caller wins."""
    connection.execute(
        "UPDATE rowmill.upload SET state = 'splitting' WHERE number = %s AND state = 'scanning'", (number,)
    )


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
            SET state = %(state)s, finished_at = clock_timestamp(), review_at = NULL, error = %(error)s,
                rows_total = coalesce(%(rows)s, rows_total)
            WHERE number = %(number)s AND state = ANY(%(sources)s)
            RETURNING number, upload_id, generation
        ), forgotten AS (
            DELETE FROM rowmill.key_hash x USING ended WHERE x.upload = ended.number
        )
        INSERT INTO rowmill.outbox (event_id, upload, generation, kind)
        SELECT 'evt_' || substr(upload_id, 5) || '_' || generation, number, generation, %(state)s FROM ended
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
    locks.hold(connection, (locks.UPLOAD, number), shared=shared)


def try_lock_upload(connection: Connection, number: int) -> bool:
    """Hold the upload exclusively until the transaction ends, if no chunk of it is in flight."""
    return locks.try_hold(connection, (locks.UPLOAD, number))


def wants_settler(connection: Connection, number: int, seconds: float) -> bool:
    """Whether to send for a settler: nobody is at it, and nobody was sent for within so many seconds."""
    row = connection.execute(
        """
        SELECT (settle_asked_at IS NULL OR settle_asked_at < clock_timestamp() - make_interval(secs => %s))
           AND pg_try_advisory_xact_lock_shared(%s, %s)
        FROM rowmill.upload WHERE number = %s
        """,
        (seconds, *locks.settle(number), number),
    ).fetchone()
    return bool(row and row[0])


def note_settler_sent_for(connection: Connection, number: int) -> None:
    """A settler has been sent for. Noted afterwards: a crash between the two costs a message, not the settling."""
    connection.execute("UPDATE rowmill.upload SET settle_asked_at = clock_timestamp() WHERE number = %s", (number,))


def count_settling(connection: Connection, number: int, by: int) -> int:
    """Count an attempt at settling before it begins, or uncount one; how many there have been.

    Those before Postgres was started anew do not count, as long as nobody was sent for since: it may have cut them off.
    """
    row = connection.execute(
        """
        UPDATE rowmill.upload SET settle_attempts = greatest(0, %s + CASE
            WHEN settle_asked_at < pg_postmaster_start_time() THEN 0 ELSE settle_attempts END)
        WHERE number = %s RETURNING settle_attempts
        """,
        (by, number),
    ).fetchone()
    return int(row[0]) if row else 0


def count_scan(connection: Connection, number: int, by: int) -> int:
    """Count an attempt at a scan before it begins, or uncount one; how many there were since it last got further.

    0 for an upload that is split. Those before Postgres was started anew do not count: it may have cut them off. So
    what a crash of Postgres would lose of the count is not waited for.
    """
    row = connection.execute(
        """
        WITH hurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
        UPDATE rowmill.upload SET scan_seen_at = clock_timestamp(), scan_attempts = greatest(0, %s + CASE
            WHEN scan_seen_at < pg_postmaster_start_time() THEN 0 ELSE scan_attempts END)
        FROM hurried WHERE number = %s AND state IN ('scanning', 'splitting') RETURNING scan_attempts
        """,
        (by, number),
    ).fetchone()
    return int(row[0]) if row else 0


def keep_plan(connection: Connection, number: Number, plan: dict[str, Any]) -> dict[str, Any]:
    """The upload's plan: this one if it is the first, else the one already kept. Chunks may go out."""
    row = connection.execute(
        """
        UPDATE rowmill.upload SET plan = coalesce(plan, %s),
            state = CASE state WHEN 'scanning' THEN 'splitting' ELSE state END
        WHERE number = %s RETURNING plan
        """,
        (Jsonb(plan), number),
    ).fetchone()
    assert row is not None
    kept: dict[str, Any] = row[0]
    return kept


def begin_first_load(connection: Connection, number: Number) -> bool:
    """Have the upload's rows staged if they are the first of their dataset, as far as is known; whether they are.

    Not where others load into it, which may be sooner, nor once a chunk is cut. A table that has had rows is not looked
    into for whether any is left.
    """
    seen = connection.execute(
        """
        UPDATE rowmill.upload u SET first_load = true
        WHERE number = %s AND pg_relation_size(to_regclass(format('data.d_%%s', dataset))) = 0
          AND NOT EXISTS (SELECT FROM rowmill.chunk c WHERE c.upload = u.number AND c.pass = 'load')
          AND NOT EXISTS (SELECT FROM rowmill.upload o
                          WHERE o.dataset = u.dataset AND o.number <> u.number AND o.finished_at IS NULL)
        """,
        (number,),
    )
    return seen.rowcount == 1


def keep_piece(connection: Connection, number: Number, piece: dict[str, Any]) -> dict[str, Any]:
    """The upload's piece: this one if it is the first, else the one already kept."""
    connection.execute(
        "UPDATE rowmill.upload SET piece = %s WHERE number = %s AND piece IS NULL", (Jsonb(piece), number)
    )
    row = connection.execute("SELECT piece FROM rowmill.upload WHERE number = %s", (number,)).fetchone()
    assert row is not None
    kept: dict[str, Any] = row[0]
    return kept


def is_scanning(connection: Connection, number: int) -> bool:
    """Whether the file is still to be read, as far as is known; a sign to the sweep that somebody is at it."""
    seen = connection.execute(
        """
        UPDATE rowmill.upload u SET scan_seen_at = clock_timestamp() WHERE number = %s AND state = 'scanning'
           AND NOT EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id)
        """,
        (number,),
    )
    return seen.rowcount == 1


def is_to_be_read(connection: Connection, number: int) -> bool:
    """As `is_scanning`, without a sign: within a transaction that is long it would keep others from the upload."""
    row = connection.execute(
        """
        SELECT state = 'scanning' AND NOT EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id)
        FROM rowmill.upload u WHERE number = %s
        """,
        (number,),
    ).fetchone()
    return bool(row and row[0])


def end_scan(connection: Connection, number: Number, reading: Pass, chunks_total: int, rows_total: int) -> bool:
    """The scan is over: the totals, written last, let the upload finish. Whether its chunks may commit from now on."""
    row = connection.execute(
        f"""
        UPDATE rowmill.upload u
        SET chunks_total = %s, rows_total = %s, split_at = clock_timestamp(),
            state = CASE WHEN EXISTS (SELECT FROM rowmill.chunk c
                                      WHERE c.upload = u.number AND c.pass = u.pass AND started_at IS NOT NULL)
                         THEN 'processing' ELSE 'queued' END
        WHERE number = %s AND pass = %s AND state = 'splitting' RETURNING {CLEARED}
        """,
        (chunks_total, rows_total, number, reading),
    ).fetchone()
    return bool(row and row[0])


def is_judged(connection: Connection, number: int) -> bool:
    """Whether it is known of the upload's file whether it is clean, as far as that is ever to be known."""
    row = connection.execute("SELECT verdict IS NOT NULL FROM rowmill.upload WHERE number = %s", (number,)).fetchone()
    return bool(row and row[0])


def is_over(connection: Connection, number: int) -> bool:
    """Whether the upload has ended, or is being undone."""
    row = connection.execute(
        "SELECT finished_at IS NOT NULL OR state = 'reverting' FROM rowmill.upload WHERE number = %s", (number,)
    ).fetchone()
    return bool(row and row[0])


def is_held(connection: Connection, number: int) -> bool:
    """Whether chunks of an upload that is under way may not commit yet."""
    row = connection.execute(
        f"SELECT finished_at IS NULL AND NOT {CLEARED} FROM rowmill.upload u WHERE number = %s", (number,)
    ).fetchone()
    return bool(row and row[0])


def is_splitting(connection: Connection, number: int, reading: Pass) -> bool:
    """Whether the scan is to go on: it has not been stopped, and nobody has asked to cancel."""
    row = connection.execute(
        """
        SELECT EXISTS (SELECT FROM rowmill.upload u
                       WHERE number = %s AND pass = %s AND state = 'splitting'
                       AND NOT EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id))
        """,
        (number, reading),
    ).fetchone()
    return bool(row and row[0])


def mark_clashes(connection: Connection, number: int) -> None:
    """Let the upload's later chunks hold back at once what may repeat a key."""
    connection.execute("UPDATE rowmill.upload SET has_clashes = true WHERE number = %s AND NOT has_clashes", (number,))


@dataclass(frozen=True, slots=True)
class Standing:
    """What may be due for an upload that is under way. `is_over_budget`: it has rejected too many rows to go on."""

    is_reverting: bool
    is_canceling: bool
    is_over_budget: bool
    is_all_in: bool
    has_contested: bool


def standing(connection: Connection, number: int) -> Standing:
    """How an upload stands, asked after each of its steps."""
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        found = cursor.execute(
            f"""
            SELECT state = 'reverting' AS is_reverting,
                   EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id) AS is_canceling,
                   options ? 'max_errors' AND options ->> 'on_error' IS DISTINCT FROM 'abort'
                       AND (options ->> 'max_errors')::bigint < (
                       SELECT coalesce(sum(rejected), 0) FROM rowmill.chunk c
                       WHERE c.upload = u.number AND c.pass IN (u.pass, CASE u.pass WHEN 'load' THEN 'settle'
                                                                        ELSE 'settle_check' END)) AS is_over_budget,
                   {PASSED} AND state = ANY(%s) AND chunks_total IS NOT NULL AND NOT EXISTS (
                       SELECT FROM rowmill.chunk c WHERE c.upload = u.number AND c.state = 'queued') AS is_all_in,
                   EXISTS (SELECT FROM rowmill.contested x WHERE x.upload = u.number)
                       OR EXISTS (SELECT FROM rowmill.fingerprint x WHERE x.upload = u.number)
                       -- Of all or nothing, where some are given up nothing of the others is published.
                       OR EXISTS (SELECT FROM rowmill.staged x WHERE x.upload = u.number) AND (
                           u.first_load OR NOT EXISTS (
                               SELECT FROM rowmill.chunk c WHERE c.upload = u.number AND c.pass = 'load'
                               AND c.state <> 'loaded')) AS has_contested
            FROM rowmill.upload u WHERE number = %s AND finished_at IS NULL
            """,
            (list(LOADING), number),
        ).fetchone()
    return found or Standing(False, False, False, False, False)


def ask_to_cancel(connection: Connection, tenant: str, upload_id: str) -> bool:
    """Let no chunk of the upload begin from now on; whether it is the first to ask. Waits for nothing."""
    asked = connection.execute(
        """
        INSERT INTO rowmill.cancel (upload_id)
        SELECT upload_id FROM rowmill.announcement a WHERE tenant = %s AND upload_id = %s
           AND NOT EXISTS (SELECT FROM rowmill.upload u
                           WHERE u.upload_id = a.upload_id
                              AND (u.finished_at IS NOT NULL OR u.state = 'reverting'))
        ON CONFLICT DO NOTHING
        """,
        (tenant, upload_id),
    )
    return asked.rowcount == 1


def reopen(connection: Connection, number: Number) -> bool:
    """Begin a new generation of an upload that ended with something given up; False if there is nothing to redo.

    Hold the upload exclusively.
    """
    reopened = connection.execute(
        """
        UPDATE rowmill.upload u
        SET state = CASE WHEN chunks_total IS NULL THEN 'scanning' ELSE 'processing' END, generation = generation + 1,
            error = NULL, finished_at = NULL, projected_at = '-infinity', scan_seen_at = clock_timestamp(),
            scan_attempts = 0, settle_asked_at = NULL, settle_attempts = 0,
            -- What is redone after the others were published goes to them.
            first_load = first_load AND EXISTS (SELECT FROM rowmill.staged x WHERE x.upload = u.number),
            rows_total = CASE WHEN chunks_total IS NOT NULL THEN rows_total END  -- else as far as it was scanned
        WHERE number = %s AND state IN ('completed_with_errors', 'failed') AND files_gone_at IS NULL
          AND coalesce(error ->> 'code', '') NOT IN ('too_many_errors', 'rows_rejected')
          AND NOT EXISTS (SELECT FROM rowmill.revert r WHERE r.upload = u.number)  -- that is undone in part
          AND NOT EXISTS (SELECT FROM rowmill.announcement a WHERE a.upload_id = u.upload_id AND deleted_at IS NOT NULL)
          AND (
            error ->> 'code' IN ('split_failed', 'scanner_unavailable')
            OR chunks_total IS NOT NULL AND (
                EXISTS (SELECT FROM rowmill.chunk c WHERE c.upload = u.number AND c.state IN ('dead', 'canceled'))
                OR EXISTS (SELECT FROM rowmill.contested x WHERE x.upload = u.number)
                OR EXISTS (SELECT FROM rowmill.staged x WHERE x.upload = u.number)
                OR EXISTS (SELECT FROM rowmill.fingerprint x WHERE x.upload = u.number)))
        """,
        (number,),
    )
    if reopened.rowcount:  # else a wish to cancel that came too late for the generation before would end this one
        connection.execute(
            "DELETE FROM rowmill.cancel WHERE upload_id = (SELECT upload_id FROM rowmill.upload WHERE number = %s)",
            (number,),
        )
    return reopened.rowcount == 1


def newest_opened(connection: Connection) -> datetime | None:
    """When the newest file was stored that a splitter has met lately, in the last hour, by the clock of S3."""
    row = connection.execute(
        f"""
        SELECT max(stored_at)
        FROM (SELECT stored_at, created_at FROM rowmill.upload ORDER BY number DESC LIMIT {_LATEST_UPLOADS}) latest
        WHERE created_at > now() - interval '1 hour'
        """
    ).fetchone()
    return row[0] if row else None


def may_be_overwritten(connection: Connection, number: int) -> bool:
    """Whether a later upload has replaced rows of this one's dataset, or an undo has taken some away."""
    row = connection.execute(
        """
        SELECT EXISTS (SELECT FROM rowmill.upload later
                       WHERE later.dataset = u.dataset AND later.number <> u.number AND later.mode = 'upsert')
            OR EXISTS (SELECT FROM rowmill.revert r JOIN rowmill.upload later ON later.number = r.upload
                       WHERE later.dataset = u.dataset)
        FROM rowmill.upload u WHERE u.number = %s
        """,
        (number,),
    ).fetchone()
    return bool(row and row[0])


def stop(connection: Connection, number: Number, error: Mapping[str, Any], threat: str | None = None) -> None:
    """End an upload that cannot go on as failed, or quarantined for a threat: no chunk loads after this.

    What is queued is unprocessed. One that is being undone was over before: it goes on.
    """
    with connection.transaction():
        lock_upload(connection, number, shared=False)
        if standing(connection, number).is_reverting:
            return
        manifest.cancel_queued(connection, number)
        end(connection, number, "quarantined" if threat else "failed", manifest.records_seen(connection, number), error)
        if threat:
            verdicts.note_infected(connection, number, threat)


def has_active_uploads(connection: Connection, dataset: int) -> bool:
    """Whether an upload into this dataset is not over."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM rowmill.upload WHERE dataset = %s AND finished_at IS NULL)", (dataset,)
    ).fetchone()
    return bool(row and row[0])
