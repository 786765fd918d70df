"""Step 2 for files that cannot be cut where they lie: gzip, workbooks, other encodings become UTF-8 CSV, once.

The piece is stored under a key of its own and then pinned in the ledger; the first pin wins, and everything after
it reads the piece as if it were the file. A crash before the pin costs a repeat and leaves an object to expire.
What cannot be loaded by its first lines is refused by them, before the rest is unpacked and stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Final

from ulid import ULID

from chalicelib import formats
from chalicelib.aws import s3
from chalicelib.checking import conventions
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused
from chalicelib.formats import encodings, excel, gzipped, kinds, threats, transcoded
from chalicelib.formats.kinds import GZIP, WORKBOOK
from chalicelib.formats.limits import RATIO_FROM, Limits
from chalicelib.formats.transcoded import UTF_8
from chalicelib.journey import piece_key
from chalicelib.postgres import ledger
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

BEAT_SECONDS: Final = 5  # the sweep takes a splitter for dead that gives no sign for a minute
_OF_ANY_TEXT: Final = frozenset({"header", "skip_lines", "comment", *conventions.OPTIONS})  # of a sheet, too


@dataclass(frozen=True, slots=True)
class _Made:
    """A file as UTF-8 CSV: its bytes, what is declared of it, and what the status shows of the file."""

    blocks: Iterable[bytes]
    dialect: dict[str, Any]
    origin: dict[str, Any]
    confidence: dict[str, float]
    sheet: excel.Sheet | None = None


class _Over(Exception):
    """The upload has ended meanwhile."""


def ready(
    upload: ledger.Upload, sample: bytes, deadline: float, plan: Callable[[ledger.Upload, bytes], object]
) -> ledger.Upload | None:
    """The upload with a text that can be cut; None if it has ended meanwhile. Raises Refused.

    `sample` is of the text it has. `plan` is given one of the text to come, if that is longer, and raises Refused if
    the upload cannot be loaded from it. What is not made by `deadline` (of time.monotonic) is refused: a repeat would
    begin at the start again.
    """
    if upload.piece or not upload.bytes_total:
        return upload
    kinds.refuse_old_office(sample, upload.bytes_total, partial(s3.read, upload.object_key, upload.etag))
    found = kinds.kind(sample, upload.dialect.get("encoding"))
    if found == UTF_8:
        return upload
    made = _make(upload, found, sample)
    key = piece_key(upload.tenant, upload.upload_id, str(ULID()))
    try:
        blocks = _refused_early(upload, made, _watched(upload, threats.watched(made.blocks), deadline), plan)
        etag, size = s3.write(key, "text/csv; charset=utf-8", blocks)
    except _Over:
        return None
    piece = _piece(made, key, etag, size)
    return replace(upload, piece=ledger.keep_piece(connection(), upload.number, piece))


def _refused_early(
    upload: ledger.Upload,
    made: _Made,
    blocks: Iterator[bytes],
    plan: Callable[[ledger.Upload, bytes], object],
) -> Iterator[bytes]:
    """All of the blocks, if `plan` finds nothing in the first ones that the whole would be refused for."""
    head, blocks = _head(blocks, formats.SAMPLE_BYTES + 1)
    if len(head) > formats.SAMPLE_BYTES:
        begun = _piece(made, "", "", len(head))
        try:
            plan(replace(upload, piece=begun), head[: formats.SAMPLE_BYTES])
        except Refused:
            _unpack_some(blocks)
            raise
    return blocks


def _unpack_some(blocks: Iterable[bytes]) -> None:
    """What is a bomb by RATIO_FROM bytes and a block more is refused as one, whatever else is wrong with it."""
    left = RATIO_FROM
    for block in blocks:
        left -= len(block)
        if left < 0:
            break


def _piece(made: _Made, key: str, etag: str, size: int) -> dict[str, Any]:
    """What the ledger keeps of a piece, of which so many bytes are made."""
    piece = {"key": key, "etag": etag, "size": size, "dialect": made.dialect, "by_rows": made.sheet is not None}
    if made.sheet:
        piece |= {"as_values": sorted(made.sheet.as_values), "as_texts": sorted(made.sheet.as_texts)}
    return piece | {"origin": made.origin, "confidence": made.confidence}


def _watched(upload: ledger.Upload, blocks: Iterable[bytes], deadline: float) -> Iterator[bytes]:
    """The blocks, while there is time, and a sign now and then that somebody is at work."""
    due = 0.0
    for block in blocks:
        now = time.monotonic()
        if now >= deadline:
            raise Refused("unpacking_too_long", "The file cannot be unpacked in the time that a function has.")
        if now >= due:
            if not ledger.is_scanning(connection(), upload.number):
                raise _Over
            due = now + BEAT_SECONDS
        yield block


def _make(upload: ledger.Upload, kind: str, sample: bytes) -> _Made:
    if kind == WORKBOOK:
        return _sheet(upload)
    source = s3.stream(upload.object_key, upload.etag, 0, upload.bytes_total)
    dialect = {**upload.dialect, "encoding": UTF_8}  # the piece's
    if kind != GZIP:
        return _Made(_in_utf_8(upload, source, kind), dialect, {"encoding": kind}, _confidence(upload, sample))
    head, contents = _head(gzipped.unpack(source, _limits()), formats.SAMPLE_BYTES)
    if head.startswith(kinds.ARCHIVES):
        raise Refused("gzip_nested", "The gzip file holds another archive; upload that one.")
    encoding = kinds.encoding(head, upload.dialect.get("encoding"))
    text = contents if encoding == UTF_8 else _in_utf_8(upload, contents, encoding)
    return _Made(text, dialect, {"packed": GZIP, "encoding": encoding}, _confidence(upload, head))


def _in_utf_8(upload: ledger.Upload, blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """A text of this encoding in UTF-8. One that was only taken for cp1252 by its first bytes must go on like that."""
    is_guessed = encoding == "cp1252" and upload.dialect.get("encoding") is None
    return transcoded.transcode(encodings.unmixed(blocks) if is_guessed else blocks, encoding)


def _confidence(upload: ledger.Upload, sample: bytes) -> dict[str, float]:
    return {"encoding": encodings.encoding(sample, upload.dialect.get("encoding")).confidence}


def _sheet(upload: ledger.Upload) -> _Made:
    """A sheet's cells are known as they are: what says how a text file is cut into them does not apply."""
    dialect = {name: value for name, value in upload.dialect.items() if name in _OF_ANY_TEXT}
    has_header = dialect.get("header", True)
    sheet = excel.open_sheet(
        excel.Ranges(partial(s3.read, upload.object_key, upload.etag), upload.bytes_total),
        upload.options.get("sheet"),
        _limits(),
        width=None if has_header or upload.dataset == 0 else len(read_schema(upload.descriptor).fields),
        skip=dialect.get("skip_lines", 0),
    )
    # Padded: no cell that a row lacks at its end ever held a value, however narrow a title above the header is.
    return _Made(
        sheet.blocks,
        dialect | {"delimiter": ",", "quote": '"', "ragged": "pad", "encoding": UTF_8},
        {"sheet": sheet.name},
        {},
        sheet,
    )


def _limits() -> Limits:
    return Limits(settings().max_unpacked_bytes, settings().scratch_bytes)


def _head(blocks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, `size` if there are so many, and all blocks."""
    held: list[bytes] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= size:
            break
    return b"".join(held)[:size], chain(held, blocks)
