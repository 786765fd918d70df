"""Large files that bring a dataset its first rows: staged, so that each index is built once, and else as any other."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib import publishing, report, split
from chalicelib.settings import settings
from tests.stages.conftest import CONTACTS, Pipeline, acting, cut_into, poison
from tests.stages.test_all_or_nothing import CLEAN, HEADER, OLD, come_of, stage_is_taken, staged, stages
from tests.stages.test_journey_in_process import adds_up
from tests.stages.test_keys import TWO_KEYS
from tests.stages.test_receipts import verified
from tests.stages.test_review import loaded

# Invalid, and three lines of one key in different chunks.
DIRTY = CLEAN + b",Bad,1\nu3@x.org,Again,33\nx@x.org,Bad,old\nu3@x.org,Last,34\n"
KEYLESS = [{"name": "email"}, {"name": "name"}, {"name": "age"}]


@pytest.fixture(autouse=True)
def large(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any file is a large one, cut into chunks of three records."""
    monkeypatch.setattr(publishing, "TAKEN_ROWS", 1)
    monkeypatch.setenv("ROWMILL_FIRST_LOAD_BYTES", "1")
    cut_into(monkeypatch, 3)


def is_first_load(pipeline: Pipeline, upload_id: str) -> bool:
    (row,) = pipeline.sql("SELECT first_load FROM rowmill.upload WHERE upload_id = %s", upload_id)
    return bool(row["first_load"])


def test_its_rows_show_themselves_at_its_end_without_its_rejects(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN + b",Bad,1\n")
    pipeline.sql("UPDATE rowmill.upload SET projected_at = '-infinity'")
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["valid"], upload["rejected"]) == ("processing", 0, 8, 1)
    assert (upload["rows_visible"], pipeline.rows()) == (0, [])
    assert report.record(pipeline.tenant, upload_id, "1")["state"] == "processing"
    assert stage_is_taken(pipeline, upload_id)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 8, 1)
    assert adds_up(upload) and stages(pipeline) == [] and "on_error" not in upload["options"]
    assert [row["age"] for row in pipeline.rows()] == list(range(8))
    assert report.record(pipeline.tenant, upload_id, "1")["outcome"] == "loaded"


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
@pytest.mark.parametrize("name", ["one key", "two keys"])
def test_what_comes_of_a_file_is_what_comes_of_it_otherwise(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, mode: str, name: str
) -> None:
    if (mode, name) == ("upsert", "two keys"):
        return
    schema, body = {
        "one key": (CONTACTS, DIRTY),
        "two keys": (TWO_KEYS, b"id,email,note\n1,a,one\n1,b,two\n2,b,three\n3,a,four\n2,c,five\n,z,six\n"),
    }[name]
    found = []
    for dataset, least in (("usual", 1 << 40), ("first", 1)):
        monkeypatch.setenv("ROWMILL_FIRST_LOAD_BYTES", str(least))
        settings.cache_clear()
        pipeline.dataset(schema, dataset, mode)
        upload = pipeline.run(body, dataset)
        assert is_first_load(pipeline, upload["id"]) == (dataset == "first")
        fates = [report.record(pipeline.tenant, upload["id"], str(n))["state"] for n in range(1, upload["rows_total"])]
        found.append((*come_of(pipeline, upload, dataset), fates))
    assert found[0] == found[1]
    assert stages(pipeline) == []


