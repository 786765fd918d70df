"""What clamd may answer, and what that means: silence, half a word and an unknown one are no verdict."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chalicelib.errors import Refused, Unavailable
from chalicelib.scanners.clamd import Clamd


@contextmanager
def answering(said: bytes) -> Iterator[tuple[Clamd, list[bytes]]]:
    """Something that hears a stream to its end and then says this."""
    heard: list[bytes] = []

    def work() -> None:
        with listener.accept()[0] as connection:
            seen = b""
            while not seen.endswith(bytes(4)) and (more := connection.recv(1 << 16)):
                seen += more
            heard.append(seen)
            connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=work)
        thread.start()
        yield Clamd(f"127.0.0.1:{listener.getsockname()[1]}"), heard
        thread.join()


def test_a_stream_goes_out_in_blocks_each_with_its_length() -> None:
    with answering(b"stream: OK\0") as (scanner, heard):
        assert scanner.scan(iter([b"abc", b"de"])) is None
    assert heard == [b"zINSTREAM\0\0\0\0\x03abc\0\0\0\x02de\0\0\0\0"]


def test_what_is_found_is_named() -> None:
    with answering(b"stream: Win.Test.EICAR_HDB-1 FOUND\0") as (scanner, _):
        assert scanner.scan(iter([b"x"])) == "Win.Test.EICAR_HDB-1"


@pytest.mark.parametrize(
    "said", [b"", b"stream: O", b"stream: OK", b"stream: OK ERROR\0", b"UNKNOWN COMMAND\0", b"\xff\0"]
)
def test_any_other_answer_is_none(said: bytes) -> None:
    with answering(said) as (scanner, _), pytest.raises(Unavailable) as failed:
        scanner.scan(iter([b"x"]))
    assert failed.value.code == "scanner_unavailable"


def test_who_has_not_heard_all_of_a_file_knows_no_more_of_it_than_what_was_found() -> None:
    """As of a daemon that is stopped in the middle, or of what stands between."""

    def scanned(said: bytes) -> str | None:
        def work() -> None:
            with listener.accept()[0] as connection:
                connection.recv(10)
                connection.sendall(said)

        def blocks() -> Iterator[bytes]:
            yield b"x"
            thread.join()  # the daemon is gone
            for _ in range(100):
                yield bytes(1 << 16)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=work)
            thread.start()
            return Clamd(f"127.0.0.1:{listener.getsockname()[1]}").scan(blocks())

    with pytest.raises(Unavailable):
        scanned(b"stream: OK\0")
    assert scanned(b"stream: Found.Early FOUND\0") == "Found.Early"


def test_a_stream_that_is_too_long_for_it_is_the_file_s_fault() -> None:
    with answering(b"INSTREAM size limit exceeded. ERROR\0") as (scanner, _), pytest.raises(Refused) as refused:
        scanner.scan(iter([b"x"]))
    assert refused.value.code == "file_unscannable"


@pytest.mark.parametrize("address", ["", "nowhere", "127.0.0.1:1", "127.0.0.1:port", "unix:/nowhere"])
def test_an_address_where_nobody_is_is_no_verdict(address: str) -> None:
    with pytest.raises(Unavailable):
        Clamd(address).scan(iter([b"x"]))
