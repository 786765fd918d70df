"""AWS's published limits that the model keeps to, and what it takes for granted: one table each, with the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """A number, what it is of, and where it is published."""

    value: float
    of: str
    source: str


_LAMBDA: Final = "https://docs.aws.amazon.com/lambda/latest/dg"
LIMITS: Final = {
    "pollers_first": Limit(5, "batches a mapping begins with", f"{_LAMBDA}/services-sqs-scaling.html"),
    "pollers_per_minute": Limit(300, "batches more, a minute", f"{_LAMBDA}/services-sqs-scaling.html"),
    "concurrency": Limit(
        1_000, "executions of an account at once, by default", f"{_LAMBDA}/gettingstarted-limits.html"
    ),
    "mb_per_vcpu": Limit(1_769, "MB of a function for one vCPU", f"{_LAMBDA}/configuration-memory.html"),
    "write_units": Limit(
        1_000,
        "write units a second of a partition key: of one tenant's status items",
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html",
    ),
    "connections_per_gib": Limit(
        112,
        "max_connections of RDS for each GiB (memory / 9,531,392), at most 5,000",
        "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html",
    ),
}


@dataclass(frozen=True, slots=True)
class Database:
    """A class of RDS for PostgreSQL."""

    name: str
    vcpus: int
    gib: int

    @property
    def connections(self) -> int:
        """What it accepts by default."""
        return min(5_000, int(self.gib * LIMITS["connections_per_gib"].value))


SMALL = Database("db.m7g.large", 2, 8)
MIDDLE = Database("db.m7g.2xlarge", 8, 32)
LARGE = Database("db.m7g.8xlarge", 32, 128)

# Taken for granted, as nobody publishes it: a vCPU is as fast as a core of the machine that was measured; a function
# reads from S3 at so many bytes a second; S3's event, a message's way to a function and a cold start take so long.
BYTES_PER_S: Final = 75e6
EVENT_S: Final = 1.0
DISPATCH_S: Final = 0.1
COLD_S: Final = 2.0
COMMIT_S: Final = 0.03  # round trips of a chunk and its commit, from a function beside the database
