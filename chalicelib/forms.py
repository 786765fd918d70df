"""Bodies that are no JSON: multipart/form-data (RFC 7578), urlencoded forms, and a file by itself. From strangers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from chalicelib.strict_json import is_text

MULTIPART: Final = "multipart/form-data"
URLENCODED: Final = "application/x-www-form-urlencoded"
MAX_PARTS: Final = 100
MAX_HEAD_BYTES: Final = 8192  # of one part's header lines
_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;",]{1,70}))', re.IGNORECASE)
_PARAMETER: Final = re.compile(r';\s*(name|filename)="((?:[^"\\\r\n]|\\.)*)"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was sent. Name and type are what the client says of it."""

    filename: str
    content_type: str
    data: bytes


def read(content_type: str, body: bytes) -> dict[str, str | File]:
    """The members of a form by name; a body that is no form is a file by itself, named `file`.

    Raises ValueError for what is no form, and for a name that is there twice.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media == MULTIPART:
        pairs = list(_parts(body, _boundary(content_type)))
    elif media == URLENCODED:
        pairs = [(name, value) for name, value in _urlencoded(body)]
    else:
        pairs = [("file", File("", media, body))]
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is there twice")
    return members


def _urlencoded(body: bytes) -> Iterator[tuple[str, str]]:
    found = parse_qsl(body.decode("ascii"), True, errors="strict", max_num_fields=MAX_PARTS)
    yield from ((_text(name), _text(value)) for name, value in found)


def _boundary(content_type: str) -> bytes:
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise ValueError("the boundary is missing")
    return (found[1] or found[2]).encode("ascii")


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, str | File]]:
    mark = b"\r\n--" + boundary
    pieces = (b"\r\n" + body).split(mark, MAX_PARTS + 2)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("it does not end, or has too many parts")
    for piece in pieces[1:-1]:
        # Blanks may stand between a boundary and its line end.
        padding, found, part = piece.partition(b"\r\n")
        if padding.strip(b" \t") or not found:
            raise ValueError("a boundary is not a line")
        yield _part(part)


def _part(part: bytes) -> tuple[str, str | File]:
    head, found, data = (b"\r\n" + part).partition(b"\r\n\r\n")
    if not found or len(head) > MAX_HEAD_BYTES:
        raise ValueError("a part has no end of its header lines")
    lines = (line.partition(":") for line in _text(head.decode()).split("\r\n")[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    disposition = headers.get("content-disposition", "")
    said = {name.lower(): re.sub(r"\\(.)", r"\1", value) for name, value in _PARAMETER.findall(disposition)}
    if not disposition.lower().startswith("form-data") or "name" not in said:
        raise ValueError("a part does not say which it is")
    if "filename" not in said:
        return said["name"], _text(data.decode())
    return said["name"], File(said["filename"], headers.get("content-type", ""), data)


def _text(value: str) -> str:
    if not is_text(value):
        raise ValueError("it has text that nothing can hold")
    return value
