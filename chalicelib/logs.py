"""One logger, JSON lines. Ids and counts only: never a cell, a token or an error text that may repeat one."""

from __future__ import annotations

from aws_lambda_powertools import Logger

logger = Logger(service="rowmill", utc=True, log_uncaught_exceptions=False)


def about(correlation_id: str, **ids: object) -> None:
    """Tie what this invocation logs to the request that began it all, and to an upload and chunk."""
    logger.set_correlation_id(correlation_id)
    logger.append_keys(**ids)
