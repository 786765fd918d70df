"""An upgrade with messages in the queues: what earlier releases wrote is read as ever, what a later one writes is kept.

`messages/` has one body of each kind as it was when it came to be, for good. Every message of these journeys is replaced
by the one of its kind there, with the ids put in; so a kind that is missing there, or is not read any more, fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import webhooks
from chalicelib.aws import sqs
from chalicelib.settings import settings
from tests.faults.deliveries import DOORS, TIERS, Context, Deliveries, Message, box, handled
from tests.receiver import receiving
from tests.stages.conftest import CONTACTS, cut_into

KEPT = {path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("messages/*.json"))}
BODY = b"email,name,age\n" + b"".join(b"u%d@x.org,Ann,%d\n" % (row % 11, row) for row in range(12))


class Old:
    """Queues whose messages are as an earlier release wrote them."""

    def __init__(self, deliveries: Deliveries) -> None:
        self.deliveries = deliveries
        self.met: set[str] = set()

    def drain(self) -> None:
        for _ in range(400):
            waiting = self.deliveries.waiting()
            if not waiting:
                return
            body = self._as_kept(waiting[0])
            assert handled(waiting[0].queue, body, waiting[0].id), body
            self.deliveries.lose(waiting[0])
        raise AssertionError("messages go round in a circle")

    def _as_kept(self, message: Message) -> dict[str, Any]:
        for name, kept in KEPT.items():
            if kept["body"].keys() == message.body.keys():
                self.met.add(name)
                filled: dict[str, Any] = _filled(kept["body"], dict(_ids(message.body)))
                return filled
        raise AssertionError(f"messages/ has none like this one of {message.queue}: {message.body}")


def _ids(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from body.items()
    for record in body.get("Records", []):
        yield "key", record["s3"]["object"]["key"]


def _filled(kept: Any, ids: dict[str, Any]) -> Any:
    if isinstance(kept, dict):
        return {name: _filled(value, ids) for name, value in kept.items()}
    if isinstance(kept, list):
        return [_filled(value, ids) for value in kept]
    return ids[kept[1:]] if isinstance(kept, str) and kept.startswith("$") else kept


def test_messages_of_every_earlier_release_are_read_as_ever(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWMILL_WEBHOOK_PRIVATE", "1")
    monkeypatch.setenv("ROWMILL_SEGMENT_BYTES", "40")
    cut_into(monkeypatch, 2)
    pipeline, old = deliveries.pipeline, Old(deliveries)
    pipeline.dataset()
    with receiving() as receiver:
        webhooks.create(pipeline.tenant, {"url": receiver.url}, None)
        loaded = pipeline.create(BODY)
        deliveries.send("intake", pipeline.event(loaded))
        old.drain()
        assert (pipeline.upload(loaded)["state"], pipeline.upload(loaded)["loaded"]) == ("completed_with_errors", 11)
        assert len(receiver.got) == 1
    assert deliveries.sql("SELECT FROM rowmill.receipt")
    pipeline.ask_revert(loaded)
    old.drain()
    assert pipeline.upload(loaded)["state"] == "reverted"
    checked = pipeline.create(BODY, validate_only=True)
    deliveries.send("intake", pipeline.event(checked))
    old.drain()
    pipeline.confirm(checked)
    old.drain()
    assert pipeline.upload(checked)["loaded"] == 11
    _put_off_and_given_up(deliveries, old)
    assert old.met == KEPT.keys()


def _put_off_and_given_up(deliveries: Deliveries, old: Old) -> None:
    """A chunk that was tried before, and one and a file that the dead queue has."""
    pipeline = deliveries.pipeline
    pipeline.dataset(CONTACTS, "others")
    upload_id = pipeline.create(BODY, "others")
    pipeline.split(upload_id)
    first, second, *_ = deliveries.waiting(*TIERS)
    deliveries.lose(first, second)
    deliveries.send(first.queue, {**first.body, "tries": 1})
    deliveries.send("dead", second.body)
    lost = pipeline.create(BODY, "others")
    deliveries.send("dead", pipeline.event(lost))
    for _ in range(4):
        old.drain()
        deliveries.pass_time()
        deliveries.sweep()
    assert pipeline.upload(upload_id)["loaded"] == 11
    assert pipeline.upload(lost)["state"] in ("failed", "completed_with_errors")


@pytest.mark.parametrize("text", ['{"chunks": [[7, 3]]}', "a form that nobody knows yet"])
def test_a_message_of_a_later_release_waits_for_it_as_it_is(deliveries: Deliveries, text: str) -> None:
    for queue in DOORS:
        _waits(queue, text)


def _waits(queue: str, text: str) -> None:
    later = {"version": {"dataType": "Number", "stringValue": str(sqs.VERSION + 1)}}
    record = {"messageId": "m", "receiptHandle": "r", "body": text, "messageAttributes": later}
    record["eventSourceARN"] = f"arn:aws:sqs:us-east-1:0:rowmill-local-{queue}"
    answer = DOORS[queue]({"Records": [record]}, Context())
    assert answer == {"batchItemFailures": []}
    (kept,) = box(queue)._messages
    assert kept.body == text
    assert kept.message_attributes["version"]["StringValue"] == str(sqs.VERSION + 1)
    assert kept.delayed


def test_every_message_says_of_which_version_it_is(deliveries: Deliveries) -> None:
    sqs.send(settings().settle_queue, {"upload": 0})
    sqs.send_all(settings().high_queue, [{"upload": 0, "chunk": 0}], "ten_1")
    for queue in ("settle", "high"):
        (sent,) = box(queue)._messages
        assert sent.message_attributes["version"]["StringValue"] == "1"
