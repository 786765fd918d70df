"""What is decided of a file once, from its first bytes: how it is written, which column is which field, how it is cut.

The plan is written before the first chunk. Whoever comes later, and whatever has changed by then, goes by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

from chalicelib import chunking, formats, inference, matching
from chalicelib.aws import s3, sqs
from chalicelib.cells import TypedFields
from chalicelib.checking import conventions
from chalicelib.datasets import Schema, read_mode, read_schema
from chalicelib.datasets.pace import max_rate
from chalicelib.errors import Refused
from chalicelib.formats import Dialect, correction, kinds
from chalicelib.formats.transcoded import UTF_8
from chalicelib.journey import Tier, tier
from chalicelib.postgres import ledger, taken
from chalicelib.postgres.connection import connection
from chalicelib.settings import ChunkRule, settings

SPLITTER_VERSION: Final = 2
MOST_CELLS: Final = 1_800_000  # of a chunk: a cell takes a worker some 30 bytes however short it is
CELLS_PER_COLUMN: Final = 800  # what a column takes besides, in cells
PACED_CHUNKS: Final = 1000  # each of a throttled file is put off, and again every 15 minutes until it is its turn
REVIEWED_ROWS: Final = 20
REVIEWED_CELLS: Final = 1000  # the status table holds them
REVIEWED_LENGTH: Final = 40


@dataclass(frozen=True, slots=True)
class _Look:
    """What the first lines of a file show. `rows` are whole records below the header, `names` the fields."""

    detected: formats.Detected
    header: formats.Header
    heads: list[str]
    names: list[str]
    columns: list[matching.Column]
    positions: list[int]
    rows: list[list[str]]
    spelling: conventions.Detected

    @property
    def dialect(self) -> Dialect:
        """As declared and detected, with how values are spelt."""
        found = self.spelling.conventions
        return replace(self.detected.dialect, **{name: getattr(found, name) for name in conventions.OPTIONS})


def sample(text: ledger.Text) -> bytes:
    """The first bytes of a text, which all that is detected goes by."""
    return s3.read(text.key, text.etag, 0, min(text.size, formats.SAMPLE_BYTES)) if text.size else b""


def plan(upload: ledger.Upload, sample: bytes) -> dict[str, Any]:
    """Everything the cuts and the loads depend on, decided once. Raises Refused."""
    text = upload.text
    if text.size == 0:
        raise Refused("file_empty", _has_nothing(text))
    schema = None if upload.dataset == 0 else read_schema(upload.descriptor)
    if schema:
        read_mode(upload.mode, schema)  # again: until the file came the dataset could take another schema
        matching.read_mapping(upload.options.get("mapping", {}), schema.names)
    look = _look(text, upload.options.get("mapping", {}), sample, schema, partial(_plan_before, upload))
    typed = look.spelling.conventions.typed
    start, left = look.header.end, text.size - look.header.end
    return {
        "splitter": SPLITTER_VERSION,
        "dataset_version": upload.dataset_version,
        "dialect": look.dialect.told,
        **({} if typed is None else {"typed": dict(typed)}),
        "shown": {**asdict(look.dialect), "detected": _evidence(upload, look), **text.origin},
        "positions": look.positions,
        "width": len(look.columns),
        "mapping": matching.shown(look.columns),
        **({"declared": matching.declared(look.columns)} if len(look.columns) > matching.MAX_TOLD else {}),
        "nameless": look.header.nameless,
        "header": look.heads,
        "own": correction.marks(look.heads) if schema else {},
        **({} if schema else {"names": look.names, "rows": _first_rows(look.rows, len(look.names))}),
        "data_start": start,
        "first_line": 1 + (sample.count(b"\n", 0, start) if text.by_rows else look.header.lines),
        **_cuts(upload, _estimate_rows(sample[start:], left), left, len(look.columns)),
    }


def _cuts(upload: ledger.Upload, rows: int, left: int, width: int) -> dict[str, Any]:
    """How the `left` bytes of a text are cut, which hold about so many rows of so many cells."""
    queue = tier(rows)
    rule = _chunk_rule(queue)
    segment = _segment_bytes(upload.text.size, left)
    return {
        "segment_bytes": segment,
        "chunk_bytes": _equal_chunks(segment or left, rule.bytes),
        "chunk_records": _paced_records(upload, rows, _most_records(rule, width)),
        "estimated_rows": rows,
        "tier": queue,
    }


def _has_nothing(text: ledger.Text) -> str:
    """What is said of a text without a byte: its file may have many."""
    if not text.origin:
        return "The file has no bytes, not even a header."
    if "sheet" in text.origin:
        return f"The sheet {text.origin['sheet']} has no value, not even a header."
    return f"{'What the file has packed' if 'packed' in text.origin else 'The file'} has no text, not even a header."


def again(upload: ledger.Upload, parent: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """The plan of records that another upload has rejected: as that one's, `parent`, but for what is said otherwise.

    Nothing is detected: the records have no header, and their columns are where they were.
    """
    return {
        **parent,
        **_read_again(upload, parent),
        "shown": {**parent.get("shown", {}), **upload.dialect},
        "data_start": 0,
        "first_line": 1,
        **_cuts(upload, rows, upload.text.size, parent["width"]),
    }


def _read_again(upload: ledger.Upload, parent: Mapping[str, Any]) -> dict[str, Any]:
    """How the text of these records is read, which is in UTF-8 whatever they were in."""
    found = conventions.again(parent, upload.dialect)
    return {**found, "dialect": found["dialect"] | {"encoding": UTF_8}}


def count(data: bytes, schema: Schema) -> int | None:
    """How many records a file of these bytes will be found to have; None if it has to be unpacked first.

    Raises Refused as `plan` would for the columns of a file that is loaded as it is.
    """
    if not data:
        raise Refused("file_empty", "The file has no bytes, not even a header.")
    sample = data[: formats.SAMPLE_BYTES]
    if kinds.kind(sample) != UTF_8:
        return None
    look = _look(ledger.Text("", "", len(data), {}), {}, sample, schema, lambda: None)
    start = chunking.Start(look.header.end, 1)
    whole = chunking.Rule(look.dialect, chunk_bytes=len(data), chunk_records=len(data))
    return sum(chunk.records for chunk in chunking.cut([data[start.byte :]], whole, start))


def _look(
    text: ledger.Text,
    mapping: matching.Mapped,
    sample: bytes,
    schema: Schema | None,
    before: Callable[[], Mapping[str, Any] | None],
) -> _Look:
    """`before` has the plan of the upload whose rejects the file holds, which is asked for if it is a rejects file."""
    truncated = text.size > len(sample)
    lines = text.plain(sample)
    detected = formats.detect(lines, text.dialect, truncated=truncated, names=schema.names if schema else ())
    header = formats.header(lines, detected.dialect, truncated=truncated)
    heads = correction.restored(header.names)
    records = _whole_records(lines[header.end :], detected.dialect, truncated=truncated)
    names = schema.names if schema else inference.column_names(header.names, records)
    parent = before() if correction.marks(heads) else None
    if parent and schema and not mapping:
        mapping = matching.declared_before(parent, heads, schema.names)
    columns = _columns(heads, detected, schema, mapping) if schema else _named(names)
    positions = matching.positions(columns, names)
    fitted = formats.fitted(records, len(columns), detected.dialect, header.nameless)
    rows = [row for row in fitted if len(row) == len(columns)]
    cells = [[row[position] for row in rows] for position in positions]
    typed = _typed(text, dict(zip(positions, names, strict=True)))
    if parent and (known := conventions.planned(parent).typed) is not None:
        # A column of which the first sheet had texts alone may have been given numbers in this one.
        typed = tuple({**dict(typed or ()), **dict(known)}.items())
    spelling = conventions.detect(cells, schema or inference.text_schema(names), text.dialect, typed)
    return _Look(detected, header, heads, names, columns, positions, rows, spelling)


def _chunk_rule(queue: Tier) -> ChunkRule:
    """The size of chunks while as many messages wait before them as do now; nobody asks where it is always the same."""
    rules = settings().chunk_policy
    depth = sqs.depth(settings().tier_queue(queue)) if len(rules) > 1 else 0
    return next(rule for rule in rules if depth >= rule.depth)


def _evidence(upload: ledger.Upload, look: _Look) -> dict[str, Any]:
    """How sure the detection is: so many of the sample's records have as many cells as the first."""
    detected = look.detected
    return {
        "declared": sorted(upload.dialect),
        "records": detected.records,
        "agreeing": detected.agreeing,
        "columns": detected.columns,
        "confidence": {**detected.confidence, **upload.text.confidence},
        "line_ends": dict(detected.line_ends),
        "ambiguous": detected.is_ambiguous,
        "alternatives": [asdict(each) for each in detected.alternatives],
        "conventions": look.spelling.evidence,
    }


