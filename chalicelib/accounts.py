"""Accounts: signup makes a tenant, login proves a password; either begins a session, which refresh tokens keep going.

An access token is good for half an hour and is not looked up, but where what it gets would outlive it. A session ends
30 days after its login, when its owner logs out or takes another password, or when one of its refresh tokens is shown a
second time: then somebody holds a copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any, Final

from ulid import ULID

from chalicelib import passwords, tokens
from chalicelib.aws import apikeys
from chalicelib.errors import Refused
from chalicelib.postgres import erasures, people, sessions, throttle
from chalicelib.postgres.connection import connection
from chalicelib.postgres.throttle import Bucket
from chalicelib.settings import settings

SESSION_LIFE: Final = timedelta(days=30)
# Not `.` and `..`: clients that tidy an address would take such a name, and the segment before it, out of a grant's.
_USERNAME: Final = re.compile(r"(?!\.{1,2}\Z)[^\s\x00-\x1f\x7f]{1,254}").fullmatch


def signup(body: Mapping[str, Any], request: str | None = None) -> dict[str, Any]:
    """A new account in a tenant of its own, logged in. Raises Refused `username_taken` (409).

    `request` is an Idempotency-Key: under the same one, for a day, the account that it made is logged in, if the
    password is the account's; else Refused `idempotency_key_reused` (422). No answer is kept, as it holds tokens.
    An address is kept as it is given: nobody has proved to read there, so it opens nothing, and two may give the same.
    """
    _refuse_elsewhere()
    username, password = body["username"], body["password"]
    if not _USERNAME(username):
        raise Refused("username_invalid", "A username has 1 to 254 characters and no blanks; . and .. are none.")
    passwords.refuse_weak(password, username)
    account = people.Account(
        user_id=f"usr_{ULID()}",
        tenant=f"ten_{ULID()}",
        username=username,
        password_hash=passwords.hashed(password),
        email=body.get("email"),
    )
    asked = None if request is None else tokens.digest(request)
    try:
        people.add_account(connection(), account, asked)
    except Refused:
        made = people.find_account(connection(), username, asked) if asked else None
        if made is None:
            raise
        if not passwords.matches(made.password_hash, password):
            raise Refused("idempotency_key_reused", "This Idempotency-Key came with another body before.") from None
        account = made
    return _begin(account)


def login(body: Mapping[str, Any], address: str) -> dict[str, Any]:
    """A new session. Raises Refused `login_failed` (401), the same for an unknown name, and `too_many_logins` (429)."""
    _refuse_elsewhere()
    account = _prove(body["username"], address, body["password"])
    if account is None:
        raise _login_failed()
    return _begin(account)


def change_password(user_id: str, body: Mapping[str, Any], address: str) -> dict[str, Any]:
    """Another password, and a new session: all that the account had are over.

    A repeat, whose answer was lost, finds the new one there and is answered. Raises Refused `password_wrong` (403),
    not 401, which would say that the token is not good; and `too_many_logins` (429), as a login does.
    """
    _refuse_elsewhere()
    db, current, new = connection(), str(body["current"]), str(body["new"])
    username = people.username_of(db, user_id) or ""
    passwords.refuse_weak(new, username)
    account, kept = _prove(username, address, current, new), passwords.hashed(new)
    with db.transaction():
        if account is None or not people.change_password(db, user_id, account.password_hash, kept):
            raise Refused("password_wrong", "That is not the account's password.", status=403)
        sessions.revoke_all(db, user_id)
    return _begin(replace(account, password_hash=kept))


def _prove(username: str, address: str, *tried: str) -> people.Account | None:
    """The account of this name, if one of these is its password. Raises Refused `too_many_logins` (429)."""
    db = connection()
    by_address, by_name = Bucket(f"address:{_network(address)}", 100, 6), Bucket(f"name:{username}", 10, 60)
    if wait := throttle.count(db, by_address):
        raise _too_many(wait)
    if wait := throttle.count(db, by_name):
        throttle.forgive(db, by_address)  # nothing was tried: others of this address may go on
        raise _too_many(wait)
    account = people.find_account(db, username)
    kept = account.password_hash if account else None
    if not any(passwords.matches(kept, one) for one in tried):
        return None
    throttle.forgive(db, by_address)  # the rest stays: an account of one's own is no way to guess at others
    throttle.forgive_all(db, by_name)
    return account


def _refuse_elsewhere() -> None:
    if settings().oidc_issuer:
        detail = f"Accounts of this deployment are those of {settings().oidc_issuer}: get a token there."
        raise Refused("accounts_elsewhere", detail, status=404)


def _network(address: str) -> str:
    """An IPv4 address, or the /64 that one customer has of IPv6."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((known, 64), strict=False)) if known.version == 6 else address


def _login_failed() -> Refused:
    detail = "The username or the password is wrong."
    return Refused("login_failed", detail, status=401, headers=tokens.CHALLENGE)


def _too_many(wait: int) -> Refused:
    detail = "Too many logins have failed: try again later."
    return Refused("too_many_logins", detail, status=429, headers={"Retry-After": str(wait)})


def refresh(token: str, request: str | None) -> dict[str, Any]:
    """The session goes on with other tokens, and this one is spent. Raises Refused `refresh_invalid` (401).

    A token that is shown again ends the session for whoever has its successor, too. `request` is an Idempotency-Key:
    under the same one a lost answer may be asked for again.
    """
    _refuse_elsewhere()
    successor = tokens.secret(tokens.REFRESH)
    asked = None if request is None else tokens.digest(request)
    renewed = sessions.rotate(connection(), tokens.digest(token), tokens.digest(successor), asked)
    if renewed is None:
        raise Refused("refresh_invalid", "The session is over: log in again.", status=401, headers=tokens.CHALLENGE)
    return _session(renewed.account, renewed.session, successor)


def logout(token: str) -> None:
    """End the session that a refresh token is of. One that is none, or of a session that is over, is no error."""
    sessions.revoke_by(connection(), tokens.digest(token))


def delete(tenant: str, user_id: str, username: str) -> None:
    """Delete the account and all that is its tenant's: nobody logs in from now on, the sweep does the rest.

    A repeat finds it deleted. Raises Refused `username_mismatch` (422) if this is not its name.
    """
    db = connection()
    known = people.username_of(db, user_id)
    if known is not None and known != username:
        raise Refused("username_mismatch", "The account has another name: nothing is deleted.")
    apikeys.delete_all(user_id)
    erasures.begin(db, tenant, user_id)
    apikeys.delete_all(user_id)  # one that was made meanwhile: no other can be, as nobody has the account any more


def refresh_token(body: Mapping[str, Any]) -> str:
    """The refresh token that a body names."""
    if "refresh" not in body:
        raise Refused("body_invalid", "There is neither a refresh token nor the cookie of one.")
    return str(body["refresh"])


def _begin(account: people.Account) -> dict[str, Any]:
    session, token, db = f"ses_{ULID()}", tokens.secret(tokens.REFRESH), connection()
    with db.transaction():
        if not people.hold_account(db, account.user_id, account.password_hash):
            raise _login_failed()  # it was deleted, or got another password, since it was found
        sessions.begin(db, session, account.user_id, tokens.digest(token), SESSION_LIFE)
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
