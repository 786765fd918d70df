"""What HTTP promises: one tenant never sees another, repeats are one, pages are complete, polls are cheap."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from rowmill_client import Patience
from rowmill_client.transport import document, retry_after

from chalicelib.contract import OPERATIONS, Operation
from tests import clouds
from tests.journey.conftest import PEOPLE, Account, Cloud, new_account, people

CLOSED = [one for one in OPERATIONS.values() if not one.is_open]
# By the ids of uploads, keys, webhooks and datasets; all doors, for more kinds of strangers: stages/test_access.py.
NAMING = [one for one in CLOSED if re.search(r"\{(upload_id|key_id|webhook_id|key)\}", one.path)]
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def anybody(deployed: Cloud) -> Iterator[httpx.Client]:
    """Somebody without an account: to sign up takes twenty times as long as to be turned away."""
    with httpx.Client(base_url=deployed.instance.api_url, timeout=clouds.seconds(30)) as http:
        yield http


@pytest.fixture
def stranger(account: Account) -> Iterator[Account]:
    """Another tenant."""
    with new_account(account.cloud, account.folder) as other:
        yield other


def name_of(one: Operation) -> str:
    return one.name


@pytest.mark.parametrize("one", NAMING, ids=name_of)
def test_what_belongs_to_another_tenant_is_not_there(account: Account, stranger: Account, one: Operation) -> None:
    account.dataset()
    upload_id = account.start(b"id,name\n1,Ada\n")
    account.ended(upload_id)
    key_id = account.rowmill.create_api_key("a machine")["id"]
    webhook_id = account.rowmill.create_webhook("https://127.0.0.1.example/hook")["id"]
    ids = {"upload_id": upload_id, "key_id": key_id, "webhook_id": webhook_id}
    url = one.path.removeprefix("/v1").format(**ids, name="people", n=1, key=1)
    body = {"json": one.body.example} if one.body else {}
    assert _call(stranger, one.method, url, **body).status_code == 404
    assert _call(account, one.method, url, **body).status_code != 404


def test_another_tenants_datasets_and_uploads_are_neither_listed_nor_usable(
    account: Account, stranger: Account
) -> None:
    account.dataset()
    upload_id = account.start(b"id,name\n1,Ada\n")
    account.ended(upload_id)
    assert _items(stranger, "/uploads") == _items(stranger, "/datasets") == []
    announced = {"dataset": "people", "filename": "a.csv", "size": 1}
    assert _call(stranger, "POST", "/uploads", json=announced).json()["code"] == "unknown_dataset"
    stranger.dataset()
    assert _call(stranger, "GET", "/datasets/people/rows", params={"upload": upload_id}).status_code == 404
    assert _items(stranger, "/datasets/people/rows") == []


@pytest.mark.parametrize("one", CLOSED, ids=name_of)
@pytest.mark.parametrize("authorization", ["", "Bearer nonsense", "Basic dXNlcjpwYXNz"])
def test_no_door_opens_without_a_token(anybody: httpx.Client, one: Operation, authorization: str) -> None:
    headers = {"Authorization": authorization}
    ids = {"upload_id": "upl_1", "key_id": "key_1", "webhook_id": "whk_1", "book_id": "1", "template": "books"}
    path = one.path.format(**ids, name="people", username="ada", n=1, key=1)
    answer = anybody.request(one.method, path, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "token_invalid"


def test_a_token_with_another_signature_is_refused(account: Account) -> None:
    head, claims, signature = account.token.split(".")
    forged = f"{head}.{claims}.{signature[::-1]}"
    answer = account.http.get("/uploads", headers={"Authorization": f"Bearer {forged}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


def test_a_repeated_announcement_with_its_key_is_one_upload_and_another_body_is_refused(account: Account) -> None:
    account.dataset()
    announced = {"dataset": "people", "filename": "a.csv", "size": 10}
    key = {"Idempotency-Key": "once"}
    first = _call(account, "POST", "/uploads", json=announced, headers=key)
    again = _call(account, "POST", "/uploads", json=announced, headers=key)
    other = _call(account, "POST", "/uploads", json={**announced, "size": 11}, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert str(first.url.join(first.headers["location"])) == f"{first.url}/{first.json()['id']}"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(_items(account, "/uploads")) == 1


def test_the_keys_of_two_tenants_do_not_meet(account: Account, stranger: Account) -> None:
    announced = {"dataset": "people", "filename": "a.csv", "size": 10}
    made = set()
    for one in (account, stranger):
        one.dataset()
        answer = _call(one, "POST", "/uploads", json=announced, headers={"Idempotency-Key": "once"})
        made.add(answer.json()["id"])
    assert len(made) == 2


def test_a_poll_says_when_to_come_back_and_answers_304_while_nothing_changes(account: Account) -> None:
    account.dataset()
    path = account.file(people(3))
    created = account.rowmill.create_upload(path, "people")
    waiting = _call(account, "GET", f"/uploads/{created['id']}")
    assert retry_after(waiting) == 1
    unchanged = _poll(account, created["id"], waiting)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == waiting.headers["etag"]
    assert retry_after(unchanged) == 1
    account.rowmill.send_file(created, path)
    account.ended(created["id"])
    over = _poll(account, created["id"], waiting)
    assert (over.status_code, over.json()["state"]) == (200, "completed")
    assert "retry-after" not in over.headers
    assert _poll(account, created["id"], over).status_code == 304


def _poll(account: Account, upload_id: str, seen: httpx.Response) -> httpx.Response:
    return _call(account, "GET", f"/uploads/{upload_id}", headers={"If-None-Match": seen.headers["etag"]})


def test_pages_of_every_listing_put_together_are_the_listing(account: Account) -> None:
    account.dataset()
    account.dataset(PEOPLE, "others")
    bad = "".join(f"{place},\n" for place in range(100, 105))
    upload_id = account.start(people(5) + bad.encode())
    account.rowmill.create_upload(account.file(b"id,name\n"), "others")
    account.ended(upload_id)
    sizes = {
        "/datasets": 2,
        "/uploads": 2,
        "/datasets/people/rows": 5,
        f"/uploads/{upload_id}/rejects": 5,
        f"/uploads/{upload_id}/chunks": 1,
    }
    for path, size in sizes.items():
        whole = _items(account, path)
        assert (len(whole), list(_paged(account, path, 2))) == (size, whole), path


def test_listings_refuse_a_limit_or_a_cursor_that_they_never_gave(account: Account) -> None:
    for asked in ({"limit": "0"}, {"limit": "5001"}, {"limit": "x"}, {"cursor": "x"}, {"page": "2"}):
        answer = _call(account, "GET", "/uploads", params=asked)
        assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM), asked


def _items(account: Account, path: str) -> list[Any]:
    found: list[Any] = _call(account, "GET", path).json()["items"]
    return found


def _paged(account: Account, path: str, limit: int) -> Iterator[Any]:
    asked = {"limit": str(limit)}
    while True:
        page = document(_call(account, "GET", path, params=asked))
        assert len(page["items"]) <= limit
        yield from page["items"]
        if not page["next_cursor"]:
            return
        asked["cursor"] = page["next_cursor"]


def _call(account: Account, method: str, path: str, **request: Any) -> httpx.Response:
    """Ask as a client must: again after a 503, which a database that crashed in another test may still cause."""
    patience = Patience()
    for tries in range(5):
        answer = account.http.request(method, path, **request)
        if answer.status_code != 503:
            break
        time.sleep(patience.pause(tries, retry_after(answer)))
    return answer


def test_one_idempotency_key_from_eight_clients_at_once_is_one_upload(account: Account) -> None:
    account.dataset()
    body = {"dataset": "people", "size": 10}

    def announce(_: int) -> httpx.Response:
        return account.http.post("uploads", json=body, headers={"Idempotency-Key": "the-same"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(announce, range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert len(list(account.rowmill.iterate_uploads())) == 1


def test_anybody_may_read_the_contract_where_the_api_is_and_that_it_has_not_changed(deployed: Cloud) -> None:
    api = deployed.instance.api_url
    document, page = (httpx.get(f"{api}{path}") for path in ("/v1/openapi.json", "/docs"))
    assert (document.status_code, page.status_code) == (200, 200)
    assert document.json()["paths"].keys() == {one.path for one in OPERATIONS.values()}
    server = urljoin(str(document.url), document.json()["servers"][0]["url"])
    assert server.rstrip("/") == api
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for answer in (document, page):
        again = httpx.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["%41", "%2541", "100%", "a b", "a+b", "a/b", "ä", "?a=b#c", "~1"])
def test_a_dataset_is_found_by_its_name_whatever_signs_are_in_it(account: Account, name: str) -> None:
    account.dataset(name="A")
    account.dataset(name=name)
    assert account.rowmill.get_dataset(name)["name"] == name
    assert account.rowmill.create_row(name, {"id": 1, "name": "Ada"})["id"] == 1
    assert [row["id"] for row in account.rowmill.iterate_rows(name)] == [1]
    assert list(account.rowmill.iterate_rows("A")) == []
    account.rowmill.delete_dataset(name)
    assert [one["name"] for one in account.rowmill.iterate_datasets()] == ["A"]
