"""The page's way in: the session in cookies, and no door that changes anything opens to another site's page by them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chalice.test import Client
from chalice.test import HTTPResponse as Answer

from app import app
from tests import held
from tests.stages.conftest import CONTACTS, Pipeline

ADA = {"username": "ada", "password": "correct horse"}
PUBLIC = "rowmill.example"
OURS = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """Keeps cookies as a browser does, by what Set-Cookie says, and shows them at this host."""

    def __init__(self, host: str, scheme: str = "https") -> None:
        self.http, self.host, self.scheme = Client(app).http, host, scheme
        self.jar: dict[str, str] = {}
        self.flags: dict[str, str] = {}

    def __call__(self, method: str, path: str, body: Any = None, **more: str) -> Answer:
        shown = {"Host": self.host, "X-Forwarded-Proto": self.scheme, "Content-Type": "application/json"}
        shown |= {"Cookie": "; ".join(f"{name}={value}" for name, value in self.jar.items())} if self.jar else {}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = self.http.request(method, path, headers=shown | more, body=raw)
        held.answer(method, path, answer.status_code, answer.headers, answer.body)
        given = answer.headers.get("Set-Cookie", [])
        for cookie in [given] if isinstance(given, str) else given:
            name, _, rest = cookie.partition("=")
            value, _, self.flags[name] = rest.partition("; ")
            self.jar[name] = value
            if "Max-Age=0" in rest:
                del self.jar[name]
        return answer

    def get(self, **more: str) -> Answer:
        return self("GET", "/v1/datasets", **more)

    def put(self, **more: str) -> Answer:
        return self("PUT", "/v1/datasets/contacts", CONTACTS, **more)


@pytest.fixture
def browser(pipeline: Pipeline) -> Browser:
    """On the public host, logged in."""
    there = Browser(PUBLIC)
    assert there("POST", "/v1/auth/signup", ADA).status_code == 201
    return there


def is_foreign(answer: Answer) -> None:
    assert (answer.status_code, answer.json_body["code"]) == (403, "origin_foreign")


def test_a_login_leaves_cookies_that_no_script_and_no_other_host_reads(browser: Browser) -> None:
    for door in ("signup", "login"):
        browser.jar.clear()
        answer = browser("POST", f"/v1/auth/{door}", ADA | {"username": f"ada-{door}"} if door == "signup" else ADA)
        assert answer.headers["Cache-Control"] == "no-store"
        assert browser.jar == {f"__Host-rowmill-{kind}": answer.json_body[kind] for kind in ("access", "refresh")}
        kept = "; HttpOnly; SameSite=Strict; Secure"
        assert browser.flags == {
            "__Host-rowmill-access": f"Path=/; Max-Age=1800{kept}",
            "__Host-rowmill-refresh": f"Path=/; Max-Age=2592000{kept}",
        }


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize(
    ("host", "scheme", "secure"),
    [
        ("127.0.0.1:4566", "http", False),
        ("localhost", "http", False),
        ("[::1]:80", "http", False),
        ("localhost:443", "https", True),
        ("localhost.evil.example", "http", True),
        (PUBLIC, "http", True),
    ],
)
def test_only_plain_http_on_this_machine_gets_cookies_without_secure(host: str, scheme: str, secure: bool) -> None:
    browser = Browser(host, scheme)
    browser("POST", "/v1/auth/signup", ADA)
    assert set(browser.jar) == {f"{'__Host-' if secure else ''}rowmill-{kind}" for kind in ("access", "refresh")}
    assert {"; Secure" in flags for flags in browser.flags.values()} == {secure}
    assert browser.get().status_code == 200


def test_a_cookie_reads_for_whoever_asks_and_changes_for_pages_of_the_same_host_only(browser: Browser) -> None:
    assert browser.get().status_code == browser.get(**{"Sec-Fetch-Site": "cross-site"}).status_code == 200
    foreign = [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "", "Origin": f"https://{PUBLIC}"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"https://{PUBLIC}"},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": f"http://{PUBLIC}"},
        {"Origin": f"https://{PUBLIC}.evil.example"},
        {"Origin": f"https://{PUBLIC}:8443"},
        {"Referer": f"https://{PUBLIC}/"},
    ]
    for said in foreign:
        is_foreign(browser.put(**said))
        for door in ("refresh", "logout"):
            is_foreign(browser("POST", f"/v1/auth/{door}", **said))
            is_foreign(browser("POST", f"/v1/auth/{door}", {}, **said))
    assert browser.get().json_body["items"] == []
    assert browser.put(**OURS).status_code == 201
    assert browser.put(Origin=f"https://{PUBLIC}").status_code == 200


def test_another_site_s_page_logs_nobody_in_as_whom_it_likes(browser: Browser) -> None:
    """Its form needs nobody's leave to be sent, and browsers keep the cookies that a page they go to answers with."""
    eve = {"username": "eve", "password": "correct horse"}
    assert Browser(PUBLIC)("POST", "/v1/auth/signup", eve).status_code == 201
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    mine = dict(browser.jar)
    for said in (
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": f"https://evil.{PUBLIC}"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        answer = browser("POST", "/login", b"username=eve&password=correct+horse", **form, **said)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        made = browser(
            "POST", "/signup", f"username=new{len(str(said))}&password=correct+horse".encode(), **form, **said
        )
        assert made.status_code == 201
    assert browser.jar == mine
    for said in (OURS, {"Origin": f"https://{PUBLIC}"}, {}):  # the last one is no browser
        browser.jar.clear()
        assert browser("POST", "/login", eve, **said).status_code == 200
        assert len(browser.jar) == 2


