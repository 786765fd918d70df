"""The deploy: migrations, package, one stack, then whatever the cloud left out of it.

Every step may be repeated; a deploy of what is already there changes nothing and says so. The one thing to
know: migrations run first and only ever add, so the functions still running keep working on the new schema.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from infra import concurrency, keys, logins, stack
from infra.cloud import Cloud, DeployError, connect
from infra.migrate import migrate, take_back, waiting
from infra.package import ROOT, Package, package
from infra.reconcile import Outcome, reconcile, settings

STAGES = ROOT / "infra" / "stages.yaml"
HIDDEN = (*keys.DATABASES, "JwtSecret", "WebhookSecret", "ReceiptSecret")  # CloudFormation shows **** for them


@dataclass(frozen=True, slots=True)
class Asked:
    """What a deploy is told besides the stage. `database_url` is the database as functions reach it, each by a login of
    its own; `migrate_url` as this machine does, as a role that owns the schema and may make others, where that differs.
    `rotate_keys` has new keys sign access tokens and receipts; `webhook_private` lets webhooks be on this machine;
    `oidc` is an issuer and the audience of its tokens; `scanner` is who looks for malware, and where that is. What is
    None is as the stage has it."""

    database_url: str
    public_endpoint: str | None = None
    migrate_url: str | None = None
    allowed_origin: str | None = None
    rotate_keys: bool = False
    mail_sender: str | None = None
    mail_domains: str | None = None
    webhook_private: bool = False
    oidc: tuple[str | None, str | None] = (None, None)
    scanner: tuple[str | None, str | None] = (None, None)

    @property
    def owner_url(self) -> str:
        """The database as a role that owns the schema."""
        return self.migrate_url or self.database_url

    @property
    def parameters(self) -> dict[str, str]:
        """Those of the stack that were named."""
        said = {
            "WebhookPrivate": "1" if self.webhook_private else None,
            "MailSender": self.mail_sender,
            "MailDomains": self.mail_domains,
            "PublicEndpoint": self.public_endpoint,
            "AllowedOrigin": self.allowed_origin,
            "OidcIssuer": self.oidc[0],
            "OidcAudience": self.oidc[1],
            "Scanner": self.scanner[0],
            "ScannerAddress": self.scanner[1],
        }
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Ready:
    """All that a stack is made of, where CloudFormation finds it."""

    cloud: Cloud
    digest: str
    template: Mapping[str, Any]
    template_url: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running deployment, and what this deploy changed to get there."""

    api_url: str  # the base that `/v1/…` is appended to
    migrations: int
    stack_changed: bool
    reconciled: Outcome

    @property
    def changed(self) -> bool:
        return bool(self.migrations or self.stack_changed or self.reconciled.written)


def deploy(stage: str, asked: Asked, *, planned: str | None = None, say: Callable[[str], None] = print) -> Deployment:
    """Bring a stage up to this checkout, in the cloud that AWS_ENDPOINT_URL names.

    `planned` is a change set of `plan`: what it shows is done and nothing else. Raises DeployError; what was done until
    then stays and counts.
    """
    ready = prepare(stage, asked)
    change = _planned(ready, stage, planned) if planned else None
    migrations = migrate(asked.owner_url)
    say(f"migrations: {migrations} applied")
    logins.make(asked.owner_url, stage, keys.database_secret(ready.cloud, stage))
    cloudformation = ready.cloud.client("cloudformation")
    change = change or _draft(ready, stage, "deploy")
    values = {**ready.values, **{k: v for k, v in change.parameters.items() if k not in HIDDEN}}
    keys.remember_receipt_keys(ready.cloud.client("ssm"), stage, values["ReceiptKeys"])
    changed = stack.carry_out(cloudformation, change)
    if stage == "prod":
        cloudformation.update_termination_protection(StackName=stack_name(stage), EnableTerminationProtection=True)
    say(f"stack {stack_name(stage)}: {'changed' if changed else 'unchanged'}")
    take_back(asked.owner_url)
    outputs = stack.outputs(cloudformation, stack_name(stage))
    template = for_origin(ready.template, values["AllowedOrigin"])  # as it was planned, not as it is asked now
    reconciled = reconcile(settings(ready.cloud, template, values, outputs))
    _tell(reconciled, ready.cloud, say)
    api_url = ready.cloud.api_url(outputs["RestAPIId"])
    return Deployment(api_url, migrations, changed, reconciled)


def plan(stage: str, asked: Asked, say: Callable[[str], None] = print) -> stack.ChangeSet | None:
    """Have CloudFormation work out what a deploy would change, and tell of it; nothing of the stage is touched.

    What is told may be carried out as it is, with the secrets in it: `deploy(…, planned=its name)`. None if there is
    nothing to change.
    """
    ready = prepare(stage, asked)
    for name in waiting(asked.owner_url):
        say(f"migration  {name}")
    change = _draft(ready, stage, f"plan-{ready.digest}")
    for line in change.told():
        say(line)
    if change.is_empty:
        say("the stack would not change")
        return None
    say(f"python -m infra up --stage {stage} --planned {change.name}")
    return change


