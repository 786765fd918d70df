"""Chunks cover a file, cut it only between records, and read as the whole file reads.

The judge is a state machine that looks at one byte at a time and shares no code with the product, and csv.reader.
"""

from __future__ import annotations

import csv
import io
import itertools
import random
import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, find, given, settings
from hypothesis import strategies as st

from chalicelib.chunking import (
    MIN_GAP_BYTES,
    Chunk,
    Finding,
    Rule,
    Segments,
    Start,
    Step,
    cut,
    find_segment,
    guesses,
    steps,
    stitched,
)
from chalicelib.errors import Refused
from chalicelib.formats import Dialect, Unreadable, locate, records, spans
from tests.pure.judge import judged

CHUNK_BYTES = (1, 7, 64, 512, 4096)
BLOCK_BYTES = (1, 3, 64, 1 << 20)
UNLIMITED = 1 << 40
COMMAS = Dialect()
DIALECTS = st.sampled_from(
    [
        *(Dialect(), Dialect(delimiter=";"), Dialect(delimiter="\t", quote="'"), Dialect(quote=None)),
        *(
            Dialect(escape="\\"),
            Dialect(comment="#"),
            Dialect(escape="\\", comment="#"),
            Dialect(quote=None, escape="a"),
        ),
        *(Dialect(delimiter="é"), Dialect(delimiter=",a", comment="'")),
    ]
)


def in_blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


START = Start(0, 1)


def chunks_of(
    data: bytes,
    dialect: Dialect = COMMAS,
    chunk_bytes: int = UNLIMITED,
    chunk_records: int = UNLIMITED,
    block: int = 1 << 20,
    start: Start = START,
    max_record_bytes: int = 16 << 20,
) -> list[Chunk]:
    rule = Rule(dialect, chunk_bytes, chunk_records, max_record_bytes=max_record_bytes)
    return list(cut(in_blocks(data, block), rule, start))


def expected(data: bytes, dialect: Dialect, chunk_bytes: int, chunk_records: int) -> list[Chunk]:
    """The chunks that the rule of `cut` asks for, one record after the other."""
    cuts: list[Chunk] = []
    start, first, line, count = 0, 1, 1, 0
    found = judged(data, dialect)
    for number, record in enumerate(found, 1):
        count += 1
        last = number == len(found)
        if last or record.after - start >= chunk_bytes or count >= chunk_records:
            end = len(data) if last else record.after
            cuts.append(Chunk(len(cuts) + 1, start, end, first, count, line))
            line += physical_lines(data[start:end])
            start, first, count = end, number + 1, 0
    return cuts


def physical_lines(data: bytes) -> int:
    return len(io.StringIO(data.decode(errors="surrogateescape"), newline="").readlines())


def rows_of(data: bytes, dialect: Dialect) -> list[list[str] | None]:
    """The rows as the product reads them, None for one whose cells are withheld."""
    return [None if isinstance(row, Unreadable) else row for row in records(data, dialect)]


Cutter = Callable[..., Iterable[Chunk]]


def reads_the_same(cutter: Cutter, data: bytes, dialect: Dialect, chunk_bytes: int) -> bool:
    """Whether the chunks, read one by one, give the rows of the whole file."""
    chunks = cutter([data], Rule(dialect, chunk_bytes, UNLIMITED), Start(0, 1))
    rows = [row for chunk in chunks for row in rows_of(data[chunk.byte_start : chunk.byte_end], dialect)]
    return rows == [record.cells for record in judged(data, dialect)]


ATOMS = [
    "a",
    "\\",
    "#",
    "\n#",
    '"',
    '""',
    "'",
    ",",
    ";",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "é",
    "\0",
    "\u2028",
    '"a,"',
    '\n"',
    '",',
    "\ufeff",
]
NASTY = st.lists(st.sampled_from([*map(str.encode, ATOMS), b"\xff"]), max_size=60).map(b"".join)


def written(rows: list[list[str]], line_end: str) -> bytes:
    """Rows as a careful program writes them; the proof in the scanner lives on such files."""
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=line_end).writerows(rows)
    return file.getvalue().encode()


