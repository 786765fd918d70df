"""The contract of what anybody may ask: whether the service answers, and what else it may be asked."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.words import (
    ANYTHING,
    COUNT,
    IF_NONE_MATCH,
    MOMENT,
    Answer,
    Error,
    Operation,
    Schema,
    ref,
    shown,
    unchanged,
)

_SERVICE: Final = "Service"
_KEPT: Final = ("ETag", "Cache-Control")

_USE: Final = shown(
    {
        "limit": COUNT,
        "window_s": {**COUNT, "description": "Windows are those of the clock, in UTC."},
        "used": COUNT,
        "remaining": COUNT,
        "resets_at": MOMENT,
    }
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Quota": shown({"requests": _USE, "files": _USE, "bytes": _USE}, description="Of the tenant."),
}

OPERATIONS: Final = (
    Operation(
        "GET",
        "/healthz",
        "healthz",
        _SERVICE,
        "Whether the API answers",
        {200: Answer("It does.", shown({"status": {"enum": ["ok"]}}))},
        is_open=True,
    ),
    Operation(
        "GET",
        "/v1/quota",
        "get_quota",
        _SERVICE,
        "What the tenant may still ask for",
        {200: Answer("Requests as far as the API's processes have told each other of them.", ref("Quota"))},
    ),
    Operation(
        "GET",
        "/v1/openapi.json",
        "openapi",
        _SERVICE,
        "This contract as an OpenAPI 3.1 document",
        {
            200: Answer("The document.", ANYTHING, _KEPT),
            304: unchanged("Cache-Control"),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        is_open=True,
    ),
    Operation(
        "GET",
        "/docs",
        "docs",
        _SERVICE,
        "This contract as a page",
        {
            200: Answer("HTML without scripts.", None, (*_KEPT, "Content-Security-Policy"), "text/html"),
            304: unchanged("Cache-Control", "Content-Security-Policy"),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        is_open=True,
    ),
    Operation(
        "GET",
        "/",
        "page",
        _SERVICE,
        "The page for people",
        {
            200: Answer(
                "HTML; without a build of it, how to get one.", None, (*_KEPT, "Content-Security-Policy"), "text/html"
            ),
            304: unchanged("Cache-Control", "Content-Security-Policy"),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        is_open=True,
    ),
    Operation(
        "GET",
        "/assets/{asset}",
        "asset",
        _SERVICE,
        "A file of the page",
        {
            200: Answer("Its text.", None, _KEPT, "text/javascript", ("text/css", "image/svg+xml")),
            304: unchanged("Cache-Control"),
        },
        headers={"If-None-Match": IF_NONE_MATCH},
        errors=(Error(404, "asset_not_found", "The page has no such file."),),
        is_open=True,
    ),
)
