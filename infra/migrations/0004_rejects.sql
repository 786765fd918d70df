-- What is wrong with an upload's rejected rows, and which of them its retries have brought in.

-- Written in the transaction that holds the rejects, a row for each cause of a chunk: so a summary of millions of
-- rejects reads few rows.
CREATE TABLE rowmill.cause (
    upload     integer NOT NULL REFERENCES rowmill.upload,
    pass       text NOT NULL,
    code       text NOT NULL,
    field      text,                                  -- null: the whole row is at fault
    cause      text NOT NULL,                         -- the detail without what it quotes of the row
    rejects    bigint NOT NULL,
    first_line bigint NOT NULL,
    last_line  bigint NOT NULL,
    samples    jsonb NOT NULL                         -- of the lowest rows, five at most: [{row, line, value}]
);
CREATE INDEX cause_of_upload ON rowmill.cause (upload);

-- Which rejected record of the parent each record of a corrected file was, a row for each chunk.
CREATE TABLE rowmill.origin (
    upload       integer NOT NULL REFERENCES rowmill.upload,
    first_record bigint NOT NULL,
    records      bigint[] NOT NULL,                   -- in file order; 0 for a record that names none
    PRIMARY KEY (upload, first_record)
);
CREATE INDEX announcement_of_parent ON rowmill.announcement ((item ->> 'parent_id')) WHERE item ? 'parent_id';
