"""Files through the stages, one process: what loads, what is rejected, and that the sums add up."""

from __future__ import annotations

from typing import Any

from tests.stages.conftest import Pipeline

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
