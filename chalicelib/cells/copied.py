"""How COPY's text format spells the values of a row, a line each: for who writes lines, and for who looks into one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from chalicelib.cells.fields import Value

Marks = tuple[str, str]  # what stands between values, and for a null
TAB, NULL = MARKS = ("\t", r"\N")
SPECIAL: Final[Mapping[str, str]] = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
ANY_SPECIAL: Final = r"[\\\t\n\r]"
_PLAIN: Final = {spelled: sign for sign, spelled in SPECIAL.items()}
_SPELLED: Final = re.compile(r"\\[\\tnr]")


def values(line: bytes) -> list[Value]:
    """What is in a line with these MARKS."""
    cells = line.decode().removesuffix("\n").split(TAB)
    return [None if cell == NULL else _SPELLED.sub(lambda found: _PLAIN[found[0]], cell) for cell in cells]
