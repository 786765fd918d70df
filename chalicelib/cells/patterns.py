"""Regular expressions from strangers, run by RE2: in time linear to the cell, whatever the pattern is.

Syntax is RE2's with ASCII's `\\d`, `\\w` and `\\s`, over the whole value. Refused is what RE2 cannot do (references
back, looking around), what it reads otherwise than XML Schema or Python, and what it would grow too large of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

import re2

MAX_PATTERN: Final = 1000  # characters
# RE2 aborts the process where a sequence has 65,536 parts, and falls back to a slower machine where a program is large.
# So a pattern is weighed by about how many instructions it has when each repeat is written out.
MAX_WEIGHT: Final = 20_000
MAX_WEIGHTS: Final = 60_000  # of a dataset's patterns together, which are 50 MB
_PROPERTY: Final = 1000  # \pL is 900 ranges of UTF-8
_NEGATED: Final = 15
_MEMORY: Final = 512 << 10  # bytes that any compiled pattern may take, and for each of its instructions
_MEMORY_EACH: Final = 800
_ESCAPES: Final = frozenset("dDwWsSbBtnrfvxAz")
_CLASS: Final = r"\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]"
_REPEAT: Final = r"\{([0-9]+)(?:,([0-9]*))?\}"
_UNIT: Final = re.compile(
    rf"(?P<property>\\[pP](?:\{{\^?\w+\}}|[A-Z]))|\\(?P<escape>.)|(?P<class>{_CLASS})|(?P<repeat>{_REPEAT})"
    r"|(?P<flags>\(\?[a-zA-Z-]*\))|.",
    re.DOTALL,
)
_SUBTRACTION: Final = re.compile(r"(?:\\.|[^\\])*?-\[(?!:)", re.DOTALL).match

# Without this, what RE2 cannot do would be handed to Python's backtracking engine.
re2.set_fallback_notification(re2.FALLBACK_EXCEPTION)


@lru_cache(maxsize=16)  # few: a worker meets patterns of many tenants
def compiled(pattern: str) -> Callable[[str], object]:
    """A function that is true of texts which match as a whole. Raises ValueError saying what is wrong."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"the pattern has {len(pattern)} characters; the limit is {MAX_PATTERN}")
    for misread in _misread(pattern):
        raise ValueError(f"{misread} is not supported")
    if weight(pattern) > MAX_WEIGHT:
        raise ValueError("it is too large when its repeats are written out; minLength and maxLength cost nothing")
    memory = _MEMORY + _MEMORY_EACH * weight(pattern)
    try:
        matches: Callable[[str], object] = re2.compile(pattern, re2.ASCII, max_mem=memory).fullmatch
    except re2.error as error:
        raise ValueError(str(error)) from None
    re2.purge()  # its own cache holds a hundred
    return matches


def _misread(pattern: str) -> Iterator[str]:
    """What means another thing to RE2 than to whoever wrote it, or nothing."""
    for found in _UNIT.finditer(pattern):
        escaped = found["escape"]
        if escaped and escaped.isalnum() and escaped not in _ESCAPES:
            yield f"\\{escaped}"
        if found[0] == "\\":
            yield "a single \\ at the end"
        if found["class"] and _SUBTRACTION(found["class"][1:]):
            yield "taking one class from another ([a-z-[aeiou]])"
        if found[0] == "{":
            yield "{ without a number"


def weight(pattern: str) -> int:
    """About how many instructions the pattern has when repeats are written out."""
    groups = [(0, 0)]  # of each open group: its weight, and the weight of its last part
    for found in _UNIT.finditer(pattern):
        size, last = groups[-1]
        if found["repeat"]:
            times = max(int(bound or 1) for bound in re.findall("[0-9]+", found[0]))
            groups[-1] = size + last * (times - 1), last * times
        elif found["flags"]:
            continue  # a repeat after it is of what stands before it
        elif found[0] == "(":
            groups.append((0, 0))
        elif found[0] == ")" and len(groups) > 1:
            inner, _ = groups.pop()
            size, _ = groups[-1]
            groups[-1] = size + max(inner, 1), max(inner, 1)
        else:
            one = _weight_of(found)
            groups[-1] = size + one, one
    return sum(size for size, _ in groups)


def _weight_of(unit: re.Match[str]) -> int:
    properties = len(re.findall(r"\\[pP]", unit[0]))
    if properties:
        return _PROPERTY * properties
    negated = unit[0] == "." or unit["escape"] in ("D", "W", "S") or unit["class"] is not None
    return _NEGATED if negated and not (unit["class"] and re.fullmatch(r"\[[\w -]+\]", unit[0], re.ASCII)) else 1
