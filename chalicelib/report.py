"""Step 5: what is said of an upload. The status is a projection in DynamoDB; chunks and rejects are Postgres'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from chalicelib.aws import dynamodb
from chalicelib.errors import Refused
from chalicelib.journey import ABOVE_ALL_IDS, COUNTS, STATUS, TERMINAL, TRANSITIONS, Number, is_upload_id, rfc3339
from chalicelib.paging import Asked, Page, decode, fill
from chalicelib.postgres import ledger, manifest, outcomes, projection
from chalicelib.postgres.connection import connection

MAX_RAW_BYTES: Final = 64 * 1024


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
    shown = dynamodb.project(seen["tenant"], seen["upload_id"], seen["state"], grown, _progress(seen))
    if seen["state"] in (*TERMINAL, "needs_review") and shown != "missing":
        projection.mark_end_shown(connection(), number, seen["generation"])


def _progress(seen: Mapping[str, Any]) -> dict[str, Any]:
    total = seen["bytes_total"]
    over = seen["state"] in (*TERMINAL, "needs_review")
    plan = seen["plan"] or {}
    return {
        "rows_total": seen["rows_total"],
        **{name: seen[name] for name in COUNTS},
        "valid": seen["valid"],
        "percent": 100.0 if over or not total else round(min(99.9, 100 * seen["bytes_done"] / total), 1),
        "chunks_total": seen["chunks_total"],
        "chunks_done": seen["chunks_done"],
        "tier": plan.get("tier"),
        "dialect": plan.get("shown"),
        "mapping": plan.get("mapping"),
        "timings": {
            "stored_at": rfc3339(seen["stored_at"]),
            "split_s": _between(seen["stored_at"], seen["split_at"]),
            "load_s": _between(seen["first_started_at"], seen["finished_at"]),
            "stored_to_completed_s": _between(seen["stored_at"], seen["finished_at"]),
        },
        "error": seen["error"],
    }


def _between(first: datetime | None, last: datetime | None) -> float | None:
    return None if first is None or last is None else round((last - first).total_seconds(), 3)


_NOTHING_YET: Final[Mapping[str, Any]] = {
    "rows_total": None,
    **dict.fromkeys(COUNTS, 0),
    "valid": 0,
    "percent": 0.0,
    "chunks_total": None,
    "chunks_done": 0,
    "tier": None,
    "dialect": None,
    "mapping": None,
    "timings": {"stored_at": None, "split_s": None, "load_s": None, "stored_to_completed_s": None},
    "error": None,
}


_BEFORE_THE_SPLIT: Final = {
    "expired": {"code": "upload_expired", "detail": "No file arrived in time."},
    "canceled": {"code": "canceled", "detail": "Canceled on request."},
}


def resource(item: Mapping[str, Any]) -> dict[str, Any]:
    """An upload as the API shows it, from its status item."""
    shown = {**_NOTHING_YET, **json.loads(item.get("progress", "{}"))}
    error = _BEFORE_THE_SPLIT.get(item["state"])
    return {
        "id": item["upload_id"],
        "dataset": item["dataset"],
        "filename": item["filename"],
        "state": item["state"],
        "status": STATUS[item["state"]],
        "mode": item["mode"],
        "created_at": item["created_at"],
        "bytes_total": item["size"],
        "options": {"mode": item["mode"], "dialect": json.loads(item["dialect"])}
        | json.loads(item.get("options", "{}")),
        **shown,
        "error": shown["error"] or error,
    }


def upload(tenant: str, upload_id: str) -> dict[str, Any]:
    """One upload, read without Postgres. Raises Refused `upload_not_found` (404)."""
    return resource(dynamodb.get_upload(tenant, upload_id))


def uploads(tenant: str, asked: Asked) -> Page:
    """The tenant's uploads, the newest first."""
    if asked.filters.get("state", "queued") not in TRANSITIONS:
        raise Refused("query_invalid", "There is no such state.", status=400)
    before = decode(asked.cursor, str, ABOVE_ALL_IDS)
    if before != ABOVE_ALL_IDS and not is_upload_id(before):
        raise Refused("cursor_invalid", "The cursor is not one this listing gave.", status=400)
    found = dynamodb.listing(tenant, before, asked.filters)
    return fill(found, asked.limit, resource, lambda item: item["upload_id"])


def chunks(tenant: str, upload_id: str, asked: Asked) -> Page:
    """An upload's chunks; none before the scan."""
    number = _number(tenant, upload_id)
    after = decode(asked.cursor, int, -1)
    found = [] if number is None else manifest.list_chunks(connection(), number, after, asked.limit + 1)
    return fill(found, asked.limit, dict, lambda chunk: chunk["n"])


def rejects(tenant: str, upload_id: str, asked: Asked) -> Page:
    """An upload's rejected rows in file order, with every reason and the record as uploaded."""
    number = _number(tenant, upload_id)
    after = decode(asked.cursor, int, 0)
    found = iter(()) if number is None else outcomes.list_rejects(connection(), number, after, asked.limit + 1)
    return fill(found, asked.limit, _reject, lambda reject: reject["record"])


def _reject(row: Mapping[str, Any]) -> dict[str, Any]:
    raw = bytes(row["raw"])
    shown = {
        "row": row["record"],
        "line": row["line"],
        "errors": row["errors"],
        "raw": raw[:MAX_RAW_BYTES].decode(errors="backslashreplace"),
    }
    return shown | ({"raw_truncated": True} if len(raw) > MAX_RAW_BYTES else {})


def _number(tenant: str, upload_id: str) -> Number | None:
    dynamodb.get_upload(tenant, upload_id)
    return ledger.number_of(connection(), tenant, upload_id)
