"""The grammar of a record as a person would read it aloud: one byte at a time, no code shared with the product."""

from __future__ import annotations

import re
from typing import NamedTuple

from chalicelib.formats import Dialect


class Record(NamedTuple):
    """Where a record lies: its bytes, the offset after its line end, its physical line; its cells, unless withheld."""

    start: int
    end: int
    after: int
    line: int
    cells: list[str] | None


def _mark(character: str | None) -> bytes | None:
    return character.encode() if character else None


def _stands(mark: bytes | None, data: bytes, at: int) -> bool:
    return mark is not None and data.startswith(mark, at)


def _line_end(data: bytes, at: int) -> bytes:
    return next((end for end in (b"\r\n", b"\n", b"\r") if data.startswith(end, at)), b"")


def judged(data: bytes, dialect: Dialect) -> list[Record]:
    """Every record of data that begin at a record's start."""
    found: list[Record] = []
    at, line = 0, 1
    while at < len(data):
        if _stands(_mark(dialect.comment), data, at):
            while at < len(data) and not _line_end(data, at):
                at += 1
        if end := _line_end(data, at):
            at, line = at + len(end), line + 1
        elif at < len(data):
            found.append(_record(data, at, line, dialect))
            passed = data[at : found[-1].after]
            at, line = (
                found[-1].after,
                line + len((passed.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split(b"\n")) - 1,
            )
    return found


def _record(data: bytes, start: int, line: int, dialect: Dialect) -> Record:
    delimiter = dialect.delimiter.encode()
    quote, escape, comment = map(_mark, (dialect.quote, dialect.escape, dialect.comment))
    marks = [mark for mark in (quote, delimiter, escape, comment) if mark is not None]
    special = [*marks, b"\r\n", b"\r", b"\n"] if escape is not None else []
    ordinary = re.compile(b"[^\r\n%b]+" % b"".join(map(re.escape, marks)))
    cells: list[bytes] = []
    cell, tail, state, sound = b"", b"", "cell start", True
    shapes, shape = [], ""  # of bare cells: a quote, a blank or anything else
    at = start
    while True:
        ends = state != "quoted" and (_line_end(data, at) or at == len(data))
        if ends or (state != "quoted" and data.startswith(delimiter, at)):
            sound = sound and not tail.strip(b" \t")
            cells.append(cell)
            shapes.append(shape)
            cell, tail, shape = b"", b"", ""
            if ends:
                break
            at, state = at + len(delimiter), "cell start"
            continue
        if at == len(data):
            cells.append(cell)
            sound = False
            break
        run = ordinary.match(data, at)
        taken = run[0] if run else data[at : at + 1]
        literal = next((mark for mark in special if _stands(escape, data, at) and data.startswith(mark, at + 1)), None)
        if literal is not None:
            taken, at = literal, at + 1
            state = "cell" if state == "cell start" else state
            if state == "after":
                tail += b"literal"
            cell, shape = cell + taken, shape + ("." if state == "cell" else "")
        elif state == "cell start" and taken == quote:
            state = "quoted"
        elif state == "quoted" and taken == quote and data.startswith(taken, at + 1):
            cell, at = cell + taken, at + 1
        elif state == "quoted" and taken == quote:
            state = "after"
        elif state == "after":
            tail += taken
        else:
            cell += taken
            state = "cell" if state == "cell start" else state
            if state == "cell":
                shape += '"' if taken == quote else " " if taken[:1] in b" \t" else "."
        at += len(taken)
    sound = sound and not _pairs(shapes)
    after = at + len(_line_end(data, at))
    texts = [cell.decode(errors="surrogateescape") for cell in cells]
    return Record(start, at, after, line, texts if sound else None)


def _pairs(shapes: list[str]) -> bool:
    """Whether the quotes of two bare cells look like the two halves of a pair."""
    odd = [shape for shape in shapes if shape.count('"') % 2]
    opening = next(
        (at for at, shape in enumerate(odd) if not shape.endswith('"') and re.search('[^"]"[.]', shape)), None
    )
    return opening is not None and any(shape.endswith('"') for shape in odd[opening + 1 :])
