"""The status table: one item an upload (hash tenant, range upload_id), one an Idempotency-Key, one a window of a quota.

The item owns the state until the splitter has put the upload into Postgres; after that it is a projection,
written only if `rank` grows. Permissions: dynamodb:GetItem, PutItem, UpdateItem, Query, and DeleteItem
(api and sweep, of uploads that are deleted).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from botocore.exceptions import ClientError

from chalicelib.aws import client, code
from chalicelib.aws.s3 import Stored
from chalicelib.errors import Refused
from chalicelib.journey import is_upload_id
from chalicelib.settings import settings

KEPT_SECONDS: Final = 24 * 3600  # of an Idempotency-Key
LOOKED_AT: Final = 1000  # items of a page that is filtered, if it does not end at 1 MB
MOST_PAGES: Final = 20  # of these in one request: a second or two

ALL_REBUILT: Final = "all"
_MARK: Final = ("rowmill", "rebuilt")  # no tenant has this id

Item = dict[str, Any]
Written = Literal["written", "outranked", "missing"]


def admit(item: Mapping[str, Any], idempotency: Mapping[str, Any] | None) -> bool:
    """Write a new upload's item, and its Idempotency-Key's with it; False if that key was there already."""
    puts = [one for one in (item, idempotency) if one is not None]
    condition = "attribute_not_exists(upload_id)"
    writes = [
        {"Put": {"TableName": settings().uploads_table, "Item": pack(one), "ConditionExpression": condition}}
        for one in puts
    ]
    try:
        client("dynamodb").transact_write_items(TransactItems=writes)
    except ClientError as error:
        reasons = error.response.get("CancellationReasons", [])
        if any(reason.get("Code") in ("ConditionalCheckFailed", "TransactionConflict") for reason in reasons):
            return False
        raise
    return True


def find(tenant: str, upload_id: str) -> Item | None:
    """An item as it is now."""
    found = client("dynamodb").get_item(
        TableName=settings().uploads_table, Key=_key(tenant, upload_id), ConsistentRead=True
    )
    return unpack(found["Item"]) if "Item" in found else None


def get_upload(tenant: str, upload_id: str) -> Item:
    """An upload's item. Raises Refused `upload_not_found` (404), also for what cannot be an upload's id."""
    item = find(tenant, upload_id) if is_upload_id(upload_id) else None
    if item is None or _is_over(item):
        raise Refused("upload_not_found", "There is no upload of this id.", status=404)
    return item


def _is_over(item: Item) -> bool:
    """Whether an item's time is over: DynamoDB deletes it within two days of that."""
    return bool(item.get("expires_at", math.inf) <= time.time())


def restore(item: Mapping[str, Any]) -> bool:
    """Put back an item that the table has lost; False if it is there."""
    try:
        client("dynamodb").put_item(
            TableName=settings().uploads_table,
            Item=pack(item),
            ConditionExpression="attribute_not_exists(upload_id)",
        )
    except ClientError as error:
        if code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True


def rebuilt_down_to() -> str | None:
    """How far the table has been rebuilt: an upload's id, ALL_REBUILT, or None if it was emptied since."""
    mark = find(*_MARK)
    return str(mark["rebuilt"]) if mark else None


def note_rebuilt(upload_id: str) -> None:
    """The table holds every upload down to this id: the mark that vanishes with the table's content."""
    tenant, name = _MARK
    item = pack({"tenant": tenant, "upload_id": name, "rebuilt": upload_id})
    client("dynamodb").put_item(TableName=settings().uploads_table, Item=item)


def pin(tenant: str, upload_id: str, stored: Stored) -> Item | None:
    """Tie an upload to the first object version that arrived, unless it is tied or over; its item from then on."""
    _, item = _changed(
        tenant,
        upload_id,
        "SET etag = :etag, version_id = :version, #state = :uploaded, #rank = :rank REMOVE expires_at",
        "attribute_not_exists(etag) AND #state = :awaiting",
        {
            ":etag": stored.etag,
            ":version": stored.version_id or "null",
            ":uploaded": "uploaded",
            ":awaiting": "awaiting_upload",
            ":rank": 1,
        },
        returned="ALL_NEW",
    )
    return item


