"""Who asks: signup makes a tenant, login proves a password, a token names the tenant of every request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ulid import ULID

from chalicelib.errors import Refused
from chalicelib.postgres import people
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

# jwt and argon2 are imported where they are used: only the API needs them, and they would cost every
# function up to 140 ms at a cold start.
if TYPE_CHECKING:
    from argon2 import PasswordHasher

TOKEN_LIFE: Final = timedelta(hours=12)
ISSUER: Final = "rowmill"
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
    return _session(account)


def login(body: Mapping[str, Any]) -> dict[str, Any]:
    """A token for an account. Raises Refused `login_failed` (401), the same for an unknown name."""
    from argon2.exceptions import InvalidHashError, VerificationError

    username, password = _credentials(body)
    account = people.find_account(connection(), username)
    try:
        _hasher().verify(account.password_hash if account else _nobody(), password)
    except (VerificationError, InvalidHashError):
        account = None
    if account is None:
        raise Refused("login_failed", "The username or the password is wrong.", status=401, headers=_CHALLENGE)
    return _session(account)


def authenticate(authorization: str | None) -> str:
    """The tenant of a Bearer token. Raises Refused `token_invalid` (401)."""
    import jwt

    scheme, _, token = (authorization or "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise jwt.InvalidTokenError
        claims = jwt.decode(
            token,
            settings().jwt_secret,
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=_audience(),
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
        return str(claims["tenant"])
    except (jwt.PyJWTError, KeyError, UnicodeError):
        raise Refused(
            "token_invalid",
            "A valid Bearer token is needed.",
            status=401,
            headers=_CHALLENGE,
        ) from None


def _credentials(body: Mapping[str, Any]) -> tuple[str, str]:
    if set(body) != {"username", "password"} or not all(isinstance(value, str) for value in body.values()):
        raise Refused("body_invalid", "Expected username and password, both strings.", status=400)
    return body["username"], body["password"]


def _session(account: people.Account) -> dict[str, Any]:
    import jwt

    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": _audience(),
        "sub": account.user_id,
        "tenant": account.tenant,
        "iat": now,
        "exp": now + TOKEN_LIFE,
    }
    return {
        "access": jwt.encode(claims, settings().jwt_secret, algorithm="HS256"),
        "user_id": account.user_id,
        "username": account.username,
        "tenant_id": account.tenant,
    }


def _audience() -> str:
    return f"rowmill-{settings().stage}"
