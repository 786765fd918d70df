"""What stands before loading: no row is in the table before all bytes of its file were looked at.

The scan for record borders reads them anyway and looks for what is known without a scanner. Workers may read and check
chunks meanwhile; they commit when it is over. Where a scanner is configured it is asked by a message of its own, beside
the scan, and no chunk is even read before it has answered: if it is down nothing loads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from chalicelib import scanners
from chalicelib.aws import s3, sqs
from chalicelib.errors import Infected, NotYet, Refused
from chalicelib.formats import kinds
from chalicelib.journey import Number
from chalicelib.postgres import ledger, locks, manifest, verdicts
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

PATIENCE_SECONDS: Final = 5  # of a worker that has a chunk ready; a gigabyte is scanned in one to two
AGAIN_SECONDS: Final = 2
LOOK_SECONDS: Final = 10  # at a file, before what is clean of it is noted
ASK_AGAIN_SECONDS: Final = 5  # a scanner that has not answered yet
UNAVAILABLE: Final = {
    "code": scanners.UNAVAILABLE,
    "detail": "The malware scanner did not answer in time, so nothing was loaded; it can be tried again.",
}
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.05


def asked() -> dict[str, Any]:
    """Of an upload that is opened: who is to say whether it is clean, and what is known of that."""
    return {"scanner": settings().scanner, "verdict": "unscanned" if settings().scanner == "off" else None}


def wait(number: Number) -> None:
    """Return when chunks of the upload may commit, or have nothing to commit to. Raises NotYet if that takes long."""
    until, pause = time.monotonic() + PATIENCE_SECONDS, _FIRST_PAUSE
    while ledger.is_held(connection(), number):
        if time.monotonic() >= until:
            raise NotYet("scan_awaited", "The file is still being looked at.", retry_after=AGAIN_SECONDS)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def send(upload: ledger.Upload, tier: str, places: Sequence[int]) -> None:
    """Send chunks that may be read to their tier's queue, then note that they were sent.

    `places` are their numbers. What is lost in between the sweep finds unsent.
    """
    if places:
        sqs.send_chunks(tier, upload.number, upload.reading, places, upload.tenant)
        manifest.mark_sent(connection(), upload.number, upload.reading, places)


def quarantine(upload: ledger.Upload, found: Infected) -> None:
    """End the upload: nothing of it was loaded, and nobody may download its file or try again. May be repeated."""
    s3.mark_quarantined(upload.object_key, upload.version_id)
    if upload.piece:
        s3.mark_quarantined(upload.text.key)
    ledger.stop(connection(), upload.number, found.told, found.threat)


def examine(arrival: s3.Arrival, deadline: float) -> Number | None:
    """Ask the scanner about the upload that a message names, if that is due; what is left at `deadline` by a message.

    Its number, unless somebody else is at it. Raises Unavailable while the scanner is.
    """
    db = connection()
    number = ledger.number_of(db, arrival.tenant, arrival.upload_id)
    if number is None:
        return None
    with locks.alone(db, locks.gate(number)) as ours:
        upload = ledger.find(db, number) if ours else None
        if upload is None:
            return None
        is_due = upload.verdict is None and not ledger.is_over(db, number)
        is_done = not is_due or _ask(upload, deadline)
    if not is_done:  # not before the lock is free: whoever finds it held lets the message go
        sqs.send_for_gate(upload.tenant, upload.upload_id)
    return number


def _ask(upload: ledger.Upload, deadline: float) -> bool:
    """Ask once; False if part of the file is left, and somebody is to go on at once."""
    db = connection()
    awaited = verdicts.ask(db, upload.number)
    try:
        answer = _answer(upload, awaited.looked, min(deadline, time.monotonic() + LOOK_SECONDS))
    except Refused as refused:
        ledger.stop(db, upload.number, refused.told)
        return True
    except Exception:  # of ours, too: ten deliveries of such a message take up to 15 hours
        if awaited.seconds < settings().scanner_seconds:
            raise
        answer = scanners.Answer(None)
    match answer:
        case scanners.Answer("infected", threat=threat):
            quarantine(upload, Infected(threat or "unnamed"))
        case scanners.Answer("clean" | "unscanned"):
            verdicts.note_clean(db, upload.number)
        case scanners.Answer(None, looked) if looked > awaited.looked:
            verdicts.note_looked(db, upload.number, looked)
            return False
        case _ if awaited.seconds >= settings().scanner_seconds:
            ledger.stop(db, upload.number, UNAVAILABLE)
        case _:
            pause = min(ASK_AGAIN_SECONDS, 1 + int(awaited.seconds))
            raise NotYet("scan_awaited", "The scanner has not answered yet.", retry_after=pause)
    return True


def _answer(upload: ledger.Upload, looked: int, deadline: float) -> scanners.Answer:
    """What the scanner says of the file and, once there is one, of the piece that was made of it."""
    scanner = scanners.scanner(upload.scanner)
    files = [_file(upload)]
    if upload.piece and scanner.reads_pieces:
        text = upload.text
        files.append(scanners.File(text.key, None, text.size, False, _reader(text.key, text.etag)))
    answer = scanner.look(files, looked, deadline)
    if answer.verdict == "clean" and scanner.reads_pieces and not upload.plan:
        return scanners.Answer(None, answer.looked)  # whether there will be a piece is not known yet
    return answer


def _file(upload: ledger.Upload) -> scanners.File:
    key, etag, size = upload.object_key, upload.etag, upload.bytes_total
    is_packed = kinds.is_packed(s3.read(key, etag, 0, min(size, kinds.MAGIC_BYTES)))
    return scanners.File(key, upload.version_id, size, is_packed, _reader(key, etag))


def _reader(key: str, etag: str) -> Callable[[int, int], Iterator[bytes]]:
    return lambda start, end: s3.stream(key, etag, start, end)
