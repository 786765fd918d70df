"""The rejects file on its way out and back: columns of our own beside the record's, and cells no spreadsheet runs.

A cell that a spreadsheet could take for a formula gets an apostrophe, and loses it when the file comes back: the
file is known by our columns, whose names no field may have. A record that the file cannot hold unchanged is there
as text in `_row_raw`; as long as something stands in that cell, the row counts as not corrected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from chalicelib.journey import CellError

ROW: Final = "_row"
RAW: Final = "_row_raw"
COLUMNS: Final = (ROW, "_row_line", "_row_codes", "_row_columns", "_row_messages", RAW)
UNCORRECTED: Final = CellError(RAW, "uncorrected", f"correct the cells, then empty {RAW}")

# Apostrophes at the start say nothing about danger, so that a cell is as dangerous with one more as it is without.
_RUNS: Final = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@＝＋－＠﹢﹣﹦﹫])").match
_PLAIN_NUMBER: Final = re.compile(r"'*[+-](?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_RECORD: Final = re.compile(r"[0-9]{1,10}").fullmatch


def neutralise(cell: str) -> str:
    """The cell as a spreadsheet shows it instead of running it. Plain numbers such as -5 and +3.1 stay numbers."""
    if cell[:1].isalnum():
        return cell  # most cells: told without a pattern
    return f"'{cell}" if _RUNS(cell) and not _PLAIN_NUMBER(cell) else cell


def restore(cell: str) -> str:
    """The cell that `neutralise` was given."""
    return cell[1:] if cell[:1] == "'" and _RUNS(cell) and not _PLAIN_NUMBER(cell) else cell


def marks(header: Sequence[str]) -> dict[str, int]:
    """Where our own columns stand in a file's header; none: this is no rejects file."""
    return {name: place for place, name in enumerate(header) if name in COLUMNS}


def lacks_raw(header: Sequence[str]) -> bool:
    """Whether this is a rejects file without the column that says which of its records are corrected.

    `_row` alone is of who writes a file of corrected records by himself.
    """
    own = marks(header)
    return RAW not in own and any(name != ROW for name in own)


def restored(header: Sequence[str]) -> list[str]:
    """The names of a file's columns as they were before it went out as a rejects file."""
    return list(map(restore, header)) if marks(header) else list(header)


def take_back(rows: list[list[str]], own: Mapping[str, int]) -> tuple[list[int], dict[int, CellError]]:
    """Restore the cells of a corrected file in place; `own` is where our columns stand in it.

    Which record of its parent each row was (0: it names none), and the rows that are not corrected, by place.
    """
    origins: list[int] = []
    uncorrected: dict[int, CellError] = {}
    at_row, at_raw = own.get(ROW, -1), own.get(RAW, -1)
    for place, row in enumerate(rows):
        named = row[at_row] if 0 <= at_row < len(row) else ""
        origins.append(int(named) if _RECORD(named) else 0)
        if 0 <= at_raw < len(row) and row[at_raw]:
            uncorrected[place] = UNCORRECTED
        rows[place] = [restore(cell) if cell[:1] == "'" else cell for cell in row]
    return origins, uncorrected