def _columns(
    header: Sequence[str], detected: formats.Detected, schema: Schema, mapping: matching.Mapped
) -> list[matching.Column]:
    """The file's columns and their fields. Without a header, by the width that most records of the sample have."""
    if detected.dialect.header:
        own = dict.fromkeys(correction.marks(header))  # columns of a rejects file are nobody's field
        if correction.lacks_raw(header):
            detail = f"The rejects file lacks {correction.RAW}, which says what of it is corrected: leave it in."
            raise Refused("columns_missing", detail)
        try:
            return matching.match(header, schema.names, {**own, **mapping})
        except Refused as refused:
            raise _untold(refused, schema) if schema.is_encrypted else refused from None
    ignored = sum(field is None for field in mapping.values())
    usual = detected.columns if 2 * detected.agreeing > detected.records else len(schema.fields) + ignored
    return matching.by_position(usual, schema.names, mapping)


def _untold(refused: Refused, schema: Schema) -> Refused:
    """Without names of the file's own: where it has no header these are values, which may be of encrypted fields."""
    known = [{"code": one["code"], "column": one["column"]} for one in refused.errors if one["column"] in schema.names]
    detail = "The header and the fields of the dataset do not meet."
    return Refused(refused.code, detail, status=refused.status, errors=[{**one, "detail": detail} for one in known])


