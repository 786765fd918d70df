"""Who opens what: data keys of encrypted fields, held open in this process for some minutes and never anywhere else."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from chalicelib.aws import kms
from chalicelib.cells import Value
from chalicelib.cells.shown import from_text
from chalicelib.datasets import Dataset, Schema
from chalicelib.datasets.schema import blind_name
from chalicelib.errors import Refused
from chalicelib.formats.sheet import MAX_RAW_BYTES
from chalicelib.postgres import datakeys, ledger, repeats
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.datakeys import Purpose, Wrapped
from chalicelib.postgres.repeats import Repeat
from chalicelib.sealing import ANSWER, ASKED, OVERHEAD, BlindKey, DataKey, Home, Seal, SealBroken, key_number

MOST_OPEN: Final = 256  # data keys
OPEN_SECONDS: Final = 300  # after a KMS key is switched off, what it protects is shut by then
REWRAPPED: Final = 500  # data keys at once: some 10 s
MOST_RAW: Final = MAX_RAW_BYTES + OVERHEAD  # of a sealed record


class _Open:
    """Data keys by what they are wrapped to, the last used last. A number may be another's in a restored database."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    def secret(self, key: Wrapped) -> bytes:
        """The key in the open. Raises Unavailable."""
        now = time.monotonic()
        since, secret = self._kept.get(key.wrapped, (-OPEN_SECONDS, b""))
        if now - since >= OPEN_SECONDS:
            secret = kms.unwrap(key.kms_key, key.wrapped, key.context)
            self._kept[key.wrapped] = (now, secret)
        self._kept.move_to_end(key.wrapped)
        while len(self._kept) > MOST_OPEN:
            self._kept.popitem(last=False)
        return secret

    def forget(self) -> None:
        self._kept.clear()


open_keys: Final = _Open()


def of_upload(db: Connection, upload: ledger.Upload) -> DataKey:
    """The key of an upload into a dataset with encrypted fields, made when the first asks. Raises Unavailable."""
    return _data_key(_ready(db, Home(upload.owner, upload.dataset), "upload", upload.number))


def by_hand(db: Connection, dataset: Dataset) -> DataKey:
    """The key of rows that are made or changed by hand. Raises Unavailable."""
    return _data_key(_ready(db, _home(dataset), "hand", 0))


def blind(db: Connection, home: Home) -> BlindKey:
    """The key of a dataset's blind indexes. Raises Unavailable."""
    return BlindKey(home, open_keys.secret(_ready(db, home, "blind", 0)))


def _home(dataset: Dataset) -> Home:
    return Home(dataset.tenant, dataset.number)


def _data_key(key: Wrapped) -> DataKey:
    return DataKey(key.number, Home(key.tenant, key.dataset), open_keys.secret(key))


def _ready(db: Connection, home: Home, purpose: Purpose, upload: int) -> Wrapped:
    """The key for this. Of two who make it at once, the one that is kept first is the key of both."""
    found = datakeys.find(db, home.dataset, purpose, upload)
    if found is None:
        context = datakeys.context(home.tenant, home.dataset, purpose, upload)
        kms_key, wrapped, _ = kms.generate(context)
        datakeys.add(db, home.tenant, home.dataset, purpose, upload, (kms_key, wrapped))
        found = datakeys.find(db, home.dataset, purpose, upload)
    assert found is not None
    return found


def sealing(db: Connection, key: DataKey, schema: Schema) -> Seal:
    """What makes of the checked columns of this key's upload those of its table. Raises Unavailable."""
    return sealing_by(key, blind(db, key.home) if _blind_places(schema) else None, schema)


def sealing_by(key: DataKey, blinds: BlindKey | None, schema: Schema) -> Seal:
    """What makes of checked columns, and the `_row` of each row, the columns of the table (Schema.stored)."""
    sealers = {place: key.sealer(spec.name) for place, spec in enumerate(schema.fields) if spec.encrypted}
    return partial(_sealed, sealers, _indexers(blinds, schema))


def _blind_places(schema: Schema) -> list[int]:
    """Where the fields are that have a blind index."""
    names = {spec.blind_of for spec in schema.stored.fields}
    return [place for place, spec in enumerate(schema.fields) if spec.name in names]


def _indexers(key: BlindKey | None, schema: Schema) -> dict[int, Callable[[str], str]]:
    return {place: key.indexer(schema.fields[place]) for place in _blind_places(schema)} if key else {}


def _sealed(
    sealers: Mapping[int, Callable[[int, str], str]],
    indexers: Mapping[int, Callable[[str], str]],
    columns: Sequence[Sequence[Value]],
    rows: Sequence[int],
) -> list[Sequence[Value]]:
    stored = list(columns)
    for place, seal in sealers.items():
        stored[place] = [
            None if value is None else seal(row, value) for row, value in zip(rows, columns[place], strict=True)
        ]
    for place, index in indexers.items():
        stored.append([None if value is None else index(value) for value in columns[place]])
    return stored


