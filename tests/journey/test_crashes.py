"""Power cuts: workers and the database are killed in the middle of their work, and every row is there once.

Each worker is caught inside its transaction by a trigger, so that it dies where it hurts most.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import psycopg
import pytest

from chalicelib.publishing import TAKEN_ROWS
from tests.journey.conftest import Account, eventually, people

pytestmark = pytest.mark.needs("processes to kill")
COMMITS = ("UPDATE", "OLD.state = 'queued' AND NEW.state = 'loaded'")  # rows are copied, nothing is committed
PUBLISHES = ("INSERT", "NEW.pass = 'settle'")  # all rows are in the table, nothing of that is committed
SECOND_CUT = ("INSERT", "NEW.first_record > 1")  # the first chunk is out, the rest of the file is not


def test_a_load_worker_killed_in_mid_chunk_costs_no_row_and_doubles_none(account: Account) -> None:
    account.dataset()
    with account.cloud.held(*COMMITS):
        upload_id = account.start(people(900))
        (backend,) = eventually(account.cloud.blocked)
        assert account.cloud.kill_worker(backend)
    eventually(lambda: account.cloud.is_gone(backend))
    assert account.table() == []
    _later(account, upload_id)
    _is_whole(account, upload_id, 900)


def test_a_splitter_killed_in_mid_file_is_resumed_with_the_same_cuts(account: Account) -> None:
    account.dataset()
    with account.cloud.held(*SECOND_CUT):
        upload_id = account.start(people(8000, padding=1200))
        (backend,) = eventually(account.cloud.blocked)
        assert account.cloud.kill_worker(backend)
    eventually(lambda: account.cloud.is_gone(backend))
    assert account.rowmill.get_upload(upload_id)["chunks_total"] is None
    _later(account, upload_id)
    _is_whole(account, upload_id, 8000)


def test_a_database_that_crashes_and_recovers_while_chunks_load_loses_and_doubles_none(account: Account) -> None:
    account.dataset()
    with account.cloud.held(*COMMITS):
        upload_id = account.start(people(6000, padding=2000))
        backend, *_ = eventually(account.cloud.blocked)
        # Losing a backend without a goodbye makes PostgreSQL end all others and recover from its log.
        os.kill(backend, signal.SIGKILL)
    _is_whole(account, upload_id, 6000)


@contextlib.contextmanager
def _counted(account: Account) -> Iterator[set[int]]:
    """How many rows the tenant's view shows, asked again and again meanwhile."""
    seen: set[int] = set()
    over = threading.Event()

    def count() -> None:
        while not over.is_set():
            with contextlib.suppress(psycopg.OperationalError):
                seen.add(account.cloud.sql(f'SELECT count(*) FROM "{account.tenant}".people')[0][0])

    reader = threading.Thread(target=count)
    reader.start()
    try:
        yield seen
    finally:
        over.set()
        reader.join()


# The second is large enough for its stage to become the table, which was empty.
ROWS = pytest.mark.parametrize("rows", [9000, TAKEN_ROWS], ids=["inserted", "taken"])


@ROWS
def test_a_settler_that_is_killed_while_it_publishes_leaves_it_to_postgres(account: Account, rows: int) -> None:
    account.dataset()
    with _counted(account) as seen:
        with account.cloud.held(*PUBLISHES):
            upload_id = account.start(people(rows), on_error="abort")
            (backend,) = eventually(account.cloud.blocked)
            before = _table(account, upload_id)
            assert account.cloud.kill_worker(backend)
            account.cloud.sweep()
            assert account.rowmill.get_upload(upload_id)["state"] in ("queued", "processing")
            assert not account.cloud.is_gone(backend)
            assert account.table() == []
        eventually(lambda: account.cloud.is_gone(backend))
        assert len(account.table()) == rows
        account.cloud.sweep()  # nobody else is left to show it
        _is_whole(account, upload_id, rows)
        eventually(lambda: rows in seen)
    assert seen == {0, rows}
    assert (_table(account, upload_id) != before) == (rows == TAKEN_ROWS)


@ROWS
def test_a_database_that_crashes_while_it_publishes_has_all_or_nothing(account: Account, rows: int) -> None:
    account.dataset()
    with _counted(account) as seen:
        with account.cloud.held(*PUBLISHES):
            upload_id = account.start(people(rows), on_error="abort")
            (backend,) = eventually(account.cloud.blocked)
            before = _table(account, upload_id)
            os.kill(backend, signal.SIGKILL)
        _is_whole(account, upload_id, rows)
        eventually(lambda: rows in seen)
    assert seen == {0, rows}
    assert (_table(account, upload_id) != before) == (rows == TAKEN_ROWS)


def _table(account: Account, upload_id: str) -> int:
    """Which table the upload's dataset has."""
    asked = "SELECT format('data.d_%%s', dataset)::regclass::oid FROM rowmill.upload WHERE upload_id = %s"
    return int(account.cloud.sql(asked, upload_id)[0][0])


def _later(account: Account, upload_id: str) -> None:
    """A sweep, as if two minutes had passed since the crash: this one, or the clock's own that comes just before.

    Nothing else brings the work back so soon: what the killed process held stays hidden for minutes.
    """
    number = account.number(upload_id)
    account.cloud.sql(
        "UPDATE rowmill.chunk SET started_at = started_at - interval '2 minutes'"
        " WHERE upload = %s AND state = 'queued'",
        number,
    )
    account.cloud.sql(
        "UPDATE rowmill.upload SET scan_seen_at = scan_seen_at - interval '2 minutes' WHERE number = %s", number
    )
    account.cloud.sweep()


def _is_whole(account: Account, upload_id: str, rows: int) -> None:
    upload = account.ended(upload_id)
    assert (upload["state"], upload["rows_total"], upload["loaded"]) == ("completed", rows, rows)
    assert [row[0] for row in account.table()] == list(range(1, rows + 1))
