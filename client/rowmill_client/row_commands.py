"""`rowmill rows` and `rowmill export`: what is in a dataset, for the eye and as a file."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from . import export, output
from .parameters import DatasetName, Json, Limit, connect

OneUpload = Annotated[str | None, typer.Option("--upload", metavar="ID", help="Only this upload's rows.")]


def rows(dataset: DatasetName, upload: OneUpload = None, limit: Limit = None, as_json: Json = False) -> None:
    """Show the rows of a dataset, in file order."""
    with connect() as rowmill:
        found = rowmill.iterate_rows(dataset, upload, limit)
        if as_json:
            output.json_array(found)
            return
        for first in found:
            output.listing(list(first), chain([first], found))


def export_rows(
    dataset: DatasetName,
    upload: OneUpload = None,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="A file; stdout without it.")] = None,
) -> None:
    """Write the rows of a dataset as CSV, in file order, with the header of its schema."""
    with connect() as rowmill:
        schema = rowmill.get_dataset(dataset)["schema"]
        with export.destination(None if to == Path("-") else to) as sink:
            export.write_csv(rowmill.iterate_rows(dataset, upload), schema, sink)
