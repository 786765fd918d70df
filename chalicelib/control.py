"""What a client may ask of an upload on its way: to cancel or hold it, to load what was checked or given up.

In which states each of these may be asked is said in journey.VERBS, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from chalicelib import events, gate, matching, retention
from chalicelib.aws import dynamodb, s3, sqs
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused
from chalicelib.journey import UPLOAD_SECONDS, VERBS, Number, State, Verb, is_upload_id, object_key, rank
from chalicelib.postgres import (
    announcements,
    keeping,
    ledger,
    manifest,
    passes,
    pauses,
    people,
    removals,
    reverts,
    timeline,
)
from chalicelib.postgres.connection import Connection, connection
from chalicelib.postgres.timeline import NOBODY, Asker

_OTHERWISE: Final[Mapping[Verb, str]] = {
    "cancel": "there is nothing to cancel",
    "pause": "only what is queued or processing can be paused",
    "resume": "there is nothing to resume",
    "confirm": "there is nothing to confirm",
    "redrive": "no part of it was given up",
    "revert": "only what is over can be undone",
    "delete": "cancel it first, or let it end",
}


def _asked(verb: Verb, tenant: str, upload_id: str) -> tuple[dynamodb.Item, Number | None, State]:
    """The upload's item, its number unless no splitter has met it, and its state, in which this may be asked of it.

    Raises Refused `upload_not_found` (404), `state_conflict` (409).
    """
    item = dynamodb.get_upload(tenant, upload_id)
    number, state = ledger.state_of(connection(), tenant, upload_id) or (None, item["state"])
    if state not in VERBS[verb]:
        raise _conflict(verb, state)
    return item, number, state


def _conflict(verb: Verb, state: str) -> Refused:
    return Refused("state_conflict", f"The upload is {state}: {_OTHERWISE[verb]}.", status=409)


def cancel(tenant: str, upload_id: str, by: Asker = NOBODY) -> Number | None:
    """Let the upload load nothing more; rows that are in stay. Its number, unless no splitter has met it.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) for an upload that is over.
    """
    item, _, _ = _asked("cancel", tenant, upload_id)
    db = connection()
    if item["state"] == "awaiting_upload":
        announcements.announce(db, item, None, item["closes_at"] - time.time())  # if the API died between the two
    # Before anything else: a splitter that opens the upload from now on finds it.
    with db.transaction():
        if ledger.ask_to_cancel(db, tenant, upload_id):
            timeline.note(db, upload_id, "cancel", by)
    number = ledger.number_of(db, tenant, upload_id)
    if number is None:
        dynamodb.cancel(tenant, upload_id, rank("canceled", 1, 0))
        announcements.close(db, upload_id, "canceled")
        if "multipart_id" in item:
            s3.abort(object_key(tenant, upload_id), item["multipart_id"])
    return number


def pause(tenant: str, upload_id: str, by: Asker = NOBODY) -> Number | None:
    """Let no chunk of the upload begin until it is resumed; those in hand may finish. Its number.

    Raises Refused `upload_not_found` (404), `state_conflict` (409).
    """
    return _turn("pause", pauses.pause, tenant, upload_id, by)


def resume(tenant: str, upload_id: str, by: Asker = NOBODY) -> Number | None:
    """Let the chunks of the upload begin again, all that wait. Its number.

    Raises Refused `upload_not_found` (404), `state_conflict` (409).
    """
    number = _turn("resume", pauses.resume, tenant, upload_id, by)
    upload = ledger.find(connection(), number) if number else None
    if number and upload and upload.plan and upload.is_cleared:
        gate.send(upload, upload.plan["tier"], manifest.list_unsent(connection(), number, upload.reading))
    return number


def _turn(
    verb: Verb, move: Callable[[Connection, Number], bool], tenant: str, upload_id: str, by: Asker
) -> Number | None:
    _, number, _ = _asked(verb, tenant, upload_id)
    db = connection()
    with db.transaction():
        moved = number is not None and move(db, number)
        if moved:
            timeline.note(db, upload_id, verb, by)
    if not moved:
        _asked(verb, tenant, upload_id)  # it is so already, or has moved on meanwhile
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
    schema = read_schema(descriptor)
    if schema.is_encrypted:
        detail = "What was found in the file is kept in the open: put a dataset with encrypted fields before its files."
        names = [spec.name for spec in schema.fields if spec.encrypted]
        errors = [{"code": "schema_invalid", "column": name, "detail": detail} for name in names]
        raise Refused("schema_invalid", detail, errors=errors)
    matching.match((upload.plan or {})["names"], schema.names, {})
    _refuse_other(people.find_dataset(connection(), tenant, name), descriptor)
    return name, {**descriptor, "mode": body.get("mode", "insert")}


def _refuse_other(found: people.Catalogued | None, descriptor: Mapping[str, Any], mode: str | None = None) -> None:
    if found is None:
        return
    is_same = found.dataset.descriptor == {name: value for name, value in descriptor.items() if name != "mode"}
    if not is_same or mode not in (None, found.dataset.mode):
        raise Refused("dataset_exists", "A dataset of this name has come to exist meanwhile.", status=409)


def confirm(tenant: str, upload_id: str, by: Asker = NOBODY, made: Mapping[str, Any] | None = None) -> Number:
    """Load what was only checked: the second pass begins.

    `made`: the descriptor that was `reviewed`, of an upload that had no dataset.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) if it does not wait for this, `dataset_exists` (409)
    if its dataset has become another one.
    """
    upload = _waiting(tenant, upload_id)
    db = connection()
    with db.transaction():
        ledger.lock_upload(db, upload.number, shared=False)
        if upload.dataset == 0:
            _give_dataset(db, upload, made)
        timeline.note(db, upload_id, "confirm", by)
        if not passes.begin_load(db, upload.number, ["needs_review"]):
            raise _conflict("confirm", "being canceled or confirmed")
    sqs.send_for_split(tenant, upload_id)
    return upload.number


def _give_dataset(db: Connection, upload: ledger.Upload, descriptor: Mapping[str, Any] | None) -> None:
    name = upload.options["dataset"]
    found = people.find_dataset(db, upload.tenant, name)
    if found is not None:
        people.keep_open(db, found.dataset.number)
        found = people.find_dataset(db, upload.tenant, name)  # as it stays: whoever held it may have changed it
    if found is None:
        raise Refused("dataset_not_found", "The upload has no dataset yet.", status=409)
    if descriptor is not None:  # somebody else may have confirmed otherwise since it was made
        _refuse_other(found, descriptor, descriptor["mode"])
    fields = found.dataset.schema.names
    columns = matching.match((upload.plan or {})["names"], fields, {})
    plan = {
        "dataset_version": found.dataset.version,
        "positions": matching.positions(columns, fields),
        "mapping": matching.shown(columns),
        **_typed(upload.plan or {}, {column.name: column.field for column in columns}),
    }
    passes.give_dataset(db, upload.number, found.dataset.number, found.dataset.mode, plan)


def _typed(plan: Mapping[str, Any], fields: Mapping[str, str | None]) -> dict[str, Any]:
    """What is known of a sheet's cells (Conventions.typed), by the fields that its columns have become."""
    return {"typed": {fields[name]: meant for name, meant in plan["typed"].items()}} if "typed" in plan else {}


