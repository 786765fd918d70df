"""File and table of an upload, held against its receipt: what differs, in which chunks, and what became of the rows.

The file is whatever lies under its key now. Only where the table differs are rows read from it again, to tell those
that were edited in place from those that are not there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg

from chalicelib.aws import s3
from chalicelib.errors import Refused
from chalicelib.postgres import digests, ledger, manifest, proofs, staging
from chalicelib.postgres.connection import connection
from chalicelib.postgres.digests import Seen, Span
from chalicelib.prepared import prepare

MOST_SHOWN: Final = 100  # chunks that differ
MOST_REREAD: Final = 20  # of these: each takes as long as it took to load
AT_ONCE: Final = 8  # chunks between two looks at the clock, where their bytes are read
MOST_TRIES: Final = 2  # at a file that could be read whole before: then a chunk at a time


class Comparison:
    """One comparison; what it has found by now is in `proof.found`, so that another invocation goes on with it."""

    def __init__(
        self, upload: ledger.Upload, proof: proofs.Proof, receipt: proofs.Receipt, said: Mapping[str, Any]
    ) -> None:
        self._upload, self._proof, self._said, self._found = upload, proof, said, proof.found
        self._receipt = {"n": receipt.n, "sha256": receipt.sha256.hex()}

    def begin(self, *, is_sealed: bool, lines: str, undone: Mapping[str, Any] | None) -> None:
        """Nothing is found yet, but whether the ledger still says what was sealed: of its chunks, and of an undo."""
        sealed = self._said.get("undone", undone)  # receipts from before that was in them say nothing of it
        holds = is_sealed and lines == self._said["chunks"]["sha256"] and undone == sealed
        self._found |= {"receipt": self._receipt, "ledger": "match" if holds else "differs", "undone": sealed}
        self._found |= {"source": None, "tries": 0, "table": None if self._said["table"] is None else "match"}
        self._found |= {"rows": {"expected": 0, "found": 0, "missing": 0, "edited": 0}, "differing": 0, "chunks": []}

    def read(self, deadline: float) -> bool:
        """Read on until the deadline; whether all is read."""
        if self._found["source"] is None and not self._read_file(deadline):
            return False
        done = self._proof.chunks_done
        digests.prepare(connection(), self._upload.dataset)
        while spans := digests.batch(connection(), self._upload.number, self._upload.reading, done):
            if self._reads_chunks:
                spans = spans[:AT_ONCE]
            self._compare(spans)
            done = spans[-1].n
            proofs.note(connection(), self._proof, done)
            if time.monotonic() > deadline:  # after a batch, so that every invocation brings it on
                return False
        return True

    def _read_file(self, deadline: float) -> bool:
        """Compare the file as a whole, if it can be read at once; else it is compared a chunk at a time."""
        stored = s3.head(self._upload.object_key)
        if stored is None:
            self._found["source"] = "gone"
            return True
        self._found |= {"etag": stored.etag, "size": stored.size}
        wanted = self._said["file"]["sha256"]
        if wanted is None or self._found["tries"] >= MOST_TRIES:
            same = (stored.etag, stored.size) == (self._upload.etag, self._upload.bytes_total)
            # Of what was made of a file there are no chunks to compare; S3's tag is all there is to go by.
            self._found["source"] = "unread" if self._upload.piece is None else "match" if same else "changed"
            return True
        self._found["tries"] += 1
        proofs.note(connection(), self._proof, 0)
        digest = hashlib.sha256()
        try:
            for place, block in enumerate(s3.stream(self._upload.object_key, stored.etag, 0, stored.size)):
                if place and time.monotonic() > deadline:
                    return False
                digest.update(block)
        except Refused:  # replaced in this moment: another look
            return False
        self._found["source"] = "match" if digest.hexdigest() == wanted else "changed"
        return True

    @property
    def _reads_chunks(self) -> bool:
        return self._found["source"] in ("changed", "unread") and self._upload.piece is None

    def _compare(self, spans: Sequence[Span]) -> None:
        seen = self._look(spans)
        for span in spans:
            source = self._source_of(span)
            row = self._row_of(span, seen.get(span.n))
            if source == "changed":
                self._found["source"] = "changed"
            if row["table"] == "differs" and self._found["table"] == "match":
                self._found["table"] = "differs"
            if source == "changed" or row["table"] == "differs":
                self._note_difference(span, source, row)

    def _look(self, spans: Sequence[Span]) -> Mapping[int, Seen]:
        """What the table holds of these chunks now; nothing if it is not there, or was made anew."""
        if self._found["table"] in (None, "gone"):
            return {}
        try:
            db = connection()
            with db.transaction():
                fields = self._said["table"]["fields"]
                return {one.n: one for one in digests.look(db, self._upload.table, fields, self._upload.number, spans)}
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            self._found["table"] = "gone"
            return {}

    def _source_of(self, span: Span) -> str | None:
        """Whether the file has a chunk's bytes where they were; None where that is not the question."""
        if not self._reads_chunks or span.sha256 is None:
            return None
        if span.byte_end > self._found["size"]:
            return "changed"
        try:
            data = s3.read(self._upload.object_key, self._found["etag"], span.byte_start, span.byte_end)
        except Refused:
            return "changed"
        return "match" if hashlib.sha256(data).digest() == span.sha256 else "changed"

    def _row_of(self, span: Span, seen: Seen | None) -> dict[str, Any]:
        """What became of a chunk's rows."""
        if self._found["table"] is None or span.table_digest is None:
            return {"table": None, "expected": None, "found": None, "missing": None, "edited": None}
        seen, expected = seen or Seen(span.n, 0, digests.NO_ROWS), span.table_rows or 0
        same = (seen.rows, seen.digest) == (span.table_rows, span.table_digest)
        told: dict[str, int | None] = {
            "expected": expected,
            "found": seen.rows,
            "missing": max(0, expected - seen.rows),
            "edited": 0 if same or not seen.rows else self._count_edited(span),
        }
        for name, value in told.items():
            before = self._found["rows"][name]
            self._found["rows"][name] = None if value is None or before is None else before + value
        return {"table": "match" if same else "differs", **told}

    def _count_edited(self, span: Span) -> int | None:
        """How many rows are there under their record's number with other values; None if that is not to be told."""
        upload = self._upload
        is_readable = self._found["source"] == "match" and span.state == "loaded"
        is_planned = (upload.plan or {}).get("dataset_version") == upload.dataset_version
        if not (is_readable and is_planned and self._found["differing"] < MOST_REREAD):
            return None
        try:
            data = s3.read(upload.text.key, upload.text.etag, span.byte_start, span.byte_end)
        except Refused:  # the piece that was made of the file
            return None
        (work, _), *_ = manifest.chunks_of_records(connection(), upload.number, "load", [span.first_record])
        prepared, db = prepare(upload, work, data), connection()
        try:
            with db.transaction():
                table = upload.table
                staging.make_staging(db, table)
                staging.stage(db, table, prepared.found.text(()))
                return digests.count_edited(db, table, upload.number, span)
        except psycopg.errors.ProgramLimitExceeded:  # a row too long for any table, rejected when it was to be loaded
            return None

    def _note_difference(self, span: Span, source: str | None, row: Mapping[str, Any]) -> None:
        self._found["differing"] += 1
        if len(self._found["chunks"]) < MOST_SHOWN:
            where = {"n": span.n, "first_record": span.first_record, "records": span.records}
            self._found["chunks"].append({**where, "source": source or self._found["source"], **row})

    def end(self, taken_over: int) -> None:
        """Say what all of it amounts to. `taken_over`: rows of the upload that were changed or deleted by hand."""
        found, table = self._found, self._said["table"]
        if found["source"] == "unread":
            found["source"] = "match" if found["size"] == self._said["file"]["size"] else "changed"
        by_hand = None if table is None else taken_over - table["changed_by_hand"]
        found["rows"]["changed_by_hand"] = by_hand
        differs = found["ledger"] == "differs" or found["source"] == "changed" or found["table"] in ("differs", "gone")
        found["result"] = "differs" if differs else "source_gone" if found["source"] == "gone" else "match"
