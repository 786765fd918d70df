-- The gate before loading: no chunk commits before all bytes of its file have been looked at and, where a scanner is
-- configured, that has found nothing (chalicelib/gate.py, postgres/verdicts.py).

ALTER TABLE rowmill.upload
    ADD COLUMN scanner text NOT NULL DEFAULT 'off' CHECK (scanner IN ('off', 'clamd', 'guardduty')),
    ADD COLUMN verdict text DEFAULT 'unscanned' CHECK (verdict IN ('unscanned', 'clean', 'infected')),  -- null: awaited
    ADD COLUMN threat text;                                                                          -- what was found
