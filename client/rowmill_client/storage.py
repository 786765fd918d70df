"""The file's own journey: measured on disk, then streamed to the storage, never held in memory.

The storage is not the API: it gets the ticket's fields and nothing else, least of all the token.
"""

from __future__ import annotations

import base64
import hashlib
import html
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final, TypeGuard

import httpx

from .errors import StorageRefused, Unreachable, Unusable
from .resources import Form
from .transport import Patience, connections, reason

TIMEOUT: Final = httpx.Timeout(120.0, connect=10.0)  # the storage may check a large file before it answers
CONTENT_TYPES: Final = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".gz": "application/gzip",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
PICTURE_TYPES: Final = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
ADVICE: Final = {
    "EntityTooLarge": "it is larger than this upload allows",
    "EntityTooSmall": "it is smaller than this upload allows",
    "ExpiredToken": "the time to send it has passed; upload it again",
    "BadDigest": "it changed while it was being sent",
    "XAmzContentChecksumMismatch": "it changed while it was being sent",
}
RESIZED: Final = "the file changed its size while it was being sent"
DAMAGED: Final = frozenset({"BadDigest", "XAmzContentChecksumMismatch"})

Progress = Callable[[int, int], None]  # bytes sent so far, bytes in all; starts anew when a try fails


@dataclass(frozen=True, slots=True)
class LocalFile:
    """What the API wants to know of a file before it lets it in. `checksum` is the base64 SHA-256."""

    filename: str
    size: int
    content_type: str
    checksum: str


def _unsigned(record: logging.LogRecord) -> bool:
    """A line of httpx's log without what a URL is signed by: for an hour whoever reads it could have the file."""
    if isinstance(record.args, tuple):
        record.args = tuple(one.copy_with(query=None) if _is_signed(one) else one for one in record.args)
    return True


def _is_signed(told: object) -> TypeGuard[httpx.URL]:
    return isinstance(told, httpx.URL) and "X-Amz-Signature" in told.params


logging.getLogger("httpx").addFilter(_unsigned)


def measure(path: Path) -> LocalFile:
    """Read the file once. Raises Unusable when it cannot be read, or has no size to announce (a pipe)."""
    with opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        size = file.tell()
    return LocalFile(
        filename=os.fsencode(path.name).decode("utf-8", "replace"),
        size=size,
        content_type=CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream"),
        checksum=base64.b64encode(digest).decode(),
    )


def picture_type(path: Path) -> str:
    """What a picture is by its name. Raises Unusable for a name that no picture has."""
    try:
        return PICTURE_TYPES[path.suffix.lower()]
    except KeyError:
        raise Unusable(f"{path} is not named as a picture is: {', '.join(PICTURE_TYPES)}") from None


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """The file, for reading. Raises Unusable, in one line, for whatever is not a readable regular file."""
    try:
        # A pipe without a writer would block here for ever: hence the look before the leap.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unusable(f"{path} is not a regular file")
        file = path.open("rb")
    except (OSError, ValueError) as fault:
        raise Unusable(f"{path}: {getattr(fault, 'strerror', None) or fault}") from fault
    with file:
        yield file


def send(ticket: Form, path: Path, on_progress: Progress | None, patience: Patience) -> None:
    """Post the file. Raises StorageRefused or Unreachable. Twice is harmless: the first arrival counts."""
    with connections(TIMEOUT) as http, opened(path) as file:
        patience.keep_trying(lambda: _post(http, ticket, _Watched(file, on_progress)))


def fetch(url: str, sink: Callable[[bytes], object], patience: Patience) -> None:
    """Download what a presigned URL names. Raises StorageRefused or Unreachable.

    Only what has not begun is tried again: the sink cannot take back what it was given. A URL may hold the file itself.
    """
    if url.startswith("data:"):
        sink(base64.b64decode(url.partition(";base64,")[2]))
        return
    with connections(TIMEOUT) as http:
        response = patience.keep_trying(
            lambda: exchange(lambda: http.send(http.build_request("GET", url), stream=True))
        )
        try:
            for block in response.iter_bytes():
                sink(block)
        except httpx.HTTPError as fault:
            raise Unreachable(f"the storage did not send the whole file: {reason(fault)}") from fault
        finally:
            response.close()


def _post(http: httpx.Client, ticket: Form, file: _Watched) -> None:
    # The name and type in the file's own part are ignored by the storage; the ticket's fields carry both.
    part = ("file", file, "application/octet-stream")
    # httpx writes `data` before `files`, which is the order the storage insists on.
    exchange(lambda: http.post(ticket["url"], data=ticket["fields"], files={"file": part}))  # type: ignore[dict-item]


def exchange(request: Callable[[], httpx.Response]) -> httpx.Response:
    """The storage's consent. Raises StorageRefused, Unreachable, or Unusable for a file that shrinks or grows."""
    try:
        response = request()
        if not response.is_success:
            response.read()
    except httpx.LocalProtocolError as fault:
        raise Unusable(RESIZED) from fault
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        said = reason(fault) if isinstance(fault, httpx.HTTPError) else str(fault)
        raise Unreachable(f"the storage cannot be reached: {said}") from fault
    if not response.is_success:
        raise _refusal(response)
    return response


def _refusal(response: httpx.Response) -> StorageRefused:
    code = _element(response.text, "Code") or "unknown"
    message = _element(response.text, "Message") or response.reason_phrase
    detail = f"{ADVICE[code]}: {message}" if code in ADVICE else message
    if code == "AccessDenied" and "expired" in message.lower():
        detail = f"{ADVICE['ExpiredToken']}: {message}"
    return StorageRefused(response.status_code, code, detail.rstrip("."))


def _element(xml: str, name: str) -> str:
    # Two flat elements of a document from outside: no parser, hence no entity tricks.
    found = re.search(rf"<{name}>([^<]*)</{name}>", xml)
    return html.unescape(found[1]).strip() if found else ""


class _Watched:
    """A file that reports how far it has been read; looks to httpx like any binary file of known length."""

    def __init__(self, file: BufferedReader, on_progress: Progress | None) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._on_progress = on_progress

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        at = self._file.tell()
        if at > self._size or (not block and at < self._size):
            raise Unusable(RESIZED)  # h11 would raise an error of its own, which httpx does not translate
        if self._on_progress:
            self._on_progress(at, self._size)
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        return self._file.fileno()
