"""Corrected rejects sent again: what is restored, what is refused, and what the first upload then counts."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import boto3
import psycopg
import pytest

from chalicelib import admit, rejects, report
from chalicelib.errors import Refused
from chalicelib.postgres import retries
from chalicelib.postgres.timeline import Asker
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, cut_into, taken
from tests.stages.test_journey_in_process import adds_up
from tests.stages.test_rejects import cells, lines
from tests.workbooks import of_rows

FILE = b"email,name,age\na@x.org,=1+1,old\nb@x.org,B,2\n,'=x,3\nd@x.org,D\nb@x.org,+5,5\n"
RETRIES = "/v1/uploads/{upload_id}/retries"
Change = Callable[[list[dict[str, str]]], None]


def send(pipeline: Pipeline, parent: str, body: bytes, key: str | None = None, **options: Any) -> str:
    """Announce a retry and put its bytes where the form says."""
    asked = {"filename": "fixed.csv", "size": len(body), "options": options}
    item, form = admit.retry(pipeline.tenant, parent, taken(RETRIES, asked), key, Asker("", "request-2"))
    report.show_retries(pipeline.tenant, parent)
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=form["fields"]["key"], Body=body)
    return str(item["upload_id"])


def retry(pipeline: Pipeline, parent: str, body: bytes, **options: Any) -> dict[str, Any]:
    """The whole journey of a retry."""
    upload_id = send(pipeline, parent, body, **options)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    pipeline.settle()
    return pipeline.upload(upload_id)


def corrected(pipeline: Pipeline, upload_id: str, change: Change) -> bytes:
    """The rejects file after somebody worked on it."""
    header, *found = lines(pipeline, upload_id)
    rows = [dict(zip(header, line, strict=True)) for line in found]
    change(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def everything(rows: list[dict[str, str]]) -> None:
    rows[0]["age"] = "1"
    rows[1]["email"] = "c@x.org"
    rows[2] |= {"email": "d@x.org", "name": "D", "age": "4", "_row_raw": ""}
    rows[3]["email"] = "e@x.org"


def sums(upload: dict[str, Any]) -> tuple[int, int, int]:
    return upload["rejected"], upload["resolved"], upload["rejected_open"]


def test_rejects_are_corrected_in_place_and_sent_back(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(FILE)
    assert (parent["loaded"], *sums(parent)) == (1, 4, 0, 4)
    child = retry(pipeline, parent["id"], corrected(pipeline, parent["id"], everything))
    assert (child["state"], child["loaded"], child["parent_id"]) == ("completed", 4, parent["id"])
    after = pipeline.upload(parent["id"])
    assert (after["children"], *sums(after)) == ([child["id"]], 4, 4, 0)
    ours = ("children", "resolved", "rejected_open")
    assert {k: v for k, v in after.items() if k not in ours} == {k: v for k, v in parent.items() if k not in ours}
    assert {row["email"]: row["name"] for row in pipeline.rows()} == {
        "a@x.org": "=1+1",
        "b@x.org": "B",
        "c@x.org": "'=x",
        "d@x.org": "D",
        "e@x.org": "+5",
    }


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_corrected_cell_means_what_it_would_have_meant_in_the_first_file(pipeline: Pipeline, form: str) -> None:
    """Alone, 1.234 and 02.03.2024 could mean two things each."""
    fields = [{"name": "price", "type": "number"}, {"name": "day", "type": "date"}]
    name = pipeline.dataset({"fields": fields}, "prices")
    parent = pipeline.run(b"price;day\n1.000,5;31.01.2024\n2,5;30.01.2024\nx;y\n", name)
    assert (parent["loaded"], parent["rejected"]) == (2, 1)

    def change(rows: list[dict[str, str]]) -> None:
        rows[0] |= {"price": "1.234", "day": "02.03.2024"}

    body = corrected(pipeline, parent["id"], change)
    if form == "xlsx":
        body = of_rows(list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""))))
    assert retry(pipeline, parent["id"], body)["loaded"] == 1
    assert pipeline.rows(name)[-1] == {"price": "1234", "day": "2024-03-02"}
    causes = {one["cause"] for one in rejects.summary(pipeline.tenant, parent["id"])["causes"]}
    assert 'is not a number (decimals after ",", groups of three by ".")' in causes


@pytest.mark.parametrize(
    ("head", "declared"),
    [
        (b"Note,Mail,name,Years\n", {"options": {}, "mapping": {"Note": None, "Mail": "email", "Years": "age"}}),
        (b"Note,Mail,name,Years\n", {"options": {}, "mapping": {"1": None, "2": "email", "4": "age"}}),
        (b"", {"options": {"dialect": {"header": False}}, "mapping": {"1": None, "2": "email"}}),
    ],
    ids=["by name", "by place", "without a header"],
)
def test_columns_of_rejects_mean_what_was_declared_of_the_first_file(
    pipeline: Pipeline, head: bytes, declared: dict[str, Any]
) -> None:
    pipeline.dataset()
    body = head + b"x,a@x.org,A,1\ny,b@x.org,B,old\n"
    parent = pipeline.run(body, mapping=declared["mapping"], **declared["options"])

    def change(rows: list[dict[str, str]]) -> None:
        rows[0][next(name for name, cell in rows[0].items() if cell == "old")] = "2"

    child = retry(pipeline, parent["id"], corrected(pipeline, parent["id"], change))
    assert (child["state"], child["loaded"]) == ("completed", 1), child["error"]
    assert pipeline.rows()[-1] == {"email": "b@x.org", "name": "B", "age": 2}


def test_all_that_was_declared_of_a_wide_file_holds_for_its_rejects(pipeline: Pipeline) -> None:
    """The status tells of a hundred columns; by their own names the others would be each other's."""
    names = [f"c{place}" for place in range(104)]
    pipeline.dataset({"fields": [*({"name": name} for name in names), {"name": "age", "type": "integer"}]}, "wide")
    swapped = {name: names[place ^ 1] for place, name in enumerate(names)}
    values = ",".join(names)
    body = f"{values},age\n{values},1\n{values},old\n".encode()
    parent = pipeline.run(body, "wide", mapping=swapped)
    sent = corrected(pipeline, parent["id"], lambda rows: rows[0].update(age="1"))
    for _ in range(2):  # a retry of a retry, too
        child = retry(pipeline, parent["id"], sent.replace(b",1\r\n", b",x\r\n"))
        assert child["rejected"] == 1
        parent, sent = child, corrected(pipeline, child["id"], lambda rows: rows[0].update(age="1"))
    assert retry(pipeline, parent["id"], sent)["loaded"] == 1
    first, last = pipeline.rows("wide")
    assert first == last == {**{column: name for name, column in swapped.items()}, "age": 1}


