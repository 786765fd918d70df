"""What a tenant may ask for in a minute and in a day, and what it is told of that."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from ulid import ULID

from chalicelib import quota
from chalicelib.aws import dynamodb, s3
from chalicelib.errors import Refused
from chalicelib.postgres import connection
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline
from tests.stages.test_api import FILE, Api, asked, is_problem

NOON = 20_000 * 86_400.0 + 43_200  # where a minute begins


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    return Api(pipeline)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    quota.forget()
    yield
    quota.forget()


@pytest.fixture
def limited(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set limits: of requests, files and bytes."""

    def limit(**limits: int) -> None:
        for name, value in limits.items():
            monkeypatch.setenv(f"ROWMILL_QUOTA_{name.upper()}", str(value))
        settings.cache_clear()
        quota.forget()

    return limit


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still, so that no window ends during a test."""
    monkeypatch.setattr(time, "time", lambda: NOON + 10)


def let_in(tenant: str, tries: int, now: float) -> int:
    """How many of so many requests are let in."""
    count = 0
    for _ in range(tries):
        try:
            quota.request(tenant, now)
        except Refused as refused:
            assert (refused.code, refused.status) == ("requests_exceeded", 429)
        else:
            count += 1
    return count


@pytest.mark.parametrize("limit", [1, 7, 200, 399, 1000])
def test_one_process_lets_in_exactly_the_limit(limited: Callable[..., None], limit: int) -> None:
    limited(requests=limit)
    tenant = f"ten_{ULID()}"
    assert let_in(tenant, limit + 20, NOON) == limit
    assert let_in(tenant, 1, NOON + 59) == 0
    assert let_in(tenant, 1, NOON + 60) == 1


def test_who_comes_back_in_another_minute_does_not_have_others_counted_anew(limited: Callable[..., None]) -> None:
    limited(requests=1000)
    ada, bob = f"ten_{ULID()}", f"ten_{ULID()}"
    assert let_in(ada, 1, NOON) == 1
    share = 1000 // quota.SHARES
    assert let_in(bob, share - 1, NOON + 60) == share - 1  # of which the table is not told yet
    assert let_in(ada, 1, NOON + 61) == 1
    assert let_in(bob, 1020, NOON + 62) == 1000 - (share - 1)


@pytest.mark.parametrize("limit", [5, 1000])
def test_processes_together_let_in_no_less_than_the_limit_and_no_more_than_is_said(
    limited: Callable[..., None], limit: int
) -> None:
    limited(requests=limit)
    tenant, processes = f"ten_{ULID()}", 8
    kept: list[dict[str, Any]] = [{} for _ in range(processes)]
    count = 0
    for _ in range(limit):
        for known in kept:
            quota._seen = known
            count += let_in(tenant, 1, NOON)
    share = max(1, limit // quota.SHARES)
    assert limit <= count <= limit + (processes - 1) * (share - 1)


def test_requests_write_to_the_table_once_a_share(pipeline: Pipeline, limited: Callable[..., None]) -> None:
    limited(requests=20_000)
    for n in range(1, 251):
        quota.request(pipeline.tenant, NOON)
        counted = dynamodb.find(pipeline.tenant, f"quota#minute#{int(NOON // 60)}") or {"requests": 0}
        assert counted["requests"] == n // 100 * 100


def test_a_table_that_does_not_answer_keeps_no_request_out_and_is_asked_once_a_share(
    limited: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(requests=1000)  # five a share
    asked_for: list[int] = []

    def no_answer(*_: object) -> None:
        asked_for.append(1)
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    monkeypatch.setattr(dynamodb, "count", no_answer)
    tenant = f"ten_{ULID()}"
    assert let_in(tenant, 500, NOON) == 500
    assert len(asked_for) == 100
    assert let_in(tenant, 600, NOON) == 500  # its own count still holds


def test_one_tenants_requests_are_not_another_s(limited: Callable[..., None]) -> None:
    limited(requests=3)
    assert [let_in(f"ten_{ULID()}", 5, NOON) for _ in range(2)] == [3, 3]


def test_every_answer_to_a_tenant_tells_its_limit(api: Api, limited: Callable[..., None], at_noon: None) -> None:
    limited(requests=5)
    seen = [
        api.put(),
        api.get("/v1/datasets"),
        api.get("/v1/uploads/upl_none"),
        api.post(asked() | {"size": "x"}),
        api.post(b"no json"),
        api.get("/v1/datasets"),
    ]
    assert [answer.status_code for answer in seen] == [201, 200, 404, 422, 400, 429]
    assert [answer.headers["RateLimit"] for answer in seen] == [
        f'"minute";r={left};t=50' for left in (4, 3, 2, 1, 0, 0)
    ]
    assert {answer.headers["RateLimit-Policy"] for answer in seen} == {'"minute";q=5;w=60'}
    is_problem(seen[-1], 429, "requests_exceeded")
    assert seen[-1].headers["Retry-After"] == "50"


def test_whoever_is_not_known_is_told_no_limit_and_counts_for_nobody(api: Api, limited: Callable[..., None]) -> None:
    limited(requests=1)
    for _ in range(3):
        answer = api.get("/v1/datasets", Authorization="Bearer none")
        assert answer.status_code == 401
        assert not [name for name in answer.headers if name.startswith("RateLimit")]
    assert api.get("/v1/datasets").status_code == 200


def test_files_and_bytes_of_a_day_are_counted_at_admission(api: Api, limited: Callable[..., None]) -> None:
    limited(files=3, bytes=1000)
    api.put()
    assert [api.post(asked(size=size)).status_code for size in (400, 600)] == [201, 201]
    over = api.post(asked(size=1))
    is_problem(over, 429, "bytes_exceeded")
    assert 0 < int(over.headers["Retry-After"]) <= 86_400
    limited(bytes=10_000)
    assert api.post(asked(size=1)).status_code == 201
    is_problem(api.post(asked(size=1)), 429, "files_exceeded")
    is_problem(api.post(asked(size=10_001)), 413, "file_too_large")  # no day will take it


def test_a_file_of_books_counts_among_the_days(api: Api, limited: Callable[..., None]) -> None:
    limited(files=1)
    sent = [
        api("POST", "/bulk-upload", b"title,author,description\na,b,c\n", Content_Type="text/csv") for _ in range(2)
    ]
    assert sent[0].status_code == 202
    is_problem(sent[1], 429, "files_exceeded")


def test_a_repeat_with_its_key_is_no_file_more(api: Api, limited: Callable[..., None]) -> None:
    limited(files=2)
    api.put()
    first = api.post(asked(), Idempotency_Key="one")
    again = [api.post(asked(), Idempotency_Key="one") for _ in range(3)]
    assert {answer.json_body["id"] for answer in again} == {first.json_body["id"]}
    assert api.get("/v1/quota").json_body["files"]["used"] == 1
    assert api.post(asked()).status_code == 201
    is_problem(api.post(asked()), 429, "files_exceeded")
    assert api.post(asked(), Idempotency_Key="one").status_code == 201  # answered though the day is full


def test_the_requests_used_are_those_of_this_minute(api: Api, limited: Callable[..., None], at_noon: None) -> None:
    limited(requests=1000)
    api.put()
    assert api.get("/v1/quota").json_body["requests"] == {
        "limit": 1000,
        "window_s": 60,
        "used": 2,
        "remaining": 998,
        "resets_at": "2024-10-04T12:01:00.000Z",
    }


def test_the_files_and_bytes_used_are_those_of_today(api: Api, limited: Callable[..., None]) -> None:
    limited(files=10, bytes=1000)
    api.put()
    api.post(asked(size=len(FILE)))
    found = api.get("/v1/quota").json_body
    assert {name: (found[name]["used"], found[name]["remaining"]) for name in ("files", "bytes")} == {
        "files": (1, 9),
        "bytes": (len(FILE), 1000 - len(FILE)),
    }
    assert found["files"]["resets_at"].endswith("T00:00:00.000Z")


def test_quotas_need_no_postgres_and_are_in_no_listing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.put()
    api.post(asked())
    connection.close()
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    settings.cache_clear()
    assert api.get("/v1/quota").status_code == 200
    assert len(api.get("/v1/uploads").json_body["items"]) == 1


def test_the_bound_that_is_published_is_that_of_the_defaults() -> None:
    share = settings().quota_requests // quota.SHARES
    assert math.isclose((50 - 1) * (share - 1) / settings().quota_requests, 0.25, abs_tol=0.01)
    assert re.fullmatch(r"quota#.*", quota._day(1))


@pytest.mark.parametrize("what", [(s3, "begin_parts"), (dynamodb, "admit")])
def test_a_file_that_could_not_be_announced_is_not_counted(
    pipeline: Pipeline, limited: Callable[..., None], monkeypatch: pytest.MonkeyPatch, what: tuple[Any, str]
) -> None:
    """Or whoever tries again while the storage is away, or the table, has used up the day by it."""
    pipeline.dataset()
    monkeypatch.setenv("ROWMILL_MULTIPART_BYTES", "1")
    limited(files=2)

    def away(*arguments: Any) -> str:
        raise EndpointConnectionError(endpoint_url="one of them")

    with monkeypatch.context() as patch:
        patch.setattr(*what, away)
        for _ in range(3):
            with pytest.raises(EndpointConnectionError):
                pipeline.create(FILE)
    used = quota.shown(pipeline.tenant, time.time())
    assert (used["files"]["used"], used["bytes"]["used"]) == (0, 0)
