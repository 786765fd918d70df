"""An account, its stored session and its share: `rowmill signup`, `login`, `change-password`, `logout` and others."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import configuration, output
from .api import Rowmill
from .configuration import Credentials
from .errors import Unusable
from .parameters import Json, connect
from .resources import Session

Username = Annotated[str | None, typer.Argument(help="Asked for when absent.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]
Api = Annotated[str | None, typer.Option(help="Base URL that /v1 is appended to [env: ROWMILL_API].")]


def signup(
    username: Username = None, api: Api = None, password_stdin: PasswordStdin = False, as_json: Json = False
) -> None:
    """Create an account and stay logged in.

    \b
    Example: rowmill signup ada@example.org --password-stdin < password
    """
    base, username, password = _identity(username, api, password_stdin, confirm=True)
    with Rowmill(base, patience=configuration.patience()) as rowmill:
        _keep(base, rowmill.signup(username, password), as_json)


def login(
    username: Username = None, api: Api = None, password_stdin: PasswordStdin = False, as_json: Json = False
) -> None:
    """Log in; the session is kept for later commands, and goes on for 30 days.

    \b
    Example: rowmill login ada@example.org --password-stdin < password
    """
    base, username, password = _identity(username, api, password_stdin, confirm=False)
    with Rowmill(base, patience=configuration.patience()) as rowmill:
        _keep(base, rowmill.login(username, password), as_json)


def change_password(
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read both from stdin: the password that is, the new one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take another password; whoever is logged in anywhere else is not any more. API keys stay.

    \b
    Example: rowmill change-password --password-stdin < both
    """
    if password_stdin:
        current, new = _line(), _line()
    else:
        current, new = _hidden("Password"), _hidden("New password", confirm=True)
    with connect() as rowmill:
        session = rowmill.change_password(current, new)
    output.done(f"{session['username']} has another password", {"username": session["username"]}, as_json)


def logout(as_json: Json = False) -> None:
    """End the session of the last login, wherever its tokens are, and forget it here.

    \b
    Example: rowmill logout
    """
    found = configuration.stored()
    if found is None:
        raise Unusable("not logged in")
    if found.refresh:
        with Rowmill(found.api, patience=configuration.patience(), keeper=configuration.OnDisk(found)) as rowmill:
            rowmill.logout()
    configuration.forget(found.api, found.username)
    output.done(f"logged out of {found.api}", {"api": found.api, "username": found.username}, as_json)


def delete_account(
    username: Annotated[str, typer.Argument(help="The account's own name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether that is meant.")] = False,
    as_json: Json = False,
) -> None:
    """Delete the account that is logged in, with its datasets, rows, uploads, keys and webhooks, for good.

    \b
    Example: rowmill delete-account ada@example.org --yes
    """
    if not yes:
        typer.confirm(f"Delete {output.cell(username)} and all that is its own?", abort=True, err=True)
    with connect() as rowmill:
        rowmill.delete_account(username)
    configuration.forget(configuration.api_url(None), username)
    output.done(f"{username} is deleted", {"deleted": username}, as_json)


def quota(as_json: Json = False) -> None:
    """Show what the tenant may still ask for: requests a minute, files and bytes a day.

    \b
    Example: rowmill quota
    """
    with connect() as rowmill:
        found = rowmill.quota()
    if as_json:
        output.json_document(found)
    else:
        uses = (("requests", found["requests"]), ("files", found["files"]), ("bytes", found["bytes"]))
        columns = ["limit", "window_s", "used", "remaining", "resets_at"]
        output.listing(["quota", *columns], ({"quota": name, **use} for name, use in uses))


def _identity(username: str | None, api: str | None, stdin: bool, confirm: bool) -> tuple[str, str, str]:
    base = configuration.api_url(api)
    if stdin and username is None:
        raise Unusable("--password-stdin needs the user name as an argument")
    name = username or str(typer.prompt("User name", err=True))
    return base, name, _line() if stdin else _hidden("Password", confirm=confirm)


def _line() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Unusable("there is no password on stdin")
    return password


def _hidden(what: str, *, confirm: bool = False) -> str:
    return str(typer.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True))


def _keep(api: str, session: Session, as_json: bool) -> None:
    """Neither way tells a token: what is on a screen or in a log opens nothing."""
    path = configuration.store(Credentials(api, session["access"], session["username"], session["refresh"]))
    known = {name: session[name] for name in ("username", "user_id", "tenant_id")}
    said = f"logged in to {api} as {session['username']}; kept in {path}"
    output.done(said, {"api": api, **known, "kept_in": str(path)}, as_json)
