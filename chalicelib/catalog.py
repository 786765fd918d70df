"""The catalogue of datasets. Only `define` changes tables, and it runs in its own function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import psycopg

from chalicelib.aws import functions
from chalicelib.cells import quoted
from chalicelib.datasets import (
    MAX_IDENTIFIER_BYTES,
    Dataset,
    Schema,
    is_dataset_id,
    is_dataset_name,
    narrowings,
    read_mode,
    read_schema,
)
from chalicelib.datasets.pace import max_rate
from chalicelib.errors import Refused
from chalicelib.paging import Asked, Page, decode, fill
from chalicelib.postgres import ledger, pace, people, pictures, references, tables
from chalicelib.postgres.connection import Connection, connection
from chalicelib.settings import settings

_BESIDE: Final = ("indexes", "max_rows_per_second", "partition_by")
LOCK_SECONDS: Final = 2  # for who changes or loads it now
INDEX_SECONDS: Final = 20  # of the 29 that the function may take


def put(tenant: str, name: str, body: dict[str, Any], request_id: str) -> tuple[bool, dict[str, Any]]:
    """Create or change a dataset; whether it is new, and the dataset. Raises Refused."""
    descriptor = dict(body)
    mode = read_mode(descriptor.pop("mode", "insert"), read_schema(descriptor))
    name = _own(tenant, name)
    answer = _call({"tenant": tenant, "name": name, "mode": mode, "descriptor": descriptor}, request_id)
    return answer["created"], get(tenant, name)


def delete(tenant: str, name: str, request_id: str) -> None:
    """Delete a dataset with its rows; its uploads keep their history. Raises Refused (404, 409)."""
    found = people.get_dataset(connection(), tenant, name, "owner")
    _call({"tenant": tenant, "name": found.dataset.name, "delete": True}, request_id)


def _call(event: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    answer = functions.call(settings().define_function, {**event, "correlation_id": request_id})
    if refused := answer.get("refused"):
        raise Refused(refused.pop("code"), **refused)
    return answer


def define(event: Mapping[str, Any]) -> dict[str, Any]:
    """Make, change or delete the table of a dataset, in one transaction. Repeating it changes nothing."""
    return _delete(event["tenant"], event["name"]) if event.get("delete") else _put(event)


def _delete(tenant: str, name: str) -> dict[str, Any]:
    db = connection()
    try:
        with db.transaction():
            db.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            known = people.find_dataset(db, tenant, name)
            if known is not None:
                people.close_dataset(db, known.dataset.number)
                # Again: whoever held it may have changed or deleted it.
                _drop(db, tenant, people.get_dataset(db, tenant, name).dataset)
    except psycopg.errors.LockNotAvailable:
        raise _in_use() from None
    return {"deleted": known is not None}


def _drop(db: Connection, tenant: str, dataset: Dataset) -> None:
    if ledger.has_active_uploads(db, dataset.number):
        raise _has_uploads()
    if others := people.list_referring(db, tenant, dataset.name):
        names = ", ".join(quoted(other.name) for other in others)
        raise Refused("dataset_referenced", f"It is referred to by {names}.", status=409)
    tables.drop(db, tables.of_dataset(dataset))
    pictures.abandon(db, dataset.number)
    people.delete_dataset(db, dataset.number)


def _in_use() -> Refused:
    return Refused("dataset_busy", "The dataset is in use; try again later.", status=409)


def _has_uploads() -> Refused:
    return Refused("dataset_busy", "Uploads into this dataset are under way.", status=409)


def _put(event: Mapping[str, Any]) -> dict[str, Any]:
    tenant, name, descriptor = event["tenant"], event["name"], dict(event["descriptor"])
    schema = read_schema(descriptor)
    mode = read_mode(event["mode"], schema)
    db = connection()
    try:
        with db.transaction():
            db.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL statement_timeout = '{INDEX_SECONDS}s'")
            references.check_targets(db, tenant, schema)
            people.hold_dataset(db, tenant, name)  # what is to be changed is as it is found until then
            known = people.find_dataset(db, tenant, name)
            if known is None:
                number = people.add_dataset(db, tenant, name, mode, descriptor)
                tables.create(db, tenant, name, tables.Table(number, 1, schema))
            elif (known.dataset.descriptor, known.dataset.mode) != (descriptor, mode):
                _change(db, tenant, known.dataset, schema)
                people.change_dataset(db, known.dataset, mode, descriptor)
                if max_rate(descriptor) != max_rate(known.dataset.descriptor):
                    pace.begin_anew(db, known.dataset.number)
                tables.match_indexes(db, tables.Table(known.dataset.number, known.dataset.version, schema))
    except psycopg.errors.UniqueViolation:
        return _put(event)  # another request made it first: look again
    except psycopg.errors.LockNotAvailable:
        raise _in_use() from None
    except psycopg.errors.QueryCanceled:
        detail = f"To index the rows that are there takes over {INDEX_SECONDS} s; declare indexes before rows come."
        raise Refused("index_too_slow", detail, status=409) from None
    except psycopg.errors.ProgramLimitExceeded:
        detail = "A value that is there is too long for an index."
        raise Refused("dataset_incompatible", detail, status=409) from None
    return {"created": known is None}


def _change(db: Connection, tenant: str, dataset: Dataset, schema: Schema) -> None:
    """A table that holds nothing may take any schema; one with rows a wider one."""
    if schema == dataset.schema:
        return
    table = tables.of_dataset(dataset)
    people.close_dataset(db, dataset.number)
    if ledger.has_active_uploads(db, dataset.number):
        raise _has_uploads()
    references.check_referrers(db, tenant, dataset.name, schema)
    if tables.is_empty(db, table):
        tables.drop(db, table)
        pictures.abandon(db, dataset.number)  # the numbers of rows begin again
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
    return _shown(people.get_dataset(connection(), tenant, name))


def listing(tenant: str, asked: Asked) -> Page:
    """The tenant's datasets by name; or, if they are asked for, others' that are shared with it, by id."""
    if asked.filters.get("shared") == "true":
        shared = people.list_shared(connection(), tenant, decode(asked.cursor, str, ""), asked.limit + 1)
        return fill(shared, asked.limit, _shown, lambda one: one.dataset_id)
    found = people.list_datasets(connection(), tenant, decode(asked.cursor, str, ""), asked.limit + 1)
    return fill(found, asked.limit, _shown, lambda one: one.dataset.name)


def _own(tenant: str, name: str) -> str:
    """The name of the tenant's own dataset that is to be put, which may be called by its id once it is there."""
    if is_dataset_id(name):
        return people.get_dataset(connection(), tenant, name, "owner").dataset.name
    if not is_dataset_name(name):
        detail = f"A dataset's name has 1 to {MAX_IDENTIFIER_BYTES} printable bytes; . and .. are none."
        raise Refused("name_invalid", detail)
    return name


def _shown(found: people.Catalogued) -> dict[str, Any]:
    """What was put beside the Table Schema is shown so."""
    dataset = found.dataset
    return {
        "id": found.dataset_id,
        "name": dataset.name,
        "owner": found.owner,
        "role": found.role,
        "version": dataset.version,
        "mode": dataset.mode,
        "indexes": [list(index) for index in dataset.schema.indexes],
        "max_rows_per_second": dataset.descriptor.get("max_rows_per_second"),
        "partition_by": dataset.descriptor.get("partition_by"),
        "schema": {name: value for name, value in dataset.descriptor.items() if name not in _BESIDE},
        "created_at": found.created_at,
    }
