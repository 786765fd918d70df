"""The contract of sharing: who else may do what in a dataset."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import DATASET_NOT_FOUND, PAGED
from chalicelib.contract.words import (
    IF_NONE_MATCH,
    MOMENT,
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Schema,
    closed,
    page_of,
    paged,
    ref,
    shown,
)
from chalicelib.roles import GRANTED

_TAG: Final = "Datasets"
_ROLE: Final[Schema] = {"type": "string", "enum": list(GRANTED), "title": "reader or writer"}
_USER_NOT_FOUND: Final = Error(404, "user_not_found", "There is no account of this name.")
_GRANT_NOT_FOUND: Final = Error(404, "grant_not_found", "The account has no role in the dataset.")

SCHEMAS: Final[dict[str, Schema]] = {
    "NewGrant": closed({"role": _ROLE}, "role", description="A reader sees rows; a writer also writes and uploads."),
    "Grant": shown({"username": TEXT, "role": _ROLE, "granted_at": MOMENT}),
    "Grants": page_of("Grant"),
}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/datasets/{name}/grants",
        "list_grants",
        _TAG,
        "Who may do what in a dataset",
        paged("Grants"),
        headers={"If-None-Match": IF_NONE_MATCH},
        query=PAGED,
        errors=(DATASET_NOT_FOUND,),
        role="owner",
    ),
    Operation(
        "PUT",
        "/v1/datasets/{name}/grants/{username}",
        "put_grant",
        _TAG,
        "Let an account read a dataset, or write to it",
        {
            200: Answer("It has this role now.", ref("Grant"), ("ETag",)),
            201: Answer("It had none before.", ref("Grant"), ("ETag",)),
        },
        "It calls the dataset by its id. A writer that becomes a reader has its uploads under way canceled.",
        body=Body(ref("NewGrant"), {"role": "reader"}, codes={"role": "grant_invalid"}),
        errors=(
            DATASET_NOT_FOUND,
            _USER_NOT_FOUND,
            _GRANT_NOT_FOUND,
            Error(422, "grant_invalid", "The role is none, or the dataset is the account's own."),
        ),
        role="owner",
        lasts=True,
    ),
    Operation(
        "DELETE",
        "/v1/datasets/{name}/grants/{username}",
        "delete_grant",
        _TAG,
        "An account has no role in a dataset any more",
        {204: Answer("It is gone; what the account was loading is canceled.")},
        errors=(DATASET_NOT_FOUND, _USER_NOT_FOUND, _GRANT_NOT_FOUND),
        role="owner",
    ),
)
