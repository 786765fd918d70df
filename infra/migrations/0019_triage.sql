-- Why rows were rejected, by what would mend them; and which of them an upload that tries it has taken up.

-- How the values of a cause could be read after all (chalicelib/checking/remedies.py): {date:dmy}, {null:N/A}. None: no
-- other way was found, or the rejects are older than this.
ALTER TABLE rowmill.cause ADD COLUMN tags text[] NOT NULL DEFAULT '{}';

-- Of a chunk, how many records have an error of this tag, and how many no other. A record with two wrong dates is one.
CREATE TABLE rowmill.remedy (
    upload  integer NOT NULL REFERENCES rowmill.upload,
    pass    text NOT NULL,
    tag     text NOT NULL,
    rejects bigint NOT NULL,
    alone   bigint NOT NULL
);
CREATE INDEX remedy_of_upload ON rowmill.remedy (upload);

-- The rejects of its parent that an upload reads again, in the order of its records, with their lines in the parent's
-- file. Written with the piece that is made of them, so that no two uploads take one up.
CREATE TABLE rowmill.taken (
    upload       integer NOT NULL REFERENCES rowmill.upload,
    first_record bigint NOT NULL,
    records      bigint[] NOT NULL,
    lines        bigint[] NOT NULL,
    PRIMARY KEY (upload, first_record)
);
