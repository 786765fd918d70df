"""The targets of `python -m bench.fuzz`: what they begin with holds, and each is able to find something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bench.fuzz import packed, seeds, text
from bench.fuzz.bounds import OutOfBounds, within
from bench.fuzz.child import TARGETS, target
from bench.fuzz.knobs import with_knobs
from chalicelib import chunking
from chalicelib.chunking import Step
from chalicelib.formats import delimited

FOUND = {  # what fuzzing has found, by target
    "cutter": [with_knobs(b"# no record, only comments\n" * 10, 5, 0, 0, 0, 2)],
}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_where_fuzzing_begins(name: str) -> None:
    for data in [*seeds.of(name), *FOUND.get(name, []), b"", b"\0", bytes(range(256))]:
        target(name)(data)


def test_a_cell_that_is_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_by_csv", lambda *_: [["a"]])
    with pytest.raises(AssertionError):
        text.reader(with_knobs(b'"a",b\n'))


def test_a_wrong_line_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    close = chunking._Cutter._close

    def late(cutter: Any, end: Any) -> Step:
        step = close(cutter, end)
        return step._replace(chunk=replace(step.chunk, first_line=1))

    monkeypatch.setattr(chunking._Cutter, "_close", late)
    with pytest.raises(AssertionError, match="line"):
        text.cutter(with_knobs(b"a\nb\n"))


def test_an_exception_of_any_other_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Iterator[bytes]:
        raise ValueError

    monkeypatch.setattr(packed, "unpack", broken)
    with pytest.raises(ValueError):
        packed.gzipped(with_knobs(b"\x1f\x8b"))


def test_a_pattern_that_never_ends_is_found() -> None:
    with pytest.raises(OutOfBounds, match="longer"), within(10):
        re.match(rb"(a+)+$", b"a" * 60 + b"b")


def test_memory_that_grows_beyond_an_input_is_found() -> None:
    with pytest.raises(OutOfBounds, match="MiB"), within(10):
        [bytes(1 << 20) * 600]
