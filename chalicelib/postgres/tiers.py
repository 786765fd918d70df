"""What waits in the tiers' queues and how fast their workers go, by what the chunks of all uploads say.

For uploads of which no chunk is in yet. Looked at once in a few seconds by a process, however many it speaks of.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from chalicelib.forecast import Begun, Span
from chalicelib.journey import LOADING
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.projection import PACED

_LOOKED_SECONDS: Final = 5
_LATEST_UPLOADS: Final = 2000  # that are looked at for finished chunks
_LATEST_CHUNKS: Final = 200  # of a tier


@dataclass(frozen=True, slots=True)
class Before:
    """What was sent to a tier's queue before an upload's first chunk that waits, and is not loaded."""

    chunks: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Tiers:
    """A look at all queues. Moments are seconds of Postgres' clock."""

    before: Mapping[int, Before]  # by upload
    spans: Mapping[str, list[Span]]  # by tier: the latest chunks that were begun
    now: float

    def begun(self, tier: str) -> Begun:
        """What the tier's workers are at."""
        going = [self.now - span.started for span in self.spans.get(tier, []) if span.finished is None]
        return Begun(len(going), sum(going))


def look(connection: Connection, number: int) -> Tiers:
    """The queues as they are, or were a few seconds ago if this upload waited in them then.

    How fast their workers go may be as old for everybody, once it is known: it takes a look at thousands of chunks.
    """
    moment = int(time.monotonic() / _LOOKED_SECONDS)
    if number not in _waiting(connection, moment):
        _waiting.cache_clear()
    spans, now = _begun_lately(connection, moment)
    if not spans:
        _begun_lately.cache_clear()
    return Tiers(_waiting(connection, moment), spans, now)


@lru_cache(maxsize=1)
def _waiting(connection: Connection, _moment: int) -> dict[int, Before]:
    rows = connection.execute(
        """
        WITH open AS MATERIALIZED (
            SELECT number, pass, plan ->> 'tier' AS tier FROM rowmill.upload
            WHERE finished_at IS NULL AND state = ANY(%s) AND plan IS NOT NULL)
        SELECT upload, min(chunks) - 1, min(bytes)::bigint
        FROM (SELECT c.upload, row_number() OVER w AS chunks,
                     sum(byte_end - byte_start) OVER w - (byte_end - byte_start) AS bytes
              FROM open o JOIN rowmill.chunk c ON c.upload = o.number AND c.pass = o.pass
              WHERE c.state = 'queued' AND c.sent_at IS NOT NULL
              WINDOW w AS (PARTITION BY o.tier ORDER BY c.sent_at, c.upload, c.n ROWS UNBOUNDED PRECEDING)) placed
        GROUP BY upload
        """,
        (list(LOADING),),
    )
    return {upload: Before(chunks, size) for upload, chunks, size in rows}


@lru_cache(maxsize=1)
def _begun_lately(connection: Connection, _moment: int) -> tuple[dict[str, list[Span]], float]:
    """Of each tier, what is being worked on and what was finished last; and when that was so."""
    rows = connection.execute(
        f"""
        WITH lately AS MATERIALIZED (
            SELECT number, plan ->> 'tier' AS tier
            -- Not by a number that they are above: the planner takes that for a third of all, and reads all chunks.
            FROM (SELECT number, plan, finished_at FROM rowmill.upload
                  ORDER BY number DESC LIMIT {_LATEST_UPLOADS}) latest
            WHERE plan IS NOT NULL AND (finished_at IS NULL OR finished_at > clock_timestamp() - %(paced)s)),
        placed AS (
            SELECT l.tier, c.*, row_number() OVER (PARTITION BY l.tier ORDER BY c.finished_at DESC NULLS FIRST) AS place
            FROM lately l JOIN rowmill.chunk c ON c.upload = l.number AND c.pass IN ('check', 'load')
            WHERE c.state IN ('queued', 'loaded') AND c.started_at > clock_timestamp() - %(paced)s)
        SELECT tier, extract(epoch FROM coalesce(sent_at, started_at))::float8, extract(epoch FROM started_at)::float8,
               extract(epoch FROM finished_at)::float8, byte_end - byte_start
        FROM placed WHERE place <= %(chunks)s
        """,
        {"chunks": _LATEST_CHUNKS, "paced": PACED},
    )
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for tier, *span in rows:
        spans[tier].append(Span(*span))
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    return dict(spans), row[0]
