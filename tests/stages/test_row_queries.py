"""Rows by filter and order: what an index serves is found by it, what none serves is refused by its name."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from chalicelib.datasets import read_schema
from chalicelib.datasets.queries import read_query
from chalicelib.paging import encode
from chalicelib.postgres import selection, tables
from tests.stages.conftest import Pipeline
from tests.stages.test_api import Api, columns, is_problem

PEOPLE: dict[str, Any] = {
    "fields": [
        {"name": "email", "constraints": {"required": True, "unique": True}},
        {"name": "city"},
        {"name": "age", "type": "integer"},
        {"name": "born", "type": "date", "format": "%d.%m.%Y"},
        {"name": "paid", "type": "number"},
        {"name": "note"},
    ],
    "indexes": ["age", ["city", "born"], "paid"],
}
FILE = b"""email,city,age,born,paid,note
a@x.org,Bonn,36,31.12.1990,1.50,one
b@x.org,Bonn,,01.01.1991,,two
c@x.org,Ulm,36,,10,three
d@x.org,,7,02.02.2002,2.25,four
e@x.org,Ulm,,03.03.2003,-1,five
f@x.org,Bonn,41,,1.5,six
"""


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    api = Api(pipeline)
    assert api.put(body=PEOPLE).status_code == 201
    assert pipeline.run(FILE)["loaded"] == 6
    return api


def found(api: Api, page: int = 100, **asked: str) -> list[str]:
    """The first letters of the e-mail addresses that a query finds, page by page."""
    letters: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        path = f"/v1/datasets/contacts/rows?{urlencode({**asked, **cursor, 'limit': str(page)})}"
        answer = api.get(path)
        assert answer.status_code == 200, answer.body
        letters += [row["email"][0] for row in answer.json_body["items"]]
        if not answer.json_body["next_cursor"]:
            return letters
        cursor = {"cursor": answer.json_body["next_cursor"]}
        assert urlencode(cursor) in answer.headers["Link"]


@pytest.mark.parametrize(
    ("asked", "letters"),
    [
        ({"email": "c@x.org"}, "c"),
        ({"email": "nobody"}, ""),
        ({"email.gte": "c", "email.lt": "e"}, "cd"),
        ({"age": "36"}, "ac"),
        ({"age": "+036"}, "ac"),
        ({"age": ""}, "be"),
        ({"age.gte": "8"}, "acf"),
        ({"age.gt": "7", "age.lt": "41"}, "ac"),
        ({"age.lte": "36"}, "dac"),
        ({"sort": "age"}, "dacfbe"),
        ({"sort": "-age"}, "fcadeb"),
        ({"sort": "-age", "age.lt": "41"}, "cad"),
        ({"sort": "-age", "age": "36"}, "ca"),
        ({"sort": "-age", "age": ""}, "eb"),
        ({"sort": "paid"}, "eafdcb"),
        ({"paid": "1.50"}, "af"),
        ({"city": "Bonn"}, "abf"),
        ({"city": "Bonn", "born.gt": "1990-01-01"}, "ab"),
        ({"city": "Bonn", "sort": "born"}, "abf"),
        ({"city": "Bonn", "sort": "-born"}, "baf"),
        ({"city": "Bonn", "age": "36"}, "a"),
        ({"city": "Ulm", "sort": "-email"}, "ec"),
        ({"city.eq": ""}, "d"),
        ({"sort": "email"}, "abcdef"),
    ],
)
def test_a_query_finds_its_rows_in_its_order_on_pages_of_any_size(
    api: Api, asked: dict[str, str], letters: str
) -> None:
    assert [found(api, size, **asked) for size in (100, 1, 2)] == [list(letters)] * 3


def test_a_query_may_be_of_one_upload(api: Api) -> None:
    upload = api.pipeline.run(b"email,city,age,born,paid,note\ng@x.org,Bonn,36,,,\n")
    assert found(api, age="36") == ["a", "c", "g"]
    assert found(api, age="36", upload=upload["id"]) == ["g"]
    assert found(api, sort="-age", upload=upload["id"]) == ["g"]


@pytest.mark.parametrize(
    ("asked", "column"),
    [
        ({"note": "one"}, "note"),
        ({"sort": "note"}, "note"),
        ({"sort": "-born"}, "born"),
        ({"born": "1990-12-31"}, "born"),
        ({"born": "1990-12-31", "city.gt": "B"}, "born"),
        ({"age": "36", "note": "one"}, "note"),
    ],
)
def test_what_no_index_serves_is_refused_by_its_name(api: Api, asked: dict[str, str], column: str) -> None:
    problem = is_problem(api.get(f"/v1/datasets/contacts/rows?{urlencode(asked)}"), 400, "column_not_indexed")
    assert columns(problem) == [column]


@pytest.mark.parametrize(
    "asked",
    [
        {"age": "old"},
        {"age": "9" * 30},
        {"paid": "1,5"},
        {"city": "Bonn", "born": "31.12.1990"},
        {"age.gt": ""},
        {"age.gt": "1", "paid.gt": "1"},
        {"age.gt": "1", "sort": "paid"},
        {"age.between": "1"},
        {"email": "\0"},
        {"sort": ""},
        {"sort": "--age"},
        {"sort": "age,paid"},
        {"nothing": "1"},
        {"nothing.gt": "1"},
    ],
)
def test_what_cannot_be_asked_is_told(api: Api, asked: dict[str, str]) -> None:
    is_problem(api.get(f"/v1/datasets/contacts/rows?{urlencode(asked)}"), 400, "query_invalid")


def test_a_cursor_continues_its_own_query_alone(api: Api) -> None:
    path = "/v1/datasets/contacts/rows"
    cursor = api.get(f"{path}?sort=age&limit=1").json_body["next_cursor"]
    assert api.get(f"{path}?sort=age&limit=5&cursor={cursor}").status_code == 200
    plain = api.get(f"{path}?limit=1").json_body["next_cursor"]
    mark, value, row = json.loads(base64.urlsafe_b64decode(cursor + "==="))
    assert (value, type(row)) == ("7", int)
    tampered = [[mark, "seven", row], [mark, 7, row], [mark, "7"], [mark, "7", True], [mark, "7", -2], [mark, "\0", 1]]
    asked = [
        f"?sort=-age&cursor={cursor}",
        f"?cursor={cursor}",
        f"?age.gt=1&cursor={cursor}",
        f"?sort=age&cursor={plain}",
    ]
    for query in (*asked, *(f"?sort=age&cursor={encode(each)}" for each in tampered)):
        is_problem(api.get(path + query), 400, "cursor_invalid")


@pytest.mark.parametrize("letters", ["äöüßéèêàçñøåëïÿþðµ", " a"])
def test_what_fits_an_index_fits_a_cursor(api: Api, letters: str) -> None:
    """The next page is asked for by a query, of which no more than so many bytes are taken."""
    api.put("texts", {"fields": [{"name": "text"}], "indexes": ["text"]})
    # An index takes some 2,700 bytes: of odd texts as they are, of a repeated one once Postgres has compressed it.
    some = random.Random(3)
    texts = [letters * 50_000 + str(n) if letters == " a" else "".join(some.choices(letters, k=1300)) for n in range(3)]
    path = "/v1/datasets/texts/rows"
    for text in texts:
        assert api("POST", path, {"text": text}).status_code == 201
    seen: list[str] = []
    query = "?sort=text&limit=1"
    while query:
        answer = api.get(path + query)
        assert answer.status_code == 200, answer.body
        seen += [row["text"] for row in answer.json_body["items"]]
        cursor = answer.json_body["next_cursor"]
        query = f"?sort=text&limit=1&cursor={cursor}" if cursor else ""
    assert sorted(seen) == sorted(texts)


def test_a_cursor_in_file_order_continues_its_own_rows_alone(api: Api) -> None:
    fields = {"fields": [{"name": "n", "type": "integer"}]}
    for name in ("others", "again"):
        api.put(name, fields)
    first, second = (api.pipeline.run(b"n\n1\n2\n3\n", dataset="others")["id"] for _ in range(2))
    api.pipeline.run(b"n\n1\n2\n3\n", dataset="again")
    listings = [
        "/v1/datasets/contacts/rows?",
        "/v1/datasets/others/rows?",
        f"/v1/datasets/others/rows?upload={first}&",
        f"/v1/datasets/others/rows?upload={second}&",
        "/v1/datasets/again/rows?",
    ]
    cursors = [api.get(f"{listing}limit=1").json_body["next_cursor"] for listing in listings]
    for listing in listings:
        for given, cursor in zip(listings, cursors, strict=True):
            answer = api.get(f"{listing}cursor={cursor}")
            if given == listing:
                assert answer.status_code == 200, answer.body
            else:
                is_problem(answer, 400, "cursor_invalid")
    # A dataset that is made again under the name of another is another one.
    assert api("DELETE", "/v1/datasets/again").status_code == 204
    api.put("again", fields)
    is_problem(api.get(f"{listings[-1]}cursor={cursors[-1]}"), 400, "cursor_invalid")
    # What it holds is read as strictly as a query's.
    mark, value, row = json.loads(base64.urlsafe_b64decode(cursors[0] + "==="))
    assert (value, type(row)) == (None, int)
    for each in (row, [mark, row], [mark, None, "1"], [mark, None, -2], [mark, None, 2**63], [mark, None, True]):
        is_problem(api.get(f"{listings[0]}cursor={encode(each)}"), 400, "cursor_invalid")


def test_a_field_that_is_called_like_a_parameter_is_asked_for_by_eq(pipeline: Pipeline) -> None:
    api = Api(pipeline)
    names = ["limit", "sort", "a", "a.gt", "100 %"]
    api.put(body={"fields": [{"name": name} for name in names], "indexes": names})
    pipeline.run(b"limit,sort,a,a.gt,100 %\n1,2,3,4,5\n6,7,8,9,0\n")
    path = "/v1/datasets/contacts/rows"
    for asked in (
        {"limit.eq": "6"},
        {"sort.eq": "7"},
        {"a.gt": "3"},
        {"a.gt.eq": "9"},
        {"100 %.gte": "0", "sort": "100 %"},
    ):
        first, *_ = api.get(f"{path}?{urlencode(asked)}").json_body["items"]
        assert first["limit"] == "6", asked
    assert len(api.get(f"{path}?{urlencode({'sort': '-100 %', 'limit': '1'})}").json_body["items"]) == 1


def test_every_type_is_ordered_and_found_as_it_is_shown(pipeline: Pipeline) -> None:
    kinds = {
        "integer": ("-5", "5", "12"), "number": ("-1.5", "2", "1e3"), "boolean": ("false", "true"),
        "date": ("0099-12-31", "2024-01-05"), "time": ("01:02:03", "11:00:00.5"), "year": ("0099", "2024"),
        "datetime": ("2023-01-01T00:00:00Z", "2024-01-01T00:00:00.25Z"), "duration": ("-P1Y2M", "P9D", "P1M"),
        "geopoint": ("1,2", "3,4"), "string": ("A\\b", "ä'\"%s"),
    }  # fmt: skip
    api = Api(pipeline)
    for kind, texts in kinds.items():
        api.put(kind, {"fields": [{"name": "n", "type": "integer"}, {"name": "v", "type": kind}], "indexes": ["v"]})
        rows = "".join(f'{n},"{text.replace(chr(34), chr(34) * 2)}"\n' for n, text in enumerate(texts))
        assert pipeline.run(f"n,v\n{rows}".encode(), kind)["loaded"] == len(texts)
        path, order, cursor = f"/v1/datasets/{kind}/rows", [], ""
        while cursor is not None:
            page = api.get(f"{path}?sort=v&limit=1" + (f"&cursor={cursor}" if cursor else "")).json_body
            order += [item["n"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert order == list(range(len(texts))), kind
        for item in api.get(path).json_body["items"]:
            shown = item["v"] if isinstance(item["v"], str) else json.dumps(item["v"])
            same = api.get(f"{path}?{urlencode({'v': shown})}").json_body["items"]
            assert same == [item], kind


# The declared indexes


def indexes(api: Api) -> list[str]:
    found = api.pipeline.sql(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'data' AND indexname LIKE '%%declared%%'"
    )
    return sorted(row["indexdef"].partition("btree ")[2] for row in found)


def test_indexes_come_and_go_with_the_definition_and_are_shown(api: Api) -> None:
    declared = [["age"], ["city", "born"], ["paid"]]
    shown = api.get("/v1/datasets/contacts").json_body
    assert (shown["indexes"], "indexes" in shown["schema"]) == (declared, False)
    assert api.get("/v1/datasets").json_body["items"] == [shown]
    assert indexes(api) == ["(age, _row)", "(city, born, _row)", "(paid, _row)"]
    changed = api.put(body=PEOPLE | {"indexes": ["note", ["age"]]})
    assert (changed.status_code, changed.json_body["version"]) == (200, 1)
    assert (changed.json_body["indexes"], indexes(api)) == ([["note"], ["age"]], ["(age, _row)", "(note, _row)"])
    assert found(api, note="three") == ["c"]
    assert "indexes" not in api.put(body={name: PEOPLE[name] for name in ["fields"]}).json_body["schema"]
    assert indexes(api) == []


def test_indexes_may_change_while_an_upload_is_under_way(api: Api) -> None:
    upload_id = api.pipeline.create(b"email,city,age,born,paid,note\ng@x.org,,1,,,\n")
    api.pipeline.split(upload_id)
    assert api.put(body=PEOPLE | {"indexes": ["note"]}).status_code == 200
    api.pipeline.load(api.pipeline.messages())
    assert api.pipeline.upload(upload_id)["state"] == "completed"


def test_an_empty_or_widened_dataset_has_its_indexes(pipeline: Pipeline) -> None:
    api = Api(pipeline)
    api.put(body={"fields": [{"name": "email"}], "indexes": ["email"]})
    api.put(body=PEOPLE)
    assert indexes(api) == ["(age, _row)", "(city, born, _row)", "(paid, _row)"]
    pipeline.run(FILE)
    wider = {**PEOPLE, "fields": [*PEOPLE["fields"], {"name": "new"}], "indexes": ["new"]}
    assert api.put(body=wider).json_body["version"] == 3
    assert indexes(api) == ["(new, _row)"]


@pytest.mark.parametrize("declared", ["age", [1], [[]], ["none"], [["age", "age"]], [None], {}, ["age"] * 17])
def test_indexes_that_cannot_be_are_refused(api: Api, declared: Any) -> None:
    is_problem(api.put(body=PEOPLE | {"indexes": declared}), 422, "schema_invalid")


def test_a_value_too_long_for_an_index_keeps_it_from_being_made(api: Api) -> None:
    note = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    api.pipeline.run(f"email,city,age,born,paid,note\ng@x.org,,,,,{note}\n".encode())
    is_problem(api.put(body=PEOPLE | {"indexes": ["note"]}), 409, "dataset_incompatible")
    assert len(indexes(api)) == 3


# How they are found


def plans(database_url: str, statement: Any) -> Iterator[dict[str, Any]]:
    """Every node of a statement's plan, as for the cursor that it is read by."""
    with psycopg.connect(database_url) as db:
        text = f"EXPLAIN (FORMAT JSON) DECLARE x CURSOR FOR {statement.as_string(db)}"
        ((root,),) = db.execute(text).fetchall()
    pending = [root[0]["Plan"]]
    while pending:
        node = pending.pop()
        pending += node.get("Plans", [])
        yield node


