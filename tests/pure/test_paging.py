"""Cursors come back as they went out, or are refused; pages cover everything once and fit the gateway."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Refused
from chalicelib.paging import MAX_ITEM_BYTES, MAX_PAGE_BYTES, Page, decode, encode, fill, fitting

LAMBDA_ANSWER_BYTES = 6 * 1024 * 1024  # the most that a function may answer, the HTTP body as a JSON string in it
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def forged(text: str) -> str:
    """A cursor that nobody gave, of any text."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def show(number: int) -> dict[str, Any]:
    return {"n": number}


def page_of(numbers: Iterator[int] | range | list[int], limit: int) -> Page:
    return fill(numbers, limit, show, lambda number: number)


@given(st.integers(-1, 2**63 - 1))
def test_a_number_comes_back_from_its_cursor(key: int) -> None:
    assert decode(encode(key), int, -1) == key


@given(TEXTS)
def test_a_text_comes_back_from_its_cursor(key: str) -> None:
    assert decode(encode(key), str, "") == key


@given(TEXTS)
def test_a_cursor_needs_no_escaping_in_a_link(key: str) -> None:
    assert encode(key).replace("-", "").replace("_", "").isalnum()


def test_without_a_cursor_a_listing_begins_at_its_start() -> None:
    assert (decode(None, int, -1), decode(None, str, "upl_~")) == (-1, "upl_~")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "%%%",
        "é",
        "A",  # no multiple of bytes
        "/w==",
        forged("no json"),
        forged(""),
        forged("null"),
        forged("true"),
        forged("1.5"),
        forged("NaN"),
        forged("Infinity"),
        forged("[1]"),
        forged('{"n": 1}'),
        forged('"text"'),
        forged("-2"),
        forged(str(2**63)),
        forged("9" * 5000),
        forged("[" * 100_000),
        base64.urlsafe_b64encode(zlib.compress(b"1")[:-6]).decode(),
        base64.urlsafe_b64encode(zlib.compress(b" " * (MAX_PAGE_BYTES + 1) + b"1")).decode(),  # unpacked no further
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_a_forged_cursor_of_a_numbered_listing_is_refused(cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(cursor, int, -1)
    assert (refused.value.code, refused.value.status) == ("cursor_invalid", 400)


@pytest.mark.parametrize("text", ["1", "true", "null", "[]", '["a"]', r'"\ud800"', r'"a\u0000b"', "[" * 100_000])
def test_a_forged_cursor_of_a_named_listing_is_refused(text: str) -> None:
    """Half a character and NUL are in no key, and no store takes them."""
    with pytest.raises(Refused) as refused:
        decode(forged(text), str, "")
    assert (refused.value.code, refused.value.status) == ("cursor_invalid", 400)


@given(st.text())
def test_any_text_as_cursor_is_a_key_or_refused(cursor: str) -> None:
    try:
        assert type(decode(cursor, int, -1)) is int
    except Refused as refused:
        assert refused.status == 400


@given(st.integers(0, 60), st.integers(1, 20))
def test_pages_followed_to_the_end_show_every_row_once_in_order(rows: int, limit: int) -> None:
    seen: list[int] = []
    cursor: str | None = None
    while True:
        after = decode(cursor, int, -1)
        page = page_of(range(after + 1, min(rows, after + 1 + limit + 1)), limit)
        assert len(page.items) <= limit
        seen += [item["n"] for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        assert page.items
    assert seen == list(range(rows))


@pytest.mark.parametrize(("rows", "more"), [(0, False), (2, False), (3, False), (4, True)])
def test_there_is_a_next_page_only_if_a_row_is_left(rows: int, more: bool) -> None:
    page = page_of(range(rows), 3)
    assert (len(page.items), page.next_cursor is not None) == (min(rows, 3), more)


def test_a_page_ends_early_before_it_outgrows_the_gateway_and_the_next_goes_on_there() -> None:
    rows = [{"n": n, "text": "x" * 1_000_000} for n in range(10)]
    page = fill(rows, 100, dict, lambda row: row["n"])
    assert [row["n"] for row in page.items] == [0, 1, 2, 3]
    assert decode(page.next_cursor, int, -1) == 3
    assert len(json.dumps(page.items)) <= MAX_PAGE_BYTES + 100


def test_a_row_larger_than_a_page_is_a_page_of_its_own() -> None:
    rows = [{"n": n, "text": "x" * (MAX_PAGE_BYTES + 1)} for n in range(2)]
    page = fill(rows, 100, dict, lambda row: row["n"])
    assert ([row["n"] for row in page.items], decode(page.next_cursor, int, -1)) == ([0], 0)


@pytest.mark.parametrize("text", ['"', "\\", "é", "\x01", "🎉"])
def test_a_full_page_fits_a_function_s_answer_however_its_text_is_escaped(text: str) -> None:
    rows = ({"n": n, "raw": text * 20_000} for n in range(1000))
    page = fill(rows, 5000, dict, lambda row: row["n"])
    body = json.dumps({"items": page.items, "next_cursor": page.next_cursor})
    assert len(json.dumps({"body": body, "statusCode": 200})) < LAMBDA_ANSWER_BYTES


def test_a_row_that_no_answer_can_hold_is_refused_with_the_cursor_behind_it() -> None:
    envelope = len(json.dumps({"n": 1, "text": ""})) + 6  # its six quotes are escaped once more
    fits, large = ({"n": 1, "text": "\\" * ((MAX_ITEM_BYTES - envelope) // 4 + more)} for more in (0, 1))
    assert fitting(fits) == fill([fits], 1, dict, lambda row: row["n"]).items[0] == fits
    body = json.dumps({"items": [fits], "next_cursor": encode(1)})
    assert len(json.dumps({"body": body, "statusCode": 200})) < LAMBDA_ANSWER_BYTES - 10_240  # its headers
    assert len(fill([{"n": 0}, large], 100, dict, lambda row: row["n"]).items) == 1
    with pytest.raises(Refused) as single:
        fitting(large)
    with pytest.raises(Refused) as paged:
        fill([large, fits], 100, dict, lambda row: row["n"])
    for refused in (single.value, paged.value):
        assert (refused.code, refused.status) == ("row_too_large", 409)
    assert decode(str(paged.value).split()[-1], int, -1) == 1


def test_no_row_is_fetched_beyond_the_one_that_proves_there_are_more() -> None:
    rows = iter(range(10))
    page_of(rows, 3)
    assert list(rows) == [4, 5, 6, 7, 8, 9]
