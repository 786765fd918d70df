"""One CloudFormation stack: create or update by change set, wait, and say what went wrong.

A change set without changes is success. A first creation that rolled back leaves a stack that can only be
deleted; it holds nothing, so the next deploy deletes it by itself.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from infra.cloud import DeployError

_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]  # roles; the SAM transform is a macro
_UNCHANGED = ("didn't contain changes", "No updates are to be performed")
_PATIENCE = 60 * 60  # Lambda gives back the interfaces of functions in a VPC after 20 minutes or more

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What CloudFormation has worked out to bring a stack to a template. `changes` is None if there is nothing at all
    to do; it may be empty where outputs alone change. `parameters` are shown without secrets."""

    name: str
    stack: str
    is_first: bool
    changes: tuple[Mapping[str, Any], ...] | None
    parameters: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        return self.changes is None

    def told(self) -> Iterator[str]:
        """A line for each resource: what becomes of it, and whether that is a new one in its place."""
        for change in sorted(self.changes or (), key=lambda one: (one["Action"], one["LogicalResourceId"])):
            replaced = {"True": "  REPLACED", "Conditional": "  perhaps REPLACED"}.get(
                change.get("Replacement", ""), ""
            )
            by = sorted({one["Target"].get("Name") or one["Target"]["Attribute"] for one in change.get("Details", [])})
            named = f"  ({', '.join(by)})" if by else ""
            yield f"{change['Action']:<9}  {change['ResourceType']}  {change['LogicalResourceId']}{named}{replaced}"


def draft(cloudformation: Any, name: str, template_url: str, parameters: Mapping[str, str], reason: str) -> ChangeSet:
    """Have the changes worked out that bring the stack to the template; none is made. `reason` begins its name."""
    first = _ready_for_creation(cloudformation, name)
    made = f"{reason}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    cloudformation.create_change_set(
        StackName=name,
        ChangeSetName=made,
        ChangeSetType="CREATE" if first else "UPDATE",
        TemplateURL=template_url,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=_CAPABILITIES,
    )
    found = drafted(cloudformation, name, made)
    if found.is_empty:
        cloudformation.delete_change_set(ChangeSetName=made, StackName=name)
    return found


def drafted(cloudformation: Any, name: str, change_set: str) -> ChangeSet:
    """A change set once it is worked out. Raises DeployError if the template is refused, or if there is none such."""
    try:
        changes, parameters = _planned(cloudformation, name, change_set)
    except ClientError as error:
        if "NotFound" in str(error) or "does not exist" in str(error):
            raise DeployError(f"there is no change set {change_set} of {name}: plan again") from error
        raise
    first = (describe(cloudformation, name) or {}).get("StackStatus") in {None, "REVIEW_IN_PROGRESS"}
    return ChangeSet(change_set, name, first, None if changes is None else tuple(changes), parameters)


def carry_out(cloudformation: Any, change: ChangeSet) -> bool:
    """Make the changes; False when no resource had to change."""
    if change.changes is None:
        return False
    before = _newest_event(cloudformation, change.stack)
    cloudformation.execute_change_set(ChangeSetName=change.name, StackName=change.stack)
    _settle(cloudformation, change.stack, before, {"CREATE_COMPLETE", "UPDATE_COMPLETE"})
    # Outputs may change alone. LocalStack 4 says as much of every template with a transform, so it is carried out.
    return change.is_first or bool(change.changes)


def delete(cloudformation: Any, name: str) -> bool:
    """Delete the stack with all it holds; False when there is none."""
    stack = describe(cloudformation, name)
    if stack is None:
        return False
    before = _newest_event(cloudformation, stack["StackId"])
    cloudformation.delete_stack(StackName=stack["StackId"])
    _settle(cloudformation, stack["StackId"], before, {"DELETE_COMPLETE"})
    return True


