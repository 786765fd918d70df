"""What a file may be called. No name is ever part of a key or a path; but people open what they fetch by its name."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from chalicelib.errors import Refused

ALLOWED: Final = ("csv", "tsv", "tab", "txt", "psv", "dat", "gz", "xlsx")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_SUFFIX: Final = re.compile(r"\.([A-Za-z0-9]*)[^.]*$").search
_DECODED: Final = 3  # times; what is still encoded then was not meant as a name


def refuse(name: str) -> None:
    """Raise Refused for a name whose last suffix, once it is decoded, is not of a file that can be loaded.

    As Windows has it: in any case, without dots and blanks at the end, and up to a sign as in `a.exe::$DATA`. A name
    without a suffix, or with a number for one, says nothing of the file: its bytes do.
    """
    for _ in range(_DECODED):
        name = unquote(name)
    if _CONTROL(name):
        raise _refused("holds a control character")
    found = _SUFFIX(name.rstrip(". "))
    suffix = found[1].lower() if found else ""
    if suffix and not suffix.isdigit() and suffix not in ALLOWED:
        raise _refused(f"ends with .{suffix}, which is none of {', '.join(ALLOWED)}")


def _refused(why: str) -> Refused:
    error = {"code": "field_invalid", "column": "filename", "detail": why}
    return Refused("filename_refused", f"The file's name {why}.", errors=[error])
