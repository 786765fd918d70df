"""Values of encrypted fields: sealed, opened, and told apart by a blind index without being opened.

AES-256-GCM, with a nonce that is a keyed hash of the value and of where it stands. So no two values share a nonce, and
a chunk that is loaded again, or a file that is compared with its table, comes out the same byte for byte. Where it
stands (tenant, dataset, column, row) is authenticated: elsewhere a sealed value does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Final

from chalicelib.cells import Field, Value

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# cryptography is imported where it is used: only datasets with encrypted fields need it, and it costs 24 ms.

VERSION: Final = 1
# Columns, as it were, that no field has the name of:
RAW: Final = "_row_raw"  # a record that was rejected
ASKED: Final = "_row_asked"  # a request that may be repeated
ANSWER: Final = "_row_answer"  # what it was answered
_HEAD: Final = struct.Struct(">BI")  # version, number of the data key
_NONCE: Final = 12
_TAG: Final = 16
OVERHEAD: Final = _HEAD.size + _NONCE + _TAG  # bytes more than the value has; in base64 they are 44 characters
# Checked columns and the `_row` of each of their rows -> the columns of the table (Schema.stored).
Seal = Callable[[Sequence[Sequence[Value]], Sequence[int]], list[Sequence[Value]]]


class SealBroken(Exception):
    """What is stored is not what was sealed for this place."""


@dataclass(frozen=True, slots=True)
class Home:
    """Whose values they are."""

    tenant: str
    dataset: int

    def place(self, column: str) -> bytes:
        """What all values of a column are bound to, but for their row."""
        parts = [b"rowmill field", self.tenant.encode(), str(self.dataset).encode(), column.encode()]
        return b"".join(struct.pack(">I", len(part)) + part for part in parts)


@dataclass(frozen=True)
class DataKey:
    """One data key, open. `number` is what sealed values call it by."""

    number: int
    home: Home
    secret: bytes = field(repr=False)

    @cached_property
    def _head(self) -> bytes:
        return _HEAD.pack(VERSION, self.number)

    @cached_property
    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(_derived(self.secret, b"rowmill seal"))

    @cached_property
    def _nonces(self) -> hashlib.blake2b:
        return hashlib.blake2b(key=_derived(self.secret, b"rowmill nonce"), digest_size=_NONCE)

    def sealer(self, column: str) -> Callable[[int, str], str]:
        """What seals a column's values, each with its `_row`, to text."""
        seal = self._sealer(column)
        return lambda row, value: b2a_base64(seal(row, value.encode()), newline=False).decode()

    def opener(self, column: str) -> Callable[[int, str], str]:
        """What opens them again. Raises SealBroken."""

        def opened(row: int, sealed: str) -> str:
            try:
                data = a2b_base64(sealed, strict_mode=True)
            except (Error, ValueError):
                raise SealBroken("it is no base64") from None
            return self._open(column, row, data).decode()

        return opened

    def seal_record(self, row: int, raw: bytes) -> bytes:
        """The bytes of a whole record."""
        return self._sealer(RAW)(row, raw)

    def open_record(self, row: int, sealed: bytes) -> bytes:
        """The record. Raises SealBroken."""
        return self._open(RAW, row, sealed)

    def _sealer(self, column: str) -> Callable[[int, bytes], bytes]:
        head, encrypt, nonces = self._head, self._cipher.encrypt, self._nonces
        place = head + self.home.place(column)

        def seal(row: int, data: bytes) -> bytes:
            bound = place + row.to_bytes(8)
            chosen = nonces.copy()
            chosen.update(bound + data)  # of one length but for the data: nothing of one can pass for the other
            nonce = chosen.digest()
            return head + nonce + encrypt(nonce, data, bound)

        return seal

    def _open(self, column: str, row: int, sealed: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        if len(sealed) < OVERHEAD or sealed[: _HEAD.size] != self._head:
            raise SealBroken("it is sealed by another key")
        nonce = sealed[_HEAD.size : _HEAD.size + _NONCE]
        bound = self._head + self.home.place(column) + row.to_bytes(8)
        try:
            return self._cipher.decrypt(nonce, sealed[_HEAD.size + _NONCE :], bound)
        except InvalidTag:
            raise SealBroken("it is not what was sealed here") from None


def key_number(sealed: str | bytes) -> int:
    """The number of the data key that something was sealed by. Raises SealBroken."""
    try:
        data = a2b_base64(sealed[:8]) if isinstance(sealed, str) else sealed
        version, number = _HEAD.unpack_from(data)
    except (Error, ValueError, struct.error):
        raise SealBroken("nothing was ever sealed to this") from None
    if version != VERSION:
        raise SealBroken("it is of another version")
    return int(number)


@dataclass(frozen=True)
class BlindKey:
    """The key of a dataset's blind indexes: equal values have equal ones, and who has no key cannot tell of which."""

    home: Home
    secret: bytes = field(repr=False)

    def indexer(self, spec: Field) -> Callable[[str], str]:
        """What makes the blind index of a field's values."""
        # HMAC-SHA-256 by its two halves, which are begun once: in a third of the time.
        pad = _derived(self.secret, b"rowmill blind").ljust(64, b"\0")
        inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in pad) + self.home.place(spec.name))
        outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in pad))
        same = normaliser(spec)

        def index(value: str) -> str:
            first, second = inner.copy(), outer.copy()
            first.update(same(value).encode())
            second.update(first.digest())
            return b2a_base64(second.digest(), newline=False).decode()

        return index


def normaliser(spec: Field) -> Callable[[str], str]:
    """What makes one text of all that a field's value may be spelled as, where these are to be the same key."""
    match spec.type, spec.format:
        case "string", "email" | "uuid":
            return str.lower
        case "integer", _:
            return lambda value: str(int(value))
        case "number", _:
            return _number
        case _:
            return str


def _number(value: str) -> str:
    number = Decimal(value)
    plain = format(number if number else Decimal(0), "f")  # exact: normalize() would round to 28 digits
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, purpose, "sha256")
