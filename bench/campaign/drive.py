"""One seed: files sent into the middle of faults, then faults off, a drain, the audit.

The clock that strikes once a minute strikes every second here, and time is moved instead of waited for: in the
drain, what has been silent for three seconds is made five minutes older, so that the sweep may judge it now.
"""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rowmill_client import Patience, Rowmill

from bench.campaign import files
from bench.campaign.audit import INVARIANTS, Sent, audit, look
from bench.campaign.plan import Plan, Upload
from bench.campaign.rig import Rig, eventually

FAULT_SECONDS = 6.0
BOUND_SECONDS = 60.0  # I8
LATE_SECONDS = 15.0  # for messages that were put off
SILENT_SECONDS = 3
REPEATED = 8  # messages a deed repeats
BUCKET = "rowmill-local-000000000000-uploads"


@dataclass(slots=True)
class Result:
    """What a seed came to. `problems` by invariant; `recovery` from faults off to the last upload's end."""

    seed: int
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
    folder: Path

    def send(self, upload: Upload) -> Sent:
        """Announce a file and send it, with S3's event as the plan has it."""
        data = files.write(upload.recipe)
        path = self.folder / f"{uuid.uuid4()}.csv"
        path.write_bytes(data)
        created = self.rowmill.create_upload(path, upload.recipe.shape, {"mode": upload.mode})
        with _deaf(self.rig) if upload.event == "lost" else contextlib.nullcontext():
            self.rowmill.send_file(created, path)
        if upload.event == "twice":
            self.rig.send("intake", self.event(created["id"]), self.event(created["id"]))
        return Sent(upload, created["id"], data)

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
        yield Tenant(rig, rowmill, session["tenant_id"], Path(folder))


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


def run(rig: Rig, plan: Plan, bystanders: Callable[[], str]) -> Result:
    """Run a seed. `bystanders` is a digest of what other tenants have; it must not change."""
    began, before = time.monotonic(), bystanders()
    result = Result(plan.seed, plan.kinds)
    with tenant(rig) as account:
        seed = _Seed(rig, plan, account)
        seed.prepare()
        seed.attack()
        result.recovery = seed.drain()
        scene = seed.scene()
        result.problems = audit(scene)
        result.problems["I8"] += seed.stuck
        if bystanders() != before:
            result.problems["I7"].append("another tenant's tables have changed")
        result.hits = dict(seed.hits())
        result.states = [str(seen.ledger["state"]) for seen in scene.uploads]
        result.chunks = sum(chunk["pass"] == "load" for seen in scene.uploads for chunk in seen.chunks)
        result.records = sum(int(seen.ledger.get("rows_total") or 0) for seen in scene.uploads)
    result.connections = rig.postgres.peak
    result.seconds = round(time.monotonic() - began, 1)
    assert set(result.problems) == set(INVARIANTS)
    return result


@dataclass(slots=True)
class _Seed:
    """A seed under way."""

    rig: Rig
    plan: Plan
    account: Tenant
    sent: list[Sent] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Load the older files in peace, then set clocks and arm the faults."""
        for upload in self.plan.uploads:
            if not upload.wave:
                self.sent.append(self.account.send(upload))
                eventually(self.is_over, BOUND_SECONDS)
        self.rig.hands.deeds = {
            **self.rig.hands.deeds,
            "repeat chunks": self.repeat_chunks,
            "repeat events": self.repeat_events,
            "send nonsense": self.send_nonsense,
        }
        self.rig.set_clocks(dict(self.plan.skew))
        self.rig.postgres.peak = 0
        self.rig.board.arm(self.plan.faults)

    def attack(self) -> None:
        """Send the files and let the faults strike, until all is over or the time is up."""
        began = time.monotonic()
        uploads = [each for each in self.plan.uploads if each.wave]
        with self.clock(every=1.5):
            for upload in sorted(uploads, key=lambda each: each.event != "lost"):
                if upload.event == "lost":  # the bucket is deaf meanwhile: one at a time
                    self.sent.append(self.account.send(upload))
            with ThreadPoolExecutor(4) as pool:
                self.sent += pool.map(self.account.send, [each for each in uploads if each.event != "lost"])
            eventually(self.is_over, FAULT_SECONDS - (time.monotonic() - began))

    def drain(self) -> float:
        """Faults off: how long until every upload has ended. Then late and stale messages, until none is left."""
        self.rig.board.disarm()
        began = time.monotonic()
        with self.clock(every=1.0, older=True):
            if not eventually(self.is_over, BOUND_SECONDS, pauses=(0.2,)):
                self.stuck.append(f"not over {BOUND_SECONDS:.0f} s after the last fault: {self.states()}")
            recovery = time.monotonic() - began
            if self.plan.skew:
                self.done["clock skew"] += 1
            self.rig.set_clocks({})
            self.repeat_chunks()
            self.repeat_events()
            eventually(lambda: not self.rig.waiting(), LATE_SECONDS, pauses=(0.3,))
        return round(recovery, 1)

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
        """Make what has been silent for three seconds five minutes older."""
        self.give_up_events()
        tenant = self.account.name
        silent = f"BETWEEN now() - interval '30 seconds' AND now() - interval '{SILENT_SECONDS} seconds'"
        for column in ("sent_at", "started_at", "created_at"):
            self.rig.sql(
                f"UPDATE rowmill.chunk SET {column} = {column} - interval '5 minutes' WHERE state = 'queued'"
                f" AND {column} {silent} AND upload IN (SELECT number FROM rowmill.upload WHERE tenant = %s)",
                tenant,
            )
        self.rig.sql(
            "UPDATE rowmill.upload SET scan_seen_at = scan_seen_at - interval '5 minutes'"
            f" WHERE tenant = %s AND finished_at IS NULL AND scan_seen_at {silent}",
            tenant,
        )

    def give_up_events(self) -> None:
        """Make uploads that still wait for their file an hour older: their event will not come."""
        for upload_id, item in self.items().items():
            if item["state"] == "awaiting_upload":
                self._make_older(upload_id, item["created_at"])

    def _make_older(self, upload_id: str, created_at: str) -> None:
        with contextlib.suppress(ClientError):
            self.rig.client("dynamodb").update_item(
                TableName="rowmill-local-uploads",
                Key={"tenant": {"S": self.account.name}, "upload_id": {"S": upload_id}},
                UpdateExpression="SET created_at = :older",
                ConditionExpression="attribute_exists(waiting)",
                ExpressionAttributeValues={":older": {"S": "2026" + created_at[4:11] + "00:00:00.000Z"}},
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

    def scene(self) -> Any:
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
