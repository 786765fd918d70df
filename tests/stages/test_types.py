"""What the checker accepts, Postgres stores unchanged; what it refuses is listed; no row is both or neither.

Every file has a column of each type and fills one of them a row, so that one load tries all types. What a
text means is worked out here a second time, with none of the checker's code.
"""

from __future__ import annotations

import json
import math
import random
import re
import string
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.stages.conftest import Pipeline
from tests.stages.test_journey_in_process import adds_up

KINDS = (
    *("string", "integer", "number", "boolean", "date", "datetime"),
    *("time", "year", "duration", "object", "array", "geopoint"),
)
SCHEMA = {"fields": [{"name": "id", "type": "integer"}, *({"name": kind, "type": kind} for kind in KINDS)]}
BLANK = dict.fromkeys(KINDS)
NAMES = map("typed{}".format, count())


class Bad(NamedTuple):
    """The code of a refusal."""

    code: str


class Cell(NamedTuple):
    """A text in the column of its type; `sure` if it has to be accepted."""

    kind: str
    text: str
    sure: bool = False


# What a text means. ValueError: nothing that may be stored.


def meant(cell: Cell) -> Any:
    if "\0" in cell.text or any("\ud800" <= letter <= "\udfff" for letter in cell.text):
        return Bad("encoding_invalid")
    if cell.text == "":
        return None
    try:
        return MEANINGS[cell.kind](cell.text)
    except (ValueError, InvalidOperation, OverflowError, KeyError):
        return Bad("type_invalid")


def _plain(text: str) -> str:
    """The text, if Python's own number readers do not forgive anything in it."""
    if not text.isascii() or any(letter in text for letter in "_ \t\n\r\v\f\x1c\x1d\x1e\x1f"):
        raise ValueError
    return text


def _integer(text: str) -> int:
    value = int(_plain(text))
    if value.bit_length() > 63 and value != -(2**63):
        raise ValueError
    return value


def _number(text: str) -> Decimal | str:
    if text in ("NaN", "INF", "-INF"):
        return text
    value = Decimal(_plain(text))
    if not value.is_finite() or abs(value.adjusted()) > 2500:
        raise ValueError
    return value


def _date(text: str) -> date:
    year, month, day = _plain(text).split("-")
    if (len(year), len(month), len(day)) != (4, 2, 2) or not (year + month + day).isdigit():
        raise ValueError
    return date(int(year), int(month), int(day))


def _datetime(text: str) -> datetime:
    """In UTC; by hand, since fromisoformat forgives much."""
    day, clock, zone = text[:10], text[11:19], text[19:]
    fraction = ""
    if zone.startswith("."):
        fraction = zone[1 : len(zone) - len(zone[1:].lstrip(string.digits))]
        zone = zone[1 + len(fraction) :]
        if not 1 <= len(fraction) <= 6:
            raise ValueError
    if text[10:11] not in ("T", " ") or len(clock) != 8 or clock[2] != ":" or clock[5] != ":":
        raise ValueError
    moment = datetime.combine(_date(day), _clock(clock, fraction), _zone(zone))
    return moment.astimezone(UTC)


def _clock(clock: str, fraction: str) -> time:
    hours, minutes, seconds = (_two(clock[place : place + 2]) for place in (0, 3, 6))
    return time(hours, minutes, seconds, int(fraction.ljust(6, "0")))


def _time(text: str) -> time:
    clock, dot, fraction = text.partition(".")
    if len(clock) != 8 or clock[2] != ":" or clock[5] != ":" or (dot and not 1 <= len(_plain(fraction)) <= 6):
        raise ValueError
    if dot and not fraction.isdigit():
        raise ValueError
    return _clock(clock, fraction)


def _year(text: str) -> int:
    if len(_plain(text)) != 4 or not text.isdigit() or text == "0000":
        raise ValueError
    return int(text)


