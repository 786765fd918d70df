"""Pollock's files the whole way: uploaded by accounts into a running cloud, rows read back from Postgres.

Told and padded, a dataset of as many columns of text as Pollock names takes the files, with `options.dialect` saying
the rest; the header is Pollock's own, as it is for every system it measures. Detected, nothing is told: a file makes
its own dataset as `rowmill upload --create-text` has it, and its header is the names that the dataset got.
Both store an empty cell as NULL, which nothing else is stored as, so NULL is read back as the empty cell.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final
from uuid import uuid4

import psycopg
from rowmill_client import Patience, Rowmill, Upload

from bench.pollock.files import File, Outcome, Way
from chalicelib.journey import Number, lineage
from infra.local import instance
from infra.local.record import Instance

ACCOUNTS: Final = 8  # each waits for services most of the time, and holds one connection to Postgres
BATCH: Final = 10  # files that an account has under way at once
SECONDS: Final = 120.0  # for a batch, on a machine that others use as well


def outcomes(files: Sequence[File], way: Way, seconds: float = math.inf) -> Iterator[tuple[File, Outcome]]:
    """What becomes of each file, as they end, in a cloud that is taken away afterwards; its logs stay.

    No file is begun after so many seconds.
    """
    give_up = time.monotonic() + seconds
    with instance.running(Path(".rowmill/pollock").resolve()) as here:
        yield from sent(here, files, way, give_up)


def sent(here: Instance, files: Sequence[File], way: Way, give_up: float = math.inf) -> Iterator[tuple[File, Outcome]]:
    """The same in a cloud that runs already; no file is begun after `give_up` of time.monotonic."""
    batches = [files[at : at + BATCH] for at in range(0, len(files), BATCH)]
    with ExitStack() as stack:
        free: SimpleQueue[_Account] = SimpleQueue()
        for _ in range(min(ACCOUNTS, len(batches))):
            free.put(stack.enter_context(_account(here)))

        def send(batch: Sequence[File]) -> list[tuple[File, Outcome]]:
            account = free.get()
            try:
                return account.send(batch, way) if time.monotonic() < give_up else []
            finally:
                free.put(account)

        with ThreadPoolExecutor(ACCOUNTS) as pool:
            for done in as_completed([pool.submit(send, batch) for batch in batches]):
                yield from done.result()


@contextmanager
def _account(here: Instance) -> Iterator[_Account]:
    with Rowmill(here.api_url) as rowmill, psycopg.connect(here.database_url, autocommit=True) as db:
        Patience().keep_trying(lambda: rowmill.signup(f"user-{uuid4()}", "correct horse"))
        yield _Account(rowmill, db)


@dataclass(frozen=True, slots=True)
class _Account:
    rowmill: Rowmill
    db: psycopg.Connection[Any]
    datasets: set[str] = field(default_factory=set)

    def send(self, batch: Sequence[File], way: Way) -> list[tuple[File, Outcome]]:
        """Upload these files side by side and wait for all of them."""
        ended = self._all_ended([self._send(file, way) for file in batch])
        if way == "detected":
            ended = self._all_ended([self._confirmed(upload) for upload in ended])
        return [(file, self._outcome(file, way, upload)) for file, upload in zip(batch, ended, strict=True)]

    def _all_ended(self, upload_ids: Sequence[str]) -> list[Upload]:
        """The last one first: by then most others have ended, and are asked for once."""
        return [self.rowmill.wait(upload_id, timeout=SECONDS) for upload_id in reversed(upload_ids)][::-1]

    def _send(self, file: File, way: Way) -> str:
        if way == "detected":
            created = self.rowmill.create_upload(file.path, file.name, {"infer": True})
        else:
            created = self.rowmill.create_upload(file.path, self._texts(file), {"dialect": file.declared(way)})
        self.rowmill.send_file(created, file.path)
        return created["id"]

    def _texts(self, file: File) -> str:
        """The dataset with these columns, all text."""
        width = file.parameters["n_columns"] or 1
        names = file.names or [f"column_{place}" for place in range(1, width + 1)]
        dataset = f"{len(names)} columns from {names[0]}"
        if dataset not in self.datasets:
            self.rowmill.put_dataset(dataset, {"fields": [{"name": name, "type": "string"} for name in names]})
            self.datasets.add(dataset)
        return dataset

    def _confirmed(self, upload: Upload) -> str:
        """Have it loaded as texts, unless it was refused; its id."""
        review = upload.get("review")
        if upload["state"] != "needs_review" or review is None:
            return upload["id"]
        fields = [{"name": each["name"], "type": "string"} for each in review["schema"]["fields"]]
        return self.rowmill.confirm(upload["id"], {"schema": {"fields": fields}})["id"]

    def _outcome(self, file: File, way: Way, upload: Upload) -> Outcome:
        if error := upload.get("error"):
            return Outcome(refused=error["code"])
        names, rows = self._rows(upload["id"])
        rejects = [
            (each["row"], each["line"], each["errors"][0]["code"])
            for each in (self.rowmill.iterate_rejects(upload["id"]) if upload["rejected"] else ())
        ]
        found = {"loaded": len(rows), "rejected": len(rejects), "rows_total": len(rows) + len(rejects)}
        if any(upload[name] != count for name, count in found.items()):  # type: ignore[literal-required]
            raise RuntimeError(f"{file.name}: the counts of {upload['id']} are not those of its rows and rejects")
        header = file.names if way != "detected" else names if upload["dialect"]["header"] else []
        return Outcome(header, rows, rejects)

    def _rows(self, upload_id: str) -> tuple[list[str], list[list[str]]]:
        """The names of the table's columns, and the upload's rows in file order."""
        asked = "SELECT number, dataset FROM rowmill.upload WHERE upload_id = %s"
        ((number, dataset),) = self.db.execute(asked, (upload_id,)).fetchall()
        cursor = self.db.execute(
            f"SELECT * FROM data.d_{int(dataset)} WHERE _row >= %s AND _row < %s ORDER BY _row",
            (lineage(Number(number), 0), lineage(Number(number + 1), 0)),
        )
        names = [column.name for column in cursor.description or ()]
        place = names.index("_row")
        rows = [[cell or "" for at, cell in enumerate(row) if at != place] for row in cursor]
        return [name for name in names if name != "_row"], rows
