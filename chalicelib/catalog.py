"""Datasets and the rows loaded into them. Only `define` changes tables, and it runs in its own function."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import psycopg

from chalicelib.aws import functions
from chalicelib.datasets import (
    MAX_IDENTIFIER_BYTES,
    Dataset,
    Schema,
    is_dataset_name,
    narrowings,
    read_mode,
    read_schema,
)
from chalicelib.errors import Refused
from chalicelib.journey import Number, is_upload_id
from chalicelib.paging import Asked, Page, decode, fill
from chalicelib.postgres import ledger, people, references, tables
from chalicelib.postgres.connection import Connection, connection
from chalicelib.settings import settings

DATASET_NOT_FOUND: Final = "There is no dataset of this name."


def put(tenant: str, name: str, body: dict[str, Any], request_id: str) -> tuple[bool, dict[str, Any]]:
    """Create or change a dataset; whether it is new, and the dataset. Raises Refused."""
    descriptor = dict(body)
    mode = read_mode(descriptor.pop("mode", "insert"), read_schema(descriptor))
    _check_name(name)
    event = {"tenant": tenant, "name": name, "mode": mode, "descriptor": descriptor, "correlation_id": request_id}
    answer = functions.call(settings().define_function, event)
    if refused := answer.get("refused"):
        raise Refused(refused["code"], refused["detail"], status=refused["status"], errors=refused["errors"])
    return answer["created"], get(tenant, name)


def define(event: Mapping[str, Any]) -> dict[str, Any]:
    """Make or change the table of a dataset, in one transaction. Repeating it changes nothing."""
    tenant, name, descriptor = event["tenant"], event["name"], dict(event["descriptor"])
    schema = read_schema(descriptor)
    mode = read_mode(event["mode"], schema)
    db = connection()
    try:
        with db.transaction():
            db.execute("SET LOCAL lock_timeout = '2s'")
            references.check_targets(db, tenant, schema)
            known = people.find_dataset(db, tenant, name)
            if known is None:
                number = people.add_dataset(db, tenant, name, mode, descriptor)
                tables.create(db, tenant, name, tables.Table(number, 1, schema))
            elif (known.dataset.descriptor, known.dataset.mode) != (descriptor, mode):
                _change(db, tenant, known.dataset, schema)
                people.change_dataset(db, known.dataset, mode, descriptor)
    except psycopg.errors.UniqueViolation:
        return define(event)  # another request made it first: look again
    except psycopg.errors.LockNotAvailable:
        raise Refused("dataset_busy", "The dataset is in use; try again later.", status=409) from None
    return {"created": known is None}


def _change(db: Connection, tenant: str, dataset: Dataset, schema: Schema) -> None:
    """A table that holds nothing may take any schema; one with rows a wider one."""
    if schema == dataset.schema:
        return
    table = tables.Table(dataset.number, dataset.version, dataset.schema)
    people.close_dataset(db, dataset.number)
    if ledger.has_active_uploads(db, dataset.number):
        raise Refused("dataset_busy", "Uploads into this dataset are under way.", status=409)
    references.check_referrers(db, tenant, dataset.name, schema)
    if tables.is_empty(db, table):
        tables.drop(db, table)
        tables.create(db, tenant, dataset.name, tables.Table(dataset.number, dataset.version + 1, schema))
    else:
        _refuse_narrowing(dataset.schema, schema)
        tables.widen(db, tenant, dataset.name, table, schema)


def _refuse_narrowing(old: Schema, new: Schema) -> None:
    found = list(narrowings(old, new))
    if found:
        errors = [{"code": "dataset_incompatible", "column": column, "detail": detail} for column, detail in found]
        detail = "The dataset has rows, which could not stay as they are under this schema."
        raise Refused("dataset_incompatible", detail, status=409, errors=errors)


def get(tenant: str, name: str) -> dict[str, Any]:
    """A dataset as the API shows it. Raises Refused `dataset_not_found` (404)."""
    return _shown(_find(tenant, name))


def listing(tenant: str, asked: Asked) -> Page:
    """The tenant's datasets by name."""
    found = people.list_datasets(connection(), tenant, decode(asked.cursor, str, ""), asked.limit + 1)
    return fill(found, asked.limit, _shown, lambda one: one.dataset.name)


def rows(tenant: str, name: str, asked: Asked) -> Page:
    """Loaded rows in file order, of one upload or of all. Raises Refused (404)."""
    dataset = _find(tenant, name).dataset
    upload = _upload_number(tenant, asked.filters.get("upload"))
    after = decode(asked.cursor, int, -1)
    table = tables.Table(dataset.number, dataset.version, dataset.schema)
    names = dataset.schema.names
    return fill(
        tables.read(connection(), table, after, upload, asked.limit + 1),
        asked.limit,
        lambda row: dict(zip(names, map(_json, row), strict=False)),
        lambda row: row[-1],
    )


def _find(tenant: str, name: str) -> people.Catalogued:
    found = people.find_dataset(connection(), tenant, name) if is_dataset_name(name) else None
    if found is None:
        raise Refused("dataset_not_found", DATASET_NOT_FOUND, status=404)
    return found


def _upload_number(tenant: str, upload_id: str | None) -> Number | None:
    if upload_id is None:
        return None
    number = ledger.number_of(connection(), tenant, upload_id) if is_upload_id(upload_id) else None
    if number is None:
        raise Refused("upload_not_found", "There is no upload of this id.", status=404)
    return number


def _check_name(name: str) -> None:
    if not is_dataset_name(name):
        raise Refused("name_invalid", f"A dataset's name has 1 to {MAX_IDENTIFIER_BYTES} printable bytes.")


def _shown(found: people.Catalogued) -> dict[str, Any]:
    dataset = found.dataset
    return {
        "name": dataset.name,
        "version": dataset.version,
        "mode": dataset.mode,
        "schema": dataset.descriptor,
        "created_at": found.created_at,
    }


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
