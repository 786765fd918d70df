"""A file makes its own dataset: types from the whole file, a look at what was found, then the rows."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from chalicelib import control, report, triage
from chalicelib.errors import Refused
from chalicelib.postgres import connection, passes
from tests.stages.conftest import Pipeline, acting, cut_into
from tests.stages.test_journey_in_process import adds_up
from tests.workbooks import of_rows

BODY = (
    b"id;Name;born;zip;paid\n1;Ada;1815-12-10;01067;true\n2;Bob;;80331;false\nragged;row\n3;Cy;1990-01-01;10115;true\n"
)
FIELDS = [
    {"name": "id", "type": "integer", "constraints": {"required": True}},
    {"name": "Name", "type": "string", "constraints": {"required": True}},
    {"name": "born", "type": "date"},
    {"name": "zip", "type": "string", "constraints": {"required": True}},
    {"name": "paid", "type": "boolean", "constraints": {"required": True}},
]
ADA = {"id": 1, "Name": "Ada", "born": "1815-12-10", "zip": "01067", "paid": True}


def inferred(pipeline: Pipeline, body: bytes = BODY, **options: Any) -> dict[str, Any]:
    return pipeline.run(body, "people", infer=True, **options)


def loaded(pipeline: Pipeline, upload_id: str, **body: Any) -> dict[str, Any]:
    pipeline.confirm(upload_id, **body)
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    return pipeline.upload(upload_id)


@pytest.mark.parametrize("records", [1, 3, 100])
def test_types_come_from_all_chunks_and_rows_follow_when_confirmed(
    pipeline: Pipeline, records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, records)
    upload = inferred(pipeline)
    assert (upload["state"], upload["rows_total"], upload["valid"], upload["rejected"]) == ("needs_review", 4, 3, 1)
    assert upload["review"]["schema"] == {"fields": FIELDS}
    assert upload["review"]["dialect"]["delimiter"] == ";"
    assert upload["review"]["rows"][:2] == [
        ["1", "Ada", "1815-12-10", "01067", "true"],
        ["2", "Bob", "", "80331", "false"],
    ]
    upload = loaded(pipeline, upload["id"])
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 3, 1)
    assert (adds_up(upload), upload["review"]) == (True, None)
    assert pipeline.rows("people")[0] == ADA
    assert [one["row"] for one in pipeline.rejects(upload["id"])] == [3]


def test_what_is_wrong_with_records_is_told_while_there_is_no_dataset(pipeline: Pipeline) -> None:
    upload_id = pipeline.create(b"a,b\n1,2\n1,2,3\n", "fresh", infer=True)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "needs_review"
    with acting("api"):
        (cause,) = triage.listing(pipeline.tenant, upload_id)["causes"]
        states = [report.record(pipeline.tenant, upload_id, row)["state"] for row in "12"]
    assert (cause["codes"], cause["rejects"], cause["fix"]) == (["width_mismatch"], 1, None)
    assert states == ["success", "failed"]


def test_what_was_found_can_be_changed_before_it_loads(pipeline: Pipeline) -> None:
    upload = inferred(pipeline)
    schema = {"fields": [{**field, "type": "string"} for field in FIELDS[::-1]], "primaryKey": "id"}
    upload = loaded(pipeline, upload["id"], schema=schema, mode="upsert", dataset="people")
    assert (upload["state"], upload["mode"], upload["loaded"]) == ("completed_with_errors", "upsert", 3)
    assert pipeline.rows("people")[0] == {
        "paid": "true",
        "zip": "01067",
        "born": "1815-12-10",
        "Name": "Ada",
        "id": "1",
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"schema": {"fields": FIELDS[:2]}}, "columns_unknown"),
        ({"schema": {"fields": [*FIELDS, {"name": "more"}]}}, "columns_missing"),
        ({"schema": {"fields": []}}, "schema_invalid"),
        ({"schema": []}, "body_invalid"),
        ({"dataset": "others"}, "body_invalid"),
        ({"mode": "upsert"}, "mode_invalid"),
        ({"keys": []}, "body_invalid"),
    ],
)
def test_a_confirmation_that_does_not_fit_the_file_is_refused_and_the_upload_waits_on(
    pipeline: Pipeline, body: dict[str, Any], code: str
) -> None:
    upload = inferred(pipeline)
    with pytest.raises(Refused) as caught:
        pipeline.confirm(upload["id"], **body)
    assert caught.value.code == code
    assert loaded(pipeline, upload["id"])["loaded"] == 3


def test_a_dataset_that_was_made_and_not_yet_given_is_given_by_the_next_confirmation(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = inferred(pipeline)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(control, "confirm", lambda *arguments: (_ for _ in ()).throw(SystemExit))
        pipeline.confirm(upload["id"])
    assert loaded(pipeline, upload["id"])["loaded"] == 3


def test_a_dataset_that_has_come_to_exist_meanwhile_is_left_alone(pipeline: Pipeline) -> None:
    upload = inferred(pipeline)
    pipeline.dataset({"fields": [{"name": "other"}]}, "people")
    with pytest.raises(Refused) as caught:
        pipeline.confirm(upload["id"])
    assert (caught.value.code, caught.value.status) == ("dataset_exists", 409)
    assert pipeline.cancel(upload["id"])["state"] == "canceled"


@pytest.mark.parametrize("other", [{"mode": "upsert"}, {"type": "integer"}], ids=["mode", "type"])
def test_what_somebody_else_has_confirmed_since_the_dataset_was_made_is_not_loaded_into(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    """01067 was confirmed as a text, and would be 1067 in a dataset that another confirmation made of it."""
    waiting = inferred(pipeline, b"id,zip\n1,01067\n")
    real = control.confirm

    def beside(*arguments: Any) -> Any:
        zipped = {"name": "zip", "type": other.get("type", "string")}
        schema = {"fields": [{"name": "id", "type": "integer"}, zipped], "primaryKey": "id"}
        pipeline.dataset(schema, "people", mode=other.get("mode", "insert"))
        return real(*arguments)

    schema = {"fields": [{"name": "id", "type": "integer"}, {"name": "zip", "type": "string"}], "primaryKey": "id"}
    with monkeypatch.context() as patch, pytest.raises(Refused) as caught:
        patch.setattr(control, "confirm", beside)
        pipeline.confirm(waiting["id"], schema=schema)
    assert (caught.value.code, pipeline.upload(waiting["id"])["state"]) == ("dataset_exists", "needs_review")


def test_a_dataset_is_not_changed_while_an_upload_is_given_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The columns of its file were matched with the fields before: they would be taken for others."""
    waiting = inferred(pipeline, b"a,b\nleft,right\n")
    refused: list[str] = []
    real = passes.give_dataset

    def change() -> None:
        try:
            pipeline.dataset({"fields": [{"name": "b"}, {"name": "a"}]}, "people")
        except Refused as found:
            refused.append(found.code)
        finally:
            connection.close()

    def changed_first(*arguments: Any) -> None:
        changing = threading.Thread(target=change)
        changing.start()
        changing.join()
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(passes, "give_dataset", changed_first)
        pipeline.confirm(waiting["id"])
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    assert (pipeline.rows("people"), refused) == ([{"a": "left", "b": "right"}], ["dataset_busy"])


