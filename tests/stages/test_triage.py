"""Rejects by the few causes behind them, and records that are read again by what was proved to mend them."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import psycopg
import pytest
from rowmill_client import offline

from chalicelib import admit, control, receipts, rejects, report, seals, triage
from chalicelib.aws import dynamodb
from chalicelib.checking import conventions
from chalicelib.errors import Refused, Unavailable
from chalicelib.journey import MAX_ATTEMPTS
from chalicelib.paging import Asked
from chalicelib.postgres import ledger, repair, taken
from chalicelib.postgres.timeline import Asker
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, acting, cut_into, poison
from tests.stages.test_retries import retry, send

SALES: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "sold", "type": "date"},
        {"name": "paid", "type": "date"},
        {"name": "price", "type": "number"},
        {"name": "tax", "type": "number"},
        {"name": "note", "type": "string"},
    ]
}
HEAD = b"id,sold,paid,price,tax,note\n"
GOOD = b"".join(b"%d,2024-01-%02d,2024-02-01,1.5,2.5,fine\n" % (n, n % 28 + 1) for n in range(1, 9001))


def causes(pipeline: Pipeline, upload_id: str) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in triage.listing(pipeline.tenant, upload_id)["causes"]}


def begin(pipeline: Pipeline, parent: str, *fixes: str, key: str | None = None) -> str:
    """Ask for what these fixes mend; the new upload's id."""
    option = triage.option_of(pipeline.tenant, parent, fixes)
    item = admit.rerun(pipeline.tenant, parent, fixes, option, key, Asker("", "request-3"))
    report.show_retries(pipeline.tenant, parent)
    return str(item["upload_id"])


def go(pipeline: Pipeline, upload_id: str) -> dict[str, Any]:
    """The rest of its journey."""
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    return pipeline.upload(upload_id)


def retried(pipeline: Pipeline, parent: str, *fixes: str) -> dict[str, Any]:
    return go(pipeline, begin(pipeline, parent, *fixes))


def sums(upload: dict[str, Any]) -> tuple[int, int, int]:
    return upload["rejected"], upload["resolved"], upload["rejected_open"]


def sales(count: int, seed: int = 7) -> bytes:
    """Behind many good rows so many bad ones: day-first dates, decimal commas, and ids that are missing."""
    chance = random.Random(seed)
    lines = []
    for n in range(count):
        day, month = chance.randint(1, 28), chance.randint(1, 12)
        match n % 10:
            case 0 | 1 | 2 | 3 | 4:
                lines.append(f"{n},{day:02}/{month:02}/2023,{month:02}.{day % 12 + 1:02}.2023,1.5,2.5,a")
            case 5 | 6 | 7:
                lines.append(f'{n},2024-01-01,2024-01-01,"1.{day:03},5","{day},25",b')
            case _:
                lines.append(",2024-01-01,2024-01-01,1.5,2.5,c")
    return HEAD + GOOD + "\n".join(lines).encode() + b"\n"


def test_ten_thousand_rejects_come_down_to_three_causes_of_which_two_are_mended(pipeline: Pipeline) -> None:
    name = pipeline.dataset(SALES, "sales")
    parent = pipeline.run(sales(10_000), name)
    assert (parent["loaded"], parent["rejected"]) == (9000, 10_000)
    found = causes(pipeline, parent["id"])
    assert {one: (cause["rejects"], cause["alone"], cause["columns"]) for one, cause in found.items()} == {
        "dates_day_first": (5000, 5000, ["sold", "paid"]),
        "numbers_decimal_comma_groups_point": (3000, 3000, ["price", "tax"]),
        "required_missing": (2000, 2000, ["id"]),
    }
    assert found["dates_day_first"]["fix"] == {"dialect.date_order": "dmy"}
    assert found["numbers_decimal_comma_groups_point"]["fix"] == {
        "dialect.decimal_char": ",",
        "dialect.group_char": ".",
    }
    assert (found["required_missing"]["fix"], found["required_missing"]["proved"]) == (None, None)
    proof = found["dates_day_first"]["proved"]
    assert proof["sample"] == proof["mended"] > 100
    assert [one["row"] for one in found["dates_day_first"]["samples"]] == [9001, 9001, 9002, 9002, 9003]
    dates = retried(pipeline, parent["id"], "dates_day_first")
    numbers = retried(pipeline, parent["id"], "numbers_decimal_comma_groups_point")
    assert [(one["state"], one["loaded"], one["rejected"]) for one in (dates, numbers)] == [
        ("completed", 5000, 0),
        ("completed", 3000, 0),
    ]
    assert sums(pipeline.upload(parent["id"])) == (10_000, 8000, 2000)
    table = pipeline.sql(f"SELECT count(*), min(sold)::text, max(price)::text FROM data.d_{number(pipeline, name)}")
    assert (table[0]["count"], table[0]["max"]) == (17_000, "1028.5")


