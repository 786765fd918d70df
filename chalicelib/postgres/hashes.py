"""Hashes of keys (rows.KeyHashes): each chunk leaves its own here before it loads, and sees those of the others.

Whoever leaves before it looks cannot miss and be missed: of two chunks that share a key, one at least knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chalicelib.journey import ChunkKey
from chalicelib.postgres.connection import Connection

MOST_CHUNKS: Final = 128  # of a file that leave theirs: each later one reads them all


def leave(connection: Connection, key: ChunkKey, hashes: bytes) -> None:
    """Let the upload's other chunks see these. They see them when the caller's transaction is over."""
    connection.execute(
        "INSERT INTO rowmill.key_hash (upload, n, hashes) VALUES (%s, %s, %b) ON CONFLICT DO NOTHING",
        (key.upload, key.n, hashes),
    )


def of_others(connection: Connection, key: ChunkKey) -> Iterator[bytes]:
    """What the upload's other chunks have left, one after another: together they may be large."""
    places = connection.execute(
        "SELECT n FROM rowmill.key_hash WHERE upload = %s AND n <> %s", (key.upload, key.n)
    ).fetchall()
    for (n,) in places:
        found = connection.execute(
            "SELECT hashes FROM rowmill.key_hash WHERE upload = %s AND n = %s", (key.upload, n), binary=True
        ).fetchone()
        if found:
            yield found[0]


def forget_ended(connection: Connection) -> int:
    """Empty what chunks have left of uploads that were over by then; of how many chunks."""
    return connection.execute(
        "DELETE FROM rowmill.key_hash k USING rowmill.upload u WHERE u.number = k.upload AND u.finished_at IS NOT NULL"
    ).rowcount
