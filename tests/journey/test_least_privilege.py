"""The whole chain again on a cloud that enforces every function's own IAM role."""

from __future__ import annotations

from pathlib import Path

from infra.local import instance
from tests.journey.conftest import Cloud, new_account, people


def test_every_step_is_allowed_by_its_own_role(tmp_path: Path) -> None:
    with (
        instance.running(tmp_path / "strict", settings={"AUTH": "true"}) as here,
        new_account(Cloud(here), tmp_path) as account,
    ):
        account.dataset()
        header, *rows = people(2500).splitlines(keepends=True)
        body = header + b"".join(rows) + rows[0] + b"ragged\n"
        upload = account.ended(account.start(body))
        assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 2500, 2)
        codes = [reject["errors"][0]["code"] for reject in account.rowmill.iterate_rejects(upload["id"])]
        assert sorted(codes) == ["duplicate_in_file", "width_mismatch"]
        assert account.cloud.sweep()["uploads_seen"] == 0
