"""Data keys of KMS: made, opened and wrapped. Permissions on the field key: kms:GenerateDataKey, Decrypt, Encrypt.

The context says what a key is for, and is in KMS' own log; KMS opens a wrapped key under no other one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import ClientError

from chalicelib.aws import client, code
from chalicelib.errors import Unavailable
from chalicelib.settings import settings

Context = Mapping[str, str]
RETRY_SECONDS: Final = 60
# The key is off, gone, or not ours to use: what waits for it waits until somebody has put that right.
_SHUT: Final = frozenset(
    {
        "AccessDeniedException",
        "DisabledException",
        "IncorrectKeyException",
        "InvalidCiphertextException",
        "InvalidKeyUsageException",
        "KMSInvalidStateException",
        "NotFoundException",
        "ValidationException",
    }
)


def generate(context: Context) -> tuple[str, bytes, bytes]:
    """A new data key: the ARN of the key that wraps it, wrapped, and open. Raises Unavailable."""
    with _shut():
        made = client("kms").generate_data_key(
            KeyId=settings().field_key, KeySpec="AES_256", EncryptionContext=dict(context)
        )
    return made["KeyId"], made["CiphertextBlob"], made["Plaintext"]


def unwrap(key: str, wrapped: bytes, context: Context) -> bytes:
    """A data key, open. Raises Unavailable."""
    with _shut():
        opened = client("kms").decrypt(KeyId=_here(key), CiphertextBlob=wrapped, EncryptionContext=dict(context))
    return bytes(opened["Plaintext"])


def wrap(secret: bytes, context: Context) -> tuple[str, bytes]:
    """An open data key under the key that is the deployment's now: its ARN, and the key wrapped. Raises Unavailable."""
    with _shut():
        made = client("kms").encrypt(KeyId=settings().field_key, Plaintext=secret, EncryptionContext=dict(context))
    return made["KeyId"], made["CiphertextBlob"]


def _here(key: str) -> str:
    """The key as this region has it: replicas of one key (`mrk-…`) open what any of them has wrapped."""
    arn = key.split(":")
    return ":".join([*arn[:3], client("kms").meta.region_name, *arn[4:]]) if ":key/mrk-" in key else key


@contextmanager
def _shut() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if code(error) not in _SHUT:
            raise
        detail = "The key of encrypted fields cannot be used now."
        raise Unavailable("field_key_unavailable", detail, retry_after=RETRY_SECONDS) from error
