"""The same file by any workers in any order comes to the same table and rejects, byte for byte; and to what a reader
of the file, line by line, would expect. Two uploads that want the same rows at once both end, without a deadlock.
Four orders a mode in `make test`; ROWMILL_ORDERS=20 tries so many.
"""

from __future__ import annotations

import os
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from chalicelib.postgres import connection
from tests.faults.audit import Result, audited, result
from tests.faults.conftest import Figures
from tests.faults.deliveries import TIERS, Deliveries, Message, handled
from tests.stages.conftest import CONTACTS, cut_into
from tests.stages.test_keys import TWO_KEYS

RECORDS = 48  # in chunks of 6, over 14 keys: repeats within chunks and across them
ORDERS = int(os.environ.get("ROWMILL_ORDERS", "4"))
ROUNDS = 4
KEYS = 300


def at_once(messages: Sequence[Message], workers: int, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Deliver messages to so many workers, each a thread with its own connection; every fault comes out."""
    left, faults = deque(messages), list[BaseException]()

    def work() -> None:
        try:
            while left:
                message = left.popleft()
                assert handled(message.queue, message.body, message.id)
        except IndexError:
            pass  # another worker took the last one
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        meanwhile()
    assert not faults, faults


def announced(deliveries: Deliveries, body: bytes, dataset: str) -> tuple[str, list[Message]]:
    """An upload that is split, and its chunks' messages, taken out of their queues."""
    upload_id = deliveries.pipeline.create(body, dataset)
    deliveries.send("intake", deliveries.pipeline.event(upload_id))
    deliveries.deliver(deliveries.waiting("intake")[0])
    messages = deliveries.waiting(*TIERS)
    deliveries.lose(*messages)
    return upload_id, messages


def line_by_line(rows: Sequence[tuple[str, ...]], keys: Sequence[int], mode: str) -> list[int]:
    """Which records are in the table in the end."""
    if mode == "upsert":
        last = {row[keys[0]]: record for record, row in enumerate(rows, 1)}
        return sorted(last.values())
    taken: set[tuple[int, str]] = set()
    seated = []
    for record, row in enumerate(rows, 1):
        mine = {(key, row[key]) for key in keys if row[key]}
        if not mine & taken:
            taken |= mine
            seated.append(record)
    return seated


@pytest.mark.parametrize(
    ("schema", "keys", "mode"),
    [(CONTACTS, (0,), mode) for mode in ("insert", "skip", "upsert")]
    + [(TWO_KEYS, (0, 1), mode) for mode in ("insert", "skip")],
    ids=["insert", "skip", "upsert", "two-keys-insert", "two-keys-skip"],
)
def test_any_order_and_any_number_of_workers_give_the_same_bytes(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch, schema: dict[str, Any], keys: tuple[int, ...], mode: str
) -> None:
    cut_into(monkeypatch, 6)
    chance = random.Random(11)
    rows = [
        (
            str(chance.randrange(14)),
            chance.choice(["", *"abcdefghijkl"]) if len(keys) > 1 else f"N{record}",
            f"{record}",
        )
        for record in range(RECORDS)
    ]
    header = ",".join(field["name"] for field in schema["fields"])
    body = "\n".join([header, *map(",".join, rows)]).encode() + b"\n"
    results: list[Result] = []
    for order in range(ORDERS):
        dataset = deliveries.pipeline.dataset(schema, f"contacts{order}", mode)
        upload_id, messages = announced(deliveries, body, dataset)
        chance.shuffle(messages)
        at_once(messages + messages[:3], workers=1 + order % 4)
        deliveries.drain()
        results.append(audited(deliveries, upload_id))
    assert all(one == results[0] for one in results)
    assert results[0].records == line_by_line(rows, keys, mode)


@pytest.mark.timeout(120)
def test_two_uploads_that_upsert_the_same_rows_at_once_both_end(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    cut_into(monkeypatch, 25)
    chance, waits = random.Random(3), [0]
    before = _deadlocks(deliveries)

    def watch() -> None:
        (found,) = deliveries.sql("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")
        waits[0] += found["n"] > 0

    for _ in range(ROUNDS):
        dataset = deliveries.pipeline.dataset(CONTACTS, f"contacts{_}", "upsert")
        lines = [f"u{key}@x.org,%s,{key}" for key in chance.sample(range(KEYS), KEYS)]
        bodies = [
            "\n".join(["email,name,age", *(line % name for line in ordered)]).encode()
            for name, ordered in (("A", lines), ("B", lines[::-1]))
        ]
        (first, mine), (second, others) = (announced(deliveries, body, dataset) for body in bodies)
        at_once([one for pair in zip(mine, others, strict=True) for one in pair], 4, watch)
        deliveries.drain()
        for upload_id in (first, second):
            found = result(deliveries, upload_id, dataset)
            assert found.state == "completed"
            assert found.counts["loaded"] + found.counts["updated"] == KEYS
        rows = deliveries.pipeline.rows(dataset)
        assert sorted(row["age"] for row in rows) == list(range(KEYS))
        assert {row["name"] for row in rows} <= {"A", "B"}
    attempts = deliveries.sql("SELECT DISTINCT state, attempts FROM rowmill.chunk WHERE pass = 'load'")
    assert attempts == [{"state": "loaded", "attempts": 1}]
    figures(
        "contention", "upserts", {"deadlocks": _deadlocks(deliveries) - before, "times a lock was waited for": waits[0]}
    )


def _deadlocks(deliveries: Deliveries) -> int:
    deliveries.sql("SELECT pg_stat_force_next_flush()")
    (found,) = deliveries.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(found["deadlocks"])
