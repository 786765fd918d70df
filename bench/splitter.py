"""`python -m bench.splitter`: how fast a text is cut on one core and in segments, and in how much memory.

Contacts (a fifth of the notes quoted, with commas, quotes and line ends; CRLF, and the same with LF) and flights (no
quotes; LF), in blocks of 1 MiB as S3 gives them, from memory: no disk, no network. MB are millions of bytes, of
processor time where one process cuts, of wall time where several do. The long stream repeats the contacts; its figure
is the memory.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, Final

from bench import kernel
from bench.peers import files
from bench.publish import keep
from chalicelib.chunking import Finding, Rule, Segments, Start, Step, find_segment, guesses, steps, stitched
from chalicelib.formats import Dialect
from chalicelib.journey import Chunk
from infra.local.place import default_folder

BLOCK: Final = 1 << 20
SEGMENT: Final = 64 << 20
CHUNK_BYTES: Final = 8 << 20
CHUNK_RECORDS: Final = 100_000
HEAD: Final = 256 << 10
CONTACTS: Final = 170_000  # 16 MB, repeated: what is read a second time is as warm as what a socket has just brought
GIGABYTE: Final = 10**9

_texts: dict[str, bytes] = {}  # what the processes of a pool have inherited


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.splitter", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=640, help="of each text that is cut in segments")
    parser.add_argument("--gigabytes", type=int, nargs="*", default=[1, 5, 10], help="where memory is read")
    arguments = parser.parse_args()
    cache = default_folder() / "cache"
    contacts = _body(files.contacts(cache, CONTACTS).path)
    memory = _memory(contacts, arguments.gigabytes)
    _texts.update({"contacts": contacts, "contacts, LF": contacts.replace(b"\r\n", b"\n")})
    _texts["flights"] = _body(files.flights(cache).path)
    speeds = {name: _speeds(name, arguments.megabytes * 10**6, arguments.rounds) for name in _texts}
    keep("splitter", {"mb_per_s": speeds, "peak_mb": memory})
    told = ", ".join(f"{name} {each['one core'][0]:,.0f} MB/s" for name, each in speeds.items())
    peaks = "".join(f"; peak memory at {size} GB {peak:.0f} MB" for size, peak in memory.items())
    print(f"splitter: {told} on one core{peaks}")
    return 0


def _body(path: Path) -> bytes:
    """The records of a file, without its header."""
    return path.read_bytes().partition(b"\n")[2]


def _memory(text: bytes, gigabytes: Iterable[int]) -> dict[int, float]:
    """The most memory this process has had, in MB, each time a stream without end has been cut so far."""
    peaks: dict[int, float] = {}
    marks = sorted(gigabytes)
    begun, seen = time.process_time(), 0
    blocks = itertools.cycle([text[at : at + BLOCK] for at in range(0, len(text), BLOCK)])
    for step in steps(blocks, _rule(None), Start(0, 1)) if marks else ():
        if step.after.byte >= marks[len(peaks)] * GIGABYTE:
            seen = step.after.byte
            peaks[marks[len(peaks)]] = _peak_mb()
            print(f"{seen / GIGABYTE:5.1f} GB cut in {step.chunk.n:,} chunks: peak {_peak_mb():.1f} MB", flush=True)
            if len(peaks) == len(marks):
                break
    if seen:
        print(f"{seen / (time.process_time() - begun) / 1e6:,.0f} MB/s of processor time in all of it")
    return peaks


def _peak_mb() -> float:
    """Of this process since it began (ru_maxrss would be the parent's, if that had more)."""
    return kernel.memory("self")[1] / 1e6


def _speeds(name: str, size: int, rounds: int) -> dict[str, list[float]]:
    """Median, lowest and highest MB/s, by how it is cut."""
    ways: dict[str, list[float]] = {"one core": [], "segments, 1 process": [], "segments, 2 processes": []}
    fork = get_context("fork")
    with fork.Pool(1) as one, fork.Pool(2) as two:
        for pool in (one, two):
            _in_segments(name, 4 * SEGMENT, pool)  # processes that have begun
        for _ in range(rounds):
            spent = time.process_time()
            whole = [step.chunk for step in steps(_stream(name, 0, size), _rule(size), Start(0, 1))]
            ways["one core"].append(size / (time.process_time() - spent) / 1e6)
            for pool, way in ((one, "segments, 1 process"), (two, "segments, 2 processes")):
                begun = time.perf_counter()
                stitched_chunks = _in_segments(name, size, pool)
                ways[way].append(size / (time.perf_counter() - begun) / 1e6)
                assert stitched_chunks == whole
    found = {way: [statistics.median(each), min(each), max(each)] for way, each in ways.items()}
    for way, (median, low, high) in found.items():
        print(f"{name:12} {way:24} {median:7,.0f} MB/s ({low:,.0f}-{high:,.0f})", flush=True)
    return found


def _rule(size: int | None) -> Rule:
    return Rule(Dialect(), CHUNK_BYTES, CHUNK_RECORDS, Segments(0, size, SEGMENT) if size else None)


def _stream(name: str, start: int, end: int) -> Iterator[bytes]:
    """The text, again and again, from one byte to another."""
    text, at = _texts[name], start
    while at < end:
        place = at % len(text)
        block = text[place : place + min(BLOCK, end - at)]
        yield block
        at += len(block)


def _in_segments(name: str, size: int, pool: Pool) -> list[Chunk]:
    """Every segment guessed and scanned apart, by the processes of a pool, then put together."""
    segments = Segments(0, size, SEGMENT)
    ahead = pool.imap(_found, [(name, size, n) for n in range(segments.of(size - 1) + 1)])
    held: list[list[Finding]] = []

    def known(n: int, byte: int) -> Finding | None:
        while len(held) <= n:
            held.append(next(ahead))
        return next((finding for finding in held[n] if finding.knows(byte)), None)

    def scanned(start: Start) -> Iterator[Step]:
        return steps(_stream(name, start.byte, size), _rule(size), start)

    return list(stitched(Start(0, 1), segments, known, scanned))


def _found(asked: Any) -> list[Finding]:
    name, size, n = asked
    rule, before = _rule(size), Segments(0, size, SEGMENT).begin(n) - 1
    head = b"".join(_stream(name, before, min(before + HEAD, size))) if n else b""
    starts = [before + place for place in guesses(head, Dialect())] if n else [0]
    return [find_segment(steps(_stream(name, at, size), rule, Start(at, 1, n=1 + (n > 0))), rule, at) for at in starts]


if __name__ == "__main__":
    sys.exit(main())
