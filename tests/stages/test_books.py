"""Rows that are told by a number, templates, and batches as tasks: without a cloud, on a real Postgres."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

from chalicelib import books, catalog, planning, table_rows, tasks, templates
from chalicelib import pictures as picture_doors
from chalicelib.aws import client, s3
from chalicelib.datasets import read_schema
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from chalicelib.forms import File
from chalicelib.paging import Asked
from chalicelib.postgres import connection, pictures
from chalicelib.postgres.timeline import Asker
from tests.samples import SAMPLES
from tests.stages.conftest import Pipeline, consulted, cut_into

BOOKS = templates.get("books")
HEADER = b"title,author,description\n"
PNG = b"\x89PNG\r\n\x1a\n"


def sent(pipeline: Pipeline, body: bytes) -> str:
    """A file of books as the API takes it; the batch."""
    batch = books.load(pipeline.tenant, File("a.csv", "text/csv", body), None, Asker("", "request-1"))
    return str(batch["batch_id"])


def status(pipeline: Pipeline, batch_id: str, limit: int = 100) -> dict[str, Any]:
    counts, page = tasks.status(pipeline.tenant, batch_id, Asked({}, None, limit))
    return counts | {"tasks": [one["status"] for one in page.items]}


@pytest.mark.parametrize("name", templates.NAMES)
def test_a_template_can_be_put_and_loads_its_samples(pipeline: Pipeline, name: str) -> None:
    catalog.put(pipeline.tenant, "mine", templates.get(name), "request-1")
    good = pipeline.run((SAMPLES / f"{name}.csv").read_bytes(), "mine")
    bad = pipeline.run((SAMPLES / f"{name}-with-errors.csv").read_bytes(), "mine")
    assert (good["state"], bad["state"]) == ("completed", "completed_with_errors")
    assert bad["loaded"] > 0
    assert consulted({})["differences"] == []


@pytest.mark.parametrize("name", ["books", "books-with-errors", "contacts", "contacts-with-errors"])
def test_records_are_counted_as_the_splitter_will(pipeline: Pipeline, name: str) -> None:
    body = (SAMPLES / f"{name}.csv").read_bytes()
    template = templates.get(name.partition("-")[0])
    catalog.put(pipeline.tenant, "mine", template, "request-1")
    assert planning.count(body, read_schema(template)) == pipeline.run(body, "mine")["rows_total"]
    assert planning.count(body.decode().encode("utf-16"), read_schema(template)) is None


def test_a_row_keeps_its_number_through_changes_and_is_told_by_it(pipeline: Pipeline) -> None:
    pipeline.dataset(BOOKS, "books")
    pipeline.run(HEADER + b"a,b,c\nd,e,\n", "books")
    rows = pipeline.rows("books")
    assert [row["id"] for row in rows] == [1, 2]
    at = Addressed(pipeline.tenant, "books", "2")
    assert table_rows.change(at, {"title": "D"}, None) == rows[1] | {"title": "D"}
    assert table_rows.get(at)["id"] == 2
    location, made = table_rows.create(pipeline.tenant, "books", {"title": "f", "author": "g"})
    assert (location, made["id"]) == ("/v1/datasets/books/rows/3", 3)
    for wrong in ("0", "02", "4", "-1", "1,2", "x", "²", "9" * 30):
        with pytest.raises(Refused) as error:
            table_rows.get(Addressed(pipeline.tenant, "books", wrong))
        assert error.value.code == "row_not_found"
    for fields in ({"id": 9, "title": "a", "author": "b"}, {"title": "", "author": "b"}, {"title": "a"}):
        with pytest.raises(Refused) as error:
            table_rows.create(pipeline.tenant, "books", fields)
        assert error.value.code == "row_invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"identity": "title"},
        {"identity": "_row"},
        {"identity": 1},
        {"primaryKey": "title"},
        {"uniqueKeys": [["title"]]},
        {"fields": [{"name": "a", "constraints": {"unique": True}}]},
    ],
)
def test_a_number_that_no_row_could_have_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as error:
        read_schema(BOOKS | change)
    assert error.value.code == "schema_invalid"


def test_rows_that_postgres_sifts_get_numbers_too(pipeline: Pipeline) -> None:
    """A value that only Postgres refuses sends the chunk through staging; a check goes through a twin."""
    pipeline.dataset(BOOKS, "books")
    number = pipeline.sql("SELECT number FROM rowmill.dataset")[0]["number"]
    pipeline.sql(f"ALTER TABLE data.d_{number} ADD CHECK (title <> 'bad')")
    body = HEADER + b"a,b,\nbad,b,\nc,d,\n"
    checked = pipeline.run(body, "books", validate_only=True)
    assert (checked["state"], checked["valid"], checked["rejected"]) == ("needs_review", 2, 1)
    loaded = pipeline.run(body, "books")
    assert (loaded["loaded"], loaded["rejected"]) == (2, 1)
    assert len({row["id"] for row in pipeline.rows("books")}) == 2


def test_an_e_mail_s_check_comes_and_goes_with_its_format(pipeline: Pipeline) -> None:
    plain = {"fields": [{"name": "email", "type": "string"}]}
    strict = {"fields": [{"name": "email", "type": "string", "format": "email"}]}
    checks = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = to_regclass(%s)"
    pipeline.dataset(plain, "people")
    number = pipeline.sql("SELECT number FROM rowmill.dataset")[0]["number"]
    pipeline.run(b"email\n a \n", "people")
    for schema, count in ((strict, 1), (plain, 0), (strict, 1)):
        pipeline.dataset(schema, "people")
        found = pipeline.sql(checks, f"data.d_{number}")
        assert len(found) == count
    pipeline.sql(f'ALTER TABLE data.d_{number} DROP CONSTRAINT "{found[0]["conname"]}"')  # as in tables of before
    pipeline.dataset(plain, "people")


def test_a_batch_is_told_from_first_to_last(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    batch_id = sent(pipeline, HEADER + b"a,b,c\n,d,\ne,f,\ng,h,\n")
    assert status(pipeline, batch_id) == {
        **{"batch_id": batch_id, "total": 4, "pending": 4, "processing": 0, "success": 0, "failed": 0},
        "tasks": ["pending"] * 4,
    }
    pipeline.split(batch_id)
    first, second = pipeline.messages()
    pipeline.load([first])
    half = status(pipeline, batch_id)
    assert (half["pending"], half["success"], half["failed"]) == (2, 1, 1)
    assert half["tasks"] == ["success", "failed", "pending", "pending"]
    pipeline.load([second, second])
    assert status(pipeline, batch_id, limit=3)["tasks"] == ["success", "failed", "success"]
    assert tasks.task(pipeline.tenant, f"{batch_id}.4")["title"] == "g"
    for wrong in (f"{batch_id}.5", f"{batch_id}.0", f"{batch_id}.04", batch_id, "x.1", ""):
        with pytest.raises(Refused) as error:
            tasks.task(pipeline.tenant, wrong)
        assert error.value.code == "task_not_found"


def test_a_task_shows_nothing_of_its_record_once_the_columns_are_others(pipeline: Pipeline) -> None:
    """Where a field was in the file is known of the schema that the file was planned by."""
    batch_id = sent(pipeline, HEADER + b"a,b,c\nd,,e\n")
    pipeline.split(batch_id)
    pipeline.load(pipeline.messages())
    told = tasks.task(pipeline.tenant, f"{batch_id}.2")
    assert (told["status"], told["title"], told["author"]) == ("failed", "d", None)
    title, author, description = BOOKS["fields"]
    for fields in ([author, title, description], [description, {"name": "isbn"}, {"name": "shelf"}, author, title]):
        catalog.put(pipeline.tenant, "books", BOOKS | {"fields": fields}, "request-1")
        told = tasks.task(pipeline.tenant, f"{batch_id}.2")
        assert (told["status"], told["title"], told["author"]) == ("failed", None, None)
        assert tasks.task(pipeline.tenant, f"{batch_id}.1")["title"] == "a"


def test_tasks_of_a_batch_that_is_over_are_not_left_pending(pipeline: Pipeline) -> None:
    batch_id = sent(pipeline, HEADER + b"a,b,c\n")
    pipeline.cancel(batch_id)
    told = status(pipeline, batch_id)
    assert (told["pending"], told["failed"], told["tasks"]) == (0, 1, ["failed"])
    assert tasks.task(pipeline.tenant, f"{batch_id}.1")["error_message"] == "The upload is canceled."


def test_a_dataset_of_that_name_which_holds_no_books_is_left_alone(pipeline: Pipeline) -> None:
    pipeline.dataset({"fields": [{"name": "title"}]}, "books")
    for ask in (
        lambda: sent(pipeline, HEADER + b"a,b,c\n"),
        lambda: books.listing(pipeline.tenant, Asked({})),
        lambda: books.create(pipeline.tenant, {"title": "a", "author": "b"}, None, ""),
    ):
        with pytest.raises(Refused) as error:
            ask()
        assert error.value.code == "books_unfit"


def test_a_book_whose_picture_cannot_be_stored_is_not_made(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    from chalicelib.settings import settings

    boto3.client("s3").delete_bucket(Bucket=settings().bucket)
    picture = File("a.png", "image/png", b"\x89PNG\r\n\x1a\n")
    with pytest.raises(Exception, match="NoSuchBucket"):
        books.create(pipeline.tenant, {"title": "a", "author": "b"}, picture, "")
    assert pipeline.rows("books") == []


def test_a_book_is_not_made_if_the_database_goes_before_its_picture_is_shown(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told to come again sends the book again: one without its picture would stand beside it."""

    def cut_off(db: connection.Connection, *_: Any) -> bool:
        pipeline.sql("SELECT pg_terminate_backend(%s)", db.info.backend_pid)
        return bool(db.execute("SELECT"))

    picture = File("a.png", "image/png", b"\x89PNG\r\n\x1a\n")
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "show", cut_off)
        with pytest.raises(psycopg.OperationalError):
            books.create(pipeline.tenant, {"title": "a", "author": "b"}, picture, "")
    assert pipeline.rows("books") == []


