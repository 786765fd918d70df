"""When an upload will be over: pure arithmetic on what its chunks, or others in its tier's queue, have shown.

The time that is left is taken as log-normal: a median and a spread, which shrinks as chunks come in. It is said once,
with the status, and read later: what was said stands until its moment has passed, and is then what it amounts to
for an upload that is that late. So no answer names a moment in the past, and one that waits is not told anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

OWN_SPREAD: Final = 0.25  # of the log, beyond what chunks differ by: others come and go. Both scored by bench.eta
BORROWED_SPREAD: Final = 0.5  # the same where only other uploads' chunks have been seen
PACED_SPREAD: Final = 0.05  # the same where a dataset's own limit is the pace
_USUAL_VARIATION: Final = 0.5  # what chunks differ by before two have been seen, worth _USUAL_CHUNKS of them
_USUAL_CHUNKS: Final = 2
_MOST_VARIATION: Final = 1.0  # above it, less left would not always mean an earlier p90
_NEARLY_ALL: Final = 0.99
_LONGEST: Final = 10 * 365 * 86400.0  # seconds that anything is said to take; moments have a last year
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Pace:
    """What loading has shown lately: chunks that are done, their seconds of work, and how many went on at once."""

    chunks: int
    seconds: float
    squares: float  # of the seconds
    bytes: int
    at_once: float

    @property
    def each(self) -> float:
        """Seconds that a chunk takes."""
        return self.seconds / self.chunks

    @property
    def variation(self) -> float:
        """By how much chunks differ: standard deviation over mean, drawn towards what is usual while they are few."""
        seen = max(0.0, self.squares / self.each**2 - self.chunks)
        usual = _USUAL_CHUNKS * _USUAL_VARIATION**2
        return min(_MOST_VARIATION, math.sqrt((seen + usual) / (self.chunks + _USUAL_CHUNKS)))


@dataclass(frozen=True, slots=True)
class Begun:
    """Chunks that are being worked on, and for how many seconds in all."""

    chunks: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """One chunk's time in its queue and at work, in seconds of any clock; `finished` is None while it goes on."""

    sent: float
    started: float
    finished: float | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left: the median of the seconds, and the spread of their logarithm."""

    seconds: float
    spread: float

    def quantile(self, share: float) -> float:
        """Within so many seconds of when it was said, this share of such uploads are over."""
        return min(_LONGEST, self.seconds * math.exp(self.spread * _NORMAL.inv_cdf(share)))

    def quantiles(self, shares: Sequence[float], since: float) -> list[float] | None:
        """The same of an upload that is not over `since` seconds after it was said; none is below `since`.

        Shares rise. They are told anew only when the lowest has passed: an answer that stands can be cached. None for
        an upload that is later than nearly all: something is the matter that the forecast knows nothing of.
        """
        told = [self.quantile(share) for share in shares]
        if told[0] > since:
            return told
        if since >= self.quantile(_NEARLY_ALL):
            return None
        over = _NORMAL.cdf(math.log(since / self.seconds) / self.spread)
        return [max(since, self.quantile(over + share * (1 - over))) for share in shares]


def forecast(
    pace: Pace | None, size: int, begun: Begun = Begun(), settling: float = 0.0, *, borrowed: bool = False
) -> Forecast | None:
    """What is left of `size` bytes that are not loaded yet, some of them begun; None if no pace is known.

    `settling` are seconds that come after the last chunk. A `borrowed` pace is that of other uploads.
    """
    if pace is None or pace.bytes <= 0 or pace.seconds <= 0 or pace.at_once <= 0:
        return None
    chunks = size * pace.chunks / pace.bytes
    done = min(begun.seconds, 0.9 * min(begun.chunks, chunks) * pace.each)  # none is as good as done
    workers = min(pace.at_once, max(1.0, chunks))
    # While the last chunks are worked on, some workers have none left: about half a chunk's time at each but one.
    idle = max(0.0, workers - 1) / (2 * workers) * min(1.0, max(0.0, chunks - begun.chunks) / workers)
    seconds = (chunks * pace.each - done) / workers + idle * pace.each + settling
    turns = max(1.0, seconds / pace.each)
    variance = pace.variation**2 * (1 / turns + 1 / pace.chunks)
    return Forecast(seconds, math.hypot(math.sqrt(variance), BORROWED_SPREAD if borrowed else OWN_SPREAD))


def observe(spans: Iterable[Span], now: float) -> Pace | None:
    """The pace of a queue's workers by their latest chunks; None if none of them is done.

    How many work at once is how much work they did while there was something to do, the time from a message to its
    worker included: a queue that was idle for a while has not been slow.
    """
    seen = list(spans)
    done = [(span.finished - span.started, span.bytes) for span in seen if span.finished is not None]
    if not done:
        return None
    first = min(span.started for span in seen)
    worked = sum((now if span.finished is None else span.finished) - span.started for span in seen)
    busy = _covered([(max(first, span.sent), now if span.finished is None else span.finished) for span in seen])
    took = [seconds for seconds, _ in done]
    squares = sum(seconds**2 for seconds in took)
    return Pace(len(done), sum(took), squares, sum(size for _, size in done), worked / busy if busy > 0 else 1.0)


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """How long at least one of the spans lasted."""
    ordered = sorted(spans)
    reached, covered = -math.inf, 0.0
    for start, end in ordered:
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered
