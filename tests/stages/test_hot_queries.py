"""What is asked for every request, chunk and sweep is found by index: the plan of each statement, as it is sent.

In tables of tens of thousands of rows with statistics, so that reading all of one is no choice but a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg

from chalicelib import gate, table_rows
from chalicelib.datasets.addresses import Addressed
from chalicelib.journey import ABOVE_ALL_IDS, ChunkKey, Number
from chalicelib.postgres import (
    announcements,
    connection,
    digests,
    erasures,
    fates,
    grants,
    handmade,
    keeping,
    ledger,
    manifest,
    pace,
    people,
    projection,
    proofs,
    repair,
    sessions,
    tables,
    tiers,
    vitals,
)
from tests.stages.conftest import CONTACTS, Pipeline

Plan = dict[str, Any]
LARGE = {
    "upload",
    "chunk",
    "announcement",
    "dataset",
    "dataset_grant",
    "account",
    "tenant",
    "reject",
    "session",
}
PARTIAL = {
    "upload_unfinished",
    "upload_unreceipted",
    "upload_of_dataset",
    "chunk_queued",
    "announcement_awaited",
    "tenant_to_erase",
    "upload_going",
}  # of what is under way alone

FILL = """
INSERT INTO rowmill.tenant SELECT 'ten_' || n FROM generate_series(1, 20000) n;
INSERT INTO rowmill.account SELECT 'usr_' || n, 'ten_' || n, 'user' || n, '' FROM generate_series(1, 20000) n;
INSERT INTO rowmill.session SELECT 'ses_' || n, 'usr_' || n, now(), now() + n * interval '1 min'
    FROM generate_series(1, 20000) n;
INSERT INTO rowmill.dataset (tenant, name, mode, descriptor)
    SELECT 'ten_' || n, 'd' || m, 'insert', '{"fields": [{"name": "a"}]}'
    FROM generate_series(1, 20000) n, generate_series(1, 2) m;
INSERT INTO rowmill.dataset_grant SELECT number, 'ten_' || 1 + number % 20000, 'reader' FROM rowmill.dataset;
INSERT INTO rowmill.announcement (upload_id, tenant, item, closes_at, closed)
    SELECT 'upl_' || n, 'ten_' || n, '{}', now() + interval '1 h', CASE WHEN n > 50 THEN 'opened' END
    FROM generate_series(1, 20000) n;
INSERT INTO rowmill.upload (upload_id, tenant, dataset, state, mode, dialect, options, correlation_id, object_key, etag,
        bytes_total, stored_at, plan, chunks_total, rows_total, finished_at, projected_at)
    SELECT 'upl_' || n, 'ten_' || n, (SELECT min(number) FROM rowmill.dataset) + n, s.state, 'insert', '{}', '{}', '', '', '',
        1, now(), '{"tier": "low", "dataset_version": 1}', 4, 40, s.ended, now() + interval '1 s'
    FROM generate_series(51, 20000) n,
        LATERAL (SELECT CASE WHEN n > 100 THEN 'completed' ELSE 'processing' END AS state,
                        CASE WHEN n > 100 THEN now() - interval '1 h' END AS ended) s;
INSERT INTO rowmill.chunk (upload, n, byte_start, byte_end, first_record, first_line, records, state, loaded, sent_at)
    SELECT number, n, n, n + 1, 1 + 10 * n, 1, 10, s.state, CASE s.state WHEN 'loaded' THEN 10 ELSE 0 END, now()
    FROM rowmill.upload u, generate_series(1, 4) n,
        LATERAL (SELECT CASE WHEN u.finished_at IS NULL AND n > 2 THEN 'queued' ELSE 'loaded' END AS state) s;
UPDATE rowmill.upload SET receipted_at = finished_at WHERE number % 500 > 0;
UPDATE rowmill.upload SET files_gone_at = finished_at WHERE number % 2 > 0;
INSERT INTO rowmill.reject (upload, record, line, errors, raw)
    SELECT number, 1, 1, '[]', '' FROM rowmill.upload;
