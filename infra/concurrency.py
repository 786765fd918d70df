"""Copies that are set aside for functions: for which, and whether the account has as many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.cloud import Cloud, DeployError

FOR_ALL: Final = 100  # executions that Lambda always leaves to the functions that have none set aside


def set_aside(parameters: Mapping[str, str]) -> dict[str, int]:
    """Copies by function, as the template has it; nothing where a parameter is 0."""
    rare = int(parameters["RareConcurrency"])
    wanted = {"api": int(parameters["ApiConcurrency"]), "define": rare, "render": rare}
    return {name: count for name, count in wanted.items() if count}


def refuse_overdrawn(cloud: Cloud, parameters: Mapping[str, str]) -> None:
    """Raises DeployError if the account cannot set aside as many copies: its stack would fail at the first of them.

    What this stage's functions have is theirs to take."""
    wanted = set_aside(parameters)
    if not wanted:
        return
    functions = cloud.client("lambda")
    free = functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] - FOR_ALL
    free += sum(_had(functions, f"rowmill-{parameters['Stage']}-{name}") for name in ("api", "define", "render"))
    if sum(wanted.values()) > free:
        told = ", ".join(f"{count} for {name}" for name, count in wanted.items())
        raise DeployError(
            f"this account can set aside {max(free, 0)} concurrent executions, and the stage asks for {told}. Ask "
            "Service Quotas for more (Lambda, Concurrent executions), or set "
            "ApiConcurrency and RareConcurrency to 0 in infra/stages.yaml: docs/aws.md"
        )


def _had(functions: Any, name: str) -> int:
    try:
        return int(functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions", 0))
    except functions.exceptions.ResourceNotFoundException:
        return 0
