"""The contract of what is said of a file when it is announced: how it is written, and what is to become of it."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import MODE
from chalicelib.contract.words import (
    COUNT,
    Schema,
    closed,
    nullable,
    ref,
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
from chalicelib.journey import RETENTION

SHA256: Final[Schema] = {
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
FILE: Final[dict[str, Schema]] = {
    "filename": {"type": "string", "maxLength": 1024, "default": ""},
    "size": {**COUNT, "description": "Bytes of the file. The storage takes no other number."},
    "content_type": {
        "type": "string",
        "pattern": r"^[A-Za-z0-9_.+-]{1,100}/[A-Za-z0-9_.+-]{1,100}(; ?charset=[A-Za-z0-9_-]{1,40})?$",
        "title": "a media type such as text/csv",
        "default": "text/csv",
    },
    "checksum": {
        **nullable(SHA256),
        "title": "the file's SHA-256 in base64",
        "description": "The storage holds a form to it.",
    },
    "options": ref("Options"),
}
CODES: Final = {
    "options.mode": "mode_invalid",
    "options.dialect.": "dialect_invalid",
    "options.mapping": "mapping_invalid",
    "options.mapping.": "mapping_invalid",
    "options.notify": "notify_invalid",
    "options.notify.": "notify_invalid",
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Dialect": closed(_DIALECT, description="How the file is written. What is not declared is detected."),
    "Options": _OPTIONS,
}
