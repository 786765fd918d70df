"""A schema once it is read: fields, keys, references; and the dataset that has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.cells import Field
from chalicelib.errors import Refused
from chalicelib.journey import MODES, Mode


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`fields` of a row are together a key `targets` of some row of the tenant's dataset of this name."""

    fields: tuple[str, ...]
    dataset: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a dataset's rows must be. `keys` are field names; the first is the primary key if there is one."""

    fields: tuple[Field, ...]
    keys: tuple[tuple[str, ...], ...]
    has_primary_key: bool
    missing_values: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [field.name for field in self.fields]

    def positions(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Fields as positions in `fields`."""
        place = {name: index for index, name in enumerate(self.names)}
        return tuple(place[name] for name in names)

    def key_positions(self) -> list[tuple[int, ...]]:
        """Every key as positions in `fields`."""
        return [self.positions(key) for key in self.keys]


def narrowings(old: Schema, new: Schema) -> Iterator[tuple[str | None, str]]:
    """Why rows of the old schema could not stay as they are under the new one: (column, reason).

    Columns may come, if they may be empty, and a value may become optional. How cells are read, and the rules of
    their values, hold for what is loaded from then on.
    """
    if (old.keys, old.has_primary_key) != (new.keys, new.has_primary_key):
        yield None, "the keys differ"
    known = {field.name: field for field in old.fields}
    yield from ((name, "the column would be lost") for name in known if name not in new.names)
    for field in new.fields:
        before = known.get(field.name)
        if field.required and not (before and before.required):
            yield field.name, "rows may have no value there"
        if before and before.postgres_type != field.postgres_type:
            yield field.name, f"a {before.type} is stored otherwise than a {field.type}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named schema of one tenant, whose rows are in `data.d_{number}`."""

    number: int
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