def number(pipeline: Pipeline, name: str) -> int:
    return int(pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = %s", name)[0]["number"])


def prices(pipeline: Pipeline, lines: str, **options: Any) -> dict[str, Any]:
    """An upload of these records behind enough good ones that nothing is detected of how they are spelt."""
    name = pipeline.dataset(SALES, "sales")
    return pipeline.run(HEAD + GOOD + lines.encode(), name, **options)


def test_dates_in_two_orders_are_a_cause_without_a_fix(pipeline: Pipeline) -> None:
    mixed = "1,31/12/2023,2024-01-01,1,2,a\n" * 60 + "1,12/31/2023,2024-01-01,1,2,a\n" * 3
    parent = prices(pipeline, mixed)["id"]
    found = causes(pipeline, parent)
    assert {one: (cause["rejects"], cause["fix"]) for one, cause in found.items()} == {"dates_mixed": (63, None)}
    assert "contradict" in found["dates_mixed"]["unfixed"]
    for names, code in ((["dates_mixed"], "cause_unfixed"), (["dates_day_first"], "cause_unknown")):
        with pytest.raises(Refused) as refused:
            begin(pipeline, parent, *names)
        assert refused.value.code == code


def test_what_can_be_read_in_two_ways_is_a_cause_without_a_fix(pipeline: Pipeline) -> None:
    parent = prices(pipeline, '1,01/02/2023,03/04/2023,"1,234","2,345",a\n' * 20)["id"]
    found = causes(pipeline, parent)
    assert {one: (cause["rejects"], cause["fix"]) for one, cause in found.items()} == {
        "dates_ambiguous": (20, None),
        "numbers_ambiguous": (20, None),
    }


def test_dates_against_the_order_that_the_rest_was_read_by_are_no_proof(pipeline: Pipeline) -> None:
    parent = prices(pipeline, "1,12/31/2023,2024-01-01,1,2,a\n" * 20, dialect={"date_order": "dmy"})["id"]
    assert [(one, cause["fix"]) for one, cause in causes(pipeline, parent).items()] == [("dates_mixed", None)]


def test_words_for_nothing_become_null_only_where_no_other_cell_becomes_null_with_them(pipeline: Pipeline) -> None:
    lines = "1,N/A,2024-01-01,-,2,a\n" * 95 + "1,N/A,2024-01-01,1,2,-\n" * 5 + "N/A,2024-01-01,2024-01-01,1,2,b\n"
    parent = prices(pipeline, lines)
    found = causes(pipeline, parent["id"])
    nulls = found["null_words"]
    assert (nulls["rejects"], nulls["columns"], nulls["fix"]) == (
        100,
        ["sold", "price"],
        {"dialect.null_values": ["", "N/A", "-"]},
    )
    assert nulls["proved"]["mended"] < nulls["proved"]["sample"]
    child = retried(pipeline, parent["id"], "null_words")
    assert "before" not in child["dialect"]
    assert (child["loaded"], child["rejected"]) == (95, 0)
    assert sums(pipeline.upload(parent["id"])) == (101, 95, 6)


def test_an_option_that_changes_right_cells_is_not_offered(pipeline: Pipeline) -> None:
    """A tax of 2.500 would become two thousand five hundred."""
    parent = prices(pipeline, '1,2024-01-01,2024-01-01,"1.234,5",2.500,a\n' * 30)["id"]
    (cause,) = causes(pipeline, parent).values()
    assert (cause["fix"], cause["proved"]) == (None, {"sample": 30, "mended": 0})
    assert "changes cells" in cause["unfixed"]


BOTH = (
    '1,31/12/2023,2024-01-01,"1,50",2,both\n' * 20
    + "1,30/12/2023,2024-01-01,1,2,dates\n" * 30
    + '1,2024-01-01,2024-01-01,"1,50",2,numbers\n' * 40
)


def test_records_with_two_causes_take_both_fixes(pipeline: Pipeline) -> None:
    parent = prices(pipeline, BOTH)["id"]
    found = causes(pipeline, parent)
    assert {one: (cause["rejects"], cause["alone"]) for one, cause in found.items()} == {
        "numbers_decimal_comma": (60, 40),
        "dates_day_first": (50, 30),
    }
    assert retried(pipeline, parent, "dates_day_first")["loaded"] == 30
    assert retried(pipeline, parent, "dates_day_first", "numbers_decimal_comma")["loaded"] == 60
    assert sums(pipeline.upload(parent)) == (90, 90, 0)
    table = f"data.d_{number(pipeline, 'sales')}"
    counted = pipeline.sql(f"SELECT note, count(*) AS n FROM {table} WHERE note <> 'fine' GROUP BY note ORDER BY note")
    assert [(one["note"], one["n"]) for one in counted] == [("both", 20), ("dates", 30), ("numbers", 40)]
    last = retried(pipeline, parent, "numbers_decimal_comma")
    assert (last["state"], last["error"]["code"]) == ("failed", "nothing_to_retry")


SPOILT = (
    "1,31/12/2023,2024-01-01,2.500,1.25,dates\n" * 30
    + '1,2024-01-01,2024-01-01,"1.234,5",2,numbers\n' * 80
    + '1,31/12/2023,2024-01-01,"1.234,5",2,both\n' * 20
    + '1,31/12/2023,2024-01-01,"1.234,5",2.500,neither\n' * 5
)


def test_fixes_together_mend_what_one_of_them_would_spoil_and_leave_right_cells_as_they_were(
    pipeline: Pipeline,
) -> None:
    parent = prices(pipeline, SPOILT)["id"]
    child = retried(pipeline, parent, "dates_day_first", "numbers_decimal_comma_groups_point")
    assert (child["state"], child["loaded"], child["rejected"]) == ("completed", 130, 0)
    assert sums(pipeline.upload(parent)) == (135, 130, 5)
    table = f"data.d_{number(pipeline, 'sales')}"
    told = pipeline.sql(
        f"SELECT note, sold::text, price::text, tax::text, count(*) AS n FROM {table} WHERE note <> 'fine'"
        " GROUP BY 1, 2, 3, 4 ORDER BY 1"
    )
    assert [tuple(one.values()) for one in told] == [
        ("both", "2023-12-31", "1234.5", "2", 20),
        ("dates", "2023-12-31", "2.500", "1.25", 30),
        ("numbers", "2024-01-01", "1234.5", "2", 80),
    ]
    first = dict.fromkeys(conventions.OPTIONS)
    assert (child["dialect"]["decimal_char"], child["dialect"]["before"]) == (",", [first])
    pipeline.attest()
    sealed = receipts.get(pipeline.tenant, child["id"], Asked({}, None, 100))
    assert sealed
    assert sealed["receipt"]["dialect"] == {n: v for n, v in child["dialect"].items() if n != "detected"}
    assert receipts.verify(pipeline.tenant, child["id"])["state"] == "pending"
    pipeline.attest()
    found = receipts.verification(pipeline.tenant, child["id"])
    assert (found["source"], found["table"], found["rows"]["found"], found["result"]) == (
        "match",
        "match",
        130,
        "match",
    )
    for fixes in (["dates_day_first"], ["numbers_decimal_comma_groups_point"]):
        assert retried(pipeline, parent, *fixes)["error"]["code"] == "nothing_to_retry"


def test_corrected_rows_of_several_fixes_are_read_as_the_first_upload(pipeline: Pipeline) -> None:
    """By the fixes a price of 2.500 that was right would become two thousand five hundred."""
    parent = prices(pipeline, SPOILT)["id"]
    child = begin(pipeline, parent, "dates_day_first", "numbers_decimal_comma_groups_point")
    pipeline.split(child)
    plan = pipeline.sql("SELECT plan FROM rowmill.upload WHERE upload_id = %s", child)[0]["plan"]
    item = dynamodb.get_upload(pipeline.tenant, child)
    assert admit._inherited(item, plan, {})["dialect"] == dict.fromkeys(conventions.OPTIONS)
    alone = {name: value for name, value in plan.items() if name != "before"}
    assert admit._inherited(item, alone, {})["dialect"]["decimal_char"] == ","


def test_a_reject_is_read_again_once(pipeline: Pipeline) -> None:
    parent = prices(pipeline, BOTH)["id"]
    first = begin(pipeline, parent, "dates_day_first", key="key-1")
    assert begin(pipeline, parent, "dates_day_first", key="key-1") == first
    with pytest.raises(Refused) as refused:
        begin(pipeline, parent, "dates_day_first")
    assert (refused.value.code, refused.value.status) == ("state_conflict", 409)
    assert first in refused.value.detail
    pipeline.split(first)
    second = begin(pipeline, parent, "dates_day_first", "numbers_decimal_comma")
    pipeline.split(second)
    pipeline.load(pipeline.messages() * 2)
    assert [pipeline.upload(one)["loaded"] for one in (first, second)] == [30, 60]
    assert sums(pipeline.upload(parent)) == (90, 90, 0)


def test_two_requests_at_once_take_up_each_reject_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = prices(pipeline, BOTH)["id"]
    monkeypatch.setattr(taken, "holder", lambda *_: None)  # as it is before the other one is announced
    first, second = (begin(pipeline, parent, "dates_day_first") for _ in range(2))
    assert (go(pipeline, first)["loaded"], go(pipeline, second)["state"]) == (30, "failed")
    assert sums(pipeline.upload(parent)) == (90, 30, 60)


def test_what_a_canceled_retry_has_not_looked_at_may_be_read_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = prices(pipeline, BOTH)["id"]
    cut_into(monkeypatch, 10)
    child = begin(pipeline, parent, "dates_day_first")
    pipeline.split(child)
    pipeline.load(pipeline.messages()[:1])
    assert (pipeline.cancel(child)["state"], pipeline.upload(child)["loaded"]) == ("canceled", 10)
    pipeline.messages()
    assert retried(pipeline, parent, "dates_day_first")["loaded"] == 20
    assert sums(pipeline.upload(parent)) == (90, 30, 60)


def test_a_splitter_that_dies_with_the_records_written_takes_up_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = prices(pipeline, BOTH)["id"]
    child = begin(pipeline, parent, "dates_day_first")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "keep_piece", die)
        with pytest.raises(KeyboardInterrupt):
            pipeline.split(child)
    assert pipeline.sql("SELECT count(*) AS n FROM rowmill.taken")[0]["n"] == 0
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "keep_plan", die)
        with pytest.raises(KeyboardInterrupt):
            pipeline.split(child)
    assert (go(pipeline, child)["loaded"], sums(pipeline.upload(parent))) == (30, (90, 30, 60))


