"""What a file is, from its first bytes: the dialect it is written in, how sure that is, and what else it may be.

Every plausible reading is tried, and the one under which most records have as many cells as the header wins.
Detection may refuse a file or pick a reading that then rejects rows by name; it must not pick one that loses rows
unseen. So lines with a comment mark are only comments when they stand at the top and again below, lines before a
header are only skipped when nearly empty, and a header is only doubted where it looks like the data.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from chalicelib.formats.cells import Unreadable
from chalicelib.formats.delimited import after_lines, records
from chalicelib.formats.dialect import Dialect
from chalicelib.formats.encodings import as_utf_8, encoding, refuse_binary
from chalicelib.formats.grammar import spans
from chalicelib.formats.names import normalised

SAMPLE_BYTES: Final = 256 * 1024  # of a file: the sample that all that is detected goes by
TRIED_BYTES: Final = 64 * 1024  # of the sample, by each reading
MAX_PREAMBLE: Final = 20  # records before a header
PEEKED_LINES: Final = 3 * MAX_PREAMBLE  # hold so many records, but for cells of many lines
DELIMITERS: Final = (",", ";", "\t", "|")  # on a tie the earlier one wins
# Characters of plain text, too: taken only if they make so many columns, nearly everywhere.
DOUBTFUL: Final = {"^": 2, "~": 2, " ": 3, ":": 4}
ALIKE: Final = 0.05  # of agreement: readings that differ by no more fit as well
_TOLD = re.compile(rb'"?sep=([,;\t|^~ :])"?[\r\n]', re.IGNORECASE).match  # a first line, as Excel takes it
_YEAR = re.compile(r"19[0-9]{2}|20[0-9]{2}").fullmatch
_VALUE = re.compile(r"[-+]?[$€£]?[0-9][0-9.,:/ TZ+-]*[%€]?").fullmatch


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another reading that fits about as well."""

    delimiter: str
    quote: str | None
    escape: str | None
    columns: int
    agreeing: int


