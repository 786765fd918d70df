"""EICAR's test file is found in bytes however they come in blocks, and nothing else is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Infected
from chalicelib.formats.threats import EICAR, watched


def in_blocks(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return (data[begin:end] for begin, end in pairwise(places))


def test_it_is_the_file_that_scanners_know() -> None:
    digest = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
    assert hashlib.sha256(EICAR).hexdigest() == digest


@given(st.binary(max_size=200), st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=12))
def test_it_is_found_wherever_it_stands_and_however_it_is_cut(before: bytes, after: bytes, cuts: list[int]) -> None:
    with pytest.raises(Infected):
        list(watched(in_blocks(before + EICAR + after, cuts)))


@given(st.integers(0, 67), st.binary(max_size=100), st.lists(st.integers(0, 10_000), max_size=12))
def test_bytes_that_lack_one_of_its_letters_pass_unchanged(place: int, around: bytes, cuts: list[int]) -> None:
    data = around + EICAR[:place] + b"." + EICAR[place + 1 :] + around
    assert b"".join(watched(in_blocks(data, cuts))) == data
