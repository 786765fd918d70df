"""What is to be seen after a seed: ledger, chunks, rejects, events, rows and status items, by plain SQL.

Nothing is asked of Rowmill's own code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from bench.campaign.files import SCHEMAS, Shape
from bench.campaign.oracle import Cells, read
from bench.campaign.plan import Upload

Row = tuple[int, int]  # upload number, record


@dataclass(frozen=True, slots=True)
class Sent:
    """A file as it was uploaded; of rejects that are read again, the order to do so and whose they are."""

    upload: Upload
    upload_id: str
    data: bytes
    parent: str = ""


@dataclass(slots=True)
class Seen:
    """What an upload came to: its ledger row, chunks, rejects, events, and its item in the status table.

    Chunks and rejects of the pass that it is in. `taken` are the records of another one's file that it was to read.
    """

    sent: Sent
    ledger: dict[str, Any]
    chunks: list[dict[str, Any]]
    rejects: dict[int, tuple[int, list[str], bytes]]
    events: list[tuple[str, str]]
    item: dict[str, Any]
    receipts: list[dict[str, Any]]
    taken: list[int] = field(default_factory=list)
    text: bytes = b""  # that its chunks are of

    @property
    def number(self) -> int:
        return int(self.ledger["number"])

    @property
    def name(self) -> str:
        return f"upload {self.number} ({self.sent.upload.recipe.shape}, {self.sent.upload.mode})"

    def total(self, count: str) -> int:
        """A count over all chunks and settlings; nothing is loaded by a check."""
        if count == "loaded" and self.is_check:
            return 0
        return sum(int(chunk[count]) for chunk in self.chunks)

    @property
    def is_check(self) -> bool:
        """Whether it ended before anybody let it load."""
        return bool(self.ledger.get("pass") == "check")

    @property
    def first_byte(self) -> int:
        """Where the first record begins: below the header, where there is one."""
        return 0 if self.sent.parent else self.text.index(b"\n") + 1

    @property
    def was_cut_short(self) -> bool:
        """Whether it ended before its scan did, for a reason that the plan knows."""
        planned = self.sent.upload.fate in ("cancel", "replace") or bool(self.sent.parent and not self.taken)
        return planned and self.ledger.get("chunks_total") is None

    @property
    def unprocessed(self) -> int:
        given_up = sum(chunk["records"] for chunk in self.chunks if chunk["state"] in ("dead", "canceled"))
        checked = sum(chunk["loaded"] for chunk in self.chunks) if self.is_check else 0
        return int(given_up) + int(checked) + self.total("contested")


@dataclass(slots=True)
class Scene:
    """Everything there is to see after a seed."""

    uploads: list[Seen] = field(default_factory=list)
    tables: dict[Shape, dict[Row, Cells]] = field(default_factory=dict)
    copies: dict[Shape, int] = field(default_factory=dict)  # rows beyond the first of a `_row`
    left: dict[str, tuple[int, int]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # that sign receipts, in base64url by their ids


def look(db: psycopg.Connection[Any], tenant: str, sent: Sequence[Sent], items: Mapping[str, dict[str, Any]]) -> Scene:
    """Read it all."""
    scene = Scene()
    for one in sent:
        ledger = _dicts(db, "SELECT * FROM rowmill.upload WHERE upload_id = %s", one.upload_id)
        if not ledger:
            ledger = [{"number": 0, "state": "unknown to Postgres", "generation": 0, "finished_at": None}]
        scene.uploads.append(_look_at(db, one, ledger[0], items.get(one.upload_id, {})))
    _give_texts(scene)
    shapes = {each.upload.recipe.shape for each in sent}
    for number, name in db.execute("SELECT number, name FROM rowmill.dataset WHERE tenant = %s", (tenant,)):
        if name in shapes:
            scene.tables[name], scene.copies[name] = _rows(db, number, name)
    return scene


def _give_texts(scene: Scene) -> None:
    """What the chunks of each upload lie in: its file, or the records it took up as they stand in another one's."""
    files = {seen.sent.upload_id: seen.sent.data for seen in scene.uploads}
    for seen in scene.uploads:
        seen.text = seen.sent.data
        if seen.sent.parent:
            raw = {record.place: record.raw for record in read(files[seen.sent.parent])}
            seen.text = b"".join(raw.get(place, b"?") + b"\n" for place in seen.taken)


def _look_at(db: psycopg.Connection[Any], sent: Sent, ledger: dict[str, Any], item: dict[str, Any]) -> Seen:
    number = ledger["number"]
    reading = str(ledger.get("pass", "load"))
    settling = "settle_check" if reading == "check" else "settle"
    chunks = _dicts(
        db, "SELECT * FROM rowmill.chunk WHERE upload = %s AND pass IN (%s, %s) ORDER BY n", number, reading, settling
    )
    rejects = {
        record: (line, [error["code"] for error in errors], bytes(raw))
        for record, line, errors, raw in db.execute(
            "SELECT record, line, errors, raw FROM rowmill.reject WHERE upload = %s AND pass = %s", (number, reading)
        )
    }
    events = db.execute("SELECT event_id, kind FROM rowmill.outbox WHERE upload = %s", (number,)).fetchall()
    receipts = _dicts(db, "SELECT * FROM rowmill.receipt WHERE upload = %s ORDER BY n", number)
    taken = db.execute(
        "SELECT unnest(records) FROM rowmill.taken WHERE upload = %s ORDER BY first_record", (number,)
    ).fetchall()
    return Seen(sent, ledger, chunks, rejects, events, item, receipts, [row[0] for row in taken])


def _rows(db: psycopg.Connection[Any], dataset: int, shape: Shape) -> tuple[dict[Row, Cells], int]:
    names = ", ".join(f'"{each["name"]}"::text' for each in SCHEMAS[shape]["fields"])
    found: dict[Row, Cells] = {}
    copies = 0
    for lineage, *cells in db.execute(f"SELECT _row, {names} FROM data.d_{int(dataset)}"):
        row = (lineage >> 32, lineage & 0xFFFFFFFF)
        copies += row in found
        found[row] = tuple(cells)
    return found, copies


def _dicts(db: psycopg.Connection[Any], statement: str, *values: Any) -> list[dict[str, Any]]:
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, values).fetchall()
