"""What a cloud may drop of the template, set by API and read back.

Emulators accept a stack and forget parts of it (table options, bucket rules, reserved concurrency). Each such
part is a Setting: wanted as the template says it, read, written only where it differs, read again. On AWS the
stack has done all of it and nothing is written. What a cloud cannot keep is reported, never hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infra.cloud import Cloud
from infra.concurrency import set_aside


@dataclass(frozen=True, slots=True)
class Setting:
    """One option of one resource. `read` answers in the terms of `wanted`, None where it is not set."""

    name: str
    wanted: object
    read: Callable[[], object]
    write: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Names of settings that were written, and of those that the cloud did not keep."""

    written: tuple[str, ...]
    lost: tuple[str, ...]


def reconcile(settings: Iterable[Setting]) -> Outcome:
    """Make every setting hold. A second run writes only what the cloud loses each time."""
    written: list[str] = []
    lost: list[str] = []
    for setting in settings:
        if _now(setting) != setting.wanted:
            (written if _set(setting) else lost).append(setting.name)
    return Outcome(tuple(written), tuple(lost))


def _set(setting: Setting) -> bool:
    try:
        setting.write()
    except ClientError as error:
        _raise_if_forbidden(error)
        return False
    return _now(setting) == setting.wanted


def _now(setting: Setting) -> object:
    """AWS answers an option that was never set by an error, each with a code of its own."""
    try:
        return setting.read()
    except ClientError as error:
        _raise_if_forbidden(error)
        return None


def _raise_if_forbidden(error: ClientError) -> None:
    """Not being allowed to look says nothing of what the cloud can keep."""
    if error.response.get("Error", {}).get("Code", "").startswith(("AccessDenied", "Unauthorized")):
        raise error


def settings(
    cloud: Cloud, template: Mapping[str, Any], parameters: Mapping[str, str], outputs: Mapping[str, str]
) -> Iterator[Setting]:
    """Everything of the stack that some cloud was seen to drop."""
    stage, resources, key = parameters["Stage"], template["Resources"], outputs["StageKeyArn"]
    table = resources["UploadsTable"]["Properties"]
    bucket = resources["UploadsBucket"]["Properties"]
    yield from _table(cloud.client("dynamodb"), f"rowmill-{stage}-uploads", table, key)
    yield from _kept(cloud.client("dynamodb"), f"rowmill-{stage}-keys", key)
    yield from _bucket(cloud.client("s3"), parameters["BucketName"], bucket, key)
    api = resources["RestAPI"]["Properties"]["GatewayResponses"]
    yield _refusals(cloud.client("apigateway"), outputs["RestAPIId"], api)
    for what, count in set_aside(parameters).items():
        yield _reserved(cloud.client("lambda"), f"rowmill-{stage}-{what}", count)


def _table(dynamodb: Any, name: str, properties: Mapping[str, Any], key: str) -> Iterator[Setting]:
    expiry = properties["TimeToLiveSpecification"]

    def expires_by() -> object:
        seen = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        return seen.get("AttributeName") if seen["TimeToLiveStatus"] in {"ENABLED", "ENABLING"} else None

    yield Setting(
        f"{name}: time to live",
        expiry["AttributeName"],
        expires_by,
        lambda: dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry),
    )
    yield from _kept(dynamodb, name, key)


def _kept(dynamodb: Any, name: str, key: str) -> Iterator[Setting]:
    """What every table has: it can be restored, and is encrypted."""

    def recovery() -> object:
        seen = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        return seen["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]

    def encryption() -> object:
        seen = dynamodb.describe_table(TableName=name)["Table"].get("SSEDescription", {})
        return seen.get("KMSMasterKeyArn") if seen.get("Status") in {"ENABLED", "ENABLING", "UPDATING"} else None

    yield Setting(
        f"{name}: point-in-time recovery",
        "ENABLED",
        recovery,
        lambda: dynamodb.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        ),
    )
    yield Setting(
        f"{name}: encryption",
        key,
        encryption,
        lambda: dynamodb.update_table(
            TableName=name, SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
        ),
    )


def _bucket(s3: Any, name: str, properties: Mapping[str, Any], key: str) -> Iterator[Setting]:
    cipher = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rules = [_lifecycle_rule(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]
    blocked = properties["PublicAccessBlockConfiguration"]

    def encryption() -> object:
        seen = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
        return seen[0]["ApplyServerSideEncryptionByDefault"]

    yield Setting(
        f"{name}: encryption",
        cipher,
        encryption,
        lambda: s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=_encrypted_by(cipher)),
    )
    yield Setting(
        f"{name}: lifecycle",
        rules,
        lambda: [_essence(rule) for rule in s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]],
        lambda: s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules}),
    )
    yield Setting(
        f"{name}: public access block",
        blocked,
        lambda: s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"],
        lambda: s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=blocked),
    )


def _encrypted_by(cipher: Mapping[str, str]) -> dict[str, Any]:
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": cipher, "BucketKeyEnabled": True}]}


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule of the template in the words of the API, which wants `ID`, always a filter, and the days by themselves."""
    said = {key: value for key, value in rule.items() if key not in ("Id", "Prefix", "ExpirationInDays")}
    if "ExpirationInDays" in rule:
        said["Expiration"] = {"Days": rule["ExpirationInDays"]}
    return {"ID": rule["Id"], "Filter": {"Prefix": rule.get("Prefix", "")}, **said}


def _essence(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as read, with the one spelling of its prefix that we write."""
    prefix = rule.get("Filter", {}).get("Prefix") or rule.get("Prefix", "")
    return {**{key: rule[key] for key in rule if key != "Prefix"}, "Filter": {"Prefix": prefix}}


def _reserved(functions: Any, name: str, count: int) -> Setting:
    return Setting(
        f"{name}: reserved concurrency",
        count,
        lambda: functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions"),
        lambda: functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=count),
    )


def _refusals(gateway: Any, api: str, responses: Mapping[str, Any]) -> Setting:
    """What the gateway answers by itself, which is deployed with the API or not at all."""

    def headers(one: Mapping[str, Any]) -> dict[str, str]:
        return {f"gatewayresponse.header.{name}": value for name, value in one["ResponseParameters"]["Headers"].items()}

    wanted = {kind: (str(one["StatusCode"]), headers(one), one["ResponseTemplates"]) for kind, one in responses.items()}

    def read() -> object:
        items = gateway.get_gateway_responses(restApiId=api, limit=500)["items"]
        found = {one["responseType"]: one for one in items if not one.get("defaultResponse")}
        parts = ("statusCode", "responseParameters", "responseTemplates")
        return {kind: tuple(one.get(part) for part in parts) for kind, one in found.items()}

    def write() -> None:
        for kind, (status, parameters, templates) in wanted.items():
            gateway.put_gateway_response(
                restApiId=api,
                responseType=kind,
                statusCode=status,
                responseTemplates=templates,
                responseParameters=parameters,
            )
        gateway.create_deployment(restApiId=api, stageName="api")

    return Setting(f"{api}: gateway responses", wanted, read, write)
