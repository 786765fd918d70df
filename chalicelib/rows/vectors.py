"""A column at a time, by polars: several times as fast as `exact`, and only where the result is proved to be the same.

Polars fills short rows up, takes blank lines for rows and strips a byte order mark anywhere, so nothing that it says
of a chunk is believed unless the bytes prove it: quotes only where cells begin and end, as many delimiters outside
them as the records need, as many rows as the splitter counted. Of a column, the cells that match the sure pattern of
its type go on as they stand; each other value is read by the checker itself. Where no quote is, whole lines are looked
at so, and none but the unsure is taken apart (`lines`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain, repeat
from operator import itemgetter
from typing import Final, cast, overload

import polars as pl

from chalicelib import checking, drift
from chalicelib.cells import Field, Value
from chalicelib.cells.copied import TAB
from chalicelib.cells.texts import ANY
from chalicelib.checking import Checked, Column
from chalicelib.datasets import Schema
from chalicelib.formats import MAX_CELL, may_hold_large
from chalicelib.formats.delimited import BOM
from chalicelib.formats.grammar import Marks, marks_in
from chalicelib.journey import CellError
from chalicelib.rows import copytext, lines
from chalicelib.rows.exact import PIECE_ROWS, rows_a_piece
from chalicelib.rows.shape import Rows, Shape, Written
from chalicelib.sealing import Seal

_WHOLE: Final = r"\A(?:{})\z"
SAMPLE: Final = 4096  # cells
WINDOW: Final = 1 << 20  # bytes, of which the parts between quotes may take fifty times the room
_LONE_CR: Final = re.compile(rb"\r(?!\n)")
_FIRST: Final = itemgetter(slice(1))
_LAST: Final = itemgetter(slice(-1, None))
PROFILED: Final = 7  # the salt of hashes that no key has


def read(data: bytes, shape: Shape, records: int, first: int) -> Rows | None:
    """As rows.read; None where the proof fails."""
    if not records or shape.nameless or shape.own:
        return None
    marks = _proved(data, shape, records)
    if marks is None:
        return None
    is_copied = not shape.seal and lines.are_copied(data, shape)
    chunk = _Chunk(data, shape, marks, records, first, is_copied)
    return (chunk.by_lines() if is_copied else None) or chunk.by_cells()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Bytes that are proved to be so many records of as many cells as the shape has."""

    data: bytes
    shape: Shape
    marks: Marks
    records: int
    first: int
    is_copied: bool  # its lines are such as COPY reads

    def by_lines(self) -> Rows | None:
        """The rows, if most lines are known to be right: only the others are taken apart."""
        found = lines.matched(self.data, self.shape, self.records)
        if found is None:
            return None
        unsure: dict[int, Sequence[CellError]] = {}
        rewritten: set[str] = set()
        if found.unsure:
            rest = "\n".join(found.lines.gather(found.unsure)).encode()
            # What is proved of these and of all together is so of the others, too.
            marks = _proved(rest, self.shape, len(found.unsure))
            if marks is None or not _columns(rest, self.shape, marks, len(found.unsure), unsure, rewritten):
                return None
        if not rewritten <= {found.null}:
            return None
        bad = {found.unsure[place]: errors for place, errors in unsure.items()}
        places = _others(bad, self.records)
        columns = _Later(partial(self._read, places), self.shape.schema)
        return self._rows(columns, self.shape.schema, places, bad, found.null, [found.lines])

    def by_cells(self) -> Rows | None:
        """The rows, if all cells can be read."""
        bad: dict[int, Sequence[CellError]] = {}
        rewritten: set[str] = set()
        columns = _columns(self.data, self.shape, self.marks, self.records, bad, rewritten)
        if columns is None:
            return None
        places = _others(bad, self.records)
        kept = pl.Series(places, dtype=pl.Int64)
        if bad:
            for place, column in enumerate(columns):
                columns[place] = column.gather(kept)  # one after another, so that never two of all are held
        schema = self.shape.schema
        if self.shape.seal:
            stored = _stored(self.shape.seal, columns, kept + self.first, schema)
            return self._rows(stored, schema.stored, places, bad, None, [])
        null = lines.only_null(self.shape, rewritten) if self.is_copied else None
        return self._rows(columns, schema, places, bad, null, [])

    def _read(self, places: Sequence[int], positions: Sequence[int]) -> list[pl.Series]:
        """These columns of the rows at these places."""
        columns = _columns(self.data, self.shape, self.marks, self.records, {}, set(), positions)
        assert columns is not None  # each line has been read before
        if len(places) == self.records:
            return columns
        kept = pl.Series(places, dtype=pl.Int64)
        return [column.gather(kept) for column in columns]

    def _rows(
        self,
        columns: Sequence[pl.Series],
        schema: Schema,
        places: Sequence[int],
        bad: dict[int, Sequence[CellError]],
        null: str | None,
        whole: list[pl.Series],
    ) -> Rows:
        """The rows, and how they are told to Postgres: by their lines, if there is a null for them."""
        kept = pl.Series(places, dtype=pl.Int64)
        text = partial(copytext.pieces, columns, schema, kept + self.first, rows_a_piece(self.records, len(self.data)))
        written = None
        if null is not None:
            mark = self.shape.dialect.delimiter
            written = Written(partial(text, partial(self._lines, kept, whole), mark), (mark, null))
        # A Series is read as a sequence is, by place and in turn.
        checked = Checked(cast(list[Sequence[Value]], columns), places, bad)
        return Rows(checked, partial(text, partial(copytext.escaped, columns, schema), TAB), written=written)

    def _lines(self, kept: pl.Series, whole: list[pl.Series]) -> pl.DataFrame:
        # Once: rows that are told again, as their keys clash, have no room for all lines beside their columns.
        found = whole.pop() if whole else lines.whole(self.data)
        return (found if len(kept) == self.records else found.gather(kept)).to_frame()


