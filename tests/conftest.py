"""Fixtures for every test: one real Postgres a run, and AWS credentials that can reach nothing real."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import clouds  # before the environment gets other credentials

if TYPE_CHECKING:
    from tests.journey.conftest import Cloud

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

# No test is timed: on a busy machine an example may take a quarter of a second, and none the next time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Each of these begins clouds of its own, or has a fixture that takes half a minute to make: to whoever is free, as one.
OWN = (
    "faults/test_many_accounts.py",
    "faults/test_campaign.py",
    "journey/test_least_privilege.py",
    "journey/test_plan.py",
    "contracts/test_embedded_cloud.py",
    "contracts/test_handlers.py",
)
# These share one: the other tests of its folders are for the process that has it.
SHARED = ("journey/", "page/")
# Of the tests that go one by one, those of which some take a minute.
LONG = ("faults/test_points.py", "faults/test_model.py", "stages/test_verbs.py")


class WholeClouds(LoadScopeScheduling):
    """Each test by itself to whoever is free, all that need the same cloud to the same process, and what is long first.

    By names, not by xdist's groups: xdist 3.8 writes those into an attribute that pytest 9.2 no longer reads.
    """

    def _split_scope(self, nodeid: str) -> str:
        place = nodeid.removeprefix("tests/")
        if own := next((one for one in OWN if place.startswith(one)), None):
            return own
        return "clouds" if place.startswith(SHARED) else place

    def schedule(self) -> None:
        """What is begun last should be short: the other processes wait for its end."""
        super().schedule()  # begins with the two that have the most tests
        for scope in [one for places in (LONG, OWN) for one in self.workqueue if one.startswith(places)]:
            self.workqueue.move_to_end(scope, last=False)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> WholeClouds:
    """Asked by xdist."""
    return WholeClouds(config, log)


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database of this run."""
    from infra.local import instance
    from infra.migrate import migrate

    folder = Path(tmp_path_factory.mktemp("postgres"))
    with instance.running(folder, deployed=False) as here:
        migrate(here.database_url)
        with psycopg.connect(here.database_url, autocommit=True) as db:
            # Nobody crashes this server, so no test needs to wait for the disk: a tenth of a millisecond instead of four.
            db.execute("ALTER DATABASE rowmill SET synchronous_commit = off")
            # Nobody guesses this password either: 4,096 rounds are most of what it takes both sides to connect.
            db.execute("SET scram_iterations = 1")
            db.execute(sql.SQL("ALTER ROLE rowmill PASSWORD {}").format(db.info.password))
        yield here.database_url


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One deployment on the chosen cloud, for the journey's tests and the page's."""
    from tests.journey.conftest import Cloud

    with clouds.deployed(tmp_path_factory.mktemp("journey")) as found:
        yield Cloud(*found)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what the chosen cloud lacks, by its table's reason, and give a slow cloud its time."""
    for item in items:
        for need in (need for marker in item.iter_markers("needs") for need in marker.args):
            if need not in clouds.LACKS:
                raise pytest.UsageError(f"{item.nodeid} needs {need!r}, of which tests/clouds.py knows nothing")
            if why := clouds.lacks(need):
                item.add_marker(pytest.mark.skip(reason=f"no {need} on {clouds.CHOSEN}: {why}"))
        if (slow := clouds.seconds(1)) > 1:
            own = item.get_closest_marker("timeout")
            limit = own.args[0] if own else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(limit * slow), append=False)