def test_a_number_of_a_sheet_stays_what_it_is_in_a_field_whose_name_is_spelt_otherwise(pipeline: Pipeline) -> None:
    """As a text 1.234 is 1234 in this field; that the cell is a number is known by the column's name."""
    waiting = inferred(pipeline, of_rows([["Preis"], [1.234], ["1.234,5"]]))
    price = {"name": "preis", "type": "number", "decimalChar": ",", "groupChar": "."}
    loaded(pipeline, waiting["id"], schema={"fields": [price]})
    assert pipeline.rows("people") == [{"preis": "1.234"}, {"preis": "1234.5"}]


def test_without_a_header_columns_are_numbered(pipeline: Pipeline) -> None:
    upload = inferred(pipeline, b"1,x\n2,y\n", dialect={"header": False})
    assert [(field["name"], field["type"]) for field in upload["review"]["schema"]["fields"]] == [
        ("column_1", "integer"),
        ("column_2", "string"),
    ]
    assert loaded(pipeline, upload["id"])["loaded"] == 2


@pytest.mark.parametrize("first", [b'1,"x"y\n', b"1\n", b"1,x,y\n"], ids=["unreadable", "short", "long"])
def test_without_a_header_most_records_tell_how_many_columns_there_are(pipeline: Pipeline, first: bytes) -> None:
    upload = inferred(pipeline, first + b"2,x\n3,y\n", dialect={"header": False, "delimiter": ",", "quote": '"'})
    assert (upload["state"], upload["valid"], upload["rejected"]) == ("needs_review", 2, 1)
    assert loaded(pipeline, upload["id"])["loaded"] == 2
    assert pipeline.rows("people") == [{"column_1": 2, "column_2": "x"}, {"column_1": 3, "column_2": "y"}]