def row_by_hand(db: Connection, dataset: Dataset, row: int, values: Mapping[str, Value]) -> dict[str, Value]:
    """Values of a row's fields, as its table has them."""
    schema, key = dataset.schema, by_hand(db, dataset)
    stored = dict(values)
    indexers = _indexers(blind(db, key.home) if _blind_places(schema) else None, schema)
    for place, spec in enumerate(schema.fields):
        value = values.get(spec.name)
        if spec.encrypted and spec.name in values:
            stored[spec.name] = None if value is None else key.sealer(spec.name)(row, value)
            if place in indexers:
                stored[blind_name(spec.name)] = None if value is None else indexers[place](value)
    return stored


class Opener:
    """Opens values of a dataset's rows, for somebody who may read them."""

    def __init__(self, db: Connection, dataset: Dataset) -> None:
        self._db, self._home, self._keys = db, _home(dataset), dict[int, DataKey]()
        self._fields = {spec.name: spec for spec in dataset.schema.fields if spec.encrypted}

    def texts(self, row: int, stored: Mapping[str, Any]) -> dict[str, Value]:
        """The encrypted fields of a row as checks have left them. Raises Refused `seal_broken`, Unavailable."""
        sealed = {name: stored[name] for name in self._fields}
        return {name: None if value is None else self._open(name, row, value) for name, value in sealed.items()}

    def shown(self, row: int, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The row as JSON shows it. Raises as `texts` does."""
        texts = self.texts(row, stored)
        return {
            name: from_text(self._fields[name], text) if (text := texts.get(name)) is not None else value
            for name, value in stored.items()
        }

    def _open(self, name: str, row: int, sealed: str) -> str:
        try:
            return self._key(key_number(sealed)).opener(name)(row, sealed)
        except SealBroken:
            raise broken() from None

    def _key(self, number: int) -> DataKey:
        if number not in self._keys:
            found = datakeys.numbered(self._db, number)
            if found is None or Home(found.tenant, found.dataset) != self._home:
                raise SealBroken("it is of another dataset")
            self._keys[number] = _data_key(found)
        return self._keys[number]


def rewrap(db: Connection, after: int) -> tuple[int, int | None]:
    """Wrap the next data keys anew by the KMS key that is the deployment's now: how many, and behind which to go on.

    No value is touched. A repeat wraps them once more, and of two at once one is kept. Raises Unavailable.
    """
    page = datakeys.list_after(db, after, REWRAPPED)
    for key in page:
        # KMS' own ReEncrypt would spare us the key in the open, but is not everywhere that this runs.
        secret = kms.unwrap(key.kms_key, key.wrapped, key.context)
        datakeys.rewrap(db, key, *kms.wrap(secret, key.context))
    return len(page), page[-1].number if len(page) == REWRAPPED else None


def broken() -> Refused:
    """What is said of something that does not open where it is."""
    detail = "An encrypted value does not open where it is stored: it was changed, or moved there."
    return Refused("seal_broken", detail, status=409)


def once(db: Connection, dataset: Dataset, repeat: Repeat | None, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """As `repeats.once`, of what may not be kept in the open: neither the answer, nor a hash of what was asked."""
    if repeat is None:
        return make()
    key = by_hand(db, dataset)
    asked = key.sealer(ASKED)(0, json.dumps(repeat.body, sort_keys=True))
    repeat = replace(repeat, body={"sealed": asked})
    kept = repeats.once(db, repeat, lambda: {"sealed": key.sealer(ANSWER)(0, json.dumps(make()))})
    made: dict[str, Any] = json.loads(key.opener(ANSWER)(0, kept["sealed"]))
    return made


def sealed_record(key: DataKey, row: int, raw: bytes) -> bytes:
    """A rejected record as it is kept. Of a long one no more than is ever shown, and the sign that there was more."""
    return key.seal_record(row, raw[: MAX_RAW_BYTES + 1])


def record_opener(db: Connection, upload: int) -> Callable[[int, bytes], bytes]:
    """What opens an upload's rejected records, each with its `_row`, if they are sealed.

    Raises as Opener does, and Refused `files_expired` (410) if the account is gone whose dataset it was.
    """
    found = datakeys.of_upload(db, upload)
    if found is None:
        return lambda _, raw: raw
    if not found.wrapped:
        detail = "What was rejected was sealed by a key of the dataset's owner, which went with that account."
        raise Refused("files_expired", detail, status=410)
    key = _data_key(found)

    def opened(row: int, sealed: bytes) -> bytes:
        try:
            return key.open_record(row, sealed)
        except SealBroken:
            raise broken() from None

    return opened
