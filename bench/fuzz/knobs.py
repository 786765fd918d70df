"""An input is options and a file: its first bytes choose, so that the fuzzer varies how a file is read, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

OPTIONS: Final = 6  # bytes; zeros choose the first of everything
T = TypeVar("T")


class Knobs:
    """The choices of an input, taken one after the other; `file` is what is left of it."""

    def __init__(self, data: bytes) -> None:
        self._chosen = iter(data[:OPTIONS].ljust(OPTIONS, b"\0"))
        self.file = data[OPTIONS:]

    def pick(self, choices: Sequence[T]) -> T:
        return choices[next(self._chosen) % len(choices)]


def with_knobs(file: bytes, *chosen: int) -> bytes:
    """The input that reads `file` by these choices."""
    return bytes(chosen).ljust(OPTIONS, b"\0") + file


def in_blocks(data: bytes, size: int) -> list[bytes]:
    """The data as they may arrive."""
    return [data[at : at + size] for at in range(0, len(data), size)]
