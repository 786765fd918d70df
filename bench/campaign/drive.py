"""One seed: files sent into the middle of faults, then faults off, a drain, the audit.

The clock that strikes once a minute strikes every second here, and time is moved instead of waited for: in the
drain, what has been silent for three seconds is made half a minute older, so that the sweep may judge it now.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from rowmill_client import Patience, Rowmill

from bench.campaign import files
from bench.campaign.audit import Scene, Sent, audit, look
from bench.campaign.board import Fault, Poison
from bench.campaign.plan import POISONS, Plan, Upload, draw
from bench.campaign.rig import FAKETIME, Rig, eventually

FAULT_SECONDS = 8.0
BOUND_SECONDS = 60.0  # I8
LATE_SECONDS = 15.0  # for messages that were put off
SILENT_SECONDS = 3
ASKED = 10  # times, while the API is itself under fire
REPEATED = 8  # messages a deed repeats
BUCKET = "rowmill-local-000000000000-uploads"


@dataclass(slots=True)
class Result:
    """What a seed came to. `problems` by invariant; `recovery` from faults off to the last upload's end."""

    seed: int
    tenant: str
    planned: list[str]
    hits: dict[str, int] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    recovery: float = 0.0
    seconds: float = 0.0
    chunks: int = 0
    records: int = 0
    connections: int = 0
    states: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(self.problems.values())


@dataclass(slots=True)
class Tenant:
    """An account with its datasets."""

    rig: Rig
    rowmill: Rowmill
    name: str
    token: str
    folder: Path

    def settle_in(self) -> None:
        """Load files that look like everybody else's, in peace."""
        for upload in draw(0).uploads:
            data = files.write(upload.recipe)
            created = self.announce(upload, data)
            self.store(replace(upload, event="once"), created, data)
            self.rowmill.wait(created["id"], timeout=60)

    def announce(self, upload: Upload, data: bytes) -> Any:
        """Create the upload."""
        path = self._file(data)
        return self.rowmill.create_upload(path, upload.recipe.shape, {"mode": upload.mode})

    def store(self, upload: Upload, created: Any, data: bytes) -> None:
        """Send the file, with S3's event as the plan has it."""
        with _deaf(self.rig) if upload.event == "lost" else contextlib.nullcontext():
            self.rowmill.send_file(created, self._file(data))
        if upload.event == "twice":
            self.rig.send("intake", self.event(created["id"]), self.event(created["id"]))

    def _file(self, data: bytes) -> Path:
        path = self.folder / f"{hashlib.sha256(data).hexdigest()}.csv"
        if not path.exists():
            path.write_bytes(data)
        return path

    def ask(self, upload_id: str, what: str) -> bool:
        """Cancel or redrive an upload; False if there is nothing to cancel or redrive (409)."""
        url = f"{self.rig.here.api_url}/v1/uploads/{upload_id}/{what}"
        headers = {"Authorization": f"Bearer {self.token}"}
        for _ in range(ASKED):
            answer = httpx.post(url, headers=headers, timeout=30)
            if answer.status_code in (202, 409):
                return answer.status_code == 202
            time.sleep(0.3)
        answer.raise_for_status()
        return False

    def event(self, upload_id: str) -> dict[str, Any]:
        """What S3 says of an upload's file."""
        key = f"uploads/{self.name}/{upload_id}/source"
        return {"Records": [{"eventName": "ObjectCreated:Post", "s3": {"object": {"key": key}}}]}


@contextlib.contextmanager
def tenant(rig: Rig) -> Iterator[Tenant]:
    """A new account with one dataset a shape."""
    with Rowmill(rig.here.api_url) as rowmill, tempfile.TemporaryDirectory() as folder:
        session = Patience().keep_trying(lambda: rowmill.signup(f"user-{uuid.uuid4()}", "correct horse"))
        for shape, schema in files.SCHEMAS.items():
            rowmill.put_dataset(shape, dict(schema))
        yield Tenant(rig, rowmill, session["tenant_id"], session["access"], Path(folder))


@contextlib.contextmanager
def _deaf(rig: Rig) -> Iterator[None]:
    """The bucket tells nobody of what arrives."""
    s3 = rig.client("s3")
    told = s3.get_bucket_notification_configuration(Bucket=BUCKET)
    told.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    try:
        yield
    finally:
        s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=told)


def run(rig: Rig, plan: Plan, bystanders: Callable[[], str]) -> tuple[Result, Scene]:
    """Run a seed. `bystanders` is a digest of what other tenants have; it must not change."""
    began, before = time.monotonic(), bystanders()
    with tenant(rig) as account:
        seed = Seed(rig, plan, account)
        scene = seed.run()
    problems = audit(scene)
    problems["I8"] += seed.stuck
    if bystanders() != before:
        problems["I7"].append("another tenant's tables have changed")
    result = Result(
        seed=plan.seed,
        tenant=account.name,
        planned=plan.kinds,
        hits=dict(seed.hits()),
        problems=problems,
        recovery=seed.recovery,
        seconds=round(time.monotonic() - began, 1),
        chunks=sum(chunk["pass"] == "load" for seen in scene.uploads for chunk in seen.chunks),
        records=sum(int(seen.ledger.get("rows_total") or 0) for seen in scene.uploads),
        connections=rig.postgres.peak,
        states=[str(seen.ledger["state"]) for seen in scene.uploads],
    )
    return result, scene


