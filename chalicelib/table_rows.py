"""The rows of a dataset over HTTP: pages in file order, or those that a query asks for by index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

from chalicelib.datasets import Dataset, Schema
from chalicelib.datasets.queries import Query, read_query
from chalicelib.errors import Refused
from chalicelib.journey import Number, is_upload_id
from chalicelib.paging import Asked, Page, decode, fill, foreign_cursor, opened
from chalicelib.postgres import ledger, people, selection, tables
from chalicelib.postgres.connection import connection
from chalicelib.strict_json import is_text


def listing(tenant: str, name: str, asked: Asked) -> Page:
    """Rows of one upload or of all, in file order or as a query orders them. Raises Refused (400, 404)."""
    dataset = people.get_dataset(connection(), tenant, name).dataset
    given = dict(asked.filters)
    upload = _upload_number(tenant, given.pop("upload", None))
    if not given:
        return _in_file_order(dataset, upload, asked)
    return _selected(dataset, read_query(given, dataset.schema), upload, asked)


def _in_file_order(dataset: Dataset, upload: Number | None, asked: Asked) -> Page:
    after = decode(asked.cursor, int, -1)
    found = tables.read(connection(), _table(dataset), after, upload, asked.limit + 1)
    return fill(found, asked.limit, _shower(dataset.schema), lambda row: row[-1])


def _selected(dataset: Dataset, query: Query, upload: Number | None, asked: Asked) -> Page:
    mark = _mark(dataset, asked.filters)
    window = selection.Window(upload, _place(asked.cursor, mark), asked.limit + 1)
    found = selection.read(connection(), _table(dataset), query, window)
    try:
        return fill(found, asked.limit, _shower(dataset.schema), lambda row: [mark, row[-1], row[-2]])
    except psycopg.DataError:
        raise foreign_cursor() from None  # all other values have been read by now


def _mark(dataset: Dataset, filters: Mapping[str, str]) -> str:
    """What tells a query from others: a cursor of one continues no other."""
    return hashlib.sha256(json.dumps([dataset.number, sorted(filters.items())]).encode()).hexdigest()[:16]


def _place(cursor: str | None, mark: str) -> selection.Place | None:
    match opened(cursor) if cursor is not None else None:
        case None if cursor is None:
            return None
        case [str(given), None | str() as value, int(row)] if (
            given == mark and type(row) is int and -1 <= row < 2**63 and (value is None or is_text(value))
        ):
            return selection.Place(value, row)
    raise foreign_cursor()


def _table(dataset: Dataset) -> tables.Table:
    return tables.Table(dataset.number, dataset.version, dataset.schema)


def _upload_number(tenant: str, upload_id: str | None) -> Number | None:
    if upload_id is None:
        return None
    number = ledger.number_of(connection(), tenant, upload_id) if is_upload_id(upload_id) else None
    if number is None:
        raise Refused("upload_not_found", "There is no upload of this id.", status=404)
    return number


def _shower(schema: Schema) -> Callable[[tuple[Any, ...]], dict[str, Any]]:
    names = schema.names
    return lambda row: dict(zip(names, map(_json, row), strict=False))


def _json(value: object) -> object:
    """A cell in JSON: exact decimals as strings, moments in UTC as RFC 3339."""
    match value:
        case Decimal():
            return {"Infinity": "INF", "-Infinity": "-INF"}.get(str(value), format(value, "f"))
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            return value
