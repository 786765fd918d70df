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
    Causes,
    Chunk,
    Conflict,
    Dataset,
    Delivery,
    Event,
    Mode,
    NewApiKey,
    NewWebhook,
    Picture,
    Quota,
    ReceiptLink,
    Record,
    Reject,
    Row,
    SealedReceipt,
    Session,
    StoredText,
    Summary,
    Template,
    Upload,
    Verification,
    Webhook,
)
from .transport import Keeper, Patience, Tokens

__all__ = [
    "AT_REST",
    "TERMINAL",
    "ApiError",
    "ApiKey",
    "Causes",
    "Chunk",
    "Conflict",
    "Dataset",
    "Delivery",
    "Event",
    "Fault",
    "Keeper",
    "Mode",
    "NewApiKey",
    "NewWebhook",
    "Patience",
    "Picture",
    "Quota",
    "ReceiptLink",
    "Record",
    "Reject",
    "Row",
    "Rowmill",
    "RowmillError",
    "SealedReceipt",
    "Session",
    "StillRunning",
    "StorageRefused",
    "StoredText",
    "Summary",
    "Template",
    "Tokens",
    "Unreachable",
    "Unusable",
    "Upload",
    "Verification",
    "Webhook",
]