CELLS = st.text(st.sampled_from('ab ,"\n\ré'), max_size=6)
TIDY = st.builds(
    written,
    st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=20),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
FILES = st.one_of(NASTY, TIDY, st.builds(bytes.__add__, TIDY, NASTY), st.builds(bytes.__add__, NASTY, TIDY))


@given(FILES, DIALECTS)
@settings(max_examples=300, deadline=None)
def test_the_cuts_are_those_of_the_rule_whatever_the_blocks(data: bytes, dialect: Dialect) -> None:
    for chunk_bytes, block in itertools.product(CHUNK_BYTES, BLOCK_BYTES):
        assert chunks_of(data, dialect, chunk_bytes, block=block) == expected(data, dialect, chunk_bytes, UNLIMITED)


@example(b'a\n"\n"', Dialect(), 1, 1, 1)  # a cell of many lines that ends with the file
@given(FILES, DIALECTS, st.integers(1, 5), st.integers(1, 80), st.sampled_from(BLOCK_BYTES))
@settings(max_examples=500, deadline=None)
def test_the_cuts_are_those_of_the_rule_whatever_the_window(
    data: bytes, dialect: Dialect, chunk_records: int, chunk_bytes: int, block: int
) -> None:
    lines = [1, *map(len, data.splitlines()), *(record.end - record.start for record in judged(data, dialect))]
    longest = max(lines)  # comments count, too
    wanted = expected(data, dialect, chunk_bytes, chunk_records)
    for limit in (longest, longest + 1, longest + 40):  # the scanner's window is never larger than this
        got = chunks_of(data, dialect, chunk_bytes, chunk_records, block, max_record_bytes=limit)
        assert got == wanted


@given(FILES, DIALECTS, st.integers(1, 80), st.data())
@settings(max_examples=500, deadline=None)
def test_records_are_located_where_a_reading_of_the_whole_finds_them(
    data: bytes, dialect: Dialect, window: int, chosen: st.DataObject
) -> None:
    found = list(spans(data, dialect))
    places = sorted(chosen.draw(st.sets(st.integers(0, len(found) - 1)))) if found else []
    assert list(locate(data, dialect, places, window)) == [found[place] for place in places]


@given(FILES, DIALECTS, st.integers(1, 80))
@settings(max_examples=300, deadline=None)
def test_chunks_cover_the_file_without_gap_or_overlap(data: bytes, dialect: Dialect, chunk_bytes: int) -> None:
    chunks = chunks_of(data, dialect, chunk_bytes)
    edges = [0, *(chunk.byte_end for chunk in chunks)]
    assert [chunk.byte_start for chunk in chunks] == edges[:-1]
    assert edges[-1] == (len(data) if chunks else 0)
    assert all(chunk.records for chunk in chunks)
    assert [chunk.n for chunk in chunks] == list(range(1, len(chunks) + 1))


@example(b',"a,aa"\n', Dialect.from_options({"delimiter": ",a"}), 1)  # a quote beside a byte of the delimiter
@given(FILES, DIALECTS, st.sampled_from(CHUNK_BYTES))
@settings(max_examples=500, deadline=None)
def test_reading_chunk_by_chunk_is_reading_the_whole(data: bytes, dialect: Dialect, chunk_bytes: int) -> None:
    assert reads_the_same(cut, data, dialect, chunk_bytes)


def cut_by_parity(blocks: Iterable[bytes], rule: Rule, _: Start) -> Iterator[Chunk]:
    """Wrong on purpose: ends a record at any line end with an even number of quotes before it."""
    data, start, quotes = b"".join(blocks), 0, 0
    for at, byte in enumerate(data):
        quotes += byte == ord('"')
        border = byte == ord("\n") and quotes % 2 == 0
        if at + 1 == len(data) or (border and at + 1 - start >= rule.chunk_bytes):
            yield Chunk(0, start, at + 1, 0, 0, 0)
            start = at + 1


def test_the_property_catches_a_cutter_that_counts_quotes() -> None:
    def differs(data: bytes) -> bool:
        return not reads_the_same(cut_by_parity, data, Dialect(), 1)

    caught = find(FILES, differs, settings=settings(max_examples=5000, database=None))
    assert reads_the_same(cut, caught, Dialect(), 1)


