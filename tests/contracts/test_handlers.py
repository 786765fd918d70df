"""Every function as Lambda starts it: the shipped zip, the runtime's own packages, and nothing else.

A handler that works in a checkout may still lack a module in the zip, or import half of PyPI at each cold
start. So each is called in an interpreter that sees the unzipped package, boto3 and the standard library;
AWS answers (an embedded cloud with the queues and the table), the database does not.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import boto3
import pytest

from infra.local import cloud, instance
from infra.package import package

RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
HEAVY = {"cfnlint", "hypothesis", "moto", "numpy", "pandas", "polars", "pyarrow", "pydantic", "rich", "typer"}
QUEUES = ("intake", "high", "medium", "low", "settle", "dead", "notify", "receipt")
# In units of what boto3 and Chalice alone load. What it takes in time is bench.weight's to tell.
MODULES_CEILING = 1.6
NOBODY_LISTENS = "postgresql://rowmill:secret@127.0.0.1:1/rowmill"

CALL = """
import importlib, json, sys
sys.path[:0] = json.loads(sys.argv[1])
handler, events = json.loads(sys.stdin.read())
sys.stdout = sys.stderr  # where the log goes
class Context:
    aws_request_id = "call-1"
    def get_remaining_time_in_millis(self):
        return 29000
module, name = handler.split(".")
function = getattr(importlib.import_module(module), name)
def called(event):
    try:
        return {"returned": function(event, Context())}
    except Exception as error:
        return {"raised": type(error).__name__, "code": getattr(error, "code", None)}
