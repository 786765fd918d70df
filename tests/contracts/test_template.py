"""What the stack must say, read from the template that a deploy sends.

An emulator accepts a stack that AWS would run wrongly: it deletes messages that a function reported as failed
if nobody asked for partial batches, and it does not look at roles or queue policies. So these rules are read
from the packaged template, after the SAM transform and with the parameters that the deploy command gives.
"""

from __future__ import annotations

import ast
import copy
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from zipfile import ZipFile

import pytest
from cfnlint.api import ManualArgs, lint
from samtranslator.translator.transform import transform

from chalicelib import metrics
from infra.cloud import Cloud
from infra.deploy import located, parameters
from infra.package import ROOT, Package, package

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
READ_FILE = {"s3:GetObject", "s3:GetObjectVersion"}
# On AWS `SendMessage*` is SendMessage alone, which covers batches. ministack 1.5.33 checks a batch under a
# name of its own.
SEND = {"sqs:GetQueueUrl", "sqs:SendMessage*"}
LOAD = RECEIVE | READ_FILE | SEND | {"dynamodb:UpdateItem"}
MAY = {
    "api": {"s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucket", "s3:GetObject"}
    | {"s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion", "lambda:InvokeFunction"}
    | SEND
    | {f"dynamodb:{verb}" for verb in ("GetItem", "PutItem", "UpdateItem", "Query", "DeleteItem")},
    "split": LOAD | {"dynamodb:GetItem", "s3:ListBucket", "s3:PutObject", "s3:AbortMultipartUpload"},
    "load_high": LOAD,
    "load_medium": LOAD,
    "load_low": LOAD,
    "settle": LOAD,
    "bury": RECEIVE | SEND | {"dynamodb:GetItem", "dynamodb:UpdateItem"},
    "sweep": READ_FILE
    | SEND
    | {"s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload", "sqs:GetQueueAttributes"}
    # Versions are deleted; ministack 1.5.33 asks for s3:DeleteObject even so.
    | {"s3:ListBucketVersions", "s3:DeleteObjectVersion", "s3:DeleteObject"}
    | {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"},
    "doctor": READ_FILE | SEND | {"s3:ListBucket", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan"},
    "render": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "define": set(),
    "notify": RECEIVE | SEND | {"sns:Publish", "ses:SendEmail"},
    "receipt": RECEIVE | READ_FILE | SEND | {"s3:ListBucket"},
}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}

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
        defaults = {name: p["Default"] for name, p in template["Parameters"].items() if "Default" in p}
        self._values = (
            {"DatabaseUrl": "database", "JwtSecret": "secret", "WebhookSecret": "secret"}
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


def test_every_queue_is_encrypted(stack: Stack) -> None:
    assert all(queue["SqsManagedSseEnabled"] is True for queue in stack.queues.values())


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
        refusals += [s for s in statements if s["Effect"] == "Deny"]
    assert len(refusals) == (0 if stack.stage == "local" else 2)
    for refusal in refusals:
        assert refusal["Principal"] == "*"
        assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


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
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
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
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["DeletionProtectionEnabled"] is (stack.stage == "prod")


def test_every_function_has_a_role_of_its_own_that_may_do_what_is_listed_here(stack: Stack) -> None:
    assert len({function["Role"] for function in stack.functions.values()}) == len(FUNCTIONS)
    found = {name: set(_actions(stack.statements(f))) for name, f in stack.functions.items()}
    assert found == {name: actions | LOGS for name, actions in MAY.items()}


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
                    fitting = re.fullmatch(r"\w+\.(Arn(/(uploads|results|pieces|pictures)/\*)?|TopicArn)", resource)
                    assert fitting, (name, resource)


def test_a_client_s_file_and_a_file_made_for_download_are_not_one_role_s_to_read_and_write(stack: Stack) -> None:
    may = {name: set(_object_rights(stack.statements(function))) for name, function in stack.functions.items()}
    results = {name: sorted(action for action, key in rights if key == "results") for name, rights in may.items()}
    assert {name: rights for name, rights in results.items() if rights} == {
        "api": ["s3:GetObject"],
        "render": ["s3:AbortMultipartUpload", "s3:PutObject"],
        "sweep": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
    }
    assert not {right for right in may["render"] if "uploads" in right}
    assert ("s3:GetObject", "uploads") not in may["api"]


def _object_rights(statements: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Actions on objects, each with the folder that it is allowed in."""
    for statement in statements:
        for resource in _listed(statement["Resource"]):
            if resource.endswith("/*"):
                yield from ((action, resource.split("/")[1]) for action in _listed(statement["Action"]))


def test_every_function_reads_its_own_queue_and_writes_its_own_log(stack: Stack) -> None:
    for queue, mapping in stack.mappings.items():
        statements = stack.statements(stack.function_of(mapping))
        read = [s["Resource"] for s in statements if "sqs:ReceiveMessage" in s["Action"]]
        assert read == [f"{queue.capitalize()}Queue.Arn"]
    for name, function in stack.functions.items():
        group = function["LoggingConfig"]["LogGroup"]
        written = [s["Resource"] for s in stack.statements(function) if "logs:PutLogEvents" in s["Action"]]
        assert written == [f"{group}.Arn"], name
        assert stack.properties(group)["RetentionInDays"] == 30, name


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
    held = (("JWT_SECRET", {"api"}), ("WEBHOOK_SECRET", {"api", "notify"}), ("RECEIPT_SECRET", {"receipt"}))
    for variable, needed in held:
        assert {name for name, f in stack.functions.items() if variable in _environment(f)} == needed


def test_e_mail_comes_from_the_deployment_s_own_address_alone(stack: Stack) -> None:
    (letters,) = [s for s in stack.statements(stack.functions["notify"]) if s["Action"] == "ses:SendEmail"]
    assert letters["Resource"] == f"arn:aws:ses:us-east-1:{ACCOUNT}:identity/*"
    assert letters["Condition"] == {"StringEquals": {"ses:FromAddress": ""}}  # a deployment without a sender


def _environment(function: Mapping[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", function["Environment"]["Variables"])


def test_functions_are_given_exactly_what_settings_read(stack: Stack) -> None:
    given = _environment(stack.functions["api"]).keys() | {"AWS_ENDPOINT_URL", "RECEIPT_SECRET"}
    assert given == (_variables_read() | LIBRARY_VARIABLES)


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


def test_concurrency_is_set_aside_for_the_api_on_aws_and_capped_for_table_changes(stack: Stack) -> None:
    reserved = {n: f.get("ReservedConcurrentExecutions") for n, f in stack.functions.items()}
    asked = {name: int(count) for name, count in reserved.items() if count is not None}
    assert asked == {"define": 2, "render": 2} | ({} if stack.stage == "local" else {"api": 50})


def test_somebody_hears_of_lost_messages_and_of_a_splitter_that_lags(stack: Stack) -> None:
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    watched = {(a["Dimensions"][0]["Value"], a["MetricName"]) for a in alarms}
    assert watched == {
        ("UndeliverableQueue.QueueName", "ApproximateNumberOfMessagesVisible"),
        ("DeadQueue.QueueName", "ApproximateNumberOfMessagesVisible"),
        ("IntakeQueue.QueueName", "ApproximateAgeOfOldestMessage"),
    }


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
        declared[name]["NoEcho"] is True for name in ("DatabaseUrl", "JwtSecret", "WebhookSecret", "ReceiptSecret")
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


def test_a_second_packaging_of_the_same_sources_is_the_first(stack: Stack) -> None:
    before = stack.package.template.stat().st_mtime_ns
    again = package(stack.stage, vendored=False)
    assert (again, again.template.stat().st_mtime_ns) == (stack.package, before)


def test_the_template_holds_no_value_of_the_machine_that_packaged_it(stack: Stack) -> None:
    assert str(ROOT) not in stack.package.template.read_text()
