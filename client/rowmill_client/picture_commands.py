"""`rowmill dataset …-picture`: the picture of a row that is told by its number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import output
from .parameters import AlwaysJson, DatasetName, Json, connect

Key = Annotated[str, typer.Argument(metavar="ID", help="The row's number.")]


def set_picture(
    dataset: DatasetName,
    key: Key,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A JPEG, PNG, WebP or GIF of up to 5 MB.")],
    as_json: Json = False,
) -> None:
    """Send a picture and have the row show it.

    \b
    Example: rowmill dataset set-picture books 1 cover.png
    """
    with connect() as rowmill:
        picture = rowmill.send_picture(dataset, key, file)
    if as_json:
        output.json_document(picture)
    else:
        output.note(f"{picture['content_type']}, {picture['size']} bytes")


def get_picture(dataset: DatasetName, key: Key, as_json: AlwaysJson = True) -> None:
    """Print where a row's picture is, good for a quarter of an hour, as JSON.

    \b
    Example: rowmill dataset get-picture books 1
    """
    with connect() as rowmill:
        output.json_document(rowmill.get_picture(dataset, key))


def delete_picture(dataset: DatasetName, key: Key, as_json: Json = False) -> None:
    """Delete a row's picture.

    \b
    Example: rowmill dataset delete-picture books 1
    """
    with connect() as rowmill:
        rowmill.delete_picture(dataset, key)
    output.done(f"row {key} shows no picture", {"deleted": key}, as_json)
