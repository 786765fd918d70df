"""The state table is closed, ranks only grow, rows find their way back to their file, tiers have exact borders."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.journey import (
    LOADING,
    PASSES,
    RECORD_BITS,
    STATUS,
    TERMINAL,
    TIERS,
    TRANSITIONS,
    VERBS,
    State,
    Verb,
    from_key,
    lineage,
    object_key,
    rank,
    sources,
    tier,
)

MOVES = [(before, after) for before, onward in TRANSITIONS.items() for after in onward]
STATES = st.sampled_from(get_args(State))
CHUNKS_DONE = st.integers(0, 2**31 - 1)
TURNS = st.integers(0, 10_000)
NUMBERS = st.integers(1, 2**31 - 1)
RECORDS = st.integers(1, 2**RECORD_BITS - 1)


def reachable(start: State) -> set[State]:
    seen: set[State] = set()
    open_states = [start]
    while open_states:
        state = open_states.pop()
        if state not in seen:
            seen.add(state)
            open_states.extend(TRANSITIONS[state])
    return seen


def test_every_state_has_its_moves_and_its_status() -> None:
    assert set(TRANSITIONS) == set(STATUS) == set(get_args(State))
    assert {after for _, after in MOVES} <= set(TRANSITIONS)


def test_every_state_can_be_reached_from_the_first() -> None:
    assert reachable("awaiting_upload") == set(TRANSITIONS)


def test_every_state_can_still_end() -> None:
    assert all(reachable(state) & TERMINAL for state in TRANSITIONS)


def test_the_terminal_states_are_the_seven_that_the_api_calls_over() -> None:
    over = {"completed", "completed_with_errors", "failed", "canceled", "expired", "reverted", "quarantined"}
    assert over == TERMINAL
    assert {STATUS[state] for state in TERMINAL} == {"success", "partial", "failed", "canceled"}
    assert {STATUS[state] for state in TRANSITIONS if state not in TERMINAL} == {"pending", "processing"}


def test_an_end_is_left_only_by_a_redrive_or_a_revert() -> None:
    assert {state for state in TERMINAL if TRANSITIONS[state]} == {
        *("completed", "completed_with_errors", "failed", "canceled")
    }
    assert {after for state in TERMINAL for after in TRANSITIONS[state]} == {"processing", "scanning", "reverting"}


def test_what_is_being_undone_comes_to_an_end_and_can_be_asked_again_where_that_failed() -> None:
    assert set(TRANSITIONS["reverting"]) == {"reverted", "failed"}
    assert TRANSITIONS["reverted"] == ()
    assert set(sources("reverting")) == set(VERBS["revert"]) - {"reverting", "reverted"}


def test_a_paused_upload_is_left_by_resume_and_cannot_complete() -> None:
    assert sources("paused") == ["queued", "processing"]
    assert not {"completed", "completed_with_errors"} & set(TRANSITIONS["paused"])


def test_verbs_are_asked_of_states_that_there_are() -> None:
    assert set(VERBS) == set(get_args(Verb))
    assert {state for states in VERBS.values() for state in states} <= set(TRANSITIONS)
    under_way = {state for state in TRANSITIONS if state not in TERMINAL} - {"reverting"}
    assert set(VERBS["cancel"]) == under_way | {"canceled"}
    assert {state for state in VERBS["delete"] if state not in TERMINAL} == {"awaiting_upload"}


def test_chunks_commit_only_where_the_upload_can_still_complete() -> None:
    assert all("completed" in TRANSITIONS[state] for state in LOADING)
    assert not TERMINAL & set(LOADING)


@given(STATES, STATES)
def test_sources_is_the_table_read_backwards(before: State, after: State) -> None:
    assert (before in sources(after)) == ((before, after) in MOVES)


@given(st.sampled_from(MOVES), st.integers(1, 1000), CHUNKS_DONE, CHUNKS_DONE, TURNS)
def test_rank_grows_along_every_move_whatever_the_chunks(
    move: tuple[State, State], generation: int, done_before: int, done_after: int, turns: int
) -> None:
    before, after = move
    begun_anew = before in TERMINAL  # a redrive is a new generation
    resumed = before == "paused"  # each pause and resume is a turn
    if (before in LOADING and after == "splitting") or before == "needs_review":
        assert rank(before, generation, done_before, reading="check") < rank(after, generation, done_after)
        return
    for reading in PASSES:
        later = rank(after, generation + begun_anew, done_after, reading=reading, turns=turns + resumed)
        assert rank(before, generation, done_before, reading=reading, turns=turns) < later


@given(STATES, st.integers(1, 1000), CHUNKS_DONE)
def test_rank_grows_with_every_chunk_and_every_generation(state: State, generation: int, done: int) -> None:
    assert rank(state, generation, done) < rank(state, generation, done + 1)
    assert all(rank(state, generation, done) < rank(later, generation + 1, 0) for later in TRANSITIONS)
    assert all(rank(state, generation, done) < rank(later, 1, 0, epoch=1) for later in TRANSITIONS)


@given(st.sampled_from(sorted(TERMINAL)), STATES, CHUNKS_DONE, CHUNKS_DONE)
def test_no_state_but_another_end_comes_near_the_rank_of_an_end(end: State, state: State, done: int, then: int) -> None:
    if state in TERMINAL:
        assert rank(state, 1, done) == rank(end, 1, done)
    else:
        assert rank(state, 1, then) < rank(end, 1, done)


@given(STATES, CHUNKS_DONE)
def test_any_projection_outranks_what_admission_and_the_pin_wrote(state: State, done: int) -> None:
    if state not in ("awaiting_upload", "uploaded"):
        assert rank(state, 1, done) > 1


@given(NUMBERS, RECORDS)
def test_a_row_leads_back_to_its_upload_and_record(number: int, record: int) -> None:
    row = lineage(number, record)
    assert (row >> RECORD_BITS, row & (1 << RECORD_BITS) - 1) == (number, record)
    assert 0 < row < 2**63


@given(st.tuples(NUMBERS, RECORDS), st.tuples(NUMBERS, RECORDS))
def test_rows_sort_by_upload_then_by_record(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (lineage(*one) < lineage(*other)) == (one < other)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(0, "high"), (999, "high"), (1000, "medium"), (5000, "medium"), (5001, "low"), (10**9, "low")],
)
def test_tiers_change_at_1000_and_above_5000(rows: int, expected: str) -> None:
    assert tier(rows) == expected
    assert expected in TIERS


IDS = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(IDS, IDS)
def test_an_object_key_names_its_upload(tenant: str, upload_id: str) -> None:
    assert from_key(object_key(tenant, upload_id)) == (tenant, upload_id)


@pytest.mark.parametrize(
    "key",
    ["", "uploads", "uploads/t/u", "uploads/t/u/other", "uploads/t/u/v/source", "x/t/u/source", "/uploads/t/u/source"],
)
def test_other_objects_are_no_upload(key: str) -> None:
    assert from_key(key) is None
