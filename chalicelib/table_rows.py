"""The rows of a dataset over HTTP: pages in file order or by a query, and rows one by one.

A single row is addressed by its key and held to the same checks as a file's; what somebody else may have changed
meanwhile is guarded by its tag. No table is made or altered here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from urllib.parse import quote

import psycopg

from chalicelib import conditional, pages_kept, pictures, vault
from chalicelib.cells import Value
from chalicelib.cells.shown import as_json
from chalicelib.checking.documents import check_document
from chalicelib.datasets import Dataset, ForeignKey, Schema, addresses
from chalicelib.datasets.addresses import Addressed
from chalicelib.datasets.queries import Query, read_query, read_value
from chalicelib.errors import Refused
from chalicelib.journey import CellError, Number, is_upload_id
from chalicelib.paging import Asked, Page, fill, fitting, foreign_cursor, opened
from chalicelib.postgres import changes, handmade, ledger, people, references, selection, tables
from chalicelib.postgres import pictures as kept
from chalicelib.postgres.connection import Connection, connection, past_deadlocks, refusal
from chalicelib.postgres.repeats import Repeat, once
from chalicelib.postgres.replay import DETAILS, IN_DATABASE
from chalicelib.strict_json import is_text


def listing(tenant: str, name: str, asked: Asked) -> Page:
    """Rows of one upload or of all, in file order or as a query orders them. Raises Refused (400, 404)."""
    found = people.get_dataset(connection(), tenant, name)
    dataset, given = found.dataset, dict(asked.filters)
    upload = _upload_number(tenant, dataset, given.pop("upload", None))
    if dataset.schema.is_encrypted:  # what is open is not kept
        return _read(dataset, upload, given, asked)
    # The count was read before the rows are: they may be newer than it says, which it then is asked for no more.
    state = (dataset.number, dataset.version, found.changes)
    wanted = (upload, tuple(sorted(given.items())), asked.cursor, asked.limit)
    return pages_kept.rows.page((*state, *wanted), lambda: _read(dataset, upload, given, asked))


def _read(dataset: Dataset, upload: Number | None, given: Mapping[str, str], asked: Asked) -> Page:
    with tables.standing():
        if not given:
            return _in_file_order(dataset, upload, asked)
        return _selected(dataset, read_query(given, dataset.schema), upload, asked)


def _in_file_order(dataset: Dataset, upload: Number | None, asked: Asked) -> Page:
    mark = _mark(dataset, asked.filters)
    place = _place(asked.cursor, mark)
    db = connection()
    found = tables.read(db, tables.of_dataset(dataset), place.row if place else -1, upload, asked.limit + 1)
    return fill(found, asked.limit, _shower(db, dataset), lambda row: [mark, None, row[-1]])


def _selected(dataset: Dataset, query: Query, upload: Number | None, asked: Asked) -> Page:
    mark = _mark(dataset, asked.filters)
    window = selection.Window(upload, _place(asked.cursor, mark), asked.limit + 1)
    db = connection()
    found = selection.read(db, tables.of_dataset(dataset), query, window)
    try:
        return fill(found, asked.limit, _shower(db, dataset), lambda row: [mark, row[-1], row[-2]])
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


def get(at: Addressed) -> dict[str, Any]:
    """The row of this key. Raises Refused `row_not_found` (404), `dataset_keyless`, `row_too_large` (409)."""
    db = connection()
    with tables.standing(), db.transaction():
        dataset = people.get_dataset(db, at.tenant, at.name).dataset
        return fitting(_held(db, dataset, _key(dataset.schema, at.key), hold=False))


def create(
    tenant: str, name: str, document: Mapping[str, Any], repeat: Repeat | None = None
) -> tuple[str | None, dict[str, Any]]:
    """Where the new row is, unless it has no whole key or one that is too long for an address, and the row.

    Raises Refused `row_invalid` (422) with every error, `duplicate_in_db`, `row_too_large` (409).
    """
    with _kept(tenant, name) as (db, dataset):
        make = partial(_make, db, dataset, name, document)
        repeat = repeat and repeat.within(dataset.number)
        made = vault.once(db, dataset, repeat, make) if dataset.schema.is_encrypted else once(db, repeat, make)
    return made["location"], made["row"]


def _make(db: Connection, dataset: Dataset, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    schema = dataset.schema
    values = _checked(dataset, document, whole=True)
    _refuse_orphan(db, dataset.tenant, schema, schema.foreign_keys, values)
    number = handmade.next_row(db) if schema.is_encrypted else None
    if number is not None:
        values = vault.row_by_hand(db, dataset, number, values)
    with _judged(db, dataset):
        row = fitting(_shower(db, dataset)(handmade.insert(db, tables.of_dataset(dataset), values, number)))
    return {"location": _address(name, schema, row), "row": row}


def change(at: Addressed, document: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    """The row with other values in the fields that are named.

    Raises Refused as `get` and `create` do, and `precondition_failed` (412), `row_referenced` (409).
    """
    return past_deadlocks(partial(_change, at, document, if_match))


def _change(at: Addressed, document: Mapping[str, Any], if_match: str | None) -> dict[str, Any]:
    with _kept(at.tenant, at.name) as (db, dataset):
        schema = dataset.schema
        key = _key(schema, at.key)
        keyed = any(not document.keys().isdisjoint(columns) for columns in schema.keys)
        referrers = references.find_referrers(db, dataset.tenant, dataset) if keyed else []
        held = _found(db, dataset, key, hold=True)
        before = _shower(db, dataset)(held)
        conditional.hold_to(before, if_match)
        values = _checked(dataset, document, whole=False)
        if not values:
            return fitting(before)
        named = [each for each in schema.foreign_keys if not values.keys().isdisjoint(each.fields)]
        watched = sorted({*_targets(referrers), *(field for each in named for field in each.fields)})
        row = handmade.row_after(db, held[-1]) if schema.is_encrypted else None
        if row is not None:
            values = _sealed_anew(db, dataset, held, row, values)
        with _judged(db, dataset):
            changed = handmade.update(db, tables.of_dataset(dataset), key, values, watched, row)
        was, now = (dict(zip(watched, each, strict=True)) for each in (changed.before, changed.after))
        _refuse_orphan(db, dataset.tenant, schema, named, now)
        for referrer in referrers:
            if any(was[target] != now[target] for target in referrer.key.targets):
                references.refuse_if_referred(db, referrer, was)
        return fitting(_shower(db, dataset)(changed.row))


def _sealed_anew(
    db: Connection, dataset: Dataset, held: handmade.Row, row: int, values: Mapping[str, Value]
) -> dict[str, Value]:
    """What changes of a row that is `row` from then on: where that is another, all that was sealed for the old one."""
    if row != held[-1]:
        stored = dict(zip(dataset.schema.shown_names, held, strict=False))
        values = {**vault.Opener(db, dataset).texts(held[-1], stored), **values}
    return vault.row_by_hand(db, dataset, row, values)


def remove(at: Addressed, if_match: str | None) -> None:
    """Delete the row. Raises Refused as `change` does."""
    pictured = past_deadlocks(partial(_remove, at, if_match))
    if pictured is not None:
        pictures.discard(pictured)


def _remove(at: Addressed, if_match: str | None) -> int | None:
    """Delete the row; of a dataset whose rows may have pictures, its number."""
    with _kept(at.tenant, at.name) as (db, dataset):
        key = _key(dataset.schema, at.key)
        referrers = references.find_referrers(db, dataset.tenant, dataset)
        conditional.hold_to(_held(db, dataset, key, hold=True), if_match)
        watched = _targets(referrers)
        gone = dict(zip(watched, handmade.delete(db, tables.of_dataset(dataset), key, watched), strict=True))
        for referrer in referrers:
            references.refuse_if_referred(db, referrer, gone)
        if dataset.schema.identity:
            kept.abandon(db, dataset.number, int(str(key[dataset.schema.identity])))
    return dataset.number if dataset.schema.identity else None


@contextmanager
def _kept(tenant: str, name: str) -> Iterator[tuple[Connection, Dataset]]:
    """A transaction in which nobody changes the dataset's table. Raises Refused `account_erased` (403)."""
    db = connection()
    with db.transaction():
        dataset = people.hold_for_writing(db, tenant, name)
        yield db, dataset
        changes.note(db, dataset.number)


