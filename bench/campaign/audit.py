"""The invariants I1 to I12, held against what Postgres, DynamoDB and the queues say after a seed.

What should be there comes from the oracle. A problem is a sentence; no sentence, no problem.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.campaign import oracle, review
from bench.campaign.files import SCHEMAS, Shape
from bench.campaign.oracle import Cells, Expected
from bench.campaign.scene import Row, Scene, Seen

INVARIANTS = {
    "I1": "each valid row once",
    "I2": "counts add up",
    "I3": "every upload ended, and completed only if each chunk is in",
    "I4": "the status table says what Postgres says",
    "I5": "one event a completion",
    "I6": "chunks cover the file, queues are drained",
    "I7": "no other tenant touched",
    "I8": "nothing stuck",
    "I9": "each end has a receipt that is signed, adds up and names the one before",
    "I10": "all rows at once or none, where that is asked",
    "I11": "a reject that is read again is in once, and counts as corrected once",
    "I12": "what is held has no row until somebody lets it load, and none if nobody does",
}
COUNTS = ("loaded", "updated", "skipped", "rejected")
TERMINAL = ("completed", "completed_with_errors", "failed", "canceled", "reverted", "quarantined")
MOST = 5  # differences that a problem spells out


def audit(scene: Scene) -> dict[str, list[str]]:
    """The problems of each invariant. I7, I8, parts of I10 and I12 are seen by the driver, which adds its own."""
    problems: dict[str, list[str]] = {name: [] for name in INVARIANTS}
    shapes: dict[Shape, list[Seen]] = defaultdict(list)
    for seen in scene.uploads:
        shapes[seen.sent.upload.recipe.shape].append(seen)
        problems["I2"] += _adds_up(seen)
        problems["I3"] += _ended(seen)
        problems["I4"] += _shown(seen)
        problems["I5"] += _announced(seen)
        problems["I6"] += _covered(seen)
        problems["I9"] += _sealed(seen, scene.keys)
    for seen in scene.uploads:
        problems["I11"] += review.taken_up_once(scene, seen)
        problems["I12"] += review.held(scene, seen)
    for shape, uploads in shapes.items():
        problems["I10"] += _none_of_it(scene, shape, uploads)
        problems["I1"] += _loaded_once(scene, shape, uploads)
    problems["I6"] += [f"{now} messages left in {queue}" for queue, (now, _) in scene.left.items()]
    return problems


def _adds_up(seen: Seen) -> Iterator[str]:
    records = len(seen.taken) if seen.sent.parent else len(oracle.read(seen.sent.data))
    if seen.was_cut_short:
        records = sum(chunk["records"] for chunk in seen.chunks)
    total = sum(seen.total(count) for count in COUNTS) + seen.unprocessed
    if total != records:
        yield f"{seen.name}: {records} records in the file, {total} accounted for"
    if seen.ledger.get("rows_total") != records:
        yield f"{seen.name}: rows_total is {seen.ledger.get('rows_total')}, the file has {records}"
    if len(seen.rejects) != seen.total("rejected"):
        yield f"{seen.name}: {len(seen.rejects)} rejects kept, {seen.total('rejected')} counted"


def _ended(seen: Seen) -> Iterator[str]:
    state = seen.ledger["state"]
    if state not in TERMINAL:
        yield f"{seen.name} is {state}"
    in_doubt = [chunk["n"] for chunk in seen.chunks if chunk["state"] != "loaded"]
    clean = not in_doubt and not seen.total("contested")
    if state == "completed" and (not clean or seen.total("rejected")):
        yield f"{seen.name} is completed with chunks {in_doubt[:MOST]} not loaded or rows rejected"
    if state == "completed_with_errors" and clean and not seen.total("rejected"):
        yield f"{seen.name} is completed_with_errors without an error"
    if (state == "reverted") != seen.sent.upload.undone:
        yield f"{seen.name} is {state}, and was {'' if seen.sent.upload.undone else 'not '}to be undone"
    late = [chunk["n"] for chunk in seen.chunks if chunk["state"] == "loaded" and _is_late(chunk, seen)]
    if late:
        yield f"{seen.name}: chunks {late[:MOST]} were committed after the end"
    queued = [chunk["n"] for chunk in seen.chunks if chunk["state"] == "queued"]
    if state in TERMINAL and queued:
        yield f"{seen.name} is {state} while chunks {queued[:MOST]} are queued"


def _is_late(chunk: Mapping[str, Any], seen: Seen) -> bool:
    return seen.ledger["finished_at"] is not None and chunk["finished_at"] > seen.ledger["finished_at"]


def _shown(seen: Seen) -> Iterator[str]:
    """The projection, against sums made here."""
    progress = json.loads(seen.item.get("progress", "{}"))
    wanted = {count: seen.total(count) for count in COUNTS} | {
        "unprocessed": seen.unprocessed,
        "rows_total": seen.ledger.get("rows_total"),
        "chunks_total": seen.ledger.get("chunks_total"),
    }
    shown = {name: progress.get(name) for name in wanted}
    if shown != wanted:
        yield f"{seen.name}: status shows {_difference(shown, wanted)}"
    if seen.item.get("state") != seen.ledger["state"]:
        yield f"{seen.name}: status says {seen.item.get('state')}, Postgres {seen.ledger['state']}"


def _difference(shown: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {shown[name]} for {wanted[name]}" for name in wanted if shown[name] != wanted[name])


def _announced(seen: Seen) -> Iterator[str]:
    generation = seen.ledger["generation"]
    wanted = [f"evt_{seen.sent.upload_id[4:]}_{each}" for each in range(1, generation + 1)]
    reviews = [f"evt_{seen.sent.upload_id[4:]}_1_review"] if seen.sent.upload.verdict else []
    if sorted(event for event, _ in seen.events) != sorted([*wanted, *reviews]):
        yield f"{seen.name}: events {[event for event, _ in seen.events]} for generation {generation}"
    elif dict(seen.events)[wanted[-1]] != seen.ledger["state"]:
        yield f"{seen.name}: the event says {dict(seen.events)[wanted[-1]]}, the upload is {seen.ledger['state']}"


def _sealed(seen: Seen, keys: Mapping[str, str]) -> Iterator[str]:
    """The receipts of an upload, read without Rowmill's own code; the newest is of the end that it has."""
    before, said = None, dict[str, Any]()
    for n, receipt in enumerate(seen.receipts, 1):
        opened = _opened(receipt["jws"], keys)
        if opened is None:
            yield f"{seen.name}: receipt {n} is not signed by a key of the service"
            return
        said = opened
        if said["supersedes"] != before or said["n"] != n:
            yield f"{seen.name}: receipt {n} supersedes {said['supersedes']}, not {before}"
        before = {"n": n, "sha256": hashlib.sha256(receipt["jws"].encode()).hexdigest()}
        yield from _receipt_adds_up(seen, said)
    ended = seen.ledger["finished_at"]
    if not said or ended is None or seen.ledger.get("receipted_at") != ended:
        yield f"{seen.name} has no receipt of its end"
        return
    wanted = {count: seen.total(count) for count in COUNTS} | {"unprocessed": seen.unprocessed}
    if said["counts"] != wanted:
        yield f"{seen.name}: the receipt says {_difference(said['counts'], wanted)}"
    digest = hashlib.sha256(seen.sent.data).hexdigest()
    if said["file"]["sha256"] not in ((digest, None) if seen.sent.upload.fate == "replace" else (digest,)):
        yield f"{seen.name}: the receipt is of another file"


