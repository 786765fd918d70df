"""Step 1: a client says what it will upload; the status item is written, then leave to send it handed out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from ulid import ULID

from chalicelib import filenames, matching, quota, retention, roles, tickets
from chalicelib.aws import dynamodb, s3, ses
from chalicelib.checking import conventions
from chalicelib.datasets import Schema, is_dataset_id, is_dataset_name, read_mode
from chalicelib.errors import Refused, field_refused
from chalicelib.formats import Dialect
from chalicelib.journey import PARTS_SECONDS, RETENTION, UPLOAD_SECONDS, VERBS, object_key, rfc3339
from chalicelib.postgres import announcements, doubles, ledger, people, projection, taken, webhooks
from chalicelib.postgres.connection import connection
from chalicelib.postgres.timeline import Asker
from chalicelib.settings import settings

FLEETING_SECONDS: Final = 15 * 86_400  # as long as a queue can hold the word that a file has come
_invalid: Final = partial(field_refused, "body_invalid")
Admitted = tuple[dict[str, Any], dict[str, Any]]  # the status item, the ticket


def retry(tenant: str, parent_id: str, body: dict[str, Any], idempotency_key: str | None, by: Asker) -> Admitted:
    """A new upload that brings back, corrected, what another one rejected; as `create`, into the parent's dataset.

    Raises Refused, 409 for a parent that has not ended or has rejected nothing.
    """
    parent, seen = retriable(tenant, parent_id)
    wanted = body | {"dataset": parent["dataset"], "options": _inherited(parent, seen["plan"], body.get("options", {}))}
    return create(tenant, wanted, idempotency_key, by, parent_id)


def retriable(tenant: str, parent_id: str) -> tuple[dynamodb.Item, Mapping[str, Any]]:
    """An upload whose rejects may come back: its status item, and what Postgres says of it. Raises Refused."""
    parent = dynamodb.get_upload(tenant, parent_id)
    number = ledger.number_of(connection(), tenant, parent_id)
    retention.refuse_expired(number)
    seen = projection.snapshot(connection(), number) if number else None
    if seen is None or seen["state"] not in VERBS["retry"] or not seen["rejected"]:
        state = parent["state"] if seen is None else seen["state"]
        raise Refused("state_conflict", f"The upload is {state}: no rejected rows wait to be corrected.", status=409)
    return parent, seen


def rerun(
    tenant: str,
    parent_id: str,
    fixes: Sequence[str],
    option: Mapping[str, Any],
    idempotency_key: str | None,
    by: Asker,
) -> dict[str, Any]:
    """A new upload that reads again what `option` mends of another one's rejects; its status item.

    Its file is an order that we put there ourselves: what it is to read, the splitter finds in Postgres. Raises
    Refused, as `retry`, and `state_conflict` (409) naming an upload that has taken these records up already.
    """
    asked = {"fix": sorted(fixes)}
    order = json.dumps({"parent": parent_id, **asked}).encode()
    parent, _ = retriable(tenant, parent_id)
    if not (idempotency_key and dynamodb.find(tenant, _key_name(idempotency_key))):
        holder = taken.holder(connection(), tenant, parent_id, asked["fix"])
        if holder is not None:
            raise Refused("state_conflict", f"{holder} has taken these records up.", status=409)
    wanted = {
        "dataset": parent["dataset"],
        "filename": parent["filename"],
        "size": len(order),
        "content_type": "application/json",
        "options": {"mode": parent["mode"], **_kept_as(parent, {}), "dialect": option, **asked},
    }
    item, _ = create(tenant, wanted, idempotency_key, by, parent_id)
    key = object_key(tenant, item["upload_id"])
    if item["state"] == "awaiting_upload" and not s3.has_arrived(key):
        s3.write(key, "application/json", [order])
    return item


def _inherited(parent: Mapping[str, Any], plan: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """A retry's options, with what its parent's are where it says nothing: the mode, and how values are spelt.

    A corrected cell is to mean what it would have meant there; the few rows of a retry may not show it. Where several
    fixes were for wrong cells alone, it is read as the first upload's: refused rather than taken for something else.
    """
    kept = (plan or {}).get("dialect")
    kept = (plan or {}).get("before", [kept])[0]
    spelling = {name: kept.get(name) for name in conventions.OPTIONS} if kept else {}
    asked = {name: value for name, value in options.items() if name != "on_duplicate_file"}  # nothing to be known again
    return {
        "mode": parent["mode"],
        **_kept_as(parent, options),
        **asked,
        "dialect": spelling | options.get("dialect", {}),
    }


def _kept_as(parent: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The class a retry inherits. Not a shorter one: what it brings in is counted while its parent has rejects."""
    inherited = _given(json.loads(parent.get("options", "{}")), "retention")
    least = inherited.get("retention", "standard")
    if RETENTION[options.get("retention", least)].files_days < RETENTION[least].files_days:
        raise _invalid("options.retention", f"must not be shorter than {least}, which the first upload is of")
    return inherited


