"""A schema once it is read: fields, keys, references; and the dataset that has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from chalicelib.cells import Field
from chalicelib.datasets.partitions import Partitions
from chalicelib.errors import Refused
from chalicelib.journey import MODES, Mode

_BLIND: Final = "_row_blind_"  # what the name of a column with a blind index begins with


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`fields` of a row are together a key `targets` of some row of the tenant's dataset of this name."""

    fields: tuple[str, ...]
    dataset: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a dataset's rows must be. `keys` are field names; the first is the primary key if there is one.

    Two schemas with other `indexes` are the same: these say how rows are found, not what they are.
    """

    fields: tuple[Field, ...]
    keys: tuple[tuple[str, ...], ...]
    has_primary_key: bool
    missing_values: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    partitions: Partitions | None = None
    indexes: tuple[tuple[str, ...], ...] = field(default=(), compare=False)
    identity: str | None = None  # a number that each row gets when it comes in; no file brings it, nobody changes it

    @property
    def shown_names(self) -> list[str]:
        """The columns as a row is shown."""
        return [self.identity, *self.names] if self.identity else self.names

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [spec.name for spec in self.fields]

    @property
    def is_encrypted(self) -> bool:
        """Whether a field is."""
        return any(spec.encrypted for spec in self.fields)

    @property
    def stored(self) -> Schema:
        """The columns of the table itself: of an encrypted field what its values are sealed to, as text.

        Behind all fields stand the blind indexes of those that are in a key, which take their place there.
        """
        return _stored(self) if self.is_encrypted else self

    def label(self, key: Sequence[str]) -> str:
        """A key of the table as people know it."""
        known = {spec.name: spec.blind_of for spec in self.fields if spec.blind_of}
        return ", ".join(known.get(name) or name for name in key)

    def positions(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Fields as positions in `fields`."""
        place = {name: index for index, name in enumerate(self.names)}
        return tuple(place[name] for name in names)

    def key_positions(self) -> list[tuple[int, ...]]:
        """Every key as positions in `fields`."""
        return [self.positions(key) for key in self.keys]


@lru_cache(maxsize=16)
def _stored(schema: Schema) -> Schema:
    in_keys = {name for key in schema.keys for name in key}
    blind = {spec.name: blind_name(spec.name) for spec in schema.fields if spec.encrypted and spec.name in in_keys}
    fields = [
        Field(spec.name, "string", required=spec.required, is_sealed=True) if spec.encrypted else spec
        for spec in schema.fields
    ]
    fields += [
        Field(blind[spec.name], "string", required=spec.required, blind_of=spec.name)
        for spec in schema.fields
        if spec.name in blind
    ]
    keys = tuple(tuple(blind.get(name, name) for name in key) for key in schema.keys)
    return replace(schema, fields=tuple(fields), keys=keys)


def blind_name(name: str) -> str:
    """The column that holds the blind index of a field."""
    return _BLIND + hashlib.sha256(name.encode()).hexdigest()[:16]


def narrowings(old: Schema, new: Schema) -> Iterator[tuple[str | None, str]]:
    """Why rows of the old schema could not stay as they are under the new one: (column, reason).

    Columns may come, if they may be empty, and a value may become optional. How cells are read, and the rules of
    their values, hold for what is loaded from then on.
    """
    if (old.keys, old.has_primary_key) != (new.keys, new.has_primary_key):
        yield None, "the keys differ"
    if old.partitions != new.partitions and not (
        old.partitions and new.partitions and new.partitions.extends(old.partitions)
    ):
        yield None, "rows are parted otherwise"
    if old.identity != new.identity:
        yield None, "the identity differs"
    known = {spec.name: spec for spec in old.fields}
    yield from ((name, "the column would be lost") for name in known if name not in new.names)
    for spec in new.fields:
        before = known.get(spec.name)
        if spec.required and not (before and before.required):
            yield spec.name, "rows may have no value there"
        if before and before.encrypted != spec.encrypted:
            yield spec.name, "rows that are there would have to be sealed, or opened"
        if before and before.postgres_type != spec.postgres_type:
            yield spec.name, f"a {before.type} is stored otherwise than a {spec.type}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named schema of one tenant, whose rows are in `data.d_{number}`."""

    number: int
    tenant: str
    name: str
    version: int
    mode: Mode
    schema: Schema
    descriptor: Mapping[str, Any]


def read_mode(value: object, schema: Schema) -> Mode:
    """The mode, if this schema can be loaded in it. Raises Refused `mode_invalid`."""
    if value not in MODES:
        raise Refused("mode_invalid", f"mode must be one of {', '.join(MODES)}.")
    mode = value
    if mode == "upsert" and len(schema.keys) != 1:
        raise Refused("mode_invalid", "mode upsert needs a dataset with exactly one key.")
    return mode