def test_the_header_comes_before_the_cookie(browser: Browser) -> None:
    other = Browser(PUBLIC)
    token = other("POST", "/v1/auth/signup", ADA | {"username": "eve"}).json_body["access"]
    assert browser.put(**OURS).status_code == 201
    assert len(browser.get().json_body["items"]) == 1
    assert browser.get(Authorization=f"Bearer {token}").json_body["items"] == []
    assert browser.put(Authorization=f"Bearer {token}").status_code == 201  # nobody's browser adds that by itself
    for wrong in ("", "Bearer x"):
        assert browser.get(Authorization=wrong).status_code == 401


def test_a_page_refreshes_and_logs_out_by_its_cookie_and_sees_no_token(browser: Browser) -> None:
    before = browser.jar["__Host-rowmill-refresh"]
    answer = browser("POST", "/v1/auth/refresh", **OURS)
    assert (answer.status_code, set(answer.json_body)) == (200, {"expires_in", "user_id", "username", "tenant_id"})
    assert browser.jar["__Host-rowmill-refresh"] != before
    assert browser.get().status_code == 200
    kept = dict(browser.jar)
    assert browser("POST", "/v1/auth/logout", **OURS).status_code == 204
    assert browser.jar == {}
    browser.jar = kept
    assert browser("POST", "/v1/auth/refresh", **OURS).json_body["code"] == "refresh_invalid"


def test_a_token_in_the_body_comes_before_the_cookie(browser: Browser) -> None:
    other = Browser(PUBLIC)
    session = other("POST", "/v1/auth/signup", ADA | {"username": "eve"}).json_body
    answer = browser("POST", "/v1/auth/refresh", {"refresh": session["refresh"]})
    assert (answer.json_body["username"], "access" in answer.json_body) == ("eve", True)
    kept = dict(browser.jar)
    assert browser("POST", "/v1/auth/logout", {"refresh": answer.json_body["refresh"]}).status_code == 204
    assert browser.jar == kept


def test_cookies_of_others_are_passed_over(browser: Browser) -> None:
    mine = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
    for odd in (f'x="a\\;b; {mine}; y', f"=;;, {{}}[]=1;{mine}", f"rowmill-access=x; __Host-rowmill-access=; {mine}"):
        assert browser.get(Cookie=odd).status_code == 200
    for none in ("", "x", "rowmill-access=" + browser.jar["__Host-rowmill-access"], "__Host-rowmill-access=x"):
        assert browser.get(Cookie=none).status_code == 401
    assert browser("POST", "/v1/auth/refresh", Cookie="", **OURS).json_body["code"] == "body_invalid"
