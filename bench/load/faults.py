"""What goes wrong in L7: workers are killed, one after the other, and Postgres is restarted in mid-run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bench.load import audit, meters
from infra.local import instance
from infra.local.record import Instance

SEED: Final = 7
EVERY_SECONDS: Final = 5.0
RESTART_AFTER: Final = 0.4  # of the time
WORKERS: Final = ("split", "load_high", "load_medium", "load_low", "settle")


@dataclass(slots=True)
class Faults:
    """What was done, in Unix seconds."""

    killed: list[str] = field(default_factory=list)
    restart: tuple[float, float] = (0.0, 0.0)

    def figures(self, ended: Mapping[str, audit.Ended]) -> dict[str, Any]:
        """How long until files were finished again, and until all that had been stored before the restart were."""
        begun, back = self.restart
        over = [one.finished for one in ended.values() if one.finished and one.finished > begun]
        before = [one.finished or float("inf") for one in ended.values() if one.stored <= begun]
        return {
            "killed": {role: self.killed.count(role) for role in sorted(set(self.killed))},
            "restart_s": round(back - begun, 2),
            "first_finished_s": round(min((one for one in over if one > back), default=float("inf")) - begun, 2),
            "all_finished_s": round(max(before, default=begun) - begun, 2),
        }


def strike(here: Instance, seconds: float) -> Faults:
    """Kill a worker every few seconds for so long, and restart Postgres once, as `immediate` does."""
    chance, done, begun = random.Random(SEED), Faults(), time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        if not done.restart[0] and passed >= RESTART_AFTER * seconds:
            before = time.time()
            here = instance.restart_database(here, signal.SIGQUIT)
            done.restart = (before, time.time())
        workers = [(pid, role) for pid, role in sorted(meters.roles(here).items()) if role in WORKERS]
        if workers:
            pid, role = chance.choice(workers)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                done.killed.append(role)
        time.sleep(EVERY_SECONDS)
    return done
