-- What recovery stands on: every announced upload, wishes to cancel, and how often the ledger went back in time.

-- Written when an upload is admitted, before its URL leaves. The status table can be rebuilt from it, a file whose
-- event was lost is found by it, and it stays as the tombstone of an upload that ended without ever being split.
CREATE TABLE rowmill.announcement (
    upload_id   text PRIMARY KEY,
    tenant      text NOT NULL REFERENCES rowmill.tenant,
    item        jsonb NOT NULL,                       -- the status item as it was admitted
    idempotency jsonb,                                -- the item of its Idempotency-Key, if it had one
    created_at  timestamptz NOT NULL DEFAULT now(),
    closes_at   timestamptz NOT NULL,                 -- no file is accepted after this
    looked_at   timestamptz NOT NULL DEFAULT now(),   -- when the sweep last looked whether the file has come
    closed      text CHECK (closed IN ('opened', 'expired', 'canceled', 'failed'))
);
CREATE INDEX announcement_awaited ON rowmill.announcement (looked_at) WHERE closed IS NULL;

-- A wish to cancel. A row of its own, so that asking never waits for a chunk that is being committed.
CREATE TABLE rowmill.cancel (
    upload_id    text PRIMARY KEY REFERENCES rowmill.announcement ON DELETE CASCADE,
    requested_at timestamptz NOT NULL DEFAULT now()
);

-- Raised when the ledger is found older than the status it had shown: restored from a backup. Ranks of a later
-- epoch overwrite those of an earlier one.
CREATE TABLE rowmill.epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    integer NOT NULL DEFAULT 0
);
INSERT INTO rowmill.epoch DEFAULT VALUES;

-- When settling was last asked for, and how often it was begun since the upload's generation began.
ALTER TABLE rowmill.upload ADD COLUMN settle_asked_at timestamptz;
ALTER TABLE rowmill.upload ADD COLUMN settle_attempts smallint NOT NULL DEFAULT 0;
