"""Receipts: what they say, that they add up, who supersedes whom, and what a later look at file and table finds."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import boto3
import psycopg
import pytest
from chalice.test import Client

from app import app
from chalicelib import accounts, attest, catalog, receipts, report, seals, settle, table_rows
from chalicelib.comparing import Comparison
from chalicelib.datasets import read_schema
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from chalicelib.journey import COUNTS, Number
from chalicelib.paging import Asked
from chalicelib.postgres import connection, digests, keeping, ledger, proofs
from chalicelib.postgres.tables import Table
from chalicelib.settings import settings
from infra.keys import receipt_keys
from tests import held
from tests.stages.conftest import CONTACTS, Pipeline, cut_into, poison

NOW = datetime(2026, 11, 29, tzinfo=UTC)
HEADER = b"email,name,age\n"
BODY = HEADER + b"".join(b"u%d@x.org,U,%d\n" % (n, n) for n in range(10))
# Of six records in chunks of two, three repeat a key: two are contested, one is loaded first and displaced.
CLASHES = HEADER + b"a@x.org,A1,1\nc@x.org,C2,2\na@x.org,A3,3\nb@x.org,B4,4\na@x.org,A5,5\nb@x.org,B6,6\n"


def receipt(pipeline: Pipeline, upload_id: str, n: int | None = None) -> dict[str, Any]:
    """What an upload's receipt says; it must be sealed with our key, and be shown as it was sealed."""
    found = receipts.get(pipeline.tenant, upload_id, Asked({} if n is None else {"n": n}, None, 100))
    assert found is not None
    assert seals.is_ours(found["jws"])
    said: dict[str, Any] = json.loads(seals.opened(found["jws"]))
    assert said == found["receipt"]
    return said


def adds_up(said: dict[str, Any]) -> None:
    """Records are all accounted for, in sum and chunk by chunk with what settling corrected."""
    assert said["records"] == sum(said["counts"].values())
    lines = [dict(zip(said["chunks"]["columns"], line, strict=True)) for line in said["chunks"]["items"]]
    correction = said["settled"] or {}
    for name in COUNTS[:-1]:
        assert said["counts"][name] == sum(line[name] for line in lines) + correction.get(name, 0), name
    assert said["records"] == sum(line["records"] for line in lines)
    if said["table"]:
        assert said["table"]["rows"] == sum(line["table_rows"] for line in lines)


def verified(pipeline: Pipeline, upload_id: str) -> dict[str, Any]:
    assert receipts.verify(pipeline.tenant, upload_id)["state"] == "pending"
    pipeline.attest()
    found = receipts.verification(pipeline.tenant, upload_id)
    assert found["state"] == "completed"
    return found


