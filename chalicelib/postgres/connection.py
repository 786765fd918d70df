"""One connection a thread, reused between invocations; and which errors are whose fault."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import psycopg
from psycopg.rows import TupleRow

from chalicelib.errors import Unavailable
from chalicelib.settings import settings

Connection = psycopg.Connection[TupleRow]
Done = TypeVar("Done")

DEADLOCK_TRIES: Final = 5
STANDBY_SECONDS: Final = 1  # for which a server that takes no writes is kept to, before its name is looked up again

# Statements of a load run inside a 30 s function; a lock that waits longer is better retried.
_SETTINGS: Final = {
    "timezone": "UTC",
    "statement_timeout": "280000",
    "lock_timeout": "20000",
    "idle_in_transaction_session_timeout": "60000",
    "default_transaction_isolation": "read committed",
    # A worker that was killed takes its locks with it within seconds, even from a statement that waits; one whose
    # machine vanished without a word does so in half a minute.
    "client_connection_check_interval": "1000",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # Look keys up in the index rather than hash a whole table for each chunk.
    "random_page_cost": "1.1",
    "jit": "off",
}
_ROW_FAULTS: Final = ("22", "23", "54")  # data, constraint, and a value too long for an index
# 25: read-only, as after a failover or while a disk is short, and ended for what took too long elsewhere. The others of
# that class are faults of ours.
_PASSING: Final = ("40", "53", "55", "57", "58", "08", "25006", "25P03", "25P04")

_local = threading.local()


def connection() -> Connection:
    """This thread's connection, opened anew if the last one broke. Raises Unavailable."""
    kept: Connection | None = getattr(_local, "connection", None)
    if kept is None or kept.closed or kept.broken or _has_hung_up(kept) or _is_left_behind(kept):
        close()
        _local.connection = kept = _connect()
        _local.since = time.monotonic()
    elif kept.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        kept.rollback()
    return kept


def _has_hung_up(kept: Connection) -> bool:
    """Whether the server has closed the line while it was idle: a restart between two invocations.

    Asked of the socket, without a round trip: an idle server has nothing to say but goodbye.
    """
    return bool(select.select([kept.fileno()], [], [], 0)[0])


def _is_left_behind(kept: Connection) -> bool:
    """Whether the server follows another one: what was the first, until a failover that its name has not followed yet.

    It would be kept to for as long as the process lives. Without a round trip: the server says so as it lets us in.
    """
    is_standby = kept.info.parameter_status("in_hot_standby") == "on"
    return is_standby and time.monotonic() - _local.since >= STANDBY_SECONDS


def close() -> None:
    """Close this thread's connection, if it has one."""
    kept: Connection | None = getattr(_local, "connection", None)
    if kept is not None:
        kept.close()
        _local.connection = None


def _connect() -> Connection:
    url = settings().database_url
    if not url:
        raise Unavailable("database_unconfigured", "DATABASE_URL is not set.", retry_after=60)
    try:
        made = psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="rowmill", keepalives=1)
        try:
            settle_in(made)
        except BaseException:
            made.close()
            raise
        return made
    except psycopg.OperationalError as error:
        raise Unavailable("database_unavailable", "The database cannot be reached.") from error


def settle_in(made: Connection) -> None:
    """Set what all of it relies on. Not by options of the connection, which an RDS Proxy refuses."""
    made.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS setting (name, value)",
        ([*_SETTINGS], [*_SETTINGS.values()]),
    )


def is_row_fault(error: psycopg.Error) -> bool:
    """Whether a row's own content raised this: repeat without that row."""
    return (error.sqlstate or "").startswith(_ROW_FAULTS)


def refusal(error: psycopg.Error) -> str:
    """Postgres' word on a row; raises what is not the row's fault."""
    if not is_row_fault(error):
        raise error
    return f"{error.diag.message_primary or 'refused'} (SQLSTATE {error.sqlstate})"


def past_deadlocks(work: Callable[[], Done]) -> Done:
    """What `work`, a transaction, answers; it is done again if others hold each what the other needs.

    Or if a row that it waited for was moved to another partition, of which Postgres says that it cannot be followed.
    """
    for _ in range(DEADLOCK_TRIES - 1):
        with suppress(psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            return work()
    return work()


def when_back(work: Callable[[Connection], object]) -> None:
    """Do a thing that may be left undone. A database that is just coming back is given a moment, and no more."""
    for pause in (0.5, 1.0, 2.0, 0.0):
        try:
            work(connection())
            return
        except (Unavailable, psycopg.Error) as error:
            if not isinstance(error, Unavailable) and not is_transient(error):
                raise
            time.sleep(pause)


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may succeed later: connection lost, deadlock, shutdown, read-only."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_PASSING)
