"""A file sent in parts: each is hashed, signed for, and put by one of four threads; what is stored is not sent again.

The storage alone knows how far a file has come, so any later process can go on where one was killed. The file is
read three times: to be signed for, to be sent, where the storage refuses a part that changed in between, and once all
parts are there: each is signed for as it is found then, so they might be of a file that there never was.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from multiprocessing.pool import AsyncResult, ThreadPool
from pathlib import Path
from typing import Final

import httpx

from . import storage
from .errors import StorageRefused, Unusable
from .resources import PartsTicket, PartTicket, SentPart, StoredPart
from .storage import Progress
from .transport import Patience, connections

THREADS: Final = 4
GROUP: Final = 16  # parts signed with one request; their URLs are used long before they run out
BLOCK: Final = 1 << 18  # what a thread holds of the file
TRIES: Final = 3  # of a part that arrived damaged, or whose URL had run out

Sign = Callable[[Sequence["Part"]], Sequence[PartTicket]]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the local file; `sha256` in base64."""

    number: int
    sha256: str


def send(
    ticket: PartsTicket, path: Path, sign: Sign, on_progress: Progress | None, patience: Patience
) -> list[SentPart]:
    """Send every part that is not stored; all parts as `complete` wants them, in order.

    Raises Unusable if a stored part is not the file's own or the file is not the one that was announced any more,
    StorageRefused or Unreachable as a form does.
    """
    with storage.opened(path) as file:
        pieces = _Pieces(path, os.fstat(file.fileno()).st_size, ticket["part_size"])
    # Its threads are waited for by nobody, as those of an executor are: one may wait 120 s for the storage's answer.
    with connections(storage.TIMEOUT) as http, ThreadPool(THREADS) as pool:
        courier = _Courier(http, pool, pieces, sign, patience, _Meter(pieces.size, on_progress))
        try:
            sent = courier.send_all(ticket["stored"])
        finally:
            courier.stop.set()
    if ticket["checksum"] not in (None, pieces.checksum()):
        raise Unusable(f"{path} has changed since it was announced")
    return sent


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The file as parts: counted from 1, all of one size but the last."""

    path: Path
    size: int
    part_size: int

    @property
    def total(self) -> int:
        return -(-self.size // self.part_size)

    def length(self, number: int) -> int:
        return min(self.part_size, self.size - (number - 1) * self.part_size)

    def blocks(self, number: int) -> Iterator[bytes]:
        """The part's bytes. Raises Unusable if the file has shrunk."""
        left = self.length(number)
        with storage.opened(self.path) as file:
            file.seek((number - 1) * self.part_size)
            while left and (block := file.read(min(BLOCK, left))):
                left -= len(block)
                yield block
        if left:
            raise Unusable(storage.RESIZED)

    def measure(self, number: int) -> Part:
        return Part(number, _sha256(self.blocks(number)))

    def checksum(self) -> str:
        """Of all that was to be sent."""
        return _sha256(chain.from_iterable(map(self.blocks, range(1, self.total + 1))))


class _Meter:
    """Adds up what all threads have sent. Goes back when a try fails."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self._done, self._total, self._on_progress = 0, total, on_progress
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self._done += size
            if self._on_progress:
                self._on_progress(self._done, self._total)


class _Stopped(Exception):
    """Another part failed, or the user has had enough."""


class _Courier:
    """Takes the parts of one file to the storage."""

    def __init__(
        self,
        http: httpx.Client,
        pool: ThreadPool,
        pieces: _Pieces,
        sign: Sign,
        patience: Patience,
        meter: _Meter,
    ) -> None:
        self.stop = threading.Event()
        self._http, self._pool, self._pieces = http, pool, pieces
        self._sign, self._patience, self._meter = sign, patience, meter

    def send_all(self, stored: Sequence[StoredPart]) -> list[SentPart]:
        there = self._recognised(stored)
        missing = [number for number in range(1, self._pieces.total + 1) if number not in there]
        sending: list[AsyncResult[SentPart]] = []
        for first in range(0, len(missing), GROUP):
            # These queue behind the group before, so that a thread without a part to send hashes the next ones.
            parts = self._pool.map(self._pieces.measure, missing[first : first + GROUP], 1)
            for each in sending:
                if each.ready():
                    each.get()  # or what went wrong
            tickets = {ticket["number"]: ticket for ticket in self._sign(parts)}
            sending += [self._pool.apply_async(self._deliver, (part, tickets[part.number])) for part in parts]
        sent = [each.get() for each in sending]
        return sorted([*there.values(), *sent], key=lambda part: part["number"])

    def _recognised(self, stored: Sequence[StoredPart]) -> dict[int, SentPart]:
        """Stored parts that need not be sent. Raises Unusable, naming the first, if one is not the file's own."""
        known = [part for part in stored if part["sha256"]]  # a storage that does not tell gets it again
        own = self._pool.imap(self._pieces.measure, [part["number"] for part in known])
        for mine, part in zip(own, known, strict=True):
            if mine.sha256 != part["sha256"]:
                raise Unusable(f"{self._pieces.path} is not the file that was being sent: part {mine.number} differs")
            self._meter.add(part["size"])
        return {one["number"]: _sent(one["number"], one["etag"], one["sha256"]) for one in known}

    def _deliver(self, part: Part, ticket: PartTicket) -> SentPart:
        for _ in range(TRIES - 1):
            try:
                return self._try(part, ticket)
            except StorageRefused as refused:
                if refused.status != httpx.codes.FORBIDDEN and refused.code not in storage.DAMAGED:
                    raise
            (ticket,) = self._sign([part])
        return self._try(part, ticket)

    def _try(self, part: Part, ticket: PartTicket) -> SentPart:
        etag = self._patience.keep_trying(lambda: self._put(part.number, ticket))
        return _sent(part.number, etag, part.sha256)

    def _put(self, number: int, ticket: PartTicket) -> str:
        if self.stop.is_set():
            raise _Stopped  # a storage that nobody reaches would be tried for half a minute after a Ctrl-C
        sent = 0

        def blocks() -> Iterator[bytes]:
            nonlocal sent
            for block in self._pieces.blocks(number):
                if self.stop.is_set():
                    raise _Stopped
                yield block
                sent += len(block)
                self._meter.add(len(block))

        # The length keeps httpx from sending chunks, which the storage does not take.
        headers = {**ticket["headers"], "Content-Length": str(self._pieces.length(number))}
        try:
            answer = storage.exchange(lambda: self._http.put(ticket["url"], content=blocks(), headers=headers))
        except BaseException:
            self._meter.add(-sent)
            raise
        if not (etag := answer.headers.get("etag")):
            raise StorageRefused(answer.status_code, "answer_invalid", "it took a part and did not name it")
        return str(etag)


def _sha256(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return base64.b64encode(digest.digest()).decode()


def _sent(number: int, etag: str, sha256: str) -> SentPart:
    return {"number": number, "etag": etag, "sha256": sha256}