def test_what_clashes_when_it_is_read_again_tells_its_place_in_the_first_file(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = [{"name": "id", "type": "integer"}, {"name": "day", "type": "date"}]
    name = pipeline.dataset({"fields": fields, "primaryKey": "id"}, "days")
    good = b"".join(b"%d,2024-01-01\n" % n for n in range(100, 20_000))
    bad = b"1,31/12/2023\n100,30/12/2023\nx,y\n2,29/12/2023\n2,28/12/2023\n"
    parent = pipeline.run(b"id,day\n" + good + bad, name)
    cut_into(monkeypatch, 1)
    child = retried(pipeline, parent["id"], "dates_day_first")
    assert (child["loaded"], child["rejected"], child["rows_total"]) == (2, 2, 4)
    found = [
        (one["row"], one["parent_row"], one["line"], one["errors"][0]["code"]) for one in pipeline.rejects(child["id"])
    ]
    assert found == [(2, 19_902, 19_903, "duplicate_in_db"), (4, 19_905, 19_906, "duplicate_in_file")]
    assert sums(pipeline.upload(parent["id"])) == (5, 2, 3)


def test_a_retry_that_is_deleted_holds_what_it_has_brought_in(pipeline: Pipeline) -> None:
    parent = prices(pipeline, BOTH)["id"]
    child = retried(pipeline, parent, "dates_day_first")["id"]
    pipeline.delete(child)
    pipeline.sweep()
    assert retried(pipeline, parent, "dates_day_first")["error"]["code"] == "nothing_to_retry"
    assert sums(pipeline.upload(parent)) == (90, 30, 60)
    with acting("api"):
        control.delete(pipeline.tenant, child, rows=True)
    pipeline.sweep()
    assert sums(pipeline.upload(parent)) == (90, 0, 90)
    assert retried(pipeline, parent, "dates_day_first")["loaded"] == 30
    assert sums(pipeline.upload(parent)) == (90, 30, 60)


def test_a_splitter_that_reads_many_rejects_again_is_not_taken_for_hung(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does so in one transaction, in which it can give no sign; the sweep would end it again and again."""
    parent = prices(pipeline, BOTH)["id"]
    child = begin(pipeline, parent, "dates_day_first")
    real, ended = taken.take, []

    def swept_first(*arguments: Any) -> None:
        pipeline.sql("UPDATE rowmill.upload SET scan_seen_at = now() - interval '2 minutes'")
        with psycopg.connect(pipeline.url, autocommit=True) as sweep:
            ended.append(repair.end_hung_sessions(sweep, 60, 60))
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(taken, "take", swept_first)
        after = go(pipeline, child)
    assert (after["state"], set(ended)) == ("completed", {0})


def test_rejects_of_a_changed_dataset_are_not_read_again(pipeline: Pipeline) -> None:
    parent = prices(pipeline, BOTH)["id"]
    child = begin(pipeline, parent, "dates_day_first")
    pipeline.dataset({"fields": [*SALES["fields"], {"name": "more", "type": "string"}]}, "sales")
    after = go(pipeline, child)
    assert (after["state"], after["error"]["code"]) == ("failed", "dataset_changed")
    assert {one["fix"] for one in causes(pipeline, parent).values()} == {None}


def test_only_what_has_ended_is_read_again_and_only_by_its_owner(pipeline: Pipeline) -> None:
    name = pipeline.dataset(SALES, "sales")
    running = pipeline.create(HEAD + BOTH.encode(), name)
    pipeline.split(running)
    clean = pipeline.run(HEAD + GOOD, name)["id"]
    for upload_id in (running, clean):
        with pytest.raises(Refused) as refused:
            admit.retriable(pipeline.tenant, upload_id)
        assert (refused.value.code, refused.value.status) == ("state_conflict", 409)
    assert causes(pipeline, clean) == {}
    with pytest.raises(Refused) as refused:
        triage.listing("ten_other", clean)
    assert refused.value.status == 404


def test_the_summary_by_column_is_what_it_was(pipeline: Pipeline) -> None:
    parent = prices(pipeline, "1,31/12/2023,N/A,1,2,a\n1,soon,01/02/2023,1,2,a\n")["id"]
    told = rejects.summary(pipeline.tenant, parent)["causes"]
    assert [(one["column"], one["rows"], [s["value"] for s in one["samples"]]) for one in told] == [
        ("paid", 2, ['"N/A"', '"01/02/2023"']),
        ("sold", 2, ['"31/12/2023"', '"soon"']),
    ]


def test_a_file_that_is_no_order_of_ours_reads_nothing_again(pipeline: Pipeline) -> None:
    """Which upload's rejects, and by which fix, is in the ledger; what lies in the storage is not believed."""
    parent = prices(pipeline, BOTH)["id"]
    child = begin(pipeline, parent, "dates_day_first")
    key = f"uploads/{pipeline.tenant}/{child}/source"
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=b'{"parent": "upl_X", "fix": ["x"]}')
    assert go(pipeline, child)["loaded"] == 30


def test_what_a_reverted_retry_had_brought_in_may_be_read_again(pipeline: Pipeline) -> None:
    parent = prices(pipeline, BOTH)["id"]
    child = retried(pipeline, parent, "dates_day_first")["id"]
    assert pipeline.revert(child)["state"] == "reverted"
    assert sums(pipeline.upload(parent)) == (90, 0, 90)
    assert retried(pipeline, parent, "dates_day_first")["loaded"] == 30
    assert sums(pipeline.upload(parent)) == (90, 30, 60)


VISITS: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"unique": True}},
        {"name": "day", "type": "date"},
    ]
}
NO_DAYS = b"id,day\n1,N/A\n2,N/A\n3,N/A\nx,2024-01-01\n"


