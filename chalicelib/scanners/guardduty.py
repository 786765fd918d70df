"""GuardDuty Malware Protection for S3: AWS looks at every new object and tags the version that it has looked at.

A tag that is not there is waited for. Clients cannot set one: the policy of their form names no tags, and their parts'
upload was begun by us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chalicelib.aws import s3
from chalicelib.errors import Refused, Unavailable
from chalicelib.scanners import UNAVAILABLE, Answer, File

TAG: Final = "GuardDutyMalwareScanStatus"


class GuardDuty:
    """What the tag of the file's pinned version says."""

    reads_pieces = False  # it unpacks archives itself

    def look(self, files: Sequence[File], looked: int, deadline: float) -> Answer:
        """As Scanner."""
        match s3.tags(files[0].key, files[0].version_id).get(TAG):
            case None:
                return Answer(None)
            case "NO_THREATS_FOUND":
                return Answer("clean", files[0].size)
            case "THREATS_FOUND":
                return Answer("infected", 0, "found by GuardDuty")
            case "UNSUPPORTED":
                raise Refused("file_unscannable", "The malware scanner cannot look at this file.")
            case _:  # ACCESS_DENIED, FAILED, and what is not known yet
                raise Unavailable(UNAVAILABLE, "The malware scanner failed.")
