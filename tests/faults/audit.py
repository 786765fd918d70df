"""What must be true of an upload once faults are over and the queues are empty, whatever happened before.

The table and the rejects are compared as text, byte for byte, with those of a run without faults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from chalicelib.journey import TERMINAL
from tests.faults.deliveries import Deliveries

COUNTS = ("loaded", "updated", "skipped", "rejected", "unprocessed")


@dataclass(frozen=True, slots=True)
class Result:
    """What an upload came to. Rows of the table are named by their record, those of others by their `_row`."""

    state: str
    counts: dict[str, int]
    table: str
    rejects: str

    @property
    def records(self) -> list[int]:
        """The upload's records that are in the table."""
        names = (line.split("\t")[0].split() for line in self.table.splitlines())
        return [int(number) for kind, number in names if kind == "record"]


def result(deliveries: Deliveries, upload_id: str, dataset: str = "contacts") -> Result:
    """An upload's result, as the API and the database's COPY show it."""
    shown = deliveries.pipeline.upload(upload_id)
    (upload,) = deliveries.sql(
        "SELECT u.number, u.dataset FROM rowmill.upload u WHERE u.upload_id = %s AND dataset ="
        " (SELECT number FROM rowmill.dataset WHERE tenant = u.tenant AND name = %s)",
        upload_id,
        dataset,
    )
    number = upload["number"]
    table = f"""
        SELECT CASE WHEN _row >> 32 = {number} THEN 'record ' || (_row & 4294967295) ELSE 'row ' || _row END AS _row,
               to_jsonb(t) - '_row' FROM data.d_{upload["dataset"]} t ORDER BY t._row
    """
    rejects = f"SELECT record, line, errors, raw FROM rowmill.reject WHERE upload = {number} ORDER BY record"
    return Result(
        shown["state"],
        {name: shown[name] for name in COUNTS},
        dump(deliveries.db, table),
        dump(deliveries.db, rejects),
    )


def dump(db: psycopg.Connection[Any], query: str) -> str:
    with db.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        return b"".join(copy).decode()


def audited(deliveries: Deliveries, upload_id: str) -> Result:
    """The result of an upload that is over, added up, told once and shown as it is, with nothing left behind."""
    pipeline = deliveries.pipeline
    shown = pipeline.upload(upload_id)
    (ledger,) = deliveries.sql(_LEDGER, upload_id)
    assert shown["state"] in TERMINAL
    assert shown["state"] == ledger["state"]
    counts = {name: ledger[name] for name in COUNTS[:-1]}
    assert {name: shown[name] for name in counts} == counts
    assert shown["unprocessed"] == ledger["unprocessed"]
    assert shown["rows_total"] == ledger["records"] == sum(shown[name] for name in COUNTS)
    assert ledger["rejects"] == ledger["rejected"]
    assert (ledger["queued"], ledger["told"]) == (0, ledger["generation"])
    assert deliveries.waiting() == []
    assert deliveries.sql("SELECT * FROM pg_locks WHERE locktype = 'advisory'") == []
    swept = pipeline.sweep()
    assert swept == dict.fromkeys(swept, 0)
    found = result(deliveries, upload_id, shown["dataset"])
    assert shown["mode"] == "upsert" or len(found.records) == shown["loaded"]
    return found


_LEDGER = """
    SELECT u.state, u.generation, c.*,
           (SELECT count(*) FROM rowmill.outbox o WHERE o.upload = u.number) AS told,
           (SELECT count(*) FROM rowmill.reject r WHERE r.upload = u.number) AS rejects
    FROM rowmill.upload u CROSS JOIN LATERAL (
        SELECT sum(records) AS records, sum(loaded) AS loaded, sum(updated) AS updated, sum(skipped) AS skipped,
               sum(rejected) AS rejected, count(*) FILTER (WHERE state = 'queued') AS queued,
               sum(contested) + coalesce(sum(records) FILTER (WHERE state IN ('dead', 'canceled')), 0) AS unprocessed
        FROM rowmill.chunk WHERE upload = u.number
    ) c
    WHERE u.upload_id = %s
"""
