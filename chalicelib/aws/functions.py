"""Calling another of our functions, and waiting for its answer or not. Permission: lambda:InvokeFunction on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.aws import client
from chalicelib.errors import Unavailable


def call(function: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """The function's JSON answer. Raises Unavailable if it crashed or timed out."""
    answer = client("lambda", works=True).invoke(FunctionName=function, Payload=json.dumps(event).encode())
    payload = answer["Payload"].read()
    if answer.get("FunctionError"):
        raise Unavailable("function_failed", "A part of the service failed; try again.")
    result: dict[str, Any] = json.loads(payload)
    return result


def start(function: str, event: Mapping[str, Any]) -> None:
    """Have the function run by itself; Lambda tries twice more if it fails."""
    client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode())
