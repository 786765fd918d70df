"""The stack as it is, deployed to genuine LocalStack by the command that deploys it everywhere, and a file through it.

It holds off whatever only the embedded cloud would accept. Two things are substituted there (see plugin/): functions
run as plain processes, and DynamoDB is moto. LocalStack enforces neither roles nor MaximumConcurrency nor authorizers
nor the signature of a form, so nothing here speaks of those.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from infra.local.cloud import CHECKOUT
from infra.local.record import Instance
from tests.journey.conftest import Account, Cloud, adds_up, eventually, new_account, people
from tests.localstack import server

ROWS = 60_000
QUEUES = ("intake", "high", "medium", "low", "settle", "dead", "notify", "undeliverable")
FRAIL = """
import os, time
def handler(event, context):
    if event == "die":
        os._exit(1)
    if event == "hang":
        time.sleep(60)
    return [os.getpid(), os.environ["AWS_ENDPOINT_URL"], context.get_remaining_time_in_millis()]
"""


@pytest.fixture(scope="session")
def localstack() -> Iterator[Instance]:
    with server.running() as here:
        yield here


@pytest.fixture(scope="session")
def deployed(localstack: Instance) -> Cloud:
    said = _deploy(localstack)
    return Cloud(replace(localstack, api_url=said[-1]))


@pytest.fixture
def account(deployed: Cloud, tmp_path: Path) -> Iterator[Account]:
    with new_account(deployed, tmp_path) as one:
        yield one


def _deploy(localstack: Instance) -> list[str]:
    """What the deploy command says, line by line; the last is the API's address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ROWMILL_"))}
    done = subprocess.run(
        [sys.executable, "-m", "infra", "up", "--stage", "local"],
        check=False,
        capture_output=True,
        cwd=CHECKOUT,
        env=environment | localstack.environment,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_a_file_goes_from_the_form_to_the_table_and_leaves_no_message_behind(account: Account) -> None:
    account.dataset()
    upload = account.ended(account.start(people(ROWS, padding=200)), seconds=120)
    assert (upload["state"], upload["rows_total"], upload["loaded"]) == ("completed", ROWS, ROWS)
    assert upload["chunks_total"] == upload["chunks_done"] > 1
    assert account.table() == [(number, f"name {number}{'.' * 200}") for number in range(1, ROWS + 1)]
    eventually(lambda: not any(account.cloud.messages(queue) for queue in QUEUES))


def test_a_bad_row_comes_back_with_its_line_and_reason(account: Account) -> None:
    account.dataset()
    upload = account.ended(account.start(b"id,name\n1,Ada\ntwo,Bob\n3,Cy\n"), seconds=60)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 2, 1)
    assert adds_up(upload)
    (reject,) = account.rowmill.iterate_rejects(upload["id"])
    ((error),) = reject["errors"]
    assert (reject["line"], error["column"], error["code"]) == (3, "id", "type_invalid")
    assert account.table() == [(1, "Ada"), (3, "Cy")]


def test_the_same_rows_again_are_refused_one_by_one(account: Account) -> None:
    account.dataset()
    account.ended(account.start(people(3)), seconds=60)
    again = account.ended(account.start(people(4)), seconds=60)
    assert (again["state"], again["loaded"], again["rejected"]) == ("completed_with_errors", 1, 3)


def test_every_function_on_the_way_says_in_its_log_that_it_handled_the_upload(account: Account) -> None:
    account.dataset()
    upload_id = account.start(people(20))
    account.ended(upload_id, seconds=60)
    for function in ("split", "load_high"):
        assert eventually(lambda: _handled(account.cloud, function, upload_id)), function  # noqa: B023 - called at once


def _handled(cloud: Cloud, function: str, upload_id: str) -> list[dict[str, Any]]:
    events = cloud.client("logs").filter_log_events(logGroupName=f"/aws/lambda/rowmill-local-{function}")["events"]
    lines = [json.loads(event["message"]) for event in events if upload_id in event["message"]]
    return [line for line in lines if line["message"] == "handled"]


