"""Fixtures for every test: one real Postgres a run, and AWS credentials that can reach nothing real."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    JWT_SECRET="a secret that only the tests know and long enough",
    WEBHOOK_SECRET="another secret that only the tests know",
    RECEIPT_SECRET="a third secret that only the tests know",
    RECEIPT_KEYS="cqskrwDZ4YT1koAVUDbsx7VgIUjThGFKH5Kw1Qoyb6k",
    POWERTOOLS_DEV="0",
)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs deaf to Ctrl-C, and what tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What starts embedded clouds goes to one of the two processes of `make test`, one cloud after the other.
CLOUDS = ("journey/", "faults/test_campaign.py", "faults/test_many_accounts.py", "contracts/test_embedded_cloud.py")


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(tuple(f"tests/{place}" for place in CLOUDS)):
            item.add_marker(pytest.mark.xdist_group("clouds"))


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database of this run."""
    from infra.local import instance
    from infra.migrate import migrate

    folder = Path(tmp_path_factory.mktemp("postgres"))
    with instance.running(folder, deployed=False) as here:
        migrate(here.database_url)
        yield here.database_url
