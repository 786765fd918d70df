"""Files through the stages, one process: what loads, what is rejected, and that the sums add up."""

from __future__ import annotations

from random import Random
from string import ascii_letters
from typing import Any

import pytest

from tests.stages.conftest import Pipeline, cut_into

SUMS = ("loaded", "updated", "skipped", "rejected", "unprocessed")


def adds_up(upload: dict[str, Any]) -> bool:
    return bool(upload["rows_total"] == sum(upload[name] for name in SUMS))


def test_a_clean_file_is_loaded_and_completed(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\na@x.org,Ada,36\nb@x.org,Bob,\n")
    assert (upload["state"], upload["status"], upload["rows_total"], upload["loaded"]) == ("completed", "success", 2, 2)
    assert upload["percent"] == 100.0
    assert pipeline.rows() == [
        {"email": "a@x.org", "name": "Ada", "age": 36},
        {"email": "b@x.org", "name": "Bob", "age": None},
    ]


def test_a_file_without_a_good_row_ends_with_every_row_rejected(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\na@x.org,Ada,old\n,Bob,2\n")
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 0, 2)


def test_ragged_rows_do_not_hide_the_delimiter_that_the_header_shows(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\na@x.org\nb@x.org,Bob,2\nc@x.org,Cy,3,more\nd@x.org\n")
    assert (upload["loaded"], upload["rejected"]) == (1, 3)


def test_bad_rows_come_back_with_row_line_column_code_and_the_record(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(
        b'email,name,age\na@x.org,"two\nlines",1\n,Nobody,2\nc@x.org,Cy,old\nd@x.org,too,many,cells\na@x.org,Again,3\n'
    )
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 1, 4)
    assert adds_up(upload)
    found = [
        (r["row"], r["line"], [(e["column"], e["code"]) for e in r["errors"]], r["raw"])
        for r in pipeline.rejects(upload["id"])
    ]
    assert found == [
        (2, 4, [("email", "required_missing")], ",Nobody,2"),
        (3, 5, [("age", "type_invalid")], "c@x.org,Cy,old"),
        (4, 6, [(None, "width_mismatch")], "d@x.org,too,many,cells"),
        (5, 7, [("email", "duplicate_in_file")], "a@x.org,Again,3"),
    ]


def test_a_chunk_of_a_wide_file_holds_fewer_records(pipeline: Pipeline) -> None:
    """Its cells are what a worker has to hold, and a cell may be no more than its delimiter."""
    names = [f"c{n}" for n in range(1500)]
    pipeline.dataset({"fields": [{"name": name, "type": "string"} for name in names]}, "wide")
    upload_id = pipeline.create(",".join(names).encode() + (b"\n" + b"," * 1499) * 1500, "wide")
    pipeline.split(upload_id)
    assert [chunk["records"] for chunk in pipeline.sql("SELECT records FROM rowmill.chunk ORDER BY n")] == [
        400,
        400,
        400,
        300,
    ]


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_a_row_that_postgres_refuses_is_rejected_however_often_it_comes(
    pipeline: Pipeline, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that fits no index: the one behind is held back as a repeat, and nobody could reject it in the end."""
    key = "".join(Random(1).choices(ascii_letters, k=9000))
    pipeline.dataset({"fields": [{"name": "k", "type": "string"}], "primaryKey": "k"}, "keyed")
    for records in (100, 10):  # both in a chunk, and each in its own
        cut_into(monkeypatch, records)
        rest = "".join(f"{records}-{n % 20}\n" for n in range(30))
        upload = pipeline.run(f"k\n{key}\n{rest}{key}\n".encode(), "keyed", mode=mode)
        found = [(r["row"], r["errors"][0]["code"]) for r in pipeline.rejects(upload["id"])]
        assert (upload["state"], upload["unprocessed"]) == ("completed_with_errors", 0)
        assert [row for row, code in found if code == "db_rejected"] == [1, 32]
        assert upload["loaded"] == 20
        assert adds_up(upload)


def test_bytes_that_look_like_an_error_of_a_sheet_are_one_reject(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\na@x.org,\xff#\0,1\nb@x.org,\xff#\xff,2\nc@x.org,Cy,3\n")
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 1, 2)
    assert {r["errors"][0]["code"] for r in pipeline.rejects(upload["id"])} == {"encoding_invalid"}


def test_a_header_with_a_nul_is_refused_by_name(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"email\0,name,age\na@x.org,Ada,1\n")
    assert (upload["state"], upload["error"]["code"]) == ("failed", "header_invalid")
