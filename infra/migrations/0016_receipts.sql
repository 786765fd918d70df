-- What an upload has come to, in a form that can be checked later: receipts, and readings of file and table.

-- Of the rows that the table held of a chunk when the receipt was made: how many, and a digest that does not depend on
-- their order (chalicelib/postgres/proofs.py).
ALTER TABLE rowmill.chunk ADD COLUMN table_rows integer;
ALTER TABLE rowmill.chunk ADD COLUMN table_digest bytea;

-- The end that the newest receipt is of: a redrive draws another. What ended before there were receipts gets none.
ALTER TABLE rowmill.upload ADD COLUMN receipted_at timestamptz;
ALTER TABLE rowmill.upload ADD COLUMN receipt_asked_at timestamptz;  -- when the sweep last sent for it
UPDATE rowmill.upload SET receipted_at = finished_at WHERE finished_at IS NOT NULL;
CREATE INDEX upload_unreceipted ON rowmill.upload (finished_at)
    WHERE finished_at IS NOT NULL AND receipted_at IS DISTINCT FROM finished_at;

-- Signed, and never changed: a later one supersedes the one before it and names its SHA-256. `jws` is what was signed.
CREATE TABLE rowmill.receipt (
    upload     integer NOT NULL REFERENCES rowmill.upload,
    n          integer NOT NULL,
    generation integer NOT NULL,
    state      text NOT NULL,
    issued_at  timestamptz NOT NULL,
    sha256     bytea NOT NULL,                    -- of `jws`
    jws        text NOT NULL,
    PRIMARY KEY (upload, n)
);

-- A reading of an upload's file and table: for its receipt, or to compare both with that. The newest of each kind is
-- kept. `found` is what it has found so far, chunks up to `chunks_done`; a worker that dies loses no more than a batch.
CREATE TABLE rowmill.proof (
    upload      integer NOT NULL REFERENCES rowmill.upload,
    kind        text NOT NULL CHECK (kind IN ('receipt', 'verify')),
    ended_at    timestamptz NOT NULL,             -- the upload's end; once it has another, this reading is moot
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at     timestamptz,                      -- when the sweep last sent for it
    begun_at    timestamptz,
    finished_at timestamptz,
    chunks_done integer NOT NULL DEFAULT 0,
    found       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (upload, kind)
);
CREATE INDEX proof_open ON rowmill.proof (asked_at) WHERE finished_at IS NULL AND kind = 'verify';
