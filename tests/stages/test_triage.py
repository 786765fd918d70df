"""Rejects by the few causes behind them, and records that are read again by what was proved to mend them."""

from __future__ import annotations

import random
from typing import Any

import boto3
import pytest

from chalicelib import admit, rejects, report, triage
from chalicelib.errors import Refused
from chalicelib.postgres.timeline import Asker
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, cut_into

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
