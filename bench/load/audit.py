"""Every upload of a run as Postgres has it, held against what was sent: no row lost, none doubled."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

QUIET_SECONDS: Final = 60.0
Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Ended:
    """An upload in the ledger, with its rows as they are in the table. Times are Unix seconds."""

    upload_id: str
    state: str
    tier: str | None
    stored: float
    opened: float
    split: float | None
    first_started: float | None
    finished: float | None
    rejects: int
    rows: int = 0
    distinct: int = 0
    points: int = 0


def await_quiet(connection: Connection) -> None:
    """Wait until no upload is under way, or for so long that what still is counts as stuck."""
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        row = connection.execute("SELECT count(*) FROM rowmill.upload WHERE finished_at IS NULL").fetchone()
        if row == (0,):
            return
        time.sleep(0.2)


def read(connection: Connection) -> dict[str, Ended]:
    """Every upload there is, by its id."""
    rows: dict[int, tuple[int, int, int]] = {}
    for (dataset,) in connection.execute("SELECT DISTINCT dataset FROM rowmill.upload").fetchall():
        rows |= _rows(connection, dataset)
    found = connection.execute(
        "SELECT number, upload_id, state, plan->>'tier', extract(epoch FROM stored_at),"
        " extract(epoch FROM created_at), extract(epoch FROM split_at),"
        " (SELECT extract(epoch FROM min(started_at)) FROM rowmill.chunk WHERE chunk.upload = number),"
        " extract(epoch FROM finished_at), (SELECT count(*) FROM rowmill.reject WHERE reject.upload = number)"
        " FROM rowmill.upload"
    )
    return {
        upload_id: Ended(
            upload_id,
            state,
            tier,
            float(stored),
            float(opened),
            _seconds(split),
            _seconds(started),
            _seconds(finished),
            rejects,
            *rows.get(number, (0, 0, 0)),
        )
        for number, upload_id, state, tier, stored, opened, split, started, finished, rejects in found
    }


def _rows(connection: Connection, dataset: int) -> dict[int, tuple[int, int, int]]:
    """Of a dataset's table: by upload how many rows, how many different records, and the sum of their points."""
    query = sql.SQL("SELECT _row >> 32, count(*), count(DISTINCT _row), sum(points) FROM {} GROUP BY 1")
    counted = connection.execute(query.format(sql.Identifier("data", f"d_{dataset}")))
    return {number: (count, distinct, int(points)) for number, count, distinct, points in counted}


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)


def problems(sent: Sequence[Mapping[str, Any]], found: Mapping[str, Ended]) -> Iterator[str]:
    """What is not as it was sent, a sentence each."""
    for upload in sent:
        if "stored" not in upload:
            continue
        name, ended = upload["id"], found.get(upload["id"])
        if ended is None:
            yield f"{name}: stored, but never begun"
            continue
        wanted = "completed_with_errors" if upload["bad"] else "completed"
        if ended.state != wanted:
            yield f"{name} is {ended.state}, not {wanted}"
        if ended.distinct != ended.rows:
            yield f"{name}: {ended.rows - ended.distinct} rows are there twice"
        there = (ended.rows, ended.points, ended.rejects)
        if there != (upload["rows"] - upload["bad"], upload["points"], upload["bad"]):
            yield f"{name}: {there} rows, points and rejects of {upload['rows']} rows with {upload['bad']} bad ones"
        if "state" in upload and (upload["loaded"], upload["rejected"]) != (ended.rows, ended.rejects):
            yield f"{name}: the status says {upload['loaded']} loaded and {upload['rejected']} rejected"
