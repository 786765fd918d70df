"""Which fault is due: moments are counted as they pass, and a fault strikes at the n-th of its kind.

A moment is `function:event`, such as `load:copy` or `split:SendMessageBatch`. Counting events and not seconds
is what makes a seed mean the same thing on a slow machine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` is what the report calls it; `action` is what is done at the `nth` to `nth + times - 1` moment."""

    kind: str
    moment: str
    nth: int
    action: str
    times: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Poison:
    """Strikes whoever reads this object from this byte on, each time."""

    upload_id: str
    start: int
    fault: Fault


@dataclass(slots=True)
class Board:
    """Shared by both proxies and the driver. Disarmed, it only counts."""

    armed: list[Fault] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    poisons: list[Poison] = field(default_factory=list)
    last_hit: float = 0.0  # of time.monotonic

    def arm(self, faults: Iterable[Fault]) -> None:
        """Begin to count from nothing."""
        self.seen.clear()
        self.hits.clear()
        self.last_hit = time.monotonic()
        self.armed = list(faults)

    def aim(self, faults: Iterable[Fault]) -> None:
        """Begin to count from nothing once more; what has hit before stays noted."""
        self.seen.clear()
        self.armed = list(faults)

    def disarm(self) -> None:
        """Nothing strikes from now on; what has hit stays noted."""
        self.armed = []

    def due(self, moment: str) -> Fault | None:
        """Count the moment; the fault that strikes there."""
        self.seen[moment] += 1
        count = self.seen[moment]
        for fault in self.armed:
            if fault.moment == moment and fault.nth <= count < fault.nth + fault.times:
                return fault
        return None

    def poisoned(self, head: bytes) -> Fault | None:
        """The fault that waits at what this request reads."""
        for poison in self.poisons:
            if poison.upload_id.encode() in head and f"bytes={poison.start}-".encode() in head:
                return poison.fault
        return None

    def hit(self, fault: Fault) -> None:
        """Note that a fault was carried out, not merely tried."""
        self.hits[fault.kind] += 1
        self.last_hit = time.monotonic()