@dataclass(frozen=True, slots=True)
class Detected:
    """The dialect, and why: `agreeing` of the sample's whole `records` have as many columns as the first.

    Records are counted from the header on. `confidence` (0 to 1) is by option.
    """

    dialect: Dialect
    records: int
    agreeing: int
    columns: int
    confidence: Mapping[str, float]
    line_ends: Mapping[str, int]
    alternatives: tuple[Alternative, ...] = ()

    @property
    def is_ambiguous(self) -> bool:
        return bool(self.alternatives)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The sample read by one dialect; `begin` of its rows stand before the header or first record.

    `quoted` cells show that its quote is one. It `strays` if more often it may be two letters that took rows between.
    """

    dialect: Dialect
    rows: list[list[str]]
    begin: int
    columns: int
    agreeing: int
    quoted: int
    strays: bool
    has_names: bool

    @property
    def records(self) -> int:
        return len(self.rows) - self.begin

    @property
    def agreement(self) -> float:
        return self.agreeing / max(self.records, 1)

    @property
    def is_table(self) -> bool:
        """Any wrong delimiter yields one column in every record, so one column proves nothing."""
        least = DOUBTFUL.get(self.dialect.delimiter)
        if least is None or self.has_names:
            return self.columns > 1 and self.agreement > 0.5
        return self.columns >= least and self.agreement >= 0.9 and self.records >= 2

    @property
    def likeliness(self) -> tuple[bool, bool, bool, bool, float, int, int, int]:
        """What skips lines must fit better than what reads them: "1;Main St, York, UK" makes no header of itself."""
        doubtful = self.dialect.delimiter in DOUBTFUL
        agreement = self.agreement - ALIKE if self.begin else self.agreement
        fit = (self.has_names, self.is_table, not doubtful, not self.strays, agreement)
        return (*fit, self.quoted, self.columns, len(self.dialect.delimiter))


def detect(sample: bytes, declared: Mapping[str, Any], truncated: bool, names: Collection[str] = ()) -> Detected:
    """The dialect of the file that begins with sample: what the client declared, the rest by consistency.

    A reading under which a record holds all of `names` beats any other: ragged rows say nothing against it.
    Raises Refused: dialect_invalid, file_type_unsupported, encoding_unsupported.
    """
    dialect = Dialect.from_options(declared)
    refuse_binary(sample)
    found = encoding(sample, declared.get("encoding"))
    text = as_utf_8(sample, found, truncated)
    text = text[after_lines(text, dialect.skip_lines, truncated) :]
    head, cut = text[:TRIED_BYTES], truncated or len(text) > TRIED_BYTES
    candidates = _worth_reading(head, list(_candidates(head, dialect, declared)), declared, cut, names)
    readings = [_read(head, each, declared, cut, names) for each in candidates]
    best = max(readings, key=lambda reading: reading.likeliness)
    rivals = _rivals(best, readings)
    header, header_confidence = _header(best, names)
    skipped = next((lines for _, _, lines in list(spans(head, best.dialect))[best.begin :]), 0) if best.begin else 0
    chosen = {"header": header, "skip_lines": skipped, "encoding": found.name, **_kept(declared)}
    confidence = {**_confidence(best, rivals), "header": header_confidence, "encoding": found.confidence}
    return Detected(
        replace(best.dialect, **chosen),
        best.records,
        best.agreeing,
        best.columns,
        {**{name: round(value, 3) for name, value in confidence.items()}, **dict.fromkeys(declared, 1.0)},
        _line_ends(head),
        tuple(rivals),
    )


def _kept(declared: Mapping[str, Any]) -> dict[str, Any]:
    return {name: declared[name] for name in ("header", "skip_lines", "encoding") if name in declared}


def _candidates(head: bytes, dialect: Dialect, declared: Mapping[str, Any]) -> Iterator[Dialect]:
    delimiters = [dialect.delimiter] if "delimiter" in declared else _delimiters(head, dialect)
    for delimiter in delimiters:
        quotes = [dialect.quote] if "quote" in declared else _quotes(head, delimiter)
        for quote in quotes:
            escapes = [dialect.escape] if "escape" in declared else _escapes(head, quote)
            for escape in escapes:
                marks = [quote, escape, dialect.comment]
                if not (set(delimiter) & {mark for mark in marks if mark}) and not (escape and len(delimiter) > 1):
                    yield replace(dialect, delimiter=delimiter, quote=quote, escape=escape)


def _worth_reading(
    head: bytes, candidates: list[Dialect], declared: Mapping[str, Any], cut: bool, names: Collection[str]
) -> list[Dialect]:
    """Those whose first records hold all names, if there are any: no other can win, nor be told as an alternative.

    A few lines show it. Under a wrong delimiter quotes seem misplaced, and all lines are read the slow way: of a file
    of a thousand rows that was half a plan's time.
    """
    *lines, rest = head.split(b"\n", PEEKED_LINES)
    peeked, ends = (head[: -len(rest)], True) if len(lines) == PEEKED_LINES and rest else (head, cut)
    if not names or peeked is head or head.startswith(b"#"):  # whether that marks comments, more lines may show
        return candidates
    readings = [_read(peeked, each, declared, ends, names) for each in candidates]
    if any(not each.has_names and len(each.rows) <= MAX_PREAMBLE for each in readings):
        return candidates  # lines inside quotes: too few records to say
    return [each for each, read in zip(candidates, readings, strict=True) if read.has_names] or candidates


def _delimiters(head: bytes, dialect: Dialect) -> list[str]:
    told = _TOLD(head)
    if told and (one := told[1].decode()) not in (dialect.quote, dialect.escape, dialect.comment):
        return [one]
    plain = [each for each in (*DELIMITERS, *DOUBTFUL) if each == "," or each.encode() in head]
    return plain + [f"{each} " for each in (",", ";") if _is_spaced(head, each.encode())]


def _is_spaced(head: bytes, delimiter: bytes) -> bool:
    """Whether a blank may belong to the delimiter: it follows each, or a quote would not open without it."""
    spaced = head.count(delimiter + b" ")
    return spaced > 0 and (spaced == head.count(delimiter) or delimiter + b' "' in head)


def _quotes(head: bytes, delimiter: str) -> list[str | None]:
    return ['"', "'"] if _quoted_cells(head, delimiter, "'") else ['"']


def _escapes(head: bytes, quote: str | None) -> list[str | None]:
    return [None, "\\"] if quote and b"\\" + quote.encode() in head else [None]


def _quoted_cells(head: bytes, delimiter: str, quote: str | None) -> int:
    if quote is None or quote.encode() not in head:
        return 0  # without a look at every byte: most files have no quote of one kind, many of neither
    d, q = re.escape(delimiter.encode()), re.escape(quote.encode())
    # That the pattern begins with the quote makes it fast.
    opening = rb"%b(?:(?<=\A%b)|(?<=[\r\n]%b)|(?<=%b%b))" % (q, q, q, d, q)
    inside = rb"[^%b]*+(?:(?=%b%b)%b%b[^%b]*+)*+" % (q, q, q, q, q, q)
    return len(re.findall(rb"%b%b%b(?=%b|[\r\n]|\Z)" % (opening, inside, q, d), head))


def _read(head: bytes, dialect: Dialect, declared: Mapping[str, Any], cut: bool, names: Collection[str]) -> _Reading:
    if "comment" not in declared:
        dialect = replace(dialect, comment=_comment(head, dialect))
    rows = records(head, dialect)
    if cut and len(rows) > 1:
        rows.pop()  # the sample may end inside it
    begin = _begin(rows, names, dialect) if dialect.header and "skip_lines" not in declared else 0
    if begin == 0 and len(rows) > 1 and "skip_lines" not in declared and _TOLD(head):
        begin = 1
    widths = [0 if isinstance(row, Unreadable) else len(row) for row in rows[begin:]]
    columns = widths[0] if widths else 0
    has_names = bool(names) and bool(rows) and set(names) <= set(rows[begin])
    quoted, strays = _evidence(head, dialect, rows)
    return _Reading(dialect, rows, begin, columns, widths.count(columns) if columns else 0, quoted, strays, has_names)


def _evidence(head: bytes, dialect: Dialect, rows: Sequence[Sequence[str]]) -> tuple[int, bool]:
    """How many cells show that the quote is one, and whether it strays.

    An apostrophe begins and ends words, too: 'tis in a row and dogs' in a later one are no cell, with all rows between
    as its text. So it proves nothing where cells are in other quotes, or where it took in line ends.
    """
    quoted = _quoted_cells(head, dialect.delimiter, dialect.quote)
    if dialect.quote != "'" or not quoted:
        return quoted, False
    long = sum("\n" in cell or "\r" in cell for row in rows for cell in row)
    return 0 if long or _quoted_cells(head, dialect.delimiter, '"') else quoted, 2 * long > quoted


def _comment(head: bytes, dialect: Dialect) -> str | None:
    if not head.startswith(b"#") or "#" in (*dialect.delimiter, dialect.quote, dialect.escape):
        return None
    rows = [row for row in records(head, dialect) if row]
    usual = _usual_width(rows)
    marked = [place for place, row in enumerate(rows) if row[0].startswith("#")]
    scattered = any(place != at for at, place in enumerate(marked))
    return "#" if scattered and usual > 1 and all(len(rows[place]) != usual for place in marked) else None


def _usual_width(rows: Sequence[Sequence[str]]) -> int:
    return Counter(map(len, rows)).most_common(1)[0][0] if rows else 0


def _begin(rows: Sequence[Sequence[str]], names: Collection[str], dialect: Dialect) -> int:
    """How many records stand before the header: up to the one with all names, else those nearly empty.

    A record before it that spells them otherwise is the header, and what follows are rows: a file may be two in one.
    Where short rows are padded, as a sheet's are, those end with their last value: none need be as wide as the header.
    """
    for place, row in enumerate(rows[: MAX_PREAMBLE + 1]):
        if names and set(names) <= set(row):
            spelt = set(map(normalised, names))
            return next((at for at, one in enumerate(rows[:place]) if spelt <= set(map(normalised, one))), place)
    usual, place = _usual_width(rows), 0
    while place < min(len(rows), MAX_PREAMBLE + 1) and _is_remark(rows[place], usual):
        place += 1
    rest = rows[place:]
    pads = dialect.ragged == "pad"
    width = len(rest[0]) if pads and rest else usual
    alike = sum(len(row) == width or (pads and 1 < len(row) < width) for row in rest)
    is_header = len(rest) > 1 and width > 2 and _is_wordy(rest[0], width)
    return place if is_header and alike >= 0.8 * len(rest) else 0


def _is_wordy(row: Sequence[str], usual: int) -> bool:
    return len(row) == usual and sum(map(bool, row)) > 2 and not any(map(_VALUE, row))


def _is_remark(row: Sequence[str], usual: int) -> bool:
    return sum(map(bool, row)) <= 1 or (row[0].startswith("#") and len(row) != usual)


def _header(reading: _Reading, names: Collection[str]) -> tuple[bool, float]:
    """Whether the first row names the columns: yes, unless it looks like the data and not like the names."""
    first, rest = (reading.rows[reading.begin], reading.rows[reading.begin + 1 :]) if reading.records else ([], [])
    if reading.has_names:
        return True, 1.0
    known = {name.strip().casefold() for name in names}
    if known & {cell.strip().casefold() for cell in first}:
        return True, 0.9
    columns = list(zip(*(row for row in rest if len(row) == len(first)), strict=True))
    typed = [place for place, column in enumerate(columns) if _is_typed(column)]
    values = [place for place in typed if _VALUE(first[place])]
    are_years = _are_years([first[place] for place in values], [columns[place] for place in values])
    like_data = 0 if are_years else len(values)
    unlike = sum(bool(first[place]) for place in typed) - like_data
    if like_data > unlike and (not names or len(names) == len(first)):
        return False, (like_data + 1) / (like_data + unlike + 2)
    return True, (unlike + 1) / (like_data + unlike + 2)


def _are_years(names: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Whether these name columns of other numbers: three years or more, each as long after the one before.

    Of data a first row would be so by a chance in millions, unless most rows have such a step, or hold years.
    """
    if len(names) < 3 or not all(map(_YEAR, names)) or not _rises_evenly(names):
        return False
    rows = list(zip(*columns, strict=True))
    like = sum(bool(_YEAR(cell)) for row in rows for cell in row)
    return like <= ALIKE * len(names) * len(rows) and 2 * sum(map(_rises_evenly, rows)) <= len(rows)


