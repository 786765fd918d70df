"""Cells that a spreadsheet would run: neutralised for every one of them, and back again for every text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.formats import correction, workbook
from chalicelib.formats.correction import COLUMNS, neutralise, restore

SIGNS = "'=+-@\t\r\n ＝＋－＠19.e5ab,"
cells = st.text() | st.text(alphabet=SIGNS)


@given(cells)
def test_what_was_neutralised_is_restored(cell: str) -> None:
    assert restore(neutralise(cell)) == cell


@given(cells)
def test_two_cells_never_become_one(cell: str) -> None:
    assert neutralise(cell) != neutralise("'" + cell)


@given(st.sampled_from("=+-@\t\r＝＋－＠"), cells)
def test_nothing_leaves_as_it_would_run(sign: str, rest: str) -> None:
    left = neutralise(sign + rest)
    assert left == "'" + sign + rest or float(left) is not None


@pytest.mark.parametrize("cell", ["-5", "+3.1", "-.5", "+1e9", "-1E-3", "5", "", "'", "it's", "'quoted'", "a=1", "－5"])
def test_plain_numbers_and_plain_text_are_left_alone_unless_full_width(cell: str) -> None:
    assert (neutralise(cell) == cell) is (cell != "－5")


def test_our_columns_are_known_by_name_wherever_they_stand() -> None:
    assert correction.marks(["a", "_row_raw", "row", "_row"]) == {"_row_raw": 1, "_row": 3}
    assert correction.restored(["'=a", "_row"]) == ["=a", "_row"]
    assert correction.restored(["'=a", "row"]) == ["'=a", "row"]


@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=5))
def test_a_corrected_file_gives_back_its_cells_and_where_they_came_from(rows: list[list[str]]) -> None:
    sent = [[str(place), "", *map(neutralise, row)] for place, row in enumerate(rows)]
    origins, uncorrected = correction.take_back(sent, {"_row": 0, "_row_raw": 1})
    assert [row[2:] for row in sent] == rows
    assert (origins, uncorrected) == (list(range(len(rows))), {})


def test_short_rows_and_odd_numbers_name_no_record() -> None:
    rows = [[], ["x"], ["12345678901", ""], ["7", "left"], ["٣", ""], ["-1", ""]]
    origins, uncorrected = correction.take_back(rows, {"_row": 0, "_row_raw": 1})
    assert (origins, list(uncorrected)) == ([0, 0, 0, 7, 0, 0], [3])


def test_no_field_may_have_a_name_of_ours() -> None:
    assert all(name.startswith("_row") for name in COLUMNS)


@given(st.lists(st.lists(st.text().filter(workbook.can_hold), max_size=3), max_size=4))
def test_a_workbook_of_the_same_rows_has_the_same_bytes(rows: list[list[str]]) -> None:
    assert b"".join(workbook.stream(rows)) == b"".join(workbook.stream(rows))
