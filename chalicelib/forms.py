"""Bodies that are no JSON: multipart/form-data (RFC 7578), urlencoded forms, and a file by itself. From strangers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import multipart

from chalicelib.strict_json import is_text

MULTIPART: Final = "multipart/form-data"
URLENCODED: Final = "application/x-www-form-urlencoded"
MAX_PARTS: Final = 100


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
        pairs = list(_parts(body, content_type))
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


def _parts(body: bytes, content_type: str) -> Iterator[tuple[str, str | File]]:
    boundary = multipart.parse_options_header(content_type)[1].get("boundary", "")
    whole = len(body) + 1  # it is in memory already
    limits = {"part_limit": MAX_PARTS, "spool_limit": whole, "memory_limit": whole}
    for part in multipart.MultipartParser(io.BytesIO(body), boundary, strict=True, **limits):
        if not part.name:
            raise ValueError("a part does not say which it is")
        name, filename, data = _text(part.name), part.filename, part.raw
        yield name, _text(data.decode()) if filename is None else File(_text(filename), part.content_type, data)


def _text(value: str) -> str:
    if not is_text(value):
        raise ValueError("it has text that nothing can hold")
    return value
