"""The `rowmill` command: every word it knows, and how it ends (EPILOG says by which exit codes).

A new command is a function in the room of its area and a line below. Its docstring ends in `Example:`, which is shown
and tried; its parameters have a help text, and `as_json: Json` is among them.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from typer.core import TyperGroup

from . import (
    account_commands,
    completion,
    dataset_commands,
    key_commands,
    output,
    picture_commands,
    receipt_commands,
    reject_commands,
    row_commands,
    top_commands,
    upload_commands,
    webhook_commands,
)
from .errors import RowmillError


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Whoever is told to end is interrupted first, so that no draft of a file and no hidden cursor is left behind.

    By the signal it ends all the same: a supervisor looks for that.
    """
    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()  # no other may ask for signals
    taken = [number for number in wanted if is_main and signal.getsignal(number) == signal.SIG_DFL]
    told: list[int] = []

    def interrupt(number: int, _: object) -> None:
        told.append(number)
        raise KeyboardInterrupt

    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
        for number in told:
            os.kill(os.getpid(), number)


class OneLineErrors(TyperGroup):
    """Turns what the commands raise into a message and an exit code: a user never sees a traceback."""

    @_ended_in_order()
    def invoke(self, ctx: Any) -> Any:
        # A shell's `<&-` and `2>&-`: nothing is there to be read, and nobody listens, which fails no command.
        sys.stdin = sys.stdin or io.StringIO()
        sys.stderr = sys.stderr or io.StringIO()
        try:
            if sys.stdout is None:
                raise OSError("stdout is closed")  # before something is done whose result would be lost
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="backslashreplace")  # rows hold signs that not every terminal has
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()  # a full disk is told here, or by Python at its end, with an exit code of its own
        except RowmillError as fault:
            output.complain(fault)
            raise typer.Exit(fault.exit_code) from fault
        except typer.Abort as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):  # typer says the same of a stdin that has ended
                output.note("Aborted!")
                raise typer.Exit(130) from stop
            raise
        except KeyboardInterrupt as stop:
            output.note("interrupted")
            output.remind(stop)
            raise typer.Exit(130) from stop
        except BrokenPipeError:
            raise  # typer ends quietly when a pager or `head` has seen enough
        except OSError as fault:
            output.complain(fault)
            sys.stdout = io.StringIO()  # what it has not taken would be tried again
            raise typer.Exit(1) from fault
        except (UnicodeEncodeError, UnicodeDecodeError) as fault:
            # The sign alone: it may be one of a password.
            output.note(f"rowmill: {fault.object[fault.start : fault.end]!r} is not valid text")
            raise typer.Exit(2) from fault

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command there is, those of groups, too: nobody should have to look for one in two places."""
        super().format_commands(ctx, formatter)
        for name, group in self.commands.items():
            if isinstance(group, TyperGroup):
                words = ((f"{name} {word}", one.get_short_help_str()) for word, one in group.commands.items())
                with formatter.section(f"Commands of {name}"):
                    formatter.write_dl(list(words))


EPILOG: Final = (
    "Exit codes: 0 done; 1 the API, the storage or the network said no; 2 wrong use; 130 interrupted. Of an upload that"
    " was waited for: 0 completed, 3 completed with errors, 4 any other end; of one that was only checked: 0 nothing"
    " rejected, 3 some rows; of verify: 3 something differs. With --json, stdout holds one JSON document, or nothing if"
    " the exit code is 1 or 2; of a listing that breaks off, an array that is not closed."
)
app = typer.Typer(
    cls=OneLineErrors,
    help="Load CSV files of any size into typed tables, and see what became of every row.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
dataset_app = typer.Typer(help="Declare and look up datasets.", no_args_is_help=True, rich_markup_mode=None)
key_app = typer.Typer(help="Make and delete keys for machines.", no_args_is_help=True, rich_markup_mode=None)
app.command()(account_commands.signup)
app.command()(account_commands.login)
app.command()(account_commands.change_password)
app.command()(account_commands.logout)
app.command()(account_commands.delete_account)
app.command()(account_commands.quota)
app.add_typer(key_app, name="key")
key_app.command("create")(key_commands.create_key)
key_app.command("list")(key_commands.list_keys)
key_app.command("delete")(key_commands.delete_key)
webhook_app = typer.Typer(help="Say who hears of uploads that end.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(webhook_app, name="webhook")
webhook_app.command("add")(webhook_commands.add_webhook)
webhook_app.command("list")(webhook_commands.list_webhooks)
webhook_app.command("get")(webhook_commands.get_webhook)
webhook_app.command("set")(webhook_commands.set_webhook)
webhook_app.command("rotate")(webhook_commands.rotate_webhook)
webhook_app.command("ping")(webhook_commands.ping_webhook)
webhook_app.command("deliveries")(webhook_commands.list_deliveries)
webhook_app.command("delete")(webhook_commands.delete_webhook)
app.add_typer(dataset_app, name="dataset")
dataset_app.command("put")(dataset_commands.put_dataset)
dataset_app.command("get")(dataset_commands.get_dataset)
dataset_app.command("delete")(dataset_commands.delete_dataset)
dataset_app.command("list")(dataset_commands.list_datasets)
dataset_app.command()(dataset_commands.share)
dataset_app.command()(dataset_commands.unshare)
dataset_app.command("grants")(dataset_commands.list_grants)
dataset_app.command("template")(dataset_commands.show_template)
dataset_app.command()(picture_commands.set_picture)
dataset_app.command()(picture_commands.get_picture)
dataset_app.command()(picture_commands.delete_picture)
dataset_app.command()(row_commands.get_row)
dataset_app.command()(row_commands.add_row)
dataset_app.command()(row_commands.set_row)
dataset_app.command()(row_commands.delete_row)
app.command()(upload_commands.upload)
app.command()(upload_commands.status)
app.command()(upload_commands.uploads)
app.command()(upload_commands.chunks)
app.command()(upload_commands.events)
app.command()(reject_commands.rejects)
app.command()(reject_commands.causes)
app.command()(reject_commands.retry)
app.command()(reject_commands.row)
app.command()(upload_commands.confirm)
app.command()(upload_commands.cancel)
app.command()(upload_commands.pause)
app.command()(upload_commands.resume)
app.command()(upload_commands.redrive)
app.command()(upload_commands.revert)
app.command()(upload_commands.conflicts)
app.command()(upload_commands.delete)
app.command()(receipt_commands.receipt)
app.command()(receipt_commands.download)
app.command()(receipt_commands.verify)
app.command()(row_commands.rows)
app.command("export")(row_commands.export_rows)
app.command()(top_commands.top)
app.command()(top_commands.metrics)
app.command()(completion.completion)