def _receipt_adds_up(seen: Seen, said: Mapping[str, Any]) -> Iterator[str]:
    lines = [dict(zip(said["chunks"]["columns"], line, strict=True)) for line in said["chunks"]["items"]]
    corrected = said["settled"] or {}
    for count in COUNTS:
        total = sum(line[count] for line in lines) + corrected.get(count, 0)
        if total != said["counts"][count]:
            yield f"{seen.name}: receipt {said['n']} says {count} {said['counts'][count]}, its chunks {total}"
    if said["records"] != sum(said["counts"].values()):
        yield f"{seen.name}: receipt {said['n']} accounts for {sum(said['counts'].values())} of {said['records']}"


def _opened(jws: str, keys: Mapping[str, str]) -> dict[str, Any] | None:
    """What a receipt says, if one of these keys has signed it."""
    head, payload, signature = jws.split(".")
    key = keys.get(json.loads(_decoded(head))["kid"])
    try:
        if key is not None:
            public = Ed25519PublicKey.from_public_bytes(_decoded(key))
            public.verify(_decoded(signature), f"{head}.{payload}".encode())
            said: dict[str, Any] = json.loads(_decoded(payload))
            return said
    except InvalidSignature:
        pass
    return None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _covered(seen: Seen) -> Iterator[str]:
    """Chunks lie end to end from below the header to the end of the file, and hold every record."""
    chunks = [chunk for chunk in seen.chunks if chunk["pass"] in ("load", "check")]
    if [chunk["n"] for chunk in chunks] != list(range(1, len(chunks) + 1)):
        yield f"{seen.name}: chunks {[chunk['n'] for chunk in chunks]}"
    place, record = seen.first_byte, 1
    for chunk in chunks:
        if (chunk["byte_start"], chunk["first_record"]) != (place, record):
            found = f"{chunk['byte_start']} (record {chunk['first_record']})"
            yield f"{seen.name}: chunk {chunk['n']} begins at byte {found}, not {place} (record {record})"
        place, record = chunk["byte_end"], record + chunk["records"]
    if seen.was_cut_short:
        return
    if place != len(seen.text):
        yield f"{seen.name}: chunks end at byte {place} of {len(seen.text)}"
    if seen.ledger.get("chunks_total") != len(chunks):
        yield f"{seen.name}: chunks_total is {seen.ledger.get('chunks_total')}, there are {len(chunks)}"


