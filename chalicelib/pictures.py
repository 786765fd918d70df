"""A row's picture: a presigned form for it, a look at what came, and only then the row shows it.

The form is signed for the size and type that were announced. It stays good for an hour, so the version that was looked
at is pinned: what is sent afterwards is never shown. A picture goes with its row; its object is deleted at once, or by
the sweep if that fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from ulid import ULID

from chalicelib import images
from chalicelib.aws import s3
from chalicelib.datasets import Dataset
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from chalicelib.journey import UPLOAD_SECONDS, picture_key, rfc3339
from chalicelib.postgres import handmade, people, tables
from chalicelib.postgres import pictures as kept
from chalicelib.postgres.connection import Connection, connection
from chalicelib.postgres.pictures import Picture

READ_SECONDS: Final = 900
AWAITED: Final = timedelta(seconds=2 * UPLOAD_SECONDS)
MOST_DELETED: Final = 500  # by one sweep


def begin(at: Addressed, content_type: str, size: int) -> dict[str, Any]:
    """Leave to send a picture of this type and size, and its id. Raises Refused (404, 409)."""
    with _row(at) as (db, dataset, row_id):
        new = _new(at.tenant, dataset, row_id, content_type, size)
        kept.await_one(db, new)
    url, fields = s3.presign_form(new.object_key, size, content_type, None, UPLOAD_SECONDS)
    expires_at = rfc3339(datetime.now(UTC) + timedelta(seconds=UPLOAD_SECONDS))
    return {"id": new.picture_id, "upload": {"method": "POST", "url": url, "fields": fields, "expires_at": expires_at}}


def attach(at: Addressed, picture_id: str) -> dict[str, Any]:
    """Have the row show a picture that has come. Raises Refused `picture_missing` (409), `picture_invalid` (422)."""
    with _row(at) as (db, dataset, row_id):
        picture = kept.find(db, dataset.number, row_id, picture_id)
        if picture is None:
            raise _unknown()
        # By a listing first: the API may list by prefix alone, so S3 answers a GET of what is missing with 403.
        arrived = s3.has_arrived(picture.object_key)
        stored = s3.begin(picture.object_key, images.FIRST_BYTES) if arrived else None
        if stored is None:
            raise Refused("picture_missing", "The picture has not been sent.", status=409)
        if stored[0].size != picture.size:
            raise _invalid(f"the picture has {stored[0].size} bytes, {picture.size} were announced")
        _refuse_other(stored[1], picture.content_type)
        if not kept.show(db, picture, stored[0].version_id):
            raise _unknown()
        shown = kept.shown(db, dataset.number, [row_id])[row_id]
    discard(dataset.number)
    return link(shown)


def put(at: Addressed, data: bytes, content_type: str) -> None:
    """Have the row show a picture that came with the request itself. Raises Refused `picture_invalid`."""
    refuse_unfit(data, content_type)
    with _row(at) as (db, dataset, row_id):
        new = _new(at.tenant, dataset, row_id, content_type, len(data))
        kept.await_one(db, new)
    s3.write(new.object_key, content_type, [data])
    attach(at, new.picture_id)


def refuse_unfit(data: bytes, content_type: str) -> None:
    """Raise Refused `picture_invalid` for what is no picture, too large or none of its declared type."""
    if content_type not in images.KINDS:
        raise _invalid(f"the type must be one of {', '.join(images.KINDS)}")
    if not 0 < len(data) <= images.MAX_BYTES:
        raise _invalid(f"a picture has 1 to {images.MAX_BYTES} bytes")
    _refuse_other(data[: images.FIRST_BYTES], content_type)


def shown(dataset: int, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What rows show, by row: each picture with a URL that is good for a quarter of an hour."""
    found = kept.shown(connection(), dataset, rows)
    return {row: link(picture) for row, picture in found.items()}


def pictured(dataset: int, rows: Sequence[int]) -> Set[int]:
    """Those of the rows that show a picture."""
    return kept.shown(connection(), dataset, rows).keys()


