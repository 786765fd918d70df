"""Uploads under every mixture of faults that Hypothesis finds: the real stages, checked after each step.

Messages come in any order, twice, late, or not at all; processes die and lines break at any point; the clock jumps;
chunks are poisoned; clients cancel, pause, resume and redrive; the status table is emptied, and writes to it arrive late. Half a
minute in `make test`; ROWMILL_MODEL=500 tries so many stories instead of 25, and others each time.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chalicelib import aws, load
from chalicelib.errors import Refused
from chalicelib.journey import MODES, TERMINAL
from tests.faults.audit import audited, holds_at_any_moment, ledger
from tests.faults.conftest import Figures
from tests.faults.deliveries import TIERS, Deliveries, Message
from tests.faults.points import Run
from tests.faults.state import State, put_back, status_table, take
from tests.faults.test_any_order import line_by_line
from tests.stages.conftest import CONTACTS, cut_into

KEYS = "aabcadbefc"  # of a file's records: repeats within a chunk of 4 and across them
BAD = 7  # the record that Rowmill rejects
STORIES = int(os.environ.get("ROWMILL_MODEL", "0"))
QUICK = os.environ.get("ROWMILL_MODEL_QUICK") == "1"  # do not look for a shorter story that fails too
PLACE = st.integers(0, 11)
OPTIONS = st.sampled_from(({}, {"on_error": "abort"}, {"max_errors": len(KEYS)}))
POINT = st.one_of(st.just(0), st.integers(1, 50))
FAULT = st.sampled_from(("killed", "unsent", "unanswered"))
Met = set[tuple[Any, ...]]


def one_of(choices: list[Any], place: int) -> list[Any]:
    """One of these, if there are any. What Hypothesis draws must not hang on what there is: that moves with the clock."""
    return [choices[place % len(choices)]] if choices else []


class Journeys(RuleBasedStateMachine):
    """One story: at most two uploads into one dataset."""

    def __init__(self, deliveries: Deliveries, start: State, met: Met) -> None:
        super().__init__()
        self.deliveries, self.pipeline, self.met = deliveries, deliveries.pipeline, met
        self.uploads: list[str] = []
        self.kept: list[Message] = []  # copies that may still be delivered
        self.held: list[dict[str, Any]] = []  # writes to the status table that are still under way
        self.poisoned: set[int] = set()
        self.ranks: dict[str, int] = {}
        put_back(deliveries, start)
        self.patches = mock.patch.object(load, "prepare", self.poisonable(load.prepare))
        self.patches.start()

    def poisonable(self, prepare: Any) -> Any:
        def prepared(upload: Any, work: Any, data: bytes) -> Any:
            if work.n in self.poisoned:
                raise MemoryError
            return prepare(upload, work, data)

        return prepared

    @initialize(mode=st.sampled_from(MODES), options=OPTIONS)
    def begin(self, mode: str, options: dict[str, Any]) -> None:
        self.mode = mode
        self.announce(options)

    @precondition(lambda self: len(self.uploads) < 2)
    @rule(options=OPTIONS)
    def announce(self, options: dict[str, Any]) -> None:
        """Another file, and S3's event of it."""
        rows = [f"{key}{len(self.uploads)},N,{'x' if place == BAD else place}" for place, key in enumerate(KEYS, 1)]
        body = "\n".join(["email,name,age", *rows]).encode()
        self.uploads.append(self.pipeline.create(body, self.mode, **options))
        self.event(-1)

    @rule(place=PLACE)
    def event(self, place: int) -> None:
        self.deliveries.send("intake", self.pipeline.event(self.uploads[place % len(self.uploads)]))

    @rule(place=PLACE, at=POINT, fault=FAULT, keep=st.booleans())
    def deliver(self, place: int, at: int, fault: Any, keep: bool) -> None:
        for message in self.pick(place):
            self.kept += [message] * keep
            self.deliveries.deliver(message, at, fault)

    @rule(places=st.lists(PLACE, min_size=1, max_size=6))
    def deliver_some(self, places: list[int]) -> None:
        for place in places:
            for message in self.pick(place):
                self.deliveries.deliver(message)

    @rule(place=PLACE, at=POINT, fault=FAULT)
    def deliver_again(self, place: int, at: int, fault: Any) -> None:
        for message in one_of(self.kept, place):
            self.deliveries.deliver(message, at, fault)

    @rule(place=PLACE, dead=st.booleans())
    def drop(self, place: int, dead: bool) -> None:
        for message in self.pick(place):
            self.deliveries.lose(message)
            if dead and message.queue != "dead":
                self.deliveries.send("dead", message.body)

    @rule(later=st.booleans(), at=POINT, fault=FAULT)
    def sweep(self, later: bool, at: int, fault: Any) -> None:
        if later:
            self.deliveries.pass_time()
        with suppress(Exception):  # a sweep that failed comes again
            self.deliveries.sweep(at, fault)

    @rule(n=st.integers(1, 3))
    def poison(self, n: int) -> None:
        self.poisoned ^= {n}
        for message in [one for one in self.deliveries.waiting(*TIERS) if one.body["chunk"] == n] * 4:
            self.deliveries.deliver(message)

    @rule(place=PLACE, at=POINT, verb=st.sampled_from(("redrive", "cancel", "pause", "resume")))
    def steer(self, place: int, at: int, verb: str) -> None:
        ask = getattr(self.pipeline, verb)
        with suppress(Refused):
            self.deliveries.watch(Run(at), lambda: ask(self.uploads[place % len(self.uploads)]))

    @rule()
    def empty_status_table(self) -> None:
        status_table().items.clear()
        self.ranks.clear()
        self.held.clear()

    @rule(place=PLACE)
    def hold_back_status(self, place: int) -> None:
        def hold(params: dict[str, Any], **_: Any) -> None:
            if "progress" in params["UpdateExpression"]:
                self.held.append(dict(params))
                raise ConnectionClosedError(endpoint_url="http://aws")

        events = aws.client("dynamodb").meta.events
        events.register("before-parameter-build.dynamodb.UpdateItem", hold)
        try:
            for message in self.pick(place):
                self.deliveries.deliver(message)
        finally:
            events.unregister("before-parameter-build.dynamodb.UpdateItem", hold)

    @rule(place=PLACE)
    def status_arrives(self, place: int) -> None:
        for write in one_of(self.held, place):
            self.held.remove(write)
            with suppress(ClientError):
                aws.client("dynamodb").update_item(**write)

    def pick(self, place: int) -> list[Message]:
        return one_of(self.deliveries.waiting(), place)

    @invariant()
    def shown_states_only_go_forward(self) -> None:
        for item in (item for items in status_table().items.values() for item in items.values()):
            name = item.attrs["upload_id"].value
            if name in self.uploads:
                rank = int(item.attrs["rank"].value)
                assert rank >= self.ranks.get(name, 0), name
                self.ranks[name] = rank

    @invariant()
    def the_ledger_is_true(self) -> None:
        waiting = Counter(message.queue for message in self.deliveries.waiting())
        flying = tuple(sorted((queue, min(count, 3)) for queue, count in waiting.items()))
        for upload in ledger(self.deliveries, self.uploads):
            holds_at_any_moment(self.deliveries, upload, len(KEYS))
            chunks = tuple(sorted((upload["states"] or {}).items()))
            self.met.add((upload["state"], chunks, flying, upload["contested"] > 0))

    def teardown(self) -> None:
        """No more faults: the sweep alone must bring everything to its right end."""
        try:
            self.poisoned.clear()
            for _ in range(4):
                for upload_id in self.uploads:
                    with suppress(Refused):
                        self.pipeline.resume(upload_id)
                self.deliveries.pass_time()
                self.deliveries.sweep()
                self.deliveries.drain()
            self.shown_states_only_go_forward()
            self.the_ledger_is_true()
            stuck = [one for one in ledger(self.deliveries, self.uploads) if one["state"] not in TERMINAL]
            assert not stuck, self.deliveries.sql("SELECT * FROM rowmill.chunk WHERE upload = %s", stuck[0]["number"])
            for upload_id in self.uploads:
                self.is_right(upload_id)
        finally:
            self.patches.stop()

    def is_right(self, upload_id: str) -> None:
        kept = ledger(self.deliveries, [upload_id])
        if not kept or self.pipeline.upload(upload_id)["state"] in ("canceled", "failed"):
            assert self.pipeline.upload(upload_id)["state"] in ("canceled", "failed")
            return
        found = audited(self.deliveries, upload_id)
        given_up = {record for first, count in kept[0]["dead"] or () for record in range(first, first + count)}
        records = [place for place in range(1, len(KEYS) + 1) if place != BAD and place not in given_up]
        seated = line_by_line([(KEYS[record - 1],) for record in records], (0,), self.mode)
        assert found.records == [records[place - 1] for place in seated]


@pytest.mark.timeout(3600)
def test_no_mixture_of_faults_breaks_an_upload(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    cut_into(monkeypatch, 4)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for mode in MODES:
        deliveries.pipeline.dataset(CONTACTS, mode, mode)
    start, met = take(deliveries), Met()
    run_state_machine_as_test(
        lambda: Journeys(deliveries, start, met),
        settings=settings(
            max_examples=STORIES or 25,
            stateful_step_count=40,
            derandomize=not STORIES,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, *(() if QUICK else (Phase.shrink,))),
        ),
    )
    figures("model", "stories", {"tried": STORIES or 25, "abstract states met": len(met)})
