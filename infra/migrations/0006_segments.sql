-- What was found ahead in the segments of a large text: hints for its scan, deleted when that ends. Each row says how
-- a segment is cut if its first chunk begins at `start`; the lists have an element for each chunk.
CREATE TABLE rowmill.segment (
    upload  integer NOT NULL REFERENCES rowmill.upload,
    n       integer NOT NULL,
    start   bigint NOT NULL,
    ends    bigint[] NOT NULL,
    records bigint[] NOT NULL,
    lines   bigint[] NOT NULL,
    PRIMARY KEY (upload, n, start)
);
