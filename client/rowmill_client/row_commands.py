"""What is in a dataset: `rowmill rows` for the eye, `rowmill export` as a file, `rowmill dataset …-row` one by one."""

from __future__ import annotations

from itertools import chain
from typing import Annotated

import typer

from . import completion, export, output
from .errors import Unusable
from .parameters import AlwaysJson, DatasetName, Json, Limit, Output, connect

Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="FIELD[.OP]=VALUE", help="Compare an indexed field: eq, gt, gte, lt, lte."),
]
Sort = Annotated[str | None, typer.Option(metavar="[-]FIELD", help="An indexed field to order by; - for descending.")]
OneUpload = Annotated[
    str | None,
    typer.Option("--upload", metavar="ID", help="Only this upload's rows.", autocompletion=completion.uploads),
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The row's key; of several fields between commas.")]
Values = Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help="Spelled as rows are shown.")]
IfMatch = Annotated[
    str | None, typer.Option("--if-match", metavar="ETAG", help="Only if the row is still the one of this tag.")
]


def rows(
    dataset: DatasetName,
    upload: OneUpload = None,
    where: Where = None,
    sort: Sort = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Show the rows of a dataset, in file order or by a field.

    \b
    Example: rowmill rows contacts --where age.gte=30 --sort -age --limit 20
    """
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
    to: Output = None,
    as_json: Json = False,
) -> None:
    """Write the rows of a dataset as CSV, in file order or by a field, with the header of its schema.

    \b
    Example: rowmill export contacts --output contacts.csv
    """
    wanted = _conditions(where)
    if as_json and to is None:
        raise Unusable("--json tells of the file that --output names; `rowmill rows --json` prints rows as JSON")
    with connect() as rowmill:
        schema = rowmill.get_dataset(dataset)["schema"]
        with export.destination(to) as sink:
            rows = export.write_csv(rowmill.iterate_rows(dataset, upload, None, wanted, sort), schema, sink)
    if as_json:
        output.json_document({"file": str(to), "rows": rows})


def _conditions(where: list[str] | None) -> dict[str, str]:
    """By parameter: several conditions on one field are told apart by their operators."""
    return _pairs(where or [], "--where takes FIELD=VALUE or FIELD.OP=VALUE, each of them once")


def get_row(dataset: DatasetName, key: Key, as_json: AlwaysJson = True) -> None:
    """Print a row as JSON; on stderr its ETag.

    \b
    Example: rowmill dataset get-row contacts ada@example.org
    """
    with connect() as rowmill:
        row, tag = rowmill.get_row(dataset, *key.split(","))
    output.json_document(row)
    output.note(f"ETag: {tag}")


def add_row(dataset: DatasetName, values: Values, as_json: AlwaysJson = True) -> None:
    """Add a row; a field that is not named has no value. Prints it as JSON.

    \b
    Example: rowmill dataset add-row contacts email=ada@example.org name=Ada
    """
    row = _pairs(values)
    with connect() as rowmill:
        output.json_document(rowmill.create_row(dataset, row))


def set_row(
    dataset: DatasetName,
    key: Key,
    values: Values,
    if_match: IfMatch = None,
    as_json: AlwaysJson = True,
) -> None:
    """Change fields of a row. Prints it as JSON.

    \b
    Example: rowmill dataset set-row contacts ada@example.org name=Countess
    """
    wanted = _pairs(values)
    with connect() as rowmill:
        output.json_document(rowmill.change_row(dataset, *key.split(","), values=wanted, if_match=if_match))


def delete_row(dataset: DatasetName, key: Key, if_match: IfMatch = None, as_json: Json = False) -> None:
    """Delete a row.

    \b
    Example: rowmill dataset delete-row contacts ada@example.org
    """
    with connect() as rowmill:
        rowmill.delete_row(dataset, *key.split(","), if_match=if_match)
    output.done(f"{key} is deleted", {"deleted": key}, as_json)


def _pairs(texts: list[str], wrong: str = "a field is set by FIELD=VALUE, each of them once") -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    found = {name: value for name, _, value in pairs}
    if len(found) != len(pairs) or not all(sign for _, sign, _ in pairs):
        raise Unusable(wrong)
    return found
