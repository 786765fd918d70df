"""Rows one by one: held to a file's checks, guarded by tags, and no upload's own any more."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any
from urllib.parse import quote, unquote

import psycopg
import pytest

from chalicelib import catalog, table_rows
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from chalicelib.journey import HANDMADE, lineage
from chalicelib.postgres import connection, people
from tests.stages.conftest import CONTACTS, Pipeline, consulted, cut_into
from tests.stages.test_api import Answer, Api, is_problem, place

ROWS = "/v1/datasets/contacts/rows"
ADA = {"email": "ada@x.org", "name": "Ada", "age": 36}


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    api = Api(pipeline)
    assert api.put().status_code == 201
    return api


def made(api: Api, row: dict[str, Any] = ADA, rows: str = ROWS) -> Answer:
    answer = api("POST", rows, row)
    assert answer.status_code == 201, answer.body
    return answer


def beside(work: Callable[[], object]) -> Thread:
    """Do it at the same time, on a connection of its own; below the doors, which serve one request at a time."""

    def done() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = Thread(target=done)
    thread.start()
    return thread


def codes(problem: dict[str, Any]) -> dict[str | None, str]:
    return {error["column"]: error["code"] for error in problem["errors"]}


# Made, seen, changed, deleted


def test_a_row_is_made_seen_changed_and_deleted(api: Api) -> None:
    created = made(api)
    path = place(ROWS, created)
    assert (created.json_body, path) == (ADA, f"{ROWS}/ada@x.org")
    seen = api.get(path)
    assert (seen.status_code, seen.json_body, seen.headers["ETag"]) == (200, ADA, created.headers["ETag"])
    changed = api("PATCH", path, {"age": 37, "name": None})
    assert (changed.status_code, changed.json_body) == (200, {**ADA, "age": 37, "name": None})
    assert api.get(path).headers["ETag"] == changed.headers["ETag"] != created.headers["ETag"]
    assert api.pipeline.rows() == [changed.json_body]
    deleted = api("DELETE", path)
    assert (deleted.status_code, deleted.body) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        is_problem(api(method, path, {} if method == "PATCH" else None), 404, "row_not_found")
    assert api.pipeline.rows() == []


def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    tag = made(api).headers["ETag"]
    path = f"{ROWS}/ada@x.org"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = api.get(path, If_None_Match=known)
        assert (answer.status_code, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert api.get(path, If_None_Match='"other"').status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_meant_for_what_was_shown_before_is_refused(api: Api, method: str) -> None:
    tag, path = made(api).headers["ETag"], f"{ROWS}/ada@x.org"
    latest = api("PATCH", path, {"age": 1}, If_Match=tag).headers["ETag"]
    for stale in (tag, f"W/{latest}", '"x"', ""):
        if stale:
            is_problem(api(method, path, {"age": 2}, If_Match=stale), 412, "precondition_failed")
    assert api.get(path).json_body["age"] == 1
    assert api(method, path, {"age": 2}, If_Match=f'"x", {latest}').status_code in (200, 204)
    other = made(api, {**ADA, "email": "b@x.org"})
    assert api(method, f"{ROWS}/b@x.org", {"age": 3}, If_Match="*").status_code in (200, 204)
    assert other.status_code == 201


def test_a_change_that_names_nothing_changes_nothing(api: Api) -> None:
    tag = made(api).headers["ETag"]
    before = api.pipeline.sql("SELECT last_value FROM rowmill.handmade_row")
    assert api("PATCH", f"{ROWS}/ada@x.org", {}).headers["ETag"] == tag
    assert api.pipeline.sql("SELECT last_value FROM rowmill.handmade_row") == before


def test_a_row_that_no_answer_can_hold_is_refused_and_passed_by(pipeline: Pipeline) -> None:
    api = Api(pipeline)
    names = ["id", *"abcdefg"]
    assert api.put("wide", {"fields": [{"name": name} for name in names], "primaryKey": "id"}).status_code == 201
    cells = ",".join(["x" * 1_000_000] * 7)
    csv = f"{','.join(names)}\n1{',' * 7}\n2,{cells}\n3{',' * 7}\n".encode()
    assert pipeline.run(csv, "wide")["loaded"] == 3
    rows = "/v1/datasets/wide/rows"
    first = api.get(rows).json_body
    assert [row["id"] for row in first["items"]] == ["1"]
    refused = is_problem(api.get(f"{rows}?cursor={first['next_cursor']}"), 409, "row_too_large")
    behind = api.get(f"{rows}?cursor={refused['detail'].split()[-1]}").json_body
    assert ([row["id"] for row in behind["items"]], behind["next_cursor"]) == (["3"], None)
    is_problem(api.get(f"{rows}/2"), 409, "row_too_large")
    for change in ({}, {"id": "4"}):
        is_problem(api("PATCH", f"{rows}/2", change), 409, "row_too_large")
    assert api("PATCH", f"{rows}/2", {"a": None, "b": None}).status_code == 200
    assert len(api.get(f"{rows}/2").body) > 5_000_000
    made = {"id": "5", "a": "é" * 600_000, "b": "é" * 600_000}
    is_problem(api("POST", rows, json.dumps(made, ensure_ascii=False).encode()), 409, "row_too_large")
    is_problem(api.get(f"{rows}/5"), 404, "row_not_found")


# Held to the checks of files


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"email": None}, {"email": "required_missing"}),
        ({"email": ""}, {"email": "required_missing"}),
        ({"age": "old"}, {"age": "type_invalid"}),
        ({"age": 1.5}, {"age": "type_invalid"}),
        ({"age": True}, {"age": "type_invalid"}),
        ({"age": 2**63}, {"age": "type_invalid"}),
        ({"age": {}}, {"age": "type_invalid"}),
        ({"name": 5}, {"name": "type_invalid"}),
        ({"name": ["x"]}, {"name": "type_invalid"}),
        ({"name": "x" * 1_048_577}, {"name": "row_too_large"}),
        (
            {"email": 1, "age": "x", "colour": "red"},
            {"email": "type_invalid", "age": "type_invalid", "colour": "column_unknown"},
        ),
        ({"_row": 1}, {"_row": "column_unknown"}),
    ],
)
def test_what_a_file_s_row_could_not_hold_is_refused_with_every_error(
    api: Api, change: dict[str, Any], code: dict[str | None, str]
) -> None:
    made(api)
    assert codes(is_problem(api("POST", ROWS, {**ADA, "email": "b@x.org", **change}), 422, "row_invalid")) == code
    assert codes(is_problem(api("PATCH", f"{ROWS}/ada@x.org", change), 422, "row_invalid")) == code
    assert api.pipeline.rows() == [ADA]


def test_a_missing_field_of_a_new_row_has_no_value(api: Api) -> None:
    assert made(api, {"email": "a"}).json_body == {"email": "a", "name": None, "age": None}
    assert codes(is_problem(api("POST", ROWS, {}), 422, "row_invalid")) == {"email": "required_missing"}


RULES = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"minimum": 1}},
        {"name": "day", "type": "date", "format": "%d.%m.%Y", "constraints": {"minimum": "31.12.1999"}},
        {"name": "price", "type": "number", "decimalChar": ",", "constraints": {"maximum": "9,5"}},
        {"name": "open", "type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]},
        {"name": "code", "constraints": {"pattern": "[a-z]+", "maxLength": 3, "enum": ["ab", "abc", "abcd", "x1"]}},
    ],
    "primaryKey": "id",
}  # fmt: skip


def test_rules_hold_and_values_are_spelled_as_they_are_shown(api: Api) -> None:
    api.put("rules", RULES)
    rows = "/v1/datasets/rules/rows"
    whole = {"id": 1, "day": "2024-12-31", "price": "1.50", "open": True, "code": "ab"}
    assert made(api, whole, rows).json_body == whole
    assert api("PATCH", f"{rows}/1", whole).json_body == whole
    assert api("PATCH", f"{rows}/01", {"price": 2.25, "open": "false"}).json_body["price"] == "2.25"
    refused = {
        "day": ("1999-12-30", "range_exceeded"), "price": (9.75, "range_exceeded"), "id": (0, "range_exceeded"),
        "open": ("ja", "type_invalid"), "code": ("abcd", "length_exceeded"),
    }  # fmt: skip
    for name, (value, code) in refused.items():
        assert codes(is_problem(api("PATCH", f"{rows}/1", {name: value}), 422, "row_invalid")) == {name: code}
    assert codes(is_problem(api("PATCH", f"{rows}/1", {"day": "31.12.2024"}), 422, "row_invalid")) == {
        "day": "type_invalid"
    }
    for value, code in (("x1", "pattern_mismatch"), ("abz", "enum_invalid")):
        assert codes(is_problem(api("PATCH", f"{rows}/1", {"code": value}), 422, "row_invalid")) == {"code": code}


def test_every_type_comes_back_as_it_was_given(api: Api) -> None:
    values = {
        "string": "a\tb\\n'\"%s ä", "integer": -5, "number": "0.10", "boolean": False, "date": "0001-01-01",
        "time": "01:02:03.000004", "datetime": "2024-01-01T10:00:00.500000Z", "year": 33, "duration": "P1Y2M3DT4H5M6.5S",
        "object": {"a": [1, {"b": None}]}, "array": [1, "x"], "geopoint": "1.5, -2",
    }  # fmt: skip
    fields = [{"name": f"{kind} %", "type": kind} for kind in values]
    api.put("types", {"fields": [{"name": "id"}, *fields], "primaryKey": "id"})
    row = {"id": "x"} | {f"{kind} %": value for kind, value in values.items()}
    assert made(api, row, "/v1/datasets/types/rows").json_body == row
    assert api("PATCH", "/v1/datasets/types/rows/x", row).json_body == row
    assert api.get("/v1/datasets/types/rows/x").json_body == row


NUMBERS = {
    "fields": [{"name": "n", "type": "number"}, {"name": "i", "type": "integer"}, {"name": "o", "type": "object"}]
}


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('{"n": 12345678901234567890.123}', {"n": "12345678901234567890.123"}),
        ('{"n": 0.10}', {"n": "0.10"}),
        ('{"n": -1e-400}', {"n": f"-0.{'0' * 399}1"}),
        ('{"i": 5.0}', {"i": 5}),
        ('{"i": 3e0}', {"i": 3}),
        ('{"i": -9007199254740993.0}', {"i": -9007199254740993}),
        ('{"o": {"a": 0.12345678901234567890}}', {"o": {"a": 0.12345678901234568}}),
    ],
)
def test_a_number_is_kept_as_it_is_written(api: Api, sent: str, shown: dict[str, Any]) -> None:
    api.put("numbers", NUMBERS | {"primaryKey": "n"} if "n" in shown else NUMBERS)
    answer = api("POST", "/v1/datasets/numbers/rows", sent.encode())
    assert (answer.status_code, answer.json_body) == (201, {"n": None, "i": None, "o": None} | shown)
    if "n" in shown:
        assert api("PATCH", f"/v1/datasets/numbers/rows/{shown['n']}", sent.encode()).json_body == answer.json_body


@pytest.mark.parametrize("name", ["n", "i"])
@pytest.mark.parametrize(
    "sent", ["1e-1000", "1e-999999999", "1e-99999999999999999999", "0e999999999", f"0.{'1' * 1000}"]
)
def test_a_number_that_no_file_could_have_is_refused_unexpanded(api: Api, name: str, sent: str) -> None:
    api.put("numbers", NUMBERS)
    answer = api("POST", "/v1/datasets/numbers/rows", f'{{"{name}": {sent}}}'.encode())
    assert codes(is_problem(answer, 422, "row_invalid")) == {name: "type_invalid"}


def test_a_key_that_is_taken_is_told_by_its_columns(api: Api) -> None:
    made(api)
    made(api, {**ADA, "email": "b@x.org"})
    for answer in (api("POST", ROWS, ADA), api("PATCH", f"{ROWS}/b@x.org", {"email": "ada@x.org"})):
        problem = is_problem(answer, 409, "duplicate_in_db")
        assert codes(problem) == {"email": "duplicate_in_db"}
    api.put("seats", {"fields": [{"name": "row"}, {"name": "seat"}], "uniqueKeys": [["row", "seat"]]})
    made(api, {"row": "1", "seat": "2"}, "/v1/datasets/seats/rows")
    problem = is_problem(api("POST", "/v1/datasets/seats/rows", {"row": "1", "seat": "2"}), 409, "duplicate_in_db")
    assert codes(problem) == {"row, seat": "duplicate_in_db"}


def test_what_only_postgres_refuses_is_told_as_of_a_file(api: Api) -> None:
    import random

    long = "".join(random.Random(1).choices("abcdefghijklmnop0123456789", k=9000))
    assert codes(is_problem(api("POST", ROWS, {"email": long}), 422, "row_invalid")) == {None: "db_rejected"}


# Addresses


KEYS = ["a/b", "a,b", "ä ö", "100 %", "%2C", "a?b#c", "a+b", "'\"; --", "~", "~1", "a~0~", ".", "..", "...", "~4"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_any_text_is_an_address(api: Api, key: str) -> None:
    location = place(ROWS, made(api, {**ADA, "email": key}))
    # A gateway that decodes the address once hands on what has the same effect.
    for path in (location, quote(unquote(location), safe="/,@~")):
        assert api.get(path).json_body["email"] == key
    assert api("DELETE", location).status_code == 204


def test_a_key_that_is_but_an_empty_text_is_an_address(api: Api) -> None:
    """Without an escape the address would be that of all rows."""
    fields = [{"name": "code"}, {"name": "text"}]
    api.put("codes", {"fields": fields, "primaryKey": "code", "missingValues": ["NA"]})
    rows = "/v1/datasets/codes/rows"
    location = place(rows, made(api, {"code": "", "text": "none"}, rows))
    assert api.get(location).json_body == {"code": "", "text": "none"}
    assert api("PATCH", location, {"text": "any"}).json_body == {"code": "", "text": "any"}
    assert api("DELETE", location).status_code == 204


@pytest.mark.parametrize("length", ["-P1D", "-P1Y2M3DT4H5M6.5S", "-PT0.5S", "PT0S"])
def test_a_duration_and_a_year_are_shown_as_they_may_be_given(api: Api, length: str) -> None:
    """Postgres has the minus at each amount, where no grammar of ours takes it; and a year is shown without zeros."""
    fields = [{"name": "for", "type": "duration"}, {"name": "in", "type": "year"}]
    api.put("spans", {"fields": fields, "primaryKey": ["for", "in"]})
    row = {"for": length, "in": 7}
    made_row = made(api, row, rows := "/v1/datasets/spans/rows")
    assert made_row.json_body == row
    location = place(rows, made_row)
    assert api.get(location).json_body == row
    assert api("PATCH", location, row).json_body == row
    assert api.get(f"{rows}?for={quote(length)}").json_body["items"] == [row]
    assert api("DELETE", location).status_code == 204


@pytest.mark.parametrize(
    ("kind", "sent", "shown"),
    [
        ("number", f"{'7' * 990}e999", "7" * 990 + "0" * 999),
        ("number", f"-.{'7' * 990}e-999", f"-0.{'0' * 999}{'7' * 990}"),
        ("duration", "P999999W999999D", "P7999992D"),
        ("duration", "-P999999Y999999M", "-P1083332Y3M"),
        ("duration", "PT999999999H999999999M999999999.9S", "PT1016944443H25M39.9S"),
    ],
    ids=["digits", "decimals", "days", "years", "hours"],
)
def test_a_key_that_is_shown_longer_than_it_was_given_is_an_address(api: Api, kind: str, sent: str, shown: str) -> None:
    api.put("grown", {"fields": [{"name": "key", "type": kind}, {"name": "text"}], "primaryKey": "key"})
    answer = made(api, {"key": sent, "text": "a"}, rows := "/v1/datasets/grown/rows")
    assert answer.json_body == {"key": shown, "text": "a"}
    location = place(rows, answer)
    assert api.get(location).json_body == answer.json_body
    assert api.get(f"{rows}?key={shown}").json_body["items"] == [answer.json_body]
    assert api("PATCH", location, {"text": "b"}).json_body["text"] == "b"
    assert api("DELETE", location).status_code == 204
    for beyond in ("9" * 2001, "PT9999999999H", "P99999999D", "P12345678Y"):
        is_problem(api.get(f"{rows}/{beyond}"), 404, "row_not_found")


def test_a_key_that_is_too_long_for_an_address_has_none(api: Api) -> None:
    assert "Location" in made(api, {**ADA, "email": "x" * 8_000}).headers
    assert "Location" not in made(api, {**ADA, "email": "x" * 8_192}).headers


def test_the_values_of_a_key_stand_between_commas_in_the_key_s_order(api: Api) -> None:
    schema = {"fields": [{"name": "n", "type": "integer"}, {"name": "day", "type": "date"}, {"name": "text"}]}
    api.put("three", schema | {"primaryKey": ["text", "n", "day"]})
    row = {"n": 7, "day": "2024-01-05", "text": "a,b"}
    location = place("/v1/datasets/three/rows", made(api, row, "/v1/datasets/three/rows"))
    assert location == "/v1/datasets/three/rows/a~2b,7,2024-01-05"
    assert api.get(location).json_body == row
    for wrong in ("a,b,7,2024-01-05", "a~2b,7", "a~2b,seven,2024-01-05", "a~2b,7,", "%00,7,2024-01-05"):
        is_problem(api.get(f"/v1/datasets/three/rows/{wrong}"), 404, "row_not_found")


def test_a_dataset_without_a_key_takes_rows_and_addresses_none(api: Api) -> None:
    api.put("log", {"fields": [{"name": "line"}]})
    assert "Location" not in made(api, {"line": "x"}, "/v1/datasets/log/rows").headers
    for method in ("GET", "PATCH", "DELETE"):
        is_problem(api(method, "/v1/datasets/log/rows/x", {"line": "y"}), 409, "dataset_keyless")
    api.put("loose", {"fields": [{"name": "id"}, {"name": "x"}], "uniqueKeys": [["id"]]})
    assert "Location" not in made(api, {"x": "1"}, "/v1/datasets/loose/rows").headers


def test_rows_of_others_are_not_there(api: Api) -> None:
    path = place(ROWS, made(api))
    stranger = {"Authorization": f"Bearer {api.stranger}"}
    for method in ("GET", "PATCH", "DELETE"):
        is_problem(api(method, path, {}, **stranger), 404, "dataset_not_found")
    is_problem(api("POST", ROWS, ADA, **stranger), 404, "dataset_not_found")
    assert api.pipeline.rows() == [ADA]


# No upload's own any more


def lineages(api: Api) -> list[int]:
    (dataset,) = api.pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'contacts'")
    return [row["_row"] for row in api.pipeline.sql(f"SELECT _row FROM data.d_{dataset['number']} ORDER BY 1")]


def test_rows_made_or_changed_by_hand_have_a_lineage_of_no_upload(api: Api) -> None:
    upload = api.pipeline.run(b"email,name,age\na@x.org,A,1\nb@x.org,B,2\n")
    made(api)
    api("PATCH", f"{ROWS}/a@x.org", {"age": 5})
    first, *by_hand = lineages(api)
    assert first < lineage(HANDMADE, 0) <= min(by_hand)
    assert len(set(by_hand)) == 2
    api("PATCH", f"{ROWS}/a@x.org", {"age": 6})
    assert lineages(api) == [first, *by_hand]
    assert [row["email"] for row in api.pipeline.rows()] == ["b@x.org", "ada@x.org", "a@x.org"]
    own = api.get(f"{ROWS}?upload={upload['id']}").json_body["items"]
    assert [row["email"] for row in own] == ["b@x.org"]


@pytest.mark.parametrize(
    ("mode", "counts", "age"),
    [("insert", (0, 0, 0, 1), 7), ("skip", (0, 0, 1, 0), 7), ("upsert", (0, 1, 0, 0), 9)],
)
def test_a_file_meets_a_row_made_by_hand_as_one_that_was_there_before(
    api: Api, mode: str, counts: tuple[int, ...], age: int
) -> None:
    made(api, {**ADA, "age": 7})
    upload = api.pipeline.run(b"email,name,age\nada@x.org,Ada,9\n", mode=mode)
    assert tuple(upload[name] for name in ("loaded", "updated", "skipped", "rejected")) == counts
    assert [row["age"] for row in api.pipeline.rows()] == [age]
    if mode == "insert":
        assert api.pipeline.rejects(upload["id"])[0]["errors"][0]["code"] == "duplicate_in_db"


@pytest.mark.parametrize("mode", ["insert", "skip", "upsert"])
def test_settling_takes_no_hand_made_row_for_its_upload_s_own(
    api: Api, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The loaded row of a key that another line repeats is changed by hand before the two are settled."""
    cut_into(monkeypatch, 1)
    upload_id = api.pipeline.create(b"email,name,age\na@x.org,first,1\na@x.org,second,2\n", mode=mode)
    api.pipeline.split(upload_id)
    first, second = api.pipeline.messages()
    api.pipeline.load([second, first])
    assert api("PATCH", f"{ROWS}/a@x.org", {"name": "by hand"}).status_code == 200
    api.pipeline.settle()
    upload = api.pipeline.upload(upload_id)
    assert upload["rows_total"] == sum(upload[name] for name in ("loaded", "updated", "skipped", "rejected"))
    # As over any row that was there: an upsert takes it over, the others leave it alone.
    expected = "by hand" if mode != "upsert" else "first"
    assert [row["name"] for row in api.pipeline.rows()] == [expected]
    assert consulted({"side": "ledger"})["differences"] == []


