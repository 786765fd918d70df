"""Who says whether a file is clean: one question, answered by nobody (`off`), ClamAV's daemon, or GuardDuty on AWS.

Asked as often as it takes. What is down, slow or at odds with itself is no answer: it raises, and nothing loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from chalicelib.settings import ScannerName, settings

UNAVAILABLE: Final = "scanner_unavailable"  # the code of every fault of a scanner's


@dataclass(frozen=True, slots=True)
class File:
    """An object to look at. `read(start, end)` gives its bytes; `is_packed`: parts of it tell nothing."""

    key: str
    version_id: str | None
    size: int
    is_packed: bool
    read: Callable[[int, int], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """`verdict` None: not yet. `looked`: so many bytes of all files are done, to go on from; `threat` by its name."""

    verdict: Literal["unscanned", "clean", "infected"] | None
    looked: int = 0
    threat: str | None = None


class Scanner(Protocol):
    """`reads_pieces`: it is to see what was unpacked, too, and not only the file as it came."""

    reads_pieces: bool

    def look(self, files: Sequence[File], looked: int, deadline: float) -> Answer:
        """What these files are, the first `looked` bytes of which are known to be clean.

        May leave the rest at `deadline` (of time.monotonic). Raises Unavailable, Refused for what it cannot look at.
        """
        ...


def scanner(name: ScannerName) -> Scanner:
    """The scanner of this name, at the address of the settings."""
    from chalicelib.scanners import clamd, guardduty  # noqa: PLC0415 - each needs what others do not

    if name == "clamd":
        return clamd.Clamd(settings().scanner_address)
    return guardduty.GuardDuty() if name == "guardduty" else Off()


class Off:
    """Nobody is asked: what is built in (formats.threats) has to do."""

    reads_pieces = False

    def look(self, files: Sequence[File], looked: int, deadline: float) -> Answer:
        """Nothing is known."""
        return Answer("unscanned")
