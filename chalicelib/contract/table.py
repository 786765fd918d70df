"""Every operation by its method and path, and every schema by its name. A new area is a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.contract import (
    accounts,
    aliases,
    control,
    datasets,
    options,
    receipts,
    rejects,
    service,
    sharing,
    templates,
    uploads,
    webhooks,
)
from chalicelib.contract.words import Operation, Parameter, Schema, listed, shown

_AREAS: Final = (
    *(accounts, datasets, sharing, templates, uploads, control, rejects, receipts),
    *(webhooks, aliases, service),
)
_ERROR: Final = shown(
    {
        "code": {"type": "string"},
        "column": {"type": ["string", "null"], "description": "The place: `options.mode`, a field's name, `limit`."},
        "detail": {"type": "string"},
        "row": {"type": "integer"},
        "suggestion": {"type": "object", "additionalProperties": True},
    },
    "column",
    "row",
    "suggestion",
)
SCHEMAS: Final[Mapping[str, Schema]] = {
    "Problem": shown(
        {
            "type": {"type": "string", "description": "`urn:rowmill:problem:` and the code."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "Stable: what a program should look at."},
            "detail": {"type": "string", "description": "For people; may change."},
            "errors": listed(_ERROR),
            "instance": {"type": "string", "description": "`urn:request:` and the id that log lines carry."},
        },
        "errors",
        "instance",
        description="RFC 9457.",
    ),
    **options.SCHEMAS,
    **{name: schema for area in _AREAS for name, schema in area.SCHEMAS.items()},
}
OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    (one.method, one.path): one for area in _AREAS for one in area.OPERATIONS
}
PATH: Final[Mapping[str, Parameter]] = {
    "name": Parameter({"type": "string", "minLength": 1}, "A dataset's name, or its id, percent-encoded."),
    "upload_id": Parameter(
        {"type": "string", "minLength": 1, "examples": ["upl_01M80FHFV747N9CXY8YY64K210"]}, "An upload."
    ),
    "key": Parameter({"type": "string", "minLength": 1}, "The row's key, as `Location` has it; values between commas."),
    "key_id": Parameter({"type": "string", "minLength": 1}, "An API key's id."),
    "webhook_id": Parameter({"type": "string", "minLength": 1}, "A webhook."),
    "username": Parameter({"type": "string", "minLength": 1}, "An account's name, escaped as a row's key is."),
    "template": Parameter({"type": "string", "minLength": 1}, "A template's name."),
    "book_id": Parameter({"type": "integer", "minimum": 1}, "A book's number."),
    "asset": Parameter({"type": "string", "minLength": 1}, "A file of the page, as its index names it."),
    "n": Parameter({"type": "integer", "minimum": 1}, "The record's place in the file, from 1."),
}
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "How long it may be kept.",
    "Content-Security-Policy": "What it may run and fetch: nothing from elsewhere.",
    "ETag": "The answer's version, for If-None-Match.",
    "Link": 'The next page: `<?…>; rel="next"`. Not there on the last one.',
    "Location": "Where the new resource is, as seen from the request's own address (RFC 9110).",
    "RateLimit": 'What is left of the minute\'s requests, and seconds until the next: `"minute";r=59998;t=31`.',
    "RateLimit-Policy": 'Requests a minute that the tenant has: `"minute";q=60000;w=60`.',
    "Retry-After": "Seconds until it is worth asking again.",
    "Set-Cookie": "The session's tokens for a page of the same host, or that they are to be forgotten.",
    "WWW-Authenticate": "How to authenticate.",
}
