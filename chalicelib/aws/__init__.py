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

TRIES: Final = 4
# For which a service may be silent. A worker has half a minute, and one that is ended in the middle has spent an
# attempt of its chunk: all tries, with botocore's pauses of 1, 2 and 4 seconds at most, must be over before.
SILENT_SECONDS: Final = 4
WORKING_SECONDS: Final = 60  # the same of calls that are answered when something is done

_CONFIG: Final = Config(
    retries={"mode": "standard", "total_max_attempts": TRIES},
    connect_timeout=3,
    read_timeout=SILENT_SECONDS,
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
def client(service: str, *, works: bool = False) -> Any:
    """The process's client of a service; one for calls that take as long as their work does, if it `works`."""
    config = _CONFIG.merge(Config(read_timeout=WORKING_SECONDS)) if works else _CONFIG
    return boto3.client(service, config=config if service != "s3" else config.merge(s3_config()))


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
