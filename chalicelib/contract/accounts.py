"""The contract of accounts."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import PAGED
from chalicelib.contract.words import (
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_KEY_REUSED,
    IF_NONE_MATCH,
    KEY_INVALID,
    MOMENT,
    ORIGIN_FOREIGN,
    REPEATED,
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Parameter,
    Schema,
    closed,
    nullable,
    page_of,
    paged,
    ref,
    shown,
)
from chalicelib.passwords import LONGEST, SHORTEST
from chalicelib.roles import ROLES

_ACCOUNTS: Final = "Accounts"
_REFRESH: Final = {"refresh": "rmr_1AVc5cTg1x4n5ZaXHWdrNqMaKdktRaGpDrIhPeopd6I"}
_EXAMPLE: Final = {"username": "ada@example.org", "password": "correct horse battery staple"}

_SESSION: Final[dict[str, Schema]] = {
    "access": {"type": "string", "description": "A JWT: `Authorization: Bearer …`."},
    "refresh": {"type": "string", "description": "Gets the next two, once."},
    "expires_in": {"type": "integer", "description": "Seconds that `access` is good for."},
    "user_id": TEXT,
    "username": TEXT,
    "tenant_id": TEXT,
}
_KEY: Final[dict[str, Schema]] = {
    "id": TEXT,
    "name": TEXT,
    "prefix": {"type": "string", "description": "The first 12 characters of the secret."},
    "role": {"type": "string", "enum": list(ROLES)},
    "created_at": MOMENT,
    "expires_at": nullable(MOMENT),
}
USERNAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 254, "title": "1 to 254 characters"}
PASSWORD: Final[Schema] = {
    "type": "string",
    "minLength": SHORTEST,
    "maxLength": LONGEST,
    "title": f"{SHORTEST} to {LONGEST} characters",
}
KEPT: Final = ("Set-Cookie", "Cache-Control")
_BY_COOKIE: Final = "Without a body the page's cookie is taken: docs/accounts.md."
_ELSEWHERE: Final = Error(404, "accounts_elsewhere", "The accounts of this deployment are those of another issuer.")
_SESSION_NEEDED: Final = Error(403, "session_needed", "An API key cannot do this.")

SCHEMAS: Final[dict[str, Schema]] = {
    "DeletedAccount": shown({"id": TEXT}),
    "NewAccount": closed(
        {
            "username": {**USERNAME, "description": "No blanks; upper and lower case are one."},
            "password": PASSWORD,
        },
        "username",
        "password",
    ),
    "Credentials": closed({"username": TEXT, "password": TEXT}, "username", "password"),
    "NewPassword": closed({"current": TEXT, "new": PASSWORD}, "current", "new"),
    "RefreshToken": closed({"refresh": TEXT}),
    "Session": shown(_SESSION),
    "SessionGoesOn": shown(_SESSION, "access", "refresh", description="A cookie that asked gets no token in the body."),
    "NewApiKey": closed(
        {
            "name": {"type": "string", "minLength": 1, "maxLength": 100, "title": "1 to 100 characters"},
            "expires_in_days": {"type": "integer", "minimum": 1, "maximum": 3650, "title": "from 1 to 3650 days"},
            "role": {
                "type": "string",
                "enum": list(ROLES),
                "default": "owner",
                "description": "A reader may only look; a writer also send files and rows, but change no dataset.",
            },
        },
        "name",
    ),
    "ApiKey": shown(_KEY),
    "ApiKeyWithSecret": shown(_KEY | {"secret": {"type": "string", "description": "Told here, and never again."}}),
    "ApiKeys": page_of("ApiKey"),
}

SIGNUP_KEY: Final = Parameter(
    IDEMPOTENCY_KEY.schema,
    "The same key and body again, within 24 hours: the account that it made is logged in.",
    KEY_INVALID,
)
_WEAK: Final = (
    Error(422, "password_invalid", "The password is too short or too long."),
    Error(422, "password_common", "The password is among the first that are guessed."),
)
SIGNUP_ERRORS: Final = (
    _ELSEWHERE,
    IDEMPOTENCY_KEY_REUSED,
    Error(409, "username_taken", "Somebody has this username."),
    Error(422, "username_invalid", "The username is too long, empty, one dot or two, or has blanks in it."),
    *_WEAK,
)
_TOO_MANY: Final = Error(
    429, "too_many_logins", "Too many have failed for this name or this address.", ("Retry-After",)
)
LOGIN_ERRORS: Final = (
    _ELSEWHERE,
    Error(401, "login_failed", "The username or the password is wrong.", ("WWW-Authenticate",)),
    _TOO_MANY,
)

OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/auth/signup",
        "signup",
        _ACCOUNTS,
        "An account in a tenant of its own",
        {201: Answer("It is made, and logged in.", ref("Session"), KEPT)},
        body=Body(ref("NewAccount"), _EXAMPLE, codes={"username": "username_invalid", "password": "password_invalid"}),
        headers={"Idempotency-Key": SIGNUP_KEY},
        errors=SIGNUP_ERRORS,
        is_open=True,
    ),
    Operation(
        "POST",
        "/v1/auth/login",
        "login",
        _ACCOUNTS,
        "A session of an account",
        {200: Answer("It is logged in.", ref("Session"), KEPT)},
        body=Body(ref("Credentials"), _EXAMPLE),
        errors=LOGIN_ERRORS,
        is_open=True,
    ),
    Operation(
        "POST",
        "/v1/auth/refresh",
        "refresh",
        _ACCOUNTS,
        "A session goes on with other tokens",
        {200: Answer("The next tokens; the one that was sent is spent.", ref("SessionGoesOn"), KEPT)},
        about=_BY_COOKIE,
        headers={"Idempotency-Key": Parameter(TEXT, "The same key again is answered again, if the answer was lost.")},
        body=Body(ref("RefreshToken"), _REFRESH, required=False),
        errors=(
            _ELSEWHERE,
            Error(401, "refresh_invalid", "The session is over.", ("WWW-Authenticate",)),
            ORIGIN_FOREIGN,
        ),
        is_open=True,
    ),
    Operation(
        "POST",
        "/v1/auth/logout",
        "logout",
        _ACCOUNTS,
        "A session ends",
        {204: Answer("It is over, also if it was before.", headers=("Set-Cookie",))},
        about=_BY_COOKIE,
        body=Body(ref("RefreshToken"), _REFRESH, required=False),
        errors=(ORIGIN_FOREIGN,),
        is_open=True,
    ),
    Operation(
        "PUT",
        "/v1/account/password",
        "change_password",
        _ACCOUNTS,
        "Another password, and a session of its own",
        {200: Answer("It is changed: this is the one session now.", ref("SessionGoesOn"), KEPT)},
        "Every session ends; access tokens of theirs look and send for half an hour still. API keys stay.",
        body=Body(
            ref("NewPassword"),
            {"current": _EXAMPLE["password"], "new": "staple battery horse correct"},
            codes={"new": "password_invalid"},
        ),
        errors=(
            _SESSION_NEEDED,
            _ELSEWHERE,
            Error(403, "password_wrong", "The account's password is another."),
            *_WEAK,
            _TOO_MANY,
        ),
        role="owner",
    ),
    Operation(
        "DELETE",
        "/v1/account",
        "delete_account",
        _ACCOUNTS,
        "The account goes, with all that is its own",
        {
            202: Answer(
                "Nobody logs in to it any more; files, rows and all else go within minutes.", ref("DeletedAccount")
            )
        },
        "Sessions and API keys end at once. Rows that were sent into others' datasets stay. docs/erasure.md",
        query={"confirm": Parameter(TEXT, "Its own name, so that none is deleted by mistake.", is_required=True)},
        errors=(_SESSION_NEEDED, Error(422, "username_mismatch", "The account has another name.")),
        role="owner",
        lasts=True,
    ),
    Operation(
        "POST",
        "/v1/api-keys",
        "create_api_key",
        _ACCOUNTS,
        "A key for a machine",
        {201: Answer("The key, with its secret.", ref("ApiKeyWithSecret"), ("Cache-Control",))},
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(
            ref("NewApiKey"),
            {"name": "nightly load", "expires_in_days": 365},
            codes={"name": "api_key_invalid", "expires_in_days": "api_key_invalid"},
        ),
        errors=(
            _SESSION_NEEDED,
            *REPEATED,
            Error(409, "secret_forgotten", "The key was made before, and its secret cannot be told again."),
            Error(422, "api_key_invalid", "The key's name or its time cannot be."),
        ),
        lasts=True,
    ),
    Operation(
        "GET",
        "/v1/api-keys",
        "list_api_keys",
        _ACCOUNTS,
        "The account's keys, the oldest first",
        paged("ApiKeys"),
        query=PAGED,
        headers={"If-None-Match": IF_NONE_MATCH},
        errors=(_SESSION_NEEDED,),
    ),
    Operation(
        "DELETE",
        "/v1/api-keys/{key_id}",
        "delete_api_key",
        _ACCOUNTS,
        "A key opens nothing any more",
        {204: Answer("It is gone.")},
        errors=(_SESSION_NEEDED, Error(404, "unknown_api_key", "The account has no such key.")),
    ),
)
