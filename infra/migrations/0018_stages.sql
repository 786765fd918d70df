-- Uploads whose rows show themselves all at once or never: chunks leave them in a table of the upload's own, `stage.u_{number}`,
-- and one transaction brings them into the dataset's. Logged, as an unlogged one is empty after a crash of the server, and
-- on a standby that takes over, while its chunks would count as loaded.
CREATE SCHEMA stage;

-- Which uploads have such a table: what is not here is to have none.
CREATE TABLE rowmill.staged (
    upload     integer PRIMARY KEY REFERENCES rowmill.upload,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Staged rows that are not to be published, and why; `told` when they are among the rejects.
CREATE TABLE rowmill.lost (
    upload integer NOT NULL REFERENCES rowmill.upload,
    record bigint NOT NULL,
    code   text NOT NULL,
    key    text NOT NULL,                         -- the columns, between commas
    value  text,                                  -- of a foreign key: what it refers to
    told   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (upload, record)
);
CREATE INDEX lost_untold ON rowmill.lost (upload, record) WHERE NOT told;