def expire(tenant: str, upload_id: str, rank: int, forget_at: int) -> bool:
    """End an upload whose file never came."""
    outcome = _update(
        tenant,
        upload_id,
        "SET #state = :expired, #rank = :rank, expires_at = :forget",
        "#state = :awaiting",
        {":expired": "expired", ":awaiting": "awaiting_upload", ":rank": rank, ":forget": forget_at},
    )
    return outcome == "written"


def cancel(tenant: str, upload_id: str, rank: int) -> bool:
    """End an upload that no splitter has met yet."""
    outcome = _update(
        tenant,
        upload_id,
        "SET #state = :canceled, #rank = :rank REMOVE expires_at",
        "#state IN (:awaiting, :uploaded)",
        {":canceled": "canceled", ":awaiting": "awaiting_upload", ":uploaded": "uploaded", ":rank": rank},
    )
    return outcome == "written"


def forget(tenant: str, upload_id: str) -> None:
    """Remove an upload's item. One that is gone already is fine."""
    client("dynamodb").delete_item(TableName=settings().uploads_table, Key=_key(tenant, upload_id))


def project(
    tenant: str, upload_id: str, state: str, rank: int, progress: Mapping[str, Any], forget_at: int | None = None
) -> Written:
    """Show this progress, unless something at least as new is shown; until `forget_at`, if it is known when."""
    lasting = " REMOVE expires_at" if forget_at is None else ", expires_at = :forget"
    return _update(
        tenant,
        upload_id,
        "SET #state = :state, #rank = :rank, progress = :progress" + lasting,
        "attribute_exists(upload_id) AND #rank < :rank",
        {":state": state, ":rank": rank, ":progress": json.dumps(progress)}
        | ({} if forget_at is None else {":forget": forget_at}),
    )


def show_until(tenant: str, upload_id: str, at: int) -> None:
    """An upload's item is shown no longer from then on, if it is still there and no earlier time is set."""
    condition = "attribute_exists(upload_id) AND (attribute_not_exists(expires_at) OR expires_at > :at)"
    _update(tenant, upload_id, "SET expires_at = :at", condition, {":at": at})


def show_retries(tenant: str, upload_id: str, rank: int, retries: Mapping[str, Any]) -> Written:
    """Show what an upload's retries have brought in, unless something at least as new is shown."""
    return _update(
        tenant,
        upload_id,
        "SET retries = :retries, retries_rank = :rank",
        "attribute_exists(upload_id) AND (attribute_not_exists(retries_rank) OR retries_rank < :rank)",
        {":rank": rank, ":retries": json.dumps(retries)},
    )


def count(tenant: str, name: str, amounts: Mapping[str, int], most: Mapping[str, int], forget_at: int) -> Item | None:
    """Add to an item's numbers, at once with everybody else who does; the item, or None if one got above `most`."""
    adds = ", ".join(f"#{one} :{one}" for one in amounts)
    room = " AND ".join(f"(attribute_not_exists(#{one}) OR #{one} <= :{one}_room)" for one in most)
    values = {**amounts} | {f"{one}_room": limit - amounts[one] for one, limit in most.items()} | {"forget": forget_at}
    if any(amounts[one] > limit for one, limit in most.items()):
        return None
    try:
        answer = client("dynamodb").update_item(
            TableName=settings().uploads_table,
            Key=_key(tenant, name),
            UpdateExpression=f"SET expires_at = :forget ADD {adds}",
            ExpressionAttributeNames={f"#{one}": one for one in amounts},
            ExpressionAttributeValues=pack({f":{one}": value for one, value in values.items()}),
            **({"ConditionExpression": room} if room else {}),
            ReturnValues="ALL_NEW",
        )
    except ClientError as error:
        if code(error) == "ConditionalCheckFailedException":
            return None
        raise
    return unpack(answer["Attributes"])


