"""The contract as an OpenAPI 3.1 document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from chalicelib.contract.table import HEADERS, OPERATIONS, PATH, SCHEMAS
from chalicelib.contract.words import JSON, LIMITS, PROBLEM, Answer, Body, Error, Operation, Parameter, ref
from chalicelib.forms import MULTIPART, URLENCODED

ABOUT: Final = (
    "Hand Rowmill a CSV file; every good row ends up in a typed Postgres table exactly once, every bad row comes back"
    " with its line and reason, and at any moment the status tells the truth."
)
_HEADER: Final = {"type": "string"}


@cache
def text() -> str:
    return json.dumps(document())


def document() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rowmill",
            "version": "1",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "..", "description": "Where this document lies, less /v1/openapi.json."}],
        "security": [{"bearer": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in OPERATIONS.values())],
        "paths": _paths(),
        "components": {
            "schemas": dict(SCHEMAS),
            "headers": dict(_headers(LIMITS)),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def path_parameters(operation: Operation) -> Iterator[str]:
    """The names in an operation's path."""
    for part in operation.path.split("/"):
        if part.startswith("{"):
            yield part[1:-1]


def by_status(operation: Operation) -> dict[int, list[Error]]:
    """What an operation refuses, by status."""
    found: dict[int, list[Error]] = {}
    for error in sorted(operation.problems(), key=lambda one: one.status):
        found.setdefault(error.status, []).append(error)
    return found


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in OPERATIONS.values():
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return paths


def _operation(operation: Operation) -> dict[str, Any]:
    parameters = [
        *(_parameter(name, "path", PATH[name]) for name in path_parameters(operation)),
        *(_parameter(name, "query", one) for name, one in operation.query.items()),
        *(_parameter(name, "header", one) for name, one in operation.headers.items()),
        *([_further(operation.further)] if operation.further else []),
    ]
    said = {"operationId": operation.name, "tags": [operation.tag], "summary": operation.summary}
    return {
        **said,
        **({"description": operation.about} if operation.about else {}),
        **({"security": []} if operation.is_open else {"x-role": operation.needs}),
        **({"parameters": parameters} if parameters else {}),
        **_body(operation),
        "responses": {
            **{str(status): _limited(operation, _answer(one)) for status, one in operation.answers.items()},
            **{str(status): _limited(operation, _problem(errors)) for status, errors in by_status(operation).items()},
        },
    }


def _parameter(name: str, where: str, one: Parameter) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path" or one.is_required,
        "description": one.about,
        "schema": one.schema,
    }


def _further(about: str) -> dict[str, Any]:
    """Query parameters of any other name, as OpenAPI spells that: the members of an object."""
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    return {"name": "further", "in": "query", "description": about, "style": "form", "explode": True, "schema": schema}


def _body(operation: Operation) -> dict[str, Any]:
    body = operation.body
    if body is None:
        return {}
    content = {media: _content(body, media) for media in body.media}
    return {"requestBody": {"required": body.required, "content": content}}


def _content(body: Body, media: str) -> dict[str, Any]:
    if media in (JSON, MULTIPART, URLENCODED):
        return {"schema": body.schema, "example": body.example}
    return {"schema": {"type": "string"}}


def _answer(one: Answer) -> dict[str, Any]:
    headers = {"headers": _headers(one.headers)} if one.headers else {}
    schema = one.schema if one.schema is not None else {"type": "string"} if one.media != JSON else None
    content = {"content": {media: {"schema": schema} for media in (one.media, *one.others)}} if schema else {}
    return {"description": one.about, **headers, **content}


def _problem(errors: list[Error]) -> dict[str, Any]:
    """All errors of one status: the codes that it may carry."""
    headers = dict.fromkeys(name for error in errors for name in error.headers)
    codes = {"type": "string", "enum": [error.code for error in errors]}
    return {
        "description": "\n".join(f"- `{error.code}`: {error.when}" for error in errors),
        **({"headers": _headers(headers)} if headers else {}),
        "content": {PROBLEM: {"schema": {**ref("Problem"), "properties": {"code": codes}}}},
    }


def _limited(operation: Operation, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer with what every one says of the tenant's limits, unless it may be for nobody."""
    if operation.is_open:
        return answer
    limits = {name: {"$ref": f"#/components/headers/{name}"} for name in LIMITS}
    return answer | {"headers": answer.get("headers", {}) | limits}


def _headers(names: Iterable[str]) -> Mapping[str, Any]:
    return {name: {"description": HEADERS[name], "schema": _HEADER} for name in names}