def test_a_stray_quote_is_a_plain_character() -> None:
    data = b'1,5" pipe\n2,6 pipe\n3,"a\nb"\n4,x",y"\n'
    assert [chunk.byte_end for chunk in chunks_of(data, chunk_bytes=1)] == [10, 19, 27, len(data)]


def test_numbers_and_offsets_go_on_from_where_the_data_begin() -> None:
    chunks = chunks_of(b'\n1,"a\r\nb"\r2\n\n3\n\n', chunk_records=1, start=Start(100, 7))
    assert chunks == [
        Chunk(1, 100, 110, 1, 1, 7),
        Chunk(2, 110, 112, 2, 1, 10),
        Chunk(3, 112, 116, 3, 1, 11),
    ]


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n\r\n", b"\r", b"\n\r\r\n"])
def test_a_file_without_a_record_has_no_chunk(data: bytes) -> None:
    assert chunks_of(data, block=1) == []


def test_a_byte_order_mark_inside_the_data_is_data() -> None:
    assert chunks_of(b'\xef\xbb\xbf"a\nb"\n', chunk_bytes=1)[0].byte_end == 6


@given(FILES, DIALECTS, st.sampled_from(CHUNK_BYTES), st.data())
def test_from_the_start_of_any_chunk_the_same_chunks_follow(
    data: bytes, dialect: Dialect, chunk_bytes: int, pick: st.DataObject
) -> None:
    chunks = chunks_of(data, dialect, chunk_bytes)
    for at, chunk in enumerate(chunks):
        if pick.draw(st.booleans()):
            start = Start(chunk.byte_start, chunk.first_line, chunk.n, chunk.first_record)
            assert chunks_of(data[chunk.byte_start :], dialect, chunk_bytes, start=start) == chunks[at:]


def test_a_chunk_is_known_before_the_file_has_ended() -> None:
    def endless() -> Iterator[bytes]:
        yield from itertools.repeat(b"some,cells\n" * 1000)

    chunks = cut(endless(), Rule(Dialect(), 1 << 20, UNLIMITED), Start(0, 1))
    assert [chunk.n for chunk in itertools.islice(chunks, 3)] == [1, 2, 3]


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n", b"\r", b"\nmore\n"])
@pytest.mark.parametrize("block", [1, 3, 1 << 20])
def test_the_longest_allowed_record_passes_and_one_byte_more_is_refused(tail: bytes, block: int) -> None:
    head = b"ok\n\n"
    assert chunks_of(head + b"x" * 50 + tail, block=block, max_record_bytes=50)
    with pytest.raises(Refused) as refused:
        chunks_of(head + b"x" * 51 + tail, block=block, max_record_bytes=50, start=Start(9, 2))
    assert refused.value.code == "record_too_large"
    assert "Record 2, which begins at line 4, byte 13" in refused.value.detail


