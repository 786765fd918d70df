"""Datasets that come with Rowmill: a Table Schema each, to be put as it is or changed first."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from chalicelib.errors import Refused

NAMES: Final = ("books", "contacts")


@cache
def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name(f"{name}.json").read_text())
    return found


def get(name: str) -> dict[str, Any]:
    """The template of this name. Raises Refused `template_not_found` (404)."""
    if name not in NAMES:
        raise Refused("template_not_found", f"There is no such template; there are {', '.join(NAMES)}.", status=404)
    return dict(_read(name))


def listing() -> dict[str, Any]:
    """All of them, by what they are for."""
    found = [{"name": name} | {key: _read(name)[key] for key in ("title", "description")} for name in NAMES]
    return {"items": found, "next_cursor": None}