def create(
    tenant: str,
    body: dict[str, Any],
    idempotency_key: str | None,
    by: Asker,
    parent_id: str | None = None,
    records: int | None = None,
) -> Admitted:
    """A new upload that waits for its file, and the ticket to send it. `body` keeps the contract. Raises Refused.

    The same Idempotency-Key with the same body answers the same upload again, with a ticket that is fresh.
    `records`: how many the file has, where that is known already.
    """
    people.refuse_gone(connection(), tenant)
    parent = {"parent_id": parent_id} if parent_id else {}
    wanted = _read(tenant, body) | parent | {"records": records}
    now = datetime.now(UTC)
    upload_id = f"upl_{ULID()}"
    key = _idempotency(tenant, idempotency_key, body | parent, upload_id, now)
    _refuse_double(tenant, wanted, key)
    counted = quota.admit(tenant, wanted["size"], now.timestamp())
    if not counted and not _made_before(tenant, key):
        raise quota.exceeded(tenant, now.timestamp())
    is_new = False
    try:
        item = _awaiting(tenant, upload_id, wanted, by, now)
        # No sweep knows of it if the API dies before it is announced: it goes by itself, unless it is shown or ended.
        fleeting = item | {"expires_at": item["closes_at"] + FLEETING_SECONDS}
        is_new = counted and dynamodb.admit(fleeting, key)
    finally:
        if counted and not is_new:
            quota.release(tenant, wanted["size"], now.timestamp())
    if not is_new:
        if "multipart_id" in item:
            s3.abort(object_key(tenant, upload_id), item["multipart_id"])
        item = _replayed(tenant, key)
    announcements.announce(connection(), item, key, item["closes_at"] - now.timestamp())
    return item, tickets.first(item)


def _refuse_double(tenant: str, wanted: Mapping[str, Any], key: Mapping[str, Any] | None) -> None:
    """Refuse a file that has been sent before, if its owner wants it so and its SHA-256 tells. Raises Refused.

    A repeat under its Idempotency-Key is not the file again.
    """
    if "on_duplicate_file" not in json.loads(wanted["options"]) or not wanted["checksum"]:
        return
    earlier = doubles.find_declared(connection(), tenant, wanted)
    if earlier is not None and not _made_before(tenant, key):
        raise doubles.refusal(earlier, status=409)


def _awaiting(tenant: str, upload_id: str, wanted: Mapping[str, Any], by: Asker, now: datetime) -> dict[str, Any]:
    """The status item of a new upload, and its parts begun if it comes in parts."""
    return {
        "tenant": tenant,
        "upload_id": upload_id,
        "state": "awaiting_upload",
        "rank": 0,
        "created_at": rfc3339(now),
        "correlation_id": by.request_id,
        "asked_by": by.who or None,
        **wanted,
        **_way(tenant, upload_id, wanted, int(now.timestamp())),
    }


def _way(tenant: str, upload_id: str, wanted: Mapping[str, Any], now: int) -> dict[str, Any]:
    """How the file will come: as one form within the hour, or in parts within the week."""
    if wanted["size"] <= settings().multipart_bytes:
        return {"closes_at": now + UPLOAD_SECONDS}
    return {
        "closes_at": now + PARTS_SECONDS,
        "part_size": tickets.part_size(wanted["size"]),
        # Nobody knows this one until the item is written; what a crash leaves behind is swept after a day.
        "multipart_id": s3.begin_parts(object_key(tenant, upload_id), wanted["content_type"]),
    }


