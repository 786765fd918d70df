"""Webhooks over HTTP: made once for a request, told their secret once, their owner's alone, and never a 5xx."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from chalice.test import HTTPResponse as Answer

from chalicelib import accounts, webhooks
from chalicelib.aws import sqs
from chalicelib.errors import Refused
from chalicelib.journey import TERMINAL
from chalicelib.postgres import outbox
from chalicelib.postgres import webhooks as kept
from chalicelib.postgres.connection import Connection, connection
from chalicelib.settings import settings
from tests import held
from tests.stages.conftest import Pipeline
from tests.stages.test_api_keys import Asker
from tests.stages.test_table_rows import beside

HOOKS = "/v1/webhooks"
URL = "https://hooks.invalid/rowmill"
ADA = {"username": "ada", "password": "correct horse"}


@pytest.fixture
def ada(pipeline: Pipeline) -> Asker:
    return Asker(accounts.signup(ADA)["access"])


def keyed(asker: Asker, key: str, body: Any) -> Answer:
    headers = {"Authorization": f"Bearer {asker.token}", "Content-Type": "application/json", "Idempotency-Key": key}
    answer = asker.http.request("POST", HOOKS, headers=headers, body=json.dumps(body).encode())
    held.answer("POST", HOOKS, answer.status_code, answer.headers, answer.body)
    return answer


def made(asker: Asker, **body: Any) -> dict[str, Any]:
    answer = asker("POST", HOOKS, {"url": URL} | body)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    found: dict[str, Any] = answer.json_body
    return found


def test_a_webhook_tells_its_secret_when_it_is_made_and_never_after(ada: Asker) -> None:
    webhook = made(ada, description="the warehouse")
    assert webhook["secret"].startswith("whsec_")
    assert webhook["events"] == [f"upload.{state}" for state in sorted([*TERMINAL, "needs_review"])]
    plain = {name: value for name, value in webhook.items() if name != "secret"}
    assert ada("GET", f"{HOOKS}/{webhook['id']}").json_body == plain
    assert ada("GET", HOOKS).json_body["items"] == [plain]
    assert plain == plain | {"state": "active", "description": "the warehouse", "disabled_reason": None}


def test_the_same_request_again_makes_no_other_webhook(ada: Asker, pipeline: Pipeline) -> None:
    first = keyed(ada, "one", {"url": URL, "events": ["upload.failed"]})
    again = keyed(ada, "one", {"events": ["upload.failed"], "url": URL})
    assert (again.status_code, again.json_body) == (201, first.json_body)
    other = keyed(ada, "one", {"url": URL})
    assert (other.status_code, other.json_body["code"]) == (422, "idempotency_key_reused")
    assert keyed(ada, "two", {"url": URL}).json_body["id"] != first.json_body["id"]
    assert keyed(ada, " ", {"url": URL}).json_body["code"] == "idempotency_key_invalid"
    pipeline.sql("UPDATE rowmill.repeat SET created_at = now() - interval '25 hours'")
    assert keyed(ada, "one", {"url": URL}).json_body["id"] != first.json_body["id"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "webhook_url_invalid"),
        ({"url": 1}, "webhook_url_invalid"),
        ({"url": "ftp://example.org"}, "webhook_url_invalid"),
        ({"url": "http://example.org/"}, "webhook_url_invalid"),
        ({"url": "https://user:secret@hooks.invalid/"}, "webhook_url_invalid"),
        ({"url": "https://127.0.0.1/"}, "webhook_url_forbidden"),
        ({"url": "https://169.254.169.254/latest/meta-data/"}, "webhook_url_forbidden"),
        ({"url": "https://[::1]/"}, "webhook_url_forbidden"),
        ({"url": URL, "events": ["upload.started"]}, "body_invalid"),
        ({"url": URL, "events": None}, "body_invalid"),
        ({"url": URL, "secret": "whsec_mine"}, "body_invalid"),
        ({"url": URL, "description": "a" * 201}, "body_invalid"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused_by_name(ada: Asker, body: dict[str, Any], code: str) -> None:
    answer = ada("POST", HOOKS, body)
    assert (answer.status_code, answer.json_body["code"]) == (422, code)
    assert ada("GET", HOOKS).json_body["items"] == []
    webhook = made(ada)
    if body:
        changed = ada("PATCH", f"{HOOKS}/{webhook['id']}", body)
        assert (changed.status_code, changed.json_body["code"]) == (422, code)


def test_a_webhook_is_changed_disabled_and_enabled(ada: Asker) -> None:
    path = f"{HOOKS}/{made(ada)['id']}"
    for body, shown in (
        ({}, {"url": URL, "state": "active"}),
        (
            {"url": URL + "2", "events": ["upload.failed", "upload.failed"]},
            {"url": URL + "2", "events": ["upload.failed"]},
        ),
        ({"events": [], "description": "b"}, {"events": [], "description": "b", "url": URL + "2"}),
        ({"enabled": False}, {"state": "disabled", "disabled_reason": "asked"}),
        ({"description": ""}, {"state": "disabled", "description": ""}),
        ({"enabled": True}, {"state": "active", "disabled_reason": None, "disabled_at": None}),
    ):
        answer = ada("PATCH", path, body)
        assert answer.status_code == 200
        assert answer.json_body == answer.json_body | shown


def test_a_webhook_of_others_or_of_nobody_is_not_there(ada: Asker) -> None:
    eve = Asker(accounts.signup(ADA | {"username": "eve"})["access"])
    webhook = made(ada)
    for asker, name in ((eve, webhook["id"]), (ada, "whk_1"), (ada, "%00"), (ada, "%ED%A0%80")):
        path = f"{HOOKS}/{name}"
        for method, door, body in (
            ("GET", path, None),
            ("PATCH", path, {"enabled": False}),
            ("DELETE", path, None),
            ("POST", f"{path}/rotate", None),
            ("POST", f"{path}/ping", None),
            ("GET", f"{path}/deliveries", None),
        ):
            answer = asker(method, door, body)
            assert (answer.status_code, answer.json_body["code"]) == (404, "unknown_webhook"), door
    assert eve("GET", HOOKS).json_body["items"] == []
    assert ada("GET", f"{HOOKS}/{webhook['id']}").json_body["state"] == "active"
    assert ada("DELETE", f"{HOOKS}/{webhook['id']}").status_code == 204
    assert ada("DELETE", f"{HOOKS}/{webhook['id']}").status_code == 404


def test_a_tenant_has_twenty_webhooks_at_most(ada: Asker) -> None:
    ids = [made(ada)["id"] for _ in range(webhooks.MOST)]
    answer = ada("POST", HOOKS, {"url": URL})
    assert (answer.status_code, answer.json_body["code"]) == (409, "webhooks_too_many")
    first = ada("GET", f"{HOOKS}?limit=15").json_body
    rest = ada("GET", f"{HOOKS}?limit=15&cursor={first['next_cursor']}").json_body
    assert [one["id"] for one in first["items"] + rest["items"]] == sorted(ids)
    assert rest["next_cursor"] is None


def test_a_webhook_is_pinged_ten_times_in_a_minute_at_most(ada: Asker, pipeline: Pipeline) -> None:
    path = f"{HOOKS}/{made(ada)['id']}/ping"
    assert [ada("POST", path).status_code for _ in range(webhooks.MOST_PINGS)] == [202] * 10
    answer = ada("POST", path)
    assert (answer.status_code, answer.json_body["code"], answer.headers["Retry-After"]) == (
        429,
        "too_many_pings",
        "60",
    )
    assert ada("POST", f"{HOOKS}/{made(ada)['id']}/ping").status_code == 202
    pipeline.sql("UPDATE rowmill.outbox SET created_at = now() - interval '61 seconds'")
    assert ada("POST", path).status_code == 202


def test_pings_at_the_same_time_are_no_more_than_one_after_the_other(ada: Asker, pipeline: Pipeline) -> None:
    webhook_id = made(ada)["id"]
    for _ in range(webhooks.MOST_PINGS - 1):
        assert ada("POST", f"{HOOKS}/{webhook_id}/ping").status_code == 202
    (tenant,) = [row["tenant"] for row in pipeline.sql("SELECT tenant FROM rowmill.webhook")]
    ends: list[str] = []

    def ping() -> None:
        try:
            webhooks.ping(tenant, webhook_id)
            ends.append("pinged")
        except Refused as refused:
            ends.append(refused.code)

    with psycopg.connect(pipeline.url) as last:
        assert kept.hold(last, tenant, webhook_id)
        assert outbox.ping(last, "evt_last", webhook_id, webhooks.MOST_PINGS)
        pinging = beside(ping)
        pinging.join(0.5)
    pinging.join(20)
    assert ends == ["too_many_pings"]


def test_a_webhook_may_be_deleted_while_it_is_pinged(ada: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = (f"{HOOKS}/{made(ada)['id']}" for _ in range(2))
    find = kept.find

    def found(db: Connection, tenant: str, webhook_id: str) -> kept.Webhook | None:
        webhook = find(db, tenant, webhook_id)
        kept.delete(db, tenant, webhook_id)
        return webhook

    with monkeypatch.context() as patch:
        patch.setattr(kept, "find", found)
        answer = ada("POST", f"{before}/ping")
    assert (answer.status_code, answer.json_body["code"]) == (404, "unknown_webhook")
    name = after.rpartition("/")[2]
    monkeypatch.setattr(sqs, "send_all", lambda queue, bodies, tenant: kept.delete(connection(), tenant, name))
    answer = ada("POST", f"{after}/ping")
    assert (answer.status_code, answer.json_body["state"]) == (202, "pending")
    assert ada("GET", after).status_code == 404


def test_deliveries_come_in_pages_the_newest_first(ada: Asker) -> None:
    path = f"{HOOKS}/{made(ada)['id']}"
    pings = [ada("POST", f"{path}/ping") for _ in range(3)]
    assert [one.status_code for one in pings] == [202] * 3
    first = ada("GET", f"{path}/deliveries?limit=2").json_body
    rest = ada("GET", f"{path}/deliveries?limit=2&cursor={first['next_cursor']}").json_body
    listed = first["items"] + rest["items"]
    assert [one["event_id"] for one in listed] == [one.json_body["event_id"] for one in reversed(pings)]
    assert ada("GET", f"{path}/deliveries?cursor=x").json_body["code"] == "cursor_invalid"


def test_a_deployment_without_the_key_of_secrets_says_so(ada: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBHOOK_SECRET")
    settings.cache_clear()
    answer = ada("POST", HOOKS, {"url": URL})
    assert (answer.status_code, answer.json_body["code"]) == (503, "webhook_key_missing")
