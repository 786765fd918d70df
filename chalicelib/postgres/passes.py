"""From one pass over a file to the next: a check waits for somebody, loads by itself, or has found too much.

Every move is conditional and is made by one caller, who holds the upload exclusively where that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg.types.json import Jsonb

from chalicelib.journey import Mode, Number, State, sources
from chalicelib.postgres import ledger, manifest
from chalicelib.postgres.connection import Connection

REVIEW_EXPIRED: Final = {"code": "review_expired", "detail": "Nobody confirmed the upload in time."}


def await_review(connection: Connection, number: Number, review: Mapping[str, Any] | None) -> bool:
    """The check pass is over, and somebody is to look at it, which is an event. Hold the upload exclusively."""
    moved = connection.execute(
        """
        WITH moved AS (
            UPDATE rowmill.upload SET state = 'needs_review', review_at = clock_timestamp(), review = %s
            WHERE number = %s AND pass = 'check' AND state = ANY(%s)
            RETURNING number, upload_id, generation
        )
        INSERT INTO rowmill.outbox (event_id, upload, generation, kind)
        SELECT 'evt_' || substr(upload_id, 5) || '_' || generation || '_review', number, generation, 'needs_review'
        FROM moved
        """,
        (Jsonb(review) if review else None, number, sources("needs_review")),
    )
    return moved.rowcount == 1


def give_dataset(connection: Connection, number: Number, dataset: int, mode: Mode, plan: Mapping[str, Any]) -> None:
    """The dataset of an upload whose types had to be found first, and what its plan lacked for that."""
    connection.execute(
        """
        UPDATE rowmill.upload SET dataset = %s, mode = %s, plan = plan || %s
        WHERE number = %s AND dataset IS NULL AND state = 'needs_review'
        """,
        (dataset, mode, Jsonb(plan), number),
    )


def begin_load(connection: Connection, number: Number, before: Sequence[State]) -> bool:
    """Let the second pass begin, the one that loads, from one of these states. Hold the upload exclusively.

    The splitter makes its chunks; the sweep sends for one if that message is lost.
    """
    moved = connection.execute(
        """
        UPDATE rowmill.upload u
        SET state = 'splitting', pass = 'load', chunks_total = NULL, review_at = NULL, split_at = NULL,
            scan_seen_at = clock_timestamp(), scan_attempts = 0, projected_at = '-infinity', settle_asked_at = NULL,
            settle_attempts = 0
        WHERE number = %s AND pass = 'check' AND state = ANY(%s)
          AND NOT EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id)
        """,
        (number, list(before)),
    )
    return moved.rowcount == 1


def expire_reviews(connection: Connection, seconds: float) -> list[Number]:
    """Cancel what has waited to be confirmed for so many seconds."""
    late = connection.execute(
        """
        SELECT number FROM rowmill.upload
        WHERE finished_at IS NULL AND state = 'needs_review'
          AND review_at < clock_timestamp() - make_interval(secs => %s)
        """,
        (seconds,),
    ).fetchall()
    return [Number(row[0]) for row in late if _expire_review(connection, Number(row[0]))]


def _expire_review(connection: Connection, number: Number) -> bool:
    with connection.transaction():
        ledger.lock_upload(connection, number, shared=False)
        row = connection.execute("SELECT state FROM rowmill.upload WHERE number = %s", (number,)).fetchone()
        seen = manifest.records_seen(connection, number)
        return row == ("needs_review",) and ledger.end(connection, number, "canceled", seen, REVIEW_EXPIRED)