def test_a_receipt_says_what_came_in_and_what_became_of_it(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 4)
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    assert receipts.get(pipeline.tenant, upload_id, Asked({}, None, 100)) is None
    pipeline.attest()
    said = receipt(pipeline, upload_id)
    assert said["file"]["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (said["file"]["size"], said["file"]["name"], bool(said["file"]["version_id"])) == (len(BODY), "a.csv", True)
    assert (said["state"], said["n"], said["generation"], said["supersedes"]) == ("completed", 1, 1, None)
    assert (said["dataset"]["name"], said["dataset"]["version"], said["mode"]) == ("contacts", 1, "insert")
    assert said["dialect"]["delimiter"] == ","
    assert said["counts"] == {"loaded": 10, "updated": 0, "skipped": 0, "rejected": 0, "unprocessed": 0}
    assert (said["table"]["rows"], said["table"]["fields"]) == (10, ["email", "name", "age"])
    assert [line[11] for line in said["chunks"]["items"]] == [
        hashlib.sha256(BODY[line[1] : line[2]]).hexdigest() for line in said["chunks"]["items"]
    ]
    assert len(said["chunks"]["items"]) == 3
    adds_up(said)


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_what_settling_corrects_is_in_the_receipt(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset(mode=mode)
    upload_id = pipeline.create(CLASHES)
    pipeline.split(upload_id)
    pipeline.load(list(reversed(pipeline.messages())))
    pipeline.settle()
    pipeline.attest()
    said = receipt(pipeline, upload_id)
    assert said["settled"]["contested"] < 0
    assert said["counts"] == {name: pipeline.upload(upload_id)[name] for name in COUNTS}
    assert said["table"]["rows"] == 3
    adds_up(said)


def test_file_and_table_that_nobody_touched_match(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 4)
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    found = verified(pipeline, upload_id)  # the receipt is made on the way
    assert found["result"] == "match", found
    assert (found["source"], found["table"], found["ledger"], found["chunks"]) == ("match", "match", "match", [])
    assert found["rows"] == {"expected": 10, "found": 10, "missing": 0, "edited": 0, "changed_by_hand": 0}


def test_rows_edited_and_deleted_behind_our_back_are_found_in_their_chunk(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 4)
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    pipeline.attest()
    (dataset,) = pipeline.sql("SELECT dataset FROM rowmill.upload WHERE upload_id = %s", upload_id)
    pipeline.sql(f"UPDATE data.d_{dataset['dataset']} SET age = 99 WHERE email IN ('u1@x.org', 'u2@x.org')")
    pipeline.sql(f"DELETE FROM data.d_{dataset['dataset']} WHERE email = 'u9@x.org'")
    found = verified(pipeline, upload_id)
    assert (found["result"], found["source"], found["table"], found["chunks_differing"]) == (
        "differs",
        "match",
        "differs",
        2,
    )
    assert found["rows"] == {"expected": 10, "found": 9, "missing": 1, "edited": 2, "changed_by_hand": 0}
    assert [(one["n"], one["missing"], one["edited"]) for one in found["chunks"]] == [(1, 0, 2), (3, 1, 0)]


def test_a_chunk_with_a_row_that_no_table_takes_is_compared_too(pipeline: Pipeline) -> None:
    """1,100 numbers of eight bytes are longer than a page of Postgres: nor can they be staged beside what was edited."""
    names = [f"n{place}" for place in range(1100)]
    pipeline.dataset({"fields": [{"name": name, "type": "integer"} for name in names]}, "wide")
    upload = pipeline.run("\n".join([",".join(names), "1" + "," * 1099, "1" + ",1" * 1099, ""]).encode(), "wide")
    assert (upload["loaded"], upload["rejected"]) == (1, 1)
    pipeline.attest()
    (dataset,) = pipeline.sql("SELECT dataset FROM rowmill.upload")
    pipeline.sql(f"UPDATE data.d_{dataset['dataset']} SET n0 = 2")
    found = verified(pipeline, upload["id"])
    assert (found["result"], found["table"], found["chunks_differing"]) == ("differs", "differs", 1)
    assert found["rows"] == {"expected": 1, "found": 1, "missing": 0, "edited": None, "changed_by_hand": 0}


def test_a_file_that_was_replaced_differs_in_the_chunks_that_do(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 4)
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    pipeline.attest()
    key = f"uploads/{pipeline.tenant}/{upload_id}/source"
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=BODY.replace(b"u5@x", b"v5@x"))
    found = verified(pipeline, upload_id)
    assert (found["result"], found["source"], found["table"]) == ("differs", "changed", "match")
    assert [(one["n"], one["source"]) for one in found["chunks"]] == [(2, "changed")]


def test_a_redrive_supersedes_the_receipt_and_the_chain_is_kept(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 4)
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    with monkeypatch.context() as patch:
        poison(patch, 5)
        for message in pipeline.messages() * 4:
            try:
                pipeline.load([message])
            except Exception as fault:
                assert "attempts left" in str(fault)
    pipeline.attest()
    first = receipt(pipeline, upload_id)
    assert (first["state"], first["counts"]["unprocessed"]) == ("completed_with_errors", 4)
    adds_up(first)
    pipeline.redrive(upload_id)
    with pytest.raises(Refused, match="is processing") as refused:
        receipts.get(pipeline.tenant, upload_id, Asked({}, None, 100))
    assert (refused.value.status, refused.value.code) == (409, "state_conflict")
    pipeline.load(pipeline.messages())
    pipeline.attest()
    second = receipt(pipeline, upload_id)
    assert (second["state"], second["n"], second["generation"]) == ("completed", 2, 2)
    chain = receipts.chain(pipeline.tenant, upload_id, Asked({}, None, 100)).items
    assert [one["n"] for one in chain] == [1, 2]
    assert second["supersedes"] == {"n": 1, "sha256": chain[0]["sha256"]}
    assert receipt(pipeline, upload_id, 1) == first
    adds_up(second)
    assert verified(pipeline, upload_id)["result"] == "match"


def test_an_undo_supersedes_the_receipt_and_says_what_became_of_the_rows(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    pipeline.run(HEADER + b"a@x.org,A,1\nb@x.org,B,2\n")
    upload_id = pipeline.run(HEADER + b"b@x.org,B2,3\nc@x.org,C,4\nd@x.org,D,5\n")["id"]
    pipeline.attest()
    first = receipt(pipeline, upload_id)
    assert (first["state"], first["undone"]) == ("completed", None)
    table_rows.change(Addressed(pipeline.tenant, "contacts", "d@x.org"), {"age": 6}, None)
    pipeline.revert(upload_id)
    pipeline.attest()
    second = receipt(pipeline, upload_id)
    assert (second["state"], second["n"], second["generation"]) == ("reverted", 2, 2)
    assert second["undone"] == {"reverted_rows": 1, "restored_rows": 1, "conflicts": 1, "forced": False}
    assert (second["counts"], second["table"]["rows"]) == (first["counts"], 0)
    chain = receipts.chain(pipeline.tenant, upload_id, Asked({}, None, 100)).items
    assert second["supersedes"] == {"n": 1, "sha256": chain[0]["sha256"]}
    assert receipt(pipeline, upload_id, 1) == first
    adds_up(second)
    found = verified(pipeline, upload_id)
    assert (found["result"], found["ledger"], found["undone"]) == ("match", "match", second["undone"])
    pipeline.sql("UPDATE rowmill.revert SET conflicts = 0")
    found = verified(pipeline, upload_id)
    assert (found["result"], found["ledger"], found["undone"]) == ("differs", "differs", second["undone"])


def test_a_receipt_from_before_undos_were_in_it_is_not_held_against_them() -> None:
    proof = proofs.Proof(Number(1), "verify", NOW, NOW, 0, {})
    said = {"chunks": {"sha256": "c"}, "table": None}
    upload: Any = None  # nothing is asked of it here
    comparison = Comparison(upload, proof, proofs.Receipt(1, 1, "reverted", NOW, b"", ""), said)
    comparison.begin(is_sealed=True, lines="c", undone={"conflicts": 1})
    assert proof.found["ledger"] == "match"


def test_a_reading_that_runs_out_of_time_goes_on_where_it_stopped(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 2)
    monkeypatch.setattr("chalicelib.postgres.digests.MOST_CHUNKS", 1)
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    pipeline.tell()
    for left in reversed(range(6)):
        (message,) = pipeline.messages("receipt")
        attest.work(message, deadline=0.0)  # long over: a batch and no more
        assert bool(receipts.get(pipeline.tenant, upload_id, Asked({}, None, 100))) == (not left)
    assert receipt(pipeline, upload_id)["table"]["rows"] == 10
    receipts.verify(pipeline.tenant, upload_id)
    for _ in range(6):
        (message,) = pipeline.messages("receipt")
        attest.work(message, deadline=0.0)
    assert receipts.verification(pipeline.tenant, upload_id)["result"] == "match"
    assert pipeline.messages("receipt") == []


def test_what_was_lost_on_its_way_to_a_receipt_the_sweep_sends_for(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    pipeline.tell()
    pipeline.messages("receipt")  # lost
    assert pipeline.sweep()["receipts_resent"] == 0  # it may be under way
    monkeypatch.setattr("chalicelib.mend.LOST_SECONDS", -1)
    assert pipeline.sweep()["receipts_resent"] == 1
    pipeline.attest()
    assert pipeline.sweep()["receipts_resent"] == 0
    receipt(pipeline, upload_id)
    receipts.verify(pipeline.tenant, upload_id)
    pipeline.messages("receipt")
    assert pipeline.sweep()["receipts_resent"] == 1
    pipeline.attest()
    assert receipts.verification(pipeline.tenant, upload_id)["result"] == "match"
    assert pipeline.sweep()["receipts_resent"] == 0


def refusal(pipeline: Pipeline, upload_id: str, ask: Any = None) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        if ask is None:
            receipts.get(pipeline.tenant, upload_id, Asked({}, None, 100))
        else:
            ask(pipeline.tenant, upload_id)
    return refused.value.status, refused.value.code


def test_without_an_end_or_a_file_there_is_no_receipt_and_that_is_said(pipeline: Pipeline) -> None:
    pipeline.dataset()
    waiting = pipeline.create(BODY)
    assert refusal(pipeline, waiting) == (409, "state_conflict")
    assert refusal(pipeline, waiting, receipts.verify) == (409, "state_conflict")
    assert refusal(pipeline, waiting, receipts.verification) == (409, "not_verified")
    pipeline.cancel(waiting)
    assert refusal(pipeline, waiting) == (404, "receipt_not_found")
    assert refusal(pipeline, waiting, receipts.verify) == (409, "state_conflict")
    assert receipts.chain(pipeline.tenant, waiting, Asked({}, None, 100)).items == []
    assert refusal(pipeline, "upl_" + 26 * "0") == (404, "upload_not_found")


def test_a_receipt_that_is_not_there_is_refused_and_no_request_is_held_by_that(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    pipeline.attest()
    frames = []
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            receipt(pipeline, upload_id, 99)
        assert (refused.value.status, refused.value.code) == (404, "receipt_not_found")
        frames.append(len(refused.traceback))
    assert len(set(frames)) == 1  # an error that is raised once more grows by the frames of each who asked


def test_an_upload_that_was_canceled_or_failed_has_a_receipt_of_what_was_left(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 4)
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages()[:1])
    pipeline.cancel(upload_id)
    failed = pipeline.run(HEADER + b"x\n" * 3, max_errors=1)["id"]
    pipeline.attest()
    said = receipt(pipeline, upload_id)
    assert (said["state"], said["counts"]["loaded"], said["counts"]["unprocessed"]) == ("canceled", 4, 6)
    assert said["table"]["rows"] == 4
    adds_up(said)
    said = receipt(pipeline, failed)
    assert (said["state"], said["table"]["rows"], said["counts"]["rejected"]) == ("failed", 0, 3)
    adds_up(said)
    assert verified(pipeline, failed)["result"] == "match"


def test_with_its_upload_a_receipt_goes_and_with_its_file_it_stays(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    pipeline.attest()
    before = receipt(pipeline, upload_id)
    pipeline.sql(
        "UPDATE rowmill.upload SET finished_at = finished_at - interval '31 days', receipted_at = receipted_at"
        " - interval '31 days', projected_at = now() WHERE upload_id = %s",
        upload_id,
    )
    pipeline.sql("UPDATE rowmill.proof SET ended_at = ended_at - interval '31 days'")
    pipeline.sweep()
    assert receipt(pipeline, upload_id) == before
    found = verified(pipeline, upload_id)
    assert (found["result"], found["source"], found["table"]) == ("source_gone", "gone", "match")
    pipeline.delete(upload_id)
    assert refusal(pipeline, upload_id) == (404, "upload_not_found")
    assert pipeline.sql("SELECT 1 FROM rowmill.receipt UNION ALL SELECT 1 FROM rowmill.proof") == []
    pipeline.sweep()
    assert pipeline.messages("receipt") == []


def test_rows_that_others_replaced_or_changed_by_hand_are_missing_and_a_lost_table_is_gone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 4)
    pipeline.dataset(mode="upsert")
    upload_id = pipeline.run(BODY)["id"]
    pipeline.attest()
    pipeline.run(HEADER + b"u7@x.org,later,1\n")
    key = Addressed(pipeline.tenant, "contacts", "u1@x.org")
    table_rows.change(key, {"age": 5}, None)
    table_rows.remove(Addressed(pipeline.tenant, "contacts", "u2@x.org"), None)
    found = verified(pipeline, upload_id)
    assert found["rows"] == {"expected": 10, "found": 7, "missing": 3, "edited": 0, "changed_by_hand": 2}
    assert [(one["n"], one["missing"]) for one in found["chunks"]] == [(1, 2), (2, 1)]
    catalog.delete(pipeline.tenant, "contacts", "request-1")
    found = verified(pipeline, upload_id)
    assert (found["result"], found["source"], found["table"]) == ("differs", "match", "gone")


def test_a_ledger_that_was_changed_does_not_pass_for_what_was_sealed(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    pipeline.attest()
    (dataset,) = pipeline.sql("SELECT dataset FROM rowmill.upload WHERE upload_id = %s", upload_id)
    pipeline.sql(f"DELETE FROM data.d_{dataset['dataset']} WHERE age = 3")
    seen = digests.look(
        connection.connection(),
        Table(dataset["dataset"], 1, read_schema(CONTACTS)),
        ["email", "name", "age"],
        *_first_chunk(pipeline, upload_id),
    )
    pipeline.sql("UPDATE rowmill.chunk SET table_rows = %s, table_digest = %s", seen[0].rows, seen[0].digest)
    found = verified(pipeline, upload_id)
    assert (found["result"], found["table"], found["ledger"]) == ("differs", "match", "differs")


def _first_chunk(pipeline: Pipeline, upload_id: str) -> tuple[Any, list[digests.Span]]:
    (upload,) = pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)
    return upload["number"], digests.batch(connection.connection(), upload["number"], "load", 0)


def test_a_packed_file_is_hashed_as_it_came_and_its_chunks_as_they_were_cut(pipeline: Pipeline) -> None:
    pipeline.dataset()
    packed = gzip.compress(BODY)
    upload_id = pipeline.run(packed)["id"]
    pipeline.attest()
    said = receipt(pipeline, upload_id)
    assert (said["file"]["sha256"], said["text"]) == (hashlib.sha256(packed).hexdigest(), {"size": len(BODY)})
    assert verified(pipeline, upload_id)["result"] == "match"


def test_a_file_too_large_to_hash_at_once_is_compared_a_chunk_at_a_time(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 4)
    monkeypatch.setattr("chalicelib.aws.s3.BLOCK_BYTES", 10)
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    pipeline.tell()
    for message in pipeline.messages("receipt"):
        attest.work(message, deadline=0.0)
    pipeline.attest()
    said = receipt(pipeline, upload_id)
    assert (said["file"]["sha256"], said["file"]["reason"]) == (None, "file_too_large")
    assert verified(pipeline, upload_id)["source"] == "match"
    key = f"uploads/{pipeline.tenant}/{upload_id}/source"
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=BODY.replace(b"u5@x", b"v5@x"))
    found = verified(pipeline, upload_id)
    assert (found["result"], found["source"], [one["n"] for one in found["chunks"]]) == ("differs", "changed", [2])


def test_a_look_at_a_chunk_reads_no_rows_of_others(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after its load, when no vacuum has come by: for each chunk the whole table would be read, else."""
    cut_into(monkeypatch, 8_000)
    pipeline.dataset()
    body = HEADER + b"".join(b"u%d@x.org,%s,%d\n" % (n, b"U" * 60, n % 100) for n in range(40_000))
    upload_id = pipeline.run(body)["id"]
    pipeline.attest()
    (row,) = pipeline.sql("SELECT dataset, number FROM rowmill.upload WHERE upload_id = %s", upload_id)
    table, name = Table(row["dataset"], 1, read_schema(CONTACTS)), f"data.d_{row['dataset']}"
    read = "SELECT pg_stat_get_xact_blocks_fetched(%s::regclass), pg_relation_size(%s) / 8192"
    with psycopg.connect(pipeline.url) as other:
        spans = digests.batch(other, row["number"], "load", 0)
        before, pages = other.execute(read, (name, name)).fetchone() or (0, 0)
        (seen,) = digests.look(other, table, table.schema.names, row["number"], spans[2:3])
        after, _ = other.execute(read, (name, name)).fetchone() or (0, 0)
    assert (len(spans), seen.rows) == (5, 8_000)
    assert after - before < pages * 2 / 3, (after - before, pages)


def test_a_receipt_of_many_chunks_waits_for_an_autovacuum_and_does_not_end_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds this lock for as long as it takes; the index is then known to hold all rows, before they are read."""
    cut_into(monkeypatch, 200)
    pipeline.dataset()
    upload_id = pipeline.run(HEADER + b"".join(b"u%d@x.org,%s,1\n" % (n, b"U" * 200) for n in range(12_000)))["id"]
    (row,) = pipeline.sql("SELECT dataset FROM rowmill.upload WHERE upload_id = %s", upload_id)
    name = f"data.d_{row['dataset']}"
    # Not a real autovacuum, which may wait there too, to summarize what was loaded.
    waits = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND relation = %s::regclass AND backend_type = 'client backend'"
    )
    pipeline.tell()
    (message,) = pipeline.messages("receipt")

    def attested() -> None:
        try:
            attest.work(message, time.monotonic() + 600)
        finally:
            connection.close()  # this thread's

    with psycopg.connect(pipeline.url) as vacuum, ThreadPoolExecutor(1) as elsewhere:
        vacuum.execute(f"LOCK {name} IN SHARE UPDATE EXCLUSIVE MODE")
        work = elsewhere.submit(attested)
        for wanted in (1, 0):  # it waits at the table, and gives up
            while pipeline.sql(waits, name) != [{"count": wanted}]:
                assert not work.done()
                time.sleep(0.02)
        vacuum.commit()
        work.result()
    (index,) = pipeline.sql(
        "SELECT indexrelid::regclass::text AS name FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
        " JOIN pg_am a ON a.oid = relam WHERE indrelid = %s::regclass AND amname = 'brin'",
        name,
    )
    assert pipeline.sql("SELECT brin_summarize_new_values(%s) AS left", index["name"]) == [{"left": 0}]
    assert receipt(pipeline, upload_id)["table"]["rows"] == 12_000


def test_the_digest_of_rows_does_not_depend_on_settings_of_the_session_or_their_order(pipeline: Pipeline) -> None:
    fields = [
        {"name": "at", "type": "datetime"},
        {"name": "for", "type": "duration"},
        {"name": "much", "type": "number"},
    ]
    pipeline.dataset({"fields": fields}, "mixed")
    upload_id = pipeline.run(b"at,for,much\n2024-02-03T04:05:06Z,P1DT2H,1.5\n2024-02-03T04:05:07Z,P1M,0.1\n", "mixed")[
        "id"
    ]
    pipeline.attest()
    (row,) = pipeline.sql("SELECT dataset, number FROM rowmill.upload WHERE upload_id = %s", upload_id)
    pipeline.sql(f"CREATE TABLE shuffled AS SELECT * FROM data.d_{row['dataset']}")
    pipeline.sql(f"TRUNCATE data.d_{row['dataset']}")
    pipeline.sql(f"INSERT INTO data.d_{row['dataset']} SELECT * FROM shuffled ORDER BY _row DESC")
    pipeline.sql("DROP TABLE shuffled")
    number, spans = _first_chunk(pipeline, upload_id)
    table = Table(row["dataset"], 1, read_schema({"fields": fields}))
    with psycopg.connect(pipeline.url) as other:
        for setting in ("datestyle = German", "intervalstyle = postgres_verbose", "extra_float_digits = -3"):
            other.execute(f"SET {setting}".encode())
        other.execute("SET timezone = 'Asia/Tokyo'")
        (seen,) = digests.look(other, table, table.schema.names, number, spans)
    assert (seen.rows, seen.digest) == (2, spans[0].table_digest)


def test_a_deploy_keeps_the_key_and_a_rotated_one_leaves_nothing_but_its_public_half() -> None:
    first = receipt_keys(None, [])
    assert receipt_keys(first["ReceiptSecret"], _public(first)) == first
    assert first["ReceiptKeys"] == seals.public_key(first["ReceiptSecret"])
    second = receipt_keys(first["ReceiptSecret"], _public(first), rotate=True)
    assert second["ReceiptSecret"] != first["ReceiptSecret"]
    assert second["ReceiptKeys"] == f"{seals.public_key(second['ReceiptSecret'])},{first['ReceiptKeys']}"
    assert receipt_keys(second["ReceiptSecret"], _public(second)) == second
    third = receipt_keys(second["ReceiptSecret"], _public(second), rotate=True)
    assert _public(third)[1:] == _public(second)
    # A deploy that died before it had noted the second one's: the third has it of the secret that is there.
    assert _public(receipt_keys(second["ReceiptSecret"], _public(first), rotate=True))[1:] == _public(second)
    assert first["ReceiptSecret"] not in "".join(third.values())


def _public(keys: dict[str, str]) -> list[str]:
    return keys["ReceiptKeys"].split(",")


def in_hand(number: Any) -> tuple[ledger.Upload, proofs.Proof]:
    """An upload and what is to be read of it, as a worker has them that was just told."""
    upload, proof = ledger.find(connection.connection(), number), proofs.take(connection.connection(), number)
    assert upload is not None
    assert proof is not None
    return upload, proof


def test_a_redrive_or_a_deletion_in_the_middle_of_a_reading_leaves_no_receipt_of_an_end_that_is_none(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 2)
    monkeypatch.setattr("chalicelib.postgres.digests.MOST_CHUNKS", 1)
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    *loaded, dead = pipeline.messages()
    pipeline.load(loaded)
    pipeline.sql("UPDATE rowmill.chunk SET state = 'dead', attempts = 4 WHERE state = 'queued'")
    settle.finish(dead["upload"])
    report.show(dead["upload"])
    pipeline.tell()
    for _ in range(2):
        (message,) = pipeline.messages("receipt")
        attest.work(message, deadline=0.0)
    upload, proof = in_hand(dead["upload"])
    pipeline.redrive(upload_id)
    attest._make(upload, proof, deadline=0.0)  # by whoever had begun with it
    pipeline.attest()
    assert pipeline.sql("SELECT 1 FROM rowmill.receipt") == []
    pipeline.load(pipeline.messages())
    pipeline.attest()
    said = receipt(pipeline, upload_id)
    assert (said["n"], said["generation"], said["state"], said["table"]["rows"]) == (1, 2, "completed", 10)
    other = pipeline.run(HEADER + b"other@x.org,O,1\n")["id"]
    upload, proof = in_hand(upload.number + 1)
    pipeline.delete(other)
    attest._make(upload, proof, deadline=time.monotonic() + 60)
    assert len(pipeline.sql("SELECT 1 FROM rowmill.receipt")) == 1
    adds_up(said)
    receipts.verify(pipeline.tenant, upload_id)
    (message,) = pipeline.messages("receipt")
    attest.work(message, deadline=0.0)
    pipeline.delete(upload_id)
    pipeline.attest()
    assert pipeline.sql("SELECT 1 FROM rowmill.receipt UNION ALL SELECT 1 FROM rowmill.proof") == []


def test_an_upload_may_be_forgotten_while_somebody_seals_what_it_came_to(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]
    number = pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)[0]["number"]
    proofs.ask(connection.connection(), number)
    due = keeping.Due(number, pipeline.tenant, upload_id)

    def forget() -> None:
        try:
            keeping.forget(connection.connection(), due)
        finally:
            connection.close()

    with psycopg.connect(settings().database_url) as sealing, ThreadPoolExecutor(1) as elsewhere:
        sealing.execute("UPDATE rowmill.upload SET receipted_at = finished_at WHERE number = %s", (number,))
        forgetting = elsewhere.submit(forget)
        while not pipeline.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
            assert not forgetting.done()
            time.sleep(0.01)
        proofs.drop(sealing, number, "verify")
        sealing.commit()
        forgetting.result()
    assert pipeline.sql("SELECT 1 FROM rowmill.proof WHERE upload = %s", number) == []


def test_receipts_over_http_wait_are_tagged_and_refuse_what_cannot_be(pipeline: Pipeline) -> None:
    session = accounts.signup({"username": "sealed", "password": "correct horse"})
    pipeline.tenant = session["tenant_id"]
    pipeline.dataset()
    upload_id = pipeline.run(BODY)["id"]

    def ask(method: str, path: str, **headers: str) -> Any:
        url = f"/v1/uploads/{upload_id}/{path}"
        given = {"Authorization": f"Bearer {session['access']}", "Content-Type": "application/json", **headers}
        answer = Client(app).http.request(method, url, headers=given, body=b"{}" if method == "POST" else b"")
        held.answer(method, url, answer.status_code, answer.headers, answer.body)
        return answer

    waiting = ask("GET", "receipt")
    assert (waiting.status_code, waiting.json_body, waiting.headers["Retry-After"]) == (
        202,
        {"status": "processing"},
        "1",
    )
    assert ask("GET", "verification").json_body["code"] == "not_verified"
    begun = ask("POST", "verify")
    assert (begun.status_code, begun.json_body["state"], begun.json_body["result"]) == (202, "pending", None)
    assert ask("GET", "verification").headers["Retry-After"] == "1"
    assert ask("POST", "verify").status_code == 202
    pipeline.attest()
    found = ask("GET", "receipt")
    assert (found.status_code, found.json_body["receipt"]["records"]) == (200, 10)
    assert ask("GET", "receipt", **{"If-None-Match": found.headers["ETag"]}).status_code == 304
    assert ask("GET", "receipt?n=1").json_body == found.json_body
    assert [ask("GET", f"receipt?n={n}").status_code for n in ("2", "0", "x", "99999999999")] == [404, 400, 400, 400]
    (link,) = ask("GET", "receipts").json_body["items"]
    assert link["sha256"] == hashlib.sha256(found.json_body["jws"].encode()).hexdigest()
    events = [one for one in ask("GET", "events").json_body["items"] if one["event"] in ("verify", "receipt")]
    assert [(one["event"], one["by"]) for one in events] == [("verify", session["user_id"]), ("receipt", None)]
    assert events[1]["details"] == {"n": 1, "sha256": link["sha256"]}
    told = ask("GET", "verification")
    assert (told.json_body["result"], "Retry-After" in told.headers) == ("match", False)
    keys = Client(app).http.get("/.well-known/rowmill-receipt-keys.json")
    assert (keys.status_code, keys.json_body) == (200, seals.keys())
