"""How much a packed file may become. A bomb is refused by name, after a bounded amount of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chalicelib.errors import Refused

RATIO: Final = 200
RATIO_FROM: Final = 10_000_000  # bytes; small files of one letter are packed densely and harm nobody


@dataclass(frozen=True, slots=True)
class Limits:
    """`unpacked` bytes in all; for each packed byte at most `ratio`, once there are more than RATIO_FROM.

    `scratch` bounds what is kept on the local disk meanwhile.
    """

    unpacked: int
    scratch: int
    ratio: int = RATIO

    def check(self, packed: int, unpacked: int) -> None:
        """Raise Refused if so many packed bytes may not become so many."""
        if unpacked > self.unpacked:
            raise Refused("unpacked_too_large", f"Unpacked, the file has more than {self.unpacked} bytes.")
        if unpacked > RATIO_FROM and unpacked > self.ratio * packed:
            raise Refused("packed_too_densely", f"The file unpacks to more than {self.ratio} times its size.")
