"""The operator's comparison of the files in S3, the ledger, the tables and the status table: what differs, mended.

One page of uploads a call. What needs a decision is only told; nothing of a user's rows is ever changed here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from chalicelib import vault
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.journey import ABOVE_ALL_IDS, COUNTS, TERMINAL, object_key
from chalicelib.postgres import announcements, handmade, ledger, manifest, projection, tables, vitals
from chalicelib.postgres.announcements import Announced
from chalicelib.postgres.connection import connection

PAGE: Final = 200
_TAKEN_BACK: Final = ("canceling", "reverting", "reverted")  # whose owner wants no rows of it
_CLOSES: Final = ("awaiting_upload", "expired", "canceled", "failed")  # without a file: the sweep ends it, in its time


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wrong with an upload, and whether it was, or would be, mended."""

    upload_id: str
    tenant: str
    code: str
    detail: str
    mendable: bool


def examine(event: Mapping[str, Any]) -> dict[str, Any]:
    """A page of `{"side": "ledger" | "status" | "keys" | "vitals", "after": cursor, "mend": bool}`.

    Side `ledger` goes by the uploads Postgres knows, `status` by those the status table knows and Postgres does not.
    Side `keys` finds nothing: it wraps the data keys of encrypted fields anew.
    Side `vitals` is no page, but how the deployment is at this moment.
    """
    mend, after = event.get("mend") is True, event.get("after")
    found: list[Difference] = []
    match event.get("side"):
        case "vitals":
            return vitals.look(connection())
        case "keys":
            checked, following = vault.rewrap(connection(), after or 0)
        case "status":
            checked, found, following = _status_side(after, mend)
        case _:
            checked, found, following = _ledger_side(after, mend)
    return {"checked": checked, "differences": [asdict(one) for one in found], "next": following}


def _ledger_side(after: Any, mend: bool) -> tuple[int, list[Difference], Any]:
    page = announcements.list_before(connection(), after or ABOVE_ALL_IDS, PAGE)
    found = [difference for announced in page for difference in _examine(announced, mend)]
    return len(page), found, page[-1].upload_id if len(page) == PAGE else None


def _status_side(after: Any, mend: bool) -> tuple[int, list[Difference], Any]:
    items, following = dynamodb.scan(after, PAGE)
    found = []
    for item in items:
        if announcements.find(connection(), item["tenant"], item["upload_id"]) is None:
            found.append(_forgotten(item, mend))
    return len(items), found, following


def _forgotten(item: dynamodb.Item, mend: bool) -> Difference:
    """An upload that the database has lost: restored from a backup, it is older than the status table.

    What the status says of it is not believed but for what its owner wanted: that it waits for its file, or undid it.
    """
    stored, state = s3.head(object_key(item["tenant"], item["upload_id"])), item["state"]
    loads = stored is not None and state not in _TAKEN_BACK
    if mend and (loads or state in _CLOSES):
        left = max(0.0, item["closes_at"] - time.time())
        announcements.announce(connection(), item | {"state": "awaiting_upload", "rank": 0}, None, left)
        if loads:
            projection.begin_epoch(connection())
            sqs.send_for_split(item["tenant"], item["upload_id"])
    there = "its file is there: it is loaded again" if loads else "its file is not there"
    if stored is not None and not loads:
        there = "its rows were taken back: its file is not loaded again"
    detail = f"The status table shows it {state}, the database does not know it; {there}."
    return Difference(item["upload_id"], item["tenant"], "ledger_lost", detail, loads or state in _CLOSES)


