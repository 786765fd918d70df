-- How often the scan of an upload's file was begun since it last got further.
ALTER TABLE rowmill.upload ADD COLUMN scan_attempts smallint NOT NULL DEFAULT 0;
