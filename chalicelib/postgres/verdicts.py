"""What is known of a file's bytes before any of its rows may be in the table.

Chunks commit when the scan for record borders has seen all bytes, and looked at them, and a scanner, where one is
configured, has found nothing. Once that is so it stays so, but for a redrive of what was never scanned to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from chalicelib.postgres import locks
from chalicelib.postgres.connection import Connection

Verdict = Literal["unscanned", "clean", "infected"]

# Of a row `u`: no scanner was to be asked, or it has found nothing.
PASSED: Final = "coalesce(u.verdict IN ('unscanned', 'clean'), false)"
# And all bytes of its text were looked at, in this pass or in the check before, and nothing was found.
CLEARED: Final = f"""
    ({PASSED} AND (u.chunks_total IS NOT NULL OR u.pass = 'load' AND (
        u.options @> '{{"on_drift": "hold"}}' OR u.options ?| array['validate_only', 'infer'])))
"""


def note_infected(connection: Connection, number: int, threat: str) -> None:
    """Malware of this name was found in the upload's file."""
    connection.execute(
        "UPDATE rowmill.upload SET verdict = 'infected', threat = %s WHERE number = %s AND state = 'quarantined'",
        (threat, number),
    )


def note_clean(connection: Connection, number: int) -> None:
    """The scanner has seen the file, and what was unpacked of it, and found nothing."""
    connection.execute(
        "UPDATE rowmill.upload SET verdict = 'clean' WHERE number = %s AND verdict IS NULL AND finished_at IS NULL",
        (number,),
    )


@dataclass(frozen=True, slots=True)
class Awaited:
    """How far a scanner has come: so many bytes were looked at, and for so many seconds it has been asked."""

    looked: int
    seconds: float


def ask(connection: Connection, number: int) -> Awaited:
    """Note that somebody is at it; anew in each generation of the upload."""
    row = connection.execute(
        """
        INSERT INTO rowmill.gate AS g (upload, generation)
        SELECT number, generation FROM rowmill.upload WHERE number = %s
        ON CONFLICT (upload) DO UPDATE SET seen_at = clock_timestamp(), generation = excluded.generation,
            asked_at = CASE WHEN g.generation < excluded.generation THEN clock_timestamp() ELSE g.asked_at END
        RETURNING looked, date_part('epoch', clock_timestamp() - asked_at)
        """,
        (number,),
    ).fetchone()
    assert row is not None
    return Awaited(*row)


def note_looked(connection: Connection, number: int, looked: int) -> None:
    """So many bytes are clean."""
    connection.execute(
        "UPDATE rowmill.gate SET looked = greatest(looked, %s), seen_at = clock_timestamp() WHERE upload = %s",
        (looked, number),
    )


def take_unasked(connection: Connection, lost_seconds: float, most: int) -> list[tuple[str, str]]:
    """Uploads (tenant, id) whose file is to be looked at, and nobody has for so long; each is named once in a while."""
    return connection.execute(
        """
        WITH late AS (
            SELECT u.number, u.generation, u.tenant, u.upload_id
            FROM rowmill.upload u LEFT JOIN rowmill.gate g ON g.upload = u.number
            WHERE u.verdict IS NULL AND u.finished_at IS NULL
              AND coalesce(g.seen_at, u.created_at) < clock_timestamp() - make_interval(secs => %s)
              AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
                  AND classid = %s AND objid = u.number::oid
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
            ORDER BY u.number LIMIT %s
        ), noted AS (
            INSERT INTO rowmill.gate (upload, generation) SELECT number, generation FROM late
            ON CONFLICT (upload) DO UPDATE SET seen_at = clock_timestamp()
        )
        SELECT tenant, upload_id FROM late
        """,
        (lost_seconds, locks.GATE, most),
    ).fetchall()
