"""Bad rows on their way back: the file to correct, the summary, and what became of one record."""

from __future__ import annotations

import contextlib
import csv
import io
import random
from typing import Any

import boto3
import httpx
import openpyxl
import psycopg
import pytest

from chalicelib import rejects, report
from chalicelib.aws import functions
from chalicelib.errors import Refused, Unavailable
from chalicelib.formats import correction
from chalicelib.journey import TERMINAL
from chalicelib.postgres import locks
from chalicelib.settings import settings
from tests.stages.conftest import CONTACTS, Pipeline, cut_into, poison
from tests.stages.test_api import Api, is_problem, place

HOSTILE = (
    b"email,name,age\n"
    b'=1+1,"=HYPERLINK(""http://x"",""y"")",old\n'
    b"+a@x.org,'=kept,-x\n"
    b'"quo""ted","two\r\nlines",-5\n'
    b"b\xff@x.org,B,1\n"
    b"c@x.org,N\0L,1\n"
    b"d@x.org,too,many,cells\n"
    b"\xef\xbc\x9de@x.org,\x01bell,old\n"
    b'"g@x.org","<b>&amp;\tx","o\rl\nd"\n'
    b'h@x.org,open,"quote\n'
)
BAD = [1, 2, 4, 5, 6, 7, 8, 9]  # of its records
RAW = correction.COLUMNS.index(correction.RAW)


def stored(pipeline: Pipeline, upload_id: str, form: str) -> bytes:
    """The file that the presigned URL names, as the storage has it."""
    found = rejects.file(pipeline.tenant, upload_id, form)
    assert found is not None
    key = httpx.URL(found["url"]).path.removeprefix(f"/{settings().bucket}").lstrip("/")
    assert key.startswith(f"results/{pipeline.tenant}/{upload_id}/")
    body: bytes = boto3.client("s3").get_object(Bucket=settings().bucket, Key=key)["Body"].read()
    return body


def lines(pipeline: Pipeline, upload_id: str, form: str = "csv") -> list[list[str]]:
    """The file's lines as a program reads them."""
    body = stored(pipeline, upload_id, form)
    if form == "csv":
        return list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))
    sheet = openpyxl.load_workbook(io.BytesIO(body)).active
    assert sheet is not None
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value is not None} == {"s"}
    return [["" if value is None else str(value) for value in row] for row in sheet.iter_rows(values_only=True)]


def cells(line: list[str]) -> list[str]:
    """The record's own."""
    return line[len(correction.COLUMNS) :]


# The file


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_hostile_cells_come_out_as_text_beside_their_reasons(pipeline: Pipeline, form: str) -> None:
    pipeline.dataset()
    upload = pipeline.run(HOSTILE)
    header, *found = lines(pipeline, upload["id"], form)
    assert header == [*correction.COLUMNS, "email", "name", "age"]
    assert [line[:4] for line in found][:2] == [["1", "2", "type_invalid", "age"], ["2", "3", "type_invalid", "age"]]
    assert [int(line[0]) for line in found] == BAD
    shown = [cells(line) for line in found]
    assert shown[0] == ["'=1+1", '\'=HYPERLINK("http://x","y")', "old"]
    assert shown[1] == ["'+a@x.org", "''=kept", "'-x"]
    assert shown[2] == ["b\\xff@x.org", "B", "1"]
    assert shown[3] == ["c@x.org", "N\\x00L", "1"]
    assert shown[4] == ["", "", ""]
    assert shown[5] == ["'＝e@x.org", "\x01bell" if form == "csv" else "\\x01bell", "old"]
    assert shown[6] == ["g@x.org", "<b>&amp;\tx", "o\rl\nd"]
    assert shown[7] == ["", "", ""]
    altered = {int(line[0]): line[RAW] for line in found if line[RAW]}
    assert altered.keys() == ({4, 5, 6, 9} if form == "csv" else {4, 5, 6, 7, 9})
    assert altered[4] == "b\\xff@x.org,B,1"
    assert altered[6] == "d@x.org,too,many,cells"


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        (b"email,name,age,,\na@x.org,A,old,,\nb@x.org,B,old\n", {}),
        (b"email,name,age\na@x.org,A,old,,\nb@x.org,B,old\n", {"ragged": "pad"}),
        (b"age,email,name\nold,a@x.org,A\nold,b@x.org\n", {"ragged": "pad"}),
    ],
)
def test_a_record_is_shown_with_the_cells_that_it_was_read_with(
    pipeline: Pipeline, body: bytes, dialect: dict[str, Any]
) -> None:
    # Else it could only be corrected by typing all of its cells anew.
    pipeline.dataset()
    upload = pipeline.run(body + b'"never closed\n', dialect=dialect)
    _, first, second, withheld = lines(pipeline, upload["id"])
    assert sorted(cells(first)) == ["A", "a@x.org", "old"]
    assert sorted(filter(None, cells(second))) in (["B", "b@x.org", "old"], ["b@x.org", "old"])
    assert [line[RAW] for line in (first, second)] == ["", ""]
    assert (cells(withheld), withheld[RAW]) == (["", "", ""], '"never closed\n')