def describe(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """The stack as CloudFormation tells it, or None."""
    try:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return stack


def left_behind(cloudformation: Any, name: str, kind: str) -> list[str]:
    """The resources of a kind, by name, that a first creation has made and could not take back when it failed."""
    if (describe(cloudformation, name) or {}).get("StackStatus") != "ROLLBACK_FAILED":
        return []
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    found = (one for page in pages for one in page["StackResourceSummaries"])
    return [
        one["PhysicalResourceId"]
        for one in found
        if (one["ResourceType"], one["ResourceStatus"]) == (kind, "DELETE_FAILED")
    ]


def outputs(cloudformation: Any, name: str) -> dict[str, str]:
    stack = describe(cloudformation, name) or {}
    return {entry["OutputKey"]: entry["OutputValue"] for entry in stack.get("Outputs", [])}


def _ready_for_creation(cloudformation: Any, name: str) -> bool:
    status = (describe(cloudformation, name) or {}).get("StackStatus")
    if status in {"ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED"}:
        delete(cloudformation, name)
        return True
    return status in {None, "REVIEW_IN_PROGRESS", "DELETE_COMPLETE"}


def _planned(cloudformation: Any, name: str, change_set: str) -> tuple[list[Any] | None, dict[str, str]]:
    """The resources that will change, None if nothing at all will; and the parameters."""

    def made() -> dict[str, Any] | None:
        seen: dict[str, Any] = cloudformation.describe_change_set(ChangeSetName=change_set, StackName=name)
        return seen if seen["Status"] in {"CREATE_COMPLETE", "FAILED"} else None

    seen = _poll(made)
    reason = seen.get("StatusReason", "")
    if seen["Status"] == "FAILED" and not any(text in reason for text in _UNCHANGED):
        raise DeployError(f"change set refused: {reason}")
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in seen.get("Parameters", [])}
    if seen["Status"] == "FAILED":
        return None, parameters
    changes = [*seen.get("Changes", [])]
    while token := seen.get("NextToken"):
        seen = cloudformation.describe_change_set(ChangeSetName=change_set, StackName=name, NextToken=token)
        changes += seen["Changes"]
    return [one["ResourceChange"] for one in changes], parameters


def _settle(cloudformation: Any, name: str, before: str, good: set[str]) -> None:
    def ended() -> str | None:
        status: str = (describe(cloudformation, name) or {"StackStatus": "DELETE_COMPLETE"})["StackStatus"]
        return None if status.endswith("_IN_PROGRESS") else status

    status = _poll(ended)
    if status not in good:
        failures = "\n".join(_failures(cloudformation, name, before))
        raise DeployError(f"stack {name} ended {status}\n{failures}")


def _failures(cloudformation: Any, name: str, before: str) -> Iterator[str]:
    """What failed after event `before`, oldest first: the first line is the cause, others follow from it."""
    since = itertools.takewhile(lambda event: event["EventId"] != before, _events(cloudformation, name))
    failed = [event for event in since if event["ResourceStatus"].endswith("_FAILED")]
    for event in reversed(failed):
        reason = event.get("ResourceStatusReason", "")
        yield f"  {event['LogicalResourceId']} {event['ResourceStatus']}: {reason}"


def _newest_event(cloudformation: Any, name: str) -> str:
    newest: dict[str, str] = next(_events(cloudformation, name), {"EventId": ""})
    return newest["EventId"]


def _events(cloudformation: Any, name: str) -> Iterator[dict[str, Any]]:
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=name)
    return (event for page in pages for event in page["StackEvents"])


def _poll(look: Callable[[], T | None]) -> T:
    """The first answer of `look`: asked often at first (a cloud in memory takes a second), then every 5 s."""
    deadline = time.monotonic() + _PATIENCE
    for pause in itertools.chain([0.1] * 20, [0.5] * 20, itertools.repeat(5.0)):
        if (seen := look()) is not None:
            return seen
        if time.monotonic() > deadline:
            raise DeployError(f"CloudFormation did not end within {_PATIENCE // 60} minutes")
        time.sleep(pause)
    raise AssertionError("unreachable")