def _waiting(tenant: str, upload_id: str) -> ledger.Upload:
    _, number, state = _asked("confirm", tenant, upload_id)
    upload = ledger.find(connection(), number) if number else None
    if upload is None:
        raise _conflict("confirm", state)
    return upload


def redrive(tenant: str, upload_id: str, by: Asker = NOBODY) -> Number:
    """Try again what was given up, as a new generation of the upload.

    Raises Refused `upload_not_found` (404), `state_conflict` (409) if nothing of it was given up, `dataset_changed`
    (409) if it was planned for another schema.
    """
    _, number, state = _asked("redrive", tenant, upload_id)
    db = connection()
    upload = ledger.find(db, number) if number else None
    retention.refuse_expired(number)
    if number is None or upload is None:
        raise _conflict("redrive", state)
    with db.transaction():
        _keep_schema(db, upload)
        ledger.lock_upload(db, number, shared=False)
        events.keep(db, number)
        timeline.note(db, upload_id, "redrive", by)
        if not ledger.reopen(db, number):
            raise _conflict("redrive", state)
        places = manifest.requeue(db, number)
    # Whatever of this is lost now, the sweep finds unsent.
    if upload.chunks_total is None:
        sqs.send_for_split(tenant, upload_id)
    elif upload.plan is not None and upload.is_cleared:
        gate.send(upload, upload.plan["tier"], places)
    if upload.verdict is None:
        sqs.send_for_gate(tenant, upload_id)
    return number