def _duration(text: str) -> tuple[int, int, int]:
    """Months, days and microseconds, letter by letter."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    if not _plain(rest).startswith("P") or rest[-1] in "PT":
        raise ValueError
    day, _, clock = rest[1:].partition("T")
    parts = _amounts(day, "YMWD", 6) | {"t" + letter: n for letter, n in _amounts(clock, "HMS", 9).items()}
    months = 12 * int(parts.get("Y", 0)) + int(parts.get("M", 0))
    days = 7 * int(parts.get("W", 0)) + int(parts.get("D", 0))
    seconds = 3600 * Decimal(parts.get("tH", 0)) + 60 * Decimal(parts.get("tM", 0)) + Decimal(parts.get("tS", 0))
    return sign * months, sign * days, sign * int(seconds * 10**6)


def _amounts(text: str, letters: str, width: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for letter in letters:
        amount, there, rest = text.partition(letter)
        if there:
            whole, dot, fraction = amount.partition(".")
            if not whole.isdigit() or len(whole) > width or (dot and (letter != "S" or not fraction.isdigit())):
                raise ValueError
            if len(fraction) > 6:
                raise ValueError
            found[letter], text = amount, rest
    if text:
        raise ValueError
    return found


def _json(kind: type) -> Any:
    def read(text: str) -> Any:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=int, parse_float=Decimal, parse_int=Decimal)
        if not isinstance(value, kind) or not is_sound(value):
            raise ValueError
        return exact(value)

    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError
    return dict(pairs)


def is_sound(value: Any) -> bool:
    """Text that Postgres can hold, and no number beyond a double."""
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in value)
    if isinstance(value, dict):
        return all(is_sound(key) and is_sound(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(is_sound, value))
    return not isinstance(value, Decimal) or math.isfinite(float(value))


def exact(value: Any) -> Any:
    """A JSON value whose numbers are decimals, and whose booleans are no numbers."""
    match value:
        case bool():
            return str(value)
        case int() | float():
            return Decimal(repr(value))
        case list():
            return [exact(inner) for inner in value]
        case dict():
            return {key: exact(inner) for key, inner in value.items()}
    return value


def _geopoint(text: str) -> str:
    longitude, latitude = (Decimal(_plain(part)) for part in text.replace(", ", ",", 1).split(","))
    if abs(longitude) > 180 or abs(latitude) > 90 or "e" in text.lower():
        raise ValueError
    return text


def _zone(text: str) -> timezone:
    if text in ("", "Z"):
        return UTC
    if len(text) != 6 or text[0] not in "+-" or text[3] != ":":
        raise ValueError
    hours, minutes = _two(text[1:3]), _two(text[4:6])
    if hours > 15 or minutes > 59:
        raise ValueError
    away = timedelta(hours=hours, minutes=minutes)
    return timezone(-away if text[0] == "-" else away)


def _two(text: str) -> int:
    if len(text) != 2 or not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


BOOLEANS = dict.fromkeys(("true", "True", "TRUE", "1"), True) | dict.fromkeys(("false", "False", "FALSE", "0"), False)
MEANINGS: dict[str, Any] = {
    "string": str,
    "integer": _integer,
    "number": _number,
    "boolean": BOOLEANS.__getitem__,
    "date": _date,
    "datetime": _datetime,
    "time": _time,
    "year": _year,
    "duration": _duration,
    "object": _json(dict),
    "array": _json(list),
    "geopoint": _geopoint,
}


# What the API shows, as Python values again.


def stored(kind: str, shown: Any) -> Any:
    if shown is None:
        return None
    if kind == "number":
        return shown if shown in ("NaN", "INF", "-INF") else Decimal(shown)
    if kind in ("date", "time"):
        return {"date": date, "time": time}[kind].fromisoformat(shown)
    if kind == "duration":
        return shown_duration(shown)
    if kind in ("object", "array"):
        return exact(shown)
    return datetime.fromisoformat(shown) if kind == "datetime" else shown


def shown_duration(text: str) -> tuple[int, int, int]:
    """Months, days and microseconds of a duration: a minus before the P turns all of it around."""
    months = days = 0
    seconds = Decimal(0)
    sign = -1 if text.startswith("-") else 1
    day, _, clock = text.removeprefix("-").removeprefix("P").partition("T")
    for amount, letter in re.findall("([0-9]+)([YMD])", day):
        months += int(amount) * {"Y": 12, "M": 1, "D": 0}[letter]
        days += int(amount) * (letter == "D")
    for amount, letter in re.findall("([0-9.]+)([HMS])", clock):
        seconds += Decimal(amount) * {"H": 3600, "M": 60, "S": 1}[letter]
    return sign * months, sign * days, sign * int(seconds * 10**6)


def record(number: int, cell: Cell) -> bytes:
    quoted = '"' + cell.text.replace('"', '""') + '"'
    cells = [str(number), *(quoted if kind == cell.kind else "" for kind in KINDS)]
    return ",".join(cells).encode("utf-8", "surrogatepass") + b"\n"


def file_of(cells: Iterable[Cell]) -> bytes:
    header = ",".join(["id", *KINDS]) + "\n"
    return header.encode() + b"".join(record(number, cell) for number, cell in enumerate(cells, 1))


def is_told_truly(pipeline: Pipeline, cells: list[Cell], upload: dict[str, Any], dataset: str) -> None:
    """Every row is loaded with what its text means or rejected for its own column, and was counted so."""
    rows = {row["id"]: row for row in pipeline.rows(dataset)}
    rejects = {r["row"]: [(e["column"], e["code"]) for e in r["errors"]] for r in pipeline.rejects(upload["id"])}
    assert rows.keys() | rejects.keys() == set(range(1, len(cells) + 1))
    assert not rows.keys() & rejects.keys()
    assert (upload["rows_total"], upload["loaded"], upload["rejected"]) == (len(cells), len(rows), len(rejects))
    assert adds_up(upload)
    for number, cell in enumerate(cells, 1):
        expected = meant(cell)
        if number in rejects:
            assert not cell.sure, (cell, rejects[number])
            code = expected.code if isinstance(expected, Bad) else "type_invalid"
            assert (cell, rejects[number]) == (cell, [(cell.kind, code)])
        else:
            found = {kind: stored(kind, rows[number][kind]) for kind in KINDS}
            assert (cell, found) == (cell, BLANK | {cell.kind: expected})


# Texts: sure ones are written from values, unsure ones look like them or are made of what trips parsers.

BIG = st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 0, 10**39, 10**40])
SPELLED_INT = st.builds(
    lambda value, plus, zeros: ("-" if value < 0 else plus) + "0" * zeros + str(abs(value)),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(["", "+"]),
    st.integers(0, 5),
)
DIGITS = st.text("0123456789", min_size=1, max_size=30)
SPELLED_NUMBER = st.builds(
    lambda sign, digits, exponent: sign + digits + exponent,
    st.sampled_from(["", "+", "-"]),
    st.one_of(DIGITS, DIGITS.map("{}.".format), DIGITS.map(".{}".format), st.builds("{}.{}".format, DIGITS, DIGITS)),
    st.just("") | st.integers(-999, 999).map("e{}".format) | st.integers(0, 999).map("E+{}".format),
)
OFFSETS = st.sampled_from(["", "Z", "+00:00", "-00:00", "+15:59", "-15:59", "+05:30", "-12:45"])
SPELLED_DATETIME = st.builds(
    lambda moment, between, fraction, offset: moment.strftime(f"%Y-%m-%d{between}%H:%M:%S") + fraction + offset,
    st.datetimes(datetime.fromisoformat("1000-01-02"), datetime.fromisoformat("9999-12-30")),
    st.sampled_from("T "),
    st.just("") | st.text("0123456789", min_size=1, max_size=6).map(".{}".format),
    OFFSETS,
)


SPELLED_DURATION = st.builds(
    lambda sign, amounts, seconds: f"{sign}P{''.join(amounts[:4])}T{''.join(amounts[4:])}{seconds}S",
    st.sampled_from(["", "-"]),
    st.tuples(
        *(st.just("") | st.integers(0, 999_999).map(f"{{}}{letter}".format) for letter in "YMWD"),
        *(st.just("") | st.integers(0, 999_999_999).map(f"{{}}{letter}".format) for letter in "HM"),
    ),
    st.sampled_from(["0", "59", "999999999", "0.5", "1.000001", "999999999.999999", "7.100", "00.10"]),
)
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(-1e300, 1e300) | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=5,
)
DEGREES = st.decimals(-90, 90, places=4).map(str) | st.integers(-90, 90).map(str)


def cells_of(kind: str, texts: st.SearchStrategy[str], sure: bool = False) -> st.SearchStrategy[Cell]:
    return texts.map(lambda text: Cell(kind, text, sure))


SURE = st.one_of(
    cells_of("string", st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), sure=True),
    cells_of("integer", SPELLED_INT, sure=True),
    cells_of("number", SPELLED_NUMBER | st.sampled_from(["NaN", "INF", "-INF"]), sure=True),
    cells_of("boolean", st.sampled_from(["true", "TRUE", "1", "false", "False", "0"]), sure=True),
    cells_of("date", st.dates().map(date.isoformat), sure=True),
    cells_of("datetime", SPELLED_DATETIME, sure=True),
    cells_of("time", st.times().map(time.isoformat), sure=True),
    cells_of("year", st.integers(1, 9999).map("{:04}".format), sure=True),
    cells_of("duration", SPELLED_DURATION, sure=True),
    cells_of("object", st.dictionaries(WORD, JSON, max_size=4).map(json.dumps), sure=True),
    cells_of("array", st.lists(JSON, max_size=4).map(lambda value: json.dumps(value, ensure_ascii=False)), sure=True),
    cells_of("geopoint", st.builds("{}{}{}".format, DEGREES, st.sampled_from([",", ", "]), DEGREES), sure=True),
)
ATOMS = {
    "string": [
        "a",
        "\t",
        "\n",
        "\r",
        "\\",
        "\\N",
        "\\.",
        '"',
        "'",
        ",",
        ";",
        "🎉",
        "\ufeff",
        "\ud800",
        "\0",
        "\x85",
        "\x1c",
    ],
    "integer": ["0", "1", "9", "+", "-", "_", " ", "x", "e", ".", "٣", "１", "\n", "9223372036854775807"],
    "number": ["0", "1", "9", "+", "-", ".", "e", "E", "_", " ", "٣", "NaN", "INF", "Infinity", "99", "\n"],
    "boolean": ["t", "true", "f", "1", "0", " ", "yes", "on", "\n"],
    "date": ["2024", "0000", "9999", "-", "01", "02", "29", "30", "31", "1", " ", "BC", "٢", "W01", "now", "\n"],
    "datetime": [
        "2024-02-29",
        "0001-01-01",
        "9999-12-31",
        "T",
        " ",
        "10",
        "23",
        "24",
        ":",
        "00",
        "59",
        "60",
        ".",
        "5",
        "Z",
        "+",
        "-",
    ],
}
ATOMS |= {
    "time": ["10", "23", "24", ":", "00", "59", "60", ".", "5", "Z", "+01:00", " ", "now", "allballs", "\n"],
    "year": ["2024", "0000", "20", "9", "-", "+", " ", "BC", "٢", "\n"],
    "duration": ["P", "T", "-", "+", "1", "2Y", "3M", "4W", "5D", "6H", "7M", "8S", ".5", "1.5S", "1 day", " ", "٣"],
    "object": [
        "{",
        "}",
        '"a"',
        ":",
        ",",
        "1",
        "NaN",
        "Infinity",
        "1e999",
        "01",
        "[",
        "]",
        '"\\u0000"',
        '"\\ud800"',
        " ",
    ],
    "array": ["[", "]", ",", "1", '"a"', "{}", "NaN", "-0", "1.", "'a'", '"\t"', '"\\n"', "\\", "null", " ", "\ufeff"],
    "geopoint": ["90", "180", "-", ",", " ", ".5", "91", "181", "(", ")", "+", "1e1", "٣", "nan"],
}
HALVES = st.tuples(
    st.sampled_from(
        [
            "2024-02-29T10:00:00",
            "0001-01-01T00:00:00",
            "9999-12-31 23:59:59",
            "2024-01-05T24:00:00",
            "2024-01-05T23:59:60",
        ]
    ),
    st.just("") | st.text("0123456789", max_size=8).map(".{}".format),
    st.just("") | st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), st.integers(0, 24), st.integers(0, 61)),
).map("".join)
UNSURE = st.one_of(
    *(cells_of(kind, st.lists(st.sampled_from(ATOMS[kind]), max_size=7).map("".join)) for kind in KINDS),
    *(cells_of(kind, st.text(max_size=12)) for kind in KINDS),
    cells_of("datetime", HALVES),
    cells_of("integer", BIG.map(str)),
)


@given(st.lists(SURE | UNSURE, min_size=40, max_size=120))
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a failure names its cell; shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.large_base_example],
)
def test_what_is_accepted_is_stored_unchanged_and_the_rest_is_listed(pipeline: Pipeline, cells: list[Cell]) -> None:
    name = pipeline.dataset(SCHEMA, next(NAMES))
    upload = pipeline.run(file_of(cells), name, dialect={"delimiter": ","})
    is_told_truly(pipeline, cells, upload, name)


INTEGERS = ["0", "-0", "+5", "007", "9223372036854775807", "-9223372036854775808", "0" * 39 + "1"]
NO_INTEGERS = [
    "9223372036854775808",
    "-9223372036854775809",
    "0x1F",
    "1_000",
    " 7 ",
    "7\n",
    "٣",
    "１２",
    "1e3",
    "1.0",
    "now",
]
NUMBERS = ["-0", "+5", ".5", "5.", "1.50", "1e999", "-1E-999", "0e-999", "9" * 1000, "NaN", "INF", "-INF"]
NO_NUMBERS = ["0x1F", "1_000", " 7 ", "7\n", "٣", "１２", "1e1000", "Infinity", "infinity", "nan", "+INF", "1,5", "."]
DATES = ["2024-02-29", "0001-01-01", "9999-12-31", "1582-10-10"]
NO_DATES = [
    "now",
    "infinity",
    "2024-02-30",
    "20240105",
    "2024-1-5",
    "0000-01-01",
    "10000-01-01",
    "2024-01-05 BC",
    "2024-W01-1",
]
DATETIMES = [
    *("2024-01-05T10:00:00", "2024-01-05 10:00:00Z", "2024-01-05T10:00:00.000001+15:59", "2024-01-05T10:00:00-15:59"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999", "2024-01-05T10:00:00.5-00:00", "0001-01-01T15:59:00+15:59"),
]
NO_DATETIMES = [
    *("now", "infinity", "2024-01-05", "2024-01-05T24:00:00", "2024-01-05T10:00:60", "2024-01-05T10:00:00.1234567"),
    *("2024-01-05T10:00:00+16:00", "2024-01-05T10:00:00-23:59", "2024-01-05T10:00:00+00:60", "2024-01-05T10:00:00 UTC"),
    *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2024-02-30T00:00:00Z", "0000-01-01T00:00:00Z"),
]
TIMES = ["00:00:00", "23:59:59.999999", "10:00:00.5", "10:00:00.000001"]
NO_TIMES = [
    "24:00:00",
    "10:00",
    "10:00:60",
    "10:60:00",
    "now",
    "allballs",
    "10:00:00Z",
    "10:00:00+01:00",
    "10:00:00 PM",
]
YEARS = ["0001", "2024", "9999", "0987"]
NO_YEARS = ["0000", "24", "10000", "-2024", "+2024", " 2024", "2024 BC", "now", "2e3", "٢٠٢٤"]
DURATIONS = [
    *("P1Y2M3W4DT5H6M7.000001S", "-P1Y2M3W4DT5H6M7.5S", "P0D", "PT0S", "-PT0.000001S", "P999999Y999999M999999W999999D"),
    *("PT999999999H999999999M999999999.999999S", "-PT999999999H999999999M999999999.999999S", "P1M", "PT1M", "-P1D"),
]
NO_DURATIONS = [
    "P",
    "PT",
    "P1YT",
    "1Y",
    "P1S",
    "PT1D",
    "P1.5Y",
    "P-1Y",
    "+P1Y",
    "P1D2Y",
    "P0001-02-03",
    "1 day",
    "infinity",
]
NO_DURATIONS += [
    "PT1,5S",
    "PT.5S",
    "PT1.S",
    "PT1.0000001S",
    "P1000000Y",
    "p1y",
    "P 1Y",
    "@ 1 day",
    "01:00:00",
    "now",
    "P1YT-1S",
]
OBJECTS = ["{}", ' {"a" : [1, -0.0, 1e300, "\\t", null, true]}\n', '{"\\ud83d\\ude00": "é\\\\"}', '{"": {}}']
NO_OBJECTS = ["[]", "1", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', "{'a': 1}", '{"a": 01}', '{"a": "\\u0000"}']
NO_OBJECTS += ['{"a": "\\ud800"}', "{a: 1}", '{"a": 1,}', '{"a": ' * 70 + "1" + "}" * 70, '{"a": "\t"}', "null", "now"]
ARRAYS = ["[]", "[1,[2,[3]]]", '["\\\\", "\\n", "\\u00e9"]', "[\t1\n,\r2 ]", "[" + "9" * 300 + "]", '["a\x7f"]']
NO_ARRAYS = [
    "{}",
    "[1,]",
    "[1",
    "[NaN]",
    "[Infinity]",
    "[1.]",
    "[.5]",
    "[+1]",
    "[0x1F]",
    "\ufeff[]",
    "[" + "9" * 2000 + "]",
]
POINTS = ["90.50, 45.50", "90.50,45.50", "-180,-90", "180,90", "0,0", "007,07.10"]
NO_POINTS = [
    "180.1,0",
    "0,90.1",
    "1",
    "1,2,3",
    "1;2",
    "(1,2)",
    "[1,2]",
    "1,  2",
    "1 ,2",
    "+1,2",
    "1e1,2",
    "nan,1",
    "N 5, E 6",
]
STRINGS = [
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\\",
    "\\.",
    "\\N",
    "a\\",
    "\\\t",
    '"',
    "'",
    "''",
    "🎉",
    "\ufeff",
    "\u2028\x85\x1c\v\f",
    " ",
    "NULL",
]
NO_STRINGS = ["a\0b", "\0", "\ud800", "x\udfff"]
TEXTS = {
    "string": (STRINGS, NO_STRINGS),
    "integer": (INTEGERS, [*NO_INTEGERS, "1\0"]),
    "number": (NUMBERS, [*NO_NUMBERS, "\ud800"]),
    "boolean": (
        ["true", "True", "TRUE", "1", "false", "False", "FALSE", "0"],
        ["t", "tr", "yes", "on", " true ", "１", "\0"],
    ),
    "date": (DATES, [*NO_DATES, "2024-01-05\0"]),
    "datetime": (DATETIMES, [*NO_DATETIMES, "2024-01-05T10:00:00\0"]),
    "time": (TIMES, NO_TIMES),
    "year": (YEARS, NO_YEARS),
    "duration": (DURATIONS, NO_DURATIONS),
    "object": (OBJECTS, NO_OBJECTS),
    "array": (ARRAYS, NO_ARRAYS),
    "geopoint": (POINTS, NO_POINTS),
}
GOOD = [Cell(kind, text, sure=True) for kind, (good, _) in TEXTS.items() for text in good]
REFUSED = [Cell(kind, text) for kind, (_, refused) in TEXTS.items() for text in refused]


def test_the_texts_that_parsers_disagree_on(pipeline: Pipeline) -> None:
    cells = (
        [cell for pair in zip(GOOD, REFUSED, strict=False) for cell in pair]
        + GOOD[len(REFUSED) :]
        + REFUSED[len(GOOD) :]
    )
    plain = {"delimiter": ",", "decimal_char": None, "group_char": None, "date_order": None}
    upload = pipeline.run(file_of(cells), pipeline.dataset(SCHEMA, "typed"), dialect=plain)
    assert upload["rejected"] == len(REFUSED)
    is_told_truly(pipeline, cells, upload, "typed")


def test_values_are_the_same_by_way_of_staging_as_straight(pipeline: Pipeline) -> None:
    """A key that clashes sends a chunk through staging."""
    name = pipeline.dataset(SCHEMA | {"primaryKey": "id"}, "staged", mode="skip")
    pipeline.run(file_of([Cell("string", "first")]), name)
    cells = [Cell("string", "first"), *GOOD]
    upload = pipeline.run(file_of(cells), name, dialect={"delimiter": ","})
    assert (upload["loaded"], upload["skipped"], upload["rejected"]) == (len(GOOD), 1, 0)
    rows = pipeline.rows(name)
    assert [shown_as(row) for row in rows] == [BLANK | {cell.kind: meant(cell)} for cell in cells]


def test_values_are_the_same_by_way_of_settling_as_straight(pipeline: Pipeline) -> None:
    """Each key comes twice in one file, and the second row, kept as text until settling, wins."""
    name = pipeline.dataset(SCHEMA | {"primaryKey": "id"}, "settled", mode="upsert")
    first = [Cell("string", "first")] * len(GOOD)
    both = file_of(first) + file_of(GOOD).partition(b"\n")[2]
    upload = pipeline.run(both, name, dialect={"delimiter": ","})
    assert (upload["loaded"], upload["updated"], adds_up(upload)) == (len(GOOD), len(GOOD), True)
    rows = {row["id"]: row for row in pipeline.rows(name)}
    assert [shown_as(rows[n]) for n in sorted(rows)] == [BLANK | {cell.kind: meant(cell)} for cell in GOOD]


def shown_as(row: dict[str, Any]) -> dict[str, Any]:
    return {kind: stored(kind, row[kind]) for kind in KINDS}


@pytest.mark.parametrize("rows", [50, 500])
@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_only_the_row_whose_key_no_index_can_hold_is_rejected(pipeline: Pipeline, mode: str, rows: int) -> None:
    """Random text does not compress, so 10 kB of it cannot lie in a B-tree page."""
    pipeline.dataset(mode=mode)
    endless = "".join(random.Random(5).choices(string.ascii_letters + string.digits, k=10_000))
    emails = [f"u{n}@x.org" for n in range(rows)]
    emails[20] = endless
    body = "email,name,age\n" + "".join(f"{email},U,{n}\n" for n, email in enumerate(emails))
    upload = pipeline.run(body.encode())
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", rows - 1, 1)
    assert adds_up(upload)
    (reject,) = pipeline.rejects(upload["id"])
    assert (reject["row"], reject["line"], [error["code"] for error in reject["errors"]]) == (21, 22, ["db_rejected"])
    assert endless[:100] not in reject["errors"][0]["detail"]
    assert reject["raw"] == f"{endless},U,20"
    assert [row["email"] for row in pipeline.rows()] == emails[:20] + emails[21:]


@pytest.mark.parametrize("options", [{"mode": "insert"}, {"mode": "upsert"}, {"mode": "insert", "validate_only": True}])
def test_only_rows_that_are_longer_than_a_page_of_postgres_are_rejected(
    pipeline: Pipeline, options: dict[str, Any]
) -> None:
    """1,100 numbers of eight bytes are: a hundred rows are halved once, and then each is judged by itself."""
    numbers = [f"n{place}" for place in range(1100)]
    fields = [{"name": "key", "type": "string"}, *({"name": name, "type": "integer"} for name in numbers)]
    pipeline.dataset({"fields": fields, "primaryKey": "key"}, "wide", mode=options["mode"])
    long, short = ",1" * 1100, ",1" * 600 + "," * 500
    rows = [f'"a\tb\\N\n{n}"' + (long if n % 9 == 0 else short) for n in range(100)]
    upload = pipeline.run("\n".join([",".join(["key", *numbers]), *rows, ""]).encode(), "wide", **options)
    if "validate_only" in options:
        assert upload["rejected"] == 12
        upload = pipeline.confirm(upload["id"])
        pipeline.split(upload["id"])
        pipeline.load(pipeline.messages())
        upload = pipeline.upload(upload["id"])
    assert (upload["loaded"], upload["rejected"]) == (88, 12)
    rejects = pipeline.rejects(upload["id"])
    assert [reject["row"] for reject in rejects] == list(range(1, 101, 9))
    assert {error["detail"][:14] for reject in rejects for error in reject["errors"]} == {"row is too big"}
    assert {row["key"] for row in pipeline.rows("wide")} == {f"a\tb\\N\n{n}" for n in range(100) if n % 9}


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_a_file_with_not_one_good_row_is_rejected_row_by_row(pipeline: Pipeline, mode: str) -> None:
    pipeline.dataset(mode=mode)
    upload = pipeline.run(b"email,name,age\n,Ada,1\nb@x.org,Bob,old\n")
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 0, 2)
    assert adds_up(upload)
    found = [(r["row"], [error["code"] for error in r["errors"]]) for r in pipeline.rejects(upload["id"])]
    assert found == [(1, ["required_missing"]), (2, ["type_invalid"])]
