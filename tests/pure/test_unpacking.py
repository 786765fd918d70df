"""gzip and other encodings as UTF-8: exact for every way the bytes may arrive, and named where it cannot be."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Refused
from chalicelib.formats.encodings import unmixed
from chalicelib.formats.gzipped import BLOCK_BYTES, unpack
from chalicelib.formats.kinds import GZIP, WORKBOOK, kind, refuse_old_office
from chalicelib.formats.limits import RATIO_FROM, Limits
from chalicelib.formats.transcoded import transcode
from tests.workbooks import in_old_container

LIMITS = Limits(unpacked=1 << 30, scratch=1 << 20)
TEXT = b"id,name\n" + b"".join(b"%d,name of %d\n" % (n, n * 7919) for n in range(500))


def in_blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def unpacked(data: bytes, size: int = 1 << 20, limits: Limits = LIMITS) -> bytes:
    return b"".join(unpack(in_blocks(data, size), limits))


def code(data: bytes, size: int = 1 << 20, limits: Limits = LIMITS) -> str:
    with pytest.raises(Refused) as refused:
        unpacked(data, size, limits)
    return refused.value.code


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 20])
def test_members_come_out_one_after_the_other_however_the_bytes_arrive(size: int) -> None:
    assert unpacked(gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(b"1,2\n"), size) == TEXT + b"1,2\n"


@pytest.mark.parametrize("size", [1, 512])
def test_zeros_after_a_member_are_padding(size: int) -> None:
    assert unpacked(gzip.compress(TEXT) + bytes(700) + gzip.compress(b"x\n") + bytes(9), size) == TEXT + b"x\n"


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_gzip_file_that_ends_anywhere_too_early_is_truncated(size: int) -> None:
    data = gzip.compress(TEXT[:200])
    assert {code(data[:end], size) for end in range(len(data))} == {"gzip_truncated"}
    assert {code(data + data[:end], size) for end in range(1, len(data))} == {"gzip_truncated"}


def test_a_wrong_crc_or_length_is_corrupt() -> None:
    data = gzip.compress(TEXT)
    for place in range(1, 9):
        assert code(data[:-place] + bytes([data[-place] ^ 1]) + data[len(data) - place + 1 :]) == "gzip_corrupt"


def test_a_damaged_beginning_or_middle_is_corrupt() -> None:
    data = gzip.compress(TEXT)
    assert code(data[:2] + b"\x07" + data[3:]) == "gzip_corrupt"
    assert code(data[:500] + bytes(200) + data[700:]) in ("gzip_corrupt", "gzip_truncated")


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_something_else_after_the_last_member_is_named(size: int) -> None:
    assert code(gzip.compress(TEXT) + b"and then some", size) == "gzip_trailing_garbage"


def test_a_bomb_is_refused_after_a_bounded_amount_of_work() -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(30)) + packer.flush()
    seen = []
    with pytest.raises(Refused) as refused:
        for block in unpack([bomb], Limits(1 << 40, 0, ratio=200)):
            seen.append(len(block))
    assert refused.value.code == "packed_too_densely"
    assert max(seen) <= BLOCK_BYTES
    assert sum(seen) <= max(RATIO_FROM, 200 * len(bomb)) < 30 << 20
    assert code(bomb, limits=Limits(1 << 20, 0, ratio=2000)) == "unpacked_too_large"


def test_a_dense_stretch_makes_a_bomb_whatever_follows() -> None:
    noise, limits = random.Random(1).randbytes(500_000), Limits(1 << 40, 0, ratio=100)
    assert code(gzip.compress(bytes(15_000_000) + noise), limits=limits) == "packed_too_densely"
    assert len(unpacked(gzip.compress(bytes(12_000_000) + noise), limits=limits)) == 12_500_000


def test_small_files_may_be_packed_as_densely_as_they_like() -> None:
    assert len(unpacked(gzip.compress(b"0" * (RATIO_FROM - 1)))) == RATIO_FROM - 1


@given(st.text(st.characters(codec=None), max_size=40), st.sampled_from(["utf-16-le", "utf-16-be"]), st.integers(1, 9))
def test_utf16_becomes_utf8_however_the_bytes_arrive(text: str, encoding: str, size: int) -> None:
    data = text.encode(encoding, "surrogatepass")
    expected = data.decode(encoding, "surrogatepass").removeprefix("\ufeff").encode(errors="surrogatepass")
    assert b"".join(transcode(in_blocks(data, size), encoding)) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_half_a_letter_at_the_end_of_utf16_is_no_utf8(size: int) -> None:
    data = "a\n😀".encode("utf-16-le")
    assert b"".join(transcode(in_blocks(data[:-2], size), "utf-16-le")) == b"a\n\xed\xa0\xbd"
    assert b"".join(transcode(in_blocks(data[:-1], size), "utf-16-le")) == b"a\n\xed\xa0\xbd\xff"
    assert b"".join(transcode(in_blocks(data + b"\n", size), "utf-16-le")) == b"a\n\xf0\x9f\x98\x80\xff"


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_every_byte_is_its_letter_or_spoils_only_its_own_line(encoding: str) -> None:
    undefined = {0x81, 0x8D, 0x8F, 0x90, 0x9D} if encoding == "cp1252" else set()
    for byte in set(range(256)) - {0x0A}:
        lines = b"".join(transcode([b"\xe9\n" + bytes([byte, byte]) + b"\n\xe9\n"], encoding)).split(b"\n")
        assert lines[0] == lines[2] == "é".encode()
        if byte in undefined:
            with pytest.raises(UnicodeDecodeError):
                lines[1].decode()
        else:
            assert lines[1].decode() == bytes([byte, byte]).decode(encoding)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_letter_of_utf8_behind_cp1252_is_met_however_the_bytes_arrive(size: int) -> None:
    for text in ("é", "€", "漢", "😀"):
        with pytest.raises(Refused, match="goes on in UTF-8"):
            list(unmixed(in_blocks(b"caf\xe9, " + text.encode() + b", x", size)))
    plain = "« café…\u00a0», Spaß…, 50 €, naïve".encode("cp1252")
    assert b"".join(unmixed(in_blocks(plain, size))) == plain


def test_kinds_are_told_by_the_first_bytes_then_by_what_was_declared() -> None:
    assert kind(gzip.compress(b"a")) == GZIP
    assert kind(b"PK\x03\x04") == WORKBOOK
    assert kind(b"a,b\n") == "utf-8"
    assert kind(b"a,b\n", "cp1252") == "cp1252"
    assert kind(b"\xef\xbb\xbfa,b\n", "cp1252") == "utf-8"
    assert kind("\ufeffa".encode("utf-16-be"), "cp1252") == "utf-16-be"
    assert kind("id,é\n".encode("utf-16-be"), "utf-16") == "utf-16-be"
    assert kind("id,é\n".encode("utf-16-le"), "utf-16") == "utf-16-le"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["DataSpaces", "EncryptedPackage"], "workbook_encrypted"),
        (["Workbook"], "workbook_old"),
        (["Book"], "workbook_old"),
    ],
)
def test_the_old_container_of_office_is_refused_by_what_is_in_it(names: list[str], expected: str) -> None:
    data = in_old_container(*names)
    with pytest.raises(Refused) as refused:
        refuse_old_office(data[:4096], len(data), lambda start, end: data[start:end])
    assert refused.value.code == expected
    refuse_old_office(in_old_container("WordDocument")[:4096], 9, lambda start, end: b"")
    refuse_old_office(b"a,b\n", 4, lambda start, end: b"")
