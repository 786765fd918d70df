"""The contract of datasets and their rows."""

from __future__ import annotations

from typing import Final, get_args

from chalicelib.contract.words import (
    ANYTHING,
    CHANGED,
    COUNT,
    CURSOR,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    MOMENT,
    REPEATED,
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Parameter,
    Schema,
    listed,
    nullable,
    page_of,
    paged,
    ref,
    shown,
    unchanged,
)
from chalicelib.datasets import MAX_FIELDS, MAX_IDENTIFIER_BYTES, FieldType
from chalicelib.datasets.pace import FASTEST, SLOWEST
from chalicelib.journey import MODES
from chalicelib.paging import DEFAULT_LIMIT
from chalicelib.roles import ROLES

_TAG: Final = "Datasets"
_RATE: Final[Schema] = {"type": "number", "minimum": SLOWEST, "maximum": FASTEST}
DATASET_NOT_FOUND: Final = Error(404, "dataset_not_found", "There is no such dataset, or it is another tenant's.")
UPLOAD_NOT_FOUND: Final = Error(404, "upload_not_found", "There is no such upload, or it is another tenant's.")
DATASET_BUSY: Final = Error(409, "dataset_busy", "Uploads into the dataset are under way, or it is in use.")
DATASET_ERRORS: Final = (
    DATASET_BUSY,
    Error(409, "index_too_slow", "Indexing the rows that are there takes too long; declare indexes before rows come."),
    Error(409, "dataset_incompatible", "The dataset's rows could not stay as they are; `errors` names each field."),
    Error(422, "schema_invalid", "The Table Schema cannot be used; `errors` names each field."),
    Error(422, "mode_invalid", "The mode is none, or upsert without exactly one key."),
    Error(422, "name_invalid", f"A dataset's name has 1 to {MAX_IDENTIFIER_BYTES} printable bytes; . and .. are none."),
)
MODE: Final[Schema] = {"type": "string", "enum": list(MODES)}
LIMIT: Final = Parameter(
    {"type": "integer", "minimum": 1, "maximum": 5000, "default": DEFAULT_LIMIT},
    "How many items a page has at most; a page of large items may have fewer.",
)
PAGED: Final = {"cursor": CURSOR, "limit": LIMIT}

_FIELD: Final[Schema] = {
    "type": "object",
    "properties": {
        "name": {
            "type": "string",
            "minLength": 1,
            "description": f"1 to {MAX_IDENTIFIER_BYTES} bytes; the column's name.",
        },
        "type": {"type": "string", "default": "string", "description": f"One of {', '.join(get_args(FieldType))}."},
        "format": TEXT,
        "encrypted": {"type": "boolean", "description": "Its values are sealed where they are stored."},
        "constraints": {
            **ANYTHING,
            "description": "required, unique, enum, pattern, minimum, maximum, minLength, maxLength …",
        },
    },
    "required": ["name"],
    "additionalProperties": True,
}
_FIELDS: Final = {"fields": listed(_FIELD, minItems=1, description=f"At most {MAX_FIELDS}.")}
_EXAMPLE: Final = {
    "fields": [
        {"name": "email", "type": "string", "constraints": {"required": True, "unique": True}},
        {"name": "since", "type": "date"},
    ]
}

SCHEMAS: Final[dict[str, Schema]] = {
    "TableSchema": {
        "type": "object",
        "properties": _FIELDS,
        "required": ["fields"],
        "additionalProperties": True,
        "description": "A Frictionless Table Schema. What only describes is kept; what cannot be honoured is refused.",
    },
    "DatasetDefinition": {
        "type": "object",
        "properties": {
            **_FIELDS,
            "mode": {**MODE, "default": "insert", "description": "What uploads do by default."},
            "indexes": {"type": "array", "description": "Up to 16: fields, or lists of fields."},
            "partition_by": {
                "description": "`{field, hash}`, or `{field, every, from, to}`: month or year, from and to YYYY-MM."
            },
            "max_rows_per_second": {
                **nullable(_RATE),
                "title": f"a number from {SLOWEST} to {FASTEST:,}",
                "description": "How fast all uploads into it may load together; as fast as they can without it.",
            },
            "identity": {
                "type": "string",
                "description": "The name of a number that each row gets, and is told by, in a dataset without keys.",
            },
        },
        "required": ["fields"],
        "additionalProperties": True,
        "description": "A Frictionless Table Schema, and the mode.",
    },
    "Dataset": shown(
        {
            "id": {"type": "string", "description": "What others call it, and its owner may: `dst_…`."},
            "name": TEXT,
            "owner": {"type": "string", "description": "The username of its owner."},
            "role": {"type": "string", "enum": list(ROLES), "description": "What the asker may do in it."},
            "version": {**COUNT, "description": "Grows with each change of the columns."},
            "mode": MODE,
            "indexes": listed(listed(TEXT), description="By which rows are found, beside the keys."),
            "max_rows_per_second": nullable(_RATE),
            "partition_by": nullable(ANYTHING),
            "schema": ref("TableSchema"),
            "created_at": MOMENT,
        }
    ),
    "DatasetPage": page_of("Dataset"),
    "Row": {
        "type": "object",
        "additionalProperties": {"type": ["string", "integer", "number", "boolean", "null", "object", "array"]},
        "description": "A field's value by its name: exact decimals as strings, moments in UTC.",
    },
    "RowPage": page_of("Row"),
}