def _keep_schema(db: Connection, upload: ledger.Upload) -> None:
    """Have the dataset keep the schema that the plan goes by until the upload is under way again."""
    if upload.plan and people.keep_open(db, upload.dataset) != upload.plan["dataset_version"]:
        detail = "The dataset's schema has changed since; upload what is missing anew."
        raise Refused("dataset_changed", detail, status=409)
    _refuse_unwritable(upload)


def _refuse_unwritable(upload: ledger.Upload) -> None:
    if upload.dataset_is_gone:
        raise Refused("role_forbids", "The dataset may not be written to any more.", status=403)


def revert(tenant: str, upload_id: str, by: Asker = NOBODY, *, forced: bool = False) -> Number:
    """Begin to undo the upload: remove the rows it inserted, restore those it wrote over. Its number.

    Asked again while that is under way, or of an upload that is undone, it changes nothing. Raises Refused
    `upload_not_found` (404), `state_conflict` (409), `role_forbids` (403) if the dataset may not be written to any
    more, `befores_expired` (409) if what rows were before is kept no longer.
    """
    _, number, state = _asked("revert", tenant, upload_id)
    db = connection()
    upload = ledger.find(db, number) if number else None
    if number is None or upload is None:
        raise Refused("state_conflict", f"The upload is {state}: nothing of it was loaded.", status=409)
    if state in ("reverting", "reverted"):
        return number
    if keeping.has_expired(db, number):
        detail = "What its rows were before is kept no longer; see the upload's expires_at."
        raise Refused("befores_expired", detail, status=409)
    with db.transaction():
        people.keep_open(db, upload.dataset)
        _refuse_unwritable(upload)
        ledger.lock_upload(db, number, shared=False)
        events.keep(db, number)
        timeline.note(db, upload_id, "revert", by, {"force": forced})
        if not reverts.begin(db, number, forced=forced):
            raise _conflict("revert", "under way again")
    return number


def delete(tenant: str, upload_id: str, by: Asker = NOBODY, *, rows: bool = False) -> str | None:
    """Delete the upload: its status goes at once, its files and rejects with the next sweep, and its `rows` if asked.

    The upload whose rejects it corrected, if it did. A repeat finds it deleted. Raises Refused `upload_not_found`
    (404), `state_conflict` (409) for one that is under way, `role_forbids` (403) for rows of a dataset of
    somebody else's that may not be written to any more.
    """
    db = connection()
    if rows:
        _refuse_unwritable_rows(db, tenant, upload_id)
    if is_upload_id(upload_id) and removals.is_deleted(db, tenant, upload_id):
        if rows:
            removals.mark_rows(db, tenant, upload_id)
        return None
    item, number, state = _asked("delete", tenant, upload_id)
    if state == "awaiting_upload":
        # No file that comes from now on is taken; if one has come in this moment, the upload is not awaited any more.
        # Its item is shown until it is forgotten below, even if its time is over: or the next line would find none.
        shown_until = max(item["closes_at"], int(time.time()) + UPLOAD_SECONDS)
        dynamodb.expire(tenant, upload_id, rank("expired", 1, 0), shown_until)
        item, number, _ = _asked("delete", tenant, upload_id)
    announcements.announce(db, item, None, 0)  # if the API died between the two
    if not removals.mark(db, tenant, upload_id, number, by, rows=rows) and not removals.is_deleted(
        db, tenant, upload_id
    ):
        raise _conflict("delete", "under way again")
    dynamodb.forget(tenant, upload_id)
    return item.get("parent_id")


def _refuse_unwritable_rows(db: Connection, tenant: str, upload_id: str) -> None:
    number = ledger.number_of(db, tenant, upload_id) if is_upload_id(upload_id) else None
    upload = ledger.find(db, number) if number else None
    if upload is not None and upload.owner != tenant:
        _refuse_unwritable(upload)
