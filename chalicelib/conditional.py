"""Conditional requests, RFC 9110: the tag of what is shown, and whether a header knows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from chalicelib.errors import Refused


def etag(resource: Mapping[str, Any]) -> str:
    """A strong tag: what is shown has another one whenever any of it is another."""
    return tag_of(json.dumps(resource, sort_keys=True))


def tag_of(text: str) -> str:
    """The tag of an answer that is never changed by its tag: a page may be megabytes, and is spelled once."""
    return '"' + hashlib.sha256(text.encode()).hexdigest()[:32] + '"'


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether a client has what has this tag. A cache on the way may have made the tag a weak one."""
    known = _listed(if_none_match)
    return "*" in known or tag in (one.removeprefix("W/") for one in known)


def hold_to(resource: Mapping[str, Any], if_match: str | None) -> None:
    """Raise Refused `precondition_failed` (412) if a change is meant for what was shown before."""
    if if_match is not None and not {"*", etag(resource)} & set(_listed(if_match)):
        raise Refused("precondition_failed", "It has changed since; look at it again.", status=412)


def _listed(header: str | None) -> list[str]:
    return [one.strip() for one in (header or "").split(",")]
