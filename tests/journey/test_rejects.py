"""Bad rows on the whole chain: fetched as a file, corrected, sent back, and counted where they came from."""

from __future__ import annotations

import csv
import io
import json
from datetime import date

import openpyxl
from rowmill_client.cli import app
from typer.testing import CliRunner

from tests import clouds
from tests.journey.conftest import Account, adds_up

ROWS = {
    "fields": [{"name": "id", "type": "integer"}, {"name": "name"}, {"name": "since", "type": "date"}],
    "primaryKey": "id",
}
FILE = (
    b"id,name,since\r\n"
    b"1,Ada,2024-02-29\r\n"
    b'2,"=HYPERLINK(""http://x"")",2024-02-30\r\n'
    b"x,\"two\r\nlines, 'quoted'\",2024-03-01\r\n"
    b"4,\xff\xfe,2024-03-01\r\n"
    b"5,too,2024-03-01,many\r\n"
    b"1,again,2024-03-01\r\n"
)


def test_bad_rows_are_fetched_corrected_and_sent_back(account: Account) -> None:
    account.dataset(ROWS, "rows")
    environment = {"ROWMILL_API": account.cloud.instance.api_url, "ROWMILL_TOKEN": account.token}

    def rowmill(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, words, env=environment)
        assert done.exit_code == code, done.output
        return done.stdout

    parent = json.loads(rowmill("upload", str(account.file(FILE)), "--dataset", "rows", "--json", code=3))
    assert (parent["loaded"], parent["rejected"], parent["rejected_open"]) == (1, 5, 5)
    summary = json.loads(rowmill("rejects", parent["id"], "--summary", "--json"))
    assert sum(cause["rows"] for cause in summary["causes"]) == 5

    fetched = account.folder / "bad.csv"
    rowmill("rejects", parent["id"], "--format", "csv", "--output", str(fetched))
    header, *rows = csv.reader(io.StringIO(fetched.read_bytes().decode("utf-8-sig"), newline=""))
    assert rows[0][-2] == '\'=HYPERLINK("http://x")'
    workbook = account.folder / "bad.xlsx"
    rowmill("rejects", parent["id"], "--format", "xlsx", "--output", str(workbook))
    sheet = openpyxl.load_workbook(workbook).worksheets[0]
    assert [[cell or "" for cell in row] for row in sheet.iter_rows(values_only=True)] == [header, *rows]

    raw = header.index("_row_raw")
    rows[0][-1] = "2024-02-28"
    rows[1][-3] = "3"
    rows[2][raw], rows[2][-2] = "", "Dora"
    rows[3][raw], rows[3][-3:] = "", ["5", "Eve", "2024-03-01"]
    with fetched.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    child = json.loads(rowmill("retry", parent["id"], str(fetched), "--json", code=3))
    assert (child["loaded"], child["rejected"], child["parent_id"]) == (4, 1, parent["id"])
    after = account.rowmill.get_upload(parent["id"])
    assert (after["children"], after["resolved"], after["rejected_open"]) == ([child["id"]], 4, 1)
    assert (after["loaded"], after["rejected"]) == (1, 5)
    assert adds_up(after)
    assert adds_up(child)
    assert [(number, name) for number, name, _ in account.table("rows")] == [
        (1, "Ada"),
        (2, '=HYPERLINK("http://x")'),
        (3, "two\r\nlines, 'quoted'"),
        (4, "Dora"),
        (5, "Eve"),
    ]
    assert json.loads(rowmill("row", child["id"], "5", "--json"))["errors"][0]["code"] == "duplicate_in_db"
    sheet.delete_rows(2, 4)
    sheet["G2"], sheet["I2"] = 6, date(2024, 3, 1)  # as a spreadsheet keeps what is typed into it
    assert sheet.parent is not None
    sheet.parent.save(workbook)
    last = json.loads(rowmill("retry", parent["id"], str(workbook), "--json"))
    assert last["state"] == "completed"
    assert account.table("rows")[-1] == (6, "again", date(2024, 3, 1))
    assert account.rowmill.get_upload(parent["id"])["rejected_open"] == 0


def test_many_bad_rows_become_a_file_while_the_client_waits(account: Account) -> None:
    account.dataset(ROWS, "rows")
    upload = account.ended(
        account.start(b"id,name,since\n" + b"".join(b"%d,N,soon\n" % n for n in range(12_000)), "rows")
    )
    first = account.http.get(f"/uploads/{upload['id']}/rejects", params={"format": "csv"})
    assert (first.status_code, first.headers["Retry-After"]) == (202, "2")
    fetched = io.BytesIO()
    account.rowmill.download_rejects(upload["id"], "csv", fetched.write, timeout=clouds.seconds(30))
    assert fetched.getvalue().count(b"\r\n") == 12_001


def test_what_one_option_mends_is_read_again_from_the_stored_file(account: Account) -> None:
    account.dataset(ROWS, "rows")
    environment = {"ROWMILL_API": account.cloud.instance.api_url, "ROWMILL_TOKEN": account.token}
    good = b"".join(b"%d,N,2024-01-01\n" % n for n in range(1, 20_001))
    bad = b"".join(b"%d,N,%02d/12/2023\n" % (n, n % 31 + 1) for n in range(20_001, 20_301))
    file = account.file(b"id,name,since\n" + good + bad + b"1,N,31/12/2023\nx,N,2024-01-01\n")

    def rowmill(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, words, env=environment)
        assert done.exit_code == code, done.output
        return done.stdout

    parent = json.loads(rowmill("upload", str(file), "--dataset", "rows", "--json", code=3))
    found = json.loads(rowmill("causes", parent["id"], "--json"))["causes"]
    assert [(one["id"], one["rejects"], one["fix"]) for one in found] == [
        ("dates_day_first", 301, {"dialect.date_order": "dmy"}),
        ("type_invalid:is_not_an_integer_of_64_bits", 1, None),
    ]
    assert rowmill("causes", parent["id"]).startswith("rejects\talone\tid\tcause")
    child = json.loads(rowmill("retry", parent["id"], "--fix", "dates_day_first", "--json", code=3))
    assert (child["loaded"], child["rejected"], child["options"]["fix"]) == (300, 1, ["dates_day_first"])
    (clash,) = account.rowmill.iterate_rejects(child["id"])
    assert (clash["parent_row"], clash["line"], clash["errors"][0]["code"]) == (20_301, 20_302, "duplicate_in_db")
    after = account.rowmill.get_upload(parent["id"])
    assert (after["resolved"], after["rejected_open"], after["children"]) == (300, 2, [child["id"]])
    assert adds_up(child)
    assert len(account.table("rows")) == 20_300
    again = account.http.post(f"/uploads/{parent['id']}/retry", json={"fix": "dates_day_first"})
    assert (again.status_code, again.json()["code"]) == (409, "state_conflict")
    for asked, status in (({"fix": "no"}, 422), ({"fix": []}, 422), ({}, 422), ({"fix": 7}, 422)):
        assert account.http.post(f"/uploads/{parent['id']}/retry", json=asked).status_code == status
