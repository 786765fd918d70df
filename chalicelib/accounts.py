"""Accounts: signup makes a tenant, login proves a password; either begins a session, which refresh tokens keep going.

An access token is good for half an hour and is not looked up. A session ends 30 days after its login, when its owner
logs out, or when one of its refresh tokens is shown a second time: then somebody holds a copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ulid import ULID

from chalicelib import tokens
from chalicelib.errors import Refused
from chalicelib.postgres import people, sessions
from chalicelib.postgres.connection import connection

# argon2 is imported where it is used: only the API needs it, and it would cost every function up to 140 ms at a
# cold start.
if TYPE_CHECKING:
    from argon2 import PasswordHasher

SESSION_LIFE: Final = timedelta(days=30)
REFRESH: Final = "rmr"  # what refresh tokens begin with
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="rowmill"'}
_USERNAME: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,254}").fullmatch
_MIN_PASSWORD: Final = 8
_MAX_PASSWORD: Final = 256


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    # OWASP's argon2id floor: 31 ms here, where the library's default costs 218 ms a login.
    return PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


@cache
def _nobody() -> str:
    """A hash to check against when there is no account, so that the answer takes as long."""
    return _hasher().hash("no account has this password")


def signup(body: Mapping[str, Any]) -> dict[str, Any]:
    """A new account in a tenant of its own, logged in. Raises Refused `username_taken` (409)."""
    username, password = _credentials(body)
    if not _USERNAME(username):
        raise Refused("username_invalid", "A username has 1 to 254 characters and no blanks.")
    if not _MIN_PASSWORD <= len(password) <= _MAX_PASSWORD:
        raise Refused("password_invalid", f"A password has {_MIN_PASSWORD} to {_MAX_PASSWORD} characters.")
    account = people.Account(
        user_id=f"usr_{ULID()}",
        tenant=f"ten_{ULID()}",
        username=username,
        password_hash=_hasher().hash(password),
    )
    people.add_account(connection(), account)
    return _begin(account)


def login(body: Mapping[str, Any]) -> dict[str, Any]:
    """A new session. Raises Refused `login_failed` (401), the same for an unknown name."""
    from argon2.exceptions import InvalidHashError, VerificationError

    username, password = _credentials(body)
    account = people.find_account(connection(), username)
    try:
        _hasher().verify(account.password_hash if account else _nobody(), password)
    except (VerificationError, InvalidHashError):
        account = None
    if account is None:
        raise Refused("login_failed", "The username or the password is wrong.", status=401, headers=_CHALLENGE)
    return _begin(account)


def refresh(token: str, request: str | None) -> dict[str, Any]:
    """The session goes on with other tokens, and this one is spent. Raises Refused `refresh_invalid` (401).

    A token that is shown again ends the session for whoever has its successor, too. `request` is an Idempotency-Key:
    under the same one a lost answer may be asked for again.
    """
    successor = tokens.secret(REFRESH)
    asked = None if request is None else tokens.digest(request)
    renewed = sessions.rotate(connection(), tokens.digest(token), tokens.digest(successor), asked)
    if renewed is None:
        raise Refused("refresh_invalid", "The session is over: log in again.", status=401, headers=_CHALLENGE)
    return _session(renewed.account, renewed.session, successor)


def logout(token: str) -> None:
    """End the session that a refresh token is of. One that is none, or of a session that is over, is no error."""
    sessions.revoke_by(connection(), tokens.digest(token))


def refresh_token(body: Mapping[str, Any]) -> str:
    """The refresh token that a body names."""
    if set(body) != {"refresh"} or not isinstance(body["refresh"], str):
        raise Refused("body_invalid", "Expected refresh, a string.", status=400)
    return body["refresh"]


def _credentials(body: Mapping[str, Any]) -> tuple[str, str]:
    if set(body) != {"username", "password"} or not all(isinstance(value, str) for value in body.values()):
        raise Refused("body_invalid", "Expected username and password, both strings.", status=400)
    return body["username"], body["password"]


def _begin(account: people.Account) -> dict[str, Any]:
    session, token = f"ses_{ULID()}", tokens.secret(REFRESH)
    sessions.begin(connection(), session, account.user_id, tokens.digest(token), SESSION_LIFE)
    return _session(account, session, token)


def _session(account: people.Account, session: str, token: str) -> dict[str, Any]:
    return {
        "access": tokens.sign(tokens.Bearer(account.user_id, account.tenant, session)),
        "refresh": token,
        "expires_in": int(tokens.ACCESS_LIFE.total_seconds()),
        "user_id": account.user_id,
        "username": account.username,
        "tenant_id": account.tenant,
    }