def _key(schema: Schema, segment: str) -> dict[str, Value]:
    """The key that a row is addressed by: its number, the primary key, else the first one."""
    if schema.identity:
        return _numbered(schema.identity, segment)
    if not schema.keys:
        raise Refused("dataset_keyless", "The dataset has no key by which to tell one row.", status=409)
    texts = addresses.read(segment, len(schema.keys[0]))
    if len(texts) != len(schema.keys[0]):
        raise _row_not_found()
    if _is_key_encrypted(schema):
        detail = "Rows are told by an encrypted key, which has no place in an address."
        raise Refused("key_encrypted", detail, status=409)
    fields = [schema.fields[place] for place in schema.key_positions()[0]]
    try:
        key = {field.name: read_value(field, text, schema) for field, text in zip(fields, texts, strict=True)}
    except ValueError:
        raise _row_not_found() from None
    if None in key.values():
        raise _row_not_found()
    return key


def _is_key_encrypted(schema: Schema) -> bool:
    return any(schema.fields[place].encrypted for place in schema.key_positions()[0])


def _numbered(name: str, segment: str) -> dict[str, Value]:
    number = handmade.number_of(segment)
    if number is None:
        raise _row_not_found()
    return {name: str(number)}


def _row_not_found() -> Refused:
    return Refused("row_not_found", "There is no row of this key.", status=404)


