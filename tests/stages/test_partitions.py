"""Partitioned tables: the same rows, rejects and pages as of a table in one piece, whatever the mode and the order."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from chalicelib import table_rows
from chalicelib.datasets import read_schema
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from tests.stages.conftest import Pipeline, consulted, cut_into
from tests.stages.test_api import Api, is_problem
from tests.stages.test_table_rows import beside

FIELDS = [
    {"name": "email", "constraints": {"required": True}},
    {"name": "day", "type": "date"},
    {"name": "n", "type": "integer"},
]
BY_HASH = {"field": "email", "hash": 4}
BY_MONTH = {"field": "day", "every": "month", "from": "2024-01", "to": "2024-04"}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hash": ({"primaryKey": "email"}, BY_HASH),
    "month": ({"uniqueKeys": [["email", "day"]]}, BY_MONTH),
    "month, a second key": ({"uniqueKeys": [["email", "day"], ["day", "n"]]}, BY_MONTH),
    "no key": ({}, BY_MONTH),
}


def lines(seed: int, count: int = 60) -> bytes:
    """Rows of few keys, days in and beyond the months that have partitions, and some that are wrong."""
    chance = random.Random(seed)
    days = ("2024-01-31", "2024-02-01", "2024-03-31", "2024-04-01", "1999-12-31", "")
    rows = [f"p{chance.randrange(25)},{chance.choice(days)},{chance.randrange(9)}" for _ in range(count)]
    rows[5], rows[40] = "p1,not a day,1", ",2024-01-01,2"
    return ("email,day,n\n" + "\n".join(rows) + "\n").encode()


def loaded(pipeline: Pipeline, dataset: str, mode: str, seed: int) -> dict[str, Any]:
    """What comes of two files, chunks of each in an order of its own: counts, rejects and the rows."""
    seen: list[Any] = []
    for part in (seed, seed + 1):
        upload_id = pipeline.create(lines(part), dataset, mode=mode)
        pipeline.split(upload_id)
        messages = pipeline.messages()
        random.Random(part).shuffle(messages)
        pipeline.load(messages)
        pipeline.settle()
        upload = pipeline.upload(upload_id)
        counts = [upload[name] for name in ("state", "loaded", "updated", "skipped", "rejected", "unprocessed")]
        rejects = [(one["row"], [each["code"] for each in one["errors"]]) for one in pipeline.rejects(upload_id)]
        seen.append([counts, rejects])
    rows = sorted(pipeline.rows(dataset), key=str)
    return {"uploads": seen, "rows": rows}


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, mode) for kind in KINDS for mode in ("insert", "skip")),
        *((kind, "upsert") for kind in ("hash", "month")),
    ],
)
def test_rows_and_rejects_are_those_of_a_table_in_one_piece(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    keys, parts = KINDS[kind]
    cut_into(monkeypatch, 7)
    schema = {"fields": FIELDS, **keys}
    pipeline.dataset(schema, "whole")
    pipeline.dataset(schema | {"partition_by": parts}, "parted")
    for seed in (1, 10):
        assert loaded(pipeline, "parted", mode, seed) == loaded(pipeline, "whole", mode, seed)
    assert consulted({})["differences"] == []
    (parted,) = pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'parted'")
    (used,) = pipeline.sql(f"SELECT count(DISTINCT tableoid) AS n FROM data.d_{parted['number']}")
    assert used["n"] == 4


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_what_another_partition_has_at_the_same_place_stays_when_a_file_is_settled(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """A row that gives way is deleted by its ctid, which in a partitioned table is the place of other rows, too."""
    cut_into(monkeypatch, 40)
    pipeline.dataset({"fields": FIELDS, "primaryKey": "email", "partition_by": BY_HASH}, "parted")
    body = "email,day,n\n" + "".join(f"p{n % 40},,{n}\n" for n in range(80))
    upload_id = pipeline.create(body.encode(), "parted", mode=mode)
    pipeline.split(upload_id)
    first, second = pipeline.messages()
    pipeline.load([second, first])
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    wins = 40 if mode == "upsert" else 0
    assert sorted(row["n"] for row in pipeline.rows("parted")) == list(range(wins, wins + 40)), upload


def test_pages_filters_and_order_go_over_all_partitions(pipeline: Pipeline) -> None:
    api = Api(pipeline)
    schema = {"fields": FIELDS, "uniqueKeys": [["email", "day"]], "indexes": ["day", "n"], "partition_by": BY_MONTH}
    assert api.put("parted", schema).status_code == 201
    upload = pipeline.run(lines(3), "parted")
    whole = api.get("/v1/datasets/parted/rows?limit=5000").json_body["items"]
    assert len(whole) == upload["loaded"] > 20
    for query, order in (
        ("sort=day", "day"),
        ("sort=-n", "n"),
        ("day.gte=2024-02-01", "day"),
        ("upload=" + upload["id"], ""),
    ):
        seen: list[Any] = []
        cursor = ""
        while cursor is not None:
            page = api.get(f"/v1/datasets/parted/rows?{query}&limit=7{cursor and '&cursor=' + cursor}").json_body
            seen, cursor = seen + page["items"], page["next_cursor"]
        wanted = [row for row in whole if "gte" not in query or (row["day"] or "") >= "2024-02-01"]
        assert sorted(map(str, seen)) == sorted(map(str, wanted)), query
        values = [row[order] for row in seen if order and row[order] is not None]
        assert values == sorted(values, reverse="-" in query.partition("=")[2][:1]), query


def test_a_row_moves_to_another_partition_and_meets_keys_there(pipeline: Pipeline) -> None:
    api = Api(pipeline)
    schema = {"fields": FIELDS, "primaryKey": ["email", "day"], "partition_by": BY_MONTH}
    assert api.put("parted", schema).status_code == 201
    rows = "/v1/datasets/parted/rows"
    for day in ("2024-01-01", "2024-02-01"):
        assert api("POST", rows, {"email": "a", "day": day, "n": 1}).status_code == 201
    problem = is_problem(api("POST", rows, {"email": "a", "day": "2024-02-01"}), 409, "duplicate_in_db")
    assert problem["errors"][0]["column"] == "email, day"
    is_problem(api("PATCH", f"{rows}/a,2024-01-01", {"day": "2024-02-01"}), 409, "duplicate_in_db")
    moved = api("PATCH", f"{rows}/a,2024-01-01", {"day": "2031-05-05"})
    assert moved.json_body == {"email": "a", "day": "2031-05-05", "n": 1}
    assert api.get(f"{rows}/a,2031-05-05").status_code == 200
    assert api("DELETE", f"{rows}/a,2024-02-01").status_code == 204
    assert len(api.get(rows).json_body["items"]) == 1


@pytest.mark.parametrize("ask", [partial(table_rows.change, document={"n": 2}), table_rows.remove])
def test_a_row_that_somebody_moves_to_another_partition_meanwhile_is_not_found(
    pipeline: Pipeline, ask: Callable[..., object]
) -> None:
    """Its key is another one by then. Postgres follows no row there, and says so by an error that passes."""
    api = Api(pipeline)
    schema = {"fields": FIELDS, "primaryKey": ["email", "day"], "partition_by": BY_MONTH}
    assert api.put("parted", schema).status_code == 201
    rows = "/v1/datasets/parted/rows"
    assert api("POST", rows, {"email": "a", "day": "2024-01-01", "n": 1}).status_code == 201
    (parted,) = pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'parted'")
    ends: list[str] = []

    def asked() -> None:
        with pytest.raises(Refused) as refused:
            ask(Addressed(pipeline.tenant, "parted", "a,2024-01-01"), if_match=None)
        ends.append(refused.value.code)

    with psycopg.connect(pipeline.url) as other:
        other.execute(f"UPDATE data.d_{parted['number']} SET day = '2024-02-01'")
        asking = beside(asked)
        while not pipeline.sql("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            asking.join(0.05)
    asking.join(20)
    assert ends == ["row_not_found"]
    assert api.get(f"{rows}/a,2024-02-01").json_body["n"] == 1


def test_months_are_added_behind_while_rows_are_there_and_nothing_else_is_changed(pipeline: Pipeline) -> None:
    api = Api(pipeline)
    schema = {"fields": FIELDS, "uniqueKeys": [["email", "day"]], "partition_by": BY_MONTH}
    assert api.put("parted", schema).status_code == 201
    pipeline.run(b"email,day,n\na,2024-01-01,1\nb,2024-05-01,1\n", "parted")
    further = schema | {"partition_by": BY_MONTH | {"to": "2024-05"}}
    answer = api.put("parted", further)
    assert (answer.status_code, answer.json_body["partition_by"]["to"]) == (200, "2024-05")
    pipeline.run(b"email,day,n\nc,2024-04-30,1\n", "parted")
    parts = pipeline.sql(
        "SELECT relname, reltuples FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY relname"
    )
    assert [row["relname"].split("_", 2)[2] for row in parts] == [
        "p2024-01",
        "p2024-02",
        "p2024-03",
        "p2024-04",
        "rest",
    ]
    for other in (BY_MONTH, BY_MONTH | {"to": "2024-09"}, BY_HASH | {"field": "day"}, None):
        is_problem(api.put("parted", schema | {"partition_by": other}), 409, "dataset_incompatible")
    assert len(pipeline.rows("parted")) == 3
    assert api("DELETE", "/v1/datasets/parted").status_code == 204
    assert pipeline.sql("SELECT FROM pg_class WHERE relispartition") == []


@pytest.mark.parametrize(
    ("more", "column"),
    [
        ({"partition_by": BY_MONTH, "primaryKey": "email"}, "email"),
        ({"partition_by": BY_HASH, "uniqueKeys": [["email", "n"], ["day", "n"]]}, "day, n"),
        ({"partition_by": BY_HASH, "identity": "id"}, "id"),
        ({"partition_by": {"field": "n", "every": "month", "from": "2024-01", "to": "2024-02"}}, "n"),
        ({"partition_by": BY_MONTH | {"every": ["month"]}}, None),
        ({"partition_by": BY_MONTH | {"to": "2024-01"}}, None),
        ({"partition_by": BY_MONTH | {"from": "0000-01"}}, None),
        ({"partition_by": BY_MONTH | {"from": "1900-01"}}, None),
        ({"partition_by": BY_MONTH | {"from": 2024}}, None),
        ({"partition_by": BY_HASH | {"hash": 1}}, None),
        ({"partition_by": BY_HASH | {"hash": True}}, None),
        ({"partition_by": BY_HASH | {"field": ["email"]}}, None),
        ({"partition_by": BY_HASH | {"more": 1}}, None),
        ({"partition_by": "email"}, None),
        ({"partition_by": {}}, None),
    ],
)
def test_partitions_that_cannot_be_are_refused(more: dict[str, Any], column: str | None) -> None:
    with pytest.raises(Refused) as refused:
        read_schema({"fields": FIELDS, **more})
    assert refused.value.code == "schema_invalid"
    assert [error.get("column") for error in refused.value.errors] == [column]
