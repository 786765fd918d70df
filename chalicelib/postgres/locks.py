"""Advisory locks: who is at work on what. A connection's locks go with it, however it ends.

Nothing rests on them but who waits for whom, and what the sweep takes for abandoned: rows are guarded by claims. The
exceptions are `hold_target` and `hold_undo`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import Final

from chalicelib.postgres.connection import Connection

UPLOAD: Final = 1  # the first of the two keys of an upload's locks: what the lock is for
SPLIT: Final = 2
SETTLE: Final = 3
RENDER: Final = 4
TARGET: Final = 5
SAME_FILE: Final = 6  # the second key: a hash of the dataset and the object's ETag
REPEAT: Final = 7
UNDO: Final = 8
PROOF: Final = 12
TAKE: Final = 19  # whoever takes up rejects of an upload
GATE: Final = 26  # whoever has an upload's file looked at for malware
SEAT: Final = 27  # whoever keeps a splitter for long
SEAT_OF: Final = 28  # the same of a tenant; the second key: a hash of it

Key = tuple[int, ...]


def chunk(number: int, n: int) -> Key:
    """The worker at a chunk. One key of 64 bits, so that no upload's lock is ever meant."""
    return (number << 32 | n,)


def segment(number: int, n: int) -> Key:
    """Whoever scans a segment of an upload's text. No chunk is counted as high as these are."""
    return (number << 32 | 1 << 31 | n,)


def split(number: int) -> Key:
    """The splitter of an upload."""
    return (SPLIT, number)


def gate(number: int) -> Key:
    """Whoever has an upload's file looked at for malware."""
    return (GATE, number)


def seats(count: int) -> list[Key]:
    """Whoever keeps a splitter for long: one of so many."""
    return [(SEAT, n) for n in range(count)]


def seats_of(tenant: str, count: int) -> list[Key]:
    """Whoever keeps a splitter for long with a file of a tenant's: one of so many."""
    place = int.from_bytes(sha256(tenant.encode()).digest()[:4], signed=True)
    return [(SEAT_OF, place ^ n) for n in range(count)]


def settle(number: int) -> Key:
    """The settler of an upload."""
    return (SETTLE, number)


def render(number: int) -> Key:
    """Whoever makes a file of an upload's rejects."""
    return (RENDER, number)


def proof(number: int) -> Key:
    """Whoever reads an upload's file and table, for its receipt or to compare them with that."""
    return (PROOF, number)


def hold(connection: Connection, key: Key, *, shared: bool = False) -> None:
    """Hold a lock of two keys until the transaction ends."""
    name = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    connection.execute(f"SELECT {name}(%s, %s)", key)


def try_hold(connection: Connection, key: Key) -> bool:
    """The same, unless somebody else does: whether it is ours."""
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", key).fetchone()
    return bool(row and row[0])


def hold_target(connection: Connection, dataset: int, *, shared: bool) -> None:
    """Keep rows of a dataset from going (`shared`: whoever refers to them), or from being referred to, until the end.

    Something rests on it: between the look at a target and the row that refers to it.
    """
    hold(connection, (TARGET, dataset), shared=shared)


def hold_undo(connection: Connection, dataset: int) -> None:
    """Be the only one who undoes rows of a dataset until the transaction ends.

    Something rests on this one, too: two who unlink versions of the same row at once would miss each other's.
    """
    hold(connection, (UNDO, dataset))


def try_repeat(connection: Connection, key: bytes) -> bool:
    """Be the only one who answers a request of this key until the transaction ends, unless somebody is at it."""
    return try_hold(connection, (REPEAT, int.from_bytes(key[:4], signed=True)))


@contextmanager
def alone(connection: Connection, key: Key) -> Iterator[bool]:
    """Hold a lock for the block, unless somebody else does: whether it is ours."""
    places = ", ".join(["%s"] * len(key))
    row = connection.execute(f"SELECT pg_try_advisory_lock({places})", key).fetchone()
    ours = bool(row and row[0])
    try:
        yield ours
    finally:
        if ours and not (connection.closed or connection.broken):
            connection.execute(f"SELECT pg_advisory_unlock({places})", key)


@contextmanager
def one_of(connection: Connection, keys: Sequence[Key]) -> Iterator[bool]:
    """Hold the first of these locks that nobody holds for the block: whether there was one."""
    with ExitStack() as held:
        yield any(held.enter_context(alone(connection, key)) for key in keys)
