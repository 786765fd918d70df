"""Sessions and their refresh tokens. A session is revoked by being deleted; its tokens go with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from chalicelib.postgres.connection import Connection
from chalicelib.postgres.people import Account


@dataclass(frozen=True, slots=True)
class Renewed:
    """A session that goes on, and whose it is."""

    session: str
    account: Account


def begin(connection: Connection, session: str, user_id: str, token: bytes, life: timedelta) -> None:
    """A new session with its first refresh token."""
    with connection.transaction():
        connection.execute(
            "INSERT INTO rowmill.session (session_id, user_id, expires_at) VALUES (%s, %s, now() + %s)",
            (session, user_id, life),
        )
        connection.execute("INSERT INTO rowmill.refresh_token (hash, session_id) VALUES (%s, %s)", (token, session))


def rotate(connection: Connection, token: bytes, successor: bytes, request: bytes | None) -> Renewed | None:
    """Spend a refresh token for its successor. None, and the session is over, if it was spent before.

    Only the same request once more, by its Idempotency-Key, is answered again as long as what it was answered has not
    been used: an answer may be lost. The successor is then the new one, and the lost one opens nothing.
    """
    with connection.transaction():
        held = _hold(connection, token)
        if held is None:
            return None
        if _spend(connection, held, token, successor, request):
            return held
        revoke(connection, held.session)
        return None


def _hold(connection: Connection, token: bytes) -> Renewed | None:
    """The session of a token, which nobody else changes until the transaction ends."""
    row = connection.execute(
        "SELECT s.session_id, a.user_id, a.tenant, a.username, a.password_hash"
        " FROM rowmill.refresh_token t JOIN rowmill.session s USING (session_id) JOIN rowmill.account a USING (user_id)"
        " WHERE t.hash = %s AND s.expires_at > now() FOR UPDATE OF s",
        (token,),
    ).fetchone()
    return Renewed(row[0], Account(*row[1:])) if row else None


def _spend(connection: Connection, held: Renewed, token: bytes, successor: bytes, request: bytes | None) -> bool:
    spent = connection.execute(
        "UPDATE rowmill.refresh_token SET spent_at = now() WHERE hash = %s AND spent_at IS NULL", (token,)
    ).rowcount
    if spent:
        connection.execute(
            "INSERT INTO rowmill.refresh_token (hash, session_id, parent, request) VALUES (%s, %s, %s, %s)",
            (successor, held.session, token, request),
        )
        return True
    return bool(
        connection.execute(
            "UPDATE rowmill.refresh_token SET hash = %s"
            " WHERE session_id = %s AND parent = %s AND request = %s AND spent_at IS NULL",
            (successor, held.session, token, request),
        ).rowcount
    )


def is_over(connection: Connection, user_id: str, session: str) -> bool:
    """Whether the login that began it has ended, of an account that there is."""
    row = connection.execute(
        "SELECT FROM rowmill.account WHERE user_id = %s AND NOT EXISTS"
        " (SELECT FROM rowmill.session WHERE session_id = %s AND expires_at > now())",
        (user_id, session),
    ).fetchone()
    return row is not None


def revoke(connection: Connection, session: str) -> None:
    """End a session, if it is not over."""
    connection.execute("DELETE FROM rowmill.session WHERE session_id = %s", (session,))


def revoke_by(connection: Connection, token: bytes) -> None:
    """End the session that a refresh token is of, spent or not."""
    connection.execute(
        "DELETE FROM rowmill.session WHERE session_id = (SELECT session_id FROM rowmill.refresh_token WHERE hash = %s)",
        (token,),
    )


def revoke_all(connection: Connection, user_id: str) -> None:
    """End every session of the account."""
    connection.execute("DELETE FROM rowmill.session WHERE user_id = %s", (user_id,))


def forget_expired(connection: Connection) -> int:
    """Delete the sessions that have expired; how many there were."""
    return connection.execute("DELETE FROM rowmill.session WHERE expires_at <= now()").rowcount
