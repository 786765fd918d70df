"""Who may ask: passwords are kept as argon2id, names are one whatever their case, and only our tokens open doors."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import argon2
import jwt
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from chalicelib import accounts, callers, passwords, tokens
from chalicelib.errors import Refused
from chalicelib.postgres import connection
from chalicelib.settings import settings
from infra.keys import signing_keys
from tests.stages.conftest import Pipeline

PASSWORD = "correct horse"
TENANT = "ten_1"
Claims = dict[str, Any]


def signup(username: str, password: str = PASSWORD) -> dict[str, Any]:
    return accounts.signup({"username": username, "password": password})


def login(username: str, password: str = PASSWORD, address: str = "192.0.2.1") -> dict[str, Any]:
    return accounts.login({"username": username, "password": password}, address)


def refusal(call: Callable[[], object]) -> tuple[int, str, str, Mapping[str, str]]:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.status, refused.value.code, refused.value.detail, refused.value.headers


def claims_of(**changed: Any) -> Claims:
    """What a good token of TENANT says, with some of it changed; None leaves a claim out."""
    now = datetime.now(UTC)
    claims = {
        "iss": "rowmill",
        "aud": "rowmill-local",
        "sub": "usr_1",
        "tenant": TENANT,
        "sid": "ses_1",
        "iat": now,
        "nbf": now,
        "exp": now + timedelta(minutes=1),
    }
    return {name: value for name, value in (claims | changed).items() if value is not None}


def bearer(claims: Claims, secret: str | None = None, algorithm: str = "HS256", **header: Any) -> str:
    """A token as ours but for what is given; None leaves a field of the header out."""
    ours = settings().jwt_secret
    fields = {"typ": "at+jwt", "kid": kid(ours)} | header
    kept = {name: value for name, value in fields.items() if value is not None or name == "typ"}
    return "Bearer " + jwt.encode(claims, ours if secret is None else secret, algorithm, kept)


def kid(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def tenant_of(authorization: str) -> str:
    return callers.authenticate(authorization).tenant


def part(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def is_turned_away(authorization: str | None) -> None:
    status, code, _, headers = refusal(lambda: callers.authenticate(authorization))
    assert (status, code) == (401, "token_invalid")
    assert headers["WWW-Authenticate"].startswith("Bearer")


def test_a_password_is_kept_as_argon2id_at_owasp_s_floor_or_above(pipeline: Pipeline) -> None:
    names = ["ada", "bob", "eve"]
    for username in names:
        signup(username)
    kept_as = "SELECT password_hash FROM rowmill.account WHERE username = ANY(%s)"
    hashes = [row["password_hash"] for row in pipeline.sql(kept_as, names)]
    assert len(hashes) == len(set(hashes)) == 3  # salted: one password, different hashes
    for phc in hashes:
        assert phc.startswith("$argon2id$v=19$m=")
        kept = argon2.extract_parameters(phc)
        assert kept.memory_cost >= 19456
        assert kept.time_cost >= 2
        assert kept.parallelism >= 1
        assert (kept.salt_len >= 16, kept.hash_len >= 32) == (True, True)


def test_a_session_opens_its_own_tenant_only(pipeline: Pipeline) -> None:
    session = signup("ada")
    assert set(session) == {"access", "refresh", "expires_in", "user_id", "username", "tenant_id"}
    assert tenant_of(f"Bearer {session['access']}") == session["tenant_id"] != pipeline.tenant
    assert login("ada")["tenant_id"] == session["tenant_id"]
    claims = jwt.decode(session["access"], options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], claims["sub"]) == ("rowmill", "rowmill-local", session["user_id"])
    assert claims["exp"] - claims["iat"] == session["expires_in"] == timedelta(minutes=30).total_seconds()
    assert claims["nbf"] == claims["iat"]


@pytest.mark.usefixtures("pipeline")
def test_a_username_is_taken_whatever_its_case() -> None:
    for first, again in (("Ada", "aDA"), ("bob", "BOB"), ("Ärger@x.org", "äRGER@X.ORG")):
        signup(first)
        assert refusal(partial(signup, again, "another horse"))[:2] == (409, "username_taken")
        assert login(again)["username"] == first


def test_a_username_that_is_taken_leaves_no_tenant_behind(pipeline: Pipeline) -> None:
    signup("ada")
    with pytest.raises(Refused):
        signup("ada")
    (counted,) = pipeline.sql(
        "SELECT (SELECT count(*) FROM rowmill.tenant) AS t, (SELECT count(*) FROM rowmill.account) AS a"
    )
    assert counted == {"t": 2, "a": 2}


@pytest.mark.usefixtures("pipeline")
def test_an_unknown_name_and_a_wrong_password_get_the_same_answer_after_the_same_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signup("ada")
    checked: list[argon2.Parameters] = []
    verify = argon2.PasswordHasher.verify

    def counted(hasher: argon2.PasswordHasher, phc: str | bytes, password: str | bytes) -> bool:
        checked.append(argon2.extract_parameters(str(phc)))
        return verify(hasher, phc, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    wrong = refusal(lambda: login("ada", "wrong horse"))
    unknown = refusal(lambda: login("nobody", "wrong horse"))
    assert wrong == unknown
    assert wrong[:2] == (401, "login_failed")
    assert len(checked) == 2
    assert checked[0] == checked[1]


@pytest.mark.usefixtures("pipeline")
def test_the_password_of_the_hash_for_nobody_opens_nothing() -> None:
    assert refusal(lambda: login("nobody", "no account has this password"))[1] == "login_failed"
    assert not passwords.matches(None, "no account has this password")


@pytest.mark.usefixtures("pipeline")
def test_a_password_may_have_8_to_256_characters() -> None:
    for name, password in (("ada", "pä" * 4), ("bob", "pä" * 128)):
        signup(name, password)
        assert login(name, password)["username"] == name
        assert refusal(partial(login, name, password[:-1]))[1] == "login_failed"


@pytest.mark.parametrize(
    ("username", "password", "code"),
    [
        ("ada", "1234567", "password_invalid"),
        ("ada", "x" * 257, "password_invalid"),
        ("ada", "", "password_invalid"),
        ("", PASSWORD, "username_invalid"),
        ("a da", PASSWORD, "username_invalid"),
        ("ada\n", PASSWORD, "username_invalid"),
        ("ada\x7f", PASSWORD, "username_invalid"),
        # `DELETE …/grants/..` is `DELETE …/{name}` by the time that most clients send it.
        (".", PASSWORD, "username_invalid"),
        ("..", PASSWORD, "username_invalid"),
        ("a\u00a0b", PASSWORD, "username_invalid"),
        ("a" * 255, PASSWORD, "username_invalid"),
    ],
)
def test_a_username_or_password_out_of_bounds_is_refused_by_name(username: str, password: str, code: str) -> None:
    assert refusal(lambda: signup(username, password))[:2] == (422, code)


def test_a_password_among_the_first_that_are_guessed_is_refused(pipeline: Pipeline) -> None:
    for password in ("password", "PassWord1", "123456789", "webster1"):
        assert refusal(partial(signup, "ada", password))[:2] == (422, "password_common")
    assert refusal(partial(signup, "Ada-of-1815", "ada-OF-1815"))[:2] == (422, "password_common")
    assert len(pipeline.sql("SELECT 1 FROM rowmill.account")) == 1
    assert signup("ada", "password1 and more")


def test_the_list_of_common_passwords_is_3000_that_could_be_chosen_and_says_where_it_is_from() -> None:
    text = Path(passwords.__file__).with_name("common_passwords.txt").read_text()
    words = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(set(words)) == len(words) == 3000
    assert all(8 <= len(word) <= 256 and word == word.lower() for word in words)
    assert "Django Software Foundation" in text


def fails(name: str, address: str, times: int) -> None:
    for _ in range(times):
        assert refusal(lambda: login(name, "wrong horse", address))[:2] == (401, "login_failed")


def is_throttled(name: str, address: str, password: str = PASSWORD) -> int:
    """In how many seconds to come back."""
    status, code, _, headers = refusal(lambda: login(name, password, address))
    assert (status, code) == (429, "too_many_logins")
    return int(headers["Retry-After"])


def later(pipeline: Pipeline, seconds: int) -> None:
    pipeline.sql("UPDATE rowmill.login_failure SET at = at - %s * interval '1 second'", seconds)


def test_the_eleventh_failure_for_a_name_waits_a_minute_known_or_not_from_wherever(pipeline: Pipeline) -> None:
    signup("ada")
    waits = []
    for name in ("ada", "nobody"):
        for tries in range(10):
            fails(name.upper() if tries % 2 else name, f"192.0.2.{tries}", 1)
        waits.append(is_throttled(name, "198.51.100.1"))
    assert all(1 <= wait <= 60 for wait in waits)
    signup("bob")
    assert login("bob")
    later(pipeline, 60)
    assert login("ada")["username"] == "ada"
    fails("ada", "192.0.2.1", 10)  # the right password took all back
    is_throttled("ada", "192.0.2.1")


def test_refused_tries_are_not_counted_so_that_an_owner_gets_in_beside_a_guesser(pipeline: Pipeline) -> None:
    signup("ada")
    fails("ada", "192.0.2.1", 10)
    for _ in range(5):
        is_throttled("ada", "192.0.2.1", "wrong horse")
    later(pipeline, 60)
    assert login("ada", address="192.0.2.2")


@pytest.mark.usefixtures("pipeline")
def test_refused_tries_at_one_name_leave_the_address_to_others() -> None:
    """A program with an old password that asks on and on, and people behind the same gateway."""
    signup("ada")
    fails("machine", "192.0.2.1", 10)
    for _ in range(95):
        is_throttled("machine", "192.0.2.1", "wrong horse")
    assert login("ada", address="192.0.2.1")


def test_a_hundred_failures_from_an_address_close_it_for_all_names_and_one_comes_back_in_six_seconds(
    pipeline: Pipeline,
) -> None:
    signup("ada")
    fails("nobody", "2001:db8:1:2::1", 1)
    pipeline.sql("UPDATE rowmill.login_failure SET level = 99, at = now()")
    for _ in range(3):
        assert login("ada", address="2001:db8:1:2::2")  # a success takes back its own count alone
    fails("ada", "2001:db8:1:2::3", 1)
    assert 1 <= is_throttled("ada", "2001:db8:1:2::ffff") <= 6
    assert login("ada", address="2001:db8:1:3::1")  # a neighbour
    assert login("ada", address="192.0.2.1")
    later(pipeline, 6)
    assert login("ada", address="2001:db8:1:2::1")


@pytest.mark.usefixtures("pipeline")
def test_of_many_tries_at_once_no_more_get_through() -> None:
    def attempt(place: int) -> int:
        try:
            return refusal(lambda: login("ada", "wrong horse", f"192.0.2.{place}"))[0]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(24))) == [401] * 10 + [429] * 14


def test_failed_logins_are_kept_without_names_and_for_a_day(pipeline: Pipeline) -> None:
    fails("Tr0ub4dor&3", "192.0.2.1", 1)
    kept = str(pipeline.sql("SELECT f::text AS f FROM rowmill.login_failure f"))
    assert b"tr0ub4dor".hex() not in kept.lower()
    assert "tr0ub4dor" not in kept.lower()
    assert pipeline.sweep()["failed_logins_forgotten"] == 0
    later(pipeline, 86_401)
    assert pipeline.sweep()["failed_logins_forgotten"] == 2


def test_a_token_with_every_claim_opens_the_door() -> None:
    token = bearer(claims_of())
    assert tenant_of(token) == tenant_of(token.replace("Bearer", "bearer")) == TENANT


def test_a_token_lacking_any_claim_is_turned_away() -> None:
    for claim in ("iss", "aud", "sub", "tenant", "sid", "iat", "nbf", "exp"):
        is_turned_away(bearer(claims_of(**{claim: None})))


def test_a_token_of_another_stage_issuer_or_time_is_turned_away() -> None:
    now = datetime.now(UTC)
    for changed in (
        {"aud": "rowmill-prod"},
        {"aud": "rowmill"},
        {"aud": ["rowmill-prod"]},
        {"iss": "somebody"},
        {"exp": now - timedelta(seconds=11)},
        {"exp": now - timedelta(hours=1)},
        {"iat": now + timedelta(seconds=20)},
        {"nbf": now + timedelta(seconds=20)},
        {"iat": now + timedelta(hours=1)},
        {"nbf": now + timedelta(hours=1)},
        {"exp": "soon"},
    ):
        is_turned_away(bearer(claims_of(**changed)))


def test_a_token_of_a_process_whose_clock_is_a_little_off_opens_the_door() -> None:
    # A login is answered by one process, and what is asked with its token by another.
    now = datetime.now(UTC)
    for seconds in (-9, 9):
        signed = now + timedelta(seconds=seconds)
        assert tenant_of(bearer(claims_of(iat=signed, nbf=signed))) == TENANT
    assert tenant_of(bearer(claims_of(exp=now - timedelta(seconds=5)))) == TENANT


@pytest.mark.usefixtures("pipeline")
def test_a_stage_refuses_the_tokens_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    token = f"Bearer {signup('ada')['access']}"
    monkeypatch.setenv("ROWMILL_STAGE", "prod")
    settings.cache_clear()
    is_turned_away(token)


def test_a_token_that_we_did_not_sign_is_turned_away() -> None:
    claims = claims_of()
    good = bearer(claims).removeprefix("Bearer ")
    header, payload, signature = good.split(".")
    unsigned = bearer(claims, "", "none").removeprefix("Bearer ")
    ours = {"typ": "at+jwt", "kid": kid(settings().jwt_secret)}
    stamps = {name: int(value.timestamp()) if isinstance(value, datetime) else value for name, value in claims.items()}
    for token in (
        unsigned,
        f"{part({'alg': 'none'} | ours)}.{payload}.{signature}",
        f"{part({'alg': 'None'} | ours)}.{payload}.",
        f"{part({'alg': ['HS256']} | ours)}.{payload}.{signature}",
        f"{part({'alg': 'HS512'} | ours)}.{payload}.{signature}",
        f"{part({'alg': 'RS256'} | ours)}.{payload}.{signature}",
        f"{header}.{part(stamps | {'tenant': 'ten_other'})}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature[::-1]}",
    ):
        is_turned_away(f"Bearer {token}")
    is_turned_away(bearer(claims, "another secret, also long enough for it", "HS256"))
    is_turned_away(bearer(claims, settings().jwt_secret * 2, "HS512"))


@pytest.mark.parametrize(
    "header", ["1", "null", "[]", "[" * 3000, '{"a":' * 3000, "9" * 5000, '{"alg": "HS256"', '"\\ud800"']
)
def test_a_token_whose_header_is_no_header_is_turned_away(header: str) -> None:
    """Read before any signature is checked, so anybody may send it."""
    is_turned_away(f"Bearer {part(header)}.{part({})}.{part('x')}")


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Token x", "Bearer a.b.c", "Bearer é", "Bearer \x80"]
)
def test_what_is_no_bearer_token_is_turned_away(authorization: str | None) -> None:
    is_turned_away(authorization)


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"kid": None},
        {"kid": ""},
        {"kid": "0123456789abcdef"},
        {"kid": "../../etc/passwd"},
        {"kid": "' OR 1=1 --"},
        {"jku": "http://127.0.0.1/keys", "kid": "theirs"},
    ],
)
def test_a_token_whose_header_names_no_key_of_ours_or_another_type_is_turned_away(header: dict[str, Any]) -> None:
    is_turned_away(bearer(claims_of(), **header))


@pytest.mark.parametrize("kid", [["a"], {"a": "b"}, 7])
def test_a_key_id_that_is_no_text_is_turned_away(kid: Any) -> None:
    """PyJWT would not write one, so it is put together by hand."""
    head = part({"typ": "at+jwt", "alg": "HS256", "kid": kid})
    is_turned_away(f"Bearer {head}.{part({})}.{part('x')}")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets the keys of this process, the newest first."""

    def use(*secrets: str) -> None:
        monkeypatch.setenv("JWT_SECRET", ",".join(secrets))
        settings.cache_clear()

    yield use
    monkeypatch.undo()
    settings.cache_clear()


