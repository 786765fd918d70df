"""The words a contract is written in: an operation, its parameters, body and answers, and what it may refuse.

Schemas are JSON Schema 2020-12, of the keywords in KEYWORDS alone: those mean the same to the validator of requests,
which knows older drafts, and to everybody who reads the document. `title` ends the sentence "it must be …".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from chalicelib.roles import Role

Schema = Mapping[str, Any]

KEYWORDS: Final = frozenset(
    {"type", "enum", "properties", "required", "additionalProperties", "items", "anyOf", "$ref"}
    | {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"}
    | {"title", "description", "default", "examples", "format"}
)
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Error:
    """A refusal: its status, its stable code, when it comes, and the headers that come with it."""

    status: int
    code: str
    when: str
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of the path, the query or the headers. `error` is what a header that is not so is refused as."""

    schema: Schema
    about: str
    error: Error | None = None
    is_required: bool = False  # of the query; a path's always are


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object, or a form read as one. `codes` names the errors of its parts where they are not `body_invalid`.

    By the place of what is wrong, `options.mode`, or of everything below a place, `options.dialect.`; `.` is all of it.
    """

    schema: Schema
    example: Mapping[str, Any]
    required: bool = True
    codes: Mapping[str, str] = field(default_factory=dict)
    media: tuple[str, ...] = (JSON,)  # that it may come as; forms as JSON objects of texts
    files: tuple[str, ...] = ()  # members that are files, and come in a multipart form alone


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered when all is well, by media type; a schema of None is no content, or no JSON."""

    about: str
    schema: Schema | None = None
    headers: tuple[str, ...] = ()
    media: str = JSON
    others: tuple[str, ...] = ()  # media types that it may be of, too


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One door: what it takes and what it answers. `errors` are its own; `problems` adds what every door has."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    about: str = ""
    query: Mapping[str, Parameter] = field(default_factory=dict)
    headers: Mapping[str, Parameter] = field(default_factory=dict)
    body: Body | None = None
    errors: Sequence[Error] = ()
    is_open: bool = False  # to those who have no token
    role: Role | None = None  # that it takes, where that is not a reader to look and a writer to change
    lasts: bool = False  # what it does is worth more than the rest of a token's half hour: its session must not be over
    unfit: int = 422  # the status of what is understood and refused
    further: str = ""  # what query parameters of other names mean, where the handler is to judge them

    @property
    def needs(self) -> Role:
        """The role that it takes, of an API key and in a dataset."""
        return self.role or ("reader" if self.method == "GET" else "writer")

    def problems(self) -> Iterator[Error]:
        """Everything it may refuse, each once."""
        own = [*self.errors, *(one.error for one in self.headers.values() if one.error)]
        body = (BODY_MALFORMED, CONTENT_TYPE_INVALID, BODY_INVALID) if self.body else ()
        coded = [Error(422, code, _MEANT.get(code, "")) for code in (self.body.codes.values() if self.body else ())]
        cursor = (CURSOR_INVALID,) if "cursor" in self.query else ()
        token = () if self.is_open else (TOKEN_INVALID, ISSUER_UNAVAILABLE, ACCOUNT_ERASED, REQUESTS_EXCEEDED)
        cookie = () if self.is_open or self.method == "GET" else (ORIGIN_FOREIGN,)
        role = () if self.is_open or self.needs == "reader" else (ROLE_FORBIDS,)
        path = (PATH_INVALID,) if self.method == "DELETE" else ()
        all_of_them = (*coded, *own, *path, *body, *cursor, *token, *cookie, *role, *EVERYWHERE)
        told = (replace(one, status=self.unfit) if one.status == 422 else one for one in all_of_them)
        yield from {(one.status, one.code): one for one in told}.values()


def ref(name: str) -> Schema:
    """The schema of this name among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: Mapping[str, Schema], *required: str, **more: Any) -> dict[str, Any]:
    """An object of a request: these members and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    } | more


