"""The bill: by hand for one upload, never less for more work, and by the memory that functions really have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import formats, prices, tickets
from chalicelib.aws import s3
from chalicelib.prices import Work
from chalicelib.settings import settings

ROOT = Path(__file__).resolve().parents[2]
SMALL = Work(
    passes=1,
    chunks=8,
    attempts=8,
    split_s=0.95,
    load_s=7.6,
    settle_s=0.0,
    settlings=0,
    stored=31_000_000,
    pieced=0,
    read=62_000_000,
    lasted_s=4.0,
)
works = st.builds(
    Work,
    passes=st.integers(1, 2),
    chunks=st.integers(0, 10**5),
    attempts=st.integers(0, 10**5),
    split_s=st.floats(0, 1e5),
    load_s=st.floats(0, 1e7),
    settle_s=st.floats(0, 1e5),
    settlings=st.integers(0, 4),
    stored=st.integers(1, 10**11),
    pieced=st.integers(0, 10**11),
    read=st.integers(0, 10**11),
    lasted_s=st.floats(0, 1e6),
)


def test_the_bill_of_one_upload_is_what_it_is_by_hand() -> None:
    assert prices.gb_seconds(SMALL) == pytest.approx({"split": 0.5, "load": 4.0, "settle": 0.0})
    asked = prices.requests(SMALL)
    assert (asked.invocations, asked.sqs, asked.s3_put, asked.s3_get) == (9, 3 + 4 + 16, 1, 11)
    assert asked.dynamodb_write == 6 + 3 * 9
    by_hand = 4.5 * 0.0000166667 + (9 * 0.2 + 23 * 0.5 + 5 + 11 * 0.4 + 33 * 0.625) / 1e6
    assert prices.usd(SMALL) == pytest.approx(by_hand)


@given(works, st.sampled_from(["chunks", "attempts", "split_s", "load_s", "settle_s", "settlings", "stored", "pieced"]))
def test_more_work_never_costs_less(work: Work, what: str) -> None:
    grown = {what: getattr(work, what) * 2 + 1}
    if what == "chunks":  # each of which takes an attempt
        grown["attempts"] = work.attempts + work.chunks + 1
    more = replace(work, **grown)
    assert prices.usd(more) >= prices.usd(work) > 0


def test_a_long_file_writes_its_status_twice_a_second_however_many_chunks_it_has() -> None:
    long = replace(SMALL, chunks=24_000, attempts=24_000, lasted_s=100.0)
    assert prices.requests(long).dynamodb_write == 6 + 3 * 202


def test_attempts_that_were_put_off_are_paid_for() -> None:
    again = replace(SMALL, attempts=10)
    assert prices.requests(again).sqs == prices.requests(SMALL).sqs + 6
    assert prices.requests(again).s3_get == prices.requests(SMALL).s3_get + 2


def test_functions_are_billed_by_the_memory_that_they_are_deployed_with() -> None:
    config = json.loads((ROOT / ".chalice/config.json").read_text())
    usual, functions = config["lambda_memory_size"], config["lambda_functions"]
    for name in ("split", "load_high", "load_medium", "load_low", "settle"):
        deployed = functions[name].get("lambda_memory_size", usual)
        assert prices.MEMORY_MB[name.partition("_")[0]] == deployed
    assert functions["settle"]["lambda_timeout"] == prices.SETTLE_SECONDS


def test_the_formula_goes_by_the_sizes_that_the_pipeline_reads_and_writes_in() -> None:
    """They stand here once more, as a price list knows none of the rooms above it."""
    assert prices.SAMPLE_BYTES == formats.SAMPLE_BYTES
    assert (prices.STREAM_BYTES, prices.PIECE_PART_BYTES) == (s3.STREAM_BYTES, s3.WRITTEN_PART)
    assert (tickets.PART_BYTES, settings().multipart_bytes) == (prices.PART_BYTES, prices.PARTS_ABOVE)
