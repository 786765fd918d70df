"""Uploads that a client holds: chunks in hand may finish, no other begins until it is resumed.

Each move is one conditional statement that waits for no chunk. Messages that come meanwhile are dropped; what they
named is sent anew when the upload is resumed, so it does not matter how long that takes, nor what was lost.
"""

from __future__ import annotations

from chalicelib.journey import Number, sources
from chalicelib.postgres import ledger, locks
from chalicelib.postgres.connection import Connection

_NOT_CANCELING = "NOT EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = u.upload_id)"


def pause(connection: Connection, number: Number) -> bool:
    """Let no chunk begin from now on; whether the upload was under way.

    While its rows are published it waits for that: whoever publishes has looked whether the upload is paused and could
    draw no end of one that is by then.
    """
    connection.execute(
        f"SELECT pg_advisory_xact_lock_shared({locks.UPLOAD}, number) FROM rowmill.upload u"
        f" WHERE number = %s AND pass = 'load' AND {ledger.WHOLE}",
        (number,),
    )
    moved = connection.execute(
        f"""
        UPDATE rowmill.upload u SET state = 'paused', turns = turns + 1, projected_at = '-infinity'  -- the sweep's next
        WHERE number = %s AND state = ANY(%s) AND {_NOT_CANCELING}
        """,
        (number, sources("paused")),
    )
    return moved.rowcount == 1


def resume(connection: Connection, number: Number) -> bool:
    """Let chunks begin again; whether the upload was paused. Those that wait count as never sent.

    Not those that a worker began: it is still at them, or the sweep sends them again.
    """
    moved = connection.execute(
        f"""
        WITH resumed AS (
            UPDATE rowmill.upload u SET turns = turns + 1, settle_asked_at = NULL,
                state = CASE WHEN EXISTS (SELECT FROM rowmill.chunk c WHERE c.upload = u.number AND c.pass = u.pass
                                          AND started_at IS NOT NULL) THEN 'processing' ELSE 'queued' END
            WHERE number = %s AND state = 'paused' AND {_NOT_CANCELING}
            RETURNING number, pass
        ), unsent AS (
            UPDATE rowmill.chunk c SET sent_at = NULL FROM resumed r
            WHERE c.upload = r.number AND c.pass = r.pass AND c.state = 'queued' AND started_at IS NULL
        )
        SELECT FROM resumed
        """,
        (number,),
    )
    return moved.rowcount == 1
