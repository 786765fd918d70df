"""The contract of the book API that Rowmill takes the place of: its paths, names and statuses."""

from __future__ import annotations

from typing import Any, Final

from chalicelib.contract.accounts import KEPT, LOGIN_ERRORS, PASSWORD, SIGNUP_ERRORS, SIGNUP_KEY, USERNAME
from chalicelib.contract.datasets import DATASET_BUSY, DATASET_ERRORS, PAGED, ROW_REFERENCED, ROW_TOO_LARGE
from chalicelib.contract.templates import PICTURE_INVALID
from chalicelib.contract.uploads import ADMISSION
from chalicelib.contract.words import (
    COUNT,
    IDEMPOTENCY_KEY,
    JSON,
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
    ref,
    shown,
)
from chalicelib.forms import MULTIPART, URLENCODED

_TAG: Final = "Books"
_FORMS: Final = (JSON, URLENCODED)
_SLASH: Final = "With a slash at the end or without."
_FILE: Final[Schema] = {"type": "string", "format": "binary"}
_PERSON: Final = {"username": "testuser", "password": "testpass123"}
_BOOK: Final[dict[str, Schema]] = {
    "id": {"type": "integer", "minimum": 1},
    "title": TEXT,
    "author": TEXT,
    "description": {"type": ["string", "null"]},
    "picture": {"type": ["string", "null"], "description": "The picture's id."},
    "picture_url": {"type": ["string", "null"], "description": "Good for a quarter of an hour, without the token."},
}
_FIELDS: Final[dict[str, Schema]] = {"title": TEXT, "author": TEXT, "description": TEXT, "picture": _FILE}
_COUNTS: Final = dict.fromkeys(("pending", "processing", "success", "failed"), COUNT)
_TASK: Final[dict[str, Schema]] = {
    "task_id": TEXT,
    "status": {"type": "string", "enum": list(_COUNTS)},
    "title": {"type": ["string", "null"]},
    "author": {"type": ["string", "null"]},
    "error_message": {"type": ["string", "null"]},
    "created_at": MOMENT,
    "completed_at": nullable(MOMENT),
}

SCHEMAS: Final[dict[str, Schema]] = {
    "BookNewAccount": closed(
        {
            "username": USERNAME,
            "password": PASSWORD,
            "email": {
                "type": "string",
                "maxLength": 254,
                "pattern": r"^[^\s@]+@[^\s@]+$",
                "title": "an e-mail address",
            },
        },
        "username",
        "password",
    ),
    "BookSession": shown(
        {
            "success": {"enum": [True]},
            "access": {"type": "string", "description": "A JWT: `Authorization: Bearer …`."},
            "refresh": TEXT,
            "user_id": TEXT,
            "username": TEXT,
        }
    ),
    "Book": shown(_BOOK),
    "Books": listed(ref("Book")),
    "NewBook": closed(_FIELDS, "title", "author"),
    "ChangedBook": closed(_FIELDS),
    "NewBatch": closed({"file": _FILE}, "file"),
    "Batch": shown(
        {
            "batch_id": TEXT,
            "task_ids": listed(TEXT, description="`{batch_id}.{n}` for the n-th record; the first 10,000."),
            "total_rows": {
                **nullable(COUNT),
                "description": "Null of a file that has to be unpacked or decoded first.",
            },
        }
    ),
    "Task": shown(_TASK),
    "BatchStatus": shown({"batch_id": TEXT, "total": nullable(COUNT), **_COUNTS, "tasks": listed(ref("Task"))}),
}

_UNFIT: Final = Error(409, "books_unfit", "The tenant's dataset `books` is not one of books.")
_NO_BOOK: Final = Error(404, "row_not_found", "There is no such book, or it is another's.")
_PICTURE: Final = (
    PICTURE_INVALID,
    Error(404, "picture_not_found", "Somebody has deleted the picture at this moment."),
    Error(409, "picture_missing", "The storage has lost the picture at this moment."),
)
_WRITTEN: Final = (DATASET_BUSY, _UNFIT, Error(422, "row_invalid", "`errors` names each field that is wrong."))
_MADE: Final = tuple(one for one in DATASET_ERRORS if one.status == 409)
_COLUMNS: Final = (
    *("columns_missing", "columns_unknown", "columns_repeated", "columns_unnamed", "columns_too_many"),
    *("column_name_too_long", "file_empty", "header_missing", "header_too_long", "header_invalid"),
    *("encoding_unsupported", "file_type_unsupported", "record_too_large", "records_unreadable", "mapping_invalid"),
)


