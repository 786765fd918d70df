"""`rowmill rejects`, `retry` and `row`: what was not loaded and why, and the corrected rows sent back."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from . import export, output
from .errors import Unusable
from .options import nest
from .parameters import Json, KeyMode, Limit, UploadId, connect
from .progress import watching
from .resources import CellError, Reject, Sample, Summary
from .upload_commands import NoWait, Options, ended, followed, sent

Form = Literal["table", "json", "csv", "xlsx"]


def rejects(
    upload_id: UploadId,
    form: Annotated[Form, typer.Option("--format", help="csv and xlsx are files to correct and send back.")] = "table",
    to: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file for csv or xlsx; stdout without it.")
    ] = None,
    summary: Annotated[bool, typer.Option("--summary", help="The causes, with counts and samples.")] = False,
    as_json: Json = False,
    limit: Limit = None,
) -> None:
    """List the rows that were not loaded, and why; or fetch them as a file to correct and send back.

    \b
    Example: rowmill rejects upl_01M80FHFV747N9CXY8YY64K210
             rowmill rejects upl_01M80FHFV747N9CXY8YY64K210 --summary
    """
    form = "json" if as_json and form == "table" else form
    if form in ("csv", "xlsx"):
        if summary or as_json or limit:
            raise Unusable(f"--format {form} is the whole file: no --summary, --json or --limit with it")
        _download(upload_id, form, to)
        return
    if to is not None:
        raise Unusable("--output is for --format csv and xlsx")
    with connect() as rowmill:
        if summary:
            _summarize(rowmill.rejects_summary(upload_id), form == "json")
            return
        found = rowmill.iterate_rejects(upload_id, limit)
        if form == "json":
            output.json_array(found)
        else:
            output.table(["row", "line", "column", "code", "detail"], _causes(found))


def _causes(found: Iterator[Reject]) -> Iterator[list[object]]:
    for reject in found:
        for cause in reject["errors"]:
            yield [reject["row"], reject["line"], *_told(cause)]


def _told(cause: CellError) -> list[object]:
    return [cause.get("column"), cause["code"], cause["detail"]]


def _summarize(found: Summary, as_json: bool) -> None:
    if as_json:
        output.json_document(found)
        return
    columns = ["rows", "share", "column", "code", "cause", "first_line", "last_line", "samples"]
    output.listing(columns, ({**cause, "samples": _samples(cause["samples"])} for cause in found["causes"]))
    if found["causes_total"] > len(found["causes"]):
        output.note(f"and {found['causes_total'] - len(found['causes'])} causes of fewer rows")


def _samples(samples: Sequence[Sample]) -> str:
    return "; ".join(f"line {one['line']}" + (f" {one['value']}" if one["value"] else "") for one in samples)


def _download(upload_id: str, form: str, to: Path | None) -> None:
    to = None if to == Path("-") else to
    if to is None and form == "xlsx" and sys.stdout.isatty():
        raise Unusable("a workbook is nothing for a terminal: name a file with --output")
    with connect() as rowmill, export.binary(to) as file:
        rowmill.download_rejects(upload_id, form, file.write)


def retry(
    upload_id: UploadId,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The rejects file, corrected, or the rows alone.")],
    *,
    mode: KeyMode = None,
    option: Options = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Send the corrected rejects of an upload, and wait until every row is loaded or rejected.

    \b
    Example: rowmill retry upl_01M80FHFV747N9CXY8YY64K210 corrected.csv
    """
    options = nest([*(option or []), *([f"mode={mode}"] if mode else [])])
    path = Path(file)
    with connect() as rowmill, watching() as display:
        retry_id = sent(rowmill, display, path, rowmill.create_retry(upload_id, path, options))
        final = followed(rowmill, display, retry_id, no_wait)
    ended(final, no_wait, as_json)


def row(
    upload_id: UploadId,
    n: Annotated[int, typer.Argument(metavar="N", help="Which record of the file, from 1.")],
    as_json: Json = False,
) -> None:
    """Tell what became of one record of the file.

    \b
    Example: rowmill row upl_01M80FHFV747N9CXY8YY64K210 3
    """
    with connect() as rowmill:
        found = rowmill.get_record(upload_id, n)
    if as_json:
        output.json_document(found)
        return
    causes = found["errors"] or [CellError(column=None, code="", detail="")]
    start = [found["row"], found["state"], found["outcome"], found["line"]]
    columns = ["row", "state", "outcome", "line", "column", "code", "detail"]
    output.table(columns, ([*start, *_told(cause)] for cause in causes))
