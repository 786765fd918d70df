-- What the sweep looks for twice a minute, and a request for one record, among all uploads there ever were.

-- Those of whose rows a part is gone.
CREATE INDEX upload_going ON rowmill.upload (number) WHERE files_gone_at = 'infinity' AND forgotten_at IS NULL;

-- Those that may have replaced rows of their dataset.
CREATE INDEX upload_upserting ON rowmill.upload (dataset) WHERE mode = 'upsert';
