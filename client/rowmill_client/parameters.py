"""What several commands share: the spelling of their parameters, and the client they talk through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import completion, configuration
from .api import Rowmill
from .resources import Mode

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
AlwaysJson = Annotated[
    bool, typer.Option("--json", help="Taken everywhere; here it is JSON anyway.", show_default=False)
]
Limit = Annotated[int | None, typer.Option(min=1, help="Stop after so many; all without it.")]
DatasetName = Annotated[str, typer.Argument(metavar="NAME", help="The dataset.", autocompletion=completion.datasets)]
UploadId = Annotated[
    str, typer.Argument(metavar="UPLOAD", help="The upload's id (upl_…).", autocompletion=completion.uploads)
]
OnError = Annotated[
    Literal["continue", "abort"] | None,
    typer.Option(help="abort: all rows load at once at the end, or none if one is rejected."),
]
KeyMode = Annotated[Mode | None, typer.Option(help="What to do with a key that is there already.")]


def _file(path: Path | None) -> Path | None:
    """A file to write; `-` is stdout by the name that many know it by."""
    return None if path == Path("-") else path


Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="A file; stdout without it, or with -.", callback=_file)
]


def connect() -> Rowmill:
    """A client as the environment or the last login has it."""
    found = configuration.credentials()
    keeper = configuration.OnDisk(found) if found.refresh else None
    return Rowmill(found.api, found.token, configuration.patience(), keeper)
