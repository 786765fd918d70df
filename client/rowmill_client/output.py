"""What commands print: JSON for programs, tables for people, tab-separated lines for pipes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from .errors import ApiError, Fault
from .resources import Malware, Upload

COUNTS: Final = ("rows_total", "loaded", "updated", "skipped", "rejected", "unprocessed")
SCREENFUL: Final = 500  # rows laid out together: a listing of millions must not be held to be aligned


def json_document(value: object) -> None:
    """One JSON document and a newline."""
    sys.stdout.write(json.dumps(value) + "\n")


def json_array(items: Iterable[object]) -> None:
    """One JSON array, an item a line, written as the items arrive."""
    before = "["
    for item in items:
        sys.stdout.write(before + json.dumps(item))
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns on a terminal; elsewhere a header and a line a row, between tabs."""
    lines = iter(rows)
    if sys.stdout.isatty():
        _aligned(columns, lines)
        return
    # The first page is asked for before the header is written: a refusal leaves stdout empty.
    first = list(islice(lines, 1))
    for row in chain([columns], first, lines):
        sys.stdout.write("\t".join(map(cell, row)) + "\n")


def listing(columns: Sequence[str], items: Iterable[Mapping[str, Any]]) -> None:
    """A table of resources, by the names of their fields."""
    table(columns, ([item.get(column) for column in columns] for item in items))


def cell(value: object) -> str:
    """A value on one line. Control characters are escaped: files are foreign, and terminals obey."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def summary(upload: Upload) -> str:
    """The counts and the state in one line that is easy to cut."""
    names = (*COUNTS, "valid") if upload["state"] == "needs_review" else COUNTS
    counts = " ".join(f"{name}={_count(upload, name)}" for name in names)
    return f"{counts} state={upload['state']}"


_RETRIED = ("completed_with_errors", "failed", "canceled")  # the states in which corrected rejects are taken
_ALL_OR_NOTHING = ("rows_rejected", "too_many_errors")  # a retry would bring in the corrected rows alone


def conclusion(upload: Upload) -> None:
    """The summary on stdout; on stderr why it failed and where to look on."""
    failure = upload.get("error")
    if failure:
        note(f"{failure.get('code')}: {failure.get('detail')}")
        for at in failure.get("errors", ()):
            note(f"  {Fault(at['code'], at['detail'], at.get('row'), at.get('column'))}")
    if (malware := upload.get("malware")) and (told := _looked_at(malware)):
        note(told)
    if upload.get("rejected"):
        note(f"see the rejected rows with: rowmill rejects {upload['id']}")
        if failure and failure.get("code") in _ALL_OR_NOTHING:
            note("the other rows are not loaded either: correct the file and upload it anew")
        elif upload["state"] in _RETRIED:
            fetched = f"rowmill rejects {upload['id']} --format csv -o FILE"
            note(f"to correct them: {fetched}, rowmill retry {upload['id']} FILE")
    if upload.get("queued_before"):
        note(f"{upload['queued_before']} chunks of other uploads wait before its own")
    if eta := upload.get("eta"):
        note(f"it may be over at {eta['p50_at']}, and nine in ten such uploads are by {eta['p90_at']}")
    if cost := upload.get("cost"):
        each = f", {rate:.6f} for a million rows" if (rate := cost["usd_per_million_rows"]) is not None else ""
        note(f"on AWS that would cost about {cost['usd']:.6f} USD{each} ({cost['estimate']}), without the database")
    for one in (upload.get("drift") or {"differences": ()})["differences"]:
        note(_difference(one))
    if upload["state"] == "needs_review":
        note(f"nothing is loaded yet; load it with: rowmill confirm {upload['id']} --wait")
    sys.stdout.write(summary(upload) + "\n")


def _looked_at(malware: Malware) -> str:
    """What is known of malware in the file; nothing while no scanner is asked and its bytes are still being read."""
    by = malware["scanner"]
    match malware["verdict"]:
        case "infected":
            return f"malware: {malware['threat']}; nothing of the file is loaded, and it cannot be tried again"
        case "unscanned":
            return "malware: unscanned, no scanner has looked at the file"
        case "clean":
            return f"malware: none found by {by}"
        case _:
            return "" if by == "off" else f"malware: {by} has not answered yet"


def _difference(one: Mapping[str, Any]) -> str:
    new = f", new: {', '.join(map(cell, one['new']))}" if one.get("new") else ""
    return f"unlike before: {cell(one['column'])}, {one['measure']} was {one['was']}, is {one['is']}{new}"


def items(columns: Sequence[str], found: Iterable[Mapping[str, Any]], as_json: bool) -> None:
    """Items as they arrive: these columns for a person, all of them for a program."""
    if as_json:
        json_array(found)
    else:
        listing(columns, found)


def done(text: str, facts: Mapping[str, object], as_json: bool) -> None:
    """What a command has done that has nothing to show: a line for a person, or its facts for a program."""
    if as_json:
        json_document(facts)
    else:
        note(text)


def note(text: str) -> None:
    """A line for the person at the terminal; never on stdout."""
    say(cell(text) + "\n")


def say(text: str) -> None:
    """Write on stderr. Whoever listens may have gone, and a terminal be closed, which fails no command."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        sys.stderr = Nobody()  # Python would try again at its end


class Nobody(io.StringIO):
    """Listens to nothing that is said."""

    def write(self, text: str, /) -> int:
        return len(text)


def complain(fault: BaseException) -> None:
    """An error as a line, then its problem document's errors, then what was under way."""
    note(f"rowmill: {fault}")
    for line in fault.faults if isinstance(fault, ApiError) else ():
        note(f"  {line}")
    remind(fault)


def remind(fault: BaseException) -> None:
    """What was under way when it happened."""
    for text in getattr(fault, "__notes__", ()):
        note(text)


def _count(upload: Upload, name: str) -> object:
    count = upload.get(name)
    return "unknown" if count is None else count


def _heading(name: str) -> Column:
    """Ids are not broken as long as others can be, to be copied whole; those are never cut short."""
    is_id = name.endswith("id")
    return Column(Text(cell(name)), no_wrap=is_id, overflow="ellipsis" if is_id else "fold")


def _aligned(columns: Sequence[str], rows: Iterator[Sequence[object]]) -> None:
    console = Console()
    batch = list(islice(rows, SCREENFUL))
    while True:
        grid = Table(*map(_heading, columns), box=None, pad_edge=False)
        for row in batch:
            grid.add_row(*(Text(cell(value)) for value in row))
        console.print(grid)
        batch = list(islice(rows, SCREENFUL))
        if not batch:
            return
