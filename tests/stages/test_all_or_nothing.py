"""Uploads whose rows show themselves all at once or never."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from bench import all_at_once
from chalicelib import control, publishing, report, settle, table_rows, undo
from chalicelib.errors import Refused, Unavailable
from chalicelib.journey import MAX_ATTEMPTS
from chalicelib.postgres import changes, connection, publish
from chalicelib.postgres import stages as stages_of
from tests.stages.conftest import CONTACTS, Pipeline, acting, cut_into, onward, poison
from tests.stages.test_journey_in_process import adds_up
from tests.stages.test_keys import TWO_KEYS
from tests.stages.test_retries import corrected, retry

HEADER = b"email,name,age\n"
CLEAN = HEADER + b"".join(b"u%d@x.org,U,%d\n" % (n, n) for n in range(8))
# c is in the table already.
CLASHES = HEADER + b"a@x.org,A1,1\nc@x.org,C2,2\na@x.org,A3,3\nb@x.org,B4,4\na@x.org,A5,5\nb@x.org,B6,6\n"
OLD = HEADER + b"c@x.org,Old,0\n"


def stages(pipeline: Pipeline) -> list[str]:
    """The stages that are there, as tables and on record."""
    found = pipeline.sql(
        "SELECT relname FROM pg_class WHERE relnamespace = 'stage'::regnamespace AND relkind = 'r'"
        " UNION ALL SELECT upload::text FROM rowmill.staged UNION ALL SELECT record::text FROM rowmill.lost"
    )
    return [row["relname"] for row in found]


def test_nothing_is_seen_before_all_is(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    upload_id = pipeline.create(CLEAN, on_error="abort")
    pipeline.split(upload_id)
    for message in pipeline.messages():
        pipeline.load([message])
        assert pipeline.rows() == []
    pipeline.sql("UPDATE rowmill.upload SET projected_at = '-infinity'")
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["valid"]) == ("processing", 0, 8)
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["valid"]) == ("completed", 8, 0)
    assert [row["age"] for row in pipeline.rows()] == list(range(8))
    assert adds_up(upload) and upload["options"]["on_error"] == "abort"
    assert stages(pipeline) == []


@pytest.mark.parametrize("bad", [b",Bad,1\n", b"u0@x.org,Twice,1\n", b"c@x.org,There,1\n", b"x@x.org,Bad,old\n"])
def test_one_reject_keeps_all_rows_out(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, bad: bytes) -> None:
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    pipeline.run(OLD)
    upload = pipeline.run(CLEAN + bad, on_error="abort")
    assert (upload["state"], upload["error"]["code"]) == ("failed", "rows_rejected")
    assert (upload["loaded"], upload["rejected"], upload["unprocessed"]) == (0, 1, 8)
    assert adds_up(upload)
    assert [one["row"] for one in pipeline.rejects(upload["id"])] == [9]
    assert [row["name"] for row in pipeline.rows()] == ["Old"]
    assert stages(pipeline) == []


def come_of(pipeline: Pipeline, upload: dict[str, Any], dataset: str) -> tuple[Any, ...]:
    """An upload's counts, its rejects and the rows of its dataset, whatever they are numbered by."""
    assert adds_up(upload)
    counts = {name: upload[name] for name in ("state", "loaded", "updated", "skipped", "rejected", "unprocessed")}
    rows = [{k: v for k, v in row.items() if k != "_row"} for row in pipeline.rows(dataset)]
    return counts, pipeline.rejects(upload["id"]), rows


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
@pytest.mark.parametrize("name", ["one key", "two keys"])
def test_what_comes_of_a_file_is_what_comes_of_it_otherwise(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, mode: str, name: str
) -> None:
    if (mode, name) == ("upsert", "two keys"):
        return
    cut_into(monkeypatch, 3)
    schema, old, body = {
        "one key": (CONTACTS, OLD, CLASHES + b",Null,\n"),
        "two keys": (
            TWO_KEYS,
            b"id,email,note\n9,y,old\n",
            b"id,email,note\n1,a,one\n1,b,two\n2,b,three\n3,a,four\n2,c,five\n9,z,six\n,z,seven\n",
        ),
    }[name]
    found = []
    for dataset, options in (("usual", {}), ("staged", {"max_errors": 99})):
        pipeline.dataset(schema, dataset, mode)
        pipeline.run(old, dataset)
        found.append(come_of(pipeline, pipeline.run(body, dataset, **options), dataset))
    assert found[0] == found[1]
    assert stages(pipeline) == []


