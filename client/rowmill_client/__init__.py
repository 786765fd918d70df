"""The typed Python client of Rowmill: upload files, wait for them, read back rows and rejects. HTTP only.

with Rowmill(api, token) as rowmill:
    upload = rowmill.upload(Path("books.csv"), "books")
    for reject in rowmill.iterate_rejects(upload["id"]):
        print(reject["line"], reject["errors"])
"""

from .api import Rowmill
from .errors import ApiError, Fault, RowmillError, StillRunning, StorageRefused, Unreachable, Unusable
from .resources import (
    AT_REST,
    TERMINAL,
    ApiKey,
    Chunk,
    Dataset,
    Event,
    Mode,
    NewApiKey,
    Quota,
    Record,
    Reject,
    Row,
    Session,
    Summary,
    Upload,
)
from .transport import Keeper, Patience, Tokens

__all__ = [
    "AT_REST",
    "TERMINAL",
    "ApiError",
    "ApiKey",
    "Chunk",
    "Dataset",
    "Event",
    "Fault",
    "Keeper",
    "Mode",
    "NewApiKey",
    "Patience",
    "Quota",
    "Record",
    "Reject",
    "Row",
    "Rowmill",
    "RowmillError",
    "Session",
    "StillRunning",
    "StorageRefused",
    "Summary",
    "Tokens",
    "Unreachable",
    "Unusable",
    "Upload",
]
