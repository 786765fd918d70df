"""What somebody who means harm would try, beyond what the tests of each part try. SECURITY.md lists all of it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from app import app
from chalicelib.aws import s3
from chalicelib.logs import logger
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline
from tests.stages.test_api import Api, asked, is_problem

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-5c1e"
NAMES = (
    *("../../etc/passwd", "..%2f..%2fsource", "a\r\nSet-Cookie: x=1", "a\x00b", "\u202egpj.exe", "x" * 10_000),
    *("uploads/other/upl_1/source", "'; DROP TABLE rowmill.upload; --", "<img src=x onerror=alert(1)>", ".", ""),
)


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    return Api(pipeline)


def test_no_file_s_name_is_part_of_where_it_lies(api: Api) -> None:
    api.put()
    for name in NAMES:
        answer = api.post(asked(filename=name))
        if answer.status_code == 201:
            made = answer.json_body
            assert made["upload"]["fields"]["key"] == f"uploads/{api.pipeline.tenant}/{made['id']}/source"
        else:
            code = answer.json_body["code"]
            assert (answer.status_code, code) in (
                (400, "body_invalid"),
                (422, "body_invalid"),
                (422, "filename_refused"),
            )


def test_what_is_downloaded_is_an_attachment_of_our_own_name(pipeline: Pipeline) -> None:
    url = s3.presign_download("results/x/upl_1/1/rejects.csv", "rejects.csv", 60)
    assert "response-content-disposition=attachment%3B%20filename%3D%22rejects.csv%22" in url


def test_what_the_server_decides_is_not_taken_from_a_body(api: Api) -> None:
    api.put()
    for member in (
        "tenant",
        "tenant_id",
        "id",
        "upload_id",
        "state",
        "status",
        "owner",
        "created_at",
        "loaded",
        "rank",
    ):
        is_problem(api.post(asked(**{member: "x"})), 422, "body_invalid")
    for member in ("tenant_id", "user_id", "role"):
        answer = api("POST", "/v1/auth/signup", {"username": "eve", "password": "correct horse", member: "x"})
        assert answer.status_code in (400, 422), answer.body


def test_no_page_of_another_origin_is_let_in(api: Api) -> None:
    for path in ("/healthz", "/v1/uploads", "/v1/openapi.json"):
        answer = api.get(path, Origin="https://evil.example")
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")], path
    assert not [entry for methods in app.routes.values() for entry in methods.values() if entry.cors]


def test_an_address_that_a_client_says_it_has_is_not_counted(api: Api) -> None:
    for n in range(3):
        wrong = {"username": "ada", "password": "wrong horse"}
        api("POST", "/v1/auth/login", wrong, X_Forwarded_For=f"203.0.113.{n}", X_Real_IP=f"203.0.113.{n}")
    assert len(api.pipeline.sql("SELECT FROM rowmill.login_failure")) == 2  # one name, one address


def test_a_fault_of_ours_says_its_request_and_nothing_else(api: Api) -> None:
    api.pipeline.sql("ALTER TABLE rowmill.webhook RENAME COLUMN url TO secret_column")
    try:
        answer = api.get("/v1/webhooks")
    finally:
        api.pipeline.sql("ALTER TABLE rowmill.webhook RENAME COLUMN secret_column TO url")
    problem = is_problem(answer, 500, "internal")
    assert set(problem) <= {"type", "title", "status", "code", "detail", "instance"}
    assert not re.search(r"url|column|SELECT|psycopg|Traceback|\.py", problem["detail"])


def test_nothing_is_open_that_the_list_here_does_not_have(api: Api) -> None:
    """The contract and its page are meant for everybody; there is no other door to look behind."""
    opened = {
        (method, path)
        for path, methods in app.routes.items()
        for method in methods
        if "{" not in path and api(method, path, {}, Authorization="").status_code != 401
    }
    kept = {("GET", path) for path in ("/", "/docs", "/healthz", "/v1/openapi.json")}
    kept |= {("GET", "/.well-known/rowmill-receipt-keys.json")}
    kept |= {("POST", f"/v1/auth/{what}") for what in ("signup", "login", "refresh", "logout")}
    assert opened == kept | {("POST", "/signup"), ("POST", "/login")}
    assert app.debug is False


# Nothing of a row, a password or a token where it does not belong


def test_rows_and_passwords_are_in_no_log_no_message_and_no_status(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Of a run with good rows, bad ones, one that Postgres refuses, a repeat, a fault of a worker, and a wrong login."""
    pipeline = api.pipeline
    api.put()
    password = f"{CANARY} horse"
    api("POST", "/v1/auth/login", {"username": "ada", "password": password})
    api("POST", "/v1/auth/signup", {"username": "eve", "password": password})
    rows = [f"{CANARY}-{n}@x.org,{CANARY},{n}" for n in range(50)]
    rows += [f"{CANARY}@x.org,x,no {CANARY}", rows[0], f"{CANARY}0@x.org,{CANARY},{2**70}", f'"{CANARY}"x,y,z']
    body = ("email,name,age\n" + "\n".join(rows) + "\n").encode()
    upload_id = pipeline.create(body)
    seen: list[Any] = []
    pipeline.split(upload_id)
    messages = pipeline.messages()
    pipeline.load(messages)
    seen += messages
    for queue in ("settle", "notify", "receipt", "dead", "intake"):
        waiting = pipeline.messages(queue)
        seen += waiting
        for message in waiting:
            boto3.client("sqs").send_message(
                QueueUrl=boto3.client("sqs").get_queue_url(QueueName=f"rowmill-local-{queue}")["QueueUrl"],
                MessageBody=json.dumps(message),
            )
    pipeline.settle()
    pipeline.attest()
    pipeline.sweep()
    assert len(pipeline.rejects(upload_id)) >= 3  # there was something to tell
    lines = [logger.registered_formatter.format(record) for record in caplog.records if record.name == "rowmill"]
    assert {json.loads(line)["message"] for line in lines} >= {"answered", "called"}
    assert not [line for line in lines if CANARY in line]
    assert CANARY not in json.dumps(seen)
    for table in (settings().uploads_table, settings().keys_table):
        assert CANARY not in str(boto3.client("dynamodb").scan(TableName=table)["Items"])
    for row in pipeline.sql(
        "SELECT t::text AS said FROM rowmill.event t UNION ALL SELECT t::text FROM rowmill.outbox t"
    ):
        assert CANARY not in row["said"]