def test_a_picture_that_has_not_come_is_missing_though_s3_would_call_it_forbidden(pipeline: Pipeline) -> None:
    """S3 tells 404 from 403 only to who may list without a prefix, which the API may not."""
    row = books.create(pipeline.tenant, {"title": "a", "author": "b"}, None, "")
    at = Addressed(pipeline.tenant, "books", str(row["id"]))
    new = picture_doors.begin(at, "image/png", 8)
    events = client("s3").meta.events
    events.register("before-call.s3.GetObject", _forbid)
    try:
        with pytest.raises(Refused) as refused:
            picture_doors.attach(at, new["id"])
    finally:
        events.unregister("before-call.s3.GetObject", _forbid)
    assert (refused.value.status, refused.value.code) == (409, "picture_missing")


def test_a_picture_that_is_removed_in_the_moment_it_is_shown_was_shown(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then another request may have taken it away, or deleted its row."""
    row = books.create(pipeline.tenant, {"title": "a", "author": "b"}, None, "")
    at = Addressed(pipeline.tenant, "books", str(row["id"]))
    monkeypatch.setattr(picture_doors, "discard", lambda dataset: pictures.abandon(connection.connection(), dataset))
    picture_doors.put(at, b"\x89PNG\r\n\x1a\n", "image/png")
    with pytest.raises(Refused) as refused:
        picture_doors.get(at)
    assert refused.value.code == "picture_not_found"


@pytest.mark.parametrize("held", ["SET default_transaction_read_only = on", "SET lock_timeout = '100ms'"])
def test_who_looks_at_a_picture_waits_for_nobody_who_is_at_its_row(pipeline: Pipeline, held: str) -> None:
    """As a row itself is shown, while somebody changes it or Postgres takes no writes."""
    book = books.create(pipeline.tenant, {"title": "a", "author": "b"}, File("", "image/png", PNG), "")
    (dataset,) = pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'books'")
    with psycopg.connect(pipeline.url) as other:
        other.execute(f"SELECT FROM data.d_{dataset['number']} FOR UPDATE")
        connection.connection().execute(held)
        assert picture_doors.get(Addressed(pipeline.tenant, "books", str(book["id"])))["id"] == book["picture"]


def _forbid(**_: Any) -> None:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "GetObject")


def test_a_page_of_books_ends_before_their_pictures_outgrow_it(pipeline: Pipeline) -> None:
    """A URL is longer than most books. 5,000 on a page were 7 MB beside as many rows as fit one, of 6 that a function answers."""
    pipeline.dataset(BOOKS, "books")
    pipeline.run(HEADER + b"t,a,\n" * (books.MOST_PICTURES + 3), "books")
    (dataset,) = pipeline.sql("SELECT number FROM rowmill.dataset WHERE name = 'books'")
    pipeline.sql(
        "INSERT INTO rowmill.picture (picture_id, dataset, row_id, object_key, content_type, size, state)"
        f" SELECT 'pic_' || id, {dataset['number']}, id, 'pictures/' || id, 'image/png', 8, 'shown'"
        f" FROM data.d_{dataset['number']} WHERE id > 1 RETURNING row_id"
    )
    first = books.listing(pipeline.tenant, Asked({}, None, 5000))
    rest = books.listing(pipeline.tenant, Asked({}, first.next_cursor, 5000))
    assert [len(page.items) for page in (first, rest)] == [books.MOST_PICTURES + 1, 2]
    assert rest.next_cursor is None
    assert [book["id"] for page in (first, rest) for book in page.items] == [*range(1, books.MOST_PICTURES + 4)]


def test_pictures_go_with_their_dataset_and_those_that_never_came_with_the_sweep(pipeline: Pipeline) -> None:
    picture = File("a.png", "image/png", b"\x89PNG\r\n\x1a\n")
    one = books.create(pipeline.tenant, {"title": "a", "author": "b"}, picture, "")
    picture_doors.begin(Addressed(pipeline.tenant, "books", str(one["id"])), "image/png", 9)
    assert pipeline.sweep()["pictures_deleted"] == 0
    pipeline.sql("UPDATE rowmill.picture SET changed_at = now() - interval '3 hours'")
    assert pipeline.sweep()["pictures_deleted"] == 1
    catalog.delete(pipeline.tenant, "books", "")
    assert len(pictures.list_gone(connection.connection(), timedelta(hours=2), 10)) == 1
    assert [pipeline.sweep()["pictures_deleted"] for _ in range(2)] == [1, 0]


def test_what_is_sent_by_the_form_of_a_picture_that_has_gone_goes_too(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form is good for an hour, whatever becomes of its picture, and of its row."""
    book = books.create(pipeline.tenant, {"title": "a", "author": "b"}, File("", "image/png", PNG), "")
    (picture,) = pipeline.sql("SELECT object_key FROM rowmill.picture")
    books.delete(pipeline.tenant, str(book["id"]))
    assert not s3.has_arrived(picture["object_key"])
    s3.write(picture["object_key"], "image/png", [PNG])
    assert pipeline.sweep()["pictures_deleted"] == 0
    monkeypatch.setattr(picture_doors, "AWAITED", timedelta(0))
    pipeline.sql("UPDATE rowmill.picture SET changed_at = changed_at - interval '2 hours'")
    assert pipeline.sweep()["pictures_deleted"] == 1
    assert (s3.has_arrived(picture["object_key"]), pipeline.sql("SELECT FROM rowmill.picture")) == (False, [])
