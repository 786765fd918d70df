"""The book API that this takes the place of: its users' own requests, in their own order, with its names and codes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import psycopg
import pytest
from rowmill_client import ApiError, StorageRefused

from tests import clouds
from tests.journey.conftest import Account, eventually, new_account
from tests.samples import SAMPLES

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
PERSON = {"password": "testpass123", "email": "test@example.com"}


@pytest.fixture
def http(account: Account) -> Iterator[httpx.Client]:
    """The service, asked by nobody yet."""
    with httpx.Client(base_url=account.cloud.instance.api_url, timeout=clouds.seconds(30)) as http:
        yield http


def signed_up(http: httpx.Client) -> dict[str, str]:
    """Headers of a new person."""
    found = http.post("/signup/", json=PERSON | {"username": f"u-{uuid.uuid4()}"})
    http.cookies.clear()
    return {"Authorization": f"Bearer {found.json()['access']}"}


def finished(http: httpx.Client, batch_id: str, who: Mapping[str, str]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = http.get("/batch-status/", params={"batch_id": batch_id}, headers=who).json()
        assert found["total"] == sum(found[name] for name in ("pending", "processing", "success", "failed"))
        return None if found["pending"] or found["processing"] else found

    return eventually(look)


def test_the_requests_of_the_books_own_manual_in_their_order(http: httpx.Client) -> None:
    """Request 1 to 6 of its section on testing, then what it says of single books."""
    person = PERSON | {"username": f"testuser-{uuid.uuid4()}"}
    signup = http.post("/signup/", json=person)
    assert (signup.status_code, set(signup.json())) == (201, {"success", "access", "refresh", "user_id", "username"})
    login = http.post("/login/", json={name: person[name] for name in ("username", "password")})
    assert (login.status_code, login.json()["success"], login.json()["username"]) == (200, True, person["username"])
    assert "HttpOnly" in login.headers["set-cookie"]
    http.cookies.clear()
    who = {"Authorization": f"Bearer {login.json()['access']}"}

    assert http.get("/books/", headers=who).json() == []
    with (SAMPLES / "books.csv").open("rb") as file:
        sent = http.post("/bulk-upload/", headers=who, files={"file": ("test_books.csv", file)})
    batch = sent.json()
    assert (sent.status_code, batch["total_rows"]) == (202, 6)
    assert batch["task_ids"] == [f"{batch['batch_id']}.{n}" for n in range(1, 7)]
    task = http.get("/task-status/", params={"task_id": batch["task_ids"][0]}, headers=who)
    assert task.status_code == 200
    assert task.json()["status"] in ("pending", "processing", "success")

    status = finished(http, batch["batch_id"], who)
    assert (status["total"], status["success"], status["failed"]) == (6, 6, 0)
    assert [one["title"] for one in status["tasks"]][:2] == ["The Great Gatsby", "1984"]
    task = http.get("/task-status/", params={"task_id": batch["task_ids"][1]}, headers=who)
    told = task.json()
    assert {name: told[name] for name in ("status", "title", "author", "error_message")} == {
        "status": "success",
        "title": "1984",
        "author": "George Orwell",
        "error_message": None,
    }
    assert told["completed_at"] >= told["created_at"]
    listed = http.get("/books/", headers=who)
    assert [book["title"] for book in listed.json()][:2] == ["The Great Gatsby", "1984"]
    assert set(listed.json()[0]) == {"id", "title", "author", "description", "picture", "picture_url"}

    form = {"title": "Ulysses", "author": "James Joyce", "description": "A day in Dublin"}
    made = http.post("/books/", headers=who, data=form, files={"picture": ("cover.png", PNG, "image/png")})
    book = made.json()
    assert made.status_code == 201
    assert str(made.url.join(made.headers["location"])) == f"{http.base_url}books/{book['id']}/"
    assert httpx.get(book["picture_url"]).content == PNG
    assert http.get(f"/books/{book['id']}/", headers=who).json()["title"] == "Ulysses"
    edited = http.post(f"/books/{book['id']}/edit/", headers=who, files={"title": (None, "Ulysses (Updated)")})
    assert (edited.status_code, edited.json()["title"], edited.json()["author"]) == (
        200,
        "Ulysses (Updated)",
        "James Joyce",
    )
    assert edited.json()["picture"] == book["picture"]
    assert http.post(f"/books/{book['id']}/delete/", headers=who).status_code == 204
    assert http.get(f"/books/{book['id']}/", headers=who).status_code == 404
    assert httpx.get(book["picture_url"]).status_code == 404


def test_what_is_wrong_with_a_request_is_told_by_the_codes_of_the_manual(http: httpx.Client) -> None:
    who, name = signed_up(http), f"u-{uuid.uuid4()}"
    cover = {"picture": ("cover.png", b"%PDF-1.7 is no picture", "image/png")}
    answers = {
        "a password of one letter": http.post("/signup/", json={"username": name, "password": "p"}),
        "no password": http.post("/login/", json={"username": name}),
        "a wrong password": http.post("/login/", json={"username": name, "password": "testpass123"}),
        "no token": http.get("/books/"),
        "no such book": http.get("/books/999/", headers=who),
        "no title": http.post("/books/", headers=who, data={"author": "Nobody"}),
        "a blank title": http.post("/books/", headers=who, data={"title": "", "author": "Nobody"}),
        "no picture": http.post("/books/", headers=who, data={"title": "a", "author": "b"}, files=cover),
        "no file": http.post("/bulk-upload/", headers=who, files={"other": ("a.csv", b"a")}),
        "another column": http.post(
            "/bulk-upload/", headers=who, files={"file": ("a.csv", b"title,author,description,isbn\na,b,c,d\n")}
        ),
        "no task": http.get("/task-status/", params={"task_id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}, headers=who),
        "no batch": http.get("/batch-status/", params={"batch_id": "550e8400"}, headers=who),
        "no id": http.get("/task-status/", headers=who),
    }
    assert {why: (answer.status_code, answer.json()["code"]) for why, answer in answers.items()} == {
        "a password of one letter": (400, "password_invalid"),
        "no password": (400, "body_invalid"),
        "a wrong password": (401, "login_failed"),
        "no token": (401, "token_invalid"),
        "no such book": (404, "row_not_found"),
        "no title": (400, "body_invalid"),
        "a blank title": (400, "row_invalid"),
        "no picture": (400, "picture_invalid"),
        "no file": (400, "body_invalid"),
        "another column": (400, "columns_unknown"),
        "no task": (404, "task_not_found"),
        "no batch": (404, "upload_not_found"),
        "no id": (400, "query_invalid"),
    }
    assert http.get("/books/", headers=who).json() == []


@pytest.mark.needs("forms as they were sent")
def test_a_form_with_an_empty_file_is_refused_for_that(http: httpx.Client) -> None:
    answer = http.post("/bulk-upload/", headers=signed_up(http), files={"file": ("a.csv", b"")})
    assert (answer.status_code, answer.json()["code"]) == (400, "file_empty")


def test_nobody_sees_or_changes_what_is_another_s(http: httpx.Client) -> None:
    """The manual says 403; here an id says nothing of others, not even that it is taken."""
    ours, theirs = signed_up(http), signed_up(http)
    book = http.post("/books/", headers=ours, json={"title": "Dune", "author": "Frank Herbert"}).json()["id"]
    batch = http.post("/bulk-upload/", headers=ours, files={"file": b"title,author,description\na,b,c\n"}).json()
    finished(http, batch["batch_id"], ours)
    asked = {
        "detail": http.get(f"/books/{book}/", headers=theirs),
        "edit": http.post(f"/books/{book}/edit/", headers=theirs, json={"title": "Mine"}),
        "delete": http.post(f"/books/{book}/delete/", headers=theirs),
        "task": http.get("/task-status/", params={"task_id": batch["task_ids"][0]}, headers=theirs),
        "batch": http.get("/batch-status/", params={"batch_id": batch["batch_id"]}, headers=theirs),
    }
    assert {name: answer.status_code for name, answer in asked.items()} == dict.fromkeys(asked, 404)
    assert http.get("/books/", headers=theirs).json() == []
    assert http.get(f"/books/{book}/", headers=ours).json()["title"] == "Dune"


def test_a_login_s_cookie_opens_the_doors_to_pages_of_the_same_host(http: httpx.Client) -> None:
    person = {"username": f"u-{uuid.uuid4()}", "password": "testpass123"}
    assert http.post("/signup/", data=person).status_code == 201
    http.cookies.clear()
    kept = http.post("/login/", data=person).headers.get_list("set-cookie")
    cookie = {"Cookie": "; ".join(one.partition(";")[0] for one in kept)}
    book = {"title": "Emma", "author": "Jane Austen"}
    assert http.get("/books/", headers=cookie).status_code == 200
    assert http.post("/books/", headers=cookie | {"Sec-Fetch-Site": "same-origin"}, data=book).status_code == 201
    assert http.post("/books/", headers=cookie | {"Sec-Fetch-Site": "cross-site"}, data=book).status_code == 403
    assert len(http.get("/books/", headers=cookie).json()) == 1


def test_a_row_that_cannot_be_a_book_is_a_failed_task_with_its_title_and_author(http: httpx.Client) -> None:
    who = signed_up(http)
    body = (SAMPLES / "books-with-errors.csv").read_bytes()
    # Sent as it is, without a form.
    batch = http.post("/bulk-upload/", headers=who | {"Content-Type": "text/csv"}, content=body).json()
    status = finished(http, batch["batch_id"], who)
    assert (status["total"], status["success"], status["failed"]) == (5, 2, 3)
    told = [(one["status"], one["title"], one["author"], (one["error_message"] or "")[:24]) for one in status["tasks"]]
    assert told == [
        ("success", "Frankenstein", "Mary Shelley", ""),
        ("failed", None, "Bram Stoker", "title: required_missing:"),
        ("failed", "Middlemarch", None, "author: required_missing"),
        ("failed", "Emma", "Jane Austen", "width_mismatch: 4 cells "),
        ("success", "Walden", "Henry David Thoreau", ""),
    ]
    params = {"batch_id": batch["batch_id"], "limit": 2}
    page = http.get("/batch-status", params=params, headers=who)
    assert [one["task_id"] for one in page.json()["tasks"]] == batch["task_ids"][:2]
    rest = http.get(f"/batch-status/{page.headers['link'].partition('>')[0][1:]}", headers=who).json()
    assert [one["task_id"] for one in rest["tasks"]] == batch["task_ids"][2:4]
    assert [book["title"] for book in http.get("/books", headers=who).json()] == ["Frankenstein", "Walden"]


def test_a_file_that_is_sent_again_or_delivered_again_makes_no_book_twice(account: Account, http: httpx.Client) -> None:
    before = {queue: account.cloud.messages(queue) for queue in ("high", "intake")}
    who = {"Authorization": f"Bearer {account.token}"}
    file = {"file": (SAMPLES / "books.csv").read_bytes()}
    first, again = (
        http.post("/bulk-upload/", headers=who | {"Idempotency-Key": "books-1"}, files=file).json() for _ in range(2)
    )
    assert first == again
    finished(http, first["batch_id"], who)
    number = account.number(first["batch_id"])
    account.cloud.send("intake", account.notification(first["batch_id"]))
    account.cloud.send("high", *[{"upload": number, "pass": "load", "chunk": 1}] * 2)
    account.cloud.sweep()
    eventually(lambda: all(account.cloud.messages(queue) <= count for queue, count in before.items()))
    assert finished(http, first["batch_id"], who)["success"] == 6
    assert len(http.get("/books/", headers=who).json()) == 6
    assert len({book["id"] for book in http.get("/books/", headers=who).json()}) == 6


def test_a_batch_tells_of_its_tasks_before_and_while_they_are_at_work(account: Account, http: httpx.Client) -> None:
    who = {"Authorization": f"Bearer {account.token}"}
    with account.cloud.held("UPDATE", "NEW.state = 'loaded'"):
        batch = http.post(
            "/bulk-upload/", headers=who, files={"file": b"title,author,description\na,b,c\nd,e,\n"}
        ).json()
        params = {"batch_id": batch["batch_id"]}

        def at_work() -> dict[str, Any] | None:
            found: dict[str, Any] = http.get("/batch-status/", params=params, headers=who).json()
            assert found["total"] == found["pending"] + found["processing"] == 2
            return found if found["processing"] else None

        seen = eventually(at_work)
        assert [(one["status"], one["title"], one["completed_at"]) for one in seen["tasks"]] == [
            ("processing", None, None)
        ] * 2
    assert finished(http, batch["batch_id"], who)["success"] == 2


# The templates and pictures behind it


def test_an_e_mail_is_never_empty_and_never_twice_by_check_and_by_postgres(account: Account) -> None:
    account.rowmill.put_dataset("contacts", account.rowmill.get_template("contacts"))
    good = account.ended(account.start((SAMPLES / "contacts.csv").read_bytes(), "contacts"))
    assert (good["state"], good["loaded"]) == ("completed", 4)
    bad = account.ended(account.start((SAMPLES / "contacts-with-errors.csv").read_bytes(), "contacts"))
    assert (bad["loaded"], bad["rejected"]) == (2, 5)
    told = [
        (one["line"], one["errors"][0]["column"], one["errors"][0]["code"])
        for one in account.rowmill.iterate_rejects(bad["id"])
    ]
    assert told == [
        (3, "email", "required_missing"),
        (4, "email", "type_invalid"),
        (5, "email", "type_invalid"),
        (6, "email", "duplicate_in_file"),
        (7, "email", "duplicate_in_db"),
    ]
    for email in (None, "", "   ", "\t\n"):
        with pytest.raises(ApiError):
            account.rowmill.create_row("contacts", {"email": email})
    number = account.cloud.sql("SELECT number FROM rowmill.dataset WHERE tenant = %s", account.tenant)[0][0]
    insert = f"INSERT INTO data.d_{number} (email, _row) VALUES (%s, 1)"
    refused: dict[str | None, type[psycopg.Error]] = {
        None: psycopg.errors.NotNullViolation,
        "": psycopg.errors.CheckViolation,
        " \t\r\n": psycopg.errors.CheckViolation,
        "ada@example.org": psycopg.errors.UniqueViolation,
    }
    for value, why in refused.items():
        with pytest.raises(why):
            account.cloud.sql(insert, value)
    assert [row[0] for row in account.table("contacts")] == [
        *("ada@example.org", "alan@example.org", "donald@example.org", "edsger@example.org"),
        *("grace@example.org", "katherine@example.org"),
    ]


def test_a_picture_is_shown_only_as_it_was_announced_and_looked_at(account: Account) -> None:
    account.rowmill.put_dataset("novels", account.rowmill.get_template("books"))
    row = account.rowmill.create_row("novels", {"title": "Dracula", "author": "Bram Stoker"})
    place = f"/datasets/novels/rows/{row['id']}/picture"
    awaited = account.http.post(place, json={"content_type": "image/png", "size": len(PNG)}).json()
    form = awaited["upload"]
    assert account.http.put(place, json={"id": awaited["id"]}).json()["code"] == "picture_missing"

    def send(data: bytes, **other: str) -> int:
        return httpx.post(form["url"], data=form["fields"] | other, files={"file": data}).status_code

    assert send(PNG + b"\0") >= 400
    assert send(PNG, **{"Content-Type": "text/html"}) >= 400
    html = b"<script>alert(1)</script>".ljust(len(PNG))
    assert send(html) < 300
    assert account.http.put(place, json={"id": awaited["id"]}).json()["code"] == "picture_invalid"
    assert account.http.get(place).status_code == 404
    assert send(PNG) < 300
    shown = account.http.put(place, json={"id": awaited["id"]}).json()
    assert send(html) < 300  # the form is still good, and changes nothing
    assert httpx.get(account.http.get(place).json()["url"]).content == PNG
    for wrong in ({"content_type": "image/svg+xml", "size": 1}, {"content_type": "image/png", "size": 5_000_001}):
        assert account.http.post(place, json=wrong).json()["code"] == "picture_invalid"

    account.rowmill.delete_row("novels", str(row["id"]))
    assert httpx.get(shown["url"]).status_code == 404
    due = "SELECT FROM rowmill.picture WHERE picture_id = %s AND changed_at <= now()"
    assert account.cloud.sql(due, awaited["id"]) == []  # what is left is for what may be sent by the form
    with pytest.raises(ApiError):
        account.rowmill.get_picture("novels", str(row["id"]))


def test_a_picture_goes_when_another_takes_its_place(account: Account) -> None:
    account.rowmill.put_dataset("novels", account.rowmill.get_template("books"))
    key = str(account.rowmill.create_row("novels", {"title": "Emma", "author": "Jane Austen"})["id"])
    gif = b"GIF89a" + bytes(90)
    first = account.rowmill.send_picture("novels", key, account.file(PNG, "cover.png"))
    second = account.rowmill.send_picture("novels", key, account.file(gif, "cover.gif"))
    assert (httpx.get(first["url"]).status_code, httpx.get(second["url"]).content) == (404, gif)
    account.rowmill.delete_picture("novels", key)
    assert httpx.get(second["url"]).status_code == 404
    with pytest.raises(StorageRefused), new_account(account.cloud, account.folder) as other:
        # A form of one row is for this picture alone.
        awaited = account.http.post(
            f"/datasets/novels/rows/{key}/picture", json={"content_type": "image/gif", "size": len(gif)}
        ).json()
        stolen = awaited["upload"]
        stolen["fields"]["key"] = stolen["fields"]["key"].replace(account.tenant, other.tenant)
        from rowmill_client import Patience, storage

        storage.send(stolen, account.file(gif, "cover.gif"), None, Patience(0))
