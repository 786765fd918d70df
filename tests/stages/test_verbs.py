"""Every state and every verb, over HTTP: the table in journey.py decides, and what it allows is really done.

An upload is brought into each state by what brings it there; then it is asked each verb; then it is let go on. It has to
be answered as the table says, to be led where the table says, and to come to a right end from there.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest
from moto.s3 import models as moto_s3

from chalicelib import report, split
from chalicelib.aws import dynamodb, s3
from chalicelib.errors import Unavailable
from chalicelib.formats.threats import EICAR
from chalicelib.journey import AT_REST, LOADING, TERMINAL, TRANSITIONS, VERBS, State, Verb, rank, sources
from chalicelib.postgres import connection, ledger
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, cut_into, poison
from tests.stages.test_journey_in_process import adds_up
from tests.stages.test_multipart import Parts, sha256

PART: Final = 64
GOOD: Final = b"email,name,age\n" + b"".join(b"%d@x.org,Ada,%d\n" % (n, n) for n in range(8))
BAD: Final = GOOD.replace(b"Ada,1\n", b"Ada,x\n")  # one reject, in the first of three chunks
DONE: Final[Mapping[Verb, int]] = defaultdict(lambda: 202, {"parts": 200, "retry": 201})

Moves = set[tuple[State, State]]


@dataclass(frozen=True, slots=True)
class Stories:
    """Uploads of one tenant, each in parts, into a dataset of its own."""

    parts: Parts
    pipeline: Pipeline
    patch: pytest.MonkeyPatch
    held: contextlib.ExitStack

    def announced(self, body: bytes = BAD, **options: Any) -> str:
        """All its parts are sent, and nobody has said so."""
        name = f"d{len(self.pipeline.sql('SELECT number FROM rowmill.dataset'))}"
        self.pipeline.dataset(name=name)
        asked = {"dataset": name, "size": len(body), "checksum": sha256(body), "options": options}
        upload_id = str(self.parts.post("", asked).json_body["id"])
        for place in range(-(-len(body) // PART)):
            self.parts.send(upload_id, place + 1, body[place * PART : (place + 1) * PART])
        return upload_id

    def arrived(self, body: bytes = BAD, **options: Any) -> str:
        upload_id = self.announced(body, **options)
        assert self.ask("complete", upload_id) == (202, None, None)
        return upload_id

    def awaiting_upload(self) -> str:
        return self.announced()

    def expired(self) -> str:
        upload_id = self.announced()
        assert dynamodb.expire(self.pipeline.tenant, upload_id, rank("expired", 1, 0), 2**31)
        return upload_id

    def uploaded(self) -> str:
        upload_id = self.arrived()
        stored = s3.head(self.parts.key(upload_id))
        assert stored is not None
        assert dynamodb.pin(self.pipeline.tenant, upload_id, stored) is not None
        return upload_id

    def scanning(self) -> str:
        """The splitter dies when it has opened the upload."""
        upload_id = self.arrived()
        upload, _ = split._open(s3.arrivals(self.pipeline.event(upload_id))[0])
        assert upload is not None
        report.show(upload.number)
        return upload_id

    def splitting(self) -> str:
        """The splitter dies before it knows how many chunks there are."""
        upload_id = self.arrived()
        self.die_splitting(upload_id)
        report.show(self.number(upload_id))
        return upload_id

    def die_splitting(self, upload_id: str) -> None:
        with self.patch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(ledger, "end_scan", _die)
            self.pipeline.split(upload_id)

    def queued(self, body: bytes = BAD, **options: Any) -> str:
        upload_id = self.arrived(body, **options)
        self.pipeline.split(upload_id)
        return upload_id

    def processing(self, body: bytes = BAD, **options: Any) -> str:
        upload_id = self.queued(body, **options)
        self.pipeline.load(self.messages(upload_id)[:1])
        report.show(self.number(upload_id))
        return upload_id

    def paused(self) -> str:
        upload_id = self.processing()
        self.pipeline.pause(upload_id)
        return upload_id

    def paused_while_queued(self) -> str:
        upload_id = self.queued()
        self.pipeline.pause(upload_id)
        return upload_id

    def needs_review(self) -> str:
        upload_id = self.processing(validate_only=True)
        self.finish(upload_id)
        return upload_id

    def canceling(self) -> str:
        """A chunk is being committed, for as long as this is asked about."""
        upload_id = self.processing()
        committing = self.held.enter_context(psycopg.connect(self.pipeline.url))
        ledger.lock_upload(committing, self.number(upload_id), shared=True)
        self.pipeline.cancel(upload_id)
        return upload_id

    def completed(self) -> str:
        upload_id = self.queued(GOOD)
        self.finish(upload_id)
        return upload_id

    def completed_with_errors(self) -> str:
        upload_id = self.queued()
        with self.patch.context() as patch:
            poison(patch, 4)
            for _ in range(4):
                for message in self.messages(upload_id):
                    with contextlib.suppress(Unavailable):
                        self.pipeline.load([message])
        return upload_id

    def failed(self) -> str:
        return self.stopped(self.processing())

    def failed_before_it_was_split(self) -> str:
        """In the second pass: of a file that nobody has read to its end nothing is loaded, and nothing rejected."""
        upload_id = self.needs_review()
        assert self.ask("confirm", upload_id)[0] == 202
        self.die_splitting(upload_id)
        self.pipeline.load(self.messages(upload_id)[:1])
        return self.stopped(upload_id)

    def quarantined(self) -> str:
        return self.queued(BAD[: -len(EICAR) - 1] + EICAR + b"\n")

    def stopped(self, upload_id: str) -> str:
        number = self.number(upload_id)
        ledger.stop(connection.connection(), number, {"code": "split_failed", "detail": ""})
        report.show(number)
        return upload_id

    def canceled(self) -> str:
        upload_id = self.processing()
        self.pipeline.cancel(upload_id)
        return upload_id

    def reverting(self) -> str:
        """Nobody has come to undo it yet."""
        upload_id = self.completed_with_errors()
        self.pipeline.ask_revert(upload_id)
        return upload_id

    def reverted(self) -> str:
        upload_id = self.completed_with_errors()
        self.pipeline.revert(upload_id)
        return upload_id

    def number(self, upload_id: str) -> Any:
        return ledger.number_of(connection.connection(), self.pipeline.tenant, upload_id)

    def state(self, upload_id: str) -> State:
        state: State = self.pipeline.upload(upload_id)["state"]
        return state

    def messages(self, upload_id: str) -> list[dict[str, Any]]:
        """The messages of its chunks, those that are out; what waits in the queues is of its former generations."""
        self.pipeline.messages()
        out = "SELECT upload, pass, n AS chunk FROM rowmill.chunk WHERE upload = %s AND state = 'queued' ORDER BY n"
        return self.pipeline.sql(out, self.number(upload_id))

    def finish(self, upload_id: str) -> None:
        """Let everything be delivered that there is, and the sweep look after the rest."""
        for _ in range(4):
            self.pipeline.sql(_LATER)
            self.pipeline.split(upload_id)
            self.pipeline.sweep()
            for message in self.pipeline.messages("intake"):
                self.pipeline.go_on(message)
            self.pipeline.load(self.pipeline.messages())
            self.pipeline.settle()
            if self.state(upload_id) in AT_REST | {"awaiting_upload", "paused"}:
                return

    def ask(self, verb: Verb, upload_id: str) -> tuple[int, str | None, str | None]:
        """Status, code and detail of the answer."""
        method, door, body = _DOORS[verb](self, upload_id)
        headers = {"Authorization": f"Bearer {self.parts.token}", "Content-Type": "application/json"}
        path = f"/v1/uploads/{upload_id}{door}"
        if method == "POST":
            answer = self.parts.post(f"/{upload_id}{door}", body)
        else:
            answer = self.parts.http.request(method, path, headers=headers)
        said = answer.json_body if answer.status_code >= 400 else {}
        return answer.status_code, said.get("code"), said.get("detail")

    def sent(self, upload_id: str) -> list[dict[str, Any]]:
        """Its parts, as `complete` names them."""
        item = dynamodb.get_upload(self.pipeline.tenant, upload_id)
        stored = s3.list_parts(self.parts.key(upload_id), item["multipart_id"])
        if stored is None:  # they are a file by now: it does not matter what is named
            return [{"number": 1, "etag": "e", "sha256": sha256(b"")}]
        body = BAD
        cut = [body[place : place + PART] for place in range(0, len(body), PART)]
        return [{"number": one.number, "etag": one.etag, "sha256": sha256(cut[one.number - 1])} for one in stored]


_DOORS: Final[Mapping[Verb, Callable[[Stories, str], tuple[str, str, Any]]]] = {
    "parts": lambda stories, upload_id: ("POST", "/parts", {"parts": []}),
    "complete": lambda stories, upload_id: ("POST", "/complete", {"parts": stories.sent(upload_id)}),
    "retry": lambda stories, upload_id: ("POST", "/retries", {"size": 10}),
    "delete": lambda stories, upload_id: ("DELETE", "", None),
    **{verb: lambda stories, upload_id, verb=verb: ("POST", f"/{verb}", {}) for verb in ("cancel", "pause", "resume")},
    **{
        verb: lambda stories, upload_id, verb=verb: ("POST", f"/{verb}", {})
        for verb in ("confirm", "redrive", "revert")
    },
    "verify": lambda stories, upload_id: ("POST", "/verify", {}),
}
SETTINGS: Final[Mapping[State, tuple[Callable[[Stories], str], ...]]] = {
    **{state: (getattr(Stories, state),) for state in TRANSITIONS},
    "paused": (Stories.paused, Stories.paused_while_queued),
    "failed": (Stories.failed, Stories.failed_before_it_was_split),
}
# Where a verb leads that moves an upload; any other leaves it where it is.
LED: Final[Mapping[Verb, Moves]] = {
    "pause": {(before, "paused") for before in sources("paused")},
    "resume": {("paused", after) for after in TRANSITIONS["paused"] if after in LOADING},
    "redrive": {(before, after) for before in TERMINAL for after in TRANSITIONS[before] if after != "reverting"},
    "revert": {(before, "reverting") for before in sources("reverting")},
    "confirm": {("needs_review", after) for after in TRANSITIONS["needs_review"] if after in LOADING},
    "cancel": {(before, "canceled") for before in sources("canceled")},
}


_LATER: Final = """
    WITH scans AS (UPDATE rowmill.upload SET scan_seen_at = scan_seen_at - interval '1 minute',
                                             settle_asked_at = settle_asked_at - interval '1 minute'
                   WHERE finished_at IS NULL)
    UPDATE rowmill.chunk SET created_at = created_at - interval '1 minute', sent_at = sent_at - interval '1 minute'
    WHERE state = 'queued'
