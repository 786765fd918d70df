"""The contract of templates of datasets, and of the pictures of rows."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.datasets import DATASET_BUSY, DATASET_NOT_FOUND, ROW_NOT_FOUND
from chalicelib.contract.words import (
    COUNT,
    MOMENT,
    TEXT,
    Answer,
    Body,
    Error,
    Operation,
    Schema,
    closed,
    page_of,
    ref,
    shown,
)
from chalicelib.images import KINDS, MAX_BYTES

_TAG: Final = "Datasets"
_PICTURE: Final = "/v1/datasets/{name}/rows/{key}/picture"
_ID: Final[Schema] = {"type": "string", "pattern": "^pic_[0-9A-Z]{26}$", "title": "the id of a picture"}
_ROW: Final = (
    DATASET_NOT_FOUND,
    DATASET_BUSY,
    ROW_NOT_FOUND,
    Error(409, "dataset_pictureless", "Only rows that are told by a number (`identity`) have pictures."),
)
PICTURE_INVALID: Final = Error(422, "picture_invalid", "The bytes are not those of the type, or too many.")

SCHEMAS: Final[dict[str, Schema]] = {
    "Template": shown({"name": TEXT, "title": TEXT, "description": TEXT}),
    "Templates": page_of("Template"),
    "NewPicture": closed(
        {
            "content_type": {"type": "string", "enum": list(KINDS)},
            "size": {"type": "integer", "minimum": 1, "maximum": MAX_BYTES},
        },
        "content_type",
        "size",
    ),
    "AwaitedPicture": shown({"id": _ID, "upload": ref("Form")}),
    "SentPicture": closed({"id": _ID}, "id"),
    "Picture": shown(
        {
            "id": _ID,
            "content_type": {"type": "string", "enum": list(KINDS)},
            "size": COUNT,
            "url": {"type": "string", "description": "Fetch it without the token, within a quarter of an hour."},
            "expires_at": MOMENT,
        }
    ),
}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/templates",
        "list_templates",
        _TAG,
        "Datasets that come with Rowmill",
        {200: Answer("All of them.", ref("Templates"))},
    ),
    Operation(
        "GET",
        "/v1/templates/{template}",
        "get_template",
        _TAG,
        "A dataset's definition, to be put as it is or changed first",
        {200: Answer("The body of a PUT.", ref("DatasetDefinition"))},
        errors=(Error(404, "template_not_found", "There is no such template."),),
    ),
    Operation(
        "POST",
        _PICTURE,
        "create_picture",
        _TAG,
        "Leave to send a picture of a row",
        {201: Answer("A form for exactly this size and type; name it when it is sent.", ref("AwaitedPicture"))},
        body=Body(
            ref("NewPicture"),
            {"content_type": "image/png", "size": 4096},
            codes={"size": "picture_invalid", "content_type": "picture_invalid"},
        ),
        errors=_ROW,
    ),
    Operation(
        "PUT",
        _PICTURE,
        "put_picture",
        _TAG,
        "Have a row show a picture that was sent",
        {200: Answer("The picture.", ref("Picture"))},
        "Its first bytes are looked at. The picture that the row had is deleted.",
        body=Body(ref("SentPicture"), {"id": "pic_01M80FHFV747N9CXY8YY64K210"}),
        errors=(
            *_ROW,
            PICTURE_INVALID,
            Error(404, "picture_not_found", "The row awaits no picture of this id."),
            Error(409, "picture_missing", "The picture has not been sent."),
        ),
    ),
    Operation(
        "GET",
        _PICTURE,
        "get_picture",
        _TAG,
        "A row's picture",
        {200: Answer("The picture.", ref("Picture"))},
        errors=(*_ROW, Error(404, "picture_not_found", "The row has no picture.")),
    ),
    Operation(
        "DELETE",
        _PICTURE,
        "delete_picture",
        _TAG,
        "Delete a row's picture",
        {204: Answer("It is gone, or there was none.")},
        errors=_ROW,
    ),
)
