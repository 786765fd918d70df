"""`rowmill dataset`: declare a dataset by its Table Schema, look it up, list what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from . import output
from .errors import Unusable
from .parameters import AlwaysJson, DatasetName, Json, KeyMode, Limit, connect
from .resources import Descriptor
from .storage import opened

COLUMNS: Final = ["name", "version", "mode", "created_at"]
SHARED_COLUMNS: Final = ["id", "name", "owner", "role", "created_at"]

GrantedRole = Literal["reader", "writer"]
Username = Annotated[str, typer.Argument(metavar="USERNAME", help="The other account's name.")]


def put_dataset(
    name: DatasetName,
    schema: Annotated[Path | None, typer.Argument(metavar="[SCHEMA.json]", help="A Table Schema.")] = None,
    mode: KeyMode = None,
    template: Annotated[
        str | None, typer.Option(metavar="NAME", help="One that comes with Rowmill, instead of a file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a dataset, or change it to this schema.

    \b
    Example: rowmill dataset put contacts schema.json --mode upsert
    """
    if (schema is None) == (template is None):
        raise typer.BadParameter("give a Table Schema, or --template and its name")
    descriptor = _descriptor(schema) if schema else {}
    with connect() as rowmill:
        if template is not None:
            descriptor = rowmill.get_template(template)
        dataset = rowmill.put_dataset(name, descriptor, mode)
    if as_json:
        output.json_document(dataset)
    else:
        output.listing(COLUMNS, [dataset])


def show_template(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this one as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """List the datasets that come with Rowmill, or print one to be changed and put.

    \b
    Example: rowmill dataset template
             rowmill dataset template books
    """
    with connect() as rowmill:
        if name is not None:
            output.json_document(rowmill.get_template(name))
        else:
            output.items(["name", "title", "description"], rowmill.iterate_templates(), as_json)


def get_dataset(name: DatasetName, as_json: AlwaysJson = True) -> None:
    """Print a dataset and its schema as JSON.

    \b
    Example: rowmill dataset get contacts
    """
    with connect() as rowmill:
        output.json_document(rowmill.get_dataset(name))


def delete_dataset(
    name: DatasetName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether that is meant.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a dataset with all of its rows.

    \b
    Example: rowmill dataset delete contacts --yes
    """
    if not yes:
        typer.confirm(f"Delete {output.cell(name)} and all of its rows?", abort=True, err=True)
    with connect() as rowmill:
        rowmill.delete_dataset(name)
    output.done(f"{name} is deleted", {"deleted": name}, as_json)


def list_datasets(
    shared: Annotated[bool, typer.Option("--shared", help="Others' that are shared with this account.")] = False,
    as_json: Json = False,
    limit: Limit = None,
) -> None:
    """List the datasets.

    \b
    Example: rowmill dataset list
    """
    with connect() as rowmill:
        datasets = rowmill.iterate_datasets(limit, shared=shared)
        output.items(SHARED_COLUMNS if shared else COLUMNS, datasets, as_json)


def share(
    name: DatasetName,
    username: Username,
    role: Annotated[GrantedRole, typer.Option(help="What the account may do.")] = "reader",
    as_json: Json = False,
) -> None:
    """Let another account read a dataset, or write to it. It calls the dataset by the id that is printed.

    \b
    Example: rowmill dataset share contacts ada --role writer
    """
    with connect() as rowmill:
        grant = rowmill.put_grant(name, username, role)
        called = rowmill.get_dataset(name)["id"]
    if as_json:
        output.json_document({**grant, "dataset": called})
    else:
        output.table(["dataset", "username", "role"], [[called, grant["username"], grant["role"]]])


def unshare(name: DatasetName, username: Username, as_json: Json = False) -> None:
    """Take an account's role in a dataset back; what it is loading is canceled.

    \b
    Example: rowmill dataset unshare contacts ada
    """
    with connect() as rowmill:
        rowmill.delete_grant(name, username)
    output.done(f"{name} is not shared with {username} any more", {"unshared": username}, as_json)


def list_grants(name: DatasetName, as_json: Json = False, limit: Limit = None) -> None:
    """List who may do what in a dataset.

    \b
    Example: rowmill dataset grants contacts
    """
    with connect() as rowmill:
        grants = rowmill.iterate_grants(name, limit)
        output.items(["username", "role", "granted_at"], grants, as_json)


def _descriptor(path: Path) -> Descriptor:
    with opened(path) as file:
        try:
            found = json.load(file)
            json.dumps(found, allow_nan=False)  # NaN and 1e999 cannot be sent
        except (ValueError, RecursionError) as fault:
            raise Unusable(f"{path} is not JSON: {fault}") from fault
    if not isinstance(found, dict):
        raise Unusable(f"{path} is not a Table Schema: a JSON object is expected")
    return found
