"""A receipt held against a file, without the network: is it genuine, and is this the file that it is of?

What counts is the payload of the JWS, as it was signed; what stands beside it is for people, and has to be the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypedDict

from .errors import RowmillError, Unusable
from .resources import Undone

TYPE: Final = "rowmill-receipt+json"
BLOCK: Final = 1 << 20


class NotGenuine(RowmillError):
    """The receipt was not signed by one of these keys, or was changed since."""


class OfflineResult(TypedDict):
    """What a file is beside a receipt, as the upload's file or as the text that was made of it.

    `chunks` are those that differ, by number; None if they were not compared.

    `undone` is what the receipt says of an undo, None if it is of an end before one.
    """

    result: Literal["match", "differs"]
    upload_id: str
    n: int
    state: str
    undone: Undone | None
    kid: str
    of: Literal["file", "text"]
    size: int
    sha256: str
    problems: list[str]
    chunks: list[int] | None


def check(receipt: Path, file: Path, keys: Mapping[str, Any]) -> OfflineResult:
    """Hold the file against the receipt. Raises NotGenuine, and Unusable if one of them cannot be read."""
    said, kid = _opened(_read(receipt), keys)
    lines = [dict(zip(said["chunks"]["columns"], line, strict=True)) for line in said["chunks"]["items"] or []]
    chunks = [line for line in lines if line["sha256"]]
    try:
        with file.open("rb") as opened:
            digest, size, differing = _digests(opened, chunks)
    except OSError as fault:
        raise Unusable(f"{file}: {fault.strerror or fault}") from fault
    is_text = said["text"] is not None and size == said["text"]["size"] and digest != said["file"]["sha256"]
    if said["text"] is not None and not is_text:  # chunks are ranges of the text
        chunks, differing = [], []
    problems = list(_of_text(chunks, differing) if is_text else _problems(said, digest, size, differing))
    return {
        "result": "differs" if problems else "match",
        "upload_id": said["upload_id"],
        "n": said["n"],
        "state": said["state"],
        "undone": said.get("undone"),
        "kid": kid,
        "of": "text" if is_text else "file",
        "size": size,
        "sha256": digest,
        "problems": problems,
        "chunks": differing if chunks else None,
    }


def _of_text(chunks: Sequence[Mapping[str, Any]], differing: Sequence[int]) -> Iterator[str]:
    """Of a text the receipt has the digests of its chunks alone."""
    if not chunks:
        yield "the receipt has no digest of the text"
    if differing:
        yield f"{len(differing)} chunks differ"


def _problems(said: Mapping[str, Any], digest: str, size: int, differing: Sequence[int]) -> Iterator[str]:
    file = said["file"]
    if size != file["size"]:
        yield f"the file has {size} bytes, the receipt is of {file['size']}"
    if file["sha256"] is None and said["chunks"]["items"] is None:
        yield f"the receipt has no digest of the file: {file['reason']}"
    elif file["sha256"] not in (None, digest):
        yield f"the file's SHA-256 is {digest}, the receipt's {file['sha256']}"
    if differing:
        yield f"{len(differing)} chunks differ"


def _read(path: Path) -> Mapping[str, Any]:
    found = _object(path, "a receipt")
    if not isinstance(found.get("jws"), str):
        raise Unusable(f"{path} is no receipt: it has no jws")
    return found


def read_keys(path: Path) -> dict[str, Any]:
    """A JSON Web Key Set in a file. Raises Unusable."""
    found = _object(path, "a set of keys")
    if not isinstance(found.get("keys"), list):
        raise Unusable(f"{path} is no JSON Web Key Set")
    return found


def _object(path: Path, kind: str) -> dict[str, Any]:
    """The JSON object in a file; an empty one for JSON of another kind."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise Unusable(f"{path} is not readable as {kind}: {fault}") from fault
    return found if isinstance(found, dict) else {}


def _opened(found: Mapping[str, Any], keys: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """What a receipt says, once it is known who has signed it, and by which key."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - 40 ms that no other command needs
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        head, payload, signature = str(found["jws"]).split(".")
        header = json.loads(_decoded(head))
        wanted = (header["kid"], "Ed25519")
        key = next(one["x"] for one in keys["keys"] if (one.get("kid"), one.get("crv")) == wanted)
        if (header["alg"], header["typ"]) != ("EdDSA", TYPE):
            raise NotGenuine("the receipt is not signed as receipts are")
        public = Ed25519PublicKey.from_public_bytes(_decoded(key))
        public.verify(_decoded(signature), f"{head}.{payload}".encode())
        said = json.loads(_decoded(payload))
    except StopIteration:
        raise NotGenuine("the receipt is signed by none of these keys") from None
    except InvalidSignature:
        raise NotGenuine("the receipt's signature does not hold: it was changed, or made up") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as fault:
        raise NotGenuine("the receipt is not readable as one") from fault
    if not isinstance(said, dict) or found.get("receipt", said) != said:
        raise NotGenuine("what the receipt shows is not what was signed")
    return said, str(header["kid"])


def _digests(file: BinaryIO, chunks: Sequence[Mapping[str, Any]]) -> tuple[str, int, list[int]]:
    """SHA-256 and size of a file, and which chunks have other bytes, in one reading and little memory."""
    whole, differing, at = hashlib.sha256(), [], 0
    for chunk in chunks:
        at += _take(file, chunk["byte_start"] - at, whole)
        own = hashlib.sha256()
        at += _take(file, chunk["byte_end"] - at, whole, own)
        if own.hexdigest() != chunk["sha256"]:
            differing.append(chunk["n"])
    at += _take(file, sys.maxsize, whole)  # to its end, which of a pipe nobody can say before
    return whole.hexdigest(), at, differing


def _take(file: BinaryIO, size: int, *digests: Any) -> int:
    """Read so many bytes, or what is left, into digests; how many it were."""
    taken = 0
    while taken < size and (block := file.read(min(BLOCK, size - taken))):
        taken += len(block)
        for digest in digests:
            digest.update(block)
    return taken


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