def _examine(announced: Announced, mend: bool) -> Iterator[Difference]:
    def differs(code: str, detail: str, *, mendable: bool = False) -> Difference:
        return Difference(announced.upload_id, announced.tenant, code, detail, mendable)

    tenant, upload_id = announced.tenant, announced.upload_id
    item = dynamodb.find(tenant, upload_id)
    if item is None:
        if mend:
            dynamodb.restore(announced.status)
            projection.show_again(connection(), [upload_id])
        yield differs("status_lost", "The status table has no item of it.", mendable=True)
    number = ledger.number_of(connection(), tenant, upload_id)
    if number is None:
        yield from (differs(*told, mendable=True) for told in _unopened(announced, item, mend))
        return
    seen = projection.snapshot(connection(), number)
    assert seen is not None
    for code, detail in _shown_wrong(seen, item):
        if mend:
            _show_right(seen, item)
        yield differs(code, detail, mendable=True)
    for code, detail in (*_manifest_wrong(seen), *_file_wrong(seen), *_rows_wrong(seen)):
        yield differs(code, detail)


def _unopened(announced: Announced, item: dynamodb.Item | None, mend: bool) -> Iterator[tuple[str, str]]:
    """An upload without a ledger row, though its file is there and nobody has ended it."""
    if announced.closed in ("expired", "canceled", "failed"):
        return
    if s3.head(object_key(announced.tenant, announced.upload_id)) is None:
        return
    if mend:
        if item is not None and item["rank"] > 1:
            projection.begin_epoch(connection())
        sqs.send_for_split(announced.tenant, announced.upload_id)
    yield "not_split", "Its file is there and no splitter has met it; it is split."


def _shown_wrong(seen: Mapping[str, Any], item: dynamodb.Item | None) -> Iterator[tuple[str, str]]:
    """The status differs from the ledger; an upload under way may be shown half a second late."""
    if item is None:
        return
    shown, true = item["rank"], projection.ranked(seen)
    if shown > true:
        yield "status_ahead", f"The status shows {item['state']}, the ledger is back at {seen['state']}."
    elif shown < true and seen["state"] in TERMINAL:
        yield "status_behind", f"The status shows {item['state']}, the ledger says {seen['state']}."
    elif shown == true and seen["state"] in TERMINAL:
        told = json.loads(item.get("progress", "{}"))
        wrong = [name for name in COUNTS if told.get(name, 0) != seen[name]]
        if wrong:
            yield "status_differs", f"The status is wrong about {', '.join(wrong)}."


def _show_right(seen: Mapping[str, Any], item: dynamodb.Item | None) -> None:
    if item is not None and item["rank"] >= projection.ranked(seen):
        projection.begin_epoch(connection())
    projection.show_again(connection(), [seen["upload_id"]])


def _manifest_wrong(seen: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Chunks that do not cover the file without gap or overlap, or do not add up to its records."""
    if seen["chunks_total"] is None:
        return
    covered = manifest.coverage(connection(), seen["number"])
    if (covered.chunks, covered.records) != (seen["chunks_total"], seen["rows_total"]) or covered.gaps:
        yield (
            "manifest_gap",
            f"{covered.chunks} chunks with {covered.records} records and {covered.gaps} gaps; the scan counted"
            f" {seen['chunks_total']} and {seen['rows_total']}.",
        )


def _file_wrong(seen: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if seen["state"] not in TERMINAL and s3.head(object_key(seen["tenant"], seen["upload_id"])) is None:
        yield "file_gone", "Its file is gone; chunks that are not in yet will be given up."


def _rows_wrong(seen: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """More rows than the ledger says is a fault of ours; fewer may be later uploads' or the owner's doing."""
    upload = ledger.find(connection(), seen["number"])
    if upload is None or upload.dataset == 0 or upload.dataset_is_gone or seen["state"] not in TERMINAL:
        return
    there = tables.count_rows(connection(), upload.table, upload.number)
    said = seen["loaded"] + seen["updated"] - handmade.taken_over(connection(), upload.number)
    if there > said:
        yield "rows_too_many", f"The table holds {there} rows of it, the ledger says {said}."
    elif there < said and not ledger.may_be_overwritten(connection(), upload.number):
        yield "rows_missing", f"The table holds {there} rows of it, the ledger says {said}."
