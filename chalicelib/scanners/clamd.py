"""ClamAV's daemon, by its INSTREAM command: over TCP (`host:port`) or a socket of this machine (`unix:/path`).

A text is sent in slices, each with the end of the one before, so that none is longer than `StreamMaxLength` and a
killed function goes on from the last one. What is packed is one stream: clamd unpacks it itself, as far as its own
limits (`MaxFileSize`, `MaxScanSize`) say.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

from chalicelib.errors import Refused, Unavailable
from chalicelib.scanners import UNAVAILABLE, Answer, File

SLICE_BYTES: Final = 32 << 20
OVERLAP_BYTES: Final = 64 << 10  # no shorter than the longest signature that is to be found across two slices
CONNECT_SECONDS: Final = 5
ANSWER_SECONDS: Final = 120  # of a slice, or of a packed file
_MOST_ANSWERED: Final = 4096


class Clamd:
    """The daemon at an address."""

    reads_pieces = True

    def __init__(self, address: str) -> None:
        self._address = address

    def look(self, files: Sequence[File], looked: int, deadline: float) -> Answer:
        """As Scanner."""
        begin = 0
        for file in files:
            while (at := looked - begin) < file.size:
                end = file.size if file.is_packed else min(file.size, at + SLICE_BYTES)
                threat = self.scan(file.read(max(0, at - OVERLAP_BYTES), end))
                if threat is not None:
                    return Answer("infected", looked, threat)
                looked = begin + end
                if time.monotonic() >= deadline:
                    return Answer(None, looked)
            begin += file.size
        return Answer("clean", looked)

    def scan(self, blocks: Iterator[bytes]) -> str | None:
        """The name of what clamd finds in a stream of bytes, or None."""
        try:
            with closing(self._connected()) as connection:
                is_whole = _send(connection, blocks)
                threat = _read(_answer(connection))
        except OSError as error:
            raise Unavailable(UNAVAILABLE, "The malware scanner does not answer.") from error
        if threat is None and not is_whole:
            raise Unavailable(UNAVAILABLE, "The malware scanner has not heard the file to its end.")
        return threat

    def _connected(self) -> socket.socket:
        if self._address.startswith("unix:"):
            connection = _local(self._address.removeprefix("unix:"))
        else:
            host, _, port = self._address.rpartition(":")
            if not port.isdecimal():
                raise Unavailable(UNAVAILABLE, "The malware scanner's address is not host:port or unix:/path.")
            connection = socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS)
        connection.settimeout(ANSWER_SECONDS)
        return connection


def _local(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(CONNECT_SECONDS)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _send(connection: socket.socket, blocks: Iterator[bytes]) -> bool:
    """The stream; whether it went out to its end.

    A daemon that has heard enough answers and closes: what it said is then still to be read.
    """
    try:
        connection.sendall(b"zINSTREAM\0")
        for block in blocks:
            connection.sendall(len(block).to_bytes(4, "big"))
            connection.sendall(block)
        connection.sendall(bytes(4))
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _answer(connection: socket.socket) -> str:
    said = b""
    while not said.endswith(b"\0") and len(said) < _MOST_ANSWERED:
        more = connection.recv(_MOST_ANSWERED)
        if not more:
            break
        said += more
    return said.decode(errors="replace")


def _read(said: str) -> str | None:
    """What an answer means. One that is cut short, or that nobody knows, means nothing."""
    if said == "stream: OK\0":
        return None
    if said.startswith("stream: ") and said.endswith(" FOUND\0"):
        return said.removeprefix("stream: ").removesuffix(" FOUND\0")[:100]
    if "size limit exceeded" in said:
        raise Refused("file_unscannable", "The malware scanner takes no file of this size.")
    raise Unavailable(UNAVAILABLE, "The malware scanner failed.")