sys.__stdout__.write(json.dumps(list(map(called, events))))
"""
IMPORT = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
exec(sys.stdin.read())
sys.stdout.write(json.dumps(sorted(sys.modules)))
"""

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the package holds wheels for Lambda's Linux on x86_64, which load nowhere else",
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Folders that make up a function's sys.path, besides the standard library's, and its environment."""

    folders: tuple[str, ...]
    handlers: Mapping[str, str]  # by function: Split -> app.split_file
    environment: Mapping[str, str]

    def call(self, function: str, *events: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the handler returned to each event, or the name and code of what it raised. One cold start."""
        answers: list[dict[str, Any]] = self._run(CALL, json.dumps([self.handlers[function], events]))
        return answers

    def imported(self, statement: str) -> set[str]:
        """Every module that its imports load."""
        return set(self._run(IMPORT, statement))

    def _run(self, script: str, stdin: str) -> Any:
        # -I and -S: no environment variables of Python's, no current folder, no site-packages.
        command = [sys.executable, "-I", "-S", "-c", script, json.dumps(self.folders)]
        done = subprocess.run(
            command, check=False, env=dict(self.environment), input=stdin, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("lambda")
    built = package("prod")
    with ZipFile(built.code) as archive:
        archive.extractall(folder / "task")
    with instance.running(deployed=False) as here:
        _make_aws(here.endpoint)
        environment = {
            **cloud.CREDENTIALS,
            "AWS_ENDPOINT_URL": here.endpoint,
            "DATABASE_URL": NOBODY_LISTENS,
            "JWT_SECRET": "a secret that only this test knows and long enough",
            "ROWMILL_STAGE": "prod",
            "NO_PROXY": "127.0.0.1",
        }
        folders = (str(folder / "task"), str(_runtime_packages(folder / "runtime")))
        yield Runtime(folders, _handlers(built.read()), environment)


def _handlers(template: Mapping[str, Any]) -> dict[str, str]:
    functions = {n: r for n, r in template["Resources"].items() if r["Type"] == "AWS::Serverless::Function"}
    return {name: function["Properties"]["Handler"] for name, function in functions.items()}


def _runtime_packages(folder: Path) -> Path:
    """What Lambda's Python comes with, by links into this environment."""
    folder.mkdir()
    for name in RUNTIME:
        spec = importlib.util.find_spec(name)
        assert spec and spec.origin
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


def _make_aws(endpoint: str) -> None:
    session = boto3.Session("test", "test", region_name=cloud.REGION)
    queues = session.client("sqs", endpoint_url=endpoint)
    for name in QUEUES:
        queues.create_queue(QueueName=f"rowmill-prod-{name}")
    keys = ("tenant", "upload_id")
    session.client("dynamodb", endpoint_url=endpoint).create_table(
        TableName="rowmill-prod-uploads",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=_key("tenant", "upload_id"),
    )


def _key(first: str, second: str) -> list[dict[str, str]]:
    return [{"AttributeName": first, "KeyType": "HASH"}, {"AttributeName": second, "KeyType": "RANGE"}]


READS = {
    "Split": "intake",
    "LoadHigh": "high",
    "LoadMedium": "medium",
    "LoadLow": "low",
    "Settle": "settle",
    "Bury": "dead",
    "Notify": "notify",
    "Receipt": "receipt",
}  # function and its queue
NONSENSE = ("nonsense", "[]", "{}", '{"upload": "x", "chunk": []}', '{"Records": []}')
CHUNK = '{"upload": 1, "chunk": 1}'
OTHERS = {"Notify": '{"delivery": 1}', "Receipt": '{"receipt": 1}'}  # what they are told instead


def _delivery(queue: str, body: str) -> dict[str, Any]:
    record = {
        "messageId": "message-1",
        "receiptHandle": "receipt-1",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:rowmill-prod-{queue}",
        "awsRegion": "us-east-1",
    }
    return {"Records": [record]}


def _request(method: str, path: str) -> dict[str, Any]:
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": {"Host": "example.org"},
        "multiValueHeaders": {"Host": ["example.org"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": path, "httpMethod": method, "requestId": "request-1"},
        "body": None,
        "isBase64Encoded": False,
    }


def test_every_function_of_the_template_is_called_below(runtime: Runtime) -> None:
    assert runtime.handlers.keys() == READS.keys() | {"APIHandler", "Sweep", "Doctor", "Render", "Define"}


def test_the_api_says_it_is_well_and_lets_no_stranger_in(runtime: Runtime) -> None:
    answers = runtime.call("APIHandler", _request("GET", "/healthz"), _request("GET", "/v1/uploads"))
    well, stranger = (answer["returned"] for answer in answers)
    assert (well["statusCode"], json.loads(well["body"])) == (200, {"status": "ok"})
    assert (stranger["statusCode"], json.loads(stranger["body"])["code"]) == (401, "token_invalid")


@pytest.mark.parametrize("function", READS)
def test_a_message_that_names_nothing_is_let_go(runtime: Runtime, function: str) -> None:
    answers = runtime.call(function, *(_delivery(READS[function], body) for body in NONSENSE))
    assert answers == [{"returned": {"batchItemFailures": []}}] * len(NONSENSE)


@pytest.mark.parametrize("function", [name for name in READS if name != "Split"])
def test_a_message_that_meets_no_database_is_put_off(runtime: Runtime, function: str) -> None:
    """By a delayed copy in its queue; the message itself is done with."""
    before = _put_off(runtime, READS[function])
    answers = runtime.call(function, _delivery(READS[function], OTHERS.get(function, CHUNK)))
    assert answers == [{"returned": {"batchItemFailures": []}}]
    assert _put_off(runtime, READS[function]) == before + 1


def test_a_message_that_meets_neither_database_nor_queues_goes_back(runtime: Runtime) -> None:
    environment = {**runtime.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    alone = Runtime(runtime.folders, runtime.handlers, environment)
    answers = alone.call("LoadHigh", _delivery("high", CHUNK))
    assert answers == [{"returned": {"batchItemFailures": [{"itemIdentifier": "message-1"}]}}]


def _put_off(runtime: Runtime, queue: str) -> int:
    """Messages in a queue that nobody reads: the delay of a copy may be over when they are counted."""
    session = boto3.Session("test", "test", region_name=cloud.REGION)
    queues = session.client("sqs", endpoint_url=runtime.environment["AWS_ENDPOINT_URL"])
    url = queues.get_queue_url(QueueName=f"rowmill-prod-{queue}")["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
    counts = queues.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(counts[name]) for name in names)


def test_a_table_change_without_a_database_is_a_refusal_the_caller_can_raise(runtime: Runtime) -> None:
    descriptor = {"fields": [{"name": "id", "type": "integer"}]}
    event = {"tenant": "ten_1", "name": "things", "mode": "insert", "descriptor": descriptor}
    (answer,) = runtime.call("Define", event)
    refused = answer["returned"]["refused"]
    assert (refused["code"], refused["status"]) == ("database_unavailable", 503)


def test_a_doctor_without_a_database_says_so(runtime: Runtime) -> None:
    (answer,) = runtime.call("Doctor", {"side": "ledger", "after": None, "mend": False})
    assert answer["returned"]["refused"]["code"] == "database_unavailable"


def test_a_sweep_without_a_database_fails_by_name(runtime: Runtime) -> None:
    event = {
        "version": "0",
        "id": "1",
        "account": "123456789012",
        "region": "us-east-1",
        "time": "2026-01-01T00:00:00Z",
        "source": "aws.events",
        "detail-type": "Scheduled Event",
        "resources": [],
        "detail": {"once": True},
    }
    assert runtime.call("Sweep", event) == [{"raised": "Unavailable", "code": "database_unavailable"}]


def test_a_cold_start_imports_little_beyond_boto3_and_chalice(runtime: Runtime) -> None:
    needed, modules = runtime.imported("import boto3, chalice"), runtime.imported("import app")
    others = [name for name in modules if name.partition(".")[0] != "chalicelib"]
    assert len(others) <= MODULES_CEILING * len(needed), f"{len(others)} modules, {len(needed)} without Rowmill"
    assert not HEAVY & {name.partition(".")[0] for name in modules}
    assert not [name for name in modules if name.startswith(("infra", "rowmill_client", "tests"))]


def test_the_interpreter_of_these_tests_sees_no_other_package(runtime: Runtime) -> None:
    """Otherwise everything above would pass on an empty zip."""
    with pytest.raises(AssertionError, match="No module named 'pytest'"):
        runtime.imported("import pytest")
