"""`rowmill key`: keys for machines, which use them as ROWMILL_TOKEN."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import completion, output
from .parameters import Json, Limit, connect
from .resources import Role


def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people tell it by.")],
    days: Annotated[int | None, typer.Option(min=1, help="How long it is good; for good without it.")] = None,
    role: Annotated[Role | None, typer.Option(help="The most that it may do; all that you may without it.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print its secret, which is never told again.

    \b
    Example: rowmill key create nightly --days 365
    """
    with connect() as rowmill:
        made = rowmill.create_api_key(name, days, role)
    if as_json:
        output.json_document(made)
        return
    output.note(
        f"{made['id']} is good {'until ' + made['expires_at'] if made['expires_at'] else 'until it is deleted'}"
    )
    sys.stdout.write(made["secret"] + "\n")


def list_keys(as_json: Json = False, limit: Limit = None) -> None:
    """List the keys of this account, without their secrets.

    \b
    Example: rowmill key list
    """
    with connect() as rowmill:
        keys = rowmill.iterate_api_keys(limit)
        output.items(["id", "name", "prefix", "role", "created_at", "expires_at"], keys, as_json)


def delete_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id (key_…).", autocompletion=completion.keys)],
    as_json: Json = False,
) -> None:
    """Delete a key: it opens nothing from now on.

    \b
    Example: rowmill key delete key_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        rowmill.delete_api_key(key)
    output.done(f"{key} is deleted", {"deleted": key}, as_json)
