"""`rowmill dataset`: declare a dataset by its Table Schema, look it up, list what there is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from . import output
from .errors import Unusable
from .parameters import AlwaysJson, DatasetName, Json, KeyMode, Limit, connect
from .resources import Dataset, Descriptor
from .storage import opened


def put_dataset(
    name: DatasetName,
    schema: Annotated[Path, typer.Argument(metavar="SCHEMA.json", help="A Table Schema.")],
    mode: KeyMode = None,
    as_json: Json = False,
) -> None:
    """Create a dataset, or change it to this schema.

    \b
    Example: rowmill dataset put contacts schema.json --mode upsert
    """
    descriptor = _descriptor(schema)
    with connect() as rowmill:
        dataset = rowmill.put_dataset(name, descriptor, mode)
    if as_json:
        output.json_document(dataset)
    else:
        _show([dataset])


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


def list_datasets(as_json: Json = False, limit: Limit = None) -> None:
    """List the datasets.

    \b
    Example: rowmill dataset list
    """
    with connect() as rowmill:
        datasets = rowmill.iterate_datasets(limit)
        if as_json:
            output.json_array(datasets)
        else:
            _show(datasets)


def _show(datasets: Iterable[Dataset]) -> None:
    output.listing(["name", "version", "mode", "created_at"], datasets)


def _descriptor(path: Path) -> Descriptor:
    with opened(path) as file:
        try:
            found = json.load(file)
        except ValueError as fault:
            raise Unusable(f"{path} is not JSON: {fault}") from fault
    if not isinstance(found, dict):
        raise Unusable(f"{path} is not a Table Schema: a JSON object is expected")
    return found
