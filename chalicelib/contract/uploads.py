"""The contract of uploads: announced, sent, followed."""

from __future__ import annotations

from typing import Final, get_args

from chalicelib.contract.datasets import MODE, PAGED, UPLOAD_NOT_FOUND
from chalicelib.contract.options import CODES, FILE, SHA256
from chalicelib.contract.words import (
    ANYTHING,
    COUNT,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    MOMENT,
    NUMBER,
    REPEATED,
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Parameter,
    Schema,
    closed,
    listed,
    nullable,
    page_of,
    paged,
    ref,
    shown,
    unchanged,
)
from chalicelib.journey import STATUS, TIERS, TRANSITIONS
from chalicelib.settings import ScannerName

MOST_SIGNED: Final = 100  # URLs an answer: 60 kB
TAG: Final = "Uploads"
_UPLOADS: Final = "/v1/uploads"
ONE: Final = "/v1/uploads/{upload_id}"
_PART_NUMBER: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 10_000}

# What is asked

_ASKED: Final[dict[str, Schema]] = {
    "NewUpload": closed(
        {"dataset": {"type": "string", "description": "The dataset's name."}, **FILE}, "dataset", "size"
    ),
    "WantedParts": closed(
        {
            "parts": listed(
                closed({"number": _PART_NUMBER, "sha256": SHA256}, "number", "sha256"),
                maxItems=MOST_SIGNED,
                description="The parts to sign; without any the answer tells what is stored.",
            )
        }
    ),
    "SentParts": closed(
        {
            "parts": listed(
                closed({"number": _PART_NUMBER, "etag": TEXT, "sha256": SHA256}, "number", "etag", "sha256"),
                maxItems=10_000,
                description="All parts of the file.",
            )
        },
        "parts",
    ),
}

# What is answered

