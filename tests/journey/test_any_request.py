"""Requests made up by schemathesis from the published document, against the running cloud.

Two rounds: with names and ids that are made up, too, and with those of a dataset and an upload that are there. Not
asked is whether every request that a schema allows is granted (a dataset may be missing, a cursor made up), nor what is
answered to methods that no route has: that is the gateway's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.conftest import Account

EXAMPLES = os.environ.get("EXAMPLES", "8")  # an operation; `make fuzz-api EXAMPLES=100` tries harder
SEED = os.environ.get("SEED", "1")
NOT_ASKED = "positive_data_acceptance,unsupported_method"
# A book is deleted by POST, which the check takes for no deletion: what is gone by then would have to be there.
BOOKS = """
[[operations]]
include-path-regex = "^/books/"
checks.ensure_resource_availability.enabled = false
"""


@pytest.mark.needs("forms as they were sent")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("known", [False, True], ids=["made-up-ids", "known-ids"])
def test_no_request_is_answered_otherwise_than_documented(account: Account, tmp_path: Path, known: bool) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text((_parameters(account) if known else "") + BOOKS)
    api = account.cloud.instance.api_url
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", f"{api}/v1/openapi.json", "--url", str(api), "--header", f"Authorization: Bearer {account.token}"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES, "--seed", SEED),
            *("--exclude-checks", NOT_ASKED, "--warnings", "off", "--no-color"),
        ],
        cwd=tmp_path,  # where it keeps what it found
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-20_000:])
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "Tested: " in done.stdout


def _parameters(account: Account) -> str:
    """A dataset and an upload that have rows, rejects and chunks, and a webhook, instead of made-up names."""
    upload_id = account.start(b"id,name\n1,Ada\n2,\n", account.dataset())
    assert account.ended(upload_id)["state"] == "completed_with_errors"
    webhook_id = account.rowmill.create_webhook("https://hooks.invalid/")["id"]
    known = {"upload_id": upload_id, "name": "people", "webhook_id": webhook_id}
    return "[parameters]\n" + "".join(f'"path.{name}" = "{value}"\n' for name, value in known.items())
