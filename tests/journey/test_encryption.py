"""Encrypted fields on the deployed cloud: sealed by its loaders with its own KMS key, open through its API."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests.journey.conftest import Account, new_account

CANARY = "kanarienvogel"
BIRDS: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True, "unique": True}},
        {"name": "email", "format": "email", "encrypted": True, "constraints": {"required": True, "unique": True}},
    ]
}


@pytest.mark.needs("logs on this machine")
def test_a_file_is_sealed_opened_for_who_may_read_it_and_in_no_log(account: Account, tmp_path: Any) -> None:
    account.dataset(BIRDS, "birds")
    body = "id,email\n" + "".join(f"{n},{CANARY}{n}@x.org\n" for n in range(2000))
    bad = f"2000,{CANARY}@\n2001,{CANARY.upper()}1@x.org\n"
    upload = account.ended(account.start((body + bad).encode(), "birds"))
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 2000, 2)
    rows = {row["id"]: row["email"] for row in account.rowmill.iterate_rows("birds")}
    assert rows == {n: f"{CANARY}{n}@x.org" for n in range(2000)}
    assert not any(CANARY in sealed for _, sealed in account.table("birds"))
    file = io.BytesIO()
    account.rowmill.download_rejects(upload["id"], "csv", file.write)
    lines = list(csv.DictReader(io.StringIO(file.getvalue().decode("utf-8-sig"))))
    assert [line["email"] for line in lines] == [f"{CANARY}@", f"{CANARY.upper()}1@x.org"]
    (mine,) = [one["id"] for one in account.rowmill.iterate_datasets() if one["name"] == "birds"]
    with new_account(account.cloud, tmp_path) as guest:
        assert guest.http.get(f"/datasets/{mine}/rows").status_code == 404
        ((username,),) = account.cloud.sql("SELECT username FROM rowmill.account WHERE tenant = %s", guest.tenant)
        account.rowmill.put_grant("birds", username, "reader")
        assert next(guest.rowmill.iterate_rows(mine))["email"] == rows[0]
        assert guest.http.get(f"/uploads/{upload['id']}/rejects").status_code == 404
    logs = account.cloud.client("logs")
    groups = [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]]
    said = [event["message"] for name in groups for event in logs.filter_log_events(logGroupName=name)["events"]]
    assert said
    assert not any(CANARY in message.lower() for message in said)
    place = account.cloud.instance.place
    for log in (place.postgres_log, place.cloud_log):
        assert CANARY not in log.read_text(errors="replace").lower()