_STATE: Final[Schema] = {"type": "string", "enum": list(TRANSITIONS)}
_FAILURE: Final = shown({"code": TEXT, "detail": TEXT})
_SECONDS: Final[Schema] = {"type": ["number", "null"]}
_AS_READ: Final = (
    "With what was detected. `before`, of a retry by several fixes: the conventions by which a cell is asked first."
)
_UPLOAD: Final[dict[str, Schema]] = {
    "id": {"type": "string", "pattern": "^upl_[0-9A-Z]{26}$"},
    "dataset": TEXT,
    "filename": TEXT,
    "state": _STATE,
    "status": {"type": "string", "enum": sorted(set(STATUS.values())), "description": "The state, coarsely."},
    "mode": MODE,
    "created_at": MOMENT,
    "bytes_total": COUNT,
    "checksum": {"type": ["string", "null"], "description": "The SHA-256 that was announced, in base64."},
    "options": {**ANYTHING, "description": "As they were announced."},
    "rows_total": {**nullable(COUNT), "description": "Null until the whole file has been scanned."},
    "loaded": COUNT,
    "updated": COUNT,
    "skipped": COUNT,
    "rejected": COUNT,
    "unprocessed": COUNT,
    "rows_visible": {**COUNT, "description": "Of its rows those that are in the dataset's table by now, to be read."},
    "reverted_rows": {**COUNT, "description": "Rows that undoing the upload has removed."},
    "restored_rows": {**COUNT, "description": "Rows that are what they were before the upload wrote over them."},
    "conflicts": {**COUNT, "description": "Rows that undoing has left as they are; `/conflicts` names them."},
    "valid": {**COUNT, "description": "Rows that a check found good."},
    "percent": {"type": "number", "minimum": 0, "maximum": 100},
    "chunks_total": nullable(COUNT),
    "chunks_done": COUNT,
    "tier": {"type": ["string", "null"], "enum": [*TIERS, None]},
    "rate": nullable(shown({"rows_per_s": NUMBER, "bytes_per_s": NUMBER})),
    "queued_before": {**nullable(COUNT), "description": "Chunks that wait before its first one."},
    "eta": nullable(shown({"p50_at": MOMENT, "p90_at": MOMENT})),
    "cost": nullable(ref("Cost")),
    "dialect": {"type": ["object", "null"], "additionalProperties": True, "description": _AS_READ},
    "mapping": {"type": ["array", "null"], "items": ref("Column")},
    "timings": shown(
        {"stored_at": nullable(MOMENT)}
        | dict.fromkeys(("split_s", "first_rows_s", "load_s", "stored_to_completed_s"), _SECONDS)
    ),
    "error": {**nullable(_FAILURE), "additionalProperties": True},
    "review": {
        **nullable(shown({"schema": ref("TableSchema"), "dialect": ANYTHING, "rows": listed(listed(TEXT))})),
        "description": "What a file without a dataset was found to be, while it waits to be confirmed.",
    },
    "drift": {
        **nullable(shown({"compared_with": COUNT, "differences": listed(ref("Difference"))})),
        "description": "Where columns are unlike those of so many uploads before; null unless `on_drift` asks for it.",
    },
    "malware": {
        **nullable(ref("Malware")),
        "description": "What is known of malware in its file; null until that has come.",
    },
    "expires_at": {**nullable(MOMENT), "description": "When its file and rejects go; null before its end."},
    "forgotten_at": {**nullable(MOMENT), "description": "When all else of it goes, but the loaded rows."},
    "parent_id": {"type": ["string", "null"], "description": "The upload whose rejects this one corrects."},
    "children": listed(TEXT, description="Its retries, the last hundred."),
    "resolved": {
        **nullable(COUNT),
        "description": "Rejects that retries have brought in; null while one is under way, or if one ended after"
        " the rejects had gone.",
    },
    "rejected_open": nullable(COUNT),
}
_ANSWERED: Final[dict[str, Schema]] = {
    "Malware": shown(
        {
            "scanner": {"type": "string", "enum": list(get_args(ScannerName))},
            "verdict": {"type": "string", "enum": ["awaited", "unscanned", "clean", "infected"]},
            "threat": {"type": ["string", "null"], "description": "The name of what was found."},
        }
    ),
    "Cost": shown(
        {
            "usd": NUMBER,
            "usd_per_million_rows": {"type": ["number", "null"]},
            "gb_seconds": {"type": "object", "additionalProperties": NUMBER},
            "requests": {"type": "object", "additionalProperties": NUMBER},
            "bytes": {"type": "object", "additionalProperties": NUMBER},
            "estimate": TEXT,
        },
        description="An estimate of what it has cost on AWS by now.",
    ),
    "Column": shown(
        {
            "position": {"type": "integer", "minimum": 1},
            "name": TEXT,
            "field": {"type": ["string", "null"]},
            "how": {"type": "string", "enum": ["exact", "normalised", "declared", "position"]},
        },
        description="A column of the file and its field.",
    ),
    "Upload": shown(_UPLOAD),
    "UploadPage": page_of("Upload"),
    "Form": shown(
        {
            "method": {"type": "string", "enum": ["POST"]},
            "url": TEXT,
            "fields": {"type": "object", "additionalProperties": TEXT},
            "expires_at": MOMENT,
            "checksum": {"type": ["string", "null"]},
        },
        "checksum",
        description="Send all fields, then the file, as multipart/form-data.",
    ),
    "PartsTicket": shown(
        {
            "method": {"type": "string", "enum": ["PUT"]},
            "part_size": COUNT,
            "parts_total": COUNT,
            "parts": listed(
                shown(
                    {
                        "number": _PART_NUMBER,
                        "size": COUNT,
                        "url": TEXT,
                        "headers": {"type": "object", "additionalProperties": TEXT},
                    }
                )
            ),
            "stored": listed(
                shown({"number": _PART_NUMBER, "size": COUNT, "etag": TEXT, "sha256": {"type": ["string", "null"]}})
            ),
            "checksum": {"type": ["string", "null"]},
            "expires_at": MOMENT,
            "closes_at": MOMENT,
        },
        description="Put each part with its headers; URLs are asked for until `closes_at`.",
    ),
    "Ticket": {"anyOf": [ref("Form"), ref("PartsTicket")]},
    "CreatedUpload": shown({**_UPLOAD, "upload": ref("Ticket")}),
    "Chunk": shown(
        {
            "n": COUNT,
            "state": {"type": "string", "enum": ["queued", "loaded", "dead", "canceled"]},
            **dict.fromkeys(("byte_start", "byte_end", "first_record", "first_line", "records"), COUNT),
            **dict.fromkeys(("loaded", "valid", "updated", "skipped", "rejected", "contested", "attempts"), COUNT),
            "error": {"type": ["string", "null"], "description": "The last fault of its own; never data of a row."},
            "started_at": {
                **nullable(MOMENT),
                "description": "When its latest attempt began; null while it waits for one.",
            },
            "finished_at": {**nullable(MOMENT), "description": "When it was loaded, given up or canceled."},
        },
        description="A byte range of the file, and what became of its records.",
    ),
    "ChunkPage": page_of("Chunk"),
    "Difference": shown(
        {
            "column": TEXT,
            "measure": {"type": "string", "enum": ["null_rate", "range", "length", "values", "distinct"]},
            "was": {"description": "Of the uploads before: from and to, or how many different values."},
            "is": {"description": "Of this one."},
            "new": listed(TEXT, description="Values that were never there, the first ten, cut short."),
        },
        "new",
    ),
    "Event": shown(
        {
            "id": COUNT,
            "at": MOMENT,
            "event": {
                "type": "string",
                "description": "created, stored, scanned, chunk_dead; state, when one was entered;"
                " or what was asked: cancel, pause, resume, confirm, redrive, retry, revert, verify; receipt;"
                " files_expired. More may come.",
            },
            "state": {"type": ["string", "null"], "enum": [*STATUS, None]},
            "by": {"type": ["string", "null"], "description": "Who asked: a user's id, or an API key's."},
            "request_id": {"type": ["string", "null"], "description": "What the request's log lines are found by."},
            "details": {**ANYTHING, "description": "Counts, places and codes; never what a row holds."},
        },
        description="Something that happened to an upload.",
    ),
    "EventPage": page_of("Event"),
}

