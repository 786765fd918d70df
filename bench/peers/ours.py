"""Rowmill itself: the whole way from a stored object to `completed`, as the status tells it."""

from __future__ import annotations

import itertools
import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rowmill_client import Rowmill, Upload

from bench.peers import meter
from bench.peers.files import File
from bench.peers.ground import Failed, Ground
from bench.peers.meter import Spent

SMALL_ROWS: Final = 1_000
SMALL_RUNS: Final = 20
SMALL_WARM_UPS: Final = 3
WAIT_SECONDS: Final = 600
NOT_BEFORE: Final = 0.25  # a small file is in by then, and a question costs more than the load
WARM_UP_ROWS: Final = 200_000
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant of the running cloud."""

    ground: Ground
    rowmill: Rowmill

    def fresh_dataset(self, file: File) -> str:
        name = f"{file.name}_{next(_numbers)}"
        self.rowmill.put_dataset(name, file.schema)
        return name

    def check_rows(self, dataset: str, file: File) -> None:
        """Every good row is in the table."""
        if (found := self.ground.count(self.table(dataset), self.ground.here.database_url)) != file.good:
            raise Failed(f"{found} rows in the table, {file.good} good ones in the file")

    def table(self, dataset: str) -> str:
        found = self.ground.sql(
            f"SELECT max(number) FROM rowmill.dataset WHERE name = '{dataset}'", self.ground.here.database_url
        )
        return f"data.d_{found[0][0]}"

    def have_had_a_row(self, dataset: str) -> None:
        """Leave the table as one that is not new, without a row."""
        url = self.ground.here.database_url
        for statement in ("INSERT INTO {} (email, _row) VALUES ('a@example.org', 1)", "DELETE FROM {}"):
            self.ground.sql(statement.format(self.table(dataset)), url)

    def forget_rows(self, dataset: str) -> None:
        """Give the room back; what the ledger keeps of the upload stays."""
        self.ground.sql(f"TRUNCATE {self.table(dataset)}", self.ground.here.database_url)


@contextmanager
def account(ground: Ground) -> Iterator[Account]:
    with Rowmill(ground.here.api_url) as rowmill:
        rowmill.signup(f"bench-{secrets.token_hex(4)}", secrets.token_urlsafe(12))
        yield Account(ground, rowmill)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that is in, and what it took."""

    dataset: str
    upload: Upload
    spent: Spent


def load(account: Account, file: File) -> Spent:
    """One load of a file, or the median of many of a small one."""
    if file.rows <= SMALL_ROWS:
        return _load_small(account, file)
    found = loaded(account, file)
    account.forget_rows(found.dataset)
    return found.spent


def loaded(account: Account, file: File, *, is_first: bool = True) -> Loaded:
    """Send a file and wait. Processor time is counted from when the file was sent, as the seconds are.

    Not `is_first`: the table has had a row before.
    """
    dataset = account.fresh_dataset(file)
    if not is_first:
        account.have_had_a_row(dataset)
    account.ground.settle()
    created = account.rowmill.create_upload(file.path, dataset)
    begun = time.monotonic()
    account.rowmill.send_file(created, file.path)
    sending = time.monotonic() - begun
    with meter.measured(account.ground.postgres, [account.ground.cloud]) as spent:
        upload = account.rowmill.wait(created["id"], timeout=WAIT_SECONDS)
    spent.seconds, spent.sending, spent.usd = seconds_of(upload), sending, usd_of(upload)
    check(account, dataset, file, upload)
    return Loaded(dataset, upload, spent)


def _load_small(account: Account, file: File) -> Spent:
    """The median of a number of small uploads, one after another, after a few that warm the functions."""
    dataset = account.fresh_dataset(file)
    for _ in range(SMALL_WARM_UPS):
        _load_again(account, dataset, file)
    account.ground.settle()
    with meter.measured(account.ground.postgres, [account.ground.cloud]) as spent:
        uploads = [_load_again(account, dataset, file) for _ in range(SMALL_RUNS)]
    spent.seconds = statistics.median(map(seconds_of, uploads))
    spent.usd = statistics.median(map(usd_of, uploads))
    for each in ("watched", "client", "postgres", "others"):
        setattr(spent, each, getattr(spent, each) / SMALL_RUNS)
    return spent


def warm_up(account: Account, file: File) -> None:
    """Start the functions: of a file in several chunks, so that two of them load at once."""
    _load_again(account, account.fresh_dataset(file), file)


def sent(account: Account, dataset: str, file: File) -> Upload:
    """Send a file, and the upload when it is over."""
    created = account.rowmill.create_upload(file.path, dataset)
    account.rowmill.send_file(created, file.path)
    time.sleep(NOT_BEFORE)
    return account.rowmill.wait(created["id"], timeout=WAIT_SECONDS)


def _load_again(account: Account, dataset: str, file: File) -> Upload:
    upload = sent(account, dataset, file)
    check(account, dataset, file, upload)
    account.forget_rows(dataset)
    return upload


def seconds_of(upload: Upload) -> float:
    taken = upload["timings"]["stored_to_completed_s"]
    if taken is None:
        raise Failed(f"the upload ended as {upload['state']} without a time")
    return float(taken)


def usd_of(upload: Upload) -> float:
    """By list prices, for a million rows; 0 if the status does not say."""
    cost = upload.get("cost")
    return (cost["usd_per_million_rows"] or 0.0) if cost else 0.0


def check(account: Account, dataset: str, file: File, upload: Upload) -> None:
    """What the status says and what is in the table are what the file holds."""
    account.check_rows(dataset, file)
    # It is made behind the end, and would take its time from whatever is measured next.
    account.rowmill.get_receipt(upload["id"], timeout=WAIT_SECONDS)
    found = (upload["rows_total"], upload["loaded"], upload["rejected"])
    if found != (file.rows, file.good, file.rows - file.good):
        raise Failed(f"{file.path.name}: total, loaded, rejected {found}, and {file.good} rows of the file are good")