class _Later(Sequence[pl.Series]):
    """Columns that are read when one is asked for: those of the keys first, then all. Most chunks need no others."""

    def __init__(self, read: Callable[[Sequence[int]], list[pl.Series]], schema: Schema) -> None:
        self._read = read
        self._keys = sorted(set(chain.from_iterable(schema.key_positions())))
        self._count = len(schema.fields)
        self._known: dict[int, pl.Series] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> pl.Series: ...
    @overload
    def __getitem__(self, place: slice) -> list[pl.Series]: ...
    def __getitem__(self, place: int | slice) -> pl.Series | list[pl.Series]:
        if isinstance(place, slice):
            return [self[each] for each in range(self._count)[place]]
        each = range(self._count)[place]
        if each not in self._known:
            wanted = self._keys if each in self._keys else range(self._count)
            self._known |= zip(wanted, self._read(wanted), strict=True)
        return self._known[each]


def _others(bad: dict[int, Sequence[CellError]], records: int) -> Sequence[int]:
    """The places of the good rows."""
    return [place for place in range(records) if place not in bad] if bad else range(records)


def _stored(seal: Seal, columns: list[pl.Series], lineage: pl.Series, schema: Schema) -> list[pl.Series]:
    """The columns as the table has them: those that are sealed change, some thousand cells at a time, in Python."""
    places = [place for place, spec in enumerate(schema.fields) if spec.encrypted]
    pieces = []
    for start in range(0, max(1, len(lineage)), PIECE_ROWS):
        cells: list[Sequence[Value]] = [()] * len(columns)
        for place in places:
            cells[place] = columns[place].slice(start, PIECE_ROWS).to_list()
        sealed = seal(cells, lineage.slice(start, PIECE_ROWS).to_list())
        pieces.append([*(sealed[place] for place in places), *sealed[len(columns) :]])
    made = [pl.concat([pl.Series(piece, dtype=pl.String) for piece in column]) for column in zip(*pieces, strict=True)]
    stored = columns + made[len(places) :]
    for place, column in zip(places, made, strict=False):
        stored[place] = column
    return stored


