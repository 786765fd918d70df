"""Fifty accounts at once, in quiet and while workers are killed and Postgres restarts: nothing lost, doubled, stuck.

The largest number of database connections seen is held to the bound that the template promises.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from rowmill_client import TERMINAL

from infra.local import instance
from infra.local.emulator import API_PROCESSES
from tests.journey.conftest import Account, Cloud, eventually, new_account, people

ACCOUNTS = 50
ROWS = 5000
TINY = 100  # files; a thousand are sent by bench.bad_input
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
    servers: list[Any] = []

    def disturb() -> None:
        chance = random.Random(1)
        for how in (signal.SIGQUIT, None, None, signal.SIGINT, None, None):
            time.sleep(1)
            if how:
                instance.restart_database(alone.instance, how)
                servers.extend(alone.sql("SELECT pg_postmaster_start_time()"))
                continue
            with contextlib.suppress(psycopg.OperationalError):  # just being restarted
                kill_a_worker(alone, chance)
        quiet.append(time.monotonic())

    with watched(alone) as peak:
        upload_all(alone, tmp_path, disturb)
    print(f"\nlast end {time.monotonic() - quiet[0]:.1f} s after the last fault, {peak[0]} connections at most")
    assert time.monotonic() - quiet[0] < 60 + 30  # sixty seconds for what is stuck, and the work itself
    assert peak[0] <= bound(alone)
    assert len(set(servers)) == 2


def test_many_tiny_files_from_a_few_accounts_at_once_end_without_an_error_and_leave_no_message(
    alone: Cloud, tmp_path: Path
) -> None:
    # A message whose worker an earlier test has killed is seen again only after 180 s: it is none of these files'.
    before = {queue: alone.messages(queue) for queue in ("intake", "high", "medium", "low", "settle", "dead", "notify")}
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(24) as pool:
        accounts = [stack.enter_context(new_account(alone, tmp_path)) for _ in range(4)]
        list(pool.map(Account.dataset, accounts))
        ended = list(pool.map(lambda n: tiny(accounts[n % 4], n), range(TINY)))
        for place, account in enumerate(accounts):
            sent = [(n * 10 + row, "x") for n in range(place, TINY, 4) for row in range(n % 5 + 1)]
            assert account.table() == sent
    assert [(one["state"], one["rows_total"]) for one in ended] == [("completed", n % 5 + 1) for n in range(TINY)]
    for queue, left_over in before.items():
        eventually(lambda queue=queue, left_over=left_over: alone.messages(queue) <= left_over)


def tiny(account: Account, n: int) -> dict[str, Any]:
    """A file of one to five rows, by plain HTTP: nobody tries again after an error of the server's."""
    body = ("id,name\n" + "".join(f"{n * 10 + row},x\n" for row in range(n % 5 + 1))).encode()
    checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
    asked = {"dataset": "people", "filename": "a.csv", "size": len(body), "checksum": checksum}
    created = account.http.post("/uploads", json=asked)
    assert created.status_code == 201, created.text
    ticket = created.json()["upload"]
    assert httpx.post(ticket["url"], data=ticket["fields"], files={"file": ("a.csv", body)}).status_code < 300

    while True:
        answer = account.http.get(f"/uploads/{created.json()['id']}")
        assert answer.status_code == 200, answer.text
        if answer.json()["state"] in TERMINAL:
            return dict(answer.json())
        time.sleep(float(answer.headers["Retry-After"]))


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
