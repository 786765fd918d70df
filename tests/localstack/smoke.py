"""What is LocalStack's own: a deploy that has nothing to do, and the two parts of it that are ours (see plugin/).

Functions run as plain processes there, and DynamoDB is moto. What a file goes through is told by tests/journey, which
runs on LocalStack, too.
"""

from __future__ import annotations

import io
import json
import sys
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from tests.journey.conftest import Cloud
from tests.localstack import server

FRAIL = """
import os, time
def handler(event, context):
    if event == "die":
        os._exit(1)
    if event == "hang":
        time.sleep(60)
    return [os.getpid(), os.environ["AWS_ENDPOINT_URL"], context.get_remaining_time_in_millis()]
"""


def test_a_second_deploy_changes_nothing(deployed: Cloud) -> None:
    assert "nothing to change" in server.deploy(deployed.instance)


def test_of_many_transactions_as_many_win_as_their_condition_lets_in(deployed: Cloud) -> None:
    """Holds our substitute for DynamoDB to what the real one does; without its lock, moto lets in too many."""
    dynamodb, key = deployed.client("dynamodb"), {"key": {"S": "train"}}
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
