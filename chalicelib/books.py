"""Books as the API knows them that Rowmill takes the place of: rows of the tenant's dataset `books`, with a picture.

Nothing is kept of them elsewhere: the dataset is made from its template when the first book comes, and a file of books
is an upload like any other, put into the bucket for a client that sent it with its request.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import admit, catalog, pictures, planning, table_rows, tasks, templates
from chalicelib.aws import s3
from chalicelib.datasets import Dataset
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused, RowmillError
from chalicelib.forms import File
from chalicelib.journey import object_key
from chalicelib.paging import Asked, Page
from chalicelib.postgres import people
from chalicelib.postgres.connection import connection, when_back
from chalicelib.postgres.timeline import Asker

DATASET: Final = "books"
MOST_PICTURES: Final = 500  # of a page: a URL, which no page of rows counts, has up to 2 kB and takes 2 ms to sign
MOST_IDS: Final = 10_000  # of tasks in one answer: half a megabyte
_FIELDS: Final = ("title", "author", "description")


def listing(tenant: str, asked: Asked) -> Page:
    """The books in the order in which they came; none while there is no dataset."""
    dataset = _find(tenant)
    if dataset is None:
        return Page([], None)
    found = table_rows.listing(tenant, DATASET, asked)
    if len(found.items) > MOST_PICTURES:
        pictured = pictures.pictured(dataset.number, [row["id"] for row in found.items])
        places = [place for place, row in enumerate(found.items) if row["id"] in pictured]
        if len(places) > MOST_PICTURES:
            found = table_rows.listing(tenant, DATASET, replace(asked, limit=places[MOST_PICTURES]))
    return Page(_shown(dataset, found.items), found.next_cursor)


def get(tenant: str, book_id: str) -> dict[str, Any]:
    """A book. Raises Refused `row_not_found` (404)."""
    dataset = _known(tenant)
    return _shown(dataset, [table_rows.get(_at(tenant, book_id))])[0]


def create(tenant: str, fields: Mapping[str, Any], picture: File | None, request_id: str) -> dict[str, Any]:
    """A new book, with its picture or not at all. Raises Refused."""
    if picture is not None:
        pictures.refuse_unfit(picture.data, picture.content_type)
    dataset = _made(tenant, request_id)
    row = table_rows.create(tenant, DATASET, _without_picture(fields))[1]
    if picture is not None:
        try:
            pictures.put(_at(tenant, str(row["id"])), picture.data, picture.content_type)
        except (RowmillError, ClientError, BotoCoreError, psycopg.Error):
            when_back(lambda _: table_rows.remove(_at(tenant, str(row["id"])), None))
            raise
    return _shown(dataset, [row])[0]


def edit(tenant: str, book_id: str, fields: Mapping[str, Any], picture: File | None) -> dict[str, Any]:
    """The book with other values in the fields that are named. Raises Refused."""
    if picture is not None:
        pictures.refuse_unfit(picture.data, picture.content_type)
    dataset = _known(tenant)
    row = table_rows.change(_at(tenant, book_id), _without_picture(fields), None)
    if picture is not None:
        pictures.put(_at(tenant, book_id), picture.data, picture.content_type)
    return _shown(dataset, [row])[0]


def delete(tenant: str, book_id: str) -> None:
    """Delete the book with its picture. Raises Refused `row_not_found` (404)."""
    _known(tenant)
    table_rows.remove(_at(tenant, book_id), None)


def load(tenant: str, file: File, idempotency_key: str | None, by: Asker) -> dict[str, Any]:
    """Put a file of books into the bucket, where it is found as any other; the batch that it is.

    What its first lines show to be wrong is refused before anything is made.
    """
    total = planning.count(file.data, _made(tenant, by.request_id).schema)
    announced = {
        "dataset": DATASET,
        "filename": file.filename[:1024],
        "size": len(file.data),
        "checksum": base64.b64encode(hashlib.sha256(file.data).digest()).decode(),
    }
    item, _ = admit.create(tenant, announced, idempotency_key, by, records=total)
    key = object_key(tenant, item["upload_id"])
    if item["state"] == "awaiting_upload" and not s3.has_arrived(key):
        s3.write(key, "text/csv", [file.data])
    batch_id = str(item["upload_id"])
    return {"batch_id": batch_id, "task_ids": tasks.ids(batch_id, total or 0, MOST_IDS), "total_rows": total}


def is_there(tenant: str) -> bool:
    """Whether the tenant has a dataset of books. Raises Refused `books_unfit` (409)."""
    return _find(tenant) is not None


def _find(tenant: str) -> Dataset | None:
    """The tenant's books, if there is a dataset of this name. Raises Refused `books_unfit` (409) if it is another."""
    found = people.find_dataset(connection(), tenant, DATASET)
    if found is None:
        return None
    schema = found.dataset.schema
    if schema.identity != "id" or not set(_FIELDS) <= set(schema.names):
        detail = "The dataset `books` was not made from the template of books; these routes cannot serve it."
        raise Refused("books_unfit", detail, status=409)
    return found.dataset


def _known(tenant: str) -> Dataset:
    dataset = _find(tenant)
    if dataset is None:
        raise Refused("row_not_found", "There is no such book.", status=404)
    return dataset


def _made(tenant: str, request_id: str) -> Dataset:
    if (dataset := _find(tenant)) is None:
        catalog.put(tenant, DATASET, templates.get(DATASET), request_id)
        dataset = _known(tenant)
    return dataset


def _without_picture(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "picture"}


def _at(tenant: str, book_id: str) -> Addressed:
    return Addressed(tenant, DATASET, book_id)


def _shown(dataset: Dataset, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = pictures.shown(dataset.number, [row["id"] for row in rows])
    return [
        {"id": row["id"]}
        | {name: row[name] for name in _FIELDS}
        | {"picture": picture.get("id"), "picture_url": picture.get("url")}
        for row in rows
        for picture in [found.get(row["id"], {})]
    ]
