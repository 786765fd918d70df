"""The API's resources as typed dictionaries: what the server sent, untouched; new fields pass through."""

from __future__ import annotations

from typing import Any, Final, Literal, NotRequired, TypeAlias, TypedDict

Mode = Literal["insert", "skip", "upsert"]
Role = Literal["reader", "writer", "owner"]
Descriptor: TypeAlias = dict[str, Any]
Value: TypeAlias = str | int | bool | None
Row: TypeAlias = dict[str, Value]

TERMINAL: Final = frozenset(
    {"completed", "completed_with_errors", "failed", "quarantined", "expired", "canceled", "reverted"}
)
# needs_review is not an end, but nothing moves until somebody confirms: waiting on would be for ever.
AT_REST: Final = TERMINAL | {"needs_review"}


class Session(TypedDict):
    """What signup, login and refresh answer: a token for half an hour, and one that gets the next two."""

    access: str
    refresh: str
    expires_in: int
    user_id: str
    username: str
    tenant_id: str


class ApiKey(TypedDict):
    """A key for a machine, without its secret; `expires_at` is None if it is good until it is deleted."""

    id: str
    name: str
    prefix: str
    role: Role
    created_at: str
    expires_at: str | None


class NewApiKey(ApiKey):
    """One that was just made."""

    secret: str


class Malware(TypedDict):
    """What is known of malware in a file; a file that no scanner looks at is `unscanned`."""

    scanner: Literal["off", "clamd", "guardduty"]
    verdict: Literal["awaited", "unscanned", "clean", "infected"]
    threat: str | None


class Webhook(TypedDict):
    """Where a tenant hears of events, without its secret."""

    id: str
    url: str
    events: list[str]
    description: str
    state: Literal["active", "failing", "disabled"]
    failing_since: str | None
    disabled_at: str | None
    disabled_reason: Literal["gone", "failing", "asked"] | None
    former_secret_until: str | None
    created_at: str


class NewWebhook(Webhook):
    """One that was just made, or given another secret."""

    secret: str


class Attempt(TypedDict):
    """One try at a delivery; `error` is None if it was told."""

    at: str
    status: int | None
    error: str | None
    took_ms: int


class Delivery(TypedDict):
    """An event on its way to a webhook."""

    event_id: str
    type: str
    upload_id: str | None
    state: Literal["pending", "delivered", "failed"]
    created_at: str
    next_attempt_at: str | None
    attempts_begun: int
    attempts: list[Attempt]


class Dataset(TypedDict):
    """A dataset and its Table Schema; `role` is what the asker may do in it, `id` what others than `owner` call it."""

    id: str
    name: str
    owner: str
    role: Role
    version: int
    mode: Mode
    indexes: list[list[str]]
    max_rows_per_second: float | None
    partition_by: dict[str, Any] | None
    schema: Descriptor
    created_at: str


class Grant(TypedDict):
    """What somebody may do in a dataset of another's."""

    username: str
    role: Role
    granted_at: str


class Template(TypedDict):
    """A dataset that comes with the service."""

    name: str
    title: str
    description: str


class Picture(TypedDict):
    """A row's picture; `url` needs no token and is good until `expires_at`."""

    id: str
    content_type: str
    size: int
    url: str
    expires_at: str


class Form(TypedDict):
    """Leave to send one file to the storage: every field goes into the form, before the file."""

    method: Literal["POST"]
    url: str
    fields: dict[str, str]
    expires_at: str
    checksum: NotRequired[str | None]


class PartTicket(TypedDict):
    """Leave to put one part, of these bytes and no others: the headers go with it."""

    number: int
    size: int
    url: str
    headers: dict[str, str]


class StoredPart(TypedDict):
    """A part that the storage has."""

    number: int
    size: int
    etag: str
    sha256: str


class SentPart(TypedDict):
    """A part as `complete` names it."""

    number: int
    etag: str
    sha256: str


class PartsTicket(TypedDict):
    """Leave to send a file in parts. URLs are asked for part by part, until `closes_at`."""

    method: Literal["PUT"]
    part_size: int
    parts_total: int
    parts: list[PartTicket]
    stored: list[StoredPart]
    checksum: str | None
    expires_at: str
    closes_at: str


Ticket: TypeAlias = Form | PartsTicket


class Failure(TypedDict):
    """Why an upload as a whole ended badly; `errors` name the columns or rows, each with code and detail."""

    code: str
    detail: str
    errors: NotRequired[list[dict[str, Any]]]


class Review(TypedDict):
    """What a file without a dataset was found to be."""

    schema: Descriptor
    dialect: dict[str, Any]
    rows: list[list[str]]


class Eta(TypedDict):
    """When half of such uploads would be over, and when nine in ten."""

    p50_at: str
    p90_at: str


class Use(TypedDict):
    """How much of a limit has been used in the window that is on."""

    limit: int
    window_s: int
    used: int
    remaining: int
    resets_at: str


class Quota(TypedDict):
    """What the tenant may ask for."""

    requests: Use
    files: Use
    bytes: Use


class Rate(TypedDict):
    """How fast an upload has loaded lately."""

    rows_per_s: float
    bytes_per_s: int


class Difference(TypedDict):
    """Where a column is unlike those of the uploads before."""

    column: str
    measure: str
    was: Any
    new: NotRequired[list[str]]


class Drift(TypedDict):
    """What was found unlike the uploads before; `is` of a difference is not named here, as it is a word of Python."""

    compared_with: int
    differences: list[Difference]


class Cost(TypedDict):
    """What an upload has cost on AWS by now: an estimate by list prices, which `estimate` names."""

    usd: float
    usd_per_million_rows: float | None
    gb_seconds: dict[str, float]
    requests: dict[str, int]
    bytes: dict[str, int]
    estimate: str


