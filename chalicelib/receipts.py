"""What is told of receipts, and having file and table compared with one: the API's side of what `attest` makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from chalicelib import retention, seals
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.errors import Refused
from chalicelib.journey import TERMINAL, UPLOAD_SECONDS, VERBS, rfc3339
from chalicelib.paging import Asked, Page, decode, fill
from chalicelib.postgres import ledger, proofs, timeline
from chalicelib.postgres.connection import connection
from chalicelib.postgres.timeline import NOBODY, Asker
from chalicelib.settings import settings

ROWS: Final = ("expected", "found", "missing", "edited", "changed_by_hand")


def keys() -> dict[str, Any]:
    """The public keys of receipts, as a JSON Web Key Set."""
    return seals.keys()


def get(tenant: str, upload_id: str, asked: Asked) -> dict[str, Any] | None:
    """The newest receipt of an upload, or its n-th; None while it is being made.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) while the upload is under way, `receipt_not_found`
    (404) if it ended without a file, or before there were receipts.
    """
    item = dynamodb.get_upload(tenant, upload_id)
    standing = proofs.standing(connection(), tenant, upload_id)
    wanted = asked.filters.get("n")
    n = None if wanted is None else int(wanted)
    if n is None and (standing is None or not standing.is_over) and item["state"] not in TERMINAL:
        raise _under_way(standing.state if standing else item["state"])
    if standing is None:
        raise Refused("receipt_not_found", f"The upload is {item['state']}, and there was no file.", status=404)
    if n is None and not standing.is_over:
        raise _under_way(standing.state)
    if n is None and not standing.is_made:
        return None
    receipt = proofs.find(connection(), standing.number, n)
    if receipt is None:
        raise _no_such_receipt()
    return {"receipt": json.loads(seals.opened(receipt.jws)), "jws": receipt.jws}


def text(tenant: str, upload_id: str) -> dict[str, Any]:
    """Where the text is that an upload's chunks are ranges of, if it is not the file itself.

    Raises Refused `upload_not_found` (404), `text_not_made` (409), `state_conflict` (409) until all of its bytes were
    looked at, which is known at its end, and for good if malware was found in them; `files_expired` (410).
    """
    number = retention.kept_number(tenant, upload_id)
    upload = ledger.find(connection(), number) if number else None
    state = upload.state if upload else dynamodb.get_upload(tenant, upload_id)["state"]
    if state not in TERMINAL or state == "quarantined":
        raise Refused("state_conflict", f"The upload is {state}: its text can be had when it has ended.", status=409)
    if upload is None or upload.piece is None:
        raise Refused("text_not_made", "No text was made of the file: chunks are ranges of it.", status=409)
    expires_at = datetime.now(UTC) + timedelta(seconds=UPLOAD_SECONDS)
    url = s3.presign_download(upload.text.key, f"{upload_id}.csv", UPLOAD_SECONDS)
    return {"url": url, "expires_at": rfc3339(expires_at), "size": upload.text.size}


def _no_such_receipt() -> Refused:
    return Refused("receipt_not_found", "The upload has no such receipt.", status=404)


def _under_way(state: str) -> Refused:
    return Refused("state_conflict", f"The upload is {state}: it has a receipt when it has ended.", status=409)


def chain(tenant: str, upload_id: str, asked: Asked) -> Page:
    """An upload's receipts, the first first; each supersedes the one before it."""
    dynamodb.get_upload(tenant, upload_id)
    standing = proofs.standing(connection(), tenant, upload_id)
    after = decode(asked.cursor, int, 0)
    found = [] if standing is None else proofs.chain(connection(), standing.number, after, asked.limit + 1)
    return fill(found, asked.limit, _shown, lambda one: one["n"])


def _shown(receipt: Mapping[str, Any]) -> dict[str, Any]:
    return {**receipt, "issued_at": rfc3339(receipt["issued_at"])}


def verify(tenant: str, upload_id: str, by: Asker = NOBODY) -> dict[str, Any]:
    """Have file and table compared with the newest receipt; one comparison at a time, which a repeat finds.

    Raises Refused `upload_not_found` (404), `state_conflict` (409), `receipt_not_found` (404), `role_forbids` (403) if
    the dataset may not be read any more.
    """
    item = dynamodb.get_upload(tenant, upload_id)
    standing = proofs.standing(connection(), tenant, upload_id)
    state = standing.state if standing else item["state"]
    if state not in VERBS["verify"] or standing is None or not standing.is_over:
        detail = f"The upload is {state}: what has a receipt can be verified."
        raise Refused("state_conflict", detail, status=409)
    if standing.is_made and not standing.newest:
        raise _no_such_receipt()
    if standing.is_shut:
        raise Refused("role_forbids", "The dataset may not be read any more.", status=403)
    db = connection()
    with db.transaction():
        if proofs.ask(db, standing.number):
            timeline.note(db, upload_id, "verify", by)
    # If this is lost now, the sweep sends for it.
    sqs.send(settings().receipt_queue, {"receipt": standing.number})
    return verification(tenant, upload_id)


def verification(tenant: str, upload_id: str) -> dict[str, Any]:
    """The newest comparison, as far as it is. Raises Refused `upload_not_found` (404), `not_verified` (409)."""
    dynamodb.get_upload(tenant, upload_id)
    standing = proofs.standing(connection(), tenant, upload_id)
    seen = proofs.comparison(connection(), standing.number) if standing else None
    if seen is None or not (seen["holds"] or seen["finished_at"]):
        raise Refused("not_verified", "Nobody has asked to have the upload verified.", status=409)
    found = seen["found"] if seen["finished_at"] else {}
    return {
        "upload_id": upload_id,
        "state": "completed" if seen["finished_at"] else "running" if seen["begun_at"] else "pending",
        "asked_at": rfc3339(seen["asked_at"]),
        "finished_at": rfc3339(seen["finished_at"]),
        "chunks_done": seen["chunks_done"],
        "chunks_total": seen["chunks_total"],
        "receipt": found.get("receipt"),
        "result": found.get("result"),
        **{name: found.get(name) for name in ("ledger", "source", "table")},
        "rows": {name: found["rows"][name] for name in ROWS} if "rows" in found else None,
        "undone": found.get("undone"),
        "chunks_differing": found.get("differing"),
        "chunks": found.get("chunks", []),
    }
