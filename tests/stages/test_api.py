"""The HTTP doors: what each route answers, and that bad input is told what is wrong with it, never a 5xx."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import jwt
import pytest
from chalice.test import Client
from chalice.test import HTTPResponse as Answer
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from app import app
from chalicelib import aws, edge, tokens
from chalicelib.aws import dynamodb
from chalicelib.errors import Unavailable
from chalicelib.journey import ChunkKey, rfc3339
from chalicelib.logs import logger
from chalicelib.paging import encode
from chalicelib.postgres import connection, manifest
from chalicelib.settings import settings
from tests import held
from tests.stages.conftest import CONTACTS, Pipeline, acting, poison, signed_up

JSON = "application/json"
FILE = b"email,name,age\na@x.org,Ada,36\nb@x.org,Bob,old\n"
CREDENTIALS = {"username": "ada", "password": "correct horse"}


class Api:
    """The doors as the pipeline's tenant sees them; `stranger` is a token of another tenant."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.http = Client(app).http
        self.pipeline = pipeline
        session = signed_up(CREDENTIALS)
        self.token = session["access"]
        self.stranger = self.token_of(pipeline)
        pipeline.tenant = session["tenant_id"]

    def token_of(self, pipeline: Pipeline) -> str:
        return tokens.sign(replace(tokens.read(self.token), tenant=pipeline.tenant))

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request; `body` as it is if it is bytes. Headers by name with _ for -."""
        given = {"Authorization": f"Bearer {self.token}", "Content-Type": JSON}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        with acting("api"):
            answer = self.http.request(method, path, headers={k: v for k, v in given.items() if v}, body=raw)
        held.answer(method, path, answer.status_code, answer.headers, answer.body)
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self("GET", path, **headers)

    def put(self, name: str = "contacts", body: Any = CONTACTS) -> Answer:
        return self("PUT", f"/v1/datasets/{name}", body)

    def post(self, body: Any, **headers: str) -> Answer:
        return self("POST", "/v1/uploads", body, **headers)


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    return Api(pipeline)


def asked(**more: Any) -> dict[str, Any]:
    """The body of a good request for an upload."""
    return {"dataset": "contacts", "filename": "a.csv", "size": len(FILE)} | more


def place(path: str, answer: Answer) -> str:
    """Where an answer to a request of this path says that something is, as clients read it."""
    return urljoin(path, answer.headers["Location"])


def of_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def is_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The RFC 9457 body, held to what every one must say."""
    assert (answer.status_code, answer.json_body.get("code")) == (status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json_body
    assert problem["status"] == status
    assert problem["type"] == f"urn:rowmill:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    return problem


def misjudged(answers: dict[Any, Answer], status: int, code: str) -> dict[Any, Any]:
    """Those of many answers that are not this problem."""
    return {
        asked: (answer.status_code, answer.json_body)
        for asked, answer in answers.items()
        if (answer.status_code, (answer.json_body or {}).get("code")) != (status, code)
    }


def columns(problem: dict[str, Any]) -> list[str | None]:
    return [error.get("column") for error in problem["errors"]]


# What each route answers


def test_anybody_may_ask_for_health_sign_up_and_log_in(api: Api) -> None:
    health = api.get("/healthz", Authorization="")
    assert (health.status_code, health.json_body) == (200, {"status": "ok"})
    fresh = {"username": "Bob", "password": "correct horse"}
    signed_up = api("POST", "/v1/auth/signup", fresh, Authorization="")
    logged_in = api("POST", "/v1/auth/login", fresh | {"username": "bOB"}, Authorization="")
    assert (signed_up.status_code, logged_in.status_code) == (201, 200)
    for answer in (signed_up, logged_in):
        assert set(answer.json_body) == {"access", "refresh", "expires_in", "user_id", "username", "tenant_id"}
        assert answer.json_body["username"] == "Bob"
        listed = api.get("/v1/datasets", Authorization=f"Bearer {answer.json_body['access']}")
        assert listed.json_body == {"items": [], "next_cursor": None}


def test_a_dataset_is_created_repeated_shown_and_listed(api: Api) -> None:
    first, again = api.put(body=CONTACTS | {"mode": "skip"}), api.put(body=CONTACTS | {"mode": "skip"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json_body == again.json_body == api.get("/v1/datasets/contacts").json_body
    assert {**first.json_body, "created_at": None, "id": None} == {
        "id": None,
        "name": "contacts",
        "owner": "ada",
        "role": "owner",
        "version": 1,
        "mode": "skip",
        "indexes": [],
        "max_rows_per_second": None,
        "partition_by": None,
        "schema": CONTACTS,
        "created_at": None,
    }
    assert api.get("/v1/datasets").json_body == {"items": [first.json_body], "next_cursor": None}


def test_a_dataset_or_a_page_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    made = api.put()
    api.pipeline.run(FILE)
    paths = ("/v1/datasets/contacts", "/v1/datasets", "/v1/datasets/contacts/rows", "/v1/uploads")
    before = {path: api.get(path) for path in paths}
    assert before[paths[0]].headers["ETag"] == made.headers["ETag"]
    for path, answer in before.items():
        again = api.get(path, If_None_Match=answer.headers["ETag"])
        assert (again.status_code, again.body, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])
    api.pipeline.run(b"email,name,age\nnew@x.org,N,1\n")
    api.put(body=CONTACTS | {"mode": "skip"})
    for path, answer in before.items():
        changed = api.get(path, If_None_Match=answer.headers["ETag"])
        assert (changed.status_code, changed.headers["ETag"] == answer.headers["ETag"]) == (200, False)


def test_a_dataset_s_name_may_hold_anything_printable(api: Api) -> None:
    for name in ("Größe", "a b", "100 %", 'say "hi"', "drop table; --", "名" * 21):
        path = quote(name, safe="")
        assert api.put(path).status_code == 201
        assert api.get(f"/v1/datasets/{path}").json_body["name"] == name
        assert api.get(f"/v1/datasets/{path}/rows").json_body["items"] == []


def test_an_upload_is_admitted_then_seen_on_its_way_to_its_end(api: Api) -> None:
    api.put()
    checksum = base64.b64encode(hashlib.sha256(FILE).digest()).decode()
    created = api.post(asked(checksum=checksum, content_type="text/csv", options={"mode": "skip"}))
    assert created.status_code == 201
    upload = created.json_body
    assert place("/v1/uploads", created) == f"/v1/uploads/{upload['id']}"
    assert place("https://a.example/api/v1/uploads", created) == f"https://a.example/api/v1/uploads/{upload['id']}"
    assert (upload["state"], upload["status"], upload["mode"]) == ("awaiting_upload", "pending", "skip")
    assert (upload["rows_total"], upload["bytes_total"], upload["percent"]) == (None, len(FILE), 0.0)
    form = upload["upload"]
    assert form["method"] == "POST"
    assert form["url"].startswith("http")
    assert form["fields"]["key"] == f"uploads/{api.pipeline.tenant}/{upload['id']}/source"
    assert form["fields"]["x-amz-checksum-sha256"] == checksum
    assert form["expires_at"].endswith("Z")
    shown = api.get(place("/v1/uploads", created))
    assert shown.json_body == {name: value for name, value in upload.items() if name != "upload"}
    assert shown.headers["Retry-After"] == "1"
    assert api.get(f"/v1/uploads/{upload['id']}/chunks").json_body["items"] == []
    assert api.get(f"/v1/uploads/{upload['id']}/rejects").json_body["items"] == []


def test_an_upload_that_is_over_shows_its_counts_chunks_rejects_and_rows(api: Api) -> None:
    api.put()
    upload_id = api.pipeline.run(FILE)["id"]
    answer = api.get(f"/v1/uploads/{upload_id}")
    upload = answer.json_body
    assert (upload["state"], upload["status"], upload["percent"]) == ("completed_with_errors", "partial", 100.0)
    assert (upload["rows_total"], upload["loaded"], upload["rejected"]) == (2, 1, 1)
    assert "Retry-After" not in answer.headers
    (chunk,) = api.get(f"/v1/uploads/{upload_id}/chunks").json_body["items"]
    assert (chunk["n"], chunk["state"], chunk["records"], chunk["loaded"]) == (1, "loaded", 2, 1)
    assert upload["created_at"] <= chunk["started_at"] <= chunk["finished_at"] <= rfc3339(datetime.now(UTC))
    (reject,) = api.get(f"/v1/uploads/{upload_id}/rejects").json_body["items"]
    assert (reject["row"], reject["line"], reject["raw"]) == (2, 3, "b@x.org,Bob,old")
    assert [(error["column"], error["code"]) for error in reject["errors"]] == [("age", "type_invalid")]
    ada = [{"email": "a@x.org", "name": "Ada", "age": 36}]
    assert api.get("/v1/datasets/contacts/rows").json_body["items"] == ada
    assert api.get(f"/v1/datasets/contacts/rows?upload={upload_id}").json_body["items"] == ada


def test_columns_named_like_placeholders_can_be_read_back(api: Api) -> None:
    """Driver and formatter have marks of their own: none may be taken from a name."""
    names = ["100 %", "%s", "a%b", "%(low)s", "{table}", '"', "$1", "?", ":x", "\\"]
    fields: list[dict[str, Any]] = [{"name": name, "constraints": {"unique": True}} for name in names]
    api.put(body={"fields": fields})
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    row = ",".join("v" for _ in names)
    upload = api.pipeline.run(f"{header}\n{row}\n{row}\n".encode(), dialect={"delimiter": ","})
    assert (upload["loaded"], upload["rejected"]) == (1, 1)
    answer = api.get("/v1/datasets/contacts/rows")
    assert answer.status_code == 200, answer.body
    assert answer.json_body["items"] == [dict.fromkeys(names, "v")]


def test_listings_go_on_where_the_cursor_points_and_say_so_in_a_link(api: Api) -> None:
    api.put()
    api.pipeline.run(b"email,name,age\n" + b"".join(b"%d@x.org,U,%d\n" % (n, n) for n in range(5)))
    rejected = api.pipeline.run(b"email,name,age\n" + b",,\n" * 5 + b"5@x.org,U,5\n")["id"]
    for name in ("d1", "d2", "d3", "d4"):
        api.put(name)
    uploads = [api.post(asked()).json_body["id"] for _ in range(3)]
    found = {}
    for path in ("/v1/datasets", "/v1/uploads", "/v1/datasets/contacts/rows", f"/v1/uploads/{rejected}/rejects"):
        seen: list[Any] = []
        query = "?limit=2"
        while True:
            answer = api.get(path + query)
            page = answer.json_body
            assert len(page["items"]) == 2 or not page["next_cursor"]
            seen += page["items"]
            if page["next_cursor"] is None:
                assert "Link" not in answer.headers
                break
            query = "?" + urlencode({"limit": 2, "cursor": page["next_cursor"]})
            assert answer.headers["Link"] == f'<{query}>; rel="next"'
        found[path] = seen
    assert [one["name"] for one in found["/v1/datasets"]] == ["contacts", "d1", "d2", "d3", "d4"]
    assert [row["age"] for row in found["/v1/datasets/contacts/rows"]] == [0, 1, 2, 3, 4, 5]
    assert [row["row"] for row in found[f"/v1/uploads/{rejected}/rejects"]] == [1, 2, 3, 4, 5]
    ids = [one["id"] for one in found["/v1/uploads"]]
    assert len(ids) == 5
    assert set(uploads) < set(ids)
    assert ids == sorted(ids, reverse=True)


@pytest.mark.usefixtures("own_clients")
def test_a_page_of_uploads_reads_no_more_of_the_status_table_than_it_shows(api: Api) -> None:
    api.put()
    for _ in range(5):
        api.post(asked())
    answers: list[dict[str, Any]] = []
    aws.client("dynamodb").meta.events.register("after-call.dynamodb.Query", lambda parsed, **_: answers.append(parsed))
    page = api.get("/v1/uploads?limit=2").json_body
    assert (len(page["items"]), [one["ScannedCount"] for one in answers]) == (2, [3])


def test_uploads_are_listed_by_state_and_dataset(api: Api) -> None:
    for name in ("contacts", "others"):
        api.put(name)
    done = api.pipeline.run(FILE)["id"]
    waiting = api.post(asked(dataset="others"), Idempotency_Key="k").json_body["id"]
    for query, expected in (
        ("", [waiting, done]),
        ("?state=awaiting_upload", [waiting]),
        ("?state=completed_with_errors", [done]),
        ("?dataset=contacts", [done]),
        ("?dataset=contacts&state=awaiting_upload", []),
        ("?dataset=none", []),
    ):
        assert [one["id"] for one in api.get(f"/v1/uploads{query}").json_body["items"]] == expected, query


@pytest.mark.usefixtures("own_clients")
def test_a_request_looks_at_so_many_uploads_for_those_that_pass_a_filter_and_the_next_goes_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the last of 100,000 uploads would be looked for longer than a request may take."""
    monkeypatch.setattr(dynamodb, "LOOKED_AT", 2)
    monkeypatch.setattr(dynamodb, "MOST_PAGES", 2)
    for name in ("contacts", "others"):
        api.put(name)
    others = [api.post(asked(dataset="others")).json_body["id"] for _ in range(2)]
    for n in range(8):
        api.post(asked(), Idempotency_Key=f"k{n}")  # whose items lie below all uploads
    answers: list[dict[str, Any]] = []
    aws.client("dynamodb").meta.events.register("after-call.dynamodb.Query", lambda parsed, **_: answers.append(parsed))
    found, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/v1/uploads?dataset=others{cursor and f'&cursor={cursor}'}").json_body
        found.append([one["id"] for one in page["items"]])
        cursor = page["next_cursor"]
    assert found == [[], [], others[::-1]]
    assert [one["ScannedCount"] for one in answers] == [2] * 6


def test_an_upload_that_did_not_change_is_not_sent_again(api: Api) -> None:
    api.put()
    upload_id = api.pipeline.create(FILE)
    path = f"/v1/uploads/{upload_id}"
    tag = api.get(path).headers["ETag"]
    assert tag.startswith('"')
    assert tag.endswith('"')
    same = api.get(path, If_None_Match=tag)
    assert (same.status_code, same.body, same.headers["ETag"]) == (304, b"", tag)
    assert api.get(path, If_None_Match='"other"').status_code == 200
    api.pipeline.split(upload_id)
    changed = api.get(path, If_None_Match=tag)
    assert (changed.status_code, changed.headers["ETag"] != tag) == (200, True)


def test_if_none_match_takes_a_list_a_weak_tag_and_a_star(api: Api) -> None:
    """RFC 9110, 13.1.2: the comparison is weak."""
    api.put()
    path = f"/v1/uploads/{api.post(asked()).json_body['id']}"
    tag = api.get(path).headers["ETag"]
    for sent in (f"W/{tag}", f'"other", {tag}', "*"):
        assert api.get(path, If_None_Match=sent).status_code == 304, sent


def test_a_repeated_request_with_its_idempotency_key_gets_the_same_upload(api: Api) -> None:
    api.put()
    first = api.post(asked(), Idempotency_Key="key-1")
    again = api.post(asked(), Idempotency_Key="key-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json_body["id"] == again.json_body["id"] != api.post(asked(), Idempotency_Key="key-2").json_body["id"]
    assert again.json_body["upload"]["fields"]["key"] == first.json_body["upload"]["fields"]["key"]
    is_problem(api.post(asked(filename="b.csv"), Idempotency_Key="key-1"), 422, "idempotency_key_reused")
    other = {"Authorization": f"Bearer {api.stranger}"}
    is_problem(api.post(asked(), Idempotency_Key="key-1", **other), 422, "unknown_dataset")
    for bad in ("k" * 256, "a b", "é"):
        is_problem(api.post(asked(), Idempotency_Key=bad), 400, "idempotency_key_invalid")
    assert len(api.get("/v1/uploads").json_body["items"]) == 2


# What each route refuses


def test_a_door_without_a_valid_token_is_closed(api: Api) -> None:
    claims = jwt.decode(api.token, options={"verify_signature": False})
    headers, secret = jwt.get_unverified_header(api.token), settings().jwt_secret

    def signed(secret: str, **changed: Any) -> str:
        return "Bearer " + jwt.encode(claims | changed, secret, "HS256", {**headers})

    shown = {
        "": "",
        "basic": "Basic YWRhOmFkYQ==",
        "expired": signed(secret, exp=1),
        "forged": signed("some other secret, long enough to sign"),
        "unsigned": "Bearer " + jwt.encode(claims, "", "none", {"typ": "at+jwt", "kid": headers["kid"]}),
        "other stage": signed(secret, aud="rowmill-prod"),
    }
    doors = [
        *(("GET", path) for path in ("/v1/datasets", "/v1/datasets/a", "/v1/datasets/a/rows", "/v1/uploads")),
        *(("GET", f"/v1/uploads/upl_1{tail}") for tail in ("", "/chunks", "/rejects")),
        *(("PUT", "/v1/datasets/a"), ("POST", "/v1/uploads")),
    ]
    for method, path in doors:
        for kind, token in shown.items():
            answer = api(method, path, b"not json", Authorization=token)
            assert (answer.status_code, method, path, kind) == (401, method, path, kind)
            is_problem(answer, 401, "token_invalid")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_wrong_password_and_an_unknown_name_get_the_same_problem(api: Api) -> None:
    wrong = is_problem(api("POST", "/v1/auth/login", CREDENTIALS | {"password": "x"}), 401, "login_failed")
    unknown = is_problem(api("POST", "/v1/auth/login", CREDENTIALS | {"username": "x"}), 401, "login_failed")
    assert {**wrong, "instance": ""} == {**unknown, "instance": ""}


def test_a_failed_login_says_how_to_authenticate(api: Api) -> None:
    """RFC 9110, 15.5.2: a 401 must carry WWW-Authenticate."""
    answer = api("POST", "/v1/auth/login", CREDENTIALS | {"password": "x"})
    assert "WWW-Authenticate" in answer.headers


def test_a_username_is_taken_once(api: Api) -> None:
    taken = {"username": "ADA", "password": "another horse"}
    is_problem(api("POST", "/v1/auth/signup", taken, Authorization=""), 409, "username_taken")


NOT_OBJECTS = [
    *(
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"{}{}",
        b"{'a': 1}",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
    ),
    *(b'{"a": "\\u0000"}', b'{"a\\u0000": 1}', b'{"a": {"b": ["x\\u0000"]}}', b'{"a": "\\ud800"}', b'{"\\udfff": 1}'),
    *(b'{"a": 1e999}', b'{"a": [-1e999]}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a":' * 5000 + b"1" + b"}" * 5000),
    *('{"a": 1}'.encode(encoding) for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be")),
    *(b"[" * 100_000, b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', b'{"a": "\t"}', b'{"a": 1, "a": 2}'),
]


def test_a_body_that_is_no_json_object_of_valid_text_is_malformed(api: Api) -> None:
    api.put()
    for path, method in (("/v1/auth/signup", "POST"), ("/v1/datasets/contacts", "PUT"), ("/v1/uploads", "POST")):
        answers = {body[:40]: api(method, path, body) for body in NOT_OBJECTS}
        assert not misjudged(answers, 400, "body_invalid")


def test_a_text_that_only_looks_like_an_escaped_nul_is_text(api: Api) -> None:
    """Six characters, a backslash among them, as in a title that explains JSON."""
    assert api.put(body=CONTACTS | {"title": "\\u0000 is refused"}).status_code == 201


def test_a_body_nested_to_any_depth_gets_an_answer(api: Api) -> None:
    """Somewhere between what one parser takes and what the next one takes must not lie a 500."""
    answers = {}
    for depth in (*range(10, 800, 50), *range(800, 1001, 3), 3000):
        body = b'{"fields": [{"name": "a"}], "x": ' + b"[" * depth + b"]" * depth + b"}"
        answers[depth] = api("PUT", "/v1/datasets/deep", body).status_code
    assert not {depth: status for depth, status in answers.items() if status >= 500}


def test_only_json_is_read(api: Api) -> None:
    for sent in ("text/csv", "text/plain", "", "application/jsonp", "multipart/form-data; boundary=x"):
        is_problem(api.post(asked(), Content_Type=sent), 415, "content_type_invalid")
    api.put()
    for sent in ("application/json; charset=utf-8", "Application/JSON", " application/json ;charset=UTF-8"):
        assert api.post(asked(), Content_Type=sent).status_code == 201


def test_a_body_or_a_file_above_the_limit_is_too_large(api: Api) -> None:
    api.put()
    padded = b'{"a": "' + b"x" * edge.MAX_BODY_BYTES + b'"}'
    is_problem(api.post(padded), 413, "body_too_large")
    is_problem(api("POST", "/v1/auth/signup", padded), 413, "body_too_large")
    limit = settings().max_upload_bytes
    assert api.post(asked(size=limit)).status_code == 201
    for size in (limit + 1, 10**30):
        is_problem(api.post(asked(size=size)), 413, "file_too_large")


def test_headers_above_the_limit_are_too_large(api: Api) -> None:
    assert api.get("/healthz", X_Padding="x" * 9000).status_code == 200
    is_problem(api.get("/healthz", X_Padding="x" * edge.MAX_HEADER_BYTES), 431, "headers_too_large")
    is_problem(api.get("/v1/uploads", Authorization="Bearer " + "x" * 20_000), 431, "headers_too_large")


def test_headers_are_taken_up_to_the_last_byte_and_the_last_one(api: Api) -> None:
    given = {"Authorization": f"Bearer {api.token}", "Content-Type": JSON, "X-Padding": ""}
    room = edge.MAX_HEADER_BYTES - sum(len(name) + len(value) for name, value in given.items())
    assert api.get("/v1/datasets", X_Padding="x" * room).status_code == 200
    is_problem(api.get("/v1/datasets", X_Padding="x" * (room + 1)), 431, "headers_too_large")
    many = {f"X-{n}": "x" for n in range(edge.MAX_HEADERS - 2)}
    assert api.get("/v1/datasets", **many).status_code == 200
    is_problem(api.get("/v1/datasets", **many, X_More="x"), 431, "headers_too_many")
    is_problem(api.get("/healthz", Authorization="", **many, X_More="x", X_Most="x"), 431, "headers_too_many")


def test_a_query_is_taken_up_to_the_last_byte(api: Api) -> None:
    room = edge.MAX_QUERY_BYTES - len("dataset")
    for letter, size in (("x", 1), ("%20", 1), ("%C3%A9", 2)):  # decoded, whatever it takes on the way
        fitting = letter * (room // size)
        assert api.get(f"/v1/uploads?dataset={fitting}").status_code == 200, letter
        is_problem(api.get(f"/v1/uploads?dataset={fitting}xx"), 414, "query_too_large")
    many = "&".join(f"x{n}=1" for n in range(2000))
    is_problem(api.get(f"/v1/uploads?{many}"), 414, "query_too_large")
    is_problem(api.get(f"/healthz?{many}", Authorization=""), 414, "query_too_large")


def test_a_query_that_a_route_does_not_take_is_refused_everywhere(api: Api) -> None:
    api.put()
    upload_id = api.post(asked()).json_body["id"]
    for path in ("/healthz", "/docs", "/v1/datasets/contacts", f"/v1/uploads/{upload_id}"):
        problem = is_problem(api.get(f"{path}?x=1"), 400, "query_invalid")
        assert columns(problem) == ["x"]
    problem = is_problem(api.get("/v1/uploads?limit=1&limit=2&dataset=a"), 400, "query_invalid")
    assert [(error["column"], error["detail"]) for error in problem["errors"]] == [("limit", "must be there once")]


def test_everything_that_is_wrong_with_a_request_is_told_at_once(api: Api) -> None:
    api.put()
    problem = is_problem(api.post({"dataset": 1, "size": -1, "colour": "red"}), 422, "body_invalid")
    assert sorted(map(str, columns(problem))) == ["colour", "dataset", "size"]
    nobody = is_problem(api("POST", "/v1/auth/signup", {"username": 1}, Authorization=""), 422, "password_invalid")
    assert columns(nobody) == ["password", "username"]


def test_an_unknown_dataset_upload_or_row_is_not_found(api: Api) -> None:
    api.put()
    datasets = [f"/v1/datasets/{name}{tail}" for name in ("none", "%00", "%FF", "n" * 3000) for tail in ("", "/rows")]
    assert not misjudged({path: api.get(path) for path in datasets}, 404, "dataset_not_found")
    strange = ("upl_none", "none", "key%23x", "upl_%00", "upl_" + "x" * 3000, "upl_é", "..", "%2e%2e")
    paths = [f"/v1/uploads/{upload}{tail}" for upload in strange for tail in ("", "/chunks", "/rejects")]
    paths += [f"/v1/datasets/contacts/rows?upload={upload}" for upload in (*strange, "", "%00", "%F0%9F%8E%89")]
    assert not misjudged({path: api.get(path) for path in paths}, 404, "upload_not_found")


def test_what_belongs_to_others_is_not_found(api: Api) -> None:
    api.put()
    upload_id = api.pipeline.run(FILE)["id"]
    stranger = {"Authorization": f"Bearer {api.stranger}"}
    for tail in ("", "/chunks", "/rejects"):
        is_problem(api.get(f"/v1/uploads/{upload_id}{tail}", **stranger), 404, "upload_not_found")
    for tail in ("", "/rows"):
        is_problem(api.get(f"/v1/datasets/contacts{tail}", **stranger), 404, "dataset_not_found")
    is_problem(api.post(asked(), **stranger), 422, "unknown_dataset")
    for listing in ("/v1/uploads", "/v1/datasets"):
        assert api.get(listing, **stranger).json_body["items"] == []
    assert api("PUT", "/v1/datasets/contacts", CONTACTS, **stranger).status_code == 201
    is_problem(api.get(f"/v1/datasets/contacts/rows?upload={upload_id}", **stranger), 404, "upload_not_found")
    assert api.get("/v1/datasets/contacts/rows", **stranger).json_body["items"] == []
    mine = api.get("/v1/uploads").json_body["next_cursor"] or encode("upl_~")
    assert api.get(f"/v1/uploads?cursor={mine}", **stranger).json_body["items"] == []


def test_a_dataset_in_use_or_with_rows_keeps_its_schema(api: Api) -> None:
    api.put()
    other = {"fields": [{"name": "email"}]}
    upload_id = api.pipeline.create(FILE)
    api.pipeline.split(upload_id)
    is_problem(api.put(body=other), 409, "dataset_busy")
    api.pipeline.load(api.pipeline.messages())
    is_problem(api.put(body=other), 409, "dataset_incompatible")
    changed = api.put(body=CONTACTS | {"mode": "upsert", "title": "People"})
    assert (changed.status_code, changed.json_body["mode"]) == (200, "upsert")
    assert len(api.get("/v1/datasets/contacts/rows").json_body["items"]) == 1


def test_a_dataset_with_rows_takes_a_wider_schema(api: Api) -> None:
    api.put()
    api.pipeline.run(FILE)
    fields = [dict(field) for field in CONTACTS["fields"]]
    fields[1] |= {"constraints": {"maxLength": 9}}
    wider = {"fields": [{"name": "phone", "type": "string"}, *fields]}
    assert api.put(body=wider).json_body["version"] == 2
    assert api.put(body=wider).json_body["version"] == 2
    upload = api.pipeline.run(b"email,name,age,phone\nnew@x.org,N,,0049\nlong@x.org,0123456789,,1\n", "contacts")
    assert (upload["loaded"], upload["rejected"]) == (1, 1)
    first, last = api.get("/v1/datasets/contacts/rows").json_body["items"]
    assert (first["phone"], last["phone"], list(last)) == (None, "0049", ["phone", "email", "name", "age"])
    tenant = api.pipeline.tenant
    assert len(api.pipeline.sql(f'SELECT phone, email FROM "{tenant}".contacts')) == 2


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (lambda fields: fields.pop(), "age"),
        (lambda fields: fields.append({"name": "new", "constraints": {"required": True}}), "new"),
        (lambda fields: fields[1].update(constraints={"required": True}), "name"),
        (lambda fields: fields[2].update(type="string"), "age"),
        (lambda fields: fields[1].update(constraints={"unique": True}), None),
    ],
)
def test_what_rows_could_not_follow_is_named(api: Api, change: Callable[[Any], Any], column: str | None) -> None:
    api.put()
    api.pipeline.run(FILE)
    fields = [dict(field) for field in CONTACTS["fields"]]
    change(fields)
    problem = is_problem(api.put(body={"fields": fields}), 409, "dataset_incompatible")
    assert [error["column"] for error in problem["errors"]] == [column]
    assert api.pipeline.run(FILE)["loaded"] == 0  # as ever: its rows are there


def given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> str:
    """An upload whose only chunk is out of attempts."""
    with monkeypatch.context() as patch:
        poison(patch, 1)
        upload_id = api.pipeline.create(FILE)
        api.pipeline.split(upload_id)
        messages = api.pipeline.messages()
        for _ in range(4):
            with suppress(Unavailable):
                api.pipeline.load(messages)
    assert api.pipeline.upload(upload_id)["state"] == "failed"
    return upload_id


def test_chunks_say_when_they_were_begun_and_ended_and_what_was_wrong(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put()
    upload_id = given_up(api, monkeypatch)

    def chunk() -> dict[str, Any]:
        (found,) = api.get(f"/v1/uploads/{upload_id}/chunks").json_body["items"]
        return dict(found)

    dead = chunk()
    assert (dead["state"], dead["attempts"], dead["error"], dead["started_at"]) == ("dead", 4, "MemoryError", None)
    assert dead["finished_at"] is not None
    assert api("POST", f"/v1/uploads/{upload_id}/redrive").status_code == 202
    waiting = chunk()
    assert [waiting[name] for name in ("state", "error", "started_at", "finished_at")] == ["queued", None, None, None]
    (upload,) = api.pipeline.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", upload_id)
    assert manifest.take(connection.connection(), ChunkKey(upload["number"], "load", 1))
    begun = chunk()
    assert begun["started_at"] >= dead["finished_at"]
    assert begun["finished_at"] is None


def test_what_was_given_up_under_another_schema_is_not_redriven(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.put()
    upload_id = given_up(api, monkeypatch)
    api.put(body={"fields": [*CONTACTS["fields"], {"name": "phone"}]})
    is_problem(api("POST", f"/v1/uploads/{upload_id}/redrive"), 409, "dataset_changed")


def test_an_empty_dataset_may_change_its_schema(api: Api) -> None:
    api.put()
    changed = api.put(body={"fields": [{"name": "other", "type": "date"}]})
    assert (changed.status_code, changed.json_body["version"]) == (200, 2)
    upload = api.pipeline.run(b"other\n2024-01-05\n")
    assert (upload["state"], api.pipeline.rows()) == ("completed", [{"other": "2024-01-05"}])


def test_a_schema_that_cannot_be_used_is_told_field_by_field(api: Api) -> None:
    fields = [{"name": "a", "type": "money"}, {"name": "b", "constraints": {"minimum": 1}}, {"name": "a"}]
    problem = is_problem(api.put(body={"fields": fields, "primaryKey": "c"}), 422, "schema_invalid")
    assert sorted(map(str, columns(problem))) == ["a", "a", "b", "c"]
    assert all({"code", "detail"} <= set(error) for error in problem["errors"])
    assert api.get("/v1/datasets").json_body["items"] == []
    is_problem(api.put(body={"fields": [{"name": "a"}], "mode": "upsert"}), 422, "mode_invalid")
    is_problem(api.put(body={"fields": [{"name": "a"}], "mode": "replace"}), 422, "mode_invalid")
    for name in ("n" * 64, "a%0Ab", "%E2%80%8B", "%00", ".", "..", "%2E%2E"):
        is_problem(api.put(name), 422, "name_invalid")
    for name in (".", ".."):  # nor may a file make one, which no client could ask for any more
        problem = is_problem(api.post(asked(dataset=name, options={"infer": True})), 422, "body_invalid")
        assert columns(problem) == ["dataset"]
    assert api.put("...").status_code == 201


def test_schemas_that_postgres_would_not_make_a_table_of_are_refused(api: Api) -> None:
    names = [f"f{n}" for n in range(33)]
    empty: list[Any] = [None, "", 0, False, {}]
    bodies: list[dict[str, Any]] = [
        *({"fields": [{"name": "a"}], "primaryKey": nothing} for nothing in empty),
        {"fields": [{"name": "a"}], "primaryKey": ["a", "a"]},
        *({"fields": [{"name": name}]} for name in ("ctid", "xmin", "tableoid")),
        {"fields": [{"name": name} for name in names], "primaryKey": names},
        {"fields": [{"name": name} for name in names], "uniqueKeys": [names]},
    ]
    answers = {json.dumps(body)[-70:]: api.put(f"made{n}", body) for n, body in enumerate(bodies)}
    assert not misjudged(answers, 422, "schema_invalid")


def test_as_many_fields_as_are_allowed_make_a_table(api: Api) -> None:
    names = [f"f{n}" for n in range(1500)]
    assert api.put(body={"fields": [{"name": name, "type": "boolean"} for name in names]}).status_code == 201
    upload = api.pipeline.run(f"{','.join(names)}\n{','.join('1' for _ in names)}\n".encode())
    assert (upload["state"], upload["loaded"]) == ("completed", 1)


BAD_FIELDS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"colour": "red"}, "body_invalid", "colour"),
    ({"dataset": None}, "body_invalid", "dataset"),
    ({"dataset": ["contacts"]}, "body_invalid", "dataset"),
    ({"dataset": "none"}, "unknown_dataset", "dataset"),
    ({"filename": 1}, "body_invalid", "filename"),
    ({"filename": "x" * 1025}, "body_invalid", "filename"),
    ({"filename": "a.exe%00.csv"}, "filename_refused", "filename"),
    ({"size": None}, "body_invalid", "size"),
    ({"size": -1}, "body_invalid", "size"),
    ({"size": 1.5}, "body_invalid", "size"),
    ({"size": True}, "body_invalid", "size"),
    ({"size": "46"}, "body_invalid", "size"),
    ({"content_type": "csv"}, "body_invalid", "content_type"),
    ({"content_type": "text/csv\r\nx: y"}, "body_invalid", "content_type"),
    ({"content_type": None}, "body_invalid", "content_type"),
    ({"checksum": "abc"}, "body_invalid", "checksum"),
    ({"checksum": ""}, "body_invalid", "checksum"),
    ({"checksum": 1}, "body_invalid", "checksum"),
    ({"checksum": "é" * 44}, "body_invalid", "checksum"),
    ({"checksum": "A" * 43}, "body_invalid", "checksum"),
    ({"options": None}, "body_invalid", "options"),
    ({"options": []}, "body_invalid", "options"),
    ({"options": {"infer": 1}}, "body_invalid", "options.infer"),
    ({"options": {"dialect": None}}, "body_invalid", "options.dialect"),
    ({"options": {"mode": None}}, "mode_invalid", None),
    ({"options": {"mode": "replace"}}, "mode_invalid", None),
    ({"options": {"dialect": {"delimiter": ",,,,,"}}}, "dialect_invalid", None),
    ({"options": {"dialect": {"delimiter": None}}}, "dialect_invalid", None),
    ({"options": {"dialect": {"delimiter": []}}}, "dialect_invalid", None),
    ({"options": {"dialect": {"delimiter": "\n"}}}, "dialect_invalid", None),
    ({"options": {"dialect": {"quote": ","}}}, "dialect_invalid", None),
    ({"options": {"dialect": {"quote": {}}}}, "dialect_invalid", None),
    ({"options": {"dialect": {"header": 1}}}, "dialect_invalid", None),
    ({"options": {"dialect": {"encoding": "utf-32"}}}, "dialect_invalid", None),
    ({"options": {"sheet": 0}}, "body_invalid", "options.sheet"),
]


def test_a_bad_field_of_an_upload_is_named(api: Api) -> None:
    api.put()
    for changed, code, column in BAD_FIELDS:
        problem = is_problem(api.post(asked(**changed)), 422, code)
        if column:
            assert columns(problem) == [column], changed


def test_unknown_or_wrong_query_parameters_are_refused(api: Api) -> None:
    api.put()
    upload_id = api.post(asked()).json_body["id"]
    listings = (
        "/v1/datasets",
        "/v1/uploads",
        "/v1/datasets/contacts/rows",
        f"/v1/uploads/{upload_id}/chunks",
        f"/v1/uploads/{upload_id}/rejects",
    )
    limits = ["0", "-1", "5001", "1.5", "", "x", "٣", "1e2", "9" * 30, "0000000019999", "000000001" + "9" * 5000]
    for path in listings:
        is_problem(api.get(f"{path}?page=2"), 400, "query_invalid")
        answers = {limit[:20]: api.get(f"{path}?{urlencode({'limit': limit})}") for limit in limits}
        assert not misjudged(answers, 400, "query_invalid")
        assert api.get(f"{path}?limit=5000").status_code == 200
    is_problem(api.get("/v1/uploads?state=done"), 400, "query_invalid")
    is_problem(api.get("/v1/uploads?state="), 400, "query_invalid")
    is_problem(api.get("/v1/datasets?state=queued"), 400, "query_invalid")


def test_a_cursor_that_a_listing_did_not_give_is_refused(api: Api) -> None:
    api.put()
    upload_id = api.pipeline.run(FILE)["id"]
    rows = "/v1/datasets/contacts/rows"
    numbered = (f"/v1/uploads/{upload_id}/chunks", f"/v1/uploads/{upload_id}/rejects")
    junk = ["", "x", "%25%25", "é", of_cursor("null"), of_cursor("1.5"), of_cursor("true"), of_cursor("[" * 5000)]
    no_numbers = [*junk, *map(of_cursor, ('"text"', "-2", str(2**63), "9" * 5000))]
    no_names = [*junk, *map(of_cursor, ("1", r'"a\u0000"', r'"\ud800"'))]
    for path, cursors in [
        *((path, no_numbers) for path in (*numbered, rows)),
        ("/v1/datasets", no_names),
        ("/v1/uploads", no_names),
    ]:
        answers = {(path, cursor[:20]): api.get(f"{path}?cursor={cursor}") for cursor in cursors}
        assert not misjudged(answers, 400, "cursor_invalid")
    last = of_cursor(str(2**63 - 1))
    assert [api.get(f"{path}?cursor={last}").json_body["items"] for path in numbered] == [[], []]


def test_the_empty_cursor_of_a_listing_by_name_is_no_fault_of_ours(api: Api) -> None:
    answers = {
        (path, text[:10]): api.get(f"{path}?cursor={encode(text)}").status_code
        for path in ("/v1/datasets", "/v1/uploads")
        for text in ("", "~" * 3000, "upl_", "key#")
    }
    assert not {asked: status for asked, status in answers.items() if status >= 500}


def test_the_log_says_which_service_failed_and_how_when_a_client_is_told_to_come_again(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api.put()
    connection.close()
    monkeypatch.setenv("DATABASE_URL", "postgresql://rowmill:secret@127.0.0.1:1/rowmill")
    settings.cache_clear()
    monkeypatch.setattr(logger, "propagate", True)
    is_problem(api.get("/v1/datasets"), 503, "database_unavailable")
    (said,) = [record for record in caplog.records if record.message == "unavailable"]
    assert re.match(r"OperationalError at \w+\.py:\d+", said.__dict__["error"])
    assert "secret" not in said.__dict__["error"]


# Whatever comes in


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
ANY = st.recursive(
    PLAIN | st.sampled_from(["a", "contacts", "", "\0", "\ud800", 10**400, 2**63, "insert"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
NAME = st.sampled_from(["a", "b", "%s", "ctid", "_row", "a%b", '"', "n" * 64]) | ANY
FIELD = st.fixed_dictionaries(
    {"name": NAME},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "boolean", "date", "datetime"]) | ANY,
        "constraints": st.fixed_dictionaries({}, optional={"unique": st.booleans() | ANY, "required": st.booleans()})
        | ANY,
        "trueValues": ANY,
        "format": ANY,
        "title": ANY,
    },
)
DESCRIPTOR = st.fixed_dictionaries(
    {"fields": st.lists(FIELD, min_size=1, max_size=3) | ANY},
    optional={
        "primaryKey": NAME | st.lists(NAME, max_size=3),
        "uniqueKeys": st.lists(st.lists(NAME, max_size=2) | NAME, max_size=2) | ANY,
        "missingValues": ANY,
        "mode": st.sampled_from(["insert", "upsert"]) | ANY,
        "x": ANY,
    },
)
UPLOAD = st.fixed_dictionaries(
    {"dataset": st.just("contacts") | ANY, "size": st.integers(0, 100) | ANY},
    optional={
        "filename": ANY,
        "content_type": st.just("text/csv") | ANY,
        "checksum": st.binary(min_size=30, max_size=33).map(lambda b: base64.b64encode(b).decode()) | ANY,
        "options": st.fixed_dictionaries(
            {},
            optional={
                "mode": st.sampled_from(["insert", "skip", "upsert"]) | ANY,
                "dialect": st.fixed_dictionaries({}, optional={"delimiter": ANY, "quote": ANY, "header": ANY}) | ANY,
            },
        )
        | ANY,
        "x": ANY,
    },
)
SIGNUP = st.fixed_dictionaries(
    {}, optional={"username": st.text(max_size=5) | ANY, "password": st.text(max_size=7) | ANY, "x": ANY}
)
REQUEST = st.one_of(
    st.tuples(st.just(("POST", "/v1/auth/signup")), SIGNUP),
    st.tuples(st.just(("POST", "/v1/auth/login")), SIGNUP),
    st.tuples(st.just(("PUT", "/v1/datasets/fuzz")), DESCRIPTOR),
    st.tuples(st.just(("PUT", "/v1/datasets/fuzz")), DESCRIPTOR),
    st.tuples(st.just(("POST", "/v1/uploads")), UPLOAD),
)
QUERY = st.dictionaries(
    st.sampled_from(["limit", "cursor", "state", "dataset", "upload", "sort", "email", "email.gt", "x"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | PLAIN.map(json.dumps).map(of_cursor)
    | st.sampled_from(["queued", "contacts", "5", "\0"]),
    max_size=3,
)
PATH = st.sampled_from(
    [
        "/v1/datasets",
        "/v1/uploads",
        "/v1/datasets/contacts/rows",
        "/v1/datasets/{}",
        "/v1/datasets/{}/rows",
        "/v1/uploads/{}",
        "/v1/uploads/upl_{}/rejects",
    ]
)
SEGMENT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
FUZZ = examples(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


@pytest.fixture
def shared(api: Api) -> Api:
    """Doors with one dataset behind them."""
    api.put()
    return api


@given(REQUEST)
@examples(FUZZ, max_examples=200)
def test_no_body_is_answered_with_a_fault_of_ours(shared: Api, asked_for: tuple[tuple[str, str], Any]) -> None:
    (method, path), body = asked_for
    answer = shared(method, path, body)
    assert answer.status_code < 500, answer.body
    if answer.status_code >= 400:
        is_problem(answer, answer.status_code, answer.json_body["code"])


@given(PATH, SEGMENT, QUERY)
@examples(FUZZ, max_examples=150)
def test_no_address_is_answered_with_a_fault_of_ours(
    shared: Api, path: str, segment: str, query: dict[str, str]
) -> None:
    answer = shared.get(f"{path.format(quote(segment, safe=''))}?{urlencode(query)}")
    assert answer.status_code < 500, answer.body
