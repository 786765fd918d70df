"""Leave to send a file: one presigned form, or presigned parts of equal size, the last one shorter.

A part is signed together with its SHA-256, so no URL can be had before its bytes are known; that is also what
lets a client that was cut off find out which parts are stored and are the ones it would send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from chalicelib.aws import s3
from chalicelib.journey import UPLOAD_SECONDS, object_key, rfc3339
from chalicelib.settings import settings

PART_BYTES: Final = 16 << 20  # S3 takes 5 MiB to 5 GiB; what a broken line costs, and what four threads have open
Item = Mapping[str, Any]


def part_size(size: int) -> int:
    """Bytes of every part but the last: 16 MiB, or more for a file that would have more parts than S3 takes."""
    return max(min(PART_BYTES, settings().multipart_bytes), -(-size // s3.MAX_PARTS), 1)


def parts_total(item: Item) -> int:
    """How many parts the file has."""
    return -(-int(item["size"]) // int(item["part_size"]))


def size_of(item: Item, number: int) -> int:
    """Bytes of a part: as all others, or what is left for the last one."""
    size = int(item["part_size"])
    return min(size, int(item["size"]) - (number - 1) * size)


def first(item: Item) -> dict[str, Any]:
    """What a new upload is answered with."""
    return parts(item, (), ()) if "multipart_id" in item else form(item)


def form(item: Item) -> dict[str, Any]:
    """The presigned POST, good for as long as the upload waits."""
    url, fields = s3.presign_form(_key(item), item["size"], item["content_type"], item.get("checksum"), _left(item))
    return {"method": "POST", "url": url, "fields": fields, "expires_at": _moment(item["closes_at"])}


def parts(item: Item, wanted: Sequence[s3.Part], stored: Sequence[s3.Part]) -> dict[str, Any]:
    """Presigned PUTs of the wanted parts, and what is known of stored ones. URLs may be asked for until closes_at."""
    seconds = min(UPLOAD_SECONDS, _left(item))
    return {
        "method": "PUT",
        "part_size": item["part_size"],
        "parts_total": parts_total(item),
        "parts": [_signed(item, part, seconds) for part in wanted],
        "stored": [_stored(part) for part in stored],
        "checksum": item.get("checksum"),
        "expires_at": _moment(int(datetime.now(UTC).timestamp()) + seconds),
        "closes_at": _moment(item["closes_at"]),
    }


def _signed(item: Item, part: s3.Part, seconds: int) -> dict[str, Any]:
    url, headers = s3.presign_part(_key(item), item["multipart_id"], part, seconds)
    return {"number": part.number, "size": part.size, "url": url, "headers": headers}


def _stored(part: s3.Part) -> dict[str, Any]:
    return {"number": part.number, "size": part.size, "etag": part.etag, "sha256": part.sha256}


def _key(item: Item) -> str:
    return object_key(item["tenant"], item["upload_id"])


def _left(item: Item) -> int:
    return max(1, int(item["closes_at"]) - int(datetime.now(UTC).timestamp()))


def _moment(seconds: int) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))
