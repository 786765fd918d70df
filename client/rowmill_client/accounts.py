"""Accounts, their sessions and keys, and what the tenant may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import httpx

from .calls import Calls, path_of
from .errors import Unusable
from .resources import ApiKey, NewApiKey, Quota, Role, Session
from .transport import Tokens, document


class Accounts(Calls):
    """Who asks."""

    def signup(self, username: str, password: str) -> Session:
        """Create an account and its tenant; later calls are made in its session."""
        return self._keep(self._make("auth/signup", {"username": username, "password": password}))

    def login(self, username: str, password: str) -> Session:
        """Later calls are made in the session this gives."""
        body = {"username": username, "password": password}
        return self._keep(self._transport.call("POST", "auth/login", body=body))

    def refresh(self) -> Session:
        """Exchange both tokens for the next ones, as every call does by itself when its token has run out."""
        with self._transport.keeper.turn() as tokens:
            self._transport.keeper.keep(tokens)  # or that fails before one is spent
            return self._keep(self._transport.exchange(_refresh_token(tokens)))

    def logout(self) -> None:
        """End the session, wherever else its tokens may be."""
        with self._transport.keeper.turn() as tokens:
            self._transport.call("POST", "auth/logout", body={"refresh": _refresh_token(tokens)}, again=True)
            self._transport.keeper.keep(Tokens())

    def change_password(self, current: str, new: str) -> Session:
        """Another password; every session ends, and later calls are made in the one this gives."""
        body = {"current": current, "new": new}
        return self._keep(self._transport.call("PUT", "account/password", body=body, again=True))

    def delete_account(self, username: str) -> None:
        """Delete the account of this name, which is one's own, with all that is its: its tokens are forgotten here."""
        self._transport.call("DELETE", "account", query={"confirm": username}, again=True)
        self._transport.keeper.keep(Tokens())

    def _keep(self, answer: httpx.Response) -> Session:
        session = cast(Session, document(answer))
        self._transport.keeper.keep(Tokens(session["access"], session["refresh"]))
        return session

    def create_api_key(self, name: str, days: int | None = None, role: Role | None = None) -> NewApiKey:
        """A key for a machine, which may do all that its owner may unless a role says less. Its secret is told once."""
        given = {"name": name, "expires_in_days": days, "role": role}
        body = {name: value for name, value in given.items() if value is not None}
        return cast(NewApiKey, document(self._make("api-keys", body)))

    def iterate_api_keys(self, limit: int | None = None) -> Iterator[ApiKey]:
        return cast(Iterator[ApiKey], self._items("api-keys", {}, limit))

    def delete_api_key(self, key_id: str) -> None:
        """It opens nothing from now on."""
        self._delete(path_of("api-keys", key_id))

    def quota(self) -> Quota:
        """What the tenant may still ask for, in this minute and today."""
        return cast(Quota, self._get("quota"))


def _refresh_token(tokens: Tokens) -> str:
    if not tokens.refresh:
        raise Unusable("there is no session here, only a token: log in first")
    return tokens.refresh