def test_nothing_in_a_rejects_file_begins_as_a_formula_does(pipeline: Pipeline) -> None:
    fields = [{"name": name} for name in ("=name", "@x", "b")] + [{"name": "age", "type": "integer"}]
    name = pipeline.dataset({"fields": fields}, "formulas")
    starts = ["=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠", " =", "\n=", "''=", "'\t@"]
    body = io.StringIO(newline="")
    csv.writer(body).writerows(
        [["=name", "@x", "b", "age"], *([f"{start}cmd", start, f"{start}1", "x"] for start in starts)]
    )
    upload = pipeline.run(body.getvalue().encode(), name)
    assert upload["rejected"] == len(starts)
    found = lines(pipeline, upload["id"])
    assert not [cell for line in found for cell in line if cell.startswith(tuple(starts)) and cell not in ("-1", "+1")]
    back = pipeline.run(stored(pipeline, upload["id"], "csv").replace(b",x\r\n", b",1\r\n"), name)
    assert back["loaded"] == len(starts)
    rows = [(row["=name"], row["@x"], row["b"]) for row in pipeline.rows(name)]
    assert rows == [(f"{start}cmd", start, f"{start}1") for start in starts]


def test_a_cell_that_is_too_long_for_a_sheet_is_cut_and_marked(pipeline: Pipeline) -> None:
    pipeline.dataset()
    long = "\U0001f600" * 8000 + "x" * 16768  # 32,768 units of UTF-16, one too many
    fits = long[:-1]
    upload = pipeline.run(f"email,name,age\n{long},A,old\n{fits},B,old\n".encode())
    cut, whole = lines(pipeline, upload["id"], "xlsx")[1:]
    assert cells(cut)[0].endswith("…")
    assert (bool(cut[RAW]), whole[RAW], cells(whole)[0]) == (True, "", fits)
    assert [cells(line)[0] for line in lines(pipeline, upload["id"])[1:]] == [long, fits]


