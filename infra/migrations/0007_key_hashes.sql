-- Hashes of the keys that an upload's chunks hold, for its other chunks to see which of their rows may repeat one.
-- Unlogged: without them a repeat is met at the unique index, where it costs more.
CREATE UNLOGGED TABLE rowmill.key_hash (
    upload integer NOT NULL,
    n      integer NOT NULL,
    hashes bytea   NOT NULL,
    PRIMARY KEY (upload, n)
);
ALTER TABLE rowmill.key_hash ALTER COLUMN hashes SET STORAGE EXTERNAL;  -- they do not compress
