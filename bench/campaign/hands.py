"""What the proxies ask for at a moment and cannot do themselves: kill a process, end a backend, restart Postgres."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Deed = Callable[[], bool]  # whether it was done


@dataclass(slots=True)
class Hands:
    """`kill` takes the port a function's process calls from, `terminate` a backend's pid; `deeds` go by name."""

    kill: Callable[[int], bool]
    terminate: Callable[[int], bool]
    deeds: Mapping[str, Deed] = field(default_factory=dict)
