"""A crash at every point of every stage: the message comes again, or only the sweep comes, and nothing shows.

A file is brought to the stage once. Then, for each point, the world is put back as it was, and the stage killed
there. Every state that this leaves behind is recovered in both
ways, and the result compared, byte for byte, with that of a run without faults. By default cut lines (the process
lives on) are tried on a part of the cases, and every pair of crashes on a plain load; ROWMILL_POINTS=all tries every
fault on all cases, as often in a row as it leads to new states: minutes to hours.
"""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ConnectionClosedError

from chalicelib import load, publishing, receipts
from chalicelib.errors import Refused
from tests.faults.audit import Result, audited, result
from tests.faults.conftest import Figures
from tests.faults.deliveries import TIERS, Deliveries, Message
from tests.faults.mutants import MUTANTS, ROOT
from tests.faults.points import Fault, Run
from tests.faults.state import State, put_back, take
from tests.stages.conftest import CONTACTS, QUEUES, cut_into
from tests.stages.test_keys import TWO_KEYS
from tests.stages.test_triage import begin

ALL = os.environ.get("ROWMILL_POINTS") == "all"
HEADER = b"email,name,age\n"
PLAIN = HEADER + b"".join(b"u%d@x.org,U,%d\n" % (i, i) for i in range(6))
# c is in the table. Loaded from the last chunk to the first, chunk 1 meets a there, and itself in line 3.
CLASHES = HEADER + b"a@x.org,A1,1\nc@x.org,C2,2\na@x.org,A3,3\nb@x.org,B4,4\na@x.org,A5,5\nb@x.org,B6,6\n"
TWO_KEYS_CLASH = b"id,email,note\n1,a,one\n1,b,two\n2,b,three\n3,a,four\n2,c,five\n9,z,six\n"
LONG = os.urandom(4500).hex().encode()  # longer than an index takes: Postgres refuses it, nobody before
BAD = HEADER + b"a@x.org,A,old\n,B,2\n" + LONG + b",C,3\nd@x.org,D,4\n"
OLD = HEADER + b"c@x.org,Old,0\n"
OLD_TWO = b"id,email,note\n9,y,old\n"
EACH: tuple[Fault, ...] = ("killed", "unsent", "unanswered")


@dataclass(frozen=True, slots=True)
class Case:
    """A file on its way to one stage, and what it comes to. `seed` is loaded before."""

    stage: str
    name: str
    body: bytes
    ends: tuple[str, int, int, int, int, int]  # state, loaded, updated, skipped, rejected, unprocessed
    mode: str = "insert"
    schema: dict[str, Any] | None = None
    seed: bytes | None = None
    faults: tuple[Fault, ...] = ("killed",)
    depth: int = 1  # crashes one after the other
    options: dict[str, Any] = field(default_factory=dict)
    taken_rows: int = publishing.TAKEN_ROWS
    is_first: bool = False  # a large first load

    def __str__(self) -> str:
        return f"{self.stage}-{self.name}"


CLEAN = ("completed", 6, 0, 0, 0, 0)
REJECTS = ("completed_with_errors", 2, 0, 0, 4, 0)
SKIPS = ("completed", 2, 0, 4, 0, 0)
UPSERTS = ("completed", 2, 4, 0, 0, 0)
DEAD = ("completed_with_errors", 3, 0, 0, 0, 3)

NOTHING = ("failed", 0, 0, 0, 3, 1)
NONE_OF_SIX = ("failed", 0, 0, 0, 4, 2)

ABORT = {"on_error": "abort"}
BUDGET = {"max_errors": 4}
CHECK = {"validate_only": True}  # and confirmed, when it waits for that
# Of four rejects, what one option mends of them; a record of it has a key by then that another one has taken.
NULLS = HEADER + b"a@x.org,A,N/A\n,B,N/A\nc@x.org,C,N/A\nd@x.org,D,4\nd@x.org,D,N/A\ne@x.org,E,old\n"

