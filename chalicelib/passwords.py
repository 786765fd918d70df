"""Passwords: which may be chosen, and as what they are kept."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chalicelib.errors import Refused

# argon2 is imported where it is used: only the API needs it, and it would cost every function up to 140 ms at a
# cold start.
if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST: Final = 8
LONGEST: Final = 256
_COMMON: Final = Path(__file__).with_name("common_passwords.txt")


def refuse_weak(password: str, username: str) -> None:
    """Raise Refused for a password that is too short, too long, or among the first that are guessed."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Refused("password_invalid", f"A password has {SHORTEST} to {LONGEST} characters.")
    if password.lower() in _common() or password.lower() == username.lower():
        raise Refused("password_common", "This password is among the first that are guessed: choose another.")


def hashed(password: str) -> str:
    """The argon2id PHC string that it is kept as."""
    return _hasher().hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether a password is the one that is kept. Of none, or of an issuer's account, it takes as long and is not."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        _hasher().verify(kept or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return bool(kept)


@cache
def _common() -> frozenset[str]:
    lines = _COMMON.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    # OWASP's argon2id floor: 31 ms here, where the library's default costs 218 ms a login.
    return PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


@cache
def _nobody() -> str:
    """A hash to check against when there is no account."""
    return _hasher().hash("no account has this password")
