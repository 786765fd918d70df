"""The contract of uploads: announced, sent, followed, corrected."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import (
    DATASET_BUSY,
    DATASET_ERRORS,
    MODE,
    PAGED,
    SEALED,
    UPLOAD_NOT_FOUND,
)
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
from chalicelib.formats.dialect import (
    DATE_ORDERS,
    ENUM_CASES,
    MAX_DELIMITER,
    MAX_NULL_VALUES,
    MAX_SKIP_LINES,
    MAX_UNIT,
    TRIMS,
    UNIT,
)
from chalicelib.formats.transcoded import ENCODINGS
from chalicelib.journey import RETENTION, STATUS, TIERS, TRANSITIONS

MOST_SIGNED: Final = 100  # URLs an answer: 60 kB
_TAG: Final = "Uploads"
_REJECTS: Final = "Rejects"
_UPLOADS: Final = "/v1/uploads"
_ONE: Final = "/v1/uploads/{upload_id}"

# What is asked

_SHA256: Final[Schema] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9+/]{43}=$",
    "title": "a SHA-256 in base64",
}
_MARK: Final[Schema] = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": 1,
    "title": "null or one ASCII character, no line end and no NUL",
}
_CHARACTER: Final[Schema] = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": 1,
    "title": "null or one character, no letter and no digit",
}
_VALUES: Final[Schema] = {
    "type": ["array", "null"],
    "items": {"type": "string", "maxLength": 100},
    "maxItems": MAX_NULL_VALUES,
}
_DIALECT: Final[dict[str, Schema]] = {
    "delimiter": {"type": "string", "minLength": 1, "maxLength": MAX_DELIMITER, "description": "No line end, no NUL."},
    "quote": _MARK,
    "escape": _MARK,
    "comment": _MARK,
    "header": {"type": "boolean"},
    "skip_lines": {"type": "integer", "minimum": 0, "maximum": MAX_SKIP_LINES},
    "ragged": {"type": "string", "enum": ["strict", "pad"]},
    "encoding": {"type": "string", "enum": list(ENCODINGS)},
    "null_values": _VALUES,
    "decimal_char": _CHARACTER,
    "group_char": _CHARACTER,
    "date_order": {"type": ["string", "null"], "enum": [*DATE_ORDERS, None]},
    "trim": {
        "type": ["string", "null"],
        "enum": [*TRIMS, None],
        "description": "Blanks around cells are no part of them: of all fields, or of all but free texts (values).",
    },
    "true_values": {**_VALUES, "description": "In place of true, True, TRUE and 1, where a field says nothing."},
    "false_values": {**_VALUES, "description": "In place of false, False, FALSE and 0, where a field says nothing."},
    "enum_case": {
        "type": ["string", "null"],
        "enum": [*ENUM_CASES, None],
        "description": "ignore: what differs from one value of an enum by case alone is that one.",
    },
    "units": {
        "type": ["array", "null"],
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_UNIT, "title": UNIT},
        "maxItems": MAX_NULL_VALUES,
        "description": "One of these may stand before or behind a number, and is no part of it.",
    },
}
_AS_READ: Final = (
    "With what was detected. `before`, of a retry by several fixes: the conventions by which a cell is asked first."
)
_SHEET: Final[Schema] = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 255},
        {"type": "integer", "minimum": 1, "maximum": 999_999},
        {"type": "null"},
    ],
    "title": "a sheet's name, or its number from 1",
}
_OPTIONS: Final = closed(
    {
        "mode": {**MODE, "description": "The dataset's own unless it is said here."},
        "dialect": ref("Dialect"),
        "mapping": {
            "type": "object",
            "additionalProperties": {"type": ["string", "null"], "title": "the name of a field, or null"},
            "description": "Columns, by name or place, to fields; null ignores a column.",
        },
        "sheet": _SHEET,
        "validate_only": {"type": "boolean", "description": "Say what would be rejected; load when it is confirmed."},
        "on_duplicate_file": {
            "type": "string",
            "enum": ["reject", "allow"],
            "default": "allow",
            "description": "What to do with a file that another upload has brought into the dataset; of no retry.",
        },
        "infer": {"type": "boolean", "description": "Make the dataset from what the file shows, once confirmed."},
        "retention": {
            "type": "string",
            "enum": list(RETENTION),
            "default": "standard",
            "description": "How long file, rejects and status are kept after the end; loaded rows stay.",
        },
        "on_drift": {
            "type": ["string", "null"],
            "enum": ["warn", "hold", None],
            "description": "Where columns are unlike those of the uploads before: say so, or wait to be confirmed.",
        },
        "on_error": {
            "type": "string",
            "enum": ["continue", "abort"],
            "default": "continue",
            "description": "abort: all rows show themselves at once at the end, or none if one is rejected.",
        },
        "max_errors": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**53 - 1},
        "max_error_percent": {"type": ["number", "null"], "minimum": 0, "maximum": 100},
        "notify": closed(
            {
                "email": {
                    "type": "string",
                    "pattern": r"^[A-Za-z0-9.!#%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,189}$",
                    "title": "an e-mail address in ASCII",
                },
                "webhook": {"type": "string", "pattern": "^whk_[0-9A-Z]{26}$", "title": "a webhook's id"},
            },
            description="Whom to tell of the end, besides the webhooks that hear of every upload.",
        ),
    }
)
_FILE: Final[dict[str, Schema]] = {
    "filename": {"type": "string", "maxLength": 1024, "default": ""},
    "size": {**COUNT, "description": "Bytes of the file. The storage takes no other number."},
    "content_type": {
        "type": "string",
        "pattern": r"^[A-Za-z0-9_.+-]{1,100}/[A-Za-z0-9_.+-]{1,100}(; ?charset=[A-Za-z0-9_-]{1,40})?$",
        "title": "a media type such as text/csv",
        "default": "text/csv",
    },
    "checksum": {
        **nullable(_SHA256),
        "title": "the file's SHA-256 in base64",
        "description": "The storage holds a form to it.",
    },
    "options": ref("Options"),
}
_CODES: Final = {
    "options.mode": "mode_invalid",
    "options.dialect.": "dialect_invalid",
    "options.mapping": "mapping_invalid",
    "options.mapping.": "mapping_invalid",
    "options.notify": "notify_invalid",
    "options.notify.": "notify_invalid",
}
_PART_NUMBER: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 10_000}

_ASKED: Final[dict[str, Schema]] = {
    "Dialect": closed(_DIALECT, description="How the file is written. What is not declared is detected."),
    "Options": _OPTIONS,
    "NewUpload": closed(
        {"dataset": {"type": "string", "description": "The dataset's name."}, **_FILE}, "dataset", "size"
    ),
    "NewRetry": closed(_FILE, "size", description="The corrected rows, for the first upload's dataset."),
    "Fixes": closed(
        {
            "fix": {
                "anyOf": [
                    {"type": "string", "minLength": 1, "maxLength": 200},
                    {"type": "array", "items": {"type": "string", "maxLength": 200}, "minItems": 1, "maxItems": 20},
                ],
                "title": "the id of a cause, or a list of them",
            }
        },
        "fix",
        description="The causes whose fixes are to be applied, all at once.",
    ),
    "WantedParts": closed(
        {
            "parts": listed(
                closed({"number": _PART_NUMBER, "sha256": _SHA256}, "number", "sha256"),
                maxItems=MOST_SIGNED,
                description="The parts to sign; without any the answer tells what is stored.",
            )
        }
    ),
    "SentParts": closed(
        {
            "parts": listed(
                closed({"number": _PART_NUMBER, "etag": TEXT, "sha256": _SHA256}, "number", "etag", "sha256"),
                maxItems=10_000,
                description="All parts of the file.",
            )
        },
        "parts",
    ),
    "Confirmation": closed(
        {
            "dataset": {"type": "string", "description": "As it was announced."},
            "schema": ref("TableSchema"),
            "mode": MODE,
        },
        description="Of an upload that makes its dataset: what this is to be, instead of what was found.",
    ),
    "Revert": closed(
        {
            "force": {
                "type": "boolean",
                "default": False,
                "description": "Undo rows, too, that were edited or that other uploads wrote over since.",
            }
        }
    ),
}

# What is answered

_STATE: Final[Schema] = {"type": "string", "enum": list(TRANSITIONS)}
_FAILURE: Final = shown({"code": TEXT, "detail": TEXT})
_SECONDS: Final[Schema] = {"type": ["number", "null"]}
_UPLOAD: Final[dict[str, Schema]] = {
    "id": {"type": "string", "pattern": "^upl_[0-9A-Z]{26}$"},
    "dataset": TEXT,
    "filename": TEXT,
    "state": _STATE,
    "status": {"type": "string", "enum": sorted(set(STATUS.values())), "description": "The state, coarsely."},
    "mode": MODE,
    "created_at": MOMENT,
    "bytes_total": COUNT,
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
            "scanner": {"type": "string", "enum": ["off", "clamd", "guardduty"]},
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
    "DeletedUpload": shown({"id": TEXT}),
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
            "new": listed(TEXT, description="Values that were never there, the first ten."),
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
                " or what was asked: cancel, confirm, redrive, retry, revert, verify; receipt; files_expired."
                " More may come.",
            },
            "state": {"type": ["string", "null"], "enum": [*STATUS, None]},
            "by": {"type": ["string", "null"], "description": "Who asked: a user's id, or an API key's."},
            "request_id": {"type": ["string", "null"], "description": "What the request's log lines are found by."},
            "details": {**ANYTHING, "description": "Counts, places and codes; never what a row holds."},
        },
        description="Something that happened to an upload.",
    ),
    "EventPage": page_of("Event"),
    "Conflict": shown(
        {
            "row": {"type": "integer", "minimum": 1, "description": "The record of the file that brought it."},
            "why": {"type": "string", "enum": ["edited", "replaced", "referenced", "taken", "refused"]},
            "by": {"type": ["string", "null"], "description": "The tenant's upload that wrote over it."},
            "key": {**nullable(ANYTHING), "description": "Its key, if the dataset has one."},
        },
        description="A row of an upload that was left as it is when this was undone.",
    ),
    "ConflictPage": page_of("Conflict"),
    "CellError": shown({"column": {"type": ["string", "null"]}, "code": TEXT, "detail": TEXT}),
    "Reject": shown(
        {
            "row": {"type": "integer", "minimum": 1},
            "line": {"type": "integer", "minimum": 1},
            "errors": listed(ref("CellError")),
            "raw": {"type": "string", "description": "The record as uploaded."},
            "raw_truncated": {"type": "boolean"},
            "parent_row": {
                **COUNT,
                "description": "Of a record read again: its row in the parent, whose `line` is told, too.",
            },
        },
        "raw_truncated",
        "parent_row",
    ),
    "RejectPage": page_of("Reject"),
    "Download": shown(
        {"url": TEXT, "expires_at": MOMENT},
        description="Fetch it without the token. With encrypted fields it is a data: URL, which holds the file.",
    ),
    "Processing": shown({"status": {"type": "string", "enum": ["processing"]}}),
    "Summary": shown(
        {
            "rejected": COUNT,
            "causes": listed(
                shown(
                    {
                        "code": TEXT,
                        "column": {"type": ["string", "null"]},
                        "cause": TEXT,
                        "rows": COUNT,
                        "share": {"type": "number", "minimum": 0, "maximum": 1},
                        "first_line": COUNT,
                        "last_line": COUNT,
                        "samples": listed(shown({"row": COUNT, "line": COUNT, "value": {"type": ["string", "null"]}})),
                    }
                )
            ),
            "causes_total": COUNT,
        }
    ),
    "Causes": shown(
        {
            "rejected": COUNT,
            "causes": listed(ref("Cause")),
            "causes_total": COUNT,
        }
    ),
    "Cause": shown(
        {
            "id": {"type": "string", "description": "As `fix` of a retry names it."},
            "cause": TEXT,
            "codes": listed(TEXT),
            "columns": listed(TEXT, description="The first hundred."),
            "columns_total": COUNT,
            "rejects": {**COUNT, "description": "Records that have it, however many of their cells."},
            "alone": {**COUNT, "description": "Of these, records that have no other cause."},
            "first_line": COUNT,
            "last_line": COUNT,
            "samples": listed(
                shown(
                    {
                        "column": {"type": ["string", "null"]},
                        "row": COUNT,
                        "line": COUNT,
                        "value": {"type": ["string", "null"]},
                    }
                )
            ),
            "fix": {**nullable(ANYTHING), "description": "The options of an upload that mend it, as they were proved."},
            "proved": {
                **nullable(shown({"sample": COUNT, "mended": COUNT})),
                "description": "How many records the fix was tried on, and how many of them it mends.",
            },
            "unfixed": {"type": ["string", "null"], "description": "Why an option that was thought of is no fix."},
        },
        description="Why many rows were rejected, across columns.",
    ),
    "Record": shown(
        {
            "row": {"type": "integer", "minimum": 1},
            "state": {"type": "string", "enum": ["pending", "processing", "success", "failed", "unprocessed"]},
            "outcome": {
                "type": ["string", "null"],
                "enum": [
                    "loaded",
                    "updated",
                    "written",
                    "skipped",
                    "replaced",
                    "skipped_or_replaced",
                    "reverted",
                    None,
                ],
            },
            "line": nullable(COUNT),
            "errors": listed(ref("CellError")),
        }
    ),
}
SCHEMAS: Final[dict[str, Schema]] = _ASKED | _ANSWERED

# The doors

_CONFLICT: Final = Error(409, "state_conflict", "The upload is in a state in which this cannot be; `detail` names it.")
_FILES_EXPIRED: Final = Error(410, "files_expired", "The upload's files and rejects are kept no longer.")
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
_ADMISSION: Final = (
    *ADMISSION,
    Error(409, "dataset_exists", "A dataset of this name exists; `infer` makes a new one."),
    Error(409, "duplicate_file", "The same file was sent before, and this is not to be; `errors` names its upload."),
)
_CREATED: Final = {
    201: Answer("It waits for its file; `upload` is leave to send it.", ref("CreatedUpload"), ("Location",))
}
_ACCEPTED: Final = {202: Answer("The upload, now that this was asked of it.", ref("Upload"))}
_FILE_EXAMPLE: Final = {"filename": "contacts.csv", "size": 1048576, "content_type": "text/csv"}
_PART_EXAMPLE: Final = {"number": 1, "sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}

OPERATIONS: Final = (
    Operation(
        "POST",
        _UPLOADS,
        "create_upload",
        _TAG,
        "Announce a file",
        _CREATED,
        "A file above 100 MB is sent in parts, any other as one form.",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(ref("NewUpload"), {"dataset": "contacts", **_FILE_EXAMPLE}, codes=_CODES),
        errors=_ADMISSION,
    ),
    Operation(
        "GET",
        _UPLOADS,
        "list_uploads",
        _TAG,
        "All uploads, the newest first",
        paged("UploadPage"),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED | {"state": Parameter(_STATE, "Only those."), "dataset": Parameter(TEXT, "Only into this one.")},
    ),
    Operation(
        "GET",
        _ONE,
        "get_upload",
        _TAG,
        "Where an upload stands",
        {
            200: Answer("The upload. Retry-After while it is under way.", ref("Upload"), ("ETag", "Retry-After")),
            304: unchanged("Retry-After"),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        errors=(UPLOAD_NOT_FOUND,),
    ),
    Operation(
        "DELETE",
        _ONE,
        "delete_upload",
        _TAG,
        "Delete an upload that is over, or still waits for its file",
        {202: Answer("It is there no more; its files go within a minute.", ref("DeletedUpload"))},
        "Its file, status and rejects go; rows that were loaded stay unless they are asked for. May be repeated, also"
        " to ask for them then. docs/erasure.md",
        query={"rows": Parameter({"type": "string", "enum": ["true", "false"]}, "Whether its rows go, too.")},
        errors=(UPLOAD_NOT_FOUND, _CONFLICT),
    ),
    Operation(
        "POST",
        _ONE + "/parts",
        "sign_parts",
        _TAG,
        "Leave to send the file again, or parts of it",
        {200: Answer("A fresh form, or the parts' URLs and what is stored.", ref("Ticket"))},
        body=Body(ref("WantedParts"), {"parts": [_PART_EXAMPLE]}),
        errors=(UPLOAD_NOT_FOUND, _CONFLICT, _EXPIRED),
    ),
    Operation(
        "POST",
        _ONE + "/complete",
        "complete_upload",
        _TAG,
        "Make the file of its parts",
        _ACCEPTED,
        "May be repeated.",
        body=Body(ref("SentParts"), {"parts": [_PART_EXAMPLE | {"etag": '"9b2cf535f27731c974343645a3985328"'}]}),
        errors=(
            UPLOAD_NOT_FOUND,
            _CONFLICT,
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
        _ONE + "/chunks",
        "list_chunks",
        _TAG,
        "An upload's chunks",
        paged("ChunkPage", "A page; empty before the scan."),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(UPLOAD_NOT_FOUND,),
    ),
    Operation(
        "GET",
        _ONE + "/events",
        "list_events",
        _TAG,
        "What has happened to an upload",
        paged("EventPage", "A page, the oldest first."),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(UPLOAD_NOT_FOUND,),
    ),
    Operation(
        "GET",
        _ONE + "/rejects",
        "list_rejects",
        _REJECTS,
        "The rows that were not loaded",
        {
            200: Answer(
                "A page; or with a format, where the file is.",
                {"anyOf": [ref("RejectPage"), ref("Download")]},
                ("ETag", "Link"),
            ),
            304: unchanged("Link"),
            202: Answer("The file is being made; ask again.", ref("Processing"), ("Retry-After",)),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED
        | {"format": Parameter({"type": "string", "enum": ["json", "csv", "xlsx"]}, "A page, or a file to correct.")},
        errors=(
            UPLOAD_NOT_FOUND,
            _FILES_EXPIRED,
            Error(409, "state_conflict", "Rejects become a file when the upload has ended."),
            Error(409, "rejects_too_large", "With encrypted fields, a file of 3.5 MB at most; read them as pages."),
            *SEALED,
            Error(422, "rejects_too_many", "A sheet holds no more than 1,048,575 rejects; ask for csv."),
        ),
    ),
    Operation(
        "GET",
        _ONE + "/rejects/summary",
        "summarize_rejects",
        _REJECTS,
        "Why rows were not loaded",
        {200: Answer("The most frequent causes, with samples.", ref("Summary"))},
        errors=(UPLOAD_NOT_FOUND, _FILES_EXPIRED),
    ),
    Operation(
        "GET",
        _ONE + "/rows/{n}",
        "get_record",
        _TAG,
        "What became of one record",
        {200: Answer("Its state.", ref("Record"))},
        errors=(
            UPLOAD_NOT_FOUND,
            _FILES_EXPIRED,
            Error(404, "record_not_found", "The file has no such record, as far as it was read."),
        ),
    ),
    Operation(
        "POST",
        _ONE + "/retries",
        "retry_upload",
        _REJECTS,
        "Announce a file of corrected rows",
        _CREATED,
        "A new upload into the same dataset, with the first one's mode and spelling of values.",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(ref("NewRetry"), _FILE_EXAMPLE, codes=_CODES),
        errors=(UPLOAD_NOT_FOUND, _CONFLICT, _FILES_EXPIRED, *_ADMISSION),
    ),
    Operation(
        "GET",
        _ONE + "/causes",
        "list_causes",
        _REJECTS,
        "The few causes behind all rejects, and what mends them",
        {200: Answer("The most frequent causes, across columns.", ref("Causes"))},
        errors=(UPLOAD_NOT_FOUND, _FILES_EXPIRED),
    ),
    Operation(
        "POST",
        _ONE + "/retry",
        "retry_causes",
        _REJECTS,
        "Read again what a fix mends",
        {201: Answer("A new upload of those records; no file is awaited.", ref("Upload"), ("Location",))},
        "Of the rejects only those that the fixes leave right in every cell, and whose other cells stay what they were."
        " A reject is taken up by one upload: what this one rejects in turn is retried from there.",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(ref("Fixes"), {"fix": "dates_day_first"}),
        errors=(
            UPLOAD_NOT_FOUND,
            _CONFLICT,
            _FILES_EXPIRED,
            *_ADMISSION,
            Error(409, "cause_unfixed", "No option is proved to mend a cause, or two of them contradict each other."),
            Error(422, "cause_unknown", "The upload has no such cause."),
        ),
    ),
    Operation(
        "POST",
        _ONE + "/cancel",
        "cancel_upload",
        _TAG,
        "Load nothing more",
        _ACCEPTED,
        errors=(UPLOAD_NOT_FOUND, _CONFLICT),
    ),
    Operation(
        "POST",
        _ONE + "/pause",
        "pause_upload",
        _TAG,
        "Begin no further chunk for now",
        _ACCEPTED,
        "Of an upload that is queued or processing. Chunks in hand may finish; may be repeated.",
        errors=(UPLOAD_NOT_FOUND, _CONFLICT),
    ),
    Operation(
        "POST",
        _ONE + "/resume",
        "resume_upload",
        _TAG,
        "Go on with a paused upload",
        _ACCEPTED,
        "May be repeated while it is under way.",
        errors=(UPLOAD_NOT_FOUND, _CONFLICT),
    ),
    Operation(
        "POST",
        _ONE + "/confirm",
        "confirm_upload",
        _TAG,
        "Load what was only checked",
        _ACCEPTED,
        body=Body(ref("Confirmation"), {}, required=False, codes={"mode": "mode_invalid", "schema.": "schema_invalid"}),
        errors=(
            UPLOAD_NOT_FOUND,
            _CONFLICT,
            *DATASET_ERRORS,
            Error(409, "dataset_exists", "A dataset of this name has come to exist meanwhile."),
            Error(409, "dataset_not_found", "The upload has no dataset yet."),
            *(
                Error(422, code, "The columns do not fit the schema.")
                for code in ("columns_missing", "columns_unknown", "columns_repeated")
            ),
        ),
    ),
    Operation(
        "POST",
        _ONE + "/redrive",
        "redrive_upload",
        _TAG,
        "Try again what was given up",
        _ACCEPTED,
        errors=(
            UPLOAD_NOT_FOUND,
            _CONFLICT,
            DATASET_BUSY,
            _FILES_EXPIRED,
            Error(409, "dataset_changed", "The dataset's schema has changed since; upload what is missing anew."),
        ),
    ),
    Operation(
        "POST",
        _ONE + "/revert",
        "revert_upload",
        _TAG,
        "Undo an upload that is over",
        _ACCEPTED,
        "Removes the rows it inserted and restores those it wrote over. What was changed since is left, unless forced."
        " May be repeated.",
        body=Body(ref("Revert"), {"force": False}, required=False),
        errors=(
            UPLOAD_NOT_FOUND,
            _CONFLICT,
            Error(409, "befores_expired", "What its rows were before is kept no longer."),
        ),
    ),
    Operation(
        "GET",
        _ONE + "/conflicts",
        "list_conflicts",
        _TAG,
        "The rows that undoing an upload has left as they are",
        paged("ConflictPage", "A page, in file order; empty of an upload that was not undone."),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(UPLOAD_NOT_FOUND,),
    ),
)