def test_the_doctor_misses_no_row_that_was_changed_or_deleted_by_hand(api: Api) -> None:
    upload = api.pipeline.run(b"email,name,age\na@x.org,A,1\nb@x.org,B,2\nc@x.org,C,3\n")
    api("PATCH", f"{ROWS}/a@x.org", {"age": 5})
    api("PATCH", f"{ROWS}/a@x.org", {"age": 6})
    api("DELETE", f"{ROWS}/b@x.org")
    api("DELETE", f"{ROWS}/a@x.org")
    assert consulted({"side": "ledger"})["differences"] == []
    assert api.pipeline.upload(upload["id"])["loaded"] == 3
    (dataset,) = api.pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'contacts'")
    api.pipeline.sql(f"DELETE FROM data.d_{dataset['number']}")
    assert [one["code"] for one in consulted({"side": "ledger"})["differences"]] == ["rows_missing"]


def test_what_became_of_a_record_is_not_certain_once_rows_were_taken_over(api: Api) -> None:
    made(api, {**ADA, "email": "a@x.org"})
    upload = api.pipeline.run(b"email,name,age\na@x.org,A,1\nb@x.org,B,2\n", mode="skip")
    path = f"/v1/uploads/{upload['id']}/rows"
    assert [api.get(f"{path}/{n}").json_body["outcome"] for n in (1, 2)] == ["skipped", "loaded"]
    api("DELETE", f"{ROWS}/b@x.org")
    assert [api.get(f"{path}/{n}").json_body["outcome"] for n in (1, 2)] == ["skipped_or_replaced"] * 2


