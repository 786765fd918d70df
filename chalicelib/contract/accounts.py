"""The contract of accounts."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.words import (
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Schema,
    closed,
    ref,
    shown,
)

_ACCOUNTS: Final = "Accounts"
_EXAMPLE: Final = {"username": "ada@example.org", "password": "correct horse battery staple"}

SCHEMAS: Final[dict[str, Schema]] = {
    "NewAccount": closed(
        {
            "username": {
                "type": "string",
                "minLength": 1,
                "maxLength": 254,
                "title": "1 to 254 characters",
                "description": "No blanks; upper and lower case are one.",
            },
            "password": {"type": "string", "minLength": 8, "maxLength": 256, "title": "8 to 256 characters"},
        },
        "username",
        "password",
    ),
    "Credentials": closed({"username": TEXT, "password": TEXT}, "username", "password"),
    "Session": shown(
        {
            "access": {"type": "string", "description": "A JWT: `Authorization: Bearer …`, good for 12 hours."},
            "user_id": TEXT,
            "username": TEXT,
            "tenant_id": TEXT,
        }
    ),
}

OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/auth/signup",
        "signup",
        _ACCOUNTS,
        "An account in a tenant of its own",
        {201: Answer("It is made, and logged in.", ref("Session"))},
        body=Body(ref("NewAccount"), _EXAMPLE, codes={"username": "username_invalid", "password": "password_invalid"}),
        errors=(
            Error(409, "username_taken", "Somebody has this username."),
            Error(422, "username_invalid", "The username is too long, empty, or has blanks in it."),
            Error(422, "password_invalid", "The password is too short or too long."),
        ),
        is_open=True,
    ),
    Operation(
        "POST",
        "/v1/auth/login",
        "login",
        _ACCOUNTS,
        "A token for an account",
        {200: Answer("The token.", ref("Session"))},
        body=Body(ref("Credentials"), _EXAMPLE),
        errors=(Error(401, "login_failed", "The username or the password is wrong.", ("WWW-Authenticate",)),),
        is_open=True,
    ),
)
