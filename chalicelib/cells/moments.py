"""Dates, times, moments, years and durations. Postgres gets ISO 8601, whatever the file's format was.

A `format` is a strptime pattern of these directives: %Y %m %d %b %B %H %M %S %f %z and %%. Two-digit years,
week numbers and names of days are refused: they leave a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from typing import Final

from chalicelib.cells.fields import DateOrder, FieldType, Reading, Value

MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
# Offsets below 16 hours, as Postgres has them; Python would also take +00:60.
_OFFSET: Final = r"(?:Z|[+-](?:0[0-9]|1[0-5]):[0-5][0-9])"
_TIME: Final = re.compile(_CLOCK)
_DATETIME: Final = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}{_OFFSET}?").fullmatch
_YEAR: Final = re.compile(r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])")
# All days but the 29th of February; years away from both ends, where an offset leaves the calendar.
_SURE_DAY: Final = (
    r"(?:000[2-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-8][0-9]{3}|9[0-8][0-9]{2})"
    r"-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_SURE_DATE: Final = re.compile(_SURE_DAY)
_SURE_DATETIME: Final = re.compile(rf"{_SURE_DAY}[T ]{_CLOCK}{_OFFSET}?")
_ORDERS: Final[dict[DateOrder, tuple[str, str]]] = {
    "ymd": (r"(?P<Y>[0-9]{4})(?P<sep>[/.-])(?P<m>[0-9]{1,2})(?P=sep)(?P<d>[0-9]{1,2})", "YYYY/MM/DD"),
    "dmy": (r"(?P<d>[0-9]{1,2})(?P<sep>[/.-])(?P<m>[0-9]{1,2})(?P=sep)(?P<Y>[0-9]{4})", "DD/MM/YYYY"),
    "mdy": (r"(?P<m>[0-9]{1,2})(?P<sep>[/.-])(?P<d>[0-9]{1,2})(?P=sep)(?P<Y>[0-9]{4})", "MM/DD/YYYY"),
}


def plain_date(order: DateOrder | None = None) -> Reading:
    """YYYY-MM-DD; in a file with an order also that, with "/", "." or "-" between."""
    return Reading(_ordered(order, _date), f"a date ({_told(order)})", date.fromisoformat, _SURE_DATE)


def plain_datetime(order: DateOrder | None = None) -> Reading:
    """A moment; without an offset it is UTC. Must stay within years 1 to 9999 in UTC."""
    expected = f"a date and time ({_told(order)}, then Thh:mm:ssZ)" if order else _DATETIME_EXPECTED
    return Reading(_ordered(order, _datetime), expected, _moment, _SURE_DATETIME)


_DATETIME_EXPECTED: Final = "a date and time (YYYY-MM-DDThh:mm:ssZ)"


def plain_time() -> Reading:
    """A time of day without a zone."""
    return Reading(lambda cell: cell if _TIME.fullmatch(cell) else None, "a time (hh:mm:ss)", time.fromisoformat, _TIME)


def year() -> Reading:
    """A year of four digits."""
    return Reading(lambda cell: cell if _YEAR.fullmatch(cell) else None, "a year (YYYY)", int, _YEAR)


def _told(order: DateOrder | None) -> str:
    return f"{_ORDERS[order][1]} or YYYY-MM-DD" if order and order != "ymd" else "YYYY-MM-DD"


def _date(cell: str) -> Value:
    try:
        return cell if _DATE(cell) and date.fromisoformat(cell) else None
    except ValueError:
        return None


def _datetime(cell: str) -> Value:
    if not _DATETIME(cell):
        return None
    try:
        _moment(cell)
    except (ValueError, OverflowError):
        return None
    return cell


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _ordered(order: DateOrder | None, read: Callable[[str], Value]) -> Callable[[str], Value]:
    """`read`, after a date at the cell's head that is in this order was turned into ISO's.

    Four digits at the head are a year in any order, so ISO dates stay what they are.
    """
    if order is None:
        return read
    head = re.compile(_ORDERS[order][0] + "(?![0-9])").match

    def reordered(cell: str) -> Value:
        found = None if _DATE(cell[:10]) else head(cell)
        return read(f"{found['Y']}-{found['m']:0>2}-{found['d']:0>2}{cell[found.end() :]}" if found else cell)

    return reordered


_DIRECTIVES: Final = {
    "Y": "[0-9]{4}",
    "m": "[0-9]{2}",
    "d": "[0-9]{2}",
    "b": f"(?i:{'|'.join(name[:3] for name in MONTHS)})",
    "B": f"(?i:{'|'.join(MONTHS)})",
    "H": "[0-9]{2}",
    "M": "[0-9]{2}",
    "S": "[0-9]{2}",
    "f": "[0-9]{1,6}",
    "z": "Z|[+-][0-9]{2}:?[0-9]{2}",
}
_SHORTENED: Final = frozenset("mdH")  # 5/1/2024 where a separator tells where the number ends
_TOKEN: Final = re.compile(r"%(.)|%|([^%]+)", re.DOTALL)
_NEEDED: Final[dict[FieldType, frozenset[str]]] = {
    "date": frozenset("Ymd"),
    "time": frozenset("HM"),
    "datetime": frozenset("YmdHM"),
}
_ALLOWED: Final[dict[FieldType, frozenset[str]]] = {
    "date": frozenset("Ymd"),
    "time": frozenset("HMSf"),
    "datetime": frozenset("YmdHMSfz"),
}


def by_pattern(kind: FieldType, pattern: str) -> Reading:
    """A date, time or datetime by a strptime pattern. Raises ValueError saying what the pattern cannot have."""
    tokens = [(found[1], found[2] or "") for found in _TOKEN.finditer(pattern)]
    _check(kind, [token or "" for token, literal in tokens if not literal])
    find = re.compile("".join(_pieces(tokens)), re.ASCII).fullmatch
    whole = {"date": _date, "time": lambda cell: cell if _TIME.fullmatch(cell) else None, "datetime": _datetime}[kind]
    measure = {"date": date.fromisoformat, "time": time.fromisoformat, "datetime": _moment}[kind]

    def read(cell: str) -> Value:
        found = find(cell)
        return whole(_iso(kind, found.groupdict())) if found else None

    return Reading(read, f"a {_NAMES[kind]} ({pattern})", measure)


_NAMES: Final[dict[FieldType, str]] = {"date": "date", "time": "time", "datetime": "date and time"}


def _check(kind: FieldType, directives: list[str]) -> None:
    named = [{"b": "m", "B": "m"}.get(each, each) for each in directives if each != "%"]
    for each in directives:
        if each in ("y", "g"):
            raise ValueError(f"%{each} is not supported: a year has four digits (%Y)")
        if each not in _DIRECTIVES and each != "%":
            raise ValueError(f"%{each} is not supported; there are {' '.join('%' + one for one in _DIRECTIVES)} %%")
    for each in named:
        if each not in _ALLOWED[kind]:
            raise ValueError(f"%{each} is not part of a {_NAMES[kind]}")
    if len(set(named)) != len(named):
        raise ValueError("a directive may stand once")
    missing = _NEEDED[kind] - set(named) | ({"S"} if "f" in named and "S" not in named else set())
    if missing:
        raise ValueError(f"it lacks {' '.join('%' + one for one in sorted(missing))}")


def _pieces(tokens: list[tuple[str | None, str]]) -> Iterator[str]:
    """The regular expression, piece by piece."""
    for place, (directive, literal) in enumerate(tokens):
        if directive is None or directive == "%":
            yield re.escape(literal or "%")
            continue
        around = (*tokens[max(place - 1, 0) : place], *tokens[place + 1 : place + 2])
        alone = not any(beside and beside != "%" for beside, _ in around) and not _touches_digit(tokens, place)
        shape = "[0-9]{1,2}" if directive in _SHORTENED and alone else _DIRECTIVES[directive]
        yield f"(?P<{directive}>{shape})"


def _touches_digit(tokens: list[tuple[str | None, str]], place: int) -> bool:
    before = tokens[place - 1][1] if place else ""
    after = tokens[place + 1][1] if place + 1 < len(tokens) else ""
    return before[-1:].isdigit() or after[:1].isdigit()


def _iso(kind: FieldType, part: dict[str, str]) -> str:
    """What a pattern found, as ISO 8601 spells it; whether there is such a day or time is still to be seen."""
    name = part.get("b") or part.get("B")
    month = f"{[each[: len(name)] for each in MONTHS].index(name.lower()) + 1}" if name else part.get("m", "")
    day = f"{part.get('Y')}-{month:0>2}-{part.get('d', ''):0>2}"
    clock = f"{part.get('H', ''):0>2}:{part.get('M')}:{part.get('S', '00')}"
    clock += f".{part['f']}" if "f" in part else ""
    offset = part.get("z", "")
    if offset and offset != "Z" and ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:]}"
    return {"date": day, "time": clock, "datetime": f"{day}T{clock}{offset}"}[kind]


_AMOUNTS: Final = re.compile(
    r"(-?)P(?=.)(?:([0-9]{1,6})Y)?(?:([0-9]{1,6})M)?(?:([0-9]{1,6})W)?(?:([0-9]{1,6})D)?"
    r"(?:T(?=.)(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9}(?:\.[0-9]{1,6})?)S)?)?"
).fullmatch

# As Postgres adds them up: weeks are days, 12 months a year, 60 seconds a minute. No sum of amounts above is longer.
_ADDED_UP: Final = re.compile(
    r"-?P(?=.)(?:[0-9]{1,7}Y)?(?:1?[0-9]M)?(?:[0-9]{1,7}D)?"
    r"(?:T(?=.)(?:1?[0-9]{1,9}H)?(?:[0-5]?[0-9]M)?(?:[0-5]?[0-9](?:\.[0-9]{1,6})?S)?)?"
).fullmatch


def duration() -> Reading:
    """An ISO 8601 duration; a minus before it turns all of it around."""
    return Reading(_duration, "a duration (PnYnMnDTnHnMnS)", _length)


def _duration(cell: str) -> Value:
    return _signed(cell) if _AMOUNTS(cell) else None


def added_up(text: str) -> Value:
    """A duration as rows show it, where its amounts have become more than any cell may say."""
    return _signed(text) if _ADDED_UP(text) else None


def _signed(text: str) -> str:
    # Postgres knows no sign before the P, but one at each amount.
    return re.sub("([0-9.]+)", r"-\1", text[1:]) if text[0] == "-" else text


def _length(text: str) -> int:
    """Microseconds, as Postgres compares intervals: a month has 30 days, a day 24 hours."""
    found = _AMOUNTS(text.replace("-", ""))
    assert found is not None
    years, months, weeks, days, hours, minutes = (int(amount or 0) for amount in found.groups()[1:7])
    seconds, _, fraction = (found[8] or "0").partition(".")
    whole_days = (years * 12 + months) * 30 + weeks * 7 + days
    whole = ((whole_days * 24 + hours) * 60 + minutes) * 60 + int(seconds)
    length = whole * 10**6 + int(fraction.ljust(6, "0"))
    return -length if "-" in text else length
