"""Other people's cases, and ours: whatever the chunks, the same rows, rejects and line numbers.

ROWMILL_CORPORA names the folder of csv-conformance.jsonl, which is not part of the project: one case a line, the
file's bytes, the dialect to declare, and the rows (header included) or the refusal that must come out.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.reading import Table, read
from chalicelib import chunking
from chalicelib.errors import Refused
from chalicelib.formats import Dialect, grammar

CORPORA = Path(os.environ.get("ROWMILL_CORPORA") or Path(__file__).resolve().parents[3] / "shared" / "corpora")
CASES = CORPORA / "csv-conformance.jsonl"
CHUNK_BYTES = (1, 7, 64, 512, 4096, 8 << 20)
NOT_A_TABLE = {
    "core_parser_tests-37: Input is just empty fields": "rows of two widths",
    "parse_tests-9: Mixed slash n and slash r should choose first as precident": "a lone CR ends a line here; rows of three widths",
    "parse_tests-44: Blank lines at end": "a blank line is no record here",
    "parse_tests-45: Blank line in middle with whitespace": "rows of two widths",
    "parse_tests-59: Empty lines": "a blank line is no record here",
    "core_parser_tests-54: One column input with empty fields": "a blank line is no record here",
    "location_coordinates": "the case contradicts itself",
}
# Text behind a closing quote: this case wants it read, core_parser_tests-22 wants it refused, and so do we.
REJECTED_HERE = {"quote_no_escapes"}
NOT_A_DIALECT = {"parse_tests-24: Bad delimiter (\\n)"}
OWN = {
    "stray quotes": b'a,b\n1,5" pipe\n2,6 pipe\n3,"x\ny"\n4,x",y"\n5,"a"b\n6,q"r,s"\n',
    "a quote that never closes": b'a,b\n1,x\n2,"open\n3,y\n4,z\n',
    "blanks behind quotes": b'a,b\r\n"1" ,"x"\t\r\n"2"x,y\r\n3,"z" "\r\n',
    "every line end": b'a,b\n1,"x\r\ny\rz\n"\r2,b\r\n\r\n\n\r3,c',
    "ragged": b"a,b\n1\n2,x\n3,x,\n4,x,y\n,\n\n5,x,,\n",
    "broken bytes": b"a,b\n1,caf\xe9\n2,\xff\xfe\n3,\xc3\xa9\n4,\0\n",
    "marks of other lines": "a,b\n1,\u2028\n2,\x85\n3,\x1c\v\f\n".encode(),
    "comments and escapes": b'# top\na,b\n1,\\,x\n#2,"open\n3,"q\\"r"\n\\#4,y\n5,\\\n6\n7,"s\\\\"\n8,"t\\"\n9,u\n',
    "the end of a COPY": b'a,b\n\\.,x\n1,\\.\n"\\.",y\n',
}
OPTIONS: dict[str, dict[str, Any]] = {"comments and escapes": {"comment": "#", "escape": "\\"}}


def cases() -> Iterator[Any]:
    if not CASES.exists():
        yield pytest.param(None, marks=pytest.mark.skip(reason=f"no {CASES}: set ROWMILL_CORPORA"))
        return
    for line in CASES.read_text().splitlines():
        case = json.loads(line)
        yield pytest.param(case, id=f"{case['source']}: {case['id']}")


def declared(case: dict[str, Any]) -> dict[str, Any]:
    """The case's own options and what its library takes for granted; only a delimiter to be guessed is left open."""
    given = {name: value for name, value in case["opts"].items() if name != "auto"}
    assumed = {"quote": '"', "escape": None, "comment": None, "skip_lines": 0, "encoding": "utf-8", "header": False}
    return {**({} if case["opts"].get("auto") else {"delimiter": ","}), **assumed, **given}


@pytest.mark.parametrize("case", list(cases()))
def test_a_case_of_other_libraries_comes_out_as_they_say(case: dict[str, Any]) -> None:
    if case["id"] in NOT_A_TABLE:
        pytest.skip(NOT_A_TABLE[case["id"]])
    data = base64.b64decode(case["input_b64"])
    if case["id"] in NOT_A_DIALECT:
        with pytest.raises(Refused, match=r"dialect\.delimiter"):
            Dialect.from_options(declared(case))
        return
    table = read(data, declared(case))
    if case["kind"] == "reject" or case["id"] in REJECTED_HERE:
        assert "quote_misplaced" in [reject.code for reject in table.rejects]
    else:
        assert (table.rows, table.rejects) == (case["rows"], [])


def test_the_cases_left_out_are_those_we_know() -> None:
    if not CASES.exists():
        pytest.skip(f"no {CASES}: set ROWMILL_CORPORA")
    names = [json.loads(line)["id"] for line in CASES.read_text().splitlines()]
    assert len(names) == 146
    assert sum(name not in NOT_A_TABLE for name in names) == 139


def files() -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    yield from ((name, data, OPTIONS.get(name, {})) for name, data in OWN.items())
    for line in CASES.read_text().splitlines() if CASES.exists() else []:
        case = json.loads(line)
        if case["id"] not in NOT_A_DIALECT:
            yield case["id"], base64.b64decode(case["input_b64"]), declared(case)


def differing(chunk_bytes: tuple[int, ...]) -> list[str]:
    """The files that do not read the same in chunks of each size as in one."""
    return [
        name
        for name, data, options in files()
        for size in chunk_bytes
        if outcome(data, options, size) != outcome(data, options, 1 << 40)
    ]


def outcome(data: bytes, options: dict[str, Any], chunk_bytes: int) -> Table | str:
    try:
        return read(data, options, chunk_bytes=chunk_bytes)
    except Refused as refused:
        return refused.code


def test_rows_rejects_and_lines_are_the_same_in_chunks_of_any_size() -> None:
    assert differing(CHUNK_BYTES) == []


def test_a_border_finder_that_counts_quotes_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a record ends at each line end with an even number of quotes before it."""

    def by_parity(data: bytes) -> Iterator[tuple[int, int]]:
        start = quotes = 0
        for at, byte in enumerate(data):
            quotes += byte == ord('"')
            if byte == ord("\n") and quotes % 2 == 0:
                yield start, at + 1
                start = at + 1
        if start < len(data):
            yield start, len(data)

    def scan(window: bytes, dialect: Dialect, final: bool) -> grammar.Region:
        records = len(list(by_parity(window)))
        return grammar.Region(window, len(window), records, grammar.line_count(window), dialect, len(window))

    monkeypatch.setattr(chunking, "scan", scan)
    monkeypatch.setattr(grammar.Region, "borders", lambda region: [end for _, end in by_parity(region.data)])
    assert "stray quotes" in differing((1, 7))
