"""The deploy: migrations, package, one stack, then whatever the cloud left out of it.

Every step may be repeated; a deploy of what is already there changes nothing and says so. The one thing to
know: migrations run first and only ever add, so the functions still running keep working on the new schema.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from chalicelib import seals
from infra import logins, stack
from infra.cloud import Cloud, DeployError, connect
from infra.migrate import migrate
from infra.package import Package, package
from infra.reconcile import Outcome, reconcile, settings


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running deployment, and what this deploy changed to get there."""

    stage: str
    api_url: str  # the base that `/v1/…` is appended to
    bucket: str
    outputs: Mapping[str, str]
    migrations: int
    stack_changed: bool
    reconciled: Outcome

    @property
    def changed(self) -> bool:
        return bool(self.migrations or self.stack_changed or self.reconciled.written)


def deploy(
    stage: str,
    *,
    database_url: str,
    public_endpoint: str | None = None,
    migrate_url: str | None = None,
    allowed_origin: str = "*",
    rotate_keys: bool = False,
    mail_sender: str = "",
    mail_domains: str = "",
    webhook_private: bool = False,
    oidc: tuple[str, str] = ("", ""),
    scanner: tuple[str, str] = ("off", ""),
    say: Callable[[str], None] = print,
) -> Deployment:
    """Bring a stage up to this checkout, in the cloud that AWS_ENDPOINT_URL names.

    `database_url` is the database as functions reach it, each by a login of its own; `migrate_url` as this machine
    does, as a role that owns the schema and may make others, where that differs. `rotate_keys` has new keys sign access
    tokens and receipts; `webhook_private` lets webhooks be on this machine; `oidc` is an issuer and the audience of its
    tokens; `scanner` is who looks for malware, and where that is. Raises DeployError; what was done until then stays and
    counts.
    """
    cloud = connect()
    migrations = migrate(migrate_url or database_url)
    say(f"migrations: {migrations} applied")
    built = package(stage, vendored=not cloud.runs_on_this_python)
    values = parameters(cloud, stage) | {
        **database_urls(cloud.client("ssm"), stage, migrate_url or database_url, database_url),
        "JwtSecret": signing_keys(cloud.client("ssm"), stage, rotate=rotate_keys),
        "WebhookSecret": webhook_keys(cloud.client("ssm"), stage),
        **receipt_keys(cloud.client("ssm"), stage, rotate=rotate_keys),
        "WebhookPrivate": "1" if webhook_private else "",
        "MailSender": mail_sender,
        "MailDomains": mail_domains,
        "PublicEndpoint": public_endpoint or cloud.endpoint or "",
        "AllowedOrigin": allowed_origin,
        "OidcIssuer": oidc[0],
        "OidcAudience": oidc[1],
        "Scanner": scanner[0],
        "ScannerAddress": scanner[1],
    }
    template = located(built, cloud.artifact_bucket)
    changed = _apply(cloud, stage, _upload(cloud, built, template), values)
    say(f"stack {stack_name(stage)}: {'changed' if changed else 'unchanged'}")
    reconciled = reconcile(settings(cloud, template, values))
    _tell(reconciled, cloud, say)
    outputs = stack.outputs(cloud.client("cloudformation"), stack_name(stage))
    api_url = cloud.api_url(outputs["RestAPIId"])
    return Deployment(stage, api_url, values["BucketName"], outputs, migrations, changed, reconciled)


def remove(stage: str, say: Callable[[str], None] = print) -> None:
    """Delete a stage with its files and its secret; its database and the shared artifact bucket stay.

    Refused for prod: there its stack is protected, and taking that off is a decision of its own.
    """
    if stage == "prod":
        raise DeployError("prod is not removed by this command: lift termination protection by hand first")
    cloud = connect()
    _empty(cloud.client("s3"), cloud.uploads_bucket(stage))
    gone = stack.delete(cloud.client("cloudformation"), stack_name(stage))
    _forget_secret(cloud.client("ssm"), stage)
    say(f"stack {stack_name(stage)}: {'deleted' if gone else 'was not there'}")


def stack_name(stage: str) -> str:
    return f"rowmill-{stage}"


def parameters(cloud: Cloud, stage: str) -> dict[str, str]:
    """What follows from the stage and the cloud. One machine that plays all of it gets fewer copies of
    everything, and no share of concurrency set aside."""
    small = stage == "local"
    return {
        "Stage": stage,
        "Size": "small" if small else "full",
        "ApiConcurrency": "0" if small else "50",
        "BucketName": cloud.uploads_bucket(stage),
        "EndpointUrl": cloud.functions_endpoint,
    }