# References


COUNTRIES = {"fields": [{"name": "code"}, {"name": "name"}], "primaryKey": "code"}
ORDERS = {
    "fields": [{"name": "id", "type": "integer"}, {"name": "to"}],
    "primaryKey": "id",
    "foreignKeys": [{"fields": "to", "reference": {"resource": "countries", "fields": "code"}}],
}


@pytest.fixture
def shop(pipeline: Pipeline) -> Api:
    api = Api(pipeline)
    api.put("countries", COUNTRIES)
    api.put("orders", ORDERS)
    made(api, {"code": "de", "name": "Germany"}, "/v1/datasets/countries/rows")
    made(api, {"code": "fr", "name": "France"}, "/v1/datasets/countries/rows")
    made(api, {"id": 1, "to": "de"}, "/v1/datasets/orders/rows")
    return api


def test_a_row_that_refers_to_nothing_is_refused(shop: Api) -> None:
    for answer in (
        shop("POST", "/v1/datasets/orders/rows", {"id": 2, "to": "xx"}),
        shop("PATCH", "/v1/datasets/orders/rows/1", {"to": "xx"}),
    ):
        assert codes(is_problem(answer, 422, "row_invalid")) == {"to": "foreign_key_missing"}
    assert shop("PATCH", "/v1/datasets/orders/rows/1", {"to": None}).status_code == 200
    assert shop("POST", "/v1/datasets/orders/rows", {"id": 2}).status_code == 201


