"""Undo: the table is what it would be if the upload had never been, but for what others did since."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from chalicelib import catalog, control, load, mend, receipts, report, table_rows, undo
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused, Unavailable
from chalicelib.journey import RETENTION
from chalicelib.paging import Asked
from chalicelib.postgres import connection
from tests.stages.conftest import CONTACTS, Pipeline, consulted, cut_into, poison
from tests.stages.test_retention import age
from tests.stages.test_retries import retry
from tests.stages.test_types import KINDS, SCHEMA

HEAD = b"email,name,age\n"


def file(*rows: tuple[str, str, int]) -> bytes:
    return HEAD + b"".join(b"%b,%b,%d\n" % (key.encode(), name.encode(), age) for key, name, age in rows)


def number(pipeline: Pipeline, name: str = "contacts") -> int:
    (found,) = pipeline.sql(
        "SELECT number FROM rowmill.dataset WHERE name = %s AND tenant = %s AND deleted_at IS NULL",
        *(name, pipeline.tenant),
    )
    return int(found["number"])


def table(pipeline: Pipeline, name: str = "contacts") -> list[str]:
    """All that is in the table, byte for byte, lineage too."""
    return [
        row["t"] for row in pipeline.sql(f"SELECT t::text AS t FROM data.d_{number(pipeline, name)} t ORDER BY _row")
    ]


def befores_kept(pipeline: Pipeline, name: str = "contacts") -> int:
    return len(pipeline.sql(f"SELECT _row FROM data.d_{number(pipeline, name)}_before"))


def told(upload: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(upload[name] for name in ("state", "reverted_rows", "restored_rows", "conflicts"))


def at(pipeline: Pipeline, key: str, name: str = "contacts") -> Addressed:
    return Addressed(pipeline.tenant, name, key)


def test_what_an_upload_inserted_goes_and_what_it_wrote_over_is_what_it_was(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2)))
    before = table(pipeline)
    second = pipeline.run(file(("b", "Bert", 3), ("c", "Cy", 4)))
    assert [row["name"] for row in pipeline.rows()] == ["Ada", "Bert", "Cy"]
    undone = pipeline.revert(second["id"])
    assert (told(undone), undone["status"], undone["percent"]) == (("reverted", 1, 1, 0), "canceled", 100.0)
    assert (undone["loaded"], undone["updated"], undone["error"]) == (1, 1, None)
    assert table(pipeline) == before
    assert befores_kept(pipeline) == 0
    assert told(pipeline.revert(second["id"], force=True)) == told(undone)


SPECIAL = {
    "string": '"a\tb\\N ""q"" \u00e9\u2028 \r\nx"',
    "integer": "-9223372036854775808",
    "number": "1e-7",
    "boolean": "true",
    "date": "9999-12-31",
    "datetime": "2024-02-29T23:59:59.999999Z",
    "time": "23:59:59",
    "year": "9999",
    "duration": "P1Y2M3DT4H5M6.789S",
    "object": '"{""b"": 1, ""a"": [1.10, null]}"',
    "array": '"[1, ""\\u00e9"", {}]"',
    "geopoint": '"-179.5, 89.25"',
}


def test_a_row_is_restored_with_every_type_as_it_was(pipeline: Pipeline) -> None:
    """Values as text, in the table before and after, and null in each column once."""
    pipeline.dataset(SCHEMA | {"primaryKey": "id"}, "typed", mode="upsert")
    names = ["id", *KINDS]
    rows = [["1", *(SPECIAL[kind] for kind in KINDS)], *([str(n + 2), *([""] * len(KINDS))] for n in range(3))]
    for place, kind in enumerate(KINDS):
        rows.append([str(100 + place), *(SPECIAL[one] if one == kind else "" for one in KINDS)])
    body = "\n".join([",".join(names), *(",".join(row) for row in rows)]).encode()
    first = pipeline.run(body, "typed")
    assert first["rejected"] == 0, pipeline.rejects(first["id"])
    before = table(pipeline, "typed")
    others = "\n".join([",".join(names), *(",".join([row[0], "x", *([""] * (len(KINDS) - 1))]) for row in rows)])
    second = pipeline.run(others.encode(), "typed")
    assert second["updated"] == first["loaded"]
    assert told(pipeline.revert(second["id"])) == ("reverted", second["loaded"], second["updated"], 0)
    assert table(pipeline, "typed") == before


def test_rows_that_were_edited_or_replaced_since_are_left_and_listed(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    first = pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2), ("c", "Cy", 3), ("d", "Di", 4)))
    second = pipeline.run(file(("b", "Bert", 5)))
    table_rows.change(at(pipeline, "c"), {"age": 6}, None)
    table_rows.remove(at(pipeline, "d"), None)
    assert told(pipeline.revert(first["id"])) == ("reverted", 1, 0, 3)
    assert [(row["name"], row["age"]) for row in pipeline.rows()] == [("Bert", 5), ("Cy", 6)]
    assert pipeline.conflicts(first["id"]) == [
        {"row": 2, "why": "replaced", "by": second["id"], "key": {"email": "b"}},
        {"row": 3, "why": "edited", "by": None, "key": {"email": "c"}},
        {"row": 4, "why": "edited", "by": None, "key": {"email": "d"}},
    ]
    assert told(pipeline.revert(second["id"])) == ("reverted", 1, 0, 0)
    assert [row["name"] for row in pipeline.rows()] == ["Cy"]


def test_with_force_they_are_what_they_were_before_it(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2), ("c", "Cy", 3)))
    before = table(pipeline)
    second = pipeline.run(file(("a", "A", 4), ("b", "B", 5), ("c", "C", 6), ("d", "D", 7)))
    third = pipeline.run(file(("a", "AA", 8), ("d", "DD", 9)))
    table_rows.change(at(pipeline, "a"), {"age": 10}, None)
    table_rows.change(at(pipeline, "b"), {"email": "z"}, None)
    table_rows.remove(at(pipeline, "c"), None)
    assert told(pipeline.revert(second["id"], force=True)) == ("reverted", 1, 3, 0)
    assert table(pipeline) == before
    assert told(pipeline.revert(third["id"])) == ("reverted", 0, 0, 0)
    assert (table(pipeline), befores_kept(pipeline)) == (before, 0)


def test_nothing_is_kept_of_a_row_by_hand_that_a_hand_wrote_over(pipeline: Pipeline) -> None:
    """Once the upload between them is undone. It would be kept for good: no upload is there with which it might go."""
    pipeline.dataset(mode="upsert")
    first = pipeline.run(file(("a", "Ada", 1)))
    table_rows.change(at(pipeline, "a"), {"name": "by hand"}, None)
    for email in ("b", "c"):
        table_rows.create(pipeline.tenant, "contacts", {"email": email, "name": "by hand", "age": 1})
    second = pipeline.run(file(("a", "Ann", 2), ("b", "Bob", 2), ("c", "Cid", 2)))
    for email in ("a", "b"):
        table_rows.change(at(pipeline, email), {"name": "by hand again"}, None)
    table_rows.remove(at(pipeline, "c"), None)
    assert told(pipeline.revert(second["id"])) == ("reverted", 0, 0, 3)
    assert befores_kept(pipeline) == 1  # what the first upload has brought, under what is there
    assert told(pipeline.revert(first["id"], force=True)) == ("reverted", 1, 0, 0)
    assert ([row["email"] for row in pipeline.rows()], befores_kept(pipeline)) == (["b"], 0)


def test_a_row_whose_key_is_taken_by_now_is_left_even_with_force(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    first = pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2)))
    second = pipeline.run(file(("a", "A", 3), ("b", "B", 4)))
    table_rows.change(at(pipeline, "a"), {"email": "z"}, None)
    table_rows.create(pipeline.tenant, "contacts", {"email": "a", "name": "New"})
    assert told(pipeline.revert(second["id"], force=True)) == ("reverted", 0, 1, 1)
    assert pipeline.conflicts(second["id"]) == [{"row": 1, "why": "taken", "by": None, "key": {"email": "a"}}]
    assert sorted((row["email"], row["name"]) for row in pipeline.rows()) == [("a", "New"), ("b", "Bob"), ("z", "A")]
    assert told(pipeline.revert(first["id"])) == ("reverted", 1, 0, 1)


def test_a_row_that_meets_the_rules_no_more_is_left(pipeline: Pipeline) -> None:
    """Addresses may not be blank any more; the row that was written over is."""
    pipeline.dataset(
        {"fields": [{"name": "id", "type": "integer"}, {"name": "mail"}], "primaryKey": "id"}, "m", "upsert"
    )
    pipeline.run(b'id,mail\n1," "\n2,b@x.org\n3,c@x.org\n', "m")
    second = pipeline.run(b"id,mail\n1,y@x.org\n2,y@x.org\n3,y@x.org\n", "m")
    mail = {"name": "mail", "format": "email"}
    pipeline.dataset(
        {"fields": [{"name": "id", "type": "integer"}, mail, {"name": "more"}], "primaryKey": "id"}, "m", "upsert"
    )
    assert told(pipeline.revert(second["id"])) == ("reverted", 0, 2, 1)
    assert pipeline.conflicts(second["id"]) == [{"row": 1, "why": "refused", "by": None, "key": {"id": 1}}]
    assert [(row["id"], row["mail"], row["more"]) for row in pipeline.rows("m")] == [
        *((2, "b@x.org", None), (3, "c@x.org", None), (1, "y@x.org", None))
    ]


@pytest.mark.parametrize("force", [False, True])
def test_a_row_that_others_refer_to_is_left(pipeline: Pipeline, force: bool) -> None:
    pipeline.dataset(CONTACTS, mode="upsert")
    refers = {"fields": "who", "reference": {"resource": "contacts", "fields": "email"}}
    pipeline.dataset({"fields": [{"name": "who"}], "foreignKeys": [refers]}, "orders")
    first = pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2), ("c", "Cy", 3)))
    pipeline.run(b"who\na\nc\n", "orders")
    second = pipeline.run(file(("c", "Cyd", 4)))
    assert told(pipeline.revert(first["id"], force=force)) == ("reverted", 1, 0, 2)
    assert [(one["row"], one["why"]) for one in pipeline.conflicts(first["id"])][:1] == [(1, "referenced")]
    assert [row["name"] for row in pipeline.rows()] == ["Ada", "Cyd"]
    assert told(pipeline.revert(second["id"], force=force)) == ("reverted", 0, 0, 1)


def test_a_chunk_that_is_delivered_late_loads_nothing_into_what_is_undone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    upload_id, messages = pipeline.begin(file(("a", "Ada", 1), ("b", "Bob", 2), ("c", "Cy", 3)))
    pipeline.load(messages[:2])
    pipeline.cancel(upload_id)
    pipeline.ask_revert(upload_id)
    pipeline.load(messages)
    pipeline.settle()
    pipeline.load(messages)
    pipeline.split(upload_id)
    assert told(pipeline.upload(upload_id)) == ("reverted", 2, 0, 0)
    assert pipeline.rows() == []


def test_a_dead_chunk_is_not_redriven_and_a_late_burial_leaves_the_undoing_alone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    upload_id, messages = pipeline.begin(file(("a", "Ada", 1), ("b", "Bob", 2)))
    with monkeypatch.context() as patch:
        poison(patch, 2)
        for _ in range(4):
            for message in messages:
                with suppress(Unavailable):
                    pipeline.load([message])
    assert pipeline.upload(upload_id)["state"] == "completed_with_errors"
    pipeline.ask_revert(upload_id)
    for message in (messages[1], {"upload": messages[1]["upload"]}, pipeline.event(upload_id)):
        mend.bury(message)
    pipeline.settle()
    assert told(pipeline.upload(upload_id)) == ("reverted", 1, 0, 0)
    for ask in (control.redrive, control.pause, control.cancel):
        with pytest.raises(Refused, match="is reverted"):
            ask(pipeline.tenant, upload_id)


def test_an_undoing_that_keeps_failing_is_given_up_by_name_and_goes_on_when_asked_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    pipeline.dataset()
    upload_id = pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2), ("c", "Cy", 3)))["id"]
    pipeline.ask_revert(upload_id)
    (message,) = pipeline.messages("settle")
    left = pipeline.sql("SELECT * FROM rowmill.conflict")
    pipeline.sql("CREATE FUNCTION data.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
    try:
        pipeline.sql(
            f"CREATE TRIGGER no BEFORE DELETE ON data.d_{number(pipeline)} FOR EACH ROW WHEN (OLD.email = 'b')"
            " EXECUTE FUNCTION data.no()"
        )
        for _ in range(5):
            with pytest.raises(Unavailable, match="Undoing failed"):
                undo.rows(message)
        undo.rows(message)
    finally:
        pipeline.sql("DROP FUNCTION data.no CASCADE")
    pipeline.sweep()
    failed = pipeline.upload(upload_id)
    assert (told(failed), failed["error"]["code"]) == (("failed", 1, 0, 0), "revert_failed")
    pipeline.attest()
    sealed = receipts.get(pipeline.tenant, upload_id, Asked({}, None, 100))
    assert sealed
    assert (sealed["receipt"]["state"], sealed["receipt"]["undone"]["reverted_rows"]) == ("failed", 1)
    with pytest.raises(Refused, match="is failed"):
        control.redrive(pipeline.tenant, upload_id)
    assert told(pipeline.revert(upload_id)) == ("reverted", 3, 0, 0)
    assert (pipeline.rows(), left) == ([], [])


def test_what_is_kept_no_longer_cannot_be_undone(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    first = pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2)))
    second = pipeline.run(file(("a", "A", 3)))
    table_rows.change(at(pipeline, "b"), {"age": 9}, None)
    assert befores_kept(pipeline) == 2
    age(pipeline, second["id"], RETENTION["standard"].files_days + 1)
    pipeline.sweep()
    assert befores_kept(pipeline) == 1
    with pytest.raises(Refused) as refused:
        pipeline.ask_revert(second["id"])
    assert (refused.value.code, refused.value.status) == ("befores_expired", 409)
    age(pipeline, first["id"], RETENTION["standard"].files_days + 1)
    pipeline.sweep()
    assert befores_kept(pipeline) == 0


def test_an_undone_upload_can_be_deleted_and_its_file_sent_again(pipeline: Pipeline) -> None:
    pipeline.dataset()
    body = file(("a", "Ada", 1))
    first = pipeline.run(body)
    with pytest.raises(Refused, match="sent before"):
        pipeline.create(body, on_duplicate_file="reject")
    pipeline.revert(first["id"])
    assert pipeline.run(body, on_duplicate_file="reject")["state"] == "completed"
    pipeline.delete(first["id"])
    pipeline.sweep()
    assert [row["name"] for row in pipeline.rows()] == ["Ada"]
    assert pipeline.sql("SELECT * FROM rowmill.conflict") == []


def test_a_retry_stays_when_its_first_upload_is_undone_and_resolves_nothing_once_it_is_itself(
    pipeline: Pipeline,
) -> None:
    pipeline.dataset()
    first = pipeline.run(file(("a", "Ada", 1)) + b"b,Bob,old\n")
    child = retry(pipeline, first["id"], file(("b", "Bob", 2)))
    assert pipeline.upload(first["id"])["resolved"] == 1
    pipeline.revert(first["id"])
    assert [row["name"] for row in pipeline.rows()] == ["Bob"]
    pipeline.revert(child["id"])
    assert (pipeline.rows(), pipeline.upload(first["id"])["resolved"]) == ([], 0)


def test_rows_of_all_partitions_are_restored_where_they_were(pipeline: Pipeline) -> None:
    fields = [{"name": "id", "type": "integer"}, {"name": "day", "type": "date"}, {"name": "n", "type": "integer"}]
    parts = {"field": "id", "hash": 4}
    pipeline.dataset({"fields": fields, "primaryKey": "id", "partition_by": parts}, "parted", "upsert")
    lines = b"".join(b"%d,2024-01-0%d,%d\n" % (n, n % 9 + 1, n) for n in range(40))
    pipeline.run(b"id,day,n\n" + lines, "parted")
    before = table(pipeline, "parted")
    second = pipeline.run(b"id,day,n\n" + b"".join(b"%d,,0\n" % n for n in range(20, 60)), "parted")
    assert told(pipeline.revert(second["id"])) == ("reverted", 20, 20, 0)
    assert table(pipeline, "parted") == before


def test_a_row_with_a_number_of_its_own_is_told_by_it_and_comes_back_under_it(pipeline: Pipeline) -> None:
    pipeline.dataset({"fields": [{"name": "title"}], "identity": "id"}, "books")
    first = pipeline.run(b"title\na\nb\nc\n", "books")
    table_rows.change(at(pipeline, "2", "books"), {"title": "z"}, None)
    assert told(pipeline.revert(first["id"])) == ("reverted", 2, 0, 1)
    assert pipeline.conflicts(first["id"]) == [{"row": 2, "why": "edited", "by": None, "key": {"id": 2}}]


def test_the_doctor_the_timeline_and_a_record_tell_of_it(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    first = pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2)) + b"c,Cy,old\n")
    second = pipeline.run(file(("b", "Bert", 3), ("d", "Di", 4)))
    pipeline.revert(second["id"])
    assert report.record(pipeline.tenant, second["id"], "1")["outcome"] == "reverted"
    assert report.record(pipeline.tenant, first["id"], "2")["outcome"] == "loaded"
    pipeline.run(file(("a", "Amy", 5)))
    pipeline.revert(first["id"])
    fates = [report.record(pipeline.tenant, first["id"], str(n)) for n in (1, 2, 3)]
    assert [(one["state"], one["outcome"]) for one in fates] == [
        *(("success", "reverted"), ("success", "reverted"), ("failed", None))
    ]
    assert consulted({})["differences"] == []
    events = report.events(pipeline.tenant, second["id"], Asked({}, None, 50)).items
    assert [(one["event"], one["state"], one["details"].get("force")) for one in events][-3:] == [
        *(("revert", None, False), ("state", "reverting", None), ("state", "reverted", None))
    ]
    told = pipeline.sql("SELECT kind FROM rowmill.outbox ORDER BY event_id")
    assert [one["kind"] for one in told].count("reverted") == 2


def test_what_was_never_split_or_not_over_is_not_undone(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(file(("a", "Ada", 1)))
    with pytest.raises(Refused, match="is awaiting_upload"):
        pipeline.ask_revert(upload_id)
    pipeline.cancel(upload_id)
    with pytest.raises(Refused, match="nothing of it was loaded") as refused:
        pipeline.ask_revert(upload_id)
    assert refused.value.status == 409
    with pytest.raises(Refused, match="no upload"):
        pipeline.ask_revert("upl_" + "0" * 26)


def test_the_schema_stays_while_an_upload_is_undone_and_a_deleted_dataset_is_not_written_to(pipeline: Pipeline) -> None:
    pipeline.dataset()
    first, second = (pipeline.run(file((key, "Ada", 1)))["id"] for key in "ab")
    pipeline.ask_revert(first)
    wider = {"fields": [*CONTACTS["fields"], {"name": "more"}]}
    with pytest.raises(Refused, match="under way"):
        pipeline.dataset(wider)
    pipeline.settle()
    pipeline.dataset(wider)
    catalog.delete(pipeline.tenant, "contacts", "request-1")
    with pytest.raises(Refused) as refused:
        pipeline.ask_revert(second)
    assert (refused.value.code, refused.value.status) == ("role_forbids", 403)
    assert pipeline.sql("SELECT relname FROM pg_class WHERE relname ~ '_before$'") == []


@pytest.mark.parametrize("force", [False, True])
def test_a_row_that_an_upload_wrote_over_which_is_deleted_since_is_told_as_replaced(
    pipeline: Pipeline, force: bool
) -> None:
    pipeline.dataset(mode="upsert")
    pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2)))
    second = pipeline.run(file(("a", "Amy", 3), ("b", "Bert", 4)))
    third = pipeline.run(file(("a", "Ann", 5)))
    pipeline.delete(third["id"])
    pipeline.sweep()
    undone = pipeline.revert(second["id"], force=force)
    assert (told(undone), undone["rows_visible"]) == (("reverted", 0, 1, 1), 1)
    assert pipeline.conflicts(second["id"]) == [{"row": 1, "why": "replaced", "by": None, "key": {"email": "a"}}]
    assert ([row["name"] for row in pipeline.rows()], befores_kept(pipeline)) == (["Bob", "Ann"], 0)


def test_rows_that_an_upsert_meets_while_they_are_undone_are_either_undone_before_or_left(pipeline: Pipeline) -> None:
    """An upsert holds a row; the undoing waits for it, and then finds the row replaced."""
    pipeline.dataset(mode="upsert")
    first = pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2)))
    pipeline.ask_revert(first["id"])
    messages = pipeline.messages("settle")
    second = pipeline.create(file(("a", "Amy", 3)))
    pipeline.split(second)
    (chunk,) = pipeline.messages()
    with psycopg.connect(pipeline.url) as holds, ThreadPoolExecutor(2) as pool:
        holds.execute(f"SELECT FROM data.d_{number(pipeline)} WHERE email = 'a' FOR UPDATE")
        loading = pool.submit(_apart, load.chunk, chunk)
        _wait_for(pipeline, 1)
        undoing = pool.submit(_apart, undo.rows, messages[0])
        _wait_for(pipeline, 2)
        holds.rollback()
        loading.result()
        undoing.result()
    pipeline.sweep()
    assert pipeline.upload(second)["state"] == "completed"
    assert told(pipeline.upload(first["id"])) == ("reverted", 1, 0, 1)
    assert [row["name"] for row in pipeline.rows()] == ["Amy"]
    assert told(pipeline.revert(second)) == ("reverted", 1, 0, 0)
    assert (pipeline.rows(), befores_kept(pipeline)) == ([], 0)


def _apart(do: Callable[[Any], Any], message: dict[str, Any]) -> None:
    """In a thread, which has a connection of its own."""
    try:
        do(message)
    finally:
        connection.close()


def _wait_for(pipeline: Pipeline, waiting: int) -> None:
    """Until so many sessions wait for a row that another one holds."""
    while len(pipeline.sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'")) < waiting:
        pass
