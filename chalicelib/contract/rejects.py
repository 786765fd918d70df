"""The contract of rejects: which rows were not loaded and why, what became of one record, and how rows come back."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import PAGED, SEALED, UPLOAD_NOT_FOUND
from chalicelib.contract.options import CODES, FILE
from chalicelib.contract.uploads import ANNOUNCED, CONFLICT, CREATED, FILE_EXAMPLE, FILES_EXPIRED, ONE, TAG
from chalicelib.contract.words import (
    ANYTHING,
    COUNT,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    MOMENT,
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
    ref,
    shown,
    unchanged,
)

_TAG: Final = "Rejects"

SCHEMAS: Final[dict[str, Schema]] = {
    "NewRetry": closed(FILE, "size", description="The corrected rows, for the first upload's dataset."),
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

OPERATIONS: Final = (
    Operation(
        "GET",
        ONE + "/rejects",
        "list_rejects",
        _TAG,
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
            FILES_EXPIRED,
            Error(409, "state_conflict", "Rejects become a file when the upload has ended."),
            Error(409, "rejects_too_large", "With encrypted fields, a file of 3.5 MB at most; read them as pages."),
            *SEALED,
            Error(422, "rejects_too_many", "A sheet holds no more than 1,048,575 rejects; ask for csv."),
        ),
    ),
    Operation(
        "GET",
        ONE + "/rejects/summary",
        "summarize_rejects",
        _TAG,
        "Why rows were not loaded",
        {200: Answer("The most frequent causes, with samples.", ref("Summary"))},
        errors=(UPLOAD_NOT_FOUND, FILES_EXPIRED),
    ),
    Operation(
        "GET",
        ONE + "/rows/{n}",
        "get_record",
        TAG,
        "What became of one record",
        {200: Answer("Its state.", ref("Record"))},
        errors=(
            UPLOAD_NOT_FOUND,
            FILES_EXPIRED,
            Error(404, "record_not_found", "The file has no such record, as far as it was read."),
        ),
    ),
    Operation(
        "POST",
        ONE + "/retries",
        "retry_upload",
        _TAG,
        "Announce a file of corrected rows",
        CREATED,
        "A new upload into the same dataset, with the first one's mode and spelling of values.",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(ref("NewRetry"), FILE_EXAMPLE, codes=CODES),
        errors=(UPLOAD_NOT_FOUND, CONFLICT, FILES_EXPIRED, *ANNOUNCED),
    ),
    Operation(
        "GET",
        ONE + "/causes",
        "list_causes",
        _TAG,
        "The few causes behind all rejects, and what mends them",
        {200: Answer("The most frequent causes, across columns.", ref("Causes"))},
        errors=(UPLOAD_NOT_FOUND, FILES_EXPIRED),
    ),
    Operation(
        "POST",
        ONE + "/retry",
        "retry_causes",
        _TAG,
        "Read again what a fix mends",
        {201: Answer("A new upload of those records; no file is awaited.", ref("Upload"), ("Location",))},
        "Of the rejects only those that the fixes leave right in every cell, and whose other cells stay what they were."
        " A reject is taken up by one upload: what this one rejects in turn is retried from there.",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(ref("Fixes"), {"fix": "dates_day_first"}),
        errors=(
            UPLOAD_NOT_FOUND,
            CONFLICT,
            FILES_EXPIRED,
            *ANNOUNCED,
            Error(409, "cause_unfixed", "No option is proved to mend a cause, or two of them contradict each other."),
            Error(422, "cause_unknown", "The upload has no such cause."),
        ),
    ),
)
