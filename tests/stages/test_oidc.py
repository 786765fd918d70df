"""An issuer elsewhere: its tokens open the doors by the keys that it publishes, and nothing that only looks like them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chalicelib import accounts, callers, oidc, tokens
from chalicelib.aws import apikeys as kept_keys
from chalicelib.errors import Refused, Unavailable
from chalicelib.postgres import connection
from chalicelib.settings import settings
from chalicelib.tokens import Invalid
from tests.stages.conftest import CONTACTS, Pipeline
from tests.stages.test_api_keys import Asker

AUDIENCE = "rowmill-api"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
ALGORITHMS = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"} | more


class Server(ThreadingHTTPServer):
    """An issuer that publishes these keys, and is away when a test wants it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.keys: list[dict[str, Any]] = [public(RSA, "rsa"), public(CURVE, "curve")]
        self.discovery: dict[str, Any] = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.status, self.moved, self.padding = 200, False, 0
        self.asked: list[str] = []


class Door(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        told = {"/.well-known/openid-configuration": self.server.discovery, "/keys": {"keys": self.server.keys}}
        body = json.dumps(told[self.path.removeprefix("/moved")]).encode() + b" " * self.server.padding
        is_moved = self.server.moved and not self.path.startswith("/moved")
        self.send_response(302 if is_moved else self.server.status)
        self.send_header("Location", f"/moved{self.path}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(server: Server, clock: Clock) -> oidc.Issuer:
    return oidc.Issuer(server.url, AUDIENCE, clock)


def token(server: Server, key: Any = RSA, kid: str | None = "rsa", typ: str | None = "JWT", **claims: Any) -> str:
    now = int(time.time())
    said = {"iss": server.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "nbf": now, "exp": now + 300} | claims
    algorithm = next(name for kind, name in ALGORITHMS.items() if isinstance(key, kind))
    headers = {"typ": typ} | ({} if kid is None else {"kid": kid})
    return jwt.encode({k: v for k, v in said.items() if v is not None}, key, algorithm, headers=headers)


def test_a_token_is_proved_by_the_published_key_of_either_kind(server: Server, issuer: oidc.Issuer) -> None:
    ada = oidc.person(server.url, "ada")
    assert issuer.read(token(server)) == ada
    assert issuer.read(token(server, CURVE, "curve", "at+jwt", aud=["other", AUDIENCE])) == ada
    assert issuer.read(token(server, sub="eve")).tenant != ada.tenant
    assert oidc.person("https://elsewhere.example", "ada") != ada
    assert server.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another-api"},
        {"aud": None},
        {"iss": None},
        {"exp": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a" * 256},
        {"exp": 1},
        {"nbf": 2**33},
        {"iat": 2**33},
    ],
    ids=str,
)
def test_a_token_that_is_not_for_us_or_not_now_is_refused(
    server: Server, issuer: oidc.Issuer, claims: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        issuer.read(token(server, **claims))


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_no_other_algorithm_passes_whatever_the_token_says(server: Server, issuer: oidc.Issuer) -> None:
    """Unsigned, or signed with the public key as a secret, as a library would that believes the header."""
    claims = token(server).split(".")[1]
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = RSA.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("none", "None", "HS256", "RS512", "PS256", "ES256"):
        for secret in (pem, der, b"", server.keys[0]["n"].encode()):
            signed = f"{part({'alg': algorithm, 'kid': 'rsa', 'typ': 'JWT'})}.{claims}"
            for signature in (b"", hmac.digest(secret, signed.encode(), hashlib.sha256)):
                with pytest.raises(Invalid):
                    issuer.read(f"{signed}.{part(signature)}")
    head, _, sign = token(server).split(".")
    for broken in (f"{head}.{part({'sub': 'eve'})}.{sign}", "", "a.b.c", "é", "rmk_", "a" * 9000, token(server)[:-4]):
        with pytest.raises(Invalid):
            issuer.read(broken)


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
def test_a_key_is_good_for_what_it_was_published_for(server: Server, issuer: oidc.Issuer) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    long = ec.generate_private_key(ec.SECP384R1())
    server.keys = [
        public(RSA, "for encryption", use="enc"),
        public(RSA, "for another", alg="RS512"),
        public(weak, "weak"),
        public(long, "long"),
        {"kty": "oct", "k": part(b"secret"), "kid": "a secret"},
        {"kty": "RSA", "kid": "no key"},
        public(RSA, "good"),
    ]
    for key, kid in ((RSA, "for encryption"), (RSA, "for another"), (weak, "weak"), (CURVE, "long"), (RSA, "no key")):
        with pytest.raises(Invalid):
            issuer.read(token(server, key, kid))
    for kid in (None, "rsa", "../../etc/passwd", "' OR 1=1"):
        with pytest.raises(Invalid):
            issuer.read(token(server, RSA, kid))
    with pytest.raises(Invalid):
        issuer.read(token(server, RSA, "good", "logout+jwt"))
    with pytest.raises(Invalid):
        issuer.read(token(server, OTHER, "good"))
    assert issuer.read(token(server, RSA, "good"))


def test_keys_rotate_and_made_up_ids_do_not_make_us_ask_for_each(
    server: Server, issuer: oidc.Issuer, clock: Clock
) -> None:
    assert issuer.read(token(server))
    for n in range(50):
        with pytest.raises(Invalid):
            issuer.read(token(server, OTHER, f"made up {n}"))
    assert server.asked.count("/keys") == 1
    server.keys = [public(OTHER, "next")]
    clock.now += oidc.ASKED_SECONDS
    assert issuer.read(token(server, OTHER, "next"))
    with pytest.raises(Invalid):
        issuer.read(token(server))  # the old key is gone
    assert server.asked.count("/keys") == 2
    clock.now += oidc.KEPT_SECONDS + 1
    assert issuer.read(token(server, OTHER, "next"))
    assert server.asked.count("/keys") == 3


def test_while_the_issuer_is_away_known_keys_are_good_for_a_day_and_others_are_asked_for_later(
    server: Server, issuer: oidc.Issuer, clock: Clock
) -> None:
    server.status = 500
    with pytest.raises(Unavailable) as away:
        issuer.read(token(server))
    assert (away.value.code, away.value.status, "Retry-After" in away.value.headers) == (
        "issuer_unavailable",
        503,
        True,
    )
    server.status = 200
    clock.now += oidc.ASKED_SECONDS
    assert issuer.read(token(server))
    server.status = 500
    clock.now += oidc.KEPT_SECONDS + 1
    asked = len(server.asked)
    assert all(issuer.read(token(server)) for _ in range(5))
    assert len(server.asked) == asked + 1
    with pytest.raises(Unavailable):
        issuer.read(token(server, OTHER, "next"))
    clock.now += oidc.KEPT_AWAY_SECONDS
    with pytest.raises(Unavailable):
        issuer.read(token(server))


@pytest.mark.parametrize("wrong", ["another issuer", "no keys", "redirect", "huge", "plain http", "a file", "no JSON"])
def test_a_document_that_is_not_the_issuer_s_is_as_if_it_were_away(
    server: Server, issuer: oidc.Issuer, wrong: str
) -> None:
    match wrong:
        case "another issuer":
            server.discovery["issuer"] = "https://elsewhere.example"
        case "no keys":
            del server.discovery["jwks_uri"]
        case "redirect":
            server.moved = True
        case "huge":
            server.padding = oidc.MAX_BYTES
        case "plain http":
            server.discovery["jwks_uri"] = f"http://0.0.0.0:{server.server_port}/keys"  # this machine by no name of it
        case "a file":
            server.discovery["jwks_uri"] = "file:///etc/passwd"
        case "no JSON":
            server.discovery["jwks_uri"] = 1
    with pytest.raises(Unavailable):
        issuer.read(token(server))


# The doors


@pytest.fixture
def elsewhere(pipeline: Pipeline, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A deployment that believes this issuer."""
    monkeypatch.setenv("OIDC_ISSUER", server.url)
    monkeypatch.setenv("OIDC_AUDIENCE", AUDIENCE)
    for cached in (settings, oidc._issuer, callers._provision):
        cached.cache_clear()
    yield pipeline
    monkeypatch.undo()
    for cached in (settings, oidc._issuer, callers._provision):
        cached.cache_clear()


def test_who_was_never_here_gets_a_tenant_at_first_sight_and_the_same_one_ever_after(
    elsewhere: Pipeline, server: Server
) -> None:
    ada = Asker(token(server))
    assert ada("PUT", "/v1/datasets/contacts", CONTACTS).status_code == 201
    callers._provision.cache_clear()
    listed = Asker(token(server, CURVE, "curve"))("GET", "/v1/datasets")
    assert [one["name"] for one in listed.json_body["items"]] == ["contacts"]
    assert Asker(token(server, sub="eve"))("GET", "/v1/datasets").json_body["items"] == []
    mine = oidc.person(server.url, "ada")
    (account,) = elsewhere.sql("SELECT * FROM rowmill.account WHERE user_id = %s", mine.user_id)
    assert (account["tenant"], account["password_hash"]) == (mine.tenant, "")


def test_many_first_requests_at_once_make_one_account(elsewhere: Pipeline, server: Server) -> None:
    def first(_: int) -> None:
        callers._provision.__wrapped__(*ids)
        connection.close()

    person = oidc.person(server.url, "ada")
    ids = (person.user_id, person.tenant)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(first, range(16)))
    assert len(elsewhere.sql("SELECT 1 FROM rowmill.account WHERE tenant = %s", person.tenant)) == 1


def test_after_the_first_sight_nobody_needs_postgres_to_know_who_asks(
    elsewhere: Pipeline, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = Asker(token(server))
    assert ada("GET", "/v1/uploads").status_code == 200
    callers._provision.cache_clear()  # as another process of the API sees it
    monkeypatch.setenv("DATABASE_URL", "postgresql://rowmill:secret@127.0.0.1:1/rowmill")
    settings.cache_clear()
    connection.close()
    assert ada("GET", "/v1/uploads").status_code == 200
    assert Asker(token(server, sub="new"))("GET", "/v1/uploads").status_code == 503


def test_who_came_after_the_backup_that_postgres_was_restored_from_is_settled_again(
    elsewhere: Pipeline, server: Server
) -> None:
    """The note that they are here is not in Postgres, and a process that has met them does not look for it either."""
    ada, mine = Asker(token(server)), oidc.person(server.url, "ada")
    assert ada("GET", "/v1/datasets").status_code == 200
    elsewhere.sql("DELETE FROM rowmill.account WHERE tenant = %s", mine.tenant)
    elsewhere.sql("DELETE FROM rowmill.tenant WHERE tenant = %s", mine.tenant)
    assert ada("GET", "/v1/datasets").json_body["items"] == []
    assert ada("PUT", "/v1/datasets/contacts", CONTACTS).status_code == 201
    assert [one["name"] for one in ada("GET", "/v1/datasets").json_body["items"]] == ["contacts"]
    assert ada("DELETE", f"/v1/account?confirm={mine.user_id}").status_code == 202
    assert ada("DELETE", f"/v1/account?confirm={mine.user_id}").status_code == 202  # what it was is known still


@pytest.mark.usefixtures("elsewhere")
def test_accounts_of_our_own_are_closed_and_keys_of_machines_go_on(server: Server) -> None:
    ada = Asker(token(server))
    for door, body in (
        ("/v1/auth/signup", {"username": "ada", "password": "correct horse"}),
        ("/v1/auth/login", {"username": "ada", "password": "correct horse"}),
        ("/v1/auth/refresh", {"refresh": "rmr_1"}),
        ("/signup", {"username": "ada", "password": "correct horse"}),
        ("/login", {"username": "ada", "password": "correct horse"}),
    ):
        answer = ada("POST", door, body)
        assert (answer.status_code, answer.json_body["code"]) == (404, "accounts_elsewhere"), door
    made = ada.key()
    assert Asker(made["secret"])("GET", "/v1/uploads").status_code == 200
    assert [one["id"] for one in ada.listed()] == [made["id"]]


def test_an_issuer_s_account_has_no_password_where_accounts_are_our_own_again(
    elsewhere: Pipeline, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is in every grant; what nobody's hash is made of is in the source."""
    assert Asker(token(server))("GET", "/v1/datasets").status_code == 200
    monkeypatch.delenv("OIDC_ISSUER")
    settings.cache_clear()
    for password in ("no account has this password", "", "correct horse"):
        with pytest.raises(Refused) as refused:
            accounts.login({"username": oidc.person(server.url, "ada").user_id, "password": password}, "192.0.2.1")
        assert refused.value.code == "login_failed"


def test_who_was_deleted_a_while_ago_is_told_so_at_every_door(elsewhere: Pipeline, server: Server) -> None:
    ada = Asker(token(server))
    assert ada("DELETE", f"/v1/account?confirm={oidc.person(server.url, 'ada').user_id}").status_code == 202
    callers._provision.cache_clear()  # as another process of the API sees it
    for method, path in (
        ("GET", "/v1/datasets"),
        ("GET", "/v1/quota"),
        ("GET", "/books"),
        ("DELETE", "/v1/webhooks/1"),
    ):
        answer = ada(method, path)
        assert (answer.status_code, answer.json_body["code"]) == (403, "account_erased")


def is_erased(elsewhere: Pipeline, tenant: str) -> None:
    """All of an account that was deleted, as after 17 days."""
    for age in ("0 hours", "3 hours", "17 days"):
        elsewhere.sql(
            "UPDATE rowmill.tenant SET erased_at = erased_at - %s::interval, erase_at = now() WHERE tenant = %s",
            age,
            tenant,
        )
        elsewhere.sweep()


@pytest.mark.parametrize("is_shared", [False, True])
def test_who_was_erased_and_comes_back_begins_anew(elsewhere: Pipeline, server: Server, is_shared: bool) -> None:
    ada, eve = Asker(token(server)), Asker(token(server, sub="eve"))
    mine, theirs = oidc.person(server.url, "ada"), oidc.person(server.url, "eve")
    assert ada("PUT", "/v1/datasets/contacts", CONTACTS).status_code == 201
    if is_shared:  # what others have sent here names its tenant and its dataset for ever
        assert eve("GET", "/v1/datasets").status_code == 200
        grant = f"/v1/datasets/contacts/grants/{theirs.user_id}"
        assert ada("PUT", grant, {"role": "writer"}).status_code == 201
        elsewhere.tenant = theirs.tenant
        elsewhere.run(b"email,name,age\na@x.org,Ada,1\n", ada("GET", "/v1/datasets/contacts").json_body["id"])
    assert ada("DELETE", f"/v1/account?confirm={mine.user_id}").status_code == 202
    is_erased(elsewhere, mine.tenant)
    callers._provision.cache_clear()
    assert ada("GET", "/v1/datasets").json_body["items"] == []
    assert ada("PUT", "/v1/datasets/contacts", CONTACTS).status_code == 201
    assert ada("DELETE", f"/v1/account?confirm={mine.user_id}").status_code == 202  # and so may go again
    callers._provision.cache_clear()
    assert ada("GET", "/v1/datasets").status_code == 403


def test_who_is_deleted_while_another_process_meets_them_begins_anew_all_the_same(
    elsewhere: Pipeline, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, mine = Asker(token(server)), oidc.person(server.url, "ada")
    assert ada("GET", "/v1/datasets").status_code == 200
    kept_keys.delete_all(mine.user_id)  # as the deletion begins
    callers._provision.cache_clear()
    note, deleting = kept_keys.note_provisioned, []

    def delete() -> None:
        accounts.delete(mine.tenant, mine.user_id, mine.user_id)
        connection.close()

    def late(user_id: str) -> None:
        deleting.append(pool.submit(delete))
        wait(deleting, 1)  # it may end before the note is there, unless it has to wait for it
        note(user_id)

    monkeypatch.setattr(kept_keys, "note_provisioned", late)
    with ThreadPoolExecutor(1) as pool:
        assert ada("GET", "/v1/datasets").status_code == 200
        deleting[0].result()
    monkeypatch.setattr(kept_keys, "note_provisioned", note)
    is_erased(elsewhere, mine.tenant)
    callers._provision.cache_clear()
    assert ada("PUT", "/v1/datasets/contacts", CONTACTS).status_code == 201


@pytest.mark.usefixtures("elsewhere")
def test_our_own_tokens_open_nothing_where_an_issuer_is_set() -> None:
    ours = Asker(tokens.sign(tokens.Bearer("usr_1", "ten_1", "ses_1")))("GET", "/v1/uploads")
    assert (ours.status_code, ours.json_body["code"]) == (401, "token_invalid")


def test_an_issuer_that_is_away_or_set_by_half_is_503_and_not_open(
    elsewhere: Pipeline, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 500
    answer = Asker(token(server))("GET", "/v1/uploads")
    assert (answer.status_code, answer.json_body["code"]) == (503, "issuer_unavailable")
    monkeypatch.setenv("OIDC_AUDIENCE", "")
    settings.cache_clear()
    server.status = 200
    with pytest.raises(Unavailable):
        callers.authenticate(f"Bearer {token(server)}")
    with pytest.raises(Refused):
        callers.authenticate("Bearer rmk_1")