def test_a_row_that_others_refer_to_stays_and_keeps_its_key(shop: Api) -> None:
    germany = "/v1/datasets/countries/rows/de"
    is_problem(shop("DELETE", germany), 409, "row_referenced")
    is_problem(shop("PATCH", germany, {"code": "d"}), 409, "row_referenced")
    assert shop("PATCH", germany, {"code": "de", "name": "D"}).json_body == {"code": "de", "name": "D"}
    assert shop("PATCH", "/v1/datasets/countries/rows/fr", {"code": "f"}).status_code == 200
    assert shop("DELETE", "/v1/datasets/orders/rows/1").status_code == 204
    assert shop("DELETE", germany).status_code == 204


def test_a_row_with_a_reference_of_several_fields_is_checked_as_it_will_be(pipeline: Pipeline) -> None:
    api = Api(pipeline)
    api.put(
        "seats",
        {"fields": [{"name": "day", "type": "date"}, {"name": "n", "type": "integer"}], "primaryKey": ["day", "n"]},
    )
    keys = [{"fields": ["n", "on"], "reference": {"resource": "seats", "fields": ["n", "day"]}}]
    fields = [{"name": "id"}, {"name": "on", "type": "date"}, {"name": "n", "type": "integer"}]
    api.put("booked", {"fields": fields, "primaryKey": "id", "foreignKeys": keys})
    for n in (1, 2):
        made(api, {"day": "2024-01-05", "n": n}, "/v1/datasets/seats/rows")
    made(api, {"id": "x", "on": "2024-01-05", "n": 1}, "/v1/datasets/booked/rows")
    assert api("PATCH", "/v1/datasets/booked/rows/x", {"n": 2}).status_code == 200
    problem = is_problem(api("PATCH", "/v1/datasets/booked/rows/x", {"n": 3}), 422, "row_invalid")
    assert codes(problem) == {"n, on": "foreign_key_missing"}
    is_problem(api("DELETE", "/v1/datasets/seats/rows/2024-01-05,2"), 409, "row_referenced")
    assert api("DELETE", "/v1/datasets/seats/rows/2024-01-05,1").status_code == 204