CASES = [
    Case("split", "plain", PLAIN, CLEAN),
    *([Case("split", "packed", gzip.compress(PLAIN), CLEAN)] if ALL else []),
    Case("load", "plain", PLAIN, CLEAN, faults=EACH, depth=2),
    Case("load", "bad", BAD, ("completed_with_errors", 1, 0, 0, 3, 0)),
    Case("load", "clash-insert", CLASHES, REJECTS, seed=OLD),
    Case("load", "clash-skip", CLASHES, SKIPS, "skip", seed=OLD),
    Case("load", "clash-upsert", CLASHES, UPSERTS, "upsert", seed=OLD),
    Case("load", "clash-two-keys", TWO_KEYS_CLASH, REJECTS, schema=TWO_KEYS, seed=OLD_TWO),
    Case("settle", "insert", CLASHES, REJECTS, seed=OLD),
    Case("settle", "skip", CLASHES, SKIPS, "skip", seed=OLD),
    Case("settle", "upsert", CLASHES, UPSERTS, "upsert", seed=OLD),
    Case("settle", "two-keys", TWO_KEYS_CLASH, REJECTS, schema=TWO_KEYS, seed=OLD_TWO),
    Case("load", "check", CLASHES, REJECTS, seed=OLD, options=CHECK),
    Case("settle", "check", CLASHES, REJECTS, seed=OLD, options=CHECK),
    Case("confirm", "plain", PLAIN, CLEAN, options=CHECK, faults=EACH),
    Case("split", "confirmed", PLAIN, CLEAN, options=CHECK),
    Case("split", "staged", PLAIN, CLEAN, options=ABORT),
    Case("load", "staged", PLAIN, CLEAN, options=ABORT),
    Case("load", "staged-bad", BAD, NOTHING, options=ABORT),
    Case("settle", "publish", PLAIN, CLEAN, options=ABORT, faults=EACH, depth=2),
    Case("settle", "publish-insert", CLASHES, REJECTS, seed=OLD, options=BUDGET),
    Case("settle", "publish-upsert", CLASHES, UPSERTS, "upsert", seed=OLD, options=BUDGET),
    Case("settle", "refuse", CLASHES, NONE_OF_SIX, seed=OLD, options=ABORT),
    Case("settle", "take", PLAIN, CLEAN, options=ABORT, faults=EACH, taken_rows=1),
    Case("settle", "take-clashes", CLASHES, ("completed_with_errors", 3, 0, 0, 3, 0), options=BUDGET, taken_rows=1),
    Case("sweep", "lost-publish", PLAIN, CLEAN, options=ABORT),
    Case("sweep", "lost-take", PLAIN, CLEAN, options=ABORT, taken_rows=1),
    Case("split", "first", PLAIN, CLEAN, is_first=True),
    Case("bury", "first", PLAIN, DEAD, is_first=True),
    Case("settle", "given-up", PLAIN, DEAD, is_first=True, taken_rows=1),
    Case("rerun", "nulls", NULLS, ("completed_with_errors", 2, 0, 0, 1, 0)),
    Case("bury", "chunk", PLAIN, DEAD),
    Case("attest", "settled", CLASHES, REJECTS, seed=OLD, faults=EACH),
    Case("attest", "verify", PLAIN, CLEAN),
    Case("undo", "insert", CLASHES, ("reverted", 2, 0, 0, 4, 0), seed=OLD),
    Case("undo", "upsert", CLASHES, ("reverted", 2, 4, 0, 0, 0), "upsert", seed=OLD, faults=EACH),
    Case("sweep", "lost-undo", CLASHES, ("reverted", 2, 4, 0, 0, 0), "upsert", seed=OLD),
    Case("sweep", "lost-event", PLAIN, CLEAN),
    Case("sweep", "lost-chunks", PLAIN, CLEAN),
    Case("sweep", "dead-splitter", PLAIN, CLEAN),
    Case("sweep", "missed-finish", PLAIN, CLEAN),
    Case("sweep", "lost-settle", CLASHES, REJECTS, seed=OLD),
    Case("sweep", "unshown-end", PLAIN, CLEAN),
]