def _is_aborted(seen: Seen) -> bool:
    return seen.sent.upload.whole == "abort"  # as every file has a row that is wrong


def _none_of_it(scene: Scene, shape: Shape, uploads: Sequence[Seen]) -> Iterator[str]:
    """What was to be whole and did not complete has no row; one that may have no reject fails, as all files have."""
    found = Counter(upload for upload, _ in scene.tables.get(shape, {}))
    for seen in uploads:
        state = seen.ledger["state"]
        if seen.sent.upload.whole and not state.startswith("completed") and found[seen.number]:
            yield f"{seen.name} is {state} with {found[seen.number]} rows in the table"
        if _is_aborted(seen) and (seen.ledger.get("error") or {}).get("code") != "rows_rejected":
            yield f"{seen.name} is {state} for {seen.ledger.get('error')}"


def _loaded_once(scene: Scene, shape: Shape, uploads: Sequence[Seen]) -> Iterator[str]:
    if scene.copies.get(shape):
        yield f"{shape}: {scene.copies[shape]} rows are there twice"
    for seen in uploads:
        dead = [(chunk["n"], chunk["error"]) for chunk in seen.chunks if chunk["state"] == "dead"]
        if dead and seen.sent.upload.fate != "replace":
            yield f"{seen.name}: given up without a cause: chunks {dead[:MOST]}"
    if any(seen.sent.upload.fate in ("cancel", "replace") for seen in uploads):
        yield from _loaded_as_counted(scene, shape, uploads)
    elif shape == "sales":  # which has no key: whoever comes at once meets nobody
        yield from _as_expected(scene, shape, [seen for seen in uploads if not seen.sent.parent], review.again(scene))
    elif sum(seen.sent.upload.wave for seen in uploads) > 1:
        yield from _legal_winners(scene, shape, [seen for seen in uploads if not _is_aborted(seen)])
    else:
        yield from _as_expected(scene, shape, uploads)


def _as_expected(
    scene: Scene, shape: Shape, uploads: Sequence[Seen], others: Mapping[Row, Cells] | None = None
) -> Iterator[str]:
    """Uploads one after the other: rows, rejects and counts are all determined. As if the undone had never been.

    `others` are rows besides.
    """
    in_order = [(seen.number, seen.sent.upload.mode, seen.sent.data) for seen in uploads]
    expected = oracle.expect(SCHEMAS[shape], in_order)
    undone = {seen.number for seen in uploads if seen.sent.upload.undone}
    refused = {seen.number for seen in uploads if seen.sent.upload.verdict == "cancel"}
    of_aborted = {seen.number for seen in uploads if _is_aborted(seen)}  # none of wave 0: nothing comes after it
    left = oracle.expect(SCHEMAS[shape], [one for one in in_order if one[0] not in undone | refused | of_aborted])
    yield from _compare_rows(shape, scene.tables.get(shape, {}), {**left.rows, **(others or {})})
    for seen in uploads:
        yield from _compare_rejects(seen, expected)
        counts = {count: seen.total(count) for count in COUNTS}
        wanted = expected.counts[seen.number]
        if seen.number in of_aborted | refused:
            wanted = {count: wanted[count] if count == "rejected" else 0 for count in COUNTS}
        if counts != wanted:
            yield f"{seen.name}: {_difference(counts, wanted)}"