def listing(tenant: str, before: str, filters: Mapping[str, str], most: int) -> Iterator[Item | str]:
    """A tenant's uploads, newest first, those with an id below `before`; `filters` by attribute.

    Read in pages of `most`, which is how many are wanted; with filters as large as they come, since few may pass. After
    so many of these comes the id down to which was looked, and no more: a request has seconds.
    """
    values = {":tenant": tenant, ":before": before} | {f":{n}": v for n, v in filters.items()}
    query: dict[str, Any] = {
        "TableName": settings().uploads_table,
        "KeyConditionExpression": "tenant = :tenant AND upload_id < :before",
        "ExpressionAttributeValues": pack(values),
        "ScanIndexForward": False,
    }
    if filters:
        query["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in filters)
        query["ExpressionAttributeNames"] = {f"#{name}": name for name in filters}
    query["Limit"] = LOOKED_AT if filters else most
    for place, (items, last) in enumerate(_pages(query), 1):
        # Idempotency-Keys and quotas lie in the same partition and sort below every upload.
        uploads = [item for item in items if item["upload_id"].startswith("upl_")]
        yield from (item for item in uploads if not _is_over(item))
        if not last.startswith("upl_"):
            return
        if filters and place == MOST_PAGES:
            yield last
            return


def scan(after: Mapping[str, Any] | None, limit: int) -> tuple[list[Item], dict[str, Any] | None]:
    """A page of all tenants' uploads in no order, and where the next one begins, if there is one."""
    query: dict[str, Any] = {"TableName": settings().uploads_table, "Limit": limit, "ConsistentRead": True}
    answer = client("dynamodb").scan(**query, **({"ExclusiveStartKey": after} if after else {}))
    items = [unpack(item) for item in answer["Items"]]
    return [item for item in items if item["upload_id"].startswith("upl_")], answer.get("LastEvaluatedKey")


def _pages(query: dict[str, Any]) -> Iterator[tuple[list[Item], str]]:
    """Pages of what a query finds, each with the id that it ends at; none on the last."""
    while True:
        answer = client("dynamodb").query(**query)
        last = answer.get("LastEvaluatedKey")
        yield [unpack(item) for item in answer["Items"]], unpack(last)["upload_id"] if last else ""
        if not last:
            return
        query["ExclusiveStartKey"] = last


def _update(tenant: str, upload_id: str, change: str, condition: str, values: Mapping[str, Any]) -> Written:
    return _changed(tenant, upload_id, change, condition, values)[0]


def _changed(
    tenant: str,
    upload_id: str,
    change: str,
    condition: str,
    values: Mapping[str, Any],
    returned: Literal["NONE", "ALL_NEW"] = "NONE",
) -> tuple[Written, Item | None]:
    """What came of it, and the item: as it stays if it is not to be changed, else what was asked to be `returned`."""
    names = {f"#{name}": name for name in ("state", "rank") if f"#{name}" in change + condition}
    try:
        answer = client("dynamodb").update_item(
            TableName=settings().uploads_table,
            Key=_key(tenant, upload_id),
            UpdateExpression=change,
            ConditionExpression=condition,
            **({"ExpressionAttributeNames": names} if names else {}),
            ExpressionAttributeValues=pack(values),
            ReturnValues=returned,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as error:
        if code(error) == "ConditionalCheckFailedException":
            kept = error.response.get("Item")
            return ("outranked", unpack(kept)) if kept else ("missing", None)
        raise
    return "written", unpack(answer["Attributes"]) if returned == "ALL_NEW" else None


def _key(tenant: str, upload_id: str) -> dict[str, Any]:
    return {"tenant": {"S": tenant}, "upload_id": {"S": upload_id}}


def pack(item: Mapping[str, Any]) -> dict[str, Any]:
    """As DynamoDB has it: strings and integers, which are all that is kept, and nothing for None."""
    return {k: {"N": str(v)} if isinstance(v, int) else {"S": v} for k, v in item.items() if v is not None}


def unpack(item: Mapping[str, Any]) -> Item:
    """As it was packed."""
    return {k: int(v["N"]) if "N" in v else v["S"] for k, v in item.items()}