class Upload(TypedDict):
    """An upload. Counts are absolute; `rows_total` is None until the whole file has been scanned."""

    id: str
    dataset: str
    filename: str
    size: NotRequired[int]
    state: str
    status: str
    mode: Mode
    created_at: str
    rows_total: int | None
    loaded: int
    updated: int
    skipped: int
    rejected: int
    unprocessed: int
    rows_visible: NotRequired[int]
    reverted_rows: NotRequired[int]
    restored_rows: NotRequired[int]
    conflicts: NotRequired[int]
    valid: NotRequired[int]
    bytes_total: int
    checksum: NotRequired[str | None]
    percent: float
    chunks_total: int | None
    chunks_done: int
    dialect: dict[str, Any]
    timings: dict[str, Any]
    error: Failure | None
    expires_at: NotRequired[str | None]
    forgotten_at: NotRequired[str | None]
    parent_id: NotRequired[str | None]
    children: NotRequired[list[str]]
    resolved: NotRequired[int | None]
    rejected_open: NotRequired[int | None]
    rate: NotRequired[Rate | None]
    eta: NotRequired[Eta | None]
    queued_before: NotRequired[int | None]
    cost: NotRequired[Cost | None]
    review: NotRequired[Review | None]
    drift: NotRequired[Drift | None]
    malware: NotRequired[Malware | None]
    upload: NotRequired[Ticket]


class Chunk(TypedDict):
    """One byte range of the file and what became of its records."""

    n: int
    state: str
    byte_start: int
    byte_end: int
    first_record: int
    records: int
    loaded: int
    updated: int
    skipped: int
    rejected: int
    attempts: int
    error: str | None
    started_at: str | None
    finished_at: str | None


class Event(TypedDict):
    """Something that happened to an upload; `by` is the user or the key that asked for it, `state` what it entered."""

    id: int
    at: str
    event: str
    state: str | None
    by: str | None
    request_id: str | None
    details: dict[str, Any]


class Conflict(TypedDict):
    """A row that undoing its upload has left as it is: why, the upload that wrote over it, and its key."""

    row: int
    why: Literal["edited", "replaced", "referenced", "taken", "refused"]
    by: str | None
    key: dict[str, Any] | None


class CellError(TypedDict):
    """Why a cell (or, without a column, a whole row) was not loaded."""

    column: str | None
    code: str
    detail: str


class Reject(TypedDict):
    """A row that was not loaded, as it stood in the file."""

    row: int
    line: int
    raw: str
    errors: list[CellError]
    parent_row: NotRequired[int]  # of a record that is read again; `line` is the parent's, too


class Sample(TypedDict):
    """A row that a cause has rejected; `value` is quoted, or None where none is at fault."""

    row: int
    line: int
    value: str | None


class Cause(TypedDict):
    """Why so many rows were rejected. A row counts for each of its causes."""

    code: str
    column: str | None
    cause: str
    rows: int
    share: float
    first_line: int
    last_line: int
    samples: list[Sample]


class Summary(TypedDict):
    """The most frequent causes; `causes_total` counts the others, too."""

    rejected: int
    causes: list[Cause]
    causes_total: int


class ColumnSample(Sample):
    """A row that a cause has rejected, and the column at fault."""

    column: str | None


class Proof(TypedDict):
    """How many records a fix was tried on, and how many it mends."""

    sample: int
    mended: int


class CommonCause(TypedDict):
    """Why many rows were rejected, across columns. `fix` are the options that mend it, if that is proved."""

    id: str
    cause: str
    codes: list[str]
    columns: list[str]
    columns_total: int
    rejects: int
    alone: int
    first_line: int
    last_line: int
    samples: list[ColumnSample]
    fix: dict[str, Any] | None
    proved: Proof | None
    unfixed: str | None


class Causes(TypedDict):
    """The few causes behind all rejects; `causes_total` counts those, too, that are not told."""

    rejected: int
    causes: list[CommonCause]
    causes_total: int


class Record(TypedDict):
    """What became of one record of a file. `outcome` is set for success, `line` and `errors` for failed."""

    row: int
    state: str
    outcome: str | None
    line: int | None
    errors: list[CellError]


class Undone(TypedDict):
    """What undoing an upload came to: rows that were removed, restored, and left as they were."""

    reverted_rows: int
    restored_rows: int
    conflicts: int
    forced: bool


class StoredText(TypedDict):
    """Where the text of an upload is, to be fetched without the token."""

    url: str
    expires_at: str
    size: int


class SealedReceipt(TypedDict):
    """What an upload came to, and the JWS that it is read from: the latter is what is signed."""

    receipt: dict[str, Any]
    jws: str


class ReceiptLink(TypedDict):
    """A receipt of an upload's chain; `sha256` is of its JWS."""

    n: int
    generation: int
    state: str
    issued_at: str
    sha256: str


class Verification(TypedDict):
    """File and table of an upload, held against its newest receipt; what it found is None until it is completed."""

    upload_id: str
    state: Literal["pending", "running", "completed"]
    asked_at: str
    finished_at: str | None
    chunks_done: int
    chunks_total: int
    receipt: dict[str, Any] | None
    result: Literal["match", "differs", "source_gone"] | None
    ledger: Literal["match", "differs"] | None
    source: Literal["match", "changed", "gone"] | None
    table: Literal["match", "differs", "gone"] | None
    rows: dict[str, int | None] | None
    undone: Undone | None
    chunks_differing: int | None
    chunks: list[dict[str, Any]]
