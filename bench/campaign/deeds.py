"""What a plan has done to a seed besides cutting lines: messages repeated, uploads canceled, objects replaced."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.campaign.hands import Deed
from bench.campaign.plan import Fate
from bench.campaign.rig import Rig, eventually
from bench.campaign.scene import Sent
from bench.campaign.tenant import BUCKET, Tenant

REPEATED = 8  # messages


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
            "cancel": self.cancel,
            "replace": self.replace,
        }

    def repeat_chunks(self) -> bool:
        """Send chunks' messages again, whatever has become of them."""
        chunks = self.rig.sql(
            "SELECT u.plan ->> 'tier', c.upload, c.n FROM rowmill.chunk c JOIN rowmill.upload u ON u.number = c.upload"
            " WHERE u.tenant = %s AND c.pass = 'load' ORDER BY c.upload, c.n",
            self.account.name,
        )
        chosen = random.Random(self.seed).sample(chunks, min(REPEATED, len(chunks)))
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
        chosen = self._fated("cancel")
        return chosen is not None and self.account.ask(chosen.upload_id, "cancel")

    def replace(self) -> bool:
        """Put another object in the place of the one that is being loaded; S3 tells of it as of any other."""
        chosen = self._fated("replace")
        if chosen is None:
            return False
        key = f"uploads/{self.account.name}/{chosen.upload_id}/source"
        self.rig.client("s3").put_object(Bucket=BUCKET, Key=key, Body=chosen.data.replace(b"note", b"evil"))
        return not self._look_up(chosen, "finished_at IS NOT NULL")

    def _fated(self, fate: Fate) -> Sent | None:
        """The upload of this fate, once Postgres knows it."""
        chosen = next((each for each in self.sent if each.upload.fate == fate), None)
        return chosen if chosen and eventually(lambda: self._look_up(chosen, "true"), 3, pause=0.02) else None

    def _look_up(self, sent: Sent, condition: str) -> bool:
        return bool(self.rig.sql(f"SELECT FROM rowmill.upload WHERE upload_id = %s AND {condition}", sent.upload_id))

    def send_nonsense(self) -> bool:
        """Messages that name nothing there is."""
        number = max((row[0] for row in self.rig.sql("SELECT number FROM rowmill.upload")), default=1)
        for queue in ("high", "medium", "low"):
            self.rig.send(queue, {"upload": 2**31 - 1, "chunk": 1}, {"upload": number, "chunk": 9999}, "no json", "[]")
        self.rig.send("settle", {"upload": 2**31 - 1}, {})
        self.rig.send("intake", {}, {"tenant": "ten_x", "upload_id": "upl_x"})
        return True