class Bench:
    """One case, brought to its stage."""

    def __init__(self, deliveries: Deliveries, case: Case) -> None:
        self.deliveries, self.case = deliveries, case
        pipeline = deliveries.pipeline
        pipeline.dataset(case.schema or CONTACTS, mode=case.mode)
        if case.seed:
            seeded = result(deliveries, pipeline.run(case.seed)["id"]).table
            self.seeded = [row.split("\t")[1] for row in seeded.splitlines()]
        self.upload_id = self.parent = pipeline.create(case.body, **case.options)
        deliveries.send("intake", pipeline.event(self.upload_id))
        self.message = getattr(self, f"_to_{case.stage}")()
        self.start = take(deliveries)

    def attempt(self, state: State, at: int, fault: Fault = "killed") -> Run:
        put_back(self.deliveries, state)
        if self.case.stage == "confirm":
            return self.deliveries.watch(Run(at, fault), self._confirm)
        if self.message is None:
            return self.deliveries.sweep(at, fault)
        return self.deliveries.deliver(self.message, at, fault)

    def delivered_again(self, state: State) -> Result:
        put_back(self.deliveries, state)
        if self.message is None:
            self.deliveries.pass_time()
            self.deliveries.sweep()
        return self._ended()

    def lost_and_swept_up(self, state: State) -> Result:
        put_back(self.deliveries, state)
        self.deliveries.lose(*self.deliveries.waiting())
        self.deliveries.pass_time()
        self.deliveries.sweep()
        return self._ended()

    def _ended(self) -> Result:
        """What it comes to; if it waits to be confirmed, it is; if it was to be verified, it matches."""
        self.deliveries.drain()
        if (self.case.stage, self.case.name) == ("attest", "verify"):
            self.deliveries.tell()
            assert receipts.verification(self.deliveries.pipeline.tenant, self.upload_id)["result"] == "match"
        if self.deliveries.pipeline.upload(self.upload_id)["state"] == "needs_review":
            self._confirm()
            self.deliveries.drain()
        found = audited(self.deliveries, self.upload_id)
        if self.case.stage == "rerun":
            parent, back = self.deliveries.pipeline.upload(self.parent), found.counts["loaded"]
            assert (parent["resolved"], parent["rejected_open"]) == (back, parent["rejected"] - back)
        return found

    def _confirm(self) -> None:
        # A crash may have come after the confirmation; then there is nothing to confirm.
        with suppress(Refused, psycopg.OperationalError, ConnectionClosedError):
            self.deliveries.pipeline.confirm(self.upload_id)

    def _to_confirm(self) -> None:
        self.deliveries.drain()

    def _to_split(self) -> Message:
        if self.case.name == "confirmed":
            self.deliveries.drain()
            self._confirm()
        (event,) = self.deliveries.waiting("intake")
        return event

    def _to_rerun(self) -> Message:
        """To the splitter of what is to be read again of the file's rejects."""
        self.deliveries.drain()
        self.upload_id = begin(self.deliveries.pipeline, self.parent, "null_words")
        self.deliveries.send("intake", self.deliveries.pipeline.event(self.upload_id))
        (event,) = self.deliveries.waiting("intake")
        return event

    def _to_load(self) -> Message:
        """To the first chunk, when all others are loaded."""
        self.deliveries.deliver(self._to_split())
        first, *others = self.deliveries.waiting(*TIERS)
        for other in reversed(others):
            self.deliveries.deliver(other)
        return first

    def _to_settle(self) -> Message:
        self.deliveries.deliver(self._to_bury() if self.case.name == "given-up" else self._to_load())
        (message,) = self.deliveries.waiting("settle")
        return message

    def _to_undo(self) -> Message:
        self._to_confirm()
        self.deliveries.pipeline.ask_revert(self.upload_id)
        (message,) = self.deliveries.waiting("settle")
        return message

    def _to_bury(self) -> Message:
        """The first chunk, out of attempts and in the dead-letter queue."""
        chunk = self._to_load()
        self.deliveries.lose(chunk)
        self.deliveries.send("dead", chunk.body)
        self.deliveries.sql("UPDATE rowmill.chunk SET attempts = 4, started_at = now() WHERE state = 'queued'")
        self.deliveries.pass_time()
        (message,) = self.deliveries.waiting("dead")
        return message

    def _to_attest(self) -> Message:
        """To the receipt of its end; or to the look at file and table that comes after that."""
        self.deliveries.deliver(self._to_load())
        while others := self.deliveries.waiting(*[queue for queue in QUEUES if queue != "receipt"]):
            self.deliveries.deliver(others[0])
        if self.case.name == "verify":
            self.deliveries.drain()
            receipts.verify(self.deliveries.pipeline.tenant, self.upload_id)
        message = self.deliveries.waiting("receipt")[-1]
        self.deliveries.lose(*(one for one in self.deliveries.waiting() if one.id != message.id))
        return message

    def _to_sweep(self) -> None:
        """Something is stuck, and whatever was on its way is lost."""
        match self.case.name:
            case "lost-chunks":
                self.deliveries.deliver(self._to_split())
            case "dead-splitter":
                self.deliveries.deliver(self._to_split(), "sqs.SendMessageBatch")
            case "missed-finish":
                load.chunk(self._to_load().body)
            case "lost-settle" | "lost-publish" | "lost-take":
                self._to_settle()
            case "lost-undo":
                self._to_undo()
            case "unshown-end":
                self.deliveries.deliver(self._to_load(), "dynamodb.UpdateItem")
        self.deliveries.lose(*self.deliveries.waiting())
        self.deliveries.pass_time()


