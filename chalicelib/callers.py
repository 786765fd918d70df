"""Who asks: an access token or an API key names the account and the tenant of every request, without Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from chalicelib import oidc, tokens
from chalicelib.aws import apikeys
from chalicelib.errors import Refused
from chalicelib.postgres import people, sessions
from chalicelib.postgres.connection import connection
from chalicelib.roles import Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. A machine does what its owner may, but cannot let others in."""

    user_id: str
    tenant: str
    key_id: str | None = None
    role: Role = "owner"  # the most that it may do anywhere: in a dataset of somebody else's a grant may be less
    session: str | None = None  # that the token is of; none of a key's, and of an issuer's

    @property
    def is_machine(self) -> bool:
        """Whether an API key was sent."""
        return self.key_id is not None

    @property
    def who(self) -> str:
        """The id of the key, if one was sent, or of the user."""
        return self.key_id or self.user_id


def authenticate(authorization: str | None, *, writes: bool = False) -> Caller:
    """Who sent this header, and if something is to be written, with a tenant. Raises Refused `token_invalid` (401)."""
    scheme, _, token = (authorization or "").partition(" ")
    found = _find(token, writes) if scheme.lower() == "bearer" else None
    if found is None:
        raise Refused("token_invalid", "A valid Bearer token is needed.", status=401, headers=tokens.CHALLENGE)
    return found


def refuse_over(caller: Caller) -> None:
    """Raise Refused `token_invalid` (401) if the session of an access token is over: the token lives on for a while."""
    if caller.session and sessions.is_over(connection(), caller.user_id, caller.session):
        raise Refused("token_invalid", "The session is over: log in again.", status=401, headers=tokens.CHALLENGE)


def _find(token: str, writes: bool) -> Caller | None:
    if token.startswith(f"{tokens.API_KEY}_"):
        # Looked up each time, unlike an access token: it is good for months, so it must be refused once deleted.
        owner = apikeys.owner(tokens.digest(token).hex())
        return Caller(*owner) if owner else None
    try:
        if issuer := oidc.issuer():
            return _guest(issuer.read(token), writes)
        bearer = tokens.read(token)
    except tokens.Invalid:
        return None
    return Caller(bearer.user_id, bearer.tenant, session=bearer.session)


def _guest(person: oidc.Person, writes: bool) -> Caller:
    _provision(person.user_id, person.tenant)
    if writes and not people.has_tenant(connection(), person.tenant):
        _make(person.user_id, person.tenant)  # Postgres was restored to a time before they came, the note was not
    return Caller(person.user_id, person.tenant)


@lru_cache(maxsize=10_000)
def _provision(user_id: str, tenant: str) -> None:
    """An account and its tenant for who was never here: in Postgres once, so that polls go on without it."""
    if not apikeys.is_provisioned(user_id):
        _make(user_id, tenant)


def _make(user_id: str, tenant: str) -> None:
    db = connection()
    with db.transaction():
        people.provision(db, user_id, tenant)
        apikeys.note_provisioned(user_id)  # within: who deletes the account takes the note back, too