def test_a_line_of_the_log_is_one_line_whatever_is_in_it(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.get('/v1/uploads/x%0d%0a{"level":"INFO","message":"forged"}')
    api.get("/v1/datasets/a%0d%0aforged")
    lines = [logger.registered_formatter.format(record) for record in caplog.records if record.name == "rowmill"]
    assert len(lines) == 2
    assert all(json.loads(line)["message"] == "answered" and "\n" not in line for line in lines)


# In the repository itself


def statements() -> Iterator[tuple[str, ast.expr]]:
    """What is put into the text of SQL by an f-string, and where."""
    for path in sorted((ROOT / "chalicelib").rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and node.args]
        for call in calls:
            does = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            for part in ast.walk(call.args[0]) if does in ("execute", "executemany", "copy", "stream") else ():
                if isinstance(part, ast.FormattedValue):
                    yield f"{path.relative_to(ROOT / 'chalicelib')}: {ast.unparse(part.value)}", part.value


IS_STUCK = (("deliveries", "due_at"), ("outbox", "created_at"))


def test_no_statement_is_put_together_from_anything_but_constants() -> None:
    """Names go through psycopg.sql, values beside the statement. What is left is one of ours, looked at here."""
    made = {
        where for where, value in statements() if not re.fullmatch(r"(\w+\.)?_?[A-Z][A-Z0-9_]*", ast.unparse(value))
    }
    assert made == LOOKED_AT


LOOKED_AT = {  # each a word of its module, or a number that Postgres has given
    *(f"postgres/{name}.py: IS_STUCK.format(since='{since}')" for name, since in IS_STUCK),
    *("postgres/erasures.py: table", "postgres/locks.py: name"),
    *("postgres/locks.py: places", "postgres/outcomes.py: columns", "postgres/partitions.py: number"),
    *("postgres/projection.py: canceling", "postgres/proofs.py: asked", "postgres/proofs.py: stuck"),
    *("postgres/removals.py: row[0]", "postgres/removals.py: table", "postgres/stages.py: idle"),
}
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|gh[pousr]_[A-Za-z0-9]{36}|xox[bap]-[0-9A-Za-z-]{20}"
    r"|aws_secret_access_key\s*[=:]\s*['\"]?[A-Za-z0-9/+]{40}|\brm[kr]_[A-Za-z0-9_-]{43}\b|whsec_[A-Za-z0-9+/]{32}"
)


def test_the_repository_holds_no_secret() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    found = set()
    for name in filter(None, tracked.split("\0")):
        text = (ROOT / name).read_bytes().decode(errors="replace") if (ROOT / name).is_file() else ""
        found |= {f"{name}: {match[:10]}" for match in SECRET.findall(text)}
    assert found == EXAMPLES


EXAMPLES = {"chalicelib/contract/accounts.py: rmr_1AVc5c"}  # of the contract