def _compare_rows(shape: Shape, found: Mapping[Row, Cells], wanted: Mapping[Row, Cells]) -> Iterator[str]:
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    changed = sorted(row for row in wanted.keys() & found.keys() if wanted[row] != found[row])
    for what, rows in (("missing", missing), ("not expected", extra), ("changed", changed)):
        if rows:
            yield f"{shape}: {len(rows)} rows {what}, such as (upload, record) {rows[:MOST]}"


def _compare_rejects(seen: Seen, expected: Expected) -> Iterator[str]:
    wanted = {
        record: (loss.line, loss.codes, loss.raw) for record, loss in expected.rejects.get(seen.number, {}).items()
    }
    odd = sorted(
        record for record in wanted.keys() | seen.rejects.keys() if wanted.get(record) != seen.rejects.get(record)
    )
    if odd:
        first = odd[0]
        told = f"record {first}: {seen.rejects.get(first)} for {wanted.get(first)}"
        yield f"{seen.name}: {len(odd)} rejects differ, such as {told}"


def _legal_winners(scene: Scene, shape: Shape, uploads: Sequence[Seen]) -> Iterator[str]:
    """Two uploads at once into one key: which one wins is free, who may win is not."""
    legal, found = _legal(SCHEMAS[shape], uploads), scene.tables.get(shape, {})
    by_key = {str(cells[0]): row for row, cells in found.items()}
    odd = sorted(key for key in legal.keys() | by_key.keys() if by_key.get(key) not in legal.get(key, {}))
    if odd:
        yield f"{shape}: {len(odd)} keys without a legal winner, such as {odd[0]}: {by_key.get(odd[0])}"
    else:
        yield from _compare_rows(shape, found, {row: legal[key][row] for key, row in by_key.items()})


def _legal(schema: Mapping[str, Any], uploads: Sequence[Seen]) -> dict[str, dict[Row, Cells]]:
    """Who may hold a key: a rival that upserts it, else who held it before, else the first line of either."""
    older = [(seen.number, seen.sent.upload.mode, seen.sent.data) for seen in uploads if not seen.sent.upload.wave]
    rivals = [seen for seen in uploads if seen.sent.upload.wave]
    upserts = [seen for seen in rivals if seen.sent.upload.mode == "upsert"]
    held = {str(cells[0]): {row: cells} for row, cells in oracle.expect(schema, older).rows.items()}
    free: dict[str, dict[Row, Cells]] = defaultdict(dict)
    taken: dict[str, dict[Row, Cells]] = defaultdict(dict)
    for seen in rivals:
        for row, cells in _candidates(schema, seen, every=len(upserts) > 1):
            (taken if seen in upserts else free)[str(cells[0])][row] = cells
    return {**free, **held, **taken}


def _candidates(schema: Mapping[str, Any], seen: Seen, *, every: bool) -> Iterator[tuple[Row, Cells]]:
    """Of each key the row this upload may win with: the lowest line, for upserts the highest, or `every` one."""
    best: dict[str, tuple[Row, Cells]] = {}
    upsert = seen.sent.upload.mode == "upsert"
    for record in oracle.read(seen.sent.data):
        cells, code = oracle.check(record, schema)
        if code is None and (upsert or str(cells[0]) not in best):
            best[str(cells[0])] = ((seen.number, record.place), cells)
            if upsert and every:
                yield best[str(cells[0])]
    yield from best.values()


def _loaded_as_counted(scene: Scene, shape: Shape, uploads: Sequence[Seen]) -> Iterator[str]:
    """With an upload that was canceled or replaced: the rows are as many as counted, and all of its first version."""
    found = Counter(upload for upload, _ in scene.tables.get(shape, {}))
    upserts = any(seen.sent.upload.mode == "upsert" for seen in uploads)
    for seen in uploads:
        counted = seen.total("loaded") + (seen.total("updated") if upserts else 0)
        counted = 0 if seen.sent.upload.undone else counted
        if found[seen.number] > counted or (found[seen.number] < counted and not upserts):
            yield f"{seen.name}: {found[seen.number]} rows in the table, {counted} counted"
        values = {r.place: oracle.check(r, SCHEMAS[shape])[0] for r in oracle.read(seen.sent.data)}
        rows = {row: cells for row, cells in scene.tables.get(shape, {}).items() if row[0] == seen.number}
        yield from _compare_rows(shape, rows, {row: values[row[1]] for row in rows if row[1] in values})