def test_what_a_corrected_file_has_loaded_nothing_of_may_be_read_again(pipeline: Pipeline) -> None:
    parent = pipeline.run(NO_DAYS, pipeline.dataset(VISITS, "visits"))["id"]
    body = b"_row,id,day\n1,1,2024-02-01\n2,2,2024-02-02\n4,x,2024-01-01\n"
    child = retry(pipeline, parent, body, on_error="abort")
    assert (child["error"]["code"], sums(pipeline.upload(parent))) == ("rows_rejected", (4, 0, 4))
    assert retried(pipeline, parent, "null_words")["loaded"] == 3
    assert sums(pipeline.upload(parent)) == (4, 3, 1)


def test_what_nobody_will_settle_any_more_may_be_read_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second row waits for who has its key when its upload is canceled: it is neither in the table nor rejected."""
    parent = pipeline.run(NO_DAYS, pipeline.dataset(VISITS, "visits"))["id"]
    cut_into(monkeypatch, 2)
    child = send(pipeline, parent, b"_row,id,day\n1,7,2024-02-01\n2,7,2024-02-02\n3,3,2024-02-03\n")
    pipeline.split(child)
    pipeline.load(pipeline.messages()[:1])
    pipeline.cancel(child)
    assert sums(pipeline.upload(parent)) == (4, 1, 3)
    assert retried(pipeline, parent, "null_words")["loaded"] == 2
    assert sums(pipeline.upload(parent)) == (4, 3, 1)


def test_what_a_redrive_rejects_is_mended_by_a_fix_that_was_taken_before(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 4)
    name = pipeline.dataset(VISITS, "visits")
    parent = pipeline.create(NO_DAYS + b"5,N/A\n6,N/A\n", name)
    pipeline.split(parent)
    messages = pipeline.messages()
    with monkeypatch.context() as patch:
        poison(patch, 5)
        for message in [messages[0]] + [messages[1]] * MAX_ATTEMPTS:
            with contextlib.suppress(Unavailable):
                pipeline.load([message])
    assert retried(pipeline, parent, "null_words")["loaded"] == 3
    pipeline.redrive(parent)
    pipeline.load(pipeline.messages())
    assert sums(pipeline.upload(parent)) == (6, 3, 3)
    again = retried(pipeline, parent, "null_words")
    assert (again["loaded"], sums(pipeline.upload(parent))) == (2, (6, 5, 1))
    with pytest.raises(Refused, match=again["id"]):
        begin(pipeline, parent, "null_words")


SHIPPED: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "sold", "type": "date"},
        {"name": "paid", "type": "boolean"},
        {"name": "hue", "type": "string", "constraints": {"enum": ["Red", "Blue"]}},
        {"name": "note", "type": "string"},
    ]
}


def shipped(pipeline: Pipeline, lines: str, **options: Any) -> str:
    name = pipeline.dataset(SHIPPED, "shipped")
    good = "".join(f"{n},2024-01-01,true,Red, fine \n" for n in range(1000, 1200))
    return str(pipeline.run(b"id,sold,paid,hue,note\n" + good.encode() + lines.encode(), name, **options)["id"])


def loaded(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    table = f"data.d_{number(pipeline, 'shipped')}"
    found = pipeline.sql(f"SELECT id, sold::text, paid, hue, note FROM {table} WHERE id < 1000 ORDER BY id, note")
    return [tuple(row.values()) for row in found]


def test_blanks_words_and_another_case_are_mended_and_free_texts_keep_their_blanks(pipeline: Pipeline) -> None:
    parent = shipped(
        pipeline,
        "1 , 2024-01-02,true ,\tBlue, a \n" * 3
        + "2,2024-01-03,Ja,Red,b\n3,,nein,Red,c\n4,,0,Red,d\n" * 2
        + "5,,,RED,e\n6,,,blue,f\n7,,,pink,g\n",
    )
    found = causes(pipeline, parent)
    assert {one: (cause["rejects"], cause["columns"], cause["fix"]) for one, cause in found.items()} == {
        "boolean_words": (
            4,
            ["paid"],
            {
                "dialect.true_values": ["true", "True", "TRUE", "1", "Ja"],
                "dialect.false_values": ["false", "False", "FALSE", "0", "nein"],
            },
        ),
        "blanks_around": (3, ["id", "sold", "paid", "hue"], {"dialect.trim": "values"}),
        "enum_case": (2, ["hue"], {"dialect.enum_case": "ignore"}),
        "enum_invalid:is_none_of_red_blue": (1, ["hue"], None),
    }
    assert {cause["alone"] == cause["rejects"] for cause in found.values()} == {True}
    assert found["boolean_words"]["cause"] == 'booleans are in other words: "Ja" for true and "nein" for false'
    for fix, count in (("blanks_around", 3), ("boolean_words", 4), ("enum_case", 2)):
        child = retried(pipeline, parent, fix)
        assert (child["state"], child["loaded"]) == ("completed", count)
    assert sums(pipeline.upload(parent)) == (10, 9, 1)
    assert loaded(pipeline) == [
        *[(1, "2024-01-02", True, "Blue", " a ")] * 3,
        *[(2, "2024-01-03", True, "Red", "b")] * 2,
        *[(3, None, False, "Red", "c")] * 2,
        *[(4, None, False, "Red", "d")] * 2,
        (5, None, None, "Red", "e"),
        (6, None, None, "Blue", "f"),
    ]


def test_what_needs_two_of_these_fixes_takes_them_together(pipeline: Pipeline) -> None:
    parent = shipped(pipeline, "1 ,2024-01-02,yes,RED,a\n" * 30 + "2 ,,,Red,b\n3,,no,Red,c\n4,,,rED,d\n" * 30)
    child = retried(pipeline, parent, "blanks_around", "boolean_words", "enum_case")
    assert (child["loaded"], sums(pipeline.upload(parent))) == (120, (120, 120, 0))
    assert [option["trim"] for option in (child["dialect"], *child["dialect"]["before"])] == ["values", None]
    assert set(loaded(pipeline)) == {
        (1, "2024-01-02", True, "Red", "a"),
        (2, None, None, "Red", "b"),
        (3, None, False, "Red", "c"),
        (4, None, None, "Red", "d"),
    }


def test_a_file_that_declares_these_conventions_is_read_by_them(pipeline: Pipeline) -> None:
    dialect = {"trim": "values", "true_values": ["oui"], "false_values": ["non"], "enum_case": "ignore"}
    parent = shipped(pipeline, " 1,,oui,red , a\n2,,non,BLUE,b\n", dialect=dialect)
    assert loaded(pipeline) == [(1, None, True, "Red", " a"), (2, None, False, "Blue", "b")]
    assert pipeline.upload(parent)["rejected"] == 200  # true is none of the file's words
    assert causes(pipeline, parent)["type_invalid:is_not_a_boolean"]["fix"] is None


@pytest.mark.parametrize(
    "declared",
    [{"null_values": ["", "n/a"]}, {"true_values": ["oui"], "false_values": ["non"]}, {"units": ["EUR"]}],
    ids=["null values", "boolean words", "units"],
)
def test_a_file_that_declares_lists_of_words_has_causes_and_what_mends_them(
    pipeline: Pipeline, declared: dict[str, list[str]]
) -> None:
    """What was declared is asked for as it is kept, and is no list there."""
    parent = prices(pipeline, "1,31/12/2023,2024-01-01,1,2,a\n" * 30, dialect=declared)["id"]
    assert causes(pipeline, parent)["dates_day_first"]["fix"] == {"dialect.date_order": "dmy"}
    child = retried(pipeline, parent, "dates_day_first")
    assert (child["loaded"], child["rejected"]) == (30, 0)
    assert {name: child["dialect"][name] for name in declared} == declared


def test_a_word_that_two_options_would_read_is_left_to_who_knows(pipeline: Pipeline) -> None:
    """Nothing, or the enum's own."""
    fields = [{"name": "id", "type": "integer"}, {"name": "kind", "constraints": {"enum": ["none", "some"]}}]
    name = pipeline.dataset({"fields": fields}, "kinds")
    parent = pipeline.run(b"id,kind\n1,some\n" + b"2,None\n" * 20, name)["id"]
    assert [(one, cause["fix"]) for one, cause in causes(pipeline, parent).items()] == [
        ("enum_invalid:is_none_of_none_some", None)
    ]


