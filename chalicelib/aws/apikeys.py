"""The table of API keys, known by the digest of their secret: two items a key, so that either question is one read.

Who is let in is asked by digest (hash `part`, range `key_id` = "owner"), what an account has by its user id (hash), the
oldest first, as ids sort by age. The first opens the door: it is written last and deleted first, so what breaks off
in between leaves a key that is listed and opens nothing. Permissions: dynamodb:GetItem, PutItem, DeleteItem, Query.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.aws import client
from chalicelib.aws.dynamodb import pack, unpack
from chalicelib.roles import Role
from chalicelib.settings import settings

_OWNER: Final = "owner"
_PROVISIONED: Final = "account"  # sorts before all keys
_FIRST: Final = "key_"  # below the id of every key


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept, without its secret. Times are Unix seconds; one without an end has None there."""

    user_id: str
    key_id: str
    name: str
    prefix: str
    role: Role
    digest: str
    created: int
    good_until: int | None


def add(tenant: str, key: ApiKey) -> None:
    """A new key, which opens what is the tenant's."""
    _put(
        {
            "part": key.user_id,
            "key_id": key.key_id,
            "name": key.name,
            "prefix": key.prefix,
            "role": key.role,
            "digest": key.digest,
            "created": key.created,
            "good_until": key.good_until,
        }
    )
    _put(
        {
            "part": key.digest,
            "key_id": _OWNER,
            "of": key.key_id,
            "user_id": key.user_id,
            "tenant": tenant,
            "role": key.role,
            "good_until": key.good_until,
        }
    )


def page(user_id: str, after: str, limit: int) -> Iterator[ApiKey]:
    """The account's keys, the oldest first, those after `after`."""
    answer = client("dynamodb").query(
        TableName=settings().keys_table,
        KeyConditionExpression="part = :user AND key_id > :after",
        ExpressionAttributeValues=pack({":user": user_id, ":after": after or _FIRST}),
        ConsistentRead=True,
        Limit=limit,
    )
    for item in map(unpack, answer["Items"]):
        yield _read(item)


def delete(user_id: str, key_id: str) -> bool:
    """Whether the account had such a key; it has not now."""
    item = _find(user_id, key_id)
    if item is None:
        return False
    for part, name in ((item["digest"], _OWNER), (user_id, key_id)):
        client("dynamodb").delete_item(TableName=settings().keys_table, Key=pack({"part": part, "key_id": name}))
    return True


def delete_all(user_id: str) -> None:
    """The account has no key any more, and is one that was never here."""
    while keys := list(page(user_id, "", 100)):
        for key in keys:
            delete(user_id, key.key_id)
    client("dynamodb").delete_item(TableName=settings().keys_table, Key=pack({"part": user_id, "key_id": _PROVISIONED}))


def owner(digest: str) -> tuple[str, str, str, Role] | None:
    """The user and the tenant that a key speaks for, its id and what it may do, if it is one and has not expired."""
    item = _find(digest, _OWNER)
    if item is None or item.get("good_until", time.time() + 1) <= time.time():
        return None
    return item["user_id"], item["tenant"], item["of"], item["role"]


def is_provisioned(user_id: str) -> bool:
    """Whether Postgres has this account of an issuer's, as somebody has noted here."""
    return _find(user_id, _PROVISIONED) is not None


def note_provisioned(user_id: str) -> None:
    """A repeat changes nothing."""
    _put({"part": user_id, "key_id": _PROVISIONED})


def _find(part: str, key_id: str) -> dict[str, Any] | None:
    """Read as it is now: a key that was deleted a moment ago is refused."""
    found = client("dynamodb").get_item(
        TableName=settings().keys_table, Key=pack({"part": part, "key_id": key_id}), ConsistentRead=True
    )
    return unpack(found["Item"]) if "Item" in found else None


def _put(item: Mapping[str, Any]) -> None:
    client("dynamodb").put_item(TableName=settings().keys_table, Item=pack(item))


def _read(item: Mapping[str, Any]) -> ApiKey:
    key = {name: item[name] for name in ("key_id", "name", "prefix", "role", "digest", "created")}
    return ApiKey(user_id=item["part"], good_until=item.get("good_until"), **key)
