"""What is held against uploads that somebody has looked at: rejects that were read again, and what was held first.

As in `audit`, a problem is a sentence, and what should be there comes from the files.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from bench.campaign import oracle
from bench.campaign.files import SCHEMAS
from bench.campaign.oracle import Cells
from bench.campaign.scene import Row, Scene, Seen

MOST = 5  # records that a problem spells out


def _mended(parent: Seen) -> dict[int, Cells]:
    """The records of a file that come right as they are read again, with their values."""
    schema = SCHEMAS[parent.sent.upload.recipe.shape]
    found = {record.place: oracle.mended(record, schema) for record in oracle.read(parent.sent.data)}
    return {place: cells for place, cells in found.items() if cells is not None}


def again(scene: Scene) -> dict[Row, Cells]:
    """The rows that uploads which read rejects again are to have, by what they took up."""
    mended = {seen.sent.upload_id: _mended(seen) for seen in scene.uploads if seen.sent.upload.fixes}
    return {
        (seen.number, place): mended[seen.sent.parent].get(record, ())
        for seen in scene.uploads
        if seen.sent.parent
        for place, record in enumerate(seen.taken, 1)
    }


def taken_up_once(scene: Scene, parent: Seen) -> Iterator[str]:
    """Every reject that some of the fixes mend is a row of one retry, and all of them are what is corrected."""
    if not parent.sent.upload.fixes:
        return
    children = [seen for seen in scene.uploads if seen.sent.parent == parent.sent.upload_id]
    table = scene.tables.get(parent.sent.upload.recipe.shape, {})
    mended = _mended(parent)
    found = Counter(
        record for seen in children for place, record in enumerate(seen.taken, 1) if (seen.number, place) in table
    )
    for what, odd in (
        ("are in no retry", [record for record in mended if not found[record]]),
        ("are in twice", [record for record, times in found.items() if times > 1]),
        ("are in, and no fix mends them", [record for record in found if record not in mended]),
    ):
        if odd:
            yield f"{parent.name}: {len(odd)} rejects {what}, such as records {sorted(odd)[:MOST]}"
    for seen in children:
        code = (seen.ledger.get("error") or {}).get("code")
        if seen.ledger["state"] != "completed" and (code != "nothing_to_retry" or seen.taken):
            yield f"{seen.name}, a retry, is {seen.ledger['state']} for {code}"
    shown = json.loads(parent.item.get("retries", "{}"))
    if shown.get("resolved") != len(mended):
        yield f"{parent.name}: {shown.get('resolved')} rejects count as corrected, {len(mended)} are to"
    if sorted(shown.get("children", ())) != sorted(seen.sent.upload_id for seen in children):
        yield f"{parent.name}: its retries are shown as {shown.get('children')}"


def held(scene: Scene, seen: Seen) -> Iterator[str]:
    """What was held has loaded only if somebody said so, and says what it was held for."""
    verdict = seen.sent.upload.verdict
    if not verdict:
        return
    rows = sum(upload == seen.number for upload, _ in scene.tables.get(seen.sent.upload.recipe.shape, {}))
    if not any(kind == "needs_review" for _, kind in seen.events):
        yield f"{seen.name} was not held, and has {rows} rows in the table"
    if verdict == "cancel" and (rows or seen.ledger["state"] != "canceled"):
        yield f"{seen.name} was refused, is {seen.ledger['state']} and has {rows} rows in the table"
    if verdict == "confirm" and (not rows or seen.is_check):
        yield f"{seen.name} was accepted, is {seen.ledger['state']} and has {rows} rows in the table"
    if not (seen.ledger.get("drift") or {}).get("differences"):
        yield f"{seen.name} is unlike those before, and {seen.ledger.get('drift')} is what is told of it"
