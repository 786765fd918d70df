"""Step 8: what an upload came to, sealed. After its end the file is read once and the table a batch at a time; counts,
digests of both and the receipt before this one become a receipt that anybody can check.

Later the same reading tells whether file and table are still so. Both are jobs: killed anywhere, they go on from the
last batch; a message that comes twice finds somebody at it, or nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from chalicelib import seals
from chalicelib.aws import s3, sqs
from chalicelib.checking import conventions
from chalicelib.comparing import Comparison
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused
from chalicelib.journey import COUNTS, Number, rfc3339
from chalicelib.logs import about
from chalicelib.postgres import digests, handmade, ledger, locks, projection, proofs, reverts, timeline
from chalicelib.postgres.connection import Connection, connection
from chalicelib.postgres.proofs import Proof, Receipt
from chalicelib.postgres.tables import Table
from chalicelib.postgres.timeline import NOBODY
from chalicelib.settings import settings

FORMAT: Final = 1  # of what a receipt says; members may be added without another
MOST_WAITED: Final = 60.0  # seconds for who is at the table, one for each chunk that would be looked for in all of it
PAUSE: Final = 0.5  # seconds
MOST_LISTED: Final = 8000  # chunks: a receipt is an answer, and those have 5 MB; of more it has the digest of the list


def work(message: Mapping[str, Any], deadline: float) -> Number | None:
    """Read the upload that a message names, for its receipt and to compare, as far as is due; goes on by a message.

    `deadline`, of time.monotonic, is when to leave the rest to the next invocation.
    """
    upload = ledger.named(connection(), message.get("receipt"))
    if upload is None:
        return None
    about(upload.correlation_id, upload_id=upload.upload_id)
    done = True
    with locks.alone(connection(), locks.proof(upload.number)) as ours:
        # Whoever holds the lock looks again when it is done; what is asked for in between, the sweep sends for.
        while ours and done and (proof := proofs.take(connection(), upload.number)):
            done = _make(upload, proof, deadline) if proof.kind == "receipt" else _compare(upload, proof, deadline)
    if not done:  # not before the lock is free: whoever finds it held lets the message go
        sqs.send(settings().receipt_queue, {"receipt": upload.number})
    return upload.number


def _make(upload: ledger.Upload, proof: Proof, deadline: float) -> bool:
    """The receipt of an upload's end; whether it is made, or is not to be made any more."""
    db = connection()
    if "file" not in proof.found:
        proof.found["file"] = _read_file(upload, deadline)
        proof.found["table"] = None
        digests.forget(db, upload.number)  # what was seen of a generation before this
        proofs.note(db, proof, 0)
    if not _read_table(upload, proof, deadline):
        return False
    _sign(upload, proof)
    return True


def _read_file(upload: ledger.Upload, deadline: float) -> dict[str, Any]:
    """The SHA-256 of the file as it was pinned, or why there is none. It cannot be taken in parts."""
    digest = hashlib.sha256()
    if upload.state == "quarantined":
        return {"sha256": None, "reason": "quarantined"}  # nobody may read it
    try:
        for place, block in enumerate(s3.stream(upload.object_key, upload.etag, 0, upload.bytes_total)):
            if place and time.monotonic() > deadline:
                return {"sha256": None, "reason": "file_too_large"}
            digest.update(block)
    except Refused as refused:
        return {"sha256": None, "reason": refused.code}
    return {"sha256": digest.hexdigest(), "reason": None}


def _read_table(upload: ledger.Upload, proof: Proof, deadline: float) -> bool:
    """Digest the rows of the upload, a batch of chunks in a transaction; whether all of them are."""
    db, done = connection(), proof.chunks_done
    if upload.reading != "load" or not upload.dataset or not digests.is_there(db, upload.dataset):
        return True
    schema = read_schema(upload.descriptor)
    table = Table(upload.dataset, upload.dataset_version, schema)
    if proof.found["table"] is None:
        proof.found["table"] = {"fields": schema.names, "read_from": _now(), "rows": 0, "digest": ""}
    told = proof.found["table"]
    _prepare(db, upload.dataset, min(deadline, time.monotonic() + min(upload.chunks_total or 0, MOST_WAITED)))
    while spans := digests.batch(db, upload.number, upload.reading, done):
        try:
            with db.transaction():
                ledger.lock_upload(db, upload.number, shared=True)  # a redrive waits for the batch, or is seen
                if not proofs.is_wanted(db, proof):
                    return True
                seen = digests.look(db, table, told["fields"], upload.number, spans)
                digests.keep(db, upload.number, upload.reading, seen)
                told["rows"] += sum(one.rows for one in seen)
                before = bytes.fromhex(told["digest"]) or digests.NO_ROWS
                told["digest"] = digests.total([before, *(one.digest for one in seen)]).hex()
                done = spans[-1].n
                proofs.note(db, proof, done)
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):  # deleted, or made anew, meanwhile
            proof.found["table"] = None
            digests.forget(db, upload.number)
            return True
        if time.monotonic() > deadline:  # after a batch, so that every invocation brings it on
            return False
    told["read_until"] = _now()
    told["digest"] = told["digest"] or digests.NO_ROWS.hex()
    return True


