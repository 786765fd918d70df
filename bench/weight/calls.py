"""Each function's first call on an embedded cloud, and those after it."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3

from bench import embedded, kernel
from bench.embedded import start_anew, variables
from bench.load import meters
from bench.weight.imports import STARTS
from infra.local import instance


def measure(colds: int) -> dict[str, dict[str, float]]:
    """Each function's first call and those after it, and what its process takes of memory then."""
    with embedded.running() as here:
        functions = boto3.client("lambda")
        deployed = {name: variables(functions, name) for name in STARTS}
        taken: dict[str, dict[str, list[float]]] = {name: {"cold": [], "warm": []} for name in STARTS}
        for _ in range(colds):
            for name, one in taken.items():
                start_anew(functions, name, deployed[name])
                call = _call(here, functions, name)
                one["cold"].append(_timed(call))
                one["warm"] += [_timed(call) for _ in range(3)]
        memory = {role: kernel.memory(pid)[0] for pid, role in meters.roles(here.here).items()}
    return {
        name: {kind: statistics.median(seconds) for kind, seconds in one.items()} | {"mb": memory.get(name, 0) / 1e6}
        for name, one in taken.items()
    }


def _call(here: embedded.Embedded, functions: Any, name: str) -> Callable[[], None]:
    """A call that changes nothing: a message of no upload, the same dataset again, the list of datasets."""
    if name == "api":
        return lambda: _get(f"{here.here.api_url}/v1/datasets", here.here.token)
    dataset = {"tenant": here.tenant, "name": "contacts", "mode": "insert", "descriptor": embedded.CONTACTS}
    events = {"sweep": embedded.STRIKE, "doctor": {}, "render": {}, "define": dataset}
    event = json.dumps(events.get(name) or {"Records": [instance.nothing(name)]})

    def invoke() -> None:
        answer = functions.invoke(FunctionName=f"rowmill-local-{name}", Payload=event)
        if "FunctionError" in answer:
            raise RuntimeError(f"{name}: {answer['Payload'].read().decode()}")

    return invoke


def _get(url: str, token: str) -> None:
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - our own endpoint
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60) as answer:
        answer.read()


def _timed(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
