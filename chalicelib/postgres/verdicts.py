"""What is known of a file's bytes before any of its rows may be in the table.

Chunks commit when the scan for record borders has seen all bytes, and looked at them, and a scanner, where one is
configured, has found nothing. Once that is so it stays so, but for a redrive of what was never scanned to its end.
"""

from __future__ import annotations

from typing import Final, Literal

from chalicelib.postgres.connection import Connection

Verdict = Literal["unscanned", "clean", "infected"]

# Of a row `u`: all bytes of its text were looked at, in this pass or in the check before, and nothing was found.
CLEARED: Final = """
    (coalesce(u.verdict IN ('unscanned', 'clean'), false) AND (u.chunks_total IS NOT NULL OR u.pass = 'load' AND (
        u.options @> '{"on_drift": "hold"}' OR u.options ?| array['validate_only', 'infer'])))
"""


def note_infected(connection: Connection, number: int, threat: str) -> None:
    """Malware of this name was found in the upload's file."""
    connection.execute(
        "UPDATE rowmill.upload SET verdict = 'infected', threat = %s WHERE number = %s AND state = 'quarantined'",
        (threat, number),
    )
