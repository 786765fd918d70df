"""Logins over HTTP: sessions go on, end and are told apart, and keys change without logging anybody out."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest
from rowmill_client import ApiError, Rowmill

from tests import clouds
from tests.journey.conftest import PEOPLE, Account, people
from tests.stages import test_oidc as oidc

issuer = oidc.server


def refresh(account: Account, token: str) -> httpx.Response:
    return account.http.post("/auth/refresh", json={"refresh": token}, headers={"Authorization": ""})


def test_a_session_is_refreshed_and_ends_for_both_when_a_spent_token_is_shown(account: Account) -> None:
    first = account.rowmill.refresh()
    second = refresh(account, first["refresh"])
    assert (second.status_code, second.json()["tenant_id"]) == (200, account.tenant)
    opened = account.http.get("/datasets", headers={"Authorization": f"Bearer {second.json()['access']}"})
    assert opened.status_code == 200
    for spent in (first["refresh"], second.json()["refresh"]):
        answer = refresh(account, spent)
        assert (answer.status_code, answer.json()["code"]) == (401, "refresh_invalid")


def test_after_a_logout_the_session_goes_on_nowhere(account: Account) -> None:
    token = account.rowmill.refresh()["refresh"]
    answer = account.http.post("/auth/logout", json={"refresh": token}, headers={"Authorization": ""})
    assert (answer.status_code, answer.content) == (204, b"")
    assert refresh(account, token).status_code == 401


@pytest.mark.parametrize("door", ["refresh", "logout"])
@pytest.mark.parametrize("body", [{"refresh": 1}, {"token": "x"}, {"refresh": "x", "more": 1}, {}])
def test_refresh_and_logout_take_a_token_and_nothing_else(account: Account, door: str, body: Any) -> None:
    answer = account.http.post(f"/auth/{door}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "body_invalid")


def test_keys_are_rotated_without_logging_anybody_out(account: Account) -> None:
    kept = account.cloud.client("secretsmanager").get_secret_value(SecretId=f"rowmill/{account.cloud.stage}/api")[
        "SecretString"
    ]
    first = json.loads(kept)["JWT_SECRET"]
    second, third = "b" * 64, "c" * 64
    with account.cloud.configured("api", JWT_SECRET=f"{second},{first}"):
        assert account.http.get("/datasets").status_code == 200
        newer = account.rowmill.refresh()["access"]
    with account.cloud.configured("api", JWT_SECRET=f"{third},{second}"):
        assert account.http.get("/datasets").status_code == 401
        assert account.http.get("/datasets", headers={"Authorization": f"Bearer {newer}"}).status_code == 200
    with account.cloud.configured("api", JWT_SECRET=third):
        assert list(account.rowmill.iterate_datasets()) == []  # its token is refused: the client exchanges it by itself


def test_a_page_lives_by_its_cookies(account: Account) -> None:
    """Through the gateway: both cookies arrive, and what the browser says of its page reaches the function."""
    api = f"{account.cloud.instance.api_url}/v1"
    ours = {"Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=api, timeout=clouds.seconds(30)) as page:
        page.post("/auth/signup", json={"username": f"page-{uuid.uuid4()}", "password": "correct horse"})
        assert {cookie.name for cookie in page.cookies.jar} == {"rowmill-access", "rowmill-refresh"}
        assert page.get("/datasets").status_code == 200
        put = {"url": "/datasets/people", "json": PEOPLE}
        assert page.put(**put, headers={"Sec-Fetch-Site": "cross-site"}).json()["code"] == "origin_foreign"
        assert page.put(**put, headers={"Origin": account.cloud.instance.endpoint}).status_code == 201
        before = page.cookies["rowmill-refresh"]
        assert page.post("/auth/refresh", headers=ours).status_code == 200
        assert page.cookies["rowmill-refresh"] != before
        assert page.post("/auth/logout", headers=ours).status_code == 204
        assert (dict(page.cookies), page.get("/datasets").status_code) == ({}, 401)


def test_another_password_ends_the_sessions_elsewhere_and_goes_on_in_the_page_that_asked(account: Account) -> None:
    api = f"{account.cloud.instance.api_url}/v1"
    known = {"username": f"page-{uuid.uuid4()}", "password": "correct horse"}
    elsewhere = Rowmill(account.cloud.instance.api_url)
    with httpx.Client(base_url=api, timeout=clouds.seconds(30)) as page, elsewhere:
        page.post("/auth/signup", json=known)
        elsewhere.login(**known)
        put = {"url": "/account/password", "json": {"current": "correct horse", "new": "staple battery"}}
        assert page.put(**put, headers={"Sec-Fetch-Site": "cross-site"}).json()["code"] == "origin_foreign"
        answer = page.put(**put, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.status_code == 200
        assert set(answer.json()) == {"expires_in", "user_id", "username", "tenant_id"}  # the tokens are its cookies
        assert page.post("/auth/refresh", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
        with pytest.raises(ApiError, match="refresh_invalid"):
            elsewhere.refresh()
        with pytest.raises(ApiError, match="session is over"):
            elsewhere.create_api_key("stays")
        with pytest.raises(ApiError, match="login_failed"):
            elsewhere.login(**known)
        elsewhere.login(known["username"], "staple battery")
        elsewhere.change_password("staple battery", "horse staple")
        assert elsewhere.refresh()["username"] == known["username"]


def test_a_password_that_everybody_guesses_is_refused_where_it_is_deployed(account: Account) -> None:
    answer = account.http.post("/auth/signup", json={"username": f"user-{uuid.uuid4()}", "password": "password1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "password_common")


def test_guessing_is_told_to_wait_whether_there_is_such_an_account_or_not(account: Account) -> None:
    name = f"page-{uuid.uuid4()}"
    account.cloud.sql("TRUNCATE rowmill.login_failure")  # what other tests have failed from this address
    account.http.post("/auth/signup", json={"username": name, "password": "correct horse"})
    for guessed in (name, f"nobody-{uuid.uuid4()}"):
        wrong = {"username": guessed, "password": "wrong horse"}
        answers = [account.http.post("/auth/login", json=wrong) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [401] * 10 + [429]
        assert answers[-1].json()["code"] == "too_many_logins"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


def test_a_machine_sends_a_file_with_a_key_until_it_is_deleted(account: Account) -> None:
    account.dataset()
    made = account.rowmill.create_api_key("nightly", days=30)
    path = account.file(people(3))
    with Rowmill(account.cloud.instance.api_url, made["secret"]) as machine:
        assert machine.upload(path, "people", timeout=clouds.seconds(30))["loaded"] == 3
        with pytest.raises(ApiError, match="session_needed"):
            machine.create_api_key("another")
        account.rowmill.delete_api_key(made["id"])
        assert list(account.rowmill.iterate_api_keys()) == []
        with pytest.raises(ApiError, match="token_invalid"):
            machine.get_dataset("people")


@pytest.mark.needs("an account of make up")
def test_the_token_that_make_up_leaves_in_env_is_a_key_that_does_not_run_out(account: Account) -> None:
    token = account.cloud.instance.environment["ROWMILL_TOKEN"]
    assert token.startswith("rmk_")
    assert account.http.get("/datasets", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    table = account.cloud.client("dynamodb")
    kept = table.scan(TableName=account.cloud.name("keys"))["Items"]
    (ours,) = [item for item in kept if item.get("prefix") == {"S": token[:12]}]
    assert "good_until" not in ours


def test_who_asks_and_how_an_upload_stands_is_answered_without_postgres(account: Account) -> None:
    """By an API whose database is not there: it could not open a connection if it tried."""
    account.dataset()
    upload = account.ended(account.start(people(3)))["id"]
    key = account.rowmill.create_api_key("a poller")
    with account.cloud.configured("api", DATABASE_URL="postgresql://rowmill:secret@127.0.0.1:1/rowmill"):
        for token in (account.token, key["secret"]):
            bearer = {"Authorization": f"Bearer {token}"}
            seen = account.http.get(f"/uploads/{upload}", headers=bearer)
            assert (seen.status_code, seen.json()["loaded"]) == (200, 3)
            again = account.http.get(f"/uploads/{upload}", headers=bearer | {"If-None-Match": seen.headers["etag"]})
            assert again.status_code == 304
            listed = account.http.get("/uploads", headers=bearer)
            assert [one["id"] for one in listed.json()["items"]] == [upload]
            needs_it = account.http.get(f"/uploads/{upload}/chunks", headers=bearer)
            assert (needs_it.status_code, needs_it.json()["code"]) == (503, "database_unavailable")
        account.rowmill.delete_api_key(key["id"])
        gone = account.http.get(f"/uploads/{upload}", headers={"Authorization": f"Bearer {key['secret']}"})
        assert gone.status_code == 401


@pytest.mark.needs("a way back to this machine")
def test_a_file_is_sent_with_the_token_of_an_issuer_elsewhere(account: Account, issuer: oidc.Server) -> None:
    """The functions fetch the issuer's keys themselves; who was never here is at home at once."""
    path = account.file(people(3))
    api = account.cloud.instance.api_url
    with account.cloud.configured("api", OIDC_ISSUER=issuer.url, OIDC_AUDIENCE=oidc.AUDIENCE):
        with Rowmill(api, oidc.token(issuer, sub=f"ada-{uuid.uuid4()}")) as ada:
            ada.put_dataset("people", PEOPLE)
            assert ada.upload(path, "people", timeout=clouds.seconds(30))["loaded"] == 3
        with Rowmill(api, oidc.token(issuer, oidc.OTHER)) as forger, pytest.raises(ApiError, match="token_invalid"):
            next(forger.iterate_datasets())
        assert account.http.get("/datasets").status_code == 401
        closed = account.http.post("/auth/login", json={"username": "ada", "password": "correct horse"})
        assert (closed.status_code, closed.json()["code"]) == (404, "accounts_elsewhere")
    assert account.http.get("/datasets").status_code == 200
