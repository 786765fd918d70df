"""A chunk read and checked, before any of it is in the database: its good rows, and what to say of all others."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import merge
from itertools import chain, repeat
from operator import itemgetter
from typing import Final

from chalicelib import formats, inference, rows, vault
from chalicelib.checking import conventions
from chalicelib.datasets import read_schema
from chalicelib.drift import Column
from chalicelib.formats import Dialect
from chalicelib.journey import CellError, Mode, Rejection, lineage
from chalicelib.postgres import hashes, ledger, manifest, outcomes, stages, staging
from chalicelib.postgres.connection import Connection, connection
from chalicelib.postgres.replay import DETAILS, IN_DATABASE
from chalicelib.sealing import DataKey

_SURELY_IN_A_PAGE: Final = 400  # columns; a long value leaves 18 of the 8,160 bytes that a row may have


@dataclass(frozen=True, slots=True)
class Faulty:
    """Records that do not load, in file order, and why; in few bytes, as they may be all."""

    places: array[int]  # ascending
    errors: list[Sequence[CellError]]


@dataclass(frozen=True, slots=True)
class Located:
    """Where records lie in a chunk: found once for all that are asked for, and in few bytes, as they may be all."""

    places: Sequence[int]  # ascending
    starts: array[int]
    ends: array[int]
    lines: array[int]  # before each, in the chunk

    def at(self, place: int) -> tuple[int, int, int]:
        """Start, end, and the lines before it."""
        index = bisect_left(self.places, place)
        return self.starts[index], self.ends[index], self.lines[index]


@dataclass(frozen=True)
class Prepared:
    """A chunk read and checked.

    A place is a record's index in the chunk, an index that of a good row among the good rows; where records lie in the
    bytes is only found out if asked.
    """

    data: bytes
    text: ledger.Text
    work: manifest.Work
    shape: rows.Shape
    found: rows.Rows
    guesses: Sequence[int] = ()  # of a file without a dataset: what its columns may be
    origins: Sequence[int] = ()  # of a retry: which record of its parent each record was
    key: DataKey | None = None  # of an upload into a dataset with encrypted fields
    lines: Sequence[int] = ()  # of records that are read again: where each stands in the parent's file

    def placed(self, origins: Sequence[int], lines: Sequence[int]) -> Prepared:
        """The chunk, of records that another upload rejected and that stand in its file."""
        return replace(self, origins=origins, lines=lines)

    @cached_property
    def sha256(self) -> bytes:
        """Of the chunk's bytes."""
        return hashlib.sha256(self.data).digest()

    @cached_property
    def _hashes(self) -> rows.KeyHashes | None:
        return rows.key_hashes(self.found.checked.columns, self.shape.schema.stored)

    @cached_property
    def profile(self) -> list[Column]:
        """What the columns of its good rows are like."""
        return rows.profile(self.found.checked.columns, self.shape.schema.stored)

    def leave_hashes(self, db: Connection) -> None:
        """Let the upload's other chunks see which keys are here."""
        if self._hashes:
            hashes.leave(db, self.work.key, self._hashes.packed())

    @property
    def repeats_itself(self) -> bool:
        """Whether good rows are known to share a key."""
        return bool(self._hashes and self._hashes.are_repeated())

    def repeated(self, db: Connection) -> Sequence[int]:
        """Good rows whose key may be that of a row before them, or of another chunk: their indexes."""
        return self._hashes.repeated(hashes.of_others(db, self.work.key)) if self._hashes else ()

    @property
    def longest_key(self) -> int:
        """No index of the table has more bytes of a good row than so many."""
        columns, schema = self.found.checked.columns, self.shape.schema.stored
        keys = [schema.positions(key) for key in stages.indexed(schema)]
        longest = {i: max(map(len, filter(None, columns[i])), default=0) for i in chain.from_iterable(keys)}
        return max((4 * sum(longest[i] for i in key) for key in keys), default=0)

    @property
    def may_be_too_large(self) -> bool:
        """Whether a good row may be one that Postgres has no room for in a page or in an index."""
        return len(self.shape.schema.fields) > _SURELY_IN_A_PAGE or self.longest_key > stages.SURELY_INDEXED

    def all_but(self, held: Sequence[int]) -> Sequence[int]:
        """The other good rows."""
        left = set(held)
        return [index for index in range(len(self.found.checked.places)) if index not in left]

    def without(self, held: Sequence[int], refused: Set[int]) -> Sequence[int]:
        """These good rows less those of a `_row`."""
        places = self.found.checked.places
        return [index for index in held if self._first + places[index] not in refused]

    def faulty(self, outcome: staging.Outcome, mode: Mode, orphans: Mapping[int, Sequence[CellError]]) -> Faulty:
        """Records that do not load; `orphans` are good rows that a foreign key keeps out, by index."""
        bad, good, first = self.found.checked.bad, self.found.checked.places, self._first
        causes: list[Iterable[tuple[int, Sequence[CellError]]]] = [
            ((place, bad[place]) for place in sorted(bad)),
            ((good[index], orphans[index]) for index in sorted(orphans)),
            ((row - first, [CellError(None, "db_rejected", reason)]) for row, reason in sorted(outcome.refused)),
        ]
        if mode == "insert":
            for key, rows_met in outcome.in_database.items():
                met = [CellError(key, IN_DATABASE, DETAILS[IN_DATABASE])]
                causes.append(zip((row - first for row in sorted(rows_met)), repeat(met)))
        found = Faulty(array("q"), [])
        for place, errors in merge(*causes, key=itemgetter(0)):
            found.places.append(place)
            found.errors.append(errors)
        return found

    def contested_places(self, outcome: staging.Outcome, held: Sequence[int]) -> Sequence[int]:
        """The places, in file order, of rows that settling decides on: what was found so, and good rows held back."""
        places = self.found.checked.places
        return array(
            "q", sorted([*(row - self._first for row in outcome.contested), *(places[index] for index in held)])
        )

    def located(self, places: Sequence[int]) -> Located:
        """Where the records at these places lie, which are in file order."""
        found = Located(places, array("Q"), array("Q"), array("Q"))
        for start, end, lines in formats.locate(self.data, self.shape.dialect, places):
            found.starts.append(start)
            found.ends.append(end)
            found.lines.append(lines)
        return found

    def rejections(self, faulty: Faulty, located: Located) -> Iterator[Rejection]:
        """The rows that do not load, in file order."""
        for place, errors in zip(faulty.places, faulty.errors, strict=True):
            line, raw = self._record(located, place)
            yield Rejection(self.work.first_record + place, line, tuple(errors), raw)

    def contested(self, places: Sequence[int], located: Located) -> Iterator[outcomes.Contested]:
        """The rows at these places, with their checked values, for settling."""
        for place in places:
            line, raw = self._record(located, place)
            good = bisect_left(self.found.checked.places, place)
            cells = [column[good] for column in self.found.checked.columns]
            yield outcomes.Contested(self.work.first_record + place, line, cells, raw)

    def _record(self, located: Located, place: int) -> tuple[int, bytes]:
        """The line of the file where a record begins, and its bytes."""
        start, end, lines = located.at(place)
        line = self.lines[place] if self.lines else self.work.first_line + lines
        raw = self.text.plain(self.data[start:end])
        return line, raw if self.key is None else vault.sealed_record(self.key, self._first + place, raw)

    @property
    def _first(self) -> int:
        """The `_row` of the first record."""
        return lineage(self.work.upload, self.work.first_record)


def prepare(upload: ledger.Upload, work: manifest.Work, data: bytes) -> Prepared:
    """Read and check a chunk's bytes, and seal encrypted fields. Raises Refused if reader and splitter disagree."""
    shape, key = _shape(upload), None
    if shape.schema.is_encrypted:
        db = connection()
        key = vault.of_upload(db, upload)
        shape = replace(shape, seal=vault.sealing(db, key, shape.schema))
    first = lineage(upload.number, work.first_record) if upload.dataset else None
    found = rows.read(upload.text.plain(data), shape, work.records, first)
    guesses = [] if upload.dataset else inference.guess(found.checked.columns, shape.conventions)
    return Prepared(data, upload.text, work, shape, found, guesses, found.origins, key)


def _shape(upload: ledger.Upload) -> rows.Shape:
    plan = upload.plan or {}
    return rows.Shape(
        dialect=Dialect.planned(plan),
        schema=read_schema(upload.descriptor) if upload.dataset else inference.text_schema(plan["names"]),
        positions=plan["positions"],
        width=plan["width"],
        conventions=conventions.planned(plan),
        nameless=plan.get("nameless", 0),
        own=plan.get("own", {}),
    )