def signing_keys(ssm: Any, stage: str, *, rotate: bool = False) -> str:
    """The keys of access tokens, between commas, the one that signs first: made once and kept, so that a deploy logs
    nobody out. Rotated, a new one signs and the last one is still good; those before it are not."""
    name = _secret_name(stage)
    keys = _kept(ssm, name)
    if rotate:
        keys = ",".join([secrets.token_urlsafe(48), keys.partition(",")[0]])
        ssm.put_parameter(Name=name, Value=keys, Type="SecureString", Overwrite=True)
    return keys


def database_urls(ssm: Any, stage: str, owner_url: str, database_url: str) -> dict[str, str]:
    """A parameter for each role: the database as it logs in. Its password is made of a secret, made once and kept."""
    made = logins.make(owner_url, database_url, stage, _kept(ssm, _secret_name(stage, "database")))
    return {f"{role.capitalize()}DatabaseUrl": url for role, url in made.items()}


def webhook_keys(ssm: Any, stage: str) -> str:
    """The keys that secrets of webhooks are derived from, made once and kept; another may be put in front by hand."""
    return _kept(ssm, _secret_name(stage, "webhook"))


def receipt_keys(ssm: Any, stage: str, *, rotate: bool = False) -> dict[str, str]:
    """What receipts are signed with, made once and kept, and the public keys that they are checked by. Rotated, another
    signs, and nothing is kept of the last one but its public key, for as long as there are receipts of it."""
    secret_name, keys_name = _secret_name(stage, "receipt"), f"/rowmill/{stage}/receipt-keys"
    secret, known = _kept(ssm, secret_name), _listed(ssm, keys_name)
    public = seals.public_key(secret)
    if rotate:
        known = known if public in known else [public, *known]
        secret = secrets.token_urlsafe(48)
        public = seals.public_key(secret)
        # The public key first: a deploy that dies in between leaves one that nothing was signed with, and no receipt
        # that nobody can check.
        ssm.put_parameter(Name=keys_name, Value=",".join([public, *known]), Type="String", Overwrite=True)
        ssm.put_parameter(Name=secret_name, Value=secret, Type="SecureString", Overwrite=True)
    keys = [public, *(one for one in known if one != public)]
    if not rotate and keys != known:
        ssm.put_parameter(Name=keys_name, Value=",".join(keys), Type="String", Overwrite=True)
    return {"ReceiptSecret": secret, "ReceiptKeys": ",".join(keys)}


def _listed(ssm: Any, name: str) -> list[str]:
    """What is between the commas of a parameter; nothing if it is not there."""
    try:
        value: str = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return []
    return value.split(",")


def _kept(ssm: Any, name: str) -> str:
    """A secret of the stage, made if it is not there."""
    with contextlib.suppress(ssm.exceptions.ParameterAlreadyExists):
        ssm.put_parameter(Name=name, Value=secrets.token_urlsafe(48), Type="SecureString", Overwrite=False)
    value: str = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    return value


def _forget_secret(ssm: Any, stage: str) -> None:
    names = [
        *(_secret_name(stage, what) for what in ("jwt", "webhook", "receipt", "database")),
        f"/rowmill/{stage}/receipt-keys",
    ]
    ssm.delete_parameters(Names=names)  # the plural does not mind one that is not there


def _secret_name(stage: str, what: str = "jwt") -> str:
    return f"/rowmill/{stage}/{what}-secret"


def located(built: Package, bucket: str) -> dict[str, Any]:
    """The template with its functions pointing at the uploaded zip. The key is the digest of the sources:
    the same sources give the same template, and an unchanged stack stays unchanged."""
    template = built.read()
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": bucket, "Key": f"{built.digest}/code.zip"}
    return template


def _upload(cloud: Cloud, built: Package, template: dict[str, Any]) -> str:
    """Send zip and template through S3 (a template of this size fits no API call); the template's URL."""
    s3, bucket, key = cloud.client("s3"), cloud.artifact_bucket, f"{built.digest}/template.json"
    _ensure_artifact_bucket(s3, bucket, cloud.region)
    _upload_once(s3, bucket, f"{built.digest}/code.zip", built.code)
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(template, sort_keys=True).encode())
    return cloud.object_url(bucket, key)


def _upload_once(s3: Any, bucket: str, key: str, file: Path) -> None:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError:
        s3.upload_file(str(file), bucket, key)


def _ensure_artifact_bucket(s3: Any, bucket: str, region: str) -> None:
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else elsewhere))
        ways = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(ways, True))


def _apply(cloud: Cloud, stage: str, template_url: str, values: Mapping[str, str]) -> bool:
    cloudformation, name = cloud.client("cloudformation"), stack_name(stage)
    changed = stack.apply(cloudformation, name, template_url, values)
    if stage == "prod":
        cloudformation.update_termination_protection(StackName=name, EnableTerminationProtection=True)
    return changed


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