def test_the_file_is_in_file_order_whatever_the_chunks(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    files, summaries = set(), []
    body = "email,name,age\n" + "".join(
        f"u{n % 40}@x.org,{n},{'old' if n % 3 else n}\n" if n % 7 else f"u{n}\n" for n in range(1, 120)
    )
    for records in (1000, 7, 50):
        cut_into(monkeypatch, records)
        name = pipeline.dataset(name=f"contacts{records}")
        upload_id = pipeline.create(body.encode(), name)
        pipeline.split(upload_id)
        messages = pipeline.messages()
        random.Random(records).shuffle(messages)
        pipeline.load(messages)
        pipeline.settle()
        files.add(stored(pipeline, upload_id, "csv"))
        summaries.append(rejects.summary(pipeline.tenant, upload_id))
    assert len(files) == 1
    assert summaries[0] == summaries[1] == summaries[2]


@pytest.mark.parametrize("header", [True, False])
def test_the_file_has_the_columns_of_its_upload_whatever_has_become_of_the_dataset(
    pipeline: Pipeline, header: bool
) -> None:
    pipeline.dataset()
    body = b"a@x.org,Ada,36\nb@x.org,Bob,old\n"
    upload = pipeline.run(b"email,name,age\n" * header + body, dialect={"header": header})
    # Without a header a name of another field would bring the values there when the file comes back.
    pipeline.dataset({"fields": [{"name": "more"}, *reversed(CONTACTS["fields"])]})
    head, reject = lines(pipeline, upload["id"])
    own = len(correction.COLUMNS)
    assert (head[own:], reject[own:]) == (["email", "name", "age"], ["b@x.org", "Bob", "old"])


def test_a_file_that_never_had_a_dataset_has_its_rejects_as_a_file(pipeline: Pipeline) -> None:
    upload_id = pipeline.create(b"a,b\n1,2\n1,2,3\n", "fresh", infer=True)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.cancel(upload_id)["state"] == "canceled"
    head, reject = lines(pipeline, upload_id)  # not None, by which a client asks again and again
    assert (head[-2:], reject[RAW]) == (["a", "b"], "1,2,3")


def test_a_file_is_made_once_a_generation(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    upload_id, messages = pipeline.begin(b"email,name,age\na@x.org,A,old\nb@x.org,B,2\nc@x.org,C,old\n")
    with pytest.raises(Refused, match="ended"):
        rejects.file(pipeline.tenant, upload_id, "csv")
    with pytest.MonkeyPatch.context() as patch:
        poison(patch, 3)
        for _ in range(4):
            with contextlib.suppress(Unavailable):
                pipeline.load(messages)
    assert pipeline.upload(upload_id)["unprocessed"] == 1
    made = []
    monkeypatch.setattr(functions, "call", lambda function, event: made.append(event) or pipeline.call(function, event))
    assert len(lines(pipeline, upload_id)) == len(lines(pipeline, upload_id)) == 2
    pipeline.redrive(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] in TERMINAL
    assert len(lines(pipeline, upload_id)) == 3
    assert len(made) == 2


def test_many_rejects_are_made_by_themselves_and_asked_for_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload = pipeline.run(HOSTILE)
    monkeypatch.setattr(rejects, "AT_ONCE", 0)
    started: list[Any] = []
    monkeypatch.setattr(functions, "start", lambda function, event: started.append((function, event)))
    assert rejects.file(pipeline.tenant, upload["id"], "csv") is None
    with psycopg.connect(pipeline.url) as somebody:
        somebody.execute("SELECT pg_advisory_lock(%s, %s)", locks.render(started[0][1]["upload"]))
        assert rejects.file(pipeline.tenant, upload["id"], "csv") is None
        assert pipeline.call(*started[0]) == {"made": False}
        # The end of a connection is no moment: the server may notice it after the next question.
        somebody.execute("SELECT pg_advisory_unlock(%s, %s)", locks.render(started[0][1]["upload"]))
    assert len(started) == 1
    assert pipeline.call(*started[0]) == {"made": True}
    assert len(lines(pipeline, upload["id"])) == 1 + len(BAD)


@pytest.mark.parametrize("order", [{}, {"upload": "1", "format": "csv"}, {"upload": 10**9, "format": "csv"}])
def test_an_order_that_names_nothing_makes_nothing(pipeline: Pipeline, order: dict[str, Any]) -> None:
    assert rejects.make(order) == {"made": False}


def test_a_file_of_several_parts_is_whole(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\n" + b"".join(b"u%d@x.org,%s,old\n" % (n, b"n" * 5000) for n in range(1800)))
    found = lines(pipeline, upload["id"])
    assert [line[0] for line in found[1:]] == [str(n) for n in range(1, 1801)]


def test_more_rejects_than_a_sheet_has_rows_are_refused_by_name(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    upload = pipeline.run(HOSTILE)
    monkeypatch.setattr(rejects.workbook, "MAX_ROWS", len(BAD))
    with pytest.raises(Refused) as refused:
        rejects.file(pipeline.tenant, upload["id"], "xlsx")
    assert refused.value.code == "rejects_too_many"


def test_another_tenant_s_rejects_are_not_there(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(HOSTILE)
    for look in (lambda: rejects.file("ten_x", upload["id"], "csv"), lambda: rejects.summary("ten_x", upload["id"])):
        with pytest.raises(Refused) as refused:
            look()
        assert refused.value.status == 404


# The summary


def test_a_summary_groups_causes_and_shows_their_lowest_lines(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 3)
    pipeline.dataset()
    bad = "".join(f'u{n}@x.org,N,"a{n}"" is not b"\n' for n in range(7))
    upload = pipeline.run(f"email,name,age\n{bad},N,old\na@x.org,A,1\na@x.org,A,2\nshort\n".encode())
    found = rejects.summary(pipeline.tenant, upload["id"])
    assert (found["rejected"], found["causes_total"]) == (10, 4)
    first, *others = found["causes"]
    assert first == {
        "code": "type_invalid",
        "column": "age",
        "cause": "is not an integer of 64 bits",
        "rows": 8,
        "share": 0.8,
        "first_line": 2,
        "last_line": 9,
        "samples": [{"row": n + 1, "line": n + 2, "value": f'"a{n}" is not b"'} for n in range(5)],
    }
    assert [(one["code"], one["column"], one["rows"], one["first_line"]) for one in others] == [
        ("required_missing", "email", 1, 9),
        ("duplicate_in_file", "email", 1, 11),
        ("width_mismatch", None, 1, 12),
    ]
    assert others[1]["samples"] == [{"row": 10, "line": 11, "value": None}]


def test_a_reason_that_quotes_something_itself_is_no_part_of_the_value(pipeline: Pipeline) -> None:
    """The dataset that a row refers to, a pattern, a value of an enum: a quote and a blank end no value there."""
    pipeline.dataset({"fields": [{"name": "code"}], "primaryKey": "code"}, "countries")
    fields = [
        {"name": "to"},
        {"name": "word", "constraints": {"pattern": '[a-z" ]+'}},
        {"name": "size", "constraints": {"enum": ['5" pipe', "none"]}},
    ]
    target = {"resource": "countries", "fields": ["code"]}
    pipeline.dataset({"fields": fields, "foreignKeys": [{"fields": ["to"], "reference": target}]}, "orders")
    upload = pipeline.run(b"to,word,size\nFR,a,none\nIT,a,none\n,A,none\n,B,none\n,a,x\n,a,y\n", "orders")
    found = rejects.summary(pipeline.tenant, upload["id"])["causes"]
    assert {one["cause"]: [sample["value"] for sample in one["samples"]] for one in found} == {
        'is not in dataset "countries" (code)': ['"FR"', '"IT"'],
        'does not match "[a-z" ]+"': ['"A"', '"B"'],
        'is none of "5" pipe", "none"': ['"x"', '"y"'],
    }


def test_of_a_record_with_more_errors_than_anybody_reads_a_hundred_are_told(pipeline: Pipeline) -> None:
    names = [f"c{n}" for n in range(150)]
    pipeline.dataset({"fields": [{"name": name, "type": "integer"} for name in names]}, "wide")
    file = "".join(",".join(row) + "\n" for row in (names, ["x"] * 150, ["1"] * 50 + ["x"] * 100))
    upload = pipeline.run(file.encode(), "wide")
    first, second = pipeline.rejects(upload["id"])
    assert [error["column"] for error in first["errors"]] == [*names[:100], None]
    assert first["errors"][100]["detail"] == "50 more cells are at fault"
    assert [error["column"] for error in second["errors"]] == names[50:]
    causes = rejects.summary(pipeline.tenant, upload["id"])
    assert (causes["rejected"], causes["causes_total"]) == (2, 150)


def test_a_reason_of_postgres_is_one_cause_whatever_it_repeats(pipeline: Pipeline) -> None:
    schema = {"fields": [{"name": "key", "type": "string"}], "primaryKey": "key"}
    name = pipeline.dataset(schema, "long")
    noise = random.Random(1)
    upload = pipeline.run(
        b"key\n" + b"".join(noise.randbytes(n).hex().encode() + b"\n" for n in (1500, 1600, 1700)), name
    )
    (cause,) = rejects.summary(pipeline.tenant, upload["id"])["causes"]
    assert (cause["code"], cause["rows"]) == ("db_rejected", 3)


# One record


def test_what_became_of_each_record_is_told(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    upload_id, messages = pipeline.begin(b"email,name,age\na@x.org,A,1\nb@x.org,B,old\nc@x.org,C,3\na@x.org,D,4\n")
    assert fates(pipeline, upload_id) == ["pending"] * 4
    first, second = messages
    pipeline.load([first])
    assert fates(pipeline, upload_id) == ["loaded", "failed", "pending", "pending"]
    pipeline.load([second])
    assert fates(pipeline, upload_id) == ["loaded", "failed", "loaded", "processing"]
    pipeline.settle()
    assert fates(pipeline, upload_id) == ["loaded", "failed", "loaded", "failed"]
    told = report.record(pipeline.tenant, upload_id, "2")
    assert (told["line"], told["errors"][0]["code"], told["errors"][0]["column"]) == (3, "type_invalid", "age")


@pytest.mark.parametrize("text", ["0", "5", "-1", "x", "1e3", "99999999999", "٣"])
def test_a_record_that_is_not_in_the_file_is_not_found(pipeline: Pipeline, text: str) -> None:
    pipeline.dataset()
    upload = pipeline.run(b"email,name,age\na@x.org,A,1\n")
    with pytest.raises(Refused) as refused:
        report.record(pipeline.tenant, upload["id"], text)
    assert (refused.value.code, refused.value.status) == ("record_not_found", 404)


def test_records_of_a_file_that_was_not_read_yet_are_pending_and_of_one_given_up_unprocessed(
    pipeline: Pipeline,
) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(b"email,name,age\na@x.org,A,1\n")
    assert fates(pipeline, upload_id, 2) == ["pending"] * 2
    pipeline.split(upload_id)
    pipeline.cancel(upload_id)
    assert fates(pipeline, upload_id, 1) == ["unprocessed"]


def test_skipped_and_loaded_records_are_told_apart_by_the_table(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="skip")
    pipeline.run(b"email,name,age\nb@x.org,Old,0\n")
    upload = pipeline.run(b"email,name,age\na@x.org,A,1\nb@x.org,B,2\na@x.org,C,3\n,D,4\n")
    assert (upload["loaded"], upload["skipped"], upload["rejected"]) == (1, 2, 1)
    assert fates(pipeline, upload["id"]) == ["loaded", "skipped", "skipped", "failed"]
    pipeline.run(b"email,name,age\na@x.org,New,1\n", mode="upsert")
    assert fates(pipeline, upload["id"], 2) == ["skipped_or_replaced"] * 2


def test_an_upsert_tells_what_the_table_can_tell(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    first = pipeline.run(b"email,name,age\na@x.org,A,1\n")
    assert fates(pipeline, first["id"], 1) == ["loaded"]
    second = pipeline.run(b"email,name,age\na@x.org,A2,1\n")
    assert (fates(pipeline, first["id"], 1), fates(pipeline, second["id"], 1)) == (["replaced"], ["updated"])
    third = pipeline.run(b"email,name,age\na@x.org,A3,1\nb@x.org,B,1\n")
    assert fates(pipeline, third["id"], 2) == ["written", "written"]


def fates(pipeline: Pipeline, upload_id: str, count: int = 4) -> list[str]:
    told = [report.record(pipeline.tenant, upload_id, str(n)) for n in range(1, count + 1)]
    return [one["outcome"] or one["state"] for one in told]


# The doors


def test_each_format_has_its_answer_over_http(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(pipeline)
    pipeline.dataset()
    path = f"/v1/uploads/{pipeline.run(HOSTILE)['id']}"
    listed = api.get(f"{path}/rejects?format=json&limit=2")
    assert [item["row"] for item in listed.json_body["items"]] == BAD[:2]
    assert "format=json" in listed.headers["Link"]
    monkeypatch.setattr(rejects, "AT_ONCE", 0)
    monkeypatch.setattr(functions, "start", pipeline.call)
    first, again = api.get(f"{path}/rejects?format=csv"), api.get(f"{path}/rejects?format=csv")
    assert (first.status_code, first.headers["Retry-After"], again.status_code) == (202, "2", 200)
    assert set(again.json_body) == {"url", "expires_at"}
    is_problem(api.get(f"{path}/rejects?format=pdf"), 400, "query_invalid")
    assert api.get(f"{path}/rejects/summary").json_body["rejected"] == len(BAD)
    assert api.get(f"{path}/rows/3").json_body["outcome"] == "loaded"
    is_problem(api.get(f"{path}/rows/99"), 404, "record_not_found")
    body = {"filename": "fixed.csv", "size": 10}
    child = api("POST", f"{path}/retries", body)
    assert (child.status_code, place(f"{path}/retries", child)) == (201, f"/v1/uploads/{child.json_body['id']}")
    assert api.get(path).json_body["children"] == [child.json_body["id"]]
    for method, door in (("GET", "/rejects?format=csv"), ("GET", "/rejects/summary"), ("GET", "/rows/1")):
        is_problem(api(method, path + door, Authorization=f"Bearer {api.stranger}"), 404, "upload_not_found")
    is_problem(api("POST", f"{path}/retries", body, Authorization=f"Bearer {api.stranger}"), 404, "upload_not_found")
