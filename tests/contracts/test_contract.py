"""One contract: the routes, the checks of requests, the document, the page and the code that refuses agree."""

from __future__ import annotations

import ast
import base64
import copy
import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from app import app
from chalicelib.contract import OPERATIONS, SCHEMAS, Operation, checks, document, manual
from chalicelib.contract.words import KEYWORDS
from chalicelib.errors import Refused
from tests import held

ROOT = Path(__file__).resolve().parents[2]
ALL = sorted(OPERATIONS.values(), key=lambda one: (one.path, one.method))
WITH_BODY = [one for one in ALL if one.body]
DOCUMENT = json.loads(document.text())
# What requests run through; the others refuse files and rows, not requests.
REFUSING = (
    "edge/requests",
    "edge/answers",
    "edge/faults",
    "accounts",
    "apikeys",
    "callers",
    "oidc",
    "cookies",
    "passwords",
    "admit",
    "assemble",
    "catalog",
    "control",
    "rejects",
    "report",
    "paging",
    "table_rows",
    "sharing",
    "roles",
    "conditional",
    "webhooks",
    "outgoing",
    "books",
    "pictures",
    "tasks",
    "templates/__init__",
)
SIMPLE = st.none() | st.booleans() | st.integers(-2, 2**60) | st.floats(-2, 200) | st.text(max_size=8)
ANY = st.recursive(
    SIMPLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def name_of(one: Operation) -> str:
    return one.name


def refused(one: Operation, body: Any) -> Refused | None:
    try:
        checks.body(one, body, 0)
    except Refused as error:
        return error
    return None


def reference(one: Operation) -> Draft202012Validator:
    """What the document says to others of a body."""
    assert one.body
    return Draft202012Validator({**one.body.schema, "components": {"schemas": dict(SCHEMAS)}})


# Routes


def test_every_route_has_a_contract_of_its_name_and_every_contract_a_route() -> None:
    routes = {(m, path): one.view_name for path, methods in app.routes.items() for m, one in methods.items()}
    assert routes == {place: one.name for place, one in OPERATIONS.items()}


def test_every_operation_has_a_name_of_its_own_and_says_what_it_is_for() -> None:
    assert len({one.name for one in ALL}) == len(ALL)
    assert all(one.summary and one.tag and one.answers for one in ALL)


def test_every_parameter_of_a_path_is_described() -> None:
    for one in ALL:
        names = re.findall(r"\{(\w+)\}", one.path)
        declared = DOCUMENT["paths"][one.path][one.method.lower()].get("parameters", [])
        assert [each["name"] for each in declared if each["in"] == "path"] == names, one.name


# The document


def test_the_document_is_openapi_3_1() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_only_doors_that_are_open_say_so() -> None:
    said = {
        (method.upper(), path): one.get("security")
        for path, methods in DOCUMENT["paths"].items()
        for method, one in methods.items()
    }
    assert {door for door, security in said.items() if security == []} == {
        (one.method, one.path) for one in ALL if one.is_open
    }
    assert set(map(str, said.values())) == {"[]", "None"}
    assert DOCUMENT["security"] == [{"bearer": []}]


def schemas(value: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A schema and all within it, each with its place."""
    yield where, value
    for name, one in value.get("properties", {}).items():
        yield from schemas(one, f"{where}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(value.get(key), dict):
            yield from schemas(value[key], f"{where}.{key}")
    for one in value.get("anyOf", ()):
        yield from schemas(one, f"{where}|")


def asked_for() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for one in ALL:
        parts = [*(each.schema for each in (*one.query.values(), *one.headers.values()))]
        parts += [one.body.schema] if one.body else []
        for part in (*parts, *(answer.schema for answer in one.answers.values() if answer.schema)):
            yield from schemas(part, one.name)
    for name, schema in SCHEMAS.items():
        yield from schemas(schema, name)


def test_schemas_are_of_2020_12_and_use_only_words_that_every_draft_reads_alike() -> None:
    for where, schema in asked_for():
        Draft202012Validator.check_schema(schema)
        assert schema.keys() <= KEYWORDS, where
        assert "$ref" not in schema or schema.keys() == {"$ref"}, where  # older drafts see nothing beside it


def test_every_schema_is_used_and_every_name_is_there() -> None:
    text = json.dumps(DOCUMENT)
    named = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert named == SCHEMAS.keys()


def test_objects_that_are_asked_for_are_closed_or_say_that_they_are_open() -> None:
    for one in WITH_BODY:
        assert one.body
        for name in checks._named(one.body.schema):
            for where, schema in schemas(SCHEMAS[name], name):
                assert schema.get("type") != "object" or "additionalProperties" in schema, where


# The checks of requests


@pytest.mark.parametrize("one", WITH_BODY, ids=name_of)
def test_an_example_is_what_it_is_an_example_of(one: Operation) -> None:
    assert one.body
    assert refused(one, one.body.example) is None
    assert list(reference(one).iter_errors(one.body.example)) == []


@given(st.sampled_from(WITH_BODY), st.data())
@examples(max_examples=400, deadline=None)
def test_a_body_is_taken_just_where_the_document_says_so(one: Operation, data: st.DataObject) -> None:
    """The library that checks requests knows older drafts: held here to one that knows 2020-12."""
    assert one.body
    body = changed(copy.deepcopy(dict(one.body.example)), one, data)
    before = copy.deepcopy(body)
    error = refused(one, body)
    assert body == before
    assert (error is None) == reference(one).is_valid(body), (body, error)
    if error:
        assert error.status == 422
        assert error.errors
        assert all(set(each) == {"code", "column", "detail"} for each in error.errors)


def changed(body: dict[str, Any], one: Operation, data: st.DataObject) -> Any:
    """The example with some members, known ones and others, at any depth replaced by anything."""
    assert one.body
    known = [name for each in checks._named(one.body.schema) for name in SCHEMAS[each].get("properties", {})] or [
        "email"
    ]
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = body
        while data.draw(st.booleans()):
            inner = [
                each for each in (place.values() if isinstance(place, dict) else place) if isinstance(each, dict | list)
            ]
            if not inner:
                break
            place = data.draw(st.sampled_from(inner))
        value = data.draw(
            st.one_of(ANY, st.sampled_from([{}, [], "insert", ",", "pad", {"delimiter": ";"}, {"quote": "''"}]))
        )
        if isinstance(place, dict):
            place[data.draw(st.sampled_from(known) | st.text(max_size=3))] = value
        else:
            place.append(value)
    return body


def test_everything_that_is_wrong_is_told_at_once_each_at_its_place() -> None:
    one = OPERATIONS["POST", "/v1/uploads"]
    error = refused(one, {"size": -1, "colour": 1, "options": {"sheet": 0, "dialect": {"quote": "''", "x": 1}}})
    assert error
    told = {each["column"]: each["detail"] for each in error.errors}
    assert told == {
        "dataset": "must be there",
        "size": "must be 0 or more",
        "colour": "is not known here",
        "options.sheet": "must be a sheet's name, or its number from 1",
        "options.dialect.quote": "must be null or one ASCII character, no line end and no NUL",
        "options.dialect.x": "is not known here",
    }
    assert error.detail.endswith(".")


def test_a_body_that_is_wrong_all_over_is_told_its_first_errors() -> None:
    """A hundred of them, and of a body so large that looking for all would take long the first alone."""
    one = OPERATIONS["POST", "/v1/uploads/{upload_id}/complete"]
    body = {"parts": [{}] * 5000}
    with pytest.raises(Refused) as some:
        checks.body(one, body, 50_000)
    with pytest.raises(Refused) as first:
        checks.body(one, body, 4_000_000)
    assert (len(some.value.errors), len(first.value.errors)) == (checks.MOST_TOLD, 3)
    assert first.value.errors == some.value.errors[:3]


def test_what_is_wrong_with_a_part_is_refused_by_the_code_of_that_part() -> None:
    one = OPERATIONS["POST", "/v1/uploads"]
    asked = {"dataset": "a", "size": 1}
    for options, code in (
        ({"mode": "replace"}, "mode_invalid"),
        ({"dialect": {"quote": 1}}, "dialect_invalid"),
        ({"dialect": []}, "body_invalid"),
        ({"mapping": []}, "mapping_invalid"),
        ({"mapping": {"a": 1}}, "mapping_invalid"),
        ({"sheet": 0}, "body_invalid"),
    ):
        error = refused(one, asked | {"options": options})
        assert error
        assert error.code == code, options
    assert error


@pytest.mark.parametrize("path", ["/v1/auth/signup", "/v1/auth/login", "/login"])
def test_credentials_are_two_strings_and_nothing_else(path: str) -> None:
    one, good = OPERATIONS["POST", path], {"username": "ada", "password": "correct horse"}
    assert not refused(one, good)
    for body in ({}, {"username": "ada"}, good | {"password": None}, good | {"username": ["ada"]}, good | {"x": "y"}):
        assert refused(one, body), body


def test_a_whole_number_with_a_point_is_an_integer_and_becomes_one() -> None:
    """As JSON Schema has it; what counts bytes or rows must not go on as a float."""
    one = OPERATIONS["POST", "/v1/uploads"]
    taken = checks.body(one, {"dataset": "a", "size": 1.0, "options": {"max_errors": 2.0}}, 0)
    assert taken == {"dataset": "a", "size": 1, "options": {"max_errors": 2}}
    assert [type(taken["size"]), type(taken["options"]["max_errors"])] == [int, int]
    for size in (1.5, True, "1"):
        assert refused(one, {"dataset": "a", "size": size})


def test_a_query_s_integers_are_json_s() -> None:
    one = OPERATIONS["GET", "/v1/uploads"]
    assert checks.query(one, {"limit": ["20"], "state": ["queued"]}) == {"limit": 20, "state": "queued"}
    for wrong in ({"limit": ["020"]}, {"limit": ["+2"]}, {"limit": ["٣"]}, {"limit": ["1", "1"]}, {"x": ["1"]}):
        with pytest.raises(Refused) as error:
            checks.query(one, wrong)
        assert (error.value.code, error.value.status) == ("query_invalid", 400), wrong
        assert [each["column"] for each in error.value.errors] == list(wrong)


def test_functions_that_answer_no_request_load_no_contract() -> None:
    script = "import sys, app; print(sorted(name for name in sys.modules if 'contract' in name or 'fastjson' in name))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Refusals


def raised() -> Iterator[tuple[str, str]]:
    """Every code that the modules behind the doors raise, by the words of the call."""
    for module in REFUSING:
        for node in ast.walk(ast.parse((ROOT / "chalicelib" / f"{module}.py").read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Refused", "Unavailable"):
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value, module


def test_every_code_that_a_door_may_answer_is_documented() -> None:
    documented = {error.code for one in ALL for error in one.problems()} | {"request_invalid"}
    assert {(code, module) for code, module in raised() if code not in documented} == set()


def test_a_code_means_the_same_status_wherever_it_has_the_same_meaning() -> None:
    for one in ALL:
        told = [(error.status, error.code) for error in one.problems()]
        assert len(told) == len(set(told)), one.name
        assert all(error.when for error in one.problems()), one.name


# The page


def test_the_page_shows_every_operation_schema_code_and_parameter() -> None:
    page = manual.page()
    for one in ALL:
        article = page.partition(f'<article id="{one.name}">')[2].partition("</article>")[0]
        assert one.path in article
        for word in (*one.query, *one.headers, *map(str, one.answers), *(error.code for error in one.problems())):
            assert word in article, (one.name, word)
    for name in SCHEMAS:
        assert f'id="schema-{name}"' in page


def test_the_page_runs_nothing_and_fetches_nothing() -> None:
    page = manual.page()
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in manual.POLICY
    assert "default-src 'none'" in manual.POLICY
    assert "unsafe" not in manual.POLICY
    assert not re.search(r"<script|<link|<img|<iframe|javascript:|\son\w+=|\sstyle=|url\(|@import|src=", page)
    addresses = set(re.findall(r'href="([^"#]*)', page)) - {""}
    assert addresses == {"v1/openapi.json"}


def test_every_link_within_the_page_arrives() -> None:
    page = manual.page()
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_an_example_is_a_command_that_a_shell_reads(one: Operation) -> None:
    words = shlex.split(manual.curl(one))
    assert words[0] == "curl"
    assert words.count("-X") == (one.method != "GET")
    assert f"$ROWMILL_API{one.path}" in words
    assert ("Authorization: Bearer $ROWMILL_TOKEN" in words) != one.is_open
    if "-d" in words:
        assert one.body
        assert json.loads(words[words.index("-d") + 1]) == one.body.example


# What holds the answers of all other tests


PROBLEM = {"Content-Type": "application/problem+json"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "why"),
    [
        (418, {}, "", "the status is not documented"),
        (200, {"Content-Type": "text/html"}, "{}", "the content type text/html"),
        (200, {"Content-Type": "application/json", "Link": "x"}, '{"status": "ok"}', "the header Link"),
        (200, {"Content-Type": "application/json"}, '{"status": "bad"}', "'bad'"),
        (200, {"Content-Type": "application/json"}, '{"status": "ok", "more": 1}', "'more'"),
        (500, PROBLEM, '{"type": "", "title": "", "status": 500, "code": "odd", "detail": ""}', "'odd'"),
        (503, PROBLEM, '{"type": "", "title": "", "status": 503, "code": "unavailable", "detail": ""}', "Retry-After"),
    ],
)
def test_an_answer_that_is_not_documented_is_found(status: int, headers: dict[str, str], body: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        held.answer("GET", "/healthz", status, headers, body)


def test_an_answer_as_documented_passes() -> None:
    held.answer("GET", "/healthz", 200, {"Content-Type": "application/json"}, '{"status": "ok"}')
    held.answer("GET", "/nowhere", 404, {}, "")
