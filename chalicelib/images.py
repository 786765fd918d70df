"""What a picture is by its first bytes. Nothing is decoded: a browser does that, in its own cage."""

from __future__ import annotations

from typing import Final

FIRST_BYTES: Final = 16
MAX_BYTES: Final = 5_000_000
_SUFFIXES: Final = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}
KINDS: Final = tuple(_SUFFIXES)


def kind(first: bytes) -> str | None:
    """The media type of the picture that begins with these bytes; None if it is none of KINDS."""
    if first.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if first.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "image/webp"
    return None


def filename(content_type: str) -> str:
    """The name under which a picture of this type is saved."""
    return f"picture.{_SUFFIXES[content_type]}"
