"""A dataset that two accounts work on, on the whole chain: by the client, by the command line, by a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rowmill_client import ApiError, Rowmill
from rowmill_client.cli import app
from typer.testing import CliRunner

from tests import clouds
from tests.journey.conftest import Account, Cloud, new_account, people


def test_a_writer_loads_into_another_s_dataset_and_a_reader_looks(
    account: Account, deployed: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.dataset()
    with new_account(deployed, tmp_path) as guest:
        name = guest.cloud.sql("SELECT username FROM rowmill.account WHERE tenant = %s", guest.tenant)[0][0]
        monkeypatch.setenv("ROWMILL_API", deployed.instance.api_url)
        monkeypatch.setenv("ROWMILL_TOKEN", account.token)
        shown = CliRunner().invoke(app, ["dataset", "share", "people", name, "--role", "writer", "--json"])
        assert shown.exit_code == 0, shown.output
        dataset = json.loads(shown.stdout)["dataset"]
        assert [one["id"] for one in guest.rowmill.iterate_datasets(shared=True)] == [dataset]
        upload = guest.rowmill.upload(guest.file(people(3)), dataset, timeout=clouds.seconds(30))
        assert (upload["state"], upload["loaded"]) == ("completed", 3)
        assert len(account.table()) == 3
        with pytest.raises(ApiError, match="upload_not_found"):
            account.rowmill.get_upload(upload["id"])

        account.rowmill.put_grant("people", name, "reader")
        listed = CliRunner().invoke(app, ["dataset", "grants", "people", "--json"])
        assert [(one["username"], one["role"]) for one in json.loads(listed.stdout)] == [(name, "reader")]
        key = guest.rowmill.create_api_key("looks on", role="reader")
        with Rowmill(deployed.instance.api_url, key["secret"]) as machine:
            assert [row["id"] for row in machine.iterate_rows(dataset)] == [1, 2, 3]
            with pytest.raises(ApiError, match="role_forbids"):
                machine.create_row(dataset, {"id": 4, "name": "Ada"})
        with pytest.raises(ApiError, match="role_forbids"):
            guest.rowmill.upload(guest.file(people(3)), dataset)

        assert CliRunner().invoke(app, ["dataset", "unshare", "people", name]).exit_code == 0
        with pytest.raises(ApiError, match="dataset_not_found"):
            guest.rowmill.get_dataset(dataset)
