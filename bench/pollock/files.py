"""Pollock's files as a checkout of HPI-Information-Systems/Pollock holds them, and what may become of one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, get_args

Way = Literal["told", "padded", "detected"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)
Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class File:
    """A polluted file, what Pollock tells of it, and how often its survey met such a file."""

    path: Path
    parameters: Mapping[str, Any]
    weight: float

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def clean(self) -> Rows:
        """What a reader should make of it, its header among it."""
        text = (self.path.parents[1] / "clean" / self.name).read_bytes().decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text)))

    @property
    def names(self) -> list[str]:
        """The column names as Pollock tells them to each system; none if the file has no header."""
        return [name.strip() for name in self.parameters["column_names"]]

    def declared(self, way: Way) -> dict[str, Any]:
        """The dialect as Pollock tells it: header lines are skipped, for names come from elsewhere."""
        if way == "detected":
            return {}
        told = self.parameters
        quote, escape = told["quotechar"] or '"', told["escapechar"]
        return {
            "delimiter": told["delimiter"] or ",",
            "quote": quote,
            "escape": escape if escape and escape != quote else None,
            "comment": None,
            "header": False,
            "skip_lines": int(told["preamble_lines"]) + int(told["header_lines"]),
            "ragged": "pad" if way == "padded" else "strict",
            "encoding": "utf-8",
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: its header's names if it has any, rows, rejects by record, line and code; or a refusal."""

    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    rejects: list[tuple[int, int, str]] = field(default_factory=list)
    refused: str = ""


def polluted(folder: Path) -> list[File]:
    """All of a checkout's files, by name."""
    weights = json.loads((folder / "pollock_weights.json").read_text())
    home = folder / "polluted_files"
    return [
        File(
            path,
            json.loads((home / "parameters" / f"{path.name}_parameters.json").read_text()),
            weights.get(path.name, 0),
        )
        for path in sorted((home / "csv").glob("*.csv"))
    ]
