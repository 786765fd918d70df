-- What a client may do to an upload on its way, and after it.

-- How often the upload was paused or resumed. What is shown after either outranks what was shown before.
ALTER TABLE rowmill.upload ADD COLUMN turns integer NOT NULL DEFAULT 0;

-- An upload that was deleted keeps its entry, without what it says of the file. `purge_at`: when the sweep is to remove
-- what is left of it; at once, and once more when no form for it is good any more.
ALTER TABLE rowmill.announcement ADD COLUMN deleted_at timestamptz;
ALTER TABLE rowmill.announcement ADD COLUMN purge_at timestamptz;
CREATE INDEX announcement_purge ON rowmill.announcement (purge_at) WHERE purge_at IS NOT NULL;

-- By these the same file is known again: as it is stored, and as it is announced where a form was held to its SHA-256.
CREATE INDEX upload_of_content ON rowmill.upload (dataset, etag);
CREATE INDEX announcement_of_checksum ON rowmill.announcement ((item ->> 'checksum'))
    WHERE item ? 'checksum' AND NOT item ? 'multipart_id';
