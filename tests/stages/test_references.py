"""Foreign keys: rows whose target is not there are listed, whichever way their chunk goes in."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import settle, table_rows
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from tests.stages.conftest import Pipeline, acting, cut_into
from tests.stages.test_journey_in_process import adds_up

COUNTRIES = {"fields": [{"name": "100 %", "type": "string"}, {"name": "name"}], "primaryKey": "100 %"}
ORDERS: dict[str, Any] = {
    "fields": [{"name": "id", "type": "integer"}, {"name": "to"}, {"name": "via"}],
    "primaryKey": "id",
    "foreignKeys": [
        {"fields": "to", "reference": {"resource": "countries", "fields": "100 %"}},
        {"fields": ["via"], "reference": {"resource": "countries", "fields": ["100 %"]}},
    ],
}
LINES = b"id,to,via\n1,de,\n2,xx,de\n3,fr,yy\n4,,\n5,xx,yy\n6,DE,fr\n7,fr,de\n"
MISSING = {2: ["to"], 3: ["via"], 5: ["to", "via"], 6: ["to"]}


@pytest.fixture
def shop(pipeline: Pipeline) -> Pipeline:
    pipeline.dataset(COUNTRIES, "countries")
    assert pipeline.run(b"100 %,name\nde,Germany\nfr,France\n", "countries")["loaded"] == 2
    return pipeline


def missing(shop: Pipeline, upload: dict[str, Any]) -> dict[int, list[str]]:
    rejects = shop.rejects(upload["id"])
    assert {error["code"] for reject in rejects for error in reject["errors"]} <= {"foreign_key_missing"}
    return {reject["row"]: [error["column"] for error in reject["errors"]] for reject in rejects}


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_rows_that_refer_to_nothing_are_listed(shop: Pipeline, mode: str) -> None:
    shop.dataset(ORDERS, "orders", mode=mode)
    upload = shop.run(LINES, "orders")
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 3, 4)
    assert adds_up(upload)
    assert missing(shop, upload) == MISSING
    assert [row["id"] for row in shop.rows("orders")] == [1, 4, 7]
    (first, *_) = shop.rejects(upload["id"])
    assert first["errors"][0]["detail"] == '"xx" is not in dataset "countries" (100 %)'
    assert (first["line"], first["raw"]) == (3, "2,xx,de")


def test_a_row_that_refers_to_nothing_takes_nobody_s_key(shop: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever order the chunks come in, the row that stands is the one whose target is there."""
    cut_into(monkeypatch, 1)
    shop.dataset(ORDERS, "orders")
    (dataset,) = shop.sql("SELECT number FROM rowmill.dataset WHERE name = 'orders'")
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        shop.sql(f"TRUNCATE data.d_{dataset['number']}")
        upload_id = shop.create(b"id,to,via\n1,xx,\n1,de,\n1,fr,\n", "orders")
        shop.split(upload_id)
        messages = shop.messages()
        shop.load([messages[place] for place in order])
        shop.settle()
        upload = shop.upload(upload_id)
        codes = {r["row"]: r["errors"][0]["code"] for r in shop.rejects(upload_id)}
        assert codes == {1: "foreign_key_missing", 3: "duplicate_in_file"}
        assert [row["to"] for row in shop.rows("orders")] == ["de"]
        assert adds_up(upload)


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_a_row_that_waits_for_settling_is_not_in_if_its_target_has_gone_meanwhile(
    shop: Pipeline, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Its chunk has found the target; whoever deletes that sees no row that refers to it, as none is in the table."""
    cut_into(monkeypatch, 1)
    monkeypatch.setattr(settle, "ORPHANS_AT_ONCE", 1)
    shop.dataset(ORDERS, "orders")
    forth = 1 if mode == "upsert" else -1  # the row that is in the table first is to lose its key
    lines = [b"1,de,\n", b"1,de,fr\n", b"1,,fr\n"][::forth]
    upload_id = shop.create(b"".join([b"id,to,via\n", *lines]), "orders", mode=mode)
    shop.split(upload_id)
    shop.load(shop.messages()[::forth])
    winner = 3 if mode == "upsert" else 1
    waiting = shop.sql("SELECT record FROM rowmill.contested ORDER BY record")
    assert [row["record"] for row in waiting] == sorted([2, winner])
    with acting("api"):
        table_rows.remove(Addressed(shop.tenant, "countries", "fr"), None)
    shop.settle()
    upload = shop.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 1, 2)
    assert adds_up(upload)
    assert missing(shop, upload) == {2: ["via"], winner: ["via"]}
    assert shop.rows("orders") == [{"id": 1, "to": "de", "via": None}]


def test_keys_of_several_fields_and_other_types(pipeline: Pipeline) -> None:
    seats = {
        "fields": [{"name": "day", "type": "date"}, {"name": "seat", "type": "number"}],
        "uniqueKeys": [["seat", "day"]],
    }
    pipeline.dataset(seats, "seats")
    pipeline.run(b"day,seat\n2024-01-05,1.0\n2024-01-06,2\n", "seats")
    booked = {
        "fields": [{"name": "seat", "type": "number"}, {"name": "on", "type": "date"}],
        "foreignKeys": [{"fields": ["on", "seat"], "reference": {"resource": "seats", "fields": ["day", "seat"]}}],
    }
    pipeline.dataset(booked, "booked")
    upload = pipeline.run(b"seat,on\n1,2024-01-05\n2.00,2024-01-05\n2.00,2024-01-06\n9,\n", "booked")
    assert missing(pipeline, upload) == {2: ["on, seat"]}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"resource": "nowhere", "fields": "100 %"}, 'there is no dataset "nowhere"'),
        ({"resource": "countries", "fields": "name"}, '"name" is no key of dataset "countries"'),
        ({"resource": "countries", "fields": "x"}, '"x" is no key of dataset "countries"'),
        ({"resource": "orders", "fields": "id"}, 'there is no dataset "orders"'),
    ],
)
def test_a_target_that_is_no_key_is_refused_when_the_dataset_is_put(
    shop: Pipeline, reference: dict[str, str], said: str
) -> None:
    with pytest.raises(Refused) as refused:
        shop.dataset(ORDERS | {"foreignKeys": [{"fields": "to", "reference": reference}]}, "orders")
    assert (refused.value.code, refused.value.errors[0]["column"]) == ("schema_invalid", "to")
    assert refused.value.errors[0]["detail"] == said


def test_a_target_of_another_type_is_refused(shop: Pipeline) -> None:
    keys = [{"fields": "id", "reference": {"resource": "countries", "fields": "100 %"}}]
    with pytest.raises(Refused) as refused:
        shop.dataset(ORDERS | {"foreignKeys": keys}, "orders")
    assert refused.value.errors[0]["detail"] == 'integer "id" cannot refer to string "100 %"'


def test_another_tenant_s_dataset_is_no_target(shop: Pipeline) -> None:
    with pytest.raises(Refused) as refused:
        Pipeline().dataset(ORDERS, "orders")
    assert refused.value.errors[0]["detail"] == 'there is no dataset "countries"'


def test_a_target_keeps_the_key_that_others_refer_to(pipeline: Pipeline) -> None:
    pipeline.dataset(COUNTRIES, "countries")
    pipeline.dataset(ORDERS, "orders")
    with pytest.raises(Refused) as refused:
        pipeline.dataset({"fields": COUNTRIES["fields"], "primaryKey": "name"}, "countries")
    assert (refused.value.code, refused.value.status) == ("dataset_incompatible", 409)
    assert '"orders" refers to this one' in refused.value.detail
    pipeline.dataset(COUNTRIES | {"uniqueKeys": [["name"]]}, "countries")