def test_a_unit_beside_numbers_is_mended_and_per_cent_two_units_and_other_marks_are_not(pipeline: Pipeline) -> None:
    lines = (
        "1,2024-01-01,2024-01-01,12.50 EUR,2,a\n" * 30
        + "1,2024-01-01,2024-01-01,EUR 3,$4,b\n" * 5
        + "1,2024-01-01,2024-01-01,1,12 %,c\n" * 5
        + "1,2024-01-01,2024-01-01,1,5 kg,d\n" * 5
        + "1,2024-01-01,2024-01-01,1,5k,e\n"
    )
    parent = prices(pipeline, lines)
    found = causes(pipeline, parent["id"])
    assert {one: (cause["rejects"], cause["fix"]) for one, cause in found.items()} == {
        "numbers_unit_EUR": (35, {"dialect.units": ["EUR"]}),
        "numbers_unit_dollar_sign": (5, None),
        "numbers_unit_kg": (5, None),
        "type_invalid:is_not_a_number": (6, None),
    }
    assert "contradict" in found["numbers_unit_kg"]["unfixed"]
    child = retried(pipeline, parent["id"], "numbers_unit_EUR")
    assert (child["loaded"], child["rejected"], child["dialect"]["units"]) == (30, 0, ["EUR"])
    table = pipeline.sql(f"SELECT price::text FROM data.d_{number(pipeline, 'sales')} WHERE note = 'a'")
    assert [one["price"] for one in table] == ["12.50"] * 30


