"""The contract of receipts: what an upload came to, sealed, and whether file and table are still so."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import PAGED, UPLOAD_NOT_FOUND
from chalicelib.contract.uploads import CONFLICT, FILES_EXPIRED, ONE
from chalicelib.contract.words import (
    ANYTHING,
    COUNT,
    IF_NONE_MATCH,
    MOMENT,
    TEXT,
    Answer,
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
from chalicelib.journey import COUNTS, STATUS, UNDONE

_TAG: Final = "Receipts"
_HASH: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "In hexadecimal digits."}
_MAYBE: Final[Schema] = {"type": ["string", "null"]}
_STATE: Final[Schema] = {"type": "string", "enum": list(STATUS)}
_NUMBER: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_UNDONE: Final[Schema] = {
    **nullable(shown({**dict.fromkeys(UNDONE, COUNT), "forced": {"type": "boolean"}})),
    "description": "What undoing it came to: rows removed, restored and left; null if nobody has undone it.",
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Receipt": shown(
        {
            "format": COUNT,
            "upload_id": TEXT,
            "n": {**_NUMBER, "description": "Which of the upload's receipts, from 1."},
            "generation": _NUMBER,
            "state": _STATE,
            "ended_at": MOMENT,
            "issued_at": MOMENT,
            "supersedes": {
                **nullable(shown({"n": _NUMBER, "sha256": _HASH})),
                "description": "The receipt before it, and the SHA-256 of its JWS.",
            },
            "file": shown(
                {
                    "name": _MAYBE,
                    "size": COUNT,
                    "sha256": {**nullable(_HASH), "description": "Null if `reason` says why."},
                    "reason": _MAYBE,
                    "version_id": _MAYBE,
                    "etag": TEXT,
                }
            ),
            "text": {
                **nullable(shown({"size": COUNT})),
                "description": "The UTF-8 CSV that was made of the file, if chunks are ranges of that.",
            },
            "dialect": {"type": ["object", "null"], "additionalProperties": True},
            "dataset": shown({"id": _MAYBE, "name": _MAYBE, "version": nullable(COUNT)}),
            "mode": TEXT,
            "records": nullable(COUNT),
            "counts": shown(dict.fromkeys(COUNTS, COUNT), description="Their sum is `records`."),
            "settled": {
                "type": ["object", "null"],
                "additionalProperties": {"type": "integer"},
                "description": "What settling corrected of the chunks' counts; with it they add up to `counts`.",
            },
            "undone": _UNDONE,
            "table": {
                **nullable(
                    shown(
                        {
                            "fields": listed(TEXT),
                            "read_from": MOMENT,
                            "read_until": MOMENT,
                            "rows": COUNT,
                            "digest": _HASH,
                            "changed_by_hand": {**COUNT, "description": "Rows changed or deleted before it was read."},
                        }
                    )
                ),
                "description": "What the table held of the upload; null if there was none to hold anything.",
            },
            "chunks": shown(
                {
                    "total": COUNT,
                    "sha256": {**_HASH, "description": "Of the items, each a line of JSON."},
                    "columns": listed(TEXT),
                    "items": {"type": ["array", "null"], "description": "Null if there are more than 8,000."},
                }
            ),
        },
        description="What an upload came to. Read from the payload of `jws`, which is what is signed.",
    ),
    "SealedReceipt": shown(
        {
            "receipt": ref("Receipt"),
            "jws": {"type": "string", "description": "RFC 7515, compact, EdDSA; `kid` names the key."},
        }
    ),
    "StoredText": shown(
        {"url": TEXT, "expires_at": MOMENT, "size": COUNT}, description="Fetch it without the token, within an hour."
    ),
    "ReceiptLink": shown(
        {"n": _NUMBER, "generation": _NUMBER, "state": _STATE, "issued_at": MOMENT, "sha256": _HASH},
        description="A receipt of the chain, and the SHA-256 of its JWS.",
    ),
    "ReceiptPage": page_of("ReceiptLink"),
    "ReceiptKeys": shown(
        {"keys": listed(ANYTHING)}, description="A JSON Web Key Set (RFC 7517); the first is the one that signs now."
    ),
    "Verification": shown(
        {
            "upload_id": TEXT,
            "state": {"type": "string", "enum": ["pending", "running", "completed"]},
            "asked_at": MOMENT,
            "finished_at": nullable(MOMENT),
            "chunks_done": COUNT,
            "chunks_total": COUNT,
            "receipt": nullable(shown({"n": _NUMBER, "sha256": _HASH})),
            "result": {
                "type": ["string", "null"],
                "enum": ["match", "differs", "source_gone", None],
                "description": "Null until it is completed; source_gone: the file is kept no longer, all else matches.",
            },
            "ledger": {"type": ["string", "null"], "enum": ["match", "differs", None]},
            "source": {"type": ["string", "null"], "enum": ["match", "changed", "gone", None]},
            "table": {"type": ["string", "null"], "enum": ["match", "differs", "gone", None]},
            "rows": nullable(
                shown(
                    {
                        "expected": COUNT,
                        "found": COUNT,
                        "missing": COUNT,
                        "edited": {**nullable(COUNT), "description": "With other values; null if that is not known."},
                        "changed_by_hand": {**nullable(COUNT), "description": "Changed or deleted through the API."},
                    }
                )
            ),
            "undone": _UNDONE,
            "chunks_differing": nullable(COUNT),
            "chunks": listed(
                shown(
                    {
                        "n": COUNT,
                        "first_record": COUNT,
                        "records": COUNT,
                        "source": _MAYBE,
                        "table": _MAYBE,
                        **dict.fromkeys(("expected", "found", "missing", "edited"), nullable(COUNT)),
                    }
                ),
                description="Those that differ, the first hundred.",
            ),
        },
        description="File and table of an upload, held against its newest receipt.",
    ),
}

_NONE: Final = Error(
    404, "receipt_not_found", "There is none: the upload ended without a file, or has no such receipt."
)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/.well-known/rowmill-receipt-keys.json",
        "receipt_keys",
        _TAG,
        "The public keys of receipts",
        {
            200: Answer("All that ever signed.", ref("ReceiptKeys"), ("ETag", "Cache-Control")),
            304: unchanged("Cache-Control"),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        is_open=True,
    ),
    Operation(
        "GET",
        ONE + "/receipt",
        "get_receipt",
        _TAG,
        "What an upload came to, sealed",
        {
            200: Answer("The receipt, and the signature that it is read from.", ref("SealedReceipt"), ("ETag",)),
            202: Answer("It is being made; ask again.", ref("Processing"), ("Retry-After",)),
            304: unchanged(),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        query={"n": Parameter(_NUMBER, "Which of the chain; the newest without it.")},
        errors=(UPLOAD_NOT_FOUND, CONFLICT, _NONE),
    ),
    Operation(
        "GET",
        ONE + "/receipts",
        "list_receipts",
        _TAG,
        "The receipts of an upload, the first first",
        paged("ReceiptPage", "A page; each supersedes the one before it."),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(UPLOAD_NOT_FOUND,),
    ),
    Operation(
        "GET",
        ONE + "/text",
        "get_text",
        _TAG,
        "The text that was made of an upload's file, or of rejects that were read again",
        {200: Answer("Where it is: the bytes that the receipt's chunks are ranges of.", ref("StoredText"))},
        errors=(
            UPLOAD_NOT_FOUND,
            Error(409, "text_not_made", "There is none: chunks are ranges of the file itself."),
            Error(
                409, "state_conflict", "The upload has not ended, or malware was found in it; `detail` names the state."
            ),
            FILES_EXPIRED,
        ),
    ),
    Operation(
        "POST",
        ONE + "/verify",
        "verify_upload",
        _TAG,
        "Have file and table compared with the receipt",
        {202: Answer("The comparison, which is under way.", ref("Verification"))},
        "May be repeated: while one is under way, there is no other.",
        errors=(UPLOAD_NOT_FOUND, CONFLICT, _NONE),
    ),
    Operation(
        "GET",
        ONE + "/verification",
        "get_verification",
        _TAG,
        "What the newest comparison found",
        {200: Answer("The comparison. Retry-After while it is under way.", ref("Verification"), ("Retry-After",))},
        errors=(UPLOAD_NOT_FOUND, Error(409, "not_verified", "Nobody has asked to have the upload verified.")),
    ),
)
