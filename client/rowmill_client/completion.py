"""`rowmill completion`: the script that has a shell complete commands, options, and the names of what is there.

Typer has the scripts and the words that it knows by itself. Names are asked for at each Tab, briefly and without a word
when there is no answer: a line that is being typed must not hang, nor be broken by an error.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Literal

import httpx
import typer
from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]  # its exports are implied

from . import configuration, output
from .api import Rowmill
from .errors import RowmillError
from .transport import Keeper, Patience, Tokens

Shell = Literal["bash", "zsh", "fish"]

_SECONDS: Final = 2.0  # for an answer
_MOST: Final = 100
# zsh evaluates what it is offered, and bash expands it: nothing that a shell could take for more than a word.
_HARMLESS: Final = re.compile(r"[\w.@+-]+", re.ASCII).fullmatch

completion_init()  # teaches typer to answer the scripts


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell that is to complete.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")] = False,
) -> None:
    """Print the script that has a shell complete commands, options and names.

    In ~/.bashrc: source <(rowmill completion bash). In ~/.zshrc, after compinit: the same with zsh. For fish:
    rowmill completion fish > ~/.config/fish/completions/rowmill.fish

    \b
    Example: rowmill completion bash
    """
    script = get_completion_script(prog_name="rowmill", complete_var="_ROWMILL_COMPLETE", shell=shell)
    if as_json:
        output.json_document({"shell": shell, "script": script})
    else:
        sys.stdout.write(script + "\n")


def datasets() -> list[str]:
    """The names of datasets."""
    return _asked(lambda rowmill: (one["name"] for one in rowmill.iterate_datasets(_MOST)))


def uploads() -> list[tuple[str, str]]:
    """The ids of the newest uploads, with what they are."""
    return _asked(
        lambda rowmill: (
            (one["id"], f"{one['state']} {one['filename']}") for one in rowmill.iterate_uploads(limit=_MOST)
        )
    )


def keys() -> list[tuple[str, str]]:
    """The ids of API keys, with their names."""
    return _asked(lambda rowmill: ((one["id"], one["name"]) for one in rowmill.iterate_api_keys(_MOST)))


def _asked(find: Callable[[Rowmill], Iterator[Any]]) -> list[Any]:
    with contextlib.suppress(RowmillError, OSError), _hasty() as rowmill:
        return [one for one in map(_plain, find(rowmill)) if one]
    return []


def _plain(found: str | tuple[str, str]) -> str | tuple[str, str] | None:
    """A suggestion, what is said of it without the signs that a shell could act on; None if it is no plain word."""
    if isinstance(found, str):
        return found if _HARMLESS(found) else None
    word, said = found
    return (word, re.sub(r"[^\w .@+-]", " ", said, flags=re.ASCII)) if _HARMLESS(word) else None


def _hasty() -> Rowmill:
    """A client that asks once and exchanges no token: an exchange that is cut short would end the session."""
    found = configuration.credentials()
    return Rowmill(found.api, patience=Patience(0), keeper=Keeper(Tokens(found.token)), timeout=httpx.Timeout(_SECONDS))
