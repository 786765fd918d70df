"""What a plan has done to a seed besides cutting lines: messages repeated, uploads held, canceled, objects replaced."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import httpx

from bench.campaign.hands import Deed
from bench.campaign.rig import Rig, eventually
from bench.campaign.scene import Sent
from bench.campaign.tenant import BUCKET, Tenant

REPEATED = 8  # messages
PAUSED_SECONDS = 1.0
ASKED_SECONDS = 30.0
HELD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Deeds:
    """`sent` grows while the seed runs. Every deed says whether it was done."""

    rig: Rig
    account: Tenant
    sent: Sequence[Sent]
    seed: int

    def by_name(self) -> Mapping[str, Deed]:
        """As plans name them."""
        return {
            "repeat chunks": self.repeat_chunks,
            "repeat events": self.repeat_events,
            "send nonsense": self.send_nonsense,
            "pause": self.pause,
        }

    def befall(self, sent: Sent) -> bool:
        """Bring an upload's fate about in the middle of it: when two of its chunks are in."""
        if not eventually(lambda: self._has_loaded(sent, 2), 10, pause=0.02):
            return False
        return self._cancel(sent) if sent.upload.fate == "cancel" else self._replace(sent)

    def _has_loaded(self, sent: Sent, chunks: int) -> bool:
        loaded = self.rig.sql(
            "SELECT count(*) FROM rowmill.chunk c JOIN rowmill.upload u ON u.number = c.upload"
            " WHERE u.upload_id = %s AND c.state = 'loaded'",
            sent.upload_id,
        )
        return bool(loaded[0][0] >= chunks)

    def repeat_chunks(self) -> bool:
        """Send chunks' messages again, whatever has become of them."""
        chunks = self.rig.sql(
            "SELECT u.plan ->> 'tier', c.upload, c.n, c.pass FROM rowmill.chunk c"
            " JOIN rowmill.upload u ON u.number = c.upload"
            " WHERE u.tenant = %s AND c.pass IN ('load', 'check') ORDER BY c.upload, c.n, c.pass",
            self.account.name,
        )
        chosen = random.Random(self.seed).sample(chunks, min(REPEATED, len(chunks)))
        for tier, upload, n, reading in chosen:
            self.rig.send(tier, {"upload": upload, "chunk": n, "pass": reading})
        return bool(chosen)

    def repeat_events(self) -> bool:
        """Say again that the files have arrived."""
        for each in self.sent:
            self.rig.send("intake", self.account.event(each.upload_id))
        return bool(self.sent)

    def revert(self, sent: Sent) -> bool:
        """Ask twice, and send for it once more than needs be."""
        number = self.rig.sql("SELECT number FROM rowmill.upload WHERE upload_id = %s", sent.upload_id)[0][0]
        asked = [self._is_asked(sent, "revert") for _ in range(2)]
        self.rig.send("settle", {"upload": number})
        return asked == [True, True]

    def fix(self, parent: Sent, fixes: Sequence[str]) -> Sent:
        """Have the rejects read again that these mend, and tell of the order once more than needs be."""
        asked = json.dumps({"parent": parent.upload_id, "fix": sorted(fixes)}).encode()
        child = self.account.fix(parent.upload_id, fixes, f"{self.seed}-{'-'.join(fixes)}")
        self.rig.send("intake", self.account.event(child))
        return Sent(replace(parent.upload, wave=1, fixes=()), child, asked, parent.upload_id)

    def judge(self, sent: Sent) -> bool:
        """Say what is to become of an upload once it is held, twice; whether it was held at all."""
        held = eventually(lambda: self._rests(sent), HELD_SECONDS, pause=0.05) == "needs_review"
        if held:
            for _ in range(2):
                self._is_asked(sent, sent.upload.verdict)
        return held

    def _rests(self, sent: Sent) -> str | None:
        """The state of an upload that nothing moves on by itself."""
        at_rest = "coalesce(finished_at, review_at) IS NOT NULL"
        found = self.rig.sql(f"SELECT state FROM rowmill.upload WHERE upload_id = %s AND {at_rest}", sent.upload_id)
        return str(found[0][0]) if found else None

    def pause(self) -> bool:
        """Pause every upload that can be, whatever else strikes meanwhile, and have them resumed a moment later."""
        paused = [each for each in self.sent if self._is_asked(each, "pause")]
        if paused:
            time.sleep(PAUSED_SECONDS)
        for each in paused:
            self._is_asked(each, "resume")
        return bool(paused)

    def _is_asked(self, sent: Sent, what: str) -> bool:
        """Whether it was done; asked again and again while the API itself is under fire."""
        give_up = time.monotonic() + ASKED_SECONDS
        while True:
            try:
                return self.account.ask(sent.upload_id, what)
            except httpx.HTTPError:
                if time.monotonic() > give_up:
                    raise

    def _cancel(self, sent: Sent) -> bool:
        return self.account.ask(sent.upload_id, "cancel")

    def _replace(self, sent: Sent) -> bool:
        """Put another object in the place of the one that is being loaded; S3 tells of it as of any other."""
        key = f"uploads/{self.account.name}/{sent.upload_id}/source"
        self.rig.client("s3").put_object(Bucket=BUCKET, Key=key, Body=sent.data.replace(b"note", b"evil"))
        under_way = "SELECT 1 FROM rowmill.upload WHERE upload_id = %s AND finished_at IS NULL"
        return bool(self.rig.sql(under_way, sent.upload_id))

    def send_nonsense(self) -> bool:
        """Messages that name nothing there is."""
        number = max((row[0] for row in self.rig.sql("SELECT number FROM rowmill.upload")), default=1)
        for queue in ("high", "medium", "low"):
            self.rig.send(queue, {"upload": 2**31 - 1, "chunk": 1}, {"upload": number, "chunk": 9999}, "no json", "[]")
        self.rig.send("settle", {"upload": 2**31 - 1}, {})
        self.rig.send("intake", {}, {"tenant": "ten_x", "upload_id": "upl_x"})
        return True
