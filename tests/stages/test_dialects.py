"""Dialects through the real pipeline: what is declared or detected is what loads, and what cannot be told comes back."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import pytest

from bench.reading import read
from chalicelib import table_rows
from chalicelib.errors import Refused
from chalicelib.paging import Asked
from tests.pure.test_conformance import CASES as CASES_OF_OTHERS
from tests.pure.test_conformance import NOT_A_DIALECT, NOT_A_TABLE, REJECTED_HERE, declared
from tests.stages.conftest import Pipeline, cut_into
from tests.stages.test_journey_in_process import adds_up

TEXTS = {"fields": [{"name": name, "type": "string"} for name in ("a", "b", "c")], "missingValues": []}
CASES: dict[str, tuple[bytes, dict[str, Any], list[tuple[str, ...]], list[tuple[int, int, str]]]] = {
    "misplaced quotes": (
        b'a,b,c\n1,"x"y,z\n2,5" pipe,"say ""so"""\n3,"two\nlines" ,w\n4,u"v,w"\n5,"open,x\n6,y,z\n',
        {},
        [("2", '5" pipe', 'say "so"'), ("3", "two\nlines", "w")],
        [(1, 2, "quote_misplaced"), (4, 6, "quote_misplaced"), (5, 7, "quote_misplaced")],
    ),
    "escapes and comments": (
        b'# top\na;b;c\n1;\\;;"x\\"y"\n#no;record\n2;\\\n;C:\\new\n',
        {"delimiter": ";", "escape": "\\", "comment": "#"},
        [("1", ";", 'x"y'), ("2", "\n", "C:\\new")],
        [],
    ),
    "padded": (
        b"a,b,c\n1\n2,x,y,,\n3,x,y,z\n",
        {"ragged": "pad"},
        [("1", "", ""), ("2", "x", "y")],
        [(3, 4, "width_mismatch")],
    ),
    "a preamble and a delimiter of two bytes": (
        "Report of May\n\naéb éc\n1é2é3\n".replace("b é", "bé").encode(),
        {"delimiter": "é", "skip_lines": 2},
        [("1", "2", "3")],
        [],
    ),
    "blank columns at the right": (
        b"a,b,c,,\n1,2,3,,\n4,5,6\n7,8,9,x,\n",
        {},
        [("1", "2", "3"), ("4", "5", "6")],
        [(3, 4, "width_mismatch")],
    ),
    "detected: quotes, no header": (b"1;'x;y';2.5\n2;'z;w';3.5\n", {}, [("1", "x;y", "2.5"), ("2", "z;w", "3.5")], []),
}


