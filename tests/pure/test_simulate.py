"""The model against queues that can be worked out by hand, and the score of the ETA against forecasts that are known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.eta import Said, firsts, score
from bench.simulate.model import Clock, Cores, Site, Upload, play
from bench.simulate.scenarios import CHUNK_BYTES, chunks

BARE = Site(
    split_workers=1,
    load_workers={"low": 2},
    cores=100,
    event=0,
    plan=0,
    split_bytes_per_s=1e12,
    dispatch=0,
    finish=0,
    gap=0,
    own_chunk=1,
    own_row=0,
    shared_chunk=0,
    shared_row=0,
    variation=0,
)


def file(n: int, tenant: int = 0, at: float = 0.0) -> Upload:
    """An upload of so many chunks of a row and a megabyte each."""
    return Upload(at, tenant, "low", [1] * n, [1_000_000] * n)


def test_two_workers_take_half_as_many_turns_as_there_are_chunks_rounded_up() -> None:
    assert play(BARE, [file(7)]).took == pytest.approx(4, abs=1e-3)
    assert play(BARE, [file(8)]).took == pytest.approx(4, abs=1e-3)


def test_jobs_on_one_core_share_it_evenly() -> None:
    clock = Clock()
    cores, ended = Cores(clock, 1), []
    for name, after, work in (("first", 0, 1), ("second", 0, 2), ("late", 2.5, 1)):
        clock.after(after, lambda name=name, work=work: cores.work(work, lambda: ended.append((name, clock.now))))
    clock.run()
    # Until 2 both have had one second; the second alone until 2.5; then two share what is left.
    assert ended == [("first", pytest.approx(2)), ("second", pytest.approx(3.5)), ("late", pytest.approx(4))]
    assert cores.worked == pytest.approx(4)


def test_functions_wait_for_a_database_that_is_full() -> None:
    site = replace(BARE, load_workers={"low": 5}, own_chunk=0, shared_chunk=1, cores=2)
    played = play(site, [file(10)])
    assert played.took == pytest.approx(5, abs=1e-3)
    assert played.used["database"] == pytest.approx(1, abs=1e-3)


def test_a_slow_scan_keeps_the_workers_waiting() -> None:
    played = play(replace(BARE, split_bytes_per_s=1e6), [file(10)])
    assert played.took == pytest.approx(11, abs=1e-3)
    assert played.used["load_low"] < 0.5 < played.used["split"]


def test_in_turn_a_small_upload_does_not_wait_for_a_large_one_that_came_before() -> None:
    uploads = [file(100), file(1, tenant=1, at=0.5)]
    in_turn, in_order = play(BARE, uploads), play(replace(BARE, in_turn=False), uploads)
    assert in_turn.ended[1] < 4
    assert in_order.ended[1] > 50
    assert in_turn.took == pytest.approx(in_order.took, abs=1.01)


def test_a_mapping_begins_with_five_and_takes_five_more_a_second() -> None:
    site = replace(BARE, load_workers={"low": 1000}, own_chunk=1000)
    assert play(site, [file(100)]).took == pytest.approx(1000 + 19, abs=1.1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 8), st.integers(0, 1000))
def test_more_workers_never_take_longer_and_the_same_seed_takes_as_long(sizes: list[int], low: int, seed: int) -> None:
    site = replace(BARE, in_turn=False)
    uploads = [file(size, tenant) for tenant, size in enumerate(sizes)]
    few, many = (play(replace(site, load_workers={"low": n}), uploads, seed) for n in (low, low + 1))
    assert many.took <= few.took + 1e-6
    noisy = replace(site, variation=0.3)
    assert play(noisy, uploads, seed).ended == play(noisy, uploads, seed).ended


@given(st.integers(1, 10**8), st.floats(5, 500))
def test_chunks_are_equal_even_in_number_and_no_larger_than_may_be(rows: int, bytes_per_row: float) -> None:
    counts, sizes = chunks(rows, bytes_per_row)
    assert sum(counts) == rows
    assert len(counts) == 1 or len(counts) % 2 == 0
    assert max(counts) - min(counts) <= 1
    assert max(sizes) <= CHUNK_BYTES + bytes_per_row + 1


def test_a_perfect_forecast_scores_a_half_and_nine_in_ten() -> None:
    chance = random.Random(1)
    ended = {f"u{n}": chance.gauss(100, 10) for n in range(4000)}
    said = [Said(upload, 0, 100, 100 + 12.8, True) for upload in ended]
    found = score(said, ended)
    assert found is not None
    assert found.by_p50 == pytest.approx(0.5, abs=0.03)
    assert found.by_p90 == pytest.approx(0.9, abs=0.02)


def test_an_upload_counts_once_however_often_it_was_asked_about_and_not_after_its_end() -> None:
    ended = {"a": 10.0, "b": 10.0}
    said = [Said("a", n, 20, 30) for n in range(8)] + [Said("b", 1, 5, 9), Said("b", 11, 50, 90), Said("c", 1, 5, 9)]
    found = score(said, ended)
    assert found is not None
    assert (found.uploads, found.answers, found.by_p50, found.by_p90) == (2, 9, 0.5, 0.5)
    assert [one.at for one in firsts(said)] == [0, 1, 1]
    assert score([], ended) is None