def test_the_newest_key_signs_and_the_one_before_is_good_until_it_is_gone(keys: Callable[..., None]) -> None:
    first, second, third = (letter * 40 for letter in "abc")
    issued = {}
    for held in ((first,), (second, first), (third, second)):
        keys(*held)
        issued[held[0]] = tokens.sign(tokens.Bearer("usr_1", TENANT, "ses_1"))
        assert jwt.get_unverified_header(issued[held[0]])["kid"] == kid(held[0])
        jwt.decode(issued[held[0]], held[0], ["HS256"], audience="rowmill-local")
    for good in (second, third):
        assert tenant_of(f"Bearer {issued[good]}") == TENANT
    is_turned_away(f"Bearer {issued[first]}")


def test_a_deploy_keeps_the_keys_and_a_rotation_keeps_the_last_one() -> None:
    first = signing_keys(None)
    assert signing_keys(first) == first != signing_keys(None)
    second = signing_keys(first, rotate=True)
    assert second.split(",")[1:] == [first]
    third = signing_keys(second, rotate=True)
    assert third.split(",")[1:] == second.split(",")[:1]
    assert signing_keys(third) == third
    assert all(len(key) >= 64 for key in third.split(","))


def test_a_token_signed_by_one_of_our_keys_in_the_name_of_another_is_turned_away(keys: Callable[..., None]) -> None:
    first, second = "a" * 40, "b" * 40
    keys(second, first)
    assert tenant_of(bearer(claims_of(), first, kid=kid(first))) == TENANT
    is_turned_away(bearer(claims_of(), first, kid=kid(second)))


def test_a_token_needs_its_scheme() -> None:
    is_turned_away(bearer(claims_of()).removeprefix("Bearer "))


@given(st.text(st.characters(max_codepoint=255), max_size=60))
@examples(max_examples=100, deadline=None)
def test_any_text_as_token_is_turned_away(token: str) -> None:
    is_turned_away(f"Bearer {token}")
