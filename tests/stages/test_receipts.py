"""Receipts: what they say, that they add up, who supersedes whom, and what a later look at file and table finds."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import boto3
import pytest

from chalicelib import attest, receipts, seals
from chalicelib.errors import Refused
from chalicelib.journey import COUNTS
from chalicelib.paging import Asked
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, cut_into, poison

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
