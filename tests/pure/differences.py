"""Every way in which Python's csv and DuckDB read a file otherwise than we do: docs/dialects.md shows this list.

A class undoes itself: it reads the file, for us or for them, as if this one thing were not so, or takes their answer
where it alone can be the reason. A disagreement that is left when all classes have had their turn has no class, and
one that is gone without a class does not need it. So two things in one file do not hide a third.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.formats import Dialect
from tests.pure import rewritten
from tests.pure.peers import READERS, Case, Comparison, Reading, Rejected, Row, by_us
from tests.pure.rewritten import BOM

Undo = Callable[[Comparison], Comparison]


@dataclass(frozen=True, slots=True)
class Difference:
    """One class: what it is about, why we differ, and a file in which nothing else differs."""

    reader: str
    name: str
    why: str
    example: Case
    undone: Undo


def explained(case: Case, reader: str, without: Difference | None = None) -> Comparison:
    """What is left of a disagreement when every class, or every one but this, has had its turn."""
    found = Comparison.of(case, reader)
    for each in DIFFERENCES:
        if each.reader == reader and each is not without and not found.agree:
            found = each.undone(found)
    return found


def _case(data: bytes, width: int = 2, **marks: Any) -> Case:
    return Case(data, width, Dialect(header=False, **marks))


def _for_us(rewrite: Callable[[Case], bytes]) -> Undo:
    return lambda found: found.read_by_us(rewrite(found.case))


def _for_them(rewrite: Callable[[Case], bytes]) -> Undo:
    return lambda found: found.read_by_them(rewrite(found.theirs_of))


def _for_both(rewrite: Callable[[Case], bytes]) -> Undo:
    return lambda found: found.read_by_us(rewrite(found.case)).read_by_them(rewrite(found.theirs_of))


def _refusal(because: str, where: Callable[[Comparison], bool]) -> Undo:
    return lambda found: found.refused(because, where=where(found))


def _row(take: Callable[[Row, Row, Dialect], bool]) -> Undo:
    return lambda found: found.row_by_row(lambda ours, theirs: take(ours, theirs, found.case.dialect))


def _is_rejected(row: Row, code: str) -> bool:
    return isinstance(row, Rejected) and row.code == code


def _holds(reading: Reading, code: str) -> bool:
    return not isinstance(reading, str) and any(_is_rejected(row, code) for row in reading)


def _is_misplaced(found: Comparison) -> bool:
    """Whether a quote is misplaced, here or where a blank before a quote is dropped."""
    closed_up = found.read_by_us(rewritten.without_blank_before_quotes(found.case))
    return _holds(found.ours, "quote_misplaced") or _holds(closed_up.ours, "quote_misplaced")


def _is_pair(ours: Row, theirs: Row, dialect: Dialect) -> bool:
    """Whether we reject a record for the quotes in cells that they read."""
    quote = dialect.quote or ""
    odd = [cell for cell in theirs if cell and quote in cell and (dialect.escape or cell.count(quote) % 2)]  # type: ignore[operator,union-attr]
    return _is_rejected(ours, "quote_misplaced") and len(odd) > 1


def _undone_pair(found: Comparison) -> Comparison:
    found = _row(_is_pair)(found)
    return found.refused("Expected Number of Columns", where=_holds(found.ours, "quote_misplaced"))


def _has_half_a_delimiter(ours: Row, theirs: Row, dialect: Dialect) -> bool:
    half = f"{dialect.quote}{dialect.delimiter[:1]}".encode()
    return len(dialect.delimiter) > 1 and _is_misplaced_in(ours) and half in ours.raw  # type: ignore[union-attr]


def _ends_with_escape(ours: Row, theirs: Row, dialect: Dialect) -> bool:
    return bool(dialect.escape) and _is_misplaced_in(ours) and ours.raw.endswith(dialect.escape.encode())  # type: ignore[union-attr]


def _is_misplaced_in(row: Row) -> bool:
    return _is_rejected(row, "quote_misplaced")


def _is_as_wide(ours: Row, theirs: Row, dialect: Dialect) -> bool:
    """Whether they read the cells for whose number we reject the record."""
    return isinstance(ours, Rejected) and ours[:2] == ("width_mismatch", theirs)


def _is_cut(ours: Row, theirs: Row, dialect: Dialect) -> bool:
    """Whether they left out empty cells at the end."""
    if not isinstance(ours, Rejected) or ours.code != "width_mismatch":
        return False
    return ours.cells[: len(theirs)] == theirs and not any(ours.cells[len(theirs) :])


def _one_line_end(case: Case) -> bytes:
    mixed = len(set(re.findall(rb"\r\n|\r|\n", case.data))) > 1
    return re.sub(rb"\r\n|\r", b"\n", case.data) if mixed else case.data


def _ends_in_a_text_of_lines(found: Comparison) -> bool:
    last = [cell for row in found.ours[-1:] for cell in (row.cells if isinstance(row, Rejected) else row)][-1:]
    return found.case.dialect.escape is not None and bool(re.search("[\r\n]", "".join(map(str, last))))


def _undone_comment(found: Comparison) -> Comparison:
    """We read the file as one without comments, in which a comment mark needs no escape."""
    comment, escape = found.case.dialect.comment, found.case.dialect.escape
    if not comment:
        return found
    data = found.case.data
    if escape:
        marks = re.escape(escape.encode()), re.escape(comment.encode())
        data = re.sub(rb"(?s)%b(?:(%b)|.)" % marks, lambda each: each[1] or each[0], data)
    return found.read_by_us(data, comment=None)


def _none_as_empty(rows: list[Row]) -> list[Row]:
    return [[cell or "" for cell in row] for row in rows]  # type: ignore[misc]


# The order matters: what a class undoes, those after it do not see.
DIFFERENCES: Sequence[Difference] = [
    Difference(
        "csv",
        "a comment",
        "csv knows none",
        _case(b"a,b\n#c,d\n", comment="#"),
        _undone_comment,
    ),
    Difference(
        "csv",
        "an escape before an ordinary character",
        "csv drops it; here it is text, so that `C:\\new` stays",
        _case(b"a,\\b\n", escape="\\"),
        _for_them(rewritten.escaping_ordinary),
    ),
    Difference(
        "csv",
        "an escaped CRLF",
        "csv escapes the CR alone, and the LF ends the record",
        _case(b"a,\\\r\nb\n", escape="\\"),
        _for_them(rewritten.escaping_each_of_crlf),
    ),
    Difference(
        "csv",
        "a delimiter of several characters",
        "csv takes one only",
        _case(b"a||b\n", delimiter="||"),
        _refusal('"delimiter" must be', lambda found: len(found.case.dialect.delimiter) > 1),
    ),
    Difference(
        "csv",
        "a byte order mark",
        "csv takes it for text; a quote behind it then opens nothing",
        _case(BOM + b"a,b\n"),
        _for_them(lambda case: case.data.removeprefix(BOM)),
    ),
    Difference(
        "csv",
        "blanks behind a closing quote",
        "dropped here; csv, being strict, refuses the file",
        _case(b'a,"b" \n'),
        _for_them(rewritten.without_blanks_behind_quotes),
    ),
    Difference(
        "csv",
        "text behind a closing quote",
        "here the record is rejected and the rest loads; csv, being strict, refuses the file",
        _case(b'a,"b"c\nd,e\n'),
        _refusal("expected after", lambda found: _holds(found.ours, "quote_misplaced")),
    ),
    Difference(
        "csv",
        "a quote that never closes",
        "the same",
        _case(b'a,b\nc,"d\n'),
        _refusal("unexpected end of data", lambda found: _holds(found.ours[-1:], "quote_misplaced")),
    ),
    Difference(
        "csv",
        "an escaped line end in the last cell of the file",
        "csv waits for more, and refuses the file",
        _case(b"a,\\\n", escape="\\"),
        _refusal("unexpected end of data", _ends_in_a_text_of_lines),
    ),
    Difference(
        "csv",
        "a blank line",
        "a row of no cells to csv, no record here",
        _case(b"a,b\n\nc,d\n"),
        lambda found: found.with_theirs(lambda rows: [row for row in rows if row != []]),
    ),
    Difference(
        "csv",
        "quotes in two bare cells that look like a pair",
        "csv takes them for text; here nobody can tell",
        _case(b'a"b,c"\n'),
        _row(_is_pair),
    ),
    Difference(
        "csv",
        "a record of another width",
        "csv knows no width",
        _case(b"a,b\nc\n"),
        _row(_is_as_wide),
    ),
    Difference(
        "DuckDB",
        "line ends of two kinds",
        "DuckDB refuses most such files, and gives others a row too many; here each ends a line",
        _case(b"a,b\r\nc,d\n"),
        _for_both(_one_line_end),
    ),
    Difference(
        "DuckDB",
        "an escape in a bare cell",
        "DuckDB knows escapes in quotes only",
        _case(b'a,\\"b\n', escape="\\"),
        _for_us(rewritten.with_bare_escapes_doubled),
    ),
    Difference(
        "DuckDB",
        "text behind a closing quote, a quote that never closes",
        "here the record is rejected and the rest loads; DuckDB, being strict, refuses the file",
        _case(b'a,"b"c\nd,e\n'),
        _refusal("unterminated quote", _is_misplaced),
    ),
    Difference(
        "DuckDB",
        "an open quote and an escape at the end of the file",
        "DuckDB reads what there is",
        _case(b'a,"\\', escape="\\"),
        _row(_ends_with_escape),
    ),
    Difference(
        "DuckDB",
        "blanks and a comment mark behind a delimiter",
        "DuckDB drops the comment and its line end, and loses cells of this record or the next; text here",
        _case(b"a, #\nb,c\n", comment="#"),
        _for_both(rewritten.without_blanks_before_comments),
    ),
    Difference(
        "DuckDB",
        "a doubled quote beside an escape",
        "with an escape DuckDB takes no doubled quotes; here both count",
        _case(b'a,"b""c"\n', escape="\\"),
        _for_them(rewritten.escaping_quotes),
    ),
    Difference(
        "DuckDB",
        "an escape before an ordinary character in quotes",
        "DuckDB drops it; here it is text",
        _case(b'a,"\\b"\n', escape="\\"),
        _for_them(rewritten.escaping_ordinary_inside),
    ),
    Difference(
        "DuckDB",
        "a comment mark behind something",
        "DuckDB drops the rest of the line; here only a line that begins with the mark is a comment",
        _case(b"a,b#c\n", comment="#"),
        _for_us(rewritten.without_comments_anywhere),
    ),
    Difference(
        "DuckDB",
        "a tab behind a closing quote",
        "dropped here as blanks are; DuckDB drops blanks and refuses the tab",
        _case(b'a,"b"\t\n'),
        _for_them(lambda case: rewritten.without_blanks_behind_quotes(case, before=rb" ?")),
    ),
    Difference(
        "DuckDB",
        "one blank before a quote",
        "DuckDB drops it, two blanks it keeps; here a quote opens only at a cell's start",
        _case(b'a, "b"\n'),
        _for_us(rewritten.without_blank_before_quotes),
    ),
    Difference(
        "DuckDB",
        "bytes that are not UTF-8",
        "here the cell is rejected; DuckDB refuses the file",
        _case(b"a,\xff\n"),
        _refusal("Invalid unicode", lambda found: b"\xff" in found.case.data),
    ),
    Difference(
        "DuckDB",
        "a blank line in a file of one column",
        "a row with an empty cell to DuckDB, no record here",
        _case(b"a\n\nb\n", width=1),
        _for_them(rewritten.without_blank_lines),
    ),
    Difference(
        "DuckDB",
        "an empty cell",
        'NULL to DuckDB, unlike `""`; here both are the empty cell',
        _case(b'a,\n"",b\n'),
        lambda found: found.with_theirs(_none_as_empty),
    ),
    Difference(
        "DuckDB",
        "half a delimiter behind a closing quote",
        "DuckDB reads quote and all as text",
        _case(b'a||"b"|"c', delimiter="||"),
        _row(_has_half_a_delimiter),
    ),
    Difference(
        "DuckDB",
        "a quote behind blanks behind a closing quote",
        "DuckDB goes on with the text",
        _case(b'a,"b" "c"\n'),
        _for_us(rewritten.with_reopened_quotes_joined),
    ),
    Difference(
        "DuckDB",
        "quotes in two bare cells that look like a pair",
        "DuckDB takes them for text; here nobody can tell",
        _case(b'a"b,c"\n'),
        _undone_pair,
    ),
    Difference(
        "DuckDB",
        "empty cells too many at the end",
        "DuckDB drops them; here only `ragged: pad` does",
        _case(b"a,b,,\n"),
        _row(_is_cut),
    ),
    Difference(
        "DuckDB",
        "a record of another width",
        "here the record is rejected and the rest loads; DuckDB refuses the file",
        _case(b"a,b\nc\n"),
        _refusal("Expected Number of Columns", lambda found: _holds(found.ours, "width_mismatch")),
    ),
]


def table(reader: str) -> str:
    """The classes of a reader, as the docs show them: what both readers made of the example is read here and now."""
    title = {"csv": "Python's csv", "DuckDB": "DuckDB 2.0"}[reader]
    lines = [f"| | input | here | {title} | why |", "|---|---|---|---|---|"]
    for each in DIFFERENCES:
        if each.reader == reader:
            ours, theirs = _shown(by_us(each.example)), _shown(READERS[reader](each.example))
            lines.append(f"| {each.name} | {_file(each.example)} | {ours} | {theirs} | {each.why} |")
    return "\n".join(lines)


def _file(case: Case) -> str:
    dialect = case.dialect
    told = {"delimiter": dialect.delimiter.strip(","), "escape": dialect.escape, "comment": dialect.comment}
    options = "".join(f", {name} `{value}`" for name, value in told.items() if value)
    return f"`{repr(case.data)[2:-1].replace(chr(92) * 2, chr(92))}`{options}".replace("|", "\\|")


def _shown(reading: Reading) -> str:
    if isinstance(reading, str):
        return "refused"
    return "; ".join(map(_shown_row, reading)).replace("|", "\\|") or "nothing"


def _shown_row(row: Row) -> str:
    if isinstance(row, Rejected):
        return f"rejected, `{row.code}`"
    return " ".join("NULL" if cell is None else f"`{cell!a}`" for cell in row) or "no cells"
