"""What a client may ask of an upload on its way: to cancel it, or to try again what was given up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib import matching, retention
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused
from chalicelib.journey import TERMINAL, Number, Tenant, object_key, rank
from chalicelib.postgres import announcements, ledger, manifest, passes, people, timeline
from chalicelib.postgres.connection import Connection, connection
from chalicelib.postgres.timeline import NOBODY, Asker


def cancel(tenant: str, upload_id: str, by: Asker = NOBODY) -> Number | None:
    """Let the upload load nothing more; rows that are in stay. Its number, unless no splitter has met it.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) for an upload that is over.
    """
    item = dynamodb.get_upload(tenant, upload_id)
    if item["state"] in TERMINAL and item["state"] != "canceled":
        raise Refused("state_conflict", f"The upload is {item['state']}: there is nothing to cancel.", status=409)
    db = connection()
    # Before anything else: a splitter that opens the upload from now on finds it.
    with db.transaction():
        if ledger.ask_to_cancel(db, tenant, upload_id):
            timeline.note(db, upload_id, "cancel", by)
    number = ledger.number_of(db, tenant, upload_id)
    if number is None:
        dynamodb.cancel(tenant, upload_id, rank("canceled", 1, 0))
        announcements.close(db, upload_id, "canceled")
        if "multipart_id" in item:
            s3.abort(object_key(Tenant(tenant), upload_id), item["multipart_id"])
    return number


def reviewed(tenant: str, upload_id: str, body: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The dataset that is to be made before this upload is confirmed, by name and descriptor; None if it has one.

    `body` may say what the dataset is to be instead of what was found. Raises Refused, as `confirm` does.
    """
    upload = _waiting(tenant, upload_id)
    if "infer" not in upload.options:
        if body:
            raise Refused("body_invalid", f"{min(body)} is not to be chosen: the upload has its dataset.")
        return None
    name, found = upload.options["dataset"], upload.review or {}
    if body.get("dataset", name) != name:
        raise Refused("body_invalid", f"dataset must be {name}, as the upload was announced.")
    descriptor = body.get("schema", found["schema"])
    matching.match((upload.plan or {})["names"], read_schema(descriptor).names, {})
    _refuse_other(people.find_dataset(connection(), tenant, name), descriptor)
    return name, {**descriptor, "mode": body.get("mode", "insert")}


def _refuse_other(found: people.Catalogued | None, descriptor: Mapping[str, Any]) -> None:
    if found is not None and found.dataset.descriptor != {k: v for k, v in descriptor.items() if k != "mode"}:
        raise Refused("dataset_exists", "A dataset of this name has come to exist meanwhile.", status=409)


def confirm(tenant: str, upload_id: str, by: Asker = NOBODY) -> Number:
    """Load what was only checked: the second pass begins.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) if it does not wait for this.
    """
    upload = _waiting(tenant, upload_id)
    db = connection()
    with db.transaction():
        ledger.lock_upload(db, upload.number, shared=False)
        if upload.dataset == 0:
            _give_dataset(db, upload)
        timeline.note(db, upload_id, "confirm", by)
        if not passes.begin_load(db, upload.number, ["needs_review"]):
            raise _nothing_to_confirm("being canceled or confirmed")
    sqs.send_for_split(tenant, upload_id)
    return upload.number


def _give_dataset(db: Connection, upload: ledger.Upload) -> None:
    found = people.find_dataset(db, upload.tenant, upload.options["dataset"])
    if found is None:
        raise Refused("dataset_not_found", "The upload has no dataset yet.", status=409)
    fields = found.dataset.schema.names
    columns = matching.match((upload.plan or {})["names"], fields, {})
    plan = {
        "dataset_version": found.dataset.version,
        "positions": matching.positions(columns, fields),
        "mapping": matching.shown(columns),
    }
    passes.give_dataset(db, upload.number, found.dataset.number, found.dataset.mode, plan)


def _waiting(tenant: str, upload_id: str) -> ledger.Upload:
    state = dynamodb.get_upload(tenant, upload_id)["state"]
    number = ledger.number_of(connection(), tenant, upload_id)
    upload = ledger.find(connection(), number) if number else None
    if upload is None or upload.state != "needs_review":
        raise _nothing_to_confirm(upload.state if upload else state)
    return upload


def _nothing_to_confirm(state: str) -> Refused:
    return Refused("state_conflict", f"The upload is {state}: there is nothing to confirm.", status=409)


def redrive(tenant: str, upload_id: str, by: Asker = NOBODY) -> Number:
    """Try again what was given up, as a new generation of the upload.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) if nothing of it was given up, `dataset_changed`
    (409) if it was planned for another schema.
    """
    state = dynamodb.get_upload(tenant, upload_id)["state"]
    db = connection()
    number = ledger.number_of(db, tenant, upload_id)
    upload = ledger.find(db, number) if number else None
    retention.refuse_expired(number)
    if number is None or upload is None:
        raise _nothing_to_redrive(state)
    with db.transaction():
        _keep_schema(db, upload)
        ledger.lock_upload(db, number, shared=False)
        timeline.note(db, upload_id, "redrive", by)
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


def _keep_schema(db: Connection, upload: ledger.Upload) -> None:
    """Have the dataset keep the schema that the plan goes by until the upload is under way again."""
    if upload.plan and people.keep_open(db, upload.dataset) != upload.plan["dataset_version"]:
        detail = "The dataset's schema has changed since; upload what is missing anew."
        raise Refused("dataset_changed", detail, status=409)


def _nothing_to_redrive(state: str) -> Refused:
    return Refused("state_conflict", f"The upload is {state}: no part of it was given up.", status=409)
