"""Answers held to the contract: nothing that is not documented may be said, by status, header, code or member.

The published schemas let later versions add members; here none may be there that is not in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker

from chalicelib.contract import OPERATIONS, Operation, document
from chalicelib.contract.table import HEADERS

DEPLOYED = re.compile(r"(?:/restapis/[^/]+)?/api(?:/_user_request_)?(/.*)")  # a path of the API, as a cloud has it


def answer(method: str, path: str, status: int, headers: Mapping[str, str], body: str | bytes) -> None:
    """Fail unless the contract has this answer to a request. What no route takes is not ours to hold."""
    # A slash at the end is the gateway's to take away.
    operation = _asked(method, path.partition("?")[0].rstrip("/") or "/")
    if operation is not None:
        faults = list(_faults(operation, status, {k.lower(): v for k, v in headers.items()}, body))
        assert not faults, f"{method} {path} answered {status}, which the contract has otherwise: {faults}"


def response(found: httpx.Response) -> None:
    """The same, as httpx saw it."""
    deployed = DEPLOYED.fullmatch(found.request.url.raw_path.decode())
    if deployed:
        found.read()
        answer(found.request.method, deployed[1], found.status_code, found.headers, found.content)


def _asked(method: str, path: str) -> Operation | None:
    fitting = [one for one in OPERATIONS.values() if one.method == method and _pattern(one.path)(path)]
    return min(fitting, key=lambda one: one.path.count("{"), default=None)


@cache
def _pattern(path: str) -> Any:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))).fullmatch


def _faults(operation: Operation, status: int, headers: Mapping[str, str], body: str | bytes) -> Iterator[str]:
    said = _document()["paths"][operation.path][operation.method.lower()]["responses"].get(str(status))
    if said is None:
        yield "the status is not documented"
        return
    declared = {name.lower() for name in said.get("headers", {})}
    yield from (f"the header {name} is not documented" for name in HEADERS if name.lower() in headers.keys() - declared)
    content = said.get("content", {})
    media = headers.get("content-type", "").partition(";")[0]
    if not content:
        yield from ["a body is not documented"] if body else []
    elif media not in content:
        yield f"the content type {media} is not documented"
    elif media.endswith("json"):
        yield from _wrong(content[media]["schema"], json.loads(body))
    if status >= 400:
        yield from _missing(operation, status, headers, json.loads(body).get("code"))


def _missing(operation: Operation, status: int, headers: Mapping[str, str], code: str) -> Iterator[str]:
    for error in operation.problems():
        if (error.status, error.code) == (status, code):
            yield from (f"{name} is missing" for name in error.headers if name.lower() not in headers)


def _wrong(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    whole = {**schema, "components": _document()["components"]}
    for error in Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value):
        yield f"{error.json_path}: {error.message[:200]}"


@cache
def _document() -> dict[str, Any]:
    closed: dict[str, Any] = _closed(json.loads(document.text()))
    return closed


def _closed(schema: Any) -> Any:
    """Objects take no members but their own; one that only adds to another (`$ref`) leaves that to the other."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: _closed(one) for name, one in schema.items()}
    is_open = isinstance(schema.get("properties"), dict) and "type" in schema and "$ref" not in schema
    return {"additionalProperties": False} | inner if is_open else inner
