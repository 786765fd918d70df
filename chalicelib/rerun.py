"""Step 2 for rejects that are read again by other conventions: their records become a piece, as they stood in the file.

Each record is proved: one that would not be right in every cell, or in which a cell that was right would become
another, is left out. Which were taken up is committed together with the piece, under a lock of the parent.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ulid import ULID

from chalicelib import formats, planning
from chalicelib.aws import s3
from chalicelib.checking import conventions, trials
from chalicelib.datasets import Schema, read_schema
from chalicelib.errors import NotYet, Refused
from chalicelib.formats import Dialect, correction, encodings, transcoded
from chalicelib.formats.transcoded import UTF_8
from chalicelib.journey import piece_key
from chalicelib.postgres import ledger, taken
from chalicelib.postgres.connection import Connection, connection

BUSY_SECONDS: Final = 5
CUTS: Final = ("delimiter", "quote", "encoding")  # by which a record is told apart, before any value is read


class Records:
    """Records of an upload as they stand in its file, and what other conventions make of their cells."""

    def __init__(self, plan: Mapping[str, Any], schema: Schema, other: Mapping[str, Any]) -> None:
        self._dialect = Dialect.planned(plan)
        cut = {name: other[name] for name in CUTS if name in other}
        self._other = Dialect.from_options({**plan["dialect"], **cut})
        self._recut = trials.Recut(schema, plan["positions"], conventions.planned(plan)) if cut else None
        self._width, self._nameless, self._own = plan["width"], plan.get("nameless", 0), plan.get("own", {})
        old, loaded = conventions.planned(plan), conventions.planned({**plan, **conventions.again(plan, other)})
        news = [conventions.with_option(old, each) for each in conventions.subsets(other)]
        self._trials = [trials.Trial(schema, plan["positions"], old, new, loaded) for new in news]
        # What is wrong by all at once, each for what was wrong, no part of them mends.
        self._first = trials.Trial(schema, plan["positions"], old, loaded) if len(news) > 1 else None

    def text(self, raw: bytes) -> bytes:
        """A record's bytes in UTF-8, in which it is to be read."""
        return b"".join(transcoded.transcode([raw], self._other.encoding)) if self._is_decoded else raw

    @property
    def _is_decoded(self) -> bool:
        return self._recut is not None and self._other.encoding != self._dialect.encoding

    def _fates_recut(self, raws: Sequence[bytes], recut: trials.Recut) -> list[dict[str, trials.Fate] | None]:
        before = self._rows(raws, self._dialect)
        after = self._rows([self.text(raw) for raw in raws], self._other)
        if self._is_decoded:  # letters that were right would be others now
            after = {place: row for place, row in after.items() if not encodings.holds_utf_8(raws[place])}
        else:  # of a record whose cells could be told these are others now
            after = {place: row for place, row in after.items() if place not in before}
        found: list[dict[str, trials.Fate] | None] = [None] * len(raws)
        fates = recut.fates([before.get(place) for place in after], list(after.values()))
        for place, each in zip(after, fates, strict=True):
            found[place] = each
        return found

    def fates(self, raws: Sequence[bytes]) -> list[dict[str, trials.Fate] | None]:
        """Of each record what becomes of its cells by all of them; None of one whose cells cannot be told."""
        if self._recut:
            return self._fates_recut(raws, self._recut)
        rows = self._rows(raws, self._dialect)
        found: list[dict[str, trials.Fate] | None] = [None] * len(raws)
        for place, fates in zip(rows, self._trials[0].fates(list(rows.values())), strict=True):
            found[place] = fates
        return found

    def mended(self, raws: Sequence[bytes]) -> list[int]:
        """The places of those that come out right by all of these conventions, or by some of them."""
        if self._recut:
            recut = self._fates_recut(raws, self._recut)
            return [place for place, each in enumerate(recut) if each and trials.is_mended(each)]
        left, found = self._rows(raws, self._dialect), list[int]()
        if self._first:
            fates = zip(list(left), self._first.fates(list(left.values())), strict=True)
            left = {place: left[place] for place, each in fates if "wrong" not in each.values()}
        for trial in self._trials:
            fates = zip(list(left), trial.fates(list(left.values())), strict=True)
            right = [place for place, each in fates if trials.is_mended(each)]
            found += right
            for place in right:
                del left[place]
        return sorted(found)

    def _rows(self, raws: Sequence[bytes], dialect: Dialect) -> dict[int, list[str]]:
        """By their places the cells of those records whose cells can be told."""
        rows = formats.fitted(formats.records_of(raws, dialect), self._width, dialect, self._nameless)
        bad = correction.take_back(rows, self._own)[1] if self._own else {}
        return {place: row for place, row in enumerate(rows) if len(row) == self._width and place not in bad}


