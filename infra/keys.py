"""What a stage must know and nobody else: made once, kept in Secrets Manager by the stack, and read from there again.

The one thing to know: a function is given its secret's name and no secret. Another value has every function start anew.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from chalicelib import seals
from infra import logins
from infra.cloud import Cloud, DeployError
from infra.grants import ROLES

DATABASES = [f"{role.capitalize()}DatabaseUrl" for role in ROLES]


def secrets_of(cloud: Cloud, stage: str, database_url: str, *, rotate: bool = False) -> dict[str, str]:
    """What the stack keeps in Secrets Manager, as its parameters: what is kept already, and made where it is not.

    Of the database each role's own login. Raises DeployError if the URL is none.
    """
    client, ssm = cloud.client("secretsmanager"), cloud.client("ssm")
    api, receipt = _secret(client, stage, "api"), _secret(client, stage, "receipt")
    if any(sign in database_url for sign in '"\\\n'):
        raise DeployError("quotes in a database's URL are written %22")
    urls = logins.urls(database_url, stage, database_secret(cloud, stage))
    values = {
        **dict(zip(DATABASES, urls.values(), strict=True)),
        "JwtSecret": signing_keys(api.get("JWT_SECRET") or _earlier(ssm, stage, "jwt"), rotate=rotate),
        "WebhookSecret": api.get("WEBHOOK_SECRET") or _earlier(ssm, stage, "webhook") or secrets.token_urlsafe(48),
        **receipt_keys(
            receipt.get("RECEIPT_SECRET") or _earlier(ssm, stage, "receipt"),
            known_receipt_keys(ssm, stage),
            rotate=rotate,
        ),
    }
    told = hashlib.sha256("\n".join(values.values()).encode()).hexdigest()
    return values | {"SecretsVersion": told[:16]}


def database_secret(cloud: Cloud, stage: str) -> str:
    """What the logins' passwords follow from, made once and kept: a plan and its deploy must say the same ones."""
    ssm, name = cloud.client("ssm"), _database_secret_name(stage)
    with suppress(ssm.exceptions.ParameterAlreadyExists):
        ssm.put_parameter(Name=name, Value=secrets.token_urlsafe(48), Type="SecureString", Overwrite=False)
    value: str = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    return value


def signing_keys(kept: str | None, *, rotate: bool = False) -> str:
    """The keys of access tokens, between commas, the one that signs first: made once and kept, so that a deploy logs
    nobody out. Rotated, a new one signs and the last one is still good; those before it are not."""
    keys = kept or secrets.token_urlsafe(48)
    return ",".join([secrets.token_urlsafe(48), keys.partition(",")[0]]) if rotate else keys


def receipt_keys(kept: str | None, known: Sequence[str], *, rotate: bool = False) -> dict[str, str]:
    """What receipts are signed with, made once and kept, and the public keys that they are checked by, of which `known`
    are there already. Rotated, another signs, and nothing is kept of the last one but its public key, for as long as
    there are receipts of it."""
    public = [seals.public_key(kept)] if kept else []
    secret = secrets.token_urlsafe(48) if rotate or not kept else kept
    keys = dict.fromkeys([seals.public_key(secret), *public, *known])  # each once, the newest first
    return {"ReceiptSecret": secret, "ReceiptKeys": ",".join(keys)}


def known_receipt_keys(ssm: Any, stage: str) -> list[str]:
    """The public keys of all that ever signed receipts in this stage: nothing secret, and never forgotten."""
    try:
        value: str = ssm.get_parameter(Name=_receipt_keys_name(stage))["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return []
    return value.split(",")


def remember_receipt_keys(ssm: Any, stage: str, keys: str) -> None:
    """Before the stack has them: where that is rolled back, there may be receipts of the newest all the same. With what
    another deploy has remembered meanwhile."""
    known = known_receipt_keys(ssm, stage)
    found = list(dict.fromkeys([*keys.split(","), *known]))
    if found != known:
        ssm.put_parameter(Name=_receipt_keys_name(stage), Value=",".join(found), Type="String", Overwrite=True)


def _secret(client: Any, stage: str, what: str) -> dict[str, str]:
    """A secret of the stage; nothing if it is not there yet."""
    try:
        value = client.get_secret_value(SecretId=f"rowmill/{stage}/{what}")["SecretString"]
    except client.exceptions.ResourceNotFoundException:
        return {}
    kept: dict[str, str] = json.loads(value)
    return kept


def _earlier(ssm: Any, stage: str, what: str) -> str | None:
    """A secret where deploys kept it before there were any in Secrets Manager."""
    try:
        value: str = ssm.get_parameter(Name=f"/rowmill/{stage}/{what}-secret", WithDecryption=True)["Parameter"][
            "Value"
        ]
    except ssm.exceptions.ParameterNotFound:
        return None
    return value


def _receipt_keys_name(stage: str) -> str:
    return f"/rowmill/{stage}/receipt-keys"


def _database_secret_name(stage: str) -> str:
    return f"/rowmill/{stage}/database-secret"


def forget(ssm: Any, stage: str) -> None:
    """What is not the stack's: the public keys, and what passwords follow from."""
    names = [_receipt_keys_name(stage), _database_secret_name(stage)]
    ssm.delete_parameters(Names=names)  # the plural does not mind one that is not there
