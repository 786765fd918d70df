-- What columns are like (chalicelib/drift.py), of uploads that are compared with those before them.

-- Of each chunk until the upload's end, when they are added up.
CREATE TABLE rowmill.profile (
    upload integer NOT NULL REFERENCES rowmill.upload,
    n      integer NOT NULL,
    body   jsonb NOT NULL,
    PRIMARY KEY (upload, n)
);
ALTER TABLE rowmill.upload ADD COLUMN profile jsonb;   -- of all its good rows
ALTER TABLE rowmill.upload ADD COLUMN drift jsonb;     -- {compared_with, differences}
CREATE INDEX upload_profiled ON rowmill.upload (dataset, number) WHERE profile IS NOT NULL;
