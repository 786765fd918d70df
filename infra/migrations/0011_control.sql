-- What a client may do to an upload on its way, and after it.

-- How often the upload was paused or resumed. What is shown after either outranks what was shown before.
ALTER TABLE rowmill.upload ADD COLUMN turns integer NOT NULL DEFAULT 0;