ANALYZE;
"""


class Explained(psycopg.Cursor[Any]):
    """Has every statement explained, with its own values, before it is executed."""

    plans: list[tuple[str, Plan]]

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query.as_string(self.connection) if hasattr(query, "as_string") else str(query)
        if text.lstrip().split(maxsplit=1)[0] in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
            with psycopg.Cursor(self.connection) as plain:
                ((root,),) = plain.execute(f"EXPLAIN (FORMAT JSON) {text}", params).fetchall()  # type: ignore[arg-type]
            type(self).plans.append((text, root[0]["Plan"]))
        return super().execute(query, params, **options)


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def read_whole(plans: list[tuple[str, Plan]], large: set[str]) -> list[tuple[str, str]]:
    """Large tables that a plan reads from one end to the other, each with its statement."""
    return [
        (node["Relation Name"], " ".join(text.split())[:200])
        for text, plan in plans
        for node in nodes(plan)
        if node.get("Relation Name") in large and is_whole(node)
    ]


def is_whole(node: Plan) -> bool:
    """Without an index, or along one of all rows, to look at each of them."""
    if "Index Name" in node:
        return "Index Cond" not in node and "Filter" in node and node["Index Name"] not in PARTIAL
    return node["Node Type"] == "Seq Scan"


class Full:
    """A database with much in it, and one upload and dataset in the middle of it."""

    def __init__(self, pipeline: Pipeline) -> None:
        pipeline.dataset(CONTACTS | {"max_rows_per_second": 1})
        (found,) = pipeline.sql("SELECT number, dataset_id FROM rowmill.dataset")
        self.number, self.dataset_id, self.tenant = found["number"], found["dataset_id"], pipeline.tenant
        with psycopg.connect(pipeline.url, autocommit=True) as other:
            other.execute(FILL.encode())
            other.execute(
                f"INSERT INTO data.d_{self.number} SELECT 'p' || n, 'Ada', n, n FROM generate_series(1, 50000) n;"
                f"ANALYZE data.d_{self.number}".encode()
            )
            other.execute(
                "INSERT INTO rowmill.announcement (upload_id, tenant, item, closes_at) VALUES ('upl_new', %s, '{}', now())",
                (self.tenant,),
            )
        self.url = pipeline.url
        (upload,) = pipeline.sql("SELECT number, upload_id, tenant FROM rowmill.upload WHERE upload_id = 'upl_60'")
        self.upload, self.upload_id, self.uploader = Number(upload["number"]), upload["upload_id"], upload["tenant"]
        self.key = ChunkKey(self.upload, "load", 3)
        dataset = people.get_dataset(connection.connection(), self.tenant, "contacts").dataset
        self.table = tables.of_dataset(dataset)
        self.large = LARGE | {f"d_{self.number}"}

    def opened(self) -> dict[str, Any]:
        """What a splitter says of a file that has come."""
        named = {"upload_id": "upl_new", "tenant": self.tenant, "dataset": "contacts", "mode": "insert", "etag": ""}
        empty = {"dialect": {}, "options": {}, "correlation_id": "", "object_key": "", "version_id": None}
        return {**named, **empty, "bytes_total": 1, "stored_at": datetime.now(UTC), **gate.asked()}

    def plans(self, ask: Callable[[Full, Any], Any], before: str = "SELECT") -> list[tuple[str, Plan]]:
        """The plans of what is asked, of which nothing stays."""
        Explained.plans = []
        with psycopg.connect(self.url, cursor_factory=Explained) as db:
            connection.settle_in(db)
            db.execute(before.encode())
            Explained.plans = []
            found = ask(self, db)
            if hasattr(found, "__next__"):
                list(found)
            db.rollback()
        return Explained.plans


# By the moment it is asked at.
ASKED: dict[str, Callable[[Full, Any], Any]] = {
    # a request
    "an account": lambda full, db: people.find_account(db, "user5"),
    "a dataset by name": lambda full, db: people.resolve(db, full.tenant, "contacts"),
    "a dataset by id": lambda full, db: people.resolve(db, "ten_1", full.dataset_id),
    "datasets": lambda full, db: people.list_datasets(db, full.tenant, "a", 101),
    "shared datasets": lambda full, db: people.list_shared(db, "ten_7", "", 101),
    "grants": lambda full, db: grants.page(db, full.number, "", 101),
    "a row by key": lambda full, db: handmade.find(db, full.table, {"email": "p77"}),
    "an upload's number": lambda full, db: ledger.number_of(db, full.uploader, full.upload_id),
    "an upload into a dataset": lambda full, db: ledger.number_within(db, "ten_1", 1, full.upload_id),
    "chunks": lambda full, db: manifest.list_chunks(db, full.upload, 0, 101),
    "a record": lambda full, db: fates.pieces(db, full.upload, 15, 15),
    "whether rows were replaced": lambda full, db: ledger.may_be_overwritten(db, full.upload),
    "a reject": lambda full, db: fates.rejects(db, full.upload, 1, 1),
    # a file
    "to open": lambda full, db: ledger.open_upload(db, full.opened()),
    # a chunk
    "an upload": lambda full, db: ledger.find(db, full.upload),
    "the pace": lambda full, db: [pace.wait(db, full.number, full.key, 1) for _ in range(2)],
    "to take": lambda full, db: manifest.take(db, full.key),
    "to claim": lambda full, db: manifest.claim(db, full.key),
    "to record": lambda full, db: manifest.record_loaded(db, full.key, manifest.Counts(10), b""),
    "to give back": lambda full, db: manifest.give_back(db, full.key),
    # its end
    "how it stands": lambda full, db: ledger.standing(db, full.upload),
    "whether it is due": lambda full, db: projection.is_due(db, full.upload),
    "the status": lambda full, db: projection.snapshot(db, full.upload),
    "to end": lambda full, db: ledger.end(db, full.upload, "completed", 40, None),
    "whether anybody loads": lambda full, db: ledger.has_active_uploads(db, full.number),
    # its receipt
    "what to read": lambda full, db: proofs.take(db, full.upload),
    "what is read at once": lambda full, db: digests.batch(db, full.upload, "load", 0),
    "what the receipt lists": lambda full, db: list(digests.lines(db, full.upload, "load")),
    "how far its receipts are": lambda full, db: proofs.standing(db, full.uploader, full.upload_id),
    "where it came from": lambda full, db: proofs.origin(db, full.upload),
    # the sweep
    "stuck chunks": lambda full, db: repair.find_stuck_chunks(db, 25, ["low"], 1000),
    "stalled scans": lambda full, db: repair.take_stalled_scans(db),
    "awaited files": lambda full, db: announcements.take_awaited(db, 25, 1000),
    "what is due": lambda full, db: projection.list_due(db),
    "announced before": lambda full, db: announcements.list_before(db, ABOVE_ALL_IDS, 100),
    "sessions that are over": lambda full, db: sessions.forget_expired(db),
    "receipts that are due": lambda full, db: proofs.take_due(db, 25, 1000),
    "the newest file": lambda full, db: ledger.newest_opened(db),
    "what is to be shown": lambda full, db: announcements.list_due(db),
    "the queues": lambda full, db: tiers._waiting.__wrapped__(db, 0),
    "their pace": lambda full, db: tiers._begun_lately.__wrapped__(db, 0),
    "accounts to erase": lambda full, db: erasures.list_due(db, 10),
    "files that go": lambda full, db: keeping.due_files(db, 50),
    "uploads to forget": lambda full, db: keeping.due_status(db, 50),
    "timelines to forget": lambda full, db: keeping.forget_unopened(db, 500),
    "the pulse": lambda full, db: vitals.pulse(db),
    # an operator
    "all of it": lambda full, db: vitals.look(db),
}


def test_nothing_large_is_read_whole(pipeline: Pipeline) -> None:
    full = Full(pipeline)
    plans = {moment: full.plans(ask) for moment, ask in ASKED.items()}
    assert [moment for moment, seen in plans.items() if not seen] == []
    found = {moment: read_whole(seen, full.large) for moment, seen in plans.items()}
    assert {moment: seen for moment, seen in found.items() if seen} == {}
    # That this would be found: without an index each of these reads a table to its end.
    for moment, lost in (
        ("stuck chunks", "DROP INDEX rowmill.chunk_queued"),
        ("to take", "ALTER TABLE rowmill.chunk DROP CONSTRAINT chunk_pkey; DROP INDEX rowmill.chunk_queued"),
        ("what is due", "DROP INDEX rowmill.upload_unfinished; DROP INDEX rowmill.upload_of_dataset"),
        ("awaited files", "DROP INDEX rowmill.announcement_awaited"),
        ("files that go", "DROP INDEX rowmill.upload_going"),
        ("whether rows were replaced", "DROP INDEX rowmill.upload_upserting; DROP INDEX rowmill.upload_of_content"),
        ("a dataset by id", "DROP INDEX rowmill.dataset_by_id"),
        ("a dataset by name", "DROP INDEX rowmill.account_of_tenant"),
        (
            "shared datasets",
            "ALTER TABLE rowmill.dataset_grant DROP CONSTRAINT dataset_grant_pkey;"
            "DROP INDEX rowmill.dataset_grant_of_tenant",
        ),
        ("to open", "DROP INDEX rowmill.dataset_of_tenant"),
        ("a row by key", f"ALTER TABLE data.d_{full.number} DROP CONSTRAINT d_{full.number}_email_key"),
    ):
        assert read_whole(full.plans(ASKED[moment], lost), full.large), moment
    assert table_rows.get(Addressed(full.tenant, "contacts", "p77"))["age"] == 77
