"""Encrypted fields on the deployed cloud: sealed by its loaders with its own KMS key, open through its API."""

from __future__ import annotations

from tests.journey.conftest import Account

PATIENTS = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True, "unique": True}},
        {"name": "name", "encrypted": True},
    ]
}


def test_a_file_is_sealed_and_opened_by_its_owner_alone(account: Account) -> None:
    account.dataset(PATIENTS, "patients")
    upload = account.ended(account.start(b"id,name\n1,Ada Lovelace\n2,Grace Hopper\n", "patients"))
    assert (upload["state"], upload["loaded"]) == ("completed", 2)
    assert [row["name"] for row in account.rowmill.iterate_rows("patients")] == ["Ada Lovelace", "Grace Hopper"]
    assert all(len(sealed) >= 44 and "Ada" not in sealed for _, sealed in account.table("patients"))