_KNOWN: Final = {"If-None-Match": IF_NONE_MATCH}
_ROWS: Final = "/v1/datasets/{name}/rows"
SEALED: Final = (
    Error(409, "seal_broken", "An encrypted value does not open where it is stored."),
    Error(503, "field_key_unavailable", "The key of encrypted fields cannot be used now.", ("Retry-After",)),
)
ROW_TOO_LARGE: Final = Error(409, "row_too_large", "A row is larger than an answer may be.")
ROW_NOT_FOUND: Final = Error(404, "row_not_found", "There is no row of this key.")
ROW_REFERENCED: Final = Error(409, "row_referenced", "A row of another dataset refers to it.")
_ROW: Final = (
    *SEALED,
    Error(409, "key_encrypted", "Rows are told by an encrypted key, which has no place in an address."),
    DATASET_NOT_FOUND,
    DATASET_BUSY,
    ROW_NOT_FOUND,
    Error(409, "dataset_keyless", "The dataset has no key by which to tell one row."),
)
_WRITTEN: Final = (
    Error(409, "duplicate_in_db", "Another row has the same key."),
    Error(422, "row_invalid", "The row breaks rules of the dataset; `errors` names each field."),
    Error(422, "reference_missing", "A dataset that this one refers to is gone."),
)
_ROW_EXAMPLE: Final = {"email": "ada@example.org", "since": "2024-02-29"}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/datasets",
        "list_datasets",
        _TAG,
        "All datasets, by name",
        paged("DatasetPage"),
        headers=_KNOWN,
        query=PAGED
        | {"shared": Parameter({"type": "string", "enum": ["true", "false"]}, "Others' that are shared, by id.")},
    ),
    Operation(
        "PUT",
        "/v1/datasets/{name}",
        "put_dataset",
        _TAG,
        "Make a dataset, or change it",
        {
            200: Answer("It is there, changed or as it was.", ref("Dataset"), ("ETag",)),
            201: Answer("It is new.", ref("Dataset"), ("ETag",)),
        },
        "One that is empty takes any schema, one that holds rows a wider one. Repeating the request changes nothing.",
        role="owner",
        body=Body(ref("DatasetDefinition"), _EXAMPLE, codes={".": "schema_invalid", "mode": "mode_invalid"}),
        errors=(*DATASET_ERRORS, Error(404, "dataset_not_found", "Somebody has deleted it at this moment.")),
    ),
    Operation(
        "GET",
        "/v1/datasets/{name}",
        "get_dataset",
        _TAG,
        "A dataset",
        {200: Answer("The dataset.", ref("Dataset"), ("ETag",)), 304: unchanged()},
        headers=_KNOWN,
        errors=(DATASET_NOT_FOUND,),
    ),
    Operation(
        "DELETE",
        "/v1/datasets/{name}",
        "delete_dataset",
        _TAG,
        "Delete a dataset with its rows",
        {204: Answer("It is gone; its uploads keep their history.")},
        role="owner",
        errors=(DATASET_NOT_FOUND, DATASET_BUSY, Error(409, "dataset_referenced", "Another dataset refers to it.")),
    ),
    Operation(
        "GET",
        _ROWS,
        "list_rows",
        _TAG,
        "Rows, by a query or in the order of their files",
        paged("RowPage"),
        "Nobody reads a whole table for a few rows: what is asked by has an index.",
        headers=_KNOWN,
        query=PAGED
        | {
            "upload": Parameter(TEXT, "Only the rows of this upload."),
            "sort": Parameter(TEXT, "A field, or `-` and a field for the other way round."),
        },
        further="Fields: `age=36`, or with an operator, `age.gte=36`: eq, gt, gte, lt, lte.",
        errors=(
            DATASET_NOT_FOUND,
            UPLOAD_NOT_FOUND,
            DATASET_BUSY,
            Error(400, "column_not_indexed", "No index serves this field; declare one."),
            Error(400, "column_encrypted", "Rows are not found or sorted by an encrypted field."),
            ROW_TOO_LARGE,
            *SEALED,
        ),
    ),
    Operation(
        "POST",
        _ROWS,
        "create_row",
        _TAG,
        "Make a row",
        {
            201: Answer(
                "The row. It has no Location without a whole key, or if that is too long for one.",
                ref("Row"),
                ("ETag", "Location"),
            )
        },
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(ref("Row"), _ROW_EXAMPLE),
        errors=(DATASET_NOT_FOUND, DATASET_BUSY, ROW_TOO_LARGE, *REPEATED, *_WRITTEN, *SEALED),
    ),
    Operation(
        "GET",
        _ROWS + "/{key}",
        "get_row",
        _TAG,
        "A row by its key",
        {200: Answer("The row.", ref("Row"), ("ETag",)), 304: unchanged()},
        headers=_KNOWN,
        errors=(*_ROW, ROW_TOO_LARGE),
    ),
    Operation(
        "PATCH",
        _ROWS + "/{key}",
        "change_row",
        _TAG,
        "Change fields of a row",
        {200: Answer("The row as it is now.", ref("Row"), ("ETag",))},
        "Fields that are not named stay.",
        headers={"If-Match": IF_MATCH},
        body=Body(ref("Row"), _ROW_EXAMPLE),
        errors=(*_ROW, *_WRITTEN, ROW_TOO_LARGE, ROW_REFERENCED, CHANGED),
    ),
    Operation(
        "DELETE",
        _ROWS + "/{key}",
        "delete_row",
        _TAG,
        "Delete a row",
        {204: Answer("It is gone.")},
        headers={"If-Match": IF_MATCH},
        errors=(*_ROW, ROW_REFERENCED, CHANGED),
    ),
)