@pytest.mark.parametrize("block", [1000, 1 << 16, 1 << 20])
def test_a_quote_that_never_closes_is_refused_without_reading_on(block: int) -> None:
    taken = 0

    def file() -> Iterator[bytes]:
        nonlocal taken
        for piece in itertools.chain([b'id,name\n1,"open\n'], itertools.repeat(b"2,x\n" * (block // 4))):
            taken += len(piece)
            yield piece

    limit = 1 << 20
    with pytest.raises(Refused, match="Record 2, which begins at line 2, byte 8"):
        list(cut(file(), Rule(Dialect(), 1 << 20, 10, max_record_bytes=limit), Start(0, 1)))
    assert taken <= 16 + limit + 2 + block


def test_a_record_far_longer_than_a_window_is_one_record() -> None:
    data = b'1,a\n2,"' + b'line ""x"",\n' * 100_000 + b'"\n3,c\n'
    chunks = chunks_of(data, chunk_records=1, block=70_000)
    assert [chunk.byte_end for chunk in chunks] == [4, len(data) - 4, len(data)]
    assert [chunk.first_line for chunk in chunks] == [1, 2, 100_003]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("stray", ["", '5" pipe', '","", x"', "\n\n"])
def test_a_file_of_many_windows_is_cut_by_the_same_rule(line_end: str, stray: str) -> None:
    dice = random.Random(20240229)
    cells = ["", "plain", "7.5", 'said "so"', "a,b", f"two{line_end}lines", f"gap{line_end}{line_end}"]
    rows = [[str(number), *dice.choices(cells, k=4)] for number in range(10_000)]
    data = written(rows, line_end)
    data = data.replace(b",7.5,7.5,", f",{stray},7.5,".encode()) if stray else data
    for chunk_bytes, chunk_records in ((100_000, UNLIMITED), (UNLIMITED, 777)):
        wanted = expected(data, Dialect(), chunk_bytes, chunk_records)
        assert chunks_of(data, Dialect(), chunk_bytes, chunk_records, block=300_000) == wanted


def chunks_of_a_gap(lead: bytes, gap: bytes, times: int, dialect: Dialect = COMMAS) -> tuple[bytes, list[Chunk]]:
    data = lead + gap * times + b"3,c\n"
    return data, chunks_of(data, dialect, chunk_bytes=1000, block=70_000)


@pytest.mark.parametrize("lead", [b"", b"1,a\n", b"1,a\n" * 251, b"1,a\n\n2,b\n"])
@pytest.mark.parametrize(("gap", "comment"), [(b"\n", None), (b"\r\n", None), (b"\r", None), (b"# nothing\n\n", "#")])
def test_a_gap_of_any_length_is_cut_by_bytes_at_line_ends(lead: bytes, gap: bytes, comment: str | None) -> None:
    """Blank lines without end must not make a chunk without end; where it is cut must not depend on the windows."""
    dialect = Dialect(comment=comment)
    data, chunks = chunks_of_a_gap(lead, gap, 5 * MIN_GAP_BYTES // 2 // len(gap), dialect)
    assert max(chunk.byte_end - chunk.byte_start for chunk in chunks) <= MIN_GAP_BYTES + 1100
    assert [chunk.byte_start for chunk in chunks] == [0, *(chunk.byte_end for chunk in chunks[:-1])]
    assert chunks[-1].byte_end == len(data)
    for chunk in chunks:
        piece = data[chunk.byte_start : chunk.byte_end]
        assert chunk.records == len(records(piece, dialect))
        assert chunk.first_line == 1 + physical_lines(data[: chunk.byte_start])
        assert not (piece.endswith(b"\r") and data[chunk.byte_end :].startswith(b"\n"))
        start = Start(chunk.byte_start, chunk.first_line, chunk.n, chunk.first_record)
        rest = data[chunk.byte_start :]
        assert chunks_of(rest, dialect, chunk_bytes=1000, block=9_999_999, start=start) == chunks[chunk.n - 1 :]


@pytest.mark.parametrize("head", [b"", b"1,a\n"])
def test_a_gap_at_the_end_of_a_file_is_in_its_chunks_to_the_last_byte(head: bytes) -> None:
    data = head + b"\n" * (MIN_GAP_BYTES + 1000)
    chunks = chunks_of(data, chunk_bytes=1000, block=70_000)
    assert [(chunk.byte_end, chunk.records) for chunk in chunks] == [
        (len(head) + MIN_GAP_BYTES, int(bool(head))),
        (len(data), 0),
    ]
    last = chunks[-1]
    start = Start(last.byte_start, last.first_line, last.n, last.first_record)
    assert chunks_of(data[last.byte_start :], chunk_bytes=1000, start=start) == [last]


def peak_of(blocks: Iterable[bytes], **options: str) -> tuple[str, int]:
    """The detail of the refusal that a stream ends in, and the most memory held at a time."""
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            for _ in cut(blocks, Rule(Dialect.from_options(options), 4 << 20, UNLIMITED), Start(0, 1)):
                pass
        return f"{refused.value.code}: {refused.value.detail}", tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        (b"id,name\n", b"x" * (1 << 20), "Record 2, which begins at line 2, byte 8, is longer than 16777216 bytes."),
        (b'id,name\n1,"a\nb"\n2,"c\n"\r3,"', b"x,\n" * 300_000, "A quote opens at line 6 and does not close."),
        (
            b'1,x\n2,a,\n3,"b"" \n\n,c"\n4,"d\ne" x,"f',
            b'g,""\n' * 200_000,
            "A quote opens at line 7 and does not close.",
        ),
        (b"1\n#", b"x" * (1 << 20), "Record 2, which begins at line 2, byte 2"),
        (b"1,\\", b"\n\\" * (1 << 19), "Record 1, which begins at line 1, byte 0"),
    ],
    ids=["a line of a gigabyte", "an open quote", "an open quote behind others", "a comment", "escaped line ends"],
)
def test_what_never_ends_is_refused_with_its_line_and_in_bounded_memory(head: bytes, body: bytes, said: str) -> None:
    blocks = itertools.chain([head], itertools.repeat(body, 1100))
    detail, peak = peak_of(blocks, comment="#", escape="\\")
    assert detail.startswith("record_too_large: ")
    assert said in detail
    assert peak < 8 * (16 << 20)


def test_records_as_long_as_may_be_are_held_little_more_than_twice() -> None:
    record = b"x" * (15 << 20) + b"\n"
    blocks = (record[start : start + (1 << 20)] for _ in range(3) for start in range(0, len(record), 1 << 20))
    tracemalloc.start()
    found = [chunk.records for chunk in cut(blocks, Rule(COMMAS, 4 << 20, 9), START)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [1, 1, 1]
    assert peak < 36 << 20


def test_blank_lines_without_end_take_no_memory() -> None:
    tracemalloc.start()
    blocks = itertools.repeat(b"\n" * (1 << 20), 12)
    chunks = cut(blocks, Rule(COMMAS, 4 << 20, 9), START)
    sizes = [chunk.byte_end - chunk.byte_start for chunk in chunks]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes == [4 << 20] * 3
    assert peak < 16 << 20


# In segments: what is guessed ahead and stitched is what the scan from the front finds.

Guess = Callable[[bytes, Dialect], list[int]]
Outcome = tuple[list[Chunk], str]  # the chunks, and what the text was refused for


def outcome(chunks: Iterable[Chunk]) -> Outcome:
    found: list[Chunk] = []
    try:
        found.extend(chunks)  # keeps what came before the refusal
    except Refused as refused:
        return found, f"{refused.code} {refused.detail}"
    return found, ""


def from_the_front(data: bytes, rule: Rule, start: Start = START) -> Outcome:
    return outcome(step.chunk for step in steps([data[start.byte :]], rule, start))


def in_segments(data: bytes, rule: Rule, guess: Guess = guesses, start: Start = START) -> tuple[Outcome, int]:
    """What comes of a text of which every segment but the first was scanned ahead; how many findings that took."""
    segments, held, taken = rule.segments, [], []
    assert segments is not None
    for n in range(1, segments.of(segments.end - 1) + 1):
        before = segments.begin(n) - 1
        for place in guess(data[before : before + 5000], rule.dialect):
            at = before + place
            held.append((n, find_segment(steps([data[at:]], rule, Start(at, 1, n=2)), rule, at)))

    def known(n: int, byte: int) -> Finding | None:
        taken.extend(one for segment, one in held if segment == n and one.knows(byte))
        return next((one for segment, one in held if segment == n and one.knows(byte)), None)

    def scanned(start: Start) -> Iterator[Step]:
        return steps([data[start.byte :]], rule, start)

    return outcome(stitched(start, segments, known, scanned)), len(taken)


def segmented(data: bytes, dialect: Dialect, size: int, chunk_bytes: int = 64, most: int = 16 << 20) -> Rule:
    return Rule(dialect, chunk_bytes, 5, Segments(0, len(data), size), most)


@given(FILES, DIALECTS, st.integers(1, 90), st.integers(1, 120), st.sampled_from([3, 20, 16 << 20]))
@settings(max_examples=1500, deadline=None)
def test_segments_that_were_scanned_ahead_give_the_same_chunks_and_errors(
    data: bytes, dialect: Dialect, size: int, chunk_bytes: int, most: int
) -> None:
    rule = segmented(data, dialect, size, chunk_bytes, most)
    assert in_segments(data, rule)[0] == from_the_front(data, rule)


@given(FILES, DIALECTS, st.integers(1, 90), st.integers(1, 120))
@settings(max_examples=500, deadline=None)
def test_however_wrong_the_guesses_are(data: bytes, dialect: Dialect, size: int, chunk_bytes: int) -> None:
    """Every byte is guessed to begin a chunk: a finding counts only where one does."""
    rule = segmented(data, dialect, size, chunk_bytes)
    everywhere: Guess = lambda head, _: list(range(1, min(len(head), size + 1)))  # noqa: E731
    assert in_segments(data, rule, everywhere)[0] == from_the_front(data, rule)


@given(FILES, DIALECTS, st.integers(1, 90), st.integers(1, 80), st.integers(1, 5))
@settings(max_examples=500, deadline=None)
def test_a_chunk_ends_at_the_first_border_at_or_after_the_end_of_its_segment(
    data: bytes, dialect: Dialect, size: int, chunk_bytes: int, chunk_records: int
) -> None:
    rule = Rule(dialect, chunk_bytes, chunk_records, Segments(0, len(data), size))
    cuts, start, first, line, count = [], 0, 1, 1, 0
    found = judged(data, dialect)
    for number, record in enumerate(found, 1):
        count += 1
        last = number == len(found)
        due = min(start + chunk_bytes, (start // size + 1) * size)
        if last or record.after >= due or count >= chunk_records:
            end = len(data) if last else record.after
            cuts.append(Chunk(len(cuts) + 1, start, end, first, count, line))
            line += physical_lines(data[start:end])
            start, first, count = end, number + 1, 0
    assert from_the_front(data, rule) == (cuts, "")


@given(FILES, DIALECTS, st.integers(1, 90), st.data())
def test_a_stitched_scan_goes_on_from_any_chunk(data: bytes, dialect: Dialect, size: int, pick: st.DataObject) -> None:
    rule = segmented(data, dialect, size)
    chunks = from_the_front(data, rule)[0]
    for at, chunk in enumerate(chunks):
        if pick.draw(st.booleans()):
            start = Start(chunk.byte_start, chunk.first_line, chunk.n, chunk.first_record)
            assert in_segments(data, rule, start=start)[0] == (chunks[at:], "")


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_guesses_are_right_wherever_a_segment_of_a_usual_file_begins(line_end: str, quoting: int) -> None:
    """Else nothing would be wrong, and nothing gained."""
    dice = random.Random(20240229)
    cells = ["", "plain", "7.5", 'said "so"', "a, b", f"two{line_end}lines, or{line_end}three"]
    rows = [[str(number), *dice.choices(cells, k=4)] for number in range(3_000)]
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=line_end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    data = file.getvalue().encode()
    rule = segmented(data, COMMAS, 997, 10_000)
    found, taken = in_segments(data, rule)
    assert found == from_the_front(data, rule)
    assert taken == len(data) // 997


@pytest.mark.parametrize("gap", [b"\n", b"\r\n", b"# nothing\n"])
@pytest.mark.parametrize("tail", [b"", b"3,c\n"])
def test_a_gap_across_segments_is_stitched(gap: bytes, tail: bytes) -> None:
    data = b"1,a\n" * 50_000 + gap * (5 * MIN_GAP_BYTES // 2 // len(gap)) + tail
    rule = segmented(data, Dialect(comment="#"), 300_000, 100_000)
    assert in_segments(data, rule)[0] == from_the_front(data, rule)


@pytest.mark.parametrize("tail", [b'"\n3,c\n', b""], ids=["closes", "never closes"])
@pytest.mark.parametrize("most", [50_000, 16 << 20])
def test_a_record_longer_than_segments_is_stitched_or_refused_the_same(tail: bytes, most: int) -> None:
    data = b"1,a\n" * 5_000 + b'2,"' + b'line ""x"",\n' * 20_000 + tail
    rule = Rule(COMMAS, 10_000, UNLIMITED, Segments(0, len(data), 30_000), most)
    found = in_segments(data, rule)[0]
    assert found == from_the_front(data, rule)
    assert ("Record 5001" in found[1]) == (most < len(data))
