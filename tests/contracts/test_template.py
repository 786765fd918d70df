"""What the stack must say, read from the template that a deploy sends.

An emulator accepts a stack that AWS would run wrongly: it deletes messages that a function reported as failed
if nobody asked for partial batches, and it does not look at roles or queue policies. So these rules are read
from the packaged template, after the SAM transform and with the parameters that the deploy command gives.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from zipfile import ZipFile

import pytest
import yaml
from botocore.stub import Stubber
from cfnlint.api import ManualArgs, lint
from moto import mock_aws
from samtranslator.translator.transform import transform

from chalicelib import metrics
from chalicelib.aws.s3 import QUARANTINED
from infra import audit, concurrency, deploy, doctor, watch
from infra.__main__ import _asked, _parser
from infra.cloud import Cloud, DeployError
from infra.deploy import STAGES, for_origin, located, parameters
from infra.grants import ROLES
from infra.local.emulator import THROTTLED
from infra.package import ROOT, Package, _build, package
from infra.stack import ChangeSet

TAG = sys.implementation.cache_tag
UNCHECKED_HASH = b"\x01\0\0\0"  # flags of PEP 552

ACCOUNT = "123456789012"
CLOUDS = {
    "local": Cloud("embedded", "http://127.0.0.1:4566", "us-east-1", ACCOUNT),
    "prod": Cloud("aws", None, "us-east-1", ACCOUNT),
}
NOTHING = object()  # AWS::NoValue: the property is not there

WORKING = {"intake", "high", "medium", "low", "settle", "notify", "receipt"}
FUNCTIONS = {"api", "split", "load_high", "load_medium", "load_low", "settle", "bury", "sweep", "doctor"}
FUNCTIONS |= {"render", "define", "notify", "receipt"}

# Which function may do what, logs aside. A wider role needs a line here.
RECEIVE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
READ_FILE = {"s3:GetObject"}  # by ETag and not by version
# On AWS `SendMessage*` is SendMessage alone, which covers batches. ministack 1.5.33 checks a batch under a
# name of its own.
SEND = {"sqs:GetQueueUrl", "sqs:SendMessage*"}
LOAD = RECEIVE | READ_FILE | SEND | {"s3:ListBucket", "dynamodb:UpdateItem"}
SEAL = {"kms:GenerateDataKey", "kms:Decrypt"}
MAY = {
    "api": {"s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucket", "s3:GetObject"}
    | {"s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion", "lambda:InvokeFunction"}
    | SEND
    | {f"dynamodb:{verb}" for verb in ("GetItem", "PutItem", "UpdateItem", "Query", "DeleteItem")}
    | SEAL,
    "split": LOAD
    | {"dynamodb:GetItem", "s3:PutObject", "s3:AbortMultipartUpload"}
    | {"s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"},
    "load_high": LOAD | SEAL,
    "load_medium": LOAD | SEAL,
    "load_low": LOAD | SEAL,
    "settle": LOAD | {"kms:Decrypt"},
    "bury": RECEIVE | SEND | {"dynamodb:UpdateItem"},
    "sweep": READ_FILE
    | SEND
    | {"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload", "sqs:GetQueueAttributes"}
    # Versions are deleted; ministack 1.5.33 asks for s3:DeleteObject even so.
    | {"s3:ListBucketVersions", "s3:DeleteObjectVersion", "s3:DeleteObject"}
    | {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"},
    "doctor": READ_FILE
    | SEND
    | {"s3:ListBucket", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan"}
    | {"kms:Decrypt", "kms:Encrypt"},
    "render": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "define": set(),
    "notify": RECEIVE | SEND | {"sns:Publish", "ses:SendEmail"},
    "receipt": RECEIVE | READ_FILE | SEND | {"s3:ListBucket", "kms:Decrypt"},
}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
# Set from a function's secret where it starts, and read by no setting.
POINTERS = {"ROWMILL_SECRET", "ROWMILL_SECRET_VERSION"}
HELD = {"DATABASE_URL", "JWT_SECRET", "WEBHOOK_SECRET", "RECEIPT_SECRET"}
# With a key of ours, who reads needs it opened and who writes needs a data key, by way of the service.
OPENS = {"GetObject", "GetObjectVersion", "PutObject", "ReceiveMessage", "SendMessage*", "GetSecretValue", "Publish"}
SEALS = {"PutObject", "SendMessage*", "Publish"}

SECRETS = ("JwtSecret", "WebhookSecret", "ReceiptSecret")

# Read by libraries, not by settings.py.
LIBRARY_VARIABLES = {
    "GLIBC_TUNABLES",
    "POLARS_MAX_THREADS",
    "LOG_LEVEL",
    "POWERTOOLS_SERVICE_NAME",
    "AWS_ENDPOINT_URL",
}


@dataclass(frozen=True, slots=True)
class Stack:
    """One stage's template as CloudFormation would see it. References to resources read `Name.Attribute`."""

    stage: str
    package: Package
    resources: Mapping[str, Mapping[str, Any]]

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        found = {name: part for name, part in self.resources.items() if part["Type"] == kind}
        return {name: part.get("Properties", {}) for name, part in found.items()}

    def properties(self, name: str) -> dict[str, Any]:
        return cast("dict[str, Any]", self.resources[name]["Properties"])

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """Functions by what they do: `rowmill-{stage}-split` is `split`."""
        return {_what(f["FunctionName"]): f for f in self.of_type("AWS::Lambda::Function").values()}

    @property
    def queues(self) -> dict[str, dict[str, Any]]:
        return {_what(queue["QueueName"]): queue for queue in self.of_type("AWS::SQS::Queue").values()}

    @property
    def mappings(self) -> dict[str, dict[str, Any]]:
        """Event source mappings by the queue they read."""
        found = self.of_type("AWS::Lambda::EventSourceMapping").values()
        return {_what(mapping["EventSourceArn"].rsplit(":", 1)[1]): mapping for mapping in found}

    def function_of(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        return self.properties(mapping["FunctionName"])

    def statements(self, function: Mapping[str, Any]) -> list[dict[str, Any]]:
        role = self.properties(function["Role"].removesuffix(".Arn"))
        return [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]


def _what(name: str) -> str:
    return name.split("-", 2)[2]


class Resolver:
    """Intrinsics as far as parameters decide them."""

    def __init__(self, template: Mapping[str, Any], given: Mapping[str, str]) -> None:
        self._template = template
        lists = {name for name, p in template["Parameters"].items() if p["Type"] == "CommaDelimitedList"}
        given = {name: value.split(",") if name in lists else value for name, value in given.items()}
        defaults = {name: p["Default"] for name, p in template["Parameters"].items() if "Default" in p}
        defaults |= {name: defaults[name].split(",") for name in lists}
        self._values = (
            {f"{role.capitalize()}DatabaseUrl": f"as {role}" for role in ROLES}
            | {"JwtSecret": "secret", "WebhookSecret": "secret"}
            | {"ReceiptSecret": "secret", "ReceiptKeys": "key"}
            | defaults
            | dict(given)
        )
        self._values |= {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": ACCOUNT}

    def __call__(self, node: Any) -> Any:
        if isinstance(node, list):
            return [solved for part in node if (solved := self(part)) is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (key, value), *_ = node.items()
            if intrinsic := self._intrinsics.get(key):
                return intrinsic(value)
        solved = {key: self(value) for key, value in node.items()}
        return {key: value for key, value in solved.items() if value is not NOTHING}

    @property
    def _intrinsics(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "Ref": lambda name: NOTHING if name == "AWS::NoValue" else self._values.get(name, name),
            "Fn::GetAtt": lambda path: ".".join(path) if isinstance(path, list) else path,
            "Fn::Sub": self._sub,
            "Fn::If": lambda branch: self(branch[1] if self._holds(branch[0]) else branch[2]),
            "Fn::FindInMap": lambda path: self._find(*self(path)),
            "Fn::Equals": lambda pair: str(self(pair[0])) == str(self(pair[1])),
            "Fn::Not": lambda terms: not self(terms[0]),
            "Fn::Split": lambda path: str(self(path[1])).split(path[0]),
            "Fn::Select": lambda path: self(path[1])[path[0]],
            "Fn::Join": lambda path: path[0].join(self(path[1])),
        }

    def _sub(self, text: Any) -> str:
        pattern, local = (text, {}) if isinstance(text, str) else (text[0], self(text[1]))
        known = self._values | local
        return re.sub(r"\$\{([^}]+)\}", lambda hole: str(known.get(hole[1], hole[1])), pattern)

    def makes(self, resource: Mapping[str, Any]) -> bool:
        """Whether a resource's own condition lets it be."""
        return "Condition" not in resource or self._holds(resource["Condition"])

    def _holds(self, condition: str) -> bool:
        return bool(self(self._template["Conditions"][condition]))

    def _find(self, mapping: str, first: str, second: str) -> Any:
        return self._template["Mappings"][mapping][first][second]


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="session", params=sorted(CLOUDS))
def stack(request: pytest.FixtureRequest) -> Stack:
    stage, cloud = request.param, CLOUDS[request.param]
    built = package(stage, vendored=False)
    template = located(built, cloud.artifact_bucket)
    with patch.dict(os.environ, AWS_DEFAULT_REGION=cloud.region):
        plain = transform(copy.deepcopy(template), {}, _NoManagedPolicies())
    resolve = Resolver(plain, parameters(cloud, stage))
    there = {name: part for name, part in plain["Resources"].items() if resolve.makes(part)}
    return Stack(stage, built, resolve(there))


@pytest.fixture
def table(stack: Stack) -> dict[str, Any]:
    return stack.properties("UploadsTable")


@pytest.fixture
def bucket(stack: Stack) -> dict[str, Any]:
    return stack.properties("UploadsBucket")


def test_cfn_lint_finds_nothing(stack: Stack) -> None:
    found = lint(stack.package.template.read_text(), config=ManualArgs(regions=["us-east-1"]))
    assert [f"{match.rule.id} {match.path}: {match.message}" for match in found] == []


def test_every_door_is_in_the_stack_under_its_name(stack: Stack) -> None:
    assert stack.functions.keys() == FUNCTIONS
    assert {f["FunctionName"] for f in stack.functions.values()} == {
        f"rowmill-{stack.stage}-{name}" for name in FUNCTIONS
    }


def test_a_message_may_be_sent_on_for_as_long_as_it_takes(stack: Stack) -> None:
    """Lambda would drop what goes round from queue to function for the seventeenth time."""
    assert {function["RecursiveLoop"] for function in stack.functions.values()} == {"Allow"}


def test_what_the_api_is_sent_as_bytes_reaches_it_as_bytes(stack: Stack) -> None:
    """SAM puts the property in the place of what Chalice's document has."""
    chalice = stack.package.read()["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    wanted = set(chalice["x-amazon-apigateway-binary-media-types"])
    api = stack.properties("RestAPI")
    if stack.stage == "local":
        wanted = {"multipart/form-data", "text/csv"}
        assert set(api["BinaryMediaTypes"]) == wanted
    else:
        assert {kind.replace("~1", "/") for kind in api["BinaryMediaTypes"]} == wanted
        assert not any("/" in kind for kind in api["BinaryMediaTypes"])
    assert set(api["Body"]["x-amazon-apigateway-binary-media-types"]) == wanted


def test_every_queue_that_a_function_reads_is_made_by_the_stack(stack: Stack) -> None:
    assert stack.mappings.keys() == WORKING | {"dead"}
    assert stack.queues.keys() == WORKING | {"dead", "undeliverable"}


def test_every_mapping_takes_one_message_and_hears_of_its_failure(stack: Stack) -> None:
    for queue, mapping in stack.mappings.items():
        assert mapping["BatchSize"] == 1, queue
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], queue


def test_every_mapping_is_bounded(stack: Stack) -> None:
    bounds = {queue: m["ScalingConfig"]["MaximumConcurrency"] for queue, m in stack.mappings.items()}
    expected = {
        "local": {"intake": 4, "high": 4, "medium": 2, "low": 2, "settle": 2, "dead": 2, "notify": 2, "receipt": 2},
        "prod": {"intake": 4, "high": 8, "medium": 6, "low": 4, "settle": 2, "dead": 2, "notify": 10, "receipt": 4},
    }
    assert bounds == expected[stack.stage]


def test_a_message_stays_hidden_six_times_as_long_as_its_function_may_run(stack: Stack) -> None:
    for queue, mapping in stack.mappings.items():
        timeout = stack.function_of(mapping)["Timeout"]
        assert stack.queues[queue]["VisibilityTimeout"] >= 6 * timeout, queue


def test_the_operator_waits_for_the_doctor_as_long_as_it_may_run(stack: Stack) -> None:
    """Or boto3 would ask again after a minute: three doctors at one page, and no answer of any of them."""
    waits = CLOUDS[stack.stage].client("lambda", doctor.PATIENCE).meta.config.read_timeout
    assert waits > stack.functions["doctor"]["Timeout"]


def test_every_queue_but_the_last_gives_up_after_ten_receives(stack: Stack) -> None:
    chain = dict.fromkeys(WORKING, "DeadQueue.Arn") | dict.fromkeys(
        ("dead", "notify", "receipt"), "UndeliverableQueue.Arn"
    )
    for queue, target in chain.items():
        redrive = stack.queues[queue]["RedrivePolicy"]
        most = 20 if queue == "dead" else 10  # it may count the ten deliveries that a message has had elsewhere
        assert redrive == {"deadLetterTargetArn": target, "maxReceiveCount": most}, queue
    assert "RedrivePolicy" not in stack.queues["undeliverable"]


def test_dead_letters_outlive_the_queues_they_come_from(stack: Stack) -> None:
    kept = {queue: q["MessageRetentionPeriod"] for queue, q in stack.queues.items()}
    assert kept["dead"] == kept["undeliverable"] == 14 * 86400
    assert max(kept[queue] for queue in WORKING) < kept["dead"]


def test_whatever_is_kept_is_sealed_with_the_stage_s_key_which_is_made_anew_each_year(stack: Stack) -> None:
    kept = [queue["KmsMasterKeyId"] for queue in stack.queues.values()]
    kept += [table["SSESpecification"]["KMSMasterKeyId"] for table in stack.of_type("AWS::DynamoDB::Table").values()]
    for bucket in stack.of_type("AWS::S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["BucketKeyEnabled"] is True
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        kept.append(rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"])
    for kind, name in (
        ("Logs::LogGroup", "KmsKeyId"),
        ("SecretsManager::Secret", "KmsKeyId"),
        ("SNS::Topic", "KmsMasterKeyId"),
    ):
        kept += [one[name] for one in stack.of_type(f"AWS::{kind}").values()]
    assert set(kept) == {"StageKey.Arn"}
    assert stack.properties("StageKey")["EnableKeyRotation"] is True


def test_the_key_is_used_by_two_services_for_this_stage_alone_and_otherwise_as_roles_have_it(stack: Stack) -> None:
    ours, bucket, logs = stack.properties("StageKey")["KeyPolicy"]["Statement"]
    assert ours["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert bucket["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert bucket["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(f":rowmill-{stack.stage}-{ACCOUNT}-uploads")
    (named,) = logs["Condition"]["ArnLike"].values()
    assert named == f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/rowmill-{stack.stage}-*"


def test_a_role_may_use_the_key_only_by_way_of_the_services_that_it_needs_it_for(stack: Stack) -> None:
    for name, function in stack.functions.items():
        statements = stack.statements(function)
        actions = [action.split(":") for action in _actions(statements)]
        opens = {service for service, verb in actions if verb in OPENS or service == "dynamodb"}
        seals = {service for service, verb in actions if verb in SEALS}
        for action, services in (("kms:Decrypt", opens), ("kms:GenerateDataKey", seals)):
            found = [s for s in statements if action in _listed(s["Action"]) and s["Resource"] != "FieldKey.Arn"]
            assert len(found) == bool(services), name
            for statement in found:
                assert statement["Resource"] == "StageKey.Arn"
                via = statement["Condition"]["StringEquals"]["kms:ViaService"]
                assert sorted(via) == sorted(f"{one}.us-east-1.amazonaws.com" for one in services), (name, action)


def test_only_the_bucket_may_write_to_the_intake_queue(stack: Stack) -> None:
    (policy,) = stack.of_type("AWS::SQS::QueuePolicy").values()
    allowed = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
    assert policy["Queues"] == ["IntakeQueue"]
    assert allowed == [
        {
            "Sid": "OnlyThisBucket",
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": "IntakeQueue.Arn",
            "Condition": {
                "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::rowmill-{stack.stage}-{ACCOUNT}-uploads"},
                "StringEquals": {"aws:SourceAccount": ACCOUNT},
            },
        }
    ]


def test_bucket_and_intake_queue_refuse_plain_http_where_there_is_tls(stack: Stack) -> None:
    refusals = []
    for name in ("UploadsBucketPolicy", "IntakeQueuePolicy"):
        statements = stack.properties(name)["PolicyDocument"]["Statement"] if name in stack.resources else []
        refusals += [s for s in statements if s["Effect"] == "Deny" and s["Action"] in ("s3:*", "sqs:*")]
    assert len(refusals) == (0 if stack.stage == "local" else 2)
    for refusal in refusals:
        assert refusal["Principal"] == "*"
        assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_nobody_reads_what_is_quarantined(stack: Stack) -> None:
    if "UploadsBucketPolicy" not in stack.resources:
        assert stack.stage == "local"
        return
    statements = stack.properties("UploadsBucketPolicy")["PolicyDocument"]["Statement"]
    (refusal,) = (s for s in statements if s["Sid"] == "NobodyReadsWhatIsQuarantined")
    assert (refusal["Effect"], refusal["Principal"]) == ("Deny", "*")
    assert refusal["Action"] == ["s3:GetObject", "s3:GetObjectVersion"]
    assert refusal["Condition"] == {"StringEquals": {f"s3:ExistingObjectTag/{QUARANTINED}": "true"}}


def test_files_announce_themselves_to_the_intake_queue(bucket: dict[str, Any]) -> None:
    (notice,) = bucket["NotificationConfiguration"]["QueueConfigurations"]
    assert notice["Queue"] == "IntakeQueue.Arn"
    assert notice["Event"] == "s3:ObjectCreated:*"
    assert notice["Filter"] == {"S3Key": {"Rules": [{"Name": "prefix", "Value": "uploads/"}]}}


def test_the_bucket_lets_in_before_it_announces(stack: Stack) -> None:
    assert stack.resources["UploadsBucket"]["DependsOn"] == "IntakeQueuePolicy"


def test_the_bucket_keeps_versions_encrypted_and_private(stack: Stack, bucket: dict[str, Any]) -> None:
    assert bucket["BucketName"] == f"rowmill-{stack.stage}-{ACCOUNT}-uploads"
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert all(bucket["PublicAccessBlockConfiguration"].values())


def test_the_bucket_forgets_abandoned_parts_and_superseded_versions(bucket: dict[str, Any]) -> None:
    abandoned, superseded, results, pictures, pieces = bucket["LifecycleConfiguration"]["Rules"]
    assert abandoned["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert superseded["NoncurrentVersionExpiration"]["NoncurrentDays"] > 0
    assert (results["Prefix"], results["ExpirationInDays"]) == ("results/", 7)
    assert (pieces["Prefix"], pieces["ExpirationInDays"]) == ("pieces/", 30)
    assert (pictures["Prefix"], pictures.get("ExpirationInDays")) == ("pictures/", None)
    assert pictures["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert {one["Status"] for one in (abandoned, superseded, results, pictures, pieces)} == {"Enabled"}


def test_only_the_splitter_and_the_renderer_write_files_and_each_its_own(stack: Stack) -> None:
    expected = {
        "split": ["UploadsBucket.Arn/pieces/*"],
        "api": ["UploadsBucket.Arn/uploads/*", "UploadsBucket.Arn/pictures/*"],
        "render": ["UploadsBucket.Arn/results/*"],
    }
    for name, function in stack.functions.items():
        written = [s["Resource"] for s in stack.statements(function) if "s3:PutObject" in _listed(s["Action"])]
        assert written == expected.get(name, []), name


def test_whoever_reads_a_file_is_told_when_it_is_gone(stack: Stack) -> None:
    """S3 says AccessDenied of a missing file to who may not list: a fault of ours, tried again and told by no code."""
    reads, lists = set(), set()
    for name, function in stack.functions.items():
        statements = stack.statements(function)
        reads |= {name for right in _object_rights(statements) if right == ("s3:GetObject", "uploads")}
        listed = [s for s in statements if "s3:ListBucket" in _listed(s["Action"]) and "Condition" not in s]
        lists |= {name for s in listed if s["Resource"] == "UploadsBucket.Arn"}
    assert reads == lists == {"split", "load_high", "load_medium", "load_low", "settle", "sweep", "doctor", "receipt"}


def test_the_sweep_may_give_up_parts_wherever_somebody_may_leave_some(stack: Stack) -> None:
    """It takes those of the whole bucket, key by key: one that it may not touch would keep it from all behind that."""
    sent = {name: set(_sent_in_parts(stack.statements(function))) for name, function in stack.functions.items()}
    swept = sent.pop("sweep")
    assert swept == set().union(*sent.values())


def _sent_in_parts(statements: list[dict[str, Any]]) -> Iterator[str]:
    for statement in statements:
        if "s3:AbortMultipartUpload" in _listed(statement["Action"]):
            yield from _listed(statement["Resource"])


def test_a_browser_may_send_a_file_and_read_its_etag(bucket: dict[str, Any]) -> None:
    (rule,) = bucket["CorsConfiguration"]["CorsRules"]
    assert set(rule["AllowedMethods"]) == {"PUT", "POST", "GET", "HEAD"}
    assert rule["ExposedHeaders"] == ["ETag"]


def test_the_table_is_keyed_by_tenant_and_upload(table: dict[str, Any]) -> None:
    assert _keys(table) == ["tenant", "upload_id"]
    assert "GlobalSecondaryIndexes" not in table


def _keys(schema: Mapping[str, Any]) -> list[str]:
    return [key["AttributeName"] for key in schema["KeySchema"]]


def test_the_table_expires_items_and_can_be_restored(stack: Stack, table: dict[str, Any]) -> None:
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert table["DeletionProtectionEnabled"] is (stack.stage == "prod")


def test_every_function_has_a_role_of_its_own_that_may_do_what_is_listed_here(stack: Stack) -> None:
    assert len({function["Role"] for function in stack.functions.values()}) == len(FUNCTIONS)
    found = {
        name: set(_actions([s for s in stack.statements(function) if s["Resource"] != "StageKey.Arn"]))
        for name, function in stack.functions.items()
    }
    own = LOGS | {"secretsmanager:GetSecretValue"}
    assert found == {name: actions | own for name, actions in MAY.items()}


def test_whoever_may_write_keys_may_let_anybody_in_so_that_is_the_api_alone(stack: Stack) -> None:
    for name, function in stack.functions.items():
        named = [r for s in stack.statements(function) for r in _listed(s["Resource"]) if r == "KeysTable.Arn"]
        assert bool(named) == (name == "api")
        assert ("ROWMILL_KEYS_TABLE" in _environment(function)) == (name == "api")


def _actions(statements: list[dict[str, Any]]) -> Iterator[str]:
    for statement in statements:
        yield from _listed(statement["Action"])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_role_names_every_resource(stack: Stack) -> None:
    for name, function in stack.functions.items():
        for statement in stack.statements(function):
            assert statement["Effect"] == "Allow", name
            assert not {"NotAction", "NotResource"} & statement.keys(), name
            for resource in _listed(statement["Resource"]):
                if statement["Action"] != "ses:SendEmail":  # whose identities are the account's, not the stack's
                    fitting = re.fullmatch(r"\w+\.(Arn(/(uploads|results|pieces|pictures)/\*)?|TopicArn|Id)", resource)
                    assert fitting, (name, resource)


def test_a_client_s_file_and_a_file_made_for_download_are_not_one_role_s_to_read_and_write(stack: Stack) -> None:
    may = {name: set(_object_rights(stack.statements(function))) for name, function in stack.functions.items()}
    results = {name: sorted(action for action, key in rights if key == "results") for name, rights in may.items()}
    assert {name: rights for name, rights in results.items() if rights} == {
        "api": ["s3:GetObject"],
        "render": ["s3:AbortMultipartUpload", "s3:PutObject"],
        "sweep": ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion"],
    }
    assert not {right for right in may["render"] if "uploads" in right}
    assert ("s3:GetObject", "uploads") not in may["api"]


def _object_rights(statements: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Actions on objects, each with the folder that it is allowed in."""
    for statement in statements:
        for resource in _listed(statement["Resource"]):
            if resource.endswith("/*"):
                yield from ((action, resource.split("/")[1]) for action in _listed(statement["Action"]))


def test_the_key_of_encrypted_fields_is_renewed_and_outlives_the_stack(stack: Stack) -> None:
    assert stack.properties("FieldKey")["EnableKeyRotation"] is True
    assert stack.properties("FieldKey")["MultiRegion"] is True
    assert stack.resources["FieldKey"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert {_environment(function)["ROWMILL_FIELD_KEY"] for function in stack.functions.values()} == {"FieldKey.Arn"}
    for name, function in stack.functions.items():
        for statement in stack.statements(function):
            if any(action.startswith("kms:") for action in _listed(statement["Action"])):
                assert statement["Resource"] in ("FieldKey.Arn", "StageKey.Arn"), name


def test_encrypted_fields_may_be_sealed_by_other_keys_than_the_stacks_own(stack: Stack) -> None:
    keys = ["arn:aws:kms:us-east-1:123456789012:key/mrk-new", "arn:aws:kms:us-east-1:123456789012:key/old"]
    with patch.dict(os.environ, AWS_DEFAULT_REGION="us-east-1"):
        plain = transform(located(stack.package, "artifacts"), {}, _NoManagedPolicies())
    chosen = parameters(CLOUDS[stack.stage], stack.stage) | {"FieldKeys": ",".join(keys)}
    other = Stack(stack.stage, stack.package, Resolver(plain, chosen)(plain["Resources"]))
    for name, function in other.functions.items():
        assert _environment(function)["ROWMILL_FIELD_KEY"] == keys[0]
        mine, theirs = (_of_field_key(one.statements(one.functions[name])) for one in (stack, other))
        assert [sid for sid, _ in mine] == [sid for sid, _ in theirs]
        assert [resource for _, resource in theirs] == [keys for _ in theirs]


def _of_field_key(statements: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    kms = [s for s in statements if any(action.startswith("kms:") for action in _listed(s["Action"]))]
    return [(s["Sid"], s["Resource"]) for s in kms if s["Resource"] != "StageKey.Arn"]


def test_every_function_reads_its_own_queue_and_writes_its_own_log(stack: Stack) -> None:
    for queue, mapping in stack.mappings.items():
        statements = stack.statements(stack.function_of(mapping))
        read = [s["Resource"] for s in statements if "sqs:ReceiveMessage" in s["Action"]]
        assert read == [f"{queue.capitalize()}Queue.Arn"]
    for name, function in stack.functions.items():
        group = function["LoggingConfig"]["LogGroup"]
        written = [s["Resource"] for s in stack.statements(function) if "logs:PutLogEvents" in s["Action"]]
        assert written == [f"{group}.Arn"], name
        days = {"local": 30, "prod": "90"}[stack.stage]  # as stages.yaml has it
        assert stack.properties(group)["RetentionInDays"] == days, name


def test_functions_send_only_where_the_journey_goes_on(stack: Stack) -> None:
    """Back to the own queue, too: a passing fault becomes a delayed copy of the message."""
    tiers = ["high", "medium", "low"]
    # Whoever ends a check that loads by itself sends for the splitter of the second pass.
    # Whoever shows an end has it told.
    onward = {"split": ["intake", *tiers, "settle", "notify"], "settle": ["intake", "settle", "notify"]}
    onward |= {"bury": ["intake", "dead", *tiers, "settle", "notify"]}
    onward |= {f"load_{tier}": ["intake", tier, "settle", "notify"] for tier in tiers}
    onward |= {
        "sweep": ["intake", *tiers, "settle", "notify", "receipt"],
        "api": ["intake", *tiers, "settle", "notify", "receipt"],
        "notify": ["notify", "receipt"],
        "receipt": ["receipt"],
        "define": [],
        "render": [],
        "doctor": ["intake"],
    }
    for name, function in stack.functions.items():
        sends = [s for s in stack.statements(function) if set(s["Action"]) >= SEND]
        targets = [target for s in sends for target in _listed(s["Resource"])]
        assert targets == [f"{queue.capitalize()}Queue.Arn" for queue in onward[name]], name


def test_a_secret_is_held_only_by_who_needs_it(stack: Stack) -> None:
    """The API signs tokens and shows secrets of webhooks, notify signs with those; nobody but one signs receipts."""
    kept = {
        name: set(json.loads(s["SecretString"])) for name, s in stack.of_type("AWS::SecretsManager::Secret").items()
    }
    holders: dict[str, set[str]] = {variable: set() for variable in HELD}
    for name, function in stack.functions.items():
        own = f"SecretsOf{name.partition('_')[0].capitalize()}"
        assert _environment(function)["ROWMILL_SECRET"] == f"{own}.Id"
        readable = [s["Resource"] for s in stack.statements(function) if "secretsmanager" in s["Action"][:14]]
        assert readable == [f"{own}.Id"], name
        for variable in kept[own]:
            holders[variable].add(name)
    assert holders == {
        "DATABASE_URL": FUNCTIONS,
        "JWT_SECRET": {"api"},
        "WEBHOOK_SECRET": {"api", "notify"},
        "RECEIPT_SECRET": {"receipt"},
    }


def test_no_function_s_configuration_shows_a_secret(stack: Stack) -> None:
    for name, function in stack.functions.items():
        assert not HELD & _environment(function).keys(), name
        assert not {"secret", *(f"as {role}" for role in ROLES)} & set(map(str, _environment(function).values())), name


def test_another_secret_has_every_function_start_anew(stack: Stack) -> None:
    """One that runs has read its own: a rotation that changed nothing in its configuration would not reach it."""
    assert all("ROWMILL_SECRET_VERSION" in _environment(function) for function in stack.functions.values())


def test_every_function_logs_in_to_postgres_as_itself(stack: Stack) -> None:
    secrets = {
        f"{name}.Id": json.loads(s["SecretString"]) for name, s in stack.of_type("AWS::SecretsManager::Secret").items()
    }
    urls = {
        name: secrets[_environment(function)["ROWMILL_SECRET"]]["DATABASE_URL"]
        for name, function in stack.functions.items()
    }
    assert urls == {name: f"as {name.partition('_')[0]}" for name in FUNCTIONS}
    assert set(urls.values()) == {f"as {role}" for role in ROLES}


def test_e_mail_comes_from_the_deployment_s_own_address_alone(stack: Stack) -> None:
    (letters,) = [s for s in stack.statements(stack.functions["notify"]) if s["Action"] == "ses:SendEmail"]
    assert letters["Resource"] == f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/*"
    assert letters["Condition"] == {"StringEquals": {"ses:FromAddress": ""}}  # a deployment without a sender


def _environment(function: Mapping[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", function["Environment"]["Variables"])


def test_functions_are_given_exactly_what_settings_read(stack: Stack) -> None:
    given = _environment(stack.functions["api"]).keys() | {"AWS_ENDPOINT_URL", "AWS_LAMBDA_FUNCTION_NAME"} | HELD
    assert given == (_variables_read() | LIBRARY_VARIABLES | POINTERS)


def _variables_read() -> set[str]:
    """The names in settings.py that are spelt like environment variables."""
    parsed = ast.parse((ROOT / "chalicelib" / "settings.py").read_text())
    texts = (node.value for node in ast.walk(parsed) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"[A-Z]+(_[A-Z]+)+", text)}


def test_functions_on_aws_are_left_with_aws_endpoints(stack: Stack) -> None:
    given = {_environment(f).get("AWS_ENDPOINT_URL") for f in stack.functions.values()}
    assert given == {CLOUDS[stack.stage].endpoint}


def test_environment_names_the_queues_that_exist(stack: Stack) -> None:
    environment = _environment(stack.functions["split"])
    for queue in WORKING | {"dead"}:
        assert environment[f"ROWMILL_{queue.upper()}_QUEUE"] == f"{queue.capitalize()}Queue.QueueName"
        assert stack.queues[queue]["QueueName"] == f"rowmill-{stack.stage}-{queue}"


def test_a_strike_of_the_clock_that_failed_is_not_made_up_for_as_the_next_is_a_minute_away(stack: Stack) -> None:
    """Connections to Postgres are counted with one sweep; three of each minute's would be at work while it is down."""
    (rule,) = stack.of_type("AWS::Events::Rule").values()
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    (told,) = stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    assert (told["FunctionName"], told["Qualifier"]) == ("Sweep", "$LATEST")
    assert (told["MaximumRetryAttempts"], told["MaximumEventAgeInSeconds"]) == (0, 60)


def test_concurrency_is_set_aside_for_the_api_on_aws_and_capped_for_table_changes(stack: Stack) -> None:
    reserved = {n: f.get("ReservedConcurrentExecutions") for n, f in stack.functions.items()}
    asked = {name: int(count) for name, count in reserved.items() if count is not None}
    assert asked == {"define": 2, "render": 2} | ({} if stack.stage == "local" else {"api": 50})
    assert asked == concurrency.set_aside(parameters(CLOUDS[stack.stage], stack.stage))


def test_a_new_account_may_begin_with_nothing_set_aside(stack: Stack) -> None:
    with patch.dict(os.environ, AWS_DEFAULT_REGION="us-east-1"):
        plain = transform(located(stack.package, "artifacts"), {}, _NoManagedPolicies())
    chosen = parameters(CLOUDS[stack.stage], stack.stage) | {"ApiConcurrency": "0", "RareConcurrency": "0"}
    found = [
        one for one in Resolver(plain, chosen)(plain["Resources"]).values() if one["Type"] == "AWS::Lambda::Function"
    ]
    assert len(found) == len(FUNCTIONS)
    assert not [one for one in found if "ReservedConcurrentExecutions" in one["Properties"]]


def test_an_account_that_cannot_set_aside_so_much_is_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    cloud = CLOUDS["prod"]
    chosen = parameters(cloud, "prod")
    functions = cloud.client("lambda")
    monkeypatch.setattr(Cloud, "client", lambda *_: functions)

    def account(free: int, had: int | None) -> Stubber:
        stub = Stubber(functions)
        stub.add_response("get_account_settings", {"AccountLimit": {"UnreservedConcurrentExecutions": free}}, {})
        for name in ("api", "define", "render"):
            asked = {"FunctionName": f"rowmill-prod-{name}"}
            if had is None:
                stub.add_client_error("get_function_concurrency", "ResourceNotFoundException", expected_params=asked)
            else:
                stub.add_response("get_function_concurrency", {"ReservedConcurrentExecutions": had}, asked)
        return stub

    for free, had in ((10, None), (153, None), (100, 17)):
        with account(free, had), pytest.raises(DeployError, match="50 for api, 2 for define, 2 for render"):
            concurrency.refuse_overdrawn(cloud, chosen)
    for free, had in ((154, None), (1000, None), (100, 18)):
        with account(free, had):
            concurrency.refuse_overdrawn(cloud, chosen)
    with account(10, None):
        concurrency.refuse_overdrawn(cloud, chosen | {"ApiConcurrency": "0", "RareConcurrency": "0"})


def test_a_first_creation_that_failed_is_no_obstacle_though_its_tables_are_protected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CloudFormation could delete neither the tables nor, with them, the stack, and made none in its place."""
    ours, another = ("rowmill-prod-uploads", "rowmill-prod-keys"), "rowmill-prod-another"
    cloud, schema = CLOUDS["prod"], [{"AttributeName": "part", "KeyType": "HASH"}]
    with mock_aws():
        clients = {service: cloud.client(service) for service in ("cloudformation", "dynamodb")}
        monkeypatch.setattr(Cloud, "client", lambda _, service: clients[service])
        for name in (*ours, another):
            clients["dynamodb"].create_table(
                TableName=name,
                KeySchema=schema,
                AttributeDefinitions=[{"AttributeName": "part", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                DeletionProtectionEnabled=True,
            )

        def draft(*_: object) -> ChangeSet:
            for name in ours:
                clients["dynamodb"].delete_table(TableName=name)  # as CloudFormation would
            return ChangeSet("", "", True, None, {})

        monkeypatch.setattr(deploy, "prepare", lambda *_: deploy.Ready(cloud, "", {}, "", {}))
        monkeypatch.setattr(deploy, "waiting", lambda _: [])
        monkeypatch.setattr(deploy.stack, "draft", draft)
        with Stubber(clients["cloudformation"]) as stub:
            at = {"CreationTime": datetime.now(UTC), "StackStatus": "ROLLBACK_FAILED"}
            stub.add_response("describe_stacks", {"Stacks": [{"StackName": "rowmill-prod", **at}]})
            # Of a name that somebody else had already it has made none.
            kept = [*((name, "DELETE_FAILED") for name in ours), (another, "DELETE_COMPLETE")]
            stub.add_response("list_stack_resources", {"StackResourceSummaries": [_table(*one) for one in kept]})
            assert deploy.plan("prod", deploy.Asked("postgresql://db/x")) is None
        assert clients["dynamodb"].list_tables()["TableNames"] == [another]
        assert clients["dynamodb"].describe_table(TableName=another)["Table"]["DeletionProtectionEnabled"] is True


def test_code_goes_to_a_bucket_of_this_account_s_alone(monkeypatch: pytest.MonkeyPatch, stack: Stack) -> None:
    """Its name can be guessed, and a bucket of somebody else's may let us write: then that one has our functions' code."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    cloud = CLOUDS["prod"]
    s3 = cloud.client("s3")
    monkeypatch.setattr(Cloud, "client", lambda *_: s3)
    named = {"Bucket": f"rowmill-artifacts-{ACCOUNT}-us-east-1"}
    with Stubber(s3) as stub:
        stub.add_client_error("head_bucket", "403", expected_params=named | {"ExpectedBucketOwner": ACCOUNT})
        stub.add_client_error("create_bucket", "BucketAlreadyExists", expected_params=named)
        with pytest.raises(s3.exceptions.BucketAlreadyExists):
            deploy._upload(cloud, stack.package, {})


def _table(name: str, status: str) -> dict[str, Any]:
    named = {"LogicalResourceId": name.title().replace("-", ""), "PhysicalResourceId": name}
    told = {"ResourceType": "AWS::DynamoDB::Table", "LastUpdatedTimestamp": datetime.now(UTC)}
    return {**named, **told, "ResourceStatus": status}


def test_somebody_hears_of_every_queue_and_every_function(stack: Stack) -> None:
    alarms = {a["AlarmName"].split("-", 2)[2]: a for a in stack.of_type("AWS::CloudWatch::Alarm").values()}
    math = {f"errors.{name}" for name in FUNCTIONS} | {"throttles"}  # of several metrics: not on the embedded cloud
    assert alarms.keys() == (set() if stack.stage == "local" else math) | {
        *(f"waiting.{queue}" for queue in stack.queues.keys() - {"undeliverable"}),
        *("undeliverable", "dead-letters", "dead-chunks", "refusals", "stuck-uploads", "no-sweep"),
        *("connections", "postgres-refuses", "cost"),
    }
    assert (alarms["connections"]["Threshold"], alarms["cost"]["Threshold"]) == (90, 20)
    assert alarms["no-sweep"]["TreatMissingData"] == "breaching"  # a clock that stands still sends nothing
    assert [name for name, one in alarms.items() if len(one.get("Metrics", [])) > 11] == []  # CloudWatch takes no more


def test_alarms_and_the_dashboard_look_at_what_is_there(stack: Stack) -> None:
    dimensions = [
        {one["Name"]: one["Value"] for one in metric["Dimensions"]}
        for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()
        for metric in [term["MetricStat"]["Metric"] for term in alarm.get("Metrics", [])[:-1]] or [alarm]
    ]
    (board,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    body = json.loads(board["DashboardBody"])
    lines = [line for widget in body["widgets"] for line in widget["properties"].get("metrics", [])]
    dimensions += [dict(zip(line[2:-1:2], line[3:-1:2], strict=True)) for line in lines]
    names = {f["FunctionName"] for f in stack.functions.values()}
    assert {one["QueueName"] for one in dimensions if "QueueName" in one} == {
        q["QueueName"] for q in stack.queues.values()
    }
    assert {one["FunctionName"] for one in dimensions if "FunctionName" in one} == names
    assert {one["function"] for one in dimensions if "function" in one} == FUNCTIONS
    assert {one.get("service", f"rowmill-{stack.stage}") for one in dimensions} == {f"rowmill-{stack.stage}"}
    assert "${" not in board["DashboardBody"]


def test_the_runbook_says_of_every_alarm_what_to_do_and_of_no_other() -> None:
    headings = re.findall(r"^### (\S+)$", (ROOT / "OPERATIONS.md").read_text(), re.MULTILINE)
    assert headings == list(dict.fromkeys(one.name.partition(".")[0] for one in watch.alarms()))


def test_exceptions_of_the_audit_are_those_of_the_manual() -> None:
    rows = re.findall(r"^\| (CKV_\w+) \| (.*) \|$", (ROOT / "docs" / "aws.md").read_text(), re.MULTILINE)
    assert dict(rows) == audit.EXCEPTIONS


def test_what_stages_differ_in_are_parameters_of_the_stack(stack: Stack) -> None:
    declared = stack.package.read()["Parameters"]
    stages = yaml.safe_load(STAGES.read_text())
    assert {"local", "dev", "prod"} == stages.keys()
    assert {name for chosen in stages.values() for name in chosen} <= declared.keys()


def test_what_a_stage_says_holds_for_every_deploy_that_does_not_say_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that only rotates keys would switch the scanner off, and let people in by accounts instead of the issuer."""
    said = {"Scanner": "clamd", "ScannerAddress": "clamd:3310", "OidcIssuer": "https://i.example", "OidcAudience": "r"}
    said |= {"AllowedOrigin": "https://a.example", "MailSender": "a@b.c", "MailDomains": "b.c", "PublicEndpoint": "x"}
    (tmp_path / "stages.yaml").write_text(yaml.safe_dump({"prod": said, "dev": {}}))
    monkeypatch.setattr(deploy, "STAGES", tmp_path / "stages.yaml")

    def values(*options: str) -> dict[str, str]:
        asked = _parser().parse_args(["up", "--stage", "prod", "--database-url", "postgresql://db/x", *options])
        return parameters(CLOUDS["prod"], "prod") | _asked(asked).parameters

    assert said.items() <= values("--rotate-keys").items()
    assert values("--scanner", "off")["Scanner"] == "off"


def test_another_origin_deploys_the_api_anew(stack: Stack) -> None:
    """What the gateway answers by itself is part of a deployment, and SAM makes one only for another definition."""
    template = located(stack.package, "artifacts")
    stages = []
    for origin in ("*", "https://a.example"):
        with patch.dict(os.environ, AWS_DEFAULT_REGION="eu-central-1"):
            plain = transform(for_origin(template, origin), {}, _NoManagedPolicies())
        (stage,) = (one for one in plain["Resources"].values() if one["Type"] == "AWS::ApiGateway::Stage")
        stages.append(stage["Properties"]["DeploymentId"]["Ref"])
    assert stages[0] != stages[1]


def test_the_gateway_lets_through_so_much_and_refuses_in_the_words_of_the_api(stack: Stack) -> None:
    (stage,) = stack.of_type("AWS::ApiGateway::Stage").values()
    (limits,) = stage["MethodSettings"]
    assert (limits["ResourcePath"], limits["HttpMethod"]) == ("/*", "*")
    assert (limits["ThrottlingRateLimit"], limits["ThrottlingBurstLimit"]) == (1000, 2000)
    (api,) = stack.of_type("AWS::ApiGateway::RestApi").values()
    answers = api["Body"]["x-amazon-apigateway-gateway-responses"]
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED", "MISSING_AUTHENTICATION_TOKEN"} <= answers.keys()
    for answer in answers.values():
        problem = json.loads(answer["responseTemplates"]["application/json"])
        assert str(problem["status"]) == answer["statusCode"]
        assert problem["type"] == f"urn:rowmill:problem:{problem['code']}"
        headers = answer["responseParameters"]
        assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == "'*'"
        waits = "gatewayresponse.header.Retry-After" in headers
        assert waits == (problem["status"] in (429, 503, 504))
    throttled = json.loads(answers["THROTTLED"]["responseTemplates"]["application/json"])
    assert throttled.items() > THROTTLED.items()  # the embedded cloud says the same


def test_traces_follow_a_request_through_the_gateway_and_every_function_where_a_stage_wants_them(stack: Stack) -> None:
    """Chalice says of each function that it is not traced, and SAM lets what a function says go before Globals."""
    traced = stack.stage == "prod"
    modes = {function["TracingConfig"]["Mode"] for function in stack.functions.values()}
    assert modes == {"Active" if traced else "PassThrough"}
    assert {stage["TracingEnabled"] for stage in stack.of_type("AWS::ApiGateway::Stage").values()} == {traced}
    assert ("TracePolicy" in stack.resources) == traced


def test_functions_are_in_a_vpc_if_a_stage_names_subnets(stack: Stack) -> None:
    """And may not use what Lambda needs for that by themselves."""
    declared = stack.package.read()
    resolve = Resolver(declared, {"Stage": "prod", "Subnets": "subnet-1,subnet-2", "SecurityGroups": "sg-1"})
    assert resolve(declared["Globals"]["Function"]["VpcConfig"]) == {
        "SubnetIds": ["subnet-1", "subnet-2"],
        "SecurityGroupIds": ["sg-1"],
    }
    assert all("VpcConfig" not in function for function in stack.functions.values())  # no stage does yet
    allowed, denied = resolve(declared["Resources"]["VpcPolicy"]["Properties"]["PolicyDocument"]["Statement"])
    assert (allowed["Action"], denied["Effect"]) == (denied["Action"], "Deny")
    roles = [one for one in declared["Resources"].values() if one["Type"] == "AWS::IAM::Role"]
    assert len(roles) == len(FUNCTIONS)
    assert all(resolve(role["Properties"]["ManagedPolicyArns"]) == ["VpcPolicy"] for role in roles)


def test_an_alarm_over_what_functions_tell_names_what_they_tell(stack: Stack) -> None:
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    asked = [
        one
        for a in alarms
        for one in (a, *(m["MetricStat"]["Metric"] for m in a.get("Metrics", []) if "MetricStat" in m))
    ]
    for one in (one for one in asked if one.get("Namespace") == metrics.NAMESPACE):
        by = {dimension["Name"]: dimension["Value"] for dimension in one["Dimensions"]}
        assert one["MetricName"] in metrics.UNITS
        assert by.pop("service") == f"rowmill-{stack.stage}"
        assert set(by) <= {"function"}
        assert set(by.values()) <= FUNCTIONS


def test_the_api_has_the_one_stage_that_urls_name(stack: Stack) -> None:
    assert [s["StageName"] for s in stack.of_type("AWS::ApiGateway::Stage").values()] == ["api"]
    # A deployment that names a stage makes that one, too.
    assert all("StageName" not in d for d in stack.of_type("AWS::ApiGateway::Deployment").values())


def test_secrets_are_parameters_that_cloudformation_does_not_show(stack: Stack) -> None:
    declared = stack.package.read()["Parameters"]
    assert all(
        declared[name]["NoEcho"] is True for name in (*(f"{role.capitalize()}DatabaseUrl" for role in ROLES), *SECRETS)
    )


def test_a_package_ships_the_application_and_nothing_else(stack: Stack) -> None:
    shipped = {name.split("/")[0] for name in ZipFile(stack.package.code).namelist()}
    assert shipped == {"app.py", "chalice", "chalicelib", "__pycache__"}


def test_every_module_is_shipped_compiled_and_loads_without_a_look_at_its_source(stack: Stack) -> None:
    with ZipFile(stack.package.code) as archive:
        names = archive.namelist()
        sources = [Path(name) for name in names if name.endswith(".py")]
        compiled = {str(path): str(path.parent / "__pycache__" / f"{path.stem}.{TAG}.pyc") for path in sources}
        assert not [source for source, code in compiled.items() if code not in names]
        for name in compiled.values():
            assert archive.read(name)[4:8] == UNCHECKED_HASH
            assert archive.getinfo(name).external_attr >> 16 == 0o644


def test_nothing_is_in_a_package_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packaged anew, by a Python that keeps the bytecode of what it imports, as any does that is not told otherwise."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    _build("local", False, tmp_path / "built")
    names = ZipFile(tmp_path / "built" / "deployment.zip").namelist()
    assert len(names) == len(set(names))


def test_more_code_than_lambda_takes_is_refused_before_anything_is_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.package.MOST_UNPACKED", 1_000_000)
    with pytest.raises(DeployError, match="bytes unpacked, and Lambda takes 1,000,000"):
        _build("local", False, tmp_path / "built")
    assert not (tmp_path / "built").exists()


def test_a_second_packaging_of_the_same_sources_is_the_first(stack: Stack) -> None:
    before = stack.package.template.stat().st_mtime_ns
    again = package(stack.stage, vendored=False)
    assert (again, again.template.stat().st_mtime_ns) == (stack.package, before)


def test_the_template_holds_no_value_of_the_machine_that_packaged_it(stack: Stack) -> None:
    assert str(ROOT) not in stack.package.template.read_text()
