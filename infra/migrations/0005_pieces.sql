-- Files that cannot be cut where they lie. `piece` is the UTF-8 CSV that was made of one: {key, etag, size, dialect,
-- by_rows, origin, confidence}, written once; chunks are byte ranges of it.
ALTER TABLE rowmill.upload ADD COLUMN piece jsonb;
