"""`rowmill receipt` and `verify`: what an upload came to, sealed, and whether file and table are still so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from . import completion, configuration, export, offline, output
from .errors import Unusable
from .parameters import Json, Limit, Output, UploadId, connect
from .resources import Undone, Verification

DIFFERS: Final = 3  # the exit code of what is not as the receipt has it


def receipt(
    upload_id: UploadId,
    number: Annotated[
        int | None, typer.Option("--number", min=1, help="Which of the chain; the newest without it.")
    ] = None,
    to: Output = None,
    chain: Annotated[bool, typer.Option("--chain", help="List the upload's receipts instead.")] = False,
    as_json: Json = False,
    limit: Limit = None,
) -> None:
    """Fetch an upload's receipt, waiting while it is being made, and keep the keys that it can be checked with.

    \b
    Example: rowmill receipt upl_01M80FHFV747N9CXY8YY64K210 -o receipt.json
             rowmill receipt upl_01M80FHFV747N9CXY8YY64K210 --chain
    """
    if chain and (number or to):
        raise Unusable("--chain lists receipts: no --number and no --output with it")
    with connect() as rowmill:
        if chain:
            output.items(
                ["n", "generation", "state", "issued_at", "sha256"], rowmill.iterate_receipts(upload_id, limit), as_json
            )
            return
        found = rowmill.get_receipt(upload_id, number)
        configuration.keep_keys(rowmill.receipt_keys())
    with export.destination(to) as sink:
        sink.write(json.dumps(found) + "\n")
    if to is not None:
        output.done(f"the receipt is in {to}", {"written": str(to)}, as_json)


def download(
    upload_id: UploadId,
    to: Output = None,
    as_json: Json = False,
) -> None:
    """Fetch the text that was made of an upload's file, or of the rejects that it read again: what its chunks are of.

    With --json, print where it is instead.

    \b
    Example: rowmill download upl_01M80FHFV747N9CXY8YY64K210 -o piece.csv
    """
    with connect() as rowmill:
        if as_json:
            output.json_document(rowmill.get_text(upload_id))
            return
        with export.binary(to) as file:
            rowmill.download_text(upload_id, file.write)


def verify(
    target: Annotated[
        str,
        typer.Argument(
            metavar="UPLOAD|FILE",
            help="The upload's id (upl_…), or with --offline the file.",
            autocompletion=completion.uploads,
        ),
    ],
    receipt_file: Annotated[
        Path | None,
        typer.Option("--offline", metavar="RECEIPT", help="Hold a file against this receipt, without the network."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="KEYS", help="The keys to trust, a JSON Web Key Set; those `receipt` kept without it."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare an upload's file and table with its receipt; or, with --offline, a file that you have.

    Exit code 0 if all is as the receipt has it, 3 if not.

    \b
    Example: rowmill verify upl_01M80FHFV747N9CXY8YY64K210
             rowmill verify --offline receipt.json contacts.csv
    """
    if receipt_file is None:
        if key is not None:
            raise Unusable("--key goes with --offline")
        with connect() as rowmill:
            found = rowmill.verify(target)
        _told(found, as_json)
        differs = found["result"] == "differs"
    else:
        differs = _offline(receipt_file, Path(target), key, as_json)
    raise typer.Exit(DIFFERS if differs else 0)


def _told(found: Verification, as_json: bool) -> None:
    if as_json:
        output.json_document(found)
        return
    rows = " ".join(f"{name}={value}" for name, value in (found["rows"] or {}).items() if value is not None)
    parts = " ".join(f"{name}={found[name]}" for name in ("source", "table", "ledger"))
    typer.echo(f"{found['result']} {parts} {rows}")
    _note_undone(found["undone"])
    if found["chunks"]:
        output.listing(
            ["n", "first_record", "records", "source", "table", "expected", "found", "missing", "edited"],
            found["chunks"],
        )


def _note_undone(undone: Undone | None) -> None:
    """Whoever looks for the rows of a file that matches should know that they were taken out again."""
    if undone:
        forced = " (forced)" if undone["forced"] else ""
        told = " ".join(f"{name}={undone[name]}" for name in ("reverted_rows", "restored_rows", "conflicts"))
        output.note(f"the upload was undone: {told}{forced}")


def _offline(receipt_file: Path, file: Path, key: Path | None, as_json: bool) -> bool:
    keys = configuration.kept_keys() if key is None else offline.read_keys(key)
    found = offline.check(receipt_file, file, keys)
    if as_json:
        output.json_document(found)
    else:
        of = " of=text" if found["of"] == "text" else ""
        typer.echo(f"{found['result']} upload={found['upload_id']}{of} size={found['size']} sha256={found['sha256']}")
        _note_undone(found["undone"])
        for problem in found["problems"]:
            output.note(problem)
        if found["chunks"]:
            output.note(f"chunks that differ: {', '.join(map(str, found['chunks'][:100]))}")
    return found["result"] == "differs"
