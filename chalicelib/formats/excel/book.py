"""Which sheet of a workbook is meant, where it is, and how its cells show numbers."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from posixpath import join, normpath
from typing import IO, Final

from chalicelib.errors import Refused
from chalicelib.formats.excel.archive import Archive, Ranges, corrupt, sound
from chalicelib.formats.excel.markup import elements
from chalicelib.formats.excel.numbers import Shown, shown_by
from chalicelib.formats.excel.sheet import Layout, read_sheet
from chalicelib.formats.excel.strings import SharedStrings
from chalicelib.formats.limits import Limits

MAX_SHEETS: Final = 10_000
MAX_STYLES: Final = 100_000  # Excel stops at 65,490


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet by its name; `blocks` are its rows as UTF-8 CSV, sometimes empty: reading is under way.

    Once they are read, `as_values` and `as_texts` are the columns (from 0) that have numbers, or texts, with a point
    before their last three digits: in CSV they look alike, and to some a point there parts thousands.
    """

    name: str
    blocks: Iterator[bytes]
    as_values: AbstractSet[int]
    as_texts: AbstractSet[int]


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    visible: bool
    part: str


def open_sheet(
    file: IO[bytes] | Ranges, choice: str | int | None, limits: Limits, *, width: int | None = None, skip: int = 0
) -> Sheet:
    """The sheet of this name or number (from 1), else the first that is not hidden.

    Rows are filled up to `width` cells; without it, to as many as the first row after `skip` rows has. Raises
    Refused, also while the blocks are read.
    """
    with sound():
        archive = Archive(file, limits)
        if "[Content_Types].xml" not in archive:
            raise Refused("file_type_unsupported", "The file is a zip archive, not an Excel workbook.")
        book = _book(archive)
        sheets, from_1904 = _sheets(archive, book)
        chosen = _choose(sheets, choice)
        layout = Layout(_styles(archive, book), from_1904, width, skip)
    return Sheet(chosen.name, _blocks(archive, book, chosen, layout, limits), layout.as_values, layout.as_texts)


def _blocks(archive: Archive, book: str, sheet: _Named, layout: Layout, limits: Limits) -> Iterator[bytes]:
    strings = SharedStrings(limits.scratch)
    try:
        with sound():
            part = _first_of_type(archive, book, "sharedStrings")
        for _ in archive.look_at_others([sheet.part, *([part] if part else [])]):
            yield b""
        with sound():
            if part:
                with archive.open(part) as stream:
                    for _ in strings.load(stream):
                        yield b""
            with archive.open(sheet.part) as stream:
                yield from read_sheet(stream, strings, layout)
    finally:
        strings.close()


def _sheets(archive: Archive, book: str) -> tuple[list[_Named], bool]:
    """The worksheets in their order, charts left out, and whether days count from 1904."""
    targets = _targets(archive, _rels_of(book), book)
    found: list[_Named] = []
    from_1904 = False
    with archive.open_small(book) as stream:
        for name, attributes in elements(stream):
            if name == "workbookPr":
                from_1904 = attributes.get("date1904", "") in ("1", "true")
            elif name == "sheet" and len(found) < MAX_SHEETS:
                key = next((value for key, value in attributes.items() if key.endswith(":id")), "")
                kind, part = targets.get(key, ("", ""))
                if kind == "worksheet":
                    visible = attributes.get("state", "visible") == "visible"
                    found.append(_Named(attributes.get("name", ""), visible, part))
    return found, from_1904


def _choose(sheets: list[_Named], choice: str | int | None) -> _Named:
    if choice is None:
        candidates = [sheet for sheet in sheets if sheet.visible]
    elif isinstance(choice, int):
        candidates = sheets[choice - 1 : choice] if choice > 0 else []
    else:
        candidates = [sheet for sheet in sheets if sheet.name == choice]
    if not candidates:
        named = ", ".join(sheet.name for sheet in sheets[:20])
        wanted = "that is not hidden" if choice is None else str(choice)[:100]
        raise Refused("sheet_unknown", f"The workbook has no sheet {wanted}; it has: {named}.")
    return candidates[0]


def _styles(archive: Archive, book: str) -> list[Shown]:
    """How each cell style shows numbers, by its number."""
    part = _first_of_type(archive, book, "styles")
    if part is None:
        return []
    codes: dict[str, str] = {}
    formats: list[str] = []
    section = ""
    with archive.open_small(part) as stream:
        for name, attributes in elements(stream):
            if name in ("cellStyleXfs", "cellXfs", "cellStyles", "dxfs"):
                section = name
            elif name == "numFmt" and section == "":
                codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
            elif name == "xf" and section == "cellXfs":
                formats.append(attributes.get("numFmtId", "0"))
            if len(formats) > MAX_STYLES or len(codes) > MAX_STYLES:
                raise corrupt("it has too many styles")
    return [shown_by(int(each) if each.isdecimal() else 0, codes.get(each)) for each in formats]


def _book(archive: Archive) -> str:
    """The part that says which sheets there are."""
    if "_rels/.rels" not in archive:
        raise corrupt("it does not say what it consists of")
    for kind, part in _targets(archive, "_rels/.rels", "").values():
        if kind == "officeDocument":
            return part
    raise Refused("file_type_unsupported", "The file is an Office document, but not a workbook.")


def _first_of_type(archive: Archive, book: str, kind: str) -> str | None:
    return next((part for found, part in _targets(archive, _rels_of(book), book).values() if found == kind), None)


def _rels_of(part: str) -> str:
    folder, _, name = part.rpartition("/")
    return join(folder, "_rels", f"{name}.rels")


def _targets(archive: Archive, rels: str, source: str) -> dict[str, tuple[str, str]]:
    """Type (its last word) and name of every part that `source` refers to within the archive, by id."""
    if rels not in archive:
        return {}
    folder = source.rpartition("/")[0]
    found: dict[str, tuple[str, str]] = {}
    with archive.open_small(rels) as stream:
        for name, attributes in elements(stream):
            if name == "Relationship" and attributes.get("TargetMode") != "External" and len(found) < MAX_SHEETS:
                target = attributes.get("Target", "")
                part = normpath(target.lstrip("/") if target.startswith("/") else join(folder, target))
                found[attributes.get("Id", "")] = attributes.get("Type", "").rpartition("/")[2], part
    return found
