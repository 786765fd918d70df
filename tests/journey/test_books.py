"""The book API that this takes the place of: its users' own requests, in their own order, with its names and codes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.journey.conftest import Account, eventually
from tests.samples import SAMPLES

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
PERSON = {"password": "testpass123", "email": "test@example.com"}


@pytest.fixture
def http(account: Account) -> Iterator[httpx.Client]:
    """The service, asked by nobody yet."""
    with httpx.Client(base_url=account.cloud.instance.api_url, timeout=30) as http:
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
    assert (made.status_code, made.headers["location"]) == (201, f"/books/{book['id']}/")
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