def failed_at_first(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, **options: object) -> str:
    """An upload of three chunks of which the second was given up."""
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    upload_id = pipeline.create(CLEAN, **options)
    pipeline.split(upload_id)
    with monkeypatch.context() as patch:
        poison(patch, 4)
        for message in pipeline.messages():
            for _ in range(4):
                with suppress(Exception):
                    pipeline.load([message])
    return upload_id


def test_an_upload_that_lacks_a_chunk_shows_no_row_until_it_is_redriven(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = failed_at_first(pipeline, monkeypatch, on_error="abort")
    pipeline.sweep()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"]) == ("failed", "records_unprocessed")
    assert (upload["loaded"], upload["unprocessed"], pipeline.rows()) == (0, 8, [])
    assert len(stages(pipeline)) == 2
    pipeline.redrive(upload_id)
    (message,) = pipeline.messages()  # those that were in are in still
    pipeline.load([message])
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", 8, 8)
    assert stages(pipeline) == []


def test_an_upload_that_failed_for_its_rejects_is_not_redriven(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(CLEAN + b",Bad,1\n", on_error="abort")
    with pytest.raises(Refused) as refused:
        pipeline.redrive(upload["id"])
    assert (refused.value.code, refused.value.status) == ("state_conflict", 409)


@pytest.mark.parametrize("end", ["cancel", "delete", "expire"])
def test_a_stage_goes_with_its_upload(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    if end == "cancel":
        cut_into(monkeypatch, 3)
        pipeline.dataset()
        upload_id = pipeline.create(CLEAN, on_error="abort")
        pipeline.split(upload_id)
        pipeline.load(pipeline.messages()[:2])
        assert pipeline.cancel(upload_id)["state"] == "canceled"
    else:
        upload_id = failed_at_first(pipeline, monkeypatch, on_error="abort")
        assert len(stages(pipeline)) == 2
        if end == "delete":
            pipeline.delete(upload_id)
        else:
            pipeline.sql("UPDATE rowmill.upload SET finished_at = now() - interval '31 days'")
        pipeline.sweep()
        pipeline.sweep()
    assert (stages(pipeline), pipeline.rows()) == ([], [])


def test_a_stage_that_a_crash_left_behind_is_dropped_by_the_sweep(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(CLEAN, on_error="abort")
    (row,) = pipeline.sql("SELECT number, dataset FROM rowmill.upload WHERE upload_id = %s", upload["id"])
    pipeline.sql(f"CREATE TABLE stage.u_{row['number']} (LIKE data.d_{row['dataset']})")
    pipeline.sql("INSERT INTO rowmill.staged (upload) VALUES (%s)", row["number"])
    assert pipeline.sweep()["stages_dropped"] == 1
    assert stages(pipeline) == []


def test_a_paused_upload_is_published_when_it_is_resumed(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    upload_id = pipeline.create(CLEAN, on_error="abort")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.pause(upload_id)
    pipeline.settle()
    assert (pipeline.upload(upload_id)["state"], pipeline.rows()) == ("paused", [])
    pipeline.resume(upload_id)
    pipeline.sql("UPDATE rowmill.upload SET settle_asked_at = NULL")
    pipeline.sweep()
    pipeline.settle()
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", 8)


def test_a_pause_waits_for_what_is_being_published(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or every row would be in the table of an upload that is paused, and can be canceled."""
    pipeline.dataset()
    upload_id = pipeline.create(CLEAN, on_error="abort")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    told: list[object] = []

    def pause() -> None:
        try:
            told.append(control.pause(pipeline.tenant, upload_id))
        except Refused as refused:
            told.append(refused.code)
        finally:
            connection.close()

    asking, real = threading.Thread(target=pause), publish.publish

    def asked_meanwhile(*arguments: Any) -> None:
        asking.start()
        asking.join(0.5)
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "publish", asked_meanwhile)
        pipeline.settle()
    asking.join()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], len(pipeline.rows()), told) == ("completed", 8, ["state_conflict"])


def test_a_key_that_is_taken_while_it_publishes_is_told(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an upload that is in between: after the rows were staged, and before they are published."""
    pipeline.dataset()
    upload_id = pipeline.create(CLEAN, on_error="abort")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    (message,) = pipeline.messages("settle")
    pipeline.run(HEADER + b"u3@x.org,First,0\n")
    onward(settle.contested(message))
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"], upload["rejected"]) == ("failed", "rows_rejected", 1)
    (reject,) = pipeline.rejects(upload_id)
    assert (reject["row"], reject["errors"][0]["code"]) == (4, "duplicate_in_db")
    assert len(pipeline.rows()) == 1


def test_a_row_whose_target_goes_before_it_is_published_is_rejected(pipeline: Pipeline) -> None:
    pipeline.dataset()
    pipeline.run(HEADER + b"a@x.org,A,1\nb@x.org,B,2\n")
    fields = [{"name": "n", "type": "integer"}, {"name": "who", "type": "string"}]
    keys = [{"fields": "who", "reference": {"resource": "contacts", "fields": "email"}}]
    pipeline.dataset({"fields": fields, "foreignKeys": keys}, "visits")
    upload_id = pipeline.create(b"n,who\n1,a@x.org\n2,b@x.org\n3,\n", "visits", max_errors=1)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.sql(f"DELETE FROM data.d_{number_of(pipeline, 'contacts')} WHERE email = 'b@x.org'")
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 2, 1)
    (reject,) = pipeline.rejects(upload_id)
    assert reject["errors"] == [
        {"column": "who", "code": "foreign_key_missing", "detail": '"b@x.org" is not in dataset "contacts" (email)'}
    ]


def number_of(pipeline: Pipeline, name: str) -> int:
    (row,) = pipeline.sql("SELECT number FROM rowmill.dataset WHERE tenant = %s AND name = %s", pipeline.tenant, name)
    number: int = row["number"]
    return number


@pytest.mark.parametrize("length", [300, 4500])
def test_keys_that_no_index_takes_are_found_before_anything_is_published(pipeline: Pipeline, length: int) -> None:
    long = os.urandom(length).hex().encode()
    pipeline.dataset()
    upload = pipeline.run(HEADER + b"a@x.org,A,1\n" + long + b",B,2\nc@x.org,C,3\n", max_errors=1)
    refused = length > 300
    assert (upload["loaded"], upload["rejected"]) == ((2, 1) if refused else (3, 0))
    assert [one["errors"][0]["code"] for one in pipeline.rejects(upload["id"])] == ["db_rejected"] * refused


@pytest.mark.parametrize(
    "more", [{"partition_by": {"field": "email", "hash": 3}}, {"identity": "id"}], ids=["partitions", "identity"]
)
def test_tables_of_every_kind_are_published_into(pipeline: Pipeline, more: dict[str, object]) -> None:
    fields = [{k: v for k, v in field.items() if k != "constraints"} for field in CONTACTS["fields"]]
    pipeline.dataset({"fields": fields, **more})
    upload = pipeline.run(CLEAN, on_error="abort")
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", 8, 8)
    assert "id" not in more.values() or [row["id"] for row in pipeline.rows()] == list(range(1, 9))


def test_a_file_without_a_record_is_published_too(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(HEADER, on_error="abort")
    assert (upload["state"], upload["rows_total"], stages(pipeline)) == ("completed", 0, [])


def test_a_record_is_in_when_all_are(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    upload_id = pipeline.create(CLEAN + b",Bad,1\n", max_errors=1)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert report.record(pipeline.tenant, upload_id, "1")["state"] == "processing"
    pipeline.settle()
    first = report.record(pipeline.tenant, upload_id, "1")
    assert (first["state"], first["outcome"]) == ("success", "written")
    assert report.record(pipeline.tenant, upload_id, "9")["state"] == "failed"
    failed = pipeline.run(CLEAN + b",Bad,1\n", on_error="abort")
    assert report.record(pipeline.tenant, failed["id"], "1")["state"] == "unprocessed"
    assert report.record(pipeline.tenant, failed["id"], "9")["state"] == "failed"


def test_an_undo_tells_neither_that_a_record_was_in_nor_that_it_is_not_there(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    failed = pipeline.run(CLEAN + b",Bad,1\n", on_error="abort")["id"]
    parent = pipeline.run(CLEAN.replace(b"U,0", b"U,x"))["id"]
    retried = retry(pipeline, parent, b"_row,email,name,age\n1,u0@x.org,U,0\n", on_error="abort")["id"]
    assert pipeline.revert(failed)["unprocessed"] == 8
    assert report.record(pipeline.tenant, failed, "1")["state"] == "unprocessed"
    with monkeypatch.context() as patch:
        patch.setattr(undo, "_work", lambda *_: 1 / 0)
        pipeline.ask_revert(retried)
        (message,) = pipeline.messages("settle")
        for _ in range(MAX_ATTEMPTS):
            with pytest.raises(Unavailable):
                undo.rows(message)
        onward(undo.rows(message))
    assert (pipeline.upload(retried)["error"]["code"], len(pipeline.rows())) == ("revert_failed", 8)
    assert report.record(pipeline.tenant, retried, "1")["outcome"] == "loaded"
    assert pipeline.upload(parent)["resolved"] == 1


def test_a_retry_that_fails_resolves_no_reject(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(HEADER + b",Bad,1\n,Bad,2\n")
    body = corrected(pipeline, parent["id"], lambda rows: rows[0].update(email="a@x.org"))
    child = retry(pipeline, parent["id"], body, on_error="abort")
    assert (child["state"], child["rejected"]) == ("failed", 1)
    assert pipeline.upload(parent["id"])["resolved"] == 0
    child = retry(pipeline, parent["id"], body, max_errors=1)
    assert (child["state"], pipeline.upload(parent["id"])["resolved"]) == ("completed_with_errors", 1)


def test_what_is_visible_is_nothing_or_all(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(CLEAN, on_error="abort", on_drift="warn")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.sql("UPDATE rowmill.upload SET projected_at = '-infinity'")
    pipeline.sweep()
    assert pipeline.upload(upload_id)["rows_visible"] == 0
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    assert (upload["rows_visible"], upload["drift"]["compared_with"]) == (8, 0)
    later = pipeline.run(HEADER + b"".join(b"w%d@x.org,,\n" % n for n in range(8)), on_error="abort", on_drift="warn")
    assert (later["state"], later["drift"]["compared_with"]) == ("completed", 1)


def test_what_was_published_can_be_undone(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    pipeline.run(OLD)
    upload = pipeline.run(CLEAN + b"c@x.org,New,9\n", on_error="abort")
    assert (upload["loaded"], upload["updated"]) == (8, 1)
    pipeline.revert(upload["id"])
    assert pipeline.upload(upload["id"])["state"] == "reverted"
    assert [row["name"] for row in pipeline.rows()] == ["Old"]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are large enough for their stages to become tables."""
    monkeypatch.setattr(publishing, "TAKEN_ROWS", 1)


def made_of(pipeline: Pipeline, number: int) -> dict[str, list[object]]:
    """What a dataset's table is, but for its rows: columns, rules, indexes, whose it is and who may do what."""
    here = f"data.d_{number}"
    asked = {
        "table": "SELECT relowner, relkind, relacl::text FROM pg_class WHERE oid = %s::regclass",
        "columns": "SELECT attname, atttypid, attnotnull, attacl::text FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        "rules": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass ORDER BY 1",
        "indexes": "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass ORDER BY 1",
        "views": "SELECT DISTINCT ev_class::regclass::text, relacl::text FROM pg_depend JOIN pg_rewrite r ON r.oid = objid"
        " JOIN pg_class v ON v.oid = ev_class WHERE refobjid = %s::regclass ORDER BY 1",
    }
    return {what: [tuple(row.values()) for row in pipeline.sql(how, here)] for what, how in asked.items()}


def stage_is_taken(pipeline: Pipeline, upload_id: str) -> bool:
    """Settle; whether the upload's stage is its dataset's table afterwards."""
    (row,) = pipeline.sql(
        "SELECT dataset, to_regclass(format('stage.u_%%s', number))::oid AS stage FROM rowmill.upload WHERE upload_id = %s",
        upload_id,
    )
    pipeline.settle()
    (table,) = pipeline.sql("SELECT %s::regclass::oid AS id", f"data.d_{row['dataset']}")
    return bool(table["id"] == row["stage"])


def staged(pipeline: Pipeline, body: bytes, dataset: str = "contacts", **options: Any) -> str:
    """An upload of which every row is staged."""
    upload_id = pipeline.create(body, dataset, **options)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    return upload_id


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    "schema",
    [
        CONTACTS,
        {**CONTACTS, "primaryKey": "email", "indexes": [["age"], ["name", "age"]]},
        TWO_KEYS,
        {"fields": [{"name": "email", "type": "string", "format": "email"}, {"name": "name"}, {"name": "age"}]},
    ],
    ids=["key", "primary key and indexes", "two keys", "no key"],
)
def test_the_stage_of_a_large_file_becomes_an_empty_table_and_all_of_it_is_as_it_was(
    pipeline: Pipeline, schema: dict[str, Any]
) -> None:
    pipeline.dataset(schema)
    number = number_of(pipeline, "contacts")
    before = made_of(pipeline, number)
    names = [field["name"] for field in schema["fields"]]
    body = ",".join(names).encode() + b"\n" + b"".join(b"%d,u%d@x.org,%d\n" % (n, n, n) for n in range(8))
    body = body if schema is TWO_KEYS else CLEAN
    upload_id = staged(pipeline, body, on_error="abort")
    assert stage_is_taken(pipeline, upload_id)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], len(pipeline.rows())) == ("completed", 8, 8)
    assert adds_up(upload) and stages(pipeline) == []
    assert made_of(pipeline, number) == before
    assert len(pipeline.sql(f'SELECT FROM "{pipeline.tenant}".contacts')) == 8


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_where_a_large_file_repeats_keys_the_rows_are_those_of_any_other(pipeline: Pipeline, mode: str) -> None:
    pipeline.dataset(mode=mode)
    upload_id = staged(pipeline, CLEAN + b"u3@x.org,Again,33\n", max_errors=1)
    assert stage_is_taken(pipeline, upload_id) == (
        mode == "insert"
    )  # of the others one line wins, which the insert finds
    upload = pipeline.upload(upload_id)
    counts = tuple(upload[name] for name in ("loaded", "updated", "skipped", "rejected"))
    assert counts == {"insert": (8, 0, 0, 1), "skip": (8, 0, 1, 0), "upsert": (8, 1, 0, 0)}[mode]
    (row,) = [row for row in pipeline.rows() if row["email"] == "u3@x.org"]
    assert row["age"] == (33 if mode == "upsert" else 3)


@pytest.mark.usefixtures("large")
def test_a_table_that_gets_a_row_at_the_last_moment_is_published_into(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN, on_error="abort")
    real = publish.count

    def by_then(*arguments: Any) -> Any:
        pipeline.sql(
            f"INSERT INTO data.d_{number_of(pipeline, 'contacts')} VALUES ('z@x.org', 'Z', 26, 0) ON CONFLICT DO NOTHING"
        )
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "count", by_then)
        assert not stage_is_taken(pipeline, upload_id)
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", 9)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    "more",
    [
        "GRANT SELECT ON {} TO pg_monitor",
        "CREATE TRIGGER t BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE STATISTICS data.s ON name, age FROM {}",
        "GRANT SELECT (name) ON {} TO PUBLIC",
        "ALTER TABLE {} SET (fillfactor = 70)",
        "ALTER TABLE {} ALTER name SET STATISTICS 500",
        "CREATE VIEW data.names WITH (security_barrier) AS SELECT name FROM {}",
        "CREATE VIEW data.names AS SELECT name FROM {}",
        "CREATE MATERIALIZED VIEW data.names AS SELECT name FROM {}",
        "CREATE UNIQUE INDEX ON {} (name, age)",
        "ALTER TABLE {} ADD EXCLUDE USING btree (age WITH =)",
        "ALTER TABLE {} ALTER name SET DEFAULT 'nobody'",
        "CREATE RULE r AS ON DELETE TO {} DO ALSO NOTIFY gone",
    ],
)
def test_a_table_of_which_somebody_has_made_more_stays(pipeline: Pipeline, more: str) -> None:
    pipeline.dataset()
    pipeline.sql(more.format(f"data.d_{number_of(pipeline, 'contacts')}"))
    upload_id = staged(pipeline, CLEAN, on_error="abort")
    assert not stage_is_taken(pipeline, upload_id)
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", 8)


@pytest.mark.usefixtures("large")
def test_of_two_large_files_for_an_empty_table_one_becomes_it_and_the_other_goes_in(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other comes while the first has its indexes, which are called as the table's, and is not the table yet."""
    pipeline.dataset()
    first = staged(pipeline, CLEAN, on_error="abort")
    second = staged(pipeline, CLEAN.replace(b"u", b"w"), on_error="abort")
    slow, quick = pipeline.messages("settle")

    def gone(*_: Any, **__: Any) -> None:
        raise Unavailable("database_unavailable", "")

    with monkeypatch.context() as patch, suppress(Unavailable):
        patch.setattr(publishing, "_end", gone)
        settle.contested(slow)
    onward(settle.contested(quick))
    assert (pipeline.upload(second)["state"], len(pipeline.rows())) == ("completed", 8)
    onward(settle.contested(slow))
    assert (pipeline.upload(first)["state"], len(pipeline.rows())) == ("completed", 16)
    assert stages(pipeline) == []


@pytest.mark.usefixtures("large")
def test_who_reads_a_view_of_a_table_for_which_a_stage_waits_gets_an_answer(pipeline: Pipeline) -> None:
    """Such a reader holds the view, and waits behind the stage for the table."""
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN, on_error="abort")
    answers: list[object] = []
    with psycopg.connect(pipeline.url) as long, psycopg.connect(pipeline.url) as reader:
        long.execute(f"SELECT FROM data.d_{number_of(pipeline, 'contacts')}")

        def read() -> None:
            time.sleep(0.6)
            answers.extend(reader.execute(f'SELECT count(*) FROM "{pipeline.tenant}".contacts'))

        def leave() -> None:
            time.sleep(1.2)
            long.rollback()

        others = [threading.Thread(target=each) for each in (read, leave)]
        for each in others:
            each.start()
        pipeline.settle()
        for each in others:
            each.join()
    assert answers in ([(0,)], [(8,)])
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", 8)


@pytest.mark.usefixtures("large")
def test_a_row_by_hand_is_made_while_a_stage_is_about_to_become_the_table(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a row is in the table before its change is counted."""
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN, on_error="abort")
    monkeypatch.setattr(changes, "SLOTS", 1)
    real = stages_of.take
    made: list[object] = []

    def make() -> None:
        row = {"email": "hand@x.org", "name": "H", "age": 1}
        made.append(table_rows.create(pipeline.tenant, "contacts", row)[0])
        connection.close()

    making = threading.Thread(target=make)

    def take(db: connection.Connection, number: int) -> None:
        db.execute("SELECT 1").fetchone()  # all before it is done
        making.start()
        making.join(0.5)
        real(db, number)

    with monkeypatch.context() as patch:
        patch.setattr(stages_of, "take", take)
        pipeline.settle()
    making.join()
    assert made == ["/v1/datasets/contacts/rows/hand@x.org"]
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", 9)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("looks", [False, True], ids=["dressed", "searched"])
def test_who_cancels_does_not_wait_for_a_stage_that_is_being_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, looks: bool
) -> None:
    """Of a large file that takes minutes, and longer than a request may."""
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN + b"u3@x.org,Again,33\n" * looks, max_errors=1)
    module, name = (publish, "find_clashes") if looks else (stages_of, "dress")
    real = getattr(module, name)
    seconds: list[float] = []

    def cancel() -> None:
        begun = time.monotonic()
        onward(control.cancel(pipeline.tenant, upload_id))
        seconds.append(time.monotonic() - begun)
        connection.close()

    canceling = threading.Thread(target=cancel)

    def slow(db: connection.Connection, of: Any) -> None:
        real(db, of)
        db.execute("SELECT 1").fetchone()
        canceling.start()
        canceling.join(3)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, slow)
        pipeline.settle()
    canceling.join()
    assert seconds and seconds[0] < 3
    assert (pipeline.upload(upload_id)["state"], pipeline.rows(), stages(pipeline)) == ("canceled", [], [])


@pytest.mark.usefixtures("large")
def test_who_has_a_snapshot_from_between_two_chunks_sees_none_of_the_rows(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looked at the table, too, holds it; who has not would find the stage under its name, and the first chunk in it."""
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    upload_id = pipeline.create(CLEAN, on_error="abort")
    pipeline.split(upload_id)
    first, *others = pipeline.messages()
    pipeline.load([first])
    with psycopg.connect(pipeline.url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1")
        pipeline.load(others)
        assert not stage_is_taken(pipeline, upload_id)
        assert reader.execute(f'SELECT count(*) FROM "{pipeline.tenant}".contacts').fetchall() == [(0,)]
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", 8)


@pytest.mark.usefixtures("large")
def test_two_stages_of_tables_that_refer_to_each_other_are_published(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has read the table that the other one is to become."""
    key = {"fields": "name", "reference": {"resource": "contacts", "fields": "email"}}
    pipeline.dataset()
    pipeline.dataset({**CONTACTS, "foreignKeys": [key]}, "visits")
    pipeline.dataset({**CONTACTS, "foreignKeys": [{**key, "reference": {**key["reference"], "resource": "visits"}}]})
    contacts = staged(pipeline, HEADER + b"a@x.org,,1\n", on_error="abort")
    visits = staged(pipeline, HEADER + b"a@x.org,,1\n", "visits", on_error="abort")
    both, real = threading.Barrier(2), stages_of.take

    def at_once(*arguments: Any) -> None:
        both.wait(20)
        real(*arguments)

    def settled(message: dict[str, Any]) -> None:
        onward(settle.contested(message))
        connection.close()

    with monkeypatch.context() as patch:
        patch.setattr(stages_of, "take", at_once)
        settlers = [threading.Thread(target=settled, args=(each,)) for each in pipeline.messages("settle")]
        for each in settlers:
            each.start()
        for each in settlers:
            each.join()
    assert [pipeline.upload(each)["state"] for each in (contacts, visits)] == ["completed", "completed"]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(("before", "by_then"), [([], [["age"]]), ([["age"]], [])], ids=["declared", "given up"])
def test_an_index_that_is_declared_once_the_stage_is_dressed_is_the_tables(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, before: list[list[str]], by_then: list[list[str]]
) -> None:
    """Which indexes there are may change while uploads are under way."""
    pipeline.dataset({**CONTACTS, "indexes": before})
    number = number_of(pipeline, "contacts")
    upload_id = staged(pipeline, CLEAN, on_error="abort")
    real = publishing._end
    made: list[object] = []

    def declared() -> None:
        pipeline.dataset({**CONTACTS, "indexes": by_then})
        connection.close()

    def after(*arguments: Any, **more: Any) -> bool:
        if not made:
            declaring = threading.Thread(target=declared)
            declaring.start()
            declaring.join()
            made.extend(made_of(pipeline, number)["indexes"])
        return real(*arguments, **more)

    monkeypatch.setattr(publishing, "_end", after)
    assert not stage_is_taken(pipeline, upload_id)
    assert made_of(pipeline, number)["indexes"] == made
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", 8)


@pytest.mark.usefixtures("large")
def test_a_table_that_was_a_stage_takes_files_rows_by_hand_other_columns_and_an_undo(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN, on_error="abort")
    assert stage_is_taken(pipeline, upload_id)
    second = pipeline.run(HEADER + b"u1@x.org,Twice,1\nnew@x.org,New,2\n")
    assert (second["loaded"], second["rejected"]) == (1, 1)
    wider = {"fields": [*CONTACTS["fields"], {"name": "note", "type": "string"}]}
    pipeline.dataset(wider)
    with acting("api"):
        table_rows.create(
            pipeline.tenant, "contacts", {"email": "hand@x.org", "name": "H", "age": 1, "note": "x"}, None
        )
    assert len(pipeline.rows()) == 10
    pipeline.revert(upload_id)
    assert sorted(row["email"] for row in pipeline.rows()) == ["hand@x.org", "new@x.org"]


@pytest.mark.usefixtures("large")
def test_a_settler_that_is_killed_once_the_stage_is_dressed_is_followed_by_another(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload_id = staged(pipeline, CLEAN + b"u3@x.org,Again,33\n", max_errors=1)
    (message,) = pipeline.messages("settle")

    def killed(*_: Any) -> None:
        connection.close()
        raise SystemExit

    with monkeypatch.context() as patch, suppress(SystemExit):
        patch.setattr(publish, "settle_taken", killed)
        settle.contested(message)
    assert pipeline.rows() == []
    onward(settle.contested(message))
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 8, 1)
    assert len(pipeline.rows()) == 8 and stages(pipeline) == []


def test_the_bench_of_publications_can_be_run(pipeline: Pipeline) -> None:
    """It writes what it measures into the tables by itself, past the stages."""
    pipeline.sql("INSERT INTO rowmill.tenant (tenant) VALUES ('ten_bench')")
    found = all_at_once._measured(50, has_key=True)
    assert {"empty", "as many", "empty, look"} < found.keys()
