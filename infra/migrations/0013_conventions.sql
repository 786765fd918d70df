-- What has happened to an upload, told by the rows it happened to: in their transaction, whoever changed them. So
-- no change of state can be forgotten here, and none is told that was rolled back. Never of what a row of a file holds.

CREATE TABLE rowmill.event (
    upload_id  text NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,  -- an upload's events happened in this order
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    event      text NOT NULL,
    state      text,                                 -- that it entered
    asked_by   text,                                 -- the user or the API key, if somebody asked for it
    request_id text,
    details    jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (upload_id, id)
);

CREATE FUNCTION rowmill.tell_announcement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked_by   text := NEW.item ->> 'asked_by';
    request_id text := nullif(NEW.item ->> 'correlation_id', '');
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO rowmill.event (upload_id, event, state) VALUES (NEW.upload_id, 'state', NEW.closed);
        RETURN NULL;
    END IF;
    INSERT INTO rowmill.event (upload_id, at, event, state, asked_by, request_id, details)
    VALUES (NEW.upload_id, coalesce((NEW.item ->> 'created_at')::timestamptz, NEW.created_at), 'created',
            'awaiting_upload', asked_by, request_id, jsonb_build_object('bytes', NEW.item -> 'size'));
    IF NEW.item ? 'parent_id' THEN
        INSERT INTO rowmill.event (upload_id, event, asked_by, request_id, details)
        VALUES (NEW.item ->> 'parent_id', 'retry', asked_by, request_id, jsonb_build_object('upload_id', NEW.upload_id));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_made AFTER INSERT ON rowmill.announcement
    FOR EACH ROW EXECUTE FUNCTION rowmill.tell_announcement();
CREATE TRIGGER tell_closed AFTER UPDATE OF closed ON rowmill.announcement
    FOR EACH ROW WHEN (OLD.closed IS NULL AND NEW.closed <> 'opened') EXECUTE FUNCTION rowmill.tell_announcement();

CREATE FUNCTION rowmill.tell_upload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO rowmill.event (upload_id, at, event, details)
        VALUES (NEW.upload_id, NEW.stored_at, 'stored', jsonb_build_object('bytes', NEW.bytes_total));
    ELSIF OLD.split_at IS NULL AND NEW.split_at IS NOT NULL THEN
        INSERT INTO rowmill.event (upload_id, event, details)
        VALUES (NEW.upload_id, 'scanned', jsonb_build_object('pass', NEW.pass, 'chunks', NEW.chunks_total,
                                                             'rows', NEW.rows_total));
    END IF;
    IF TG_OP = 'INSERT' OR OLD.state <> NEW.state THEN
        INSERT INTO rowmill.event (upload_id, event, state, details)
        VALUES (NEW.upload_id, 'state', NEW.state, jsonb_strip_nulls(jsonb_build_object(
            'pass', NEW.pass, 'generation', NEW.generation, 'code', NEW.error -> 'code')));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_opened AFTER INSERT ON rowmill.upload
    FOR EACH ROW EXECUTE FUNCTION rowmill.tell_upload();
CREATE TRIGGER tell_moved AFTER UPDATE OF state, split_at ON rowmill.upload
    FOR EACH ROW WHEN (OLD.state <> NEW.state OR OLD.split_at IS NULL AND NEW.split_at IS NOT NULL)
    EXECUTE FUNCTION rowmill.tell_upload();

CREATE FUNCTION rowmill.tell_chunk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rowmill.event (upload_id, event, details)
    SELECT upload_id, 'chunk_dead', jsonb_build_object(
        'chunk', NEW.n, 'pass', NEW.pass, 'attempts', NEW.attempts, 'fault', NEW.error,
        'first_record', NEW.first_record, 'records', NEW.records)
    FROM rowmill.upload WHERE number = NEW.upload;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_dead AFTER UPDATE OF state ON rowmill.chunk
    FOR EACH ROW WHEN (OLD.state <> 'dead' AND NEW.state = 'dead') EXECUTE FUNCTION rowmill.tell_chunk();

-- Of uploads that are older than this, what is still known.
INSERT INTO rowmill.event (upload_id, at, event, state, request_id)
SELECT upload_id, created_at, 'created', 'awaiting_upload', nullif(item ->> 'correlation_id', '')
FROM rowmill.announcement;
INSERT INTO rowmill.event (upload_id, at, event) SELECT upload_id, stored_at, 'stored' FROM rowmill.upload;
INSERT INTO rowmill.event (upload_id, at, event, state)
SELECT upload_id, coalesce(finished_at, review_at, created_at), 'state', state FROM rowmill.upload;

-- What was answered under an Idempotency-Key, for a day: written with what the request has made, so that one is never
-- there without the other. `key` is the SHA-256 of who asked, where and under which key, `body` that of the body.
CREATE TABLE rowmill.repeat (
    tenant     text NOT NULL REFERENCES rowmill.tenant,
    key        bytea NOT NULL,
    body       bytea NOT NULL,
    answer     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, key)
);
CREATE INDEX repeat_age ON rowmill.repeat (created_at);

-- What has become of an upload that ended long ago: its files and rejects are gone, then its chunks and its status, too.
-- The entry itself stays, so that a late message of it does nothing. See RETENTION in chalicelib/journey.py.
ALTER TABLE rowmill.upload ADD COLUMN files_gone_at timestamptz;
ALTER TABLE rowmill.upload ADD COLUMN forgotten_at timestamptz;
CREATE INDEX upload_with_files ON rowmill.upload ((coalesce(options ->> 'retention', 'standard')), finished_at)
    WHERE finished_at IS NOT NULL AND files_gone_at IS NULL;
CREATE INDEX upload_remembered ON rowmill.upload ((coalesce(options ->> 'retention', 'standard')), finished_at)
    WHERE files_gone_at IS NOT NULL AND forgotten_at IS NULL;

-- The same of uploads that ended before any splitter met them. Nothing can come of one after `closes_at`.
ALTER TABLE rowmill.announcement ADD COLUMN files_gone_at timestamptz;
ALTER TABLE rowmill.announcement ADD COLUMN forget_at timestamptz;  -- from then on it is not shown
CREATE INDEX announcement_with_files ON rowmill.announcement (closes_at)
    WHERE closed IN ('expired', 'canceled', 'failed') AND files_gone_at IS NULL;
