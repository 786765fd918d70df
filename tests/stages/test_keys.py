"""Keys that clash: inside a chunk, across chunks, with rows loaded before; in every mode and every order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any

import psycopg
import pytest

from chalicelib.postgres import connection
from tests.stages.conftest import Pipeline, cut_into, onward
from tests.stages.test_journey_in_process import adds_up

FILE = b"""email,name,age
a@x.org,A1,1
b@x.org,B2,2
a@x.org,A3,3
c@x.org,C4,4
b@x.org,B5,5
a@x.org,A6,6
"""
TWO_KEYS = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "email", "type": "string", "constraints": {"unique": True}},
        {"name": "note", "type": "string"},
    ],
    "primaryKey": "id",
}


@pytest.fixture
def one_row_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record in a chunk of its own."""
    cut_into(monkeypatch, 1)


def load_in_order(pipeline: Pipeline, body: bytes, order: list[int], dataset: str, **options: Any) -> dict[str, Any]:
    upload_id = pipeline.create(body, dataset, **options)
    pipeline.split(upload_id)
    messages = {message["chunk"]: message for message in pipeline.messages()}
    chunks = sorted(messages)
    pipeline.load([messages[chunks[place]] for place in order])
    pipeline.settle()
    return pipeline.upload(upload_id)


def outcome(pipeline: Pipeline, upload: dict[str, Any], dataset: str) -> tuple[Any, ...]:
    rejects = [
        (r["row"], r["line"], r["raw"], r["errors"][0]["column"], r["errors"][0]["code"])
        for r in pipeline.rejects(upload["id"])
    ]
    counts = tuple(upload[name] for name in ("state", "loaded", "updated", "skipped", "rejected", "unprocessed"))
    return counts, rejects, pipeline.rows(dataset), as_text(pipeline, upload["id"])


def as_text(pipeline: Pipeline, upload_id: str) -> list[str]:
    """The table and the rejects, byte for byte, as COPY writes them; the upload's own rows by their record."""
    (upload,) = pipeline.sql("SELECT number, dataset FROM rowmill.upload WHERE upload_id = %s", upload_id)
    number = upload["number"]
    table = f"""
        SELECT _row >> 32 = {number} AS own, _row & 4294967295 AS record, to_jsonb(t) - '_row'
        FROM data.d_{upload["dataset"]} t ORDER BY 1, 2
    """
    rejects = f"SELECT record, line, errors, raw FROM rowmill.reject WHERE upload = {number} ORDER BY record"
    with psycopg.connect(pipeline.url) as db, db.cursor() as cursor:
        texts = []
        for query in (table, rejects):
            with cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
                texts.append(b"".join(copy).decode())
        return texts


@pytest.mark.usefixtures("one_row_chunks")
@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_any_order_of_chunks_gives_the_same_table_and_rejects(pipeline: Pipeline, mode: str) -> None:
    orders = random.Random(7).sample(list(itertools.permutations(range(6))), 20)
    outcomes = []
    for place, order in enumerate(orders):
        name = pipeline.dataset(name=f"contacts{place}", mode=mode)
        pipeline.run(b"email,name,age\nc@x.org,Old,0\n", name)
        outcomes.append(outcome(pipeline, load_in_order(pipeline, FILE, [*order, *order[:2]], name), name))
    assert all(each == outcomes[0] for each in outcomes), orders
    counts, rejects, rows, _ = outcomes[0]
    names = [row["name"] for row in rows]
    if mode == "insert":
        assert counts == ("completed_with_errors", 2, 0, 0, 4, 0)
        assert [(row, code) for row, _, _, _, code in rejects] == [
            (3, "duplicate_in_file"),
            (4, "duplicate_in_db"),
            (5, "duplicate_in_file"),
            (6, "duplicate_in_file"),
        ]
        assert names == ["Old", "A1", "B2"]
    elif mode == "skip":
        assert counts == ("completed", 2, 0, 4, 0, 0)
        assert names == ["Old", "A1", "B2"]
    else:
        assert counts == ("completed", 2, 4, 0, 0, 0)
        assert names == ["C4", "B5", "A6"]