def _proved(data: bytes, shape: Shape, records: int) -> Marks | None:
    """The marks of so many records, each of as many cells as the shape has; None if that cannot be told for sure.

    Polars counts the rows, and refuses one with another number of cells than the first: see _columns.
    """
    marks = marks_in(data, shape.dialect)
    if not _is_plain(data, marks) or _outer_delimiters(data, marks) != records * (shape.width - 1):
        return None
    return marks


def _columns(
    data: bytes,
    shape: Shape,
    marks: Marks,
    records: int,
    bad: dict[int, Sequence[CellError]],
    rewritten: set[str],
    positions: Sequence[int] | None = None,
) -> list[pl.Series] | None:
    """The columns of the schema, or those at these positions of it, as Postgres reads them; see _column."""
    known = checking.columns_of(shape.schema, shape.conventions)
    wanted = range(len(known)) if positions is None else positions
    cells = _cells(data, shape, marks, records, [shape.positions[place] for place in wanted])
    if cells is None:
        return None
    return [_column(cells[str(shape.positions[place])], known[place], bad, rewritten) for place in wanted]


def _cells(data: bytes, shape: Shape, marks: Marks, records: int, wanted: Sequence[int]) -> pl.DataFrame | None:
    """The cells of a chunk, column by column."""
    try:
        frame = pl.read_csv(
            data,
            has_header=False,
            schema={str(place): pl.String for place in range(shape.width)},
            columns=None if len(wanted) == shape.width else sorted(wanted),
            separator=shape.dialect.delimiter,
            quote_char=shape.dialect.quote if marks.quote else None,
            empty_string_is_null=False,
            missing_columns="raise",
            extra_columns="raise",
            glob=False,
        )
    except pl.exceptions.PolarsError:
        return None  # not UTF-8, or rows too long: other rows are too short
    return frame if frame.height == records and not (marks.quote and _holds_large(frame)) else None


def _holds_large(frame: pl.DataFrame) -> bool:
    """Whether a cell may be too large. Between quotes, one of many lines: none of them need be long."""
    return any(cast(int, column.str.len_bytes().max()) > MAX_CELL for column in frame)


def _is_plain(data: bytes, marks: Marks) -> bool:
    """Whether nothing is here but delimiters, quotes and line ends that all readers take alike."""
    single = len(marks.delimiter) == 1 and len(marks.quote or b'"') == 1
    if not (single and marks.are_plain) or b"\0" in data or data.startswith(BOM):
        return False
    if b"\r" in data and _LONE_CR.search(data):
        return False
    return not may_hold_large(data)


def _outer_delimiters(data: bytes, marks: Marks) -> int | None:
    """How many delimiters stand outside quotes; None if a quote stands elsewhere than around a cell."""
    if marks.quote is None:
        return data.count(marks.delimiter)
    # What is left between two quotes, by turns outside and inside; nothing at all is left of a doubled quote.
    starts, ends, count, inside, begin = set[bytes](), set[bytes](), 0, 0, 0
    while begin < len(data):
        end = data.find(marks.quote, begin + WINDOW) + 1 or len(data)
        parts = data[begin:end].split(marks.quote)
        if end < len(data):
            parts.pop()  # what is behind this quote comes with the next window
        outside = parts[inside::2]
        starts.update(map(_FIRST, outside if begin else outside[1:]))
        ends.update(map(_LAST, outside if end < len(data) else outside[:-1]))
        count += sum(part.count(marks.delimiter) for part in outside)
        inside ^= len(parts) % 2
        begin = end
    is_closed = inside == 1  # as many parts outside as inside, and the last one
    proved = is_closed and starts <= {b"", marks.delimiter, b"\r", b"\n"} and ends <= {b"", marks.delimiter, b"\n"}
    return count if proved else None


def _column(cells: pl.Series, column: Column, bad: dict[int, Sequence[CellError]], rewritten: set[str]) -> pl.Series:
    """The column as Postgres reads it; errors go into `bad` and leave None in their place.

    Cells that something else goes in the place of are added to `rewritten`.
    """
    changed = checking.judged(_unsure(cells, column), column)
    if not changed:
        return cells
    errors = {cell: value for cell, value in changed.items() if isinstance(value, CellError)}
    values = {cell: value for cell, value in changed.items() if not isinstance(value, CellError)}
    if errors:
        wrong = cells.is_in(list(errors)).arg_true()
        checking.blame(bad, zip(wrong, cells.gather(wrong), strict=True), errors)
    rewritten.update(values)
    return cells.replace([*errors, *values], [*repeat(None, len(errors)), *values.values()])


