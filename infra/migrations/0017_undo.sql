-- What rows were before an upload or a hand changed them, and how far the undoing of uploads has got.

-- Beside each dataset's table d_N is d_N_before: of every row that an upsert or a hand wrote over, its columns as they
-- were, `_row` too, by whom (`_row_by`: an upload's number, 2^31 - 1 for a hand) and the `_row` that took its place.
-- Columns of the same types, so each value is kept as it is; it goes with the table. Nothing is noted of a row that
-- nobody wrote over. Rows changed before this migration cannot be brought back.
DO $$ DECLARE here text; BEGIN
    FOR here IN SELECT format('d_%s', number) FROM rowmill.dataset WHERE deleted_at IS NULL
                AND to_regclass(format('data.d_%s', number)) IS NOT NULL
    LOOP
        EXECUTE format('CREATE TABLE data.%I AS TABLE data.%I WITH NO DATA', here || '_before', here);
        EXECUTE format('ALTER TABLE data.%I ADD COLUMN _row_by integer NOT NULL, ADD COLUMN _row_after bigint NOT NULL',
                       here || '_before');
        EXECUTE format('CREATE INDEX ON data.%I (_row_after)', here || '_before');
        EXECUTE format('CREATE INDEX ON data.%I (_row)', here || '_before');
    END LOOP;
END $$;

-- The undoing of an upload, chunk by chunk: `chunk` is the last one whose rows are undone.
CREATE TABLE rowmill.revert (
    upload        integer PRIMARY KEY REFERENCES rowmill.upload,
    forced        boolean NOT NULL,
    chunk         integer NOT NULL DEFAULT 0,
    chunks        integer NOT NULL DEFAULT 0,   -- that are undone
    reverted_rows bigint  NOT NULL DEFAULT 0,   -- removed
    restored_rows bigint  NOT NULL DEFAULT 0,
    conflicts     bigint  NOT NULL DEFAULT 0
);

-- Rows of an undone upload that were left as they are, and why; `by` is the upload that wrote over it, if one did.
CREATE TABLE rowmill.conflict (
    upload integer NOT NULL REFERENCES rowmill.upload,
    record bigint  NOT NULL,
    why    text    NOT NULL CHECK (why IN ('edited', 'replaced', 'referenced', 'taken', 'refused')),
    by     integer,
    key    jsonb,
    PRIMARY KEY (upload, record)
);
