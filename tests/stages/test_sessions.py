"""How long somebody is logged in: refresh tokens work once, and one that is shown again ends the session."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from chalicelib import accounts, callers, passwords
from chalicelib.errors import Refused
from chalicelib.postgres import connection, people
from chalicelib.postgres.connection import Connection
from tests.stages.conftest import CONTACTS, Pipeline, acting
from tests.stages.test_api_keys import Asker

ADA = {"username": "ada", "password": "correct horse"}


def refresh(token: str, request: str | None = None) -> dict[str, Any]:
    return accounts.refresh(token, request)


def login() -> dict[str, Any]:
    return accounts.login(ADA, "192.0.2.1")


def change(answer: dict[str, Any], current: str, new: str) -> dict[str, Any]:
    return accounts.change_password(answer["user_id"], {"current": current, "new": new}, "192.0.2.1")


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


# Another password


NEW = "staple battery"


@pytest.mark.usefixtures("pipeline")
def test_another_password_ends_every_session_but_the_one_that_comes_with_it() -> None:
    here, elsewhere = accounts.signup(ADA), login()
    bob = accounts.signup(ADA | {"username": "bob"})
    with acting("api"):
        changed = change(here, ADA["password"], NEW)
    for session in (here, elsewhere):
        is_over(session["refresh"])
    assert refresh(changed["refresh"])["username"] == "ada"
    assert refresh(bob["refresh"])["username"] == "bob"
    with pytest.raises(Refused, match="wrong"):
        login()
    assert accounts.login(ADA | {"password": NEW}, "192.0.2.1")["user_id"] == here["user_id"]


@pytest.mark.usefixtures("pipeline")
def test_nothing_changes_without_the_password_that_is_there() -> None:
    session = accounts.signup(ADA)
    for current, new, code in (
        ("wrong horse", NEW, "password_wrong"),
        (ADA["password"], "short", "password_invalid"),
        (ADA["password"], "password1", "password_common"),
    ):
        with pytest.raises(Refused) as refused:
            change(session, current, new)
        assert refused.value.code == code
    assert refresh(session["refresh"])
    assert login()


@pytest.mark.usefixtures("pipeline")
def test_a_change_whose_answer_was_lost_may_be_asked_for_again() -> None:
    session = accounts.signup(ADA)
    lost = change(session, ADA["password"], NEW)
    again = change(session, ADA["password"], NEW)
    is_over(lost["refresh"])
    assert refresh(again["refresh"])


@pytest.mark.usefixtures("pipeline")
def test_who_has_a_token_guesses_at_the_password_no_more_often_than_who_has_none() -> None:
    session = accounts.signup(ADA)
    codes = []
    for _ in range(11):
        with pytest.raises(Refused) as refused:
            change(session, "wrong horse", NEW)
        codes.append(refused.value.code)
    assert codes == ["password_wrong"] * 10 + ["too_many_logins"]
    with pytest.raises(Refused) as refused:
        login()
    assert refused.value.code == "too_many_logins"


@pytest.mark.usefixtures("pipeline")
def test_a_login_with_a_password_that_is_changed_while_it_is_proved_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    session = accounts.signup(ADA)
    prove = passwords.matches

    def slow(kept: str | None, password: str) -> bool:
        monkeypatch.setattr(passwords, "matches", prove)
        change(session, ADA["password"], NEW)
        return prove(kept, password)

    monkeypatch.setattr(passwords, "matches", slow)
    with pytest.raises(Refused) as refused:
        login()
    assert (refused.value.status, refused.value.code) == (401, "login_failed")


def test_a_login_that_has_begun_its_session_is_waited_for_and_ended(pipeline: Pipeline) -> None:
    session = accounts.signup(ADA)
    hold = people.hold_account
    changing: list[Future[dict[str, Any]]] = []

    def elsewhere() -> dict[str, Any]:
        try:
            return change(session, ADA["password"], NEW)
        finally:
            connection.close()

    def held(db: Connection, user_id: str, password_hash: str | None = None) -> bool:
        is_held = hold(db, user_id, password_hash)
        if not changing:
            changing.append(pool.submit(elsewhere))
            wait(changing, 1)  # it would be over by now if it did not have to wait
        return is_held

    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patched:
        patched.setattr(people, "hold_account", held)
        begun = login()
    is_over(begun["refresh"])
    assert refresh(changing[0].result()["refresh"])
    assert len(pipeline.sql("SELECT FROM rowmill.session WHERE user_id = %s", session["user_id"])) == 1


LASTING = [
    ("POST", "/v1/api-keys", {"name": "stays"}),
    ("POST", "/v1/webhooks", {"url": "https://hooks.example.org/stays"}),
    ("PUT", "/v1/datasets/contacts/grants/thief", {"role": "reader"}),
    ("DELETE", "/v1/account?confirm=ada", None),
]


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize("end", ["logout", "another password"])
def test_a_token_that_outlives_its_session_gets_nothing_that_would_outlive_it(end: str) -> None:
    owners = accounts.signup(ADA)
    accounts.signup(ADA | {"username": "thief"})
    owner = Asker(owners["access"])
    assert owner("PUT", "/v1/datasets/contacts", CONTACTS).status_code == 201
    stolen = Asker(login()["access"])
    key = Asker(owner.key()["secret"])
    if end == "logout":
        accounts.logout(owners["refresh"])
        stolen = owner
    else:
        change(owners, ADA["password"], NEW)
    assert stolen("GET", "/v1/datasets").status_code == 200  # it is not looked up
    for door in LASTING:
        answer = stolen(*door)
        assert (answer.status_code, answer.json_body["code"]) == (401, "token_invalid"), door
    assert key("PUT", "/v1/datasets/contacts/grants/thief", {"role": "reader"}).status_code == 201
    again = Asker(
        accounts.login(ADA | {"password": NEW if end != "logout" else ADA["password"]}, "192.0.2.1")["access"]
    )
    assert [again(*door).status_code for door in LASTING] == [201, 201, 200, 202]
    assert again(*LASTING[-1]).status_code == 202  # a repeat finds it deleted
