"""Sharing: the owner of a dataset lets other accounts read it, or write rows and send files into it.

What is shared is called by its id, as its name is its owner's. An upload is whoever's sent it; the dataset is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chalicelib.datasets import addresses
from chalicelib.errors import Refused
from chalicelib.paging import Asked, Page, decode, fill
from chalicelib.postgres import grants, people
from chalicelib.postgres.connection import Connection, connection
from chalicelib.strict_json import is_text


def grant(tenant: str, name: str, user: str, body: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Let an account have a role in the dataset; whether it had none, and the grant. `user` as addresses spells it.

    Raises Refused `user_not_found` (404), `grant_invalid` (422) for the owner's own account, `account_erased` (403).
    """
    db = connection()
    dataset = _owned(db, tenant, name)
    account = _account(db, user)
    if account.tenant == tenant:
        raise Refused("grant_invalid", "The dataset is this account's own.")
    people.refuse_gone(db, tenant)
    is_new = grants.put(db, dataset, account.tenant, body["role"])
    found = grants.find(db, dataset, account.tenant)
    if found is None:
        raise Refused("grant_not_found", "Somebody has taken the grant back at this moment.", status=404)
    return is_new, asdict(found)


def revoke(tenant: str, name: str, user: str) -> None:
    """Take an account's role in the dataset back; what it is loading is canceled. Raises Refused (404)."""
    db = connection()
    dataset = _owned(db, tenant, name)
    if not grants.remove(db, dataset, _account(db, user).tenant):
        raise Refused("grant_not_found", "The account has no role in the dataset.", status=404)


def listing(tenant: str, name: str, asked: Asked) -> Page:
    """Who has a role in the dataset, by name."""
    dataset = _owned(connection(), tenant, name)
    found = grants.page(connection(), dataset, decode(asked.cursor, str, ""), asked.limit + 1)
    return fill(found, asked.limit, asdict, lambda one: one.username)


def _owned(db: Connection, tenant: str, name: str) -> int:
    return people.get_dataset(db, tenant, name, "owner").dataset.number


def _account(db: Connection, user: str) -> people.Account:
    username = addresses.read(user, 1)[0]
    found = people.find_account(db, username) if is_text(username) else None
    if found is None:
        raise Refused("user_not_found", "There is no account of this name.", status=404)
    return found
