"""`rowmill dataset`: declare a dataset by its Table Schema, look it up, list what there is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from . import output
from .errors import Unusable
from .parameters import DatasetName, Json, KeyMode, Limit, connect
from .resources import Dataset, Descriptor
from .storage import opened


def put_dataset(
    name: DatasetName,
    schema: Annotated[Path | None, typer.Argument(metavar="[SCHEMA.json]", help="A Table Schema.")] = None,
    mode: KeyMode = None,
    template: Annotated[
        str | None, typer.Option(metavar="NAME", help="One that comes with Rowmill, instead of a file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a dataset, or change it to this schema."""
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
        _show([dataset])


def show_template(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this one as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """List the datasets that come with Rowmill, or print one to be changed and put."""
    with connect() as rowmill:
        if name is not None:
            output.json_document(rowmill.get_template(name))
        elif as_json:
            output.json_array(rowmill.iterate_templates())
        else:
            output.listing(["name", "title", "description"], rowmill.iterate_templates())


def get_dataset(name: DatasetName) -> None:
    """Print a dataset and its schema as JSON."""
    with connect() as rowmill:
        output.json_document(rowmill.get_dataset(name))


def delete_dataset(
    name: DatasetName, yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether that is meant.")] = False
) -> None:
    """Delete a dataset with all of its rows."""
    if not yes:
        typer.confirm(f"Delete {output.cell(name)} and all of its rows?", abort=True, err=True)
    with connect() as rowmill:
        rowmill.delete_dataset(name)


def list_datasets(as_json: Json = False, limit: Limit = None) -> None:
    """List the datasets."""
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
