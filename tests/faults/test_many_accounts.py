"""Fifty accounts at once, in quiet and while workers are killed and Postgres restarts: nothing lost, doubled, stuck.

The largest number of database connections seen is held to the bound that the template promises.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from infra.local import instance
from infra.local.server import API_PROCESSES
from tests.journey.conftest import Account, Cloud, new_account, people

ACCOUNTS = 50
ROWS = 5000
ELSE = 4  # define twice, sweep, doctor


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with instance.running(tmp_path_factory.mktemp("cloud")) as here:
        yield Cloud(here)


def test_fifty_accounts_at_once_get_all_their_rows(alone: Cloud, tmp_path: Path) -> None:
    with watched(alone) as peak:
        began = time.monotonic()
        upload_all(alone, tmp_path, lambda: None)
    print(f"\n{ACCOUNTS} accounts x {ROWS} rows: {time.monotonic() - began:.1f} s, {peak[0]} connections at most")
    assert peak[0] <= bound(alone)


def test_fifty_accounts_at_once_lose_nothing_to_kills_and_restarts(alone: Cloud, tmp_path: Path) -> None:
    quiet: list[float] = []

    def disturb() -> None:
        chance = random.Random(1)
        for how in (signal.SIGQUIT, None, None, signal.SIGINT, None, None):
            time.sleep(1)
            with contextlib.suppress(psycopg.OperationalError):  # just being restarted
                instance.restart_database(alone.instance, how) if how else kill_a_worker(alone, chance)
        quiet.append(time.monotonic())

    with watched(alone) as peak:
        upload_all(alone, tmp_path, disturb)
    print(f"\nlast end {time.monotonic() - quiet[0]:.1f} s after the last fault, {peak[0]} connections at most")
    assert time.monotonic() - quiet[0] < 60 + 30  # sixty seconds for what is stuck, and the work itself
    assert peak[0] <= bound(alone)


def upload_all(deployed: Cloud, folder: Path, meanwhile: Callable[[], None]) -> None:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(ACCOUNTS) as pool:
        accounts = [stack.enter_context(new_account(deployed, folder)) for _ in range(ACCOUNTS)]
        list(pool.map(Account.dataset, accounts))
        disturbance = threading.Thread(target=meanwhile)
        ended = pool.map(lambda account: account.ended(account.start(people(ROWS)), seconds=150), accounts)
        disturbance.start()
        uploads = list(ended)
        disturbance.join()
        for account, upload in zip(accounts, uploads, strict=True):
            assert (upload["state"], upload["rows_total"], upload["loaded"]) == ("completed", ROWS, ROWS)
            assert [row[0] for row in account.table()] == list(range(1, ROWS + 1))
    events = deployed.sql(
        "SELECT count(*), count(DISTINCT upload) FROM rowmill.outbox JOIN rowmill.upload u ON upload = u.number"
        " WHERE u.upload_id = ANY(%s)",
        [upload["id"] for upload in uploads],
    )
    assert events == [(ACCOUNTS, ACCOUNTS)]


def kill_a_worker(deployed: Cloud, chance: random.Random) -> None:
    """The process at the other end of some connection that is in the middle of something."""
    busy = deployed.sql(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'rowmill' AND state <> 'idle' ORDER BY pid"
    )
    if busy:
        deployed.kill_worker(chance.choice(busy)[0])  # unless it has just gone


@contextlib.contextmanager
def watched(deployed: Cloud) -> Iterator[list[int]]:
    """The largest number of our functions' connections, looked at ten times a second."""
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            with contextlib.suppress(psycopg.OperationalError):
                ((count,),) = deployed.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rowmill'")
                peak[0] = max(peak[0], count)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def bound(deployed: Cloud) -> int:
    """One connection a process: what may run at once on this deployment."""
    mappings = deployed.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    return sum(one["ScalingConfig"]["MaximumConcurrency"] for one in mappings) + API_PROCESSES + ELSE
