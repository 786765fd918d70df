"""Step 5: what is said of an upload. The status is a projection in DynamoDB; chunks and records are Postgres'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from chalicelib import metrics, outlook, prices, retention
from chalicelib.aws import dynamodb, sqs
from chalicelib.checking import conventions
from chalicelib.errors import Refused
from chalicelib.journey import (
    ABOVE_ALL_IDS,
    AT_REST,
    COUNTS,
    RETENTION,
    STATUS,
    TERMINAL,
    UNDONE,
    Number,
    Retention,
    is_upload_id,
    lineage,
    rfc3339,
)
from chalicelib.paging import Asked, Onward, Page, decode, fill, foreign_cursor
from chalicelib.postgres import fates, handmade, ledger, manifest, projection, retries, reverts, tables, timeline
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

MAX_CHILDREN: Final = 100  # that an upload shows


def project(number: Number | None) -> Number | None:
    """Show how far an upload is: at most twice a second, and always at its end."""
    if number is not None and projection.is_due(connection(), number):
        show(number)
    return number


def show(number: Number | None) -> None:
    """Write the projection now; an older one never overwrites a newer, and a lost item is the sweep's to put back."""
    seen = projection.snapshot(connection(), number) if number is not None else None
    if number is None or seen is None:
        return
    grown = projection.ranked(seen)
    ended, kept = seen["finished_at"], _retention(seen["options"])
    forget_at = int((ended + timedelta(days=kept.status_days)).timestamp()) if ended else None
    shown = dynamodb.project(seen["tenant"], seen["upload_id"], seen["state"], grown, _progress(seen), forget_at)
    if ended and shown == "written":
        _measure(seen)
    if seen["state"] in AT_REST and shown != "missing":
        for upload_id in retries.concerned(connection(), seen["upload_id"]):
            show_retries(seen["tenant"], upload_id)
        untold = projection.mark_end_shown(connection(), number, ended)
        # After the status: whoever hears of the end and looks finds it. What is lost here the sweep sends for.
        sqs.send_all(settings().notify_queue, [{"event": event_id} for event_id in untold], seen["tenant"])


def _measure(seen: Mapping[str, Any]) -> None:
    """What an upload took, once: of those who show its end, one is first. What is done to it later is not counted."""
    if seen["generation"] > 1:
        return
    if cost := prices.cost(seen):
        metrics.measure("UploadCostUsd", cost["usd"])
    if seen["state"] in ("completed", "completed_with_errors"):
        metrics.measure("UploadSeconds", (seen["finished_at"] - seen["stored_at"]).total_seconds())
    if seen["is_whole"]:
        metrics.count("RowsLoaded", seen["loaded"] + seen["updated"])
        metrics.count("RowsRejected", seen["rejected"])


def show_retries(tenant: str, upload_id: str) -> None:
    """Show an upload's retries and how many of its rejects they have brought in by now."""
    found = retries.family(connection(), tenant, upload_id)
    shown = {"children": found.children[-MAX_CHILDREN:], "resolved": found.resolved}
    dynamodb.show_retries(tenant, upload_id, found.rank, shown)


def _progress(seen: Mapping[str, Any]) -> dict[str, Any]:
    total = seen["bytes_total"]
    over = seen["state"] in AT_REST
    plan = seen["plan"] or {}
    return {
        "rows_total": seen["rows_total"],
        **{name: seen[name] for name in COUNTS},
        "rows_visible": seen["rows_visible"],
        "valid": seen["valid"],
        **{name: seen[name] for name in UNDONE},
        "percent": 100.0 if over or not total else round(min(99.9, 100 * _share_done(seen)), 1),
        "chunks_total": seen["chunks_total"],
        "chunks_done": seen["chunks_done"],
        "tier": plan.get("tier"),
        **outlook.outlook(seen),
        "cost": prices.cost(seen),
        "dialect": conventions.shown(plan),
        "mapping": plan.get("mapping"),
        "timings": {
            "stored_at": rfc3339(seen["stored_at"]),
            "split_s": _between(seen["stored_at"], seen["split_at"]),
            "first_rows_s": _between(seen["stored_at"], seen["first_visible_at"]),
            "load_s": _between(seen["first_started_at"], seen["finished_at"]),
            "stored_to_completed_s": _between(seen["stored_at"], seen["finished_at"]),
        },
        "error": seen["error"],
        "mode": seen["mode"],
        "review": seen["review"] if seen["state"] == "needs_review" else None,
        "drift": seen["drift"],
        "malware": {
            "scanner": seen["scanner"],
            "verdict": seen["verdict"] or ("unscanned" if seen["finished_at"] else "awaited"),
            "threat": seen["threat"],
        },
        "expires_at": _after(seen["finished_at"], _retention(seen["options"]).files_days),
        "forgotten_at": _after(seen["finished_at"], _retention(seen["options"]).status_days),
    }