def test_a_unit_beside_numbers_with_other_marks_is_mended_with_these_and_else_not(pipeline: Pipeline) -> None:
    lines = '1,2024-01-01,2024-01-01,"12,50 €",5,a\n' * 30 + "1,2024-01-01,2024-01-01,5 €,5,b\n" * 10
    parent = prices(pipeline, lines)["id"]
    assert {one: cause["fix"] for one, cause in causes(pipeline, parent).items()} == {
        "numbers_decimal_comma_unit_euro_sign": {
            "dialect.decimal_char": ",",
            "dialect.group_char": None,
            "dialect.units": ["€"],
        },
        "numbers_unit_euro_sign": {"dialect.units": ["€"]},
    }
    assert retried(pipeline, parent, "numbers_decimal_comma_unit_euro_sign")["loaded"] == 40
    grouped = prices(pipeline, lines + '1,2024-01-01,2024-01-01,"1.234,50 €",1.234 €,c\n' * 9)["id"]
    found = causes(pipeline, grouped)
    assert {one for one, cause in found.items() if cause["fix"]} == {
        "numbers_decimal_comma_groups_point_unit_euro_sign"
    }


def test_several_units_each_of_its_column_are_mended_together(pipeline: Pipeline) -> None:
    parent = prices(pipeline, "1,2024-01-01,2024-01-01,5 EUR,5 kg,a\n" * 20)["id"]
    assert {one: cause["fix"] for one, cause in causes(pipeline, parent).items()} == {
        "numbers_unit_EUR": {"dialect.units": ["EUR"]},
        "numbers_unit_kg": {"dialect.units": ["kg"]},
    }
    child = retried(pipeline, parent, "numbers_unit_EUR", "numbers_unit_kg")
    assert (child["loaded"], child["rejected"]) == (20, 0)


