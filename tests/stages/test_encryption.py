"""Encrypted fields: sealed where they are stored, open to whoever may read them, and nowhere else in the open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from chalicelib import vault
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline

PATIENTS: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True, "unique": True}},
        {"name": "name", "encrypted": True},
    ]
}


@pytest.fixture(autouse=True)
def field_key(pipeline: Pipeline) -> Iterator[str]:
    """The KMS key of encrypted fields."""
    vault.open_keys.forget()
    key = boto3.client("kms").create_key()["KeyMetadata"]
    boto3.client("kms").create_alias(AliasName=settings().field_key, TargetKeyId=key["KeyId"])
    yield str(key["Arn"])
    vault.open_keys.forget()


def stored(pipeline: Pipeline, columns: str = "*") -> list[dict[str, Any]]:
    """The rows of the last dataset as Postgres has them."""
    (last,) = pipeline.sql("SELECT max(number) AS number FROM rowmill.dataset")
    return pipeline.sql(f"SELECT {columns} FROM data.d_{last['number']} ORDER BY _row")


def test_an_encrypted_field_is_sealed_in_postgres_and_open_to_its_owner(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    upload = pipeline.run(b"id,name\n1,Ada Lovelace\n2,Grace Hopper\n3,\n", "patients")
    assert (upload["state"], upload["loaded"]) == ("completed", 3)
    assert [row["name"] for row in pipeline.rows("patients")] == ["Ada Lovelace", "Grace Hopper", None]
    there = [row["name"] for row in stored(pipeline)]
    assert there[2] is None and all(len(sealed) >= 44 and "Ada" not in sealed for sealed in there[:2])
