"""`rowmill upload` and what is asked about an upload afterwards: status, chunks, an end to it or another try."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from . import completion, output
from .api import Rowmill
from .errors import RowmillError, Unusable
from .options import nest
from .parameters import Json, KeyMode, Limit, OnError, UploadId, connect
from .progress import Display, watching
from .resources import TERMINAL, Descriptor, Upload

NoWait = Annotated[bool, typer.Option("--no-wait", help="Return when the file has been sent.")]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="K=V", help="Such as dialect.delimiter=';'; repeatable.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Until it is at rest; the exit code tells.")]
EXIT_CODES: Final = {"completed": 0, "completed_with_errors": 3}


def exit_code(upload: Upload) -> int:
    """How a command ends that has waited for an upload. A check that is to be confirmed ends as a load would."""
    if upload["state"] == "needs_review":
        return 3 if upload["rejected"] else 0
    return EXIT_CODES.get(upload["state"], 4)


def upload(
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV, gzip of it, or an Excel workbook.")],
    *,
    dataset: Annotated[str | None, typer.Option(help="Where the rows go.", autocompletion=completion.datasets)] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="UPLOAD", help="Send the rest of this upload's file.", autocompletion=completion.uploads),
    ] = None,
    mode: KeyMode = None,
    on_error: OnError = None,
    option: Options = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Say what would be rejected and load nothing, until `confirm`.")
    ] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Make the dataset, with the types that the whole file shows.")
    ] = False,
    create_text: Annotated[bool, typer.Option("--create-text", help="Make the dataset, every column as text.")] = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Send a file and wait until every row is loaded or rejected. Large files go in parts and can be resumed.

    \b
    Example: rowmill upload contacts.csv --dataset contacts --option dialect.delimiter=';'
    """
    if not file:
        raise Unusable("the path of the file is empty")
    if (dataset is None) == (resume is None):
        raise Unusable("give either --dataset, for a new upload, or --resume")
    makes = create or create_text
    if resume is not None and (mode or on_error or option or validate_only or makes):
        raise Unusable("options and flags are for new uploads; one that is resumed keeps its own")
    if (create and create_text) or (makes and (validate_only or no_wait or mode or on_error)):
        others = "--validate-only, --mode, --on-error, --no-wait"
        raise Unusable(f"--create and --create-text go neither together nor with {others}")
    flags = {"validate_only=true": validate_only, "infer=true": makes}
    flags |= {f"mode={mode}": bool(mode), f"on_error={on_error}": bool(on_error)}
    options = nest([*(option or []), *(flag for flag, is_given in flags.items() if is_given)])
    with connect() as rowmill, watching() as display:
        if resume is None:
            upload_id = sent(rowmill, display, Path(file), rowmill.create_upload(Path(file), dataset or "", options))
        else:
            is_over = _resumed(rowmill, display, Path(file), resume)
            upload_id, no_wait = resume, no_wait and not is_over
        final = followed(rowmill, display, upload_id, no_wait)
        if makes and final["state"] == "needs_review":
            with _under_way(upload_id):
                rowmill.confirm(upload_id, {"schema": _as_text(final)} if create_text else None)
                final = rowmill.wait(upload_id, display.moved)
    ended(final, no_wait, as_json)


def followed(rowmill: Rowmill, display: Display, upload_id: str, no_wait: bool) -> Upload:
    """The upload at rest, or as it is now that its file was sent."""
    with _under_way(upload_id):
        return rowmill.get_upload(upload_id) if no_wait else rowmill.wait(upload_id, display.moved)


def ended(final: Upload, no_wait: bool, as_json: bool) -> None:
    """Say what became of an upload, in the exit code, too."""
    if as_json:
        output.json_document(final)
    elif no_wait:
        output.note(f"follow it with: rowmill status {final['id']} --wait")
        typer.echo(final["id"])
    else:
        output.conclusion(final)
    if not no_wait:
        raise typer.Exit(exit_code(final))


def _as_text(upload: Upload) -> Descriptor:
    """The schema that was found, every column text that may be empty."""
    review = upload.get("review")
    fields = review["schema"]["fields"] if review else []
    return {"fields": [{"name": field["name"], "type": "string"} for field in fields]}


def sent(rowmill: Rowmill, display: Display, path: Path, created: Upload) -> str:
    """Send the file that was announced; the upload's id."""
    display.created(created)
    with _resumable(created["id"], path):
        rowmill.send_file(created, path, display.sent)
    return created["id"]


def _resumed(rowmill: Rowmill, display: Display, path: Path, upload_id: str) -> bool:
    """Send the rest of the file, if it is waited for; whether its upload is over, and there is nothing to follow."""
    found = rowmill.get_upload(upload_id)
    if found["state"] == "awaiting_upload":
        with _resumable(upload_id, path):
            rowmill.resume_file(found, path, display.sent)
    else:
        rowmill.resume_file(found, path)
        output.note(f"nothing is sent: upload {upload_id} is {found['state']}")
    return found["state"] in TERMINAL


def _resumable(upload_id: str, path: Path) -> AbstractContextManager[None]:
    rest = f"rowmill upload {shlex.quote(str(path))} --resume {upload_id}"
    return _reminding(f"upload {upload_id} was created, but its file may not have arrived whole; go on with: {rest}")


def _under_way(upload_id: str) -> AbstractContextManager[None]:
    return _reminding(f"upload {upload_id} goes on; follow it with: rowmill status {upload_id} --wait")