def test_blanks_around_a_value_that_needs_another_option_are_one_fix_with_it(pipeline: Pipeline) -> None:
    lines = (
        "1, 31/12/2023,2024-01-01,1,2,padded\n" * 30
        + "1,30/12/2023,2024-01-01,1,2,plain\n" * 10
        + "1, 01/02/2023,2024-01-01, N/A,2,both\n" * 20
        + "1,2024-01-01,2024-01-01,1,2 ,blank\n" * 5
    )
    parent = prices(pipeline, lines)["id"]
    found = causes(pipeline, parent)
    both = {"dialect.date_order": "dmy", "dialect.trim": "values"}
    assert {one: (cause["rejects"], cause["alone"], cause["fix"]) for one, cause in found.items()} == {
        "dates_day_first_blanks_around": (50, 30, both),
        "dates_day_first": (10, 10, {"dialect.date_order": "dmy"}),
        "null_words_blanks_around": (20, 0, {"dialect.null_values": ["", "N/A"], "dialect.trim": "values"}),
        "blanks_around": (5, 5, {"dialect.trim": "values"}),
    }
    child = retried(pipeline, parent, "dates_day_first_blanks_around", "null_words_blanks_around")
    assert (child["loaded"], child["rejected"], sums(pipeline.upload(parent))) == (65, 0, (65, 65, 0))
    table = f"data.d_{number(pipeline, 'sales')}"
    told = pipeline.sql(
        f"SELECT DISTINCT note, sold::text, price::text FROM {table} WHERE note <> 'fine' ORDER BY note"
    )
    assert [tuple(one.values()) for one in told] == [
        ("blank", "2024-01-01", "1"),
        ("both", "2023-02-01", None),
        ("padded", "2023-12-31", "1"),
        ("plain", "2023-12-30", "1"),
    ]


def test_padded_dates_in_an_order_that_the_others_contradict_are_no_case_for_a_fix(pipeline: Pipeline) -> None:
    lines = "1, 12/31/2023,2024-01-01,1,2,a\n" * 9 + "1,31/12/2023,2024-01-01,1,2,b\n" * 30
    parent = prices(pipeline, lines)["id"]
    assert {(one, cause["rejects"], cause["fix"] is None) for one, cause in causes(pipeline, parent).items()} == {
        ("dates_mixed", 30, True),
        ("dates_mixed_blanks_around", 9, True),
    }