@pytest.mark.usefixtures("one_row_chunks")
@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_chunks_that_all_know_of_each_other_give_the_same(pipeline: Pipeline, mode: str) -> None:
    """Whatever is held back because another chunk has its key, too, even by both of them, is settled in line order."""
    found: list[Any] = []
    hashes: list[dict[str, Any]] = []  # of a file of the same rows
    for place, order in enumerate(([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2])):
        name = pipeline.dataset(name=f"contacts{place}", mode=mode)
        pipeline.run(b"email,name,age\nc@x.org,Old,0\n", name)
        upload_id = pipeline.create(FILE, name)
        pipeline.split(upload_id)
        messages = sorted(pipeline.messages(), key=lambda message: message["chunk"])
        change = "UPDATE rowmill.upload SET has_clashes = %s WHERE upload_id = %s RETURNING number"
        number = pipeline.sql(change, bool(hashes), upload_id)[0]["number"]
        for left in hashes:
            pipeline.sql(
                "INSERT INTO rowmill.key_hash VALUES (%s, %s, %s) RETURNING n", number, left["n"], left["hashes"]
            )
        pipeline.load([messages[chunk] for chunk in order])
        held = pipeline.sql("SELECT record FROM rowmill.contested WHERE upload = %s ORDER BY 1", number)
        if hashes:
            assert [row["record"] for row in held] == [1, 2, 3, 5, 6]  # all but the only one of its key
        hashes = hashes or pipeline.sql("SELECT n, hashes FROM rowmill.key_hash WHERE upload = %s", number)
        pipeline.settle()
        found.append(outcome(pipeline, pipeline.upload(upload_id), name))
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize(("records", "leaving"), [(6, []), (4, [1, 2]), (2, [1, 2, 3])])
def test_chunks_leave_hashes_of_their_keys_if_there_are_others(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, records: int, leaving: list[int]
) -> None:
    cut_into(monkeypatch, records)
    upload_id = pipeline.create(FILE, pipeline.dataset())
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    left = pipeline.sql("SELECT k.n FROM rowmill.key_hash k JOIN rowmill.upload u ON u.number = k.upload ORDER BY 1")
    assert [row["n"] for row in left] == leaving


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_one_chunk_gives_what_many_chunks_give(pipeline: Pipeline, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for place, records in enumerate((100, 4, 2, 1)):
        cut_into(monkeypatch, records)
        name = pipeline.dataset(name=f"contacts{place}", mode=mode)
        pipeline.run(b"email,name,age\nc@x.org,Old,0\n", name)
        found.append(outcome(pipeline, pipeline.run(FILE, name), name))
    assert all(each == found[0] for each in found)


@pytest.mark.usefixtures("one_row_chunks")
def test_two_unique_keys_are_settled_in_line_order(pipeline: Pipeline) -> None:
    """Row 2 falls to row 1 by id, so row 3, which shares its e-mail only with row 2, is loaded."""
    body = b"id,email,note\n1,a,first\n1,b,second\n2,b,third\n3,a,fourth\n2,c,fifth\n"
    outcomes = []
    for place, order in enumerate(itertools.permutations(range(5))):
        if place % 6:
            continue
        name = pipeline.dataset(TWO_KEYS, f"keyed{place}")
        outcomes.append(outcome(pipeline, load_in_order(pipeline, body, list(order), name), name))
    assert all(each == outcomes[0] for each in outcomes)
    counts, rejects, rows, _ = outcomes[0]
    assert counts == ("completed_with_errors", 2, 0, 0, 3, 0)
    assert [(row, column) for row, _, _, column, _ in rejects] == [(2, "id"), (4, "email"), (5, "id")]
    assert [row["note"] for row in rows] == ["first", "third"]


@pytest.mark.parametrize("keys", [[], ["email", "age"]], ids=["none", "two"])
def test_a_file_that_is_to_update_rows_is_refused_if_the_dataset_has_another_key_by_then(
    pipeline: Pipeline, keys: list[str]
) -> None:
    """It was announced for a dataset of one key, which nothing keeps from another schema until the file comes."""
    pipeline.dataset(mode="upsert")
    upload_id = pipeline.create(FILE)
    unique = {"constraints": {"unique": True}}
    fields = [{"name": name, **(unique if name in keys else {})} for name in ("email", "name", "age")]
    pipeline.dataset({"fields": fields})
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], (upload["error"] or {}).get("code")) == ("failed", "mode_invalid")


def test_a_null_in_a_unique_column_clashes_with_nothing(pipeline: Pipeline) -> None:
    name = pipeline.dataset(TWO_KEYS, "keyed")
    upload = pipeline.run(b"id,email,note\n1,,x\n2,,y\n1,,z\n", name)
    assert (upload["loaded"], upload["rejected"]) == (2, 1)


def test_the_same_file_twice_rejects_every_row_the_second_time(pipeline: Pipeline) -> None:
    pipeline.dataset()
    body = b"email,name,age\n" + b"".join(b"u%d@x.org,U,%d\n" % (i, i) for i in range(500))
    assert pipeline.run(body)["loaded"] == 500
    again = pipeline.run(body)
    assert (again["state"], again["loaded"], again["rejected"]) == ("completed_with_errors", 0, 500)
    assert {r["errors"][0]["code"] for r in pipeline.rejects(again["id"])} == {"duplicate_in_db"}
    assert len(pipeline.rows()) == 500


def test_a_file_of_one_repeated_row_loads_it_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 300)
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\n" + b"same@x.org,S,1\n" * 1000)
    assert (upload["loaded"], upload["rejected"]) == (1, 999)
    assert [r["row"] for r in pipeline.rejects(upload["id"])] == list(range(2, 1001))
    assert adds_up(upload)


def test_settling_twice_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(FILE)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    (message,) = pipeline.messages("settle")
    from chalicelib import settle

    onward(settle.contested(message))
    before = pipeline.upload(upload_id)
    onward(settle.contested(message))
    assert pipeline.upload(upload_id) == before
    assert adds_up(before)