def _unsure(cells: pl.Series, column: Column) -> set[str]:
    """The distinct cells that need a closer look."""
    # A third of the work on each cell, where cells repeat; half as much again where none does.
    if cells.head(SAMPLE).n_unique() <= SAMPLE // 2:
        cells = cells.unique()
    if column.sure is None:
        return set(cells.unique())
    missing = set(cells.filter(cells.is_in(list(column.missing))).unique()) if column.missing else set()
    if column.sure is ANY:
        return missing
    return missing | set(cells.filter(~cells.str.contains(_WHOLE.format(column.sure.pattern))))


def profile(column: Sequence[Value], field: Field) -> drift.Column:
    """As rows.profile, of one column."""
    texts = _texts(column)
    present = texts.drop_nulls()
    hashes = present.hash(PROFILED).unique()
    values = dict(present.value_counts().iter_rows()) if len(hashes) <= drift.MOST_VALUES else None
    measures = _measured(present, field).cast(pl.Float64, strict=False)
    finite = measures.filter(measures.is_finite())
    low, high = cast(tuple[float | None, float | None], (finite.min(), finite.max()))
    return drift.Column(
        len(texts), texts.null_count(), low, high, values, hashes.bottom_k(drift.SKETCH).sort().to_list()
    )


def _measured(present: pl.Series, field: Field) -> pl.Series:
    """What of a value is compared with others (drift.Column)."""
    if field.type in drift.NUMBERS:
        return present.str.strip_prefix("+")
    if field.type in drift.DAYS:
        return present.str.head(10).str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32)
    return present.str.len_chars()


@dataclass(frozen=True, slots=True)
class KeyHashes:
    """64 bits of each key of each good row: where two are equal the keys nearly always are, too.

    Good for as long as all who compare them run the same polars: nothing but speed may hang on them.
    """

    _columns: Sequence[pl.Series]  # one for each key; null where the key is not complete

    @classmethod
    def of(cls, columns: Sequence[Sequence[Value]], schema: Schema) -> KeyHashes:
        """Of these checked columns, a value for each good row."""
        keys = [[_texts(columns[position]) for position in positions] for positions in schema.key_positions()]
        return cls([_hashes(key, salt) for salt, key in enumerate(keys)])

    def packed(self) -> bytes:
        """For others to compare theirs with, about 8 bytes a key."""
        out = BytesIO()
        pl.concat(self._columns).drop_nulls().to_frame("hash").write_ipc_stream(out)
        return out.getvalue()

    def repeated(self, others: Iterable[bytes]) -> list[int]:
        """The indexes of rows with a key that a row before them has, or one of other chunks (`packed`)."""
        found = self._repeats_within()
        for other in others:
            theirs = pl.read_ipc_stream(other)["hash"]
            for column in self._columns:
                found |= column.is_in(theirs.implode()).fill_null(value=False)
        return found.arg_true().to_list()

    def are_repeated(self) -> bool:
        """Whether a row has a key that a row before it has."""
        return bool(self._repeats_within().any())

    def _repeats_within(self) -> pl.Series:
        found = pl.Series([False]).new_from_index(0, len(self._columns[0]))
        for column in self._columns:
            found |= ~column.is_first_distinct() & column.is_not_null()
        return found


def _texts(column: Sequence[Value]) -> pl.Series:
    return column if isinstance(column, pl.Series) else pl.Series(column, dtype=pl.String)


def _hashes(key: Sequence[pl.Series], salt: int) -> pl.Series:
    whole = pl.concat_str(pl.all(), separator="\x1f")  # null if one of them is
    columns = pl.DataFrame({str(place): column for place, column in enumerate(key)})
    return columns.select(pl.when(whole.is_not_null()).then(whole.hash(salt))).to_series()