@dataclass(slots=True)
class _Taken:
    """What has been taken up so far."""

    count: int = 0
    held: Sequence[int] = field(default_factory=list)


def ready(upload: ledger.Upload, deadline: float) -> tuple[ledger.Upload, dict[str, Any]] | None:
    """The upload with its records as a text, and its plan; None if it has ended meanwhile. Raises Refused.

    A repeat finds the piece, or makes it anew.
    """
    db = connection()
    number = taken.parent_of(db, upload.upload_id)
    parent = ledger.find(db, number) if number else None
    if parent is None or parent.plan is None:
        raise Refused("rejects_gone", "The rejects that were to be read again are not there any more.")
    if upload.dataset_version != parent.plan["dataset_version"] or upload.dataset != parent.dataset:
        raise Refused("dataset_changed", "The dataset's schema has changed since; upload what is missing anew.")
    if upload.piece is None:
        piece = _made(db, upload, parent, deadline)
        if piece is None:
            return None
        upload = replace(upload, piece=piece)
    return upload, planning.again(upload, parent.plan, (upload.piece or {})["origin"]["records"])


def _made(db: Connection, upload: ledger.Upload, parent: ledger.Upload, deadline: float) -> dict[str, Any] | None:
    key = piece_key(upload.tenant, upload.upload_id, str(ULID()))
    with db.transaction():
        if not taken.try_hold(db, parent.number):
            raise NotYet("rejects_busy", "Others of these rejects are being taken up.", retry_after=BUSY_SECONDS)
        if not ledger.is_to_be_read(db, upload.number):
            return None
        seen = _Taken(held=taken.list_held(db, parent.number, upload.number))
        blocks = _blocks(db, upload, parent, seen, deadline)
        etag, size = s3.write(key, "text/csv; charset=utf-8", blocks)
        if not seen.count:
            raise Refused("nothing_to_retry", "No record is left that this would mend: others have taken them up.")
        piece = {"key": key, "etag": etag, "size": size, "dialect": {**upload.dialect, "encoding": UTF_8}}
        return ledger.keep_piece(db, upload.number, {**piece, "origin": {"records": seen.count}})


def _blocks(
    db: Connection, upload: ledger.Upload, parent: ledger.Upload, seen: _Taken, deadline: float
) -> Iterator[bytes]:
    """The records that are mended, a line end behind each, while it is noted which they are."""
    records = Records(parent.plan or {}, read_schema(parent.descriptor), upload.dialect)
    for batch in taken.list_again(db, parent.number):
        if time.monotonic() >= deadline:
            raise Refused("unpacking_too_long", "The rejects cannot be read again in the time that a function has.")
        # The cursor sees what there was when it was opened; who empties the rejects has said so before.
        if not seen.count and not taken.is_kept(db, parent.number):
            raise Refused("rejects_gone", "The rejects that were to be read again are not there any more.")
        raws = [bytes(one["raw"]) for one in batch]
        right = [(batch[place], raws[place]) for place in records.mended(raws)]
        mended = [(one, raw) for one, raw in right if not _is_held(seen.held, one["record"])]
        if mended:
            places = [one["record"] for one, _ in mended], [one["line"] for one, _ in mended]
            taken.take(db, upload.number, seen.count + 1, *places)
            seen.count += len(mended)
            yield b"".join(records.text(raw) + b"\n" for _, raw in mended)


def _is_held(held: Sequence[int], record: int) -> bool:
    place = bisect_left(held, record)
    return place < len(held) and held[place] == record
