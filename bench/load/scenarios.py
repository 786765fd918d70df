"""The runs that are always the same, L1 to L7: what a crowd does, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.load import files

THOUSAND: Final = {1_000: 1}
WHALE_ROWS: Final = 15_000_000  # 1.0 GB


@dataclass(frozen=True, slots=True)
class Scenario:
    """So many users, who come in `ramp` seconds and are looked at for `seconds`.

    `once`: each brings one file and goes; `resting` pollers are still where the upload that they look at is over;
    `whale`: rows of one large file beside the others; `faults`: workers are killed, the database is restarted.
    """

    what: str
    users: int
    ramp: float = 20.0  # as long as a user thinks on average, so that arrivals are even from then on
    seconds: float = 60.0
    sizes: Mapping[int, int] = field(default_factory=lambda: files.SIZES)
    once: bool = False
    pollers: int = 0
    resting: bool = False
    whale: int = 0
    faults: bool = False
    soaks: bool = False


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "L1": Scenario("50 users at once, a file of 1,000 rows each", 50, 1.0, 20.0, THOUSAND, once=True),
    "L2": Scenario("100 users", 100),
    "L3": Scenario("500 users", 500),
    "L4": Scenario("1,000 users, each upload watched by 4 pages", 1_000, pollers=4_000, resting=True),
    "L5": Scenario("50 users for half an hour", 50, seconds=1_800.0, soaks=True),
    "L6": Scenario("small files behind one of 1 GB", 50, seconds=40.0, sizes=files.SMALL, whale=WHALE_ROWS),
    "L7": Scenario("500 users, workers killed, Postgres restarted", 500, faults=True),
}
