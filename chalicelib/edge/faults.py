"""What went wrong, told: to clients as problem+json, in the log by its kind and place and never by its own text."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from chalice.app import ChaliceViewError, Response

from chalicelib import aws, metrics
from chalicelib.errors import Refused, RowmillError, Unavailable
from chalicelib.logs import logger
from chalicelib.postgres import connection


def problem(error: Exception, instance: str) -> Response:
    """RFC 9457. An error that is not ours answers 500 with the request's id and nothing else."""
    ours = as_ours(error)
    if ours is None:
        logger.error("unexpected", error=named(error))
        ours = RowmillError("internal", "Something went wrong on our side.")
    elif isinstance(ours, Unavailable):
        # The client is told no more than to come again; which service it was, and how it failed, is said here alone.
        logger.warning("unavailable", error=named(error.__cause__ or error))
        note_throttled(error)
    shown: dict[str, Any] = {
        "type": f"urn:rowmill:problem:{ours.code}",
        "title": ours.code.replace("_", " "),
        "status": ours.status,
        "code": ours.code,
        "detail": ours.detail,
    }
    if ours.errors:
        shown["errors"] = ours.errors
    if instance:
        shown["instance"] = f"urn:request:{instance}"
    return Response(
        json.dumps(shown),
        headers={"Content-Type": "application/problem+json", **ours.headers},
        status_code=ours.status,
    )


def as_ours(error: Exception) -> RowmillError | None:
    """The error as one of our own; None for what nobody has foreseen."""
    if isinstance(error, RowmillError):
        return error
    if isinstance(error, ChaliceViewError):
        return Refused("request_invalid", str(error), status=error.STATUS_CODE)
    if connection.is_transient(error) or aws.is_transient(error):
        return Unavailable("unavailable", "A service behind this one is not answering; try again.")
    return None


def named(error: BaseException) -> str:
    """An error's kind and place. Its own text may hold row data (Postgres repeats values), so it is not logged."""
    detail = getattr(error, "sqlstate", None) or getattr(error, "code", None)
    if isinstance(error, ClientError):
        detail = f"{error.operation_name} {aws.code(error)}"
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f" at {Path(one.filename).name}:{one.lineno}" for one in frame)
    return f"{type(error).__name__} {detail or ''}".rstrip() + place


def note_throttled(error: Exception) -> None:
    """Count it, if Postgres has turned us away."""
    metrics.count("ThrottledByPostgres", int(connection.is_transient(error.__cause__ or error)))