@pytest.fixture(params=CASES, ids=str)
def bench(request: pytest.FixtureRequest, deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> Bench:
    if request.param.is_first:
        monkeypatch.setenv("ROWMILL_FIRST_LOAD_BYTES", "1")
    cut_into(monkeypatch, 3)
    monkeypatch.setattr(publishing, "TAKEN_ROWS", request.param.taken_rows)
    return Bench(deliveries, request.param)


@pytest.mark.timeout(900)
def test_a_crash_at_any_point_of_a_stage_changes_nothing(bench: Bench, figures: Figures) -> None:
    expected = bench.delivered_again(bench.start)
    assert (expected.state, *expected.counts.values()) == bench.case.ends
    if expected.state == "reverted":
        assert [row.split("\t")[1] for row in expected.table.splitlines()] == bench.seeded
    tried = {"points": 0, "faults": 0, "states": 0}
    for story, state in _left_behind(bench, tried):
        assert bench.delivered_again(state) == expected, story
        assert bench.lost_and_swept_up(state) == expected, story
    figures("crash_points", str(bench.case), tried)


def _left_behind(bench: Bench, tried: dict[str, int]) -> Iterator[tuple[list[str], State]]:
    """Every new state that a fault at some point leaves behind, and the story that led there."""
    seen = {bench.start.print}
    frontier: list[tuple[list[str], State]] = [([], bench.start)]
    for level in range(99 if ALL else bench.case.depth):
        before, frontier = frontier, []
        for story, state in before:
            for fault, run in _attempts(bench, state, bench.case.faults if level == 0 else ("killed",)):
                tried["faults"] += 1
                tried["points"] = max(tried["points"], run.at)
                left = take(bench.deliveries)
                if left.print not in seen:
                    seen.add(left.print)
                    frontier.append(([*story, f"{fault} at {run.at} {run.hit}"], left))
        tried["states"] += len(frontier)
        yield from frontier


def _attempts(bench: Bench, state: State, faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, Run]]:
    for fault in EACH if ALL else faults:
        for point in itertools.count(1):
            run = bench.attempt(state, point, fault)
            if run.hit is None:
                break
            yield fault, run


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_still_finds_the_text_that_it_replaces(name: str) -> None:
    for path, old, new in MUTANTS[name]:
        assert (ROOT / path).read_text().count(old) == 1
        assert old != new