def _read(tenant: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as the item keeps it. Raises Refused."""
    most = min(settings().max_upload_bytes, settings().quota_bytes)
    if body["size"] > most:
        detail = f"The file has {body['size']} bytes; the limit is {most}."
        raise Refused("file_too_large", detail, status=413)
    filenames.refuse(body.get("filename", ""))
    return {
        "dataset": body["dataset"],
        "filename": body.get("filename", ""),
        "size": body["size"],
        "content_type": body.get("content_type", "text/csv"),
        "checksum": body.get("checksum"),
        **_read_options(tenant, body["dataset"], body.get("options", {})),
    }


def _read_options(tenant: str, dataset: str, options: Mapping[str, Any]) -> dict[str, Any]:
    found = people.resolve(connection(), tenant, dataset)
    _look_at_targets(tenant, options.get("notify") or {})
    if options.get("infer"):
        return _read_inferring(dataset, found, options)
    if found is None:
        error = {"code": "field_invalid", "column": "dataset", "detail": "is not known"}
        raise Refused("unknown_dataset", "There is no dataset of this name.", errors=[error])
    roles.hold_to(found.role, "writer")
    mode = read_mode(options.get("mode", found.dataset.mode), found.dataset.schema)
    dialect = _dialect(options)
    return {
        "mode": mode,
        "dialect": json.dumps(dialect),
        "options": json.dumps(_further(options, found.dataset.schema)),
    }


def _look_at_targets(tenant: str, targets: Mapping[str, str]) -> None:
    """Whether those who are to be told of this upload may be. Raises Refused `notify_invalid`."""
    address, webhook_id = targets.get("email"), targets.get("webhook")
    if address is not None and not ses.may_send_to(address):
        raise _untold("email", "is not at a domain that this service sends e-mail to")
    if webhook_id is not None and webhooks.find(connection(), tenant, webhook_id) is None:
        raise _untold("webhook", "is not one of your webhooks")


def _untold(name: str, detail: str) -> Refused:
    return field_refused("notify_invalid", f"options.notify.{name}", detail)


def _dialect(options: Mapping[str, Any]) -> Mapping[str, Any]:
    dialect: Mapping[str, Any] = options.get("dialect", {})
    Dialect.from_options(dialect)
    conventions.read(dialect)
    return dialect


def _read_inferring(dataset: str, found: people.Catalogued | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a file that makes its own dataset: what a dataset is needed for is said when it is confirmed."""
    unfit_at_all = {
        "mode",
        "mapping",
        "validate_only",
        "max_errors",
        "max_error_percent",
        "on_duplicate_file",
        "on_drift",
        "on_error",
    }
    if unfit := sorted(options.keys() & unfit_at_all):
        raise _invalid(f"options.{unfit[0]}", "does not go with infer")
    if not is_dataset_name(dataset) or is_dataset_id(dataset):
        raise _invalid("dataset", "cannot be the name of a dataset")
    if found is not None:
        raise Refused("dataset_exists", "A dataset of this name exists; infer makes a new one.", status=409)
    further = json.dumps({"infer": True, "dataset": dataset} | _given(options, "sheet", "notify", "retention"))
    return {"mode": "insert", "dialect": json.dumps(_dialect(options)), "options": further}


def _further(options: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The options that neither the dialect nor the mode is made of, those that are given."""
    further: dict[str, Any] = {}
    if "mapping" in options:
        further["mapping"] = matching.read_mapping(options["mapping"], schema.names)
    if options.get("validate_only"):
        further["validate_only"] = True
    if options.get("on_duplicate_file") == "reject":
        further["on_duplicate_file"] = "reject"
    if options.get("on_error") == "abort":
        further["on_error"] = "abort"
    return further | _given(
        options, "sheet", "max_errors", "max_error_percent", "on_drift", "notify", "retention", "fix"
    )


def _given(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of the options that are there and not null."""
    return {name: options[name] for name in names if options.get(name) is not None}


def _idempotency(
    tenant: str, key: str | None, body: Mapping[str, Any], upload_id: str, now: datetime
) -> dict[str, Any] | None:
    if key is None:
        return None
    return {
        "tenant": tenant,
        "upload_id": _key_name(key),
        "body": hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(),
        "made": upload_id,
        "expires_at": int(now.timestamp()) + dynamodb.KEPT_SECONDS,
    }


def _key_name(key: str) -> str:
    return "key#" + hashlib.sha256(key.encode()).hexdigest()


def _made_before(tenant: str, key: Mapping[str, Any] | None) -> dynamodb.Item | None:
    """What a request before this one left under its Idempotency-Key."""
    return dynamodb.find(tenant, key["upload_id"]) if key else None


def _replayed(tenant: str, key: Mapping[str, Any] | None) -> dict[str, Any]:
    """The upload that this Idempotency-Key made. Raises Refused if its body was another."""
    kept = _made_before(tenant, key)
    if key is None or kept is None:
        raise Refused("idempotency_conflict", "A request with this Idempotency-Key is under way.", status=409)
    if kept["body"] != key["body"]:
        raise Refused("idempotency_key_reused", "This Idempotency-Key came with another body before.")
    item = dynamodb.find(tenant, kept["made"])
    if item is None:
        raise Refused("upload_not_found", "The upload of this Idempotency-Key is gone.", status=404)
    return item
