"""How long somebody is logged in: refresh tokens work once, and one that is shown again ends the session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib import accounts, callers, passwords
from chalicelib.errors import Refused
from chalicelib.postgres import connection
from tests.stages.conftest import Pipeline

ADA = {"username": "ada", "password": "correct horse"}


def refresh(token: str, request: str | None = None) -> dict[str, Any]:
    return accounts.refresh(token, request)


def login() -> dict[str, Any]:
    return accounts.login(ADA, "192.0.2.1")


def is_over(token: str, request: str | None = None) -> None:
    with pytest.raises(Refused) as refused:
        refresh(token, request)
    assert (refused.value.status, refused.value.code) == (401, "refresh_invalid")
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_refresh_token_gets_the_next_two_of_the_same_session(pipeline: Pipeline) -> None:
    first = accounts.signup(ADA)
    second = refresh(first["refresh"])
    third = refresh(second["refresh"])
    assert len({one["refresh"] for one in (first, second, third)}) == 3
    for session in (second, third):
        assert {key: session[key] for key in ("user_id", "username", "tenant_id")} == {
            "user_id": first["user_id"],
            "username": "ada",
            "tenant_id": first["tenant_id"],
        }
    begun, gone_on = (callers.authenticate(f"Bearer {one['access']}") for one in (first, third))
    assert begun == gone_on
    assert begun.tenant != pipeline.tenant


@pytest.mark.usefixtures("pipeline")
def test_a_refresh_token_that_is_used_twice_ends_the_session_for_both_who_had_it() -> None:
    stolen = accounts.signup(ADA)["refresh"]
    owners = refresh(refresh(stolen)["refresh"])
    elsewhere = login()["refresh"]
    is_over(stolen)
    is_over(owners["refresh"])
    is_over(stolen)
    assert refresh(elsewhere)["username"] == "ada"  # another login is another session


@pytest.mark.usefixtures("pipeline")
def test_a_lost_answer_may_be_asked_for_again_with_its_key_until_it_is_used() -> None:
    first = accounts.signup(ADA)["refresh"]
    lost = refresh(first, "key-1")["refresh"]
    again = refresh(first, "key-1")["refresh"]
    is_over(lost)  # not known any more, and so no sign of a thief
    second = refresh(again)["refresh"]
    is_over(first, "key-1")  # its successor has been used: whoever asks now has not just lost an answer
    is_over(second)


@pytest.mark.usefixtures("pipeline")
def test_a_repeat_under_another_key_is_no_repeat() -> None:
    first = accounts.signup(ADA)["refresh"]
    second = refresh(first, "key-1")["refresh"]
    is_over(first, "key-2")
    is_over(second)


@pytest.mark.usefixtures("pipeline")
def test_of_eight_who_refresh_with_one_token_at_once_one_is_answered_and_the_session_is_over() -> None:
    first = accounts.signup(ADA)["refresh"]

    def ask(_: int) -> str | None:
        try:
            return str(refresh(first)["refresh"])
        except Refused:
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        (second,) = filter(None, pool.map(ask, range(8)))
    is_over(second)


@pytest.mark.usefixtures("pipeline")
def test_logout_ends_the_session_by_any_of_its_tokens_and_no_other_session() -> None:
    accounts.signup(ADA)
    for spent in (False, True):
        here, elsewhere = login()["refresh"], login()["refresh"]
        next_one = refresh(here)["refresh"] if spent else here
        accounts.logout(here)
        is_over(next_one)
        accounts.logout(here)  # a repeat is no error
        assert refresh(elsewhere)


@pytest.mark.usefixtures("pipeline")
def test_what_is_no_refresh_token_gets_nothing_and_logs_nobody_out() -> None:
    session = accounts.signup(ADA)
    for token in ("", "rmr_x", session["access"], "\ud800", "x" * 10_000):
        is_over(token)
        accounts.logout(token)
    assert refresh(session["refresh"])


def test_refresh_tokens_are_kept_as_hashes(pipeline: Pipeline) -> None:
    first = accounts.signup(ADA)["refresh"]
    second = refresh(first)["refresh"]
    for table in ("session", "refresh_token"):
        kept = str(pipeline.sql(f"SELECT t::text AS t FROM rowmill.{table} t"))
        for token in (first, second):
            assert token not in kept
            assert token.encode().hex() not in kept
    assert len(pipeline.sql("SELECT 1 FROM rowmill.refresh_token WHERE length(hash) = 32")) == 3


def test_a_session_ends_30_days_after_its_login_however_often_it_was_refreshed(pipeline: Pipeline) -> None:
    token = accounts.signup(ADA)["refresh"]
    left = "SELECT extract(epoch FROM expires_at - now()) / 86400 AS days FROM rowmill.session ORDER BY created_at"
    assert 29.9 < float(pipeline.sql(left)[-1]["days"]) <= 30
    pipeline.sql("UPDATE rowmill.session SET expires_at = now() + interval '1 hour'")
    token = refresh(token)["refresh"]
    assert all(row["days"] * 24 <= 1 for row in pipeline.sql(left))
    pipeline.sql("UPDATE rowmill.session SET expires_at = now()")
    is_over(token)


def test_the_sweep_forgets_the_sessions_that_have_expired(pipeline: Pipeline) -> None:
    token = accounts.signup(ADA)["refresh"]
    gone = login()["refresh"]
    pipeline.sql(
        "UPDATE rowmill.session SET expires_at = now() WHERE created_at = (SELECT max(created_at) FROM rowmill.session)"
    )
    refresh(token)
    assert pipeline.sweep()["sessions_forgotten"] == 1
    assert len(pipeline.sql("SELECT 1 FROM rowmill.session")) == 2
    assert len(pipeline.sql("SELECT 1 FROM rowmill.refresh_token")) == 3  # the pipeline's own, and the two of ada's
    is_over(gone)


@pytest.mark.usefixtures("pipeline")
def test_an_account_that_is_deleted_while_its_password_is_proved_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    session = accounts.signup(ADA)
    prove = passwords.matches

    def slow(kept: str | None, password: str) -> bool:
        accounts.delete(session["tenant_id"], session["user_id"], "ada")
        return prove(kept, password)

    monkeypatch.setattr(passwords, "matches", slow)
    with pytest.raises(Refused) as refused:
        login()
    assert (refused.value.status, refused.value.code) == (401, "login_failed")


def test_an_account_that_is_deleted_takes_its_sessions_along(pipeline: Pipeline) -> None:
    session = accounts.signup(ADA)
    pipeline.sql("DELETE FROM rowmill.account WHERE user_id = %s", session["user_id"])
    is_over(session["refresh"])
