"""Queues by name. Bodies are JSON and carry ids only; the records they name are looked up.

Each message says which version of these bodies it is, in an attribute. What has none is of version 1, as are S3's own.
A body that readers of the version before would take for something else needs another version, and an example of the old
one stays in tests/stages/messages for good: a queue holds messages for days, and an upgrade must not strand them.

Permissions: sqs:GetQueueUrl and sqs:SendMessage, sqs:GetQueueAttributes (split and sweep).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from chalicelib.aws import client
from chalicelib.settings import settings

MAX_DELAY_SECONDS: Final = 900
BATCH: Final = 10
VERSION: Final = 1  # of the bodies that this release writes, and the newest that it reads


@cache
def _url(queue: str) -> str:
    return str(client("sqs").get_queue_url(QueueName=queue)["QueueUrl"])


def send(queue: str, body: Mapping[str, Any], *, delay: int = 0) -> None:
    """One message, visible after `delay` seconds."""
    send_text(queue, json.dumps(body), VERSION, delay)


def send_text(queue: str, text: str, version: int, delay: int) -> None:
    """One message as it is, of whatever version it says that it is."""
    client("sqs").send_message(
        QueueUrl=_url(queue),
        MessageBody=text,
        MessageAttributes=_marked(version),
        DelaySeconds=min(delay, MAX_DELAY_SECONDS),
    )


def _marked(version: int) -> dict[str, Any]:
    return {"version": {"DataType": "Number", "StringValue": str(version)}}


def send_all(queue: str, bodies: Sequence[Mapping[str, Any]], group: str) -> None:
    """Messages in batches of ten; entries that SQS turns down are sent again one by one.

    `group` (the tenant) makes a standard queue fair: one tenant's backlog does not delay another's.
    """
    for first in range(0, len(bodies), BATCH):
        batch = bodies[first : first + BATCH]
        entries = [
            {
                "Id": str(place),
                "MessageBody": json.dumps(body),
                "MessageAttributes": _marked(VERSION),
                "MessageGroupId": group,
            }
            for place, body in enumerate(batch)
        ]
        answer = client("sqs").send_message_batch(QueueUrl=_url(queue), Entries=entries)
        for failed in answer.get("Failed", []):
            send(queue, batch[int(failed["Id"])])


def send_for_split(tenant: str, upload_id: str, *, delay: int = 0) -> None:
    """Have the splitter look at an upload, as S3's event does."""
    send(settings().intake_queue, {"tenant": tenant, "upload_id": upload_id}, delay=delay)


def send_for_segment(tenant: str, upload_id: str, n: int) -> None:
    """Have another splitter scan a segment of an upload's text ahead."""
    send(settings().intake_queue, {"tenant": tenant, "upload_id": upload_id, "segment": n})


def send_for_gate(tenant: str, upload_id: str) -> None:
    """Have an upload's file looked at for malware, or what is left of it."""
    send(settings().intake_queue, {"tenant": tenant, "upload_id": upload_id, "gate": True})


def send_chunks(tier: str, number: int, reading: str, places: Sequence[int], tenant: str) -> None:
    """The messages of the chunks of an upload's pass, by their n; a load's are as every release knows them."""
    named = {} if reading == "load" else {"pass": reading}
    bodies = [{"upload": number, **named, "chunk": n} for n in places]
    send_all(settings().tier_queue(tier), bodies, tenant)


def depth(queue: str) -> int:
    """How many messages wait for a worker (approximately, as SQS counts)."""
    return _counts(queue)[0]


def backlog(queue: str) -> int:
    """How many messages wait or are delayed (approximately, as SQS counts)."""
    return sum(_counts(queue))


def is_idle(queue: str) -> bool:
    """Whether no message waits or is delayed (approximately, as SQS counts).

    Messages in hand do not count: that of a killed worker stays in hand for minutes.
    """
    return not backlog(queue)


def _counts(queue: str) -> list[int]:
    names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "Delayed")]
    answer = client("sqs").get_queue_attributes(QueueUrl=_url(queue), AttributeNames=names)
    return [int(answer["Attributes"].get(name, 0)) for name in names]