def _share_done(seen: Mapping[str, Any]) -> float:
    """Of the bytes that are to be loaded, or of the chunks that are to be undone."""
    if seen["state"] == "reverting":
        return float(seen["chunks_undone"] / max(1, seen["chunks_total"] or 0))
    return float(seen["bytes_done"] / seen["bytes_total"])


def _retention(options: Mapping[str, Any]) -> Retention:
    return RETENTION[options.get("retention", "standard")]


def _after(ended: datetime | None, days: int) -> str | None:
    return rfc3339(ended and ended + timedelta(days=days))


def _between(first: datetime | None, last: datetime | None) -> float | None:
    return None if first is None or last is None else round((last - first).total_seconds(), 3)


_NOTHING_YET: Final[Mapping[str, Any]] = {
    "rows_total": None,
    **dict.fromkeys(COUNTS, 0),
    "rows_visible": 0,
    **dict.fromkeys(UNDONE, 0),
    "valid": 0,
    "percent": 0.0,
    "chunks_total": None,
    "chunks_done": 0,
    "tier": None,
    "rate": None,
    "queued_before": None,
    "forecast": None,
    "cost": None,
    "dialect": None,
    "mapping": None,
    "timings": dict.fromkeys(("stored_at", "split_s", "first_rows_s", "load_s", "stored_to_completed_s")),
    "error": None,
    "review": None,
    "drift": None,
    "malware": None,
    "expires_at": None,
    "forgotten_at": None,
}


_BEFORE_THE_SPLIT: Final = {
    "expired": {"code": "upload_expired", "detail": "No file arrived in time."},
    "canceled": {"code": "canceled", "detail": "Canceled on request."},
}


def resource(item: Mapping[str, Any]) -> dict[str, Any]:
    """An upload as the API shows it, from its status item."""
    shown = {**_NOTHING_YET, **json.loads(item.get("progress", "{}"))}
    retried = {"children": [], "resolved": 0} | json.loads(item.get("retries", "{}"))
    error = _BEFORE_THE_SPLIT.get(item["state"])
    said = shown.pop("forecast")
    return {
        "id": item["upload_id"],
        "dataset": item["dataset"],
        "filename": item["filename"],
        "state": item["state"],
        "status": STATUS[item["state"]],
        "mode": item["mode"],
        "created_at": item["created_at"],
        "bytes_total": item["size"],
        "checksum": item.get("checksum"),
        "options": {"mode": item["mode"], "dialect": json.loads(item["dialect"])}
        | json.loads(item.get("options", "{}")),
        **shown,
        "eta": outlook.eta(said, datetime.now(UTC)),
        "parent_id": item.get("parent_id"),
        **retried,
        "rejected_open": None if (back := retried["resolved"]) is None else max(0, shown["rejected"] - back),
        "error": shown["error"] or error,
    }


def upload(tenant: str, upload_id: str) -> dict[str, Any]:
    """One upload, read without Postgres. Raises Refused `upload_not_found` (404)."""
    return resource(dynamodb.get_upload(tenant, upload_id))


def uploads(tenant: str, asked: Asked) -> Page:
    """The tenant's uploads, the newest first. Where few pass the filters a page may be short, or empty, and lead on."""
    before = decode(asked.cursor, str, ABOVE_ALL_IDS)
    if before != ABOVE_ALL_IDS and not is_upload_id(before):
        raise foreign_cursor()
    found = dynamodb.listing(tenant, before, asked.filters, asked.limit + 1)
    rows = (Onward(one) if isinstance(one, str) else one for one in found)
    return fill(rows, asked.limit, resource, lambda item: item["upload_id"])