def _prepare(db: Connection, dataset: int, until: float) -> None:
    """Have looks find rows by the index; an autovacuum, which is often there after a load, does that at its end."""
    while not digests.prepare(db, dataset) and time.monotonic() < until:
        time.sleep(PAUSE)


def _now() -> str:
    return rfc3339(datetime.now(UTC))


def _sign(upload: ledger.Upload, proof: Proof) -> None:
    """Seal what was read with the counts as they are, unless the upload is under way again."""
    db = connection()
    with db.transaction():
        ledger.lock_upload(db, upload.number, shared=True)  # a redrive waits for this, or is seen
        seen = projection.snapshot(db, upload.number)
        if seen is None or not proofs.is_wanted(db, proof):
            return
        before = proofs.find(db, upload.number)
        issued_at = datetime.now(UTC)
        said = _said(db, upload, proof, seen, before, issued_at)
        jws = seals.seal(json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode())
        digest = hashlib.sha256(jws.encode()).digest()
        timeline.note(db, upload.upload_id, "receipt", NOBODY, {"n": said["n"], "sha256": digest.hex()})
        proofs.issue(db, proof, Receipt(said["n"], seen["generation"], seen["state"], issued_at, digest, jws))


def _said(
    db: Connection,
    upload: ledger.Upload,
    proof: Proof,
    seen: Mapping[str, Any],
    before: Receipt | None,
    issued_at: datetime,
) -> dict[str, Any]:
    """What a receipt says. Members are described in docs/receipts.md."""
    origin = proofs.origin(db, upload.number)
    table = proof.found["table"]
    if table is not None:
        table |= {"changed_by_hand": handmade.taken_over(db, upload.number)}
    return {
        "format": FORMAT,
        "upload_id": upload.upload_id,
        "n": before.n + 1 if before else 1,
        "generation": seen["generation"],
        "state": seen["state"],
        "ended_at": rfc3339(proof.ended_at),
        "issued_at": rfc3339(issued_at),
        "supersedes": {"n": before.n, "sha256": before.sha256.hex()} if before else None,
        "file": {"name": origin["filename"], "size": upload.bytes_total}
        | proof.found["file"]
        | {"version_id": origin["version_id"], "etag": upload.etag},
        "text": None if upload.piece is None else {"size": upload.text.size},
        "dialect": _dialect(upload.plan or {}),
        "dataset": {
            "id": origin["dataset_id"],
            "name": origin["dataset"],
            "version": (upload.plan or {}).get("dataset_version"),
        },
        "mode": upload.mode,
        "records": seen["rows_total"],
        "counts": {name: seen[name] for name in COUNTS},
        "settled": digests.settled(db, upload.number, upload.reading) or None,
        "undone": reverts.find(db, upload.number),
        "table": table,
        "chunks": _listed(db, upload),
    }


def _dialect(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the file was read, without how that was found out."""
    shown = conventions.shown(plan)
    return shown and {name: value for name, value in shown.items() if name != "detected"}


def _listed(db: Connection, upload: ledger.Upload) -> dict[str, Any]:
    """The chunks as a receipt has them: how many, a digest of their lines, and the lines unless they are too many."""
    digest, items, total = hashlib.sha256(), [], 0
    for line in digests.lines(db, upload.number, upload.reading):
        digest.update(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        total += 1
        if total <= MOST_LISTED:
            items.append(line)
    return {
        "total": total,
        "sha256": digest.hexdigest(),
        "columns": digests.LINE,
        "items": items if total <= MOST_LISTED else None,
    }


def _compare(upload: ledger.Upload, proof: Proof, deadline: float) -> bool:
    """Compare file and table with the newest receipt; whether that is over."""
    db = connection()
    receipt = proofs.find(db, upload.number)
    if receipt is None:
        proofs.drop(db, upload.number, "verify")
        return True
    comparison = Comparison(upload, proof, receipt, json.loads(seals.opened(receipt.jws)))
    if not proof.found:
        lines = _listed(db, upload)["sha256"]
        comparison.begin(is_sealed=seals.is_ours(receipt.jws), lines=lines, undone=reverts.find(db, upload.number))
        proofs.note(db, proof, 0)
    if not comparison.read(deadline):
        return False
    comparison.end(handmade.taken_over(db, upload.number))
    proofs.close(db, proof)
    return True