"""


def _die(*arguments: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def stories(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stories]:
    monkeypatch.setenv("ROWMILL_MULTIPART_BYTES", str(PART))
    monkeypatch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
    cut_into(monkeypatch, 3)
    settings.cache_clear()
    with contextlib.ExitStack() as held:
        yield Stories(Parts(pipeline), pipeline, monkeypatch, held)


def answer(verb: Verb, state: State) -> tuple[int, str | None]:
    """What the table says to a verb in a state."""
    if state in VERBS[verb]:
        return DONE[verb], None
    if state == "expired" and verb in ("parts", "complete"):
        return 410, "upload_expired"
    return 409, "state_conflict"


@pytest.mark.timeout(300)
def test_the_table_decides_what_may_be_asked_in_every_state_and_what_comes_of_it(stories: Stories) -> None:
    led: dict[Verb, Moves] = defaultdict(set)
    for state, begins in SETTINGS.items():
        for begin in begins:
            moving = [verb for verb in VERBS if state in VERBS[verb] and is_moved_by(verb, state)]
            stays(stories, begin(stories), state, [verb for verb in VERBS if verb not in moving])
            for verb in moving:
                upload_id = begin(stories)
                assert stories.state(upload_id) == state
                assert stories.ask(verb, upload_id) == (DONE[verb], None, None), (begin, verb)
                if verb == "delete":
                    assert stories.ask("cancel", upload_id)[:2] == (404, "upload_not_found")
                    continue
                after = stories.state(upload_id)
                assert after == state or after in TRANSITIONS[state], (begin, verb, after)
                assert fate(stories, verb, state, upload_id) is None, (begin, verb)
                if after != state or verb == "cancel":
                    led[verb].add((state, "canceled" if verb == "cancel" else after))
    led["cancel"].discard(("canceled", "canceled"))
    assert {verb: moves for verb, moves in led.items() if verb in LED} == LED


def is_moved_by(verb: Verb, state: State) -> bool:
    """Whether this verb is more than a question to an upload in this state."""
    return verb in LED or verb == "delete" or (verb == "complete" and state == "awaiting_upload")


def stays(stories: Stories, upload_id: str, state: State, verbs: list[Verb]) -> None:
    """What is refused, or is nothing but a question, is answered as the table says and changes nothing."""
    before = stories.pipeline.upload(upload_id)
    assert before["state"] == state
    for verb in verbs:
        status, code, detail = stories.ask(verb, upload_id)
        assert (status, code) == answer(verb, state), (state, verb, detail)
        assert code != "state_conflict" or f"is {state}" in str(detail), (state, verb, detail)
        assert stories.state(upload_id) == state, verb
    assert fate(stories, "parts", state, upload_id) is None, state


def fate(stories: Stories, verb: Verb, state: State, upload_id: str) -> Any:
    """What is wrong with how an upload ends when it is let go on, if anything is."""
    stories.held.close()
    waits: dict[State, Verb] = {"awaiting_upload": "complete", "needs_review": "confirm", "paused": "resume"}
    stories.finish(upload_id)
    while ask := waits.pop(stories.state(upload_id), None):
        stories.ask(ask, upload_id)
        stories.finish(upload_id)
    stories.finish(upload_id)  # what is over stays as it is
    upload = stories.pipeline.upload(upload_id)
    if upload["state"] not in TERMINAL:
        return "it is stuck", upload["state"]
    wanted = {"canceled"} if verb == "cancel" and state in VERBS["cancel"] else ends(verb, state)
    if upload["state"] not in wanted or (upload["rows_total"] is not None and not adds_up(upload)):
        return "it ended wrong", upload
    there = len(stories.pipeline.rows(upload["dataset"]))
    if upload["state"] == "reverted":
        return (
            None if there == 0 and upload["reverted_rows"] == upload["loaded"] else ("it is not undone", there, upload)
        )
    return None if there == upload["loaded"] else ("rows are lost or doubled", there, upload)


def ends(verb: Verb, state: State) -> set[State]:
    """How an upload of BAD ends that nobody cancels: an end stays, but for redrive and revert, and all else loads."""
    if state == "reverting" or (verb == "revert" and state in VERBS["revert"]):
        return {"reverted"}
    is_over = state in TERMINAL and not (verb == "redrive" and state in VERBS["redrive"])
    return {state} if is_over else {"canceled"} if state == "canceling" else {"completed_with_errors"}


def test_no_state_and_no_verb_is_left_out() -> None:
    assert set(SETTINGS) == set(TRANSITIONS)
    assert set(_DOORS) == set(VERBS)


def test_there_is_nothing_to_complete_of_what_was_canceled_before_it_came(stories: Stories) -> None:
    upload_id = stories.announced()
    stories.pipeline.cancel(upload_id)
    assert stories.ask("complete", upload_id)[:2] == (409, "state_conflict")


def test_a_verb_that_meets_another_first_is_told_what_the_upload_is_by_then(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = stories.processing()
    real = ledger.state_of
    asked: list[object] = []

    def canceled_first(*arguments: Any) -> Any:
        found = real(*arguments)
        if not asked:
            asked.append(found)
            stories.pipeline.cancel(upload_id)
        return found

    monkeypatch.setattr(ledger, "state_of", canceled_first)
    status, code, detail = stories.ask("pause", upload_id)
    assert (status, code, "is canceled" in str(detail)) == (409, "state_conflict", True)