def test_a_chunk_that_refers_to_a_row_and_who_deletes_it_wait_for_each_other(shop: Api) -> None:
    """A worker has found its target and has not committed: the target is not deleted meanwhile."""
    (number,) = [r["number"] for r in shop.pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'countries'")]
    france = Addressed(shop.pipeline.tenant, "countries", "fr")
    with psycopg.connect(shop.pipeline.url) as worker:
        worker.execute("SELECT pg_advisory_xact_lock_shared(5, %s)", (number,))
        deleting = beside(lambda: table_rows.remove(france, None))
        deleting.join(0.5)
        assert deleting.is_alive()
    deleting.join(10)
    assert [row["code"] for row in shop.pipeline.rows("countries")] == ["de"]
    upload_id = shop.pipeline.create(b"id,to\n5,de\n", "orders")
    shop.pipeline.split(upload_id)
    messages = shop.pipeline.messages()
    with psycopg.connect(shop.pipeline.url) as deleter:
        deleter.execute("SELECT pg_advisory_xact_lock(5, %s)", (number,))
        loading = beside(lambda: shop.pipeline.load(messages))
        loading.join(0.5)
        assert loading.is_alive()
    loading.join(10)
    assert shop.pipeline.upload(upload_id)["loaded"] == 1


# At the same time as others


def test_two_changes_of_one_row_at_once_are_one_and_a_refusal(api: Api) -> None:
    tag, ada = made(api).headers["ETag"], Addressed(api.pipeline.tenant, "contacts", "ada@x.org")
    ends: list[str] = []

    def change(age: int) -> None:
        try:
            table_rows.change(ada, {"age": age}, tag)
            ends.append("changed")
        except Refused as refused:
            ends.append(refused.code)

    for thread in [beside(partial(change, age)) for age in range(8)]:
        thread.join(20)
    assert sorted(ends) == ["changed", *["precondition_failed"] * 7]


def test_a_schema_change_waits_for_who_is_about_to_touch_a_row(api: Api) -> None:
    """The deletion has looked the schema up and has not come to the table: nobody changes it meanwhile."""
    made(api)
    (number,) = [r["number"] for r in api.pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'contacts'")]
    wider = {"fields": [*CONTACTS["fields"], {"name": "new"}]}
    ada = Addressed(api.pipeline.tenant, "contacts", "ada@x.org")
    with psycopg.connect(api.pipeline.url) as worker:
        worker.execute("SELECT pg_advisory_xact_lock_shared(5, %s)", (number,))
        deleting = beside(lambda: table_rows.remove(ada, None))
        deleting.join(0.5)
        is_problem(api.put(body=wider), 409, "dataset_busy")
    deleting.join(10)
    assert (api.pipeline.rows(), api.put(body=wider).status_code) == ([], 200)
    assert made(api).json_body == {**ADA, "new": None}


@pytest.mark.parametrize("asked", ["/a", "?k=a", "?k.gt=a"])
def test_who_looks_for_a_text_where_numbers_are_by_now_is_told_to_ask_again(
    api: Api, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """The schema was read, and then the dataset, which was empty, was given another."""
    texts, numbers = ({"fields": [{"name": "k", "type": kind}], "primaryKey": "k"} for kind in ("string", "integer"))
    api.put("things", texts)
    find = people.get_dataset

    def found(*asking: Any) -> people.Catalogued:
        seen = find(*asking)
        monkeypatch.setattr(people, "get_dataset", find)
        beside(lambda: api.pipeline.dataset(numbers, "things")).join(10)
        return seen

    monkeypatch.setattr(people, "get_dataset", found)
    is_problem(api.get(f"/v1/datasets/things/rows{asked}"), 409, "dataset_busy")


def test_a_row_that_was_asked_for_often_is_shown_of_a_table_that_is_made_anew(pipeline: Pipeline) -> None:
    """Whoever shows rows has a connection that outlives the table; the same words are then a statement of other types."""
    api = Api(pipeline)
    schema = {"fields": [{"name": "k"}, {"name": "x", "type": "integer"}], "primaryKey": "k"}
    api.put("things", schema)
    things = "/v1/datasets/things/rows"

    def handled(value: Any) -> None:
        for _ in range(7):
            assert made(api, {"k": "a", "x": value}, things).json_body["x"] == value
            assert api.get(f"{things}/a").json_body["x"] == value
            assert api("PATCH", f"{things}/a", {"x": None}).json_body == {"k": "a", "x": None}
            assert api("DELETE", f"{things}/a").status_code == 204

    handled(1)
    fields = [schema["fields"][0], {"name": "x"}]
    beside(lambda: pipeline.dataset(schema | {"fields": fields}, "things")).join(10)
    handled("1")


def test_of_two_schema_changes_at_once_the_second_finds_what_the_first_has_made(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each adds a column to a table with rows: judged by the schema before both, the second would lose the first's."""
    monkeypatch.setattr(catalog, "LOCK_SECONDS", 60)  # until both wait, on however slow a machine
    made(api)
    ends: dict[str, str] = {}

    def widen(name: str) -> None:
        descriptor = {"fields": [*CONTACTS["fields"], {"name": name}]}
        asked = {"tenant": api.pipeline.tenant, "name": "contacts", "mode": "insert", "descriptor": descriptor}
        try:
            catalog.define(asked)
            ends[name] = "changed"
        except Refused as refused:
            ends[name] = refused.code

    with psycopg.connect(api.pipeline.url) as worker:
        worker.execute("SELECT FROM rowmill.dataset WHERE name = 'contacts' FOR UPDATE")
        threads = [beside(partial(widen, name)) for name in ("phone", "city")]
        while len(api.pipeline.sql("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")) < len(threads):
            pass
    for thread in threads:
        thread.join(20)
    assert sorted(ends.values()) == ["changed", "dataset_incompatible"]
    (there,) = [name for name, end in ends.items() if end == "changed"]
    assert api.pipeline.rows() == [{**ADA, there: None}]
    both = {"fields": [*CONTACTS["fields"], {"name": "phone"}, {"name": "city"}]}
    assert (api.put(body=both).status_code, api.pipeline.rows()) == (200, [{**ADA, "phone": None, "city": None}])


@pytest.mark.parametrize("further", [{"name": "new"}, None])
def test_a_change_that_waits_for_the_deletion_of_its_dataset_makes_it_anew(
    api: Api, further: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its schema, or of its mode alone."""
    monkeypatch.setattr(catalog, "LOCK_SECONDS", 60)
    made(api)
    descriptor = {"fields": [*CONTACTS["fields"], *([further] if further else [])]}
    changed = {"mode": "skip", "descriptor": descriptor}
    ends: list[dict[str, Any]] = []
    threads = []
    with psycopg.connect(api.pipeline.url) as worker:
        worker.execute("SELECT FROM rowmill.dataset WHERE name = 'contacts' FOR UPDATE")
        for wanted in ({"delete": True}, changed):
            asked = {"tenant": api.pipeline.tenant, "name": "contacts", **wanted}
            threads.append(beside(lambda asked=asked: ends.append(catalog.define(asked))))
            while len(api.pipeline.sql("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")) < len(threads):
                pass
    for thread in threads:
        thread.join(20)
    assert ends == [{"deleted": True}, {"created": True}]
    assert api.pipeline.rows() == []


def test_bodies_that_are_no_rows_are_refused(api: Api) -> None:
    for body in (
        b"",
        b"[]",
        b"1",
        b'{"email": NaN}',
        b'{"email": "a", "email": "b"}',
        b'{"age": ' + b"9" * 5000 + b"}",
        b'{"age": 1e400}',
        b'{"age": 1e999999999}',
    ):
        is_problem(api("POST", ROWS, body), 400, "body_invalid")
    is_problem(api("POST", ROWS, ADA, Content_Type="text/csv"), 415, "content_type_invalid")