@dataclass(slots=True)
class Seed:
    """A seed under way."""

    rig: Rig
    plan: Plan
    account: Tenant
    sent: list[Sent] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    recovery: float = 0.0

    def run(self) -> Scene:
        """From the first file to the last message; what is to be seen then."""
        self.prepare()
        self.attack()
        self.drain()
        return self.scene()

    def prepare(self) -> None:
        """Load the older files in peace, then set clocks and arm the faults."""
        for upload in self.plan.uploads:
            if not upload.wave:
                self.send(upload)
                eventually(self.is_over, BOUND_SECONDS)
        self.rig.hands.deeds = {
            **self.rig.hands.deeds,
            "repeat chunks": self.repeat_chunks,
            "repeat events": self.repeat_events,
            "send nonsense": self.send_nonsense,
            "cancel": self.cancel,
            "replace": self.replace,
        }
        self.rig.set_clocks(dict(self.plan.skew))
        self.rig.postgres.peak = 0
        self.rig.board.poisons.clear()
        self.rig.board.arm(self.plan.faults)

    def send(self, upload: Upload) -> None:
        """Send a file, poisoned if the plan says so."""
        data = files.write(upload.recipe)
        created = self.account.announce(upload, data)
        if upload.fate in POISONS:
            fault = Fault(f"poison: {upload.fate}", "", 0, upload.fate)
            self.rig.board.poisons.append(Poison(created["id"], data.index(b"\n") + 1, fault))
        self.account.store(upload, created, data)
        self.sent.append(Sent(upload, created["id"], data))

    def attack(self) -> None:
        """Send the files and let the faults strike, until all is over or the time is up."""
        began = time.monotonic()
        uploads = [each for each in self.plan.uploads if each.wave]
        with self.clock(every=1.5):
            for upload in sorted(uploads, key=lambda each: each.event != "lost"):
                if upload.event == "lost":  # the bucket is deaf meanwhile: one at a time
                    self.send(upload)
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(self.send, [each for each in uploads if each.event != "lost"]))
            eventually(self.is_over, FAULT_SECONDS - (time.monotonic() - began))

    def cure(self) -> None:
        """Wait until the poisoned chunks have been given up, take the poison away, and have them tried again."""
        poisoned = [each for each in self.sent if each.upload.fate in POISONS]
        if not poisoned:
            return
        with self.clock(every=1.0, older=True):
            eventually(self.is_over, BOUND_SECONDS)
        self.rig.board.poisons.clear()
        for each in poisoned:
            self.done["redrive"] += self.account.ask(each.upload_id, "redrive")

    def drain(self) -> None:
        """Faults off: how long until every upload has ended. Then late and stale messages, until none is left."""
        self.rig.board.disarm()
        self.cure()
        began = time.monotonic()
        with self.clock(every=1.0, older=True):
            if not eventually(self.is_over, BOUND_SECONDS, pauses=(0.2,)):
                self.stuck.append(f"not over {BOUND_SECONDS:.0f} s after the last fault: {self.states()}")
            self.recovery = round(time.monotonic() - began, 1)
            if self.plan.skew and FAKETIME.exists():
                self.done["clock skew"] += 1
            self.rig.set_clocks({})
            self.done["stale messages after the end"] += self.repeat_chunks() and self.repeat_events()
            eventually(lambda: not self.rig.waiting(), LATE_SECONDS, pauses=(0.3,))

    @contextlib.contextmanager
    def clock(self, every: float, *, older: bool = False) -> Iterator[None]:
        """The sweep strikes again and again until the block ends, each time on older records if so wished."""
        over = threading.Event()

        def strike() -> None:
            while not over.wait(every):
                self.grow_older() if older else self.give_up_events()
                with contextlib.suppress(ClientError, BotoCoreError):
                    self.rig.sweep()

        thread = threading.Thread(target=strike, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(60)

    def grow_older(self) -> None:
        """Make what has been silent for three seconds half a minute older."""
        self.give_up_events()
        silent = f"BETWEEN now() - interval '25 seconds' AND now() - interval '{SILENT_SECONDS} seconds'"
        for column in ("sent_at", "created_at"):
            self.rig.sql(
                f"UPDATE rowmill.chunk SET {column} = {column} - interval '30 seconds' WHERE state = 'queued'"
                f" AND {column} {silent} AND upload IN (SELECT number FROM rowmill.upload WHERE tenant = %s)",
                self.account.name,
            )

    def give_up_events(self) -> None:
        """Make uploads that still wait for their file half a minute older: their event will not come."""
        self.rig.sql(
            "UPDATE rowmill.announcement SET created_at = created_at - interval '30 seconds'"
            " WHERE tenant = %s AND closed IS NULL AND created_at > now() - interval '25 seconds'",
            self.account.name,
        )

    def is_over(self) -> bool:
        """Every upload has ended, and its end is shown."""
        ledger = self.ledger()
        if len(ledger) < len(self.sent):
            return False
        items = self.items()
        return all(ended and shown and items[name]["state"] == state for name, state, ended, shown in ledger)

    def ledger(self) -> list[tuple[Any, ...]]:
        return self.rig.sql(
            "SELECT upload_id, state, finished_at IS NOT NULL, finished_at < projected_at"
            " FROM rowmill.upload WHERE upload_id = ANY(%s)",
            [each.upload_id for each in self.sent],
        )

    def states(self) -> str:
        return ", ".join(f"{name} {state}" for name, state, *_ in self.ledger())

    def items(self) -> dict[str, dict[str, Any]]:
        """The status table's items of this seed."""
        found = {}
        for each in self.sent:
            key = {"tenant": {"S": self.account.name}, "upload_id": {"S": each.upload_id}}
            item = self.rig.client("dynamodb").get_item(TableName="rowmill-local-uploads", Key=key, ConsistentRead=True)
            found[each.upload_id] = {name: next(iter(value.values())) for name, value in item["Item"].items()}
        return found

    def scene(self) -> Scene:
        with self.rig.connect() as db:
            scene = look(db, self.account.name, self.sent, self.items())
        scene.left = self.rig.waiting()
        return scene

    def hits(self) -> Counter[str]:
        events = Counter(f"S3 event {each.upload.event}" for each in self.sent if each.upload.event != "once")
        return self.rig.board.hits + self.done + events

    # What is done to the queues

    def repeat_chunks(self) -> bool:
        """Send chunks' messages again, whatever has become of them."""
        chunks = self.rig.sql(
            "SELECT u.plan ->> 'tier', c.upload, c.n FROM rowmill.chunk c JOIN rowmill.upload u ON u.number = c.upload"
            " WHERE u.tenant = %s AND c.pass = 'load' ORDER BY c.upload, c.n",
            self.account.name,
        )
        chosen = random.Random(self.plan.seed).sample(chunks, min(REPEATED, len(chunks)))
        for tier, upload, n in chosen:
            self.rig.send(tier, {"upload": upload, "chunk": n})
        return bool(chosen)

    def repeat_events(self) -> bool:
        """Say again that the files have arrived."""
        for each in self.sent:
            self.rig.send("intake", self.account.event(each.upload_id))
        return bool(self.sent)

    def cancel(self) -> bool:
        """Ask for the end of the upload that the plan wants canceled, once Postgres knows it."""
        chosen = next((each for each in self.sent if each.upload.fate == "cancel"), None)
        if chosen is None or not eventually(lambda: self._is_known(chosen), 3, pauses=(0.02,)):
            return False
        return self.account.ask(chosen.upload_id, "cancel")

    def replace(self) -> bool:
        """Put another object in the place of the one that is being loaded; S3 tells of it as of any other."""
        chosen = next((each for each in self.sent if each.upload.fate == "replace"), None)
        if chosen is None or not eventually(lambda: self._is_known(chosen), 3, pauses=(0.02,)):
            return False
        key = f"uploads/{self.account.name}/{chosen.upload_id}/source"
        self.rig.client("s3").put_object(Bucket=BUCKET, Key=key, Body=chosen.data.replace(b"note", b"evil"))
        return not self.is_over()

    def _is_known(self, sent: Sent) -> bool:
        return any(row[0] == sent.upload_id for row in self.ledger())

    def send_nonsense(self) -> bool:
        """Messages that name nothing there is."""
        number = max((row[0] for row in self.rig.sql("SELECT number FROM rowmill.upload")), default=1)
        for queue in ("high", "medium", "low"):
            self.rig.send(queue, {"upload": 2**31 - 1, "chunk": 1}, {"upload": number, "chunk": 9999}, "no json", "[]")
        self.rig.send("settle", {"upload": 2**31 - 1}, {})
        self.rig.send("intake", {}, {"tenant": "ten_x", "upload_id": "upl_x"})
        return True


def digest(rig: Rig, tenants: Sequence[str]) -> str:
    """All rows of these tenants' tables in one hash."""
    found = []
    for (number,) in rig.sql("SELECT number FROM rowmill.dataset WHERE tenant = ANY(%s) ORDER BY 1", list(tenants)):
        found += rig.sql(f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY _row)) FROM data.d_{int(number)} t")
    return json.dumps(found)
