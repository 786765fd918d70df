"""Formats and conventions against real casts: what a grammar lets through, Postgres takes, and means by it the same.

Each column is checked as a whole, and all that it let through is cast in one statement. What a text means is
Python's own reading of the text in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from chalicelib.cells import PLAIN, Conventions
from chalicelib.checking import check
from chalicelib.datasets import read_schema

Meaning = Callable[[str], Any]


class Column(NamedTuple):
    """A field, how its file is written, what its texts mean, and texts that are to pass or may."""

    field: dict[str, Any]
    conventions: Conventions
    means: Meaning
    sure: st.SearchStrategy[str]
    pieces: list[str]


@pytest.fixture(scope="module")
def db(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def ungrouped(decimal: str, group: str | None) -> Meaning:
    def means(text: str) -> Decimal:
        whole, point, fraction = text.strip("€ %").partition(decimal)
        if group and group in whole:
            first, *others = whole.lstrip("+-").split(group)
            assert 1 <= len(first) <= 3
            assert {len(other) for other in others} == {3}
            whole = whole.replace(group, "")
        return Decimal(f"{whole}.{fraction}" if point else whole)

    return means


def by_strptime(pattern: str, part: str = "") -> Meaning:
    def means(text: str) -> Any:
        moment = datetime.strptime(text, pattern)  # noqa: DTZ007
        if part:
            return getattr(moment, part)()
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

    return means


def in_order(order: str) -> Meaning:
    def means(text: str) -> Any:
        parts = list(map(int, text.replace("/", "-").replace(".", "-").split("-")))
        named = dict(zip("ymd" if len(text) > 4 and text[:4].isdigit() else order, parts, strict=True))
        return datetime(named["y"], named["m"], named["d"], tzinfo=UTC).date()

    return means


def grouped(group: str, decimal: str) -> st.SearchStrategy[str]:
    return st.builds(
        lambda value, places: f"{value:,}".replace(",", group) + (decimal + places if places and decimal else ""),
        st.integers(-(10**12), 10**12),
        st.text("0123456789", max_size=3),
    )


def written(pattern: str) -> st.SearchStrategy[str]:
    return st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30)).map(  # noqa: DTZ001
        lambda moment: moment.strftime(pattern)
    )


NUMBER, DATE, DATETIME, TIME = ({"type": kind} for kind in ("number", "date", "datetime", "time"))
DIGITS = ["0", "1", "12", "123", "000", "1234", "+", "-", "e5", " ", "٣", "\u00a0", "_"]
DAYS = ["1", "01", "5", "05", "12", "13", "29", "30", "31", "2023", "2024", "24", "0000", "/", ".", "-", " ", "T", ":"]
COLUMNS = {
    "comma and point": Column(
        NUMBER, Conventions(None, ",", "."), ungrouped(",", "."), grouped(".", ","), [*DIGITS, ",", "."]
    ),
    "point and comma": Column(
        NUMBER | {"groupChar": ","}, PLAIN, ungrouped(".", ","), grouped(",", "."), [*DIGITS, ",", "."]
    ),
    "no-break spaces": Column(
        NUMBER, Conventions(None, ",", "\u00a0"), ungrouped(",", "\u00a0"), grouped("\u00a0", ","), [*DIGITS, ","]
    ),
    "grouped integers": Column(
        {"type": "integer"}, Conventions(None, None, "'"), ungrouped(".", "'"), grouped("'", ""), [*DIGITS, "'", "."]
    ),
    "dressed numbers": Column(
        NUMBER | {"bareNumber": False},
        PLAIN,
        ungrouped(".", None),
        st.decimals(-(10**6), 10**6, places=2).map("€ {} %".format),
        ["0", "1", "000", "+", "-", " ", "٣", "_", "€", "%", ".", "(", ")", "<", "½", "−"],
    ),
    "day first": Column(DATE, Conventions(date_order="dmy"), in_order("dmy"), written("%d/%m/%Y"), DAYS),
    "month first": Column(DATE, Conventions(date_order="mdy"), in_order("mdy"), written("%m.%d.%Y"), DAYS),
    "year first": Column(DATE, Conventions(date_order="ymd"), in_order("ymd"), written("%Y/%m/%d"), DAYS),
    "named months": Column(
        DATE | {"format": "%d-%b-%Y"},
        PLAIN,
        by_strptime("%d-%b-%Y", "date"),
        written("%d-%b-%Y"),
        ["1", "29", "31", "-", "Feb", "FEB", "feb", "mar", "february", "ſep", "2024", "2023", " "],
    ),
    "packed moments": Column(
        DATETIME | {"format": "%Y%m%d%H%M%S.%f"},
        PLAIN,
        by_strptime("%Y%m%d%H%M%S.%f"),
        written("%Y%m%d%H%M%S.%f"),
        ["2024", "0000", "02", "29", "30", "23", "24", "59", "60", "1", ".", "5", "1234567", " "],
    ),
    "moments with a zone": Column(
        DATETIME | {"format": "%d.%m.%Y, %H:%M %z"},
        PLAIN,
        by_strptime("%d.%m.%Y, %H:%M %z"),
        st.builds("{} {}".format, written("%d.%m.%Y, %H:%M"), st.sampled_from(["Z", "+0130", "-15:59", "+00:00"])),
        [*DAYS, ", ", "Z", "+01:00", "+16:00", "-0060", "UTC", "10:30"],
    ),
    "times of day": Column(
        TIME | {"format": "%H.%M"},
        PLAIN,
        by_strptime("%H.%M", "time"),
        written("%H.%M"),
        ["1", "9", "23", "24", ".", " "],
    ),
    "uuids": Column(
        {"type": "string", "format": "uuid"},
        PLAIN,
        UUID,
        st.uuids().map(str) | st.uuids().map(lambda value: str(value).upper()),
        ["0123abcd", "ABCD", "-", "{", "}", "urn:uuid:", "0" * 12, "٣"],
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_what_a_format_lets_through_means_the_same_to_postgres(db: psycopg.Connection[Any], name: str) -> None:
    column = COLUMNS[name]
    schema = read_schema({"fields": [{"name": "a", **column.field}]})
    unsure = st.lists(st.sampled_from(column.pieces), max_size=8).map("".join)

    @given(st.lists(column.sure, min_size=20, max_size=60), st.lists(unsure, min_size=40, max_size=200))
    @settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    def holds(sure: list[str], unsure: list[str]) -> None:
        cells = sure + unsure
        checked = check([[cell] for cell in cells], schema, [0], 1, column.conventions)
        assert not [cells[place] for place in checked.bad if place < len(sure)]
        values = list(checked.columns[0])
        cast = f"SELECT unnest(%s::text[])::{schema.fields[0].postgres_type}"
        for place, value, (stored,) in zip(checked.places, values, db.execute(cast, (values,)), strict=True):
            meant = None if cells[place] == "" else column.means(cells[place])
            assert (cells[place], value, stored) == (cells[place], value, meant)

    holds()
