-- Whom an upload's end is told, and how far that has got.

-- An event is of an upload's generation, or of one that no splitter ever met, or of no upload: a ping. `sent_at` is when
-- it became deliveries; `data` what it says of the upload, kept then, or before a redrive begins the next generation.
ALTER TABLE rowmill.outbox ALTER COLUMN upload DROP NOT NULL;
ALTER TABLE rowmill.outbox ADD COLUMN upload_id text;
ALTER TABLE rowmill.outbox ADD COLUMN generation integer;
ALTER TABLE rowmill.outbox ADD COLUMN data jsonb;
ALTER TABLE rowmill.outbox ADD COLUMN asked_at timestamptz;  -- when the sweep last had it sent
UPDATE rowmill.outbox SET sent_at = created_at;              -- nobody is told now of what ended before there was anybody
CREATE INDEX outbox_unsent ON rowmill.outbox (created_at) WHERE sent_at IS NULL;
CREATE INDEX outbox_of_upload ON rowmill.outbox (upload);

-- Secrets are not kept: `secret` and `former` are names that they are derived from, with a key that only functions have.
CREATE TABLE rowmill.webhook (
    webhook_id    text PRIMARY KEY,
    tenant        text NOT NULL REFERENCES rowmill.tenant ON DELETE CASCADE,
    url           text NOT NULL,
    events        text[] NOT NULL,
    description   text NOT NULL,
    secret        text NOT NULL,
    former        text,
    former_until  timestamptz,
    failing_since timestamptz,                    -- no delivery has succeeded since
    disabled_at   timestamptz,
    disabled_why  text CHECK (disabled_why IN ('gone', 'failing', 'asked')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((disabled_at IS NULL) = (disabled_why IS NULL))
);
CREATE INDEX webhook_of_tenant ON rowmill.webhook (tenant, webhook_id);

-- An event on its way to one target; each of these is told once, however often its event is sent.
CREATE TABLE rowmill.delivery (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id    text NOT NULL REFERENCES rowmill.outbox ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('webhook', 'email', 'topic')),
    webhook     text REFERENCES rowmill.webhook ON DELETE CASCADE,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts    smallint NOT NULL DEFAULT 0,
    log         jsonb NOT NULL DEFAULT '[]',      -- of each attempt that came back: {at, status, error, took_ms}
    created_at  timestamptz NOT NULL DEFAULT now(),
    due_at      timestamptz NOT NULL DEFAULT now(),  -- the next attempt; while one is under way, when it is given up
    asked_at    timestamptz,                      -- when the sweep last sent for it
    finished_at timestamptz,
    UNIQUE NULLS NOT DISTINCT (event_id, kind, webhook)
);
CREATE INDEX delivery_due ON rowmill.delivery (due_at) WHERE state = 'pending';
CREATE INDEX delivery_over ON rowmill.delivery (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX delivery_of_webhook ON rowmill.delivery (webhook, number);
