"""gzip to what was packed, block by block: every member's length and CRC must be right."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from chalicelib.errors import Refused
from chalicelib.formats.limits import Limits

BLOCK_BYTES: Final = 1 << 20
STRETCH_BYTES: Final = 128 << 10  # packed; where so much unpacks to too much, the file is a bomb whatever follows
_GZIP_WINDOW: Final = 31  # zlib's way to say: a gzip header and trailer, the largest window


def unpack(blocks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """The contents of a gzip file's members, one after the other, in blocks of at most BLOCK_BYTES.

    Zeros after a member are padding, as for gzip itself. Raises Refused gzip_truncated, gzip_corrupt or
    gzip_trailing_garbage, and what `limits` raises.
    """
    packed = unpacked = members = 0
    member = None
    for block in blocks:
        packed, rest = packed + len(block), block
        while rest := rest.lstrip(b"\0") if member is None and members else rest:
            if member is None:
                member, members = zlib.decompressobj(_GZIP_WINDOW), members + 1
            contents = _inflate(member, rest, first=members == 1)
            unpacked += len(contents)
            rest = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
            limits.check(min(packed, packed - len(rest) + STRETCH_BYTES), unpacked)
            yield contents
    if member is not None or not members:
        raise Refused("gzip_truncated", "The gzip file ends in the middle.")


def _inflate(member: zlib._Decompress, packed: bytes, *, first: bool) -> bytes:
    try:
        return member.decompress(packed, BLOCK_BYTES)
    except zlib.error as error:
        if not first and "header" in str(error):
            detail = "Something that is not gzip follows the gzip data."
            raise Refused("gzip_trailing_garbage", detail) from None
        raise Refused("gzip_corrupt", "The gzip file is damaged.") from None