SCHEMAS: Final[dict[str, Schema]] = _ASKED | _ANSWERED

# The doors

CONFLICT: Final = Error(409, "state_conflict", "The upload is in a state in which this cannot be; `detail` names it.")
FILES_EXPIRED: Final = Error(410, "files_expired", "The upload's files and rejects are kept no longer.")
_EXPIRED: Final = Error(410, "upload_expired", "No file arrived in time.")
ADMISSION: Final = (  # of any file
    *REPEATED,
    Error(413, "file_too_large", "The file is larger than this deployment takes."),
    Error(422, "filename_refused", "The file's name is not of a file that can be loaded."),
    Error(422, "unknown_dataset", "There is no dataset of this name."),
    Error(404, "upload_not_found", "The upload that this Idempotency-Key made is gone."),
    Error(429, "files_exceeded", "The tenant has announced as many files as it may in a day.", ("Retry-After",)),
    Error(429, "bytes_exceeded", "With this file the day would have more bytes than it may.", ("Retry-After",)),
)
ANNOUNCED: Final = (
    *ADMISSION,
    Error(409, "dataset_exists", "A dataset of this name exists; `infer` makes a new one."),
    Error(409, "duplicate_file", "The same file was sent before, and this is not to be; `errors` names its upload."),
)
CREATED: Final = {
    201: Answer("It waits for its file; `upload` is leave to send it.", ref("CreatedUpload"), ("Location",))
}
ACCEPTED: Final = {202: Answer("The upload, now that this was asked of it.", ref("Upload"))}
FILE_EXAMPLE: Final = {"filename": "contacts.csv", "size": 1048576, "content_type": "text/csv"}
_PART_EXAMPLE: Final = {"number": 1, "sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}

OPERATIONS: Final = (
    Operation(
        "POST",
        _UPLOADS,
        "create_upload",
        TAG,
        "Announce a file",
        CREATED,
        "A file above 100 MB is sent in parts, any other as one form.",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(ref("NewUpload"), {"dataset": "contacts", **FILE_EXAMPLE}, codes=CODES),
        errors=ANNOUNCED,
    ),
    Operation(
        "GET",
        _UPLOADS,
        "list_uploads",
        TAG,
        "All uploads, the newest first",
        paged("UploadPage"),
        headers={"If-None-Match": IF_NONE_MATCH},
        about="Where few pass the filters a page may hold less than `limit`, or nothing, and lead on.",
        query=PAGED | {"state": Parameter(_STATE, "Only those."), "dataset": Parameter(TEXT, "Only into this one.")},
    ),
    Operation(
        "GET",
        ONE,
        "get_upload",
        TAG,
        "Where an upload stands",
        {
            200: Answer("The upload. Retry-After while it is under way.", ref("Upload"), ("ETag", "Retry-After")),
            304: unchanged("Retry-After"),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        errors=(UPLOAD_NOT_FOUND,),
    ),
    Operation(
        "POST",
        ONE + "/parts",
        "sign_parts",
        TAG,
        "Leave to send the file again, or parts of it",
        {200: Answer("A fresh form, or the parts' URLs and what is stored.", ref("Ticket"))},
        body=Body(ref("WantedParts"), {"parts": [_PART_EXAMPLE]}),
        errors=(UPLOAD_NOT_FOUND, CONFLICT, _EXPIRED),
    ),
    Operation(
        "POST",
        ONE + "/complete",
        "complete_upload",
        TAG,
        "Make the file of its parts",
        ACCEPTED,
        "May be repeated.",
        body=Body(ref("SentParts"), {"parts": [_PART_EXAMPLE | {"etag": '"9b2cf535f27731c974343645a3985328"'}]}),
        errors=(
            UPLOAD_NOT_FOUND,
            CONFLICT,
            _EXPIRED,
            Error(409, "upload_not_in_parts", "This file is sent as one form; nothing completes it."),
            Error(409, "parts_missing", "Parts are not stored; `errors` names them."),
            Error(409, "parts_differ", "Parts are stored with other bytes; `errors` names them."),
            Error(409, "parts_refused", "The storage does not put these parts together."),
            Error(422, "parts_missing", "Parts are not named; `errors` names them."),
        ),
    ),
    Operation(
        "GET",
        ONE + "/chunks",
        "list_chunks",
        TAG,
        "An upload's chunks",
        paged("ChunkPage", "A page; empty before the scan."),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(UPLOAD_NOT_FOUND,),
    ),
    Operation(
        "GET",
        ONE + "/events",
        "list_events",
        TAG,
        "What has happened to an upload",
        paged("EventPage", "A page, the oldest first."),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(UPLOAD_NOT_FOUND,),
    ),
)
