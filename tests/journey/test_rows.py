"""Rows over HTTP on the whole chain: found by index, one by one, and what the gateway makes of their addresses."""

from __future__ import annotations

import pytest
from rowmill_client import ApiError

from tests.journey.conftest import Account

CONTACTS = {
    "fields": [
        {"name": "email", "constraints": {"required": True, "unique": True}},
        {"name": "city"},
        {"name": "born", "type": "date"},
    ],
    "indexes": ["born", ["city", "born"]],
}
LINES = "".join(f"p{n}@x.org,{'Bonn' if n % 2 else 'Ulm'},1990-01-{n:02d}\n" for n in range(1, 21))


def loaded(account: Account) -> None:
    account.dataset(CONTACTS, "contacts")
    assert account.ended(account.start(f"email,city,born\n{LINES}".encode(), "contacts"))["loaded"] == 20


def test_rows_are_found_by_field_page_by_page(account: Account) -> None:
    loaded(account)
    asked = {"city": "Ulm", "born.gte": "1990-01-05"}
    found = account.rowmill.iterate_rows("contacts", where=asked, sort="-born", limit=3)
    assert [row["email"] for row in found] == ["p20@x.org", "p18@x.org", "p16@x.org"]
    page = account.http.get("/datasets/contacts/rows", params={**asked, "limit": 5}).json()
    seen = [row["born"] for row in page["items"]]
    rest = account.http.get("/datasets/contacts/rows", params={**asked, "limit": 5, "cursor": page["next_cursor"]})
    assert [*seen, *(row["born"] for row in rest.json()["items"])] == [f"1990-01-{n:02d}" for n in range(6, 21, 2)]
    refused = account.http.get("/datasets/contacts/rows", params={"sort": "city", "born.lt": "2000-01-01"})
    assert (refused.status_code, refused.json()["code"]) == (400, "query_invalid")


@pytest.mark.parametrize("key", ["p1@x.org", "a/b", "a,b", "100 %", "%2C", "ä ö+?#", "~1", ".."])
def test_a_row_of_any_key_is_made_changed_and_deleted_at_its_address(account: Account, key: str) -> None:
    account.dataset(CONTACTS, "contacts")
    created = account.http.post("/datasets/contacts/rows", json={"email": key, "born": "1990-01-01"})
    assert created.status_code == 201
    location = str(created.url.join(created.headers["location"]))
    seen = account.http.get(location)
    assert (seen.status_code, seen.json()["email"]) == (200, key)
    tag = seen.headers["etag"]
    assert account.http.get(location, headers={"If-None-Match": tag}).status_code == 304
    row, known = account.rowmill.get_row("contacts", key)
    assert (row, known) == (seen.json(), tag)
    assert account.rowmill.change_row("contacts", key, values={"city": "Ulm"}, if_match=tag)["city"] == "Ulm"
    with pytest.raises(ApiError) as stale:
        account.rowmill.change_row("contacts", key, values={"city": "Bonn"}, if_match=tag)
    assert (stale.value.status, stale.value.code) == (412, "precondition_failed")
    assert account.http.delete(location).status_code == 204
    assert account.http.get(location).json()["code"] == "row_not_found"


def test_the_values_of_a_key_of_several_fields_are_told_apart(account: Account) -> None:
    account.dataset({"fields": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "primaryKey": ["a", "b"]}, "pairs")
    account.rowmill.create_row("pairs", {"a": "x,y", "b": "z"})
    row, _ = account.rowmill.get_row("pairs", "x,y", "z")
    assert row == {"a": "x,y", "b": "z", "c": None}
    account.rowmill.delete_row("pairs", "x,y", "z")
    assert account.table("pairs") == []