@pytest.mark.parametrize("records", [1, 1000], ids=["a record a chunk", "one chunk"])
def test_files_of_many_dialects_load_what_can_be_told_and_return_the_rest(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    cut_into(monkeypatch, records)
    for place, (body, dialect, rows, rejects) in enumerate(CASES.values()):
        name = f"texts{place}"
        pipeline.dataset(TEXTS, name)
        upload = pipeline.run(body, name, dialect=dialect)
        assert adds_up(upload)
        assert sorted(tuple(row.values()) for row in pipeline.rows(name)) == rows
        found = [(each["row"], each["line"], each["errors"][0]["code"]) for each in pipeline.rejects(upload["id"])]
        assert found == rejects


def test_the_status_says_what_was_detected_and_how_surely(pipeline: Pipeline) -> None:
    pipeline.dataset(TEXTS, "texts")
    shown = pipeline.run(b"Title\n\na;b;c\n1;2;3\n", "texts", dialect={"quote": None})["dialect"]
    assert (shown["delimiter"], shown["skip_lines"], shown["header"], shown["encoding"]) == (";", 2, True, "utf-8")
    detected = shown["detected"]
    assert (detected["declared"], detected["ambiguous"], detected["alternatives"]) == (["quote"], False, [])
    assert detected["confidence"]["quote"] == detected["confidence"]["header"] == 1.0
    assert detected["line_ends"] == {"lf": 4, "crlf": 0, "cr": 0}


@pytest.mark.timeout(600)
def test_other_libraries_cases_load_through_the_whole_pipeline(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every case that a table of texts can hold, header row included, a record a chunk."""
    if not CASES_OF_OTHERS.exists():
        pytest.skip(f"no {CASES_OF_OTHERS}: set ROWMILL_CORPORA")
    cut_into(monkeypatch, 1)
    loaded = 0
    for case in map(json.loads, CASES_OF_OTHERS.read_text().splitlines()):
        if case["kind"] == "reject" or case["id"] in {*NOT_A_TABLE, *NOT_A_DIALECT, *REJECTED_HERE}:
            continue
        rows = case["rows"]
        upload = pipeline.run(base64.b64decode(case["input_b64"]), texts(pipeline, rows), dialect=declared(case))
        assert (upload["state"], upload["loaded"]) == ("completed", len(rows)) or not rows, (
            case["id"],
            upload["error"],
        )
        found = table_rows.listing(
            pipeline.tenant, upload["dataset"], Asked({"upload": upload["id"]}, None, 1000)
        ).items
        assert [list(row.values()) for row in found] == rows, case["id"]
        loaded += bool(rows)
    assert loaded == 125


@pytest.mark.timeout(600)
@pytest.mark.skipif("ROWMILL_CORPORA" not in os.environ, reason="takes half a minute or more: set ROWMILL_CORPORA")
def test_other_libraries_cases_make_their_own_datasets(pipeline: Pipeline) -> None:
    """All 139 that a table can hold, as `--create-text` has them: infer, then confirm with every column text."""
    cases = map(json.loads, CASES_OF_OTHERS.read_text().splitlines())
    held = {f"{case['source']}: {case['id']}": case for case in cases if case["id"] not in NOT_A_TABLE}
    found = created(pipeline, held)
    assert len(found) == 139
    assert {name: each for name, each in found.items() if each != expected(held[name])} == {}


def created(pipeline: Pipeline, cases: dict[str, dict[str, Any]]) -> dict[str, tuple[str, list[list[str]]]]:
    """How each case ended as a dataset of its own, and its rows, a NULL being an empty cell. All side by side."""
    ended: dict[str, tuple[str, list[list[str]]]] = {}
    uploads: dict[str, str] = {}
    for place, (name, case) in enumerate(cases.items()):
        try:
            body = base64.b64decode(case["input_b64"])
            uploads[name] = pipeline.create(body, f"case_{place}", infer=True, dialect=declared(case))
        except Refused as refused:
            ended[name] = refused.code, []
    for upload_id in uploads.values():
        pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    for upload in map(pipeline.upload, uploads.values()):
        if upload["state"] == "needs_review":
            fields = [{"name": field["name"], "type": "string"} for field in upload["review"]["schema"]["fields"]]
            pipeline.confirm(upload["id"], schema={"fields": fields})
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    return ended | {name: outcome(pipeline, upload_id) for name, upload_id in uploads.items()}


def outcome(pipeline: Pipeline, upload_id: str) -> tuple[str, list[list[str]]]:
    """Why the file was refused, the codes of its rejects or that it is complete; and its rows."""
    upload = pipeline.upload(upload_id)
    if error := upload["error"]:
        return error["errors"][0]["code"] if error["errors"] else error["code"], []
    assert adds_up(upload)
    rows = [[cell or "" for cell in row.values()] for row in pipeline.rows(upload["dataset"])]
    codes = {reject["errors"][0]["code"] for reject in pipeline.rejects(upload_id)}
    return ",".join(codes) or upload["state"], rows


def expected(case: dict[str, Any]) -> tuple[str, list[list[str]]]:
    """What must come of a case, by the case itself."""
    if case["id"] in NOT_A_DIALECT:
        return "dialect_invalid", []
    if case["kind"] == "reject" or case["id"] in REJECTED_HERE:
        return "quote_misplaced", read(base64.b64decode(case["input_b64"]), declared(case)).rows  # the other records
    if not case["rows"]:
        return ("header_missing" if case["input_b64"] else "file_empty"), []
    return "completed", case["rows"]


def texts(pipeline: Pipeline, rows: list[list[str]]) -> str:
    """The dataset of as many columns, all text, that takes an empty cell for what it is."""
    width = len(rows[0]) if rows else 1
    fields = [{"name": f"column_{place}", "type": "string"} for place in range(width)]
    return pipeline.dataset({"fields": fields, "missingValues": []}, f"texts_{width}")