def test_what_a_retry_declares_of_its_columns_is_all_that_is_declared(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(b"Mail,name,Alias,age\na@x.org,A,B,old\n", mapping={"Mail": "email", "Alias": None})
    body = corrected(pipeline, parent["id"], lambda rows: rows[0].update(age="2"))
    child = retry(pipeline, parent["id"], body, mapping={"Mail": "email", "Alias": "name", "name": None})
    assert (child["loaded"], pipeline.rows()) == (1, [{"email": "a@x.org", "name": "B", "age": 2}])


def test_what_is_not_corrected_comes_back_again_with_what_it_was(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(FILE)
    child = retry(pipeline, parent["id"], corrected(pipeline, parent["id"], lambda rows: None))
    assert (child["loaded"], child["rejected"]) == (0, 4)
    first, again = lines(pipeline, parent["id"]), lines(pipeline, child["id"])
    assert again[0] == first[0]
    assert [cells(line) for line in again] == [cells(line) for line in first]
    assert [line[2] for line in again[1:]] == ["type_invalid", "required_missing", "uncorrected", "duplicate_in_db"]
    assert again[3][5] == first[3][5] == "d@x.org,D"
    assert sums(pipeline.upload(parent["id"])) == (4, 0, 4)
    grandchild = retry(pipeline, child["id"], corrected(pipeline, child["id"], everything))
    assert (grandchild["loaded"], sums(pipeline.upload(child["id"]))) == (4, (4, 4, 0))


def test_cells_that_were_filled_but_not_released_are_not_loaded(pipeline: Pipeline) -> None:
    name = pipeline.dataset({"fields": [{"name": "a"}, {"name": "b"}]}, "loose")
    parent = pipeline.run(b"a,b\n1,2,3\n", name)
    child = retry(pipeline, parent["id"], corrected(pipeline, parent["id"], lambda rows: None))
    assert (child["loaded"], child["rejected"], pipeline.rows(name)) == (0, 1, [])


def test_a_rejects_file_without_the_column_that_releases_its_records_is_refused(pipeline: Pipeline) -> None:
    name = pipeline.dataset({"fields": [{"name": "a"}, {"name": "b"}]}, "loose")
    parent = pipeline.run(b"a,b\n1,2,3\n", name)
    header, line = lines(pipeline, parent["id"])
    place = header.index("_row_raw")
    body = "".join(",".join(row[:place] + row[place + 1 :]) + "\n" for row in (header, line)).encode()
    child = send(pipeline, parent["id"], body)
    pipeline.split(child)
    assert pipeline.upload(child)["error"]["code"] == "columns_missing"
    assert (sums(pipeline.upload(parent["id"])), pipeline.rows(name)) == ((1, 0, 1), [])
    named = retry(pipeline, parent["id"], b"_row,a,b\n1,2,3\n")
    assert (named["loaded"], sums(pipeline.upload(parent["id"]))) == (1, (1, 1, 0))


def test_a_record_that_is_brought_in_twice_counts_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset({"fields": [{"name": "name"}, {"name": "age", "type": "integer"}]}, "keyless")
    parent = pipeline.run(b"name,age\nA,old\nB,old\nC,old\nD,4\n", "keyless")

    def first_two(rows: list[dict[str, str]]) -> None:
        del rows[2]
        rows[0]["age"] = rows[1]["age"] = "1"
        rows += [dict(rows[0]), {**rows[0], "_row": ""}, {**rows[0], "_row": "4"}, {**rows[0], "_row": "99"}]

    body = corrected(pipeline, parent["id"], first_two)
    children = [retry(pipeline, parent["id"], body) for _ in range(2)]
    assert [child["loaded"] for child in children] == [6, 6]
    after = pipeline.upload(parent["id"])
    assert (after["children"], *sums(after)) == ([child["id"] for child in children], 3, 2, 1)


def test_a_plain_file_resolves_as_many_as_are_in(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(FILE)
    child = retry(pipeline, parent["id"], b"age;name;email\n1;A;a@x.org\n3;'=C;c@x.org\n9;B;b@x.org\n")
    assert (child["loaded"], child["rejected"]) == (2, 1)
    assert sums(pipeline.upload(parent["id"])) == (4, 2, 2)
    assert "'=C" in {row["name"] for row in pipeline.rows()}
    retry(pipeline, parent["id"], b"email,name,age\n" + b"".join(b"u%d@x.org,U,1\n" % n for n in range(9)))
    assert sums(pipeline.upload(parent["id"])) == (4, 11, 0)


def test_losers_within_a_retry_resolve_nothing_in_any_order(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    for place, order in enumerate(((0, 1, 2), (2, 1, 0))):
        name = pipeline.dataset(name=f"contacts{place}")
        parent = pipeline.run(b"email,name,age\na@x.org,A,old\nb@x.org,B,old\nc@x.org,C,old\n", name)

        def same_key(rows: list[dict[str, str]]) -> None:
            for row in rows:
                row |= {"age": "1", "email": "one@x.org"}

        body = corrected(pipeline, parent["id"], same_key)
        child = send(pipeline, parent["id"], body)
        pipeline.split(child)
        messages = pipeline.messages()
        pipeline.load([messages[n] for n in order])
        assert sums(pipeline.upload(parent["id"])) == (3, 0, 3)
        pipeline.settle()
        assert sums(pipeline.upload(parent["id"])) == (3, 1, 2)
        assert adds_up(pipeline.upload(child))


def test_skipped_and_updated_records_are_resolved_too(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(b"email,name,age\na@x.org,A,1\na@x.org,A2,2\n")
    assert parent["rejected"] == 1
    child = retry(pipeline, parent["id"], corrected(pipeline, parent["id"], lambda rows: None), mode="upsert")
    assert (child["updated"], sums(pipeline.upload(parent["id"]))) == (1, (1, 1, 0))


def test_the_retry_of_a_file_without_a_header_has_one(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(b"a@x.org,A,old\n", dialect={"header": False})

    def fix(rows: list[dict[str, str]]) -> None:
        rows[0]["age"] = "1"

    assert retry(pipeline, parent["id"], corrected(pipeline, parent["id"], fix))["loaded"] == 1


def test_the_parent_s_sums_survive_the_loss_of_the_status_table(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(FILE)
    retry(pipeline, parent["id"], corrected(pipeline, parent["id"], everything))
    before = pipeline.upload(parent["id"])
    table = boto3.resource("dynamodb").Table(settings().uploads_table)
    for item in table.scan()["Items"]:
        table.delete_item(Key={"tenant": item["tenant"], "upload_id": item["upload_id"]})
    pipeline.sweep()
    pipeline.sweep()
    assert pipeline.upload(parent["id"]) == before


def test_the_retry_of_a_sheet_takes_its_numbers_for_numbers(pipeline: Pipeline) -> None:
    """They are in the file of rejects as they were in the sheet, whose dataset spells texts otherwise."""
    price = {"name": "price", "type": "number", "decimalChar": ",", "groupChar": "."}
    pipeline.dataset({"fields": [{"name": "id", "type": "integer"}, price]}, "bills")
    first = pipeline.run(of_rows([["id", "price"], ["one", 1.234], ["two", 12.5], ["three", "1.234,50"]]), "bills")
    assert (first["loaded"], first["rejected"]) == (0, 3)

    def change(rows: list[dict[str, str]]) -> None:
        for number, row in enumerate(rows):
            row["id"] = str(number)

    again = retry(pipeline, first["id"], corrected(pipeline, first["id"], change))
    assert (again["loaded"], again["rejected"]) == (3, 0)
    assert [row["price"] for row in pipeline.rows("bills")] == ["1.234", "12.5", "1234.50"]


def test_a_rejects_file_whose_upload_is_gone_when_it_comes_is_not_read_as_another(pipeline: Pipeline) -> None:
    """What its cells mean, values of a sheet here, is known by that upload alone: a point would part thousands."""
    price = {"name": "price", "type": "number", "decimalChar": ",", "groupChar": "."}
    pipeline.dataset({"fields": [{"name": "id", "type": "integer"}, price]}, "bills")
    first = pipeline.run(of_rows([["id", "price"], ["one", 1.234]]), "bills")
    child = send(pipeline, first["id"], corrected(pipeline, first["id"], lambda rows: rows[0].update(id="1")))
    plain = send(pipeline, first["id"], b"id,price\n1,2\n")
    pipeline.delete(first["id"])
    pipeline.sweep()
    for upload_id in (child, plain):
        pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    told = pipeline.upload(child)
    assert (told["state"], told["error"]["code"]) == ("failed", "rejects_gone")
    assert (pipeline.upload(plain)["state"], pipeline.rows("bills")) == ("completed", [{"id": 1, "price": "2"}])


def test_a_number_that_is_typed_into_a_sheet_of_rejects_is_that_number(pipeline: Pipeline) -> None:
    """Though the first sheet had texts alone in its column, in which a point groups thousands."""
    price = {"name": "price", "type": "number", "decimalChar": ",", "groupChar": "."}
    pipeline.dataset({"fields": [{"name": "id", "type": "integer"}, price]}, "bills")
    first = pipeline.run(of_rows([["id", "price"], [1, "x"], [2, "y"], [3, "1.234,50"]]), "bills")
    assert (first["loaded"], first["rejected"]) == (1, 2)
    header, *rows = lines(pipeline, first["id"], "xlsx")
    typed: list[list[Any]] = [[*row[:-1], value] for row, value in zip(rows, (1.234, 12.5), strict=True)]
    again = retry(pipeline, first["id"], of_rows([header, *typed]))
    assert (again["loaded"], again["rejected"]) == (2, 0)
    assert [row["price"] for row in pipeline.rows("bills")] == ["1234.50", "1.234", "12.5"]


def test_an_upload_without_rejects_or_still_under_way_takes_no_retry(pipeline: Pipeline) -> None:
    pipeline.dataset()
    clean = pipeline.run(b"email,name,age\nz@x.org,A,1\n")["id"]
    waiting = pipeline.create(FILE)
    running = pipeline.create(FILE)
    pipeline.split(running)
    for parent in (clean, waiting, running):
        with pytest.raises(Refused) as refused:
            send(pipeline, parent, FILE)
        assert (refused.value.code, refused.value.status) == ("state_conflict", 409)


def test_a_retry_names_no_dataset_and_no_other_tenant_s_upload(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent = pipeline.run(FILE)["id"]
    for tenant, body, code in (
        (pipeline.tenant, {"dataset": "contacts", "size": 1}, "body_invalid"),
        (pipeline.tenant, {"parent_id": parent, "size": 1}, "body_invalid"),
        (pipeline.tenant, {"size": 1, "options": []}, "body_invalid"),
        ("ten_other", {"size": 1}, "upload_not_found"),
    ):
        with pytest.raises(Refused) as refused:
            admit.retry(tenant, parent, taken(RETRIES, body), None, Asker("", "request-2"))
        assert refused.value.code == code


def test_the_same_idempotency_key_makes_one_retry_of_one_parent(pipeline: Pipeline) -> None:
    pipeline.dataset()
    parent, other = pipeline.run(FILE)["id"], pipeline.run(FILE)["id"]
    assert send(pipeline, parent, FILE, "key-1") == send(pipeline, parent, FILE, "key-1")
    assert len(pipeline.upload(parent)["children"]) == 1
    with pytest.raises(Refused) as refused:
        send(pipeline, other, FILE, "key-1")
    assert refused.value.code == "idempotency_key_reused"


def test_what_cannot_be_counted_in_time_is_said_to_be_unknown(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> int:
        raise psycopg.errors.QueryCanceled

    pipeline.dataset()
    parent = pipeline.run(FILE)
    monkeypatch.setattr(retries, "_count_named", late)
    child = retry(pipeline, parent["id"], corrected(pipeline, parent["id"], everything))
    after = pipeline.upload(parent["id"])
    assert (child["state"], after["children"], *sums(after)) == ("completed", [child["id"]], 4, None, None)
