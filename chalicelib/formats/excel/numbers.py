"""Numbers of a workbook as text: as they are stored, and as days or times where the cell's format shows those."""

from __future__ import annotations

import math
import re
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal

from chalicelib.formats.excel.strings import cell

Shown = Literal["number", "date", "time", "datetime", "elapsed"]

_DAY_MS: Final = 86_400_000
_LAST_DAY: Final = {False: 2_958_465, True: 2_957_003}  # 9999-12-31, by whether days count from 1904
# What Office leaves out of the file because every reader knows it; 27 to 36 and 50 to 58 are East Asian: dates, but
# for 32 and 33, which are times of day in all of these languages.
_BUILT_IN: Final[dict[int, Shown]] = {
    **dict.fromkeys((*range(14, 18), *range(27, 37), *range(50, 59)), "date"),
    **dict.fromkeys((*range(18, 22), 32, 33, 45, 47), "time"),
    22: "datetime",
    46: "elapsed",
}
_LITERAL: Final = re.compile(r'"[^"]*"?|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]?', re.DOTALL)
_MIDNIGHT: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T00:00:00(?:\.0+)?Z?").fullmatch
_ELAPSED: Final = re.compile(r"\[(?:h+|m+|s+)\]")


def shown_by(number_format: int, code: str | None) -> Shown:
    """How a format shows numbers; `code` is what the workbook says of it, if anything."""
    if code is None:
        return _BUILT_IN.get(number_format, "number")
    plain = _LITERAL.sub("", code.lower()).split(";")[0]
    if _ELAPSED.search(plain):
        return "elapsed"
    has_time = any(mark in plain for mark in ("h", "s", "am/pm", "a/p"))
    plain = plain.replace("am/pm", "").replace("a/p", "")
    has_date = "y" in plain or "d" in plain or ("m" in plain and not has_time)
    if has_date:
        return "datetime" if has_time else "date"
    return "time" if has_time else "number"


def number(text: str) -> str:
    """A number as text: the shortest that reads back as the same double, so 1.1000000000000001 is 1.1."""
    try:
        value = float(text)
    except ValueError:
        return cell(text)  # the checker says what is wrong with it
    if text.isdecimal():
        return text
    if value.is_integer() and abs(value) < 2**63:
        return str(int(Decimal(repr(value))))  # of the value itself there are digits that no double can tell apart
    return repr(value) if math.isfinite(value) else text


@lru_cache(8192)
def moment(text: str, shown: Shown, from_1904: bool) -> str:
    """A day count as a date, time of day, both, or hours; as a number if it is none that Excel would show.

    Excel's own days that never were, 1900-01-00 and 1900-02-29, are spelt so and thus rejected as dates.
    """
    try:
        days, rest = divmod(round(float(text) * _DAY_MS), _DAY_MS)
    except (ValueError, OverflowError):
        return cell(text)
    if not 0 <= days <= _LAST_DAY[from_1904]:
        return number(text)
    if shown == "elapsed":
        return _clock(days * _DAY_MS + rest)
    if shown == "time" and days == 0:
        return _clock(rest)
    day = _day(days, from_1904)
    return day if shown == "date" and not rest else f"{day}T{_clock(rest)}"


def spelt_out(text: str, shown: Shown) -> str:
    """A moment that the workbook has in ISO 8601, not as a day count: the day alone where `moment` gives that."""
    midnight = _MIDNIGHT(text) if shown == "date" else None
    return midnight[1] if midnight else text


def _clock(milliseconds: int) -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    spelt = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{spelt}.{thousandths:03}" if thousandths else spelt


def _day(days: int, from_1904: bool) -> str:
    if from_1904:
        return str(date(1904, 1, 1) + timedelta(days))
    if days in (0, 60):
        return "1900-01-00" if days == 0 else "1900-02-29"
    return str(date(1899, 12, 31 if days < 60 else 30) + timedelta(days))
