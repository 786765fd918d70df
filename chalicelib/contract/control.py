"""The contract of what may be asked of an upload on its way, or once it is over: to hold, go on, undo, delete it."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import DATASET_BUSY, DATASET_ERRORS, MODE, PAGED, UPLOAD_NOT_FOUND
from chalicelib.contract.uploads import ACCEPTED, CONFLICT, FILES_EXPIRED, ONE, TAG
from chalicelib.contract.words import (
    ANYTHING,
    IF_NONE_MATCH,
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Parameter,
    Schema,
    closed,
    nullable,
    page_of,
    paged,
    ref,
    shown,
)

SCHEMAS: Final[dict[str, Schema]] = {
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
    "DeletedUpload": shown({"id": TEXT}),
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
}

OPERATIONS: Final = (
    Operation(
        "POST",
        ONE + "/cancel",
        "cancel_upload",
        TAG,
        "Load nothing more",
        ACCEPTED,
        errors=(UPLOAD_NOT_FOUND, CONFLICT),
    ),
    Operation(
        "POST",
        ONE + "/pause",
        "pause_upload",
        TAG,
        "Begin no further chunk for now",
        ACCEPTED,
        "Of an upload that is queued or processing. Chunks in hand may finish; may be repeated.",
        errors=(UPLOAD_NOT_FOUND, CONFLICT),
    ),
    Operation(
        "POST",
        ONE + "/resume",
        "resume_upload",
        TAG,
        "Go on with a paused upload",
        ACCEPTED,
        "May be repeated while it is under way.",
        errors=(UPLOAD_NOT_FOUND, CONFLICT),
    ),
    Operation(
        "POST",
        ONE + "/confirm",
        "confirm_upload",
        TAG,
        "Load what was only checked",
        ACCEPTED,
        body=Body(ref("Confirmation"), {}, required=False, codes={"mode": "mode_invalid", "schema.": "schema_invalid"}),
        errors=(
            UPLOAD_NOT_FOUND,
            CONFLICT,
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
        ONE + "/redrive",
        "redrive_upload",
        TAG,
        "Try again what was given up",
        ACCEPTED,
        errors=(
            UPLOAD_NOT_FOUND,
            CONFLICT,
            DATASET_BUSY,
            FILES_EXPIRED,
            Error(409, "dataset_changed", "The dataset's schema has changed since; upload what is missing anew."),
        ),
    ),
    Operation(
        "POST",
        ONE + "/revert",
        "revert_upload",
        TAG,
        "Undo an upload that is over",
        ACCEPTED,
        "Removes the rows it inserted and restores those it wrote over. What was changed since is left, unless forced."
        " May be repeated.",
        body=Body(ref("Revert"), {"force": False}, required=False),
        errors=(
            UPLOAD_NOT_FOUND,
            CONFLICT,
            Error(409, "befores_expired", "What its rows were before is kept no longer."),
        ),
    ),
    Operation(
        "GET",
        ONE + "/conflicts",
        "list_conflicts",
        TAG,
        "The rows that undoing an upload has left as they are",
        paged("ConflictPage", "A page, in file order; empty of an upload that was not undone."),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(UPLOAD_NOT_FOUND,),
    ),
    Operation(
        "DELETE",
        ONE,
        "delete_upload",
        TAG,
        "Delete an upload that is over, or still waits for its file",
        {202: Answer("It is there no more; its files go within a minute.", ref("DeletedUpload"))},
        "Its file, status and rejects go; rows that were loaded stay unless they are asked for. May be repeated, also"
        " to ask for them then. docs/erasure.md",
        query={"rows": Parameter({"type": "string", "enum": ["true", "false"]}, "Whether its rows go, too.")},
        errors=(UPLOAD_NOT_FOUND, CONFLICT),
    ),
)
