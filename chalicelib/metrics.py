"""What is counted and timed, as lines of CloudWatch's embedded metric format (EMF) among those of the log.

Lambda sends what is printed to CloudWatch Logs anyway, and there metrics are made of these lines: no request, no agent.
Names, numbers and the function alone: no tenant, upload or cell, as each value of a dimension is a metric to pay for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

from aws_lambda_powertools import Metrics

from chalicelib.settings import settings

NAMESPACE: Final = "Rowmill"
Name = Literal[
    "ChunkSeconds",
    "ChunksDead",
    "ChunksLoaded",
    "Errors",
    "PostgresConnections",
    "RequestSeconds",
    "RowsLoaded",
    "RowsRejected",
    "ThrottledByPostgres",
    "UploadCostUsd",
    "UploadSeconds",
    "UploadsRunning",
    "UploadsStuck",
]
UNITS: Final[Mapping[Name, str]] = {
    "ChunkSeconds": "Seconds",  # from the claim of a chunk to its commit
    "ChunksDead": "Count",
    "ChunksLoaded": "Count",
    "Errors": "Count",  # answers of 5xx, files given up, and messages and calls that failed and were not put off
    "PostgresConnections": "Count",  # of all clients, twice a minute
    "RequestSeconds": "Seconds",  # of the API
    "RowsLoaded": "Count",  # inserted or written over
    "RowsRejected": "Count",
    "ThrottledByPostgres": "Count",  # messages put off, and requests refused, as Postgres did not take them
    "UploadCostUsd": "None",  # of an upload that ended for the first time; see prices
    "UploadSeconds": "Seconds",  # from stored to completed
    "UploadsRunning": "Count",  # twice a minute
    "UploadsStuck": "Count",  # twice a minute; see postgres/vitals
}


@cache
def _metrics() -> Metrics:
    made = Metrics(namespace=NAMESPACE, service=f"rowmill-{settings().stage}")
    made.set_default_dimensions(function=settings().function)
    return made


def count(name: Name, much: int = 1) -> None:
    """Have the next line tell of so many; of none it need not."""
    if much > 0:
        measure(name, much)


def measure(name: Name, value: float) -> None:
    """Have the next line tell of a value, whatever it is. A line is full with a hundred of a name, and told at once."""
    line = _metrics().provider
    if not line.dimension_sets:
        # Of all functions together, too: an alarm cannot search for metrics, and uploads end in any of them.
        line.dimension_sets.append({"service": f"rowmill-{settings().stage}"})
    line.add_metric(name, UNITS[name], value)


def flush() -> None:
    """Print what has been added as one line, if anything has been: 25 µs."""
    if _metrics().provider.metric_set:
        _metrics().flush_metrics()