def chunks(tenant: str, upload_id: str, asked: Asked) -> Page:
    """An upload's chunks; none before the scan."""
    number = _number(tenant, upload_id)
    after = decode(asked.cursor, int, -1)
    found = [] if number is None else manifest.list_chunks(connection(), number, after, asked.limit + 1)
    return fill(found, asked.limit, _chunk, lambda chunk: chunk["n"])


def _chunk(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "started_at": rfc3339(row["started_at"]), "finished_at": rfc3339(row["finished_at"])}


def events(tenant: str, upload_id: str, asked: Asked) -> Page:
    """What has happened to an upload, in order, and who asked for it."""
    dynamodb.get_upload(tenant, upload_id)
    found = timeline.page(connection(), upload_id, decode(asked.cursor, int, -1), asked.limit + 1)
    return fill(found, asked.limit, _event, lambda event: event["id"])


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "at": rfc3339(row["at"])}


def conflicts(tenant: str, upload_id: str, asked: Asked) -> Page:
    """Rows of an upload that was undone which were left as they are, in file order."""
    number = _number(tenant, upload_id)
    after = decode(asked.cursor, int, -1)
    found = [] if number is None else reverts.list_conflicts(connection(), number, after, asked.limit + 1)
    return fill(found, asked.limit, dict, lambda conflict: conflict["row"])


def record(tenant: str, upload_id: str, text: str) -> dict[str, Any]:
    """What became of one record, by its place in the file. Raises Refused `record_not_found` (404).

    Derived from the chunk that holds it, the rejects and the table: nothing is kept of a single record.
    """
    item = dynamodb.get_upload(tenant, upload_id)
    number = ledger.number_of(connection(), tenant, upload_id)
    n = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
    seen = projection.snapshot(connection(), number) if number else None
    chunk = next(iter(fates.pieces(connection(), number, n, n)), None) if number and n else None
    if n and chunk is None and (seen is None or seen["rows_total"] is None) and item["state"] not in TERMINAL:
        return _told(n, "pending")
    retention.refuse_expired(number)
    if number is None or seen is None or chunk is None:
        raise Refused("record_not_found", "The file has no such record, as far as it was read.", status=404)
    return _fate(number, n, chunk, over=seen["state"] in TERMINAL)


def _fate(number: Number, n: int, chunk: fates.Piece, *, over: bool) -> dict[str, Any]:
    if chunk.state == "queued":
        return _told(n, "processing" if chunk.started_at else "pending")
    if chunk.state != "loaded":
        return _told(n, "unprocessed")
    if reject := fates.rejects(connection(), number, n, n).get(n):
        return _told(n, "failed") | {"line": reject.line, "errors": reject.errors}
    if fates.contested(connection(), number, n, n):
        return _told(n, "unprocessed" if over else "processing")
    return _told(n, "success") | {"outcome": _outcome(number, n, chunk)}


def _told(n: int, state: str) -> dict[str, Any]:
    return {"row": n, "state": state, "outcome": None, "line": None, "errors": []}


def _outcome(number: Number, n: int, chunk: fates.Piece) -> str:
    """What a record that is in has come to. docs/rejects.md says where a mode cannot tell two ends apart, and why."""
    upload = ledger.find(connection(), number)
    assert upload is not None
    undone = upload.state in ("reverting", "reverted")
    if upload.mode == "insert" and not undone:
        return "loaded"
    is_there = not upload.dataset_is_gone and tables.holds(connection(), upload.table, lineage(number, n))
    if undone and not is_there:
        return "reverted"
    if is_there:
        if upload.mode == "skip" or not (chunk.updated or chunk.contested):
            return "loaded"
        return "written" if chunk.loaded or chunk.contested else "updated"
    if upload.mode == "upsert":
        return "replaced"
    is_certain = not upload.dataset_is_gone and not (
        ledger.may_be_overwritten(connection(), number) or handmade.taken_over(connection(), number)
    )
    return "skipped" if is_certain else "skipped_or_replaced"


def _number(tenant: str, upload_id: str) -> Number | None:
    dynamodb.get_upload(tenant, upload_id)
    return ledger.number_of(connection(), tenant, upload_id)
