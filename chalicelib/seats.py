"""Step 2: who may keep a splitter for long. Three at once, two of one tenant; the fourth is there for small files.

S3's events name no group that a fair queue could go by: a few files that take seconds, large ones or such as unpack to
much, would keep every splitter, and everybody's files with them. Who finds no seat sends its message on, to be tried
again. Nothing rests on seats but who waits for whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chalicelib.aws import s3, sqs
from chalicelib.errors import Refused
from chalicelib.formats import kinds
from chalicelib.formats.limits import RATIO
from chalicelib.postgres import ledger, locks, segments
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

AT_ONCE: Final = 3  # of four splitters (infra/resources.yaml), those that scan ahead included
OF_A_TENANT: Final = 2  # so that there is one for somebody else's large file
WAIT_SECONDS: Final = 2
MOST_SECONDS: Final = 10
LATE_SECONDS: Final = 15  # that its message may come late, before the sweep sends another: within the minute
_TURNS_A_SECOND: Final = 4  # that waiting messages take together, of some hundred that a splitter could


@contextmanager
def taken(upload: ledger.Upload, sample: bytes | None) -> Iterator[bool]:
    """Whether an upload's splitter may begin, for as long as the block lasts.

    `sample`: the file's first bytes, if they have been read.
    """
    if not _is_long(upload, sample):
        yield True
        return
    db = connection()
    with locks.one_of(db, locks.seats_of(upload.tenant, OF_A_TENANT)) as is_ours, free() as is_free:
        yield is_ours and is_free


@contextmanager
def free() -> Iterator[bool]:
    """Whether there is a seat, which is taken for the block."""
    with locks.one_of(connection(), locks.seats(AT_ONCE)) as is_free:
        yield is_free


def put_off(upload: ledger.Upload) -> None:
    """Have it tried again in a while: the longer, the more messages wait. The sweep is not to send another one."""
    pause = min(max(WAIT_SECONDS, sqs.backlog(settings().intake_queue) // _TURNS_A_SECOND), MOST_SECONDS)
    segments.give_sign(connection(), upload.number, pause + LATE_SECONDS)
    sqs.send_for_split(upload.tenant, upload.upload_id, delay=pause)


def _is_long(upload: ledger.Upload, sample: bytes | None) -> bool:
    """Whether there is a segment to scan, or may be when the file is unpacked."""
    size, long = upload.text.size, settings().segment_bytes
    if size >= long or size * RATIO < long or upload.plan or upload.piece:
        return size >= long
    try:
        return kinds.is_packed(sample or s3.read(upload.object_key, upload.etag, 0, kinds.MAGIC_BYTES))
    except Refused:  # so will the scan be, which ends the upload by it
        return False
