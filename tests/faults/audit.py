"""What must be true of an upload once faults are over and the queues are empty, whatever happened before.

The table and the rejects are compared as text, byte for byte, with those of a run without faults.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from chalicelib import seals
from chalicelib.journey import COMMITTING, TERMINAL
from tests.faults.deliveries import Deliveries
from tests.stages.test_receipts import adds_up

COUNTS = ("loaded", "updated", "skipped", "rejected", "unprocessed")


@dataclass(frozen=True, slots=True)
class Result:
    """What an upload came to. Rows of the table are named by their record, those of others by their `_row`."""

    state: str
    counts: dict[str, int]
    table: str
    rejects: str
    receipt: str  # of this end, without what differs from run to run

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
    rejects = f"""
        SELECT record, line, errors, raw FROM rowmill.reject WHERE upload = {number}
        AND pass = (SELECT pass FROM rowmill.upload WHERE number = {number}) ORDER BY record
    """
    return Result(
        shown["state"],
        {name: shown[name] for name in COUNTS},
        dump(deliveries.db, table),
        dump(deliveries.db, rejects),
        sealed(deliveries, number),
    )


def sealed(deliveries: Deliveries, number: int) -> str:
    """What an upload's newest receipt says of its end, once it holds: signed, added up, a link of a whole chain."""
    chain = deliveries.sql("SELECT * FROM rowmill.receipt WHERE upload = %s ORDER BY n", number)
    before, said = None, dict[str, Any]()
    for n, one in enumerate(chain, 1):
        said = json.loads(seals.opened(one["jws"]))
        assert seals.is_ours(one["jws"])
        assert bytes(one["sha256"]) == hashlib.sha256(one["jws"].encode()).digest()
        assert (said["n"], said["supersedes"]) == (n, before)
        before = {"n": n, "sha256": bytes(one["sha256"]).hex()}
        adds_up(said)
    if not said:
        return ""
    table = said["table"] and {name: said["table"][name] for name in ("rows", "digest", "fields")}
    return json.dumps([said["state"], said["records"], said["counts"], said["file"]["sha256"], table])


def dump(db: psycopg.Connection[Any], query: str) -> str:
    with db.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        return b"".join(copy).decode()


def audited(deliveries: Deliveries, upload_id: str) -> Result:
    """The result of an upload that is over, added up, told once and shown as it is, with nothing left behind."""
    pipeline = deliveries.pipeline
    deliveries.tell()
    assert deliveries.sql("SELECT event_id FROM rowmill.outbox WHERE sent_at IS NULL") == []
    shown = pipeline.upload(upload_id)
    (kept,) = ledger(deliveries, [upload_id])
    assert shown["state"] in TERMINAL
    assert shown["state"] == kept["state"]
    counts = {name: kept[name] for name in COUNTS[:-1]}
    assert {name: shown[name] for name in counts} == counts
    assert shown["unprocessed"] == kept["unprocessed"]
    assert shown["rows_total"] == kept["records"] == sum(shown[name] for name in COUNTS)
    assert kept["rejects"] == kept["rejected"]
    assert "queued" not in (kept["states"] or {})
    assert kept["told"] == kept["generation"]
    assert deliveries.waiting() == []
    assert deliveries.sql("SELECT * FROM pg_locks WHERE locktype = 'advisory'") == []
    swept = pipeline.sweep()
    assert swept == dict.fromkeys(swept, 0)
    found = result(deliveries, upload_id, shown["dataset"])
    there = 0 if shown["state"] == "reverted" else shown["loaded"]
    assert shown["mode"] == "upsert" or len(found.records) == there
    state, records, counts, *_ = json.loads(found.receipt)
    assert (state, records, counts) == (shown["state"], shown["rows_total"], {name: shown[name] for name in COUNTS})
    return found


def ledger(deliveries: Deliveries, upload_ids: Sequence[str]) -> list[dict[str, Any]]:
    """What Postgres knows of those of these uploads that a splitter has met; the chunks' counts added up."""
    return deliveries.sql(_LEDGER, list(upload_ids))


def holds_at_any_moment(deliveries: Deliveries, upload: dict[str, Any], records: int) -> None:
    """No row is there twice or uncounted, nothing is counted that is not in the file, and an end is an end."""
    table = f"SELECT count(*) AS rows FROM data.d_{upload['dataset']} WHERE _row >> 32 = {upload['number']}"
    rows = deliveries.sql(table)[0]["rows"]
    # What an upsert is settled with takes the place of the upload's own rows.
    assert rows <= upload["loaded"] if upload["mode"] == "upsert" else rows == upload["loaded"]
    over, states = upload["state"] in TERMINAL, upload["states"] or {}
    assert over or upload["state"] in ("scanning", *COMMITTING)
    done = sum(upload[name] for name in COUNTS[:-1])
    assert done + upload["contested"] <= upload["records"] <= records
    assert upload["told"] == upload["generation"] - (not over)
    assert not rows or not upload["whole"] or upload["state"].startswith(("completed", "revert"))
    if over:
        assert "queued" not in states
        assert done + upload["unprocessed"] == upload["records"] == upload["rows_total"]
    if upload["state"].startswith("completed"):
        assert upload["records"] == records


_LEDGER = """
    SELECT u.number, u.state, u.mode, u.dataset, u.generation, u.rows_total, c.*,
           u.options ->> 'on_error' = 'abort' OR u.options ?| '{max_errors,max_error_percent}' AS whole,
           (SELECT count(*) FROM rowmill.outbox o WHERE o.upload = u.number AND o.kind <> 'needs_review') AS told,
           (SELECT count(*) FROM rowmill.reject r WHERE r.upload = u.number AND r.pass = u.pass) AS rejects,
           (SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) AS n FROM rowmill.chunk
               WHERE upload = u.number AND pass = u.pass GROUP BY 1) s) AS states
    FROM rowmill.upload u CROSS JOIN LATERAL (
        SELECT coalesce(sum(records), 0) AS records, coalesce(sum(loaded), 0) AS loaded,
               coalesce(sum(updated), 0) AS updated, coalesce(sum(skipped), 0) AS skipped,
               coalesce(sum(rejected), 0) AS rejected, coalesce(sum(contested), 0) AS contested,
               coalesce(sum(contested), 0)
                   + coalesce(sum(records) FILTER (WHERE state IN ('dead', 'canceled')), 0) AS unprocessed,
               jsonb_agg(ARRAY[first_record, records]) FILTER (WHERE state = 'dead') AS dead
        FROM rowmill.chunk WHERE upload = u.number AND pass IN (u.pass, CASE u.pass WHEN 'load' THEN 'settle' ELSE 'settle_check' END)
    ) c
    WHERE u.upload_id = ANY(%s)
"""
