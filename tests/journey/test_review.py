"""By the command line: look before anything is loaded, confirm, and let a file make its own dataset."""

from __future__ import annotations

import json

from tests.journey.conftest import Account
from tests.journey.test_control import rowmill

BODY = b"id,Name,since\n1,Ada,1815-12-10\n2,Bob,\nthree,Cy,1990-01-01\n2,Again,1999-09-09\n"


def test_a_file_is_checked_confirmed_and_loaded(account: Account) -> None:
    account.dataset()
    file = str(account.file(b"id,name\n1,Ada\ntwo,Bob\n1,Again\n"))
    checked = rowmill(account, "upload", file, "--dataset", "people", "--validate-only", "--json")
    assert checked.returncode == 3, checked.stderr
    upload = json.loads(checked.stdout)
    assert (upload["state"], upload["valid"], upload["loaded"], upload["rejected"]) == ("needs_review", 1, 0, 2)
    assert account.table() == []
    confirmed = rowmill(account, "confirm", upload["id"], "--wait")
    assert (confirmed.returncode, "loaded=1 " in confirmed.stdout) == (3, True)
    assert account.table() == [(1, "Ada")]
    again = rowmill(account, "confirm", upload["id"])
    assert (again.returncode, "state_conflict" in again.stderr) == (1, True)
    clean = rowmill(
        account, "upload", str(account.file(b"ID, Name \n4,Di\n")), "--dataset", "people", "--validate-only"
    )
    assert (clean.returncode, "valid=1 state=needs_review" in clean.stdout) == (0, True)


def test_a_file_makes_its_own_dataset_typed_or_as_text(account: Account) -> None:
    file = str(account.file(BODY.replace(b"three", b"3")))
    typed = rowmill(account, "upload", file, "--dataset", "typed", "--create", "--json")
    assert typed.returncode == 0, typed.stderr
    fields = account.rowmill.get_dataset("typed")["schema"]["fields"]
    assert [(field["name"], field["type"]) for field in fields] == [
        ("id", "integer"),
        ("Name", "string"),
        ("since", "date"),
    ]
    assert [row["id"] for row in account.rowmill.iterate_rows("typed")] == [1, 2, 3, 2]
    text = rowmill(account, "upload", str(account.file(BODY)), "--dataset", "text", "--create-text")
    assert (text.returncode, "loaded=4 " in text.stdout) == (0, True)
    assert next(account.rowmill.iterate_rows("text")) == {"id": "1", "Name": "Ada", "since": "1815-12-10"}
    twice = rowmill(account, "upload", file, "--dataset", "typed", "--create")
    assert (twice.returncode, "dataset_exists" in twice.stderr) == (1, True)
