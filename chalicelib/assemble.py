"""Step 1, for files that come in parts: sign any part again, say which are stored, put them together.

Nothing is kept of the way here: S3 knows the stored parts and the client knows its file, so a client that was
cut off anywhere asks, sends what is missing and completes. S3's event then starts the splitter as ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from chalicelib import tickets
from chalicelib.aws import dynamodb, s3
from chalicelib.errors import Refused, field_refused
from chalicelib.journey import VERBS, object_key
from chalicelib.tickets import Item

_invalid: Final = partial(field_refused, "body_invalid")
MOST_NAMED: Final = 100  # errors an answer


def sign(tenant: str, upload_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A fresh ticket for an upload that waits: its form, or URLs for the parts that `body` names.

    `stored` tells which of the named parts are there; of all parts if none is named. Raises Refused.
    """
    item = _awaiting(dynamodb.get_upload(tenant, upload_id))
    if "multipart_id" not in item:
        return tickets.form(item) | {"checksum": item.get("checksum")}
    wanted = list(_read(item, body.get("parts", [])))
    numbers = [part.number for part in wanted] or [1, tickets.parts_total(item)]
    stored = s3.list_parts(_key(item), item["multipart_id"], min(numbers), max(numbers))
    if stored is None:
        raise _gone(item)
    return tickets.parts(item, wanted, stored)


def complete(tenant: str, upload_id: str, body: Mapping[str, Any]) -> Item:
    """Make the file of its parts, all of them named in `body`; the upload. A repeat finds it done. Raises Refused."""
    item = dynamodb.get_upload(tenant, upload_id)
    if "etag" in item or (_is_late(item) and s3.has_arrived(_key(item))):  # the splitter has it, or will have it
        return item
    _awaiting(item)
    if "multipart_id" not in item:
        raise Refused("upload_not_in_parts", "This file is sent as one form; nothing completes it.", status=409)
    named = {part.number: part for part in _read(item, body["parts"])}
    stored = s3.list_parts(_key(item), item["multipart_id"])
    if stored is not None:
        _compare(item, named, {part.number: part for part in stored})
        whole = [part for _, part in sorted(named.items())]
        stored = stored if s3.join_parts(_key(item), item["multipart_id"], whole) else None
    if stored is None and not s3.has_arrived(_key(item)):
        raise _gone(item)
    return item


def _compare(item: Item, named: Mapping[int, s3.Part], stored: Mapping[int, s3.Part]) -> None:
    """Every part must be named and stored, and the two be the same. Raises Refused naming those that are not."""
    total = tickets.parts_total(item)
    if missing := [number for number in range(1, total + 1) if number not in named]:
        raise Refused("parts_missing", _spell("Not named: part", missing), errors=_each(missing, "is not named"))
    if missing := [number for number in named if number not in stored]:
        errors = _each(missing, "is not stored")
        raise Refused("parts_missing", _spell("Not stored: part", missing), status=409, errors=errors)
    if wrong := [number for number, part in named.items() if not part.agrees(stored[number])]:
        errors = _each(wrong, "has another size, SHA-256 or ETag than the stored part")
        raise Refused("parts_differ", _spell("Stored with other bytes: part", wrong), status=409, errors=errors)


def _read(item: Item, asked: Sequence[Mapping[str, Any]]) -> Iterator[s3.Part]:
    """The parts a body names, as they must be stored. Raises Refused naming one that the file has not, or has once."""
    seen: set[int] = set()
    total = tickets.parts_total(item)
    for place, one in enumerate(asked):
        number = one["number"]
        if number > total:
            raise _invalid(f"parts.{place}.number", f"must be a number from 1 to {total}")
        if number in seen:
            raise _invalid(f"parts.{place}.number", f"names part {number} again")
        seen.add(number)
        etag = one.get("etag", "").strip('"')
        yield s3.Part(number, tickets.size_of(item, number), one["sha256"], f'"{etag}"')


def _awaiting(item: Item) -> Item:
    """The item, if its file is still to come. Raises Refused: 409 naming the state, 410 when it is too late."""
    if _is_late(item):
        raise _gone(item)
    if item["state"] == "expired":
        raise _too_late()
    if item["state"] not in VERBS["parts"]:
        raise Refused("state_conflict", f"The upload no longer waits for its file: it is {item['state']}.", status=409)
    return item


def _is_late(item: Item) -> bool:
    """Whether it waits for a file that may not be sent any more; one that has come meanwhile is taken."""
    return item["state"] == "awaiting_upload" and bool(item["closes_at"] <= datetime.now(UTC).timestamp())


def _gone(item: Item) -> Refused:
    """Why nothing is to be sent any more: the file is there, if nobody has met it yet, or it was given up."""
    if s3.has_arrived(_key(item)):
        return Refused("state_conflict", "The upload no longer waits for its file: it has arrived.", status=409)
    return _too_late()


def _too_late() -> Refused:
    return Refused("upload_expired", "No file arrived in time; it can be uploaded again.", status=410)


def _key(item: Item) -> str:
    return object_key(item["tenant"], item["upload_id"])


def _spell(text: str, numbers: Sequence[int]) -> str:
    return f"{text} {', '.join(map(str, numbers[:10]))}{' and more' if len(numbers) > 10 else ''}."


def _each(numbers: Sequence[int], detail: str) -> list[dict[str, str]]:
    named = numbers[:MOST_NAMED]
    return [{"code": "part_invalid", "column": f"parts.{number}", "detail": detail} for number in named]
