"""Forms from strangers: what a client encodes comes out as it was, and anything else is refused, never a fault."""

from __future__ import annotations

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from chalicelib import forms, images
from chalicelib.forms import File

NAMES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)
BOUNDARY = b"--b\r\nContent-Disposition: form-data; "


def encoded(**parts: object) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://x", **parts)  # type: ignore[arg-type]
    return request.headers["content-type"], request.read()


@given(st.dictionaries(NAMES, st.binary(max_size=200), min_size=1, max_size=4))
def test_files_come_out_of_a_form_byte_by_byte(files: dict[str, bytes]) -> None:
    sent = {name: (f"{name}.bin", data, "image/png") for name, data in files.items()}
    found = forms.read(*encoded(files=sent))
    assert found == {name: File(f"{name}.bin", "image/png", data) for name, data in files.items()}


@given(st.dictionaries(NAMES, st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), min_size=1))
def test_texts_come_out_of_both_kinds_of_form_as_they_were(texts: dict[str, str]) -> None:
    multipart = {name: (None, text.encode()) for name, text in texts.items()}
    assert forms.read(*encoded(files=multipart)) == texts
    assert forms.read(*encoded(data=texts)) == texts


@given(st.binary(max_size=300))
@examples(max_examples=300)
def test_no_bytes_are_worse_than_refused(body: bytes) -> None:
    for kind in ("multipart/form-data; boundary=b", "multipart/form-data", forms.URLENCODED):
        for whole in (body, BOUNDARY + body, BOUNDARY + b'name="a"\r\n\r\n' + body + b"\r\n--b--"):
            with contextlib.suppress(ValueError):
                forms.read(kind, whole)


@pytest.mark.parametrize(
    "body",
    [
        BOUNDARY + b'name="a"\r\n\r\n1\r\n' + BOUNDARY + b'name="a"\r\n\r\n2\r\n--b--',
        BOUNDARY + b'name="a"\r\n\r\n1',
        BOUNDARY + b"\r\n\r\n1\r\n--b--",
        BOUNDARY + b'name="a"\r\n\r\n\xff\r\n--b--',
        BOUNDARY + b'name="a"\r\n\r\n\0\r\n--b--',
        BOUNDARY + b'name="a"\r\n--b--',
        b"".join(BOUNDARY + b'name="%d"\r\n\r\n1\r\n' % n for n in range(forms.MAX_PARTS + 2)) + b"--b--",
    ],
    ids=["twice", "no end", "no name", "no UTF-8", "NUL", "no value", "too many"],
)
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        forms.read("multipart/form-data; boundary=b", body)


def test_a_body_that_is_no_form_is_a_file() -> None:
    assert forms.read("text/csv; charset=utf-8", b"a") == {"file": File("", "text/csv", b"a")}


def test_a_picture_is_what_its_first_bytes_say() -> None:
    known = {
        b"\xff\xd8\xff\xe0": "image/jpeg",
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"GIF89a": "image/gif",
        b"RIFF\x10\0\0\0WEBPVP8 ": "image/webp",
        b"RIFF\x10\0\0\0WAVEfmt ": None,
        b"<svg xmlns=": None,
        b"": None,
    }
    assert {first: images.kind(first) for first in known} == known