def link(picture: Picture) -> dict[str, Any]:
    """A picture as it is shown."""
    name = images.filename(picture.content_type)
    return {
        "id": picture.picture_id,
        "content_type": picture.content_type,
        "size": picture.size,
        "url": s3.presign_download(picture.object_key, name, READ_SECONDS, picture.version_id),
        "expires_at": rfc3339(datetime.now(UTC) + timedelta(seconds=READ_SECONDS)),
    }


def get(at: Addressed) -> dict[str, Any]:
    """The picture that the row shows. Raises Refused `picture_not_found` (404)."""
    db = connection()
    with tables.standing(), db.transaction():
        dataset = people.get_dataset(db, at.tenant, at.name).dataset
        row_id = _number(db, dataset, at.key, hold=False)
        found = kept.shown(db, dataset.number, [row_id])
    if row_id not in found:
        raise Refused("picture_not_found", "The row has no picture.", status=404)
    return link(found[row_id])


def remove(at: Addressed) -> None:
    """Have the row show no picture; there need not be one."""
    with _row(at) as (db, dataset, row_id):
        kept.abandon(db, dataset.number, row_id)
    discard(dataset.number)


def discard(dataset: int) -> None:
    """Delete what is gone of a dataset's pictures now; what the storage does not delete is left to the sweep."""
    for picture in kept.list_gone(connection(), AWAITED, MOST_DELETED, dataset):
        try:
            _delete(picture)
        except (ClientError, BotoCoreError):
            return


def sweep() -> int:
    """Delete the pictures that are gone or never came; how many there were."""
    found = kept.list_gone(connection(), AWAITED, MOST_DELETED)
    for picture in found:
        _delete(picture)
    return len(found)


def _delete(picture: Picture) -> None:
    s3.delete(picture.object_key, picture.version_id)
    kept.forget(connection(), picture.picture_id, _given_at(picture) + AWAITED)


def _given_at(picture: Picture) -> datetime:
    """When its form was handed out."""
    return ULID.from_str(picture.picture_id.removeprefix("pic_")).datetime


@contextmanager
def _row(at: Addressed) -> Iterator[tuple[Connection, Dataset, int]]:
    """The row, for a writer; nobody deletes it until the transaction ends. Raises Refused (403, 404, 409)."""
    db = connection()
    with db.transaction():
        dataset = people.hold_for_writing(db, at.tenant, at.name)
        yield db, dataset, _number(db, dataset, at.key, hold=True)


def _number(db: Connection, dataset: Dataset, key: str, *, hold: bool) -> int:
    """The number of the row of this key. Raises Refused (404, 409)."""
    if dataset.schema.identity is None:
        raise Refused("dataset_pictureless", "Only rows that are told by a number have pictures.", status=409)
    row_id = handmade.number_of(key)
    table = tables.of_dataset(dataset)
    if row_id is None or handmade.find(db, table, {dataset.schema.identity: str(row_id)}, hold=hold) is None:
        raise Refused("row_not_found", "There is no row of this key.", status=404)
    return row_id


def _new(tenant: str, dataset: Dataset, row_id: int, content_type: str, size: int) -> Picture:
    picture_id = f"pic_{ULID()}"
    return Picture(picture_id, dataset.number, row_id, picture_key(tenant, picture_id), content_type, size)


def _unknown() -> Refused:
    return Refused("picture_not_found", "The row awaits no picture of this id.", status=404)


def _refuse_other(first: bytes, content_type: str) -> None:
    if images.kind(first) != content_type:
        raise _invalid(f"its bytes are not those of {content_type}")


def _invalid(detail: str) -> Refused:
    errors: list[Mapping[str, Any]] = [{"code": "picture_invalid", "column": "picture", "detail": detail}]
    return Refused("picture_invalid", f"The picture cannot be taken: {detail}.", errors=errors)
