"""`rowmill rows` and `rowmill export`: what is in a dataset, for the eye and as a file."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from . import export, output
from .errors import Unusable
from .parameters import DatasetName, Json, Limit, connect

Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="FIELD[.OP]=VALUE", help="Compare an indexed field: eq, gt, gte, lt, lte."),
]
Sort = Annotated[str | None, typer.Option(metavar="[-]FIELD", help="An indexed field to order by; - for descending.")]
OneUpload = Annotated[str | None, typer.Option("--upload", metavar="ID", help="Only this upload's rows.")]


def rows(
    dataset: DatasetName,
    upload: OneUpload = None,
    where: Where = None,
    sort: Sort = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Show the rows of a dataset, in file order or by a field."""
    wanted = _conditions(where)
    with connect() as rowmill:
        found = rowmill.iterate_rows(dataset, upload, limit, wanted, sort)
        if as_json:
            output.json_array(found)
            return
        for first in found:
            output.listing(list(first), chain([first], found))


def export_rows(
    dataset: DatasetName,
    upload: OneUpload = None,
    where: Where = None,
    sort: Sort = None,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="A file; stdout without it.")] = None,
) -> None:
    """Write the rows of a dataset as CSV, in file order or by a field, with the header of its schema."""
    wanted = _conditions(where)
    with connect() as rowmill:
        schema = rowmill.get_dataset(dataset)["schema"]
        with export.destination(None if to == Path("-") else to) as sink:
            export.write_csv(rowmill.iterate_rows(dataset, upload, None, wanted, sort), schema, sink)


def _conditions(where: list[str] | None) -> dict[str, str]:
    """By parameter: several conditions on one field are told apart by their operators."""
    pairs = [text.partition("=") for text in where or []]
    found = {name: value for name, _, value in pairs}
    if len(found) != len(pairs) or not all(sign for _, sign, _ in pairs):
        raise Unusable("--where takes FIELD=VALUE or FIELD.OP=VALUE, each of them once")
    return found
