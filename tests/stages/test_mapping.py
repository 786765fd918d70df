"""Headers that are not the field names: what is mapped loads, what is off refuses the file, and the status says how."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.errors import Refused
from tests.stages.conftest import Pipeline, cut_into

BODY = b"Note;E-Mail;AGE;full name\nx;a@x.org;36;Ada\ny;b@x.org;;Bob\n"
MAPPING = {"Note": None, "full name": "name"}
ROWS = [{"email": "a@x.org", "name": "Ada", "age": 36}, {"email": "b@x.org", "name": "Bob", "age": None}]


def told(upload: dict[str, Any]) -> list[tuple[int, str, str | None, str]]:
    return [tuple(column[name] for name in ("position", "name", "field", "how")) for column in upload["mapping"]]


def test_declared_and_normalised_columns_load_and_the_status_says_how(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    pipeline.dataset()
    upload = pipeline.run(BODY, mapping=MAPPING)
    assert (upload["state"], upload["loaded"], upload["options"]["mapping"]) == ("completed", 2, MAPPING)
    assert told(upload) == [
        (1, "Note", None, "declared"),
        (2, "E-Mail", "email", "normalised"),
        (3, "AGE", "age", "normalised"),
        (4, "full name", "name", "declared"),
    ]
    assert pipeline.rows() == ROWS


def test_a_column_that_is_only_alike_refuses_the_file_and_is_suggested(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"emial,name,age\na@x.org,Ada,1\n")
    assert (upload["state"], upload["error"]["code"], upload["rows_total"]) == ("failed", "columns_missing", 0)
    suggested = [error["suggestion"] for error in upload["error"]["errors"] if "suggestion" in error]
    assert suggested == [{"field": "email", "confidence": 0.8}]
    assert pipeline.rows() == []


def test_a_field_without_a_column_refuses_the_file_though_it_could_be_null(pipeline: Pipeline) -> None:
    pipeline.dataset()
    assert pipeline.run(b"email,name\na@x.org,Ada\n")["error"]["code"] == "columns_missing"


def test_a_mapping_of_a_column_that_the_file_lacks_refuses_the_file(pipeline: Pipeline) -> None:
    pipeline.dataset()
    assert pipeline.run(BODY, mapping={**MAPPING, "Nota": None})["error"]["code"] == "mapping_invalid"


def test_a_mapping_to_a_field_that_is_gone_when_the_file_comes_refuses_the_file(pipeline: Pipeline) -> None:
    """Its column would be left out without a word, while the status names a field that nobody has."""
    fields = [{"name": name, "type": "string"} for name in ("email", "name")]
    pipeline.dataset({"fields": [*fields, {"name": "age", "type": "integer"}]})
    upload_id = pipeline.create(b"email,name,Alter\na@x.org,Ada,36\n", mapping={"Alter": "age"})
    pipeline.dataset({"fields": fields})
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    assert (upload["state"], (upload["error"] or {}).get("code")) == ("failed", "mapping_invalid")
    assert pipeline.rows() == []


def test_a_mapping_to_no_field_is_refused_when_it_is_announced(pipeline: Pipeline) -> None:
    pipeline.dataset()
    with pytest.raises(Refused) as caught:
        pipeline.create(BODY, mapping={"full name": "fullname"})
    assert (caught.value.code, caught.value.status) == ("mapping_invalid", 422)
    assert "fullname" in caught.value.detail


def test_without_a_header_columns_go_by_position(pipeline: Pipeline) -> None:
    pipeline.dataset()
    body = b"x,Ada,a@x.org,36\ny,Bob,b@x.org,\n"
    upload = pipeline.run(body, dialect={"header": False}, mapping={"1": None, "3": "email"})
    assert (upload["state"], pipeline.rows()) == ("completed", ROWS)
    assert told(upload)[1:3] == [(2, "column_2", "name", "position"), (3, "column_3", "email", "declared")]


@pytest.mark.parametrize(("body", "code"), [(b"a@x.org,1\n", "columns_missing"), (b"a,b,1,x\n", "columns_unknown")])
def test_without_a_header_the_number_of_columns_must_match(pipeline: Pipeline, body: bytes, code: str) -> None:
    pipeline.dataset()
    assert pipeline.run(body * 3, dialect={"header": False})["error"]["code"] == code


def test_one_ragged_row_without_a_header_is_a_bad_row_and_not_a_bad_file(pipeline: Pipeline) -> None:
    pipeline.dataset()
    dialect = {"header": False, "delimiter": ","}
    upload = pipeline.run(b"a@x.org,Ada\nb@x.org,Bob,2\nc@x.org,Cy,3\n", dialect=dialect)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 2, 1)
