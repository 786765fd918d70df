"""Secrets, from where a deploy keeps them to where a function reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError

from chalicelib import aws, seals
from chalicelib.aws import secrets
from infra import deploy
from infra.cloud import Cloud, DeployError
from infra.keys import known_receipt_keys, remember_receipt_keys, secrets_of
from infra.stack import ChangeSet

URL = "postgresql://rowmill:secret@db:5432/rowmill"


@pytest.fixture
def cloud(simulated: Any) -> Iterator[Cloud]:
    aws.client.cache_clear()
    simulated.reset()
    yield Cloud("aws", None, "us-east-1", "123456789012")
    aws.client.cache_clear()


def kept(values: dict[str, str], stage: str = "prod") -> None:
    """What the stack makes of its parameters."""
    members = {
        "api": {"ApiDatabaseUrl": "DATABASE_URL", "JwtSecret": "JWT_SECRET", "WebhookSecret": "WEBHOOK_SECRET"},
        "receipt": {"ReceiptDatabaseUrl": "DATABASE_URL", "ReceiptSecret": "RECEIPT_SECRET"},
    }
    for what, named in members.items():
        text = json.dumps({name: values[parameter] for parameter, name in named.items()})
        boto3.client("secretsmanager").create_secret(Name=f"rowmill/{stage}/{what}", SecretString=text)


def test_a_function_reads_its_secret_where_it_starts_and_a_variable_that_is_set_stays(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("secretsmanager").create_secret(Name="own", SecretString='{"DATABASE_URL": "x", "JWT_SECRET": "y"}')
    monkeypatch.setenv("ROWMILL_SECRET", "own")
    monkeypatch.setenv("DATABASE_URL", "mine")
    monkeypatch.setenv("JWT_SECRET", "gone in a moment")
    monkeypatch.delenv("JWT_SECRET")
    secrets.fetch()
    assert (os.environ["DATABASE_URL"], os.environ["JWT_SECRET"]) == ("mine", "y")


def test_a_function_that_may_not_read_its_secret_does_not_start_and_one_without_asks_nobody(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROWMILL_SECRET", raising=False)
    secrets.fetch()
    monkeypatch.setenv("ROWMILL_SECRET", "another's")
    with pytest.raises(ClientError):
        secrets.fetch()


def test_a_deploy_keeps_what_is_kept(cloud: Cloud) -> None:
    first = secrets_of(cloud, "prod", URL)
    kept(first)
    assert secrets_of(cloud, "prod", URL) == first
    assert secrets_of(cloud, "dev", URL)["JwtSecret"] != first["JwtSecret"]


def test_another_secret_is_another_version_and_tells_nothing(cloud: Cloud) -> None:
    first = secrets_of(cloud, "prod", URL)
    kept(first)
    moved, rotated = secrets_of(cloud, "prod", URL + "2"), secrets_of(cloud, "prod", URL, rotate=True)
    assert len({one["SecretsVersion"] for one in (first, moved, rotated)}) == 3
    assert rotated["WebhookSecret"] == first["WebhookSecret"]
    assert all(value not in first["SecretsVersion"] for name, value in first.items() if name != "SecretsVersion")


def test_secrets_of_a_release_that_kept_them_elsewhere_go_on(cloud: Cloud) -> None:
    ssm = boto3.client("ssm")
    for what in ("jwt", "webhook", "receipt"):
        ssm.put_parameter(Name=f"/rowmill/prod/{what}-secret", Value=f"old {what}", Type="SecureString")
    found = secrets_of(cloud, "prod", URL)
    assert (found["JwtSecret"], found["WebhookSecret"], found["ReceiptSecret"]) == (
        "old jwt",
        "old webhook",
        "old receipt",
    )
    assert found["ReceiptKeys"] == seals.public_key("old receipt")
    remember_receipt_keys(ssm, "prod", found["ReceiptKeys"])
    assert known_receipt_keys(ssm, "prod") == [found["ReceiptKeys"]]


def test_a_key_of_receipts_is_known_though_the_deploy_that_brought_it_was_rolled_back(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions start with it before the stack is through: what they sign by then is to be checked for good."""
    kept(secrets_of(cloud, "prod", URL))
    rotated = secrets_of(cloud, "prod", URL, rotate=True)
    monkeypatch.setattr(deploy, "prepare", lambda *_: deploy.Ready(cloud, "", {}, "", rotated))
    monkeypatch.setattr(deploy, "migrate", lambda _: 0)
    monkeypatch.setattr(deploy.logins, "make", lambda *_: None)
    monkeypatch.setattr(deploy.stack, "draft", lambda *_: ChangeSet("", "", False, (), rotated))
    monkeypatch.setattr(deploy.stack, "carry_out", Mock(side_effect=DeployError("UPDATE_ROLLBACK_COMPLETE")))
    with pytest.raises(DeployError):
        deploy.deploy("prod", deploy.Asked(URL, rotate_keys=True))
    signed_by = seals.public_key(rotated["ReceiptSecret"])
    known = secrets_of(cloud, "prod", URL)["ReceiptKeys"].split(",")
    assert signed_by in known
    assert known[0] != signed_by  # it signs no more


def test_of_two_deploys_that_rotate_at_once_neither_forgets_the_key_of_the_other(cloud: Cloud) -> None:
    ssm, made = boto3.client("ssm"), [secrets_of(cloud, "prod", URL, rotate=True) for _ in range(2)]
    for one in made:
        remember_receipt_keys(ssm, "prod", one["ReceiptKeys"])
    assert set(known_receipt_keys(ssm, "prod")) == {one["ReceiptKeys"] for one in made}


@pytest.mark.parametrize("url", ['postgresql://a"b@db/x', "postgresql://a\\b@db/x"])
def test_a_database_that_would_break_out_of_its_secret_is_refused(cloud: Cloud, url: str) -> None:
    with pytest.raises(DeployError, match="%22"):
        secrets_of(cloud, "prod", url)