def redriven(pipeline: Pipeline, upload_id: str) -> dict[str, Any]:
    pipeline.redrive(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    return pipeline.upload(upload_id)


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_where_a_chunk_is_given_up_the_others_are_in_and_it_can_be_redriven(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    pipeline.dataset(mode=mode)
    upload_id = pipeline.create(CLEAN)
    pipeline.split(upload_id)
    with monkeypatch.context() as patch:
        poison(patch, 4)
        for message in pipeline.messages():
            for _ in range(4):
                with suppress(Exception):
                    pipeline.load([message])
    assert stage_is_taken(pipeline, upload_id)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"]) == ("completed_with_errors", "records_unprocessed")
    assert [(one["row"], one["rows"]) for one in upload["error"]["errors"]] == [(4, 3)]
    assert (upload["loaded"], upload["unprocessed"]) == (5, 3)
    assert adds_up(upload) and stages(pipeline) == []
    assert [row["age"] for row in pipeline.rows()] == [0, 1, 2, 6, 7]
    assert report.record(pipeline.tenant, upload_id, "4")["state"] == "unprocessed"
    upload = redriven(pipeline, upload_id)
    assert (upload["state"], upload["loaded"], upload["unprocessed"]) == ("completed", 8, 0)
    assert adds_up(upload)
    assert sorted(row["age"] for row in pipeline.rows()) == list(range(8))
    outcomes = {report.record(pipeline.tenant, upload_id, str(n))["outcome"] for n in range(1, 9)}
    assert outcomes <= {"loaded", "written"}
    assert verified(pipeline, upload_id)["result"] == "match"
    pipeline.revert(upload_id)
    assert (pipeline.upload(upload_id)["state"], pipeline.rows()) == ("reverted", [])


def test_where_all_chunks_are_given_up_nothing_is_in(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(HEADER + b"a@x.org,A,1\n")
    pipeline.split(upload_id)
    with monkeypatch.context() as patch:
        poison(patch, 1)
        (message,) = pipeline.messages()
        for _ in range(4):
            with suppress(Exception):
                pipeline.load([message])
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"], upload["loaded"]) == ("failed", "records_unprocessed", 0)
    assert redriven(pipeline, upload_id)["state"] == "completed"
    assert len(pipeline.rows()) == 1


def test_a_file_whose_types_were_found_or_that_was_checked_is_staged_when_it_loads(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(CLEAN, validate_only=True)
    assert (upload["state"], is_first_load(pipeline, upload["id"])) == ("needs_review", False)
    upload = loaded(pipeline, upload["id"])
    assert is_first_load(pipeline, upload["id"])
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", 8, 8)
    assert adds_up(upload)


def test_one_that_is_canceled_leaves_nothing(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN)
    pipeline.cancel(upload_id)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["unprocessed"]) == ("canceled", 0, 8)
    assert (pipeline.rows(), stages(pipeline)) == ([], [])


@pytest.mark.parametrize(
    ("schema", "is_first"),
    [
        (CONTACTS, True),
        ({**CONTACTS, "primaryKey": "email"}, True),
        ({"fields": KEYLESS}, False),
        ({"fields": KEYLESS, "identity": "id"}, False),
        ({**CONTACTS, "partition_by": {"field": "email", "hash": 2}}, False),
    ],
    ids=["unique", "primary key", "no key", "identity", "partitions"],
)
def test_it_is_staged_where_keys_are_built_sooner_than_rows_are_inserted(
    pipeline: Pipeline, schema: dict[str, Any], is_first: bool
) -> None:
    pipeline.dataset(schema)
    upload = pipeline.run(CLEAN)
    assert (upload["state"], upload["loaded"]) == ("completed", 8)
    assert is_first_load(pipeline, upload["id"]) == is_first


def test_a_dataset_that_has_rows_or_gets_others_is_loaded_chunk_by_chunk(pipeline: Pipeline) -> None:
    pipeline.dataset()
    first, second = pipeline.create(CLEAN), pipeline.create(OLD)
    for upload_id in (first, second):
        pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    assert (is_first_load(pipeline, first), is_first_load(pipeline, second)) == (True, False)
    third = pipeline.run(HEADER + b"d@x.org,D,1\n")["id"]
    assert not is_first_load(pipeline, third)
    assert len(pipeline.rows()) == 10


def test_a_file_that_is_not_large_is_loaded_chunk_by_chunk(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWMILL_FIRST_LOAD_BYTES", str(len(CLEAN) + 1))
    settings.cache_clear()
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN)
    assert (is_first_load(pipeline, upload_id), len(pipeline.rows())) == (False, 8)


def test_once_a_chunk_is_cut_it_is_as_it_was(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.dataset()
    monkeypatch.setenv("ROWMILL_FIRST_LOAD_BYTES", str(1 << 40))
    settings.cache_clear()
    upload_id = pipeline.create(CLEAN)
    with acting("split"):
        split.file(pipeline.event(upload_id), deadline=0.0)
    monkeypatch.setenv("ROWMILL_FIRST_LOAD_BYTES", "1")
    settings.cache_clear()
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    assert (is_first_load(pipeline, upload_id), len(pipeline.rows())) == (False, 8)


def test_to_build_its_keys_is_foretold_as_less_than_to_write_its_rows_again(pipeline: Pipeline) -> None:
    left = {}
    for dataset, options in (("first", {}), ("whole", {"on_error": "abort"})):
        pipeline.dataset(CONTACTS, dataset)
        upload_id = pipeline.create(CLEAN, dataset, **options)
        pipeline.split(upload_id)
        pipeline.load(pipeline.messages()[:2])
        pipeline.sql(
            """
            UPDATE rowmill.chunk SET started_at = now() - make_interval(secs => 10 * (3 - n)),
                finished_at = now() - make_interval(secs => 10 * (2 - n)) WHERE state = 'loaded'
            """
        )
        pipeline.sql("UPDATE rowmill.upload SET projected_at = '-infinity'")
        pipeline.sweep()
        at = datetime.fromisoformat(pipeline.upload(upload_id)["eta"]["p50_at"])
        left[dataset] = (at - datetime.now(UTC)).total_seconds()
        pipeline.load(pipeline.messages())
        pipeline.settle()
    assert 12 < left["first"] < 25 < left["whole"] < 50, (
        "a chunk of ten seconds, and of three as many or a quarter of that"
    )


def test_rows_that_refer_to_others_are_looked_for_a_chunk_at_a_time(pipeline: Pipeline) -> None:
    pipeline.dataset(CONTACTS, "others")
    pipeline.run(CLEAN, "others")
    reference = {"fields": "email", "reference": {"resource": "others", "fields": "email"}}
    pipeline.dataset({**CONTACTS, "foreignKeys": [reference]})
    upload = pipeline.run(CLEAN)
    assert (upload["loaded"], is_first_load(pipeline, upload["id"])) == (8, False)