def shown(properties: Mapping[str, Schema], *optional: str, **more: Any) -> dict[str, Any]:
    """An object of an answer: these members are there, all but the optional ones. Later versions may add others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties} | more


def listed(items: Schema, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items} | more


def unchanged(*headers: str) -> Answer:
    """304, with what a 200 would have had of these."""
    return Answer("It is as the client has it.", None, ("ETag", *headers))


def paged(name: str, about: str = "A page.") -> dict[int, Answer]:
    """What a listing answers."""
    return {200: Answer(about, ref(name), ("ETag", "Link")), 304: unchanged("Link")}


def nullable(schema: Schema) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, {"type": "null"}]}


def page_of(name: str) -> Schema:
    """A page of a listing."""
    cursor = {"type": ["string", "null"], "description": "Where the next page begins; null on the last one."}
    return shown({"items": listed(ref(name)), "next_cursor": cursor})


TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC."}
ANYTHING: Final[Schema] = {"type": "object", "additionalProperties": True}

BODY_MALFORMED: Final = Error(400, "body_invalid", "The body is not a JSON object: RFC 8259, 64 deep at most.")
BODY_INVALID: Final = Error(422, "body_invalid", "The body is not as its schema has it; `errors` names each place.")
CONTENT_TYPE_INVALID: Final = Error(415, "content_type_invalid", "The body is of a type that is not taken here.")
CURSOR_INVALID: Final = Error(400, "cursor_invalid", "The cursor is not one that this listing gave.")
TOKEN_INVALID: Final = Error(
    401, "token_invalid", "The Bearer token is missing, expired or not ours.", ("WWW-Authenticate",)
)
ISSUER_UNAVAILABLE: Final = Error(
    503, "issuer_unavailable", "The issuer of tokens, where there is one, does not tell its keys.", ("Retry-After",)
)
REQUESTS_EXCEEDED: Final = Error(
    429, "requests_exceeded", "The tenant has asked for as much as it may in this minute.", ("Retry-After",)
)
LIMITS: Final = ("RateLimit-Policy", "RateLimit")  # of every answer to somebody who is known
ORIGIN_FOREIGN: Final = Error(403, "origin_foreign", "It was asked by cookie, and not from a page of the same host.")
ROLE_FORBIDS: Final = Error(
    403, "role_forbids", "The API key's role, or the one in the dataset, is below what it takes."
)
ACCOUNT_ERASED: Final = Error(403, "account_erased", "The account was deleted; nothing new is taken of it.")
PATH_INVALID: Final = Error(400, "path_invalid", "The path ends with a slash, as one that led to `..` and was tidied.")
KEY_INVALID: Final = Error(400, "idempotency_key_invalid", "An Idempotency-Key has 1 to 255 visible ASCII characters.")
EVERYWHERE: Final = (
    Error(400, "query_invalid", "A query parameter is unknown, there twice, or not as its schema has it."),
    Error(413, "body_too_large", "The body has more than 4,000,000 bytes."),
    Error(414, "query_too_large", "The query's names and values have more than 8,192 bytes together."),
    Error(431, "headers_too_large", "The headers have more than 10,240 bytes together."),
    Error(431, "headers_too_many", "There are more than 100 headers."),
    Error(500, "internal", "A fault of ours; `instance` is what its log lines are found by."),
    Error(503, "unavailable", "A service behind this one does not answer.", ("Retry-After",)),
    Error(503, "database_unavailable", "The database does not answer.", ("Retry-After",)),
    Error(503, "database_unconfigured", "This deployment was given no database.", ("Retry-After",)),
    Error(503, "function_failed", "A function behind this one failed.", ("Retry-After",)),
)
_MEANT: Final[Mapping[str, str]] = {  # by a body's code, where the operation's own errors do not say it
    "picture_invalid": "The picture is of no type that is taken, or too large.",
    "mode_invalid": "The mode is none, or not one for this dataset.",
    "dialect_invalid": "The dialect cannot be, or its marks are not different.",
    "mapping_invalid": "The mapping names what is no field, or one twice.",
    "notify_invalid": "The address may not be written to, or the webhook is none of the tenant's.",
}

IDEMPOTENCY_KEY: Final = Parameter(
    {"type": "string", "pattern": "^[!-~]{1,255}$", "title": "1 to 255 visible ASCII characters"},
    "The same key with the same body answers what the first request made, for 24 hours; with another body 422.",
    KEY_INVALID,
)
IDEMPOTENCY_KEY_REUSED: Final = Error(
    422, "idempotency_key_reused", "This Idempotency-Key came with another body before."
)
REPEATED: Final = (
    Error(409, "idempotency_conflict", "A request with this Idempotency-Key is under way."),
    IDEMPOTENCY_KEY_REUSED,
)
IF_NONE_MATCH: Final = Parameter(TEXT, "ETags that the client has: 304 if one of them still holds (RFC 9110).")
IF_MATCH: Final = Parameter(TEXT, "The ETag that the change is meant for: 412 if it has another by now.")
CHANGED: Final = Error(412, "precondition_failed", "It has changed since; look at it again.")
CURSOR: Final = Parameter(TEXT, "`next_cursor` of the page before.")
