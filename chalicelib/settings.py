"""What this deployment is called and where its parts are: read once from the environment, then frozen.

Every value has a default that is safe at import, so that `chalice package` and the tests can import
app.py without a cloud. A missing DATABASE_URL or JWT_SECRET is an error only where it is used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Literal

# Polars' allocator keeps what is freed for ten seconds, in heaps of its own for each core: a worker would hold one
# chunk beside the next. Told before polars is imported, and here, as no variable of a Lambda function begins with `_`.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,tcache:false,dirty_decay_ms:200,muzzy_decay_ms:0")

# 8 MiB: some 84,000 rows of contacts or flights. Of shorter ones, 100,000 in a chunk that are all bad took 205 MB.
DEFAULT_CHUNK_POLICY = "0:8388608:90000"
ScannerName = Literal["off", "clamd", "guardduty"]


@dataclass(frozen=True, slots=True)
class ChunkRule:
    """While at least `depth` messages wait in a tier's queue, its files are cut into chunks of this size."""

    depth: int
    bytes: int
    records: int


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployment. Names follow `rowmill-{stage}-{what}` unless the stack says otherwise."""

    stage: str
    function: str  # what this process is one of, without the stage: load_high
    bucket: str
    uploads_table: str
    keys_table: str
    intake_queue: str
    high_queue: str
    medium_queue: str
    low_queue: str
    settle_queue: str
    dead_queue: str
    notify_queue: str
    receipt_queue: str
    define_function: str
    render_function: str
    database_url: str
    webhook_secret: str  # the keys that secrets of webhooks are derived from, as jwt_secret
    field_key: str  # the KMS key that wraps data keys of encrypted fields: an ARN, an id or an alias
    receipt_secret: str  # what the key is made of that signs receipts
    receipt_keys: str  # the public keys of all that ever signed, between commas, the newest first
    events_topic: str  # ARN; none is told there if it is empty
    mail_sender: str  # none is told by e-mail if it is empty
    mail_domains: frozenset[str]  # where e-mail may go
    webhook_private: bool  # webhooks may be on this machine and in private nets, without TLS: for development
    oidc_issuer: str  # whose tokens open the doors; empty: our own accounts'
    oidc_audience: str
    jwt_secret: str  # the keys of access tokens between commas, the newest first
    public_endpoint: str | None  # the S3 endpoint as clients reach it; None means AWS's own
    aws_endpoint: str | None  # where the functions reach AWS; None means AWS itself
    max_upload_bytes: int
    multipart_bytes: int  # files above this come in parts
    max_unpacked_bytes: int  # what a packed file may become
    scratch_bytes: int  # what a workbook's texts may take of the local disk
    scanner: ScannerName  # who says whether files are clean
    scanner_address: str  # of clamd: host:port or unix:/path
    scanner_seconds: int  # how long an upload waits for that
    segment_bytes: int  # texts above four of these are scanned in segments of about this size
    first_load_bytes: int  # texts of so many are staged if their rows are the first of a dataset
    quota_requests: int  # of a tenant, a minute
    quota_files: int  # a day
    quota_bytes: int
    chunk_policy: tuple[ChunkRule, ...]  # the deepest queue first; the last one is for depth 0

    def tier_queue(self, tier: str) -> str:
        """The queue name of a tier: high, medium or low."""
        return {"high": self.high_queue, "medium": self.medium_queue, "low": self.low_queue}[tier]


@cache
def settings() -> Settings:
    """The settings of this process."""
    env = os.environ
    stage = env.get("ROWMILL_STAGE", "local")

    def named(variable: str, what: str) -> str:
        return env.get(variable, f"rowmill-{stage}-{what}")

    return Settings(
        stage=stage,
        function=env.get("AWS_LAMBDA_FUNCTION_NAME", "none").removeprefix(f"rowmill-{stage}-"),
        bucket=named("ROWMILL_BUCKET", "uploads"),
        uploads_table=named("ROWMILL_UPLOADS_TABLE", "uploads"),
        keys_table=named("ROWMILL_KEYS_TABLE", "keys"),
        intake_queue=named("ROWMILL_INTAKE_QUEUE", "intake"),
        high_queue=named("ROWMILL_HIGH_QUEUE", "high"),
        medium_queue=named("ROWMILL_MEDIUM_QUEUE", "medium"),
        low_queue=named("ROWMILL_LOW_QUEUE", "low"),
        settle_queue=named("ROWMILL_SETTLE_QUEUE", "settle"),
        dead_queue=named("ROWMILL_DEAD_QUEUE", "dead"),
        notify_queue=named("ROWMILL_NOTIFY_QUEUE", "notify"),
        receipt_queue=named("ROWMILL_RECEIPT_QUEUE", "receipt"),
        define_function=named("ROWMILL_DEFINE_FUNCTION", "define"),
        render_function=named("ROWMILL_RENDER_FUNCTION", "render"),
        database_url=env.get("DATABASE_URL", ""),
        oidc_issuer=env.get("OIDC_ISSUER", ""),
        oidc_audience=env.get("OIDC_AUDIENCE", ""),
        jwt_secret=env.get("JWT_SECRET", ""),
        webhook_secret=env.get("WEBHOOK_SECRET", ""),
        field_key=env.get("ROWMILL_FIELD_KEY", f"alias/rowmill-{stage}-fields"),
        receipt_secret=env.get("RECEIPT_SECRET", ""),
        receipt_keys=env.get("RECEIPT_KEYS", ""),
        events_topic=env.get("ROWMILL_EVENTS_TOPIC", ""),
        mail_sender=env.get("ROWMILL_MAIL_SENDER", ""),
        mail_domains=frozenset(env.get("ROWMILL_MAIL_DOMAINS", "").lower().replace(",", " ").split()),
        webhook_private=env.get("ROWMILL_WEBHOOK_PRIVATE", "") == "1",
        public_endpoint=env.get("ROWMILL_PUBLIC_ENDPOINT") or None,
        aws_endpoint=env.get("AWS_ENDPOINT_URL") or None,
        max_upload_bytes=int(env.get("ROWMILL_MAX_UPLOAD_BYTES", 100_000_000_000)),
        multipart_bytes=int(env.get("ROWMILL_MULTIPART_BYTES", 100_000_000)),
        max_unpacked_bytes=int(env.get("ROWMILL_MAX_UNPACKED_BYTES", 20_000_000_000)),
        scratch_bytes=int(env.get("ROWMILL_SCRATCH_BYTES", 400_000_000)),
        scanner=read_scanner(env.get("ROWMILL_SCANNER") or "off"),
        scanner_address=env.get("ROWMILL_SCANNER_ADDRESS", ""),
        scanner_seconds=int(env.get("ROWMILL_SCANNER_SECONDS", 3600)),
        segment_bytes=int(env.get("ROWMILL_SEGMENT_BYTES", 64 << 20)),
        first_load_bytes=int(env.get("ROWMILL_FIRST_LOAD_BYTES", 256 << 20)),
        quota_requests=int(env.get("ROWMILL_QUOTA_REQUESTS", 60_000)),
        quota_files=int(env.get("ROWMILL_QUOTA_FILES", 100_000)),
        quota_bytes=int(env.get("ROWMILL_QUOTA_BYTES", 1_000_000_000_000)),
        chunk_policy=read_chunk_policy(env.get("ROWMILL_CHUNK_POLICY") or DEFAULT_CHUNK_POLICY),
    )


def read_scanner(text: str) -> ScannerName:
    """Raises ValueError for a scanner that nobody knows: files are not to go unscanned by a slip."""
    match text:
        case "off" | "clamd" | "guardduty":
            return text
    raise ValueError(f"no such scanner: {text}")


def read_chunk_policy(text: str) -> tuple[ChunkRule, ...]:
    """Rules written as `depth:bytes:records,…`. Raises ValueError for text that leaves a depth without a rule."""
    rules = [_read_chunk_rule(rule) for rule in text.split(",")]
    if min(rule.depth for rule in rules) != 0 or any(rule.bytes < 1 or rule.records < 1 for rule in rules):
        raise ValueError(f"a chunk policy has a rule for depth 0 and no size below 1: {text}")
    return tuple(sorted(rules, key=lambda rule: -rule.depth))


def _read_chunk_rule(text: str) -> ChunkRule:
    depth, size, records = map(int, text.split(":"))
    return ChunkRule(depth, size, records)