def _held(db: Connection, dataset: Dataset, key: Mapping[str, Value], *, hold: bool) -> dict[str, Any]:
    return _shower(db, dataset)(_found(db, dataset, key, hold=hold))


def _found(db: Connection, dataset: Dataset, key: Mapping[str, Value], *, hold: bool) -> handmade.Row:
    row = handmade.find(db, tables.of_dataset(dataset), key, hold=hold)
    if row is None:
        raise _row_not_found()
    return row


def _checked(dataset: Dataset, document: Mapping[str, Any], *, whole: bool) -> dict[str, Value]:
    """The values of the document's fields. Raises Refused `row_invalid` with all that is wrong with them."""
    values, errors = check_document(document, dataset.schema, whole=whole)
    if errors:
        raise _row_invalid(errors)
    return values


def _refuse_orphan(
    db: Connection, tenant: str, schema: Schema, keys: Sequence[ForeignKey], values: Mapping[str, Value]
) -> None:
    columns = [[values.get(name)] for name in schema.names]
    orphans = references.find_orphans(db, tenant, replace(schema, foreign_keys=tuple(keys)), columns)
    if orphans:
        raise _row_invalid(orphans[0])


def _row_invalid(errors: Sequence[CellError]) -> Refused:
    return Refused("row_invalid", "The row breaks rules of the dataset.", errors=[asdict(error) for error in errors])


@contextmanager
def _judged(db: Connection, dataset: Dataset) -> Iterator[None]:
    """Put a row, and tell what Postgres has against it as an upload would."""
    try:
        with db.transaction():
            yield
    except psycopg.errors.UniqueViolation as error:
        column = dataset.schema.stored.label(tables.columns_of_key(db, error))
        errors = [{"column": column, "code": IN_DATABASE, "detail": DETAILS[IN_DATABASE]}]
        raise Refused(IN_DATABASE, "Another row has the same key.", status=409, errors=errors) from None
    except psycopg.Error as error:
        raise _row_invalid([CellError(None, "db_rejected", refusal(error))]) from None


def _targets(referrers: Sequence[references.Referrer]) -> list[str]:
    return sorted({target for referrer in referrers for target in referrer.key.targets})


def _address(name: str, schema: Schema, row: Mapping[str, Any]) -> str | None:
    is_told = schema.keys and not _is_key_encrypted(schema)
    names = [schema.identity] if schema.identity else schema.keys[0] if is_told else []
    values = [row[field] for field in names] or [None]
    if None in values:
        return None
    key = addresses.spell([value if isinstance(value, str) else json.dumps(value) for value in values])
    address = f"/v1/datasets/{quote(name, safe='')}/rows/{key}"
    return address if len(address) <= addresses.MOST else None


def _upload_number(tenant: str, dataset: Dataset, upload_id: str | None) -> Number | None:
    if upload_id is None:
        return None
    is_one = is_upload_id(upload_id)
    number = ledger.number_within(connection(), tenant, dataset.number, upload_id) if is_one else None
    if number is None:
        raise Refused("upload_not_found", "There is no upload of this id.", status=404)
    return number


def _shower(db: Connection, dataset: Dataset) -> Callable[[tuple[Any, ...]], dict[str, Any]]:
    """How a row is shown to whoever may read it: encrypted fields are open. Its `_row` stands behind its fields."""
    names = dataset.schema.shown_names

    def shown(row: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(names, map(as_json, row), strict=False))

    if not dataset.schema.is_encrypted:
        return shown
    opener = vault.Opener(db, dataset)
    return lambda row: opener.shown(row[len(names)], shown(row))