def test_a_file_of_which_no_record_has_the_header_s_delimiter_is_mended_by_its_own(pipeline: Pipeline) -> None:
    name = pipeline.dataset(SALES, "sales")
    body = b"".join(b"%d;2024-01-01;2024-01-01;1.5;2.5;a, b\n" % n for n in range(300)) + b"x;y;z;1;2;c\n1;2\n"
    parent = pipeline.run(HEAD + body, name, dialect={"delimiter": ","})
    assert (parent["loaded"], parent["rejected"]) == (0, 302)
    (cause,) = causes(pipeline, parent["id"]).values()
    assert (cause["id"], cause["fix"]) == ("width_mismatch", {"dialect.delimiter": ";"})
    child = retried(pipeline, parent["id"], "width_mismatch")
    assert (child["state"], child["loaded"], child["dialect"]["delimiter"]) == ("completed", 300, ";")
    assert sums(pipeline.upload(parent["id"])) == (302, 300, 2)
    (told,) = pipeline.sql(f"SELECT DISTINCT note FROM data.d_{number(pipeline, 'sales')}")
    assert told["note"] == "a, b"
    dates = pipeline.run(HEAD + b"1;2;3;4;5;6\n" + body, name, dialect={"delimiter": ","})["id"]
    with pytest.raises(Refused, match="alone"):
        begin(pipeline, dates, "width_mismatch", "width_mismatch")


@pytest.mark.parametrize("options", [{}, {"on_error": "abort"}])
def test_records_that_look_as_if_they_had_another_delimiter_are_left_where_others_are_right(
    pipeline: Pipeline, options: dict[str, str]
) -> None:
    parent = prices(pipeline, "1;2024-01-01;2024-01-01;1.5;2.5;a\n" * 30, **options)["id"]
    assert [(one, cause["fix"]) for one, cause in causes(pipeline, parent).items()] == [("width_mismatch", None)]


def test_a_file_whose_quotes_are_others_is_mended_by_these(pipeline: Pipeline) -> None:
    name = pipeline.dataset(SALES, "sales")
    body = b"1,2024-01-01,2024-01-01,1.5,2.5,'a, b'\n" * 30
    parent = pipeline.run(HEAD + body, name, dialect={"quote": '"'})["id"]
    (cause,) = causes(pipeline, parent).values()
    assert cause["fix"] == {"dialect.quote": "'"}
    assert retried(pipeline, parent, "width_mismatch")["loaded"] == 30


def test_bytes_of_cp1252_behind_a_sample_of_ascii_are_mended_and_right_letters_are_not_changed(
    pipeline: Pipeline,
) -> None:
    lines = "1,2024-01-01,2024-01-01,1,2,Müller naïve\n".encode("cp1252") * 30
    both = lines[:-1].splitlines()[0] + " é\n".encode()
    name = pipeline.dataset(SALES, "sales")
    parent = pipeline.run(HEAD + GOOD + lines + both + "1,2024-01-01,2024-01-01,1,2,é\n".encode(), name)
    assert (parent["loaded"], parent["rejected"]) == (9001, 31)
    (cause,) = causes(pipeline, parent["id"]).values()
    assert (cause["id"], cause["fix"]) == ("encoding_invalid", {"dialect.encoding": "cp1252"})
    child = retried(pipeline, parent["id"], "encoding_invalid")
    assert (child["loaded"], child["rejected"], child["dialect"]["encoding"]) == (30, 0, "cp1252")
    told = pipeline.sql(
        f"SELECT DISTINCT note FROM data.d_{number(pipeline, 'sales')} WHERE note <> 'fine' ORDER BY note"
    )
    assert [one["note"] for one in told] == ["Müller naïve", "é"]


def test_the_records_that_a_fix_took_up_are_fetched_and_match_the_retry_s_receipt(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    parent = prices(pipeline, BOTH)["id"]
    child = begin(pipeline, parent, "dates_day_first")
    with pytest.raises(Refused) as early:
        receipts.text(pipeline.tenant, child)
    go(pipeline, child)
    pipeline.attest()
    told = receipts.text(pipeline.tenant, child)
    key = unquote(urlsplit(told["url"]).path).rpartition("pieces/")[2]
    piece = boto3.client("s3").get_object(Bucket=settings().bucket, Key=f"pieces/{key}")["Body"].read()
    assert (told["size"], piece.count(b"dates\n")) == (len(piece), 30)
    (tmp_path / "piece.csv").write_bytes(piece)
    (tmp_path / "receipt.json").write_text(json.dumps(receipts.get(pipeline.tenant, child, Asked({}, None, 100))))
    found = offline.check(tmp_path / "receipt.json", tmp_path / "piece.csv", seals.keys())
    assert (found["result"], found["of"], found["problems"]) == ("match", "text", [])
    with pytest.raises(Refused) as none:
        receipts.text(pipeline.tenant, parent)
    assert [(one.value.code, one.value.status) for one in (early, none)] == [
        ("state_conflict", 409),
        ("text_not_made", 409),
    ]
    with pytest.raises(Refused) as stranger:
        receipts.text("ten_other", child)
    assert stranger.value.code == "upload_not_found"