def test_an_announcement_repeated_under_its_key_is_one_upload(account: Account) -> None:
    """The refusal comes out of a cancelled DynamoDB transaction with its reasons."""
    account.dataset()
    file = account.file(people(3))
    first, again = (account.rowmill.create_upload(file, "people", idempotency_key="once") for _ in range(2))
    assert first["id"] == again["id"]


def test_a_file_larger_than_announced_is_refused_by_the_storage(account: Account) -> None:
    account.dataset()
    ticket: Any = account.rowmill.create_upload(account.file(people(3)), "people")["upload"]
    answer = httpx.post(ticket["url"], data=ticket["fields"], files={"file": ("a.csv", people(4))})
    assert (answer.status_code, "EntityTooLarge" in answer.text) == (400, True)


def test_a_request_without_a_token_is_turned_away_by_the_application_itself(deployed: Cloud) -> None:
    assert httpx.get(f"{deployed.instance.api_url}/v1/uploads", timeout=30).status_code == 401


def test_the_sweep_runs(deployed: Cloud) -> None:
    assert deployed.sweep() == dict.fromkeys(deployed.sweep(), 0)


def test_a_second_deploy_changes_nothing(deployed: Cloud) -> None:
    assert "nothing to change" in _deploy(deployed.instance)


def test_of_many_transactions_as_many_win_as_their_condition_lets_in(localstack: Instance) -> None:
    """Holds our substitute for DynamoDB to what the real one does; without its lock, moto lets in too many."""
    dynamodb, key = Cloud(localstack).client("dynamodb"), {"key": {"S": "train"}}
    dynamodb.create_table(
        TableName="race",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
    )
    # moto copies the table for every transaction: freight widens the moment in which another may get in.
    dynamodb.put_item(TableName="race", Item=key | {"seats": {"N": "50"}, "freight": {"L": [{"S": "x"}] * 2_000}})
    take = {
        "TableName": "race",
        "Key": key,
        "UpdateExpression": "SET seats = seats - :one",
        "ConditionExpression": "seats >= :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }

    def took(_: int) -> bool:
        try:
            dynamodb.transact_write_items(TransactItems=[{"Update": take}])
        except ClientError as error:
            assert error.response["CancellationReasons"][0]["Code"] == "ConditionalCheckFailed"
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(took, range(100))) == 50
    assert dynamodb.get_item(TableName="race", Key=key)["Item"]["seats"] == {"N": "0"}
    dynamodb.delete_table(TableName="race")


def test_a_function_that_dies_or_hangs_fails_its_call_and_no_other(deployed: Cloud) -> None:
    """Holds our substitute for the sandbox to what AWS does."""
    functions, name = deployed.client("lambda"), f"frail-{uuid.uuid4()}"
    functions.create_function(
        FunctionName=name,
        Runtime=f"python{sys.version_info[0]}.{sys.version_info[1]}",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="frail.handler",
        Code={"ZipFile": _zipped("frail.py", FRAIL)},
        Timeout=1,
    )

    def call(event: str) -> Any:
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        return answer.get("FunctionError"), json.load(answer["Payload"])

    (fault, (process, endpoint, remaining)), (_, (same, *_)) = call("work"), call("work")
    assert (fault, endpoint, same) == (None, deployed.instance.endpoint, process)
    assert 0 < remaining <= 1000
    for event, kind in (("die", "Runtime.ExitError"), ("hang", "Sandbox.Timedout")):
        fault, error = call(event)
        assert (fault, error["errorType"]) == ("Unhandled", kind)
        fault, (another, *_) = call("work")
        assert fault is None
        assert another != process
    functions.delete_function(FunctionName=name)


def _zipped(name: str, text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, text)
    return packed.getvalue()
