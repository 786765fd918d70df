"""The only rooms that talk to AWS, one a service, and apikeys, a table of DynamoDB's; over the clients made here.

Each module's docstring lists the permissions it needs. The endpoint is AWS_ENDPOINT_URL's, as boto3 reads it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.settings import settings

_CONFIG: Final = Config(
    retries={"mode": "standard", "max_attempts": 4},
    connect_timeout=3,
    read_timeout=60,
    user_agent="rowmill",  # making its own costs botocore a seventh of what it takes for a call
)
_PERMANENT: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "NoSuchKey",
        "404",
        "412",
        "PreconditionFailed",
        "ValidationException",
    }
)


@cache
def client(service: str) -> Any:
    """The process's client of a service."""
    return boto3.client(service, config=_CONFIG if service != "s3" else _CONFIG.merge(s3_config()))


def warm() -> None:
    """Make the clients of the queue functions: each takes as long as a small file's whole journey."""
    for service in ("s3", "sqs", "dynamodb"):
        client(service)


def s3_config() -> Config:
    """Signature 4 everywhere: LocalStack and new regions accept no other for presigned requests."""
    style = "path" if settings().aws_endpoint else "virtual"
    return Config(signature_version="s3v4", s3={"addressing_style": style})


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: throttled, timed out, or the service was not there."""
    if isinstance(error, ClientError):
        return code(error) not in _PERMANENT
    return isinstance(error, BotoCoreError)


def code(error: ClientError) -> str:
    """AWS's code of an error, such as NoSuchKey."""
    return str(error.response.get("Error", {}).get("Code", ""))
