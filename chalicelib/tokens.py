"""What proves who somebody is: signed access tokens, which are believed unseen, and secrets that we know by their hash.

An access token is a JWT, HS256 and nothing else, signed by the newest of our keys. Its `kid` only picks one of the keys
we hold: it is a digest of that key, so that there is no name to keep beside it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from chalicelib.settings import settings

# jwt is imported where it is used: only the API needs it, and it would cost every function some milliseconds.

ACCESS_LIFE: Final = timedelta(minutes=30)
REFRESH, API_KEY = "rmr", "rmk"  # what such secrets begin with
ISSUER: Final = "rowmill"
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="rowmill"'}  # what comes with a 401
TYPE: Final = "at+jwt"  # RFC 9068: no other kind of token that this key may ever sign passes for one
LEEWAY_SECONDS: Final = 10  # of the clock of the process that signed a token and of the one that reads it
_REQUIRED: Final = ["iss", "aud", "sub", "iat", "nbf", "exp"]
_RANDOM_BYTES: Final = 32


class Invalid(Exception):
    """Not a token that opens anything, for whatever reason: who sent it is told no more than that."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token speaks for: an account, and the session that its login began."""

    user_id: str
    tenant: str
    session: str


def sign(bearer: Bearer, life: timedelta = ACCESS_LIFE) -> str:
    """An access token for this long."""
    import jwt

    kid, secret = next(iter(_keys(settings().jwt_secret).items()))
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": _audience(),
        "sub": bearer.user_id,
        "tenant": bearer.tenant,
        "sid": bearer.session,
        "iat": now,
        "nbf": now,
        "exp": now + life,
    }
    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": kid, "typ": TYPE})


def read(token: str) -> Bearer:
    """Whom an access token speaks for. Raises Invalid."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
        if header.get("typ") != TYPE:
            raise Invalid
        claims = jwt.decode(
            token,
            _keys(settings().jwt_secret)[header["kid"]],
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=_audience(),
            leeway=LEEWAY_SECONDS,
            options={"require": _REQUIRED},
        )
        return Bearer(str(claims["sub"]), str(claims["tenant"]), str(claims["sid"]))
    except (jwt.PyJWTError, KeyError, UnicodeError):
        raise Invalid from None


@cache
def _keys(texts: str) -> dict[str, str]:
    """Our keys by their ids, the one that signs first: JWT_SECRET is one, or several between commas."""
    return {hashlib.sha256(text.encode()).hexdigest()[:16]: text for text in texts.split(",")}


def _audience() -> str:
    return f"rowmill-{settings().stage}"


def secret(kind: str) -> str:
    """A secret that nobody guesses; `kind` tells people and scanners what it opens."""
    return f"{kind}_{secrets.token_urlsafe(_RANDOM_BYTES)}"


def derived(kind: str, text: str) -> Iterator[str]:
    """Secrets that our keys make of a text, the newest key first: the same again as long as the key is held."""
    for key in settings().jwt_secret.split(","):
        made = hmac.digest(key.encode(), f"{kind} {text}".encode(), "sha256")
        yield f"{kind}_{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


def digest(text: str) -> bytes:
    """As what a secret is kept. It is 256 bits of chance, so that a fast hash will do: there is nothing to guess."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
