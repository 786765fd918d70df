"""Which cloud the tests of the whole chain run on, what it lacks, and how patient they have to be with it.

The one thing to know: ROWMILL_TEST_CLOUD is read here and nowhere else: `embedded` (the default), `localstack` or `aws`.
A test that needs what a cloud may lack says so by `pytest.mark.needs("what it needs")` and is skipped there with the
reason that LACKS has, which is the table of docs/aws.md; a need that is not in LACKS is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import boto3

from infra.cloud import Cloud
from infra.local import instance
from infra.local.cloud import CREDENTIALS
from infra.local.place import Place
from infra.local.record import Instance
from tests.localstack import server

CHOSEN: Final = os.environ.get("ROWMILL_TEST_CLOUD", "embedded")
SLOWNESS: Final = {"embedded": 1, "localstack": 4, "aws": 3}  # the last is a guess
if CHOSEN not in SLOWNESS:
    raise ValueError(f"ROWMILL_TEST_CLOUD is {CHOSEN!r}, not one of {', '.join(SLOWNESS)}")
PART: Final = 40_000 if CHOSEN == "embedded" else 5_242_880  # bytes; S3 and LocalStack put no smaller parts together
# tests/conftest.py puts others in their place, by which nothing real is reached by mistake.
OPERATOR: Final[Mapping[str, str]] = (
    {name: value for name, value in os.environ.items() if name.startswith("AWS_")} if CHOSEN == "aws" else CREDENTIALS
)
ACCOUNT: Final = "000000000000"  # the emulators'
OWN: Final = "the test starts an embedded one beside the chosen one, to change and to measure"
BY_MAKE_UP: Final = "a deploy makes no account"
LACKS: Final[Mapping[str, Mapping[str, str]]] = {
    "checked sums of forms": {
        "embedded": "ministack 1.5.33 lets any bytes in under a form's `x-amz-checksum-sha256`",
    },
    "checked signatures of forms": {
        "embedded": "looked at only where IAM is enforced, as `test_least_privilege.py` has it",
        "localstack": "never looked at",
    },
    "two batches of a queue at once": {
        "localstack": "a mapping hands out one batch after the other, whatever its MaximumConcurrency",
    },
    "forms as they were sent": {
        "localstack": "the gateway writes them anew: without a boundary it fails, with an empty file it sends on no form",
    },
    "letters to read": {"localstack": "SES v2 is answered by 501", "aws": "only who a letter is to gets it"},
    "roles that bind and calls that are listed": {
        "localstack": "no IAM policy is looked at",
        "aws": "they bind; the list of calls is the embedded cloud's",
    },
    "clouds of a test's own": {"localstack": OWN, "aws": OWN},
    "an account of make up": {"localstack": BY_MAKE_UP, "aws": BY_MAKE_UP},
    "processes to kill": {"aws": "functions and database run elsewhere"},
    "logs on this machine": {"aws": "functions and database run elsewhere"},
    "a way back to this machine": {"aws": "no function reaches a receiver or an issuer that a test starts here"},
}


def lacks(need: str) -> str | None:
    """Why the chosen cloud has no such thing, or None if it has. KeyError: the table knows of no such need."""
    return LACKS[need].get(CHOSEN)


def seconds(embedded: float) -> float:
    """How long to wait for what takes so long on the embedded cloud at most."""
    return embedded * SLOWNESS[CHOSEN]


@cache
def session() -> boto3.Session:
    """Of whoever operates the chosen cloud; one for all clients, which takes 4 ms a client and not 100."""
    return boto3.Session(
        OPERATOR["AWS_ACCESS_KEY_ID"],
        OPERATOR["AWS_SECRET_ACCESS_KEY"],
        OPERATOR.get("AWS_SESSION_TOKEN"),
        OPERATOR["AWS_DEFAULT_REGION"],
    )


@contextmanager
def deployed(folder: Path) -> Iterator[tuple[Instance, str, str]]:
    """The deployment of the chosen cloud: itself, its stage and its account. What it started is gone afterwards."""
    with {"embedded": _embedded, "localstack": _localstack, "aws": _aws}[CHOSEN](folder) as found:
        yield found


@contextmanager
def _embedded(folder: Path) -> Iterator[tuple[Instance, str, str]]:
    with instance.running(folder) as here:
        yield here, "local", ACCOUNT


@contextmanager
def _localstack(_: Path) -> Iterator[tuple[Instance, str, str]]:
    """By the command that deploys everywhere."""
    with server.running() as here:
        yield replace(here, api_url=server.deploy(here)[-1]), "local", ACCOUNT


@contextmanager
def _aws(folder: Path) -> Iterator[tuple[Instance, str, str]]:
    """A stage that is deployed already, of which nothing is taken away: ROWMILL_STAGE, DATABASE_URL as its owner has it,
    and variables with credentials and the region. Never run yet."""
    stage, who = os.environ["ROWMILL_STAGE"], session()
    account = who.client("sts").get_caller_identity()["Account"]
    (found,) = who.client("cloudformation").describe_stacks(StackName=f"rowmill-{stage}")["Stacks"]
    (api,) = (one["OutputValue"] for one in found["Outputs"] if one["OutputKey"] == "RestAPIId")
    url = Cloud("aws", None, str(who.region_name), account).api_url(api)
    yield Instance(Place.new(folder), database_url=os.environ["DATABASE_URL"], api_url=url), stage, account