@pytest.mark.parametrize("analyzed", [False, True])
def test_every_page_of_100_000_rows_is_found_by_index(api: Api, analyzed: bool) -> None:
    (dataset,) = api.pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'contacts'")
    name = f"data.d_{dataset['number']}"
    api.pipeline.sql(
        f"INSERT INTO {name} (email, city, age, born, paid, _row) SELECT 'p' || n, 'city ' || n %% 50, n %% 100,"
        " date '1950-01-01' + n %% 20000, n, (999::bigint << 32) + n FROM generate_series(1, 100000) n"
    )
    if analyzed:
        api.pipeline.sql(f"ANALYZE {name}")
    schema = read_schema(PEOPLE)
    table = tables.Table(dataset["number"], 1, schema)
    middle = (999 << 32) + 50_000
    asked: list[tuple[dict[str, str], str | None]] = [
        ({"email": "p50000"}, None),
        ({"email.gte": "p5"}, "p6"),
        ({"age": "50"}, None),
        ({"age.gte": "50"}, "60"),
        ({"sort": "age"}, "50"),
        ({"sort": "-age"}, "50"),
        ({"sort": "email"}, "p5"),
        ({"city": "city 7"}, None),
        ({"city": "city 7", "born.gte": "1990-01-01"}, "1995-01-01"),
        ({"city": "city 7", "sort": "-born"}, "1995-01-01"),
        ({"sort": "-paid"}, "500"),
    ]
    # A key's index does not end in `_row`, nor is one read in file order by its first field alone.
    may_sort = {
        json.dumps({"email": "p50000"}): {"Sort"},
        json.dumps({"email.gte": "p5"}): {"Incremental Sort"},
        json.dumps({"sort": "email"}): {"Incremental Sort"},
        json.dumps({"city": "city 7"}): {"Sort"},
    }
    for query, value in asked:
        for after in (None, selection.Place(value, middle)):
            statement = selection.statement(
                table, read_query(query, schema), selection.Window(None, after, 101), empty=False
            )
            nodes = list(plans(api.pipeline.url, statement))
            used = {node.get("Index Name") for node in nodes} - {None}
            assert not [node for node in nodes if node["Node Type"] == "Seq Scan"], (query, nodes)
            assert [name for name in used if "declared" in name or "email_key" in name], (query, nodes)
            sorts = {node["Node Type"] for node in nodes if "Sort" in node["Node Type"]}
            assert sorts <= may_sort.get(json.dumps(query), set()), (query, nodes)