def scans(pipeline: Pipeline, table: str) -> int:
    """How often a table has been read from end to end until now."""
    connection.connection().execute("SELECT pg_stat_force_next_flush()")
    (found,) = pipeline.sql("SELECT coalesce(sum(seq_scan), 0) AS n FROM pg_stat_all_tables WHERE relname = %s", table)
    return int(found["n"])


def contacts(numbers: Iterable[int]) -> bytes:
    return b"email,name,age\n" + b"".join(b"u%06d@x.org,U,%d\n" % (n, n) for n in numbers)


@pytest.mark.parametrize("mode", ["insert", "skip"])
def test_a_chunk_of_which_some_rows_clash_reads_of_the_table_what_it_clashes_with_and_no_more(
    pipeline: Pipeline, mode: str
) -> None:
    pipeline.dataset(mode=mode)
    pipeline.run(contacts(range(20_000)))
    pipeline.sql("ANALYZE")
    (table,) = pipeline.sql("SELECT 'd_' || max(number) AS name FROM rowmill.dataset")
    before = scans(pipeline, table["name"])
    upload = pipeline.run(contacts(range(18_000, 38_000)))
    assert (upload["loaded"], upload["skipped" if mode == "skip" else "rejected"]) == (18_000, 2000)
    assert scans(pipeline, table["name"]) == before


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_settling_reads_of_the_table_what_is_contested_and_no_more(
    pipeline: Pipeline, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 10_000)
    pipeline.dataset(mode=mode)
    upload_id = pipeline.create(contacts([*range(20_000), *range(100, 20_000, 50)]))
    pipeline.split(upload_id)
    pipeline.load(reversed(pipeline.messages()))  # so that loaded rows lose their place
    (table,) = pipeline.sql("SELECT 'd_' || max(number) AS name FROM rowmill.dataset")
    pipeline.sql("ANALYZE")
    before = scans(pipeline, table["name"])
    pipeline.settle()
    assert scans(pipeline, table["name"]) == before
    upload = pipeline.upload(upload_id)
    assert (upload["loaded"] + upload["updated"], upload["updated"] + upload["skipped"] + upload["rejected"]) == (
        20_398 if mode == "upsert" else 20_000,
        398,
    )


class Counted(psycopg.Cursor[Any]):
    """Counts the rows that each step of a settling statement hands on or throws away, by having it tried before."""

    rows = 0

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query.as_string(self.connection) if hasattr(query, "as_string") else str(query)
        if text.split(maxsplit=1)[0] in ("SELECT", "WITH", "INSERT", "DELETE") and (
            "fate" in text or "staging" in text
        ):
            with self.connection.transaction(force_rollback=True), psycopg.Cursor(self.connection) as plain:
                explained = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}"
                ((root,),) = plain.execute(explained, params).fetchall()  # type: ignore[arg-type]
            type(self).rows += handed_on(root[0]["Plan"])
        return super().execute(query, params, **options)


def handed_on(plan: dict[str, Any]) -> int:
    """Rows of a plan's node and of all below it, as often as they came."""
    removed = sum(rows for name, rows in plan.items() if name.startswith("Rows Removed"))
    inner = sum(map(handed_on, plan.get("Plans", ())))
    return int((plan["Actual Rows"] + removed) * plan["Actual Loops"]) + inner


def test_settling_twice_as_many_rows_that_lose_their_place_is_twice_the_work(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it fits the memory of a statement, as where there are millions."""
    pipeline.dataset()
    work = []
    for count in (2000, 4000):
        cut_into(monkeypatch, count)
        numbers = range(10 * count, 11 * count)
        upload_id, messages = pipeline.begin(contacts([*numbers, *numbers]))
        pipeline.load(list(reversed(messages)))
        db = connection.connection()
        with monkeypatch.context() as patch:
            patch.setattr(db, "cursor_factory", Counted)
            db.execute("SET work_mem = '64kB'; SET hash_mem_multiplier = 1")
            Counted.rows = 0
            pipeline.settle()
        work.append(Counted.rows)
        assert (pipeline.upload(upload_id)["loaded"], pipeline.upload(upload_id)["rejected"]) == (count, count)
    assert work[1] < 2.5 * work[0]


@pytest.mark.parametrize("at_once", [1, 2, 20_000])
def test_loaded_rows_that_lose_their_place_are_told_of_in_batches_and_each_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("chalicelib.postgres.replay.DISPLACED_AT_ONCE", at_once)
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    lines = [f"{key}@x.org,{name},1\n" for name in ("first", "again") for key in "abcdef"]
    upload_id, messages = pipeline.begin(("email,name,age\n" + "".join(lines)).encode())
    pipeline.load(list(reversed(messages)))  # the repeats are loaded first, and all of them lose their place
    pipeline.settle()
    ended = pipeline.upload(upload_id)
    assert (ended["loaded"], ended["rejected"]) == (6, 6)
    assert {row["name"] for row in pipeline.rows()} == {"first"}
    rejects = [(one["row"], one["line"], one["errors"][0]["code"], one["raw"]) for one in pipeline.rejects(upload_id)]
    assert rejects == [(n, n + 1, "duplicate_in_file", lines[n - 1].strip()) for n in range(7, 13)]