def _door(method: str, path: str, name: str, summary: str, answers: Any, **more: Any) -> Operation:
    return Operation(method, path, name, _TAG, summary, answers, _SLASH, unfit=400, **more)


OPERATIONS: Final = (
    _door(
        "POST",
        "/signup",
        "book_signup",
        "An account in a tenant of its own",
        {201: Answer("It is made, and logged in.", ref("BookSession"), KEPT)},
        body=Body(
            ref("BookNewAccount"),
            {**_PERSON, "email": "test@example.com"},
            codes={"username": "username_invalid", "password": "password_invalid"},
            media=_FORMS,
        ),
        headers={"Idempotency-Key": SIGNUP_KEY},
        errors=SIGNUP_ERRORS,
        is_open=True,
    ),
    _door(
        "POST",
        "/login",
        "book_login",
        "A session of an account",
        {200: Answer("It is logged in.", ref("BookSession"), KEPT)},
        body=Body(ref("Credentials"), _PERSON, media=_FORMS),
        errors=LOGIN_ERRORS,
        is_open=True,
    ),
    _door(
        "GET",
        "/books",
        "list_books",
        "All books, the oldest first",
        {200: Answer("A list; Link leads on where a page does not hold all of them.", ref("Books"), ("Link",))},
        query=PAGED,
        errors=(DATASET_BUSY, _UNFIT, ROW_TOO_LARGE),
    ),
    _door(
        "POST",
        "/books",
        "create_book",
        "Make a book",
        {201: Answer("The book.", ref("Book"), ("Location",))},
        body=Body(
            ref("NewBook"),
            {"title": "1984", "author": "George Orwell", "description": "A dystopian novel", "picture": "cover.png"},
            media=(MULTIPART, *_FORMS),
            files=("picture",),
        ),
        errors=(*_WRITTEN, *_MADE, *_PICTURE, _NO_BOOK, ROW_TOO_LARGE),
    ),
    _door(
        "GET",
        "/books/{book_id}",
        "get_book",
        "A book",
        {200: Answer("The book.", ref("Book"))},
        errors=(DATASET_BUSY, _UNFIT, _NO_BOOK, ROW_TOO_LARGE),
    ),
    _door(
        "POST",
        "/books/{book_id}/edit",
        "edit_book",
        "Change fields of a book",
        {200: Answer("The book as it is now.", ref("Book"))},
        body=Body(
            ref("ChangedBook"),
            {"title": "The Great Gatsby (Updated)"},
            media=(MULTIPART, *_FORMS),
            files=("picture",),
        ),
        errors=(*_WRITTEN, *_PICTURE, _NO_BOOK, ROW_TOO_LARGE),
    ),
    _door(
        "POST",
        "/books/{book_id}/delete",
        "delete_book",
        "Delete a book and its picture",
        {204: Answer("It is gone.")},
        errors=(DATASET_BUSY, _UNFIT, _NO_BOOK, ROW_REFERENCED),
    ),
    _door(
        "POST",
        "/bulk-upload",
        "bulk_upload",
        "Load a file of books",
        {202: Answer("It is stored, and will be loaded as any upload.", ref("Batch"), ("Location",))},
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        body=Body(ref("NewBatch"), {"file": "test_books.csv"}, media=(MULTIPART, "text/csv"), files=("file",)),
        errors=(
            _UNFIT,
            *_MADE,
            *(Error(422, code, "The file cannot be books: its first lines say so.") for code in _COLUMNS),
            *ADMISSION,
        ),
    ),
    _door(
        "GET",
        "/task-status",
        "task_status",
        "What became of one record",
        {200: Answer("The task.", ref("Task"))},
        query={"task_id": Parameter(TEXT, "`{batch_id}.{n}`.", is_required=True)},
        errors=(Error(404, "task_not_found", "There is no such task, or it is another's."),),
    ),
    _door(
        "GET",
        "/batch-status",
        "batch_status",
        "What became of a file's records",
        {200: Answer("Counts of all, and a page of tasks; Link leads on.", ref("BatchStatus"), ("Link",))},
        query={"batch_id": Parameter(TEXT, "An upload.", is_required=True), **PAGED},
        errors=(Error(404, "upload_not_found", "There is no such batch, or it is another's."),),
    ),
)
