"""Text in another encoding to UTF-8. Nothing is replaced: what cannot be decoded stays invalid, in its own row.

The five bytes that cp1252 does not define are passed on as they are: all are from 80 to BF, so none begins a letter.
An unpaired surrogate of UTF-16 becomes its three bytes. None of these is UTF-8, so the checker rejects that row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

UTF_8: Final = "utf-8"
UTF_16: Final = ("utf-16-le", "utf-16-be")
ENCODINGS: Final = (UTF_8, "utf-16", *UTF_16, "cp1252", "latin-1")


def transcode(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The text in UTF-8, without a byte order mark. `encoding` is UTF-16 of known order, or has one byte a letter."""
    if encoding in UTF_16:
        return _from_utf16(blocks, encoding)
    return (_from_one_byte(block, encoding) for block in blocks)


def _from_one_byte(block: bytes, encoding: str) -> bytes:
    try:
        return block.decode(encoding).encode()
    except UnicodeDecodeError:
        return block.decode(encoding, "surrogateescape").encode(errors="surrogateescape")


def _from_utf16(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Block by block; a letter that is cut waits for the next."""
    held, begun = b"", False
    for block in blocks:
        data = held + block
        end = _whole_letters(data, encoding)
        text, held = data[:end].decode(encoding, "surrogatepass"), data[end:]
        if text:
            yield (text if begun else text.removeprefix("\ufeff")).encode(errors="surrogatepass")
            begun = True
    if len(held) > 1:
        yield held[:2].decode(encoding, "surrogatepass").encode(errors="surrogatepass")
    if len(held) % 2:
        yield b"\xff"


def _whole_letters(data: bytes, encoding: str) -> int:
    """Up to where data hold whole letters: not half a unit at the end, nor the first half of a pair."""
    end = len(data) - len(data) % 2
    high = data[end - 1 if encoding == "utf-16-le" else end - 2] if end else 0
    return end - 2 if 0xD8 <= high <= 0xDB else end