def _rises_evenly(row: Sequence[str]) -> bool:
    if not all(cell.isascii() and cell.isdigit() and len(cell) < 19 for cell in row):
        return False
    steps = {int(later) - int(cell) for cell, later in pairwise(row)}
    return len(steps) == 1 and min(steps) > 0


def _is_typed(column: Sequence[str]) -> bool:
    filled = [cell for cell in column if cell]
    return len(filled) > 0 and sum(bool(_VALUE(cell)) for cell in filled) >= 0.8 * len(filled)


def _rivals(best: _Reading, readings: Sequence[_Reading]) -> list[Alternative]:
    """Other delimiters and quotes that make as good a table, unless the header's names have decided."""
    if best.has_names or not best.is_table:
        return []
    return [
        Alternative(each.dialect.delimiter, each.dialect.quote, each.dialect.escape, each.columns, each.agreeing)
        for each in readings
        if each is not best and each.is_table and each.agreement >= best.agreement - ALIKE and _differ(best, each)
    ]


def _differ(one: _Reading, other: _Reading) -> bool:
    return one.rows != other.rows and other.quoted >= one.quoted


def _confidence(best: _Reading, rivals: Sequence[Alternative]) -> dict[str, float]:
    fit = best.agreement * best.records / (best.records + 1) if best.is_table else 0.5
    marked = best.quoted / (best.quoted + 1) if best.quoted else 0.5
    share = 1 / (1 + len(rivals))
    escape = 0.9 if best.dialect.escape or best.quoted else 0.5
    return {
        "delimiter": fit * share,
        "quote": marked,
        "escape": escape,
        "comment": 0.9,
        "skip_lines": 1.0 if best.has_names else fit,
    }


def _line_ends(head: bytes) -> dict[str, int]:
    """Line ends by kind, those inside quotes, too."""
    both = head.count(b"\r\n")
    return {"lf": head.count(b"\n") - both, "crlf": both, "cr": head.count(b"\r") - both}
