"""Sends a file to Celery's workers, a task for a thousand rows, and waits until all of them are in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

from celery.result import ResultSet

from bench.peers.programs import when_told
from bench.peers.programs.celery_app import app, insert
from bench.peers.programs.django_model import rows

BATCH = 1000
WORKERS = 2


def batches(path: str) -> Iterator[list[dict[str, Any]]]:
    waiting = rows(path)
    while batch := list(islice(waiting, BATCH)):
        yield batch


def load(path: str) -> None:
    ResultSet([insert.delay(batch) for batch in batches(path)], app=app).join()


if __name__ == "__main__":
    ResultSet([insert.delay([]) for _ in range(WORKERS)], app=app).join(timeout=60)  # the workers are there
    when_told(lambda: load(sys.argv[1]))