def test_a_file_of_which_no_record_can_be_read_is_refused_with_what_is_wrong_with_them(pipeline: Pipeline) -> None:
    upload = inferred(pipeline, b'"x"y,1\n"z"w,2\n', dialect={"header": False, "delimiter": ",", "quote": '"'})
    assert (upload["state"], upload["error"]["code"]) == ("failed", "records_unreadable")
    found = [(error["row"], error["code"]) for error in upload["error"]["errors"]]
    assert found == [(1, "quote_misplaced"), (2, "quote_misplaced")]


def test_blank_lines_alone_have_no_columns(pipeline: Pipeline) -> None:
    upload = inferred(pipeline, b"\n\r\n\n", dialect={"header": False})
    assert (upload["state"], upload["error"]["code"]) == ("failed", "header_missing")


def test_a_file_without_rows_has_columns_of_text(pipeline: Pipeline) -> None:
    upload = inferred(pipeline, b"a,b\n")
    assert upload["review"]["schema"] == {"fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "string"}]}
    assert loaded(pipeline, upload["id"])["state"] == "completed"


@pytest.mark.parametrize(
    ("header", "code"),
    [(b"a,a", "column_name_invalid"), (b",a", "columns_unnamed"), (b"a," + b"x" * 64, "column_name_too_long")],
)
def test_a_header_that_no_table_can_have_refuses_the_file(pipeline: Pipeline, header: bytes, code: str) -> None:
    upload = inferred(pipeline, header + b"\n1,2\n")
    assert (upload["state"], upload["error"]["code"]) == ("failed", code)


def test_the_encoding_is_the_files_not_that_of_the_text_made_of_it(pipeline: Pipeline) -> None:
    upload = inferred(pipeline, "name;stadt\nJürgen;Köln\nRené;Tübingen\n".encode("cp1252"))
    assert upload["review"]["rows"][0] == ["Jürgen", "Köln"]
    assert (upload["review"]["dialect"]["encoding"], upload["dialect"]["encoding"]) == ("cp1252", "cp1252")


def test_what_is_shown_of_a_file_is_never_more_than_the_status_table_holds(pipeline: Pipeline) -> None:
    """It takes no item above 400 KB, and a letter beyond U+FFFF is twelve bytes in there."""
    lines = [[f"c{place}" for place in range(50)], *([["x" + "\U0001f600" * 60] * 50] * 20)]
    upload = inferred(pipeline, "".join(",".join(line) + "\n" for line in lines).encode())
    assert upload["state"] == "needs_review"
    assert upload["review"]["rows"] == [["x" + "\U0001f600" * 19] * 50] * 20


def test_bytes_that_are_no_text_are_shown_as_such(pipeline: Pipeline) -> None:
    upload = inferred(pipeline, b"a,b\n1,\xff\n2,\0\n3,ok\n")
    assert (upload["valid"], upload["rejected"]) == (1, 2)
    assert [row[0] for row in upload["review"]["rows"]] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("options", "code"),
    [({"mode": "skip"}, "body_invalid"), ({"mapping": {}}, "body_invalid"), ({"infer": 1}, "body_invalid")],
)
def test_options_that_need_a_dataset_do_not_go_with_infer(
    pipeline: Pipeline, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as caught:
        pipeline.create(BODY, "people", **{"infer": True, **options})
    assert caught.value.code == code


def test_infer_makes_a_new_dataset_and_never_changes_one(pipeline: Pipeline) -> None:
    pipeline.dataset(name="people")
    with pytest.raises(Refused) as caught:
        pipeline.create(BODY, "people", infer=True)
    assert caught.value.code == "dataset_exists"
