"""What a client may ask of an upload on its way: to cancel it, or to try again what was given up."""

from __future__ import annotations

from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.errors import Refused
from chalicelib.journey import TERMINAL, Number, Tenant, object_key, rank
from chalicelib.postgres import announcements, ledger, manifest
from chalicelib.postgres.connection import Connection, connection


def cancel(tenant: str, upload_id: str) -> Number | None:
    """Let the upload load nothing more; rows that are in stay. Its number, unless no splitter has met it.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) for an upload that is over.
    """
    item = dynamodb.get_upload(tenant, upload_id)
    if item["state"] in TERMINAL and item["state"] != "canceled":
        raise Refused("state_conflict", f"The upload is {item['state']}: there is nothing to cancel.", status=409)
    db = connection()
    # Before anything else: a splitter that opens the upload from now on finds it.
    ledger.ask_to_cancel(db, tenant, upload_id)
    number = ledger.number_of(db, tenant, upload_id)
    if number is None:
        dynamodb.cancel(tenant, upload_id, rank("canceled", 1, 0))
        announcements.close(db, upload_id, "canceled")
        if "multipart_id" in item:
            s3.abort(object_key(Tenant(tenant), upload_id), item["multipart_id"])
    return number


def confirm(tenant: str, upload_id: str) -> Number:
    """Load what was only checked: the second pass begins.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) if it does not wait for this.
    """
    state = dynamodb.get_upload(tenant, upload_id)["state"]
    db = connection()
    number = ledger.number_of(db, tenant, upload_id)
    if number is None or not _confirmed(db, number):
        raise Refused("state_conflict", f"The upload is {state}: there is nothing to confirm.", status=409)
    sqs.send_for_split(tenant, upload_id)
    return number


def _confirmed(db: Connection, number: Number) -> bool:
    with db.transaction():
        ledger.lock_upload(db, number, shared=False)
        return ledger.begin_load(db, number, ["needs_review"])


def redrive(tenant: str, upload_id: str) -> Number:
    """Try again what was given up, as a new generation of the upload.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) if nothing of it was given up.
    """
    state = dynamodb.get_upload(tenant, upload_id)["state"]
    db = connection()
    number = ledger.number_of(db, tenant, upload_id)
    upload = ledger.find(db, number) if number else None
    if number is None or upload is None:
        raise _nothing_to_redrive(state)
    with db.transaction():
        ledger.lock_upload(db, number, shared=False)
        if not ledger.reopen(db, number):
            raise _nothing_to_redrive(state)
        places = manifest.requeue(db, number)
    # Whatever of this is lost now, the sweep finds unsent.
    if upload.chunks_total is None:
        sqs.send_for_split(tenant, upload_id)
    elif upload.plan is not None:
        sqs.send_chunks(upload.plan["tier"], number, upload.reading, places, tenant)
        manifest.mark_sent(db, number, upload.reading, places)
    return number


def _nothing_to_redrive(state: str) -> Refused:
    return Refused("state_conflict", f"The upload is {state}: no part of it was given up.", status=409)
