"""`rowmill rejects`, `causes`, `retry` and `row`: what was not loaded and why, and how it comes in after all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from . import export, output
from .errors import Unusable
from .options import nest
from .parameters import Json, KeyMode, Limit, Output, UploadId, connect
from .progress import watching
from .resources import Causes, CellError, CommonCause, Reject, Sample, Summary
from .upload_commands import NoWait, Options, ended, followed, sent

MOST_COLUMNS: Final = 5  # of a cause that a line tells
Form = Literal["table", "json", "csv", "xlsx"]


def rejects(
    upload_id: UploadId,
    form: Annotated[Form, typer.Option("--format", help="csv and xlsx are files to correct and send back.")] = "table",
    to: Output = None,
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
    _note_others(found)


def _note_others(found: Summary | Causes) -> None:
    if found["causes_total"] > len(found["causes"]):
        output.note(f"and {found['causes_total'] - len(found['causes'])} causes of fewer rows")


def _samples(samples: Sequence[Sample]) -> str:
    return "; ".join(f"line {one['line']}" + (f" {one['value']}" if one["value"] else "") for one in samples)


def causes(upload_id: UploadId, as_json: Json = False) -> None:
    """List the few causes behind the rejects of an upload, and what mends each.

    \b
    Example: rowmill causes upl_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        found = rowmill.causes(upload_id)
    if as_json:
        output.json_document(found)
        return
    columns = ["rejects", "alone", "id", "cause", "columns", "fix", "mended", "samples"]
    output.table(columns, map(_told_cause, found["causes"]))
    _note_others(found)
    if any(one["fix"] for one in found["causes"]):
        output.note(f"to have them read again: rowmill retry {upload_id} --fix ID")


def _told_cause(one: CommonCause) -> list[object]:
    columns = ", ".join(one["columns"][:MOST_COLUMNS]) + (", …" if one["columns_total"] > MOST_COLUMNS else "")
    fix = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in (one["fix"] or {}).items())
    proof = one["proved"]
    mended = f"{proof['mended']} of {proof['sample']}" if proof else None
    return [one["rejects"], one["alone"], one["id"], one["cause"], columns, fix, mended, _samples(one["samples"][:3])]


def _download(upload_id: str, form: str, to: Path | None) -> None:
    if to is None and form == "xlsx" and sys.stdout.isatty():
        raise Unusable("a workbook is nothing for a terminal: name a file with --output")
    with connect() as rowmill, export.binary(to) as file:
        rowmill.download_rejects(upload_id, form, file.write)


def retry(
    upload_id: UploadId,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The rejects file, corrected, or the rows alone.")
    ] = None,
    *,
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="CAUSE", help="Instead of a file: read again what this mends; repeatable."),
    ] = None,
    mode: KeyMode = None,
    option: Options = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Send the corrected rejects of an upload, or have them read again by the fix of a cause, and wait for the end.

    \b
    Example: rowmill retry upl_01M80FHFV747N9CXY8YY64K210 corrected.csv
             rowmill retry upl_01M80FHFV747N9CXY8YY64K210 --fix dates_day_first
    """
    if bool(file) == bool(fix):
        raise Unusable("give either a file of corrected rows or --fix")
    if fix and (mode or option):
        raise Unusable("--fix has the options that mend the cause: no --mode or --option with it")
    options = nest([*(option or []), *([f"mode={mode}"] if mode else [])])
    with connect() as rowmill, watching() as display:
        if file:
            retry_id = sent(rowmill, display, Path(file), rowmill.create_retry(upload_id, Path(file), options))
        else:
            retry_id = rowmill.retry_causes(upload_id, fix or [])["id"]
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
