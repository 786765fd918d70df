-- The records the protocol stands on. Postgres is the truth from the moment an upload row exists here;
-- DynamoDB shows a projection of it.

CREATE SCHEMA IF NOT EXISTS rowmill;
CREATE SCHEMA data;

CREATE TABLE rowmill.tenant (
    tenant     text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE rowmill.account (
    user_id       text PRIMARY KEY,
    tenant        text NOT NULL REFERENCES rowmill.tenant,
    username      text NOT NULL,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX account_username ON rowmill.account (lower(username));

-- The rows of dataset N live in data.d_N. `descriptor` is the Table Schema as it was put.
CREATE TABLE rowmill.dataset (
    number     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant     text NOT NULL REFERENCES rowmill.tenant,
    name       text NOT NULL,
    version    integer NOT NULL DEFAULT 1,
    mode       text NOT NULL CHECK (mode IN ('insert', 'skip', 'upsert')),
    descriptor jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, name)
);

-- One row an upload. `number` is the high half of every loaded row's lineage (`_row`).
-- `plan` is written once; a restarted or repeated scan reads it and makes the same cuts.
CREATE TABLE rowmill.upload (
    number          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    upload_id       text NOT NULL UNIQUE,
    tenant          text NOT NULL REFERENCES rowmill.tenant,
    dataset         integer NOT NULL REFERENCES rowmill.dataset,
    state           text NOT NULL,
    mode            text NOT NULL CHECK (mode IN ('insert', 'skip', 'upsert')),
    dialect         jsonb NOT NULL,               -- as declared; what was detected is in the plan
    correlation_id  text NOT NULL,
    object_key      text NOT NULL,
    version_id      text,
    etag            text NOT NULL,
    bytes_total     bigint NOT NULL,
    stored_at       timestamptz NOT NULL,
    plan            jsonb,
    chunks_total    integer,                      -- written last: null means the scan has not ended
    rows_total      bigint,
    has_clashes     boolean NOT NULL DEFAULT false,  -- later chunks start on the staging path
    generation      integer NOT NULL DEFAULT 1,
    error           jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    scan_seen_at    timestamptz NOT NULL DEFAULT now(),  -- the splitter's heartbeat
    split_at        timestamptz,
    finished_at     timestamptz,
    projected_at    timestamptz NOT NULL DEFAULT '-infinity'  -- when the status was last shown
);
CREATE INDEX upload_unfinished ON rowmill.upload (number) WHERE finished_at IS NULL OR finished_at >= projected_at;
CREATE INDEX upload_of_dataset ON rowmill.upload (dataset) WHERE finished_at IS NULL;

-- Manifest and ledger in one: inserted by the splitter before the message goes out, marked `loaded` in the
-- transaction that holds the chunk's rows. pass 'settle' is the correction that settling adds to the totals.
CREATE TABLE rowmill.chunk (
    upload       integer NOT NULL REFERENCES rowmill.upload,
    pass         text NOT NULL DEFAULT 'load' CHECK (pass IN ('load', 'settle')),
    n            integer NOT NULL,
    byte_start   bigint NOT NULL,
    byte_end     bigint NOT NULL,
    first_record bigint NOT NULL,
    first_line   bigint NOT NULL,
    records      integer NOT NULL,
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'loaded', 'dead', 'canceled')),
    attempts     smallint NOT NULL DEFAULT 0,
    loaded       integer NOT NULL DEFAULT 0,
    updated      integer NOT NULL DEFAULT 0,
    skipped      integer NOT NULL DEFAULT 0,
    rejected     integer NOT NULL DEFAULT 0,
    contested    integer NOT NULL DEFAULT 0,
    sha256       bytea,                           -- of the chunk's bytes in the file
    error        text,                            -- the last fault of its own, without row data
    created_at   timestamptz NOT NULL DEFAULT now(),
    sent_at      timestamptz,
    started_at   timestamptz,
    finished_at  timestamptz,
    PRIMARY KEY (upload, pass, n),
    CHECK (state <> 'loaded' OR records = loaded + updated + skipped + rejected + contested)
);
CREATE INDEX chunk_queued ON rowmill.chunk (upload, n) WHERE state = 'queued';

CREATE TABLE rowmill.reject (
    upload integer NOT NULL REFERENCES rowmill.upload,
    record bigint NOT NULL,
    line   bigint NOT NULL,
    errors jsonb NOT NULL,                        -- [{column, code, detail}]
    raw    bytea NOT NULL,                        -- the record as it stands in the file
    PRIMARY KEY (upload, record)
);

-- Rows whose key met a row of the same upload. Settling replays them in line order and empties this.
CREATE TABLE rowmill.contested (
    upload integer NOT NULL REFERENCES rowmill.upload,
    record bigint NOT NULL,
    line   bigint NOT NULL,
    cells  text[] NOT NULL,                       -- checked values in field order
    raw    bytea NOT NULL,
    PRIMARY KEY (upload, record)
);

-- One event a completion, written with the terminal state; a repeat of the same completion has the same id.
CREATE TABLE rowmill.outbox (
    event_id   text PRIMARY KEY,
    upload     integer NOT NULL REFERENCES rowmill.upload,
    kind       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
);
