"""What stands before loading: no row is in the table before all bytes of its file were looked at.

The scan for record borders reads them anyway and looks for what is known without a scanner. Workers may read and check
chunks meanwhile; they commit when it is over.
"""

from __future__ import annotations

import time
from typing import Any, Final

from chalicelib.aws import s3
from chalicelib.errors import Infected, NotYet
from chalicelib.journey import Number
from chalicelib.postgres import ledger
from chalicelib.postgres.connection import connection

PATIENCE_SECONDS: Final = 5  # of a worker that has a chunk ready; a gigabyte is scanned in one to two
AGAIN_SECONDS: Final = 2
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.05


def asked() -> dict[str, Any]:
    """Of an upload that is opened: who is to say whether it is clean, and what is known of that."""
    return {"scanner": "off", "verdict": "unscanned"}


def wait(number: Number) -> None:
    """Return when chunks of the upload may commit, or have nothing to commit to. Raises NotYet if that takes long."""
    until, pause = time.monotonic() + PATIENCE_SECONDS, _FIRST_PAUSE
    while ledger.is_held(connection(), number):
        if time.monotonic() >= until:
            raise NotYet("scan_awaited", "The file is still being looked at.", retry_after=AGAIN_SECONDS)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def quarantine(upload: ledger.Upload, found: Infected) -> None:
    """End the upload: nothing of it was loaded, and nobody may download its file or try again. May be repeated."""
    s3.mark_quarantined(upload.object_key, upload.version_id)
    if upload.piece:
        s3.mark_quarantined(upload.text.key)
    error = {"code": found.code, "detail": found.detail, "errors": []}
    ledger.stop(connection(), upload.number, error, found.threat)
