"""Every route for everybody who should not get through it: made from the OpenAPI document, so none can be left out.

What is expected is what the document says: whether a door is open, and the role that it takes. The owner asks, too, or
doors that nobody gets through would look well guarded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from chalice.test import Client
from chalice.test import HTTPResponse as Answer

from app import app
from chalicelib import accounts, tokens, webpage
from chalicelib.contract import document
from chalicelib.roles import ROLES
from chalicelib.settings import settings
from tests import held
from tests.stages.conftest import Pipeline, acting

MARK = "only-for-owners@example.org"
PASSWORD = "correct horse"
# By what a path names: something that is there, of the owner's. A route with a new kind of parameter fails until it has
# its place here.
PLACES: Mapping[str, Callable[[World], str]] = {
    "name": lambda world: world.dataset,
    "key": lambda world: MARK,
    "upload_id": lambda world: world.upload,
    "n": lambda world: "1",
    "key_id": lambda world: world.key_id,
    "username": lambda world: "reader",
    "webhook_id": lambda world: world.webhook_id,
    "book_id": lambda world: "1",
    "template": lambda world: "books",
    "asset": lambda world: next(iter(webpage.assets()), "none.js"),
}
NOT_FOUND = {
    "name": "dataset_not_found",
    "upload_id": "upload_not_found",
    "key_id": "unknown_api_key",
    "webhook_id": "unknown_webhook",
    "book_id": "row_not_found",
    "task_id": "task_not_found",
    "batch_id": "upload_not_found",
}
# What a door is asked about in its query, instead of its path.
QUERIES: Mapping[str, Callable[[World], str]] = {
    "task_id": lambda world: f"{world.upload}.1",
    "batch_id": lambda world: world.upload,
    "confirm": lambda world: "owner",
}
OF_ALL = {"template", "asset", "confirm"}  # what belongs to everybody, or to whoever asks
# Bodies that name something of the owner's; others are the document's own examples.
BODIES: Mapping[str, Callable[[World], Any]] = {
    "create_upload": lambda world: {"dataset": world.dataset, "size": 10},
    "change_password": lambda world: {"current": PASSWORD, "new": PASSWORD.title()},
    "retry_upload": lambda world: {"size": 10},
    "change_row": lambda world: {"since": "2024-03-01"},  # not its key, or it is not there for those who come later
}
# No key may let others in.
PERSONS_ONLY = {"create_api_key", "list_api_keys", "delete_api_key", "delete_account", "change_password"}


@dataclass(frozen=True, slots=True)
class Door:
    """An operation as the document has it."""

    method: str
    path: str
    name: str
    is_open: bool
    needs: str
    parameters: tuple[str, ...]
    example: Any

    @property
    def whose(self) -> str | None:
        """The parameter whose owner decides."""
        return next((name for name in self.parameters if name not in OF_ALL), None)

    def address(self, world: World) -> str:
        path, asked = self.path, []
        for name in self.parameters:
            if name in QUERIES:
                asked.append(f"{name}={QUERIES[name](world)}")
            else:
                path = path.replace(f"{{{name}}}", PLACES[name](world))
        return "?".join([path, *asked])

    def body(self, world: World) -> Any:
        return BODIES[self.name](world) if self.name in BODIES else self.example


def doors() -> Iterator[Door]:
    for path, methods in json.loads(document.text())["paths"].items():
        for method, said in methods.items():
            content = said.get("requestBody", {}).get("content", {})
            yield Door(
                method.upper(),
                path,
                said["operationId"],
                said.get("security") == [],
                said.get("x-role", "nobody"),
                tuple(
                    one["name"] for one in said.get("parameters", ()) if one["in"] == "path" or one["name"] in QUERIES
                ),
                content.get("application/json", {}).get("example"),
            )


# Looking first, taking away last: what is asked for is still there.
DOORS = sorted(
    doors(),
    key=lambda door: (
        ["GET", "PATCH", "POST", "PUT", "DELETE"].index(door.method),
        door.path.endswith("/delete"),
        -len(door.path),
    ),
)
CLOSED = [door for door in DOORS if not door.is_open]


@dataclass(slots=True)
class World:
    """An owner with one of everything, and who else there is, by token."""

    dataset: str
    upload: str
    key_id: str
    webhook_id: str
    secrets: tuple[str, ...]
    tokens: dict[str, str]

    def ask(self, door: Door, token: str | None) -> Answer:
        headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        body = door.body(self)
        raw = b"" if body is None else json.dumps(body).encode()
        with acting("api"):
            answer = Client(app).http.request(door.method, door.address(self), headers=headers, body=raw)
        held.answer(door.method, door.address(self), answer.status_code, answer.headers, answer.body)
        if door.name == "change_password" and answer.status_code == 200:  # the session that asked is over
            self.tokens = {who: answer.json_body["access"] if one == token else one for who, one in self.tokens.items()}
        return answer


@pytest.fixture
def world(pipeline: Pipeline) -> World:
    sessions = {name: accounts.signup({"username": name, "password": PASSWORD}) for name in ("owner", "reader")}
    for name in ("writer", "stranger"):
        sessions[name] = accounts.signup({"username": name, "password": PASSWORD})
    held_by = {name: session["access"] for name, session in sessions.items()}
    http, owner = Client(app).http, {"Authorization": f"Bearer {held_by['owner']}", "Content-Type": "application/json"}

    def put(method: str, path: str, body: Any, token: str | None = None) -> Any:
        headers = owner if token is None else {**owner, "Authorization": f"Bearer {token}"}
        answer = http.request(method, path, headers=headers, body=json.dumps(body).encode())
        assert answer.status_code in (200, 201), answer.body
        return answer.json_body

    (schema,) = [door.example for door in DOORS if door.name == "put_dataset"]
    pipeline.tenant = sessions["owner"]["tenant_id"]
    dataset = put("PUT", "/v1/datasets/guarded", schema)["id"]
    upload = pipeline.run(f"email,since\n{MARK},2024-02-29\n,2024-02-29\n".encode(), "guarded")["id"]
    for name in ("reader", "writer"):
        put("PUT", f"/v1/datasets/guarded/grants/{name}", {"role": name})
        held_by[f"{name}'s key"] = put("POST", "/v1/api-keys", {"name": name}, held_by[name])["secret"]
        held_by[f"key that is a {name}"] = put("POST", "/v1/api-keys", {"name": name, "role": name})["secret"]
    key_id = put("POST", "/v1/api-keys", {"name": "nightly"})["id"]
    held_by["stranger's key"] = put("POST", "/v1/api-keys", {"name": "own"}, held_by["stranger"])["secret"]
    webhook_id = put("POST", "/v1/webhooks", {"url": "https://hooks.example.org/ends"})["id"]
    put("POST", "/books", {"title": MARK, "author": "Ada", "description": "hers"})
    secrets = (MARK, dataset, upload, key_id, webhook_id, pipeline.tenant, "guarded")
    return World(dataset, upload, key_id, webhook_id, secrets, held_by)


def told(answer: Answer) -> tuple[int, str | None]:
    code = answer.json_body.get("code") if answer.status_code >= 400 and answer.body else None
    return answer.status_code, code


def bad_tokens(good: str) -> dict[str, str | None]:
    """What must open nothing: nothing, and a good token but for one thing."""
    claims = jwt.decode(good, options={"verify_signature": False})
    header = jwt.get_unverified_header(good)
    secret = settings().jwt_secret.split(",")[0]
    past = datetime.now(UTC) - timedelta(minutes=1)
    kept = {"kid": header["kid"], "typ": tokens.TYPE}

    def signed(changed: Mapping[str, Any], algorithm: str | None = "HS256") -> str:
        return jwt.encode({**claims, **changed}, secret if algorithm else None, algorithm, kept)

    assert tokens.read(signed({}))
    return {
        "none": None,
        "empty": "",
        "expired": signed({"exp": past, "iat": past - timedelta(hours=1), "nbf": past - timedelta(hours=1)}),
        "alg none": signed({}, None),
        "wrong audience": signed({"aud": "rowmill-elsewhere"}),
        "wrong issuer": signed({"iss": "somebody"}),
        "made-up key": "rmk_" + "A" * 43,
    }


@pytest.mark.parametrize(
    "kind", ["none", "empty", "expired", "alg none", "wrong audience", "wrong issuer", "made-up key"]
)
def test_a_token_that_is_none_or_not_ours_opens_nothing(world: World, kind: str) -> None:
    token = bad_tokens(world.tokens["owner"])[kind]
    got = {door.name: told(world.ask(door, token)) for door in CLOSED}
    assert {name: seen for name, seen in got.items() if seen != (401, "token_invalid")} == {}


@pytest.mark.parametrize("who", ["stranger", "stranger's key"])
def test_what_is_another_tenant_s_is_not_there(world: World, who: str) -> None:
    """Whatever a path names answers 404; what names nothing answers the stranger's own, and nothing of the owner's."""
    wrong = {}
    for door in DOORS:
        answer = world.ask(door, world.tokens[who])
        seen = told(answer)
        if who == "stranger's key" and door.name in PERSONS_ONLY:
            fits = seen == (403, "session_needed")
        elif door.whose:
            fits = seen == (404, NOT_FOUND[door.whose])
        elif door.name == "create_upload":
            fits = seen == (422, "unknown_dataset")
        else:
            fits = door.is_open or answer.status_code not in (401, 403, 404)
        if not fits or any(secret in str(answer.body) for secret in world.secrets):
            wrong[door.name] = (seen, answer.body[:200])
    assert wrong == {}


@pytest.mark.parametrize("role", ["reader", "writer"])
@pytest.mark.parametrize("by", ["", "'s key"])
def test_a_grant_opens_what_its_role_may_in_that_dataset_and_nothing_else(world: World, role: str, by: str) -> None:
    got = {door.name: told(world.ask(door, world.tokens[role + by])) for door in CLOSED}
    wrong = {}
    for door in CLOSED:
        seen = got[door.name]
        if door.parameters[:1] == ("name",) or door.name == "create_upload":
            may = ROLES.index(role) >= ROLES.index(door.needs)
            # Pictures: the door lets in, but rows of this dataset have none.
            fits = seen[0] < 300 or seen[1] == "dataset_pictureless" if may else seen == (403, "role_forbids")
        elif by and door.name in PERSONS_ONLY:
            fits = seen == (403, "session_needed")
        elif door.whose:
            fits = seen == (404, NOT_FOUND[door.whose])
        else:
            fits = seen[0] not in (401, 403, 404)
        if not fits:
            wrong[door.name] = seen
    assert wrong == {}


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_a_key_with_a_role_may_do_no_more_than_that(world: World, role: str) -> None:
    got = {door.name: told(world.ask(door, world.tokens[f"key that is a {role}"])) for door in CLOSED}
    wrong = {}
    for door in CLOSED:
        seen = got[door.name]
        if ROLES.index(role) < ROLES.index(door.needs):
            fits = seen == (403, "role_forbids")
        elif door.name in PERSONS_ONLY:
            fits = seen == (403, "session_needed")
        else:
            fits = seen[0] not in (401, 403, 404)
        if not fits:
            wrong[door.name] = seen
    assert wrong == {}


def test_to_the_owner_all_of_it_is_there(world: World) -> None:
    got = {door.name: told(world.ask(door, world.tokens["owner"])) for door in CLOSED}
    assert {name: seen for name, seen in got.items() if seen[0] in (401, 403, 404)} == {}


def test_every_door_that_is_closed_says_the_role_it_takes() -> None:
    assert {door.name for door in CLOSED if door.needs not in ROLES} == set()
    assert {door.name for door in CLOSED if door.method == "GET" and door.needs != "reader"} == {"list_grants"}
    assert {door.name for door in CLOSED if door.method != "GET" and door.needs == "reader"} == set()
