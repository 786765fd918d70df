-- The gate before loading: no chunk commits before all bytes of its file have been looked at and, where a scanner is
-- configured, that has found nothing (chalicelib/gate.py, postgres/verdicts.py).

ALTER TABLE rowmill.upload
    ADD COLUMN scanner text NOT NULL DEFAULT 'off' CHECK (scanner IN ('off', 'clamd', 'guardduty')),
    ADD COLUMN verdict text DEFAULT 'unscanned' CHECK (verdict IN ('unscanned', 'clean', 'infected')),  -- null: awaited
    ADD COLUMN threat text;                                                                          -- what was found

-- How far a scanner has come with a file. Of uploads whose scanner is off there is none.
CREATE TABLE rowmill.gate (
    upload     integer PRIMARY KEY REFERENCES rowmill.upload,
    generation integer NOT NULL,
    asked_at   timestamptz NOT NULL DEFAULT now(),   -- of this generation: from then on it is waited for so long
    seen_at    timestamptz NOT NULL DEFAULT now(),
    looked     bigint NOT NULL DEFAULT 0             -- bytes of the file, then of its piece, that are clean
);
CREATE INDEX upload_unjudged ON rowmill.upload (number) WHERE verdict IS NULL AND finished_at IS NULL;
