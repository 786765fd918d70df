"""A good file, all the way: announced, posted, split, loaded, read back as it was."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests import clouds
from tests.journey.conftest import PEOPLE, Account, eventually, people

ROOT = Path(__file__).resolve().parents[2]
ROWS = 30_000
ORDERS = {
    "fields": [
        {"name": "id", "type": "integer"},
        {"name": "note", "type": "string"},
        {"name": "price", "type": "number"},
        {"name": "paid", "type": "boolean"},
        {"name": "day", "type": "date"},
        {"name": "seen", "type": "datetime"},
    ],
    "primaryKey": "id",
}
NOTES = (
    'two lines,\nthe second with a "quote"',
    "tab\there and a back\\slash, \\N too",
    "  blanks at both ends  ",
    "Zoë 漢字 🎈",
    "a plain one, long enough that the file is cut into several chunks: " + "." * 1400,
)


def _orders() -> Iterator[tuple[Any, ...]]:
    first = datetime(2020, 2, 28, 23, 59, 30, tzinfo=UTC)
    for number in range(1, ROWS + 1):
        note = f"{NOTES[number % len(NOTES)]} {number}" if number % 7 else None
        price = Decimal(number * 37).scaleb(-2)
        seen = first + timedelta(minutes=number)
        yield number, note, price, number % 3 == 0, date(2020, 1, 1) + timedelta(number % 1000), seen


def _written(rows: list[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field["name"] for field in ORDERS["fields"])
    for number, note, price, paid, day, seen in rows:
        spelled = seen.isoformat().replace("+00:00", "Z")
        writer.writerow([number, note, price, "true" if paid else "false", day.isoformat(), spelled])
    return text.getvalue().encode()


def test_a_large_file_becomes_exactly_its_rows_and_comes_back_byte_for_byte(account: Account) -> None:
    account.dataset(ORDERS, "orders")
    rows = list(_orders())
    body = _written(rows)
    upload = account.ended(account.start(body, "orders"))
    assert (upload["state"], upload["rows_total"], upload["loaded"], upload["error"]) == ("completed", ROWS, ROWS, None)
    assert upload["chunks_total"] == upload["chunks_done"] > 1
    assert account.table("orders") == rows
    exported = _rowmill(account, "export", "orders")
    assert (exported.returncode, exported.stdout) == (0, body)


def test_the_command_line_answers_one_json_document_and_exits_0(account: Account) -> None:
    account.dataset()
    done = _rowmill(account, "upload", str(account.file(people(3))), "--dataset", "people", "--json")
    assert done.returncode == 0, done.stderr
    upload = json.loads(done.stdout)
    assert (upload["state"], upload["loaded"], upload["filename"]) == ("completed", 3, "a.csv")
    assert account.table() == [(1, "name 1"), (2, "name 2"), (3, "name 3")]


def test_the_command_line_exits_3_if_rows_were_rejected_and_4_if_all_failed(account: Account) -> None:
    account.dataset()
    mixed = _rowmill(account, "upload", str(account.file(b"id,name\n1,Ada\ntwo,Bob\n")), "--dataset", "people")
    broken = _rowmill(account, "upload", str(account.file(b"id\n1\n")), "--dataset", "people")
    assert (mixed.returncode, broken.returncode) == (3, 4)
    assert b"loaded=1" in mixed.stdout
    assert b"columns_missing" in broken.stderr


def test_modes_decide_what_becomes_of_rows_that_are_there_already(account: Account) -> None:
    account.dataset({**PEOPLE, "mode": "upsert"})
    account.ended(account.start(b"id,name\n1,Ada\n2,Bob\n"))
    updated = account.ended(account.start(b"id,name\n2,Rob\n3,Cy\n"))
    skipped = account.ended(account.start(b"id,name\n3,Si\n4,Di\n", mode="skip"))
    assert (updated["loaded"], updated["updated"]) == (1, 1)
    assert (skipped["loaded"], skipped["skipped"]) == (1, 1)
    assert account.table() == [(1, "Ada"), (2, "Rob"), (3, "Cy"), (4, "Di")]


def _rowmill(account: Account, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "client"),
        "XDG_CONFIG_HOME": str(account.folder),
        "ROWMILL_API": account.cloud.instance.api_url,
        "ROWMILL_TOKEN": account.token,
    }
    command = [sys.executable, "-m", "rowmill_client", *arguments]
    return subprocess.run(command, check=False, capture_output=True, env=environment, timeout=clouds.seconds(60))


def test_one_correlation_id_runs_from_the_request_to_the_chunk(account: Account) -> None:
    account.dataset()
    upload_id = account.start(people(20))
    account.ended(upload_id)
    logs = account.cloud.client("logs")

    def lines(function: str, wanted: str) -> list[dict[str, Any]]:
        group = f"/aws/lambda/{account.cloud.name(function)}"
        events = logs.filter_log_events(logGroupName=group, filterPattern=f'"{wanted}"')["events"]
        return [json.loads(event["message"]) for event in events if wanted in event["message"]]

    (loaded,) = eventually(lambda: [line for line in lines("load_high", upload_id) if line["message"] == "handled"])
    (asked,) = [line for line in lines("api", loaded["correlation_id"]) if line["message"] == "answered"]
    assert (asked["method"], asked["route"], asked["status"]) == ("POST", "/v1/uploads", 201)
    assert loaded["chunk"] == 1