def _named(names: Sequence[str]) -> list[matching.Column]:
    """The columns of a file that makes its own dataset."""
    return [matching.Column(place, name, name, "exact") for place, name in enumerate(names, 1)]


def _whole_records(lines: bytes, dialect: Dialect, *, truncated: bool) -> list[list[str]]:
    """The sample's records; the last one may be cut off, and is then left out."""
    records = list(formats.records(lines, dialect))
    return records[:-1] if truncated else records


def _plan_before(upload: ledger.Upload) -> Mapping[str, Any] | None:
    """Cells of a rejects file are as they were in their sheet, and its columns mean what was declared of them.

    Raises Refused `rejects_gone` if nobody knows any more what that was.
    """
    number = taken.parent_of(connection(), upload.upload_id)
    parent = ledger.find(connection(), number) if number else None
    if (parent is None or parent.plan is None) and taken.is_retry(connection(), upload.upload_id):
        raise Refused("rejects_gone", "The upload whose rejects these are is not there any more; send them as a file.")
    return parent.plan if parent else None


def _typed(text: ledger.Text, names: Mapping[int, str]) -> TypedFields | None:
    """What `Conventions.typed` is of a text whose fields stand in these columns."""
    if not text.by_rows:
        return None
    met = [place for place in text.as_values if place in names]
    return tuple((names[place], "either" if place in text.as_texts else "value") for place in met)


def _first_rows(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """The first rows for people to look at, cells cut short; fewer of a wide file."""
    most = min(REVIEWED_ROWS, max(1, REVIEWED_CELLS // width))
    return [[_printable(cell) for cell in row[:width]] for row in rows[:most]]


def _printable(cell: str) -> str:
    """The cell cut short by what its letters take as JSON: those beyond U+FFFF take twice as much as others."""
    units = cell[:REVIEWED_LENGTH].encode("utf-16-le", errors="replace")[: 2 * REVIEWED_LENGTH]
    return units.decode("utf-16-le", errors="ignore").replace("\0", "\ufffd")


def _estimate_rows(sample: bytes, size: int) -> int:
    """About how many rows `size` bytes hold, by the line ends of a sample."""
    lines = max(sample.count(b"\n"), sample.count(b"\r"))
    return size * lines // len(sample) if sample else 0


def _most_records(rule: ChunkRule, width: int) -> int:
    """Records of a chunk: few of a wide file, of which 8 MiB may hold as many cells as bytes."""
    return max(1, min(rule.records, MOST_CELLS // width - CELLS_PER_COLUMN))


def _paced_records(upload: ledger.Upload, rows: int, most: int) -> int:
    """Records of a chunk that is to take its turn: a second's, or more of a file that would be thousands of chunks."""
    rate = max_rate(upload.descriptor)
    return min(most, max(1, int(rate), rows // PACED_CHUNKS)) if rate else most


def _segment_bytes(size: int, left: int) -> int | None:
    """The size of equal segments of a large text; None for a text that is scanned as a whole."""
    most = settings().segment_bytes
    return -(-left // -(-left // most)) if size > 4 * most and left else None


def _equal_chunks(size: int, most: int) -> int:
    """Chunks of equal size and, above one, even number: two workers then end together."""
    chunks = -(-size // most)
    return max(1, -(-size // (chunks + chunks % 2))) if chunks > 1 else most
