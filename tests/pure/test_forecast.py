"""What is said of the end: in order, growing with what is left, never in the past, and about right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import outlook
from chalicelib.forecast import Begun, Forecast, Pace, Span, forecast, observe

SHARES = (0.5, 0.9)
seconds = st.floats(0.001, 3600)
sizes = st.integers(0, 10**12)


@st.composite
def paces(draw: st.DrawFn) -> Pace:
    took = draw(st.lists(seconds, min_size=1, max_size=20))
    size = draw(st.integers(1, 10**9))
    return Pace(len(took), sum(took), sum(one**2 for one in took), size, draw(st.floats(0.01, 50)))


begun = st.builds(Begun, st.integers(0, 20), st.floats(0, 1e5))


def told(pace: Pace | None, size: int, *rest: Begun, borrowed: bool = False) -> Forecast:
    said = forecast(pace, size, *rest, borrowed=borrowed)
    assert said is not None
    return said


@given(paces(), sizes, begun, st.booleans(), st.floats(0, 1e7))
def test_the_median_comes_before_the_late_end_and_neither_is_in_the_past(
    pace: Pace, size: int, begun: Begun, borrowed: bool, since: float
) -> None:
    said = told(pace, size, begun, borrowed=borrowed)
    left = said.quantiles(SHARES, since)
    if left is None:
        assert since >= said.quantile(0.99)
    else:
        assert since <= left[0] <= left[1]


@given(paces(), sizes, sizes, begun, st.booleans())
def test_more_that_is_left_never_means_an_earlier_end(
    pace: Pace, size: int, more: int, begun: Begun, borrowed: bool
) -> None:
    less, greater = (told(pace, one, begun, borrowed=borrowed) for one in (size, size + more))
    for share in SHARES:
        assert greater.quantile(share) >= less.quantile(share) * (1 - 1e-9)


@given(paces(), st.integers(1, 10**12), st.floats(0, 3), st.floats(0, 3))
def test_time_that_passes_never_brings_the_end_nearer_than_it_was_said_to_be(
    pace: Pace, size: int, earlier: float, later: float
) -> None:
    said = told(pace, size)
    first, last = (said.quantiles(SHARES, share * said.seconds) for share in sorted((earlier, later)))
    if last is not None:
        assert first is not None
        assert all(then <= now * (1 + 1e-9) for then, now in zip(first, last, strict=True))


def test_what_was_said_stands_until_its_moment_has_passed() -> None:
    said = Forecast(10, 0.4)
    assert said.quantiles(SHARES, 9.9) == [said.quantile(share) for share in SHARES]
    late = said.quantiles(SHARES, 12)
    assert late is not None
    assert 12 < late[0] < late[1]
    assert late[1] > said.quantile(0.9)


def test_of_an_upload_that_is_later_than_nearly_all_nothing_is_said_any_more() -> None:
    said = Forecast(10, 0.4)
    assert said.quantiles(SHARES, said.quantile(0.99) - 0.01) is not None
    assert said.quantiles(SHARES, said.quantile(0.99)) is None
    assert Forecast(0.0, 0.4).quantiles(SHARES, 0) is None


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert forecast(None, 1000) is None
    assert observe([], 100) is None
    assert observe([Span(0, 1, None, 1000)], 100) is None, "one that is being worked on has shown nothing yet"
    assert outlook.eta(None, datetime.now(UTC)) is None
    assert outlook.eta({"at": 0.0, "seconds": 10.0, "spread": 0.5}, datetime.now(UTC)) is None


@pytest.mark.parametrize(
    ("left", "begun", "lowest", "highest"),
    [
        (8, Begun(2, 0), 3.9, 4.8),
        (8, Begun(2, 1), 3.4, 4.3),
        (2, Begun(2, 1.0), 0.4, 0.7),
        (1, Begun(1, 0.5), 0.4, 0.6),
        (1, Begun(1, 50), 0.05, 0.2),  # one that takes long is nearly there, never before its end
    ],
)
def test_two_workers_need_half_the_time_of_the_chunks_that_are_left(
    left: int, begun: Begun, lowest: float, highest: float
) -> None:
    pace = Pace(chunks=4, seconds=4, squares=4, bytes=4000, at_once=2)
    assert lowest <= told(pace, 1000 * left, begun).seconds <= highest


def test_chunks_that_differ_much_make_the_late_end_later() -> None:
    alike, unlike = Pace(10, 10, 10, 10_000, 2), Pace(10, 10, 25, 10_000, 2)
    assert told(unlike, 20_000).quantile(0.9) > 1.1 * told(alike, 20_000).quantile(0.9)
    assert told(alike, 20_000).seconds == told(unlike, 20_000).seconds


def test_a_pace_that_is_others_is_trusted_less() -> None:
    pace = Pace(10, 10, 10, 10_000, 2)
    assert told(pace, 20_000, borrowed=True).quantile(0.9) > told(pace, 20_000).quantile(0.9)


def test_a_queue_that_was_idle_for_a_while_has_not_been_slow() -> None:
    busy = [Span(0, n, n + 1, 1000) for n in range(4)] + [Span(0, n, n + 1, 1000) for n in range(4)]
    later = [Span(span.sent + 500, span.started + 500, (span.finished or 0) + 500, span.bytes) for span in busy]
    assert observe(busy, 4) == Pace(8, 8, 8, 8000, at_once=2)
    assert observe(busy + later, 504) == Pace(16, 16, 16, 16000, at_once=2)


def test_the_way_from_a_message_to_its_worker_is_time_that_others_take_too() -> None:
    pace = observe([Span(0, 0, 1, 1000), Span(0, 3, 4, 1000)], 4)
    assert pace is not None
    assert pace.at_once == pytest.approx(0.5)
    assert told(pace, 4000).seconds == pytest.approx(8)


def test_the_two_moments_are_spelt_as_all_others_and_not_before_now() -> None:
    now = datetime(2026, 11, 22, 12, 0, 0, 999999, tzinfo=UTC)
    for late in (0, 5, 10, 12, 20, 31):
        said = {"at": (now - timedelta(seconds=late)).timestamp(), "seconds": 10.0, "spread": 0.5}
        eta = outlook.eta(said, now)
        assert eta is not None
        p50, p90 = (datetime.fromisoformat(eta[name]) for name in ("p50_at", "p90_at"))
        assert now <= p50 <= p90


def test_a_size_beyond_all_measure_is_told_as_a_date_all_the_same() -> None:
    said = told(Pace(1, 3600, 3600**2, 1, 0.01), 10**15)
    assert outlook.eta({"at": 1_800_000_000.0, "seconds": said.seconds, "spread": 3.0}, datetime.now(UTC))
