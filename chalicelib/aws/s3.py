"""The uploads bucket: presigned forms and parts for clients, pinned reads for the stages, files that we make.

Permissions: s3:PutObject (forms and parts are signed with it, and parts put together), s3:GetObject (whoever reads: by
ETag and not by version), s3:ListBucket (404 instead of 403 for what is gone; whether a file has arrived),
s3:ListMultipartUploadParts and s3:AbortMultipartUpload (api, sweep), s3:ListBucketMultipartUploads (sweep),
s3:ListBucketVersions, s3:DeleteObject and s3:DeleteObjectVersion (sweep, of uploads that are deleted), and those of
tags (split). Under uploads/ we write no byte but those of a small file that was sent to the API itself.
Under pictures/ the api writes and looks at pictures and signs for them, and api and sweep delete them. Under pieces/
split writes (s3:PutObject, s3:AbortMultipartUpload) what it made of files that cannot be cut where they lie; under
results/ render writes files for download. Of results and pieces s3:GetObject is the api's, too, whose presigned URLs
these are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import chain, takewhile
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from chalicelib.aws import client, code, s3_config
from chalicelib.errors import Refused, Unavailable
from chalicelib.journey import from_key
from chalicelib.settings import settings

BLOCK_BYTES: Final = 1 << 20
STREAM_BYTES: Final = 16 << 20
WRITTEN_PART: Final = 8 << 20  # what a file we make takes in memory, 84 GB in all; S3 takes no part under 5 MiB
QUARANTINED: Final = "rowmill-quarantined"  # a tag
MAX_PARTS: Final = 10_000  # S3's limit


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as S3 describes it."""

    version_id: str | None
    etag: str
    size: int
    stored_at: datetime


