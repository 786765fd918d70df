"""Python's csv and DuckDB read what we read, or differ in a way that has a name in differences.py.

The files are small and messy, so that every two things meet. They are the same in every run, since an odd meeting of
two of their habits is nobody's fault here; ROWMILL_EXAMPLES=5000 asks for that many others.
"""

from __future__ import annotations

import csv
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.formats import Dialect
from tests.pure import peers
from tests.pure.differences import DIFFERENCES, Difference, explained
from tests.pure.peers import Case, Reading
from tests.pure.rewritten import BOM

EXAMPLES = int(os.environ.get("ROWMILL_EXAMPLES", "250"))
SETTINGS = settings(max_examples=EXAMPLES, deadline=None, derandomize="ROWMILL_EXAMPLES" not in os.environ)
NAMES = [f"{each.reader}: {each.name}" for each in DIFFERENCES]
DIALECTS = st.sampled_from(
    [
        *[{}] * 4,
        {"delimiter": ";", "quote": "'"},
        {"delimiter": "\t"},
        {"delimiter": " "},
        {"delimiter": "|", "quote": None},
        {"delimiter": "é"},
        {"delimiter": "||"},
        {"comment": "#"},
        {"escape": "\\"},
        {"escape": "\\", "comment": "#"},
    ]
)
LINE_ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r", "mixed"])
ATOMS = ["a", "b", "1", " ", "\t", '"', '""', "'", ",", ",,", ";", "|", "#", "\\", "é", "\0", "\u2028"]
QUOTED = ['"a,b"', '"a\nb"', '"a\r\nb"', '"" ', ' "', '" "']


@st.composite
def messy(draw: st.DrawFn) -> Case:
    """A file of a few marks in any order, most often with line ends of one kind."""
    marks, line_end = draw(DIALECTS), draw(LINE_ENDS)
    dialect = Dialect(header=False, **marks)
    ends = ["\n", "\r\n", "\r", "\n\n"] if line_end == "mixed" else [line_end] * 3
    atoms = [*ATOMS, *ends, *[dialect.delimiter] * 3, *(QUOTED if line_end == "mixed" else QUOTED[:1] + QUOTED[3:])]
    pieces = [*map(str.encode, atoms), f'"x{ends[0]}y"'.encode(), b"\xff"]
    text = b"".join(draw(st.lists(st.sampled_from(pieces), max_size=10)))
    mark = BOM if draw(st.integers(0, 19)) == 0 else b""
    return Case(mark + text, draw(st.integers(1, 3)), dialect)


@given(messy())
@SETTINGS
def test_every_disagreement_with_csv_has_a_class(case: Case) -> None:
    left = explained(case, "csv")
    assert left.ours == left.theirs


@given(messy())
@SETTINGS
def test_every_disagreement_with_duckdb_has_a_class(case: Case) -> None:
    left = explained(case, "DuckDB")
    assert left.ours == left.theirs


@pytest.mark.parametrize("each", DIFFERENCES, ids=NAMES)
def test_a_class_is_needed_by_its_example(each: Difference) -> None:
    """So a class whose difference is gone turns red, and goes."""
    assert explained(each.example, each.reader).agree
    assert not explained(each.example, each.reader, without=each).agree


def test_names_are_told_apart() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("data", [b'a,"b"\nc,d\n', b'a,b\n\n"c" ,\nx"y,z"\n', b"a,b\r\nc,d\n"])
def test_a_reader_that_loses_the_last_cell_is_in_no_class(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted, also in files that other classes are about."""

    def losing(case: Case) -> Reading:
        rows = peers.by_csv(case)
        return rows if isinstance(rows, str) else [*rows[:-1], ["", *rows[-1][1:]]]

    monkeypatch.setitem(peers.READERS, "csv", losing)
    assert not explained(Case(data), "csv").agree


WELL_WRITTEN = st.integers(2, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.text('ab ,"\né', max_size=6), min_size=width, max_size=width), min_size=1, max_size=12
    )
)


@given(WELL_WRITTEN, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
@settings(SETTINGS, max_examples=EXAMPLES // 5)
def test_a_well_written_file_is_read_alike_but_for_empty_cells(rows: list[list[str]], quoting: int) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=quoting, lineterminator="\n").writerows(rows)  # type: ignore[arg-type]
    case = Case(file.getvalue().encode(), len(rows[0]))
    theirs = peers.by_duckdb(case)
    assert not isinstance(theirs, str)
    assert peers.by_us(case) == peers.by_csv(case) == [[cell or "" for cell in row] for row in theirs] == rows
