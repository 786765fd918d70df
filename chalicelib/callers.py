"""Who asks: the token of a request names its tenant. The door asks this before anything else."""

from __future__ import annotations

from typing import Final

from chalicelib import tokens
from chalicelib.errors import Refused
from chalicelib.tokens import Bearer

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="rowmill"'}


def authenticate(authorization: str | None) -> Bearer:
    """Who sent this header. Raises Refused `token_invalid` (401)."""
    scheme, _, token = (authorization or "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise tokens.Invalid
        return tokens.read(token)
    except tokens.Invalid:
        raise Refused("token_invalid", "A valid Bearer token is needed.", status=401, headers=_CHALLENGE) from None
