"""One seed: files sent into the middle of faults, then faults off, a drain, the audit.

The clock that strikes once a minute strikes every second here, and time is moved instead of waited for: what has
been silent for three seconds is made half a minute older, so that the sweep may judge it now.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bench.campaign import files
from bench.campaign.audit import audit
from bench.campaign.board import Fault, Poison
from bench.campaign.deeds import Deeds
from bench.campaign.plan import DEEDS, POISONS, STAYS_HIDDEN, Plan, Upload
from bench.campaign.results import Result
from bench.campaign.rig import CHUNKS, FAKETIME, HIDDEN_SECONDS, VISIBILITY_SECONDS, Rig, eventually
from bench.campaign.scene import Scene, Sent, look
from bench.campaign.tenant import Tenant, tenant

FAULT_SECONDS = 12.0
REDRIVE_SECONDS = 5.0
BOUND_SECONDS = 60.0  # I8
LATE_SECONDS = 15.0  # for messages that were put off
SILENT_SECONDS = 3
STRIKE_SECONDS = 1.0


def run(rig: Rig, plan: Plan, bystanders: Callable[[], str]) -> tuple[Result, Scene]:
    """Run a seed. `bystanders` is a digest of what other tenants have; it must not change."""
    began, before = time.monotonic(), bystanders()
    with tenant(rig) as account:
        seed = Seed(rig, plan, account)
        scene = seed.run()
    problems = audit(scene)
    problems["I8"] += seed.stuck
    problems["I10"] += sorted(seed.parts)
    problems["I12"] += sorted(seed.early)
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
    parts: set[str] = field(default_factory=set)
    early: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    recovery: float = 0.0

    @property
    def deeds(self) -> Deeds:
        return Deeds(self.rig, self.account, self.sent, self.plan.seed)

    def run(self) -> Scene:
        """From the first file to the last message; what is to be seen then."""
        self.prepare()
        self.attack()
        self.drain()
        return self.scene()

    def prepare(self) -> None:
        """Load the older files in peace, then set clocks and arm the faults."""
        self.rig.redeploy(CHUNKS)
        for upload in self.plan.uploads:
            if not upload.wave:
                self.send(upload)
                if upload.recipe.shape != "sales":  # which has no key: nobody comes after anybody there
                    eventually(self.is_over, BOUND_SECONDS)
        eventually(self.is_over, BOUND_SECONDS)
        self.rig.hands.deeds = {**self.rig.hands.deeds, **self.deeds.by_name()}
        self.rig.set_clocks(dict(self.plan.skew))
        self.rig.hide_messages(HIDDEN_SECONDS if self.plan.hides else VISIBILITY_SECONDS)
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
        sent = Sent(upload, created["id"], data)
        self.sent.append(sent)
        if upload.fate in DEEDS:
            self.done[DEEDS[upload.fate]] += self.deeds.befall(sent)
        if upload.verdict:
            self.done[f"held, then {upload.verdict}"] += self.deeds.judge(sent)

    def fix(self, parent: Sent, fixes: Sequence[str]) -> None:
        """Have some of an upload's rejects read again."""
        self.sent.append(self.deeds.fix(parent, fixes))
        self.done["fix"] += 1

    def attack(self) -> None:
        """Send the files and let the faults strike, until all is over or the time is up."""
        began = time.monotonic()
        uploads = [each for each in self.plan.uploads if each.wave]
        with self.clock():
            for upload in sorted(uploads, key=lambda each: each.event != "lost"):
                if upload.event == "lost":  # the bucket is deaf meanwhile: one at a time
                    self.send(upload)
            with ThreadPoolExecutor(6) as pool:
                fixed = [(parent, fixes) for parent in self.sent for fixes in parent.upload.fixes]
                asked = [pool.submit(self.fix, *each) for each in fixed]
                list(pool.map(self.send, [each for each in uploads if each.event != "lost"]))
                for each in asked:
                    each.result()
            eventually(self.is_over, FAULT_SECONDS - (time.monotonic() - began))
            self.cure()
            self.undo()

    def undo(self) -> None:
        """Have uploads that are over undone, and asked for twice, under faults of their own."""
        undone = [each for each in self.sent if each.upload.undone]
        if not undone:
            return
        eventually(self.is_over, BOUND_SECONDS)
        self.rig.board.aim(self.plan.undo)
        for each in undone:
            self.done["revert"] += self.deeds.revert(each)
        eventually(self.is_over, FAULT_SECONDS)

    def cure(self) -> None:
        """When the poisoned chunks have been given up, take the poison away and have them tried again, under fire."""
        poisoned = [each for each in self.sent if each.upload.fate in POISONS]
        if poisoned:
            eventually(self.is_over, BOUND_SECONDS)
            self.rig.board.poisons.clear()
            for each in poisoned:
                self.done["redrive"] += self.account.ask(each.upload_id, "redrive")
            eventually(self.is_over, REDRIVE_SECONDS)

    def drain(self) -> None:
        """Faults off: every upload has to end. Then late and stale messages, until none is left."""
        self.rig.board.disarm()
        with self.clock():
            if not eventually(self.is_over, BOUND_SECONDS, pause=0.2):
                self.stuck.append(f"not over {BOUND_SECONDS:.0f} s after the last fault: {self.states()}")
            self.recovery = round(time.monotonic() - self.rig.board.last_hit, 1)
            if self.plan.skew and FAKETIME.exists():
                self.done["clock skew"] += 1
            self.rig.set_clocks({})
            if self.plan.hides:
                self.done[STAYS_HIDDEN] += self.rig.forget_hidden()
            self.done["stale messages after the end"] += self.deeds.repeat_chunks() and self.deeds.repeat_events()
            if not eventually(self.is_sealed, BOUND_SECONDS, pause=0.2):
                self.stuck.append(f"without a receipt {BOUND_SECONDS:.0f} s after that: {self.states()}")
            eventually(lambda: not self.rig.waiting(), LATE_SECONDS, pause=0.3)

    @contextlib.contextmanager
    def clock(self) -> Iterator[None]:
        """The sweep strikes again and again until the block ends, each time on older records."""
        over = threading.Event()

        def strike() -> None:
            while not over.wait(STRIKE_SECONDS):
                self.grow_older()
                self.look_for_parts()
                self.look_for_held()
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
        """Make what has been silent for three seconds half a minute older, and uploads that wait for their event."""
        silent = f"BETWEEN now() - interval '25 seconds' AND now() - interval '{SILENT_SECONDS} seconds'"
        for column in ("sent_at", "created_at"):
            self.rig.sql(
                f"UPDATE rowmill.chunk SET {column} = {column} - interval '30 seconds' WHERE state = 'queued'"
                f" AND {column} {silent} AND upload IN (SELECT number FROM rowmill.upload WHERE tenant = %s)",
                self.account.name,
            )
        self.rig.sql(
            "UPDATE rowmill.upload SET receipt_asked_at = now() - interval '30 seconds'"
            " WHERE tenant = %s AND receipted_at IS DISTINCT FROM finished_at"
            f" AND coalesce(receipt_asked_at, finished_at) < now() - interval '{SILENT_SECONDS} seconds'"
            " AND coalesce(receipt_asked_at, finished_at) > now() - interval '25 seconds'",
            self.account.name,
        )
        self.rig.sql(
            "UPDATE rowmill.announcement SET created_at = created_at - interval '30 seconds'"
            " WHERE tenant = %s AND closed IS NULL AND created_at > now() - interval '25 seconds'",
            self.account.name,
        )

    def look_for_parts(self) -> None:
        """Rows of an upload that is to be whole and is under way."""
        whole = [each.upload_id for each in list(self.sent) if each.upload.whole]
        open_ = self.rig.sql(
            "SELECT number, dataset FROM rowmill.upload"
            " WHERE upload_id = ANY(%s) AND finished_at IS NULL AND state <> 'reverting'",
            whole,
        )
        for number, dataset in open_:
            if shown := self._shown(number, dataset, "u.finished_at IS NULL AND u.state <> 'reverting'"):
                self.parts.add(f"upload {number} shows {shown} rows while it is under way")

    def look_for_held(self) -> None:
        """Rows of an upload that nobody has let load yet."""
        held = [each.upload_id for each in list(self.sent) if each.upload.verdict]
        for number, dataset in self.rig.sql(
            "SELECT number, dataset FROM rowmill.upload WHERE upload_id = ANY(%s)", held
        ):
            if shown := self._shown(number, dataset, "u.pass = 'check'"):
                self.early.add(f"upload {number} shows {shown} rows while it is held")

    def _shown(self, number: int, dataset: int, is_so: str) -> int:
        """How many rows of an upload are in its dataset's table while it is so: one statement, so one moment."""
        ((count,),) = self.rig.sql(
            f"SELECT count(*) FROM data.d_{int(dataset)} JOIN rowmill.upload u ON u.number = _row >> 32"
            f" WHERE u.number = %s AND {is_so}",
            number,
        )
        return int(count)

    def is_over(self) -> bool:
        """Every upload has ended, and its end is shown."""
        ledger = self.ledger()
        if len(ledger) < len(self.sent):
            return False
        items = self.items()
        return all(ended and shown and items[name]["state"] == state for name, state, ended, shown in ledger)

    def is_sealed(self) -> bool:
        """Every upload has the receipt of its end."""
        left = (
            "SELECT number FROM rowmill.upload WHERE upload_id = ANY(%s) AND receipted_at IS DISTINCT FROM finished_at"
        )
        return not self.rig.sql(left, [each.upload_id for each in self.sent])

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
        """Look when the queues are quiet: a message that was put off for longer may still come, and does no harm."""
        quiet = eventually(self.is_quiet, LATE_SECONDS)
        with self.rig.connect() as db:
            scene = look(db, self.account.name, self.sent, self.items())
        scene.keys = {key["kid"]: key["x"] for key in self.account.rowmill.receipt_keys()["keys"]}
        scene.left = {} if quiet else self.rig.waiting()
        return scene

    def is_quiet(self) -> bool:
        """No message is to be worked on now, or being worked on; none could not even be buried."""
        waiting = self.rig.waiting()
        return "undeliverable" not in waiting and not any(now for now, _ in waiting.values())

    def hits(self) -> Counter[str]:
        events = Counter(f"S3 event {each.upload.event}" for each in self.sent if each.upload.event != "once")
        return self.rig.board.hits + self.done + events