def presign_form(
    key: str, size: int, content_type: str, sha256: str | None, seconds: int
) -> tuple[str, Mapping[str, str]]:
    """A POST form for exactly this key, size and type, and this SHA-256 (base64) if one is given."""
    fields = {"Content-Type": content_type}
    if sha256 is not None:
        fields |= {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": sha256}
    conditions: list[Any] = [{name: value} for name, value in fields.items()]
    conditions.append(["content-length-range", size, size])
    form = _public().generate_presigned_post(
        settings().bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=seconds
    )
    return form["url"], form["fields"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file on its way: counted from 1, its SHA-256 in base64. S3 gives the ETag.

    Clouds that do not list checksums (moto) leave `sha256` empty; they compare it all the same.
    """

    number: int
    size: int
    sha256: str
    etag: str = ""

    def agrees(self, stored: Part) -> bool:
        """Whether this is the stored part, by all that is known of it."""
        known = stored if stored.sha256 else replace(stored, sha256=self.sha256)
        return self == known


def begin_parts(key: str, content_type: str) -> str:
    """Open a multipart upload; its id. Every part must then carry the SHA-256 that its URL is signed for."""
    opened = client("s3").create_multipart_upload(
        Bucket=settings().bucket, Key=key, ContentType=content_type, ChecksumAlgorithm="SHA256"
    )
    return str(opened["UploadId"])


def presign_part(key: str, multipart_id: str, part: Part, seconds: int) -> tuple[str, Mapping[str, str]]:
    """A PUT for exactly these bytes: their number, how many and their SHA-256 are signed. URL and headers."""
    named = {
        "Bucket": settings().bucket,
        "Key": key,
        "UploadId": multipart_id,
        "PartNumber": part.number,
        "ContentLength": part.size,
        "ChecksumSHA256": part.sha256,
    }
    url = _public().generate_presigned_url("upload_part", Params=named, ExpiresIn=seconds)
    return url, {"x-amz-checksum-sha256": part.sha256}


def list_parts(key: str, multipart_id: str, first: int = 1, last: int = MAX_PARTS) -> list[Part] | None:
    """The stored parts from `first` to `last`, by number; None if the upload was completed or aborted."""
    pages = (
        client("s3")
        .get_paginator("list_parts")
        .paginate(
            Bucket=settings().bucket,
            Key=key,
            UploadId=multipart_id,
            PartNumberMarker=first - 1,
            PaginationConfig={"PageSize": min(1000, last - first + 1)},
        )
    )
    found = (part for page in pages for part in page.get("Parts", []))
    try:
        within = list(takewhile(lambda part: part["PartNumber"] <= last, found))
    except ClientError as error:
        if code(error) == "NoSuchUpload":
            return None
        raise
    return [Part(one["PartNumber"], one["Size"], one.get("ChecksumSHA256", ""), one["ETag"]) for one in within]


def join_parts(key: str, multipart_id: str, parts: Sequence[Part]) -> bool:
    """Make the object of its parts; False if the upload was completed or aborted. S3 compares all it is told."""
    named = [{"PartNumber": one.number, "ETag": one.etag, "ChecksumSHA256": one.sha256} for one in parts]
    try:
        client("s3", works=True).complete_multipart_upload(
            Bucket=settings().bucket,
            Key=key,
            UploadId=multipart_id,
            MultipartUpload={"Parts": named},
            MpuObjectSize=sum(one.size for one in parts),
        )
    except ClientError as error:
        if code(error) == "NoSuchUpload":
            return False
        if code(error) in ("InvalidPart", "InvalidRequest", "BadDigest", "EntityTooSmall"):
            detail = error.response["Error"].get("Message", code(error))
            raise Refused("parts_refused", f"S3 does not put these parts together: {detail}", status=409) from error
        raise
    return True


def has_arrived(key: str) -> bool:
    """Whether the file is there, by a listing: who asks this may not read files."""
    listed = client("s3").list_objects_v2(Bucket=settings().bucket, Prefix=key, MaxKeys=1)
    return any(found["Key"] == key for found in listed.get("Contents", []))


def delete_all(prefix: str) -> None:
    """Delete what lies under a prefix, every version of it; nothing there is fine."""
    place = {"Bucket": settings().bucket}
    for page in client("s3").get_paginator("list_object_versions").paginate(**place, Prefix=prefix):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        gone = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
        if gone:
            answer = client("s3").delete_objects(**place, Delete={"Objects": gone, "Quiet": True})
            if answer.get("Errors"):
                raise Unavailable("objects_kept", "The storage did not delete what it was asked to.")


def mark_quarantined(key: str, version_id: str | None = None) -> None:
    """Tag an object, beside what it is tagged with: the bucket's policy lets nobody read it from then on."""
    known = tags(key, version_id)
    if known.get(QUARANTINED) != "true":
        whole = [{"Key": name, "Value": value} for name, value in {**known, QUARANTINED: "true"}.items()]
        client("s3").put_object_tagging(**_version(key, version_id), Tagging={"TagSet": whole})


def tags(key: str, version_id: str | None) -> dict[str, str]:
    """The tags of an object, of this version of it. Raises Refused if it is not there any more."""
    try:
        found = client("s3").get_object_tagging(**_version(key, version_id))
    except ClientError as error:
        if code(error) in ("NoSuchKey", "NoSuchVersion", "404"):
            raise Refused("object_replaced", "The uploaded object was replaced or deleted.") from error
        raise
    return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}


def _version(key: str, version_id: str | None) -> dict[str, str]:
    named = {"Bucket": settings().bucket, "Key": key}
    return named | {"VersionId": version_id} if version_id else named


def abort(key: str, multipart_id: str) -> None:
    """Forget a multipart upload and its parts. One that is gone already is fine."""
    try:
        client("s3").abort_multipart_upload(Bucket=settings().bucket, Key=key, UploadId=multipart_id)
    except ClientError as error:
        if code(error) != "NoSuchUpload":
            raise


def delete(key: str, version_id: str | None) -> None:
    """Delete an object, and for good the version that is named. One that is gone already is fine."""
    place = {"Bucket": settings().bucket, "Key": key}
    if version_id is not None:
        client("s3").delete_object(**place, VersionId=version_id)
    client("s3").delete_object(**place)


def presign_download(key: str, filename: str, seconds: int, version_id: str | None = None) -> str:
    """A GET for this object, or this version of it, saved under this name (ASCII, without quotes)."""
    disposition = f'attachment; filename="{filename}"'
    named = {"Bucket": settings().bucket, "Key": key, "ResponseContentDisposition": disposition}
    named |= {"VersionId": version_id} if version_id is not None else {}
    return str(_public().generate_presigned_url("get_object", Params=named, ExpiresIn=seconds))


def open_multiparts(begun_before: datetime) -> Iterator[tuple[str, str]]:
    """Key and id of every multipart upload that was begun before then and is still open."""
    pages = client("s3").get_paginator("list_multipart_uploads").paginate(Bucket=settings().bucket)
    for page in pages:
        for found in page.get("Uploads", []):
            if found["Initiated"] < begun_before:
                yield found["Key"], found["UploadId"]


@cache
def origins() -> frozenset[str]:
    """Where forms, parts and downloads are, as browsers name it: AWS signs forms for another host than the rest."""
    form = _public().generate_presigned_post(settings().bucket, "any")["url"]
    url = _public().generate_presigned_url("get_object", Params={"Bucket": settings().bucket, "Key": "any"})
    return frozenset(f"{one.scheme}://{one.netloc}" for one in map(urlsplit, (form, url)))


@cache
def _public() -> Any:
    """A client that signs for the host clients reach: the host is part of the signature."""
    endpoint = settings().public_endpoint
    return boto3.client("s3", endpoint_url=endpoint, config=s3_config()) if endpoint else client("s3")


@dataclass(frozen=True, slots=True)
class Arrival:
    """That an upload's object may be there, says a message: S3's event, or one of our own.

    `segment`: the message asks for no more than to scan this segment ahead; `gate`: to have it looked at for malware.
    """

    tenant: str
    upload_id: str
    at: datetime | None = None
    segment: int | None = None
    gate: bool = False

    def refine(self, stored_at: datetime) -> datetime:
        """LastModified has whole seconds; the event's time, if it is within that second, has milliseconds."""
        return self.at if self.at and abs(self.at - stored_at) < timedelta(seconds=1) else stored_at


def arrivals(message: Mapping[str, Any]) -> list[Arrival]:
    """The uploads a message of the intake queue names; other objects and S3's test event name none."""
    if "upload_id" in message:
        segment = message.get("segment")
        tenant, upload_id = str(message.get("tenant")), str(message["upload_id"])
        is_gate = message.get("gate") is True
        return [Arrival(tenant, upload_id, segment=segment if type(segment) is int else None, gate=is_gate)]
    found = []
    for record in message.get("Records", []):
        # AWS encodes a blank in a key as +, LocalStack as %20: unquote_plus reads both.
        key = record.get("s3", {}).get("object", {}).get("key", "")
        named = from_key(unquote_plus(key))
        if named:
            found.append(Arrival(*named, _moment(record.get("eventTime"))))
    return found


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def head(key: str) -> Stored | None:
    """What is stored under a key, or None."""
    try:
        found = client("s3").head_object(Bucket=settings().bucket, Key=key)
    except ClientError as error:
        if code(error) in ("404", "NoSuchKey"):
            return None
        raise
    return Stored(found.get("VersionId"), found["ETag"], found["ContentLength"], found["LastModified"])


def begin(key: str, most: int) -> tuple[Stored, bytes] | None:
    """What is stored under a key and its first bytes, as many as that, by one request; or None."""
    try:
        found = client("s3").get_object(Bucket=settings().bucket, Key=key, Range=f"bytes=0-{most - 1}")
        data: bytes = found["Body"].read()
    except ClientError as error:
        if code(error) in ("404", "NoSuchKey"):
            return None
        if code(error) in ("416", "InvalidRange"):  # it is empty
            stored = head(key)
            return (stored, b"") if stored else None
        raise
    except (BotoCoreError, HTTPError) as error:
        raise Unavailable("object_cut", "The object's body ended early.") from error
    # Of no range if the store has none for a file that is smaller.
    size = int(found.get("ContentRange", f"/{len(data)}").rpartition("/")[2])
    if len(data) != min(size, most):
        raise Unavailable("object_cut", f"Asked for {min(size, most)} bytes, got {len(data)}.")
    return Stored(found.get("VersionId"), found["ETag"], size, found["LastModified"]), data


def write(key: str, content_type: str, blocks: Iterable[bytes]) -> tuple[str, int]:
    """Store an object while its bytes come, in constant memory, whole or not at all; its ETag and size.

    What a killed process leaves of it is an open multipart upload, which the sweep aborts.
    """
    parts = _parts(blocks)
    first = next(parts)
    place = {"Bucket": settings().bucket, "Key": key}
    if len(first) < WRITTEN_PART:
        return client("s3").put_object(**place, Body=first, ContentType=content_type)["ETag"], len(first)
    parts = chain([first], parts)
    del first  # or it would be held until the end
    place["UploadId"] = client("s3").create_multipart_upload(**place, ContentType=content_type)["UploadId"]
    try:
        return _put_parts(place, parts)
    except BaseException:
        with suppress(ClientError, BotoCoreError):
            abort(key, place["UploadId"])
        raise


def _put_parts(place: Mapping[str, str], parts: Iterable[bytes]) -> tuple[str, int]:
    stored, size = [], 0
    for number, part in enumerate(filter(None, parts), start=1):
        answer = client("s3").upload_part(**place, PartNumber=number, Body=part)
        stored.append({"PartNumber": number, "ETag": answer["ETag"]})
        size += len(part)
        del part  # before the next one is made
    made = client("s3", works=True).complete_multipart_upload(**place, MultipartUpload={"Parts": stored})
    return made["ETag"], size


def _parts(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes in parts of WRITTEN_PART or a block more, the last one smaller, perhaps empty."""
    held: list[bytes] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size >= WRITTEN_PART:
            part = b"".join(held)
            held, size = [], 0
            yield part
            del part
    yield b"".join(held)


def stream(key: str, etag: str, start: int, end: int) -> Iterator[bytes]:
    """The pinned object's bytes from `start` to `end` (exclusive) in blocks. Raises Refused if it was replaced.

    In requests of STREAM_BYTES: an emulator puts a whole answer together first, for 97 MB a tenth of a second.
    """
    for begin in range(start, end, STREAM_BYTES):
        yield from _blocks(key, etag, begin, min(begin + STREAM_BYTES, end))


def _blocks(key: str, etag: str, start: int, end: int) -> Iterator[bytes]:
    body = _get(key, etag, start, end)["Body"]
    seen = start
    try:
        for block in body.iter_chunks(BLOCK_BYTES):
            seen += len(block)
            yield block
    except (BotoCoreError, HTTPError) as error:
        raise Unavailable("object_cut", "The object's body ended early.") from error
    if seen != end:
        raise Unavailable("object_cut", f"The object's body ended at byte {seen} of {end}.")


def read(key: str, etag: str, start: int, end: int) -> bytes:
    """Bytes start to end (exclusive) of the pinned object, all of them."""
    if start >= end:
        return b""
    try:
        data: bytes = _get(key, etag, start, end)["Body"].read()
    except (BotoCoreError, HTTPError) as error:
        raise Unavailable("object_cut", "The object's body ended early.") from error
    if len(data) != end - start:
        raise Unavailable("object_cut", f"Asked for {end - start} bytes, got {len(data)}.")
    return data


def _get(key: str, etag: str, start: int, end: int) -> Any:
    """A ranged GET pinned by ETag.

    By ETag and not by VersionId: ministack 1.5.33 ignores Range beside a VersionId and answers the whole object.
    """
    try:
        answer = client("s3").get_object(
            Bucket=settings().bucket, Key=key, IfMatch=etag, Range=f"bytes={start}-{end - 1}"
        )
    except ClientError as error:
        if code(error) in ("PreconditionFailed", "412", "NoSuchKey", "404"):
            raise Refused("object_replaced", "The uploaded object was replaced or deleted.") from error
        raise
    if answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
        raise Unavailable("range_ignored", "The object store answered a range with something else.")
    return answer
