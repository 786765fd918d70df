"""The contract of what anybody may ask: whether the service answers, and what else it may be asked."""

from __future__ import annotations

from typing import Final

from chalicelib.contract.words import ANYTHING, IF_NONE_MATCH, Answer, Operation, Schema, shown, unchanged

_SERVICE: Final = "Service"
_KEPT: Final = ("ETag", "Cache-Control")

SCHEMAS: Final[dict[str, Schema]] = {}

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
)
