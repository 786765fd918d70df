"""Step 2 for large texts: while one splitter goes through the segments in order, others scan the next ones.

They guess where a segment's first chunk begins and leave what they find in Postgres. The scan in order takes a finding
if one of its chunks begins at the byte where it has arrived; cuts depend on nothing before that, so it is what it would
have found itself (chunking.stitched). Messages, findings and locks may be lost, late or wrong: that costs time alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from chalicelib import seats
from chalicelib.aws import s3, sqs
from chalicelib.chunking import Finding, Rule, Segments, Start, Step, find_segment, guesses, steps, stitched
from chalicelib.errors import Refused, Unavailable
from chalicelib.formats import Dialect, threats
from chalicelib.journey import Chunk
from chalicelib.postgres import ledger, locks, manifest, segments
from chalicelib.postgres.connection import connection

AHEAD: Final = 2  # segments that are asked for; with the scan itself as many as there are seats
PATIENCE_SECONDS: Final = 10  # with whoever is at the next segment; the sweep's is a minute
_PAUSE_SECONDS: Final = 0.02
_HEAD_BYTES: Final = 256 << 10  # what a guess goes by
_BEHIND_BYTES: Final = 1 << 20  # read with a segment, so that its last record needs no second request


def chunks(upload: ledger.Upload, plan: Mapping[str, Any], start: Start) -> Iterator[Chunk]:
    """The chunks of a text in segments, from `start` on: those that chunking.cut finds, whoever finds them."""
    scan = _Scan(_Text(upload, _rule(upload, plan)))
    return stitched(start, scan.text.segments, scan.known, scan.text.scanned)


def help_out(arrival: s3.Arrival) -> None:
    """Scan the segment that a message names, if its upload's scan has not come to it yet."""
    db = connection()
    number = ledger.number_of(db, arrival.tenant, arrival.upload_id)
    upload = ledger.find(db, number) if number else None
    if upload is None or upload.state != "splitting" or not upload.plan or not upload.plan.get("segment_bytes"):
        return
    with seats.free() as is_free:
        if is_free:
            _help(upload, upload.plan, arrival.segment)


def _help(upload: ledger.Upload, plan: Mapping[str, Any], n: int | None) -> None:
    db, text = connection(), _Text(upload, _rule(upload, plan))
    last = manifest.last_chunk(db, upload.number, upload.reading)
    here = last.byte_end if last else text.segments.start
    if n is not None and text.segments.of(here) < n <= text.last:
        with suppress(Refused, Unavailable):
            text.look_ahead(n)


def _rule(upload: ledger.Upload, plan: Mapping[str, Any]) -> Rule:
    pieces = Segments(plan["data_start"], upload.text.size, plan["segment_bytes"])
    return Rule(Dialect.planned(plan), plan["chunk_bytes"], plan["chunk_records"], pieces)


@dataclass(frozen=True, slots=True)
class _Text:
    """A large text, and how it is cut."""

    upload: ledger.Upload
    rule: Rule

    @property
    def segments(self) -> Segments:
        assert self.rule.segments is not None
        return self.rule.segments

    @property
    def last(self) -> int:
        """The number of the last segment."""
        return self.segments.of(self.segments.end - 1)

    def scanned(self, start: Start) -> Iterator[Step]:
        """The chunks from `start` on, while nobody else is to scan its segment."""
        with self.alone(self.segments.of(start.byte)):
            yield from self._steps(start)

    def look_ahead(self, n: int) -> bool:
        """Scan a segment from where its first chunk may begin, unless somebody has done so or is at it."""
        with self.alone(n) as ours:
            if not ours or segments.find(connection(), self.upload.number, n):
                return False
            found = [find_segment(self._steps(Start(at, 1, n=2)), self.rule, at) for at in self._starts(n)]
            segments.keep(connection(), self.upload.number, n, [one for one in found if one.ends])
        return True

    def alone(self, n: int) -> Any:
        """Hold a segment's lock for a block, unless somebody else does."""
        return locks.alone(connection(), locks.segment(self.upload.number, n))

    def _starts(self, n: int) -> list[int]:
        text, before = self.upload.text, self.segments.begin(n) - 1
        head = s3.read(text.key, text.etag, before, min(before + _HEAD_BYTES, text.size))
        return [before + place for place in guesses(head, self.rule.dialect)]

    def _steps(self, start: Start) -> Iterator[Step]:
        return steps(threats.watched(self._blocks(start.byte)), self.rule, start)

    def _blocks(self, start: int) -> Iterator[bytes]:
        """The text from `start` on, no more of it in one request than its segment is likely to need."""
        text, at = self.upload.text, start
        end = self.segments.begin(self.segments.of(start) + 1) + _BEHIND_BYTES
        while at < text.size:
            yield from s3.stream(text.key, text.etag, at, min(end, text.size))
            at, end = end, end + self.segments.bytes


@dataclass(slots=True)
class _Scan:
    """The scan in order."""

    text: _Text
    asked: int = 0  # the last segment that somebody was asked to scan
    tried: set[int] = field(default_factory=set)  # segments that this scan has looked into ahead

    def known(self, n: int, byte: int) -> Finding | None:
        """What was found ahead of a segment, if it fits. While somebody is at it, the next ones are scanned."""
        self._ask_for(n)
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            with self.text.alone(n) as is_free:
                pass
            finding = self._finding(n, byte)
            if finding or is_free or time.monotonic() >= until:
                return finding
            if not self._work_ahead(n):
                time.sleep(_PAUSE_SECONDS)

    def _finding(self, n: int, byte: int) -> Finding | None:
        found = (Finding(*one) for one in segments.find(connection(), self.text.upload.number, n))
        return next((one for one in found if one.knows(byte)), None)

    def _ask_for(self, n: int) -> None:
        upload = self.text.upload
        for each in range(max(n, self.asked) + 1, min(n + AHEAD, self.text.last) + 1):
            sqs.send_for_segment(upload.tenant, upload.upload_id, each)
            self.asked = each

    def _work_ahead(self, n: int) -> bool:
        """Whether there was a segment to scan meanwhile."""
        for each in range(n + 1, min(n + AHEAD, self.text.last) + 1):
            if each not in self.tried:
                self.tried.add(each)
                if self.text.look_ahead(each):
                    segments.give_sign(connection(), self.text.upload.number)
                    return True
        return False