@contextmanager
def _reminding(text: str) -> Iterator[None]:
    try:
        yield
    except (RowmillError, KeyboardInterrupt) as fault:
        fault.add_note(text)
        raise


def status(upload_id: UploadId, wait: Wait = False, as_json: Json = False) -> None:
    """Show where an upload stands.

    \b
    Example: rowmill status upl_01M80FHFV747N9CXY8YY64K210 --wait
    """
    with connect() as rowmill:
        found = _waited(rowmill, upload_id) if wait else rowmill.get_upload(upload_id)
    _concluded(found, wait, as_json)


def _concluded(found: Upload, waited: bool, as_json: bool) -> None:
    if as_json:
        output.json_document(found)
    else:
        output.conclusion(found)
    if waited:
        raise typer.Exit(exit_code(found))


def confirm(upload_id: UploadId, wait: Wait = False, as_json: Json = False) -> None:
    """Load an upload that was only checked.

    \b
    Example: rowmill confirm upl_01M80FHFV747N9CXY8YY64K210 --wait
    """
    _asked(Rowmill.confirm, upload_id, wait, as_json)


def cancel(upload_id: UploadId, wait: Wait = False, as_json: Json = False) -> None:
    """Stop an upload: nothing more of it is loaded, rows that are in stay.

    \b
    Example: rowmill cancel upl_01M80FHFV747N9CXY8YY64K210
    """
    _asked(Rowmill.cancel, upload_id, wait, as_json)


def pause(upload_id: UploadId, as_json: Json = False) -> None:
    """Hold an upload: nothing more of it is loaded until `resume`, rows that are in stay.

    \b
    Example: rowmill pause upl_01M80FHFV747N9CXY8YY64K210
    """
    _asked(Rowmill.pause, upload_id, False, as_json)


def resume(upload_id: UploadId, wait: Wait = False, as_json: Json = False) -> None:
    """Go on with an upload that was paused.

    \b
    Example: rowmill resume upl_01M80FHFV747N9CXY8YY64K210 --wait
    """
    _asked(Rowmill.resume, upload_id, wait, as_json)


def delete(
    upload_id: UploadId,
    rows: Annotated[bool, typer.Option("--rows", help="With the rows that it loaded, for good.")] = False,
    as_json: Json = False,
) -> None:
    """Delete an upload that is over: its file, status and rejects go, rows that were loaded stay unless asked for.

    \b
    Example: rowmill delete upl_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        rowmill.delete_upload(upload_id, rows=rows)
    output.done(f"{upload_id} is deleted", {"deleted": upload_id}, as_json)


def redrive(upload_id: UploadId, wait: Wait = False, as_json: Json = False) -> None:
    """Try again the records of an upload that could not be processed.

    \b
    Example: rowmill redrive upl_01M80FHFV747N9CXY8YY64K210 --wait
    """
    _asked(Rowmill.redrive, upload_id, wait, as_json)


def revert(
    upload_id: UploadId,
    force: Annotated[bool, typer.Option("--force", help="With what was edited or written over since.")] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Undo an upload that is over: rows it inserted go, rows it wrote over are what they were before.

    \b
    Example: rowmill revert upl_01M80FHFV747N9CXY8YY64K210 --wait
    """
    _asked(lambda rowmill, one: rowmill.revert(one, force=force), upload_id, wait, as_json)


def conflicts(upload_id: UploadId, as_json: Json = False, limit: Limit = None) -> None:
    """List the rows that undoing an upload has left as they are, and why.

    \b
    Example: rowmill conflicts upl_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        output.items(["row", "why", "by", "key"], rowmill.iterate_conflicts(upload_id, limit), as_json)


def _asked(ask: Callable[[Rowmill, str], Upload], upload_id: str, wait: bool, as_json: bool) -> None:
    with connect() as rowmill:
        found = ask(rowmill, upload_id)
        if wait:
            found = _waited(rowmill, upload_id)
    _concluded(found, wait, as_json)


def _waited(rowmill: Rowmill, upload_id: str) -> Upload:
    with watching() as display, _under_way(upload_id):
        return rowmill.wait(upload_id, display.moved)


def uploads(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Only those into this dataset.", autocompletion=completion.datasets)
    ] = None,
    as_json: Json = False,
    limit: Limit = None,
) -> None:
    """List uploads.

    \b
    Example: rowmill uploads --state completed_with_errors --limit 10
    """
    columns = ["id", "state", "dataset", "filename", "rows_total", "loaded", "rejected", "created_at"]
    with connect() as rowmill:
        found = rowmill.iterate_uploads(state, dataset, limit)
        output.items(columns, found, as_json)


def chunks(upload_id: UploadId, as_json: Json = False, limit: Limit = None) -> None:
    """List the pieces an upload was cut into.

    \b
    Example: rowmill chunks upl_01M80FHFV747N9CXY8YY64K210
    """
    columns = ["n", "state", "byte_start", "byte_end", "first_record", "records"]
    columns += ["loaded", "updated", "skipped", "rejected", "attempts", "started_at", "finished_at"]
    with connect() as rowmill:
        found = rowmill.iterate_chunks(upload_id, limit)
        output.items(columns, found, as_json)


def events(upload_id: UploadId, as_json: Json = False, limit: Limit = None) -> None:
    """List what has happened to an upload, and who asked for it.

    \b
    Example: rowmill events upl_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        found = rowmill.iterate_events(upload_id, limit)
        output.items(["at", "event", "state", "by", "request_id", "details"], found, as_json)
