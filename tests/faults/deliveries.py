"""Messages as SQS delivers them, through the doors of app.py, one at a time and with a fault where a test wants it.

A message leaves its queue only when its door has acknowledged it. Delays are ignored: what waits may come at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from moto.backends import get_backend
from psycopg.rows import dict_row

import app
from chalicelib import mend
from chalicelib.aws import sqs
from tests.faults.points import Fault, Run, watched
from tests.stages.conftest import QUEUES, Pipeline

DOORS = {
    "intake": app.split_file,
    "high": app.load_high,
    "medium": app.load_medium,
    "low": app.load_low,
    "settle": app.settle_upload,
    "dead": app.bury,
    "notify": app.tell,
    "receipt": app.attest_upload,
}
TIERS = ("high", "medium", "low")
MOST_DELIVERIES = 200


@dataclass(frozen=True, slots=True)
class Message:
    """A message that waits in a queue, or a copy of one that a test keeps."""

    queue: str
    body: dict[str, Any]
    id: str


class Deliveries:
    """The queues of one pipeline, and the clock's sweep."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.db = psycopg.connect(pipeline.url, autocommit=True, row_factory=dict_row)

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """As pipeline.sql, over a connection that stays: to open one takes longer than a crash."""
        cursor = self.db.execute(statement, values)
        return cursor.fetchall() if cursor.rownumber is not None else []

    def send(self, queue: str, body: dict[str, Any]) -> None:
        sqs.send(f"rowmill-local-{queue}", body)

    def waiting(self, *queues: str) -> list[Message]:
        """What is in these queues (default: all), visible or delayed, in the order it was sent."""
        return [
            Message(queue, json.loads(one.body), one.id) for queue in queues or QUEUES for one in box(queue)._messages
        ]

    def lose(self, *messages: Message) -> None:
        for message in messages:
            queue = box(message.queue)
            queue._messages = [one for one in queue._messages if one.id != message.id]

    def deliver(self, message: Message, at: int | str = 0, fault: Fault = "killed") -> Run:
        acknowledged: list[bool] = []
        run = self.watch(Run(at, fault), lambda: acknowledged.append(handled(message.queue, message.body, message.id)))
        if not run.is_killed and acknowledged == [True]:
            self.lose(message)
        return run

    def drain(self) -> None:
        """Deliver until every queue is empty."""
        for _ in range(MOST_DELIVERIES):
            waiting = self.waiting()
            if not waiting:
                return
            self.deliver(waiting[0])
        raise AssertionError(f"messages go round in a circle: {self.waiting()}")

    def sweep(self, at: int | str = 0, fault: Fault = "killed") -> Run:
        return self.watch(Run(at, fault), lambda: mend.sweep(app.onward))

    def watch(self, run: Run, work: Callable[[], object]) -> Run:
        with watched(run):
            work()
        self.see_gone(run.cut)
        return run

    def see_gone(self, backends: list[int]) -> None:
        """Wait until the server has noticed cut lines: rolled back, and freed the locks."""
        while backends and self.sql("SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)", backends):
            pass

    def pass_time(self) -> None:
        """Two minutes go by."""
        ago = "{0} = {0} - interval '2 minutes'".format
        chunk = ", ".join(map(ago, ("started_at", "sent_at", "created_at")))
        self.sql(f"UPDATE rowmill.chunk SET {chunk} WHERE state = 'queued'")
        announced = ", ".join(map(ago, ("created_at", "looked_at")))
        self.sql(f"UPDATE rowmill.announcement SET {announced}")
        upload = ", ".join(map(ago, ("scan_seen_at", "settle_asked_at", "projected_at")))
        self.sql(f"UPDATE rowmill.upload SET {upload} WHERE finished_at IS NULL")
        self.sql("UPDATE rowmill.upload SET receipt_asked_at = NULL WHERE finished_at IS NOT NULL")
        self.sql("UPDATE rowmill.proof SET sent_at = NULL")
        self.sql(f"UPDATE rowmill.outbox SET {ago('created_at')}, {ago('asked_at')} WHERE sent_at IS NULL")

    def tell(self) -> None:
        """Have the sweep send for events, and for receipts, whose message went down with a worker."""
        unsent = "SELECT 1 FROM rowmill.outbox WHERE sent_at IS NULL"
        unsealed = (
            "SELECT 1 FROM rowmill.upload WHERE finished_at IS NOT NULL AND receipted_at IS DISTINCT FROM finished_at"
        )
        while self.sql(f"{unsent} UNION ALL {unsealed}"):
            self.pass_time()
            self.sweep()
            self.drain()


class Context:
    """What Lambda says of an invocation that has just begun."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def handled(queue: str, body: dict[str, Any], message_id: str) -> bool:
    """Give a message to its door; whether it was acknowledged."""
    record = {
        "messageId": message_id,
        "receiptHandle": "r",
        "body": json.dumps(body),
        "eventSourceARN": f"arn:aws:sqs:us-east-1:0:rowmill-local-{queue}",
        "messageAttributes": {},
    }
    answer = DOORS[queue]({"Records": [record]}, Context())
    return not answer["batchItemFailures"]


def box(queue: str) -> Any:
    """moto's own queue."""
    return get_backend("sqs")["123456789012"]["us-east-1"].queues[f"rowmill-local-{queue}"]
