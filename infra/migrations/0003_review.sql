-- Uploads that are checked before they load: two passes over one file, and what the first one keeps.

ALTER TABLE rowmill.upload ADD COLUMN options jsonb NOT NULL DEFAULT '{}';  -- as declared, without mode and dialect

-- The pass that an upload is in: 'check' writes no row into the dataset's table.
ALTER TABLE rowmill.upload ADD COLUMN pass text NOT NULL DEFAULT 'load' CHECK (pass IN ('check', 'load'));
ALTER TABLE rowmill.upload ADD COLUMN review_at timestamptz;  -- since when it waits to be confirmed

-- In pass 'check', `loaded` counts the rows that would load, update or be skipped.
ALTER TABLE rowmill.chunk DROP CONSTRAINT chunk_pass_check;
ALTER TABLE rowmill.chunk ADD CONSTRAINT chunk_pass_check CHECK (pass IN ('check', 'settle_check', 'load', 'settle'));

-- The rejects of a check are shown until the load begins, and kept.
ALTER TABLE rowmill.reject ADD COLUMN pass text NOT NULL DEFAULT 'load' CHECK (pass IN ('check', 'load'));
ALTER TABLE rowmill.reject DROP CONSTRAINT reject_pkey;
ALTER TABLE rowmill.reject ADD PRIMARY KEY (upload, pass, record);

-- Of each row that a check finds good, its keys (0 is the first) as 128 bits: equal keys have equal prints, whatever
-- chunks they are in. One row a key and part of a chunk; emptied when the check is settled.
CREATE TABLE rowmill.fingerprint (
    upload  integer NOT NULL REFERENCES rowmill.upload,
    key     smallint NOT NULL,
    first   bigint NOT NULL,                      -- the lowest record of the part
    prints  uuid[] NOT NULL,
    records bigint[] NOT NULL,
    PRIMARY KEY (upload, key, first)
);

-- A dataset that does not exist yet: the check finds the types, and the upload gets its dataset when it is confirmed.
ALTER TABLE rowmill.upload ALTER COLUMN dataset DROP NOT NULL;
ALTER TABLE rowmill.upload ADD COLUMN review jsonb;  -- what was found: a schema, the dialect, the first rows
CREATE TABLE rowmill.guess (
    upload integer NOT NULL REFERENCES rowmill.upload,
    n      integer NOT NULL,
    bits   integer[] NOT NULL,                    -- a column each: what its values in this chunk leave possible
    PRIMARY KEY (upload, n)
);
