"""Whose fault an error is: of the services that all stages stand on, or of what a stage was at."""

from __future__ import annotations

from chalicelib import aws
from chalicelib.errors import Unavailable
from chalicelib.postgres.connection import is_transient


def are_to_blame(error: BaseException) -> bool:
    """Whether Postgres, AWS or another service was not there: it is tried again, and no attempt is spent."""
    return isinstance(error, Unavailable) or is_transient(error) or aws.is_transient(error)
