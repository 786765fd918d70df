"""The contract of datasets and their rows."""

from __future__ import annotations

from typing import Final, get_args

from chalicelib.contract.words import (
    ANYTHING,
    COUNT,
    CURSOR,
    MOMENT,
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Parameter,
    Schema,
    listed,
    page_of,
    ref,
    shown,
)
from chalicelib.datasets import MAX_FIELDS, MAX_IDENTIFIER_BYTES, FieldType
from chalicelib.journey import MODES

_TAG: Final = "Datasets"
DATASET_NOT_FOUND: Final = Error(404, "dataset_not_found", "There is no such dataset, or it is another tenant's.")
UPLOAD_NOT_FOUND: Final = Error(404, "upload_not_found", "There is no such upload, or it is another tenant's.")
DATASET_BUSY: Final = Error(409, "dataset_busy", "Uploads into the dataset are under way, or it is in use.")
DATASET_ERRORS: Final = (
    DATASET_BUSY,
    Error(409, "dataset_incompatible", "The dataset's rows could not stay as they are; `errors` names each field."),
    Error(422, "schema_invalid", "The Table Schema cannot be used; `errors` names each field."),
    Error(422, "mode_invalid", "The mode is none, or upsert without exactly one key."),
    Error(422, "name_invalid", f"A dataset's name has 1 to {MAX_IDENTIFIER_BYTES} printable bytes."),
)
MODE: Final[Schema] = {"type": "string", "enum": list(MODES)}
LIMIT: Final = Parameter(
    {"type": "integer", "minimum": 1, "maximum": 5000, "default": 100},
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
        "properties": {**_FIELDS, "mode": {**MODE, "default": "insert", "description": "What uploads do by default."}},
        "required": ["fields"],
        "additionalProperties": True,
        "description": "A Frictionless Table Schema, and the mode.",
    },
    "Dataset": shown(
        {
            "name": TEXT,
            "version": {**COUNT, "description": "Grows with each change of the columns."},
            "mode": MODE,
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

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/datasets",
        "list_datasets",
        _TAG,
        "All datasets, by name",
        {200: Answer("A page.", ref("DatasetPage"), ("Link",))},
        query=PAGED,
    ),
    Operation(
        "PUT",
        "/v1/datasets/{name}",
        "put_dataset",
        _TAG,
        "Make a dataset, or change it",
        {200: Answer("It is there, changed or as it was.", ref("Dataset")), 201: Answer("It is new.", ref("Dataset"))},
        "One that is empty takes any schema, one that holds rows a wider one. Repeating the request changes nothing.",
        body=Body(ref("DatasetDefinition"), _EXAMPLE, codes={".": "schema_invalid", "mode": "mode_invalid"}),
        errors=DATASET_ERRORS,
    ),
    Operation(
        "GET",
        "/v1/datasets/{name}",
        "get_dataset",
        _TAG,
        "A dataset",
        {200: Answer("The dataset.", ref("Dataset"))},
        errors=(DATASET_NOT_FOUND,),
    ),
    Operation(
        "GET",
        "/v1/datasets/{name}/rows",
        "list_rows",
        _TAG,
        "Loaded rows, in the order of their files",
        {200: Answer("A page.", ref("RowPage"), ("Link",))},
        query=PAGED | {"upload": Parameter(TEXT, "Only the rows of this upload.")},
        errors=(DATASET_NOT_FOUND, UPLOAD_NOT_FOUND),
    ),
)