def prepare(stage: str, asked: Asked) -> Ready:
    """Package, choose what there is to choose, and send template and zip to where CloudFormation finds them.

    Raises DeployError for an account that cannot set aside what the stage asks for."""
    cloud = connect()
    chosen = parameters(cloud, stage) | asked.parameters
    concurrency.refuse_overdrawn(cloud, chosen)
    built = package(stage, vendored=not cloud.runs_on_this_python)
    values = chosen | keys.secrets_of(cloud, stage, asked.database_url, rotate=asked.rotate_keys)
    template = for_origin(located(built, cloud.artifact_bucket), values["AllowedOrigin"])
    return Ready(cloud, built.digest, template, _upload(cloud, built, template), values)


def _draft(ready: Ready, stage: str, reason: str) -> stack.ChangeSet:
    """The changes as CloudFormation works them out. What a first creation that failed has left behind is in their way,
    and a protected table is not deleted: these held nothing yet, so their protection is taken off."""
    cloudformation, dynamodb = ready.cloud.client("cloudformation"), ready.cloud.client("dynamodb")
    for table in stack.left_behind(cloudformation, stack_name(stage), "AWS::DynamoDB::Table"):
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        dynamodb.get_waiter("table_exists").wait(TableName=table)  # none is deleted while it is changed
    return stack.draft(cloudformation, stack_name(stage), ready.template_url, ready.values, reason)


def _planned(ready: Ready, stage: str, name: str) -> stack.ChangeSet:
    """The change set that was planned, if it was of this checkout."""
    if not name.startswith(f"plan-{ready.digest}-"):
        raise DeployError(f"{name} was not planned from these sources (plan-{ready.digest}-…): plan again")
    return stack.drafted(ready.cloud.client("cloudformation"), stack_name(stage), name)


def remove(stage: str) -> None:
    """Delete a stage with its files and its secrets; its database and the shared artifact bucket stay.

    Refused for prod: there its stack is protected, and taking that off is a decision of its own.
    """
    if stage == "prod":
        raise DeployError("prod is not removed by this command: lift termination protection by hand first")
    cloud = connect()
    _empty(cloud.client("s3"), cloud.uploads_bucket(stage))
    gone = stack.delete(cloud.client("cloudformation"), stack_name(stage))
    keys.forget(cloud.client("ssm"), stage)
    print(f"stack {stack_name(stage)}: {'deleted' if gone else 'was not there'}")


def stack_name(stage: str) -> str:
    return f"rowmill-{stage}"


def parameters(cloud: Cloud, stage: str) -> dict[str, str]:
    """What follows from the stage and the cloud; what else a stage differs in is in stages.yaml."""
    chosen: dict[str, dict[str, Any]] = yaml.safe_load(STAGES.read_text())
    return {
        "Stage": stage,
        "Cloud": cloud.kind,
        "BucketName": cloud.uploads_bucket(stage),
        "EndpointUrl": cloud.functions_endpoint,
        "PublicEndpoint": cloud.endpoint or "",
        "AllowedOrigin": "*",
        **{name: str(value) for name, value in chosen.get(stage, chosen["dev"]).items()},
    }


def located(built: Package, bucket: str) -> dict[str, Any]:
    """The template with its functions pointing at the uploaded zip. The key is the digest of the sources:
    the same sources give the same template, and an unchanged stack stays unchanged."""
    template = built.read()
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": bucket, "Key": f"{built.digest}/code.zip"}
    return template


def for_origin(template: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The template with the origin in the gateway's own refusals, as it is and in the parameter's place: SAM deploys an
    API anew if the text of its definition has changed, and that does not hold what a parameter's value is."""
    named = copy.deepcopy(dict(template))
    for refusal in named["Resources"]["RestAPI"]["Properties"]["GatewayResponses"].values():
        refusal["ResponseParameters"]["Headers"]["Access-Control-Allow-Origin"] = f"'{origin}'"
    return named


def _upload(cloud: Cloud, built: Package, template: dict[str, Any]) -> str:
    """Send zip and template through S3 (a template of this size fits no API call); the template's URL."""
    s3, bucket, key = cloud.client("s3"), cloud.artifact_bucket, f"{built.digest}/template.json"
    _ensure_artifact_bucket(s3, cloud)
    _upload_once(s3, bucket, f"{built.digest}/code.zip", built.code)
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(template, sort_keys=True).encode())
    return cloud.object_url(bucket, key)


def _upload_once(s3: Any, bucket: str, key: str, file: Path) -> None:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError:
        s3.upload_file(str(file), bucket, key)


def _ensure_artifact_bucket(s3: Any, cloud: Cloud) -> None:
    """Our own: names are everybody's, and whoever had this one first would say what code our functions run."""
    bucket = cloud.artifact_bucket
    try:
        s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=cloud.account)
    except ClientError:
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
        s3.create_bucket(Bucket=bucket, **({} if cloud.region == "us-east-1" else elsewhere))
        ways = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(ways, True))


def _empty(s3: Any, bucket: str) -> None:
    """CloudFormation deletes no bucket that holds anything, and old versions are something."""
    try:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
            doomed = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
            if doomed:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
    except s3.exceptions.NoSuchBucket:
        pass


def _tell(outcome: Outcome, cloud: Cloud, say: Callable[[str], None]) -> None:
    say(f"reconciled: {len(outcome.written)} changes" + "".join(f"\n  {name}" for name in outcome.written))
    if outcome.lost:
        say(f"not kept by this cloud ({cloud.kind}): {', '.join(outcome.lost)}")
